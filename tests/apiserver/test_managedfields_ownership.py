"""Who owns which field: updates, server-side apply, conflicts, and giving up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.managedfields import apply, exclude, include, manager_name, update
from actors.apiserver.managedfields._sets import difference, intersection, union
from protocol.api import StatusError
from protocol.schema import LAST_MINOR, load

Object = dict[str, Any]
SCHEMA = load(LAST_MINOR)
CONFIG_MAP = SCHEMA.by_gvk("", "v1", "ConfigMap")
DEPLOYMENT = SCHEMA.by_gvk("apps", "v1", "Deployment")
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def config_map(data: Object | None = None, **metadata: Any) -> Object:
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}}
    return {**found, "data": data} if data is not None else found


def written(new: Object, old: Object | None, manager: str = "m", now: str = NOW, **more: Any) -> Object:
    new = json.loads(json.dumps(new))
    if old is not None and "managedFields" in old["metadata"]:
        new["metadata"].setdefault("managedFields", old["metadata"]["managedFields"])
    assert CONFIG_MAP is not None
    update(CONFIG_MAP, old, new, manager, api_version="v1", now=now, **more)
    return new


def applied(config: Object, live: Object | None, manager: str = "m", force: bool = False, now: str = NOW) -> Object:
    assert CONFIG_MAP is not None
    config = json.loads(json.dumps(config))
    return apply(CONFIG_MAP, live, config, manager, force=force, api_version="v1", kind="ConfigMap", now=now)


def owned(obj: Object) -> dict[tuple[str, str], Object]:
    """manager and operation -> fields."""
    entries = obj["metadata"].get("managedFields") or []
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in entries}


# --- updates ----------------------------------------------------------------------------------


def test_a_creator_owns_what_it_sets_but_not_the_name() -> None:
    made = written(config_map({"k": "v"}, labels={"l": "1"}), None)
    assert owned(made)["m", "Update"] == {
        "f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
    }


def test_a_writer_takes_over_what_it_changes() -> None:
    made = written(config_map({"a": "1", "b": "1"}), None, "first")
    changed = written(config_map({"a": "2", "b": "1"}), made, "second", LATER)
    assert owned(changed) == {
        ("first", "Update"): {"f:data": {".": {}, "f:b": {}}}, ("second", "Update"): {"f:data": {"f:a": {}}},
    }


def test_removed_fields_are_nobodys() -> None:
    made = written(config_map({"a": "1", "b": "1"}), None)
    assert owned(written(config_map({"b": "1"}), made))["m", "Update"] == {"f:data": {".": {}, "f:b": {}}}


def test_a_write_that_changes_nothing_keeps_the_time() -> None:
    made = written(config_map({"a": "1"}), None)
    again = written(config_map({"a": "1"}), made, now=LATER)
    assert again["metadata"]["managedFields"] == made["metadata"]["managedFields"]


def test_objects_without_managers_stay_without() -> None:
    assert "managedFields" not in written(config_map({"a": "2"}), config_map({"a": "1"}))["metadata"]


def test_an_empty_list_of_managers_resets_them() -> None:
    made = written(config_map({"a": "1"}), None)
    reset = config_map({"a": "1"}, managedFields=[{}])
    assert not written(reset, made)["metadata"].get("managedFields")


def test_a_subresource_owns_apart() -> None:
    made = written(config_map({"a": "1"}), None, subresource="status")
    assert made["metadata"]["managedFields"][0]["subresource"] == "status"


def test_the_manager_is_named_after_the_client() -> None:
    assert manager_name("", "kubectl/v1.36 (linux)") == "kubectl"
    assert manager_name("given", "kubectl/v1.36 (linux)") == "given"


def test_a_filter_keeps_or_drops_whole_parts() -> None:
    fields = {"f:spec": {"f:a": {}}, "f:status": {"f:b": {}}}
    assert include(("f:status",))(fields) == {"f:status": {"f:b": {}}}
    assert exclude({"f:status": {}})(fields) == {"f:spec": {"f:a": {}}}


# --- apply ------------------------------------------------------------------------------------


def test_applying_owns_exactly_what_is_said() -> None:
    made = applied(config_map({"a": "1"}), None)
    assert owned(made)["m", "Apply"] == {"f:data": {"f:a": {}}}


def test_what_is_no_longer_said_is_removed() -> None:
    made = applied(config_map({"a": "1", "b": "1"}), None)
    assert applied(config_map({"a": "1"}), made)["data"] == {"a": "1"}


def test_what_others_own_too_stays() -> None:
    first = applied(config_map({"a": "1", "b": "1"}), None, "one")
    both = applied(config_map({"b": "1"}), first, "two")
    assert applied(config_map({"a": "1"}), both, "one")["data"] == {"a": "1", "b": "1"}


def test_another_value_for_anothers_field_conflicts() -> None:
    made = applied(config_map({"a": "1"}), None, "one")
    with pytest.raises(StatusError) as caught:
        applied(config_map({"a": "2"}), made, "two")
    error = caught.value
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert error.status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]


def test_force_takes_the_field() -> None:
    made = applied(config_map({"a": "1"}), None, "one")
    taken = applied(config_map({"a": "2"}), made, "two", force=True)
    assert taken["data"] == {"a": "2"}
    assert set(owned(taken)) == {("two", "Apply")}


def test_the_same_value_is_shared() -> None:
    made = applied(config_map({"a": "1"}), None, "one")
    shared = applied(config_map({"a": "1"}), made, "two")
    assert set(owned(shared)) == {("one", "Apply"), ("two", "Apply")}


def test_kubectl_takes_over_what_its_client_side_apply_wrote() -> None:
    last = json.dumps(config_map({"a": "1"})) + "\n"
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": last}
    made = written(config_map({"a": "1"}, annotations=annotations), None, "kubectl-client-side-apply")
    assert applied(config_map({"a": "2"}), made, "kubectl")["data"] == {"a": "2"}


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        (config_map({"a": "1"}, managedFields=[{}]), 400, "metadata.managedFields must be nil"),
        ({**config_map(), "data": {"a": 1}}, 500, ".data.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({**config_map(), "nonsense": 1}, 500, ".nonsense: field not declared in schema"),
        ({**config_map(), "kind": "Secret"}, 400, "invalid object type: /v1, Kind=Secret"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(config: Object, code: int, words: str) -> None:
    with pytest.raises(StatusError) as caught:
        applied(config, None)
    assert caught.value.code == code
    assert words in caught.value.message


def test_elements_of_lists_are_owned_by_their_keys() -> None:
    def deployment(*images: str) -> Object:
        containers = [{"name": f"c{i}", "image": image} for i, image in enumerate(images)]
        return {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"template": {"spec": {"containers": containers}}},
        }

    assert DEPLOYMENT is not None
    more: Any = {"force": False, "api_version": "apps/v1", "kind": "Deployment", "now": NOW}
    one = apply(DEPLOYMENT, None, deployment("a", "b"), "m", **more)
    two = apply(DEPLOYMENT, one, deployment("a"), "m", **more)
    assert [c["name"] for c in two["spec"]["template"]["spec"]["containers"]] == ["c0"]


NAMES = st.text("abc", min_size=1, max_size=2)
DATA = st.dictionaries(NAMES, NAMES, max_size=3)


@given(st.dictionaries(NAMES, NAMES, min_size=1, max_size=3), DATA)
def test_applying_twice_is_applying_once(first: Object, second: Object) -> None:
    live = applied(config_map(first), applied(config_map(second), None))
    assert applied(config_map(first), live, now=LATER) == live
    assert (live.get("data") or {}) == first


@given(DATA, DATA)
def test_no_field_has_two_update_owners(first: Object, second: Object) -> None:
    made = written(config_map(first), None, "one")
    both = owned(written(config_map(second), made, "two", LATER))
    mine, theirs = (both.get((name, "Update"), {}).get("f:data", {}) for name in ("one", "two"))
    assert not {key for key in mine if key != "."} & {key for key in theirs if key != "."}


SETS = st.recursive(
    st.just({}), lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", "."]), inner, max_size=3), max_leaves=6
).map(lambda found: {key: node for key, node in found.items() if key != "."})


@given(SETS, SETS)
def test_sets_obey_the_laws_of_sets(a: Object, b: Object) -> None:
    assert union(a, a) == a
    assert difference(a, {}) == a
    assert intersection(a, b) == intersection(b, a)
    assert union(a, b) == union(b, a)


# --- several versions -------------------------------------------------------------------------

HPA = "horizontalpodautoscalers"
TARGET = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 5}


def scaler(version: str, **spec: Any) -> Object:
    head = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
    return {**head, "spec": {**TARGET, **spec}}


def metrics(percentage: int) -> list[Object]:
    target = {"type": "Utilization", "averageUtilization": percentage}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def apply_scaler(api: Any, version: str, manager: str, body: Object, **more: str) -> Object:
    what = f"{HPA}.{version}.autoscaling"
    found: Object = api.ask(
        "patch", what, "default", "h", body=body, patch="application/apply-patch+yaml", fieldManager=manager, **more
    )
    return found


def managers_of(obj: Object) -> dict[tuple[str, str], Object]:
    return {(e["manager"], e["apiVersion"]): e["fieldsV1"].get("f:spec") for e in obj["metadata"]["managedFields"]}


def test_each_manager_owns_fields_under_the_names_of_the_version_it_used(api: Any, refused: Any) -> None:
    apply_scaler(api, "v1", "one", scaler("v1", targetCPUUtilizationPercentage=50))
    same = apply_scaler(api, "v2", "two", scaler("v2", metrics=metrics(50)))
    found = managers_of(same)
    assert "f:targetCPUUtilizationPercentage" in found["one", "autoscaling/v1"]
    assert "f:metrics" in found["two", "autoscaling/v2"]
    error = refused(apply_scaler, api, "v2", "two", scaler("v2", metrics=metrics(60)))
    assert error.message == (
        'Apply failed with 1 conflict: conflict with "one": .spec.targetCPUUtilizationPercentage'
    )
    taken = managers_of(apply_scaler(api, "v2", "two", scaler("v2", metrics=metrics(60)), force="true"))
    assert "f:targetCPUUtilizationPercentage" not in taken["one", "autoscaling/v1"]
    assert "f:maxReplicas" in taken["one", "autoscaling/v1"]


def test_who_applies_in_another_version_than_before_gives_up_what_it_leaves_out(api: Any) -> None:
    apply_scaler(api, "v1", "one", scaler("v1", targetCPUUtilizationPercentage=50, minReplicas=2))
    moved = apply_scaler(api, "v2", "one", scaler("v2", minReplicas=2))
    assert list(managers_of(moved)) == [("one", "autoscaling/v2")]
    assert moved["spec"]["minReplicas"] == 2
    assert [m["resource"]["target"]["averageUtilization"] for m in moved["spec"].get("metrics", [])] != [50]


def test_a_field_that_another_version_owns_is_kept_when_it_is_given_up(api: Any) -> None:
    apply_scaler(api, "v1", "one", scaler("v1", targetCPUUtilizationPercentage=50))
    apply_scaler(api, "v2", "two", scaler("v2", metrics=metrics(50)))
    left = apply_scaler(api, "v1", "one", scaler("v1"))
    assert left["spec"]["targetCPUUtilizationPercentage"] == 50
    assert "f:targetCPUUtilizationPercentage" not in managers_of(left)["one", "autoscaling/v1"]


def test_an_update_in_one_version_takes_fields_from_managers_of_another(api: Any) -> None:
    apply_scaler(api, "v1", "one", scaler("v1", targetCPUUtilizationPercentage=50))
    changed = api.merge(f"{HPA}.v2.autoscaling", "default", "h", {"spec": {"metrics": metrics(70)}}, fieldManager="x")
    found = managers_of(changed)
    assert "f:targetCPUUtilizationPercentage" not in found["one", "autoscaling/v1"]
    assert "f:metrics" in found["x", "autoscaling/v2"]


def test_conflicts_on_list_elements_stand_in_the_order_of_their_numbers() -> None:
    pod = SCHEMA.by_gvk("", "v1", "Pod")
    assert pod is not None

    def config(suffix: str) -> Object:
        ports = [{"containerPort": n, "protocol": "TCP", "name": f"p{suffix}"} for n in (443, 80)]
        spec = {"containers": [{"name": "c", "ports": ports}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}

    live = apply(pod, None, config("1"), "one", force=False, api_version="v1", kind="Pod", now=NOW)
    with pytest.raises(StatusError) as refused:
        apply(pod, live, config("2"), "two", force=False, api_version="v1", kind="Pod", now=NOW)
    port = '- .spec.containers[name="c"].ports[containerPort={},protocol="TCP"].name'
    assert refused.value.message.split("\n")[1:] == [port.format(80), port.format(443)]


def test_a_definition_is_applied_whose_schema_has_a_schema_of_items() -> None:
    kind = SCHEMA.by_gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert kind is not None
    schema = {"properties": {"t": {"type": "array", "items": {"type": "string"}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    api = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    config = {**api, "metadata": {"name": "as.x.io"}, "spec": {"group": "x.io", "versions": [version]}}
    made = apply(kind, None, config, "m", force=False, api_version=api["apiVersion"], kind=api["kind"], now=NOW)
    assert owned(made)["m", "Apply"] == {"f:spec": {"f:group": {}, "f:versions": {}}}
    assert made["spec"]["versions"] == [version]
