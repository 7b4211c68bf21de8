"""The table of built-in kinds that Kubernetes 1.31 to 1.37 serve by default.

This is data only. Order matters twice: groups stand in the order in which discovery lists them, and
versions of a group in the order of preference. Beta and alpha versions that Kubernetes serves only
on request are left out, as its API server does by default.

Source: the recorded discovery documents of 1.36 and the kinds' graduation in each release.
"""

from __future__ import annotations

from typing import Any

from protocol.kinds._kind import Kind, Subresource

__all__ = ["GROUP_ORDER", "KINDS"]

_READ_WRITE = ("get", "patch", "update")
_CREATE = ("create",)
_CONNECT = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")

GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io",
)


def _sub(name: str, kind: str, verbs: tuple[str, ...], group_version: str = "") -> Subresource:
    """A subresource; `group_version` only where it is not the parent's."""
    group, _, version = group_version.rpartition("/")
    return Subresource(name, group, version, kind, verbs, bool(group_version))


def _scale() -> Subresource:
    return _sub("scale", "Scale", _READ_WRITE, "autoscaling/v1")


def _kinds(
    group: str, version: str, *entries: tuple[str, bool, str, dict[str, Any]], **common: Any
) -> tuple[Kind, ...]:
    """Entries `(kind, namespaced, resource, extras)` of one group and version.

    The extra `status=True` adds the status subresource; discovery lists subresources by name.
    """
    out = []
    for kind, namespaced, resource, given in entries:
        extras = {**common, **given}
        subresources = list(extras.pop("subresources", ()))
        if extras.pop("status", False):
            subresources.append(_sub("status", kind, _READ_WRITE))
        filled = tuple(
            sub
            if sub.group_in_discovery
            else Subresource(sub.name, group, version, sub.kind, sub.verbs)
            for sub in sorted(subresources, key=lambda sub: sub.name)
        )
        extras.setdefault("storage_group", group)
        extras.setdefault("storage_version", version)
        entry = Kind(
            group=group,
            version=version,
            kind=kind,
            resource=resource,
            singular=extras.pop("singular", kind.lower()),
            namespaced=namespaced,
            subresources=filled,
            **extras,
        )
        out.append(entry)
    return tuple(out)


_ALL = ("all",)
_EXTENSIONS = ("api-extensions",)
_NO_COLLECTION_DELETE = ("create", "delete", "get", "list", "patch", "update", "watch")
_REVIEW: dict[str, Any] = {"verbs": _CREATE, "stored": False}

_CORE = _kinds(
    "",
    "v1",
    ("Binding", True, "bindings", {"verbs": _CREATE, "stored": False}),
    (
        "ComponentStatus",
        False,
        "componentstatuses",
        {"short_names": ("cs",), "verbs": ("get", "list"), "stored": False},
    ),
    ("ConfigMap", True, "configmaps", {"short_names": ("cm",)}),
    ("Endpoints", True, "endpoints", {"short_names": ("ep",)}),
    ("Event", True, "events", {"short_names": ("ev",)}),
    ("LimitRange", True, "limitranges", {"short_names": ("limits",)}),
    (
        "Namespace",
        False,
        "namespaces",
        {
            "short_names": ("ns",),
            "verbs": _NO_COLLECTION_DELETE,
            "status": True,
            "subresources": (_sub("finalize", "Namespace", ("update",)),),
        },
    ),
    (
        "Node",
        False,
        "nodes",
        {
            "short_names": ("no",),
            "status": True,
            "subresources": (_sub("proxy", "NodeProxyOptions", _PROXY),),
        },
    ),
    (
        "PersistentVolumeClaim",
        True,
        "persistentvolumeclaims",
        {"short_names": ("pvc",), "status": True},
    ),
    ("PersistentVolume", False, "persistentvolumes", {"short_names": ("pv",), "status": True}),
    (
        "Pod",
        True,
        "pods",
        {
            "short_names": ("po",),
            "categories": _ALL,
            "status": True,
            "subresources": (
                _sub("attach", "PodAttachOptions", _CONNECT),
                _sub("binding", "Binding", _CREATE),
                _sub("ephemeralcontainers", "Pod", _READ_WRITE),
                _sub("eviction", "Eviction", _CREATE, "policy/v1"),
                _sub("exec", "PodExecOptions", _CONNECT),
                _sub("log", "Pod", ("get",)),
                _sub("portforward", "PodPortForwardOptions", _CONNECT),
                _sub("proxy", "PodProxyOptions", _PROXY),
                _sub("resize", "Pod", _READ_WRITE),
            ),
        },
    ),
    ("PodTemplate", True, "podtemplates", {}),
    (
        "ReplicationController",
        True,
        "replicationcontrollers",
        {
            "short_names": ("rc",),
            "categories": _ALL,
            "status": True,
            "subresources": (_scale(),),
        },
    ),
    ("ResourceQuota", True, "resourcequotas", {"short_names": ("quota",), "status": True}),
    ("Secret", True, "secrets", {}),
    (
        "ServiceAccount",
        True,
        "serviceaccounts",
        {
            "short_names": ("sa",),
            "subresources": (
                _sub("token", "TokenRequest", _CREATE, "authentication.k8s.io/v1"),
            ),
        },
    ),
    (
        "Service",
        True,
        "services",
        {
            "short_names": ("svc",),
            "categories": _ALL,
            "status": True,
            "subresources": (_sub("proxy", "ServiceProxyOptions", _PROXY),),
        },
    ),
)

