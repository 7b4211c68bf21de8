"""The table of controllers: what `--controllers` can name.

Names are those of kube-controller-manager 1.36. A controller is loaded when it is started, so that
importing this costs nothing. Each loads to a class whose instances are made with a `Context` alone;
its `resources` (if it has any) name the shared informers that it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["CONTROLLERS", "Entry", "load", "selected"]


class Entry(NamedTuple):
    """`path` is `module:class` within actors.controllers; `on` whether `*` includes it; `syncs` the flag
    of kube-controller-manager that says how many keys it looks at at a time; `needs` a resource: where
    the API server has it not, as its version or a gate has it, the controller is not started."""

    name: str
    path: str
    on: bool = True
    syncs: str = ""
    needs: str = ""


CONTROLLERS: tuple[Entry, ...] = (
    # workloads
    Entry("replicaset-controller", "replicaset:ReplicaSetController", syncs="concurrent-replicaset-syncs"),
    Entry("replicationcontroller-controller", "replicationcontroller:ReplicationController", syncs="concurrent-rc-syncs"),
    Entry("deployment-controller", "deployment:DeploymentController", syncs="concurrent-deployment-syncs"),
    Entry("statefulset-controller", "statefulset:StatefulSetController", syncs="concurrent-statefulset-syncs"),
    Entry("daemonset-controller", "daemonset:DaemonSetController", syncs="concurrent-daemonset-syncs"),
    Entry("job-controller", "job:JobController", syncs="concurrent-job-syncs"),
    Entry("cronjob-controller", "cronjob:CronJobController", syncs="concurrent-cron-job-syncs"),
    Entry("ttl-after-finished-controller", "ttlafterfinished:TtlAfterFinishedController", syncs="concurrent-ttl-after-finished-syncs"),
    Entry("disruption-controller", "disruption:DisruptionController"),
    Entry("horizontal-pod-autoscaler-controller", "hpa:HorizontalPodAutoscalerController", syncs="concurrent-horizontal-pod-autoscaler-syncs"),
    # services
    Entry("endpoints-controller", "endpoints:EndpointsController", syncs="concurrent-endpoint-syncs"),
    Entry("endpointslice-controller", "endpointslice:EndpointSliceController", syncs="concurrent-service-endpoint-syncs"),
    Entry("endpointslice-mirroring-controller", "endpointslicemirroring:EndpointSliceMirroringController", syncs="mirroring-concurrent-service-endpoint-syncs"),
    Entry("service-lb-controller", "servicelb:ServiceLoadBalancerController", syncs="concurrent-service-syncs"),
    Entry("service-cidr-controller", "servicecidr:ServiceCIDRController"),
    # nodes
    Entry("node-lifecycle-controller", "nodelifecycle:NodeLifecycleController"),
    Entry("taint-eviction-controller", "tainteviction:TaintEvictionController"),
    Entry("node-ipam-controller", "nodeipam:NodeIpamController"),
    Entry("ttl-controller", "nodettl:NodeTTLController"),
    Entry("pod-garbage-collector-controller", "podgc:PodGarbageCollector"),
    # identity
    Entry("serviceaccount-controller", "serviceaccount:ServiceAccountController"),
    Entry("serviceaccount-token-controller", "serviceaccounttoken:ServiceAccountTokenController", syncs="concurrent-serviceaccount-token-syncs"),
    Entry("legacy-serviceaccount-token-cleaner-controller", "legacytokencleaner:LegacyTokenCleaner"),
    Entry("root-ca-certificate-publisher-controller", "rootca:RootCACertificatePublisher"),
    Entry("clusterrole-aggregation-controller", "clusterroleaggregation:ClusterRoleAggregationController"),
    Entry("certificatesigningrequest-approving-controller", "certificatesigningrequest:CertificateApprover"),
    Entry("certificatesigningrequest-signing-controller", "certificatesigningrequest:CertificateSigner"),
    Entry("certificatesigningrequest-cleaner-controller", "certificatesigningrequest:CertificateCleaner"),
    Entry(
        "podcertificaterequest-cleaner-controller",
        "podcertificates:PodCertificateRequestCleaner",
        needs="podcertificaterequests.v1.certificates.k8s.io",
    ),
    Entry(
        "kube-apiserver-serving-clustertrustbundle-publisher-controller",
        "trustbundle:TrustBundlePublisher",
        needs="clustertrustbundles.v1.certificates.k8s.io",
    ),
    Entry("bootstrap-signer-controller", "bootstrapsigner:BootstrapSigner", on=False),
    Entry("token-cleaner-controller", "bootstraptoken:BootstrapTokenCleaner", on=False),
    # housekeeping
    Entry("namespace-controller", "namespace:NamespaceController", syncs="concurrent-namespace-syncs"),
    Entry("garbage-collector-controller", "garbagecollector:GarbageCollector", syncs="concurrent-gc-syncs"),
    Entry("resourcequota-controller", "resourcequota:ResourceQuotaController", syncs="concurrent-resource-quota-syncs"),
    Entry("persistentvolume-binder-controller", "pvbinder:PersistentVolumeBinder"),
    Entry("persistentvolume-attach-detach-controller", "attachdetach:AttachDetachController"),
    Entry("persistentvolume-expander-controller", "volumeexpand:VolumeExpander"),
    Entry("persistentvolumeclaim-protection-controller", "volumeprotection:ClaimProtection"),
    Entry("persistentvolume-protection-controller", "volumeprotection:VolumeProtection"),
    Entry("volumeattributesclass-protection-controller", "volumeprotection:AttributesClassProtection"),
    Entry("selinux-warning-controller", "selinuxwarning:SELinuxWarningController", on=False),
    Entry("ephemeral-volume-controller", "ephemeralvolume:EphemeralVolumeController", syncs="concurrent-ephemeralvolume-syncs"),
    Entry("resourceclaim-controller", "resourceclaim:ResourceClaimController", syncs="concurrent-resource-claim-syncs"),
    Entry(
        "device-taint-eviction-controller",
        "devicetainteviction:DeviceTaintEvictionController",
        syncs="concurrent-device-taint-eviction-syncs",
        needs="resourceslices",
    ),
    Entry(
        "storage-version-migrator-controller",
        "storageversionmigrator:StorageVersionMigrator",
        needs="storageversionmigrations.v1.storagemigration.k8s.io",
    ),
    Entry("validatingadmissionpolicy-status-controller", "policystatus:PolicyStatusController", syncs="concurrent-validating-admission-policy-status-syncs"),
)

# What kube-controller-manager can be told to run or not to run and is not here: what a cloud is needed
# for, and what serves alpha APIs. Naming one to be left out is no error.
ABSENT = (
    "cloud-node-lifecycle-controller",
    "node-route-controller",
    "pod-checkpoint-controller",
    "storageversion-garbage-collector-controller",
)

# Names of before 1.27, which kube-controller-manager takes as well.
ALIASES = {
    "replicaset": "replicaset-controller",
    "replicationcontroller": "replicationcontroller-controller",
    "deployment": "deployment-controller",
    "statefulset": "statefulset-controller",
    "daemonset": "daemonset-controller",
    "job": "job-controller",
    "cronjob": "cronjob-controller",
    "ttl-after-finished": "ttl-after-finished-controller",
    "disruption": "disruption-controller",
    "horizontalpodautoscaling": "horizontal-pod-autoscaler-controller",
    "endpoint": "endpoints-controller",
    "endpointslice": "endpointslice-controller",
    "endpointslicemirroring": "endpointslice-mirroring-controller",
    "nodelifecycle": "node-lifecycle-controller",
    "nodeipam": "node-ipam-controller",
    "ttl": "ttl-controller",
    "podgc": "pod-garbage-collector-controller",
    "serviceaccount": "serviceaccount-controller",
    "serviceaccount-token": "serviceaccount-token-controller",
    "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation": "clusterrole-aggregation-controller",
    "csrapproving": "certificatesigningrequest-approving-controller",
    "csrsigning": "certificatesigningrequest-signing-controller",
    "attachdetach": "persistentvolume-attach-detach-controller",
    "resource-claim-controller": "resourceclaim-controller",
    "legacy-service-account-token-cleaner": "legacy-serviceaccount-token-cleaner-controller",
    "service": "service-lb-controller",
    "route": "node-route-controller",
    "cloud-node-lifecycle": "cloud-node-lifecycle-controller",
    "bootstrapsigner": "bootstrap-signer-controller",
    "csrcleaner": "certificatesigningrequest-cleaner-controller",
    "tokencleaner": "token-cleaner-controller",
    "namespace": "namespace-controller",
    "garbagecollector": "garbage-collector-controller",
    "resourcequota": "resourcequota-controller",
    "persistentvolume-binder": "persistentvolume-binder-controller",
    "persistentvolume-expander": "persistentvolume-expander-controller",
    "pvc-protection": "persistentvolumeclaim-protection-controller",
    "pv-protection": "persistentvolume-protection-controller",
    "ephemeral-volume": "ephemeral-volume-controller",
}


def load(entry: Entry) -> Callable[[Any], Any]:
    """The controller's class."""
    module, _, name = entry.path.partition(":")
    found: Callable[[Any], Any] = getattr(import_module(f"actors.controllers.{module}"), name)
    return found


def selected(controllers: str) -> list[Entry]:
    """The entries that a `--controllers` text chooses: `*` all that are on by default, `name` one
    of them, `-name` not that one. Raises `ValueError` for a name that there is not."""
    words = [_canonical(word.strip()) for word in controllers.split(",") if word.strip()]
    names = {entry.name for entry in CONTROLLERS}
    for word in words:
        if word.startswith("-") and word[1:] in ABSENT:
            continue
        if word in ABSENT:
            raise ValueError(f'"{word}" is not implemented')
        if word != "*" and word.removeprefix("-") not in names:
            raise ValueError(f'"{word.removeprefix("-")}" is not in the list of known controllers')
    return [
        entry
        for entry in CONTROLLERS
        if f"-{entry.name}" not in words
        and (entry.name in words or ("*" in words and entry.on))
    ]


def _canonical(word: str) -> str:
    """`-job` becomes `-job-controller`."""
    sign = "-" if word.startswith("-") else ""
    name = word.removeprefix("-")
    return sign + ALIASES.get(name, name)
