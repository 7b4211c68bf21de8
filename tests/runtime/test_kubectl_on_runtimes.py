"""What users do with pods, by the real kubectl, on every runtime of real containers: one cluster each."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_clusters import WAIT_S, Up, runtime_options, until

from cli._errors import UsageError
from cli._machines import check_runtime

IMAGE = "localhost/busybox:test"
CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module", params=["runc", "crun", "docker", "cri"])
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    name = request.param
    endpoint = request.getfixturevalue(f"{name}_endpoint") if name in ("docker", "cri") else ""
    images = request.getfixturevalue("image_store").root
    try:
        check_runtime("runc" if name == "crun" else name, name, endpoint)
    except UsageError as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp(name)
    cluster = Up(folder, *runtime_options(name, endpoint, images))
    cluster.start()
    yield cluster
    assert cluster.stop() == 0
    assert str(folder) not in Path("/proc/self/mounts").read_text(), "a mount was left"


def pod(name: str, script: str, container: str = "", spec: str = "") -> str:
    """A manifest; `container` and `spec` are more fields of the container and of the pod."""
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
{spec}
  containers:
  - name: a
    image: {IMAGE}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '{script}']
{container}
"""


def events(up: Up, name: str) -> str:
    return up.kubectl(
        "get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "jsonpath={.items[*].message}"
    )


def test_logs_are_cut_followed_and_remembered(up: Up) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.5; echo wrong >&2; sleep 0.5; echo last; exit 3"
    up.kubectl("apply", "-f", "-", stdin=pod("log", script, spec="  restartPolicy: Never"))
    until(lambda: "line 5" in up.tried("logs", "log"))
    assert up.kubectl("logs", "-f", "log").splitlines()[-1] == "last"
    until(lambda: up.field(".status.phase", "log") == "Failed")
    assert up.kubectl("logs", "log", "--tail=1") == "last\n"
    assert up.kubectl("logs", "log", "--limit-bytes=9").startswith("line 1\nli")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z last\n", up.kubectl("logs", "log", "--tail=1", "--timestamps"))
    assert "line 1" in up.kubectl("logs", "log", "--since=1h")
    assert up.kubectl("logs", "log", "--since-time=2100-01-01T00:00:00Z") == ""
    assert sorted(up.kubectl("logs", "log").splitlines())[-1] == "wrong"
    up.kubectl("delete", "pod", "log", "--now", "--wait=false")


def test_the_log_of_the_container_before_is_kept(up: Up) -> None:
    script = (
        "test -e /data/again && echo second || echo first; test -e /data/again && sleep 600; touch /data/again; exit 1"
    )
    volume = "    volumeMounts: [{name: data, mountPath: /data}]"
    up.apply(pod("twice", script, volume, "  volumes: [{name: data, emptyDir: {}}]"))
    until(lambda: up.field(".status.containerStatuses[0].restartCount", "twice") == "1")
    until(lambda: up.tried("logs", "twice") == "second\n")
    assert up.kubectl("logs", "twice", "--previous") == "first\n"
    up.kubectl("delete", "pod", "twice", "--now", "--wait=false")


def test_a_terminal_is_as_large_as_its_window_and_files_are_copied(up: Up, tmp_path: Path) -> None:
    up.apply(pod("term", "while :; do sleep 1; done"), "term")
    script = "tty; read x; stty size; read x; stty size; exit 7"
    with up.at_terminal("exec", "-it", "term", "--", "sh", "-c", script, rows=31, columns=97) as terminal:
        terminal.until("/dev/pts/0")
        time.sleep(1.0)  # nothing tells when a size has arrived
        terminal.type("x\n")
        terminal.until("31 97")
        terminal.resize(12, 44)
        time.sleep(1.0)
        terminal.type("x\n")
        terminal.until("12 44")
        assert terminal.end() == 7
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f").write_bytes(os.urandom(300_000))
    up.kubectl("cp", str(tmp_path / "folder"), "term:/tmp/folder")
    up.kubectl("cp", "term:/tmp/folder/f", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "folder" / "f").read_bytes()
    assert up.run("exec", "term", "--", "sh", "-c", "exit 5").returncode == 5
    assert "no-such" in up.run("exec", "term", "--", "no-such").stderr
    up.kubectl("delete", "pod", "term", "--now", "--wait=false")


