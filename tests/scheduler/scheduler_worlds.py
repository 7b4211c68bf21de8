"""Random clusters for the scheduler's property tests, and the same cluster for both sides."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from actors.scheduler._cache import Cache
from actors.scheduler._config import ProfileConfig, default_profile
from actors.scheduler._engine import Engine
from actors.scheduler._framework import Handle
from actors.scheduler._objects import Objects
from actors.scheduler._profile import Profile, registry
from actors.scheduler._reference import ReferenceCluster

Object = dict[str, Any]
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
KEYS = (HOSTNAME, ZONE, "rack")

cpus = st.sampled_from(["0", "100m", "250m", "500m", "1", "1500m"])
memories = st.sampled_from(["0", "64Mi", "256Mi", "1Gi", "3Gi"])


def _drop(obj: dict[str, Any]) -> Object:
    return {k: v for k, v in obj.items() if v not in (None, [], {}, "")}


taints = st.builds(
    lambda k, v, e: _drop({"key": k, "value": v, "effect": e}),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "x"]),
    st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
)
tolerations = st.builds(
    lambda k, o, v, e: _drop({"key": k, "operator": o if k else "Exists", "value": v if o == "Equal" and k else "", "effect": e}),
    st.sampled_from(["", "a", "b", "node.kubernetes.io/unschedulable"]),
    st.sampled_from(["Equal", "Exists"]),
    st.sampled_from(["", "x"]),
    st.sampled_from(["", "NoSchedule", "PreferNoSchedule"]),
)
node_expressions = st.one_of(
    st.builds(
        lambda k, o, v: {"key": k, "operator": o, "values": v},
        st.sampled_from(["rack", ZONE, "size"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["r1", "r2", "z1", "z2", "4"]), min_size=1, max_size=2, unique=True),
    ),
    st.builds(lambda k, o: {"key": k, "operator": o}, st.sampled_from(["rack", "size"]), st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(lambda o, v: {"key": "size", "operator": o, "values": [v]}, st.sampled_from(["Gt", "Lt"]), st.sampled_from(["2", "4", "7"])),
)
node_terms = st.builds(
    lambda e, f: _drop({"matchExpressions": e, "matchFields": f}),
    st.lists(node_expressions, max_size=2),
    st.lists(st.builds(lambda o, n: {"key": "metadata.name", "operator": o, "values": [f"n{n}"]}, st.sampled_from(["In", "NotIn"]), st.integers(0, 6)), max_size=1),
)
pod_labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]), max_size=2)
selectors = st.one_of(
    st.builds(lambda m: {"matchLabels": m}, pod_labels),
    st.builds(lambda o: {"matchExpressions": [{"key": "app", "operator": o}]}, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(lambda v: {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": v}]}, st.just(["b"])),
)
affinity_terms = st.builds(
    lambda s, k, n, ns: _drop({"labelSelector": s, "topologyKey": k, "namespaces": n}) | ({} if ns is None else {"namespaceSelector": ns}),
    selectors,
    st.sampled_from(KEYS),
    st.sampled_from([None, ["one"], ["one", "two"]]),
    st.sampled_from([None, None, {}, {"matchLabels": {"team": "x"}}]),
)
weighted_terms = st.builds(lambda w, t: {"weight": w, "podAffinityTerm": t}, st.integers(1, 100), affinity_terms)
spread_constraints = st.builds(
    lambda skew, key, when, sel, dom, aff, tnt, keys: _drop(
        {
            "maxSkew": skew,
            "topologyKey": key,
            "whenUnsatisfiable": when,
            "labelSelector": sel,
            "minDomains": dom if when == "DoNotSchedule" else None,
            "nodeAffinityPolicy": aff,
            "nodeTaintsPolicy": tnt,
            "matchLabelKeys": keys,
        }
    ),
    st.integers(1, 3),
    st.sampled_from(KEYS),
    st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    selectors,
    st.sampled_from([None, 1, 3]),
    st.sampled_from(["Honor", "Ignore"]),
    st.sampled_from(["Honor", "Ignore"]),
    st.sampled_from([[], [], ["tier"]]),
)


@st.composite
def containers(draw: st.DrawFn, sidecar: bool = False) -> Object:
    asked = {"cpu": draw(cpus), "memory": draw(memories)}
    if draw(st.integers(0, 5)) == 0:
        asked["example.com/gpu"] = "1"
    container: Object = {
        "name": "c",
        "image": draw(st.sampled_from(["app:1", "reg.example/big", "tool@sha256:0"])),
        "resources": {"requests": {k: v for k, v in asked.items() if v != "0"}},
    }
    if not sidecar and draw(st.integers(0, 3)) == 0:
        container["ports"] = [
            _drop({"containerPort": 80, "hostPort": draw(st.sampled_from([80, 81])), "hostIP": draw(st.sampled_from(["", "10.0.0.1", "10.0.0.2"])), "protocol": draw(st.sampled_from(["TCP", "UDP"]))})
        ]
    if sidecar and draw(st.booleans()):
        container["restartPolicy"] = "Always"
    return container


@st.composite
def pods(draw: st.DrawFn, name: str) -> Object:
    spec: Object = {"containers": draw(st.lists(containers(), min_size=1, max_size=2))}
    some = lambda strategy, odds=3: draw(st.lists(strategy, max_size=2)) if draw(st.integers(0, odds)) == 0 else []  # noqa: E731
    spec["initContainers"] = some(containers(sidecar=True))
    spec["tolerations"] = some(tolerations, 1)
    if draw(st.integers(0, 5)) == 0:
        spec["overhead"] = {"cpu": "50m"}
    if draw(st.integers(0, 5)) == 0:
        spec["resources"] = {"requests": {"cpu": "700m"}}
    if draw(st.integers(0, 4)) == 0:
        spec["nodeSelector"] = {"rack": draw(st.sampled_from(["r1", "r2"]))}
    node_affinity: Object = {}
    terms = some(node_terms, 2)
    if terms:
        node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    node_affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
        {"weight": draw(st.integers(1, 100)), "preference": t} for t in some(node_terms, 2)
    ]
    affinity: Object = {"nodeAffinity": _drop(node_affinity)}
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity[kind] = _drop(
            {
                "requiredDuringSchedulingIgnoredDuringExecution": some(affinity_terms),
                "preferredDuringSchedulingIgnoredDuringExecution": some(weighted_terms),
            }
        )
    spec["affinity"] = _drop(affinity)
    constraints = some(spread_constraints, 1)
    spec["topologySpreadConstraints"] = list({(c["topologyKey"], c["whenUnsatisfiable"]): c for c in constraints}.values())
    meta: Object = {"name": name, "namespace": draw(st.sampled_from(["one", "two"])), "uid": f"uid-{name}", "labels": draw(pod_labels)}
    if draw(st.integers(0, 2)) == 0:
        meta["ownerReferences"] = [{"kind": "ReplicaSet", "name": "rs", "uid": "rs-uid", "controller": True, "apiVersion": "apps/v1"}]
    return {"metadata": meta, "spec": _drop(spec), "status": {}}


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Object:
    labels = {HOSTNAME: name}
    for key, values in ((ZONE, ["z1", "z2", None]), ("rack", ["r1", "r2", None]), ("size", ["2", "5", "big", None])):
        value = draw(st.sampled_from(values))
        if value is not None:
            labels[key] = value
    offered = {"cpu": draw(st.sampled_from(["1", "2", "4"])), "memory": draw(st.sampled_from(["2Gi", "8Gi"])), "pods": draw(st.sampled_from(["2", "5", "110"]))}
    if draw(st.booleans()):
        offered["example.com/gpu"] = draw(st.sampled_from(["1", "2"]))
    images = [
        {"names": [n], "sizeBytes": draw(st.sampled_from([10, 300, 2000])) * 1024 * 1024}
        for n in draw(st.lists(st.sampled_from(["app:1", "reg.example/big:latest"]), max_size=2, unique=True))
    ]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": _drop({"taints": draw(st.lists(taints, max_size=2)) if draw(st.booleans()) else [], "unschedulable": draw(st.integers(0, 6)) == 0 or None}),
        "status": {"allocatable": offered, "images": images},
    }


@st.composite
def worlds(draw: st.DrawFn, most_nodes: int = 6, most_pods: int = 8) -> tuple[ReferenceCluster, list[Object]]:
    """A cluster with pods on its nodes, and pods that wait."""
    names = [f"n{i}" for i in range(draw(st.integers(1, most_nodes)))]
    cluster = ReferenceCluster(
        nodes={n: draw(nodes(n)) for n in names},
        namespaces={"one": {"team": "x"}, "two": {}},
        services=[{"metadata": {"name": "s", "namespace": "one"}, "spec": {"selector": {"app": "a"}}}] if draw(st.booleans()) else [],
        replicasets=[{"metadata": {"name": "rs", "namespace": n}, "spec": {"selector": {"matchLabels": {"app": "a"}}}} for n in ("one", "two")] if draw(st.booleans()) else [],
    )
    for i in range(draw(st.integers(0, most_pods))):
        pod = draw(pods(f"old{i}"))
        node = draw(st.sampled_from(names))
        pod["spec"]["nodeName"] = node
        if draw(st.integers(0, 5)) == 0:
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        cluster.pods.setdefault(node, []).append(pod)
    waiting = [draw(pods(f"new{i}")) for i in range(draw(st.integers(1, 3)))]
    return cluster, waiting


def engine_for(cluster: ReferenceCluster, profile: ProfileConfig | None = None, seed: int = 0) -> Engine:
    """The scheduler's own picture of a reference cluster."""
    cache, objects = Cache(), Objects()
    handle = Handle(cache, objects, random.Random(seed))
    engine = Engine(Profile(profile or default_profile(), registry(), handle), handle)
    for name, labels in cluster.namespaces.items():
        cache.tallies.put_namespace(name, labels)
    for service in cluster.services:
        objects.put("services", service)
    for rs in cluster.replicasets:
        objects.put("replicasets", rs)
    for node in cluster.nodes.values():
        cache.put_node(node)
    for placed in cluster.pods.values():
        for pod in placed:
            cache.put_pod(cache.classes.info(pod))
    return engine
