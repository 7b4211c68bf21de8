"""Minor versions: what one has not yet, or has switched off, and what its tables show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.strategies import strategy_for
from actors.apiserver.strategies._gates import _SINCE, drop_switched_off
from protocol import kinds

Object = dict[str, Any]


def pod(**spec: Any) -> Object:
    container = {"name": "a", "image": "b", **spec.pop("container", {})}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], **spec}}


def created(make_api: Callable[..., Any], minor: int, body: Object) -> Object:
    api = make_api(minor=minor)
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    spec: Object = api.create("pods", "default", body)["spec"]
    return spec


@pytest.mark.parametrize(("minor", "kept"), [(34, False), (35, True)])
def test_a_host_name_of_its_own_comes_with_1_35(make_api: Callable[..., Any], minor: int, kept: bool) -> None:
    spec = created(make_api, minor, pod(hostnameOverride="other"))
    assert ("hostnameOverride" in spec) is kept


@pytest.mark.parametrize(("minor", "kept"), [(33, False), (34, True)])
def test_resources_of_the_whole_pod_come_with_1_34(make_api: Callable[..., Any], minor: int, kept: bool) -> None:
    spec = created(make_api, minor, pod(resources={"requests": {"cpu": "1"}}))
    assert ("resources" in spec) is kept


@pytest.mark.parametrize("minor", [33, 36])
def test_a_stop_signal_is_dropped_as_its_gate_is_off(make_api: Callable[..., Any], minor: int) -> None:
    spec = created(make_api, minor, pod(os={"name": "linux"}, container={"lifecycle": {"stopSignal": "SIGTERM"}}))
    assert "lifecycle" not in spec["containers"][0]


def test_the_rest_of_a_life_cycle_stays(make_api: Callable[..., Any]) -> None:
    hooks = {"preStop": {"sleep": {"seconds": 1}}}
    spec = created(make_api, 36, pod(container={"lifecycle": {**hooks, "stopSignal": "SIGTERM"}}))
    assert spec["containers"][0]["lifecycle"] == hooks


def test_templates_lose_what_is_off_too(make_api: Callable[..., Any]) -> None:
    api = make_api(minor=34)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(hostnameOverride="other")["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = api.create("deployments.apps", "default", {"metadata": {"name": "d"}, "spec": spec})
    assert "hostnameOverride" not in made["spec"]["template"]["spec"]


@pytest.mark.parametrize(("minor", "names"), [(34, ["Name", "Secrets", "Age"]), (36, ["Name", "Age"])])
def test_service_accounts_count_their_secrets_until_1_34(minor: int, names: list[str]) -> None:
    kind = kinds.by_kind("", "v1", "ServiceAccount", minor)
    assert kind is not None
    strategy = strategy_for(kind, minor)
    assert [column.name for column in strategy.columns()] == names
    row = strategy.row({"metadata": {"name": "a"}, "secrets": [{"name": "x"}]}, 0.0)
    assert row[:-1] == (["a", 1] if minor < 35 else ["a"])


CLASSED = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeAttributesClassName": "gold"}
SCALER = {
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 2, "behavior": {"scaleUp": {"tolerance": "0.1"}},
}  # fmt: skip
MANAGED = {"managedBy": "example.com/mine", "template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}}}


@pytest.mark.parametrize(
    ("resource", "spec", "path", "since"),
    [
        ("persistentvolumeclaims", CLASSED, ("volumeAttributesClassName",), 34),
        ("horizontalpodautoscalers.v2.autoscaling", SCALER, ("behavior", "scaleUp", "tolerance"), 35),
        ("jobs.batch", MANAGED, ("managedBy",), 32),
        ("leases.coordination.k8s.io", {"leaseDurationSeconds": 5, "preferredHolder": "a"}, ("preferredHolder",), 99),
    ],
)
@pytest.mark.parametrize("minor", [31, 33, 34, 35, 36])
def test_a_field_whose_gate_is_off_is_dropped(
    make_api: Callable[..., Any], resource: str, spec: Object, path: tuple[str, ...], since: int, minor: int
) -> None:
    made = make_api(minor=minor).create(resource, "default", {"metadata": {"name": "x"}, "spec": spec})["spec"]
    for name in path[:-1]:
        made = made.get(name) or {}
    assert (path[-1] in made) is (minor >= since)


def test_what_an_object_used_before_its_gate_was_off_may_stay() -> None:
    new, old = ({"spec": {"strategy": name}} for name in ("b", "a"))
    drop_switched_off("coordination.k8s.io", "leases", new, old, 36)
    assert new == {"spec": {"strategy": "b"}}
    drop_switched_off("coordination.k8s.io", "leases", new, {"spec": {}}, 36)
    assert new == {"spec": {}}


@given(st.sampled_from(sorted(_SINCE)), st.integers(31, 37))
def test_dropping_is_settled_by_doing_it_once(place: tuple[str, str], minor: int) -> None:
    def filled(path: tuple[str, ...]) -> Any:
        inner = filled(path[1:]) if len(path) > 1 else "x"
        return [inner] if path[0] == "*" else {path[0]: inner}

    for path in _SINCE[place]:
        obj = filled(path)
        drop_switched_off(*place, obj, None, minor)
        assert ("'x'" in repr(obj)) is (minor >= _SINCE[place][path])
        once = repr(obj)
        drop_switched_off(*place, obj, None, minor)
        assert repr(obj) == once


@pytest.mark.parametrize(("minor", "kept"), [(36, False), (37, True)])
def test_trust_bundles_are_projected_from_1_37_on(make_api: Callable[..., Any], minor: int, kept: bool) -> None:
    source = {"clusterTrustBundle": {"name": "a", "path": "ca.pem"}}
    spec = created(make_api, minor, pod(volumes=[{"name": "v", "projected": {"sources": [source]}}]))
    assert ("clusterTrustBundle" in spec["volumes"][0]["projected"]["sources"][0]) is kept
