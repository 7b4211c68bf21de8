"""Claims and volumes: which fits which, and what a bound pair looks like.

Owns the matching rules and the fields that bind a pair; it decides nothing and writes nothing.
Facts: kubernetes pkg/controller/volume/persistentvolume, pkg/volume/util.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from protocol.objects import Object, Selector, deleting, labels, metadata, resource_version, selector_of, spec, uid
from protocol.objects import annotations as annotations_of
from protocol.quantity import parse_quantity

__all__ = [
    "BIND_COMPLETED",
    "BOUND_BY_CONTROLLER",
    "best_match",
    "claim_reference",
    "class_of",
    "default_class",
    "is_bound_to",
    "mismatch",
    "node_matches",
    "requested",
    "selected_node",
    "undeletable",
    "unscheduled_consumer",
]

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def class_of(obj: Object) -> str:
    """The storage class of a claim or a volume; empty for none."""
    return annotations_of(obj).get(BETA_CLASS) or spec(obj).get("storageClassName") or ""


def requested(claim: Object) -> Decimal:
    """The storage that a claim asks for, in bytes."""
    return parse_quantity(((spec(claim).get("resources") or {}).get("requests") or {}).get("storage", "0"))


def capacity(volume: Object) -> Decimal:
    """The size of a volume in bytes."""
    return parse_quantity((spec(volume).get("capacity") or {}).get("storage", "0"))


def selected_node(claim: Object) -> str:
    """The node that the scheduler chose for a claim's first consumer."""
    return annotations_of(claim).get(SELECTED_NODE, "")


def claim_reference(claim: Object) -> Object:
    """What a volume says of the claim that it is bound to."""
    return {
        "kind": "PersistentVolumeClaim",
        "namespace": metadata(claim)["namespace"],
        "name": metadata(claim)["name"],
        "uid": uid(claim),
        "apiVersion": "v1",
        "resourceVersion": resource_version(claim),
    }


def default_class(classes: Iterable[Object]) -> Object | None:
    """The default storage class; of several the one made last."""
    marked = [c for c in classes if any(annotations_of(c).get(a) == "true" for a in DEFAULT_CLASS)]
    return max(marked, key=lambda c: (metadata(c).get("creationTimestamp", ""), metadata(c)["name"]), default=None)


def undeletable(volume: Object) -> str:
    """Why a volume that nobody provisioned cannot be deleted with its claim; empty when it can: a
    directory below /tmp, which is for tests."""
    path = (spec(volume).get("hostPath") or {}).get("path")
    if path is None:
        name = metadata(volume)["name"]
        return f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
    below = path.removeprefix("/tmp/")
    return "" if below and below != path else f"host_path deleter only supports /tmp/.+ but received provided {path}"


def unscheduled_consumer(claim: Object, pods: Iterable[Object]) -> str:
    """The name of a pod that uses the claim and has no node yet; empty if there is none."""
    for pod in pods:
        volumes = spec(pod).get("volumes") or ()
        if not spec(pod).get("nodeName"):
            if any((v.get("persistentVolumeClaim") or {}).get("claimName") == metadata(claim)["name"] for v in volumes):
                return str(metadata(pod)["name"])
    return ""


def is_bound_to(volume: Object, claim: Object) -> bool:
    """Whether the volume's reference means this claim, perhaps by name alone."""
    ref = spec(volume).get("claimRef") or {}
    same = ref.get("name") == metadata(claim)["name"] and ref.get("namespace") == metadata(claim)["namespace"]
    return same and ref.get("uid", "") in ("", uid(claim))


def _mode(obj: Object) -> str:
    return spec(obj).get("volumeMode") or "Filesystem"


def mismatch(volume: Object, claim: Object) -> str:
    """Why a volume that a claim names does not do; empty when it does."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not set(spec(claim).get("accessModes") or ()) <= set(spec(volume).get("accessModes") or ()):
        return "incompatible accessMode"
    return ""


def best_match(claim: Object, volumes: Iterable[Object], node: Object | None, *, only_reserved: bool) -> Object | None:
    """The volume to bind: one reserved for the claim, else the smallest free one that fits.

    `only_reserved`: binding waits for a consumer, so free ones are left alone.
    """
    wanted = spec(claim).get("selector")
    selector: Selector | None = selector_of(wanted) if wanted is not None else None
    modes = set(spec(claim).get("accessModes") or ())
    best: Object | None = None
    for volume in sorted(volumes, key=lambda v: str(metadata(v)["name"])):
        if not modes <= set(spec(volume).get("accessModes") or ()):
            continue
        ref = spec(volume).get("claimRef")
        if _mode(volume) != _mode(claim) or (ref and not is_bound_to(volume, claim)):
            continue
        if capacity(volume) < requested(claim):
            continue
        if ref:
            return volume
        if (
            only_reserved
            or deleting(volume)
            or (volume.get("status") or {}).get("phase", "Pending") not in ("Available", "Pending")
        ):
            continue
        if class_of(volume) != class_of(claim) or (selector is not None and not selector.matches(labels(volume))):
            continue
        if node is not None and not node_matches(volume, node):
            continue
        if best is None or capacity(volume) < capacity(best):
            best = volume
    return best


def node_matches(volume: Object, node: Object) -> bool:
    """Whether the volume can be used on a node."""
    required = (spec(volume).get("nodeAffinity") or {}).get("required")
    if not required:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Object, node: Object) -> bool:
    if not term.get("matchExpressions") and not term.get("matchFields"):
        return False
    if term.get("matchExpressions"):
        if not selector_of({"matchExpressions": term["matchExpressions"]}).matches(labels(node)):
            return False
    for field in term.get("matchFields") or ():
        held = metadata(node)["name"] in (field.get("values") or ())
        if held != (field.get("operator") == "In"):
            return False
    return True
