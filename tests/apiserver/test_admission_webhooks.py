"""Webhooks over HTTPS: what they are told, how their answers count, and what failures do."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from typing import Any

import pytest

from actors.apiserver import pki
from actors.apiserver.admission._webhook_call import CallFailure, _status_words, endpoint_of
from protocol.api import ADMIN, ApiRequest, Resource

Object = dict[str, Any]


def patch_of(*operations: Object) -> Object:
    text = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text}


def configure(api: Any, sort: str, *specs: Object, name: str = "c") -> None:
    body = {"metadata": {"name": name}, "webhooks": list(specs)}
    api.create(f"{sort}webhookconfigurations.admissionregistration.k8s.io", "", body)


def test_a_webhook_is_told_who_does_what_to_which_object(api: Any, hook: Any) -> None:
    configure(api, "validating", hook.spec())
    api.config_map("a", data={"k": "v"})
    request = hook.requests[0]
    assert (request["operation"], request["name"], request["namespace"]) == ("CREATE", "a", "default")
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["userInfo"]["username"] == "admin"
    assert request["dryRun"] is False
    assert request["object"]["data"] == {"k": "v"}
    assert request["oldObject"] is None
    assert request["options"]["kind"] == "CreateOptions"


def test_a_rejection_names_the_webhook_and_gives_its_reason(api: Any, hook: Any, refused: Any) -> None:
    hook.respond = lambda request: {"allowed": False, "status": {"message": "no", "code": 409, "reason": "Conflict"}}
    configure(api, "validating", hook.spec())
    error = refused(api.config_map, "a")
    assert (error.code, error.message) == (409, 'admission webhook "w.example.com" denied the request: no')


def test_a_rejection_without_a_reason_is_a_400_without_explanation(api: Any, hook: Any, refused: Any) -> None:
    hook.respond = lambda request: {"allowed": False}
    configure(api, "validating", hook.spec())
    error = refused(api.config_map, "a")
    assert (error.code, error.message) == (
        400, 'admission webhook "w.example.com" denied the request without explanation',
    )


def test_a_patch_changes_the_object_that_is_stored(api: Any, hook: Any) -> None:
    hook.respond = lambda request: patch_of({"op": "add", "path": "/data", "value": {"added": "1"}})
    configure(api, "mutating", hook.spec())
    api.config_map("a")
    assert api.get("configmaps", "default", "a")["data"] == {"added": "1"}


def test_webhooks_of_both_sorts_are_asked_about_one_write(api: Any, hook: Any) -> None:
    configure(api, "mutating", hook.spec())
    configure(api, "validating", hook.spec())
    api.config_map("a")
    assert len(hook.requests) == 2


def test_what_a_webhook_adds_to_a_pod_is_defaulted(api: Any, hook: Any) -> None:
    pods = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    side = {"name": "side", "image": "b"}
    hook.respond = lambda request: patch_of({"op": "add", "path": "/spec/containers/-", "value": side})
    configure(api, "mutating", hook.spec(rules=pods))
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    pod = api.create("pods", "default", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}})
    added = pod["spec"]["containers"][1]
    assert added["imagePullPolicy"] == "Always"
    assert added["volumeMounts"], "the plugins run once more, over what the webhook added"
    assert len(pod["spec"]["volumes"]) == 1
    assert len(pod["spec"]["tolerations"]) == 2


def test_a_webhook_that_asks_for_it_sees_later_changes(api: Any, hook: Any) -> None:
    def respond(request: Object) -> Object:
        labels = request["object"]["metadata"].get("labels") or {}
        if "b" not in labels and len(hook.requests) == 2:
            return patch_of({"op": "add", "path": "/metadata/labels", "value": {"b": "1"}})
        return {"allowed": True}

    hook.respond = respond
    first = hook.spec(name="first.example.com", reinvocationPolicy="IfNeeded")
    configure(api, "mutating", first, hook.spec(name="second.example.com"))
    api.config_map("a")
    assert len(hook.requests) == 3
    assert hook.requests[2]["object"]["metadata"]["labels"] == {"b": "1"}


def test_a_webhook_is_told_of_a_dry_run(api: Any, hook: Any) -> None:
    configure(api, "validating", hook.spec())
    api.create("configmaps", "default", {"metadata": {"name": "b"}}, dryRun="All")
    assert hook.requests[-1]["dryRun"] is True
    assert hook.requests[-1]["options"]["dryRun"] == ["All"]


def test_a_webhook_that_cannot_be_reached_fails_the_write_or_is_ignored(api: Any, hook: Any, refused: Any) -> None:
    nowhere = {"url": "https://127.0.0.1:1/x"}
    configure(api, "validating", hook.spec(clientConfig=nowhere))
    error = refused(api.config_map, "a")
    assert error.code == 500
    assert error.message == (
        'Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: '
        'Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    api.merge("validatingwebhookconfigurations.admissionregistration.k8s.io", "", "c", {
        "webhooks": [hook.spec(clientConfig=nowhere, failurePolicy="Ignore")]
    })
    api.config_map("a")


def test_an_unknown_certificate_is_not_trusted(api: Any, hook: Any, refused: Any) -> None:
    other = base64.b64encode(pki.Authority.create(time.time()).certificate).decode()
    spec = hook.spec()
    configure(api, "validating", {**spec, "clientConfig": {**spec["clientConfig"], "caBundle": other}})
    words = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert refused(api.config_map, "a").message.endswith(words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"uid": "other", "allowed": True}, 'expected response.uid="'),
        (patch_of({"op": "add", "path": "/data", "value": {}}), "validating webhook may not return response.patch"),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_a_failure(
    api: Any, hook: Any, refused: Any, answer: Object, words: str
) -> None:
    hook.respond = lambda request: answer
    configure(api, "validating", hook.spec())
    assert f"received invalid webhook response: {words}" in refused(api.config_map, "a").message


def test_a_missing_service_is_named(api: Any, hook: Any, refused: Any) -> None:
    spec = {"service": {"name": "hook", "namespace": "default", "path": "/check"}, "caBundle": hook.ca}
    configure(api, "validating", hook.spec(clientConfig=spec))
    error = refused(api.config_map, "a")
    assert error.message.endswith('Post "https://hook.default.svc:443/check?timeout=10s": service "hook" not found')


PORTS = [{"name": "https", "port": 443, "targetPort": 8443}]
SERVICE = {"spec": {"ports": PORTS, "clusterIP": "10.96.0.7"}}
CLIENT = {"service": {"name": "hook", "namespace": "default"}}


def slice_of(ready: bool) -> Object:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": "hook"}},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
        "ports": [{"name": "https", "port": 8443}],
    }


def test_a_service_is_reached_at_a_ready_endpoint_under_its_own_name() -> None:
    found = endpoint_of(_Lookup(SERVICE, [slice_of(True)]), CLIENT, 5)  # type: ignore[arg-type]
    assert (found.host, found.port, found.server_name) == ("10.0.0.1", 8443, "hook.default.svc")


def test_a_service_without_ready_endpoints_refuses_the_connection() -> None:
    with pytest.raises(CallFailure, match="dial tcp 10.96.0.7:443: connect: connection refused"):
        endpoint_of(_Lookup(SERVICE, [slice_of(False)]), CLIENT, 5)  # type: ignore[arg-type]


class _Lookup:
    """A service and its endpoint slices, without a server."""

    def __init__(self, service: Object, slices: list[Object]) -> None:
        self.random = random.Random(0)
        self._service = service
        self._slices = slices

    def get(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        return self._service

    def list(self, group: str, resource: str, namespace: str = "") -> list[Object]:
        return self._slices


def test_the_configuration_of_webhooks_is_never_subject_to_webhooks(api: Any, hook: Any) -> None:
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]
    hook.respond = lambda request: {"allowed": False}
    configure(api, "validating", hook.spec(rules=everything))
    api.ask("delete", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", "c")
    assert hook.requests == []


def test_a_webhook_that_hangs_delays_only_the_writes_it_is_asked_about(https: Any, hook: Any) -> None:
    release = threading.Event()
    hook.respond = lambda request: {"allowed": release.wait(5)}
    configurations = Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
    config_maps, secrets = Resource("", "v1", "configmaps"), Resource("", "v1", "secrets")

    def create(kind: Resource, name: str, namespace: str = "default", **body: Any) -> Any:
        return ApiRequest("create", kind, namespace, body={"metadata": {"name": name}, **body}, user=ADMIN)

    https.apiserver.ask(create(configurations, "slow", "", webhooks=[hook.spec()]), timeout=10)
    try:
        waiting = [https.apiserver.ask(create(config_maps, f"w{i}"), block=False) for i in range(3)]
        https.apiserver.ask(create(secrets, "quick"), timeout=2)
        release.set()
        for answer in waiting:
            answer.get(timeout=5)
        assert len(hook.requests) == 3
    finally:
        release.set()
        https.apiserver.ask(ApiRequest("delete", configurations, "", "slow", user=ADMIN), timeout=10)


@pytest.mark.parametrize(
    ("code", "media", "body", "words"),
    [
        (400, "text/plain", b"no", "the server rejected our request for an unknown reason"),
        (403, "text/plain; charset=utf-8", b"not you\n", "not you"),
        (403, "application/json", b"{}", "unknown"),
        (418, "text/plain", b"tea", "the server responded with the status code 418 but did not return more information"),
        (422, "", b"", "the server rejected our request due to an error in our request"),
        (500, "text/plain", b"boom", 'an error on the server ("boom") has prevented the request from succeeding'),
        (502, "application/json", b"{}", 'an error on the server ("unknown") has prevented the request from succeeding'),
        (503, "text/plain", b"later", "the server is currently unable to handle the request"),
    ],
)
def test_an_error_status_is_told_in_the_words_of_go_clients(code: int, media: str, body: bytes, words: str) -> None:
    assert _status_words(code, body, media) == words
