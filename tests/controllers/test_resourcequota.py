"""What a quota's status says is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.controllers._quotausage import in_scopes, usage_of

Object = dict[str, Any]


def pod(name: str = "p", requests: Object | None = None, limits: Object | None = None, **spec: Any) -> Object:
    resources = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    container = {"name": "c", "image": "i", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def amounts(obj: Object, resource: str = "pods", group: str = "") -> dict[str, str]:
    used = usage_of(resource, group, obj, 0.0, lambda text: 0.0)
    return {name: used.text(name) for name in sorted(used.sums)}


def test_init_containers_count_where_they_need_more_than_the_others_together() -> None:
    spec = pod(requests={"cpu": "100m", "memory": "1Gi"})
    spec["spec"]["initContainers"] = [
        {"name": "sidecar", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        {"name": "big", "resources": {"requests": {"cpu": "2", "memory": "10Mi"}}},
    ]
    used = amounts(spec)
    assert used["requests.cpu"] == "2050m"
    assert used["requests.memory"] == "1Gi"
    assert used["pods"] == used["count/pods"] == "1"


def test_overhead_is_added() -> None:
    used = amounts(pod(requests={"cpu": "100m"}, overhead={"cpu": "50m", "memory": "16Mi"}))
    assert (used["cpu"], used["requests.memory"]) == ("150m", "16Mi")


def test_a_finished_pod_counts_as_an_object_only() -> None:
    assert amounts({**pod(requests={"cpu": "1"}), "status": {"phase": "Succeeded"}}) == {"count/pods": "1"}


@pytest.mark.parametrize(
    ("spec", "used"),
    [
        ({"type": "NodePort", "ports": [{}, {}]}, {"services.nodeports": "2"}),
        ({"type": "LoadBalancer", "ports": [{}]}, {"services.loadbalancers": "1", "services.nodeports": "1"}),
        (
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{}]},
            {"services.loadbalancers": "1", "services.nodeports": "0"},
        ),
        ({"ports": [{}]}, {}),
    ],
)
def test_services_count_by_type(spec: Object, used: dict[str, str]) -> None:
    found = amounts({"metadata": {"name": "s"}, "spec": spec}, "services")
    assert found == {"services": "1", "count/services": "1", **used}


def test_claims_count_for_their_class_too() -> None:
    spec = {"storageClassName": "gold", "resources": {"requests": {"storage": "5Gi"}}}
    found = amounts({"metadata": {"name": "c"}, "spec": spec}, "persistentvolumeclaims")
    assert found["requests.storage"] == "5Gi"
    assert found["gold.storageclass.storage.k8s.io/requests.storage"] == "5Gi"
    assert found["gold.storageclass.storage.k8s.io/persistentvolumeclaims"] == "1"


@pytest.mark.parametrize(
    ("scope", "spec", "matches"),
    [
        ("Terminating", {"activeDeadlineSeconds": 5}, True),
        ("NotTerminating", {"activeDeadlineSeconds": 5}, False),
        ("BestEffort", {}, True),
        ("NotBestEffort", {}, False),
        ("PriorityClass", {"priorityClassName": "high"}, True),
        ("PriorityClass", {}, False),
    ],
)
def test_scopes_choose_pods(scope: str, spec: Object, matches: bool) -> None:
    assert in_scopes("pods", pod(**spec), {"spec": {"scopes": [scope]}}) is matches


@pytest.fixture
def quotas(plane: Callable[..., Any]) -> Any:
    return plane("resourcequota-controller")


def used(plane: Any) -> dict[str, str]:
    found: dict[str, str] = plane.get("resourcequotas", "q")["status"].get("used", {})
    return found


def test_used_follows_objects_that_come_and_go(quotas: Any) -> None:
    hard = {"pods": "10", "requests.cpu": "4", "count/deployments.apps": "2", "configmaps": "9"}
    quotas.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    quotas.sim.advance(1.0)
    assert used(quotas) == {"pods": "0", "requests.cpu": "0", "count/deployments.apps": "0", "configmaps": "0"}
    assert quotas.get("resourcequotas", "q")["status"]["hard"] == hard
    for name in ("a", "b"):
        quotas.create("pods", pod(name, requests={"cpu": "250m"}))
    quotas.create("configmaps", {"metadata": {"name": "c"}})
    quotas.sim.advance(2.0)
    assert used(quotas) == {"pods": "2", "requests.cpu": "500m", "count/deployments.apps": "0", "configmaps": "1"}
    quotas.delete("pods", "a", grace_period_s=0)
    quotas.sim.advance(2.0)
    assert used(quotas)["requests.cpu"] == "250m"
    quotas.set_status("pods", "b", {"phase": "Succeeded"})
    quotas.sim.advance(2.0)
    assert used(quotas)["pods"] == "0"


def test_a_changed_quota_is_counted_anew(quotas: Any) -> None:
    quotas.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
    quotas.create("secrets", {"metadata": {"name": "s"}})
    quotas.sim.advance(1.0)
    quotas.patch("resourcequotas", "q", {"spec": {"hard": {"pods": None, "secrets": "5"}}})
    quotas.sim.advance(1.0)
    assert used(quotas) == {"secrets": "1"}
