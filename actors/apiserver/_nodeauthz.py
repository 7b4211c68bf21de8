"""The node authorizer: a kubelet sees what concerns its own node.

Owns the rules of `system:node:<name>` users and the words of its refusals. What a node may read
follows from the pods that are bound to it: their secrets, config maps, accounts, resource claims,
claims, and by those the volumes and their secrets.

https://kubernetes.io/docs/reference/access-authn-authz/node/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from protocol.fieldselectors import parse_field_selector
from protocol.selectors import SelectorError

if TYPE_CHECKING:
    from actors.apiserver._authz import Attributes
    from actors.apiserver._core import Core

__all__ = ["node_name_of", "node_opinion"]

Object = dict[str, Any]
Opinion = tuple[bool, str]
PREFIX = "system:node:"
LEASES = "kube-node-lease"
MIRROR = "kubernetes.io/config.mirror"
SELECTORS_SINCE = 32
"""From this minor version on, nodes list only what a field selector narrows to themselves."""
_READ = ("get", "list", "watch")
_OWN = ("get", "create", "update", "patch", "delete")
_SECRETS_OF_VOLUME = ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")
_YES: Opinion = (True, "")


def node_name_of(name: str, groups: tuple[str, ...]) -> str | None:
    """The node that a user is; None when it is none, empty when it does not say which."""
    if "system:nodes" not in groups or not name.startswith(PREFIX):
        return None
    return name[len(PREFIX) :]


def node_opinion(core: Core, node: str, wanted: Attributes) -> Opinion:
    """Whether the kubelet of `node` may do this, and why not."""
    if not node:
        return False, f'unknown node for user "{PREFIX}"'
    if not wanted.path:
        special = _SPECIAL.get((wanted.group, wanted.resource))
        if special is not None:
            return special(core, node, wanted)
        if any(_rule(wanted.group, wanted.resource, wanted.subresource, wanted.verb)):
            return _YES
    return False, ""


# --- one function per kind of resource ----------------------------------------------------------


def _read_one(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.verb not in _READ:
        return False, "can only read resources of this type"
    if wanted.subresource:
        return False, "cannot read subresource"
    if not wanted.namespace:
        return False, "can only read namespaced object of this type"
    return _related(core, node, wanted)


def _get_one(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.verb != "get":
        return False, "can only get individual resources of this type"
    if wanted.subresource:
        return False, "cannot get subresource"
    return _related(core, node, wanted)


def _claim(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.subresource != "status":
        return _get_one(core, node, wanted)
    if wanted.verb not in ("update", "patch"):
        return False, "can only get/update/patch this type"
    return _related(core, node, wanted)


def _account(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.verb == "get" and not wanted.subresource and core.config.minor >= 34:
        return _related(core, node, wanted)  # for credential providers (KEP-4412)
    if wanted.verb != "create" or not wanted.name:
        return False, "can only create tokens for individual service accounts"
    if wanted.subresource != "token":
        return False, "can only create token subresource of serviceaccount"
    return _related(core, node, wanted)


def _lease(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.verb not in _OWN:
        return False, "can only get, create, update, patch, or delete a node lease"
    if wanted.namespace != LEASES:
        return False, f'can only access leases in the "{LEASES}" system namespace'
    if wanted.verb != "create" and wanted.name != node:
        return False, "can only access node lease with the same name as the requesting node"
    return _YES


def _csi_node(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.verb not in _OWN:
        return False, "can only get, create, update, patch, or delete a CSINode"
    if wanted.subresource:
        return False, "cannot authorize CSINode subresources"
    if wanted.verb != "create" and wanted.name != node:
        return False, "can only access CSINode with the same name as the requesting node"
    return _YES


def _slice(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.subresource:
        return False, "cannot authorize ResourceSlice subresources"
    if wanted.verb == "create":
        return _YES
    if wanted.verb in ("get", "update", "patch", "delete"):
        return _related(core, node, wanted)
    if wanted.verb not in ("watch", "list", "deletecollection"):
        verbs = "get, watch, list, create, update, patch, delete, deletecollection"
        return False, f"only the following verbs are allowed for a ResourceSlice: {verbs}"
    if core.config.minor < SELECTORS_SINCE or _narrowed(wanted, ("nodeName", "spec.nodeName"), node):
        return _YES
    return False, "can only list/watch/deletecollection resourceslices with nodeName field selector"


def _node(core: Core, node: str, wanted: Attributes) -> Opinion:
    sub, verb = wanted.subresource, wanted.verb
    if sub == "status":
        return (verb in ("update", "patch"), "")
    if sub:
        return False, ""
    if verb in ("create", "update", "patch"):
        return _YES
    if verb not in _READ:
        return False, ""
    if wanted.name == node or core.config.minor < SELECTORS_SINCE:
        return _YES
    what = f"'{wanted.name}'" if wanted.name else "all nodes"
    return False, f"node '{node}' cannot read {what}, only its own Node object"


def _pod(core: Core, node: str, wanted: Attributes) -> Opinion:
    sub, verb = wanted.subresource, wanted.verb
    if sub:
        return (sub, verb) in (("status", "update"), ("status", "patch"), ("eviction", "create")), ""
    if verb in ("create", "delete"):
        return _YES
    if verb not in _READ:
        return False, ""
    if core.config.minor < SELECTORS_SINCE:
        return _YES
    if verb == "get":
        return _get_one(core, node, wanted)
    if _narrowed(wanted, ("spec.nodeName",), node):
        return _YES
    if wanted.name:
        return _related(core, node, wanted)
    return False, "can only list/watch pods with spec.nodeName field selector"


def _certificate(core: Core, node: str, wanted: Attributes) -> Opinion:
    if wanted.subresource:
        return False, "nodes may not access the status subresource of PodCertificateRequests"
    if wanted.verb == "create":
        return _YES
    if wanted.verb == "get":
        return _related(core, node, wanted)
    if wanted.verb in ("list", "watch"):
        if _narrowed(wanted, ("spec.nodeName",), node):
            return _YES
        return False, "can only list/watch podcertificaterequests with nodeName field selector"
    return False, ""


_SPECIAL: dict[tuple[str, str], Callable[[Core, str, Attributes], Opinion]] = {
    ("", "secrets"): _read_one,
    ("", "configmaps"): _read_one,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _get_one,
    ("", "serviceaccounts"): _account,
    ("", "nodes"): _node,
    ("", "pods"): _pod,
    ("certificates.k8s.io", "podcertificaterequests"): _certificate,
    ("coordination.k8s.io", "leases"): _lease,
    ("resource.k8s.io", "resourceclaims"): _get_one,
    ("resource.k8s.io", "resourceslices"): _slice,
    ("storage.k8s.io", "csinodes"): _csi_node,
    ("storage.k8s.io", "volumeattachments"): _get_one,
}

_RULES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (("",), ("services",), _READ),
    (("", "events.k8s.io"), ("events",), ("create", "update", "patch")),
    (("",), ("endpoints",), ("get",)),
    (("storage.k8s.io",), ("csidrivers",), _READ),
    (("authentication.k8s.io",), ("tokenreviews",), ("create",)),
    (("authorization.k8s.io",), ("localsubjectaccessreviews", "subjectaccessreviews"), ("create",)),
    (("certificates.k8s.io",), ("certificatesigningrequests",), ("create", "get", "list", "watch")),
    (("certificates.k8s.io",), ("clustertrustbundles",), _READ),
    (("node.k8s.io",), ("runtimeclasses",), _READ),
    (("discovery.k8s.io",), ("endpointslices",), _READ),
)


def _rule(group: str, resource: str, subresource: str, verb: str) -> Iterator[bool]:
    for groups, resources, verbs in _RULES:
        full = f"{resource}/{subresource}" if subresource else resource
        yield group in groups and full in resources and verb in verbs


def _narrowed(wanted: Attributes, fields: tuple[str, ...], node: str) -> bool:
    """Whether the request's field selector selects nothing but what is on the node."""
    if not wanted.fields:
        return False
    try:
        selector = parse_field_selector(wanted.fields)
    except SelectorError:
        return False
    return any(selector.required(field) == node for field in fields)


