"""The control groups of pods on this machine, in whichever version it has (cgroupfs, no systemd).

Owns the files: limits that are written, figures that are read. Groups are named by their path from
`/kubepods` on; which pod is in which tier, and what it may have, others say.
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from protocol.cgroups import MAX_SHARES, MIN_SHARES, cpu_weight
from protocol.cri import ContainerResources

__all__ = ["CGROUPS", "ControlGroups", "pod_resources"]

CGROUPS = Path("/sys/fs/cgroup")
TOP, BURSTABLE, BEST_EFFORT = "kubepods", "kubepods/burstable", "kubepods/besteffort"
PERIOD_US = 100_000
UNLIMITED = -1
V1 = ("cpu", "cpuacct", "memory", "pids", "hugetlb")
V2 = ("cpuset", "cpu", "memory", "hugetlb", "pids")
"""The controllers that a kubelet wants."""
FIGURES = (("cpuacct.usage", "cpu_ns"), ("memory.usage_in_bytes", "memory"), ("memory.current", "memory"))
CEILINGS = ("cpu.cfs_quota_us", "memory.limit_in_bytes", "cpu.max", "memory.max")
COUNTED = ("cpu_ns", "memory", "inactive", "periods", "throttled", "throttled_ns", "oom_kills", "pids")


def pod_resources(resources: Iterable[ContainerResources]) -> ContainerResources:
    """The pod's own limits: sums, and none where one container has none."""
    parts = list(resources)
    quotas = [r.cpu_quota_us for r in parts]
    memories = [r.memory_limit_bytes for r in parts]
    quota = sum(q for q in quotas if q) if parts and all(quotas) else None
    memory = sum(m for m in memories if m) if parts and all(memories) else None
    shares = max(MIN_SHARES, sum(r.cpu_shares or MIN_SHARES for r in parts))
    return ContainerResources(shares, quota, PERIOD_US if quota else None, memory)


