"""ResourceQuota: what counts for what, and under which scopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver.admission._quota_devices import claim_usage
from actors.apiserver.admission._quota_usage import matches_scopes, quality, usage

Object = dict[str, Any]


def quota(api: Any, hard: Object, **spec: Any) -> None:
    api.create("resourcequotas", "default", {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}})
    made = api.get("resourcequotas", "default", "q")
    used = dict.fromkeys(hard, "0")
    api.ask("update", "resourcequotas", "default", "q", sub="status", body={**made, "status": {"hard": hard, "used": used}})


def used(api: Any) -> Object:
    found: Object = api.get("resourcequotas", "default", "q")["status"]["used"]
    return found


def claim(*requests: Object) -> Object:
    return {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [{"name": "r", **r} for r in requests]}}}


@pytest.mark.parametrize(
    ("requests", "counts"),
    [
        ([{"exactly": {"deviceClassName": "gpu"}}], {"gpu": "1"}),
        ([{"exactly": {"deviceClassName": "gpu", "count": 3}}, {"exactly": {"deviceClassName": "gpu"}}], {"gpu": "4"}),
        ([{"exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}], {"gpu": "32"}),
        ([{"firstAvailable": [{"deviceClassName": "a", "count": 2}, {"deviceClassName": "b"}, {"deviceClassName": "a"}]}],
         {"a": "2", "b": "1"}),
    ],
)  # fmt: skip
def test_devices_count_by_their_class(requests: list[Object], counts: dict[str, str]) -> None:
    assert claim_usage(claim(*requests)) == {f"{k}.deviceclass.resource.k8s.io/devices": v for k, v in counts.items()}


def test_a_claim_for_devices_is_refused_beyond_the_quota(api: Any, refused: Any) -> None:
    name = "gpu.deviceclass.resource.k8s.io/devices"
    quota(api, {name: "2", "count/resourceclaims.resource.k8s.io": "5"})
    api.create("resourceclaims.resource.k8s.io", "default", claim({"exactly": {"deviceClassName": "gpu", "count": 2}}))
    assert used(api) == {name: "2", "count/resourceclaims.resource.k8s.io": "1"}
    more = {**claim({"exactly": {"deviceClassName": "gpu"}}), "metadata": {"name": "d"}}
    error = refused(api.create, "resourceclaims.resource.k8s.io", "default", more)
    assert error.message.endswith(f"exceeded quota: q, requested: {name}=1, used: {name}=2, limited: {name}=2")


@pytest.mark.parametrize(
    ("terms", "claims"),
    [
        ([("Exists", [])], {"wants": True, "has": True, "none": False}),
        ([("In", ["gold"])], {"wants": True, "has": False, "none": False}),
        ([("NotIn", ["gold"])], {"wants": False, "has": True, "none": True}),
    ],
)
def test_claims_fall_under_their_volume_attributes_classes(terms: Any, claims: dict[str, bool]) -> None:
    objects = {
        "wants": {"spec": {"volumeAttributesClassName": "gold"}},
        "has": {"spec": {}, "status": {"currentVolumeAttributesClassName": "silver"}},
        "none": {"spec": {}},
    }
    expressions = [{"scopeName": "VolumeAttributesClass", "operator": o, "values": v} for o, v in terms]
    spec = {"scopeSelector": {"matchExpressions": expressions}}
    found = {name: matches_scopes(spec, "", "persistentvolumeclaims", obj) for name, obj in objects.items()}
    assert found == claims


def test_an_expansion_that_is_taken_back_still_counts() -> None:
    spec = {"resources": {"requests": {"storage": "1Gi"}}}
    found = {"metadata": {}, "spec": spec, "status": {"allocatedResources": {"storage": "2Gi"}}}
    assert usage("", "persistentvolumeclaims", found)["requests.storage"] == "2Gi"


def test_a_pod_that_asks_for_something_as_a_whole_is_no_best_effort_pod() -> None:
    assert quality({"containers": [{"name": "c"}], "resources": {"limits": {"cpu": "1"}}}) == "Burstable"
    assert quality({"containers": [{"name": "c", "resources": {"limits": {"cpu": "0m"}}}]}) == "BestEffort"


def test_a_quota_that_has_not_counted_yet_names_all_that_it_bounds(api: Any, refused: Any) -> None:
    hard = {"services": "1", "services.nodeports": "1", "configmaps": "1"}
    quota(api, hard)
    made = api.get("resourcequotas", "default", "q")
    state = {"hard": hard, "used": {"services": "0"}}
    api.ask("update", "resourcequotas", "default", "q", sub="status", body={**made, "status": state})
    error = refused(api.create, "services", "default", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert error.message.endswith("status unknown for quota: q, resources: services,services.nodeports")


def limited(**more: Any) -> Object:
    return {"ResourceQuota": {"limitedResources": [{"resource": "pods", **more}]}}


def pod(name: str = "p", **spec: Any) -> Object:
    containers = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def test_what_is_limited_needs_a_quota(make_api: Callable[..., Any], refused: Any) -> None:
    api = make_api(admission_configuration=limited(matchContains=["requests.cpu"]))
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    error = refused(api.create, "pods", "default", pod())
    assert error.message == 'pods "p" is forbidden: insufficient quota to consume: requests.cpu'
    quota(api, {"requests.cpu": "4"})
    assert api.create("pods", "default", pod())


def test_a_limited_scope_needs_a_quota_for_it(make_api: Callable[..., Any], refused: Any) -> None:
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}
    api = make_api(admission_configuration=limited(matchScopes=[term]))
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    assert api.create("pods", "default", pod("plain"))
    critical = pod(priorityClassName="system-node-critical")
    assert refused(api.create, "pods", "default", critical).message.endswith(
        "insufficient quota to match these scopes: [{PriorityClass In [system-node-critical]}]"
    )
    quota(api, {"pods": "4"}, scopeSelector={"matchExpressions": [term]})
    assert api.create("pods", "default", critical)
