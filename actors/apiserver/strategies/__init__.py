"""How each built-in kind behaves: defaults, validation, immutability, columns, warnings.

`strategy_for(kind)` gives the strategy of a kind; modules are imported when first asked for, so a
start pays for nothing. One module per kind or family; `_base` says what a strategy is.
"""

from __future__ import annotations

from importlib import import_module

from actors.apiserver.strategies._base import Column, Context, FieldError, Strategy
from actors.apiserver.strategies._context import AllocationError, Allocators, NoAllocators
from protocol.kinds import Kind

__all__ = [
    "AllocationError",
    "Allocators",
    "Column",
    "Context",
    "FieldError",
    "NoAllocators",
    "Strategy",
    "strategy_for",
]

_PLACES: dict[tuple[str, str], tuple[str, str]] = {
    ("", "ComponentStatus"): ("classes", "ComponentStatusStrategy"),
    ("", "ConfigMap"): ("config", "ConfigMapStrategy"),
    ("", "Endpoints"): ("endpoints", "EndpointsStrategy"),
    ("", "Event"): ("events", "EventStrategy"),
    ("", "LimitRange"): ("quotas", "LimitRangeStrategy"),
    ("", "Namespace"): ("namespaces", "NamespaceStrategy"),
    ("", "Node"): ("nodes", "NodeStrategy"),
    ("", "PersistentVolume"): ("persistent_volumes", "PersistentVolumeStrategy"),
    ("", "PersistentVolumeClaim"): ("claims", "ClaimStrategy"),
    ("", "Pod"): ("pods", "PodStrategy"),
    ("", "PodTemplate"): ("replicasets", "PodTemplateStrategy"),
    ("", "ReplicationController"): ("replicasets", "ReplicationControllerStrategy"),
    ("", "ResourceQuota"): ("quotas", "QuotaStrategy"),
    ("", "Secret"): ("config", "SecretStrategy"),
    ("", "Service"): ("services", "ServiceStrategy"),
    ("", "ServiceAccount"): ("service_accounts", "ServiceAccountStrategy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): ("admission_policies", "MutatingPolicyStrategy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): ("admission_policies", "MutatingBindingStrategy"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): ("webhooks", "MutatingWebhookStrategy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): ("admission_policies", "PolicyStrategy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): ("admission_policies", "PolicyBindingStrategy"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): ("webhooks", "WebhookStrategy"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("definitions", "DefinitionStrategy"),
    ("apiregistration.k8s.io", "APIService"): ("api_services", "APIServiceStrategy"),
    ("apps", "ControllerRevision"): ("statefulsets", "ControllerRevisionStrategy"),
    ("apps", "DaemonSet"): ("daemonsets", "DaemonSetStrategy"),
    ("apps", "Deployment"): ("deployments", "DeploymentStrategy"),
    ("apps", "ReplicaSet"): ("replicasets", "ReplicaSetStrategy"),
    ("apps", "StatefulSet"): ("statefulsets", "StatefulSetStrategy"),
    ("autoscaling", "HorizontalPodAutoscaler"): ("autoscalers", "AutoscalerStrategy"),
    ("batch", "CronJob"): ("cronjobs", "CronJobStrategy"),
    ("batch", "Job"): ("jobs", "JobStrategy"),
    ("certificates.k8s.io", "CertificateSigningRequest"): ("certificates", "SigningRequestStrategy"),
    ("certificates.k8s.io", "PodCertificateRequest"): ("newer_kinds", "PodCertificateRequestStrategy"),
    ("certificates.k8s.io", "ClusterTrustBundle"): ("certificates", "TrustBundleStrategy"),
    ("coordination.k8s.io", "Lease"): ("classes", "LeaseStrategy"),
    ("discovery.k8s.io", "EndpointSlice"): ("endpoints", "EndpointSliceStrategy"),
    ("events.k8s.io", "Event"): ("events", "EventStrategy"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): ("flow_control", "FlowSchemaStrategy"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): ("flow_control", "PriorityLevelStrategy"),
    ("networking.k8s.io", "IPAddress"): ("networks", "IPAddressStrategy"),
    ("networking.k8s.io", "Ingress"): ("ingresses", "IngressStrategy"),
    ("networking.k8s.io", "IngressClass"): ("ingresses", "IngressClassStrategy"),
    ("networking.k8s.io", "NetworkPolicy"): ("networks", "NetworkPolicyStrategy"),
    ("networking.k8s.io", "ServiceCIDR"): ("networks", "ServiceCIDRStrategy"),
    ("node.k8s.io", "RuntimeClass"): ("classes", "RuntimeClassStrategy"),
    ("policy", "PodDisruptionBudget"): ("budgets", "BudgetStrategy"),
    ("rbac.authorization.k8s.io", "ClusterRole"): ("rbac", "RoleStrategy"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("rbac", "BindingStrategy"),
    ("rbac.authorization.k8s.io", "Role"): ("rbac", "RoleStrategy"),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("rbac", "BindingStrategy"),
    ("resource.k8s.io", "DeviceClass"): ("devices", "DeviceClassStrategy"),
    ("resource.k8s.io", "DeviceTaintRule"): ("newer_kinds", "DeviceTaintRuleStrategy"),
    ("resource.k8s.io", "ResourceClaim"): ("devices", "DeviceClaimStrategy"),
    ("resource.k8s.io", "ResourceClaimTemplate"): ("devices", "ClaimTemplateStrategy"),
    ("resource.k8s.io", "ResourceSlice"): ("device_slices", "ResourceSliceStrategy"),
    ("scheduling.k8s.io", "PriorityClass"): ("classes", "PriorityClassStrategy"),
    ("storage.k8s.io", "CSIDriver"): ("csi", "CSIDriverStrategy"),
    ("storage.k8s.io", "CSINode"): ("csi", "CSINodeStrategy"),
    ("storage.k8s.io", "CSIStorageCapacity"): ("csi", "CSIStorageCapacityStrategy"),
    ("storage.k8s.io", "StorageClass"): ("storage", "StorageClassStrategy"),
    ("storage.k8s.io", "VolumeAttachment"): ("storage", "VolumeAttachmentStrategy"),
    ("storage.k8s.io", "VolumeAttributesClass"): ("storage", "VolumeAttributesClassStrategy"),
    ("storagemigration.k8s.io", "StorageVersionMigration"): ("newer_kinds", "StorageVersionMigrationStrategy"),
}
"""Group and kind to module and class. Kinds without an entry behave generically."""

_made: dict[tuple[str, str, str, int], Strategy] = {}


def strategy_for(kind: Kind, minor: int = 36) -> Strategy:
    """The strategy of a kind in one of its versions, in a minor version of Kubernetes; always the
    same object."""
    key = (kind.group, kind.version, kind.kind, minor)
    found = _made.get(key)
    if found is None:
        place = _PLACES.get((kind.group, kind.kind))
        if place is None:
            found = Strategy(kind)
        else:
            module = import_module(f"actors.apiserver.strategies.{place[0]}")
            found = getattr(module, place[1])(kind)
        found.minor = minor
        _made[key] = found
    return found
