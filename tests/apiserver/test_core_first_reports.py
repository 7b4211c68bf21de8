"""The first status of a pod, written as its twin's was: nobody can tell the difference."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from actors.apiserver import _firstreport as firstreport

Object = dict[str, Any]
TIME = "2026-01-01T00:00:0{}Z"


def report(pod: Object, number: int, ip: str = "", **more: Any) -> Object:
    """What a kubelet says of a pod that has come up."""
    address = ip or f"10.244.0.{number}"
    status = {
        **pod["status"],
        "phase": "Running",
        "conditions": [
            *pod["status"]["conditions"],
            {"type": "Ready", "status": "True", "lastTransitionTime": TIME.format(number % 10)},
        ],
        "hostIP": "172.18.0.2",
        "hostIPs": [{"ip": "172.18.0.2"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": TIME.format(number % 10),
        "containerStatuses": [
            {
                "name": "c",
                "ready": True,
                "restartCount": 0,
                "image": "nginx:latest",
                "imageID": "nginx@sha256:" + "a" * 64,
                "containerID": f"containerd://{number:064x}",
                "state": {"running": {"startedAt": TIME.format(number % 10)}},
            }
        ],
        **more,
    }
    return {**pod, "status": status}


def bound(api: Any, name: str) -> Object:
    """A pod that has a node and no status but that."""
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    api.create("pods", "default", body)
    target = {"target": {"kind": "Node", "name": "n"}}
    api.ask("create", "pods", "default", name, body=target, sub="binding")
    return api.get("pods", "default", name)  # type: ignore[no-any-return]


def said(api: Any, pod: Object) -> Object:
    return api.ask("update", "pods", "default", pod["metadata"]["name"], body=pod, sub="status")  # type: ignore[no-any-return]


def alike(pod: Object, number: int) -> str:
    """A stored pod as text, without what is its own."""
    text = re.sub(rf"10\.244\.0\.{number}\b", "IP", json.dumps(pod, sort_keys=True)).replace(f"{number:064x}", "ID")
    text = re.sub(r"kube-api-access-\w{5}", "TOKEN", text)
    text = text.replace(pod["metadata"]["name"], "NAME").replace(pod["metadata"]["uid"], "UID")
    return re.sub(r'"resourceVersion": "\d+"', "", text).replace(TIME.format(number % 10), "T")


@pytest.fixture
def hits(api: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of pods whose report was written as a twin's; nothing is known at first."""
    monkeypatch.setattr(firstreport, "_reports", firstreport.Memo())
    found: list[str] = []
    write = firstreport.write

    async def watched(core: Any, request: Any, its: Any) -> Any:
        answer = await write(core, request, its)
        if answer is not None:
            found.append(request.name)
        return answer

    monkeypatch.setattr(firstreport, "write", watched)
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    return found


def test_a_twins_report_is_stored_and_owned_as_the_first_was(api: Any, hits: list[str]) -> None:
    stored = {n: said(api, report(bound(api, f"p{n}"), n)) for n in (2, 3, 4)}
    assert hits == ["p3", "p4"]
    assert alike(stored[2], 2) == alike(stored[3], 3) == alike(stored[4], 4)
    assert api.get("pods", "default", "p4") == stored[4]
    owner = stored[4]["metadata"]["managedFields"][-1]
    assert 'k:{"ip":"10.244.0.4"}' in owner["fieldsV1"]["f:status"]["f:podIPs"]


def test_a_watcher_sees_a_twins_report(api: Any, hits: list[str]) -> None:
    said(api, report(bound(api, "p2"), 2))
    pod = bound(api, "p3")
    watcher = api.watch("pods", "default")
    new = said(api, report(pod, 3))
    api.settle()
    assert hits == ["p3"]
    assert watcher.events[-1] == ("MODIFIED", new)


def test_what_looks_alike_but_is_of_another_sort_is_refused(api: Any, hits: list[str], refused: Any) -> None:
    said(api, report(bound(api, "p2"), 2))
    error = refused(said, api, report(bound(api, "p3"), 3, ip=TIME.format(7)))
    assert "must be a valid IP address" in error.message
    assert hits == []


def test_addresses_that_do_not_agree_are_refused(api: Any, hits: list[str], refused: Any) -> None:
    said(api, report(bound(api, "p2"), 2))
    pod = report(bound(api, "p3"), 3, hostIP="172.18.0.9")
    assert "must be equal to `hostIP`" in refused(said, api, pod).message
    assert hits == []


def test_a_report_about_an_older_version_conflicts(api: Any, hits: list[str], refused: Any) -> None:
    said(api, report(bound(api, "p2"), 2))
    pod = report(bound(api, "p3"), 3)
    api.merge("pods", "default", "p3", {"metadata": {"labels": {"a": "b"}}})
    assert refused(said, api, pod).code == 409
    assert hits == []


def test_a_second_report_goes_the_whole_way(api: Any, hits: list[str]) -> None:
    first = {n: said(api, report(bound(api, f"p{n}"), n)) for n in (2, 3)}
    for pod in first.values():
        said(api, {**pod, "status": {**pod["status"], "phase": "Succeeded"}})
    assert hits == ["p3"]


def test_while_webhooks_are_configured_every_report_goes_the_whole_way(api: Any, hits: list[str]) -> None:
    said(api, report(bound(api, "p2"), 2))
    pod = bound(api, "p3")
    api.create("validatingwebhookconfigurations.v1.admissionregistration.k8s.io", "", {"metadata": {"name": "w"}})
    said(api, report(pod, 3))
    assert hits == []
