"""What a user of kubectl does on the first day."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.kubectl import find_kubectl
from cluster import Cluster

Kubectl = Callable[..., str]

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {part: shop}}
data: {colour: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {part: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        image: shop:1
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /, port: http}}
        envFrom: [{configMapRef: {name: settings}}]
        resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {part: shop}}
spec:
  selector: {app: shop}
  ports: [{port: 80, targetPort: http}]
"""


def rows(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table.strip().splitlines()[1:]]


def objects(kubectl: Kubectl, *arguments: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(kubectl("get", *arguments, "-o", "json"))["items"]
    return items


def test_the_nodes_are_ready(kubectl: Kubectl) -> None:
    table = rows(kubectl("get", "nodes"))
    assert [row[0] for row in table] == ["node-0", "node-1", "node-2"]
    assert {row[1] for row in table} == {"Ready"}


def test_a_deployment_rolls_out_to_running_pods_with_addresses_of_their_own(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    pods = objects(kubectl, "pods", "-l", "app=web")
    assert {p["status"]["phase"] for p in pods} == {"Running"}
    assert len({p["status"]["podIP"] for p in pods}) == 3
    assert {p["spec"]["nodeName"] for p in pods} == {"node-0", "node-1", "node-2"}
    wide = kubectl("get", "pods", "-l", "app=web", "-o", "wide")
    assert (
        wide.splitlines()[0].split() == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES".split()
    )


def test_a_deleted_pod_is_replaced(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "mortal", "--image=nginx", "--replicas=2")
    kubectl("rollout", "status", "deploy/mortal", "--timeout=30s")
    before = {p["metadata"]["name"] for p in objects(kubectl, "pods", "-l", "app=mortal")}
    victim = sorted(before)[0]
    kubectl("delete", "pod", victim)
    kubectl("wait", "deploy/mortal", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    after = {p["metadata"]["name"] for p in objects(kubectl, "pods", "-l", "app=mortal")}
    assert victim not in after
    assert len(after & before) == 1


def test_scale_image_history_undo_pause_and_resume(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "roll", "--image=app:1", "--replicas=2")
    kubectl("rollout", "status", "deploy/roll", "--timeout=30s")
    kubectl("scale", "deploy/roll", "--replicas=4")
    kubectl("rollout", "status", "deploy/roll", "--timeout=30s")
    kubectl("set", "image", "deploy/roll", "app=app:2")
    kubectl("annotate", "deploy/roll", "kubernetes.io/change-cause=to two")
    kubectl("rollout", "status", "deploy/roll", "--timeout=30s")
    history = kubectl("rollout", "history", "deploy/roll")
    assert re.search(r"1\s+<none>", history)
    assert re.search(r"2\s+to two", history)
    kubectl("rollout", "undo", "deploy/roll")
    kubectl("rollout", "status", "deploy/roll", "--timeout=30s")
    images = {c["image"] for p in objects(kubectl, "pods", "-l", "app=roll") for c in p["spec"]["containers"]}
    assert images == {"app:1"}
    kubectl("rollout", "pause", "deploy/roll")
    kubectl("set", "image", "deploy/roll", "app=app:3")
    assert len(objects(kubectl, "rs", "-l", "app=roll")) == 2
    kubectl("rollout", "resume", "deploy/roll")
    kubectl("rollout", "status", "deploy/roll", "--timeout=30s")
    assert len(objects(kubectl, "rs", "-l", "app=roll")) == 3


def test_a_manifest_of_many_documents_applies_and_applies_again(kubectl: Kubectl) -> None:
    first = kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert first.splitlines() == ["configmap/settings created", "deployment.apps/shop created", "service/shop created"]
    kubectl("rollout", "status", "deploy/shop", "--timeout=30s")
    again = kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert again.splitlines() == [
        "configmap/settings unchanged",
        "deployment.apps/shop unchanged",
        "service/shop unchanged",
    ]
    changed = kubectl("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: 3"))
    assert "deployment.apps/shop configured" in changed
    kubectl("rollout", "status", "deploy/shop", "--timeout=30s")
    slices = objects(kubectl, "endpointslices", "-l", "kubernetes.io/service-name=shop")
    ready = [a for s in slices for e in s["endpoints"] if e["conditions"]["ready"] for a in e["addresses"]]
    pods = objects(kubectl, "pods", "-l", "app=shop")
    assert sorted(ready) == sorted(p["status"]["podIP"] for p in pods)
    server_side = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)
    assert "serverside-applied" in server_side


def test_every_listing_of_a_first_day_prints_its_columns(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "seen", "--image=nginx")
    kubectl("expose", "deployment", "seen", "--port=80")
    kubectl("rollout", "status", "deploy/seen", "--timeout=30s")
    heads = {
        "rs": "NAME DESIRED CURRENT READY AGE",
        "deploy": "NAME READY UP-TO-DATE AVAILABLE AGE",
        "svc": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
        "ep": "NAME ENDPOINTS AGE",
        "endpointslices": "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
        "events": "LAST SEEN TYPE REASON OBJECT MESSAGE",
        "configmaps": "NAME DATA AGE",
        "namespaces": "NAME STATUS AGE",
        "serviceaccounts": "NAME AGE",
        "leases -n kube-node-lease": "NAME HOLDER AGE",
    }
    for what, head in heads.items():
        table = kubectl("get", *what.split())
        assert table.splitlines()[0].split() == head.split(), what
    described = kubectl("describe", "deployment", "seen")
    assert re.search(r"Scaled up replica set seen-\w+ from 0 to 1", described)
    pod = objects(kubectl, "pods", "-l", "app=seen")[0]["metadata"]["name"]
    described = kubectl("describe", "pod", pod)
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert re.search(rf"Normal\s+{reason}", described), reason


def test_a_watch_sees_the_pods_come(cluster: Cluster, kubectl: Kubectl) -> None:
    # A pod that is there already: once its row is printed, the watch stands.
    kubectl("run", "marker", "--image=nginx", "--labels=app=watched")
    kubectl("wait", "pod/marker", "--for=condition=Ready", "--timeout=30s")
    command = [find_kubectl(), f"--kubeconfig={cluster.kubeconfig}", "get", "pods", "-w", "-l", "app=watched"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert watch.stdout is not None
        lines = (line.split() for line in watch.stdout)
        assert next(row for row in lines if row[0] == "marker")[2] == "Running"
        kubectl("create", "deployment", "watched", "--image=nginx")
        seen = []
        for name, _, status, *_ in lines:
            if name.startswith("watched-"):
                seen.append(status)
            if "Running" in seen:
                break
        assert seen[0] == "Pending"
    finally:
        watch.kill()
        watch.wait()


def test_errors_read_as_kubernetes_says_them(kubectl: Kubectl) -> None:
    assert 'Error from server (NotFound): pods "nobody" not found' in kubectl("get", "pod", "nobody", fails=True)
    assert "the server doesn't have a resource type" in kubectl("get", "widgets", fails=True)
    kubectl("create", "configmap", "once")
    assert 'configmaps "once" already exists' in kubectl("create", "configmap", "once", fails=True)
    wrong = MANIFEST.replace("replicas: 2", "replicas: two")
    assert "replicas" in kubectl("apply", "-f", "-", stdin=wrong, fails=True)
    broken = kubectl(
        "create",
        "-f",
        "-",
        stdin="kind: Pod\napiVersion: v1\nmetadata: {name: x}\nspec: {containers: []}\n",
        fails=True,
    )
    assert "spec.containers: Required value" in broken
    unknown = kubectl(
        "apply", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nnonsense: 1\n", fails=True
    )
    assert 'unknown field "nonsense"' in unknown


def test_explain_and_api_resources_work(kubectl: Kubectl) -> None:
    assert "replicas\t<integer>" in kubectl("explain", "deployment.spec")
    names = kubectl("api-resources", "-o", "name").split()
    assert {"pods", "deployments.apps", "endpointslices.discovery.k8s.io", "leases.coordination.k8s.io"} <= set(names)
    assert "apps/v1" in kubectl("api-versions").split()


def test_component_statuses_say_who_is_healthy(kubectl: Kubectl) -> None:
    found = {row[0]: row[1:] for row in rows(kubectl("get", "componentstatuses"))}
    assert found["etcd-0"] == ["Healthy", "ok"]
    assert set(found) == {"scheduler", "controller-manager", "etcd-0"}


def test_deleting_a_namespace_deletes_what_is_in_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "short")
    kubectl("create", "deployment", "inner", "--image=nginx", "-n", "short")
    kubectl("rollout", "status", "deploy/inner", "-n", "short", "--timeout=30s")
    kubectl("delete", "namespace", "short", "--timeout=30s")
    assert "NotFound" in kubectl("get", "namespace", "short", fails=True)
    assert objects(kubectl, "pods", "-n", "short") == []


def test_logs_and_exec_reach_the_container(kubectl: Kubectl) -> None:
    kubectl("run", "talker", "--image=busybox", "--restart=Never", "--", "sh", "-c", "echo hello; sleep 1000")
    kubectl("wait", "pod/talker", "--for=condition=Ready", "--timeout=30s")
    assert kubectl("logs", "talker").strip() == "hello"
    assert kubectl("exec", "talker", "--", "echo", "inside").strip() == "inside"


def test_exec_and_attach_say_that_the_container_has_ended(kubectl: Kubectl) -> None:
    kubectl("run", "over", "--image=busybox", "--restart=Never", "--", "true")
    kubectl("wait", "pod/over", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s")
    upgrade = "Internal error occurred: unable to upgrade connection: container "
    assert 'cannot exec into a container in a completed pod' in kubectl("exec", "over", "--", "true", fails=True)
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "half-over"}, "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "on", "image": "busybox", "command": ["sleep", "1000"]},
                       {"name": "off", "image": "busybox", "command": ["true"]}]}}  # fmt: skip
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    ended = "--for=jsonpath={.status.containerStatuses[?(@.name==\"off\")].state.terminated.exitCode}=0"
    kubectl("wait", "pod/half-over", ended, "--timeout=20s")
    assert upgrade + 'not found ("off")' in kubectl("exec", "half-over", "-c", "off", "--", "true", fails=True)
    assert upgrade + "off not found in pod half-over_default" in kubectl("attach", "half-over", "-c", "off", fails=True)


