"""The HorizontalPodAutoscaler controller, with a metrics API of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.controllers import ControllerManager, Options
from actors.controllers._hpamath import (
    Change,
    Groups,
    MetricError,
    Sample,
    Tolerances,
    limit_by_policies,
    limit_by_rules,
    utilization_replicas,
)
from actors.kernel import Actor, Child, Ref, handles, rfc3339
from protocol.api import ApiRequest, CancelWatch, Hold

Object = dict[str, Any]


class MetricsFront(Actor):
    """Stands before the API server and answers for metrics.k8s.io itself."""

    def __init__(self, api: Ref, usage: Callable[[str], str]) -> None:
        super().__init__()
        self.api = api
        self.usage = usage

    @handles(ApiRequest)
    async def request(self, message: ApiRequest) -> Any:
        if message.resource.group != "metrics.k8s.io":
            return await self.ask(self.api, message)
        listed = ApiRequest("list", type(message.resource)("", "v1", "pods"), message.namespace, options=message.options)
        pods = await self.ask(self.api, listed)
        now = rfc3339(self.clock.now())
        items = [
            {
                "metadata": {"name": p["metadata"]["name"]},
                "timestamp": now,
                "window": "15s",
                "containers": [{"name": "c", "usage": {"cpu": self.usage(p["metadata"]["name"])}}],
            }
            for p in pods["items"]
            if (p.get("status") or {}).get("phase") == "Running"
        ]
        return {"kind": "PodMetricsList", "items": items}

    @handles(Hold)
    async def hold(self, message: Hold) -> Any:
        return await self.ask(self.api, message)

    @handles(CancelWatch)
    def cancel(self, message: CancelWatch) -> None:
        self.api.tell(message)


def hpa(**spec: Any) -> Object:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            **spec,
        },
    }


def conditions(world: Any) -> dict[str, tuple[str, str]]:
    found = (world.get("hpa", "web").get("status") or {}).get("conditions") or ()
    return {c["type"]: (c["status"], c["reason"]) for c in found}


class Load:
    """CPU that each pod uses, in millicores."""

    def __init__(self, milli: int) -> None:
        self.milli = milli


@pytest.fixture
def scaled(running: Any, workload: Any) -> Callable[..., tuple[Any, Load]]:
    """A Deployment of two pods that request 100m, and an autoscaler; `load` sets what pods use."""

    def make(load: int, replicas: int = 2, **spec: Any) -> tuple[Any, Load]:
        world = running("deployment-controller,replicaset-controller")
        state = Load(load)
        usage = lambda _: f"{state.milli}m"  # noqa: E731
        front = world.sim.spawn(Child("front", lambda: MetricsFront(world.api, usage)), host="front")
        options = Options(
            controllers="horizontal-pod-autoscaler-controller",
            horizontal_pod_autoscaler_cpu_initialization_period=0.0,
            horizontal_pod_autoscaler_downscale_stabilization=60.0,
        )
        world.sim.spawn(Child("autoscaler", lambda: ControllerManager(front, options)), host="hpa")
        deployment = workload("Deployment", "web", replicas)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "100m"}}
        world.create("deployments", deployment)
        world.create("hpa", hpa(**spec))
        return world, state

    return make


def wanted(world: Any) -> int:
    return int(world.get("deployments", "web")["spec"]["replicas"])


def test_more_load_makes_more_pods(scaled: Any) -> None:
    world, _ = scaled(100)
    world.eventually(lambda: wanted(world) == 4, timeout_s=40)
    status = world.get("hpa", "web")["status"]
    assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 4)
    assert status["currentMetrics"][0]["resource"]["current"] == {
        "averageUtilization": 100,
        "averageValue": "100m",
    }
    assert conditions(world) == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    assert world.events("SuccessfulRescale") == [
        "Normal SuccessfulRescale HorizontalPodAutoscaler/web: New size: 4; reason: cpu resource"
        " utilization (percentage of request) above target"
    ]


def test_the_maximum_holds(scaled: Any) -> None:
    world, _ = scaled(1000, maxReplicas=5)
    world.eventually(lambda: wanted(world) == 5, timeout_s=60)
    world.sim.advance(30)
    assert wanted(world) == 5
    assert conditions(world)["ScalingLimited"] == ("True", "TooManyReplicas")


def test_less_load_takes_pods_away_only_after_the_stabilization_window(scaled: Any) -> None:
    world, load = scaled(50, replicas=4)
    world.sim.advance(40)
    assert wanted(world) == 4
    load.milli = 10
    world.sim.advance(30)
    assert wanted(world) == 4
    assert conditions(world)["AbleToScale"] == ("True", "ScaleDownStabilized")
    world.eventually(lambda: wanted(world) == 1, timeout_s=90)


def test_within_the_tolerance_nothing_happens(scaled: Any) -> None:
    world, _ = scaled(54)
    world.sim.advance(60)
    assert wanted(world) == 2
    assert world.events("SuccessfulRescale") == []


def test_a_policy_limits_the_rate(scaled: Any) -> None:
    policies = [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    world, _ = scaled(1000, behavior={"scaleUp": {"policies": policies, "stabilizationWindowSeconds": 0}})
    world.eventually(lambda: wanted(world) == 3, timeout_s=40)
    world.sim.advance(35)
    assert wanted(world) == 3
    assert conditions(world)["ScalingLimited"] == ("True", "ScaleUpLimit")
    world.eventually(lambda: wanted(world) == 4, timeout_s=40)


def test_a_target_at_zero_is_left_alone(scaled: Any) -> None:
    world, _ = scaled(100, replicas=0)
    world.sim.advance(40)
    assert wanted(world) == 0
    assert conditions(world)["ScalingActive"] == ("False", "ScalingDisabled")


def test_without_a_metrics_api_it_says_so(running: Any, workload: Any) -> None:
    world = running("horizontal-pod-autoscaler-controller,deployment-controller,replicaset-controller")
    world.create("deployments", workload("Deployment", "web", 2))
    world.create("hpa", hpa())
    world.eventually(lambda: conditions(world).get("ScalingActive") == ("False", "FailedGetResourceMetric"))
    assert world.events("FailedGetResourceMetric") == [
        "Warning FailedGetResourceMetric HorizontalPodAutoscaler/web: failed to get cpu utilization: unable to get"
        " metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find"
        " the requested resource (get pods.metrics.k8s.io)"
    ]


def test_a_target_that_is_not_there_is_reported(running: Any) -> None:
    world = running("horizontal-pod-autoscaler-controller")
    world.create("hpa", hpa())
    world.eventually(lambda: conditions(world) == {"AbleToScale": ("False", "FailedGetScale")})
    assert world.events("FailedGetScale")


def samples(*values: int) -> dict[str, Sample]:
    return {f"p{i}": Sample(v, 0.0, 0.0) for i, v in enumerate(values)}


def test_pods_without_metrics_make_the_change_smaller() -> None:
    requests = {f"p{i}": 100 for i in range(4)}
    none = Groups(2, [], [], [])
    missing = Groups(2, [], ["p2", "p3"], [])
    tolerances = Tolerances()
    up = utilization_replicas(4, 50, samples(100, 100), requests, none, tolerances)
    assert up == (4, 100, 100)
    assert utilization_replicas(4, 50, samples(200, 200), requests, missing, tolerances)[0] == 8
    assert utilization_replicas(4, 50, samples(10, 10), requests, missing, tolerances)[0] == 4
    unready = Groups(1, ["p1"], [], [])
    assert utilization_replicas(2, 50, samples(150, 500), requests, unready, tolerances)[0] == 3
    with pytest.raises(MetricError, match="did not receive metrics"):
        utilization_replicas(2, 50, {}, requests, none, tolerances)


def test_without_behaviour_it_at_most_doubles() -> None:
    assert limit_by_rules(3, 20, 1, 100) == (6, ("ScaleUpLimit", limit_by_rules(3, 20, 1, 100)[1][1]))
    assert limit_by_rules(1, 20, 1, 100)[0] == 4
    assert limit_by_rules(5, 0, 2, 10)[0] == 2


def test_policies_look_at_what_was_changed_within_their_period() -> None:
    rules = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]}
    behavior = {"scaleDown": rules, "scaleUp": rules}
    assert limit_by_policies(10, 1, 1, 20, behavior, [], [], 100.0)[0] == 5
    assert limit_by_policies(10, 1, 1, 20, behavior, [], [Change(90.0, 2)], 100.0)[0] == 6
    assert limit_by_policies(10, 1, 1, 20, behavior, [], [Change(10.0, 2)], 100.0)[0] == 5
    assert limit_by_policies(10, 20, 1, 20, behavior, [], [], 100.0)[0] == 15
    disabled = {"scaleDown": {"selectPolicy": "Disabled"}}
    assert limit_by_policies(10, 1, 1, 20, disabled, [], [], 100.0)[0] == 10


def test_two_autoscalers_of_the_same_pods_do_nothing(scaled: Any) -> None:
    world, _ = scaled(100, replicas=2)
    other = hpa()
    other["metadata"]["name"] = "rival"
    world.create("hpa", other)
    world.sim.advance(70)
    assert conditions(world)["ScalingActive"] == ("False", "AmbiguousSelector")
    assert any("[default/rival default/web]" in e for e in world.events("AmbiguousSelector"))