def test_one_attaches_to_what_runs(up: Up) -> None:
    fields = "    stdin: true\n    tty: true"
    up.apply(
        pod(
            "att",
            "while read line; do echo got $line; test $line = end && sleep 1 && exit 0; done",
            fields,
            "  restartPolicy: Never",
        ),
        "att",
    )
    with up.at_terminal("attach", "-it", "att") as terminal:
        terminal.type("word\n")
        terminal.until("got word")
        terminal.type("end\n")
        terminal.until("got end")
        terminal.end()
    until(lambda: "got word" in up.kubectl("logs", "att"))
    up.kubectl("delete", "pod", "att", "--now", "--wait=false")


def test_a_debugger_sees_the_processes_of_its_target(up: Up) -> None:
    up.apply(pod("target", "exec sleep 4321"), "target")
    up.kubectl(
        "debug", "target", "--image", IMAGE, "--image-pull-policy=IfNotPresent", "--target=a", "--container=debugger",
        "--profile=general", "--", "sh", "-c", "ps; cat /proc/1/cmdline | tr '\\\\0' ' '; echo; sleep 600",
    )  # fmt: skip
    until(lambda: "sleep 4321" in up.tried("logs", "target", "-c", "debugger"))
    assert up.field(".status.ephemeralContainerStatuses[0].state.running.startedAt", "target")
    up.kubectl("delete", "pod", "target", "--now", "--wait=false")


def test_who_takes_too_much_memory_is_killed(up: Up) -> None:
    script = "x=0123456789abcdef; while :; do x=$x$x; done"
    limits = "    resources: {limits: {memory: 40Mi, cpu: 500m}}"
    up.kubectl("apply", "-f", "-", stdin=pod("oom", script, limits, "  restartPolicy: Never"))
    until(lambda: up.field(".status.phase", "oom") == "Failed")
    ended = up.field(".status.containerStatuses[0].state.terminated", "oom")
    assert '"reason":"OOMKilled"' in ended
    assert '"exitCode":137' in ended
    up.kubectl("delete", "pod", "oom", "--now", "--wait=false")


def limit_files(uid: str, ident: str, name: str) -> list[str]:
    """What the kernel has as CPU quota and memory limit of the pod's group and of the container's."""
    found = []
    if (CGROUPS / "cgroup.controllers").exists():
        files = (CGROUPS, "cpu.max"), (CGROUPS, "memory.max")
    else:
        files = (CGROUPS / "cpu", "cpu.cfs_quota_us"), (CGROUPS / "memory", "memory.limit_in_bytes")
    for root, file in files:
        tiers = (root / "kubepods" / tier / f"pod{uid}" for tier in ("", "burstable", "besteffort"))
        parent = next(place for place in tiers if place.is_dir())
        own = next(p for p in parent.iterdir() if p.is_dir() and (p.name == name or ident in p.name))
        found += [(place / file).read_text().split()[0] for place in (parent, own)]
    return found


def test_a_resize_reaches_the_groups_of_a_running_container(up: Up) -> None:
    limits = "    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}"
    up.apply(pod("grow", "while :; do :; done", limits), "grow")
    uid = up.field(".metadata.uid", "grow")
    ident = up.field(".status.containerStatuses[0].containerID", "grow").partition("://")[2]
    assert limit_files(uid, ident, "a") == ["20000", "20000", str(64 << 20), str(64 << 20)]
    patch = '{"spec":{"containers":[{"name":"a","resources":{"requests":{"memory":"48Mi"},"limits":{"cpu":"300m","memory":"96Mi"}}}]}}'
    up.kubectl("patch", "pod", "grow", "--subresource=resize", "--patch", patch)
    until(lambda: limit_files(uid, ident, "a") == ["30000", "30000", str(96 << 20), str(96 << 20)])
    until(lambda: '"cpu":"300m"' in up.field(".status.containerStatuses[0].resources", "grow"))
    assert up.field(".status.containerStatuses[0].restartCount", "grow") == "0"
    until(lambda: re.search(r"grow +(2\d\d|3[0-4]\d)m", up.tried("top", "pod", "grow", "--no-headers")), "kubectl top")
    up.kubectl("delete", "pod", "grow", "--now", "--wait=false")


