"""Columns against plain Python: on random clusters both must say the same of every node."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from scheduler_worlds import engine_for, worlds

from actors.scheduler._engine import Engine
from actors.scheduler._explain import explain
from actors.scheduler._reference import WEIGHTS, ReferenceCluster, judge, scores
from actors.scheduler._status import Code

Object = dict[str, Any]


def expected(cluster: ReferenceCluster, pod: Object) -> dict[str, Any]:
    return {name: judge(cluster, pod, node) for name, node in cluster.nodes.items()}


def verdicts(engine: Engine, pod: Object) -> dict[str, Any]:
    """What the fast path says of every node, in the reference's form."""
    decision = engine.schedule(engine.cache.classes.info(pod))
    assert not decision.error
    if decision.node:
        return {"node": decision.node}
    assert decision.diagnosis is not None
    found = {}
    for name, row in engine.table.index.items():
        status = decision.diagnosis.status(row)
        found[name] = (status.plugin, tuple(sorted(status.reasons)), status.code is Code.UNSCHEDULABLE)
    return found


def best(cluster: ReferenceCluster, pod: Object, feasible: list[str]) -> set[str]:
    """The nodes with the highest weighted score."""
    if len(feasible) == 1:
        return set(feasible)
    by_plugin = scores(cluster, pod, feasible)
    total = {n: sum(WEIGHTS[p] * s[n] for p, s in by_plugin.items()) for n in feasible}
    return {n for n, t in total.items() if t == max(total.values())}


def pinned(pod: Object) -> bool:
    """Whether the pod names its nodes, which the framework reports in words of its own."""
    return "metadata.name" in str(pod["spec"].get("affinity"))


@settings(max_examples=150)
@given(worlds())
def test_columns_refuse_and_choose_as_the_plain_reference_does(world: tuple[ReferenceCluster, list[Object]]) -> None:
    cluster, waiting = world
    engine = engine_for(cluster)
    for pod in waiting:
        said, wanted = verdicts(engine, pod), expected(cluster, pod)
        feasible = [n for n, refusal in wanted.items() if refusal is None]
        if feasible:
            assert said.get("node") in best(cluster, pod, feasible)
            continue
        assert "node" not in said
        if not pinned(pod):
            assert said == wanted


@settings(max_examples=100)
@given(worlds())
def test_explained_scores_are_the_references(world: tuple[ReferenceCluster, list[Object]]) -> None:
    cluster, waiting = world
    engine = engine_for(cluster)
    for pod in waiting:
        if pinned(pod):
            continue
        account = explain(engine, engine.cache.classes.info(pod))
        feasible = [n["name"] for n in account["nodes"] if n["feasible"]]
        assert sorted(feasible) == sorted(n for n, r in expected(cluster, pod).items() if r is None)
        wanted = scores(cluster, pod, feasible) if feasible else {}
        for node in account["nodes"]:
            for plugin, score in node["scores"].items():
                assert score["normalized"] == wanted[plugin][node["name"]], plugin


@settings(max_examples=80)
@given(worlds(), worlds())
def test_what_equal_pods_share_is_never_stale(
    first: tuple[ReferenceCluster, list[Object]], second: tuple[ReferenceCluster, list[Object]]
) -> None:
    """The cluster turns into another one, change by change; verdicts kept from before must not
    show through."""
    cluster, waiting = first
    engine = engine_for(cluster)
    for pod in waiting:
        verdicts(engine, pod)
    later, others = second
    cache = engine.cache
    for name in list(cluster.nodes):
        if name not in later.nodes:
            cache.remove_node(name)
    for node in later.nodes.values():
        cache.put_node(node)
    for placed in cluster.pods.values():
        for pod in placed:
            cache.remove_pod(pod["metadata"]["uid"])
    for placed in later.pods.values():
        for pod in placed:
            cache.put_pod(cache.classes.info(pod))
    for resource in ("services", "replicasets"):
        for obj in engine.handle.objects.list(resource):
            engine.handle.objects.remove(resource, f"{obj['metadata']['namespace']}/{obj['metadata']['name']}")
        for obj in getattr(later, resource):
            engine.handle.objects.put(resource, obj)
    for pod in [*waiting, *others]:
        said, wanted = verdicts(engine, pod), expected(later, pod)
        feasible = [n for n, refusal in wanted.items() if refusal is None]
        if feasible:
            assert said.get("node") in best(later, pod, feasible)
        elif not pinned(pod):
            assert said == wanted
