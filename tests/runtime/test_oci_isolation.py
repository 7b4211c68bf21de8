"""What runc is told: users, capabilities, seccomp, groups, files; and that a killed node loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from actors.runtime._oci_spec import _may_use_resources, identity
from actors.runtime._pod_files import present, write_volume
from protocol import cri

World = Any
CGROUPS = Path("/sys/fs/cgroup")


def test_users_and_groups_come_by_name_from_the_image(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/root:\nweb:x:1000:1001::/home/web:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("own:x:1001:\nextra:x:2000:x,web\nother:x:3000:x\n")

    def who(image_user: str, **fields: Any) -> tuple[Any, ...]:
        return tuple(identity(tmp_path, cri.ContainerConfig("c", "i", **fields), image_user))

    assert who("") == (0, 0, (), "/root")
    assert who("web") == (1000, 1001, (2000,), "/home/web")
    assert who("1000") == who("web")
    assert who("web:other") == (1000, 3000, (2000,), "/home/web")
    assert who("77:88") == (77, 88, (), "/")
    security = cri.SecurityContext(run_as_group=5, supplemental_groups=(6, 7))
    assert who("web", run_as_user=9, security=security) == (9, 5, (6, 7), "/")
    with pytest.raises(cri.CriError, match="unable to find user nobody"):
        who("nobody")


def test_users_of_a_linked_passwd_are_not_the_machines(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(cri.CriError):
        identity(tmp_path, cri.ContainerConfig("c", "i"), "daemon")


def test_a_volume_changes_all_at_once(tmp_path: Path) -> None:
    assert write_volume(tmp_path, {"a": b"1", "d/b": b"2"})
    before = os.readlink(tmp_path / "..data")
    assert not write_volume(tmp_path, {"a": b"1", "d/b": b"2"})
    assert (tmp_path / "d" / "b").read_bytes() == b"2"
    assert write_volume(tmp_path, {"a": b"3"})
    assert present(tmp_path) == {"a": b"3"}
    assert os.readlink(tmp_path / "..data") != before
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a"]


# -- real ones


def capabilities(node: World, **fields: Any) -> int:
    ident = node.start(node.sandbox(), "sleep", "60", **fields)
    status = dict(
        line.split(":\t") for line in node.output(ident, "cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    return int(status["CapEff"], 16)


CHOWN, NET_RAW, SYS_ADMIN, NET_ADMIN = 1 << 0, 1 << 13, 1 << 21, 1 << 12


def test_capabilities_are_the_usual_ones_plus_and_minus(node: World) -> None:
    security = cri.SecurityContext(add_capabilities=("NET_ADMIN",), drop_capabilities=("NET_RAW",))
    found = capabilities(node, security=security)
    assert found & CHOWN
    assert found & NET_ADMIN
    assert not found & (NET_RAW | SYS_ADMIN)


def test_dropping_all_leaves_what_is_added(node: World) -> None:
    security = cri.SecurityContext(add_capabilities=("CHOWN",), drop_capabilities=("ALL",))
    assert capabilities(node, security=security) == CHOWN


def test_a_privileged_container_sees_devices_and_may_mount(node: World) -> None:
    if node.kind == "docker" and not _may_use_resources():
        pytest.skip("Docker gives a privileged container CAP_SYS_RESOURCE, which is not to be had here")
    ident = node.start(node.sandbox(privileged=True), "sleep", "60", privileged=True)
    assert node.output(ident, "sh", "-c", "mkdir /m && mount -t tmpfs t /m && echo yes") == "yes"
    plain = node.start(node.sandbox("q"), "sleep", "60")
    assert node.ask(cri.ExecSync(plain, ("sh", "-c", "mkdir /m && mount -t tmpfs t /m"))).exit_code != 0
    assert len(node.output(ident, "ls", "/dev").split()) > len(node.output(plain, "ls", "/dev").split())


def test_seccomp_runtime_default_refuses_new_namespaces(node: World) -> None:
    security = cri.SecurityContext(add_capabilities=("SYS_CHROOT",), seccomp="RuntimeDefault", no_new_privs=True)
    ident = node.start(node.sandbox(), "sleep", "60", security=security)
    status = node.output(ident, "cat", "/proc/1/status")
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    assert node.ask(cri.ExecSync(ident, ("unshare", "-U", "true"))).exit_code != 0
    free = node.start(node.sandbox("q"), "sleep", "60", security=cri.SecurityContext(seccomp="Unconfined"))
    assert "Seccomp:\t0" in node.output(free, "cat", "/proc/1/status")


def test_kernel_files_are_masked_or_readonly(node: World) -> None:
    ident = node.start(node.sandbox(), "sleep", "60")
    assert node.output(ident, "sh", "-c", "cat /proc/kcore | wc -c") == "0"
    assert node.ask(cri.ExecSync(ident, ("sh", "-c", "echo 1 > /proc/sys/vm/drop_caches"))).exit_code != 0


def test_sysctls_are_the_pods_own(node: World) -> None:
    sandbox = node.sandbox(sysctls={"net.core.somaxconn": "1234", "kernel.shm_rmid_forced": "1"})
    ident = node.start(sandbox, "sleep", "60")
    assert node.output(ident, "cat", "/proc/sys/net/core/somaxconn") == "1234"
    assert Path("/proc/sys/net/core/somaxconn").read_text().strip() != "1234"


@pytest.mark.only_kinds("runc", "crun")
def test_the_groups_form_the_kubelets_tree_with_its_values(node: World) -> None:
    sandbox = node.sandbox()
    for name in ("a", "b"):
        node.start(sandbox, "sleep", "60", name=name, resources=cri.ContainerResources(256, 20_000, 100_000, 32 << 20))
    pod = f"kubepods/burstable/podt{os.getpid()}-p"
    if (CGROUPS / "cgroup.controllers").exists():
        for path, quota, memory in ((pod, 40_000, 64 << 20), (f"{pod}/a", 20_000, 32 << 20)):
            assert (CGROUPS / path / "cpu.max").read_text().split() == [str(quota), "100000"]
            assert (CGROUPS / path / "memory.max").read_text().strip() == str(memory)
        return
    for path, shares, quota, memory in ((pod, 512, 40_000, 64 << 20), (f"{pod}/a", 256, 20_000, 32 << 20)):
        assert (CGROUPS / "cpu" / path / "cpu.shares").read_text().strip() == str(shares)
        assert (CGROUPS / "cpu" / path / "cpu.cfs_quota_us").read_text().strip() == str(quota)
        assert (CGROUPS / "memory" / path / "memory.limit_in_bytes").read_text().strip() == str(memory)


@pytest.mark.only_kinds("runc", "crun")
def test_limits_change_while_the_container_runs(node: World) -> None:
    ident = node.start(node.sandbox(), "sleep", "60", resources=cri.ContainerResources(256, 20_000, 100_000, 32 << 20))
    node.ask(cri.UpdateContainerResources(ident, cri.ContainerResources(512, 50_000, 100_000, 48 << 20)))
    if not (CGROUPS / "cgroup.controllers").exists():
        group = f"kubepods/burstable/podt{os.getpid()}-p/c"
        assert (CGROUPS / "cpu" / group / "cpu.cfs_quota_us").read_text().strip() == "50000"
        assert (CGROUPS / "memory" / group / "memory.limit_in_bytes").read_text().strip() == str(48 << 20)


@pytest.mark.only_kinds("runc", "crun")
def test_an_image_is_a_volume(node: World) -> None:
    mount = cri.Mount("/other", "", "v", readonly=True, image=node.image)
    ident = node.start(node.sandbox(), "sh", "-c", "ls /other/bin/busybox; touch /other/x || echo no", mounts=(mount,))
    node.end_of(ident)
    assert set(node.log(ident).split()) >= {b"/other/bin/busybox", b"no"}


@pytest.mark.only_kinds("runc", "crun")
def test_a_changed_config_map_reaches_the_container(node: World) -> None:
    from actors.runtime._volume_mounts import Refresh

    sandbox = node.sandbox()
    path = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~configmap/conf"
    mount = cri.Mount("/conf", path, "conf", source=node.listener)
    ident = node.start(sandbox, "sleep", "60", mounts=(mount,))
    assert node.output(ident, "cat", "/conf/key") == "content"
    node.heard.content = {"key": b"changed", "more": b"x"}
    node.ask(Refresh())
    assert node.output(ident, "cat", "/conf/key", "/conf/more") == "changedx"


@pytest.mark.only_kinds("runc", "crun")
def test_a_log_that_grows_too_large_is_put_aside(node: World, pod_network: str) -> None:
    node.ask(cri.UpdateRuntimeConfig(pod_network, 2000, 3))
    ident = node.start(node.sandbox(), "sh", "-c", "for i in $(seq 200); do echo line $i; sleep 0.005; done")
    node.end_of(ident)
    (log,) = (node.root / "logs").rglob("0.log")
    files = list(log.parent.iterdir())
    assert len(files) == 3
    assert all(path.stat().st_size < 4000 for path in files)
    assert any(b"line 200" in path.read_bytes() for path in files)


LIFE = """
import sys
from pathlib import Path
from actors.kernel import Child, LiveSystem
from actors.runtime import RuncMachine, RuncRuntime
from actors.runtime.images import LocalImages
from protocol import cri

