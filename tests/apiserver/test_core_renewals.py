"""A Lease that only gets a new time is written on a short way, with the same outcome as on the long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.apiserver import _renewal

Object = dict[str, Any]


@pytest.fixture
def hits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each update of a Lease took the short way."""
    found: list[bool] = []
    renew = _renewal.renew

    async def watched(core: Any, request: Any) -> Any:
        answer = await renew(core, request)
        found.append(answer is not None)
        return answer

    monkeypatch.setattr("actors.apiserver._write.renew", watched)
    return found


def lease(api: Any, **spec: Any) -> Object:
    body = {
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z", **spec},
    }
    return api.create("leases.coordination.k8s.io", "default", body)  # type: ignore[no-any-return]


def put(api: Any, old: Object, **spec: Any) -> Object:
    body = {**old, "spec": {**old["spec"], **spec}}
    return api.ask("update", "leases.coordination.k8s.io", "default", "l", body=body)  # type: ignore[no-any-return]


def test_both_ways_lead_to_the_same_lease(api: Any, hits: list[bool]) -> None:
    made = lease(api)
    api.sim.advance(10)
    later = "2026-01-01T00:00:10.000000Z"
    short = put(api, made, renewTime=later)
    again = put(api, json.loads(json.dumps(short)), renewTime="2026-01-01T00:00:10.000001Z")
    assert hits == [True, False]
    assert short["spec"]["renewTime"] == later
    assert short["metadata"]["managedFields"] == again["metadata"]["managedFields"]
    assert short["metadata"]["managedFields"][0]["time"] == "2026-01-01T00:00:10Z"
    assert api.get("leases.coordination.k8s.io", "default", "l") == again


def test_a_renewal_of_an_old_version_conflicts(api: Any, hits: list[bool], refused: Any) -> None:
    made = lease(api)
    put(api, made, renewTime="2026-01-01T00:00:10.000000Z")
    assert refused(put, api, made, renewTime="2026-01-01T00:00:20.000000Z").code == 409
    assert hits == [True, False]


@pytest.mark.parametrize("change", [{"holderIdentity": "b"}, {"leaseDurationSeconds": 0}, {"renewTime": "soon"}])
def test_any_other_change_goes_the_whole_way(api: Any, hits: list[bool], change: Object) -> None:
    made = lease(api)
    try:
        put(api, made, **change)
    except Exception as error:
        assert "renewTime" not in change or "soon" in str(error)  # noqa: PT017
    assert hits == [False]


def test_a_lease_of_two_owners_goes_the_whole_way(api: Any, hits: list[bool]) -> None:
    made = lease(api)
    api.merge("leases.coordination.k8s.io", "default", "l", {"spec": {"leaseTransitions": 1}}, fieldManager="other")
    made = api.get("leases.coordination.k8s.io", "default", "l")
    put(api, made, renewTime="2026-01-01T00:00:10.000000Z")
    assert hits == [False]
