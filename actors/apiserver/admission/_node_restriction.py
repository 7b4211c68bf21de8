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
_ITSELF = "spec.nodeName set to itself"
_RESIZE_FIELDS = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
_SOURCES = {
    "secret": "secrets",
    "configMap": "configmaps",
    "clusterTrustBundle": "clustertrustbundles",
    "persistentVolumeClaim": "persistentvolumeclaims",
}
_REFERENCES = {
    "secretKeyRef": "secrets",
    "secretRef": "secrets",
    "configMapKeyRef": "configmaps",
    "configMapRef": "configmaps",
}
_CHECKED = {
    ("", "nodes"),
    ("", "pods"),
    ("", "serviceaccounts"),
    ("", "persistentvolumeclaims"),
    ("coordination.k8s.io", "leases"),
    ("storage.k8s.io", "csinodes"),
    ("resource.k8s.io", "resourceslices"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("certificates.k8s.io", "podcertificaterequests"),
}
_KUBELET_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
AUDIENCE_VERB = "request-serviceaccounts-token-audience"
_AUDIENCES_SINCE = 33


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
        if not node:
            raise self._refuse(attributes, f'could not determine node from user "{user.name}"')
        check = {
            "nodes": self._node,
            "pods": self._pod,
            "serviceaccounts": self._token,
            "persistentvolumeclaims": self._claim,
            "leases": self._lease,
            "csinodes": self._csi_node,
            "resourceslices": self._slice,
            "certificatesigningrequests": self._signing_request,
            "podcertificaterequests": self._pod_certificate,
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
        source, before = ((obj.get("spec") or {}).get("configSource") for obj in (new, old))
        if attributes.operation == CREATE:
            if source is not None:
                return f'node "{node}" is not allowed to create pods with a non-nil configSource'
            wrong = _forbidden_labels(new, {})
            if wrong:
                return f'node "{node}" is not allowed to set the following labels: {", ".join(wrong)}'
            if (new.get("metadata") or {}).get("ownerReferences"):
                return f'node "{node}" is not allowed to set ownerReferences'
        if attributes.operation == UPDATE:
            if source is not None and source != before:
                return f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
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
        sub, operation = attributes.subresource, attributes.operation
        if sub == "eviction":
            own = self._existing(attributes, attributes.name).get("spec") or {}
            return "" if own.get("nodeName") == node else f"node {node} can only evict pods with {_ITSELF}"
        if sub == "status":
            return self._pod_status(attributes, node)
        if sub:
            return f"unexpected pod subresource \"{sub}\", only 'status' and 'eviction' are allowed"
        if operation == CREATE:
            return self._mirror_pod(attributes, node)
        if operation != DELETE:
            return f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods'
        own = (attributes.old_object or self._existing(attributes, attributes.name)).get("spec") or {}
        return "" if own.get("nodeName") == node else f'node "{node}" can only delete pods with {_ITSELF}'

    @staticmethod
    def _existing(attributes: Attributes, name: str) -> Object:
        """A pod that must be there. Raises `StatusError` (404)."""
        found = attributes.lookup.get("", "pods", attributes.namespace, name)
        if found is None:
            raise status.not_found("", "pods", name)
        return found

    @staticmethod
    def _pod_status(attributes: Attributes, node: str) -> str:
        new, old = attributes.object or {}, attributes.old_object or {}
        if (old.get("spec") or {}).get("nodeName") != node:
            return f'node "{node}" can only update pod status for pods with {_ITSELF}'
        if (new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}):
            return f'node "{node}" cannot update labels through pod status'
        claims = [(obj.get("status") or {}).get("resourceClaimStatuses") or [] for obj in (new, old)]
        return f'node "{node}" cannot update resource claim statues' if claims[0] != claims[1] else ""

    def _mirror_pod(self, attributes: Attributes, node: str) -> str:
        new = attributes.object or {}
        if MIRROR not in (new["metadata"].get("annotations") or {}):
            return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
        spec = new.get("spec") or {}
        if spec.get("nodeName") != node:
            return f'node "{node}" can only create pods with {_ITSELF}'
        why = self._owner(attributes, node, new["metadata"].get("ownerReferences") or [])
        if why:
            return f'node "{node}" {why}'
        if spec.get("serviceAccountName"):
            return f'node "{node}" can not create pods that reference a service account'
        found = _references(spec)
        for word in ("secrets", "configmaps", "clustertrustbundles", "persistentvolumeclaims"):
            if word in found:
                return f'node "{node}" can not create pods that reference {word}'
        return ""

    def _owner(self, attributes: Attributes, node: str, owners: list[Object]) -> str:
        """What is wrong with the owner of a mirror pod, which has to be the node. Raises `StatusError`."""
        if len(owners) > 1:
            return "can only create pods with a single owner reference set to itself"
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            return "can only create pods with an owner reference set to itself"
        if not owner.get("controller"):
            return "can only create pods with a controller owner reference set to itself"
        if owner.get("blockOwnerDeletion"):
            return "must not set blockOwnerDeletion on an owner reference"
        known = attributes.lookup.get("", "nodes", "", node)
        if known is None:
            raise status.not_found("", "nodes", node)
        uid = known["metadata"].get("uid")
        if owner.get("uid") != uid:
            why = f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}"
            raise self._refuse(attributes, why)
        return ""

    @staticmethod
    def _token(attributes: Attributes, node: str) -> str:
        if attributes.subresource != "token" or attributes.operation != CREATE:
            return ""
        ref = ((attributes.object or {}).get("spec") or {}).get("boundObjectRef")
        if not ref or ref.get("apiVersion") != "v1" or ref.get("kind") != "Pod" or not ref.get("name"):
            return "node requested token not bound to a pod"
        if not ref.get("uid"):
            return 'node requested token with a pod binding without a uid'
        pod = NodeRestriction._existing(attributes, ref["name"])
        if pod["metadata"].get("uid") != ref["uid"]:
            return (
                f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object"
                " might have been deleted and then recreated"
            )
        if (pod.get("spec") or {}).get("nodeName") != node:
            return "node requested token bound to a pod scheduled on a different node"
        if attributes.lookup.resources.minor < _AUDIENCES_SINCE:
            return ""
        return NodeRestriction._audience(attributes, pod, (attributes.object or {})["spec"].get("audiences") or [])

    @staticmethod
    def _audience(attributes: Attributes, pod: Object, audiences: list[str]) -> str:
        """A kubelet gets tokens for the audiences that the pod's volumes ask for, and for those that it
        may request (KEP-4935)."""
        if len(audiences) > 1:
            return "node may only request 0 or 1 audiences"
        audience = audiences[0] if audiences else ""
        if audience in _audiences_of(attributes, pod):
            return ""
        user = attributes.user
        if attributes.lookup.allowed(user, AUDIENCE_VERB, "", audience, attributes.namespace, attributes.name):
            return ""
        return (
            f'audience "{audience}" not found in pod spec volume, {user.name} is not authorized to request tokens for'
            " this audience"
        )

    @staticmethod
    def _claim(attributes: Attributes, node: str) -> str:
        if attributes.subresource != "status":
            return "may only update PVC status"
        if attributes.operation != UPDATE:
            return f'unexpected operation "{attributes.operation}"'
        if _fixed_of_claim(attributes.object or {}) == _fixed_of_claim(attributes.old_object or {}):
            return ""
        return f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions'

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
        if attributes.operation == UPDATE:  # the authorizer knows whose it is, and that does not change
            return ""
        obj = attributes.object if attributes.operation == CREATE else attributes.old_object
        if ((obj or {}).get("spec") or {}).get("nodeName") == node:
            return ""
        verb = "create" if attributes.operation == CREATE else "delete"
        return f"can only {verb} ResourceSlice with the same NodeName as the requesting node"

    @staticmethod
    def _signing_request(attributes: Attributes, node: str) -> str:
        """A kubelet asks for its own certificates, not for another's."""
        spec = (attributes.object or {}).get("spec") or {}
        if attributes.operation != CREATE or attributes.subresource or spec.get("signerName") not in _KUBELET_SIGNERS:
            return ""
        from actors.apiserver.admission._certificates import common_name

        name = common_name(spec.get("request") or "")
        if name is None:
            return "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"
        return "" if name == USER_PREFIX + node else f"can only create a node CSR with CN={USER_PREFIX}{node}"

    @staticmethod
    def _pod_certificate(attributes: Attributes, node: str) -> str:
        """Only for pods that run on the node, as they are."""
        if attributes.operation != CREATE:
            return f'unexpected operation "{attributes.operation}"'
        if attributes.subresource:
            return "nodes may not access subresources of PodCertificateRequests"
        spec = (attributes.object or {}).get("spec") or {}
        if spec.get("nodeName") != node:
            return "PodCertificateRequest.Spec.NodeName does not match the requesting node's name"
        pod = attributes.lookup.get("", "pods", attributes.namespace, spec.get("podName") or "")
        if pod is None:
            raise status.not_found("", "pods", spec.get("podName") or "")
        if pod["metadata"].get("uid") != spec.get("podUID"):
            return f"PodCertificateRequest for pod \"{attributes.namespace}/{spec.get('podName')}\" contains podUID"\
                f" \"{spec.get('podUID', '')}\" which differs from running pod"
        if (pod.get("spec") or {}).get("nodeName") != node:
            return f"PodCertificateRequest for pod \"{attributes.namespace}/{spec.get('podName')}\" which is not on node \"{node}\""
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            return f"pod \"{attributes.namespace}/{spec.get('podName')}\" is a mirror pod, which is not allowed"
        return ""


