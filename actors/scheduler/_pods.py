"""Pods as the scheduler sees them: what matters of a pod's spec, parsed once per kind of pod.

A `PodClass` holds everything that placement depends on and that equal pods share; two pods of one
ReplicaSet are of one class, so their specs are parsed once and verdicts about nodes can be shared
between them (`_engine`). A `PodInfo` is one pod: its class, and what is its own (uid, priority,
times, the object itself).

A class is found by a signature over the raw fields (`_pod_signature`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.scheduler._node_selector import NodeSelector, NodeTerm, compile_required, compile_term
from actors.scheduler._pod_signature import signature_of, volumes_of
from actors.scheduler._resources import ResourceNames, pod_requests, scoring_requests
from protocol.objects import controller_of, deleting
from protocol.selectors import NOTHING, Requirement, Selector, SelectorError, selector_of

__all__ = [
    "DEFAULT_SCHEDULER",
    "AffinityTerm",
    "PodClass",
    "PodClasses",
    "PodInfo",
    "SpreadConstraint",
    "Toleration",
]

Object = dict[str, Any]
DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True, slots=True)
class Toleration:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: tuple[str, str, str]) -> bool:
        """`taint`: key, value, effect."""
        key, value, effect = taint
        if self.effect and self.effect != effect:
            return False
        if self.key and self.key != key:
            return False
        if self.operator in ("", "Equal"):
            return self.value == value
        if self.operator == "Exists":
            return True
        try:
            number, bound = int(value), int(self.value)
        except ValueError:
            return False
        return number > bound if self.operator == "Gt" else self.operator == "Lt" and number < bound


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """One pod affinity or anti-affinity term, bound to the pod it came from.

    `namespaces`: names it means; `namespace_selector`: which further namespaces, by their labels.
    """

    namespaces: frozenset[str]
    namespace_selector: Selector
    selector: Selector
    topology_key: str
    weight: int = 0

    def matches(self, namespace: str, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether a pod in that namespace with these labels is meant."""
        if namespace not in self.namespaces and not self.namespace_selector.matches(namespace_labels):
            return False
        return self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class SpreadConstraint:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/"""

    max_skew: int
    topology_key: str
    hard: bool
    selector: Selector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(slots=True, eq=False)
class PodClass:
    """What equal pods share. `index` is unique within one `PodClasses`."""

    index: int
    namespace: str
    labels: Mapping[str, str]
    requests: tuple[tuple[int, int], ...]
    """(place of the resource, amount) of what is asked for; never zero."""
    scoring_cpu: int
    scoring_memory: int
    ports: tuple[tuple[str, str, int], ...]
    """(host IP, protocol, port) on the host."""
    required_nodes: NodeSelector | None
    preferred_nodes: tuple[tuple[int, NodeTerm], ...]
    tolerations: tuple[Toleration, ...]
    images: tuple[str, ...]
    containers: int
    spread: tuple[SpreadConstraint, ...]
    affinity: tuple[AffinityTerm, ...]
    anti_affinity: tuple[AffinityTerm, ...]
    preferred_affinity: tuple[AffinityTerm, ...]
    """Weights are positive for affinity and negative for anti-affinity."""
    volumes: tuple[Object, ...]
    """Volumes that some plugin looks at, as they stand in the spec."""
    claims: tuple[Object, ...]
    owner: tuple[str, str, str]
    """Kind, name and uid of the managing owner; empty strings without one."""
    memo: dict[Any, Any] = field(default_factory=dict)
    """Where plugins and the cache keep what they derived from this class alone."""

    def tolerates(self, taint: tuple[str, str, str]) -> bool:
        return any(t.tolerates(taint) for t in self.tolerations)


@dataclass(slots=True, eq=False)
class PodInfo:
    """One pod. `object` is the API object as last seen, which nobody changes."""

    uid: str
    key: str
    namespace: str
    name: str
    object: Object
    cls: PodClass
    priority: int
    terminating: bool

    @property
    def node_name(self) -> str:
        return (self.object.get("spec") or {}).get("nodeName") or ""

    @property
    def nominated_node(self) -> str:
        return (self.object.get("status") or {}).get("nominatedNodeName") or ""

    @property
    def scheduler_name(self) -> str:
        return (self.object.get("spec") or {}).get("schedulerName") or DEFAULT_SCHEDULER

    @property
    def gates(self) -> list[Object]:
        return (self.object.get("spec") or {}).get("schedulingGates") or []

    @property
    def start_time(self) -> str:
        """When its kubelet took it up, RFC 3339; empty before."""
        return (self.object.get("status") or {}).get("startTime") or ""


def _selector(raw: Mapping[str, Any] | None) -> Selector:
    try:
        return selector_of(raw)
    except SelectorError:
        return NOTHING


def _narrowed(selector: Selector, labels: Mapping[str, str], match: list[str], mismatch: list[str]) -> Selector:
    """A selector with `matchLabelKeys`/`mismatchLabelKeys` of the pod joined in.

    The API server writes them into the selector of an affinity term already; doing it again adds
    conditions that hold anyway.
    """
    if selector.nothing:
        return selector
    extra = [Requirement(k, "in", (labels[k],)) for k in match if k in labels]
    extra += [Requirement(k, "notin", (labels[k],)) for k in mismatch if k in labels]
    extra = [r for r in extra if r not in selector.requirements]
    return Selector((*selector.requirements, *extra)) if extra else selector


def _affinity_term(raw: Mapping[str, Any], pod: Object, weight: int = 0) -> AffinityTerm:
    meta = pod.get("metadata") or {}
    names = frozenset(raw.get("namespaces") or ())
    raw_selector = raw.get("namespaceSelector")
    if not names and raw_selector is None:
        names = frozenset((meta.get("namespace") or "",))
    return AffinityTerm(
        names,
        _selector(raw_selector),
        _narrowed(
            _selector(raw.get("labelSelector")),
            meta.get("labels") or {},
            raw.get("matchLabelKeys") or [],
            raw.get("mismatchLabelKeys") or [],
        ),
        raw.get("topologyKey") or "",
        weight,
    )


def _affinity_terms(
    pod: Object,
) -> tuple[tuple[AffinityTerm, ...], tuple[AffinityTerm, ...], tuple[AffinityTerm, ...]]:
    affinity = (pod.get("spec") or {}).get("affinity") or {}
    required: list[tuple[AffinityTerm, ...]] = []
    preferred: list[AffinityTerm] = []
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        part = affinity.get(kind) or {}
        hard = part.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        required.append(tuple(_affinity_term(t, pod) for t in hard))
        for soft in part.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            term = soft.get("podAffinityTerm") or {}
            preferred.append(_affinity_term(term, pod, sign * int(soft.get("weight") or 0)))
    return required[0], required[1], tuple(preferred)


def _spread_constraint(raw: Mapping[str, Any], labels: Mapping[str, str]) -> SpreadConstraint:
    return SpreadConstraint(
        int(raw.get("maxSkew") or 1),
        raw.get("topologyKey") or "",
        raw.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        _narrowed(_selector(raw.get("labelSelector")), labels, raw.get("matchLabelKeys") or [], []),
        int(raw.get("minDomains") or 1),
        raw.get("nodeAffinityPolicy", "Honor") != "Ignore",
        raw.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _host_ports(spec: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    """Ports that the pod takes on its host; init containers count only as sidecars."""
    found = []
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            number = port.get("hostPort")
            if number:
                ip = port.get("hostIP") or "0.0.0.0"
                found.append((ip, port.get("protocol") or "TCP", int(number)))
    return tuple(sorted(set(found)))


def _images(spec: Mapping[str, Any]) -> tuple[str, ...]:
    named = [c.get("image") or "" for c in spec.get("initContainers") or ()]
    named += [c.get("image") or "" for c in spec.get("containers") or ()]
    named += [v["image"].get("reference") or "" for v in spec.get("volumes") or () if v.get("image")]
    return tuple(named)


class PodClasses:
    """Finds the class of a pod. Forgets all classes when there are too many that nobody uses:
    pods keep theirs, and equal pods that come later get a new one."""

    def __init__(self, resources: ResourceNames, limit: int = 20_000) -> None:
        self.resources = resources
        self.limit = limit
        self._classes: dict[bytes, PodClass] = {}
        self._next = 0

    def class_of(self, pod: Object) -> PodClass:
        """The class of a pod object."""
        signature = signature_of(pod)
        found = self._classes.get(signature)
        if found is None:
            if len(self._classes) >= self.limit:
                self._classes.clear()
            found = self._classes[signature] = self._parse(pod)
        return found

    def info(self, pod: Object, like: PodInfo | None = None) -> PodInfo:
        """A pod object as `PodInfo`. `like`: an earlier version of the same pod, whose class is
        kept without looking when nothing that matters was replaced."""
        meta = pod["metadata"]
        spec = pod.get("spec") or {}
        namespace, name = meta.get("namespace") or "", meta["name"]
        cls = self.class_of(pod) if like is None or not _same_for_us(pod, like.object) else like.cls
        return PodInfo(
            meta.get("uid") or f"{namespace}/{name}",
            f"{namespace}/{name}",
            namespace,
            name,
            pod,
            cls,
            int(spec.get("priority") or 0),
            deleting(pod),
        )

    def _parse(self, pod: Object) -> PodClass:
        meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        labels = dict(meta.get("labels") or {})
        asked = pod_requests(pod)
        cpu, memory = scoring_requests(pod)
        node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        affinity, anti, preferred = _affinity_terms(pod)
        owner = controller_of(pod) or {}
        self._next += 1
        return PodClass(
            index=self._next,
            namespace=meta.get("namespace") or "",
            labels=labels,
            requests=tuple(sorted((self.resources.place(n), a) for n, a in asked.items() if a)),
            scoring_cpu=cpu,
            scoring_memory=memory,
            ports=_host_ports(spec),
            required_nodes=compile_required(
                spec.get("nodeSelector"),
                node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution"),
            ),
            preferred_nodes=tuple(
                (int(p.get("weight") or 0), compile_term(p.get("preference")))
                for p in node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
            ),
            tolerations=tuple(
                Toleration(t.get("key") or "", t.get("operator") or "", t.get("value") or "", t.get("effect") or "")
                for t in spec.get("tolerations") or ()
            ),
            images=_images(spec),
            containers=len(spec.get("containers") or ()) + len(spec.get("initContainers") or ()),
            spread=tuple(_spread_constraint(c, labels) for c in spec.get("topologySpreadConstraints") or ()),
            affinity=affinity,
            anti_affinity=anti,
            preferred_affinity=preferred,
            volumes=tuple(volumes_of(spec)),
            claims=tuple(spec.get("resourceClaims") or ()),
            owner=(owner.get("kind", ""), owner.get("name", ""), owner.get("uid", "")),
        )


def _same_for_us(new: Object, old: Object) -> bool:
    """Whether two versions of one pod are of one class, told quickly; False when in doubt."""
    new_meta, old_meta = new["metadata"], old["metadata"]
    if new_meta.get("labels") != old_meta.get("labels"):
        return False
    new_spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if new_spec is not old_spec and new_spec != old_spec:
        # Binding sets the node name, which no class depends on.
        if {**new_spec, "nodeName": ""} != {**old_spec, "nodeName": ""}:
            return False
    if new_spec.get("resourceClaims"):
        return False
    statuses = (new.get("status") or {}).get("containerStatuses") or ()
    return not any(s.get("allocatedResources") or s.get("resources") for s in statuses)
