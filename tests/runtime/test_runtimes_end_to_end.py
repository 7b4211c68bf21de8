"""`cluster.py up --runtime X` and the real kubectl: a pod's whole life, and nothing left of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_clusters import WAIT_S, Up, fetch, groups_of, runtime_options, until

from cli._errors import UsageError
from cli._machines import check_runtime

IMAGES = ("runc", "crun", "docker", "cri")
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


@pytest.fixture(params=["runc", "crun", "docker", "cri", "namespaces", "process"])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Up]:
    name = request.param
    endpoint = request.getfixturevalue(f"{name}_endpoint") if name in ("docker", "cri") else ""
    images = request.getfixturevalue("image_store").root if name in IMAGES else None
    try:
        check_runtime("runc" if name == "crun" else name, name, endpoint)
    except UsageError as missing:
        pytest.skip(str(missing))
    cluster = Up(tmp_path, *runtime_options(name, endpoint, images))
    cluster.start()
    yield cluster
    if cluster.process.poll() is None:
        cluster.stop()
    mounts = Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in mounts, "a mount was left"


def test_a_pod_lives_and_dies_under_kubectl(up: Up, tmp_path: Path) -> None:
    images = up.options[1] in IMAGES
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
    until(lambda: not groups_of(uid), "a control group was left")
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


FILLER = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  restartPolicy: Never
  volumes: [{name: cache, emptyDir: {sizeLimit: 1Mi}}]
  containers:
  - name: a
    image: localhost/busybox:test
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "dd if=/dev/zero of=/cache/f bs=1k count=2000; sleep 600"]
    volumeMounts: [{name: cache, mountPath: /cache}]
"""


def test_a_pod_that_fills_its_volume_is_evicted(image_store: Any, tmp_path: Path) -> None:
    try:
        check_runtime("runc")
    except UsageError as missing:
        pytest.skip(str(missing))
    up = Up(tmp_path, *runtime_options("runc", images=image_store.root))
    up.start()
    try:
        up.kubectl("apply", "-f", "-", stdin=FILLER)
        until(lambda: up.field(".status.reason") == "Evicted")
        assert up.field(".status.message") == 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
        assert up.field(".status.phase") == "Failed"
    finally:
        up.stop()
