"""Unmodified clients: kubectl and the `kubernetes` Python client against an API server alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from actors.kernel import Actor, Child, handles
from cluster import ApiServerProcess
from protocol import status
from protocol.api import ApiRequest, Resource
from protocol.node import NodeConnected, PodExec, PodPortForward, StreamClosed, StreamData, StreamOpened

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {color: green}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
"""

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def kubeconfig(https: ApiServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kube") / "config"
    https.write_kubeconfig(path)
    return path


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Iterator[Kubectl]:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")

    def run(*words: str, fails: bool = False, stdin: str = "") -> str:
        env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)}
        done = subprocess.run([KUBECTL or "", *words], env=env, capture_output=True, text=True, timeout=30, input=stdin)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


def test_kubectl_applies_shows_changes_and_deletes(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=MANIFEST).count("created") == 5
    assert kubectl("apply", "-f", "-", stdin=MANIFEST).count("unchanged") == 5
    assert "web" in kubectl("get", "deploy,svc,cm", "-n", "shop", "-o", "wide")
    changed = MANIFEST.replace("green", "blue").replace("replicas: 2", "replicas: 4")
    assert kubectl("diff", "-f", "-", stdin=MANIFEST) == ""
    assert kubectl("apply", "-f", "-", stdin=changed).count("configured") == 2
    assert kubectl("get", "deploy", "web", "-n", "shop", "-o", "jsonpath={.spec.replicas}") == "4"
    kubectl("scale", "deploy", "web", "-n", "shop", "--replicas=1")
    kubectl("set", "image", "deploy/web", "-n", "shop", "web=nginx:2")
    found = json.loads(kubectl("get", "deploy", "web", "-n", "shop", "-o", "json"))
    assert (found["spec"]["replicas"], found["spec"]["template"]["spec"]["containers"][0]["image"]) == (1, "nginx:2")
    assert "nginx:2" in kubectl("describe", "deploy", "web", "-n", "shop")
    kubectl("delete", "deploy", "web", "-n", "shop")
    assert "NotFound" in kubectl("get", "deploy", "web", "-n", "shop", fails=True)


def test_kubectl_applies_on_the_server_with_conflicts(kubectl: Kubectl) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {k: one}\n"
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=manifest)
    error = kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=manifest.replace("one", "two"), fails=True)
    assert 'conflict with "one": .data.k' in error
    kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", stdin=manifest.replace("one", "two"))
    assert kubectl("get", "cm", "ssa", "-o", "jsonpath={.data.k}") == "two"


def test_kubectl_creates_edits_labels_and_explains(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "made", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "made", "--from-literal=a=b")
    kubectl("create", "deployment", "made", "--image=nginx", "--replicas=3")
    kubectl("label", "cm", "made", "color=red")
    kubectl("annotate", "cm", "made", "note=x")
    kubectl("patch", "cm", "made", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"d"}]')
    assert kubectl("get", "cm", "-l", "color=red", "-o", "name").strip() == "configmap/made"
    assert kubectl("get", "cm", "made", "-o", "jsonpath={.data.c}") == "d"
    assert "FIELDS" in kubectl("explain", "deployment.spec")
    assert "replicas" in kubectl("explain", "deployment.spec")
    assert "unknown field" in kubectl(
        "create", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\nspek: 1\n", fails=True
    )
    assert "deployments" in kubectl("api-resources", "--api-group=apps")
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert kubectl("auth", "can-i", "create", "pods", "--as=nobody", fails=True) == ""


@pytest.fixture
def python_client(kubeconfig: Path) -> Iterator[Any]:
    kubernetes = pytest.importorskip("kubernetes")
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    with kubernetes.client.ApiClient(configuration) as made:
        yield made


def test_the_python_client_reads_writes_and_watches(python_client: Any) -> None:
    from kubernetes import client, watch

    core = client.CoreV1Api(python_client)
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="py"), data={"a": "1"}))
    version = core.list_namespaced_config_map("default").metadata.resource_version
    events: list[str] = []

    def follow() -> None:
        for event in watch.Watch().stream(
            core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=5,
            field_selector="metadata.name=py",
        ):
            events.append(event["type"])
            if event["type"] == "DELETED":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    core.patch_namespaced_config_map("py", "default", {"data": {"a": "2"}})
    core.delete_namespaced_config_map("py", "default")
    thread.join(10)
    assert events == ["MODIFIED", "DELETED"]
    with pytest.raises(client.ApiException) as caught:
        core.read_namespaced_config_map("py", "default")
    assert caught.value.status == 404


