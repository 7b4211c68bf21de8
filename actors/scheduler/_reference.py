"""The same verdicts, plugin by plugin and node by node, in plain Python over plain objects.

Written from the documentation and without anything of the fast path: no columns, no shared
verdicts, no tallies. The tests hold the plugins against it, and the benchmark measures what the
columns gain. The scheduler itself never uses it.

Covers the plugins that judge by nodes, pods and namespaces; volumes and devices are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.objects import controller_of
from protocol.quantity import milli_value, value
from protocol.selectors import selector_of

__all__ = ["ReferenceCluster", "Refusal", "judge", "scores"]

Object = dict[str, Any]
Refusal = tuple[str, tuple[str, ...], bool]
"""(plugin, reasons, whether evictions may help)."""
WEIGHTS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


@dataclass
class ReferenceCluster:
    """Nodes by name, the pods on each, and what else is read."""

    nodes: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, list[Object]] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    services: list[Object] = field(default_factory=list)
    replicasets: list[Object] = field(default_factory=list)

    def on(self, node: str) -> list[Object]:
        return self.pods.get(node, [])

    def placed(self) -> list[tuple[Object, Object]]:
        """(pod, its node) of every pod on a node that exists."""
        return [(p, self.nodes[n]) for n, pods in self.pods.items() if n in self.nodes for p in pods]


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _namespace(obj: Object) -> str:
    return obj["metadata"].get("namespace") or ""


# --- resources ------------------------------------------------------------------------------------


def _number(name: str, text: Any) -> int:
    return milli_value(text) if name == "cpu" else value(text)


def requests(pod: Object, defaults: Mapping[str, int]) -> dict[str, int]:
    """What a pod asks for; `defaults` for containers that do not say."""

    def of(container: Object) -> dict[str, int]:
        given = (container.get("resources") or {}).get("requests") or {}
        return {**defaults, **{n: _number(n, t) for n, t in given.items()}}

    spec = pod["spec"]
    main = [of(c) for c in spec.get("containers") or ()]
    inits = spec.get("initContainers") or ()
    names = {n for c in [*main, *[of(c) for c in inits]] for n in c}
    level = (spec.get("resources") or {}).get("requests") or {}
    overhead = spec.get("overhead") or {}
    total: dict[str, int] = {}
    for name in names | set(level) | set(overhead):
        running = sum(c.get(name, 0) for c in main)
        running += sum(of(c).get(name, 0) for c in inits if c.get("restartPolicy") == "Always")
        sidecars, peak = 0, 0
        for container in inits:
            asked = of(container).get(name, 0)
            if container.get("restartPolicy") == "Always":
                sidecars += asked
                peak = max(peak, sidecars)
            else:
                peak = max(peak, sidecars + asked)
        number = max(running, peak)
        if name in level and (name in ("cpu", "memory") or name.startswith("hugepages-")):
            number = _number(name, level[name])
        total[name] = number + (_number(name, overhead[name]) if name in overhead else 0)
    return {n: a for n, a in total.items() if a}


def _used(cluster: ReferenceCluster, node: str, defaults: Mapping[str, int]) -> dict[str, int]:
    used: dict[str, int] = {}
    for pod in cluster.on(node):
        for name, number in requests(pod, defaults).items():
            used[name] = used.get(name, 0) + number
    return used


def _offered(node: Object) -> dict[str, int]:
    return {n: _number(n, t) for n, t in (node["status"].get("allocatable") or {}).items()}


SCORING_DEFAULTS = {"cpu": 100, "memory": 200 * 1024 * 1024}


def _fit(cluster: ReferenceCluster, pod: Object, node: Object) -> Refusal | None:
    name = node["metadata"]["name"]
    offered, used = _offered(node), _used(cluster, name, {})
    reasons, hopeless = [], False
    if len(cluster.on(name)) + 1 > offered.get("pods", 0):
        reasons.append("Too many pods")
    for resource, asked in requests(pod, {}).items():
        if asked > offered.get(resource, 0) - used.get(resource, 0):
            reasons.append(f"Insufficient {resource}")
            hopeless = hopeless or asked > offered.get(resource, 0)
    return ("NodeResourcesFit", tuple(sorted(reasons)), not hopeless) if reasons else None


# --- taints, nodes --------------------------------------------------------------------------------


def _tolerates(pod: Object, taint: Object) -> bool:
    for toleration in pod["spec"].get("tolerations") or ():
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        if toleration.get("key") and toleration["key"] != taint.get("key"):
            continue
        if toleration.get("operator") == "Exists":
            return True
        if (toleration.get("value") or "") == (taint.get("value") or ""):
            return True
    return False


def _hard_taint(pod: Object, node: Object) -> bool:
    return any(
        t.get("effect") in ("NoSchedule", "NoExecute") and not _tolerates(pod, t)
        for t in node["spec"].get("taints") or ()
    )


def _holds(expression: Object, found: str | None) -> bool:
    operator, values = expression["operator"], expression.get("values") or []
    if operator == "In":
        return found in values
    if operator == "NotIn":
        return found not in values
    if operator == "Exists":
        return found is not None
    if operator == "DoesNotExist":
        return found is None
    if found is None or not found.lstrip("-").isdigit():
        return False
    return int(found) > int(values[0]) if operator == "Gt" else int(found) < int(values[0])


def _term(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_holds(e, _labels(node).get(e["key"])) for e in expressions) and all(
        _holds(f, node["metadata"]["name"]) for f in fields
    )


def _wants_node(pod: Object, node: Object) -> bool:
    spec = pod["spec"]
    if any(_labels(node).get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term(t, node) for t in required.get("nodeSelectorTerms") or ())


def _ports(pod: Object) -> list[tuple[str, str, int]]:
    return [
        (p.get("hostIP") or "0.0.0.0", p.get("protocol") or "TCP", p["hostPort"])
        for c in pod["spec"].get("containers") or ()
        for p in c.get("ports") or ()
        if p.get("hostPort")
    ]


def _port_taken(cluster: ReferenceCluster, pod: Object, node: Object) -> bool:
    held = [p for other in cluster.on(node["metadata"]["name"]) for p in _ports(other)]
    return any(a[1:] == b[1:] and (a[0] == b[0] or "0.0.0.0" in (a[0], b[0])) for a in _ports(pod) for b in held)


# --- pods near pods -------------------------------------------------------------------------------


def _meant(cluster: ReferenceCluster, owner: Object, term: Object, pod: Object) -> bool:
    """Whether an affinity term of `owner` means `pod`."""
    named, selector = term.get("namespaces") or [], term.get("namespaceSelector")
    if not named and selector is None:
        named = [_namespace(owner)]
    space = _namespace(pod)
    if space not in named and not selector_of(selector).matches(cluster.namespaces.get(space, {})):
        return False
    return selector_of(term.get("labelSelector")).matches(_labels(pod))


def _terms(pod: Object, kind: str) -> list[Object]:
    part = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return part.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def _preferred(pod: Object) -> list[tuple[Object, int]]:
    found = []
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        part = (pod["spec"].get("affinity") or {}).get(kind) or {}
        for entry in part.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            found.append((entry["podAffinityTerm"], sign * entry["weight"]))
    return found


def _same_domain(key: str, a: Object, b: Object) -> bool:
    return key in _labels(a) and _labels(a).get(key) == _labels(b).get(key)


def _pod_affinity(cluster: ReferenceCluster, pod: Object, node: Object) -> Refusal | None:
    wanted = _terms(pod, "podAffinity")
    if wanted:
        all_of = [(p, n) for p, n in cluster.placed() if all(_meant(cluster, pod, t, p) for t in wanted)]
        labelled = all(t["topologyKey"] in _labels(node) for t in wanted)
        near = all(any(_same_domain(t["topologyKey"], n, node) for _, n in all_of) for t in wanted)
        nobody = not any(t["topologyKey"] in _labels(n) for _, n in all_of for t in wanted)
        first = nobody and all(_meant(cluster, pod, t, pod) for t in wanted)
        if not labelled or not (near or first):
            return "InterPodAffinity", ("node(s) didn't match pod affinity rules",), False
    for term in _terms(pod, "podAntiAffinity"):
        for other, where in cluster.placed():
            if _meant(cluster, pod, term, other) and _same_domain(term["topologyKey"], where, node):
                return "InterPodAffinity", ("node(s) didn't match pod anti-affinity rules",), True
    for other, where in cluster.placed():
        for term in _terms(other, "podAntiAffinity"):
            if _meant(cluster, other, term, pod) and _same_domain(term["topologyKey"], where, node):
                text = "node(s) didn't satisfy existing pods anti-affinity rules"
                return "InterPodAffinity", (text,), True
    return None


# --- spreading ------------------------------------------------------------------------------------


def _spread(cluster: ReferenceCluster, pod: Object, hard: bool) -> list[Object]:
    own = pod["spec"].get("topologySpreadConstraints") or []
    if own:
        kind = "DoNotSchedule" if hard else "ScheduleAnyway"
        return [c for c in own if c["whenUnsatisfiable"] == kind]
    if hard:
        return []
    expressions: list[Object] = []
    for service in cluster.services:
        selector = service["spec"].get("selector") or {}
        if _namespace(service) == _namespace(pod) and selector and selector.items() <= _labels(pod).items():
            expressions += [{"key": k, "operator": "In", "values": [v]} for k, v in selector.items()]
    owner = controller_of(pod) or {}
    for rs in cluster.replicasets:
        if owner.get("kind") == "ReplicaSet" and rs["metadata"]["name"] == owner["name"]:
            if _namespace(rs) == _namespace(pod):
                labels = rs["spec"]["selector"].get("matchLabels") or {}
                expressions += [{"key": k, "operator": "In", "values": [v]} for k, v in labels.items()]
    if not expressions:
        return []
    selector = {"matchExpressions": expressions}
    return [
        {"topologyKey": HOSTNAME, "maxSkew": 3, "labelSelector": selector, "system": True},
        {"topologyKey": ZONE, "maxSkew": 5, "labelSelector": selector, "system": True},
    ]


def _selects(constraint: Object, owner: Object, pod: Object) -> bool:
    labels = _labels(owner)
    keys = [k for k in constraint.get("matchLabelKeys") or () if k in labels]
    return (
        _namespace(pod) == _namespace(owner)
        and selector_of(constraint.get("labelSelector")).matches(_labels(pod))
        and all(_labels(pod).get(k) == labels[k] for k in keys)
    )


def _counts(cluster: ReferenceCluster, pod: Object, constraint: Object, node: str) -> int:
    return sum(_selects(constraint, pod, p) and not p["metadata"].get("deletionTimestamp") for p in cluster.on(node))


def _counted(pod: Object, constraint: Object, all_of: list[Object], node: Object) -> bool:
    if any(c["topologyKey"] not in _labels(node) for c in all_of if not c.get("system")):
        return False
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not _wants_node(pod, node):
        return False
    return not (constraint.get("nodeTaintsPolicy") == "Honor" and _hard_taint(pod, node))


def _topology(cluster: ReferenceCluster, pod: Object, node: Object) -> Refusal | None:
    constraints = _spread(cluster, pod, True)
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in _labels(node):
            text = "node(s) didn't match pod topology spread constraints (missing required label)"
            return "PodTopologySpread", (text,), False
        domains: dict[str, int] = {}
        for name, other in cluster.nodes.items():
            if _counted(pod, constraint, constraints, other):
                domain = _labels(other)[key]
                domains[domain] = domains.get(domain, 0) + _counts(cluster, pod, constraint, name)
        least = min(domains.values(), default=2**31)
        if len(domains) < (constraint.get("minDomains") or 1):
            least = 0
        own = int(_selects(constraint, pod, pod))
        if domains.get(_labels(node)[key], 0) + own - least > constraint["maxSkew"]:
            return "PodTopologySpread", ("node(s) didn't match pod topology spread constraints",), True
    return None


# --- the whole ------------------------------------------------------------------------------------


def judge(cluster: ReferenceCluster, pod: Object, node: Object) -> Refusal | None:
    """The first refusal of a node, in the order of the default plugins; None if it can take the
    pod."""
    if node["spec"].get("unschedulable"):
        cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        if not _tolerates(pod, cordon):
            return "NodeUnschedulable", ("node(s) were unschedulable",), False
    if _hard_taint(pod, node):
        return "TaintToleration", ("node(s) had untolerated taint(s)",), False
    if not _wants_node(pod, node):
        return "NodeAffinity", ("node(s) didn't match Pod's node affinity/selector",), False
    if _port_taken(cluster, pod, node):
        text = "node(s) didn't have free ports for the requested pod ports"
        return "NodePorts", (text,), True
    return _fit(cluster, pod, node) or _topology(cluster, pod, node) or _pod_affinity(cluster, pod, node)


def scores(cluster: ReferenceCluster, pod: Object, nodes: list[str]) -> dict[str, dict[str, int]]:
    """Normalised scores of the feasible nodes, per plugin."""
    return {
        "TaintToleration": _scaled(
            {
                n: sum(
                    t.get("effect") == "PreferNoSchedule" and not _tolerates(pod, t)
                    for t in cluster.nodes[n]["spec"].get("taints") or ()
                )
                for n in nodes
            },
            reverse=True,
        ),
        "NodeAffinity": _scaled({n: _node_preference(pod, cluster.nodes[n]) for n in nodes}, False),
        "NodeResourcesFit": {n: _least_allocated(cluster, pod, n) for n in nodes},
        "NodeResourcesBalancedAllocation": {n: _balanced(cluster, pod, n) for n in nodes},
        "PodTopologySpread": _spread_scores(cluster, pod, nodes),
        "InterPodAffinity": _affinity_scores(cluster, pod, nodes),
        "ImageLocality": {n: _images(cluster, pod, n) for n in nodes},
    }


def _scaled(raw: dict[str, int], reverse: bool) -> dict[str, int]:
    highest = max(raw.values(), default=0)
    if not highest:
        return dict.fromkeys(raw, 100 if reverse else 0)
    scaled = {n: 100 * s // highest for n, s in raw.items()}
    return {n: 100 - s for n, s in scaled.items()} if reverse else scaled


def _node_preference(pod: Object, node: Object) -> int:
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(p["weight"] for p in preferred if _term(p["preference"], node))


def _least_allocated(cluster: ReferenceCluster, pod: Object, node: str) -> int:
    offered = _offered(cluster.nodes[node])
    used, asked = _used(cluster, node, SCORING_DEFAULTS), requests(pod, SCORING_DEFAULTS)
    found = []
    for name in ("cpu", "memory"):
        capacity = offered.get(name, 0)
        if capacity:
            want = used.get(name, 0) + asked.get(name, 0)
            found.append(0 if want > capacity else (capacity - want) * 100 // capacity)
    return sum(found) // len(found) if found else 0


def _balanced(cluster: ReferenceCluster, pod: Object, node: str) -> int:
    offered, used, asked = _offered(cluster.nodes[node]), _used(cluster, node, {}), requests(pod, {})
    if not asked.get("cpu") and not asked.get("memory"):
        return 0
    shares = [min((used.get(n, 0) + asked.get(n, 0)) / offered[n], 1.0) for n in ("cpu", "memory") if offered.get(n)]
    deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
    return int((1 - deviation) * 100)


def _spread_scores(cluster: ReferenceCluster, pod: Object, nodes: list[str]) -> dict[str, int]:
    constraints = _spread(cluster, pod, False)
    if not constraints:
        return dict.fromkeys(nodes, 0)
    strict = [c["topologyKey"] for c in constraints if not c.get("system")]
    counted = [n for n in nodes if all(k in _labels(cluster.nodes[n]) for k in strict)]
    raw: dict[str, int] = {}
    for node in counted:
        labels, total = _labels(cluster.nodes[node]), 0.0
        for constraint in constraints:
            key = constraint["topologyKey"]
            if key not in labels:
                continue
            if key == HOSTNAME:
                size, count = len(counted), _counts(cluster, pod, constraint, node)
            else:
                size = len({_labels(cluster.nodes[n]).get(key) for n in counted})
                count = sum(
                    _counts(cluster, pod, constraint, name)
                    for name, other in cluster.nodes.items()
                    if _counted(pod, constraint, constraints, other) and _labels(other).get(key) == labels[key]
                )
            total += count * math.log(size + 2) + constraint["maxSkew"] - 1
        raw[node] = math.floor(total + 0.5)
    most, least = max(raw.values(), default=0), min(raw.values(), default=0)
    if not most:
        return {n: 100 if n in raw else 0 for n in nodes}
    return {n: 100 * (most + least - raw[n]) // most if n in raw else 0 for n in nodes}


def _affinity_scores(cluster: ReferenceCluster, pod: Object, nodes: list[str]) -> dict[str, int]:
    raw = dict.fromkeys(nodes, 0)
    for other, where in cluster.placed():
        credits = [(t, w) for t, w in _preferred(pod) if _meant(cluster, pod, t, other)]
        credits += [(t, w) for t, w in _preferred(other) if _meant(cluster, other, t, pod)]
        credits += [(t, 1) for t in _terms(other, "podAffinity") if _meant(cluster, other, t, pod)]
        for term, weight in credits:
            for node in nodes:
                if _same_domain(term["topologyKey"], where, cluster.nodes[node]):
                    raw[node] += weight
    most, least = max([0, *raw.values()]), min([0, *raw.values()])
    if most == least:
        return dict.fromkeys(nodes, 0)
    return {n: int(100 * ((s - least) / (most - least))) for n, s in raw.items()}


def _images(cluster: ReferenceCluster, pod: Object, node: str) -> int:
    def has(where: str, image: str) -> int | None:
        for entry in cluster.nodes[where]["status"].get("images") or ():
            if image in entry["names"]:
                return int(entry["sizeBytes"])
        return None

    total, mib = 0, 1024 * 1024
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    for container in containers:
        image = container.get("image") or ""
        image = image if image.rfind(":") > image.rfind("/") else f"{image}:latest"
        size = has(node, image)
        if size is not None:
            holders = sum(has(n, image) is not None for n in cluster.nodes)
            total += int(size * (holders / len(cluster.nodes)))
    low, high = 23 * mib, 1000 * mib * len(containers)
    return 100 * (min(max(total, low), high) - low) // (high - low)
