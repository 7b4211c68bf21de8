"""Cluster-wide kinds: storage, access, classes, webhooks, policies, flow control, devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from actors.apiserver.strategies import _dump
from protocol.api import UserInfo


def test_a_claim_grows_when_it_is_bound_and_never_below_what_it_has(kit: Any) -> None:
    one = kit("persistentvolumeclaims")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    old = one.create({"metadata": {"name": "c"}, "spec": spec})
    old["status"].update(phase="Bound", capacity={"storage": "1Gi"})
    old["spec"]["volumeName"] = "v"

    def resize(size: str) -> Any:
        return lambda obj: obj["spec"]["resources"]["requests"].update(storage=size)

    assert one.update(old, resize("2Gi"))["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert one.refused(old, resize("1Mi"))


def test_only_claims_and_snapshots_are_a_source(kit: Any) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "dataSource": {"kind": "Other", "name": "o"},
    }
    made = kit("persistentvolumeclaims").create({"metadata": {"name": "c"}, "spec": spec})
    assert "dataSource" not in made["spec"]


@pytest.mark.parametrize("field", ["parameters", "provisioner", "reclaimPolicy"])
def test_a_storage_class_stays_as_it_is(kit: Any, field: str) -> None:
    one = kit("storageclasses")
    old = one.create({"metadata": {"name": "s"}, "provisioner": "a.example/p"})
    value: Any = {"k": "v"} if field == "parameters" else "Retain" if field == "reclaimPolicy" else "b.example/p"
    assert one.refused(old, lambda obj: obj.update({field: value})) == [
        f"{field}: Forbidden: updates to {field} are forbidden."
    ]


def test_an_immutable_config_map_stays_so(kit: Any) -> None:
    one = kit("configmaps")
    old = one.create({"metadata": {"name": "c"}, "data": {"k": "v"}, "immutable": True})
    assert one.refused(old, lambda obj: obj["data"].update(k="w")) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert one.refused(old, lambda obj: obj.pop("immutable"))


def test_a_secret_of_a_type_has_its_keys(kit: Any) -> None:
    body = {"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": {"tls.crt": ""}}
    assert kit("secrets").wrong(body) == ["data[tls.key]: Required value"]


def test_a_binding_keeps_its_role(kit: Any) -> None:
    one = kit("rolebindings")
    old = one.create({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}})
    (error,) = one.refused(old, lambda obj: obj["roleRef"].update(name="s"))
    assert error.endswith("cannot change roleRef")


def test_system_priorities_are_reserved(kit: Any) -> None:
    one = kit("priorityclasses")
    assert one.wrong({"metadata": {"name": "p"}, "value": 2_000_000_000}) == [
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
    ]
    (error,) = one.wrong({"metadata": {"name": "system-mine"}, "value": 1})
    assert error.startswith("metadata.name: Forbidden: priority class names with 'system-' prefix")


def test_a_request_for_a_certificate_says_who_asks(kit: Any) -> None:
    one = kit("certificatesigningrequests", UserInfo("jane", ("team",), "7"))
    obj = one.decoded({"metadata": {"name": "r"}, "spec": {"username": "root", "signerName": "a.b/c"}})
    one.strategy.prepare_for_create(obj, one.context)
    assert (obj["spec"]["username"], obj["spec"]["groups"], obj["spec"]["uid"]) == ("jane", ["team"], "7")


def test_an_approval_needs_its_own_subresource(kit: Any) -> None:
    one = kit("certificatesigningrequests")
    old = {"metadata": {"name": "r", "uid": "u", "resourceVersion": "1"}, "spec": {}, "status": {}}

    def approve(obj: Any) -> None:
        obj["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}

    text = 'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    assert text in one.refused(old, approve, "status")
    approved, errors = one.try_update(old, approve, "approval")
    assert text not in errors
    assert approved["status"]["conditions"][0]["lastUpdateTime"] == "2026-01-01T00:00:00Z"


def hook(**more: Any) -> dict[str, Any]:
    base = {
        "name": "a.example.com",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
    }
    return {"metadata": {"name": "w"}, "webhooks": [{**base, **more}]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "short"}, 'name: Invalid value: "short": should be a domain with at least three segments separated by dots'),
        ({"timeoutSeconds": 31}, "timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"),
        ({"sideEffects": None}, "sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        ({"clientConfig": {"url": "http://a"}}, "clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"),
        ({"clientConfig": {"url": "127.0.0.1:8443/x"}}, 'clientConfig.url: Required value: url must be a valid URL: parse "127.0.0.1:8443/x": first path segment in URL cannot contain colon; desired format: https://host[/path]'),
        ({"clientConfig": {"url": "https://a:b/x"}}, 'clientConfig.url: Required value: url must be a valid URL: parse "https://a:b/x": invalid port ":b" after host; desired format: https://host[/path]'),
        ({"admissionReviewVersions": ["v1", "v1"]}, 'admissionReviewVersions[1]: Invalid value: "v1": duplicate version'),
        ({"matchConditions": [{"name": "a", "expression": "1"}]}, 'matchConditions[0].expression: Invalid value: "1": must evaluate to bool but got int'),
    ],
)
def test_a_wrong_webhook_is_told_why(kit: Any, change: Any, expected: str) -> None:
    assert kit("validatingwebhookconfigurations").wrong(hook(**change)) == ["webhooks[0]." + expected]


def test_resources_of_a_rule_do_not_overlap(kit: Any) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["*", "pods"]}
    (error,) = kit("validatingwebhookconfigurations").wrong(hook(rules=[rule]))
    assert error.endswith("if '*' is present, must not specify other resources without subresources")


def policy(**validation: Any) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [validation]}
    return {"metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("object.metadata.name != ''", ""),
        ("'text'", "must evaluate to bool but got string"),
        ("params.x", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x\n | ^"),
    ],
)
def test_expressions_of_a_policy_compile(kit: Any, expression: str, problem: str) -> None:
    errors = kit("validatingadmissionpolicies").wrong(policy(expression=expression))
    shown = expression.replace('"', '\\"')
    at = "spec.validations[0].expression"
    assert errors == ([f'{at}: Invalid value: "{shown}": {problem}'] if problem else [])


def test_a_binding_does_not_deny_and_warn(kit: Any) -> None:
    spec = {"policyName": "p", "validationActions": ["Deny", "Warn"]}
    (error,) = kit("validatingadmissionpolicybindings").wrong({"metadata": {"name": "b"}, "spec": spec})
    assert "must not contain both Deny and Warn" in error


def test_a_hand_is_dealt_from_enough_queues(kit: Any) -> None:
    queuing = {"queues": 4, "handSize": 8, "queueLengthLimit": 1}
    limited = {"limitResponse": {"type": "Queue", "queuing": queuing}}
    body = {"metadata": {"name": "p"}, "spec": {"type": "Limited", "limited": limited}}
    assert kit("prioritylevelconfigurations").wrong(body) == [
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)"
    ]


def test_an_api_service_is_named_after_its_version_and_group(kit: Any) -> None:
    spec = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    (error,) = kit("apiservices").wrong({"metadata": {"name": "x"}, "spec": spec})
    assert 'must be `spec.version+"."+spec.group`: "v1.example.com"' in error


def test_a_device_is_asked_for_one_by_one_or_all(kit: Any) -> None:
    def claim(**ask: Any) -> dict[str, Any]:
        request = {"name": "r", "exactly": {"deviceClassName": "gpu", **ask}}
        return {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}}

    one = kit("resourceclaims")
    exactly = one.create(claim())["spec"]["devices"]["requests"][0]["exactly"]
    assert (exactly["allocationMode"], exactly["count"]) == ("ExactCount", 1)
    assert one.wrong(claim(allocationMode="All", count=2)) == [
        "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when "
        "allocationMode is 'All'"
    ]


def test_an_allocated_claim_says_so(kit: Any) -> None:
    one = kit("resourceclaims")
    request = {"name": "r", "exactly": {"deviceClassName": "gpu"}}
    made = one.create({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}})
    assert one.cells(made)["State"] == "pending"
    made["status"] = {"allocation": {}, "reservedFor": [{"name": "p"}]}
    assert one.cells(made)["State"] == "allocated,reserved"


def test_the_source_of_a_volume_stays_and_the_answer_shows_the_difference(kit: Any) -> None:
    one = kit("persistentvolumes")
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}
    old = one.create({"metadata": {"name": "v"}, "spec": spec})
    (error,) = one.refused(old, lambda obj: obj["spec"]["hostPath"].update(path="/b"))
    assert error.startswith("spec.persistentvolumesource: Forbidden: ")
    assert '-  "Path": "/a",\n+  "Path": "/b",' in error


def test_every_struct_that_error_texts_render_is_described() -> None:
    named = set()
    for file in Path(_dump.__file__).parent.glob("*.py"):
        named |= set(re.findall(r'(?:internal_form|diff)\(\s*"([\w.]+)"', file.read_text()))
    assert named
    for struct in named:
        assert _dump.internal_form(struct, {}), struct


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain'),
        ({"name": "a", "labels": {"k": "a b"}}, 'metadata.labels: Invalid value: "a b": a valid label must be'),
        ({"name": "a", "annotations": {"a/b/c": ""}}, 'metadata.annotations: Invalid value: "a/b/c": a valid label key'),
        ({"name": "a", "finalizers": ["a b"]}, 'metadata.finalizers: Invalid value: "a b"'),
        ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n"}]}, "metadata.ownerReferences.uid: Invalid value"),
    ],
)
def test_metadata_is_checked_for_every_kind(kit: Any, meta: Any, expected: str) -> None:
    errors = kit("configmaps").wrong({"metadata": meta})
    assert any(error.startswith(expected) for error in errors), errors
