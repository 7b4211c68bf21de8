"""The records of the process runtime: what outlives its actor, as processes do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from actors.kernel import Future
from actors.runtime._logs import Log
from actors.runtime._volume_mounts import VolumeMounts
from protocol import cri

__all__ = ["ProcessContainer", "ProcessMachine", "ProcessSandbox", "kill_group"]

REAP_S = 2.0


class ProcessContainer:
    def __init__(
        self, ident: str, config: cri.ContainerConfig, sandbox: ProcessSandbox, home: Path, created_at: float
    ) -> None:
        self.id = ident
        self.config = config
        self.sandbox = sandbox
        self.home = home
        self.created_at = created_at
        self.state = cri.CONTAINER_CREATED
        self.started_at = self.finished_at = 0.0
        self.exit_code = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log = Log()
        self.followers: list[tuple[Any, int, bool]] = []
        self.stopping: list[Future[None]] = []

    def status(self) -> cri.ContainerStatus:
        config = self.config
        reason = "" if self.state != cri.CONTAINER_EXITED else "Completed" if self.exit_code == 0 else "Error"
        return cri.ContainerStatus(
            self.id,
            self.sandbox.id,
            self.sandbox.config.uid,
            config.name,
            config.attempt,
            self.state,
            config.image,
            config.image,
            self.created_at,
            self.started_at,
            self.finished_at,
            self.exit_code,
            0,
            reason,
        )


class ProcessSandbox:
    def __init__(self, ident: str, config: cri.PodSandboxConfig, created_at: float) -> None:
        self.id = ident
        self.config = config
        self.created_at = created_at
        self.ready = True

    def status(self, addresses: tuple[str, ...]) -> cri.PodSandboxStatus:
        c = self.config
        return cri.PodSandboxStatus(
            self.id,
            c.name,
            c.namespace,
            c.uid,
            c.attempt,
            self.ready,
            self.created_at,
            addresses,
            c.labels,
            c.annotations,
        )


class ProcessMachine:
    """What outlives the runtime's actor: the processes, and where their files are."""

    def __init__(self, root: Path | None = None) -> None:
        """Files go below `root`, or below a temporary directory that goes with this object."""
        self._temporary = tempfile.TemporaryDirectory(prefix="kubekka-node-") if root is None else None
        self.root = Path(self._temporary.name) if self._temporary is not None else Path(root or ".")
        self.volumes = VolumeMounts(self.root / "volumes")
        self.sandboxes: dict[str, ProcessSandbox] = {}
        self.containers: dict[str, ProcessContainer] = {}
        self.execs: dict[int, subprocess.Popen[bytes]] = {}
        self.watcher: Any = None

    def kill_all(self) -> None:
        """Leave no process behind."""
        processes = [c.process for c in self.containers.values()] + list(self.execs.values())
        for process in processes:
            kill_group(process, signal.SIGKILL)
        for process in processes:
            if process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(REAP_S)


def kill_group(process: subprocess.Popen[bytes] | None, number: int) -> None:
    """Signal a process and its descendants; one that has gone is no error."""
    if process is not None and process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
