"""What holds after any run: room is kept, constraints hold, nobody who fits waits, seeds decide."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_api import World
from scheduler_worlds import engine_for, worlds

from actors.scheduler._reference import ReferenceCluster, judge

Object = dict[str, Any]


def as_seen(world: World) -> ReferenceCluster:
    """The world's objects as the plain reference reads them."""
    made = ReferenceCluster(nodes=dict(world.state.of("nodes")), namespaces={"default": {}})
    for pod in world.state.of("pods").values():
        node = pod["spec"].get("nodeName")
        if node:
            made.pods.setdefault(node, []).append(pod)
    return made


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[str, Any]]:
    steps: list[tuple[str, Any]] = []
    for i in range(draw(st.integers(5, 25))):
        kind = draw(st.sampled_from(["pod", "pod", "pod", "delete", "node", "drain", "crash", "wait"]))
        if kind == "pod":
            steps.append(("pod", (f"p{i}", draw(st.sampled_from(["500m", "1", "3"])), draw(st.sampled_from(["none", "spread", "apart"])))))
        elif kind == "node":
            steps.append(("node", (f"extra{i}", draw(st.sampled_from(["1", "4"])))))
        else:
            steps.append((kind, draw(st.integers(0, 30))))
    return steps


def shape(kind: str) -> Object:
    if kind == "spread":
        constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "spread"}}}
        return {"topologySpreadConstraints": [constraint]}
    if kind == "apart":
        term = {"labelSelector": {"matchLabels": {"app": "apart"}}, "topologyKey": "kubernetes.io/hostname"}
        return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    return {}


def play(steps: list[tuple[str, Any]], seed: int) -> World:
    world = World(seed=seed)
    for i in range(3):
        world.node(f"n{i}", cpu="2", labels={"zone": f"z{i % 2}"})
    for kind, what in steps:
        if kind == "pod":
            name, cpu, form = what
            world.pod(name, cpu=cpu, labels={"app": form}, **shape(form))
        elif kind == "node":
            world.node(what[0], cpu=what[1], labels={"zone": "z2"})
        elif kind == "delete":
            pods = sorted(world.state.of("pods"))
            if pods:
                world.state.remove("pods", pods[what % len(pods)])
        elif kind == "drain":
            nodes = sorted(world.state.of("nodes"))
            node = world.state.of("nodes")[nodes[what % len(nodes)]]
            world.state.put("nodes", {**node, "spec": {"unschedulable": not node["spec"].get("unschedulable")}})
        elif kind == "crash":
            world.sim.crash(world.scheduler)
        else:
            world.settle(what / 10)
    world.settle(60)
    return world


@settings(max_examples=60)
@given(scripts(), st.integers(0, 1000))
def test_no_node_is_overcommitted_no_pod_is_bound_twice_and_nobody_who_fits_waits(steps: list[tuple[str, Any]], seed: int) -> None:
    world = play(steps, seed)
    seen = as_seen(world)
    bound = [pod for pod, _ in world.state.bindings]
    assert len(set(bound)) == len(bound)
    for name, node in seen.nodes.items():
        offered = int(node["status"]["allocatable"]["cpu"]) * 1000
        taken = sum(_cpu(p) for p in seen.on(name))
        assert taken <= offered, f"{name} holds {taken}m of {offered}m"
        apart = [p for p in seen.on(name) if p["metadata"]["labels"]["app"] == "apart"]
        assert len(apart) <= 1
    for pod in world.state.of("pods").values():
        if not pod["spec"].get("nodeName"):
            refusals = [judge(seen, pod, node) for node in seen.nodes.values()]
            assert None not in refusals, f"{pod['metadata']['name']} fits and waits"


def _cpu(pod: Object) -> int:
    text = pod["spec"]["containers"][0]["resources"].get("requests", {}).get("cpu", "0")
    return int(text[:-1]) if text.endswith("m") else int(text) * 1000


@settings(max_examples=10)
@given(scripts(), st.integers(0, 1000))
def test_a_seed_decides_the_whole_run(steps: list[tuple[str, Any]], seed: int) -> None:
    first, second = play(steps, seed), play(steps, seed)
    assert first.state.bindings == second.state.bindings
    assert first.sim.digest() == second.sim.digest()


def test_another_seed_chooses_otherwise_among_equal_nodes() -> None:
    chosen = set()
    for seed in range(12):
        world = World(seed=seed)
        for i in range(4):
            world.node(f"n{i}")
        world.pod("web")
        world.settle()
        chosen.update(world.where("web"))
    assert len(chosen) > 1


@settings(max_examples=60)
@given(worlds())
def test_pods_that_come_and_go_leave_no_trace_in_the_columns(world: tuple[ReferenceCluster, list[Object]]) -> None:
    cluster, _ = world
    engine = engine_for(cluster)
    table, cache = engine.table, engine.cache
    for placed in cluster.pods.values():
        for pod in placed:
            cache.remove_pod(pod["metadata"]["uid"])
    assert not table.requested.any()
    assert not table.scored.any()
    assert not table.pods.any()
    assert not any(rows for ips in cache.ports.values() for rows in ips.values())
    assert all(group.tally.total == 0 and not group.tally.counts.any() for group in cache.tallies.groups.values())
    for name in list(cluster.nodes):
        cache.remove_node(name)
    assert table.count == 0
    assert not table.index


def test_a_namespace_that_gets_other_labels_is_meant_from_then_on() -> None:
    world = World()
    world.node("a")
    world.node("b")
    term = {"labelSelector": {}, "namespaceSelector": {"matchLabels": {"team": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    for name in ("one", "two", "three"):
        world.pod(name, affinity=anti)
        world.settle()
    assert None not in world.where("one", "two", "three")
    world.state.put("namespaces", {"metadata": {"name": "default", "labels": {"team": "x"}}})
    world.pod("four")
    world.settle(2)
    assert world.where("four") == [None]
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in world.scheduled("four")["message"]
    world.state.put("namespaces", {"metadata": {"name": "default", "labels": {}}})
    world.settle(2)
    assert world.where("four") != [None]
