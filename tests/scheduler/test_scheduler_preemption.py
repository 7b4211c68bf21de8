"""Preemption: who has to go, and on which node."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_worlds import engine_for

from actors.scheduler._engine import Engine
from actors.scheduler._pods import PodInfo
from actors.scheduler._reference import ReferenceCluster, judge
from actors.scheduler.plugins.default_preemption import Candidate, DefaultPreemption, pick

Object = dict[str, Any]


def node(name: str, cpu: str = "4", pods: str = "10", **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}, "spec": {}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": pods}}}


def pod(name: str, cpu: str, priority: int, at: str = "", start: str = "2026-01-01T00:00:00Z", labels: Object | None = None, **spec: Any) -> Object:
    if at:
        spec["nodeName"] = at
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu} if cpu else {}}}]
    return {
        "metadata": {"name": name, "namespace": "one", "uid": name, "labels": labels or {}},
        "spec": {"priority": priority, "containers": containers, **spec},
        "status": {"startTime": start} if at else {},
    }


def cluster(nodes: list[Object], pods: list[Object]) -> ReferenceCluster:
    made = ReferenceCluster(nodes={n["metadata"]["name"]: n for n in nodes}, namespaces={"one": {}})
    for one in pods:
        made.pods.setdefault(one["spec"]["nodeName"], []).append(one)
    return made


def preemption(engine: Engine) -> DefaultPreemption:
    found = engine.profile.post_filter[-1]
    assert isinstance(found, DefaultPreemption)
    return found


def candidates(engine: Engine, preemptor: Object) -> dict[str, list[str]]:
    decision = engine.schedule(engine.cache.classes.info(preemptor))
    assert decision.diagnosis is not None
    found, _ = preemption(engine).candidates(decision.cycle, decision.diagnosis)
    return {c.node: [v.name for v in c.victims] for c in found}


def chosen(engine: Engine, preemptor: Object) -> str | None:
    return engine.post_filter(engine.schedule(engine.cache.classes.info(preemptor))).nominated


def test_as_few_and_as_unimportant_pods_as_possible_have_to_go() -> None:
    pods = [pod("big", "2", 5, "a"), pod("low", "1", 1, "a"), pod("lower", "1", 0, "a")]
    engine = engine_for(cluster([node("a")], pods))
    assert candidates(engine, pod("new", "1", 10)) == {"a": ["lower"]}
    assert candidates(engine, pod("new", "2", 10)) == {"a": ["low", "lower"]}
    assert candidates(engine, pod("new", "1", 1)) == {"a": ["lower"]}
    assert candidates(engine, pod("new", "4", 0)) == {}


def test_the_younger_of_equals_goes_first() -> None:
    pods = [pod("old", "2", 1, "a", "2026-01-01T00:00:00Z"), pod("young", "2", 1, "a", "2026-01-02T00:00:00Z")]
    engine = engine_for(cluster([node("a")], pods))
    assert candidates(engine, pod("new", "2", 10)) == {"a": ["young"]}


def test_a_disruption_budget_protects_its_pods_while_others_will_do() -> None:
    pods = [pod("kept", "2", 0, "a", labels={"app": "db"}), pod("other", "2", 5, "a")]
    engine = engine_for(cluster([node("a")], pods))
    budget = {"metadata": {"name": "b", "namespace": "one"}, "spec": {"selector": {"matchLabels": {"app": "db"}}}, "status": {"disruptionsAllowed": 0}}
    engine.handle.objects.put("poddisruptionbudgets", budget)
    assert candidates(engine, pod("new", "2", 10)) == {"a": ["other"]}
    assert candidates(engine, pod("new", "4", 10)) == {"a": ["other", "kept"]}


def test_victims_of_anti_affinity_are_found_by_asking_every_filter() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pods = [pod("db", "", 0, "a", labels={"app": "db"}), pod("web", "", 0, "a")]
    engine = engine_for(cluster([node("a")], pods))
    assert candidates(engine, pod("new", "", 10, labels={"app": "db"}, affinity=anti)) == {"a": ["db"]}
    # The supposition is undone: the pod is still seen there.
    assert engine.schedule(engine.cache.classes.info(pod("again", "", 0, labels={"app": "db"}, affinity=anti))).node == ""


def test_the_node_that_loses_least_is_nominated() -> None:
    def only(*pods: Object) -> str | None:
        return chosen(engine_for(cluster([node("a", "2"), node("b", "2")], list(pods))), pod("new", "2", 100))

    assert only(pod("x", "2", 5, "a"), pod("y", "2", 1, "b")) == "b"
    assert only(pod("x", "1", 5, "a"), pod("x2", "1", 5, "a"), pod("y", "2", 5, "b")) == "b"
    assert only(pod("x", "1", 5, "a"), pod("x2", "1", 1, "a"), pod("y", "1", 5, "b"), pod("y2", "1", 0, "b")) == "b"
    assert only(pod("x", "2", 5, "a", "2026-01-01T00:00:00Z"), pod("y", "2", 5, "b", "2026-01-03T00:00:00Z")) == "b"


def test_fewer_violated_budgets_count_before_everything_else() -> None:
    info = engine_for(cluster([node("a")], [])).cache.classes.info
    low: PodInfo = info(pod("low", "1", 0))
    high: PodInfo = info(pod("high", "1", 50))
    assert pick([Candidate("a", (low,), 1), Candidate("b", (high, high), 0)]).node == "b"


CPUS = st.sampled_from(["", "500m", "1", "2", "5"])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(CPUS, st.integers(0, 4), st.sampled_from("ab")), max_size=8),
    st.sampled_from(["2", "4"]),
    st.sampled_from(["3", "10"]),
    CPUS,
    st.integers(0, 5),
    st.lists(st.tuples(CPUS, st.integers(0, 6), st.sampled_from("ab")), max_size=2),
)
def test_reckoning_with_resources_finds_what_asking_every_filter_finds(
    placed: list[tuple[str, int, str]], cpu: str, places: str, wanted: str, priority: int, hoping: list[tuple[str, int, str]]
) -> None:
    pods = [pod(f"p{i}", c, p, n, f"2026-01-0{i + 1}T00:00:00Z") for i, (c, p, n) in enumerate(placed)]
    world = cluster([node("a", cpu, places), node("b", "3", places)], pods)
    preemptor = pod("new", wanted, priority)
    quick, slow = engine_for(world), engine_for(world)
    for engine in (quick, slow):
        for i, (c, p, n) in enumerate(hoping):
            info = engine.cache.classes.info(pod(f"hoping{i}", c, p))
            engine.handle.nominated.setdefault(n, {})[info.uid] = info
    decision = quick.schedule(quick.cache.classes.info(preemptor))
    if decision.node:
        return
    preemption(slow)._resources_only = lambda cycle: False  # type: ignore[method-assign]
    before = {n: [v.name for v in slow.cache.pods_on(r).values()] for n, r in slow.table.index.items()}
    assert candidates(quick, preemptor) == candidates(slow, preemptor)
    assert quick.post_filter(decision).status == slow.post_filter(slow.schedule(slow.cache.classes.info(preemptor))).status
    assert before == {n: [v.name for v in slow.cache.pods_on(r).values()] for n, r in slow.table.index.items()}
    for name, victims in candidates(quick, preemptor).items():
        rest = [p for p in pods if p["spec"]["nodeName"] == name and p["metadata"]["name"] not in victims]
        assert judge(cluster([world.nodes[name]], rest), preemptor, world.nodes[name]) is None


@settings(max_examples=100)
@given(
    st.lists(st.tuples(CPUS, st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=8),
    st.lists(st.tuples(st.sampled_from(["come", "go", "hope", "start", "node"]), st.integers(0, 7), CPUS), min_size=1, max_size=6),
)
def test_what_is_kept_between_equal_preemptors_is_never_stale(placed: list[tuple[str, int, str]], changes: list[tuple[str, int, str]]) -> None:
    pods = [pod(f"p{i}", c, p, n, f"2026-01-0{i + 1}T00:00:00Z") for i, (c, p, n) in enumerate(placed)]
    engine = engine_for(cluster([node("a"), node("b", "3"), node("c", "2")], pods))
    cache, info = engine.cache, engine.cache.classes.info
    wanted = [pod("one", "2", 4), pod("two", "2", 4), pod("other", "1", 2)]
    for step, (kind, which, cpu) in enumerate(changes):
        for preemptor in wanted:
            decision = engine.schedule(info(preemptor))
            if decision.diagnosis is None:
                continue
            plugin = preemption(engine)
            seeded = engine.handle.random.getstate()
            kept = plugin.candidates(decision.cycle, decision.diagnosis)
            plugin._kept.clear()
            engine.handle.random.setstate(seeded)
            fresh = plugin.candidates(decision.cycle, decision.diagnosis)
            assert kept[0] == fresh[0]
            assert [engine.statuses[c] for c in kept[1] if c >= 0] == [engine.statuses[c] for c in fresh[1] if c >= 0]
            engine.handle.random.setstate(seeded)
            plugin.candidates(decision.cycle, decision.diagnosis)
        name = "abc"[which % 3]
        if kind == "come":
            cache.put_pod(info(pod(f"new{step}", cpu, which % 4, name)))
        elif kind == "go":
            cache.remove_pod(f"p{which}")
        elif kind == "hope":
            hoping = info(pod(f"hoping{which}", cpu, which))
            engine.handle.nominated.setdefault(name, {})[hoping.uid] = hoping
        elif kind == "start" and which < len(pods):
            moved = {**pods[which], "status": {"startTime": "2027-01-01T00:00:00Z"}}
            if cache.placed(f"p{which}") is not None:
                cache.put_pod(cache.classes.info(moved, cache.placed(f"p{which}")))
        elif kind == "node":
            cache.put_node(node(name, str(which % 4 + 1)))
