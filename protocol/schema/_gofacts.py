"""What the published schema does not say about the Go types behind it.

Facts about field representation that decide which empty fields are written and how decoding errors
name a type (source: the `types.go` files of k8s.io/api and k8s.io/apimachinery). One line per type;
fields that follow the defaults of `protocol.schema._types` are left out. After a field name:

`&` held by value (a struct is then always written), `*` held by pointer (an empty value is kept),
`!` written although optional, `~` left out when empty although required, `z` left out when zero,
`:T` the name of its Go type. Owns data only: nothing here may compute.
"""

# ruff: noqa: E501
from __future__ import annotations

__all__ = ["FACTS"]

FACTS = """\
admissionregistration.v1.MatchResources matchPolicy*:MatchPolicyType
admissionregistration.v1.MutatingAdmissionPolicy metadata& spec&
admissionregistration.v1.MutatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1.MutatingAdmissionPolicyBindingList metadata&
admissionregistration.v1.MutatingAdmissionPolicyList metadata&
admissionregistration.v1.MutatingAdmissionPolicySpec failurePolicy*:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType
admissionregistration.v1.MutatingWebhook failurePolicy*:FailurePolicyType matchPolicy*:MatchPolicyType reinvocationPolicy*:ReinvocationPolicyType sideEffects*:SideEffectClass
admissionregistration.v1.MutatingWebhookConfiguration metadata&
admissionregistration.v1.MutatingWebhookConfigurationList metadata&
admissionregistration.v1.Mutation patchType:PatchType
admissionregistration.v1.NamedRuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1.ParamRef parameterNotFoundAction*:ParameterNotFoundActionType
admissionregistration.v1.RuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1.ServiceReference path*
admissionregistration.v1.ValidatingAdmissionPolicy metadata& spec& status&
admissionregistration.v1.ValidatingAdmissionPolicyBinding metadata& spec~
admissionregistration.v1.ValidatingAdmissionPolicyBindingList metadata&
admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec policyName~ validationActions~:[]ValidationAction
admissionregistration.v1.ValidatingAdmissionPolicyList metadata&
admissionregistration.v1.ValidatingAdmissionPolicySpec failurePolicy*:FailurePolicyType
admissionregistration.v1.ValidatingAdmissionPolicyStatus observedGeneration&
admissionregistration.v1.ValidatingWebhook failurePolicy*:FailurePolicyType matchPolicy*:MatchPolicyType sideEffects*:SideEffectClass
admissionregistration.v1.ValidatingWebhookConfiguration metadata&
admissionregistration.v1.ValidatingWebhookConfigurationList metadata&
admissionregistration.v1.Validation reason*:metav1.StatusReason
admissionregistration.v1.WebhookClientConfig url*
admissionregistration.v1alpha1.MatchResources matchPolicy*:MatchPolicyType
admissionregistration.v1alpha1.MutatingAdmissionPolicy metadata& spec&
admissionregistration.v1alpha1.MutatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1alpha1.MutatingAdmissionPolicyBindingList metadata&
admissionregistration.v1alpha1.MutatingAdmissionPolicyList metadata&
admissionregistration.v1alpha1.MutatingAdmissionPolicySpec failurePolicy*:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType
admissionregistration.v1alpha1.Mutation patchType:PatchType
admissionregistration.v1alpha1.NamedRuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1alpha1.ParamRef parameterNotFoundAction*:ParameterNotFoundActionType
admissionregistration.v1alpha1.ValidatingAdmissionPolicy metadata& spec& status&
admissionregistration.v1alpha1.ValidatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1alpha1.ValidatingAdmissionPolicyBindingList metadata&
admissionregistration.v1alpha1.ValidatingAdmissionPolicyBindingSpec validationActions:[]ValidationAction
admissionregistration.v1alpha1.ValidatingAdmissionPolicyList metadata&
admissionregistration.v1alpha1.ValidatingAdmissionPolicySpec failurePolicy*:FailurePolicyType
admissionregistration.v1alpha1.ValidatingAdmissionPolicyStatus observedGeneration&
admissionregistration.v1alpha1.Validation reason*:metav1.StatusReason
admissionregistration.v1beta1.MatchResources matchPolicy*:MatchPolicyType
admissionregistration.v1beta1.MutatingAdmissionPolicy metadata& spec&
admissionregistration.v1beta1.MutatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1beta1.MutatingAdmissionPolicyBindingList metadata&
admissionregistration.v1beta1.MutatingAdmissionPolicyList metadata&
admissionregistration.v1beta1.MutatingAdmissionPolicySpec failurePolicy*:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType
admissionregistration.v1beta1.Mutation patchType:PatchType
admissionregistration.v1beta1.NamedRuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1beta1.ParamRef parameterNotFoundAction*:ParameterNotFoundActionType
admissionregistration.v1beta1.ValidatingAdmissionPolicy metadata& spec& status&
admissionregistration.v1beta1.ValidatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1beta1.ValidatingAdmissionPolicyBindingList metadata&
admissionregistration.v1beta1.ValidatingAdmissionPolicyBindingSpec validationActions:[]ValidationAction
admissionregistration.v1beta1.ValidatingAdmissionPolicyList metadata&
admissionregistration.v1beta1.ValidatingAdmissionPolicySpec failurePolicy*:FailurePolicyType
admissionregistration.v1beta1.ValidatingAdmissionPolicyStatus observedGeneration&
admissionregistration.v1beta1.Validation reason*:metav1.StatusReason
apiextensions.v1.CustomResourceColumnDefinition priority&
apiextensions.v1.CustomResourceConversion strategy:ConversionStrategyType
apiextensions.v1.CustomResourceDefinition metadata& status&
apiextensions.v1.CustomResourceDefinitionCondition lastTransitionTime& status:ConditionStatus type:CustomResourceDefinitionConditionType observedGeneration&
apiextensions.v1.CustomResourceDefinitionList metadata&
apiextensions.v1.CustomResourceDefinitionSpec preserveUnknownFields& scope:ResourceScope
apiextensions.v1.CustomResourceDefinitionStatus acceptedNames&! conditions! storedVersions! observedGeneration&
apiextensions.v1.CustomResourceDefinitionVersion deprecated& deprecationWarning*
apiextensions.v1.CustomResourceSubresourceScale labelSelectorPath*
apiextensions.v1.JSONSchemaProps $ref* $schema:JSONSchemaURL definitions:JSONSchemaDefinitions dependencies:JSONSchemaDependencies exclusiveMaximum& exclusiveMinimum& nullable& uniqueItems& x-kubernetes-embedded-resource& x-kubernetes-int-or-string& x-kubernetes-list-type* x-kubernetes-map-type* x-kubernetes-validations:ValidationRules
apiextensions.v1.ServiceReference path*
apiextensions.v1.ValidationRule reason*:FieldValueErrorReason
apiextensions.v1.WebhookClientConfig url*
apiregistration.v1.APIService metadata& spec& status&
apiregistration.v1.APIServiceCondition lastTransitionTime& status:ConditionStatus type:APIServiceConditionType
apiregistration.v1.APIServiceList metadata&
apiregistration.v1.APIServiceSpec insecureSkipTLSVerify&
apiserverinternal.v1alpha1.ServerStorageVersion apiServerID~ decodableVersions~ encodingVersion~
apiserverinternal.v1alpha1.StorageVersion metadata~ spec&! status&!
apiserverinternal.v1alpha1.StorageVersionCondition lastTransitionTime& message~ observedGeneration& status:ConditionStatus type:StorageVersionConditionType
apiserverinternal.v1alpha1.StorageVersionList metadata&
apiserverinternal.v1alpha1.StorageVersionStatus commonEncodingVersion*
apps.v1.ControllerRevision metadata& revision&!
apps.v1.ControllerRevisionList metadata&
apps.v1.DaemonSet metadata& spec~ status&
apps.v1.DaemonSetCondition lastTransitionTime& status!:v1.ConditionStatus type!:DaemonSetConditionType
apps.v1.DaemonSetList metadata&
apps.v1.DaemonSetSpec minReadySeconds& selector* updateStrategy&
apps.v1.DaemonSetStatus numberAvailable& numberUnavailable& observedGeneration& updatedNumberScheduled&
apps.v1.DaemonSetUpdateStrategy type:DaemonSetUpdateStrategyType
apps.v1.Deployment metadata& spec~ status&
apps.v1.DeploymentCondition lastTransitionTime& lastUpdateTime& status!:v1.ConditionStatus type!:DeploymentConditionType
apps.v1.DeploymentList metadata&
apps.v1.DeploymentSpec minReadySeconds& paused& selector* strategy&
apps.v1.DeploymentStatus availableReplicas& observedGeneration& readyReplicas& replicas& unavailableReplicas& updatedReplicas&
apps.v1.DeploymentStrategy type:DeploymentStrategyType
apps.v1.ReplicaSet metadata& spec~ status&
apps.v1.ReplicaSetCondition lastTransitionTime& status!:v1.ConditionStatus type!:ReplicaSetConditionType
apps.v1.ReplicaSetList metadata&
apps.v1.ReplicaSetSpec minReadySeconds& selector* template&
apps.v1.ReplicaSetStatus availableReplicas& fullyLabeledReplicas& observedGeneration& readyReplicas&
apps.v1.StatefulSet metadata& spec~ status&
apps.v1.StatefulSetCondition lastTransitionTime& status!:v1.ConditionStatus type!:StatefulSetConditionType
apps.v1.StatefulSetList metadata&
apps.v1.StatefulSetOrdinals start&!
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted:PersistentVolumeClaimRetentionPolicyType whenScaled:PersistentVolumeClaimRetentionPolicyType
apps.v1.StatefulSetSpec minReadySeconds& podManagementPolicy:PodManagementPolicyType selector* serviceName! updateStrategy&
apps.v1.StatefulSetStatus availableReplicas&! currentReplicas& observedGeneration& readyReplicas& updatedReplicas&
apps.v1.StatefulSetUpdateStrategy type:StatefulSetUpdateStrategyType
authentication.v1.BoundObjectReference uid:types.UID
authentication.v1.SelfSubjectReview metadata& status&
authentication.v1.SelfSubjectReviewStatus userInfo&
authentication.v1.TokenRequest metadata& spec&! status&
authentication.v1.TokenRequestSpec audiences! boundObjectRef! expirationSeconds! attestations:map[string]AttestationValue
authentication.v1.TokenRequestStatus expirationTimestamp&! token!
authentication.v1.TokenReview metadata& status&
authentication.v1.TokenReviewSpec token~
authentication.v1.TokenReviewStatus authenticated& user&
authentication.v1.UserInfo extra:map[string]ExtraValue
authentication.v1alpha1.SelfSubjectReview metadata& status&
authentication.v1alpha1.SelfSubjectReviewStatus userInfo&
authentication.v1beta1.SelfSubjectReview metadata& status&
authentication.v1beta1.SelfSubjectReviewStatus userInfo&
authorization.v1.LocalSubjectAccessReview metadata& status&
authorization.v1.SelfSubjectAccessReview metadata& status&
authorization.v1.SelfSubjectRulesReview metadata& status&
authorization.v1.SubjectAccessReview metadata& status&
authorization.v1.SubjectAccessReviewSpec extra:map[string]ExtraValue
authorization.v1.SubjectAccessReviewStatus denied&
autoscaling.v1.HorizontalPodAutoscaler metadata& spec~ status&
autoscaling.v1.HorizontalPodAutoscalerList metadata&
autoscaling.v1.Scale metadata& spec& status&
autoscaling.v1.ScaleSpec replicas&
autoscaling.v2.ContainerResourceMetricSource name:v1.ResourceName
autoscaling.v2.ContainerResourceMetricStatus name:v1.ResourceName
autoscaling.v2.HPAScalingPolicy type:HPAScalingPolicyType
autoscaling.v2.HPAScalingRules selectPolicy*:ScalingPolicySelect
autoscaling.v2.HorizontalPodAutoscaler metadata& spec~ status&
autoscaling.v2.HorizontalPodAutoscalerCondition lastTransitionTime& status:v1.ConditionStatus type:HorizontalPodAutoscalerConditionType
autoscaling.v2.HorizontalPodAutoscalerList metadata&
autoscaling.v2.HorizontalPodAutoscalerStatus currentMetrics! currentReplicas&
autoscaling.v2.MetricSpec type:MetricSourceType
autoscaling.v2.MetricStatus type:MetricSourceType
autoscaling.v2.MetricTarget type:MetricTargetType
autoscaling.v2.ResourceMetricSource name:v1.ResourceName
autoscaling.v2.ResourceMetricStatus name:v1.ResourceName
batch.v1.CronJob metadata& spec~ status&
batch.v1.CronJobList metadata&
batch.v1.CronJobSpec concurrencyPolicy:ConcurrencyPolicy timeZone*
batch.v1.Job metadata& spec& status&
batch.v1.JobCondition lastProbeTime& lastTransitionTime& status:corev1.ConditionStatus type:JobConditionType
batch.v1.JobList metadata&
batch.v1.JobSpec completionMode*:CompletionMode managedBy* podReplacementPolicy*:PodReplacementPolicy
batch.v1.JobStatus active& failed& failedIndexes* succeeded&
batch.v1.JobTemplateSpec metadata& spec&
batch.v1.PodFailurePolicyOnExitCodesRequirement containerName* operator:PodFailurePolicyOnExitCodesOperator
batch.v1.PodFailurePolicyOnPodConditionsPattern status!:corev1.ConditionStatus type:corev1.PodConditionType
batch.v1.PodFailurePolicyRule action:PodFailurePolicyAction
batch.v1.SuccessPolicyRule succeededIndexes*
batch.v1.UncountedTerminatedPods failed:[]types.UID succeeded:[]types.UID
certificates.v1.CertificateSigningRequest metadata& status&
certificates.v1.CertificateSigningRequestCondition lastTransitionTime& lastUpdateTime& status:v1.ConditionStatus type:RequestConditionType
certificates.v1.CertificateSigningRequestList metadata&
certificates.v1.CertificateSigningRequestSpec extra:map[string]ExtraValue usages:[]KeyUsage
certificates.v1.ClusterTrustBundle metadata&
certificates.v1.ClusterTrustBundleList metadata&
certificates.v1.PodCertificateRequest metadata& status&
certificates.v1.PodCertificateRequestList metadata&
certificates.v1.PodCertificateRequestSpec nodeName:types.NodeName nodeUID:types.UID podUID:types.UID serviceAccountUID:types.UID
certificates.v1alpha1.ClusterTrustBundle metadata&
certificates.v1alpha1.ClusterTrustBundleList metadata&
certificates.v1beta1.ClusterTrustBundle metadata&
certificates.v1beta1.ClusterTrustBundleList metadata&
certificates.v1beta1.PodCertificateRequest metadata& status&
certificates.v1beta1.PodCertificateRequestList metadata&
certificates.v1beta1.PodCertificateRequestSpec nodeName:types.NodeName nodeUID:types.UID pkixPublicKey! podUID:types.UID proofOfPossession! serviceAccountUID:types.UID
coordination.v1.Lease metadata& spec&
coordination.v1.LeaseList metadata&
coordination.v1.LeaseSpec holderIdentity* preferredHolder* strategy*:CoordinatedLeaseStrategy
coordination.v1alpha2.LeaseCandidate metadata& spec~
coordination.v1alpha2.LeaseCandidateList metadata&
coordination.v1alpha2.LeaseCandidateSpec strategy~:v1.CoordinatedLeaseStrategy
coordination.v1beta1.LeaseCandidate metadata& spec~
coordination.v1beta1.LeaseCandidateList metadata&
coordination.v1beta1.LeaseCandidateSpec strategy~:v1.CoordinatedLeaseStrategy
core.v1.AWSElasticBlockStoreVolumeSource partition& readOnly&
core.v1.AppArmorProfile localhostProfile* type:AppArmorProfileType
core.v1.AttachedVolume name:UniqueVolumeName
core.v1.AzureDiskVolumeSource cachingMode*:AzureDataDiskCachingMode fsType* kind*:AzureDataDiskKind
core.v1.AzureFilePersistentVolumeSource readOnly& secretNamespace*!
core.v1.AzureFileVolumeSource readOnly&
core.v1.Binding metadata&
core.v1.CSIPersistentVolumeSource readOnly&
core.v1.CSIVolumeSource fsType*
core.v1.Capabilities add:[]Capability drop:[]Capability
core.v1.CephFSPersistentVolumeSource readOnly&
core.v1.CephFSVolumeSource readOnly&
core.v1.CinderPersistentVolumeSource readOnly&
core.v1.CinderVolumeSource readOnly&
core.v1.ClusterTrustBundleProjection name* signerName*
core.v1.ComponentCondition status:ConditionStatus type:ComponentConditionType
core.v1.ComponentStatus metadata&
core.v1.ComponentStatusList metadata&
core.v1.ConfigMap metadata&
core.v1.ConfigMapList metadata&
core.v1.ConfigMapNodeConfigSource uid:types.UID
core.v1.Container imagePullPolicy:PullPolicy resources& restartPolicy*:ContainerRestartPolicy stdin& stdinOnce& terminationMessagePolicy:TerminationMessagePolicy tty&
core.v1.ContainerImage names! sizeBytes&
core.v1.ContainerPort hostPort& protocol:Protocol
core.v1.ContainerResizePolicy resourceName:ResourceName restartPolicy:ResourceResizeRestartPolicy
core.v1.ContainerRestartRule action~:ContainerRestartRuleAction
core.v1.ContainerRestartRuleOnExitCodes operator~:ContainerRestartRuleOnExitCodesOperator
core.v1.ContainerStateRunning startedAt&
core.v1.ContainerStateTerminated finishedAt& signal& startedAt&
core.v1.ContainerStatus allocatedResources:ResourceList lastState& state& stopSignal*:Signal
core.v1.EmptyDirVolumeSource medium:StorageMedium
core.v1.EndpointAddress nodeName*
core.v1.EndpointPort appProtocol* protocol:Protocol
core.v1.Endpoints metadata&
core.v1.EndpointsList metadata&
core.v1.EphemeralContainer imagePullPolicy:PullPolicy resources& restartPolicy*:ContainerRestartPolicy stdin& stdinOnce& terminationMessagePolicy:TerminationMessagePolicy tty&
core.v1.Event count& eventTime& firstTimestamp& lastTimestamp& reportingComponent! reportingInstance! source&
core.v1.EventList metadata&
core.v1.EventSeries count& lastObservedTime&
core.v1.EvictionResponder priority*
core.v1.FCVolumeSource readOnly&
core.v1.FlexPersistentVolumeSource readOnly&
core.v1.FlexVolumeSource readOnly&
core.v1.GCEPersistentDiskVolumeSource partition& readOnly&
core.v1.GRPCAction service*! mode*:GRPCProbeMode
core.v1.GlusterfsPersistentVolumeSource endpointsNamespace* readOnly&
core.v1.GlusterfsVolumeSource readOnly&
core.v1.HTTPGetAction scheme:URIScheme protocol*:HTTPProtocol
core.v1.HostPathVolumeSource type*:HostPathType
core.v1.ISCSIPersistentVolumeSource chapAuthDiscovery& chapAuthSession& initiatorName* readOnly&
core.v1.ISCSIVolumeSource chapAuthDiscovery& chapAuthSession& initiatorName* readOnly&
core.v1.ImageVolumeSource pullPolicy:PullPolicy
core.v1.ImageVolumeStatus imageRef~
core.v1.Lifecycle stopSignal*:Signal
core.v1.LimitRange metadata& spec&
core.v1.LimitRangeItem default:ResourceList defaultRequest:ResourceList max:ResourceList maxLimitRequestRatio:ResourceList min:ResourceList type:LimitType
core.v1.LimitRangeList metadata&
core.v1.LoadBalancerIngress ipMode*:LoadBalancerIPMode
core.v1.LocalVolumeSource fsType*
core.v1.ModifyVolumeStatus status:PersistentVolumeClaimModifyVolumeStatus
core.v1.NFSVolumeSource readOnly&
core.v1.Namespace metadata& spec& status&
core.v1.NamespaceCondition lastTransitionTime& status:ConditionStatus type:NamespaceConditionType
core.v1.NamespaceList metadata&
core.v1.NamespaceSpec finalizers:[]FinalizerName
core.v1.NamespaceStatus phase:NamespacePhase
core.v1.Node metadata& spec& status&
core.v1.NodeAddress type:NodeAddressType
core.v1.NodeAllocatableMappedResources name:ResourceName quantity*
core.v1.NodeAllocatableOverheadResources name:ResourceName
core.v1.NodeCondition lastHeartbeatTime& lastTransitionTime& status:ConditionStatus type:NodeConditionType
core.v1.NodeDaemonEndpoints kubeletEndpoint&
core.v1.NodeList metadata&
core.v1.NodeRuntimeHandler name!
core.v1.NodeSelectorRequirement operator:NodeSelectorOperator
core.v1.NodeSpec unschedulable&
core.v1.NodeStatus allocatable:ResourceList capacity:ResourceList daemonEndpoints& nodeInfo& phase:NodePhase volumesInUse:[]UniqueVolumeName
core.v1.ObjectReference uid:types.UID
core.v1.PersistentVolume metadata& spec& status&
core.v1.PersistentVolumeClaim metadata& spec& status&
core.v1.PersistentVolumeClaimCondition lastProbeTime& lastTransitionTime& status:ConditionStatus type:PersistentVolumeClaimConditionType
core.v1.PersistentVolumeClaimList metadata&
core.v1.PersistentVolumeClaimSpec accessModes:[]PersistentVolumeAccessMode resources& storageClassName* volumeAttributesClassName* volumeMode*:PersistentVolumeMode
core.v1.PersistentVolumeClaimStatus accessModes:[]PersistentVolumeAccessMode allocatedResourceStatuses:map[ResourceName]ClaimResourceStatus allocatedResources:ResourceList capacity:ResourceList currentVolumeAttributesClassName* phase:PersistentVolumeClaimPhase
core.v1.PersistentVolumeClaimTemplate metadata&
core.v1.PersistentVolumeClaimVolumeSource readOnly&
core.v1.PersistentVolumeList metadata&
core.v1.PersistentVolumeSpec accessModes:[]PersistentVolumeAccessMode capacity:ResourceList persistentVolumeReclaimPolicy:PersistentVolumeReclaimPolicy volumeAttributesClassName* volumeMode*:PersistentVolumeMode
core.v1.PersistentVolumeStatus phase:PersistentVolumePhase
core.v1.Pod metadata& spec& status&
core.v1.PodCertificateProjection keyType~ signerName~
core.v1.PodCondition lastProbeTime& lastTransitionTime& status:ConditionStatus type:PodConditionType observedGeneration&
core.v1.PodDNSConfigOption value*
core.v1.PodList metadata&
core.v1.PodOS name:OSName
core.v1.PodReadinessGate conditionType:PodConditionType
core.v1.PodResourceClaim resourceClaimName* resourceClaimTemplateName*
core.v1.PodResourceClaimStatus resourceClaimName*
core.v1.PodSchedulingGroup podGroupName*
core.v1.PodSecurityContext fsGroupChangePolicy*:PodFSGroupChangePolicy supplementalGroupsPolicy*:SupplementalGroupsPolicy seLinuxChangePolicy*:PodSELinuxChangePolicy
core.v1.PodSpec dnsPolicy:DNSPolicy hostIPC& hostNetwork& hostPID& overhead:ResourceList preemptionPolicy*:PreemptionPolicy restartPolicy:RestartPolicy runtimeClassName* hostnameOverride*
core.v1.PodStatus phase:PodPhase qosClass:PodQOSClass resize:PodResizeStatus observedGeneration& allocatedResources:ResourceList
core.v1.PodTemplate metadata& template&
core.v1.PodTemplateList metadata&
core.v1.PodTemplateSpec metadata& spec&
core.v1.PodVolumeHealth lastTransitionTime&
core.v1.PortStatus error* protocol:Protocol
core.v1.PortworxVolumeSource readOnly&
core.v1.Probe failureThreshold& initialDelaySeconds& periodSeconds& successThreshold& timeoutSeconds&
core.v1.ProjectedVolumeSource sources!
core.v1.QuobyteVolumeSource readOnly&
core.v1.RBDPersistentVolumeSource readOnly&
core.v1.RBDVolumeSource readOnly&
core.v1.ReplicationController metadata& spec& status&
core.v1.ReplicationControllerCondition lastTransitionTime& status:ConditionStatus type:ReplicationControllerConditionType
core.v1.ReplicationControllerList metadata&
core.v1.ReplicationControllerSpec minReadySeconds&
core.v1.ReplicationControllerStatus availableReplicas& fullyLabeledReplicas& observedGeneration& readyReplicas&
core.v1.ResourceFieldSelector divisor&
core.v1.ResourceHealth health:ResourceHealthStatus resourceID:ResourceID message*
core.v1.ResourceQuota metadata& spec& status&
core.v1.ResourceQuotaList metadata&
core.v1.ResourceQuotaSpec hard:ResourceList scopes:[]ResourceQuotaScope
core.v1.ResourceQuotaStatus hard:ResourceList used:ResourceList
core.v1.ResourceRequirements limits:ResourceList requests:ResourceList
core.v1.ResourceStatus name:ResourceName
core.v1.ScaleIOPersistentVolumeSource readOnly& secretRef* sslEnabled&
core.v1.ScaleIOVolumeSource readOnly& secretRef* sslEnabled&
core.v1.ScopedResourceSelectorRequirement operator:ScopeSelectorOperator scopeName:ResourceQuotaScope
core.v1.SeccompProfile localhostProfile* type:SeccompProfileType
core.v1.Secret metadata& type:SecretType
core.v1.SecretList metadata&
core.v1.SecurityContext procMount*:ProcMountType
core.v1.Service metadata& spec& status&
core.v1.ServiceAccount metadata&
core.v1.ServiceAccountList metadata&
core.v1.ServiceList metadata&
core.v1.ServicePort appProtocol* nodePort& protocol:Protocol targetPort&
core.v1.ServiceSpec externalTrafficPolicy:ServiceExternalTrafficPolicy healthCheckNodePort& internalTrafficPolicy*:ServiceInternalTrafficPolicy ipFamilies:[]IPFamily ipFamilyPolicy*:IPFamilyPolicy loadBalancerClass* publishNotReadyAddresses& sessionAffinity:ServiceAffinity trafficDistribution* type:ServiceType
core.v1.ServiceStatus loadBalancer&
core.v1.StorageOSPersistentVolumeSource readOnly&
core.v1.StorageOSVolumeSource readOnly&
core.v1.Taint effect:TaintEffect
core.v1.Toleration effect:TaintEffect operator:TolerationOperator
core.v1.TopologySpreadConstraint nodeAffinityPolicy*:NodeInclusionPolicy nodeTaintsPolicy*:NodeInclusionPolicy whenUnsatisfiable:UnsatisfiableConstraintAction
core.v1.TypedLocalObjectReference apiGroup*!
core.v1.TypedObjectReference apiGroup*! namespace*
core.v1.VolumeHealthCondition status:VolumeHealthStatusType
core.v1.VolumeHealthStatus lastTransitionTime&
core.v1.VolumeMount mountPropagation*:MountPropagationMode readOnly& recursiveReadOnly*:RecursiveReadOnlyMode
core.v1.VolumeMountStatus readOnly& recursiveReadOnly*:RecursiveReadOnlyMode
core.v1.VolumeResourceRequirements limits:ResourceList requests:ResourceList
core.v1.WindowsSecurityContextOptions gmsaCredentialSpec* gmsaCredentialSpecName* runAsUserName*
discovery.v1.Endpoint conditions& hostname* nodeName* zone*
discovery.v1.EndpointPort appProtocol* name* protocol*:v1.Protocol
discovery.v1.EndpointSlice addressType:AddressType endpoints! metadata& ports!
discovery.v1.EndpointSliceList metadata&
events.v1.Event deprecatedCount& deprecatedFirstTimestamp& deprecatedLastTimestamp& deprecatedSource& metadata&! regarding&
events.v1.EventList metadata&
flowcontrol.v1.FlowDistinguisherMethod type:FlowDistinguisherMethodType
flowcontrol.v1.FlowSchema metadata& spec~ status&
flowcontrol.v1.FlowSchemaCondition lastTransitionTime& status:ConditionStatus type~:FlowSchemaConditionType
flowcontrol.v1.FlowSchemaList metadata&
flowcontrol.v1.FlowSchemaSpec matchingPrecedence&!
flowcontrol.v1.LimitResponse type:LimitResponseType
flowcontrol.v1.LimitedPriorityLevelConfiguration limitResponse~ nominalConcurrencyShares!
flowcontrol.v1.PriorityLevelConfiguration metadata& spec~ status&
flowcontrol.v1.PriorityLevelConfigurationCondition lastTransitionTime& status:ConditionStatus type~:PriorityLevelConfigurationConditionType
flowcontrol.v1.PriorityLevelConfigurationList metadata&
flowcontrol.v1.PriorityLevelConfigurationSpec type:PriorityLevelEnablement
flowcontrol.v1.QueuingConfiguration handSize&! queueLengthLimit&! queues&!
flowcontrol.v1.ResourcePolicyRule clusterScope& namespaces!
flowcontrol.v1.Subject kind:SubjectKind
flowcontrol.v1beta3.FlowDistinguisherMethod type:FlowDistinguisherMethodType
flowcontrol.v1beta3.FlowSchema metadata& spec& status&
flowcontrol.v1beta3.FlowSchemaCondition lastTransitionTime& status:ConditionStatus type:FlowSchemaConditionType
flowcontrol.v1beta3.FlowSchemaList metadata&
flowcontrol.v1beta3.FlowSchemaSpec matchingPrecedence&!
flowcontrol.v1beta3.LimitResponse type:LimitResponseType
flowcontrol.v1beta3.LimitedPriorityLevelConfiguration limitResponse& nominalConcurrencyShares&!
flowcontrol.v1beta3.PriorityLevelConfiguration metadata& spec& status&
flowcontrol.v1beta3.PriorityLevelConfigurationCondition lastTransitionTime& status:ConditionStatus type:PriorityLevelConfigurationConditionType
flowcontrol.v1beta3.PriorityLevelConfigurationList metadata&
flowcontrol.v1beta3.PriorityLevelConfigurationSpec type:PriorityLevelEnablement
flowcontrol.v1beta3.QueuingConfiguration handSize&! queueLengthLimit&! queues&!
flowcontrol.v1beta3.ResourcePolicyRule clusterScope& namespaces!
flowcontrol.v1beta3.Subject kind:SubjectKind
lifecycle.v1alpha1.Eviction metadata& status&
lifecycle.v1alpha1.EvictionList metadata&
lifecycle.v1alpha1.EvictionPodReference uid:apimachinerytypes.UID
lifecycle.v1alpha1.EvictionRequest metadata& status&
lifecycle.v1alpha1.EvictionRequestList metadata&
lifecycle.v1alpha1.EvictionRequestPodReference uid:apimachinerytypes.UID
lifecycle.v1alpha1.EvictionRequestSpec intent:EvictionRequestIntent
lifecycle.v1alpha1.Requester intent:RequesterIntent
lifecycle.v1alpha1.ResponderStatus message*
lifecycle.v1alpha1.TargetResponder priority* state:ResponderStateType
meta.v1.APIGroup preferredVersion&
meta.v1.APIResource verbs:Verbs
meta.v1.Condition observedGeneration& status:ConditionStatus
meta.v1.DeleteOptions propagationPolicy*:DeletionPropagation
meta.v1.FieldSelectorRequirement operator:FieldSelectorOperator
meta.v1.LabelSelectorRequirement operator:LabelSelectorOperator
meta.v1.ManagedFieldsEntry operation:ManagedFieldsOperationType
meta.v1.ObjectMeta creationTimestamp&z generation& uid:types.UID
meta.v1.OwnerReference uid:types.UID
meta.v1.Preconditions resourceVersion* uid*:types.UID
meta.v1.Status code& metadata& reason:StatusReason
meta.v1.StatusCause reason:CauseType
meta.v1.StatusDetails retryAfterSeconds& uid:types.UID
networking.v1.HTTPIngressPath pathType*:PathType
networking.v1.IPAddress metadata& spec~
networking.v1.IPAddressList metadata&
networking.v1.IPAddressSpec parentRef*~
networking.v1.Ingress metadata& spec& status&
networking.v1.IngressClass metadata& spec&
networking.v1.IngressClassList metadata&
networking.v1.IngressClassParametersReference apiGroup* namespace* scope*!
networking.v1.IngressList metadata&
networking.v1.IngressPortStatus error* protocol:v1.Protocol
networking.v1.IngressServiceBackend port&
networking.v1.IngressSpec ingressClassName*
networking.v1.IngressStatus loadBalancer&
networking.v1.NetworkPolicy metadata& spec&
networking.v1.NetworkPolicyList metadata&
networking.v1.NetworkPolicyPort protocol*:v1.Protocol
networking.v1.NetworkPolicySpec podSelector&! policyTypes:[]PolicyType
networking.v1.ParentReference name~ resource~
networking.v1.ServiceBackendPort number&
networking.v1.ServiceCIDR metadata& spec& status&
networking.v1.ServiceCIDRList metadata&
networking.v1beta1.IPAddress metadata& spec~
networking.v1beta1.IPAddressList metadata&
networking.v1beta1.IPAddressSpec parentRef*~
networking.v1beta1.ParentReference name~ resource~
networking.v1beta1.ServiceCIDR metadata& spec& status&
networking.v1beta1.ServiceCIDRList metadata&
node.v1.Overhead podFixed:corev1.ResourceList
node.v1.RuntimeClass metadata&
node.v1.RuntimeClassList metadata&
policy.v1.Eviction metadata&
policy.v1.PodDisruptionBudget metadata& spec& status&
policy.v1.PodDisruptionBudgetList metadata&
policy.v1.PodDisruptionBudgetSpec unhealthyPodEvictionPolicy*:UnhealthyPodEvictionPolicyType
policy.v1.PodDisruptionBudgetStatus currentHealthy&! desiredHealthy&! disruptionsAllowed&! expectedPods&! observedGeneration&
rbac.v1.ClusterRole metadata& rules!
rbac.v1.ClusterRoleBinding metadata&
rbac.v1.ClusterRoleBindingList metadata&
rbac.v1.ClusterRoleList metadata&
rbac.v1.Role metadata& rules!
rbac.v1.RoleBinding metadata&
rbac.v1.RoleBindingList metadata&
rbac.v1.RoleList metadata&
rbac.v1.RoleRef apiGroup!
resource.v1.AllocatedDeviceStatus conditions! shareID*
resource.v1.AllocationResult devices&
resource.v1.CapacityRequestPolicy default!
resource.v1.CapacityRequestPolicyRange min*~
resource.v1.CapacityRequirements requests:map[QualifiedName]resource.Quantity
resource.v1.CounterSet counters~
resource.v1.Device attributes:map[QualifiedName]DeviceAttribute capacity:map[QualifiedName]DeviceCapacity nodeName* nodeAllocatableResources:map[v1.ResourceName]NodeAllocatableResource
resource.v1.DeviceAllocationConfiguration source:AllocationConfigSource
resource.v1.DeviceAttribute string* version*
resource.v1.DeviceClaim requests!
resource.v1.DeviceClass metadata& spec&!
resource.v1.DeviceClassList metadata&
resource.v1.DeviceClassSpec extendedResourceName*
resource.v1.DeviceConstraint distinctAttribute*:FullyQualifiedName matchAttribute*:FullyQualifiedName
resource.v1.DeviceCounterConsumption counters~
resource.v1.DeviceRequestAllocationResult consumedCapacity:map[QualifiedName]resource.Quantity shareID*:types.UID skipNodeOperations:[]SkipNodeOperation
resource.v1.DeviceSubRequest allocationMode:DeviceAllocationMode count&
resource.v1.DeviceTaint effect:DeviceTaintEffect
resource.v1.DeviceTaintRule metadata& status&
resource.v1.DeviceTaintRuleList metadata&
resource.v1.DeviceTaintRuleSpec taint~
resource.v1.DeviceTaintSelector device* driver* pool*
resource.v1.DeviceToleration effect:DeviceTaintEffect operator:DeviceTolerationOperator
resource.v1.ExactDeviceRequest allocationMode:DeviceAllocationMode count&
resource.v1.NodeAllocatableMapping capacityKey*:QualifiedName
resource.v1.ResourceClaim metadata& spec&! status&
resource.v1.ResourceClaimConsumerReference uid:types.UID
resource.v1.ResourceClaimList metadata&
resource.v1.ResourceClaimSpec devices&!
resource.v1.ResourceClaimTemplate metadata& spec&!
resource.v1.ResourceClaimTemplateList metadata&
resource.v1.ResourceClaimTemplateSpec metadata& spec&!
resource.v1.ResourceSlice metadata&
resource.v1.ResourceSliceList metadata&
resource.v1.ResourceSliceSpec nodeName* partitionTypeAttribute*:FullyQualifiedName skipNodeOperations:[]SkipNodeOperation
resource.v1alpha3.DeviceTaint effect:DeviceTaintEffect
resource.v1alpha3.DeviceTaintRule metadata& status&
resource.v1alpha3.DeviceTaintRuleList metadata&
resource.v1alpha3.DeviceTaintRuleSpec taint~
resource.v1alpha3.DeviceTaintSelector device* driver* pool*
resource.v1alpha3.PartitionTypeStatus allocatable*~ attribute~ total*~ type~
resource.v1alpha3.PoolStatus driver~ nodeName* poolName~ validationError*
resource.v1alpha3.ResourcePoolStatusRequest metadata~
resource.v1alpha3.ResourcePoolStatusRequestList metadata&
resource.v1alpha3.ResourcePoolStatusRequestSpec poolName* defaultPartitionTypeAttribute*
resource.v1alpha3.ResourcePoolStatusRequestStatus poolCount*~
resource.v1alpha3.ShareableCapacityStatus available*~ consumed*~ name~ total*~
resource.v1alpha3.ShareableSummaryStatus fullyAvailableDevices*~ partiallyAvailableDevices*~
resource.v1beta1.AllocatedDeviceStatus conditions! shareID*
resource.v1beta1.AllocationResult devices&
resource.v1beta1.BasicDevice attributes:map[QualifiedName]DeviceAttribute capacity:map[QualifiedName]DeviceCapacity nodeName* nodeAllocatableResources:map[v1.ResourceName]NodeAllocatableResource
resource.v1beta1.CapacityRequestPolicy default!
resource.v1beta1.CapacityRequestPolicyRange min*~
resource.v1beta1.CapacityRequirements requests:map[QualifiedName]resource.Quantity
resource.v1beta1.CounterSet counters~
resource.v1beta1.DeviceAllocationConfiguration source:AllocationConfigSource
resource.v1beta1.DeviceAttribute string* version*
resource.v1beta1.DeviceClaim requests!
resource.v1beta1.DeviceClass metadata& spec&!
resource.v1beta1.DeviceClassList metadata&
resource.v1beta1.DeviceClassSpec extendedResourceName*
resource.v1beta1.DeviceConstraint matchAttribute*:FullyQualifiedName distinctAttribute*:FullyQualifiedName
resource.v1beta1.DeviceCounterConsumption counters~
resource.v1beta1.DeviceRequest allocationMode:DeviceAllocationMode count& deviceClassName!
resource.v1beta1.DeviceRequestAllocationResult consumedCapacity:map[QualifiedName]resource.Quantity shareID*:types.UID skipNodeOperations:[]SkipNodeOperation
resource.v1beta1.DeviceSubRequest allocationMode:DeviceAllocationMode count&
resource.v1beta1.DeviceTaint effect:DeviceTaintEffect
resource.v1beta1.DeviceToleration effect:DeviceTaintEffect operator:DeviceTolerationOperator
resource.v1beta1.NodeAllocatableMapping capacityKey*:QualifiedName
resource.v1beta1.ResourceClaim metadata& spec&! status&
resource.v1beta1.ResourceClaimConsumerReference uid:types.UID
resource.v1beta1.ResourceClaimList metadata&
resource.v1beta1.ResourceClaimSpec devices&!
resource.v1beta1.ResourceClaimTemplate metadata& spec&!
resource.v1beta1.ResourceClaimTemplateList metadata&
resource.v1beta1.ResourceClaimTemplateSpec metadata& spec&!
resource.v1beta1.ResourceSlice metadata&
resource.v1beta1.ResourceSliceList metadata&
resource.v1beta1.ResourceSliceSpec allNodes& partitionTypeAttribute*:FullyQualifiedName skipNodeOperations:[]SkipNodeOperation
resource.v1beta2.AllocatedDeviceStatus conditions! shareID*
resource.v1beta2.AllocationResult devices&
resource.v1beta2.CapacityRequestPolicy default!
resource.v1beta2.CapacityRequestPolicyRange min*~
resource.v1beta2.CapacityRequirements requests:map[QualifiedName]resource.Quantity
resource.v1beta2.CounterSet counters~
resource.v1beta2.Device attributes:map[QualifiedName]DeviceAttribute capacity:map[QualifiedName]DeviceCapacity nodeName* nodeAllocatableResources:map[v1.ResourceName]NodeAllocatableResource
resource.v1beta2.DeviceAllocationConfiguration source:AllocationConfigSource
resource.v1beta2.DeviceAttribute string* version*
resource.v1beta2.DeviceClaim requests!
resource.v1beta2.DeviceClass metadata& spec&!
resource.v1beta2.DeviceClassList metadata&
resource.v1beta2.DeviceClassSpec extendedResourceName*
resource.v1beta2.DeviceConstraint matchAttribute*:FullyQualifiedName distinctAttribute*:FullyQualifiedName
resource.v1beta2.DeviceCounterConsumption counters~
resource.v1beta2.DeviceRequestAllocationResult consumedCapacity:map[QualifiedName]resource.Quantity shareID*:types.UID skipNodeOperations:[]SkipNodeOperation
resource.v1beta2.DeviceSubRequest allocationMode:DeviceAllocationMode count&
resource.v1beta2.DeviceTaint effect:DeviceTaintEffect
resource.v1beta2.DeviceTaintRule metadata& status&
resource.v1beta2.DeviceTaintRuleList metadata&
resource.v1beta2.DeviceTaintRuleSpec taint~
resource.v1beta2.DeviceTaintSelector device* driver* pool*
resource.v1beta2.DeviceToleration effect:DeviceTaintEffect operator:DeviceTolerationOperator
resource.v1beta2.ExactDeviceRequest allocationMode:DeviceAllocationMode count&
resource.v1beta2.NodeAllocatableMapping capacityKey*:QualifiedName
resource.v1beta2.ResourceClaim metadata& spec&! status&
resource.v1beta2.ResourceClaimConsumerReference uid:types.UID
resource.v1beta2.ResourceClaimList metadata&
resource.v1beta2.ResourceClaimSpec devices&!
resource.v1beta2.ResourceClaimTemplate metadata& spec&!
resource.v1beta2.ResourceClaimTemplateList metadata&
resource.v1beta2.ResourceClaimTemplateSpec metadata& spec&!
resource.v1beta2.ResourceSlice metadata&
resource.v1beta2.ResourceSliceList metadata&
resource.v1beta2.ResourceSliceSpec nodeName* partitionTypeAttribute*:FullyQualifiedName skipNodeOperations:[]SkipNodeOperation
scheduling.v1.PriorityClass globalDefault& metadata& preemptionPolicy*:apiv1.PreemptionPolicy value&!
scheduling.v1.PriorityClassList metadata&
scheduling.v1alpha3.CompositePodGroup metadata& status&
scheduling.v1alpha3.CompositePodGroupList metadata&
scheduling.v1alpha3.CompositePodGroupSpec parentCompositePodGroupName* preemptionPolicy*:PreemptionPolicy workloadRef*
scheduling.v1alpha3.CompositePodGroupTemplate preemptionPolicy*:PreemptionPolicy
scheduling.v1alpha3.PodGroup metadata& status&
scheduling.v1alpha3.PodGroupList metadata&
scheduling.v1alpha3.PodGroupResourceClaim resourceClaimName* resourceClaimTemplateName*
scheduling.v1alpha3.PodGroupResourceClaimStatus resourceClaimName*
scheduling.v1alpha3.PodGroupSpec parentCompositePodGroupName* preemptionPolicy*:PreemptionPolicy
scheduling.v1alpha3.PodGroupTemplate preemptionPolicy*:PreemptionPolicy schedulingConstraints!
scheduling.v1alpha3.Workload metadata&
scheduling.v1alpha3.WorkloadList metadata&
scheduling.v1alpha3.WorkloadPodGroupResourceClaim resourceClaimName* resourceClaimTemplateName*
scheduling.v1alpha3.WorkloadSpec podGroupTemplates!
scheduling.v1beta1.CompositePodGroupTemplate preemptionPolicy*:PreemptionPolicy
scheduling.v1beta1.PodGroup metadata& status&
scheduling.v1beta1.PodGroupList metadata&
scheduling.v1beta1.PodGroupResourceClaim resourceClaimName* resourceClaimTemplateName*
scheduling.v1beta1.PodGroupResourceClaimStatus resourceClaimName*
scheduling.v1beta1.PodGroupSpec parentCompositePodGroupName* preemptionPolicy*:PreemptionPolicy
scheduling.v1beta1.PodGroupTemplate preemptionPolicy*:PreemptionPolicy schedulingConstraints!
scheduling.v1beta1.Workload metadata&
scheduling.v1beta1.WorkloadList metadata&
scheduling.v1beta1.WorkloadSpec podGroupTemplates!
storage.v1.CSIDriver metadata&
storage.v1.CSIDriverList metadata&
storage.v1.CSIDriverSpec fsGroupPolicy*:FSGroupPolicy volumeLifecycleModes:[]VolumeLifecycleMode
storage.v1.CSINode metadata& status&
storage.v1.CSINodeDriver topologyKeys!
storage.v1.CSINodeList metadata&
storage.v1.CSIStorageCapacity metadata&
storage.v1.CSIStorageCapacityList metadata&
storage.v1.StorageClass metadata& reclaimPolicy*:v1.PersistentVolumeReclaimPolicy volumeBindingMode*:VolumeBindingMode
storage.v1.StorageClassList metadata&
storage.v1.StorageHealthCondition accessMode*:v1.PersistentVolumeAccessMode lastTransitionTime& status:StorageHealthStatusType volumeMode*:v1.PersistentVolumeMode
storage.v1.VolumeAttachment metadata& status&
storage.v1.VolumeAttachmentList metadata&
storage.v1.VolumeAttachmentSource persistentVolumeName*
storage.v1.VolumeAttributesClass metadata&
storage.v1.VolumeAttributesClassList metadata&
storage.v1.VolumeError time&
storage.v1alpha1.VolumeAttributesClass metadata&
storage.v1alpha1.VolumeAttributesClassList metadata&
storage.v1beta1.VolumeAttributesClass metadata&
storage.v1beta1.VolumeAttributesClassList metadata&
storagemigration.v1.StorageVersionMigration metadata& spec& status&
storagemigration.v1.StorageVersionMigrationList metadata&
storagemigration.v1beta1.StorageVersionMigration metadata& spec& status&
storagemigration.v1beta1.StorageVersionMigrationList metadata&
"""
