"""The node authorizer: a kubelet sees what concerns its own node.

Owns the rules of `system:node:<name>` users. Secrets, config maps, claims and accounts are allowed
through the pods that are bound to the node.

https://kubernetes.io/docs/reference/access-authn-authz/node/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.apiserver._authz import Attributes
    from actors.apiserver._core import Core

__all__ = ["node_may"]

Object = dict[str, Any]
_READ = ("get", "list", "watch")


def node_may(core: Core, node: str, wanted: Attributes) -> bool:
    """Whether the kubelet of `node` may do this."""
    if wanted.path:
        return False
    group, resource, verb = wanted.group, wanted.resource, wanted.verb
    if group == "" and resource in ("secrets", "configmaps"):
        return verb in _READ and _referenced(core, node, wanted, resource)
    if group == "" and resource == "persistentvolumeclaims":
        return verb == "get" and _referenced(core, node, wanted, resource)
    if group == "" and resource == "serviceaccounts":
        return ((verb == "create" and wanted.subresource == "token") or verb == "get") and _referenced(
            core, node, wanted, resource
        )
    if group == "coordination.k8s.io" and resource == "leases":
        if wanted.namespace == "kube-node-lease":
            return verb == "create" or (verb in ("get", "update", "patch", "delete") and wanted.name == node)
        return False
    if group == "storage.k8s.io" and resource == "csinodes":
        return verb == "create" or wanted.name == node
    return any(_rule(group, resource, wanted.subresource, verb))


def _rule(group: str, resource: str, subresource: str, verb: str) -> Iterator[bool]:
    for groups, resources, verbs in _RULES:
        full = f"{resource}/{subresource}" if subresource else resource
        yield group in groups and full in resources and verb in verbs


_RULES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (("",), ("services",), _READ),
    (("",), ("nodes",), ("create", "get", "list", "watch", "update", "patch")),
    (("",), ("nodes/status",), ("update", "patch")),
    (("", "events.k8s.io"), ("events",), ("create", "update", "patch")),
    (("",), ("pods",), ("get", "list", "watch", "create", "delete")),
    (("",), ("pods/status",), ("update", "patch")),
    (("",), ("pods/eviction",), ("create",)),
    (("",), ("endpoints", "persistentvolumes"), ("get",)),
    (("storage.k8s.io",), ("volumeattachments",), ("get",)),
    (("storage.k8s.io",), ("csidrivers",), _READ),
    (("authentication.k8s.io",), ("tokenreviews",), ("create",)),
    (("authorization.k8s.io",), ("localsubjectaccessreviews", "subjectaccessreviews"), ("create",)),
    (("certificates.k8s.io",), ("certificatesigningrequests",), ("create", "get", "list", "watch")),
    (("node.k8s.io",), ("runtimeclasses",), _READ),
    (("resource.k8s.io",), ("resourceclaims",), ("get",)),
    (("resource.k8s.io",), ("resourceslices",), ("get", "list", "watch", "create", "update", "patch", "delete",
                                                 "deletecollection")),
    (("discovery.k8s.io",), ("endpointslices",), _READ),
)


def _referenced(core: Core, node: str, wanted: Attributes, resource: str) -> bool:
    """Whether a pod on the node mentions the object. A list needs a name too, as in a field selector."""
    if not wanted.name or not wanted.namespace:
        return False
    pods = core.store.cache("", "pods").by_node or {}
    bucket = pods.get(node)
    for entry in bucket.entries.values() if bucket else ():
        if entry.namespace == wanted.namespace and wanted.name in _names(entry.object, resource):
            return True
    return False


def _names(pod: Object, resource: str) -> set[str]:
    spec = pod.get("spec") or {}
    if resource == "serviceaccounts":
        return {spec.get("serviceAccountName") or "default"}
    names: set[str] = set()
    for volume in spec.get("volumes") or ():
        names |= _volume_names(volume, resource)
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


def _volume_names(volume: Object, resource: str) -> set[str]:
    if resource == "persistentvolumeclaims":
        return {(volume.get("persistentVolumeClaim") or {}).get("claimName", "")}
    sources = (volume.get("projected") or {}).get("sources") or ()
    if resource == "secrets":
        found = {(volume.get("secret") or {}).get("secretName", "")}
        return found | {(s.get("secret") or {}).get("name", "") for s in sources}
    found = {(volume.get("configMap") or {}).get("name", "")}
    return found | {(s.get("configMap") or {}).get("name", "") for s in sources}
