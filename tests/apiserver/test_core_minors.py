"""Minor versions: what one has not yet, or has switched off, and what its tables show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver.strategies import strategy_for
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
