"""The pods of a DaemonSet: where there should be one, what it looks like, which must go.

Pure functions on frozen objects.
https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.controllers._nodefit import matches_affinity, untolerated_taint
from actors.controllers._pods import is_available, pod_from_template
from actors.controllers._revisions import REVISION_HASH
from actors.controllers._rollout import scaled_value
from protocol.objects import Object, deleting, labels, metadata, name, spec
from protocol.objects import annotations as annotations_of

__all__ = [
    "by_age",
    "daemon_pod",
    "fits",
    "is_updated",
    "split_by_update",
    "surplus",
    "target_node",
    "update_limits",
]

GENERATION_LABEL = "pod-template-generation"
GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
_TOLERATED: tuple[tuple[str, str], ...] = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


def _tolerations(template_spec: Object) -> list[Object]:
    """The template's tolerations and those that keep daemons on nodes in trouble."""
    added = [*_TOLERATED, _NETWORK] if template_spec.get("hostNetwork") else list(_TOLERATED)
    found: list[Object] = list(template_spec.get("tolerations") or ())
    for key, effect in added:
        entry = {"key": key, "operator": "Exists", "effect": effect}
        same = [
            i for i, t in enumerate(found) if t.get("key") == key and t.get("effect") == effect
        ]
        if same:
            found[same[0]] = entry
        else:
            found.append(entry)
    return found


def _pinned(affinity: Object | None, node: str) -> Object:
    """The affinity with its required node terms replaced by: this node, by name."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    wanted = dict(affinity or {})
    node_affinity = dict(wanted.get("nodeAffinity") or {})
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    wanted["nodeAffinity"] = node_affinity
    return wanted


def daemon_pod(daemon_set: Object, node: str, code: str) -> Object:
    """The pod of one node, of the revision with this hash, not created yet."""
    pod = pod_from_template(spec(daemon_set).get("template") or {}, daemon_set)
    found = {**labels(pod), REVISION_HASH: code}
    generation = annotations_of(daemon_set).get(GENERATION_ANNOTATION)
    if generation:
        found[GENERATION_LABEL] = generation
    pod["metadata"] = {**metadata(pod), "labels": found}
    pod["spec"] = {
        **spec(pod),
        "tolerations": _tolerations(spec(pod)),
        "affinity": _pinned(spec(pod).get("affinity"), node),
    }
    return pod


def fits(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """(should run there, may go on running there)."""
    template_spec = (spec(daemon_set).get("template") or {}).get("spec") or {}
    wanted_node = template_spec.get("nodeName")
    if wanted_node and wanted_node != name(node):
        return False, False
    if not matches_affinity(template_spec, node):
        return False, False
    tolerations = _tolerations(template_spec)
    if untolerated_taint(node, tolerations, ("NoSchedule", "NoExecute")) is None:
        return True, True
    return False, untolerated_taint(node, tolerations, ("NoExecute",)) is None


def target_node(pod: Object) -> str:
    """The node that a pod runs on, or that it is made for while it waits to be scheduled."""
    assigned = spec(pod).get("nodeName")
    if assigned:
        return str(assigned)
    affinity = ((spec(pod).get("affinity") or {}).get("nodeAffinity")) or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            values = field.get("values") or []
            is_name = field.get("key") == "metadata.name" and field.get("operator") == "In"
            if is_name and len(values) == 1:
                return str(values[0])
    return ""


def by_age(pods: Iterable[Object]) -> list[Object]:
    """Assigned ones first, then the oldest."""
    return sorted(
        pods,
        key=lambda p: (
            not spec(p).get("nodeName"),
            metadata(p).get("creationTimestamp") or "",
            name(p),
        ),
    )


def is_updated(pod: Object, daemon_set: Object, code: str) -> bool:
    """Whether the pod is of the present template."""
    found = labels(pod)
    generation = annotations_of(daemon_set).get(GENERATION_ANNOTATION)
    return found.get(REVISION_HASH) == code or (
        generation is not None and found.get(GENERATION_LABEL) == generation
    )


def split_by_update(
    pods: Iterable[Object], daemon_set: Object, code: str
) -> tuple[Object | None, Object | None, bool]:
    """(new pod, old pod, whether there is at most one of each) of one node."""
    new = old = None
    for pod in pods:
        if deleting(pod):
            continue
        if is_updated(pod, daemon_set, code):
            if new is not None:
                return None, None, False
            new = pod
        elif old is not None:
            return None, None, False
        else:
            old = pod
    return new, old, True


def update_limits(daemon_set: Object, desired: int) -> tuple[int, int]:
    """(max surge, max unavailable) as numbers of nodes; both round up."""
    rolling = (spec(daemon_set).get("updateStrategy") or {}).get("rollingUpdate") or {}
    unavailable = scaled_value(rolling.get("maxUnavailable"), desired, round_up=True)
    surge = scaled_value(rolling.get("maxSurge"), desired, round_up=True)
    if unavailable == 0 and surge == 0:
        unavailable = 1
    return surge, unavailable


def surplus(
    pods: list[Object], daemon_set: Object, code: str, surge: bool, now: float
) -> list[Object]:
    """Of the running pods of one node, those beyond the one (with surge: two) there may be."""
    if len(pods) <= 1:
        return []
    ordered = by_age(pods)
    if not surge:
        return ordered[1:]
    new = next((p for p in ordered if is_updated(p, daemon_set, code)), None)
    old = next((p for p in ordered if not is_updated(p, daemon_set, code)), None)
    if new is None or old is None:
        return ordered[1:]
    min_ready_s = spec(daemon_set).get("minReadySeconds") or 0
    keep = [new] if is_available(new, min_ready_s, now) else [new, old]
    return [p for p in ordered if all(p is not k for k in keep)]
