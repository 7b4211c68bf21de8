"""What a runtime with real files makes of volumes: memory, owners, modes, types, parts. As root on Linux, or skipped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.runtime._ownership import give_to_group
from actors.runtime._volume_mounts import VolumeMounts
from protocol import cri

World = Any
pytestmark = pytest.mark.only_kinds("runc", "docker", "cri")  # crun mounts what runc is told to


def base(node: World, sandbox: str) -> str:
    return f"/var/lib/kubelet/pods/{node.ask(cri.GetPodSandboxStatus(sandbox)).uid}/volumes"


def set_up(node: World, sandbox: str, kind: str, name: str = "data", **fields: Any) -> cri.Mount:
    """Make a volume; answers its mount at /<name>."""
    uid = node.ask(cri.GetPodSandboxStatus(sandbox)).uid
    path = fields.pop("path", f"{base(node, sandbox)}/kubernetes.io~{kind.lower()}/{name}")
    node.ask(cri.SetUpVolume(uid, cri.Volume(name, path, kind, **fields)))
    return cri.Mount(f"/{name}", path, name, source=fields.get("source"))


# -- anywhere


def test_files_get_the_group_and_directories_hand_it_on(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving files to a group needs root")
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "d" / "f").chmod(0o600)
    (tmp_path / "link").symlink_to("nowhere")
    give_to_group(tmp_path, 7)
    assert [p.lstat().st_gid for p in (tmp_path, tmp_path / "d", tmp_path / "d" / "f", tmp_path / "link")] == [7] * 4
    assert oct((tmp_path / "d").stat().st_mode)[-4:] == "2770"
    assert oct((tmp_path / "d" / "f").stat().st_mode)[-3:] == "660"
    (tmp_path / "d" / "f").chmod(0o600)
    give_to_group(tmp_path, 7, on_mismatch_only=True)
    assert oct((tmp_path / "d" / "f").stat().st_mode)[-3:] == "600"
    give_to_group(tmp_path, 8, readonly=True)
    assert oct((tmp_path / "d" / "f").stat().st_mode)[-3:] == "640"


@pytest.mark.parametrize(
    ("kind", "word"),
    [("Directory", "a directory"), ("File", "a file"), ("Socket", "a socket file"), ("CharDevice", "a character device"),
     ("BlockDevice", "a block device")],
)  # fmt: skip
def test_a_host_path_must_be_what_its_type_says(tmp_path: Path, kind: str, word: str) -> None:
    volumes = VolumeMounts(tmp_path / "volumes")
    with pytest.raises(cri.CriError) as refused:
        volumes.set_up("u", cri.Volume("v", f"{tmp_path}/none", "hostPath", host_path_type=kind))
    assert refused.value.message == f"hostPath type check failed: {tmp_path}/none is not {word}"
    good = {"Directory": str(tmp_path), "CharDevice": "/dev/null"}.get(kind)
    if good:
        volumes.set_up("u", cri.Volume("v", good, "hostPath", host_path_type=kind))


def test_a_host_path_is_made_where_its_type_says_so(tmp_path: Path) -> None:
    volumes = VolumeMounts(tmp_path / "volumes")
    volumes.set_up("u", cri.Volume("v", f"{tmp_path}/d/e", "hostPath", host_path_type="DirectoryOrCreate"))
    volumes.set_up("u", cri.Volume("v", f"{tmp_path}/d/f", "hostPath", host_path_type="FileOrCreate"))
    assert oct((tmp_path / "d" / "e").stat().st_mode)[-3:] == "755"
    assert (tmp_path / "d" / "f").is_file()
    with pytest.raises(cri.CriError, match="is not a file"):
        volumes.set_up("u", cri.Volume("v", f"{tmp_path}/d/e", "hostPath", host_path_type="FileOrCreate"))


def test_a_file_of_a_volume_is_read_and_nothing_outside_of_it(tmp_path: Path) -> None:
    volumes = VolumeMounts(tmp_path)
    place = volumes.directory("/var/lib/kubelet/pods/u/volumes/e/v")
    place.mkdir(parents=True)
    (place / "f").write_text("inside")
    (place / "out").symlink_to("../../../../../../../secret")
    (tmp_path / "secret").write_text("outside")
    assert volumes.read("/var/lib/kubelet/pods/u/volumes/e/v", "f") == b"inside"
    assert volumes.read("/var/lib/kubelet/pods/u/volumes/e/v", "out") is None
    assert volumes.read("/var/lib/kubelet/pods/u/volumes/e/v", "none") is None


# -- in containers


def test_an_empty_dir_in_memory_holds_no_more_than_its_size(node: World) -> None:
    sandbox = node.sandbox()
    mount = set_up(node, sandbox, "emptyDir", medium="Memory", size_bytes=1 << 20)
    ident = node.start(sandbox, "sleep", "60", mounts=(mount,))
    assert "tmpfs" in node.output(ident, "sh", "-c", "grep ' /data ' /proc/mounts")
    assert (
        node.output(ident, "sh", "-c", "dd if=/dev/zero of=/data/a bs=1k count=900 2>/dev/null && echo fits") == "fits"
    )
    too_much = node.ask(cri.ExecSync(ident, ("dd", "if=/dev/zero", "of=/data/b", "bs=1k", "count=900")))
    assert b"No space left" in too_much.stderr
    node.ask(cri.RemovePodSandbox(sandbox))
    assert str(node.root) not in Path("/proc/self/mounts").read_text()


def test_volumes_belong_to_the_pods_group(node: World) -> None:
    sandbox = node.sandbox()
    mount = set_up(node, sandbox, "emptyDir", fs_group=2345)
    conf = set_up(node, sandbox, "provided", "conf", source=node.listener, default_mode=0o400, fs_group=2345)
    security = cri.SecurityContext(supplemental_groups=(2345,), run_as_group=1000)
    ident = node.start(sandbox, "sleep", "60", mounts=(mount, conf), run_as_user=1000, security=security)
    assert node.output(ident, "stat", "-c", "%g %a", "/data") == "2345 2777"
    node.output(ident, "touch", "/data/mine")
    assert node.output(ident, "stat", "-c", "%u %g", "/data/mine") == "1000 2345"
    assert node.output(ident, "stat", "-L", "-c", "%g %a", "/conf/key") == "2345 440"
    assert node.output(ident, "cat", "/conf/key") == "content"


def test_a_sub_path_never_leads_out_of_its_volume(node: World) -> None:
    sandbox = node.sandbox()
    mount = set_up(node, sandbox, "emptyDir")
    writer = node.start(
        sandbox, "sh", "-c", "mkdir -p /data/real/deep; echo yes > /data/real/deep/f; ln -s real /data/link; ln -s /etc /data/etc; ln -s ../../../../../../etc /data/up",
        mounts=(mount,),
    )  # fmt: skip
    node.end_of(writer)

    def at(path: str) -> cri.Mount:
        return cri.Mount("/part", mount.host_path, "data", sub_path=path)

    through = node.start(sandbox, "cat", "/part/f", name="b", mounts=(at("link/deep"),))
    node.end_of(through)
    assert node.log(through) == b"yes\n"
    file = node.start(sandbox, "cat", "/part", name="file", mounts=(at("real/deep/f"),))
    node.end_of(file)
    assert node.log(file) == b"yes\n"
    made = node.start(sandbox, "stat", "-c", "%a", "/part", name="d", mounts=(at("new/one"),))
    node.end_of(made)
    assert node.log(made) == b"777\n"
    for number, path in enumerate(("etc", "up", "etc/new", "real/../../x")):
        with pytest.raises(cri.CriError) as refused:
            node.create(sandbox, "true", name=f"e{number}", mounts=(at(path),))
        assert refused.value.message == 'failed to prepare subPath for volumeMount "data"'
        assert refused.value.reason == "CreateContainerConfigError"


def test_what_is_mounted_on_the_node_later_is_seen_where_that_is_asked_for(node: World, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    (place / "later").mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", str(place)], check=True)
        sandbox = node.sandbox()
        sees = node.start(
            sandbox, "sleep", "60", mounts=(cri.Mount("/m", str(place), "m", propagation="HostToContainer"),)
        )
        blind = node.start(sandbox, "sleep", "60", name="b", mounts=(cri.Mount("/m", str(place), "m"),))
        subprocess.run(["mount", "-t", "tmpfs", "t", str(place / "later")], check=True)
        (place / "later" / "f").touch()
        assert node.output(sees, "ls", "/m/later") == "f"
        assert node.output(blind, "ls", "/m/later") == ""
    finally:
        subprocess.run(["umount", "-R", str(place)], check=False)


@pytest.mark.only_kinds("runc", "crun", "cri")
def test_what_a_container_mounts_is_seen_by_the_node_where_that_is_asked_for(node: World, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    (place / "inner").mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", str(place)], check=True)
        mount = cri.Mount("/m", str(place), "m", propagation="Bidirectional")
        ident = node.start(node.sandbox(privileged=True), "sleep", "60", privileged=True, mounts=(mount,))
        node.output(ident, "sh", "-c", "mount -t tmpfs t /m/inner && touch /m/inner/f")
        assert (place / "inner" / "f").exists()
    finally:
        subprocess.run(["umount", "-R", str(place)], check=False)


@pytest.mark.only_kinds("runc", "crun")
def test_what_is_mounted_below_is_read_only_too_where_that_is_asked_for(node: World, tmp_path: Path) -> None:
    (tmp_path / "v" / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "t", str(tmp_path / "v" / "below")], check=True)
    try:
        sandbox = node.sandbox()
        for recursive in (True, False):
            mount = cri.Mount("/v", str(tmp_path / "v"), "v", readonly=True, recursive_readonly=recursive)
            ident = node.start(sandbox, "sleep", "60", name=f"c{recursive}".lower(), mounts=(mount,))
            assert node.ask(cri.ExecSync(ident, ("touch", "/v/x"))).exit_code != 0
            assert (node.ask(cri.ExecSync(ident, ("touch", "/v/below/x"))).exit_code != 0) == recursive
    finally:
        subprocess.run(["umount", str(tmp_path / "v" / "below")], check=False)


@pytest.fixture
def block_device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk"
    image.write_bytes(b"on the disk".ljust(1 << 20, b"\0"))
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices here: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=False)


def test_a_block_device_is_given_to_a_container(node: World, block_device: str) -> None:
    device = cri.Device("/dev/disk", block_device)
    ident = node.start(node.sandbox(), "sleep", "60", devices=(device,))
    assert node.output(ident, "head", "-c", "11", "/dev/disk") == "on the disk"
    assert node.output(ident, "sh", "-c", "test -b /dev/disk && echo block") == "block"
    plain = node.start(node.sandbox("q"), "sh", "-c", "ls /dev/disk || echo none")
    node.end_of(plain)
    assert b"none" in node.log(plain)


def test_content_changes_in_a_container_and_again_after_the_runtime_comes_back(node: World) -> None:
    from actors.runtime._volume_mounts import Refresh

    sandbox = node.sandbox()
    conf = set_up(node, sandbox, "provided", "conf", source=node.listener)
    ident = node.start(sandbox, "sleep", "60", mounts=(conf,))
    assert node.output(ident, "cat", "/conf/key") == "content"
    node.heard.content = {"key": b"changed", "more": b"x"}
    node.ask(Refresh())
    assert node.output(ident, "cat", "/conf/key", "/conf/more") == "changedx"


def test_huge_pages_are_a_file_system_where_there_are_some(node: World) -> None:
    if "hugetlbfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no hugetlbfs")
    sandbox = node.sandbox()
    mount = set_up(node, sandbox, "emptyDir", "huge", medium="HugePages-2Mi")
    ident = node.start(sandbox, "sleep", "60", mounts=(mount,))
    assert "hugetlbfs" in node.output(ident, "sh", "-c", "grep ' /huge ' /proc/mounts")
    assert "pagesize=2M" in node.output(ident, "sh", "-c", "grep ' /huge ' /proc/mounts")
