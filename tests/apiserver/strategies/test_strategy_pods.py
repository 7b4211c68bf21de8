"""Pods: defaults, what is valid, what may change, warnings and columns."""

from __future__ import annotations

from typing import Any

import pytest


def pod(spec: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **meta}, "spec": spec}


def test_a_pod_gets_kubernetes_defaults(kit: Any, pod_spec: Any) -> None:
    made = kit("pods").create(pod(pod_spec()))
    spec, container = made["spec"], made["spec"]["containers"][0]
    assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Always", "ClusterFirst")
    assert (spec["schedulerName"], spec["terminationGracePeriodSeconds"]) == ("default-scheduler", 30)
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"), [("a", "Always"), ("a:latest", "Always"), ("a:1", "IfNotPresent"), ("a@sha256:0", "IfNotPresent")]
)
def test_the_image_decides_when_it_is_pulled(kit: Any, image: str, policy: str) -> None:
    made = kit("pods").create(pod({"containers": [{"name": "c", "image": image}]}))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_resources_decide_the_quality_of_service(kit: Any, resources: Any, quality: str) -> None:
    container = {"name": "c", "image": "i", "resources": resources}
    assert kit("pods").create(pod({"containers": [container]}))["status"]["qosClass"] == quality


def test_limits_are_requests_where_none_are_given(kit: Any) -> None:
    container = {"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}}}
    made = kit("pods").create(pod({"containers": [container]}))
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"restartPolicy": "Maybe"}, 'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'),
        ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        ({"nodeSelector": {"a b": "c"}}, 'spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters'),
        ({"hostname": "a.b"}, 'spec.hostname: Invalid value: "a.b": must not contain dots'),
        ({"volumes": [{"emptyDir": {}}]}, "spec.volumes[0].name: Required value"),
        ({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}, 'spec.volumes[1].name: Duplicate value: "v"'),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(kit: Any, pod_spec: Any, change: Any, expected: str) -> None:
    errors = kit("pods").wrong(pod(pod_spec(**change)))
    assert any(error.startswith(expected) for error in errors), errors


def test_a_volume_without_a_source_is_an_empty_directory(kit: Any, pod_spec: Any) -> None:
    made = kit("pods").create(pod(pod_spec(volumes=[{"name": "v"}])))
    assert made["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": ""}, "spec.containers[0].name: Required value"),
        ({"image": ""}, "spec.containers[0].image: Required value"),
        ({"ports": [{"containerPort": 70000}]}, "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ({"env": [{"name": ""}]}, "spec.containers[0].env[0].name: Required value"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/d"}]}, 'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
        ({"livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": -1}}, "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
        ({"livenessProbe": {}}, "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, 'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
    ],
)
def test_a_wrong_field_of_a_container_is_named(kit: Any, change: Any, expected: str) -> None:
    container = {"name": "c", "image": "i", **change}
    errors = kit("pods").wrong(pod({"containers": [container]}))
    assert any(error.startswith(expected) for error in errors), errors


def test_the_image_of_a_running_pod_may_change_and_nothing_else(kit: Any, pod_spec: Any) -> None:
    pods = kit("pods")
    old = pods.create(pod(pod_spec()))

    def upgrade(obj: Any) -> None:
        obj["spec"]["containers"][0]["image"] = "registry.example/app:2"

    def rename(obj: Any) -> None:
        obj["spec"]["containers"][0]["command"] = ["sh"]

    assert pods.update(old, upgrade)["metadata"].get("generation") == 2
    (error,) = pods.refused(old, rename)
    assert error.startswith("spec: Forbidden: pod updates may not change fields other than")
    assert '\n-   "Command": null,\n+   "Command": [\n+    "sh"\n+   ],\n' in error


def test_resources_change_through_resize_only(kit: Any) -> None:
    pods = kit("pods")
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    old = pods.create(pod({"containers": [container]}))

    def grow(obj: Any) -> None:
        obj["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"

    assert pods.refused(old, grow)
    assert pods.update(old, grow, "resize")["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2"}


def test_ephemeral_containers_are_added_and_never_removed(kit: Any, pod_spec: Any) -> None:
    pods = kit("pods")
    old = pods.create(pod(pod_spec()))

    def debug(obj: Any) -> None:
        obj["spec"]["ephemeralContainers"] = [{"name": "d", "image": "i"}]

    with_debugger = pods.update(old, debug, "ephemeralcontainers")
    (error,) = pods.refused(with_debugger, lambda obj: obj["spec"].pop("ephemeralContainers"), "ephemeralcontainers")
    assert error.startswith("spec.ephemeralContainers: Forbidden: existing ephemeral containers")


def test_tolerations_may_be_added(kit: Any, pod_spec: Any) -> None:
    pods = kit("pods")
    old = pods.create(pod(pod_spec(tolerations=[{"key": "a", "operator": "Exists"}])))
    more = {"key": "b", "operator": "Exists"}
    pods.update(old, lambda obj: obj["spec"]["tolerations"].append(more))
    assert pods.refused(old, lambda obj: obj["spec"]["tolerations"].clear())


def test_a_write_to_the_status_keeps_the_spec(kit: Any, pod_spec: Any) -> None:
    pods = kit("pods")
    old = pods.create(pod(pod_spec()))

    def report(obj: Any) -> None:
        obj["status"]["phase"] = "Running"
        obj["spec"]["nodeName"] = "elsewhere"

    new = pods.update(old, report, "status")
    assert new["status"]["phase"] == "Running"
    assert "nodeName" not in new["spec"]


def test_duplicates_are_warned_of_once(kit: Any) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    pods = kit("pods")
    made = pods.create(pod({"containers": [{"name": "c", "image": "i", "env": env}]}))
    assert pods.strategy.warnings(made, None) == [
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'
    ]
    assert pods.strategy.warnings(made, made) == []


@pytest.mark.parametrize(
    ("status", "cells"),
    [
        ({"phase": "Pending"}, ("0/1", "Pending", "0")),
        ({"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 2, "state": {"running": {}}}]}, ("1/1", "Running", "2")),
        ({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}, ("0/1", "ImagePullBackOff", "0")),
        ({"phase": "Failed", "reason": "Evicted"}, ("0/1", "Evicted", "0")),
    ],
)
def test_the_status_cell_tells_what_a_pod_waits_for(kit: Any, pod_spec: Any, status: Any, cells: Any) -> None:
    pods = kit("pods")
    row = pods.cells({**pods.create(pod(pod_spec())), "status": status})
    assert (row["Ready"], row["Status"], row["Restarts"]) == cells


def test_pods_are_found_by_node_and_phase(kit: Any, pod_spec: Any) -> None:
    pods = kit("pods")
    fields = pods.strategy.fields(pods.create(pod(pod_spec(nodeName="n1"))))
    assert (fields["spec.nodeName"], fields["status.phase"]) == ("n1", "Pending")
