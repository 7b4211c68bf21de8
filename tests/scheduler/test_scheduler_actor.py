"""The scheduler as an actor: what it does to pods, and what the API is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scheduler_api import Drop, Late, World

from actors.kernel import Child
from actors.scheduler import Scheduler, SchedulerConfig
from protocol import status
from protocol.api import ApiRequest, StatusError
from protocol.scheduler import ExplainPod

Object = dict[str, Any]
NO_USE = "no new claims to deallocate, preemption: "


def test_a_pod_is_bound_to_the_node_that_has_room() -> None:
    world = World()
    world.node("small", cpu="1")
    world.node("large", cpu="4")
    world.pod("web", cpu="2")
    world.settle()
    assert world.where("web") == ["large"]
    assert world.events() == [("Normal", "Scheduled", "web", "Successfully assigned default/web to large")]


def test_pods_spread_over_equal_nodes_and_the_rest_waits_until_one_goes() -> None:
    world = World()
    for name in ("a", "b"):
        world.node(name, cpu="2")
    for i in range(5):
        world.pod(f"p{i}", cpu="1")
    world.settle()
    nodes = world.where(*(f"p{i}" for i in range(5)))
    assert sorted(n or "" for n in nodes) == ["", "a", "a", "b", "b"]
    waiting = f"p{nodes.index(None)}"
    message = f"0/2 nodes are available: 2 Insufficient cpu. {NO_USE}0/2 nodes are available: 2 No preemption victims found for incoming pod."
    assert world.scheduled(waiting) | {"lastTransitionTime": ""} == {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": "",
    }  # fmt: skip
    assert ("Warning", "FailedScheduling", waiting, message) in world.events()
    gone = next(f"p{i}" for i, n in enumerate(nodes) if n == "a")
    world.state.remove("pods", f"default/{gone}")
    world.settle(2)
    assert world.where(waiting) == ["a"]


def test_without_nodes_the_message_says_so_and_the_first_node_is_used() -> None:
    world = World()
    world.pod("web")
    world.settle()
    assert world.scheduled("web")["message"] == "no nodes available to schedule pods"
    world.node("a")
    world.settle(3)
    assert world.where("web") == ["a"]


def test_reasons_are_counted_over_nodes_and_sorted_by_their_text() -> None:
    world = World()
    for i in range(4):
        world.node(f"node-{i}")
    world.node("extra-0", labels={"pool": "x"}, taints=[{"key": "only", "value": "yes", "effect": "NoSchedule"}])
    unhelpful = f"{NO_USE}0/5 nodes are available: 5 Preemption is not helpful for scheduling."
    tainted = "0/5 nodes are available: 1 node(s) had untolerated taint(s), 4 "
    world.pod("cpu", cpu="500")
    world.pod("selector", nodeSelector={"no": "such"})
    term = {"labelSelector": {"matchLabels": {"no": "such"}}, "topologyKey": "kubernetes.io/hostname"}
    world.pod("near", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    world.pod("claim", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "nope"}}])
    claimed = {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}
    world.pod("own", volumes=[{"name": "v", "ephemeral": claimed}])
    fields = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gone"]}]}]
    world.pod("pinned", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": fields}}})
    world.settle()
    said = {n: world.scheduled(n)["message"] for n in ("cpu", "selector", "near", "claim", "own", "pinned")}
    assert said == {
        "cpu": f"{tainted}Insufficient cpu. {unhelpful}",
        "selector": f"{tainted}node(s) didn't match Pod's node affinity/selector. {unhelpful}",
        "near": f"{tainted}node(s) didn't match pod affinity rules. {unhelpful}",
        "claim": '0/5 nodes are available: persistentvolumeclaim "nope" not found. not found',
        "own": '0/5 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "own-v". not found',
        "pinned": f"0/5 nodes are available: 5 node(s) didn't satisfy plugin(s) [NodeAffinity]. {unhelpful}",
    }


def test_an_older_version_words_its_refusals_as_it_did() -> None:
    world = World(SchedulerConfig(minor=31))
    world.node("a", taints=[{"key": "only", "value": "yes", "effect": "NoSchedule"}])
    world.node("b", cpu="1")
    world.pod("web", cpu="2")
    world.settle()
    preemption = "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    refused = "1 Insufficient cpu, 1 node(s) had untolerated taint {only: yes}"
    assert world.scheduled("web")["message"] == f"0/2 nodes are available: {refused}. {preemption}"


def test_pods_of_other_schedulers_and_gated_pods_are_left_alone() -> None:
    world = World()
    world.node("a")
    world.pod("other", schedulerName="nobody")
    gated = world.pod("gated", schedulingGates=[{"name": "example.com/wait"}])
    world.settle(30)
    assert world.where("other", "gated") == [None, None]
    assert world.events() == []
    world.state.put("pods", {**gated, "spec": {k: v for k, v in gated["spec"].items() if k != "schedulingGates"}})
    world.settle()
    assert world.where("gated") == ["a"]


def test_a_lost_answer_to_a_binding_binds_once_and_leaves_the_pod_bound() -> None:
    world = World()
    world.node("a")

    def lose(request: ApiRequest) -> None:
        if request.subresource == "binding":
            raise Drop

    world.state.faults.append(lose)
    world.pod("web")
    world.settle(60)
    assert world.where("web") == ["a"]
    assert world.state.bindings == [("default/web", "a")]
    assert world.statistics()["pods"] == 1


def test_a_late_verdict_never_lands_on_a_pod_that_is_bound() -> None:
    world = World()
    world.node("small", cpu="1")

    def slow(request: ApiRequest) -> None:
        if request.verb == "patch" and request.subresource == "status":
            raise Late(5.0)

    world.state.faults.append(slow)
    world.pod("web", cpu="2")
    world.settle(1)
    world.node("large", cpu="4")
    world.settle(20)
    assert world.where("web") == ["large"]
    assert world.scheduled("web")["status"] == "True"


def test_a_refused_binding_is_tried_again_after_a_backoff_and_takes_no_room_meanwhile() -> None:
    world = World()
    world.node("a", cpu="1")
    refusals = []

    def refuse(request: ApiRequest) -> None:
        if request.subresource == "binding" and len(refusals) < 2:
            refusals.append(request.name)
            raise status.internal_error("no luck")

    world.state.faults.append(refuse)
    world.pod("web", cpu="1")
    world.settle(0.5)
    assert world.statistics()["pods"] == 0
    assert world.scheduled("web")["reason"] == "SchedulerError"
    assert 'running Bind plugin "DefaultBinder"' in world.scheduled("web")["message"]
    world.settle(10)
    assert world.where("web") == ["a"]
    assert refusals == ["web", "web"]


@pytest.mark.parametrize("seed", range(5))
def test_a_crashed_scheduler_finds_everything_again_and_overcommits_nothing(seed: int) -> None:
    world = World(seed=seed)
    for name in ("a", "b"):
        world.node(name, cpu="3")
    for i in range(4):
        world.pod(f"p{i}", cpu="1")
    for _ in range(40):
        world.sim.step()
    world.sim.crash(world.scheduler)
    for i in range(4, 8):
        world.pod(f"p{i}", cpu="1")
    world.settle(20)
    nodes = [n for n in world.where(*(f"p{i}" for i in range(8))) if n]
    assert sorted(nodes) == ["a"] * 3 + ["b"] * 3
    assert len({pod for pod, _ in world.state.bindings}) == len(world.state.bindings)


def test_an_assumption_that_nothing_confirms_is_looked_into_and_taken_back() -> None:
    world = World(SchedulerConfig(assumed_ttl_s=5))
    world.node("a", cpu="1")

    def pretend(request: ApiRequest) -> None:
        if request.subresource == "binding":
            world.state.bind = lambda key, binding: {}  # type: ignore[method-assign]

    world.state.faults.append(pretend)
    world.pod("web", cpu="1")
    world.settle(1)
    assert world.statistics()["pods"] == 1
    del world.state.bind  # type: ignore[method-assign]
    world.state.faults.clear()
    world.settle(10)
    assert world.where("web") == ["a"]


def test_a_pod_that_is_bound_keeps_its_room_while_the_watch_is_deaf() -> None:
    world = World(SchedulerConfig(assumed_ttl_s=5))
    world.node("a", cpu="1")
    tell = world.state.tell
    world.state.tell = lambda resource, kind, obj: None if kind == "MODIFIED" else tell(resource, kind, obj)  # type: ignore[method-assign]
    world.pod("web", cpu="1")
    world.settle(1)
    world.pod("second", cpu="1")
    world.settle(30)
    assert world.where("web", "second") == ["a", None]
    assert world.state.bindings == [("default/web", "a")]


def test_while_nobody_knows_whether_a_binding_took_place_the_pod_keeps_its_room() -> None:
    world = World()
    world.node("a", cpu="1")
    cut = [True]

    def lose(request: ApiRequest) -> None:
        if cut[0] and (request.subresource == "binding" or request.verb == "get"):
            raise Drop

    world.state.faults.append(lose)
    world.pod("web", cpu="1")
    world.settle(1)
    world.pod("second", cpu="1")
    world.settle(400)
    assert world.state.bindings == [("default/web", "a")]
    assert world.where("web", "second") == ["a", None]
    cut[0] = False
    world.settle(400)
    assert world.state.bindings == [("default/web", "a")]


def test_a_pod_that_must_wait_before_it_is_bound_says_where_it_is_going() -> None:
    world = World()
    world.node("a")
    slow = {"metadata": {"name": "slow"}, "provisioner": "example.com/disk", "volumeBindingMode": "WaitForFirstConsumer"}
    claim = {"metadata": {"name": "data", "namespace": "default"}, "spec": {"storageClassName": "slow", "resources": {}}, "status": {}}
    world.state.put("storageclasses", slow, "ADDED")
    world.state.put("persistentvolumeclaims", claim, "ADDED")
    world.pod("db", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
    world.pod("quick")
    world.settle(2)
    assert world.where("db", "quick") == [None, "a"]
    assert world.seen("db")["status"]["nominatedNodeName"] == "a"
    assert "nominatedNodeName" not in world.seen("quick")["status"]


def test_only_the_leader_schedules_and_another_takes_over() -> None:
    world = World(SchedulerConfig(leader_elect=True))
    world.node("a")
    world.pod("one")
    world.settle(5)
    assert world.where("one") == ["a"]
    second = world.sim.spawn(Child("second", lambda: Scheduler(world.api, SchedulerConfig(leader_elect=True))))
    world.settle(5)
    world.scheduler.stop()
    world.settle(1)
    world.pod("two")
    world.settle(40)
    assert world.where("two") == ["a"]
    world.scheduler = second
    assert world.statistics()["scheduled"] == 1


def test_a_pod_of_higher_priority_gets_the_room_of_lower_ones() -> None:
    world = World()
    world.node("a", cpu="2")
    world.pod("low", cpu="1", priority=1)
    world.pod("mid", cpu="1", priority=5)
    world.settle()
    world.pod("high", cpu="1", priority=10)
    world.settle(5)
    assert "default/low" not in world.state.of("pods")
    assert world.where("mid", "high") == ["a", "a"]
    uid = world.seen("high")["metadata"]["uid"]
    assert ("Normal", "Preempted", "low", f"Preempted by pod {uid} on node a") in world.events()
    assert ("Warning", "FailedScheduling", "high", "0/1 nodes are available: 1 Insufficient cpu.") in world.events()


def test_preemption_policy_never_evicts_nobody() -> None:
    world = World()
    world.node("a", cpu="1")
    world.pod("low", cpu="1")
    world.settle()
    world.pod("high", cpu="1", priority=10, preemptionPolicy="Never")
    world.settle(5)
    text = f"0/1 nodes are available: 1 Insufficient cpu. {NO_USE}not eligible due to preemptionPolicy=Never."
    assert world.scheduled("high")["message"] == text
    assert world.where("low") == ["a"]


def test_the_room_made_by_preemption_is_kept_for_the_pod_it_was_made_for() -> None:
    world = World()
    world.node("a", cpu="2")
    world.pod("low", cpu="2", priority=1)
    world.settle()

    def linger(request: ApiRequest) -> None:
        # A victim that takes its time to go, as with a grace period.
        if request.verb == "delete" and request.name == "low":
            low = world.seen("low")
            world.state.put("pods", {**low, "metadata": {**low["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
            raise status.conflict("", "pods", "low", "already going")

    world.state.faults.append(linger)
    world.pod("high", cpu="2", priority=10)
    world.settle(3)
    assert world.seen("high")["status"]["nominatedNodeName"] == "a"
    assert world.where("high") == [None]
    world.pod("sneaky", cpu="2", priority=5)
    world.state.remove("pods", "default/low")
    world.settle(5)
    assert world.where("high", "sneaky") == ["a", None]


def test_explaining_names_the_plugin_that_rejected_each_node_and_the_scores_of_the_others() -> None:
    world = World()
    world.node("a", cpu="4")
    world.node("b", cpu="1")
    world.node("c", taints=[{"key": "k", "effect": "NoSchedule"}])
    world.pod("web", cpu="2")
    world.settle()
    account = world.sim.ask(world.scheduler, ExplainPod("default", "web"))
    assert account["outcome"] == "default/web is on a"
    nodes = {n["name"]: n for n in account["nodes"]}
    assert nodes["b"]["rejected"] == {"NodeResourcesFit": ["Insufficient cpu"]}
    assert nodes["c"]["rejected"] == {"TaintToleration": ["node(s) had untolerated taint(s)"]}
    assert nodes["a"]["feasible"]
    assert nodes["a"]["scores"]["NodeResourcesFit"]["raw"] > 0
    assert nodes["a"]["total"] == sum(s["weighted"] for s in nodes["a"]["scores"].values())
    with pytest.raises(StatusError):
        world.sim.ask(world.scheduler, ExplainPod("default", "nobody"))


def test_a_pod_that_asks_for_it_carries_the_account_of_its_scheduling() -> None:
    world = World()
    world.node("a", cpu="4")
    world.node("b", cpu="1")
    pod = world.pod("web", cpu="2", schedulingGates=[{"name": "example.com/wait"}])
    meta = {**pod["metadata"], "annotations": {"scheduler.kubekka.io/explain": "true"}}
    world.state.put("pods", {**pod, "metadata": meta, "spec": {k: v for k, v in pod["spec"].items() if k != "schedulingGates"}})
    world.pod("quiet", cpu="1")
    world.settle()
    account = json.loads(world.seen("web")["metadata"]["annotations"]["scheduler.kubekka.io/account"])
    assert account["node"] == "a"
    assert [(n["name"], n["feasible"]) for n in account["nodes"]] == [("a", True), ("b", False)]
    assert "annotations" not in world.seen("quiet")["metadata"]


def test_a_flood_of_pods_that_fit_nowhere_does_not_keep_others_waiting() -> None:
    world = World()
    for i in range(3):
        world.node(f"n{i}", cpu="2")
    for i in range(200):
        world.pod(f"huge{i}", cpu="64", priority=100)
    for i in range(6):
        world.pod(f"web{i}", cpu="1")
    world.settle(2)
    assert None not in world.where(*(f"web{i}" for i in range(6)))
    attempts = world.statistics()["attempts"]
    for i in range(6):
        world.state.remove("pods", f"default/web{i}")
    world.settle(2)
    # Pods that no node is large enough for are not tried again because small ones go.
    assert world.statistics()["attempts"] - attempts == 0
