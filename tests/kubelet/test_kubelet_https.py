"""The kubelet's own API over HTTPS, and the way of logs, exec and port-forward to a node that another
process runs."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.kubelet._https import attributes
from cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {
        "nodeName": "joined",
        "containers": [{"name": "c", "image": "nginx:1", "command": ["sh", "-c", "echo begun; sleep 1000"]}],
    },
}


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/pods", ("get", ("pods", "proxy"))),
        ("GET", "/healthz/ping", ("get", ("healthz", "proxy"))),
        ("GET", "/metrics/resource", ("get", ("metrics",))),
        ("GET", "/stats/summary", ("get", ("stats",))),
        ("POST", "/exec/default/web/c", ("create", ("proxy",))),
        ("GET", "/containerLogs/default/web/c", ("get", ("proxy",))),
        ("GET", "/logs/", ("get", ("log",))),
        ("GET", "/podsy", ("get", ("proxy",))),
    ],
)
def test_a_request_needs_the_subresource_of_nodes_that_upstream_asks_for(
    method: str, path: str, wanted: tuple[str, tuple[str, ...]]
) -> None:
    assert attributes(method, path) == wanted


class Joined:
    """A cluster without machines, and a kubelet in a process of its own that joined it."""

    def __init__(self, cluster: Cluster, process: subprocess.Popen[str]) -> None:
        self.cluster = cluster
        self.process = process
        node = cluster.client.get("nodes", "joined")
        self.port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]

    def get(self, path: str, token: str = "", method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def token(self, account: str, *rules: Any) -> str:
        client = self.cluster.client
        client.create(
            "serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, "default"
        )
        if rules:
            role = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": account},
                "rules": list(rules),
            }
            client.create("clusterroles", role)
            binding = {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": account},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
            }  # fmt: skip
            client.create("clusterrolebindings", binding)
        return self.cluster.kubectl("create", "token", account).strip()


def start_kubelet(kubeconfig: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        str(ROOT / "cluster.py"),
        "kubelet",
        "--kubeconfig",
        str(kubeconfig),
        "--node-name",
        "joined",
    ]
    process = subprocess.Popen([*command, "--port", "0", *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "ready:" in process.stdout.readline()
    return process


@pytest.fixture(scope="module")
def joined() -> Iterator[Joined]:
    if shutil.which("kubectl") is None and not Path(sys.executable).with_name("kubectl").exists():
        pytest.skip("no kubectl")
    with Cluster(nodes=0) as cluster:
        process = start_kubelet(cluster.kubeconfig)
        try:
            cluster.wait("nodes/joined", "Ready")
            cluster.apply(POD)
            cluster.wait("pods/web", "Ready")
            yield Joined(cluster, process)
        finally:
            process.kill()
            process.wait()


def test_a_request_without_credentials_is_refused(joined: Joined) -> None:
    assert joined.get("/pods") == (401, "Unauthorized")
    assert joined.get("/healthz", token="nobody.knows.it") == (401, "Unauthorized")


def test_a_user_may_see_what_the_api_server_says_he_may(joined: Joined) -> None:
    token = joined.token(
        "scraper", {"apiGroups": [""], "resources": ["nodes/metrics", "nodes/stats"], "verbs": ["get"]}
    )
    code, text = joined.get("/metrics/resource", token)
    assert code == 200
    assert 'container_cpu_usage_seconds_total{container="c",namespace="default",pod="web"}' in text
    code, text = joined.get("/stats/summary", token)
    assert [p["podRef"]["name"] for p in json.loads(text)["pods"]] == ["web"]
    code, text = joined.get("/pods", token)
    assert (code, text) == (
        403,
        "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, subresource(s)=[pods proxy])",
    )


def test_a_user_of_nodes_proxy_may_run_commands_and_read_logs(joined: Joined) -> None:
    token = joined.token("runner", {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["*"]})
    assert joined.get("/run/default/web/c?cmd=echo+ran", token, "POST") == (200, "ran\n")
    assert joined.get("/containerLogs/default/web/c", token) == (200, "begun\n")
    assert joined.get("/containerLogs/default/none/c", token)[0] == 404
    assert joined.get("/run/default/web/c?cmd=true", token)[0] == 405
    assert joined.get("/checkpoint/default/web/c", token, "POST")[0] == 403


def test_kubectl_reaches_into_a_joined_node(joined: Joined, tmp_path: Path) -> None:
    kubectl = joined.cluster.kubectl
    assert kubectl("logs", "web") == "begun\n"
    assert kubectl("exec", "web", "--", "echo", "hello") == "hello\n"
    assert kubectl("exec", "-i", "web", "--", "cat", stdin="through") == "through"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        kubectl("exec", "web", "--", "sh", "-c", "exit 3")
    assert failed.value.returncode == 3
    source, copy = tmp_path / "there", tmp_path / "back"
    source.write_text("some bytes\n")
    kubectl("cp", str(source), "web:/tmp/there")
    kubectl("cp", "web:/tmp/there", str(copy))
    assert copy.read_text() == "some bytes\n"


def test_a_followed_log_of_a_joined_node_ends_with_the_container(joined: Joined) -> None:
    pod = {**POD, "metadata": {"name": "brief"}, "spec": {**POD["spec"], "restartPolicy": "Never"}}  # type: ignore[dict-item]
    pod["spec"]["containers"] = [
        {"name": "c", "image": "a:1", "command": ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"]}
    ]  # type: ignore[index]
    joined.cluster.apply(pod)
    joined.cluster.wait("pods/brief", lambda p: (p.get("status") or {}).get("phase") in ("Running", "Succeeded"))
    assert joined.cluster.kubectl("logs", "-f", "brief") == "1\n2\n3\n"


def test_the_proxy_of_a_joined_node_shows_the_kubelets_own_api(joined: Joined) -> None:
    raw = joined.cluster.kubectl("get", "--raw", "/api/v1/nodes/joined/proxy/healthz")
    assert raw == "ok"
    pods = json.loads(joined.cluster.kubectl("get", "--raw", "/api/v1/nodes/joined/proxy/pods"))
    assert "web" in [p["metadata"]["name"] for p in pods["items"]]


def served_issuer(port: int) -> str:
    """Who signed the certificate that the kubelet shows."""
    from cryptography import x509

    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return str(x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string())


def until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_node_joins_with_a_token_and_its_certificates_are_signed_by_the_cluster(tmp_path: Path) -> None:
    with Cluster(nodes=0) as cluster:
        client = cluster.client
        secret = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
        meta = {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "metadata": meta}
        client.create("secrets", {**body, "stringData": secret}, "kube-system")
        bindings = {
            "create": "system:node-bootstrapper",
            "approve": "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        }
        for name, role in bindings.items():
            ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:bootstrappers"}
            api = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
            client.create(
                "clusterrolebindings", {**api, "metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
            )
        known = yaml.safe_load(Path(cluster.kubeconfig).read_text())
        known["users"] = [{"name": u["name"], "user": {"token": "abcdef.0123456789abcdef"}} for u in known["users"]]
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_text(yaml.safe_dump(known))
        config = tmp_path / "config.yaml"
        config.write_text(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
            "maxPods: 7\nserverTLSBootstrap: true\nsystemReserved: {cpu: 500m}\n"
        )
        process = start_kubelet(second, "--bootstrap-kubeconfig", str(first), "--config", str(config))
        try:
            assert (tmp_path / "pki" / "kubelet-client-current.pem").stat().st_mode & 0o077 == 0
            until(lambda: any(n["metadata"]["name"] == "joined" for n in client.list("nodes")))
            node = client.get("nodes", "joined")
            assert node["status"]["capacity"]["pods"] == "7"
            assert node["status"]["allocatable"]["cpu"] == "31500m"
            requests = lambda: [  # noqa: E731
                r
                for r in client.list("certificatesigningrequests")
                if r["spec"]["signerName"].endswith("kubelet-serving")
            ]
            until(lambda: len(requests()) == 1)
            request = requests()[0]
            assert request["spec"]["username"] == "system:node:joined"
            approved = {"type": "Approved", "status": "True", "reason": "ByTest", "message": ""}
            request["status"] = {"conditions": [approved]}
            client.update("certificatesigningrequests", request, subresource="approval")
            port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            until(lambda: "joined-ca" not in served_issuer(port))
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: Pod", "no KubeletConfiguration"),
        (
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPodz: 1",
            'strict decoding error: unknown field "maxPodz"',
        ),
    ],
)
def test_a_configuration_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with Cluster(nodes=0) as cluster:
        command = [sys.executable, str(ROOT / "cluster.py"), "kubelet", "--kubeconfig", str(cluster.kubeconfig)]
        done = subprocess.run(
            [*command, "--node-name", "x", "--port", "0", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 2
    assert words in done.stderr
