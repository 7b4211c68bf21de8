"""What a Linux machine offers a runtime that has root: namespaces, a bridge, control groups.

Owns the commands and files; it knows no containers and no verbs. Everything may block and raises
`OSError` or `LinuxError`; `why_not` says beforehand what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from protocol.cri import ContainerResources

__all__ = [
    "CGROUPS",
    "Bridge",
    "ControlGroups",
    "LinuxError",
    "build_pause",
    "connect_inside",
    "first_child",
    "pod_resources",
    "run",
    "started_ticks",
    "why_not",
]

PAUSE_SOURCE = Path(__file__).parent / "pause" / "pause.c"
CGROUPS = Path("/sys/fs/cgroup")
COMMAND_TIMEOUT_S = 10.0
UNLIMITED = -1
CLONE_NEWNET = 0x40000000


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
    """The node's bridge: pods are attached to it by pairs of interfaces. It outlives whoever made it."""

    def __init__(self, key: str) -> None:
        self.name = "kb" + hashlib.sha256(key.encode()).hexdigest()[:8]
        self.bits = ""
        self.gateway = ""

    def up(self, cidr: str) -> None:
        """Make it, with the first address of `cidr`; one that is there as wanted stays, with its pods."""
        network = ipaddress.ip_network(cidr, strict=False)
        self.bits, self.gateway = str(network.prefixlen), str(network.network_address + 1)
        wanted = f"{self.gateway}/{self.bits}"
        with contextlib.suppress(LinuxError):
            if f"inet {wanted} " in run("ip", "-4", "addr", "show", "dev", self.name):
                return
        self.down()
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", wanted, "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        with contextlib.suppress(OSError):  # pods of several nodes on one machine reach each other through it
            if forward.read_text().strip() == "0":
                forward.write_text("1")

    def down(self) -> None:
        """Remove it, if it is there."""
        with contextlib.suppress(LinuxError):
            run("ip", "link", "del", self.name)

    def attach(self, pid: int, address: str) -> None:
        """Give the network namespace of `pid` an interface with `address`."""
        outside = "v" + hashlib.sha256(f"{self.name} {address}".encode()).hexdigest()[:10]
        with contextlib.suppress(LinuxError):  # of a pod that had the address before, and whose end is late
            run("ip", "link", "del", outside)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        run("ip", "link", "set", outside, "master", self.name, "up")
        inside = ("nsenter", "-t", str(pid), "-n", "ip")
        run(*inside, "addr", "add", f"{address}/{self.bits}", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", self.gateway)


def connect_inside(pid: int, port: int, timeout_s: float = 10.0) -> socket.socket:
    """A connection to the loopback of another process's network namespace.

    The thread that changes its namespace ends at once; its socket stays what it is.
    Raises: OSError.
    """
    answer: list[socket.socket | OSError] = []

    def enter() -> None:
        import ctypes

        try:
            library = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{pid}/ns/net") as space:
                if library.setns(space.fileno(), CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            answer.append(socket.create_connection(("127.0.0.1", port), timeout_s))
        except OSError as error:
            answer.append(error)

    thread = threading.Thread(target=enter, name="enter", daemon=True)
    thread.start()
    thread.join()
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


def started_ticks(pid: int) -> int:
    """When a process began, in clock ticks since the boot: with its pid its identity. 0: it is not there,
    or dead and only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def pod_resources(resources: Iterable[ContainerResources]) -> ContainerResources:
    """The pod's own limits: sums, and none where one container has none."""
    parts = list(resources)
    quotas = [r.cpu_quota_us for r in parts]
    memories = [r.memory_limit_bytes for r in parts]
    quota = sum(q for q in quotas if q) if parts and all(quotas) else None
    memory = sum(m for m in memories if m) if parts and all(memories) else None
    return ContainerResources(max(2, sum(r.cpu_shares or 2 for r in parts)), quota, 100_000 if quota else None, memory)


FIGURES = (("cpuacct.usage", "cpu_ns"), ("memory.usage_in_bytes", "memory"), ("memory.current", "memory"))


def _fields(path: Path) -> dict[str, int]:
    """A file of lines `name number`; empty if it is not there."""
    try:
        return {n: int(v) for n, v in (line.split() for line in path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}


class ControlGroups:
    """The groups of pods, in whichever version the machine has; paths begin with `/kubepods`."""

    def __init__(self) -> None:
        self.unified = (CGROUPS / "cgroup.controllers").exists()

    def _places(self, path: str) -> list[Path]:
        inner = path.strip("/")
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
        """cpu_ns, memory, inactive (file cache that could go), periods, throttled, throttled_ns and
        oom_kills of a group; zeros where unknown."""
        found = dict.fromkeys(("cpu_ns", "memory", "inactive", "periods", "throttled", "throttled_ns", "oom_kills"), 0)
        for place in self._places(path):
            for name, key in FIGURES:
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
        for path in ("kubepods/burstable", "kubepods/besteffort", "kubepods"):
            self.remove(path)

    def remove(self, path: str) -> None:
        """Remove a group that is empty, wherever a runtime made it; one that is not stays."""
        inner = path.strip("/")
        for place in [CGROUPS / inner, *(c / inner for c in CGROUPS.iterdir() if c.is_dir() and not c.is_symlink())]:
            with contextlib.suppress(OSError):
                place.rmdir()
