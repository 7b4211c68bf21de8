"""`cluster.py up --runtime X` and the real kubectl: a pod's whole life, and nothing left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli._errors import UsageError
from cli._machines import check_runtime
from cli.kubectl import find_kubectl

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 40.0
POD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {greeting: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: conf, configMap: {name: conf}}]
  containers:
  - name: a
    image: localhost/busybox:test
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo started; PLACE; while :; do sleep 0.2; test -e /tmp/END && exit 3; done"]
    volumeMounts: [{name: conf, mountPath: /conf}]
    resources: {limits: {cpu: 500m, memory: 64Mi}}
"""


def until(condition: Callable[[], Any], what: str = "") -> Any:
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


class Up:
    """A cluster in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        try:
            self.binary = find_kubectl()
        except UsageError as missing:
            pytest.skip(str(missing))
        self.folder, self.options = folder, options
        self.kubeconfig = folder / "kubeconfig"

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "cluster.py"), "up", "--nodes", "1", "--port", "0"]
        command += ["--data-dir", str(self.folder / "data"), "--kubeconfig", str(self.kubeconfig), *self.options]
        self.errors = (self.folder / "errors").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, cwd=ROOT)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(b"ready:"), (self.folder / "errors").read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()
        return code

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        command = [self.binary, f"--kubeconfig={self.kubeconfig}", "--request-timeout=30s", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    def tried(self, *arguments: str) -> str:
        """As `kubectl`; empty when it fails."""
        with contextlib.suppress(AssertionError):
            return self.kubectl(*arguments)
        return ""

    def field(self, path: str) -> str:
        return self.kubectl("get", "pod", "web", "-o", f"jsonpath={{{path}}}")

    @contextlib.contextmanager
    def forwarded(self, port: int) -> Iterator[int]:
        command = [self.binary, f"--kubeconfig={self.kubeconfig}", "port-forward", "pod/web", f"0:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "Forwarding from" in line, line
            yield int(line.split("127.0.0.1:")[1].split()[0])
        finally:
            process.terminate()
            process.wait(WAIT_S)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture(params=["runc", "docker", "cri", "namespaces", "process"])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Up]:
    name = request.param
    options = ["--runtime", name]
    if name in ("docker", "cri"):
        options += ["--container-runtime-endpoint", request.getfixturevalue(f"{name}_endpoint")]
    if name in ("runc", "docker", "cri"):
        options += ["--image-store", str(request.getfixturevalue("image_store").root)]
    try:
        check_runtime(name, endpoint=options[3] if name in ("docker", "cri") else "")
    except UsageError as missing:
        pytest.skip(str(missing))
    cluster = Up(tmp_path, *options)
    cluster.start()
    yield cluster
    if cluster.process.poll() is None:
        cluster.stop()
    mounts = Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in mounts, "a mount was left"


def fetch(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(4096):
            answer += data
    return answer


def test_a_pod_lives_and_dies_under_kubectl(up: Up, tmp_path: Path) -> None:
    images = up.options[1] in ("runc", "docker", "cri")
    serve = (
        "mkdir -p /tmp/www; cp /conf/greeting /tmp/www/index.html; httpd -p 8080 -h /tmp/www"
        if images
        else "cat conf/greeting"
    )
    mark = f"end-{os.getpid()}"
    up.kubectl("apply", "-f", "-", stdin=POD.replace("PLACE", serve).replace("END", mark))
    up.kubectl("wait", "--for=condition=Ready", "pod/web", f"--timeout={WAIT_S}s")
    until(lambda: "started" in up.kubectl("logs", "web"))
    uid = up.field(".metadata.uid")
    address, ident = up.field(".status.podIP"), up.field(".status.containerStatuses[0].containerID")
    assert ident.split("://")[0] == {"cri": "containerd"}.get(up.options[1], up.options[1])
    inside = "/conf/greeting" if images else "conf/greeting"
    assert up.kubectl("exec", "web", "--", "cat", inside) == "hello"
    assert up.kubectl("exec", "-i", "web", "--", "cat", stdin="piped\n") == "piped\n"
    if images:
        (tmp_path / "file").write_text("copied")
        up.kubectl("cp", str(tmp_path / "file"), "web:/tmp/file")
        assert up.kubectl("exec", "web", "--", "cat", "/tmp/file") == "copied"
        with up.forwarded(8080) as port:
            assert b"hello" in fetch(port, "/index.html")
    until(lambda: "web" in up.kubectl("top", "pod"))
    if up.options[1] != "process":
        up.kubectl("exec", "web", "--", "touch", f"/tmp/{mark}")
        until(lambda: up.field(".status.containerStatuses[0].lastState.terminated.exitCode") == "3")
        Path(f"/tmp/{mark}").unlink(missing_ok=True)  # without images /tmp is the machine's
        assert up.field(".status.podIP") == address
    up.kubectl("delete", "pod", "web")
    until(lambda: not list(Path("/sys/fs/cgroup").glob(f"**/pod{uid}")), "a control group was left")
    assert up.stop() == 0


def test_a_killed_cluster_takes_its_containers_up_again(image_store: Any, tmp_path: Path) -> None:
    try:
        check_runtime("runc")
    except UsageError as missing:
        pytest.skip(str(missing))
    up = Up(tmp_path, "--runtime", "runc", "--image-store", str(image_store.root))
    up.start()
    try:
        up.kubectl("apply", "-f", "-", stdin=POD.replace("PLACE", "true").replace("END", "never"))
        up.kubectl("wait", "--for=condition=Ready", "pod/web", f"--timeout={WAIT_S}s")
        before = up.field(".status.containerStatuses[0].containerID"), up.field(".status.podIP")
        up.stop(signal.SIGKILL)
        up.start()
        until(lambda: up.tried("exec", "web", "--", "cat", "/conf/greeting") == "hello")  # the kubelet is back
        assert (up.field(".status.containerStatuses[0].containerID"), up.field(".status.podIP")) == before
        assert up.field(".status.containerStatuses[0].restartCount") == "0"
    finally:
        up.stop()
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
