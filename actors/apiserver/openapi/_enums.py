"""Values of the enumerated Go types, which OpenAPI v3 lists and the published definitions leave out.

One line per type: its name and its values (source: the `+enum` types of k8s.io/api). Data only.
"""

from __future__ import annotations

__all__ = ["ENUMS"]

ENUMS = """\
admissionregistration.v1alpha1.ParameterNotFoundActionType Allow Deny
admissionregistration.v1alpha1.FailurePolicyType Fail Ignore
admissionregistration.v1alpha1.MatchPolicyType Equivalent Exact
admissionregistration.v1alpha1.ValidationAction Audit Deny Warn
admissionregistration.v1alpha1.PatchType ApplyConfiguration JSONPatch
admissionregistration.v1beta1.ValidationAction Audit Deny Warn
admissionregistration.v1beta1.PatchType ApplyConfiguration JSONPatch
apps.v1.PodManagementPolicyType OrderedReady Parallel
apps.v1.StatefulSetUpdateStrategyType OnDelete Recreate RollingUpdate
apps.v1.DeploymentStrategyType Recreate RollingUpdate
apps.v1.DaemonSetUpdateStrategyType OnDelete RollingUpdate
autoscaling.v1.MetricSourceType ContainerResource External Object Pods Resource
batch.v1.CompletionMode Indexed NonIndexed
batch.v1.PodFailurePolicyAction Count FailIndex FailJob Ignore
batch.v1.PodFailurePolicyOnExitCodesOperator In NotIn
batch.v1.PodReplacementPolicy Failed TerminatingOrFailed
batch.v1.ConcurrencyPolicy Allow Forbid Replace
core.v1.PersistentVolumeReclaimPolicy Delete Recycle Retain
core.v1.PersistentVolumeMode Block Filesystem
core.v1.PersistentVolumeClaimModifyVolumeStatus InProgress Infeasible Pending
core.v1.VolumeHealthStatusType DataLoss Degraded Inaccessible
core.v1.PersistentVolumeAccessMode ReadOnlyMany ReadWriteMany ReadWriteOnce ReadWriteOncePod
core.v1.PersistentVolumePhase Available Bound Failed Pending Released
core.v1.PersistentVolumeClaimPhase Bound Lost Pending
core.v1.HostPathType "" BlockDevice CharDevice Directory DirectoryOrCreate File FileOrCreate Socket
core.v1.Protocol SCTP TCP UDP
core.v1.AzureDataDiskCachingMode None ReadOnly ReadWrite
core.v1.AzureDataDiskKind Dedicated Managed Shared
core.v1.MountPropagationMode Bidirectional HostToContainer None
core.v1.HTTPProtocol HTTP1 HTTP2
core.v1.URIScheme HTTP HTTPS
core.v1.GRPCProbeMode Plaintext TLS
core.v1.PullPolicy Always IfNotPresent Never
core.v1.PreemptionPolicy Never PreemptLowerPriority
core.v1.TerminationMessagePolicy FallbackToLogsOnError File
core.v1.Signal SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGRTMAX SIGRTMAX-1 SIGRTMAX-10 SIGRTMAX-11 SIGRTMAX-12 SIGRTMAX-13 SIGRTMAX-14 SIGRTMAX-2 SIGRTMAX-3 SIGRTMAX-4 SIGRTMAX-5 SIGRTMAX-6 SIGRTMAX-7 SIGRTMAX-8 SIGRTMAX-9 SIGRTMIN SIGRTMIN+1 SIGRTMIN+10 SIGRTMIN+11 SIGRTMIN+12 SIGRTMIN+13 SIGRTMIN+14 SIGRTMIN+15 SIGRTMIN+2 SIGRTMIN+3 SIGRTMIN+4 SIGRTMIN+5 SIGRTMIN+6 SIGRTMIN+7 SIGRTMIN+8 SIGRTMIN+9 SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ
core.v1.PodPhase Failed Pending Running Succeeded Unknown
core.v1.RestartPolicy Always Never OnFailure
core.v1.DNSPolicy ClusterFirst ClusterFirstWithHostNet Default None
core.v1.NodeSelectorOperator DoesNotExist Exists Gt In Lt NotIn
core.v1.TaintEffect NoExecute NoSchedule PreferNoSchedule
core.v1.TolerationOperator Equal Exists Gt Lt
core.v1.UnsatisfiableConstraintAction DoNotSchedule ScheduleAnyway
core.v1.NodeInclusionPolicy Honor Ignore
core.v1.PodFSGroupChangePolicy Always OnRootMismatch
core.v1.SupplementalGroupsPolicy Merge Strict
core.v1.SeccompProfileType Localhost RuntimeDefault Unconfined
core.v1.AppArmorProfileType Localhost RuntimeDefault Unconfined
core.v1.PodQOSClass BestEffort Burstable Guaranteed
core.v1.ServiceAffinity ClientIP None
core.v1.ServiceType ClusterIP ExternalName LoadBalancer NodePort
core.v1.ServiceInternalTrafficPolicy Cluster Local
core.v1.ServiceExternalTrafficPolicy Cluster Local
core.v1.IPFamily "" IPv4 IPv6
core.v1.IPFamilyPolicy PreferDualStack RequireDualStack SingleStack
core.v1.NodePhase Pending Running Terminated
core.v1.NamespacePhase Active Terminating
core.v1.ResourceQuotaScope BestEffort CrossNamespacePodAffinity NotBestEffort NotTerminating PriorityClass Terminating VolumeAttributesClass
core.v1.ScopeSelectorOperator DoesNotExist Exists In NotIn
core.v1.ProcMountType Default Unmasked
discovery.v1.AddressType FQDN
discovery.v1beta1.AddressType FQDN
lifecycle.v1alpha1.EvictionRequestIntent Eviction Withdrawn
lifecycle.v1alpha1.RequesterIntent Eviction Withdrawn
lifecycle.v1alpha1.ResponderStateType Active Canceled Completed Inactive Interrupted
networking.v1.PolicyType Egress Ingress
networking.v1.PathType Exact ImplementationSpecific Prefix
policy.v1.UnhealthyPodEvictionPolicyType AlwaysAllow IfHealthyBudget
policy.v1beta1.UnhealthyPodEvictionPolicyType AlwaysAllow IfHealthyBudget
resource.v1.SkipNodeOperation * NodePrepareResources NodeUnprepareResources
resource.v1.DeviceTaintEffect NoExecute NoSchedule None
resource.v1.DeviceAllocationMode All ExactCount
resource.v1.DeviceTolerationOperator Equal Exists
resource.v1.AllocationConfigSource FromClaim FromClass
resource.v1alpha3.DeviceTaintEffect NoExecute NoSchedule None
resource.v1beta1.SkipNodeOperation * NodePrepareResources NodeUnprepareResources
resource.v1beta1.DeviceTaintEffect NoExecute NoSchedule None
resource.v1beta1.DeviceAllocationMode All ExactCount
resource.v1beta1.DeviceTolerationOperator Equal Exists
resource.v1beta1.AllocationConfigSource FromClaim FromClass
resource.v1beta2.SkipNodeOperation * NodePrepareResources NodeUnprepareResources
resource.v1beta2.DeviceTaintEffect NoExecute NoSchedule None
resource.v1beta2.DeviceAllocationMode All ExactCount
resource.v1beta2.DeviceTolerationOperator Equal Exists
resource.v1beta2.AllocationConfigSource FromClaim FromClass
scheduling.v1alpha3.PreemptionPolicy Never PreemptLowerPriority
scheduling.v1beta1.PreemptionPolicy Never PreemptLowerPriority
storage.v1.VolumeBindingMode Immediate WaitForFirstConsumer
storage.v1.StorageHealthStatusType StorageDegraded StorageUnreachable
storage.v1beta1.StorageHealthStatusType StorageDegraded StorageUnreachable
apiextensions.v1.FieldValueErrorReason FieldValueDuplicate FieldValueForbidden FieldValueInvalid FieldValueRequired
"""