_APPS = _kinds(
    "apps",
    "v1",
    ("ControllerRevision", True, "controllerrevisions", {}),
    (
        "DaemonSet",
        True,
        "daemonsets",
        {"short_names": ("ds",), "categories": _ALL, "status": True},
    ),
    *(
        (
            kind,
            True,
            resource,
            {
                "short_names": (short,),
                "categories": _ALL,
                "status": True,
                "subresources": (_scale(),),
            },
        )
        for kind, resource, short in (
            ("Deployment", "deployments", "deploy"),
            ("ReplicaSet", "replicasets", "rs"),
            ("StatefulSet", "statefulsets", "sts"),
        )
    ),
)

# 1.36 still writes mutating policies as v1beta1, so that 1.35 can read them after a rollback.
_MUTATING: dict[str, Any] = {"since": 36, "storage_version": "v1beta1"}

_HPA: dict[str, Any] = {
    "short_names": ("hpa",),
    "categories": _ALL,
    "status": True,
    "storage_version": "v2",
}

KINDS: tuple[Kind, ...] = (
    *_CORE,
    *_kinds(
        "apiregistration.k8s.io",
        "v1",
        ("APIService", False, "apiservices", {"categories": _EXTENSIONS, "status": True}),
    ),
    *_APPS,
    *_kinds(
        "events.k8s.io",
        "v1",
        ("Event", True, "events", {"short_names": ("ev",), "storage_group": ""}),
    ),
    *_kinds(
        "authentication.k8s.io",
        "v1",
        ("SelfSubjectReview", False, "selfsubjectreviews", _REVIEW),
        ("TokenReview", False, "tokenreviews", _REVIEW),
    ),
    *_kinds(
        "authorization.k8s.io",
        "v1",
        ("LocalSubjectAccessReview", True, "localsubjectaccessreviews", _REVIEW),
        ("SelfSubjectAccessReview", False, "selfsubjectaccessreviews", _REVIEW),
        ("SelfSubjectRulesReview", False, "selfsubjectrulesreviews", _REVIEW),
        ("SubjectAccessReview", False, "subjectaccessreviews", _REVIEW),
    ),
    *_kinds(
        "autoscaling",
        "v2",
        ("HorizontalPodAutoscaler", True, "horizontalpodautoscalers", _HPA),
    ),
    *_kinds(
        "autoscaling",
        "v1",
        ("HorizontalPodAutoscaler", True, "horizontalpodautoscalers", _HPA),
    ),
    *_kinds(
        "batch",
        "v1",
        ("CronJob", True, "cronjobs", {"short_names": ("cj",)}),
        ("Job", True, "jobs", {}),
        categories=_ALL,
        status=True,
    ),
    *_kinds(
        "certificates.k8s.io",
        "v1",
        (
            "CertificateSigningRequest",
            False,
            "certificatesigningrequests",
            {
                "short_names": ("csr",),
                "subresources": (_sub("approval", "CertificateSigningRequest", _READ_WRITE),),
                "status": True,
            },
        ),
        ("ClusterTrustBundle", False, "clustertrustbundles", {"since": 37}),
        (
            "PodCertificateRequest",
            True,
            "podcertificaterequests",
            {"since": 37, "status": True},
        ),
    ),
    *_kinds(
        "networking.k8s.io",
        "v1",
        ("IngressClass", False, "ingressclasses", {}),
        ("Ingress", True, "ingresses", {"short_names": ("ing",), "status": True}),
        ("IPAddress", False, "ipaddresses", {"short_names": ("ip",), "since": 33}),
        ("NetworkPolicy", True, "networkpolicies", {"short_names": ("netpol",)}),
        ("ServiceCIDR", False, "servicecidrs", {"status": True, "since": 33}),
    ),
    *_kinds(
        "policy",
        "v1",
        (
            "PodDisruptionBudget",
            True,
            "poddisruptionbudgets",
            {"short_names": ("pdb",), "status": True},
        ),
    ),
    *_kinds(
        "rbac.authorization.k8s.io",
        "v1",
        ("ClusterRoleBinding", False, "clusterrolebindings", {}),
        ("ClusterRole", False, "clusterroles", {}),
        ("RoleBinding", True, "rolebindings", {}),
        ("Role", True, "roles", {}),
    ),
    *_kinds(
        "storage.k8s.io",
        "v1",
        ("CSIDriver", False, "csidrivers", {}),
        ("CSINode", False, "csinodes", {}),
        (
            "CSIStorageCapacity",
            True,
            "csistoragecapacities",
            {},
        ),
        ("StorageClass", False, "storageclasses", {"short_names": ("sc",)}),
        ("VolumeAttachment", False, "volumeattachments", {"status": True}),
        (
            "VolumeAttributesClass",
            False,
            "volumeattributesclasses",
            {"short_names": ("vac",), "since": 34},
        ),
    ),
    *_kinds(
        "admissionregistration.k8s.io",
        "v1",
        ("MutatingAdmissionPolicy", False, "mutatingadmissionpolicies", _MUTATING),
        (
            "MutatingAdmissionPolicyBinding",
            False,
            "mutatingadmissionpolicybindings",
            _MUTATING,
        ),
        ("MutatingWebhookConfiguration", False, "mutatingwebhookconfigurations", {}),
        (
            "ValidatingAdmissionPolicy",
            False,
            "validatingadmissionpolicies",
            {"status": True},
        ),
        ("ValidatingAdmissionPolicyBinding", False, "validatingadmissionpolicybindings", {}),
        ("ValidatingWebhookConfiguration", False, "validatingwebhookconfigurations", {}),
        categories=_EXTENSIONS,
    ),
    *_kinds(
        "apiextensions.k8s.io",
        "v1",
        (
            "CustomResourceDefinition",
            False,
            "customresourcedefinitions",
            {"short_names": ("crd", "crds"), "categories": _EXTENSIONS, "status": True},
        ),
    ),
    *_kinds(
        "scheduling.k8s.io",
        "v1",
        ("PriorityClass", False, "priorityclasses", {"short_names": ("pc",)}),
    ),
    *_kinds("coordination.k8s.io", "v1", ("Lease", True, "leases", {})),
    *_kinds("node.k8s.io", "v1", ("RuntimeClass", False, "runtimeclasses", {})),
    *_kinds("discovery.k8s.io", "v1", ("EndpointSlice", True, "endpointslices", {})),
    *_kinds(
        "resource.k8s.io",
        "v1",
        ("DeviceClass", False, "deviceclasses", {}),
        ("DeviceTaintRule", False, "devicetaintrules", {"status": True, "since": 37}),
        ("ResourceClaim", True, "resourceclaims", {"status": True}),
        ("ResourceClaimTemplate", True, "resourceclaimtemplates", {}),
        ("ResourceSlice", False, "resourceslices", {}),
        since=34,
    ),
    *_kinds(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        ("FlowSchema", False, "flowschemas", {}),
        ("PriorityLevelConfiguration", False, "prioritylevelconfigurations", {}),
        status=True,
    ),
    *_kinds(
        "flowcontrol.apiserver.k8s.io",
        "v1beta3",
        ("FlowSchema", False, "flowschemas", {}),
        ("PriorityLevelConfiguration", False, "prioritylevelconfigurations", {}),
        status=True,
        storage_version="v1",
        until=31,
    ),
    *_kinds(
        "storagemigration.k8s.io",
        "v1",
        (
            "StorageVersionMigration",
            False,
            "storageversionmigrations",
            {"status": True, "since": 37},
        ),
    ),
)
