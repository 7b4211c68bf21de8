"""NodeRestriction: a kubelet may write its own node, its own pods and little else.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.admission._base import CREATE, DELETE, UPDATE, Attributes, Plugin
from protocol import status
from protocol.api import StatusError

__all__ = ["NodeRestriction"]

Object = dict[str, Any]
USER_PREFIX = "system:node:"
MIRROR = "kubernetes.io/config.mirror"
LEASE_NAMESPACE = "kube-node-lease"
RESTRICTED_PREFIX = "node-restriction.kubernetes.io/"
_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.kubernetes.io/zone",
        "failure-domain.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    }
)
_KUBELET_PREFIXES = ("kubelet.kubernetes.io/", "node.kubernetes.io/")
_CHECKED = {
    ("", "nodes"),
    ("", "pods"),
    ("", "serviceaccounts"),
    ("", "persistentvolumeclaims"),
    ("coordination.k8s.io", "leases"),
    ("storage.k8s.io", "csinodes"),
    ("resource.k8s.io", "resourceslices"),
}


class NodeRestriction(Plugin):
    """Concerns only users `system:node:<name>` of the group `system:nodes`."""

    name = "NodeRestriction"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """What kubelets write."""
        return (group, resource) in _CHECKED and operation in (CREATE, UPDATE, DELETE)

    def admit(self, attributes: Attributes) -> None:
        """Raise 403. Runs early, like upstream's, though it changes nothing."""
        user = attributes.user
        if not user.name.startswith(USER_PREFIX) or "system:nodes" not in user.groups:
            return
        node = user.name.removeprefix(USER_PREFIX)
        check = {
            "nodes": self._node,
            "pods": self._pod,
            "serviceaccounts": self._token,
            "persistentvolumeclaims": self._claim,
            "leases": self._lease,
            "csinodes": self._csi_node,
            "resourceslices": self._slice,
        }[attributes.resource]
        why = check(attributes, node)
        if why:
            raise self._refuse(attributes, why)

    @staticmethod
    def _refuse(attributes: Attributes, why: str) -> StatusError:
        return status.forbidden(attributes.group, attributes.resource, attributes.name, why)

    def _node(self, attributes: Attributes, node: str) -> str:
        new, old = attributes.object or {}, attributes.old_object or {}
        name = attributes.name or (new.get("metadata") or {}).get("name", "")
        if name != node:
            return f'node "{node}" is not allowed to modify node "{name}"'
        if attributes.operation == CREATE:
            wrong = _forbidden_labels(new, {})
            if wrong:
                return f'node "{node}" is not allowed to set the following labels: {", ".join(wrong)}'
            if (new.get("metadata") or {}).get("ownerReferences"):
                return f'node "{node}" is not allowed to set ownerReferences'
        if attributes.operation == UPDATE:
            if ((new.get("spec") or {}).get("taints") or []) != ((old.get("spec") or {}).get("taints") or []):
                return f'node "{node}" is not allowed to modify taints'
            wrong = _forbidden_labels(new, old)
            if wrong:
                return f'is not allowed to modify labels: {", ".join(wrong)}'
            owners = ((obj.get("metadata") or {}).get("ownerReferences") for obj in (new, old))
            if len(set(map(str, owners))) > 1:
                return f'node "{node}" is not allowed to update ownerReferences'
        return ""

    def _pod(self, attributes: Attributes, node: str) -> str:
        new = attributes.object or {}
        if attributes.subresource == "eviction":
            return self._own_pod(attributes, node, "evict")
        if attributes.subresource == "status":
            return self._own_pod(attributes, node, "update pod status for")
        if attributes.subresource:
            return f'unexpected pod subresource "{attributes.subresource}"'
        if attributes.operation == DELETE:
            return self._own_pod(attributes, node, "delete")
        if attributes.operation != CREATE:
            return f'unexpected operation "{attributes.operation}"'
        if MIRROR not in (new["metadata"].get("annotations") or {}):
            return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
        spec = new.get("spec") or {}
        if spec.get("nodeName") != node:
            return f'node "{node}" can only create pods with spec.nodeName set to itself'
        if spec.get("serviceAccountName"):
            return f'node "{node}" can not create pods that reference a service account'
        sources = {key for volume in spec.get("volumes") or () for key in volume}
        for source, word in (("secret", "secrets"), ("configMap", "configmaps"), ("persistentVolumeClaim", "persistentvolumeclaims")):
            if source in sources:
                return f'node "{node}" can not create pods that reference {word}'
        return ""

    @staticmethod
    def _own_pod(attributes: Attributes, node: str, verb: str) -> str:
        pod = attributes.old_object or attributes.lookup.get("", "pods", attributes.namespace, attributes.name)
        if pod is None or (pod.get("spec") or {}).get("nodeName") == node:
            return ""
        return f'node "{node}" can only {verb} pods with spec.nodeName set to itself'

    @staticmethod
    def _token(attributes: Attributes, node: str) -> str:
        if attributes.subresource != "token" or attributes.operation != CREATE:
            return ""
        ref = ((attributes.object or {}).get("spec") or {}).get("boundObjectRef")
        if not ref or ref.get("apiVersion") != "v1" or ref.get("kind") != "Pod" or not ref.get("name"):
            return "node requested token not bound to a pod"
        if not ref.get("uid"):
            return 'node requested token with a pod binding without a uid'
        pod = attributes.lookup.get("", "pods", attributes.namespace, ref["name"])
        if pod is None:
            return f'pod "{ref["name"]}" not found'
        if pod["metadata"].get("uid") != ref["uid"]:
            return (
                f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object"
                " might have been deleted and then recreated"
            )
        if (pod.get("spec") or {}).get("nodeName") != node:
            return "node requested token bound to a pod scheduled on a different node"
        return ""

    @staticmethod
    def _claim(attributes: Attributes, node: str) -> str:
        if attributes.operation != UPDATE or attributes.subresource != "status":
            return 'may only update PVC status'
        return ""

    @staticmethod
    def _lease(attributes: Attributes, node: str) -> str:
        if attributes.namespace != LEASE_NAMESPACE:
            return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        name = attributes.name or (attributes.object or {}).get("metadata", {}).get("name", "")
        return "" if name == node else "can only access node lease with the same name as the requesting node"

    @staticmethod
    def _csi_node(attributes: Attributes, node: str) -> str:
        name = attributes.name or (attributes.object or {}).get("metadata", {}).get("name", "")
        return "" if name == node else "can only access CSINode with the same name as the requesting node"

    @staticmethod
    def _slice(attributes: Attributes, node: str) -> str:
        obj = attributes.object if attributes.operation == CREATE else attributes.old_object
        found = ((obj or {}).get("spec") or {}).get("nodeName")
        if attributes.operation == DELETE and not found:
            return "can only delete ResourceSlice with the same NodeName as the requesting node"
        return "" if found == node else "can only create ResourceSlice with the same NodeName as the requesting node"


def _forbidden_labels(new: Object, old: Object) -> list[str]:
    """Labels in Kubernetes' own namespaces that changed and are not a kubelet's to set."""
    now = (new.get("metadata") or {}).get("labels") or {}
    was = (old.get("metadata") or {}).get("labels") or {}
    changed = {key for key in now.keys() | was.keys() if now.get(key) != was.get(key)}
    return sorted(key for key in changed if _reserved(key))


def _reserved(key: str) -> bool:
    if key in _KUBELET_LABELS:
        return False
    prefix, slash, _ = key.partition("/")
    if not slash:
        return False
    full = prefix + "/"
    if full == RESTRICTED_PREFIX or prefix.endswith("." + RESTRICTED_PREFIX.rstrip("/")):
        return True
    if full in _KUBELET_PREFIXES or any(prefix.endswith("." + p.rstrip("/")) for p in _KUBELET_PREFIXES):
        return False
    return prefix in ("kubernetes.io", "k8s.io") or prefix.endswith((".kubernetes.io", ".k8s.io"))
