"""Whom containers run as, what they see of each other and of the machine. As root on Linux, or skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from actors.runtime import _apparmor
from actors.runtime._apparmor import DEFAULT_PROFILE, PROFILE_TEXT
from actors.runtime._cri_configs import mount_config, sandbox_config
from actors.runtime._idmap import IDS_PER_POD, free_base
from actors.runtime._linux import LinuxError
from actors.runtime._oci_spec import identity
from actors.runtime._pod_mounts import HostMount
from protocol import cri

World = Any


# -- anywhere


def test_each_pod_has_numbers_that_no_other_has() -> None:
    assert free_base([]) == IDS_PER_POD
    assert free_base([IDS_PER_POD, 3 * IDS_PER_POD]) == 2 * IDS_PER_POD
    with pytest.raises(LookupError):
        free_base(range(0, 1 << 31, IDS_PER_POD))


def test_a_cri_runtime_is_told_the_mapping_of_namespace_and_mounts() -> None:
    pod = cri.PodSandboxConfig("p", "ns", "u", host_users=False)
    options = sandbox_config(pod, "n", "/l", 131072).linux.security_context.namespace_options.userns_options
    assert [(m.host_id, m.container_id, m.length) for m in options.uids] == [(131072, 0, 65536)]
    assert (options.mode, list(options.gids)) == (0, list(options.uids))
    mount = mount_config(HostMount("/a", "/b"), 131072)
    assert [(m.host_id, m.length) for m in mount.uidMappings] == [(131072, 65536)]
    assert not mount_config(HostMount("/a", "/b"), 0).uidMappings
    assert not sandbox_config(pod, "n", "/l", 0).linux.security_context.namespace_options.HasField("userns_options")


def test_strict_groups_are_those_of_the_manifest_only(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("web:x:1000:1000::/home/web:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("extra:x:2000:web\n")
    merged = cri.SecurityContext(supplemental_groups=(5,))
    strict = cri.SecurityContext(supplemental_groups=(5,), strict_groups=True)
    groups = [identity(tmp_path, cri.ContainerConfig("c", "i", security=s), "web").groups for s in (merged, strict)]
    assert groups == [(5, 2000), (5,)]


def test_the_default_profile_of_apparmor_is_one(tmp_path: Path) -> None:
    if shutil.which("apparmor_parser") is None:
        pytest.skip("apparmor_parser is not installed (Debian: apt-get install apparmor)")
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--names"]
    text = f"#include <tunables/global>\n{PROFILE_TEXT}"
    said = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == [DEFAULT_PROFILE]


def test_profiles_are_those_that_the_kernel_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apparmor, "ENABLED", tmp_path / "enabled")
    monkeypatch.setattr(_apparmor, "LOADED", tmp_path / "profiles")
    assert _apparmor.profile_for("RuntimeDefault", False) == ""  # no AppArmor: the kubelet refuses such pods
    (tmp_path / "enabled").write_text("Y\n")
    (tmp_path / "profiles").write_text(f"own (enforce)\n{DEFAULT_PROFILE} (enforce)\n")
    assert _apparmor.profile_for("Localhost/own", False) == "own"
    assert _apparmor.profile_for("", False) == _apparmor.profile_for("RuntimeDefault", False) == DEFAULT_PROFILE
    assert _apparmor.profile_for("", True) == _apparmor.profile_for("Unconfined", False) == ""
    with pytest.raises(LinuxError, match="apparmor profile not found other"):
        _apparmor.profile_for("Localhost/other", False)


# -- in containers


def need_user_namespaces(node: World) -> None:
    if "user-namespaces" not in (node.ask(cri.Version()).features or ()):
        pytest.skip("this kernel has no user namespaces, or cannot map the numbers of layers")


def pid_on_the_machine(node: World, ident: str) -> int:
    (pid,) = (e.pid for e in node.ask(cri.ProcessTree()) if "sleep 60" in e.command)
    return int(pid)


@pytest.mark.only_kinds("runc", "crun")
def test_root_of_a_pod_with_users_of_its_own_is_nobody_on_the_machine(node: World, tmp_path: Path) -> None:
    need_user_namespaces(node)
    sandbox = node.sandbox(host_users=False)
    uid = node.ask(cri.GetPodSandboxStatus(sandbox)).uid
    path = f"/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/data"
    node.ask(cri.SetUpVolume(uid, cri.Volume("data", path, "emptyDir")))
    conf = cri.Mount("/conf", f"/var/lib/kubelet/pods/{uid}/volumes/x/conf", "conf", source=node.listener)
    part = cri.Mount("/part", path, "data", sub_path="part")
    ident = node.start(sandbox, "sleep", "60", mounts=(cri.Mount("/data", path, "data"), part, conf))
    assert node.output(ident, "cat", "/proc/self/uid_map").split() == ["0", str(IDS_PER_POD), str(IDS_PER_POD)]
    assert node.output(ident, "id", "-u") == "0"
    assert node.output(ident, "stat", "-c", "%u", "/bin/busybox", "/", "/conf/key", "/etc/hosts").split() == ["0"] * 4
    assert node.output(ident, "cat", "/conf/key") == "content"
    node.output(ident, "sh", "-c", "touch /own /data/f /part/g && chown 5 /data/f && hostname && ps > /tmp/ps")
    assert node.output(ident, "stat", "-c", "%u", "/own", "/data/f", "/part/g").split() == ["0", "5", "0"]
    on_disk = node.root / "volumes" / path.strip("/")
    assert [(on_disk / f).stat().st_uid for f in ("f", "part/g")] == [5, 0]  # as if there were no mapping
    status = Path(f"/proc/{pid_on_the_machine(node, ident)}/status").read_text()
    assert f"Uid:\t{IDS_PER_POD}\t" in status
    assert node.ask(cri.ExecSync(ident, ("sh", "-c", "echo 1 > /proc/sys/kernel/hostname"))).exit_code != 0
    assert "eth0" in node.output(ident, "ifconfig")


@pytest.mark.only_kinds("runc", "crun")
def test_pods_with_users_of_their_own_share_none(node: World) -> None:
    need_user_namespaces(node)
    a, b = node.sandbox("a", host_users=False), node.sandbox("b", host_users=False, shared_pid=True)
    one, two = node.start(a, "sleep", "60"), node.start(b, "sleep", "60")
    maps = [node.output(i, "cat", "/proc/self/uid_map").split()[1] for i in (one, two)]
    assert maps == [str(IDS_PER_POD), str(2 * IDS_PER_POD)]
    again = node.start(a, "sleep", "60", name="again", run_as_user=1000)
    assert node.output(again, "cat", "/proc/self/uid_map").split()[1] == maps[0]
    node.ask(cri.RemovePodSandbox(a))
    third = node.start(node.sandbox("c", host_users=False), "sleep", "60")
    assert node.output(third, "cat", "/proc/self/uid_map").split()[1] == maps[0]


@pytest.mark.only_kinds("docker", "cri")
def test_who_cannot_give_users_of_their_own_says_so(node: World) -> None:
    if "user-namespaces" in (node.ask(cri.Version()).features or ()):
        pytest.skip("this runtime can")
    with pytest.raises(cri.CriError, match="user namespaces"):
        node.sandbox(host_users=False)
    assert node.ask(cri.ListPodSandbox()) == ()


def test_a_container_sees_the_processes_of_the_one_that_it_is_to_debug(node: World) -> None:
    sandbox = node.sandbox()
    target = node.start(sandbox, "sleep", "60", name="target")
    other = node.start(sandbox, "sleep", "61", name="other")
    debugger = node.start(sandbox, "sleep", "62", name="debugger", target_id=target)
    seen = node.output(debugger, "ps")
    assert "sleep 60" in seen
    assert "sleep 61" not in seen
    assert "sleep 62" not in node.output(other, "ps")
    assert node.output(debugger, "sh", "-c", "cat /proc/1/root/etc/passwd | head -n 1 | cut -d: -f1") == "root"


def test_the_machines_namespaces_are_shared_where_that_is_asked_for(node: World) -> None:
    ident = node.start(node.sandbox(host_network=True, host_pid=True, host_ipc=True), "sleep", "60")
    for kind in ("net", "pid", "ipc"):
        assert node.output(ident, "readlink", f"/proc/self/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    assert str(os.getpid()) in node.output(ident, "ps").split()


def test_groups_and_users_are_those_of_the_manifest(node: World) -> None:
    security = cri.SecurityContext(run_as_group=3000, supplemental_groups=(4000, 5000))
    ident = node.start(node.sandbox(), "sleep", "60", run_as_user=1000, security=security)
    assert node.output(ident, "id", "-u") == "1000"
    assert set(node.output(ident, "id", "-G").split()) >= {"3000", "4000", "5000"}


def test_a_program_gets_the_signal_that_it_wants_to_end_by(node: World) -> None:
    script = "trap 'echo usr; exit 0' USR1; trap 'echo term; exit 1' TERM; echo up; while :; do sleep 0.05; done"
    ident = node.start(node.sandbox(), "sh", "-c", script, stop_signal="SIGUSR1")
    node.until(lambda: node.log(ident) == b"up\n")
    node.ask(cri.StopContainer(ident, 10))
    assert node.end_of(ident).exit_code == 0
    assert node.log(ident).split() == [b"up", b"usr"]


def test_how_early_the_kernel_may_kill_it_is_told_to_the_kernel(node: World) -> None:
    resources = cri.ContainerResources(102, oom_score_adj=987)
    ident = node.start(node.sandbox(), "sleep", "60", resources=resources)
    assert node.output(ident, "cat", "/proc/1/oom_score_adj") == "987"


def test_a_pod_has_no_more_processes_than_it_may_have(node: World) -> None:
    if not Path("/sys/fs/cgroup/pids").is_dir() and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("no pids controller here")
    sandbox = node.sandbox(resources=cri.ContainerResources(102, pids_limit=30))
    ident = node.start(sandbox, "sh", "-c", "i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done; echo all; wait")
    node.until(lambda: b"can't fork" in node.log(ident) or b"Resource" in node.log(ident))
    assert b"all" not in node.log(ident)


def test_a_seccomp_profile_of_the_machine_is_applied(node: World, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    security = cri.SecurityContext(seccomp=f"Localhost/{profile}")
    ident = node.start(node.sandbox(), "sleep", "60", security=security)
    refused = node.ask(cri.ExecSync(ident, ("mkdir", "/tmp/x")))
    assert b"Operation not permitted" in refused.stderr
    missing = cri.SecurityContext(seccomp=f"Localhost/{tmp_path}/none.json")
    with pytest.raises(cri.CriError):
        node.start(node.sandbox("q"), "true", security=missing)


def test_an_input_that_is_once_ends_with_who_gave_it(node: World) -> None:
    from protocol.node import StreamClosed, StreamData

    ident = node.start(node.sandbox(), "sh", "-c", "cat; echo over", stdin=True, stdin_once=True)
    stream = node.stream()
    opened = node.ask(cri.Attach(ident, node.listener, stream, stdin=True))
    opened.address.tell(StreamData(stream, 0, b"word\n"))
    opened.address.tell(StreamData(stream, 0, b"", eof=True))
    assert node.end_of(ident).exit_code == 0
    assert node.log(ident) == b"word\nover\n"
    opened.address.tell(StreamClosed(stream))


def test_hosts_knows_the_aliases_and_the_pods_domain(node: World) -> None:
    sandbox = node.sandbox(
        "web", host_domain="web.sub.ns.svc.cluster.local", host_aliases=(("10.1.2.3", ("one", "two")),)
    )
    ident = node.start(sandbox, "sleep", "60")
    hosts = node.output(ident, "cat", "/etc/hosts")
    (address,) = node.ask(cri.GetPodSandboxStatus(sandbox)).ips
    assert f"{address}\tweb.sub.ns.svc.cluster.local\tweb" in hosts
    assert "# Entries added by HostAliases.\n10.1.2.3\tone\ttwo" in hosts


def test_limits_of_huge_pages_keep_no_container_from_starting(node: World) -> None:
    resources = cri.ContainerResources(102, hugepage_limits={"2MB": 4 << 20})
    ident = node.start(node.sandbox(), "sh", "-c", "echo up", resources=resources)
    node.end_of(ident)
    assert node.log(ident) == b"up\n"


def test_kernel_files_are_bare_where_that_is_asked_for(node: World) -> None:
    masked = node.start(node.sandbox("m"), "sleep", "60")
    bare = node.start(node.sandbox("b"), "sleep", "60", security=cri.SecurityContext(unmasked=True))
    assert "/proc/sys" in node.output(masked, "cat", "/proc/mounts")
    assert "/proc/sys" not in node.output(bare, "cat", "/proc/mounts")


def test_what_the_image_says_holds_where_the_manifest_says_nothing(node: World, image_store: Any, rootfs: Path) -> None:
    from actors.runtime.images import import_rootfs

    name = f"localhost/settings:{os.getpid()}"
    config = {
        "Entrypoint": ["sh", "-c", 'id -u; pwd; echo $OF_IMAGE "$@"; trap "echo usr; exit 0" USR1; while :; do sleep 0.05; done', "sh"],
        "Cmd": ["one", "two"], "Env": ["OF_IMAGE=yes"], "WorkingDir": "/home/web", "User": "web", "StopSignal": "SIGUSR1",
    }  # fmt: skip
    import_rootfs(image_store, rootfs, name, config)
    node.ask(cri.PullImage(name))
    assert node.ask(cri.ImageStatus(name)).user == "web"
    sandbox = node.sandbox()
    own = node.start(sandbox, image=name)
    node.until(lambda: len(node.log(own).split()) == 5)
    assert node.log(own).decode().split() == ["1000", "/home/web", "yes", "one", "two"]
    other = node.start(
        sandbox, name="other", image=name, args=("three",), run_as_user=0, working_dir="/", envs=(("OF_IMAGE", "no"),)
    )
    node.until(lambda: len(node.log(other).split()) == 4)
    assert node.log(other).decode().split() == ["0", "/", "no", "three"]
    node.ask(cri.StopContainer(own, 10))
    assert node.end_of(own).exit_code == 0
    assert node.log(own).split()[-1] == b"usr"
    whole = node.start(sandbox, "echo", "instead", name="whole", image=name)
    node.end_of(whole)
    assert node.log(whole) == b"instead\n"