def _audiences_of(attributes: Attributes, pod: Object) -> set[str]:
    """The audiences of the tokens that a pod's volumes ask for, by themselves or by their CSI drivers."""
    get = attributes.lookup.get
    found: set[str] = set()
    drivers: set[str] = set()
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                found.add(source["serviceAccountToken"].get("audience") or "")
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if volume.get("ephemeral") is not None:
            claim = f"{pod['metadata']['name']}-{volume.get('name', '')}"
        bound = (get("", "persistentvolumeclaims", attributes.namespace, claim) if claim else None) or {}
        name = (bound.get("spec") or {}).get("volumeName")
        persistent = (get("", "persistentvolumes", "", name) if name else None) or {}
        drivers.add((volume.get("csi") or {}).get("driver") or "")
        drivers.add(((persistent.get("spec") or {}).get("csi") or {}).get("driver") or "")
    for driver in sorted(drivers - {""}):
        known = get("storage.k8s.io", "csidrivers", "", driver) or {}
        found |= {request.get("audience") or "" for request in (known.get("spec") or {}).get("tokenRequests") or ()}
    return found


def _fixed_of_claim(claim: Object) -> Object:
    """What of a claim a kubelet must leave alone."""
    metadata = {k: v for k, v in claim.get("metadata", {}).items() if k not in ("resourceVersion", "managedFields")}
    state = {k: v for k, v in (claim.get("status") or {}).items() if k not in _RESIZE_FIELDS}
    return {**claim, "metadata": metadata, "status": state}


def _references(spec: Object) -> set[str]:
    """The sorts of other objects that a pod refers to."""
    found = {"secrets"} if spec.get("imagePullSecrets") else set()
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        found |= {_SOURCES[key] for source in sources for key in source if key in _SOURCES}
        found |= {"secrets" for source in volume.values() if isinstance(source, dict) and source.get("secretRef")}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            given = [e.get("valueFrom") or {} for e in container.get("env") or ()] + list(container.get("envFrom") or ())
            found |= {_REFERENCES[key] for source in given for key in source if key in _REFERENCES}
    return found


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