def test_a_user_with_a_certificate_for_nothing_but_client_auth_is_served(kubectl: Kubectl, tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    request = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    csr = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "jane"}, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(csr))
    kubectl("certificate", "approve", "jane")
    kubectl("wait", "csr/jane", "--for=jsonpath={.status.certificate}", "--timeout=20s")
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    config["users"][0]["user"] = {
        "client-certificate-data": kubectl("get", "csr", "jane", "-o", "jsonpath={.status.certificate}"),
        "client-key-data": base64.b64encode(private).decode(),
    }
    (tmp_path / "jane").write_text(json.dumps(config))
    assert kubectl(f"--kubeconfig={tmp_path / 'jane'}", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == "jane"


def test_a_broken_image_shows_its_reason(kubectl: Kubectl) -> None:
    kubectl("run", "broken", "--image=nginx:broken")
    kubectl(
        "wait",
        "pod/broken",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull",
        "--timeout=20s",
    )


def test_a_crashing_container_backs_off(kubectl: Kubectl) -> None:
    kubectl("run", "crasher", "--image=busybox", "--command", "--", "false")
    kubectl(
        "wait",
        "pod/crasher",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
        "--timeout=20s",
    )


def test_deleting_a_deployment_in_the_foreground_leaves_nothing(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "gone", "--image=nginx", "--replicas=2")
    kubectl("rollout", "status", "deploy/gone", "--timeout=30s")
    kubectl("delete", "deployment", "gone", "--cascade=foreground", "--timeout=30s")
    assert objects(kubectl, "rs,pods", "-l", "app=gone") == []