machine = RuncMachine(LocalImages(Path(sys.argv[1])), Path(sys.argv[2]))
system = LiveSystem("life").start_thread()
runtime = system.spawn(Child("runtime", lambda: RuncRuntime(machine)))
ask = lambda m: runtime.ask(m, timeout=30)
ask(cri.UpdateRuntimeConfig(sys.argv[5]))
pod = cri.PodSandboxConfig("p", "ns", sys.argv[3], cgroup_parent="/kubepods/burstable/pod" + sys.argv[3], log_directory="/x/p")
sandbox = ask(cri.RunPodSandbox(pod)).pod_sandbox_id
script = sys.argv[4]
config = cri.ContainerConfig("c", "localhost/busybox:test", command=("sh", "-c", script), log_path="c/0.log")
ident = ask(cri.CreateContainer(sandbox, config)).container_id
ask(cri.StartContainer(ident))
print(sandbox, ident, flush=True)
sys.stdin.read()
"""


@pytest.mark.only_kinds("runc", "crun")
@pytest.mark.parametrize("ends", [False, True])
def test_a_killed_program_loses_no_container_and_no_line(
    pod_network: str, node_root: Path, image_store: Any, worlds: Any, ends: bool
) -> None:
    from actors.runtime import why_no_runc

    if why_no_runc():
        pytest.skip(why_no_runc())
    script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done" if not ends else "sleep 1; echo over; exit 5"
    uid = f"t{os.getpid()}-life"
    process = subprocess.Popen(
        [sys.executable, "-c", LIFE, str(image_store.root), str(node_root), uid, script, pod_network],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        sandbox, ident = process.stdout.readline().decode().split()
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(1.5 if ends else 0.5)
    node = worlds("runc")
    (status,) = node.ask(cri.ListContainers())
    (pod,) = node.ask(cri.ListPodSandbox())
    assert (status.id, pod.id, pod.ready) == (ident, sandbox, True)
    if ends:
        assert (node.end_of(ident).exit_code, node.log(ident)) == (5, b"over\n")
    else:
        assert status.state == cri.CONTAINER_RUNNING
        lines = [int(x) for x in node.log(ident).split()]
        assert lines == list(range(1, len(lines) + 1))
        assert len(lines) > 8
        node.until(lambda: len(node.log(ident).split()) > len(lines))
        assert node.output(ident, "ifconfig", "eth0").count(f"inet addr:{pod.ips[0]}") == 1
