"""Pods on a simulated node, from the API's point of view, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.kubelet import StartKubelet, StopKubelet
from protocol.api import StatusError
from protocol.conditions import API, ApiFault
from protocol.cri import CONTAINER_RUNNING
from protocol.node import NodeGet, PodCgroups, PodLogs

World = Any


def test_a_pod_comes_up_with_an_address_and_all_conditions(world: World) -> None:
    world.pod()
    world.until(world.ready, 2)
    status = world.status()
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.244.0.")
    assert status["hostIP"] == "172.18.0.2"
    assert {c["type"]: c["status"] for c in status["conditions"]} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    container = world.container()
    assert container["started"]
    assert container["image"] == "docker.io/library/nginx:1"
    assert container["containerID"].startswith("containerd://")


def test_a_pod_that_comes_up_at_once_is_reported_by_one_write(world: World) -> None:
    created = world.pod()
    world.until(world.ready, 2)
    watched = world.get("pods", "web")
    assert watched is not None
    managers = [m for m in watched["metadata"]["managedFields"] if m.get("subresource") == "status"]
    assert [m["manager"] for m in managers] == ["kubelet"]
    world.sim.advance(30)
    assert world.get("pods", "web")["metadata"]["resourceVersion"] == watched["metadata"]["resourceVersion"]
    assert created["metadata"]["uid"] == watched["metadata"]["uid"]


def test_events_tell_the_story_of_a_start_in_order(world: World) -> None:
    world.pod()
    world.sim.advance(5)
    assert world.reasons() == ["Pulling", "Pulled", "Created", "Started"]


@pytest.mark.parametrize(
    ("command", "policy", "phase", "code"),
    [
        (("true",), "Never", "Succeeded", 0),
        (("sh", "-c", "exit 7"), "Never", "Failed", 7),
        (("sleep", "3"), "OnFailure", "Succeeded", 0),
    ],
)
def test_a_pod_whose_container_ends_for_good_ends_too(
    world: World, command: tuple[str, ...], policy: str, phase: str, code: int
) -> None:
    world.pod("job", *command, restartPolicy=policy)
    world.until(lambda: world.phase("job") == phase, 10)
    assert world.container("job")["state"]["terminated"]["exitCode"] == code
    assert world.container("job")["restartCount"] == 0
    assert not world.ready("job")


def test_a_container_that_keeps_failing_backs_off_longer_each_time(world: World) -> None:
    world.pod("crash", "false")
    times: list[float] = []
    count = 0
    world.sim.advance(1)
    while count < 5:
        world.until(lambda: world.container("crash")["restartCount"] > count, 200, 0.5)
        count = world.container("crash")["restartCount"]
        times.append(world.sim.clock.now())
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert gaps == pytest.approx([10, 20, 40, 80], abs=1)
    state = world.container("crash")
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert state["state"]["waiting"]["message"].startswith(
        "back-off 2m40s restarting failed container=c pod=crash_default("
    )
    assert state["lastState"]["terminated"]["exitCode"] == 1
    assert world.phase("crash") == "Running"


def test_an_image_that_cannot_be_pulled_keeps_the_pod_pending(world: World) -> None:
    world.pod("image", container={"image": "nginx:broken"})
    world.sim.advance(1)
    assert world.phase("image") == "Pending"
    assert world.container("image")["state"]["waiting"]["reason"] == "ErrImagePull"
    world.sim.advance(5)
    assert world.container("image")["state"]["waiting"]["reason"] == "ImagePullBackOff"
    world.sim.advance(10)
    assert world.reasons("image").count("Pulling") >= 1


def test_init_containers_run_in_turn_and_sidecars_stay(world: World) -> None:
    world.pod(
        "deep",
        "sleep",
        "5",
        restartPolicy="Never",
        initContainers=[
            {"name": "a", "image": "b", "command": ["sleep", "2"]},
            {"name": "s", "image": "b", "restartPolicy": "Always"},
            {"name": "b", "image": "b", "command": ["sleep", "2"]},
        ],
    )
    world.sim.advance(1)
    assert world.container("deep", "c")["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert world.condition("Initialized", "deep") == "False"
    world.sim.advance(4)
    assert world.container("deep", "a")["ready"]
    assert world.container("deep", "s")["state"].keys() == {"running"}
    assert world.ready("deep")
    world.until(lambda: world.phase("deep") == "Succeeded", 10)
    assert world.container("deep", "s")["state"]["terminated"]["exitCode"] == 137
    assert world.condition("Initialized", "deep") == "True"


def test_an_init_container_that_fails_for_good_fails_the_pod(world: World) -> None:
    world.pod("bad", restartPolicy="Never", initContainers=[{"name": "a", "image": "b", "command": ["false"]}])
    world.until(lambda: world.phase("bad") == "Failed", 5)
    assert world.container("bad", "c")["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_a_deadline_fails_the_pod_with_its_reason(world: World) -> None:
    world.pod("late", restartPolicy="Never", activeDeadlineSeconds=3)
    world.until(lambda: world.phase("late") == "Failed", 5)
    status = world.status("late")
    assert (status["reason"], status["message"]) == (
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
    )
    assert world.container("late")["state"]["terminated"]["exitCode"] == 137


def test_a_readiness_probe_decides_when_the_pod_is_ready(world: World) -> None:
    probe = {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 2, "initialDelaySeconds": 1}
    world.pod(
        "web",
        "sh",
        "-c",
        "sleep 6; touch /tmp/ready; sleep 10; rm /tmp/ready; sleep 1000",
        container={"readinessProbe": probe},
    )
    world.sim.advance(4)
    assert (world.phase(), world.ready()) == ("Running", False)
    world.sim.advance(5)
    assert world.ready()
    world.until(lambda: not world.ready(), 20)
    assert "Unhealthy" in world.reasons()
    assert world.container()["restartCount"] == 0


def test_a_liveness_probe_that_fails_restarts_the_container(world: World) -> None:
    probe = {
        "exec": {"command": ["cat", "/tmp/healthy"]},
        "initialDelaySeconds": 5,
        "periodSeconds": 5,
        "failureThreshold": 2,
    }
    world.pod(
        "web",
        "sh",
        "-c",
        "touch /tmp/healthy; sleep 20; rm -f /tmp/healthy; sleep 600",
        container={"livenessProbe": probe},
    )
    world.until(
        lambda: world.container()["restartCount"] == 1 if world.status().get("containerStatuses") else False, 60
    )
    assert "Container c failed liveness probe, will be restarted" in world.messages()
    assert "Liveness probe failed: cat: can't open '/tmp/healthy': No such file or directory\n" in world.messages()


def test_a_startup_probe_holds_back_the_others(world: World) -> None:
    startup = {"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 30}
    world.pod(
        "web",
        "sh",
        "-c",
        "sleep 8; touch /tmp/up; sleep 1000",
        container={
            "startupProbe": startup,
            "livenessProbe": {"exec": {"command": ["cat", "/tmp/up"]}, "failureThreshold": 1},
        },
    )
    world.sim.advance(5)
    assert world.container()["started"] is False
    assert not world.ready()
    world.until(world.ready, 10)
    assert world.container()["restartCount"] == 0


def test_a_pod_that_is_ready_for_ever_costs_no_steps(world: World) -> None:
    world.pod("web", container={"readinessProbe": {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 3}})
    world.until(world.ready, 10)
    pods = [a for a in world.sim.actors.values() if "web" in a.actor_urn]
    before = {a.actor_urn: a.handled for a in pods}
    world.sim.advance(300)
    assert {a.actor_urn: a.handled for a in pods} == before


def test_readiness_gates_wait_for_somebody_elses_condition(world: World) -> None:
    world.pod("gated", readinessGates=[{"conditionType": "example.com/lb"}])
    world.sim.advance(1)
    assert (world.condition("ContainersReady", "gated"), world.condition("Ready", "gated")) == ("True", "False")
    patch = {"status": {"conditions": [{"type": "example.com/lb", "status": "True"}]}}
    world.do(
        world.client.patch(
            "pods", "gated", "default", patch, patch_type="application/strategic-merge-patch+json", subresource="status"
        )
    )
    world.until(lambda: world.ready("gated"), 2)
    assert world.condition("example.com/lb", "gated") == "True"


def test_a_deleted_pod_goes_with_everything_it_had(world: World) -> None:
    world.pod()
    world.until(world.ready, 2)
    world.do(world.client.delete("pods", "web", "default"))
    world.until(lambda: world.get("pods", "web") is None, 2)
    world.sim.run_until_idle()
    assert world.machine.sandboxes == {}
    assert not [a for a in world.sim.actors if "web" in a]


def test_a_deleted_pod_has_its_grace_to_end_in(world: World) -> None:
    world.pod(
        "slow",
        annotations={"kubekka.dev/on-term": "sleep 4; exit 0"},
        restartPolicy="Never",
        finalizers=["example.com/hold"],
    )
    world.until(lambda: world.ready("slow"), 2)
    world.do(world.client.delete("pods", "slow", "default"))
    world.sim.advance(3)
    assert world.phase("slow") == "Running"
    world.until(lambda: world.phase("slow") == "Succeeded", 3)
    assert world.container("slow")["state"]["terminated"]["exitCode"] == 0
    world.do(world.client.patch("pods", "slow", "default", {"metadata": {"finalizers": None}}))
    world.until(lambda: world.get("pods", "slow") is None, 2)


def test_pre_stop_runs_before_the_container_is_stopped(world: World) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 3"]}}}
    world.pod("hooked", container={"lifecycle": hook})
    world.until(lambda: world.ready("hooked"), 2)
    began = world.sim.clock.now()
    world.do(world.client.delete("pods", "hooked", "default"))
    world.until(lambda: world.get("pods", "hooked") is None, 10)
    assert 3 <= world.sim.clock.now() - began < 4


def test_a_pre_stop_hook_cannot_outstay_the_grace(world: World) -> None:
    world.pod(
        "stuck",
        container={"lifecycle": {"preStop": {"exec": {"command": ["sleep", "100"]}}}},
        terminationGracePeriodSeconds=5,
    )
    world.until(lambda: world.ready("stuck"), 2)
    began = world.sim.clock.now()
    world.do(world.client.delete("pods", "stuck", "default"))
    world.until(lambda: world.get("pods", "stuck") is None, 20)
    assert world.sim.clock.now() - began < 9


def test_a_missing_config_map_is_named_and_used_when_it_comes(world: World) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}}]
    world.pod("env", "sh", "-c", "echo $A; sleep 1000", container={"env": env})
    world.sim.advance(2)
    assert world.container("env")["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'configmap "conf" not found',
    }
    world.create("configmaps", "ConfigMap", "conf", data={"a": "hello"})
    world.until(lambda: world.ready("env"), 20)
    assert world.sim.ask(world.kubelet, PodLogs("default", "env", "c")) == b"hello\n"


def test_a_missing_volume_keeps_the_pod_from_starting(world: World) -> None:
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
    mounts = [{"name": "conf", "mountPath": "/conf"}]
    world.pod("vol", "sh", "-c", "cat /conf/a; sleep 1000", container={"volumeMounts": mounts}, volumes=volumes)
    world.sim.advance(2)
    assert world.container("vol")["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert world.condition("PodReadyToStartContainers", "vol") == "False"
    assert 'MountVolume.SetUp failed for volume "conf" : configmap "conf" not found' in world.messages("vol")
    world.create("configmaps", "ConfigMap", "conf", data={"a": "content"})
    world.until(lambda: world.ready("vol"), 20)
    assert world.sim.ask(world.kubelet, PodLogs("default", "vol", "c")) == b"content"


def test_a_service_account_token_is_there_when_it_is_read(world: World) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600, "audience": "me"}}
    world.pod(
        "token",
        "sh",
        "-c",
        "cat /t/token; sleep 1000",
        container={"volumeMounts": [{"name": "t", "mountPath": "/t"}]},
        volumes=[{"name": "t", "projected": {"sources": [source]}}],
    )
    world.until(lambda: world.ready("token"), 5)
    world.sim.advance(1)
    assert world.sim.ask(world.kubelet, PodLogs("default", "token", "c")).count(b".") == 2


def test_logs_of_a_container_that_waits_are_refused_with_its_reason(world: World) -> None:
    world.pod("image", container={"image": "nginx:broken"})
    world.sim.advance(1)
    with pytest.raises(StatusError, match='container "c" in pod "image" is trying and failing to pull image'):
        world.sim.ask(world.kubelet, PodLogs("default", "image", "c"))


def test_the_log_of_the_run_before_can_be_read(world: World) -> None:
    world.pod("twice", "sh", "-c", "echo run; sleep 2; exit 1")
    world.until(
        lambda: world.status("twice").get("containerStatuses") and world.container("twice")["restartCount"] == 1, 10
    )
    assert world.sim.ask(world.kubelet, PodLogs("default", "twice", "c", previous=True)) == b"run\n"


def test_a_kubelet_that_crashes_takes_up_what_runs_without_restarting_it(world: World) -> None:
    world.pod("web", "sh", "-c", "echo once; sleep 1000")
    world.pod("crash", "false")
    world.until(world.ready, 2)
    world.sim.advance(12)
    before, crashes = world.container()["containerID"], world.container("crash")["restartCount"]
    world.sim.crash(world.kubelet)
    world.sim.advance(2)
    assert world.container()["containerID"] == before
    assert world.ready()
    assert world.container("crash")["restartCount"] in (crashes, crashes + 1)
    assert world.sim.ask(world.kubelet, PodLogs("default", "web", "c")) == b"once\n"


def test_containers_that_ended_while_the_kubelet_was_away_are_reported(world: World) -> None:
    world.pod("job", "sh", "-c", "sleep 5; exit 3", restartPolicy="Never")
    world.until(lambda: world.ready("job"), 2)
    world.sim.ask(world.node, StopKubelet())
    world.sim.advance(20)
    assert world.phase("job") == "Running"
    world.sim.ask(world.node, StartKubelet())
    world.until(lambda: world.phase("job") == "Failed", 5)
    assert world.container("job")["state"]["terminated"]["exitCode"] == 3


def test_a_pod_deleted_by_force_while_the_kubelet_was_away_leaves_nothing(world: World) -> None:
    world.pod()
    world.until(world.ready, 2)
    world.sim.ask(world.node, StopKubelet())
    world.do(world.client.delete("pods", "web", "default", grace_period_s=0))
    assert len(world.machine.sandboxes) == 1
    world.sim.ask(world.node, StartKubelet())
    world.until(lambda: not world.machine.sandboxes, 10)


def test_a_condition_that_somebody_overwrote_is_reported_anew(world: World) -> None:
    world.pod()
    world.until(world.ready, 2)
    patch = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    world.do(
        world.client.patch(
            "pods", "web", "default", patch, patch_type="application/strategic-merge-patch+json", subresource="status"
        )
    )
    world.until(world.ready, 2)


def test_a_changed_image_restarts_the_container(world: World) -> None:
    world.pod()
    world.until(world.ready, 2)
    patch = {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}
    world.do(world.client.patch("pods", "web", "default", patch, patch_type="application/strategic-merge-patch+json"))
    world.until(lambda: world.container()["image"].endswith(":2"), 5)
    world.until(world.ready, 5)
    assert world.container()["restartCount"] == 1
    assert "Container c definition changed, will be restarted" in world.messages()


def test_the_lease_is_renewed_and_the_node_reported_ready(world: World) -> None:
    world.sim.advance(12)
    lease = world.get("leases", "node-0", "kube-node-lease")
    first = lease["spec"]["renewTime"]
    world.sim.advance(10)
    later = world.get("leases", "node-0", "kube-node-lease")
    assert later["spec"]["renewTime"] > first
    assert lease["metadata"]["ownerReferences"][0]["kind"] == "Node"
    node = world.get("nodes", "node-0", "")
    assert [c["status"] for c in node["status"]["conditions"]] == ["False", "False", "False", "True"]


def test_a_node_that_was_cut_off_reports_its_status_as_soon_as_it_can(world: World) -> None:
    world.sim.advance(15)
    world.sim.partition("node-0", "control")
    world.sim.advance(60)
    before = world.get("nodes", "node-0", "")["status"]["conditions"][3]["lastHeartbeatTime"]
    world.sim.heal()
    world.until(lambda: world.get("nodes", "node-0", "")["status"]["conditions"][3]["lastHeartbeatTime"] > before, 60)


def conflicts(*verbs: str) -> tuple[ApiFault, ...]:
    return (ApiFault(409, verbs=verbs, resources=("pods",), users=("system:*",)),)


def test_a_deletion_that_meets_a_conflict_is_tried_again(world: World) -> None:
    """A conflict is not always another pod of the name."""
    world.pod()
    world.until(world.ready, 2)
    world.sim.world[API] = conflicts("delete")
    world.do(world.client.delete("pods", "web", "default"))
    world.sim.advance(40.0)
    assert world.get("pods", "web") is not None
    del world.sim.world[API]
    world.until(lambda: world.get("pods", "web") is None, 20)


def test_a_status_that_meets_conflicts_is_told_in_the_end(world: World) -> None:
    world.pod("web", "sleep", "5", restartPolicy="Never")
    world.until(world.ready, 2)
    world.sim.world[API] = conflicts("update", "patch")
    world.sim.advance(20.0)
    assert world.phase() == "Running"
    del world.sim.world[API]
    world.until(lambda: world.phase() == "Succeeded", 20)


def test_pods_run_on_while_the_api_is_away_and_are_reported_after(world: World) -> None:
    world.pod("crash", "sh", "-c", "sleep 5; exit 2")
    world.until(lambda: world.ready("crash"), 2)
    world.sim.partition("node-0", "control")
    world.sim.advance(8)
    running = [c for c in world.machine.containers.values() if c.state == CONTAINER_RUNNING]
    assert [c.config.attempt for c in running] == [1]
    world.sim.heal()
    world.until(lambda: world.container("crash")["restartCount"] >= 1, 60)


def test_a_pod_that_does_not_fit_is_refused(make_world: Callable[..., World]) -> None:
    world = make_world(capacity={"cpu": "1", "memory": "1Gi", "pods": "10"})
    world.pod("big", container={"resources": {"requests": {"cpu": "2"}}})
    world.until(lambda: world.phase("big") == "Failed", 5)
    assert world.status("big")["reason"] == "OutOfcpu"


def test_the_kubelets_own_api_answers(world: World) -> None:
    world.pod(container={"resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}})
    world.until(world.ready, 2)
    world.sim.advance(10)
    assert world.sim.ask(world.kubelet, NodeGet("/healthz")).body == b"ok"
    assert b'"nodeName":"node-0"' in world.sim.ask(world.kubelet, NodeGet("/stats/summary")).body
    metrics = world.sim.ask(world.kubelet, NodeGet("/metrics/resource")).body.decode()
    assert 'container_cpu_usage_seconds_total{container="c",namespace="default",pod="web"}' in metrics
    assert world.sim.ask(world.kubelet, NodeGet("/nope")).status == 404
    groups = world.sim.ask(world.kubelet, PodCgroups("default", "web"))
    assert [g["v1"]["cpu.shares"] for g in groups.values()] == ["512", "512"]


def test_an_ephemeral_container_runs_beside_the_others_and_ends_alone(world: World) -> None:
    world.pod()
    world.until(world.ready, 2)
    patch = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", "command": ["sleep", "5"]}]}}
    world.do(
        world.client.patch(
            "pods",
            "web",
            "default",
            patch,
            patch_type="application/strategic-merge-patch+json",
            subresource="ephemeralcontainers",
        )
    )
    world.until(lambda: bool(world.status().get("ephemeralContainerStatuses")), 5)
    world.until(lambda: "terminated" in world.status()["ephemeralContainerStatuses"][0]["state"], 10)
    assert world.ready()


def test_a_pod_is_judged_by_the_labels_that_the_node_has_now(world: World) -> None:
    world.do(world.client.patch("nodes", "node-0", "", {"metadata": {"labels": {"zone": "a"}}}))
    world.pod("here", nodeSelector={"zone": "a"})
    world.pod("elsewhere", nodeSelector={"zone": "b"})
    world.until(lambda: world.ready("here"), 2)
    world.until(lambda: world.phase("elsewhere") == "Failed", 2)
    assert world.status("elsewhere")["reason"] == "NodeAffinity"


def test_a_node_out_of_memory_evicts_who_exceeds_its_request_most(make_world: Callable[..., World]) -> None:
    world = make_world(capacity={"cpu": "4", "memory": "1Gi", "pods": "10"}, pressure_transition_s=60.0)
    greedy = {"kubekka.dev/usage-memory": "64Mi,30s=900Mi"}
    world.pod(
        "modest",
        annotations={"kubekka.dev/usage-memory": "100Mi"},
        container={"resources": {"requests": {"memory": "200Mi"}}},
    )
    world.pod("greedy", annotations=greedy)
    world.until(lambda: world.ready("modest") and world.ready("greedy"), 5)
    world.until(lambda: world.phase("greedy") == "Failed", 60)
    status = world.status("greedy")
    assert status["reason"] == "Evicted"
    assert status["message"].startswith(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 24Mi. Container c was using 900Mi, request is 0"
    )
    assert world.condition("DisruptionTarget", "greedy") == "True"
    assert world.ready("modest")

    def pressure() -> str:
        return next(
            str(c["status"])
            for c in world.get("nodes", "node-0", "")["status"]["conditions"]
            if c["type"] == "MemoryPressure"
        )

    assert pressure() == "True"
    world.until(lambda: pressure() == "False", 120, 5)
    assert world.phase("modest") == "Running"
