"""What a Linux machine offers a runtime that has root: namespaces, a bridge, control groups.

Owns the commands and files; it knows no containers and no verbs. Everything may block and raises
`OSError` or `LinuxError`; `why_not` says beforehand what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from protocol.cri import ContainerResources

__all__ = ["Bridge", "ControlGroups", "LinuxError", "build_pause", "first_child", "why_not"]

PAUSE_SOURCE = Path(__file__).parent / "pause" / "pause.c"
CGROUPS = Path("/sys/fs/cgroup")
TOP = "kubekka"
COMMAND_TIMEOUT_S = 10.0
UNLIMITED = -1


class LinuxError(Exception):
    """The machine refused."""


def why_not() -> str:
    """What keeps this machine from isolating containers; empty if nothing does."""
    if os.name != "posix" or not Path("/proc/self/ns/net").exists():
        return "this is not Linux"
    if os.geteuid() != 0:
        return "it needs root"
    for program in ("unshare", "nsenter", "ip", "cc"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    probe = subprocess.run(
        ["unshare", "--net", "--ipc", "--uts", "true"], capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S
    )
    return "" if probe.returncode == 0 else f"unshare: {probe.stderr.decode(errors='replace').strip()}"


def run(*command: str) -> str:
    """Run a command to its end; raises `LinuxError` with what it said."""
    done = subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S)
    if done.returncode:
        raise LinuxError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def build_pause(directory: Path) -> Path:
    """The pause program, compiled on first use (static where the C library allows)."""
    binary = directory / "pause"
    if not binary.exists():
        directory.mkdir(parents=True, exist_ok=True)
        try:
            run("cc", "-static", "-Os", "-s", "-o", str(binary), str(PAUSE_SOURCE))
        except LinuxError:
            run("cc", "-Os", "-s", "-o", str(binary), str(PAUSE_SOURCE))
    return binary


def first_child(pid: int) -> int:
    """The first child of a process, waited for: `unshare --fork` makes it a moment later."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(200):
        children = path.read_text().split()
        if children:
            return int(children[0])
        _nap()
    raise LinuxError(f"process {pid} has no child")


def _nap() -> None:
    """A moment for the kernel; this thread may block."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "0.01"], check=False, timeout=1.0)


class Bridge:
    """The node's bridge: pods are attached to it by pairs of interfaces."""

    def __init__(self, key: str) -> None:
        self.name = "kb" + hashlib.sha256(key.encode()).hexdigest()[:8]
        self.bits = ""
        self.gateway = ""
        self.links = 0

    def up(self, cidr: str) -> None:
        """Make it, with the first address of `cidr`."""
        network, _, self.bits = cidr.partition("/")
        self.gateway = network.rsplit(".", 1)[0] + ".1"
        self.down()
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", f"{self.gateway}/{self.bits}", "dev", self.name)
        run("ip", "link", "set", self.name, "up")

    def down(self) -> None:
        """Remove it, if it is there."""
        with contextlib.suppress(LinuxError):
            run("ip", "link", "del", self.name)

    def attach(self, pid: int, address: str) -> None:
        """Give the network namespace of `pid` an interface with `address`."""
        self.links += 1
        outside = f"{self.name[2:]}v{self.links}"[:15]
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        run("ip", "link", "set", outside, "master", self.name, "up")
        inside = ("nsenter", "-t", str(pid), "-n", "ip")
        run(*inside, "addr", "add", f"{address}/{self.bits}", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", self.gateway)


class ControlGroups:
    """The groups below `/kubekka`, in whichever version the machine has."""

    def __init__(self) -> None:
        self.unified = (CGROUPS / "cgroup.controllers").exists()

    def _places(self, path: str) -> list[Path]:
        inner = f"{TOP}/{path.strip('/')}"
        if self.unified:
            return [CGROUPS / inner]
        return [
            CGROUPS / controller / inner
            for controller in ("cpu", "cpuacct", "memory", "pids")
            if (CGROUPS / controller).is_dir()
        ]

    def make(self, path: str, resources: ContainerResources) -> list[Path]:
        """Make a group and set its limits; answers where processes have to be entered."""
        places = self._places(path)
        for place in places:
            self._ensure(place)
        self.limit(path, resources)
        return places

    def _ensure(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if self.unified:
            for above in reversed([p for p in place.parents if p == CGROUPS or CGROUPS in p.parents]):
                with contextlib.suppress(OSError):
                    (above / "cgroup.subtree_control").write_text("+cpu +memory +pids")

    def limit(self, path: str, resources: ContainerResources) -> None:
        """Write the limits of a group."""
        for place in self._places(path):
            for name, content in self._files(resources).items():
                if (place / name).exists():
                    with contextlib.suppress(OSError):
                        (place / name).write_text(content)

    def _files(self, resources: ContainerResources) -> dict[str, str]:
        shares, period = resources.cpu_shares or 2, resources.cpu_period_us or 100_000
        quota, memory = resources.cpu_quota_us, resources.memory_limit_bytes
        if self.unified:
            weight = 1 + ((min(max(shares, 2), 262_144) - 2) * 9999) // 262_142
            return {
                "cpu.weight": str(weight),
                "cpu.max": f"{quota if quota and quota > 0 else 'max'} {period}",
                "memory.max": str(memory) if memory else "max",
            }
        return {
            "cpu.shares": str(shares),
            "cpu.cfs_period_us": str(period),
            "cpu.cfs_quota_us": str(quota if quota and quota > 0 else UNLIMITED),
            "memory.limit_in_bytes": str(memory or UNLIMITED),
        }

    def statistics(self, path: str) -> dict[str, int]:
        """cpu_ns, memory, periods, throttled, throttled_ns of a group; zeros where unknown."""
        found = {"cpu_ns": 0, "memory": 0, "periods": 0, "throttled": 0, "throttled_ns": 0}
        for place in self._places(path):
            with contextlib.suppress(OSError, ValueError):
                for name, key in (
                    ("cpuacct.usage", "cpu_ns"),
                    ("memory.usage_in_bytes", "memory"),
                    ("memory.current", "memory"),
                ):
                    if (place / name).exists():
                        found[key] = int((place / name).read_text())
                if (place / "cpu.stat").exists():
                    fields = dict(line.split() for line in (place / "cpu.stat").read_text().splitlines())
                    found["periods"] = int(fields.get("nr_periods", 0))
                    found["throttled"] = int(fields.get("nr_throttled", 0))
                    found["throttled_ns"] = int(
                        fields.get("throttled_time", int(fields.get("throttled_usec", 0)) * 1000)
                    )
                    if "usage_usec" in fields:
                        found["cpu_ns"] = int(fields["usage_usec"]) * 1000
        return found

    def remove_top(self) -> None:
        """Remove the groups above all pods, if they are empty."""
        for path in ("kubepods/burstable", "kubepods/besteffort", "kubepods", ""):
            self.remove(path)

    def remove(self, path: str) -> None:
        """Remove a group that is empty; one that is not stays."""
        for place in self._places(path):
            with contextlib.suppress(OSError):
                place.rmdir()
