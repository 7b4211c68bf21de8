"""Control groups as files: of both versions in a directory that plays the kernel, and of the second in this kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.runtime._control_groups import ControlGroups, pod_resources
from protocol.cri import ContainerResources

POD = "/kubepods/burstable/podu"
V1 = {
    "cpu": ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.stat"),
    "memory": ("memory.limit_in_bytes", "memory.stat", "memory.oom_control", "memory.usage_in_bytes"),
    "pids": ("pids.max", "pids.current"),
    "hugetlb": ("hugetlb.2MB.limit_in_bytes",),
}
V2 = (
    "cpu.weight", "cpu.max", "cpu.stat", "memory.max", "memory.min", "memory.high", "memory.current", "memory.stat",
    "memory.events", "pids.max", "pids.current", "hugetlb.2MB.max",
)  # fmt: skip
LIMITS = ContainerResources(
    256, 20_000, 100_000, 64 << 20, 32 << 20, unified={"memory.min": "1", "memory.high": "2"}, pids_limit=50,
    hugepage_limits={"2MB": 4 << 20},
)  # fmt: skip


def first(root: Path) -> ControlGroups:
    """A machine with the first version; the pod's groups are made as the kernel would fill them."""
    for controller, files in V1.items():
        for path in (POD, "/kubepods/besteffort"):
            (root / controller / path.strip("/")).mkdir(parents=True)
        for place in ("kubepods/burstable", "kubepods/besteffort", POD.strip("/")):
            for name in files:
                (root / controller / place / name).touch()
    return ControlGroups(root)


def second(root: Path) -> ControlGroups:
    """A machine with the second version."""
    (root / POD.strip("/")).mkdir(parents=True)
    (root / "kubepods" / "besteffort").mkdir()
    for place in ("", "kubepods", "kubepods/burstable", "kubepods/besteffort", POD.strip("/")):
        (root / place / "cgroup.controllers").write_text("cpu io memory hugetlb pids\n")
        for name in (*V2, "cgroup.subtree_control"):
            (root / place / name).touch()
    return ControlGroups(root)


def test_the_first_version_has_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    groups = first(tmp_path)
    places = groups.make(POD, LIMITS)
    assert not groups.unified
    assert sorted(p.relative_to(tmp_path).parts[0] for p in places) == sorted(V1)

    def content(controller: str, name: str) -> str:
        return (tmp_path / controller / POD.strip("/") / name).read_text()

    assert content("cpu", "cpu.shares") == "256"
    assert (content("cpu", "cpu.cfs_quota_us"), content("cpu", "cpu.cfs_period_us")) == ("20000", "100000")
    assert content("memory", "memory.limit_in_bytes") == str(64 << 20)
    assert content("pids", "pids.max") == "50"
    assert content("hugetlb", "hugetlb.2MB.limit_in_bytes") == str(4 << 20)
    groups.limit(POD, ContainerResources(2))
    assert content("cpu", "cpu.cfs_quota_us") == "-1"
    assert content("memory", "memory.limit_in_bytes") == "-1"
    assert content("pids", "pids.max") == "max"


def test_the_second_version_has_one_hierarchy_and_its_own_words(tmp_path: Path) -> None:
    groups = second(tmp_path)
    assert groups.unified
    assert groups.make(POD, LIMITS) == [tmp_path / POD.strip("/")]

    def content(name: str) -> str:
        return (tmp_path / POD.strip("/") / name).read_text()

    assert content("cpu.weight") == "35"
    assert content("cpu.max") == "20000 100000"
    assert (content("memory.max"), content("memory.min"), content("memory.high")) == (str(64 << 20), "1", "2")
    assert (content("pids.max"), content("hugetlb.2MB.max")) == ("50", str(4 << 20))
    groups.limit(POD, ContainerResources(2))
    assert (content("cpu.weight"), content("cpu.max"), content("memory.max")) == ("1", "max 100000", "max")
    assert (tmp_path / "kubepods" / "cgroup.subtree_control").read_text() == "+pids"  # the last of those asked for


@pytest.mark.parametrize("version", [1, 2])
def test_tiers_weigh_what_their_pods_weigh(tmp_path: Path, version: int) -> None:
    groups = (first if version == 1 else second)(tmp_path)
    groups.make(POD, ContainerResources(512))
    place = tmp_path / ("cpu" if version == 1 else "") / "kubepods"
    name = "cpu.shares" if version == 1 else "cpu.weight"
    assert (place / "burstable" / name).read_text() == ("512" if version == 1 else "59")
    assert (place / "besteffort" / name).read_text() == ("2" if version == 1 else "1")


def test_figures_are_read_in_both_versions(tmp_path: Path) -> None:
    one, two = first(tmp_path / "1"), second(tmp_path / "2")
    cpu, memory = tmp_path / "1" / "cpu" / POD.strip("/"), tmp_path / "1" / "memory" / POD.strip("/")
    (cpu / "cpu.stat").write_text("nr_periods 9\nnr_throttled 3\nthrottled_time 7000\n")
    (memory / "memory.usage_in_bytes").write_text("100\n")
    (memory / "memory.stat").write_text("total_inactive_file 40\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    found = one.statistics(POD)
    assert (found["periods"], found["throttled"], found["throttled_ns"], found["oom_kills"]) == (9, 3, 7000, 2)
    assert (found["memory"], found["inactive"]) == (100, 40)
    place = tmp_path / "2" / POD.strip("/")
    (place / "cpu.stat").write_text("usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 7\n")
    (place / "memory.current").write_text("100\n")
    (place / "memory.stat").write_text("inactive_file 40\n")
    (place / "memory.events").write_text("oom 1\noom_kill 2\n")
    again = two.statistics(POD)
    assert again["cpu_ns"] == 5000
    assert {k: again[k] for k in ("periods", "throttled", "throttled_ns", "oom_kills", "memory", "inactive")} == {
        k: found[k] for k in ("periods", "throttled", "throttled_ns", "oom_kills", "memory", "inactive")
    }


def test_a_pod_has_the_sums_of_its_containers_or_no_limit() -> None:
    bounded = ContainerResources(100, 10_000, 100_000, 1 << 20)
    assert pod_resources([bounded, bounded]) == ContainerResources(200, 20_000, 100_000, 2 << 20)
    assert pod_resources([bounded, ContainerResources(100)]) == ContainerResources(200)


def test_groups_of_the_second_version_are_made_and_limited_in_this_kernel() -> None:
    root = next(
        (Path(p) for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if Path(p, "cgroup.controllers").exists()), None
    )
    if root is None or os.geteuid() != 0:
        pytest.skip("no second version of control groups here, or this is not root")
    there = (root / "cgroup.controllers").read_text().split()
    wanted = {
        "hugetlb": ("hugetlb.2MB.max", str(4 << 20)),
        "cpu": ("cpu.max", "20000 100000"),
        "memory": ("memory.max", str(64 << 20)),
        "pids": ("pids.max", "50"),
    }
    checked = [wanted[c] for c in there if c in wanted]
    if not checked:
        pytest.skip(f"{root} has no controllers that a kubelet knows")
    groups, pod = ControlGroups(root), f"/kubepods-test{os.getpid()}/podu"
    try:
        (place,) = groups.make(f"{pod}/c", LIMITS)
        for name, content in checked:
            assert (place / name).read_text().strip() == content
        child = os.fork()
        if child == 0:
            (place / "cgroup.procs").write_text(str(os.getpid()))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        for path in (f"{pod}/c", pod, pod.rpartition("/")[0]):
            groups.remove(path)
    assert not place.exists()
