"""The real kubectl, verb after verb: what changes workloads, nodes and access, and what looks at them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def web(kubectl: Kubectl) -> str:
    """A Deployment of two replicas that is rolled out, and its Service."""
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    kubectl("expose", "deploy", "web", "--port=80")
    return "deploy/web"


def found(kubectl: Kubectl, *what: str) -> Any:
    return json.loads(kubectl("get", *what, "-o", "json"))


def test_set_changes_the_template_and_rollout_follows_and_undoes(kubectl: Kubectl, web: str) -> None:
    kubectl("set", "image", web, "nginx=nginx:2")
    kubectl("set", "resources", web, "--limits=cpu=100m")
    kubectl("set", "env", web, "COLOUR=blue")
    container = found(kubectl, web)["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["resources"]["limits"]) == ("nginx:2", {"cpu": "100m"})
    assert container["env"] == [{"name": "COLOUR", "value": "blue"}]
    kubectl("rollout", "status", web, "--timeout=30s")
    kubectl("rollout", "undo", web)
    assert "env" not in found(kubectl, web)["spec"]["template"]["spec"]["containers"][0]
    kubectl("rollout", "pause", web)
    assert "can't restart paused deployment" in kubectl("rollout", "restart", web, fails=True)
    kubectl("rollout", "resume", web)
    kubectl("rollout", "restart", web)
    kubectl("rollout", "status", web, "--timeout=30s")
    assert len(kubectl("rollout", "history", web).splitlines()) >= 4


def test_scale_minds_what_it_expects_and_writes_by_the_subresource(kubectl: Kubectl, web: str) -> None:
    assert "Expected replicas to be 7" in kubectl("scale", web, "--replicas=3", "--current-replicas=7", fails=True)
    kubectl("scale", web, "--replicas=3", "--current-replicas=2")
    kubectl("patch", web, "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":2}}')
    assert found(kubectl, web)["spec"]["replicas"] == 2
    kubectl("autoscale", web, "--min=1", "--max=3", "--cpu=50%")
    assert found(kubectl, "hpa", "web")["spec"]["maxReplicas"] == 3
    kubectl("delete", "hpa", "web")


def test_edit_diff_replace_and_apply_of_one_manifest(
    kubectl: Kubectl, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl("label", web, "tier=back")
    monkeypatch.setenv("KUBE_EDITOR", "sed -i s/tier:.back/tier:\\ front/")
    assert "edited" in kubectl("edit", web)
    assert found(kubectl, web)["metadata"]["labels"]["tier"] == "front"
    manifest = tmp_path / "web.json"
    wanted = found(kubectl, web)
    wanted["spec"]["replicas"] = 1
    manifest.write_text(json.dumps(wanted))
    kubectl("diff", "-f", str(manifest), fails=True)
    kubectl("replace", "-f", str(manifest))
    kubectl("diff", "-f", str(manifest))
    assert "modified" in kubectl("replace", "-f", str(manifest), fails=True), "its resourceVersion is old"
    kubectl("wait", web, "--for=jsonpath={.status.readyReplicas}=1", "--timeout=30s")
    wanted["metadata"] = {"name": "web", "labels": {"tier": "top"}}
    manifest.write_text(json.dumps(wanted))
    refusal = kubectl("apply", "--server-side", "--field-manager=me", "-f", str(manifest), fails=True)
    assert 'conflict with "kubectl-edit" using apps/v1: .metadata.labels.tier' in refusal
    kubectl("apply", "--server-side", "--field-manager=me", "--force-conflicts", "-f", str(manifest))
    assert found(kubectl, web)["metadata"]["labels"]["tier"] == "top"


def test_nodes_are_tainted_cordoned_drained(kubectl: Kubectl, web: str) -> None:
    kubectl("taint", "node", "node-1", "key=value:NoSchedule")
    assert found(kubectl, "node", "node-1")["spec"]["taints"][0]["key"] == "key"
    kubectl("taint", "node", "node-1", "key-")
    kubectl("cordon", "node-0")
    assert "SchedulingDisabled" in kubectl("get", "node", "node-0")
    assert "drained" in kubectl("drain", "node-0", "--ignore-daemonsets", "--force")
    assert found(kubectl, "pods", "--field-selector=spec.nodeName=node-0,status.phase=Running", "-A")["items"] == []
    kubectl("uncordon", "node-0")


def test_access_is_asked_for_and_granted(kubectl: Kubectl) -> None:
    account = "--as=system:serviceaccount:default:robot"
    kubectl("create", "sa", "robot")
    kubectl("auth", "can-i", "list", "pods", account, fails=True)
    kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    kubectl("create", "rolebinding", "robot-reads", "--role=reader", "--serviceaccount=default:robot")
    assert kubectl("auth", "can-i", "list", "pods", account) == "yes\n"
    assert "selfsubjectreviews" in kubectl("auth", "can-i", "--list", account)
    assert kubectl("create", "token", "robot", "--duration=30m", "--audience=x").count(".") == 2
    assert "system:masters" in kubectl("auth", "whoami")


def test_the_server_explains_itself(kubectl: Kubectl) -> None:
    assert "rollingUpdate" in kubectl("explain", "deployment.spec", "--recursive")
    assert "RESOURCE: containers" in kubectl("explain", "pods.spec.containers", "--output=plaintext-openapiv2")
    assert "deployments.apps" in kubectl("api-resources", "-o", "name", "--verbs=list", "--namespaced")
    assert "apps/v1" in kubectl("api-versions").splitlines()
    assert "control plane is running" in kubectl("cluster-info")
    assert '"kind": "NodeList"' in kubectl("cluster-info", "dump", "--namespaces=default")
    assert "ScalingReplicaSet" in kubectl("events", "--for=deployment/web")
    unknown = "apiVersion: v1\nkind: Nope\nmetadata: {name: x}\n"
    assert 'no matches for kind "Nope" in version "v1"' in kubectl("apply", "-f", "-", stdin=unknown, fails=True)


def test_a_running_pod_gets_a_debugging_container(kubectl: Kubectl) -> None:
    kubectl("run", "patient", "--image=nginx")
    kubectl("wait", "pod/patient", "--for=condition=Ready", "--timeout=30s")
    kubectl("debug", "patient", "--image=busybox", "--target=patient", "--container=doctor")
    ephemeral = found(kubectl, "pod", "patient")["spec"]["ephemeralContainers"]
    assert [container["name"] for container in ephemeral] == ["doctor"]
    kubectl("delete", "pod", "patient", "--now")
