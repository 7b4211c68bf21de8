"""What the published schema does not say about the Go types behind it.

Facts about the representation of fields that decide which empty fields are written and how decoding
errors name a type (source: the `types.go` files of k8s.io/api, k8s.io/apimachinery and others). One line
per type. A field is left out when it follows the rule: structs, numbers and booleans are held by
pointer, all else by value, and an empty value is not written. After a field's name:

`&` held by value (a struct is then always written), `*` held by pointer (an empty value is kept),
`!` written even when empty, `z` left out when zero, `:T` the name of its Go type.
Owns data only: nothing here may compute.
"""

from __future__ import annotations

__all__ = ["FACTS"]

FACTS = """\
admissionregistration.v1.ApplyConfiguration
admissionregistration.v1.AuditAnnotation key! valueExpression!
admissionregistration.v1.ExpressionWarning fieldRef! warning!
admissionregistration.v1.JSONPatch
admissionregistration.v1.MatchCondition expression! name!
admissionregistration.v1.MatchResources matchPolicy*:MatchPolicyType
admissionregistration.v1.MutatingAdmissionPolicy metadata& spec&
admissionregistration.v1.MutatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1.MutatingAdmissionPolicyBindingList items! metadata&
admissionregistration.v1.MutatingAdmissionPolicyBindingSpec
admissionregistration.v1.MutatingAdmissionPolicyList items! metadata&
admissionregistration.v1.MutatingAdmissionPolicySpec failurePolicy*:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType
admissionregistration.v1.MutatingWebhook admissionReviewVersions! clientConfig&! failurePolicy*:FailurePolicyType matchPolicy*:MatchPolicyType name! reinvocationPolicy*:ReinvocationPolicyType sideEffects*!:SideEffectClass
admissionregistration.v1.MutatingWebhookConfiguration metadata&
admissionregistration.v1.MutatingWebhookConfigurationList items! metadata&
admissionregistration.v1.Mutation patchType!:PatchType
admissionregistration.v1.NamedRuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1.ParamKind
admissionregistration.v1.ParamRef parameterNotFoundAction*:ParameterNotFoundActionType
admissionregistration.v1.RuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1.ServiceReference name! namespace! path*
admissionregistration.v1.TypeChecking
admissionregistration.v1.ValidatingAdmissionPolicy metadata& spec& status&
admissionregistration.v1.ValidatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1.ValidatingAdmissionPolicyBindingList items! metadata&
admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec validationActions:[]ValidationAction
admissionregistration.v1.ValidatingAdmissionPolicyList items! metadata&
admissionregistration.v1.ValidatingAdmissionPolicySpec failurePolicy*:FailurePolicyType
admissionregistration.v1.ValidatingAdmissionPolicyStatus observedGeneration&
admissionregistration.v1.ValidatingWebhook admissionReviewVersions! clientConfig&! failurePolicy*:FailurePolicyType matchPolicy*:MatchPolicyType name! sideEffects*!:SideEffectClass
admissionregistration.v1.ValidatingWebhookConfiguration metadata&
admissionregistration.v1.ValidatingWebhookConfigurationList items! metadata&
admissionregistration.v1.Validation expression! reason*:metav1.StatusReason
admissionregistration.v1.Variable expression! name!
admissionregistration.v1.WebhookClientConfig url*
admissionregistration.v1alpha1.ApplyConfiguration
admissionregistration.v1alpha1.AuditAnnotation key! valueExpression!
admissionregistration.v1alpha1.ExpressionWarning fieldRef! warning!
admissionregistration.v1alpha1.JSONPatch
admissionregistration.v1alpha1.MatchResources matchPolicy*:MatchPolicyType
admissionregistration.v1alpha1.MutatingAdmissionPolicy metadata& spec&
admissionregistration.v1alpha1.MutatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1alpha1.MutatingAdmissionPolicyBindingList items! metadata&
admissionregistration.v1alpha1.MutatingAdmissionPolicyBindingSpec
admissionregistration.v1alpha1.MutatingAdmissionPolicyList items! metadata&
admissionregistration.v1alpha1.MutatingAdmissionPolicySpec failurePolicy*:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType
admissionregistration.v1alpha1.Mutation patchType!:PatchType
admissionregistration.v1alpha1.NamedRuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1alpha1.ParamKind
admissionregistration.v1alpha1.ParamRef parameterNotFoundAction*:ParameterNotFoundActionType
admissionregistration.v1alpha1.TypeChecking
admissionregistration.v1alpha1.ValidatingAdmissionPolicy metadata& spec& status&
admissionregistration.v1alpha1.ValidatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1alpha1.ValidatingAdmissionPolicyBindingList items! metadata&
admissionregistration.v1alpha1.ValidatingAdmissionPolicyBindingSpec validationActions:[]ValidationAction
admissionregistration.v1alpha1.ValidatingAdmissionPolicyList items! metadata&
admissionregistration.v1alpha1.ValidatingAdmissionPolicySpec failurePolicy*:FailurePolicyType
admissionregistration.v1alpha1.ValidatingAdmissionPolicyStatus observedGeneration&
admissionregistration.v1alpha1.Validation expression! reason*:metav1.StatusReason
admissionregistration.v1alpha1.Variable expression! name!
admissionregistration.v1beta1.ApplyConfiguration
admissionregistration.v1beta1.AuditAnnotation key! valueExpression!
admissionregistration.v1beta1.ExpressionWarning fieldRef! warning!
admissionregistration.v1beta1.JSONPatch
admissionregistration.v1beta1.MatchCondition expression! name!
admissionregistration.v1beta1.MatchResources matchPolicy*:MatchPolicyType
admissionregistration.v1beta1.MutatingAdmissionPolicy metadata& spec&
admissionregistration.v1beta1.MutatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1beta1.MutatingAdmissionPolicyBindingList items! metadata&
admissionregistration.v1beta1.MutatingAdmissionPolicyBindingSpec
admissionregistration.v1beta1.MutatingAdmissionPolicyList items! metadata&
admissionregistration.v1beta1.MutatingAdmissionPolicySpec failurePolicy*:FailurePolicyType reinvocationPolicy:ReinvocationPolicyType
admissionregistration.v1beta1.Mutation patchType!:PatchType
admissionregistration.v1beta1.NamedRuleWithOperations operations:[]OperationType scope*:ScopeType
admissionregistration.v1beta1.ParamKind
admissionregistration.v1beta1.ParamRef parameterNotFoundAction*:ParameterNotFoundActionType
admissionregistration.v1beta1.TypeChecking
admissionregistration.v1beta1.ValidatingAdmissionPolicy metadata& spec& status&
admissionregistration.v1beta1.ValidatingAdmissionPolicyBinding metadata& spec&
admissionregistration.v1beta1.ValidatingAdmissionPolicyBindingList items! metadata&
admissionregistration.v1beta1.ValidatingAdmissionPolicyBindingSpec validationActions:[]ValidationAction
admissionregistration.v1beta1.ValidatingAdmissionPolicyList items! metadata&
admissionregistration.v1beta1.ValidatingAdmissionPolicySpec failurePolicy*:FailurePolicyType
admissionregistration.v1beta1.ValidatingAdmissionPolicyStatus observedGeneration&
admissionregistration.v1beta1.Validation expression! reason*:metav1.StatusReason
admissionregistration.v1beta1.Variable expression! name!
apiextensions.v1.CustomResourceColumnDefinition jsonPath! name! priority& type!
apiextensions.v1.CustomResourceConversion strategy!:ConversionStrategyType
apiextensions.v1.CustomResourceDefinition metadata& spec&! status&
apiextensions.v1.CustomResourceDefinitionCondition lastTransitionTime& status!:ConditionStatus type!:CustomResourceDefinitionConditionType observedGeneration&
apiextensions.v1.CustomResourceDefinitionList items! metadata&
apiextensions.v1.CustomResourceDefinitionNames kind! plural!
apiextensions.v1.CustomResourceDefinitionSpec group! names&! preserveUnknownFields& scope!:ResourceScope versions!
apiextensions.v1.CustomResourceDefinitionStatus acceptedNames&! conditions! storedVersions! observedGeneration&
apiextensions.v1.CustomResourceDefinitionVersion deprecated& deprecationWarning* name! served&! storage&!
apiextensions.v1.CustomResourceSubresourceScale labelSelectorPath* specReplicasPath! statusReplicasPath!
apiextensions.v1.CustomResourceSubresourceStatus
apiextensions.v1.CustomResourceSubresources
apiextensions.v1.CustomResourceValidation
apiextensions.v1.ExternalDocumentation
apiextensions.v1.JSON
apiextensions.v1.JSONSchemaProps $ref* $schema:JSONSchemaURL definitions:JSONSchemaDefinitions dependencies:JSONSchemaDependencies exclusiveMaximum& exclusiveMinimum& nullable& uniqueItems& x-kubernetes-embedded-resource& x-kubernetes-int-or-string& x-kubernetes-list-type* x-kubernetes-map-type* x-kubernetes-validations:ValidationRules
apiextensions.v1.JSONSchemaPropsOrArray
apiextensions.v1.JSONSchemaPropsOrBool
apiextensions.v1.JSONSchemaPropsOrStringArray
apiextensions.v1.SelectableField jsonPath!
apiextensions.v1.ServiceReference name! namespace! path*
apiextensions.v1.ValidationRule reason*:FieldValueErrorReason rule!
apiextensions.v1.WebhookClientConfig url*
apiextensions.v1.WebhookConversion conversionReviewVersions!
apiregistration.v1.APIService metadata& spec& status&
apiregistration.v1.APIServiceCondition lastTransitionTime& status!:ConditionStatus type!:APIServiceConditionType
apiregistration.v1.APIServiceList metadata&
apiregistration.v1.APIServiceSpec insecureSkipTLSVerify& groupPriorityMinimum&! versionPriority&!
apiregistration.v1.APIServiceStatus
apiregistration.v1.ServiceReference
apiserverinternal.v1alpha1.ServerStorageVersion
apiserverinternal.v1alpha1.StorageVersion metadata& spec&! status&!
apiserverinternal.v1alpha1.StorageVersionCondition lastTransitionTime& observedGeneration& reason! status!:ConditionStatus type!:StorageVersionConditionType
apiserverinternal.v1alpha1.StorageVersionList items! metadata&
apiserverinternal.v1alpha1.StorageVersionStatus commonEncodingVersion*
apps.v1.ControllerRevision data&! metadata& revision&!
apps.v1.ControllerRevisionList items! metadata&
apps.v1.DaemonSet metadata& spec& status&
apps.v1.DaemonSetCondition lastTransitionTime& status!:v1.ConditionStatus type!:DaemonSetConditionType
apps.v1.DaemonSetList items! metadata&
apps.v1.DaemonSetSpec minReadySeconds& selector! template&! updateStrategy&
apps.v1.DaemonSetStatus currentNumberScheduled&! desiredNumberScheduled&! numberAvailable& numberMisscheduled&! numberReady&! numberUnavailable& observedGeneration& updatedNumberScheduled&
apps.v1.DaemonSetUpdateStrategy type:DaemonSetUpdateStrategyType
apps.v1.Deployment metadata& spec& status&
apps.v1.DeploymentCondition lastTransitionTime& lastUpdateTime& status!:v1.ConditionStatus type!:DeploymentConditionType
apps.v1.DeploymentList items! metadata&
apps.v1.DeploymentSpec minReadySeconds& paused& selector! strategy& template&!
apps.v1.DeploymentStatus availableReplicas& observedGeneration& readyReplicas& replicas& unavailableReplicas& updatedReplicas&
apps.v1.DeploymentStrategy type:DeploymentStrategyType
apps.v1.ReplicaSet metadata& spec& status&
apps.v1.ReplicaSetCondition lastTransitionTime& status!:v1.ConditionStatus type!:ReplicaSetConditionType
apps.v1.ReplicaSetList items! metadata&
apps.v1.ReplicaSetSpec minReadySeconds& selector! template&
apps.v1.ReplicaSetStatus availableReplicas& fullyLabeledReplicas& observedGeneration& readyReplicas& replicas&!
apps.v1.RollingUpdateDaemonSet
apps.v1.RollingUpdateDeployment
apps.v1.RollingUpdateStatefulSetStrategy
apps.v1.StatefulSet metadata& spec& status&
apps.v1.StatefulSetCondition lastTransitionTime& status!:v1.ConditionStatus type!:StatefulSetConditionType
apps.v1.StatefulSetList items! metadata&
apps.v1.StatefulSetOrdinals start&!
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted:PersistentVolumeClaimRetentionPolicyType whenScaled:PersistentVolumeClaimRetentionPolicyType
apps.v1.StatefulSetSpec minReadySeconds& podManagementPolicy:PodManagementPolicyType selector! serviceName! template&! updateStrategy&
apps.v1.StatefulSetStatus availableReplicas&! currentReplicas& observedGeneration& readyReplicas& replicas&! updatedReplicas&
apps.v1.StatefulSetUpdateStrategy type:StatefulSetUpdateStrategyType
authentication.v1.BoundObjectReference uid:types.UID
authentication.v1.SelfSubjectReview metadata& status&
authentication.v1.SelfSubjectReviewStatus userInfo&
authentication.v1.TokenRequest metadata& spec&! status&
authentication.v1.TokenRequestSpec audiences! boundObjectRef! expirationSeconds! attestations:map[string]AttestationValue
authentication.v1.TokenRequestStatus expirationTimestamp&! token!
authentication.v1.TokenReview metadata& spec&! status&
authentication.v1.TokenReviewSpec
authentication.v1.TokenReviewStatus authenticated& user&
authentication.v1.UserInfo extra:map[string]ExtraValue
authentication.v1alpha1.SelfSubjectReview metadata& status&
authentication.v1alpha1.SelfSubjectReviewStatus userInfo&
authentication.v1beta1.SelfSubjectReview metadata& status&
authentication.v1beta1.SelfSubjectReviewStatus userInfo&
authorization.v1.FieldSelectorAttributes
authorization.v1.LabelSelectorAttributes
authorization.v1.LocalSubjectAccessReview metadata& spec&! status&
authorization.v1.NonResourceAttributes
authorization.v1.NonResourceRule verbs!
authorization.v1.ResourceAttributes
authorization.v1.ResourceRule verbs!
authorization.v1.SelfSubjectAccessReview metadata& spec&! status&
authorization.v1.SelfSubjectAccessReviewSpec
authorization.v1.SelfSubjectRulesReview metadata& spec&! status&
authorization.v1.SelfSubjectRulesReviewSpec
authorization.v1.SubjectAccessReview metadata& spec&! status&
authorization.v1.SubjectAccessReviewSpec extra:map[string]ExtraValue
authorization.v1.SubjectAccessReviewStatus allowed&! denied&
authorization.v1.SubjectRulesReviewStatus incomplete&! nonResourceRules! resourceRules!
autoscaling.v1.CrossVersionObjectReference kind! name!
autoscaling.v1.HorizontalPodAutoscaler metadata& spec& status&
autoscaling.v1.HorizontalPodAutoscalerList items! metadata&
autoscaling.v1.HorizontalPodAutoscalerSpec maxReplicas&! scaleTargetRef&!
autoscaling.v1.HorizontalPodAutoscalerStatus currentReplicas&! desiredReplicas&!
autoscaling.v1.Scale metadata& spec& status&
autoscaling.v1.ScaleSpec replicas&
autoscaling.v1.ScaleStatus replicas&!
autoscaling.v2.ContainerResourceMetricSource container! name!:v1.ResourceName target&!
autoscaling.v2.ContainerResourceMetricStatus container! current&! name!:v1.ResourceName
autoscaling.v2.CrossVersionObjectReference kind! name!
autoscaling.v2.ExternalMetricSource metric&! target&!
autoscaling.v2.ExternalMetricStatus current&! metric&!
autoscaling.v2.HPAScalingPolicy periodSeconds&! type!:HPAScalingPolicyType value&!
autoscaling.v2.HPAScalingRules selectPolicy*:ScalingPolicySelect
autoscaling.v2.HorizontalPodAutoscaler metadata& spec& status&
autoscaling.v2.HorizontalPodAutoscalerBehavior
autoscaling.v2.HorizontalPodAutoscalerCondition lastTransitionTime& status!:v1.ConditionStatus type!:HorizontalPodAutoscalerConditionType
autoscaling.v2.HorizontalPodAutoscalerList items! metadata&
autoscaling.v2.HorizontalPodAutoscalerSpec maxReplicas&! scaleTargetRef&!
autoscaling.v2.HorizontalPodAutoscalerStatus currentMetrics! currentReplicas& desiredReplicas&!
autoscaling.v2.MetricIdentifier name!
autoscaling.v2.MetricSpec type!:MetricSourceType
autoscaling.v2.MetricStatus type!:MetricSourceType
autoscaling.v2.MetricTarget type!:MetricTargetType
autoscaling.v2.MetricValueStatus
autoscaling.v2.ObjectMetricSource describedObject&! metric&! target&!
autoscaling.v2.ObjectMetricStatus current&! describedObject&! metric&!
autoscaling.v2.PodsMetricSource metric&! target&!
autoscaling.v2.PodsMetricStatus current&! metric&!
autoscaling.v2.ResourceMetricSource name!:v1.ResourceName target&!
autoscaling.v2.ResourceMetricStatus current&! name!:v1.ResourceName
batch.v1.CronJob metadata& spec& status&
batch.v1.CronJobList items! metadata&
batch.v1.CronJobSpec concurrencyPolicy:ConcurrencyPolicy jobTemplate&! schedule! timeZone*
batch.v1.CronJobStatus
batch.v1.Job metadata& spec& status&
batch.v1.JobCondition lastProbeTime& lastTransitionTime& status!:corev1.ConditionStatus type!:JobConditionType
batch.v1.JobList items! metadata&
batch.v1.JobSchedulingConfiguration
batch.v1.JobSpec completionMode*:CompletionMode managedBy* podReplacementPolicy*:PodReplacementPolicy template&!
batch.v1.JobStatus active& failed& failedIndexes* succeeded&
batch.v1.JobTemplateSpec metadata& spec&
batch.v1.PodFailurePolicy rules!
batch.v1.PodFailurePolicyOnExitCodesRequirement containerName* operator!:PodFailurePolicyOnExitCodesOperator values!
batch.v1.PodFailurePolicyOnPodConditionsPattern status!:corev1.ConditionStatus type!:corev1.PodConditionType
batch.v1.PodFailurePolicyRule action!:PodFailurePolicyAction
batch.v1.SuccessPolicy rules!
batch.v1.SuccessPolicyRule succeededIndexes*
batch.v1.UncountedTerminatedPods failed:[]types.UID succeeded:[]types.UID
certificates.v1.CertificateSigningRequest metadata& spec&! status&
certificates.v1.CertificateSigningRequestCondition lastTransitionTime& lastUpdateTime& status!:v1.ConditionStatus type!:RequestConditionType
certificates.v1.CertificateSigningRequestList items! metadata&
certificates.v1.CertificateSigningRequestSpec extra:map[string]ExtraValue request! signerName! usages:[]KeyUsage
certificates.v1.CertificateSigningRequestStatus
certificates.v1.ClusterTrustBundle metadata& spec&!
certificates.v1.ClusterTrustBundleList items! metadata&
certificates.v1.ClusterTrustBundleSpec trustBundle!
certificates.v1.PodCertificateRequest metadata& spec&! status&
certificates.v1.PodCertificateRequestList items! metadata&
certificates.v1.PodCertificateRequestSpec nodeName!:types.NodeName nodeUID!:types.UID podName! podUID!:types.UID serviceAccountName! serviceAccountUID!:types.UID signerName! stubPKCS10Request!
certificates.v1.PodCertificateRequestStatus
certificates.v1alpha1.ClusterTrustBundle metadata& spec&!
certificates.v1alpha1.ClusterTrustBundleList items! metadata&
certificates.v1alpha1.ClusterTrustBundleSpec trustBundle!
certificates.v1beta1.ClusterTrustBundle metadata& spec&!
certificates.v1beta1.ClusterTrustBundleList items! metadata&
certificates.v1beta1.ClusterTrustBundleSpec trustBundle!
certificates.v1beta1.PodCertificateRequest metadata& spec&! status&
certificates.v1beta1.PodCertificateRequestList items! metadata&
certificates.v1beta1.PodCertificateRequestSpec nodeName!:types.NodeName nodeUID!:types.UID pkixPublicKey! podName! podUID!:types.UID proofOfPossession! serviceAccountName! serviceAccountUID!:types.UID signerName! stubPKCS10Request!
certificates.v1beta1.PodCertificateRequestStatus
coordination.v1.Lease metadata& spec&
coordination.v1.LeaseList items! metadata&
coordination.v1.LeaseSpec holderIdentity* preferredHolder* strategy*:CoordinatedLeaseStrategy
coordination.v1alpha2.LeaseCandidate metadata& spec&
coordination.v1alpha2.LeaseCandidateList items! metadata&
coordination.v1alpha2.LeaseCandidateSpec binaryVersion! leaseName! strategy:v1.CoordinatedLeaseStrategy
coordination.v1beta1.LeaseCandidate metadata& spec&
coordination.v1beta1.LeaseCandidateList items! metadata&
coordination.v1beta1.LeaseCandidateSpec binaryVersion! leaseName! strategy:v1.CoordinatedLeaseStrategy
core.v1.AWSElasticBlockStoreVolumeSource partition& readOnly& volumeID!
core.v1.Affinity
core.v1.AppArmorProfile localhostProfile* type!:AppArmorProfileType
core.v1.AttachedVolume devicePath! name!:UniqueVolumeName
core.v1.AzureDiskVolumeSource cachingMode*:AzureDataDiskCachingMode diskName! diskURI! fsType* kind*:AzureDataDiskKind
core.v1.AzureFilePersistentVolumeSource readOnly& secretName! secretNamespace*! shareName!
core.v1.AzureFileVolumeSource readOnly& secretName! shareName!
core.v1.Binding metadata& target&!
core.v1.CSIPersistentVolumeSource driver! readOnly& volumeHandle!
core.v1.CSIVolumeSource driver! fsType*
core.v1.Capabilities add:[]Capability drop:[]Capability
core.v1.CephFSPersistentVolumeSource monitors! readOnly&
core.v1.CephFSVolumeSource monitors! readOnly&
core.v1.CinderPersistentVolumeSource readOnly& volumeID!
core.v1.CinderVolumeSource readOnly& volumeID!
core.v1.ClientIPConfig
core.v1.ClusterTrustBundleProjection name* path! signerName*
core.v1.ComponentCondition status!:ConditionStatus type!:ComponentConditionType
core.v1.ComponentStatus metadata&
core.v1.ComponentStatusList items! metadata&
core.v1.ConfigMap metadata&
core.v1.ConfigMapEnvSource
core.v1.ConfigMapKeySelector key!
core.v1.ConfigMapList items! metadata&
core.v1.ConfigMapNodeConfigSource kubeletConfigKey! name! namespace! uid:types.UID
core.v1.ConfigMapProjection
core.v1.ConfigMapVolumeSource
core.v1.Container imagePullPolicy:PullPolicy name! resources& restartPolicy*:ContainerRestartPolicy stdin& stdinOnce& terminationMessagePolicy:TerminationMessagePolicy tty&
core.v1.ContainerExtendedResourceRequest containerName! requestName! resourceName!
core.v1.ContainerImage names! sizeBytes&
core.v1.ContainerPort containerPort&! hostPort& protocol:Protocol
core.v1.ContainerResizePolicy resourceName!:ResourceName restartPolicy!:ResourceResizeRestartPolicy
core.v1.ContainerRestartRule action:ContainerRestartRuleAction
core.v1.ContainerRestartRuleOnExitCodes operator:ContainerRestartRuleOnExitCodesOperator
core.v1.ContainerState
core.v1.ContainerStateRunning startedAt&
core.v1.ContainerStateTerminated exitCode&! finishedAt& signal& startedAt&
core.v1.ContainerStateWaiting
core.v1.ContainerStatus allocatedResources:ResourceList image! imageID! lastState& name! ready&! restartCount&! state& stopSignal*:Signal
core.v1.ContainerUser
core.v1.DaemonEndpoint Port&!
core.v1.DownwardAPIProjection
core.v1.DownwardAPIVolumeFile path!
core.v1.DownwardAPIVolumeSource
core.v1.EmptyDirVolumeSource medium:StorageMedium
core.v1.EndpointAddress ip! nodeName*
core.v1.EndpointPort appProtocol* port&! protocol:Protocol
core.v1.EndpointSubset
core.v1.Endpoints metadata&
core.v1.EndpointsList items! metadata&
core.v1.EnvFromSource
core.v1.EnvVar name!
core.v1.EnvVarSource
core.v1.EphemeralContainer imagePullPolicy:PullPolicy name! resources& restartPolicy*:ContainerRestartPolicy stdin& stdinOnce& terminationMessagePolicy:TerminationMessagePolicy tty&
core.v1.EphemeralVolumeSource
core.v1.Event count& eventTime& firstTimestamp& involvedObject&! lastTimestamp& metadata&! reportingComponent! reportingInstance! source&
core.v1.EventList items! metadata&
core.v1.EventSeries count& lastObservedTime&
core.v1.EventSource
core.v1.EvictionResponder name! priority!
core.v1.ExecAction
core.v1.FCVolumeSource readOnly&
core.v1.FileKeySelector key! path! volumeName!
core.v1.FlexPersistentVolumeSource driver! readOnly&
core.v1.FlexVolumeSource driver! readOnly&
core.v1.FlockerVolumeSource
core.v1.GCEPersistentDiskVolumeSource partition& pdName! readOnly&
core.v1.GRPCAction port&! service*! mode*:GRPCProbeMode
core.v1.GitRepoVolumeSource repository!
core.v1.GlusterfsPersistentVolumeSource endpoints! endpointsNamespace* path! readOnly&
core.v1.GlusterfsVolumeSource endpoints! path! readOnly&
core.v1.HTTPGetAction port&! scheme:URIScheme protocol*:HTTPProtocol
core.v1.HTTPHeader name! value!
core.v1.HostAlias ip!
core.v1.HostIP ip!
core.v1.HostPathVolumeSource path! type*:HostPathType
core.v1.ISCSIPersistentVolumeSource chapAuthDiscovery& chapAuthSession& initiatorName* iqn! lun&! readOnly& targetPortal!
core.v1.ISCSIVolumeSource chapAuthDiscovery& chapAuthSession& initiatorName* iqn! lun&! readOnly& targetPortal!
core.v1.ImageVolumeSource pullPolicy:PullPolicy
core.v1.ImageVolumeStatus
core.v1.KeyToPath key! path!
core.v1.Lifecycle stopSignal*:Signal
core.v1.LifecycleHandler
core.v1.LimitRange metadata& spec&
core.v1.LimitRangeItem default:ResourceList defaultRequest:ResourceList max:ResourceList maxLimitRequestRatio:ResourceList min:ResourceList type!:LimitType
core.v1.LimitRangeList items! metadata&
core.v1.LimitRangeSpec limits!
core.v1.LinuxContainerUser gid&! uid&!
core.v1.LoadBalancerIngress ipMode*:LoadBalancerIPMode
core.v1.LoadBalancerStatus
core.v1.LocalObjectReference
core.v1.LocalVolumeSource fsType* path!
core.v1.ModifyVolumeStatus status!:PersistentVolumeClaimModifyVolumeStatus
core.v1.NFSVolumeSource path! readOnly& server!
core.v1.Namespace metadata& spec& status&
core.v1.NamespaceCondition lastTransitionTime& status!:ConditionStatus type!:NamespaceConditionType
core.v1.NamespaceList items! metadata&
core.v1.NamespaceSpec finalizers:[]FinalizerName
core.v1.NamespaceStatus phase:NamespacePhase
core.v1.Node metadata& spec& status&
core.v1.NodeAddress address! type!:NodeAddressType
core.v1.NodeAffinity
core.v1.NodeAllocatableMappedResources name!:ResourceName quantity!
core.v1.NodeAllocatableOverheadResources name!:ResourceName
core.v1.NodeAllocatableResourceClaimStatus resourceClaimName!
core.v1.NodeCondition lastHeartbeatTime& lastTransitionTime& status!:ConditionStatus type!:NodeConditionType
core.v1.NodeConfigSource
core.v1.NodeConfigStatus
core.v1.NodeDaemonEndpoints kubeletEndpoint&
core.v1.NodeFeatures
core.v1.NodeList items! metadata&
core.v1.NodePodPreemptionPolicy
core.v1.NodeRuntimeHandler name!
core.v1.NodeRuntimeHandlerFeatures
core.v1.NodeSelector nodeSelectorTerms!
core.v1.NodeSelectorRequirement key! operator!:NodeSelectorOperator
core.v1.NodeSelectorTerm
core.v1.NodeSpec unschedulable&
core.v1.NodeStatus allocatable:ResourceList capacity:ResourceList daemonEndpoints& nodeInfo& phase:NodePhase volumesInUse:[]UniqueVolumeName
core.v1.NodeSwapStatus
core.v1.NodeSystemInfo architecture! bootID! containerRuntimeVersion! kernelVersion! kubeProxyVersion! kubeletVersion! machineID! operatingSystem! osImage! systemUUID!
core.v1.ObjectFieldSelector fieldPath!
core.v1.ObjectReference uid:types.UID
core.v1.PersistentVolume metadata& spec& status&
core.v1.PersistentVolumeClaim metadata& spec& status&
core.v1.PersistentVolumeClaimCondition lastProbeTime& lastTransitionTime& status!:ConditionStatus type!:PersistentVolumeClaimConditionType
core.v1.PersistentVolumeClaimList items! metadata&
core.v1.PersistentVolumeClaimSpec accessModes:[]PersistentVolumeAccessMode resources& storageClassName* volumeAttributesClassName* volumeMode*:PersistentVolumeMode
core.v1.PersistentVolumeClaimStatus accessModes:[]PersistentVolumeAccessMode allocatedResourceStatuses:map[ResourceName]ClaimResourceStatus allocatedResources:ResourceList capacity:ResourceList currentVolumeAttributesClassName* phase:PersistentVolumeClaimPhase
core.v1.PersistentVolumeClaimTemplate metadata& spec&!
core.v1.PersistentVolumeClaimVolumeSource claimName! readOnly&
core.v1.PersistentVolumeList items! metadata&
core.v1.PersistentVolumeSpec accessModes:[]PersistentVolumeAccessMode capacity:ResourceList persistentVolumeReclaimPolicy:PersistentVolumeReclaimPolicy volumeAttributesClassName* volumeMode*:PersistentVolumeMode
core.v1.PersistentVolumeStatus phase:PersistentVolumePhase
core.v1.PhotonPersistentDiskVolumeSource pdID!
core.v1.Pod metadata& spec& status&
core.v1.PodAffinity
core.v1.PodAffinityTerm topologyKey!
core.v1.PodAntiAffinity
core.v1.PodCertificateProjection
core.v1.PodCondition lastProbeTime& lastTransitionTime& status!:ConditionStatus type!:PodConditionType observedGeneration&
core.v1.PodDNSConfig
core.v1.PodDNSConfigOption value*
core.v1.PodExtendedResourceClaimStatus requestMappings! resourceClaimName!
core.v1.PodIP ip!
core.v1.PodList items! metadata&
core.v1.PodOS name!:OSName
core.v1.PodReadinessGate conditionType!:PodConditionType
core.v1.PodResourceClaim name! resourceClaimName* resourceClaimTemplateName*
core.v1.PodResourceClaimStatus name! resourceClaimName*
core.v1.PodSchedulingGate name!
core.v1.PodSchedulingGroup podGroupName*
core.v1.PodSecurityContext fsGroupChangePolicy*:PodFSGroupChangePolicy supplementalGroupsPolicy*:SupplementalGroupsPolicy seLinuxChangePolicy*:PodSELinuxChangePolicy
core.v1.PodSpec containers! dnsPolicy:DNSPolicy hostIPC& hostNetwork& hostPID& overhead:ResourceList preemptionPolicy*:PreemptionPolicy restartPolicy:RestartPolicy runtimeClassName* hostnameOverride*
core.v1.PodStatus phase:PodPhase qosClass:PodQOSClass resize:PodResizeStatus observedGeneration& allocatedResources:ResourceList
core.v1.PodTemplate metadata& template&
core.v1.PodTemplateList items! metadata&
core.v1.PodTemplateSpec metadata& spec&
core.v1.PodVolumeHealth lastTransitionTime& name!
core.v1.PortStatus error* port&! protocol!:Protocol
core.v1.PortworxVolumeSource readOnly& volumeID!
core.v1.PreferredSchedulingTerm preference&! weight&!
core.v1.Probe failureThreshold& initialDelaySeconds& periodSeconds& successThreshold& timeoutSeconds&
core.v1.ProjectedVolumeSource sources!
core.v1.QuobyteVolumeSource readOnly& registry! volume!
core.v1.RBDPersistentVolumeSource image! monitors! readOnly&
core.v1.RBDVolumeSource image! monitors! readOnly&
core.v1.ReplicationController metadata& spec& status&
core.v1.ReplicationControllerCondition lastTransitionTime& status!:ConditionStatus type!:ReplicationControllerConditionType
core.v1.ReplicationControllerList items! metadata&
core.v1.ReplicationControllerSpec minReadySeconds&
core.v1.ReplicationControllerStatus availableReplicas& fullyLabeledReplicas& observedGeneration& readyReplicas& replicas&!
core.v1.ResourceClaim name!
core.v1.ResourceFieldSelector divisor& resource!
core.v1.ResourceHealth health:ResourceHealthStatus resourceID!:ResourceID message*
core.v1.ResourceQuota metadata& spec& status&
core.v1.ResourceQuotaList items! metadata&
core.v1.ResourceQuotaSpec hard:ResourceList scopes:[]ResourceQuotaScope
core.v1.ResourceQuotaStatus hard:ResourceList used:ResourceList
core.v1.ResourceRequirements limits:ResourceList requests:ResourceList
core.v1.ResourceStatus name!:ResourceName
core.v1.SELinuxOptions
core.v1.ScaleIOPersistentVolumeSource gateway! readOnly& secretRef! sslEnabled& system!
core.v1.ScaleIOVolumeSource gateway! readOnly& secretRef! sslEnabled& system!
core.v1.ScopeSelector
core.v1.ScopedResourceSelectorRequirement operator!:ScopeSelectorOperator scopeName!:ResourceQuotaScope
core.v1.SeccompProfile localhostProfile* type!:SeccompProfileType
core.v1.Secret metadata& type:SecretType
core.v1.SecretEnvSource
core.v1.SecretKeySelector key!
core.v1.SecretList items! metadata&
core.v1.SecretProjection
core.v1.SecretReference
core.v1.SecretVolumeSource
core.v1.SecurityContext procMount*:ProcMountType
core.v1.Service metadata& spec& status&
core.v1.ServiceAccount metadata&
core.v1.ServiceAccountList items! metadata&
core.v1.ServiceAccountTokenProjection path!
core.v1.ServiceList items! metadata&
core.v1.ServicePort appProtocol* nodePort& port&! protocol:Protocol targetPort&
core.v1.ServiceSpec externalTrafficPolicy:ServiceExternalTrafficPolicy healthCheckNodePort& internalTrafficPolicy*:ServiceInternalTrafficPolicy ipFamilies:[]IPFamily ipFamilyPolicy*:IPFamilyPolicy loadBalancerClass* publishNotReadyAddresses& sessionAffinity:ServiceAffinity trafficDistribution* type:ServiceType
core.v1.ServiceStatus loadBalancer&
core.v1.SessionAffinityConfig
core.v1.SleepAction seconds&!
core.v1.StorageOSPersistentVolumeSource readOnly&
core.v1.StorageOSVolumeSource readOnly&
core.v1.Sysctl name! value!
core.v1.TCPSocketAction port&!
core.v1.Taint effect!:TaintEffect key!
core.v1.Toleration effect:TaintEffect operator:TolerationOperator
core.v1.TopologySelectorLabelRequirement key! values!
core.v1.TopologySelectorTerm
core.v1.TopologySpreadConstraint maxSkew&! nodeAffinityPolicy*:NodeInclusionPolicy nodeTaintsPolicy*:NodeInclusionPolicy topologyKey! whenUnsatisfiable!:UnsatisfiableConstraintAction
core.v1.TypedLocalObjectReference apiGroup*! kind! name!
core.v1.TypedObjectReference apiGroup*! kind! name! namespace*
core.v1.Volume name!
core.v1.VolumeDevice devicePath! name!
core.v1.VolumeHealthCondition reason! status!:VolumeHealthStatusType
core.v1.VolumeHealthStatus lastTransitionTime&
core.v1.VolumeMount mountPath! mountPropagation*:MountPropagationMode name! readOnly& recursiveReadOnly*:RecursiveReadOnlyMode
core.v1.VolumeMountStatus mountPath! name! readOnly& recursiveReadOnly*:RecursiveReadOnlyMode
core.v1.VolumeNodeAffinity
core.v1.VolumeProjection
core.v1.VolumeResourceRequirements limits:ResourceList requests:ResourceList
core.v1.VolumeStatus
core.v1.VsphereVirtualDiskVolumeSource volumePath!
core.v1.WeightedPodAffinityTerm podAffinityTerm&! weight&!
core.v1.WindowsSecurityContextOptions gmsaCredentialSpec* gmsaCredentialSpecName* runAsUserName*
discovery.v1.Endpoint addresses! conditions& hostname* nodeName* zone*
discovery.v1.EndpointConditions
discovery.v1.EndpointHints
discovery.v1.EndpointPort appProtocol* name* protocol*:v1.Protocol
discovery.v1.EndpointSlice addressType!:AddressType endpoints! metadata& ports!
discovery.v1.EndpointSliceList items! metadata&
discovery.v1.ForNode name!
discovery.v1.ForZone name!
events.v1.Event deprecatedCount& deprecatedFirstTimestamp& deprecatedLastTimestamp& deprecatedSource& eventTime&! metadata&! regarding&
events.v1.EventList items! metadata&
events.v1.EventSeries count&! lastObservedTime&!
flowcontrol.v1.ExemptPriorityLevelConfiguration
flowcontrol.v1.FlowDistinguisherMethod type!:FlowDistinguisherMethodType
flowcontrol.v1.FlowSchema metadata& spec& status&
flowcontrol.v1.FlowSchemaCondition lastTransitionTime& status:ConditionStatus type:FlowSchemaConditionType
flowcontrol.v1.FlowSchemaList items! metadata&
flowcontrol.v1.FlowSchemaSpec matchingPrecedence&! priorityLevelConfiguration&!
flowcontrol.v1.FlowSchemaStatus
flowcontrol.v1.GroupSubject name!
flowcontrol.v1.LimitResponse type!:LimitResponseType
flowcontrol.v1.LimitedPriorityLevelConfiguration limitResponse& nominalConcurrencyShares!
flowcontrol.v1.NonResourcePolicyRule nonResourceURLs! verbs!
flowcontrol.v1.PolicyRulesWithSubjects subjects!
flowcontrol.v1.PriorityLevelConfiguration metadata& spec& status&
flowcontrol.v1.PriorityLevelConfigurationCondition lastTransitionTime& status:ConditionStatus type:PriorityLevelConfigurationConditionType
flowcontrol.v1.PriorityLevelConfigurationList items! metadata&
flowcontrol.v1.PriorityLevelConfigurationReference name!
flowcontrol.v1.PriorityLevelConfigurationSpec type!:PriorityLevelEnablement
flowcontrol.v1.PriorityLevelConfigurationStatus
flowcontrol.v1.QueuingConfiguration handSize&! queueLengthLimit&! queues&!
flowcontrol.v1.ResourcePolicyRule apiGroups! clusterScope& namespaces! resources! verbs!
flowcontrol.v1.ServiceAccountSubject name! namespace!
flowcontrol.v1.Subject kind!:SubjectKind
flowcontrol.v1.UserSubject name!
flowcontrol.v1beta3.ExemptPriorityLevelConfiguration
flowcontrol.v1beta3.FlowDistinguisherMethod type!:FlowDistinguisherMethodType
flowcontrol.v1beta3.FlowSchema metadata& spec& status&
flowcontrol.v1beta3.FlowSchemaCondition lastTransitionTime& status:ConditionStatus type:FlowSchemaConditionType
flowcontrol.v1beta3.FlowSchemaList items! metadata&
flowcontrol.v1beta3.FlowSchemaSpec matchingPrecedence&! priorityLevelConfiguration&!
flowcontrol.v1beta3.FlowSchemaStatus
flowcontrol.v1beta3.GroupSubject name!
flowcontrol.v1beta3.LimitResponse type!:LimitResponseType
flowcontrol.v1beta3.LimitedPriorityLevelConfiguration limitResponse& nominalConcurrencyShares&!
flowcontrol.v1beta3.NonResourcePolicyRule nonResourceURLs! verbs!
flowcontrol.v1beta3.PolicyRulesWithSubjects subjects!
flowcontrol.v1beta3.PriorityLevelConfiguration metadata& spec& status&
flowcontrol.v1beta3.PriorityLevelConfigurationCondition lastTransitionTime& status:ConditionStatus type:PriorityLevelConfigurationConditionType
flowcontrol.v1beta3.PriorityLevelConfigurationList items! metadata&
flowcontrol.v1beta3.PriorityLevelConfigurationReference name!
flowcontrol.v1beta3.PriorityLevelConfigurationSpec type!:PriorityLevelEnablement
flowcontrol.v1beta3.PriorityLevelConfigurationStatus
flowcontrol.v1beta3.QueuingConfiguration handSize&! queueLengthLimit&! queues&!
flowcontrol.v1beta3.ResourcePolicyRule apiGroups! clusterScope& namespaces! resources! verbs!
flowcontrol.v1beta3.ServiceAccountSubject name! namespace!
flowcontrol.v1beta3.Subject kind!:SubjectKind
flowcontrol.v1beta3.UserSubject name!
lifecycle.v1alpha1.Eviction metadata& spec&! status&
lifecycle.v1alpha1.EvictionList items! metadata&
lifecycle.v1alpha1.EvictionPodReference name! uid!:apimachinerytypes.UID
lifecycle.v1alpha1.EvictionRequest metadata& spec&! status&
lifecycle.v1alpha1.EvictionRequestList items! metadata&
lifecycle.v1alpha1.EvictionRequestPodReference name! uid!:apimachinerytypes.UID
lifecycle.v1alpha1.EvictionRequestSpec intent!:EvictionRequestIntent requester! target&!
lifecycle.v1alpha1.EvictionRequestStatus
lifecycle.v1alpha1.EvictionRequestTarget
lifecycle.v1alpha1.EvictionSpec target&!
lifecycle.v1alpha1.EvictionStatus
lifecycle.v1alpha1.EvictionTarget
lifecycle.v1alpha1.Requester intent!:RequesterIntent name!
lifecycle.v1alpha1.ResponderStatus message* name!
lifecycle.v1alpha1.TargetResponder name! priority! state!:ResponderStateType
meta.v1.APIGroup name! preferredVersion& versions!
meta.v1.APIGroupList groups!
meta.v1.APIResource kind! name! namespaced&! singularName! verbs!:Verbs
meta.v1.APIResourceList groupVersion! resources!
meta.v1.APIVersions serverAddressByClientCIDRs! versions!
meta.v1.Condition lastTransitionTime&! message! observedGeneration& reason! status!:ConditionStatus type!
meta.v1.DeleteOptions propagationPolicy*:DeletionPropagation
meta.v1.FieldSelectorRequirement key! operator!:FieldSelectorOperator
meta.v1.FieldsV1
meta.v1.GroupResource group! resource!
meta.v1.GroupVersionForDiscovery groupVersion! version!
meta.v1.LabelSelector
meta.v1.LabelSelectorRequirement key! operator!:LabelSelectorOperator
meta.v1.ListMeta
meta.v1.ManagedFieldsEntry operation:ManagedFieldsOperationType
meta.v1.MicroTime
meta.v1.ObjectMeta creationTimestamp&z generation& uid:types.UID
meta.v1.OwnerReference apiVersion! kind! name! uid!:types.UID
meta.v1.Preconditions resourceVersion* uid*:types.UID
meta.v1.ServerAddressByClientCIDR clientCIDR! serverAddress!
meta.v1.ShardInfo selector!
meta.v1.Status code& metadata& reason:StatusReason
meta.v1.StatusCause reason:CauseType
meta.v1.StatusDetails retryAfterSeconds& uid:types.UID
meta.v1.Time
meta.v1.WatchEvent object&! type!
networking.v1.HTTPIngressPath backend&! pathType*!:PathType
networking.v1.HTTPIngressRuleValue paths!
networking.v1.IPAddress metadata& spec&
networking.v1.IPAddressList items! metadata&
networking.v1.IPAddressSpec
networking.v1.IPBlock cidr!
networking.v1.Ingress metadata& spec& status&
networking.v1.IngressBackend
networking.v1.IngressClass metadata& spec&
networking.v1.IngressClassList items! metadata&
networking.v1.IngressClassParametersReference apiGroup* kind! name! namespace* scope*!
networking.v1.IngressClassSpec
networking.v1.IngressList items! metadata&
networking.v1.IngressLoadBalancerIngress
networking.v1.IngressLoadBalancerStatus
networking.v1.IngressPortStatus error* port&! protocol!:v1.Protocol
networking.v1.IngressRule
networking.v1.IngressServiceBackend name! port&
networking.v1.IngressSpec ingressClassName*
networking.v1.IngressStatus loadBalancer&
networking.v1.IngressTLS
networking.v1.NetworkPolicy metadata& spec&
networking.v1.NetworkPolicyEgressRule
networking.v1.NetworkPolicyIngressRule
networking.v1.NetworkPolicyList items! metadata&
networking.v1.NetworkPolicyPeer
networking.v1.NetworkPolicyPort protocol*:v1.Protocol
networking.v1.NetworkPolicySpec podSelector&! policyTypes:[]PolicyType
networking.v1.ParentReference
networking.v1.ServiceBackendPort number&
networking.v1.ServiceCIDR metadata& spec& status&
networking.v1.ServiceCIDRList items! metadata&
networking.v1.ServiceCIDRSpec
networking.v1.ServiceCIDRStatus
networking.v1beta1.IPAddress metadata& spec&
networking.v1beta1.IPAddressList items! metadata&
networking.v1beta1.IPAddressSpec
networking.v1beta1.ParentReference
networking.v1beta1.ServiceCIDR metadata& spec& status&
networking.v1beta1.ServiceCIDRList items! metadata&
networking.v1beta1.ServiceCIDRSpec
networking.v1beta1.ServiceCIDRStatus
node.v1.Overhead podFixed:corev1.ResourceList
node.v1.RuntimeClass handler! metadata&
node.v1.RuntimeClassList items! metadata&
node.v1.Scheduling
policy.v1.Eviction metadata&
policy.v1.PodDisruptionBudget metadata& spec& status&
policy.v1.PodDisruptionBudgetList items! metadata&
policy.v1.PodDisruptionBudgetSpec unhealthyPodEvictionPolicy*:UnhealthyPodEvictionPolicyType
policy.v1.PodDisruptionBudgetStatus currentHealthy&! desiredHealthy&! disruptionsAllowed&! expectedPods&! observedGeneration&
rbac.v1.AggregationRule
rbac.v1.ClusterRole metadata& rules!
rbac.v1.ClusterRoleBinding metadata& roleRef&!
rbac.v1.ClusterRoleBindingList items! metadata&
rbac.v1.ClusterRoleList items! metadata&
rbac.v1.PolicyRule verbs!
rbac.v1.Role metadata& rules!
rbac.v1.RoleBinding metadata& roleRef&!
rbac.v1.RoleBindingList items! metadata&
rbac.v1.RoleList items! metadata&
rbac.v1.RoleRef apiGroup! kind! name!
rbac.v1.Subject kind! name!
resource.v1.AllocatedDeviceStatus conditions! device! driver! pool! shareID*
resource.v1.AllocationResult devices&
resource.v1.CELDeviceSelector expression!
resource.v1.CapacityRequestPolicy default!
resource.v1.CapacityRequestPolicyRange
resource.v1.CapacityRequirements requests:map[QualifiedName]resource.Quantity
resource.v1.Counter value&!
resource.v1.CounterSet name!
resource.v1.Device attributes:map[QualifiedName]DeviceAttribute capacity:map[QualifiedName]DeviceCapacity name! nodeName* nodeAllocatableResources:map[v1.ResourceName]NodeAllocatableResource
resource.v1.DeviceAllocationConfiguration source!:AllocationConfigSource
resource.v1.DeviceAllocationResult
resource.v1.DeviceAttribute string* version*
resource.v1.DeviceCapacity value&!
resource.v1.DeviceClaim requests!
resource.v1.DeviceClaimConfiguration
resource.v1.DeviceClass metadata& spec&!
resource.v1.DeviceClassConfiguration
resource.v1.DeviceClassList items! metadata&
resource.v1.DeviceClassSpec extendedResourceName*
resource.v1.DeviceConstraint distinctAttribute*:FullyQualifiedName matchAttribute*:FullyQualifiedName
resource.v1.DeviceCounterConsumption counterSet!
resource.v1.DeviceRequest name!
resource.v1.DeviceRequestAllocationResult consumedCapacity:map[QualifiedName]resource.Quantity device! driver! pool! request! shareID*:types.UID skipNodeOperations:[]SkipNodeOperation
resource.v1.DeviceSelector
resource.v1.DeviceSubRequest allocationMode:DeviceAllocationMode count& deviceClassName! name!
resource.v1.DeviceTaint effect!:DeviceTaintEffect key!
resource.v1.DeviceTaintRule metadata& spec&! status&
resource.v1.DeviceTaintRuleList items! metadata&
resource.v1.DeviceTaintRuleSpec taint&
resource.v1.DeviceTaintRuleStatus
resource.v1.DeviceTaintSelector device* driver* pool*
resource.v1.DeviceToleration effect:DeviceTaintEffect operator:DeviceTolerationOperator
resource.v1.ExactDeviceRequest allocationMode:DeviceAllocationMode count& deviceClassName!
resource.v1.NetworkDeviceData
resource.v1.NodeAllocatableMapping capacityKey*:QualifiedName
resource.v1.NodeAllocatableOverhead
resource.v1.NodeAllocatableResource
resource.v1.OpaqueDeviceConfiguration driver! parameters&!
resource.v1.ResourceClaim metadata& spec&! status&
resource.v1.ResourceClaimConsumerReference name! resource! uid!:types.UID
resource.v1.ResourceClaimList items! metadata&
resource.v1.ResourceClaimSpec devices&!
resource.v1.ResourceClaimStatus
resource.v1.ResourceClaimTemplate metadata& spec&!
resource.v1.ResourceClaimTemplateList items! metadata&
resource.v1.ResourceClaimTemplateSpec metadata& spec&!
resource.v1.ResourcePool generation&! name! resourceSliceCount&!
resource.v1.ResourceSlice metadata& spec&!
resource.v1.ResourceSliceList items! metadata&
resource.v1.ResourceSliceSpec driver! nodeName* pool&! partitionTypeAttribute*:FullyQualifiedName skipNodeOperations:[]SkipNodeOperation
resource.v1alpha3.CELDeviceSelector expression!
resource.v1alpha3.DeviceSelector
resource.v1alpha3.DeviceTaint effect!:DeviceTaintEffect key!
resource.v1alpha3.DeviceTaintRule metadata& spec&! status&
resource.v1alpha3.DeviceTaintRuleList items! metadata&
resource.v1alpha3.DeviceTaintRuleSpec taint&
resource.v1alpha3.DeviceTaintRuleStatus
resource.v1alpha3.DeviceTaintSelector device* driver* pool*
resource.v1alpha3.PartitionTypeStatus
resource.v1alpha3.PoolStatus generation&! nodeName* validationError*
resource.v1alpha3.ResourcePoolStatusRequest metadata& spec&!
resource.v1alpha3.ResourcePoolStatusRequestList items! metadata&
resource.v1alpha3.ResourcePoolStatusRequestSpec driver! poolName* defaultPartitionTypeAttribute*
resource.v1alpha3.ResourcePoolStatusRequestStatus
resource.v1alpha3.ShareableCapacityStatus
resource.v1alpha3.ShareableSummaryStatus
resource.v1beta1.AllocatedDeviceStatus conditions! device! driver! pool! shareID*
resource.v1beta1.AllocationResult devices&
resource.v1beta1.BasicDevice attributes:map[QualifiedName]DeviceAttribute capacity:map[QualifiedName]DeviceCapacity nodeName* nodeAllocatableResources:map[v1.ResourceName]NodeAllocatableResource
resource.v1beta1.CELDeviceSelector expression!
resource.v1beta1.CapacityRequestPolicy default!
resource.v1beta1.CapacityRequestPolicyRange
resource.v1beta1.CapacityRequirements requests:map[QualifiedName]resource.Quantity
resource.v1beta1.Counter value&!
resource.v1beta1.CounterSet name!
resource.v1beta1.Device name!
resource.v1beta1.DeviceAllocationConfiguration source!:AllocationConfigSource
resource.v1beta1.DeviceAllocationResult
resource.v1beta1.DeviceAttribute string* version*
resource.v1beta1.DeviceCapacity value&!
resource.v1beta1.DeviceClaim requests!
resource.v1beta1.DeviceClaimConfiguration
resource.v1beta1.DeviceClass metadata& spec&!
resource.v1beta1.DeviceClassConfiguration
resource.v1beta1.DeviceClassList items! metadata&
resource.v1beta1.DeviceClassSpec extendedResourceName*
resource.v1beta1.DeviceConstraint matchAttribute*:FullyQualifiedName distinctAttribute*:FullyQualifiedName
resource.v1beta1.DeviceCounterConsumption counterSet!
resource.v1beta1.DeviceRequest allocationMode:DeviceAllocationMode count& deviceClassName! name!
resource.v1beta1.DeviceRequestAllocationResult device! driver! pool! request! consumedCapacity:map[QualifiedName]resource.Quantity shareID*:types.UID skipNodeOperations:[]SkipNodeOperation
resource.v1beta1.DeviceSelector
resource.v1beta1.DeviceSubRequest allocationMode:DeviceAllocationMode count& deviceClassName! name!
resource.v1beta1.DeviceTaint effect!:DeviceTaintEffect key!
resource.v1beta1.DeviceToleration effect:DeviceTaintEffect operator:DeviceTolerationOperator
resource.v1beta1.NetworkDeviceData
resource.v1beta1.NodeAllocatableMapping capacityKey*:QualifiedName
resource.v1beta1.NodeAllocatableOverhead
resource.v1beta1.NodeAllocatableResource
resource.v1beta1.OpaqueDeviceConfiguration driver! parameters&!
resource.v1beta1.ResourceClaim metadata& spec&! status&
resource.v1beta1.ResourceClaimConsumerReference name! resource! uid!:types.UID
resource.v1beta1.ResourceClaimList items! metadata&
resource.v1beta1.ResourceClaimSpec devices&!
resource.v1beta1.ResourceClaimStatus
resource.v1beta1.ResourceClaimTemplate metadata& spec&!
resource.v1beta1.ResourceClaimTemplateList items! metadata&
resource.v1beta1.ResourceClaimTemplateSpec metadata& spec&!
resource.v1beta1.ResourcePool generation&! name! resourceSliceCount&!
resource.v1beta1.ResourceSlice metadata& spec&!
resource.v1beta1.ResourceSliceList items! metadata&
resource.v1beta1.ResourceSliceSpec allNodes& driver! pool&! partitionTypeAttribute*:FullyQualifiedName skipNodeOperations:[]SkipNodeOperation
resource.v1beta2.AllocatedDeviceStatus conditions! device! driver! pool! shareID*
resource.v1beta2.AllocationResult devices&
resource.v1beta2.CELDeviceSelector expression!
resource.v1beta2.CapacityRequestPolicy default!
resource.v1beta2.CapacityRequestPolicyRange
resource.v1beta2.CapacityRequirements requests:map[QualifiedName]resource.Quantity
resource.v1beta2.Counter value&!
resource.v1beta2.CounterSet name!
resource.v1beta2.Device attributes:map[QualifiedName]DeviceAttribute capacity:map[QualifiedName]DeviceCapacity name! nodeName* nodeAllocatableResources:map[v1.ResourceName]NodeAllocatableResource
resource.v1beta2.DeviceAllocationConfiguration source!:AllocationConfigSource
resource.v1beta2.DeviceAllocationResult
resource.v1beta2.DeviceAttribute string* version*
resource.v1beta2.DeviceCapacity value&!
resource.v1beta2.DeviceClaim requests!
resource.v1beta2.DeviceClaimConfiguration
resource.v1beta2.DeviceClass metadata& spec&!
resource.v1beta2.DeviceClassConfiguration
resource.v1beta2.DeviceClassList items! metadata&
resource.v1beta2.DeviceClassSpec extendedResourceName*
resource.v1beta2.DeviceConstraint matchAttribute*:FullyQualifiedName distinctAttribute*:FullyQualifiedName
resource.v1beta2.DeviceCounterConsumption counterSet!
resource.v1beta2.DeviceRequest name!
resource.v1beta2.DeviceRequestAllocationResult device! driver! pool! request! consumedCapacity:map[QualifiedName]resource.Quantity shareID*:types.UID skipNodeOperations:[]SkipNodeOperation
resource.v1beta2.DeviceSelector
resource.v1beta2.DeviceSubRequest allocationMode:DeviceAllocationMode count& deviceClassName! name!
resource.v1beta2.DeviceTaint effect!:DeviceTaintEffect key!
resource.v1beta2.DeviceTaintRule metadata& spec&! status&
resource.v1beta2.DeviceTaintRuleList items! metadata&
resource.v1beta2.DeviceTaintRuleSpec taint&
resource.v1beta2.DeviceTaintRuleStatus
resource.v1beta2.DeviceTaintSelector device* driver* pool*
resource.v1beta2.DeviceToleration effect:DeviceTaintEffect operator:DeviceTolerationOperator
resource.v1beta2.ExactDeviceRequest allocationMode:DeviceAllocationMode count& deviceClassName!
resource.v1beta2.NetworkDeviceData
resource.v1beta2.NodeAllocatableMapping capacityKey*:QualifiedName
resource.v1beta2.NodeAllocatableOverhead
resource.v1beta2.NodeAllocatableResource
resource.v1beta2.OpaqueDeviceConfiguration driver! parameters&!
resource.v1beta2.ResourceClaim metadata& spec&! status&
resource.v1beta2.ResourceClaimConsumerReference name! resource! uid!:types.UID
resource.v1beta2.ResourceClaimList items! metadata&
resource.v1beta2.ResourceClaimSpec devices&!
resource.v1beta2.ResourceClaimStatus
resource.v1beta2.ResourceClaimTemplate metadata& spec&!
resource.v1beta2.ResourceClaimTemplateList items! metadata&
resource.v1beta2.ResourceClaimTemplateSpec metadata& spec&!
resource.v1beta2.ResourcePool generation&! name! resourceSliceCount&!
resource.v1beta2.ResourceSlice metadata& spec&!
resource.v1beta2.ResourceSliceList items! metadata&
resource.v1beta2.ResourceSliceSpec driver! nodeName* pool&! partitionTypeAttribute*:FullyQualifiedName skipNodeOperations:[]SkipNodeOperation
runtime.RawExtension
scheduling.v1.PriorityClass globalDefault& metadata& preemptionPolicy*:apiv1.PreemptionPolicy value&!
scheduling.v1.PriorityClassList items! metadata&
scheduling.v1alpha3.AllCompositeDisruptionMode
scheduling.v1alpha3.AllDisruptionMode
scheduling.v1alpha3.BasicSchedulingPolicy
scheduling.v1alpha3.CompositeBasicSchedulingPolicy
scheduling.v1alpha3.CompositeDisruptionMode
scheduling.v1alpha3.CompositeGangSchedulingPolicy minGroupCount&!
scheduling.v1alpha3.CompositePodGroup metadata& spec&! status&
scheduling.v1alpha3.CompositePodGroupList items! metadata&
scheduling.v1alpha3.CompositePodGroupSchedulingConstraints
scheduling.v1alpha3.CompositePodGroupSchedulingPolicy
scheduling.v1alpha3.CompositePodGroupSpec parentCompositePodGroupName* preemptionPolicy*:PreemptionPolicy schedulingPolicy&! workloadRef!
scheduling.v1alpha3.CompositePodGroupStatus
scheduling.v1alpha3.CompositePodGroupTemplate name! preemptionPolicy*:PreemptionPolicy schedulingPolicy&!
scheduling.v1alpha3.DisruptionMode
scheduling.v1alpha3.GangSchedulingPolicy minCount&!
scheduling.v1alpha3.PodGroup metadata& spec&! status&
scheduling.v1alpha3.PodGroupList items! metadata&
scheduling.v1alpha3.PodGroupResourceClaim name! resourceClaimName* resourceClaimTemplateName*
scheduling.v1alpha3.PodGroupResourceClaimStatus name! resourceClaimName*
scheduling.v1alpha3.PodGroupSchedulingConstraints
scheduling.v1alpha3.PodGroupSchedulingPolicy
scheduling.v1alpha3.PodGroupSpec parentCompositePodGroupName* preemptionPolicy*:PreemptionPolicy schedulingPolicy&!
scheduling.v1alpha3.PodGroupStatus
scheduling.v1alpha3.PodGroupTemplate name! preemptionPolicy*:PreemptionPolicy schedulingConstraints! schedulingPolicy&!
scheduling.v1alpha3.SingleCompositeDisruptionMode
scheduling.v1alpha3.SingleDisruptionMode
scheduling.v1alpha3.TopologyConstraint key!
scheduling.v1alpha3.TypedLocalObjectReference kind! name!
scheduling.v1alpha3.Workload metadata& spec&!
scheduling.v1alpha3.WorkloadList items! metadata&
scheduling.v1alpha3.WorkloadPodGroupAllDisruptionMode
scheduling.v1alpha3.WorkloadPodGroupBasicSchedulingPolicy
scheduling.v1alpha3.WorkloadPodGroupDisruptionMode
scheduling.v1alpha3.WorkloadPodGroupGangSchedulingPolicy
scheduling.v1alpha3.WorkloadPodGroupResourceClaim name! resourceClaimName* resourceClaimTemplateName*
scheduling.v1alpha3.WorkloadPodGroupSchedulingConstraints
scheduling.v1alpha3.WorkloadPodGroupSchedulingPolicy
scheduling.v1alpha3.WorkloadPodGroupSingleDisruptionMode
scheduling.v1alpha3.WorkloadReference templateName! workloadName!
scheduling.v1alpha3.WorkloadSpec podGroupTemplates!
scheduling.v1beta1.AllCompositeDisruptionMode
scheduling.v1beta1.AllDisruptionMode
scheduling.v1beta1.BasicSchedulingPolicy
scheduling.v1beta1.CompositeBasicSchedulingPolicy
scheduling.v1beta1.CompositeDisruptionMode
scheduling.v1beta1.CompositeGangSchedulingPolicy minGroupCount&!
scheduling.v1beta1.CompositePodGroupSchedulingConstraints
scheduling.v1beta1.CompositePodGroupSchedulingPolicy
scheduling.v1beta1.CompositePodGroupTemplate name! preemptionPolicy*:PreemptionPolicy schedulingPolicy&!
scheduling.v1beta1.DisruptionMode
scheduling.v1beta1.GangSchedulingPolicy minCount&!
scheduling.v1beta1.PodGroup metadata& spec&! status&
scheduling.v1beta1.PodGroupList items! metadata&
scheduling.v1beta1.PodGroupResourceClaim name! resourceClaimName* resourceClaimTemplateName*
scheduling.v1beta1.PodGroupResourceClaimStatus name! resourceClaimName*
scheduling.v1beta1.PodGroupSchedulingConstraints
scheduling.v1beta1.PodGroupSchedulingPolicy
scheduling.v1beta1.PodGroupSpec parentCompositePodGroupName* preemptionPolicy*:PreemptionPolicy schedulingPolicy&!
scheduling.v1beta1.PodGroupStatus
scheduling.v1beta1.PodGroupTemplate name! preemptionPolicy*:PreemptionPolicy schedulingConstraints! schedulingPolicy&!
scheduling.v1beta1.SingleCompositeDisruptionMode
scheduling.v1beta1.SingleDisruptionMode
scheduling.v1beta1.TopologyConstraint key!
scheduling.v1beta1.TypedLocalObjectReference kind! name!
scheduling.v1beta1.Workload metadata& spec&!
scheduling.v1beta1.WorkloadList items! metadata&
scheduling.v1beta1.WorkloadReference templateName! workloadName!
scheduling.v1beta1.WorkloadSpec podGroupTemplates!
storage.v1.CSIDriver metadata& spec&!
storage.v1.CSIDriverList items! metadata&
storage.v1.CSIDriverSpec fsGroupPolicy*:FSGroupPolicy volumeLifecycleModes:[]VolumeLifecycleMode
storage.v1.CSINode metadata& spec&! status&
storage.v1.CSINodeDriver name! nodeID! topologyKeys!
storage.v1.CSINodeList items! metadata&
storage.v1.CSINodeSpec drivers!
storage.v1.CSINodeStatus
storage.v1.CSIStorageCapacity metadata& storageClassName!
storage.v1.CSIStorageCapacityList items! metadata&
storage.v1.StorageClass metadata& provisioner! reclaimPolicy*:v1.PersistentVolumeReclaimPolicy volumeBindingMode*:VolumeBindingMode
storage.v1.StorageClassList items! metadata&
storage.v1.StorageHealth name!
storage.v1.StorageHealthCondition accessMode*:v1.PersistentVolumeAccessMode lastTransitionTime& reason! status!:StorageHealthStatusType volumeMode*:v1.PersistentVolumeMode
storage.v1.TokenRequest audience!
storage.v1.VolumeAttachment metadata& spec&! status&
storage.v1.VolumeAttachmentList items! metadata&
storage.v1.VolumeAttachmentSource persistentVolumeName*
storage.v1.VolumeAttachmentSpec attacher! nodeName! source&!
storage.v1.VolumeAttachmentStatus attached&!
storage.v1.VolumeAttributesClass driverName! metadata&
storage.v1.VolumeAttributesClassList items! metadata&
storage.v1.VolumeError time&
storage.v1.VolumeNodeResources
storage.v1alpha1.VolumeAttributesClass driverName! metadata&
storage.v1alpha1.VolumeAttributesClassList items! metadata&
storage.v1beta1.VolumeAttributesClass driverName! metadata&
storage.v1beta1.VolumeAttributesClassList items! metadata&
storagemigration.v1.StorageVersionMigration metadata& spec& status&
storagemigration.v1.StorageVersionMigrationList items! metadata&
storagemigration.v1.StorageVersionMigrationSpec resource&!
storagemigration.v1.StorageVersionMigrationStatus
storagemigration.v1beta1.StorageVersionMigration metadata& spec& status&
storagemigration.v1beta1.StorageVersionMigrationList items! metadata&
storagemigration.v1beta1.StorageVersionMigrationSpec resource&!
storagemigration.v1beta1.StorageVersionMigrationStatus
version.Info buildDate! compiler! gitCommit! gitTreeState! gitVersion! goVersion! major! minor! platform!
"""
