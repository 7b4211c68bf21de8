"""What a node refuses, in which words, and what it does for a critical pod."""

from __future__ import annotations

from typing import Any

import pytest

World = Any
Object = dict[str, Any]


def rejection(world: World, name: str = "web") -> tuple[str, str]:
    world.until(lambda: world.phase(name) == "Failed")
    status = world.status(name)
    return status["reason"], status["message"]


def test_a_refused_pod_has_no_containers_no_address_and_no_conditions_of_the_kubelet(world: World) -> None:
    world.pod(container={"resources": {"requests": {"cpu": "99"}}})
    text = "Node didn't have enough resource: cpu, requested: 99000, used: 0, capacity: 32000"
    assert rejection(world) == ("OutOfcpu", f"Pod was rejected: {text}")
    status = world.status()
    assert not {"containerStatuses", "podIP", "hostIP"} & set(status)
    assert not status.get("conditions")
    world.sim.advance(5)
    assert world.messages() == [text]
    assert not world.machine.sandboxes


AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["3"]}]}]
        }
    }
}


@pytest.mark.parametrize("spec", [{"nodeSelector": {"disk": "ssd"}}, {"affinity": AFFINITY}])
def test_a_pod_that_wants_another_node_is_refused(world: World, spec: Object) -> None:
    world.pod(**spec)
    text = "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    assert rejection(world) == ("NodeAffinity", text)


def test_a_label_that_the_node_got_a_moment_ago_counts(world: World) -> None:
    world.sim.advance(5)
    world.do(world.client.patch("nodes", "node-0", "", {"metadata": {"labels": {"size": "4"}}}))
    world.pod(affinity=AFFINITY)
    world.until(world.ready)


def test_a_host_port_is_given_once_and_again_when_its_holder_has_gone(world: World) -> None:
    ports = {"ports": [{"containerPort": 80, "hostPort": 8080}]}
    world.pod("a", container=ports)
    world.until(lambda: world.ready("a"))
    world.pod("b", container=ports)
    assert rejection(world, "b")[0] == "NodePorts"
    world.pod("c", container={"ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]})
    world.until(lambda: world.ready("c"))
    world.do(world.client.delete("pods", "a", "default", grace_period_s=0))
    world.sim.advance(2)
    world.pod("d", container=ports)
    world.until(lambda: world.ready("d"))


def test_a_taint_that_does_not_execute_is_the_schedulers_business(world: World) -> None:
    taints = [{"key": "k", "effect": "NoSchedule"}]
    world.do(world.client.patch("nodes", "node-0", "", {"spec": {"taints": taints}}))
    world.sim.advance(12)
    world.pod("a")
    world.until(lambda: world.ready("a"))
    taints.append({"key": "gone", "effect": "NoExecute"})
    world.do(world.client.patch("nodes", "node-0", "", {"spec": {"taints": taints}}))
    world.sim.advance(12)
    world.pod("b")
    assert rejection(world, "b") == (
        "TaintToleration",
        "Pod was rejected: Predicate TaintToleration failed: node(s) had untolerated taint(s)",
    )
    world.pod("c", tolerations=[{"key": "gone", "operator": "Exists"}])
    world.until(lambda: world.ready("c"))


def test_an_unsafe_sysctl_is_refused_unless_the_node_allows_it(make_world: Any) -> None:
    world = make_world(allowed_unsafe_sysctls=("kernel.sem*",))
    for name, sysctl in (("safe", "net.ipv4.tcp_syncookies"), ("allowed", "kernel.sem"), ("no", "kernel.msgmax")):
        world.pod(name, securityContext={"sysctls": [{"name": sysctl, "value": "1"}]})
    world.until(lambda: world.ready("safe") and world.ready("allowed"))
    assert rejection(world, "no") == (
        "SysctlForbidden",
        'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
    )


def test_another_operating_system_is_refused(world: World) -> None:
    world.pod(os={"name": "windows"})
    assert rejection(world)[0] == "PodOSNotSupported"


def test_others_make_room_for_a_critical_pod_the_cheapest_first(make_world: Any) -> None:
    world = make_world(capacity={"cpu": "4", "memory": "4Gi", "pods": "10"})
    both = {"cpu": "1", "memory": "256Mi"}
    world.pod("guaranteed", container={"resources": {"requests": both, "limits": both}})
    world.pod("large", container={"resources": {"requests": {"cpu": "2"}}})
    world.pod("small", container={"resources": {"requests": {"cpu": "900m"}}})
    world.until(lambda: all(world.ready(n) for n in ("guaranteed", "large", "small")))
    world.pod("critical", priorityClassName="system-node-critical", container={"resources": {"requests": {"cpu": "1"}}})
    world.until(lambda: world.ready("critical"))
    assert world.phase("guaranteed") == world.phase("large") == "Running"
    status = world.status("small")
    assert (status["phase"], status["reason"]) == ("Failed", "Preempting")
    assert status["message"] == "Preempted in order to admit critical pod"
    target = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
    assert target["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."


def test_a_critical_pod_that_could_never_fit_costs_nobody_his_place(world: World) -> None:
    world.pod("small", container={"resources": {"requests": {"cpu": "1"}}})
    world.until(lambda: world.ready("small"))
    world.pod(priorityClassName="system-node-critical", container={"resources": {"requests": {"cpu": "99"}}})
    assert rejection(world)[0] == "OutOfcpu"
    assert world.phase("small") == "Running"