def test_volumes_belong_to_the_pods_group_and_to_its_user(up: Up) -> None:
    spec = """
  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000]}
  hostAliases: [{ip: 10.9.8.7, hostnames: [alias]}]
  volumes:
  - {name: data, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: own, downwardAPI: {defaultMode: 256, items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}"""
    mounts = "    volumeMounts: [{name: data, mountPath: /data, subPath: part}, {name: mem, mountPath: /mem}, {name: own, mountPath: /own}]"
    up.apply(pod("owner", "while :; do sleep 1; done", mounts, spec), "owner")

    def said(command: str) -> str:
        return up.kubectl("exec", "owner", "--", "sh", "-c", command).strip()

    assert said("id -u; id -g") == "1000\n3000"
    assert {"2000", "4000"} <= set(said("id -G").split())
    assert said("touch /data/f && stat -c %u:%g /data/f") == "1000:2000"
    assert said("stat -L -c %g:%a /own/name; cat /own/name") == "2000:440\nowner"
    assert "No space left" in said("dd if=/dev/zero of=/mem/f bs=1k count=2000 2>&1; true")
    assert "10.9.8.7\talias" in said("cat /etc/hosts")
    up.kubectl("delete", "pod", "owner", "--now", "--wait=false")


def test_what_stands_in_the_way_is_told_in_the_kubelets_words(up: Up) -> None:
    root = pod("root", "sleep 600", "    securityContext: {runAsNonRoot: true}")
    path = pod(
        "path",
        "sleep 600",
        "    volumeMounts: [{name: h, mountPath: /h}]",
        "  volumes: [{name: h, hostPath: {path: /no/where, type: Directory}}]",
    )
    confined = pod("confined", "sleep 600", "    securityContext: {appArmorProfile: {type: RuntimeDefault}}")
    up.kubectl("apply", "-f", "-", stdin=f"{root}---{path}---{confined}")
    waiting = ".status.containerStatuses[0].state.waiting"
    until(lambda: up.field(f"{waiting}.reason", "root") == "CreateContainerConfigError")
    uid = up.field(".metadata.uid", "root")
    words = f'container has runAsNonRoot and image will run as root (pod: "root_default({uid})", container: a)'
    assert up.field(f"{waiting}.message", "root") == words
    until(
        lambda: (
            'MountVolume.SetUp failed for volume "h" : hostPath type check failed: /no/where is not a directory'
            in events(up, "path")
        )
    )
    assert up.field(f"{waiting}.reason", "path") == "ContainerCreating"
    if Path("/sys/module/apparmor/parameters/enabled").exists():
        until(lambda: up.field(".status.phase", "confined") == "Running")
    else:
        until(lambda: up.field(".status.reason", "confined") == "AppArmor")
        assert "Cannot enforce AppArmor: AppArmor is not enabled on the host" in up.field(".status.message", "confined")
    up.kubectl("delete", "pod", "root", "path", "confined", "--now", "--wait=false")


def test_a_pod_may_have_users_of_its_own(up: Up) -> None:
    up.kubectl("apply", "-f", "-", stdin=pod("users", "while :; do sleep 1; done", spec="  hostUsers: false"))
    if (
        up.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.runtimeHandlers[0].features.userNamespaces}")
        == "true"
    ):
        up.kubectl("wait", "--for=condition=Ready", "pod/users", f"--timeout={WAIT_S}s")
        own = up.kubectl("exec", "users", "--", "cat", "/proc/self/uid_map").split()
        assert own[0] == "0"
        assert int(own[1]) >= 65536
        assert up.kubectl("exec", "users", "--", "id", "-u").strip() == "0"
    else:
        until(
            lambda: "can't set `spec.hostUsers: false`, runtime does not support user namespaces" in events(up, "users")
        )
    up.kubectl("delete", "pod", "users", "--now", "--wait=false")


def test_a_claim_is_a_directory_or_a_device_of_the_node(up: Up, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    volume = f"""
apiVersion: v1
kind: PersistentVolume
metadata: {{name: pv}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: manual
  hostPath: {{path: {tmp_path}/disk}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: claim}}
spec:
  storageClassName: manual
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
---"""
    spec = "  volumes: [{name: v, persistentVolumeClaim: {claimName: claim}}]"
    mounts = "    volumeMounts: [{name: v, mountPath: /v}]"
    up.apply(volume + pod("claims", "echo kept > /v/f; while :; do sleep 1; done", mounts, spec), "claims")
    until(lambda: (tmp_path / "disk" / "f").exists())
    assert (tmp_path / "disk" / "f").read_text() == "kept\n"
    up.kubectl("delete", "pod", "claims", "--now", "--wait=false")
    up.kubectl("delete", "pvc", "claim")
    up.kubectl("delete", "pv", "pv")
