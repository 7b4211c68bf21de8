"""A kubelet or a daemon is killed: containers go on, and are taken up again as they are."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_clusters import Process, Up, runtime_options, until

from cli._errors import UsageError
from cli._machines import check_runtime

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: a
    image: localhost/busybox:test
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"]
---
apiVersion: v1
kind: Pod
metadata: {name: short}
spec:
  restartPolicy: Never
  containers:
  - name: a
    image: localhost/busybox:test
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "while ! test -e /end/now; do sleep 0.1; done; echo over; exit 4"]
    volumeMounts: [{name: end, mountPath: /end}]
  volumes: [{name: end, hostPath: {path: FOLDER}}]
"""


class Joined:
    """An API server without machines, and this machine as a node that a kubelet of its own process joined."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.up = Up(folder, nodes=0)
        self.kubelet = Process(
            folder, "kubelet", "--kubeconfig", str(self.up.kubeconfig), "--node-name", "joined", "--port", "0",
            "--data-dir", str(folder / "node"), *options,
        )  # fmt: skip
        self.end = folder / "end"
        self.end.mkdir()

    def start(self) -> None:
        self.up.start()
        self.kubelet.start()
        until(
            lambda: "True" in self.up.tried("get", "node", "joined", "-o", "jsonpath={.status.conditions[-1].status}")
        )
        self.up.kubectl("apply", "-f", "-", stdin=PODS.replace("FOLDER", str(self.end)))
        self.up.kubectl("wait", "--for=condition=Ready", "pod/counter", "pod/short", "--timeout=40s")

    def facts(self) -> list[str]:
        paths = (".status.containerStatuses[0].containerID", ".status.podIP", ".status.containerStatuses[0].restartCount",
                 ".status.containerStatuses[0].state.running.startedAt")  # fmt: skip
        return [self.up.field(path, "counter") for path in paths]

    def stop(self) -> None:
        if self.kubelet.process.poll() is not None:
            self.kubelet.start()
        self.up.kubectl("delete", "pods", "--all", "--now", "--wait=false")
        until(lambda: not self.up.kubectl("get", "pods", "-o", "name"), "pods do not go")
        self.kubelet.stop()
        self.up.stop()
        root = self.kubelet.folder / "node" / "kubelet" / "nodes" / "joined"
        bridge = "kb" + hashlib.sha256(str(root).encode()).hexdigest()[:8]  # stays with a machine whose kubelet ends
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


def numbers(text: str) -> list[int]:
    return [int(x) for x in text.split()]


@pytest.fixture
def joined(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Joined]:
    name: str = request.param
    endpoint = request.getfixturevalue(f"{name}_endpoint") if name in ("docker", "cri") else ""
    yield from _join(name, endpoint, tmp_path, request.getfixturevalue("image_store"))


def _join(name: str, endpoint: str, folder: Path, images: Any) -> Iterator[Joined]:
    try:
        check_runtime("runc" if name == "crun" else name, name, endpoint)
    except UsageError as missing:
        pytest.skip(str(missing))
    node = Joined(folder, runtime_options(name, endpoint, images.root))
    node.start()
    yield node
    node.stop()
    assert str(folder) not in Path("/proc/self/mounts").read_text(), "a mount was left"


@pytest.mark.parametrize("joined", ["runc", "crun", "docker", "cri"], indirect=True)
def test_a_killed_kubelet_comes_back_to_its_containers(joined: Joined) -> None:
    up, before = joined.up, joined.facts()
    until(lambda: len(numbers(up.tried("logs", "counter"))) > 5)
    joined.kubelet.stop(signal.SIGKILL)
    (joined.end / "now").touch()  # one ends while nobody looks
    time.sleep(1.5)
    joined.kubelet.start()
    until(lambda: up.field(".status.phase", "short") == "Failed")
    assert up.field(".status.containerStatuses[0].state.terminated.exitCode", "short") == "4"
    until(lambda: up.tried("logs", "short") == "over\n")
    assert joined.facts() == before
    seen = numbers(up.kubectl("logs", "counter"))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 15
    until(lambda: len(numbers(up.kubectl("logs", "counter"))) > len(seen))
    assert up.kubectl("exec", "counter", "--", "echo", "here") == "here\n"


@pytest.mark.parametrize("own_daemon", ["docker", "cri"], indirect=True)
def test_a_killed_daemon_comes_back_to_its_containers(
    own_daemon: Any, tmp_path: Path, image_store: Any, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["own_daemon"]
    for joined in _join(name, own_daemon.endpoint, tmp_path, image_store):
        up, before = joined.up, joined.facts()
        own_daemon.kill()
        (joined.end / "now").touch()
        time.sleep(2.0)
        assert joined.facts() == before
        own_daemon.start()
        until(lambda: up.field(".status.phase", "short") == "Failed")
        assert up.field(".status.containerStatuses[0].state.terminated.exitCode", "short") == "4"
        until(lambda: up.tried("exec", "counter", "--", "echo", "here") == "here\n")
        assert joined.facts() == before
        seen = len(numbers(up.kubectl("logs", "counter")))
        until(lambda: len(numbers(up.kubectl("logs", "counter"))) > seen)
