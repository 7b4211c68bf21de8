"""The records of a simulated machine: its sandboxes, their containers, the processes that run.

Owns state only, so that it outlives a crash of the actors that work on it, as containers outlive
their runtime's daemon on a real machine. It never sends anything and knows no timers.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from actors.runtime._files import Store
from actors.runtime._images import ImageStore
from actors.runtime._logs import Log
from protocol.cri import (
    CONTAINER_CREATED,
    ContainerConfig,
    ContainerStatus,
    PodSandboxConfig,
    PodSandboxStatus,
)
from protocol.message import Address

__all__ = ["ContainerRecord", "Machine", "Run", "SandboxRecord"]

FIRST_PID = 1000


class Run:
    """One process that is more than a timer: the main one of a container, an exec, a trap.

    `wake_at`: when its sleep ends (seconds of the monotonic clock), None while it waits for
    anything else.
    """

    __slots__ = (
        "container",
        "done",
        "eof",
        "id",
        "input",
        "kind",
        "output",
        "peer",
        "shell",
        "slept",
        "steps",
        "stream_id",
        "ticks",
        "token",
        "touched",
        "wake_at",
        "wants_input",
    )

    def __init__(
        self, ident: int, container: ContainerRecord, kind: str, shell: Any, steps: Generator[Any, Any, int]
    ) -> None:
        self.id = ident
        self.container = container
        self.kind = kind
        self.shell = shell
        self.steps = steps
        self.token = 0
        self.ticks = 0
        self.wake_at: float | None = None
        self.wants_input = False
        self.input = bytearray()
        self.eof = False
        self.slept = False
        self.touched = False
        self.output: tuple[bytearray, bytearray] | None = None
        self.done: Any = None
        self.peer: Address | None = None
        self.stream_id = 0


class ContainerRecord:
    """One container. `end_at` and `end_code`: when a plain command ends by itself, and how."""

    __slots__ = (
        "config",
        "created_at",
        "end_at",
        "end_code",
        "exit_code",
        "finished_at",
        "followers",
        "id",
        "image_ref",
        "layer",
        "log",
        "main",
        "message",
        "oom_at",
        "pid",
        "reason",
        "sandbox",
        "started_at",
        "state",
    )

    def __init__(
        self, ident: str, config: ContainerConfig, sandbox: SandboxRecord, image_ref: str, created_at: float
    ) -> None:
        self.id = ident
        self.config = config
        self.sandbox = sandbox
        self.image_ref = image_ref
        self.created_at = created_at
        self.state = CONTAINER_CREATED
        self.started_at = 0.0
        self.finished_at = 0.0
        self.exit_code = 0
        self.reason = ""
        self.message = ""
        self.pid = 0
        self.end_at: float | None = None
        self.end_code = 0
        self.oom_at: float | None = None
        self.main: Run | None = None
        self.layer: Store | None = None
        self.log: Log | None = None
        self.followers: list[tuple[Address, int, bool]] | None = None

    def status(self) -> ContainerStatus:
        """As CRI reports it."""
        config = self.config
        return ContainerStatus(
            self.id,
            self.sandbox.id,
            self.sandbox.config.uid,
            config.name,
            config.attempt,
            self.state,
            config.image,
            self.image_ref,
            self.created_at,
            self.started_at,
            self.finished_at,
            self.exit_code,
            0,
            self.reason,
            self.message,
            config.annotations,
        )


class SandboxRecord:
    """One pod's sandbox: what the pause process holds together."""

    __slots__ = ("annotations", "config", "containers", "created_at", "id", "ips", "pid", "ready", "runs", "stores")

    def __init__(self, ident: str, config: PodSandboxConfig, ips: tuple[str, ...], pid: int, created_at: float) -> None:
        self.id = ident
        self.config = config
        self.annotations = config.annotations
        self.ips = ips
        self.pid = pid
        self.created_at = created_at
        self.ready = True
        self.containers: dict[str, ContainerRecord] = {}
        self.stores: dict[str, Store] | None = None
        self.runs: dict[int, Run] | None = None

    def status(self) -> PodSandboxStatus:
        """As CRI reports it."""
        config = self.config
        return PodSandboxStatus(
            self.id,
            config.name,
            config.namespace,
            config.uid,
            config.attempt,
            self.ready,
            self.created_at,
            self.ips if self.ready else (),
            config.labels,
            self.annotations,
        )


class Machine:
    """What survives on a node while its daemons restart."""

    def __init__(self, images: ImageStore | None = None, pod_cidr: str = "10.244.0.0/24") -> None:
        self.images = images or ImageStore()
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self.watcher: Address | None = None
        self.stores: dict[str, Store] = {}
        self.next_pid = FIRST_PID
        self.next_run = 1
        self.pod_cidr = ""
        self.free_ips: list[str] = []
        self.next_ip = self.last_ip = 0
        self.set_pod_cidr(pod_cidr)

    def set_pod_cidr(self, cidr: str) -> None:
        """Addresses from now on come from `cidr` (IPv4); the first one is the bridge's."""
        if cidr == self.pod_cidr:
            return
        network, _, bits = cidr.partition("/")
        first, second, third, fourth = (int(part) for part in network.split("."))
        start = (first << 24) | (second << 16) | (third << 8) | fourth
        self.pod_cidr = cidr
        self.free_ips = []
        self.next_ip = start + 2
        self.last_ip = start + (1 << (32 - int(bits))) - 2

    def allocate_ip(self) -> str | None:
        """A free address: a fresh one while there is one, then the one that was freed first."""
        if self.next_ip <= self.last_ip:
            number = self.next_ip
            self.next_ip += 1
            return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        return self.free_ips.pop(0) if self.free_ips else None

    def pid(self) -> int:
        """A new process number."""
        self.next_pid += 1
        return self.next_pid