# --- what is related to a node ------------------------------------------------------------------


def _related(core: Core, node: str, wanted: Attributes) -> Opinion:
    if not wanted.name:
        return False, "No Object name found"
    if _RELATIONS[wanted.resource](core, node, wanted.namespace, wanted.name):
        return _YES
    return False, f"no relationship found between node '{node}' and this object"


def _pods_on(core: Core, node: str, namespace: str = "") -> Iterator[Object]:
    bucket = (core.store.cache("", "pods").by_node or {}).get(node)
    for entry in bucket.entries.values() if bucket else ():
        if not namespace or entry.namespace == namespace:
            yield entry.object


def _users(core: Core, node: str, namespace: str) -> Iterator[Object]:
    """The pods whose references count: mirror pods refer to nothing."""
    for pod in _pods_on(core, node, namespace):
        if MIRROR not in (pod["metadata"].get("annotations") or {}):
            yield pod


def _pod_related(core: Core, node: str, namespace: str, name: str) -> bool:
    pod = core.get("", "pods", namespace, name)
    return pod is not None and (pod.get("spec") or {}).get("nodeName") == node


def _mentioned(resource: str) -> Callable[[Core, str, str, str], bool]:
    def test(core: Core, node: str, namespace: str, name: str) -> bool:
        return any(name in _names(pod, resource) for pod in _users(core, node, namespace))

    return test


_used_by_pods = _mentioned("secrets")


def _secret_related(core: Core, node: str, namespace: str, name: str) -> bool:
    if _used_by_pods(core, node, namespace, name):
        return True
    return any((namespace, name) in _secrets_of(volume) for volume in _volumes_on(core, node))


