"""Field names and order of Kubernetes' internal Go structs.

A few error texts print a whole struct of the API server's internal version as JSON: there fields
have their Go names, stand in Go's order, and empty ones are written. This is the data for that, one
struct a line (source: `pkg/apis/*/types.go`), `GoName[=jsonName]:form`; the JSON name is left out
where it is the Go name with its first word in lower case. Forms: `s` text, `i` number, `b` boolean,
`q` quantity, `p` pointer, list or map of plain values (null when absent), `o` struct with JSON tags,
`M` ObjectMeta, `group.T` a struct, `*` pointer to one, `[` list, `{` map; a leading dot is the
struct's own group. Owns data only.
"""

from __future__ import annotations

__all__ = ["STRUCTS"]

STRUCTS = """\
admissionregistration.ApplyConfiguration Expression:s
admissionregistration.AuditAnnotation Key:s ValueExpression:s
admissionregistration.JSONPatch Expression:s
admissionregistration.MatchCondition Name:s Expression:s
admissionregistration.MatchResources NamespaceSelector:p ObjectSelector:p ResourceRules:[.NamedRuleWithOperations ExcludeResourceRules:[.NamedRuleWithOperations MatchPolicy:p
admissionregistration.MutatingAdmissionPolicySpec ParamKind:*.ParamKind MatchConstraints:*.MatchResources Variables:[.Variable Mutations:[.Mutation FailurePolicy:p MatchConditions:[.MatchCondition ReinvocationPolicy:s
admissionregistration.MutatingWebhook Name:s ClientConfig:.WebhookClientConfig Rules:[.RuleWithOperations FailurePolicy:p MatchPolicy:p NamespaceSelector:p ObjectSelector:p SideEffects:p TimeoutSeconds:p AdmissionReviewVersions:p ReinvocationPolicy:p MatchConditions:[.MatchCondition
admissionregistration.Mutation PatchType:s ApplyConfiguration:*.ApplyConfiguration JSONPatch:*.JSONPatch
admissionregistration.NamedRuleWithOperations ResourceNames:p RuleWithOperations:.RuleWithOperations
admissionregistration.ParamKind APIVersion:s Kind:s
admissionregistration.ParamRef Name:s Namespace:s Selector:p ParameterNotFoundAction:p
admissionregistration.RuleWithOperations Operations:p APIGroups:p APIVersions:p Resources:p Scope:p
admissionregistration.ServiceReference Namespace:s Name:s Path:p Port:i
admissionregistration.ValidatingAdmissionPolicyBindingSpec PolicyName:s ParamRef:*.ParamRef MatchResources:*.MatchResources ValidationActions:p
admissionregistration.ValidatingAdmissionPolicySpec ParamKind:*.ParamKind MatchConstraints:*.MatchResources Validations:[.Validation MatchConditions:[.MatchCondition FailurePolicy:p AuditAnnotations:[.AuditAnnotation Variables:[.Variable
admissionregistration.ValidatingWebhook Name:s ClientConfig:.WebhookClientConfig Rules:[.RuleWithOperations FailurePolicy:p MatchPolicy:p NamespaceSelector:p ObjectSelector:p SideEffects:p TimeoutSeconds:p AdmissionReviewVersions:p MatchConditions:[.MatchCondition
admissionregistration.Validation Expression:s Message:s Reason:p MessageExpression:s
admissionregistration.Variable Name:s Expression:s
admissionregistration.WebhookClientConfig URL:p Service:*.ServiceReference CABundle:p
apiextensions.CustomResourceColumnDefinition Name:s Type:s Format:s Description:s Priority:i JSONPath:s
apiextensions.CustomResourceConversion Strategy:s WebhookClientConfig:*.WebhookClientConfig ConversionReviewVersions:p
apiextensions.CustomResourceDefinitionNames Plural:s Singular:s ShortNames:p Kind:s ListKind:s Categories:p
apiextensions.CustomResourceDefinitionSpec Group:s Version:s Names:.CustomResourceDefinitionNames Scope:s Validation:*.CustomResourceValidation Subresources:*.CustomResourceSubresources Versions:[.CustomResourceDefinitionVersion AdditionalPrinterColumns:[.CustomResourceColumnDefinition SelectableFields:[.SelectableField Conversion:*.CustomResourceConversion PreserveUnknownFields:p
apiextensions.CustomResourceDefinitionVersion Name:s Served:b Storage:b Deprecated:b DeprecationWarning:p Schema:*.CustomResourceValidation Subresources:*.CustomResourceSubresources AdditionalPrinterColumns:[.CustomResourceColumnDefinition SelectableFields:[.SelectableField
apiextensions.CustomResourceSubresourceScale SpecReplicasPath:s StatusReplicasPath:s LabelSelectorPath:p
apiextensions.CustomResourceSubresources Status:p Scale:*.CustomResourceSubresourceScale
apiextensions.CustomResourceValidation OpenAPIV3Schema:*.JSONSchemaProps
apiextensions.ExternalDocumentation Description:s URL:s
apiextensions.JSONSchemaProps ID:s Schema=$schema:s Ref=$ref:p Description:s Type:s Nullable:b Format:s Title:s Default:p Maximum:p ExclusiveMaximum:b Minimum:p ExclusiveMinimum:b MaxLength:p MinLength:p Pattern:s MaxItems:p MinItems:p UniqueItems:b MultipleOf:p Enum:p MaxProperties:p MinProperties:p Required:p Items:*.JSONSchemaPropsOrArray AllOf:[.JSONSchemaProps OneOf:[.JSONSchemaProps AnyOf:[.JSONSchemaProps Not:*.JSONSchemaProps Properties:{.JSONSchemaProps AdditionalProperties:*.JSONSchemaPropsOrBool PatternProperties:{.JSONSchemaProps Dependencies:{.JSONSchemaPropsOrStringArray AdditionalItems:*.JSONSchemaPropsOrBool Definitions:{.JSONSchemaProps ExternalDocs:*.ExternalDocumentation Example:p XPreserveUnknownFields=x-kubernetes-preserve-unknown-fields:p XEmbeddedResource=x-kubernetes-embedded-resource:b XIntOrString=x-kubernetes-int-or-string:b XListMapKeys=x-kubernetes-list-map-keys:p XListType=x-kubernetes-list-type:p XMapType=x-kubernetes-map-type:p XValidations=x-kubernetes-validations:[.ValidationRule
apiextensions.JSONSchemaPropsOrArray Schema:*.JSONSchemaProps JSONSchemas:[.JSONSchemaProps
apiextensions.JSONSchemaPropsOrBool Allows:b Schema:*.JSONSchemaProps
apiextensions.JSONSchemaPropsOrStringArray Schema:*.JSONSchemaProps Property:p
apiextensions.SelectableField JSONPath:s
apiextensions.ServiceReference Namespace:s Name:s Path:p Port:i
apiextensions.ValidationRule Rule:s Message:s MessageExpression:s Reason:p FieldPath:s OptionalOldSelf:p
apiextensions.WebhookClientConfig URL:p Service:*.ServiceReference CABundle:p
apps.DaemonSetUpdateStrategy Type:s RollingUpdate:*.RollingUpdateDaemonSet
apps.DeploymentStrategy Type:s RollingUpdate:*.RollingUpdateDeployment
apps.RollingUpdateDaemonSet MaxUnavailable:i MaxSurge:i
apps.RollingUpdateDeployment MaxUnavailable:i MaxSurge:i
apps.RollingUpdateStatefulSetStrategy Partition:i MaxUnavailable:p
apps.StatefulSetUpdateStrategy Type:s RollingUpdate:*.RollingUpdateStatefulSetStrategy
autoscaling.ContainerResourceMetricSource Name:s Container:s Target:.MetricTarget
autoscaling.CrossVersionObjectReference Kind:s Name:s APIVersion:s
autoscaling.ExternalMetricSource Metric:.MetricIdentifier Target:.MetricTarget
autoscaling.HPAScalingPolicy Type:s Value:i PeriodSeconds:i
autoscaling.HPAScalingRules StabilizationWindowSeconds:p SelectPolicy:p Policies:[.HPAScalingPolicy Tolerance:p
autoscaling.HorizontalPodAutoscalerBehavior ScaleUp:*.HPAScalingRules ScaleDown:*.HPAScalingRules
autoscaling.HorizontalPodAutoscalerSpec ScaleTargetRef:.CrossVersionObjectReference MinReplicas:p MaxReplicas:i Metrics:[.MetricSpec Behavior:*.HorizontalPodAutoscalerBehavior
autoscaling.MetricIdentifier Name:s Selector:p
autoscaling.MetricSpec Type:s Object:*.ObjectMetricSource Pods:*.PodsMetricSource Resource:*.ResourceMetricSource ContainerResource:*.ContainerResourceMetricSource External:*.ExternalMetricSource
autoscaling.MetricTarget Type:s Value:p AverageValue:p AverageUtilization:p
autoscaling.ObjectMetricSource DescribedObject:.CrossVersionObjectReference Target:.MetricTarget Metric:.MetricIdentifier
autoscaling.PodsMetricSource Metric:.MetricIdentifier Target:.MetricTarget
autoscaling.ResourceMetricSource Name:s Target:.MetricTarget
batch.CronJobSpec Schedule:s TimeZone:p StartingDeadlineSeconds:p ConcurrencyPolicy:s Suspend:p JobTemplate:.JobTemplateSpec SuccessfulJobsHistoryLimit:p FailedJobsHistoryLimit:p
batch.JobSpec Parallelism:p Completions:p PodFailurePolicy:*.PodFailurePolicy SuccessPolicy:*.SuccessPolicy ActiveDeadlineSeconds:p BackoffLimit:p BackoffLimitPerIndex:p MaxFailedIndexes:p Selector:p ManualSelector:p Template:core.PodTemplateSpec TTLSecondsAfterFinished:p CompletionMode:p Suspend:p PodReplacementPolicy:p ManagedBy:p
batch.JobTemplateSpec =metadata:M Spec:.JobSpec
batch.PodFailurePolicy Rules:[.PodFailurePolicyRule
batch.PodFailurePolicyOnExitCodesRequirement ContainerName:p Operator:s Values:p
batch.PodFailurePolicyOnPodConditionsPattern Type:s Status:s
batch.PodFailurePolicyRule Action:s OnExitCodes:*.PodFailurePolicyOnExitCodesRequirement OnPodConditions:[.PodFailurePolicyOnPodConditionsPattern
batch.SuccessPolicy Rules:[.SuccessPolicyRule
batch.SuccessPolicyRule SucceededIndexes:p SucceededCount:p
certificates.CertificateSigningRequestCondition Type:s Status:s Reason:s Message:s LastUpdateTime:p LastTransitionTime:p
certificates.CertificateSigningRequestSpec Request:p SignerName:s ExpirationSeconds:p Usages:p Username:s UID:s Groups:p Extra:p
coordination.LeaseSpec HolderIdentity:p LeaseDurationSeconds:p AcquireTime:p RenewTime:p LeaseTransitions:p Strategy:p PreferredHolder:p
core.AWSElasticBlockStoreVolumeSource VolumeID:s FSType:s Partition:i ReadOnly:b
core.Affinity NodeAffinity:*.NodeAffinity PodAffinity:*.PodAffinity PodAntiAffinity:*.PodAntiAffinity
core.AppArmorProfile Type:s LocalhostProfile:p
core.AttachedVolume Name:s DevicePath:s
core.AzureDiskVolumeSource DiskName:s DataDiskURI=diskURI:s CachingMode:p FSType:p ReadOnly:p Kind:p
core.AzureFilePersistentVolumeSource SecretName:s ShareName:s ReadOnly:b SecretNamespace:p
core.AzureFileVolumeSource SecretName:s ShareName:s ReadOnly:b
core.CSIPersistentVolumeSource Driver:s VolumeHandle:s ReadOnly:b FSType:s VolumeAttributes:p ControllerPublishSecretRef:*.SecretReference NodeStageSecretRef:*.SecretReference NodePublishSecretRef:*.SecretReference ControllerExpandSecretRef:*.SecretReference NodeExpandSecretRef:*.SecretReference
core.CSIVolumeSource Driver:s ReadOnly:p FSType:p VolumeAttributes:p NodePublishSecretRef:*.LocalObjectReference
core.Capabilities Add:p Drop:p
core.CephFSPersistentVolumeSource Monitors:p Path:s User:s SecretFile:s SecretRef:*.SecretReference ReadOnly:b
core.CephFSVolumeSource Monitors:p Path:s User:s SecretFile:s SecretRef:*.LocalObjectReference ReadOnly:b
core.CinderPersistentVolumeSource VolumeID:s FSType:s ReadOnly:b SecretRef:*.SecretReference
core.CinderVolumeSource VolumeID:s FSType:s ReadOnly:b SecretRef:*.LocalObjectReference
core.ClientIPConfig TimeoutSeconds:p
core.ClusterTrustBundleProjection Name:p SignerName:p LabelSelector:p Optional:p Path:s
core.ConfigMapEnvSource Name:s Optional:p
core.ConfigMapKeySelector Name:s Key:s Optional:p
core.ConfigMapNodeConfigSource Namespace:s Name:s UID:s ResourceVersion:s KubeletConfigKey:s
core.ConfigMapProjection Name:s Items:[.KeyToPath Optional:p
core.ConfigMapVolumeSource Name:s Items:[.KeyToPath DefaultMode:p Optional:p
core.Container Name:s Image:s Command:p Args:p WorkingDir:s Ports:[.ContainerPort EnvFrom:[.EnvFromSource Env:[.EnvVar Resources:.ResourceRequirements ResizePolicy:[.ContainerResizePolicy RestartPolicy:p RestartPolicyRules:[.ContainerRestartRule VolumeMounts:[.VolumeMount VolumeDevices:[.VolumeDevice LivenessProbe:*.Probe ReadinessProbe:*.Probe StartupProbe:*.Probe Lifecycle:*.Lifecycle TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*.SecurityContext Stdin:b StdinOnce:b TTY:b
core.ContainerImage Names:p SizeBytes:i
core.ContainerPort Name:s HostPort:i ContainerPort:i Protocol:s HostIP:s
core.ContainerResizePolicy ResourceName:s RestartPolicy:s
core.ContainerRestartRule Action:s ExitCodes:*.ContainerRestartRuleOnExitCodes
core.ContainerRestartRuleOnExitCodes Operator:s Values:p
core.DaemonEndpoint Port=Port:i
core.DownwardAPIProjection Items:[.DownwardAPIVolumeFile
core.DownwardAPIVolumeFile Path:s FieldRef:*.ObjectFieldSelector ResourceFieldRef:*.ResourceFieldSelector Mode:p
core.DownwardAPIVolumeSource Items:[.DownwardAPIVolumeFile DefaultMode:p
core.EmptyDirVolumeSource Medium:s SizeLimit:p
core.EndpointAddress IP:s Hostname:s NodeName:p TargetRef:*.ObjectReference
core.EndpointPort Name:s Port:i Protocol:s AppProtocol:p
core.EndpointSubset Addresses:[.EndpointAddress NotReadyAddresses:[.EndpointAddress Ports:[.EndpointPort
core.EnvFromSource Prefix:s ConfigMapRef:*.ConfigMapEnvSource SecretRef:*.SecretEnvSource
core.EnvVar Name:s Value:s ValueFrom:*.EnvVarSource
core.EnvVarSource FieldRef:*.ObjectFieldSelector ResourceFieldRef:*.ResourceFieldSelector ConfigMapKeyRef:*.ConfigMapKeySelector SecretKeyRef:*.SecretKeySelector FileKeyRef:*.FileKeySelector
core.EphemeralContainer Name:s Image:s Command:p Args:p WorkingDir:s Ports:[.ContainerPort EnvFrom:[.EnvFromSource Env:[.EnvVar Resources:.ResourceRequirements ResizePolicy:[.ContainerResizePolicy RestartPolicy:p RestartPolicyRules:[.ContainerRestartRule VolumeMounts:[.VolumeMount VolumeDevices:[.VolumeDevice LivenessProbe:*.Probe ReadinessProbe:*.Probe StartupProbe:*.Probe Lifecycle:*.Lifecycle TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*.SecurityContext Stdin:b StdinOnce:b TTY:b TargetContainerName:s
core.EphemeralVolumeSource VolumeClaimTemplate:*.PersistentVolumeClaimTemplate
core.EventSeries Count:i LastObservedTime:p
core.ExecAction Command:p
core.FCVolumeSource TargetWWNs:p Lun:p FSType:s ReadOnly:b WWIDs=wwids:p
core.FileKeySelector VolumeName:s Path:s Key:s Optional:p
core.FlexPersistentVolumeSource Driver:s FSType:s SecretRef:*.SecretReference ReadOnly:b Options:p
core.FlexVolumeSource Driver:s FSType:s SecretRef:*.LocalObjectReference ReadOnly:b Options:p
core.FlockerVolumeSource DatasetName:s DatasetUUID:s
core.GCEPersistentDiskVolumeSource PDName:s FSType:s Partition:i ReadOnly:b
core.GRPCAction Port:i Service:p
core.GitRepoVolumeSource Repository:s Revision:s Directory:s
core.GlusterfsPersistentVolumeSource EndpointsName=endpoints:s Path:s ReadOnly:b EndpointsNamespace:p
core.GlusterfsVolumeSource EndpointsName=endpoints:s Path:s ReadOnly:b
core.HTTPGetAction Path:s Port:i Host:s Scheme:s HTTPHeaders:[.HTTPHeader
core.HTTPHeader Name:s Value:s
core.HostAlias IP:s Hostnames:p
core.HostPathVolumeSource Path:s Type:p
core.ISCSIPersistentVolumeSource TargetPortal:s IQN:s Lun:i ISCSIInterface:s FSType:s ReadOnly:b Portals:p DiscoveryCHAPAuth=chapAuthDiscovery:b SessionCHAPAuth=chapAuthSession:b SecretRef:*.SecretReference InitiatorName:p
core.ISCSIVolumeSource TargetPortal:s IQN:s Lun:i ISCSIInterface:s FSType:s ReadOnly:b Portals:p DiscoveryCHAPAuth=chapAuthDiscovery:b SessionCHAPAuth=chapAuthSession:b SecretRef:*.LocalObjectReference InitiatorName:p
core.ImageVolumeSource Reference:s PullPolicy:s
core.KeyToPath Key:s Path:s Mode:p
core.Lifecycle PostStart:*.LifecycleHandler PreStop:*.LifecycleHandler StopSignal:p
core.LifecycleHandler Exec:*.ExecAction HTTPGet:*.HTTPGetAction TCPSocket:*.TCPSocketAction Sleep:*.SleepAction
core.LimitRangeItem Type:s Max:p Min:p Default:p DefaultRequest:p MaxLimitRequestRatio:p
core.LimitRangeSpec Limits:[.LimitRangeItem
core.LocalObjectReference Name:s
core.LocalVolumeSource Path:s FSType:p
core.NFSVolumeSource Server:s Path:s ReadOnly:b
core.Node =metadata:M Spec:.NodeSpec Status:.NodeStatus
core.NodeAddress Type:s Address:s
core.NodeAffinity RequiredDuringSchedulingIgnoredDuringExecution:*.NodeSelector PreferredDuringSchedulingIgnoredDuringExecution:[.PreferredSchedulingTerm
core.NodeCondition Type:s Status:s LastHeartbeatTime:p LastTransitionTime:p Reason:s Message:s
core.NodeConfigSource ConfigMap:*.ConfigMapNodeConfigSource
core.NodeConfigStatus Assigned:*.NodeConfigSource Active:*.NodeConfigSource LastKnownGood:*.NodeConfigSource Error:s
core.NodeDaemonEndpoints KubeletEndpoint:.DaemonEndpoint
core.NodeFeatures SupplementalGroupsPolicy:p
core.NodeRuntimeHandler Name:s Features:*.NodeRuntimeHandlerFeatures
core.NodeRuntimeHandlerFeatures RecursiveReadOnlyMounts:p UserNamespaces:p
core.NodeSelector NodeSelectorTerms:[.NodeSelectorTerm
core.NodeSelectorRequirement Key:s Operator:s Values:p
core.NodeSelectorTerm MatchExpressions:[.NodeSelectorRequirement MatchFields:[.NodeSelectorRequirement
core.NodeSpec PodCIDRs=podCIDRs:p ProviderID:s Unschedulable:b Taints:[.Taint ConfigSource:*.NodeConfigSource DoNotUseExternalID=externalID:s
core.NodeStatus Capacity:p Allocatable:p Phase:s Conditions:[.NodeCondition Addresses:[.NodeAddress DaemonEndpoints:.NodeDaemonEndpoints NodeInfo:.NodeSystemInfo Images:[.ContainerImage VolumesInUse:p VolumesAttached:[.AttachedVolume Config:*.NodeConfigStatus RuntimeHandlers:[.NodeRuntimeHandler Features:*.NodeFeatures DeclaredFeatures:p
core.NodeSwapStatus Capacity:p
core.NodeSystemInfo MachineID:s SystemUUID:s BootID:s KernelVersion:s OSImage:s ContainerRuntimeVersion:s KubeletVersion:s KubeProxyVersion:s OperatingSystem:s Architecture:s Swap:*.NodeSwapStatus
core.ObjectFieldSelector APIVersion:s FieldPath:s
core.ObjectReference Kind:s Namespace:s Name:s UID:s APIVersion:s ResourceVersion:s FieldPath:s
core.PersistentVolumeClaimSpec AccessModes:p Selector:p Resources:.VolumeResourceRequirements VolumeName:s StorageClassName:p VolumeMode:p DataSource:*.TypedLocalObjectReference DataSourceRef:*.TypedObjectReference VolumeAttributesClassName:p
core.PersistentVolumeClaimTemplate =metadata:M Spec:.PersistentVolumeClaimSpec
core.PersistentVolumeClaimVolumeSource ClaimName:s ReadOnly:b
core.PersistentVolumeSource GCEPersistentDisk:*.GCEPersistentDiskVolumeSource AWSElasticBlockStore:*.AWSElasticBlockStoreVolumeSource HostPath:*.HostPathVolumeSource Glusterfs:*.GlusterfsPersistentVolumeSource NFS:*.NFSVolumeSource RBD:*.RBDPersistentVolumeSource Quobyte:*.QuobyteVolumeSource ISCSI:*.ISCSIPersistentVolumeSource FlexVolume:*.FlexPersistentVolumeSource Cinder:*.CinderPersistentVolumeSource CephFS=cephfs:*.CephFSPersistentVolumeSource FC:*.FCVolumeSource Flocker:*.FlockerVolumeSource AzureFile:*.AzureFilePersistentVolumeSource VsphereVolume:*.VsphereVirtualDiskVolumeSource AzureDisk:*.AzureDiskVolumeSource PhotonPersistentDisk:*.PhotonPersistentDiskVolumeSource PortworxVolume:*.PortworxVolumeSource ScaleIO:*.ScaleIOPersistentVolumeSource Local:*.LocalVolumeSource StorageOS=storageos:*.StorageOSPersistentVolumeSource CSI:*.CSIPersistentVolumeSource
core.PersistentVolumeSpec Capacity:p GCEPersistentDisk:*.GCEPersistentDiskVolumeSource AWSElasticBlockStore:*.AWSElasticBlockStoreVolumeSource HostPath:*.HostPathVolumeSource Glusterfs:*.GlusterfsPersistentVolumeSource NFS:*.NFSVolumeSource RBD:*.RBDPersistentVolumeSource Quobyte:*.QuobyteVolumeSource ISCSI:*.ISCSIPersistentVolumeSource FlexVolume:*.FlexPersistentVolumeSource Cinder:*.CinderPersistentVolumeSource CephFS=cephfs:*.CephFSPersistentVolumeSource FC:*.FCVolumeSource Flocker:*.FlockerVolumeSource AzureFile:*.AzureFilePersistentVolumeSource VsphereVolume:*.VsphereVirtualDiskVolumeSource AzureDisk:*.AzureDiskVolumeSource PhotonPersistentDisk:*.PhotonPersistentDiskVolumeSource PortworxVolume:*.PortworxVolumeSource ScaleIO:*.ScaleIOPersistentVolumeSource Local:*.LocalVolumeSource StorageOS=storageos:*.StorageOSPersistentVolumeSource CSI:*.CSIPersistentVolumeSource AccessModes:p ClaimRef:*.ObjectReference PersistentVolumeReclaimPolicy:s StorageClassName:s MountOptions:p VolumeMode:p NodeAffinity:*.VolumeNodeAffinity VolumeAttributesClassName:p
core.PhotonPersistentDiskVolumeSource PdID:s FSType:s
core.PodAffinity RequiredDuringSchedulingIgnoredDuringExecution:[.PodAffinityTerm PreferredDuringSchedulingIgnoredDuringExecution:[.WeightedPodAffinityTerm
core.PodAffinityTerm LabelSelector:p Namespaces:p TopologyKey:s NamespaceSelector:p MatchLabelKeys:p MismatchLabelKeys:p
core.PodAntiAffinity RequiredDuringSchedulingIgnoredDuringExecution:[.PodAffinityTerm PreferredDuringSchedulingIgnoredDuringExecution:[.WeightedPodAffinityTerm
core.PodCertificateProjection SignerName:s KeyType:s MaxExpirationSeconds:p CredentialBundlePath:s KeyPath:s CertificateChainPath:s UserAnnotations:p
core.PodDNSConfig Nameservers:p Searches:p Options:[.PodDNSConfigOption
core.PodDNSConfigOption Name:s Value:p
core.PodOS Name:s
core.PodReadinessGate ConditionType:s
core.PodResourceClaim Name:s ResourceClaimName:p ResourceClaimTemplateName:p
core.PodSchedulingGate Name:s
core.PodSchedulingGroup PodGroupName:p
core.PodSecurityContext HostNetwork:b HostPID:b HostIPC:b ShareProcessNamespace:p HostUsers:p SELinuxOptions:*.SELinuxOptions WindowsOptions:*.WindowsSecurityContextOptions RunAsUser:p RunAsGroup:p RunAsNonRoot:p SupplementalGroups:p SupplementalGroupsPolicy:p FSGroup:p FSGroupChangePolicy:p Sysctls:[.Sysctl SeccompProfile:*.SeccompProfile AppArmorProfile:*.AppArmorProfile SELinuxChangePolicy:p
core.PodSpec Volumes:[.Volume InitContainers:[.Container Containers:[.Container EphemeralContainers:[.EphemeralContainer RestartPolicy:s TerminationGracePeriodSeconds:p ActiveDeadlineSeconds:p DNSPolicy:s NodeSelector:p ServiceAccountName:s AutomountServiceAccountToken:p NodeName:s SecurityContext:*.PodSecurityContext ImagePullSecrets:[.LocalObjectReference Hostname:s Subdomain:s SetHostnameAsFQDN:p Affinity:*.Affinity SchedulerName:s Tolerations:[.Toleration HostAliases:[.HostAlias PriorityClassName:s Priority:p PreemptionPolicy:p DNSConfig:*.PodDNSConfig ReadinessGates:[.PodReadinessGate RuntimeClassName:p Overhead:p EnableServiceLinks:p TopologySpreadConstraints:[.TopologySpreadConstraint OS:*.PodOS SchedulingGates:[.PodSchedulingGate ResourceClaims:[.PodResourceClaim Resources:*.ResourceRequirements HostnameOverride:p SchedulingGroup:*.PodSchedulingGroup
core.PodTemplateSpec =metadata:M Spec:.PodSpec
core.PortworxVolumeSource VolumeID:s FSType:s ReadOnly:b
core.PreferredSchedulingTerm Weight:i Preference:.NodeSelectorTerm
core.Probe Exec:*.ExecAction HTTPGet:*.HTTPGetAction TCPSocket:*.TCPSocketAction GRPC:*.GRPCAction InitialDelaySeconds:i TimeoutSeconds:i PeriodSeconds:i SuccessThreshold:i FailureThreshold:i TerminationGracePeriodSeconds:p
core.ProjectedVolumeSource Sources:[.VolumeProjection DefaultMode:p
core.QuobyteVolumeSource Registry:s Volume:s ReadOnly:b User:s Group:s Tenant:s
core.RBDPersistentVolumeSource CephMonitors=monitors:p RBDImage=image:s FSType:s RBDPool=pool:s RadosUser=user:s Keyring:s SecretRef:*.SecretReference ReadOnly:b
core.RBDVolumeSource CephMonitors=monitors:p RBDImage=image:s FSType:s RBDPool=pool:s RadosUser=user:s Keyring:s SecretRef:*.LocalObjectReference ReadOnly:b
core.ResourceClaim Name:s Request:s
core.ResourceFieldSelector ContainerName:s Resource:s Divisor:q
core.ResourceQuotaSpec Hard:p Scopes:p ScopeSelector:*.ScopeSelector
core.ResourceRequirements Limits:p Requests:p Claims:[.ResourceClaim
core.SELinuxOptions User:s Role:s Type:s Level:s
core.ScaleIOPersistentVolumeSource Gateway:s System:s SecretRef:*.SecretReference SSLEnabled:b ProtectionDomain:s StoragePool:s StorageMode:s VolumeName:s FSType:s ReadOnly:b
core.ScaleIOVolumeSource Gateway:s System:s SecretRef:*.LocalObjectReference SSLEnabled:b ProtectionDomain:s StoragePool:s StorageMode:s VolumeName:s FSType:s ReadOnly:b
core.ScopeSelector MatchExpressions:[.ScopedResourceSelectorRequirement
core.ScopedResourceSelectorRequirement ScopeName:s Operator:s Values:p
core.SeccompProfile Type:s LocalhostProfile:p
core.SecretEnvSource Name:s Optional:p
core.SecretKeySelector Name:s Key:s Optional:p
core.SecretProjection Name:s Items:[.KeyToPath Optional:p
core.SecretReference Name:s Namespace:s
core.SecretVolumeSource SecretName:s Items:[.KeyToPath DefaultMode:p Optional:p
core.SecurityContext Capabilities:*.Capabilities Privileged:p SELinuxOptions:*.SELinuxOptions WindowsOptions:*.WindowsSecurityContextOptions RunAsUser:p RunAsGroup:p RunAsNonRoot:p ReadOnlyRootFilesystem:p AllowPrivilegeEscalation:p ProcMount:p SeccompProfile:*.SeccompProfile AppArmorProfile:*.AppArmorProfile
core.ServiceAccountTokenProjection Audience:s ExpirationSeconds:i Path:s
core.ServicePort Name:s Protocol:s AppProtocol:p Port:i TargetPort:i NodePort:i
core.ServiceSpec Type:s Ports:[.ServicePort Selector:p ClusterIP:s ClusterIPs:p IPFamilies:p IPFamilyPolicy:p ExternalName:s ExternalIPs:p LoadBalancerIP:s SessionAffinity:s SessionAffinityConfig:*.SessionAffinityConfig LoadBalancerSourceRanges:p ExternalTrafficPolicy:s HealthCheckNodePort:i PublishNotReadyAddresses:b AllocateLoadBalancerNodePorts:p LoadBalancerClass:p InternalTrafficPolicy:p TrafficDistribution:p
core.SessionAffinityConfig ClientIP:*.ClientIPConfig
core.SleepAction Seconds:i
core.StorageOSPersistentVolumeSource VolumeName:s VolumeNamespace:s FSType:s ReadOnly:b SecretRef:*.ObjectReference
core.StorageOSVolumeSource VolumeName:s VolumeNamespace:s FSType:s ReadOnly:b SecretRef:*.LocalObjectReference
core.Sysctl Name:s Value:s
core.TCPSocketAction Port:i Host:s
core.Taint Key:s Value:s Effect:s TimeAdded:p
core.Toleration Key:s Operator:s Value:s Effect:s TolerationSeconds:p
core.TopologySpreadConstraint MaxSkew:i TopologyKey:s WhenUnsatisfiable:s LabelSelector:p MinDomains:p NodeAffinityPolicy:p NodeTaintsPolicy:p MatchLabelKeys:p
core.TypedLocalObjectReference APIGroup:p Kind:s Name:s
core.TypedObjectReference APIGroup:p Kind:s Name:s Namespace:p
core.Volume Name:s HostPath:*.HostPathVolumeSource EmptyDir:*.EmptyDirVolumeSource GCEPersistentDisk:*.GCEPersistentDiskVolumeSource AWSElasticBlockStore:*.AWSElasticBlockStoreVolumeSource GitRepo:*.GitRepoVolumeSource Secret:*.SecretVolumeSource NFS:*.NFSVolumeSource ISCSI:*.ISCSIVolumeSource Glusterfs:*.GlusterfsVolumeSource PersistentVolumeClaim:*.PersistentVolumeClaimVolumeSource RBD:*.RBDVolumeSource Quobyte:*.QuobyteVolumeSource FlexVolume:*.FlexVolumeSource Cinder:*.CinderVolumeSource CephFS=cephfs:*.CephFSVolumeSource Flocker:*.FlockerVolumeSource DownwardAPI:*.DownwardAPIVolumeSource FC:*.FCVolumeSource AzureFile:*.AzureFileVolumeSource ConfigMap:*.ConfigMapVolumeSource VsphereVolume:*.VsphereVirtualDiskVolumeSource AzureDisk:*.AzureDiskVolumeSource PhotonPersistentDisk:*.PhotonPersistentDiskVolumeSource Projected:*.ProjectedVolumeSource PortworxVolume:*.PortworxVolumeSource ScaleIO:*.ScaleIOVolumeSource StorageOS=storageos:*.StorageOSVolumeSource CSI:*.CSIVolumeSource Ephemeral:*.EphemeralVolumeSource Image:*.ImageVolumeSource
core.VolumeDevice Name:s DevicePath:s
core.VolumeMount Name:s ReadOnly:b RecursiveReadOnly:p MountPath:s SubPath:s MountPropagation:p SubPathExpr:s
core.VolumeNodeAffinity Required:*.NodeSelector
core.VolumeProjection Secret:*.SecretProjection DownwardAPI:*.DownwardAPIProjection ConfigMap:*.ConfigMapProjection ServiceAccountToken:*.ServiceAccountTokenProjection ClusterTrustBundle:*.ClusterTrustBundleProjection PodCertificate:*.PodCertificateProjection
core.VolumeResourceRequirements Limits:p Requests:p
core.VsphereVirtualDiskVolumeSource VolumePath:s FSType:s StoragePolicyName:s StoragePolicyID:s
core.WeightedPodAffinityTerm Weight:i PodAffinityTerm:.PodAffinityTerm
core.WindowsSecurityContextOptions GMSACredentialSpecName:p GMSACredentialSpec:p RunAsUserName:p HostProcess:p
discovery.Endpoint Addresses:p Conditions:.EndpointConditions Hostname:p TargetRef:*core.ObjectReference DeprecatedTopology:p NodeName:p Zone:p Hints:*.EndpointHints
discovery.EndpointConditions Ready:p Serving:p Terminating:p
discovery.EndpointHints ForZones:[.ForZone ForNodes:[.ForNode
discovery.EndpointPort Name:p Protocol:p Port:p AppProtocol:p
discovery.ForNode Name:s
discovery.ForZone Name:s
flowcontrol.ExemptPriorityLevelConfiguration NominalConcurrencyShares:p LendablePercent:p
flowcontrol.FlowDistinguisherMethod Type:s
flowcontrol.FlowSchemaSpec PriorityLevelConfiguration:.PriorityLevelConfigurationReference MatchingPrecedence:i DistinguisherMethod:*.FlowDistinguisherMethod Rules:[.PolicyRulesWithSubjects
flowcontrol.GroupSubject Name:s
flowcontrol.LimitResponse Type:s Queuing:*.QueuingConfiguration
flowcontrol.LimitedPriorityLevelConfiguration NominalConcurrencyShares:i LimitResponse:.LimitResponse LendablePercent:p BorrowingLimitPercent:p
flowcontrol.NonResourcePolicyRule Verbs:p NonResourceURLs:p
flowcontrol.PolicyRulesWithSubjects Subjects:[.Subject ResourceRules:[.ResourcePolicyRule NonResourceRules:[.NonResourcePolicyRule
flowcontrol.PriorityLevelConfigurationReference Name:s
flowcontrol.PriorityLevelConfigurationSpec Type:s Limited:*.LimitedPriorityLevelConfiguration Exempt:*.ExemptPriorityLevelConfiguration
flowcontrol.QueuingConfiguration Queues:i HandSize:i QueueLengthLimit:i
flowcontrol.ResourcePolicyRule Verbs:p APIGroups:p Resources:p ClusterScope:b Namespaces:p
flowcontrol.ServiceAccountSubject Namespace:s Name:s
flowcontrol.Subject Kind:s User:*.UserSubject Group:*.GroupSubject ServiceAccount:*.ServiceAccountSubject
flowcontrol.UserSubject Name:s
networking.HTTPIngressPath Path:s PathType:p Backend:.IngressBackend
networking.HTTPIngressRuleValue Paths:[.HTTPIngressPath
networking.IPAddressSpec ParentRef:*.ParentReference
networking.IPBlock CIDR:s Except:p
networking.IngressBackend Service:*.IngressServiceBackend Resource:*core.TypedLocalObjectReference
networking.IngressClassParametersReference APIGroup:p Kind:s Name:s Scope:p Namespace:p
networking.IngressClassSpec Controller:s Parameters:*.IngressClassParametersReference
networking.IngressRule Host:s HTTP:*.HTTPIngressRuleValue
networking.IngressServiceBackend Name:s Port:.ServiceBackendPort
networking.IngressSpec IngressClassName:p DefaultBackend:*.IngressBackend TLS:[.IngressTLS Rules:[.IngressRule
networking.IngressTLS Hosts:p SecretName:s
networking.NetworkPolicyEgressRule Ports:[.NetworkPolicyPort To:[.NetworkPolicyPeer
networking.NetworkPolicyIngressRule Ports:[.NetworkPolicyPort From:[.NetworkPolicyPeer
networking.NetworkPolicyPeer PodSelector:p NamespaceSelector:p IPBlock:*.IPBlock
networking.NetworkPolicyPort Protocol:p Port:p EndPort:p
networking.NetworkPolicySpec PodSelector:o Ingress:[.NetworkPolicyIngressRule Egress:[.NetworkPolicyEgressRule PolicyTypes:p
networking.ParentReference Group:s Resource:s Namespace:s Name:s
networking.ServiceBackendPort Name:s Number:i
networking.ServiceCIDRSpec CIDRs=cidrs:p
node.Overhead PodFixed:p
node.RuntimeClass =metadata:M Handler:s Overhead:*.Overhead Scheduling:*.Scheduling
node.Scheduling NodeSelector:p Tolerations:[core.Toleration
policy.PodDisruptionBudgetSpec MinAvailable:p Selector:p MaxUnavailable:p UnhealthyPodEvictionPolicy:p
rbac.PolicyRule Verbs:p APIGroups:p Resources:p ResourceNames:p NonResourceURLs:p
rbac.RoleRef APIGroup:s Kind:s Name:s
rbac.Subject Kind:s APIGroup:s Name:s Namespace:s
resource.AllocatedDeviceStatus Driver:s Pool:s Device:s ShareID:p Conditions:p Data:p NetworkData:*.NetworkDeviceData
resource.AllocationResult Devices:.DeviceAllocationResult NodeSelector:*core.NodeSelector AllocationTimestamp:p
resource.CELDeviceSelector Expression:s
resource.CapacityRequestPolicy Default:p ValidValues:p ValidRange:*.CapacityRequestPolicyRange
resource.CapacityRequestPolicyRange Min:p Max:p Step:p
resource.CapacityRequirements Requests:p
resource.Counter Value:q
resource.CounterSet Name:s Counters:{.Counter
resource.Device Name:s Attributes:{.DeviceAttribute Capacity:{.DeviceCapacity ConsumesCounters:[.DeviceCounterConsumption NodeName:p NodeSelector:*core.NodeSelector AllNodes:p Taints:[.DeviceTaint BindsToNode:p BindingConditions:p BindingFailureConditions:p AllowMultipleAllocations:p
resource.DeviceAllocationConfiguration Source:s Requests:p Opaque:*.OpaqueDeviceConfiguration
resource.DeviceAllocationResult Results:[.DeviceRequestAllocationResult Config:[.DeviceAllocationConfiguration
resource.DeviceAttribute IntValue=int:p BoolValue=bool:p StringValue=string:p VersionValue=version:p
resource.DeviceCapacity Value:q RequestPolicy:*.CapacityRequestPolicy
resource.DeviceClaim Requests:[.DeviceRequest Constraints:[.DeviceConstraint Config:[.DeviceClaimConfiguration
resource.DeviceClaimConfiguration Requests:p Opaque:*.OpaqueDeviceConfiguration
resource.DeviceClassConfiguration Opaque:*.OpaqueDeviceConfiguration
resource.DeviceClassSpec Selectors:[.DeviceSelector Config:[.DeviceClassConfiguration ExtendedResourceName:p
resource.DeviceConstraint Requests:p MatchAttribute:p DistinctAttribute:p
resource.DeviceCounterConsumption CounterSet:s Counters:{.Counter
resource.DeviceRequest Name:s Exactly:*.ExactDeviceRequest FirstAvailable:[.DeviceSubRequest
resource.DeviceRequestAllocationResult Request:s Driver:s Pool:s Device:s AdminAccess:p Tolerations:[.DeviceToleration BindingConditions:p BindingFailureConditions:p ShareID:p ConsumedCapacity:p
resource.DeviceSelector CEL:*.CELDeviceSelector
resource.DeviceSubRequest Name:s DeviceClassName:s Selectors:[.DeviceSelector AllocationMode:s Count:i Tolerations:[.DeviceToleration Capacity:*.CapacityRequirements
resource.DeviceTaint Key:s Value:s Effect:s TimeAdded:p
resource.DeviceToleration Key:s Operator:s Value:s Effect:s TolerationSeconds:p
resource.ExactDeviceRequest DeviceClassName:s Selectors:[.DeviceSelector AllocationMode:s Count:i AdminAccess:p Tolerations:[.DeviceToleration Capacity:*.CapacityRequirements
resource.NetworkDeviceData InterfaceName:s IPs=ips:p HardwareAddress:s
resource.OpaqueDeviceConfiguration Driver:s Parameters:p
resource.ResourceClaimConsumerReference APIGroup:s Resource:s Name:s UID:s
resource.ResourceClaimSpec Devices:.DeviceClaim
resource.ResourceClaimStatus Allocation:*.AllocationResult ReservedFor:[.ResourceClaimConsumerReference Devices:[.AllocatedDeviceStatus
resource.ResourceClaimTemplateSpec =metadata:M Spec:.ResourceClaimSpec
resource.ResourcePool Name:s Generation:i ResourceSliceCount:i
resource.ResourceSliceSpec Driver:s Pool:.ResourcePool NodeName:p NodeSelector:*core.NodeSelector AllNodes:p Devices:[.Device PerDeviceNodeSelection:p SharedCounters:[.CounterSet
scheduling.PriorityClass =metadata:M Value:i GlobalDefault:b Description:s PreemptionPolicy:p
storage.CSIDriverSpec AttachRequired:p FSGroupPolicy:p PodInfoOnMount:p VolumeLifecycleModes:p StorageCapacity:p TokenRequests:[.TokenRequest RequiresRepublish:p SELinuxMount:p NodeAllocatableUpdatePeriodSeconds:p ServiceAccountTokenInSecrets:p
storage.CSINodeDriver Name:s NodeID:s TopologyKeys:p Allocatable:*.VolumeNodeResources
storage.TokenRequest Audience:s ExpirationSeconds:p
storage.VolumeAttachmentSource PersistentVolumeName:p InlineVolumeSpec:*core.PersistentVolumeSpec
storage.VolumeAttachmentSpec Attacher:s Source:.VolumeAttachmentSource NodeName:s
storage.VolumeNodeResources Count:p
"""
