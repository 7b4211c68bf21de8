"""Plugins from outside, profiles and the configuration file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scheduler_api import World

from actors.scheduler import (
    Code,
    ConfigError,
    Cycle,
    NodeView,
    PermitResult,
    Plugin,
    PodInfo,
    SchedulerConfig,
    Status,
    load,
    parse,
)

Object = dict[str, Any]
HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "leaderElection": {"leaderElect": False}}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "scheduler.md"


def config(*plugins: type[Plugin], **profile: Any) -> SchedulerConfig:
    """A configuration with one profile and these plugin classes."""
    from dataclasses import replace

    return replace(parse({**HEAD, "profiles": [profile]}), plugins=plugins)


def multi(*names: str, **weights: int) -> Object:
    return {"multiPoint": {"enabled": [*({"name": n} for n in names), *({"name": n, "weight": w} for n, w in weights.items())]}}


class OddNodes(Plugin):
    """Takes only nodes whose name ends in an odd digit."""

    name = "OddNodes"

    def filter(self, cycle: Cycle, node: NodeView) -> Status:
        if node.name[-1] in "13579":
            return Status(Code.SUCCESS)
        return Status(Code.UNRESOLVABLE, (f"{self.args.get('word', 'even')} node",))


class Alphabet(Plugin):
    """Prefers nodes late in the alphabet."""

    name = "Alphabet"

    def score(self, cycle: Cycle, node: NodeView) -> int:
        return ord(node.name[0]) - ord("a")


class Recorder(Plugin):
    """Notes what it is called for."""

    name = "Recorder"
    calls: list[str] = []
    fail_at = ""

    def note(self, point: str) -> Status:
        type(self).calls.append(point)
        return Status(Code.ERROR, ("on purpose",)) if point == self.fail_at else Status(Code.SUCCESS)

    def reserve(self, cycle: Cycle, node_name: str) -> Status:
        return self.note("reserve")

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        self.note("unreserve")

    def permit(self, cycle: Cycle, node_name: str) -> PermitResult:
        return PermitResult(self.note("permit"))

    async def pre_bind(self, cycle: Cycle, node_name: str) -> Status:
        return self.note("pre_bind")

    async def post_bind(self, cycle: Cycle, node_name: str) -> None:
        self.note("post_bind")


class Pairs(Plugin):
    """Holds each pod until a second one has a node too."""

    name = "Pairs"

    def permit(self, cycle: Cycle, node_name: str) -> PermitResult:
        held = list(self.handle.waiting.values())
        if held:
            held[0].allow(self.name)
            return PermitResult()
        return PermitResult(Status(Code.WAIT), 5.0)


class Clumsy(Plugin):
    """Raises where it is told to."""

    name = "Clumsy"
    trips_at = ""

    def trip(self, point: str) -> None:
        if point == self.trips_at:
            raise RuntimeError(f"tripped in {point}")

    def pre_enqueue(self, pod: PodInfo) -> Status:
        self.trip("pre_enqueue")
        return Status(Code.SUCCESS)

    def filter(self, cycle: Cycle, node: NodeView) -> Status:
        self.trip("filter")
        return Status(Code.SUCCESS)

    def score(self, cycle: Cycle, node: NodeView) -> int:
        self.trip("score")
        return 0

    def reserve(self, cycle: Cycle, node_name: str) -> Status:
        self.trip("reserve")
        return Status(Code.SUCCESS)

    def permit(self, cycle: Cycle, node_name: str) -> PermitResult:
        self.trip("permit")
        return PermitResult()

    async def pre_bind(self, cycle: Cycle, node_name: str) -> Status:
        self.trip("pre_bind")
        return Status(Code.SUCCESS)


@pytest.mark.parametrize("point", ["pre_enqueue", "filter", "score", "reserve", "permit", "pre_bind"])
def test_a_plugin_that_raises_costs_its_pod_an_attempt_and_nobody_else_anything(point: str) -> None:
    Clumsy.trips_at = point
    world = World(config(Clumsy, plugins=multi("Clumsy")))
    for name in ("a", "b"):
        world.node(name, cpu="1")
    world.pod("web", cpu="1")
    world.settle(0.5)
    assert world.where("web") == [None]
    if point != "pre_enqueue":
        assert f"tripped in {point}" in world.scheduled("web")["message"]
    assert world.statistics()["pods"] == 0
    Clumsy.trips_at = ""
    world.node("c", cpu="1")
    world.settle(5)
    assert world.where("web") != [None]
    assert world.statistics()["scheduled"] == 1


def test_a_filter_from_outside_refuses_nodes_in_its_own_words() -> None:
    args = [{"name": "OddNodes", "args": {"word": "plain"}}]
    world = World(config(OddNodes, plugins=multi("OddNodes"), pluginConfig=args))
    world.node("n2")
    world.pod("web")
    world.settle()
    assert world.scheduled("web")["message"].startswith("0/1 nodes are available: 1 plain node.")
    world.node("n3")
    world.settle(3)
    assert world.where("web") == ["n3"]


def test_a_score_from_outside_counts_by_its_weight() -> None:
    world = World(config(Alphabet, plugins=multi(Alphabet=1000)))
    for name in ("a", "z", "m"):
        world.node(name)
    for i in range(3):
        world.pod(f"web{i}")
    world.settle()
    assert world.where("web0", "web1", "web2") == ["z"] * 3


def test_the_extension_points_are_met_in_order_and_undone_when_one_fails() -> None:
    Recorder.calls, Recorder.fail_at = [], ""
    world = World(config(Recorder, plugins=multi("Recorder")))
    world.node("a")
    world.pod("web")
    world.settle()
    assert Recorder.calls == ["reserve", "permit", "pre_bind", "post_bind"]
    Recorder.calls, Recorder.fail_at = [], "pre_bind"
    world.pod("second", cpu="1")
    world.settle(0.5)
    assert Recorder.calls == ["reserve", "permit", "pre_bind", "unreserve"]
    assert world.scheduled("second")["message"] == 'running PreBind plugin "Recorder": on purpose'
    assert world.statistics()["pods"] == 1
    Recorder.fail_at = ""
    world.settle(5)
    assert world.where("second") == ["a"]


def test_permit_holds_a_pod_until_it_is_allowed_and_rejects_it_after_its_time() -> None:
    world = World(config(Pairs, plugins=multi("Pairs")))
    world.node("a")
    world.pod("one")
    world.settle(1)
    assert world.where("one") == [None]
    world.pod("two")
    world.settle(1)
    assert world.where("one", "two") == ["a", "a"]
    world.pod("alone")
    world.settle(6)
    assert world.where("alone") == [None]
    text = "rejected due to timeout after waiting 5s at plugin Pairs"
    assert world.scheduled("alone")["message"] == f"0/1 nodes are available: 1 {text}."


def test_profiles_schedule_side_by_side_each_by_its_own_rules() -> None:
    packing = {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 1}]}}
    raw = {
        **HEAD,
        "profiles": [
            {"schedulerName": "default-scheduler"},
            {"schedulerName": "packer", "pluginConfig": [{"name": "NodeResourcesFit", "args": packing}], "plugins": {"score": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}}},
        ],
    }
    world = World(parse(raw))
    for name in ("a", "b"):
        world.node(name, cpu="10")
    for i in range(4):
        world.pod(f"packed{i}", cpu="1", schedulerName="packer")
    world.settle()
    assert len(set(world.where(*(f"packed{i}" for i in range(4))))) == 1
    for i in range(4):
        world.pod(f"spread{i}", cpu="1")
    world.settle()
    full = world.where("packed0")[0]
    assert world.where(*(f"spread{i}" for i in range(4))) == ["b" if full == "a" else "a"] * 4
    components = {e["reportingController"] for e in world.state.of("events").values()}
    assert components == {"packer", "default-scheduler"}


def test_a_bin_packing_shape_prefers_the_utilisation_it_names() -> None:
    shape = [{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]
    strategy = {"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu", "weight": 1}], "requestedToCapacityRatio": {"shape": shape}}
    only = {"multiPoint": {"disabled": [{"name": n} for n in ("NodeResourcesBalancedAllocation", "PodTopologySpread")]}}
    world = World(config(pluginConfig=[{"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}}], plugins=only))
    for name, cpu in (("tight", "2"), ("half", "4"), ("wide", "40")):
        world.node(name, cpu=cpu)
    world.pod("web", cpu="2")
    world.settle()
    assert world.where("web") == ["half"]


def test_a_disabled_plugin_does_not_speak() -> None:
    world = World(config(plugins={"filter": {"disabled": [{"name": "TaintToleration"}]}}))
    world.node("a", taints=[{"key": "k", "effect": "NoSchedule"}])
    world.pod("web")
    world.settle()
    assert world.where("web") == ["a"]


def test_added_affinity_binds_all_pods_of_a_profile() -> None:
    term = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["x"]}]}
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    world = World(config(pluginConfig=[{"name": "NodeAffinity", "args": {"addedAffinity": added}}]))
    world.node("a")
    world.pod("web")
    world.settle()
    assert world.scheduled("web")["message"].startswith("0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity.")
    world.node("b", labels={"pool": "x"})
    world.settle(3)
    assert world.where("web") == ["b"]


def test_default_constraints_of_a_profile_are_hard_when_they_say_so() -> None:
    args = {"defaultingType": "List", "defaultConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}
    world = World(config(pluginConfig=[{"name": "PodTopologySpread", "args": args}]))
    for name in ("a", "b"):
        world.node(name, cpu="10" if name == "a" else "1")
    world.state.put("services", {"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": {"app": "x"}}}, "ADDED")
    for i in range(4):
        world.pod(f"web{i}", cpu="600m", labels={"app": "x"})
    world.settle()
    assert sorted(n or "" for n in world.where(*(f"web{i}" for i in range(4)))) == ["", "a", "a", "b"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "Something"}, "no kind 'Something' is registered"),
        ({"profiles": [{"plugins": {"nowhere": {}}}]}, "unknown extension point 'nowhere'"),
        ({"profile": []}, 'strict decoding error: unknown field "profile"'),
        ({"profiles": [{}, {}]}, "duplicate schedulerName"),
        ({"leaderElection": {"leaseDuration": "soon"}}, "'soon' is not a duration"),
        ({"extenders": [{}]}, "without urlPrefix"),
        ({"profiles": [{"pluginConfig": [{"name": "A"}, {"name": "A"}]}]}, "repeated config for plugin A"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_in_one_line(change: Object, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)) as error:
        parse({**HEAD, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("plugins", "problem"),
    [
        (multi("Nobody"), "plugin 'Nobody' does not exist"),
        ({"score": {"enabled": [{"name": "NodeName"}]}}, "plugin 'NodeName' does not extend score plugin"),
        ({"queueSort": {"disabled": [{"name": "*"}]}}, "needs exactly one queueSort plugin, has 0"),
    ],
)
def test_a_profile_that_cannot_be_made_is_refused(plugins: Object, problem: str) -> None:
    import random

    from actors.scheduler._cache import Cache
    from actors.scheduler._framework import Handle
    from actors.scheduler._objects import Objects
    from actors.scheduler._profile import Profile, registry

    with pytest.raises(ConfigError, match=re.escape(problem)):
        Profile(config(plugins=plugins).profiles[0], registry(), Handle(Cache(), Objects(), random.Random(0)))


def test_a_plugin_of_an_installed_package_is_known_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.scheduler import _profile

    class Entry:
        def load(self) -> type[Plugin]:
            return OddNodes

    monkeypatch.setattr(_profile, "entry_points", lambda group: [Entry()] if group == _profile.ENTRY_POINTS else [])
    _profile._installed.cache_clear()
    try:
        assert _profile.registry()["OddNodes"] is OddNodes
        world = World(config(plugins=multi("OddNodes")))
        world.node("n2")
        world.node("n3")
        world.pod("web")
        world.settle()
        assert world.where("web") == ["n3"]
    finally:
        _profile._installed.cache_clear()


def test_a_file_is_read_as_kube_scheduler_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "podInitialBackoffSeconds: 2\nleaderElection: {leaderElect: true, leaseDuration: 1m30s}\n"
        "profiles: [{schedulerName: mine, plugins: {score: {enabled: [{name: ImageLocality, weight: 7}]}}}]\n"
    )
    found = load(file)
    assert (found.backoff_initial_s, found.lease_duration_s, found.leader_elect) == (2.0, 90.0, True)
    assert found.profiles[0].points["score"][0].weight == 7
    file.write_text("{")
    with pytest.raises(ConfigError):
        load(file)


def test_the_example_in_the_documentation_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    source = next(b for b in blocks if "class " in b)
    namespace: Object = {}
    exec(compile(source, str(DOCS), "exec"), namespace)
    plugin = next(v for v in namespace.values() if isinstance(v, type) and issubclass(v, Plugin) and v is not Plugin)
    world = World(config(plugin, plugins=multi(plugin.name)))
    world.node("a", labels={"maintenance": "today"})
    world.node("b", labels={"disk": "ssd"})
    world.node("c")
    world.pod("db", labels={"tier": "db"})
    world.settle()
    assert world.where("db") == ["b"]
    assert isinstance(world.seen("db"), dict)
    assert PodInfo is not None