def _volumes_on(core: Core, node: str) -> Iterator[Object]:
    for pod in _users(core, node, ""):
        namespace = pod["metadata"]["namespace"]
        for name in _names(pod, "persistentvolumeclaims"):
            claim = core.get("", "persistentvolumeclaims", namespace, name) or {}
            volume = core.get("", "persistentvolumes", "", (claim.get("spec") or {}).get("volumeName") or "")
            owner = ((volume or {}).get("spec") or {}).get("claimRef") or {}
            if volume is not None and (owner.get("namespace"), owner.get("name")) == (namespace, name):
                yield volume


def _volume_related(core: Core, node: str, namespace: str, name: str) -> bool:
    return any(volume["metadata"]["name"] == name for volume in _volumes_on(core, node))


def _secrets_of(volume: Object) -> set[tuple[str, str]]:
    """Namespaces and names of the secrets that a kubelet needs to mount a volume."""
    spec = volume.get("spec") or {}
    home = (spec.get("claimRef") or {}).get("namespace", "")
    found: set[tuple[str, str]] = set()
    csi = spec.get("csi") or {}
    for field in _SECRETS_OF_VOLUME:
        ref = csi.get(field) or {}
        found.add((ref.get("namespace", ""), ref.get("name", "")))
    for kind in ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"):
        ref = (spec.get(kind) or {}).get("secretRef") or {}
        found.add((ref.get("namespace") or home, ref.get("name", "")))
    azure = spec.get("azureFile") or {}
    found.add((azure.get("secretNamespace") or home, azure.get("secretName", "")))
    return found


def _bound_to(group: str, resource: str) -> Callable[[Core, str, str, str], bool]:
    """For objects that name their node themselves."""

    def test(core: Core, node: str, namespace: str, name: str) -> bool:
        found = core.get(group, resource, namespace, name)
        return found is not None and (found.get("spec") or {}).get("nodeName") == node

    return test


_RELATIONS: dict[str, Callable[[Core, str, str, str], bool]] = {
    "secrets": _secret_related,
    "configmaps": _mentioned("configmaps"),
    "serviceaccounts": _mentioned("serviceaccounts"),
    "resourceclaims": _mentioned("resourceclaims"),
    "persistentvolumeclaims": _mentioned("persistentvolumeclaims"),
    "persistentvolumes": _volume_related,
    "pods": _pod_related,
    "volumeattachments": _bound_to("storage.k8s.io", "volumeattachments"),
    "resourceslices": _bound_to("resource.k8s.io", "resourceslices"),
    "podcertificaterequests": _bound_to("certificates.k8s.io", "podcertificaterequests"),
}


def _names(pod: Object, resource: str) -> set[str]:
    """The names of a pod's secrets, config maps, claims or account."""
    spec = pod.get("spec") or {}
    if resource == "serviceaccounts":
        return {spec["serviceAccountName"]} if spec.get("serviceAccountName") else set()
    if resource == "resourceclaims":
        return _claims_of(pod)
    names: set[str] = set()
    for volume in spec.get("volumes") or ():
        names |= _volume_names(pod["metadata"]["name"], volume, resource)
    if resource == "secrets":
        names |= {ref.get("name", "") for ref in spec.get("imagePullSecrets") or ()}
    key = {"secrets": "secret", "configmaps": "configMap"}.get(resource)
    if key is None:
        return names
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            for env in container.get("env") or ():
                names.add(((env.get("valueFrom") or {}).get(key + "KeyRef") or {}).get("name", ""))
            for env in container.get("envFrom") or ():
                names.add((env.get(key + "Ref") or {}).get("name", ""))
    return names


def _claims_of(pod: Object) -> set[str]:
    """Resource claims: named by the pod itself, or made for it."""
    names = {claim.get("resourceClaimName") or "" for claim in (pod.get("spec") or {}).get("resourceClaims") or ()}
    made = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    names |= {claim.get("resourceClaimName") or "" for claim in made}
    extended = (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}
    return names | {extended.get("resourceClaimName") or ""}


def _volume_names(pod: str, volume: Object, resource: str) -> set[str]:
    if resource == "persistentvolumeclaims":
        found = {(volume.get("persistentVolumeClaim") or {}).get("claimName", "")}
        return found | ({f"{pod}-{volume.get('name', '')}"} if volume.get("ephemeral") is not None else set())
    sources = (volume.get("projected") or {}).get("sources") or ()
    if resource == "secrets":
        found = {(volume.get("secret") or {}).get("secretName", "")}
        found |= {(volume.get("azureFile") or {}).get("secretName", "")}
        for source in volume.values():
            if isinstance(source, dict):
                found |= {(source.get(ref) or {}).get("name", "") for ref in ("secretRef", "nodePublishSecretRef")}
        return found | {(s.get("secret") or {}).get("name", "") for s in sources}
    found = {(volume.get("configMap") or {}).get("name", "")}
    return found | {(s.get("configMap") or {}).get("name", "") for s in sources}