def test_the_python_dynamic_client_finds_and_applies_any_kind(python_client: Any) -> None:
    from kubernetes import dynamic

    leases = dynamic.DynamicClient(python_client).resources.get(api_version="coordination.k8s.io/v1", kind="Lease")
    body = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "dyn"},
        "spec": {"holderIdentity": "me"},
    }
    made = leases.server_side_apply(body=body, namespace="default", field_manager="py")
    assert made.spec.holderIdentity == "me"
    assert [lease.metadata.name for lease in leases.get(namespace="default").items] == ["dyn"]
    leases.delete(name="dyn", namespace="default")


def test_tokens_can_be_checked_with_the_keys_that_the_server_publishes(kubectl: Kubectl, python_client: Any) -> None:
    from kubernetes import client

    core = client.CoreV1Api(python_client)
    core.create_namespaced_service_account("default", client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="oidc")))
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=["me"], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("oidc", "default", request).status.token
    known = json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))
    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")

    key = known["keys"][0]
    public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
    text, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(pair, text.encode(), ec.ECDSA(hashes.SHA256()))


class EchoNode(Actor):
    """A kubelet whose pods echo, loudly."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: dict[int, Any] = {}

    @handles(PodPortForward)
    def forward(self, message: PodPortForward) -> StreamOpened:
        self.peers[message.stream_id] = message.peer
        message.peer.tell(StreamData(message.stream_id, 0, f"port {message.ports[0]}\n".encode()))
        return StreamOpened(message.stream_id, self.ref)

    @handles(PodExec)
    def execute(self, message: PodExec) -> StreamOpened:
        message.peer.tell(StreamData(message.stream_id, 1, " ".join(message.command).encode()))
        failed = status.failure(500, "NonZeroExitCode", "command terminated with exit code 7", {
            "causes": [{"reason": "ExitCode", "message": "7"}]}).status
        message.peer.tell(StreamClosed(message.stream_id, failed))
        return StreamOpened(message.stream_id, self.ref)

    @handles(StreamData)
    def data(self, message: StreamData) -> None:
        self.peers[message.stream_id].tell(StreamData(message.stream_id, 0, message.data.upper()))

    @handles(StreamClosed)
    def closed(self, message: StreamClosed) -> None:
        self.peers.pop(message.stream_id, None)


@pytest.fixture(scope="module")
def echo_pod(https: ApiServerProcess) -> str:
    ref = https.system.spawn(Child("echo-node", EchoNode))
    https.apiserver.tell(NodeConnected("echo", ref))
    spec = {"nodeName": "echo", "containers": [{"name": "c", "image": "i"}]}
    pod = {"metadata": {"name": "echo"}, "spec": spec}
    pods = Resource("", "v1", "pods")
    https.apiserver.ask(ApiRequest("create", pods, "default", body=pod), timeout=10)
    running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    https.apiserver.ask(
        ApiRequest("patch", pods, "default", "echo", "status", running, "application/merge-patch+json"), timeout=10
    )
    return "echo"


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_kubectl_forwards_ports_over_websockets_and_spdy(kubeconfig: Path, echo_pod: str, websockets: str) -> None:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    env = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets}
    words = [KUBECTL, "port-forward", "--address=127.0.0.1", f"pod/{echo_pod}", ":8080"]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = int(line.split("127.0.0.1:")[1].split()[0])
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                    stream = sock.makefile("rwb")
                    assert stream.readline() == b"port 8080\n"
                    stream.write(b"hello\n")
                    stream.flush()
                    assert stream.readline() == b"HELLO\n"
        finally:
            process.terminate()


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_kubectl_executes_over_websockets_and_spdy(kubeconfig: Path, echo_pod: str, websockets: str) -> None:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    env = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    words = [KUBECTL, "exec", echo_pod, "--", "say", "hi"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == ("say hi", 7)