def _fields(path: Path) -> dict[str, int]:
    """A file of lines `name number`; empty if it is not there."""
    try:
        return {n: int(v) for n, v in (line.split() for line in path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}


def _names(place: Path) -> list[str]:
    """The groups of pods in a group; others may come and go meanwhile."""
    try:
        return [name for name in os.listdir(place) if name.startswith("pod")]
    except OSError:
        return []


class ControlGroups:
    """See the module. `root`: where the hierarchy (version 2) or the hierarchies (version 1) are mounted."""

    def __init__(self, root: Path = CGROUPS) -> None:
        self.root = root
        self.unified = (root / "cgroup.controllers").exists()
        self.shares: dict[str, int] = {}
        """Pod's group -> cpu.shares."""

    def _places(self, path: str) -> list[Path]:
        inner = path.strip("/")
        if self.unified:
            return [self.root / inner]
        return [self.root / controller / inner for controller in V1 if (self.root / controller).is_dir()]

    def known(self, resources: ContainerResources) -> ContainerResources:
        """Without what no controller of this machine counts: OCI runtimes would refuse the container for it."""
        if self.unified:
            there = "hugetlb" in (self.root / "cgroup.controllers").read_text().split()
        else:
            there = (self.root / "hugetlb").is_dir()
        if there or not resources.hugepage_limits:
            return resources
        return msgspec.structs.replace(resources, hugepage_limits={})

    def make(self, path: str, resources: ContainerResources) -> list[Path]:
        """Make a group and set its limits; answers where processes have to be entered."""
        places = self._places(path)
        for place in places:
            self._ensure(place)
        self.limit(path, resources)
        self.weigh_tiers()
        return places

    def _ensure(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if not self.unified:
            return
        for above in reversed([p for p in place.parents if p == self.root or self.root in p.parents]):
            there = (above / "cgroup.controllers").read_text().split()
            for name in (n for n in V2 if n in there):  # one by one: the kernel takes all of a line or nothing
                with contextlib.suppress(OSError):
                    (above / "cgroup.subtree_control").write_text(f"+{name}")

    def limit(self, path: str, resources: ContainerResources) -> None:
        """Write the limits of a group; what this kernel has no file for is left out."""
        if path.rpartition("/")[2].startswith("pod"):
            self.shares[path] = resources.cpu_shares or MIN_SHARES
        for place in self._places(path):
            for name, content in self.files(resources).items():
                if (place / name).exists():
                    with contextlib.suppress(OSError):
                        (place / name).write_text(content)

    def loosen(self, path: str) -> None:
        """Lift the ceilings of a group, so that what is below may get more; they are set again by `limit`."""
        lifted = {name: text for name, text in self.files(ContainerResources()).items() if name in CEILINGS}
        for place in self._places(path):
            for name, content in lifted.items():
                if (place / name).exists():
                    with contextlib.suppress(OSError):
                        (place / name).write_text(content)

    def files(self, resources: ContainerResources) -> dict[str, str]:
        """File -> what it is to say."""
        shares, period = resources.cpu_shares or MIN_SHARES, resources.cpu_period_us or PERIOD_US
        quota, memory, pids = resources.cpu_quota_us, resources.memory_limit_bytes, resources.pids_limit
        bounded = quota is not None and quota > 0
        common = {"pids.max": str(pids) if pids and pids > 0 else "max"}
        if self.unified:
            pages = {f"hugetlb.{size}.max": str(n) for size, n in resources.hugepage_limits.items()}
            return {
                "cpu.weight": str(cpu_weight(shares)),
                "cpu.max": f"{quota if bounded else 'max'} {period}",
                "memory.max": str(memory) if memory else "max",
                **common,
                **pages,
                **resources.unified,
            }
        pages = {f"hugetlb.{size}.limit_in_bytes": str(n) for size, n in resources.hugepage_limits.items()}
        return {
            "cpu.shares": str(shares),
            "cpu.cfs_period_us": str(period),
            "cpu.cfs_quota_us": str(quota if bounded else UNLIMITED),
            "memory.limit_in_bytes": str(memory or UNLIMITED),
            **common,
            **pages,
        }

    def weigh_tiers(self) -> None:
        """Burstable pods together have the shares that they asked for, best-effort ones the least there is.

        Version 1 tells the shares of all pods of this machine, whose nodes may be several; of version 2, where
        weights do not add up as shares do, only our own pods are known."""
        total = sum(n for path, n in self.shares.items() if f"/{path.strip('/')}".startswith(f"/{BURSTABLE}/"))
        if not self.unified:
            total = 0
            for name in _names(self.root / "cpu" / BURSTABLE):
                with contextlib.suppress(OSError, ValueError):
                    total += int((self.root / "cpu" / BURSTABLE / name / "cpu.shares").read_text())
        for path, shares in ((BEST_EFFORT, MIN_SHARES), (BURSTABLE, max(MIN_SHARES, min(total, MAX_SHARES)))):
            content = str(cpu_weight(shares) if self.unified else shares)
            for place in self._places(path):
                for file in (place / "cpu.weight", place / "cpu.shares"):
                    if file.exists():
                        with contextlib.suppress(OSError):
                            file.write_text(content)

    def of_process(self, pid: int) -> str:
        """The group of a process, as its memory controller has it; empty if the process has gone."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                if controllers == "" if self.unified else "memory" in controllers.split(","):
                    return path
        return ""

    def statistics(self, path: str) -> dict[str, int]:
        """cpu_ns, memory, inactive (file cache that could go), periods, throttled, throttled_ns,
        oom_kills and pids of a group; zeros where unknown."""
        found = dict.fromkeys(COUNTED, 0)
        for place in self._places(path):
            for name, key in (*FIGURES, ("pids.current", "pids")):
                with contextlib.suppress(OSError, ValueError):
                    found[key] = int((place / name).read_text())
            fields = _fields(place / "cpu.stat")
            if fields:
                found["periods"] = fields.get("nr_periods", 0)
                found["throttled"] = fields.get("nr_throttled", 0)
                found["throttled_ns"] = fields.get("throttled_time", fields.get("throttled_usec", 0) * 1000)
                found["cpu_ns"] = fields.get("usage_usec", 0) * 1000 or found["cpu_ns"]
            memory = _fields(place / "memory.stat")
            found["inactive"] = memory.get("total_inactive_file", memory.get("inactive_file", 0)) or found["inactive"]
            for name in ("memory.oom_control", "memory.events"):
                found["oom_kills"] = _fields(place / name).get("oom_kill", 0) or found["oom_kills"]
        return found

    def remove_top(self) -> None:
        """Remove the groups above all pods, if they are empty."""
        for path in (BURSTABLE, BEST_EFFORT, TOP):
            self.remove(path)

    def remove(self, path: str) -> None:
        """Remove a group that is empty, wherever a runtime made it; one that is not stays."""
        inner = path.strip("/")
        if self.shares.pop(path, None):
            self.weigh_tiers()
        hierarchies = [c for c in self.root.iterdir() if c.is_dir() and not c.is_symlink()]
        for place in [self.root / inner, *(c / inner for c in hierarchies)]:
            with contextlib.suppress(OSError):
                place.rmdir()
