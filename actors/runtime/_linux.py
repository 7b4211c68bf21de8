"""What a Linux machine offers a runtime that has root: namespaces, a bridge.

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
from pathlib import Path

__all__ = [
    "Bridge",
    "LinuxError",
    "build_pause",
    "connect_inside",
    "first_child",
    "mounted_below",
    "run",
    "started_ticks",
    "why_not",
]

PAUSE_SOURCE = Path(__file__).parent / "pause" / "pause.c"
COMMAND_TIMEOUT_S = 10.0
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


def mounted_below(place: Path) -> list[str]:
    """What is mounted in a directory, the deepest first."""
    prefix = f"{place}/"
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:  # another system, where nothing of ours is mounted
        return []
    targets = (line.split(" ")[1].encode().decode("unicode_escape") for line in lines)
    return sorted((t for t in targets if t.startswith(prefix)), key=len, reverse=True)
