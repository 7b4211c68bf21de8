"""Conversion webhooks: who calls them when, what they may change, and what their failures do."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver.crd._conversion import checked
from protocol.api import ADMIN, ApiRequest, Resource

Object = dict[str, Any]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
OLD, NEW = "knobs.v1.example.com", "knobs.v2.example.com"
FAILED = "conversion webhook for example.com/v2, Kind=Knob failed: "
RETURNED = "conversion webhook for example.com/v2, Kind=Knob returned "


def convert(obj: Object, api_version: str) -> Object:
    """v1 says `spec.address: "host:port"`, v2 says `spec.host` and `spec.port`."""
    spec = dict(obj.get("spec") or {})
    if api_version.endswith("/v2"):
        host, _, port = spec.pop("address").partition(":")
        spec |= {"host": host, "port": port}
    else:
        spec["address"] = f"{spec.pop('host')}:{spec.pop('port')}"
    return {**obj, "apiVersion": api_version, "spec": spec}


def converted(request: Object) -> Object:
    found = [convert(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": found}


def version(name: str, storage: bool, *fields: str) -> Object:
    spec = {"type": "object", "properties": {field: {"type": "string"} for field in (*fields, "note")}}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    made: Object = {
        "name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}}, "selectableFields": [{"jsonPath": f".spec.{fields[0]}"}],
        "additionalPrinterColumns": [{"name": "First", "type": "string", "jsonPath": f".spec.{fields[0]}"}],
    }
    return made


def definition(hook: Any, **client: Any) -> Object:
    where = client or {"url": f"https://127.0.0.1:{hook.port}/convert", "caBundle": hook.ca}
    webhook = {"clientConfig": where, "conversionReviewVersions": ["v1"]}
    names = {"plural": "knobs", "singular": "knob", "kind": "Knob", "listKind": "KnobList"}
    spec = {
        "group": "example.com", "scope": "Namespaced", "names": names,
        "versions": [version("v1", False, "address"), version("v2", True, "host", "port")],
        "conversion": {"strategy": "Webhook", "webhook": webhook},
    }
    return {"metadata": {"name": "knobs.example.com"}, "spec": spec}


@pytest.fixture
def knobs(api: Any, hook: Any) -> Any:
    """An API server with knobs in two versions that differ in shape; the second is stored."""
    hook.respond = converted
    api.create(CRDS, "", definition(hook))
    api.settle()
    return api


def make(api: Any, name: str = "k", what: str = NEW, **spec: Any) -> Object:
    spec = spec or ({"host": "a", "port": "1"} if what == NEW else {"address": "a:1"})
    body = {"apiVersion": f"example.com/{what.split('.')[1]}", "kind": "Knob", "metadata": {"name": name}, "spec": spec}
    found: Object = api.create(what, "default", body)
    return found


def test_a_read_of_another_version_is_converted_by_the_webhook(knobs: Any, hook: Any) -> None:
    made = make(knobs)
    found = knobs.get(OLD, "default", "k")
    assert (found["apiVersion"], found["spec"]) == ("example.com/v1", {"address": "a:1"})
    assert found["metadata"] == made["metadata"]
    request = hook.requests[0]
    assert (request["desiredAPIVersion"], request["objects"]) == ("example.com/v1", [made])


def test_the_stored_version_is_read_and_written_without_the_webhook(knobs: Any, hook: Any) -> None:
    make(knobs)
    knobs.merge(NEW, "default", "k", {"spec": {"port": "2"}})
    assert knobs.get(NEW, "default", "k")["spec"] == {"host": "a", "port": "2"}
    assert hook.requests == []


def test_a_write_of_another_version_is_stored_converted(knobs: Any) -> None:
    assert make(knobs, what=OLD)["spec"] == {"address": "a:1"}
    assert knobs.get(NEW, "default", "k")["spec"] == {"host": "a", "port": "1"}
    changed = knobs.merge(OLD, "default", "k", {"spec": {"address": "b:2", "note": "n"}})
    assert (changed["apiVersion"], changed["spec"]) == ("example.com/v1", {"address": "b:2", "note": "n"})
    assert knobs.get(NEW, "default", "k")["spec"] == {"host": "b", "port": "2", "note": "n"}
    assert changed["metadata"]["generation"] == 2


def test_an_update_and_a_status_of_another_version_are_stored_converted(knobs: Any) -> None:
    body = make(knobs, what=OLD)
    body = knobs.ask("update", OLD, "default", "k", body={**body, "spec": {"address": "c:3"}})
    knobs.merge(OLD, "default", "k", {"status": {"ready": True}}, sub="status")
    found = knobs.get(NEW, "default", "k")
    assert (found["spec"], found["status"]) == ({"host": "c", "port": "3"}, {"ready": True})
    again = knobs.ask("update", OLD, "default", "k", body=knobs.get(OLD, "default", "k"))
    assert again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"], "nothing changed"


def test_an_apply_in_another_version_owns_fields_of_that_version(knobs: Any) -> None:
    config = {"apiVersion": "example.com/v1", "kind": "Knob", "metadata": {"name": "k"}, "spec": {"address": "a:1"}}
    apply = {"body": config, "patch": "application/apply-patch+yaml", "fieldManager": "m"}
    knobs.ask("patch", OLD, "default", "k", **apply)
    entry = knobs.get(NEW, "default", "k")["metadata"]["managedFields"][0]
    assert (entry["apiVersion"], entry["fieldsV1"]) == ("example.com/v1", {"f:spec": {"f:address": {}}})
    config["spec"]["address"] = "b:2"
    assert knobs.ask("patch", OLD, "default", "k", **apply)["spec"] == {"address": "b:2"}


def test_a_dry_run_answers_its_own_version_and_stores_nothing(knobs: Any, refused: Any) -> None:
    body = {"apiVersion": "example.com/v1", "kind": "Knob", "metadata": {"name": "k"}, "spec": {"address": "a:1"}}
    assert knobs.create(OLD, "default", body, dryRun="All")["spec"] == {"address": "a:1"}
    assert refused(knobs.get, OLD, "default", "k").code == 404


def test_a_list_asks_once_per_revision_of_an_object(knobs: Any, hook: Any) -> None:
    for i in range(5):
        make(knobs, f"k{i}")
    for _ in range(3):
        items = knobs.ask("list", OLD, "default")["items"]
        assert [item["spec"]["address"] for item in items] == ["a:1"] * 5
    assert sum(len(request["objects"]) for request in hook.requests) == 5
    knobs.merge(NEW, "default", "k3", {"spec": {"host": "b"}})
    assert knobs.ask("list", OLD, "default")["items"][3]["spec"]["address"] == "b:1"
    assert sum(len(request["objects"]) for request in hook.requests) == 6


def test_fields_are_selected_by_what_the_version_says(knobs: Any) -> None:
    make(knobs, "a", host="a", port="1")
    make(knobs, "b", host="b", port="1")
    assert knobs.names(OLD, "default", fieldSelector="spec.address=b:1") == ["b"]
    watcher = knobs.watch(OLD, "default", fieldSelector="spec.address=b:1")
    knobs.merge(NEW, "default", "b", {"spec": {"port": "2"}})
    knobs.merge(NEW, "default", "a", {"spec": {"host": "b"}})
    knobs.settle()
    told = [(kind, obj["metadata"]["name"], obj["spec"]["address"]) for kind, obj in watcher.events]
    assert told == [("ADDED", "b", "b:1"), ("DELETED", "b", "b:1"), ("ADDED", "a", "b:1")]


def test_labels_are_selected_by_what_the_version_says(knobs: Any, hook: Any) -> None:
    def relabelled(request: Object) -> Object:
        answer = converted(request)
        for obj in answer["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "labels": {"seen-in": obj["apiVersion"].rpartition("/")[2]}}
        return answer

    hook.respond = relabelled
    make(knobs, "a")
    assert knobs.names(OLD, "default", labelSelector="seen-in=v1") == ["a"]
    assert knobs.names(NEW, "default", labelSelector="seen-in") == []
    watcher = knobs.watch(OLD, "default", labelSelector="seen-in=v1")
    make(knobs, "b")
    knobs.ask("deletecollection", OLD, "default", labelSelector="seen-in=v1")
    knobs.settle()
    told = [(kind, obj["metadata"]["name"]) for kind, obj in watcher.events]
    assert told == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b")]


def test_a_watch_tells_converted_objects_in_order(knobs: Any) -> None:
    make(knobs)
    watcher = knobs.watch(OLD, "default", sendInitialEvents="true", allowWatchBookmarks="true",
                          resourceVersionMatch="NotOlderThan")
    knobs.merge(OLD, "default", "k", {"spec": {"address": "b:2"}})
    last = knobs.get(NEW, "default", "k")
    knobs.ask("delete", NEW, "default", "k")
    knobs.settle()
    assert [kind for kind, _ in watcher.events] == ["ADDED", "BOOKMARK", "MODIFIED", "DELETED"]
    objects = [obj for kind, obj in watcher.events if kind != "BOOKMARK"]
    assert [obj["spec"]["address"] for obj in objects] == ["a:1", "b:2", "b:2"]
    assert int(objects[-1]["metadata"]["resourceVersion"]) > int(last["metadata"]["resourceVersion"])


def test_a_watch_from_the_past_is_converted_too(knobs: Any) -> None:
    start = make(knobs)["metadata"]["resourceVersion"]
    knobs.merge(NEW, "default", "k", {"spec": {"host": "b"}})
    watcher = knobs.watch(OLD, "default", resourceVersion=start)
    assert [(kind, obj["spec"]["address"]) for kind, obj in watcher.events] == [("MODIFIED", "b:1")]


def test_a_watch_ends_with_the_error_of_its_webhook(knobs: Any, hook: Any) -> None:
    watcher = knobs.watch(OLD, "default")
    hook.respond = lambda request: {"result": {"status": "Failed", "message": "no way"}}
    make(knobs)
    knobs.settle()
    kind, obj = watcher.events[-1]
    assert (kind, obj["code"], obj["message"]) == ("ERROR", 500, FAILED + "no way")
    assert watcher.closed


def test_what_the_webhook_adds_beyond_the_schema_is_pruned(knobs: Any, hook: Any) -> None:
    make(knobs)

    def more(request: Object) -> Object:
        answer = converted(request)
        answer["convertedObjects"][0]["spec"]["nonsense"] = "x"
        return answer

    hook.respond = more
    assert knobs.get(OLD, "default", "k")["spec"] == {"address": "a:1"}


def change(path: str, value: Any) -> Callable[[Object], Object]:
    """A webhook that sets one field of what it should have answered."""

    def respond(request: Object) -> Object:
        answer = converted(request)
        *way, last = path.split(".")
        target = answer["convertedObjects"][0]
        for step in way:
            target = target[step]
        target[last] = value
        return answer

    return respond


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (lambda r: {"result": {"status": "Failed", "message": "no"}}, FAILED + "no"),
        (lambda r: {"result": {"status": "Failed"}}, FAILED + "response.result.status was 'Failed', not 'Success'"),
        (lambda r: {}, FAILED + "response.result.status was '', not 'Success'"),
        (lambda r: {"result": {"status": "Success"}, "convertedObjects": []}, RETURNED + "0 objects, expected 1"),
        (lambda r: {"result": {"status": "Success"}, "convertedObjects": r["objects"]},
         RETURNED + "invalid object at index 0: invalid groupVersion (expected example.com/v1, received example.com/v2)"),
        (change("kind", "Other"), RETURNED + "invalid object at index 0: invalid kind (expected Knob, received Other)"),
        (change("metadata.name", "o"), RETURNED + "invalid object: must have the same name: k != o"),
        (change("metadata.namespace", "o"), RETURNED + "invalid object: must have the same namespace: default != o"),
        (change("metadata.labels", {"a": 1}),
         RETURNED + "invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object"),
        (change("metadata.labels", {"-": "x"}), RETURNED + 'invalid metadata: metadata.labels: Invalid value: "-"'),
    ],
)
def test_an_answer_that_breaks_the_rules_is_a_500(
    knobs: Any, hook: Any, refused: Any, respond: Callable[[Object], Object], words: str
) -> None:
    make(knobs)
    hook.respond = respond
    error = refused(knobs.get, OLD, "default", "k")
    assert (error.code, error.reason) == (500, "")
    assert error.message.startswith(words)


def test_the_answer_to_another_question_is_refused(knobs: Any, hook: Any, refused: Any) -> None:
    make(knobs)
    hook.respond = lambda request: {**converted(request), "uid": "other"}
    message = refused(knobs.get, OLD, "default", "k").message
    assert message == f'{FAILED}expected response.uid="{hook.requests[0]["uid"]}", got "other"'


def test_a_write_that_cannot_be_converted_is_not_stored(knobs: Any, hook: Any, refused: Any) -> None:
    hook.respond = lambda request: {"result": {"status": "Failed", "message": "no"}}
    assert refused(make, knobs, what=OLD).message == FAILED.replace("v2", "v1") + "no"
    assert refused(knobs.get, NEW, "default", "k").code == 404


def test_labels_and_annotations_may_change_and_nothing_else_of_the_metadata(knobs: Any, hook: Any) -> None:
    made = make(knobs)

    def respond(request: Object) -> Object:
        answer = converted(request)
        metadata = answer["convertedObjects"][0]["metadata"]
        metadata |= {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["x/y"], "generation": 9}
        return answer

    hook.respond = respond
    found = knobs.get(OLD, "default", "k")["metadata"]
    assert found == {**made["metadata"], "labels": {"a": "b"}, "annotations": {"c": "d"}}


def test_objects_keep_their_number_and_order() -> None:
    before = [{"apiVersion": "g/v1", "kind": "K", "metadata": {"name": name}} for name in "ab"]
    after = [{**obj, "apiVersion": "g/v2"} for obj in before]
    assert [obj["metadata"]["name"] for obj in checked(before, after, "g/v2")] == ["a", "b"]
    with pytest.raises(ValueError, match="invalid converted object at index 0: must have the same name: a != b"):
        checked(before, after[::-1], "g/v2")
    with pytest.raises(ValueError, match="1 objects, expected 2"):
        checked(before, after[:1], "g/v2")


def test_a_webhook_that_is_not_there_is_named(knobs: Any, hook: Any, refused: Any) -> None:
    make(knobs)
    found = copy.deepcopy(knobs.get(CRDS, "", "knobs.example.com"))
    found["spec"]["conversion"]["webhook"]["clientConfig"] = {"url": "https://127.0.0.1:1/x"}
    knobs.ask("update", CRDS, "", "knobs.example.com", body=found)
    knobs.settle()
    assert refused(knobs.get, OLD, "default", "k").message == (
        FAILED + 'Post "https://127.0.0.1:1/x?timeout=30s": dial tcp 127.0.0.1:1: connect: connection refused'
    )


def test_another_way_to_convert_counts_from_the_next_read(knobs: Any, hook: Any) -> None:
    make(knobs)
    assert knobs.get(OLD, "default", "k")["spec"] == {"address": "a:1"}
    watcher = knobs.watch(OLD, "default")
    found = copy.deepcopy(knobs.get(CRDS, "", "knobs.example.com"))
    found["spec"]["conversion"] = {"strategy": "None"}
    knobs.ask("update", CRDS, "", "knobs.example.com", body=found)
    knobs.settle()
    assert watcher.closed
    assert knobs.get(OLD, "default", "k")["spec"] == {"host": "a", "port": "1"}


def test_objects_stored_before_the_storage_version_changed_are_converted_when_read(knobs: Any, hook: Any) -> None:
    make(knobs)
    found = copy.deepcopy(knobs.get(CRDS, "", "knobs.example.com"))
    for one in found["spec"]["versions"]:
        one["storage"] = not one["storage"]
    knobs.ask("update", CRDS, "", "knobs.example.com", body=found)
    knobs.settle()
    assert knobs.get(OLD, "default", "k")["spec"] == {"address": "a:1"}
    asked = len(hook.requests)
    assert knobs.get(NEW, "default", "k")["spec"] == {"host": "a", "port": "1"}
    assert len(hook.requests) == asked, "it is stored so"
    knobs.merge(NEW, "default", "k", {"metadata": {"labels": {"a": "b"}}})
    assert knobs.get(NEW, "default", "k")["spec"] == {"host": "a", "port": "1"}


def test_admission_webhooks_get_the_version_that_they_ask_for(knobs: Any, hook: Any) -> None:
    seen: list[Object] = []

    def respond(request: Object) -> Object:
        if "objects" in request:
            return converted(request)
        seen.append(request["object"])
        return {"allowed": True}

    hook.respond = respond
    rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["knobs"]}
    body = {"metadata": {"name": "c"}, "webhooks": [hook.spec(rules=[rule])]}
    knobs.create("validatingwebhookconfigurations.admissionregistration.k8s.io", "", body)
    make(knobs)
    assert [(obj["apiVersion"], obj["spec"]) for obj in seen] == [("example.com/v1", {"address": "a:1"})]


GROUP = "admissionregistration.k8s.io"


def bind(api: Any, sort: str, version: str, **policy: Any) -> None:
    """A policy about knobs in one version, with a binding."""
    rule = {"apiGroups": ["example.com"], "apiVersions": [version], "operations": ["*"], "resources": ["knobs"]}
    binding = policy.pop("binding", {})
    spec = {"matchConstraints": {"resourceRules": [rule], "matchPolicy": "Equivalent"}, **policy}
    api.create(f"{sort}admissionpolicies.{GROUP}", "", {"metadata": {"name": "p"}, "spec": spec})
    api.create(f"{sort}admissionpolicybindings.{GROUP}", "", {"metadata": {"name": "b"}, "spec": {"policyName": "p", **binding}})


def test_a_policy_sees_the_version_that_it_names(knobs: Any, refused: Any) -> None:
    validation = {"expression": "object.apiVersion == 'example.com/v1' && object.spec.address != 'bad:1'"}
    condition = {"name": "c", "expression": "object.spec.address != 'free:1'"}
    bind(knobs, "validating", "v1", validations=[validation], matchConditions=[condition], binding={"validationActions": ["Deny"]})
    make(knobs, "good", host="good", port="1")
    assert "failed expression" in refused(make, knobs, "bad", host="bad", port="1").message
    validated = make(knobs, "old", OLD, address="fine:1")
    assert validated["apiVersion"] == "example.com/v1"
    assert "failed expression" in refused(knobs.merge, NEW, "default", "good", {"spec": {"host": "bad"}}).message
    make(knobs, "free", host="free", port="1")


def test_a_policy_changes_the_version_that_it_names(knobs: Any) -> None:
    expression = "Object{spec: Object.spec{address: object.spec.address + '0'}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    bind(knobs, "mutating", "v1", mutations=[mutation], reinvocationPolicy="Never", failurePolicy="Fail")
    assert make(knobs, "k", host="a", port="1")["spec"] == {"host": "a", "port": "10"}
    assert make(knobs, "l", OLD, address="b:2")["spec"] == {"address": "b:20"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_parameters_are_seen_in_the_version_that_the_policy_names(knobs: Any, refused: Any, version: str) -> None:
    make(knobs, "limits", host="max", port="7")
    wanted = "params.spec.address == 'max:7'" if version == "v1" else "params.spec.port == '7'"
    bind(
        knobs, "validating", "v2", paramKind={"apiVersion": f"example.com/{version}", "kind": "Knob"},
        validations=[{"expression": f"{wanted} && object.spec.host != 'bad'"}],
        binding={"validationActions": ["Deny"], "paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}},
    )  # fmt: skip
    make(knobs, "good", host="good", port="1")
    assert "failed expression" in refused(make, knobs, "bad", host="bad", port="1").message


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
def test_a_failed_conversion_counts_as_a_failure_of_the_policy(knobs: Any, hook: Any, refused: Any, policy: str) -> None:
    deny = {"validationActions": ["Deny"]}
    bind(knobs, "validating", "v1", validations=[{"expression": "true"}], failurePolicy=policy, binding=deny)
    hook.respond = lambda request: {"result": {"status": "Failed", "message": "no"}}
    if policy == "Ignore":
        make(knobs, host="a", port="1")
        return
    error = refused(make, knobs, host="a", port="1")
    words = "failed to convert object version: conversion webhook for example.com/v2, Kind=Knob failed: no"
    assert (error.code, error.message.endswith(f"denied request: failed to configure binding: {words}")) == (422, True)


def test_a_webhook_that_hangs_delays_only_who_needs_the_version(https: Any, hook: Any) -> None:
    release = threading.Event()

    def respond(request: Object) -> Object:
        release.wait(5)
        return converted(request)

    hook.respond = respond
    crds = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    old, new = Resource("example.com", "v1", "knobs"), Resource("example.com", "v2", "knobs")

    def ask(verb: str, what: Resource, namespace: str = "default", name: str = "", body: Any = None, **more: Any) -> Any:
        return https.apiserver.ask(ApiRequest(verb, what, namespace, name, body=body, user=ADMIN), **more)

    ask("create", crds, "", body=definition(hook), timeout=10)
    for _ in range(1000):  # each a round trip; as upstream, what is created is established a moment later
        made = ask("get", crds, "", "knobs.example.com", timeout=10)
        if any(c["type"] == "Established" for c in made["status"].get("conditions") or ()):
            break
    try:
        body = {"apiVersion": "example.com/v2", "kind": "Knob", "metadata": {"name": "k"}, "spec": {"host": "a", "port": "1"}}
        ask("create", new, body=body, timeout=10)
        waiting = [ask("list", old, block=False), ask("get", old, name="k", block=False)]
        assert ask("get", new, name="k", timeout=2)["spec"]["host"] == "a"
        ask("create", Resource("", "v1", "configmaps"), body={"metadata": {"name": "quick"}}, timeout=2)
        release.set()
        assert waiting[0].get(timeout=5)["items"][0]["spec"] == {"address": "a:1"}
        assert waiting[1].get(timeout=5)["spec"] == {"address": "a:1"}
        assert len(hook.requests) == 1, "both wait for one call"
    finally:
        release.set()
        ask("delete", crds, "", "knobs.example.com", timeout=10)


