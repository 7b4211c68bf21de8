"""Part of the process runtime: commands executed beside a container, logs, attached streams, ports.

Owns how bytes get from processes to whoever asked for them. It starts and ends no container.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import Any

from actors.kernel import Future, Ref, ThreadActor, handles
from actors.runtime import _streams
from actors.runtime._port_probes import probe_port
from actors.runtime._process_io import Deliver, forward_ports, pump, tell
from actors.runtime._process_machine import ProcessContainer, ProcessMachine, ProcessSandbox, kill_group
from protocol import cri
from protocol.message import Address
from protocol.node import STDERR, STDIN, STDOUT, StreamClosed, StreamData, StreamOpened

__all__ = ["ProcessStreams"]


class ProcessStreams(ThreadActor):
    """See the module."""

    machine: ProcessMachine
    relay: Ref

    def _deliver(self, peer: Address, message: Any) -> None:
        tell(self.relay, Deliver(peer, message))

    def _sandbox(self, ident: str) -> ProcessSandbox:
        if ident not in self.machine.sandboxes:
            raise cri.CriError("NotFound", f'sandbox "{ident}": not found')
        return self.machine.sandboxes[ident]

    def _find(self, ident: str) -> ProcessContainer:
        if ident not in self.machine.containers:
            raise cri.CriError("NotFound", f'container "{ident}": not found')
        return self.machine.containers[ident]

    def command_line(self, container: ProcessContainer, argv: list[str]) -> list[str]:
        """How a command is run for a container: here as it is."""
        return argv

    def addresses(self, sandbox: ProcessSandbox) -> tuple[str, ...]:
        """A pod's addresses: here the machine's loopback."""
        return ("127.0.0.1",)

    def environment(self, container: ProcessContainer) -> dict[str, str]:
        """The variables that a command for a container gets."""
        sandbox = container.sandbox.config
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(container.home),
            "HOSTNAME": sandbox.hostname or sandbox.name,
            "KUBEKKA_ROOT": str(container.home),
            **dict(container.config.envs),
        }

    def _running(self, ident: str) -> ProcessContainer:
        container = self._find(ident)
        if container.state != cri.CONTAINER_RUNNING:
            raise cri.CriError("Unknown", f"container not running ({ident})")
        return container

    @handles(cri.ExecSync)
    def exec_sync(self, message: cri.ExecSync) -> Future[cri.ExecSyncResponse]:
        container = self._running(message.container_id)
        future: Future[cri.ExecSyncResponse] = Future()
        command = self.command_line(container, list(message.command))
        environment = self.environment(container)

        def run() -> None:
            try:
                done = subprocess.run(
                    command,
                    cwd=container.home,
                    env=environment,
                    capture_output=True,
                    timeout=message.timeout_s or None,
                    stdin=subprocess.DEVNULL,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                future.fail(cri.CriError("DeadlineExceeded", "command timed out"))
            except OSError as error:
                future.resolve(cri.ExecSyncResponse(127, b"", str(error).encode()))
            else:
                code = done.returncode if done.returncode >= 0 else 128 - done.returncode
                future.resolve(cri.ExecSyncResponse(code, done.stdout, done.stderr))

        threading.Thread(target=run, name="exec", daemon=True).start()
        return future

    @handles(cri.Exec)
    def exec(self, message: cri.Exec) -> StreamOpened:
        container, peer, stream_id = self._running(message.container_id), message.peer, message.stream_id
        command = self.command_line(container, list(message.command))
        try:
            process = subprocess.Popen(
                command,
                cwd=container.home,
                env=self.environment(container),
                start_new_session=True,
                stdin=subprocess.PIPE if message.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            self._deliver(peer, StreamData(stream_id, STDERR, f"{error}\n".encode()))
            self._deliver(peer, StreamClosed(stream_id, _streams.exit_status(127)))
            return StreamOpened(stream_id, self.ref)
        self.machine.execs[stream_id] = process
        assert process.stdout is not None
        assert process.stderr is not None
        pumps = [
            pump(process.stdout, lambda data: self._deliver(peer, StreamData(stream_id, STDOUT, data))),
            pump(process.stderr, lambda data: self._deliver(peer, StreamData(stream_id, STDERR, data))),
        ]

        def wait() -> None:
            code = process.wait()
            for thread in pumps:
                thread.join(timeout=2.0)
            self._deliver(peer, StreamClosed(stream_id, _streams.exit_status(code if code >= 0 else 128 - code)))

        threading.Thread(target=wait, name="exec-wait", daemon=True).start()
        return StreamOpened(stream_id, self.ref)

    @handles(cri.Attach)
    def attach(self, message: cri.Attach) -> StreamOpened:
        container = self._running(message.container_id)
        container.followers.append((message.peer, message.stream_id, False))
        if message.stdin and container.process is not None:
            self.machine.execs[message.stream_id] = container.process
        return StreamOpened(message.stream_id, self.ref)

    @handles(cri.PortForward)
    def port_forward(self, message: cri.PortForward) -> StreamOpened:
        self._sandbox(message.pod_sandbox_id)
        return StreamOpened(message.stream_id, self.spawn(forward_ports(message, self.relay)))

    @handles(StreamData)
    def stream_data(self, message: StreamData) -> None:
        process = self.machine.execs.get(message.stream_id)
        if process is None or process.stdin is None or message.channel != STDIN:
            return
        with contextlib.suppress(BrokenPipeError, ValueError):
            if message.data:
                process.stdin.write(message.data)
                process.stdin.flush()
            if message.eof:
                process.stdin.close()

    @handles(StreamClosed)
    def stream_closed(self, message: StreamClosed) -> None:
        process = self.machine.execs.pop(message.stream_id, None)
        mains = {id(c.process) for c in self.machine.containers.values()}
        if process is not None and id(process) not in mains:
            kill_group(process, signal.SIGKILL)
        for container in self.machine.containers.values():
            container.followers = [f for f in container.followers if f[1] != message.stream_id]

    @handles(cri.ReadLog)
    def read_log(self, message: cri.ReadLog) -> cri.ReadLogResponse:
        container = self._find(message.container_id)
        data = container.log.read(message.since, message.tail_lines, message.limit_bytes, message.timestamps)
        if message.peer is not None:
            if container.state == cri.CONTAINER_EXITED:
                self._deliver(message.peer, StreamClosed(message.stream_id))
            else:
                container.followers.append((message.peer, message.stream_id, message.timestamps))
        return cri.ReadLogResponse(data)

    @handles(cri.Probe)
    def probe(self, message: cri.Probe) -> Future[cri.ProbeResponse]:
        self._running(message.container_id)
        return probe_port(message)
