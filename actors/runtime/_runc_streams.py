"""Part of the OCI runtime: commands beside a container, attached streams, logs, ports.

Owns how bytes get from processes to whoever asked for them. It starts and ends no container.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import orjson

from actors.kernel import Future, handles
from actors.runtime import _streams
from actors.runtime._linux import connect_inside
from actors.runtime._port_probes import probe_port
from actors.runtime._process_io import forward_ports, pump
from actors.runtime._real import RealRuntime
from actors.runtime._runc_machine import OciContainer, OciSandbox, RuncMachine
from actors.runtime._sessions import Session, internal_error
from protocol import cri
from protocol.node import RESIZE, STDERR, STDIN, STDOUT, StreamClosed, StreamData, StreamOpened

__all__ = ["RuncStreams", "connect_shim"]

HEAD = struct.Struct(">BI")
CHUNK = 1 << 16
NO_PROGRAM = (126, 127)
"""Exit codes of the OCI runtime itself when the command cannot be started."""


def connect_shim(place: Path, greeting: bytes) -> socket.socket:
    """A connection to a container's shim. Raises: OSError when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory = os.open(place, os.O_PATH | os.O_DIRECTORY)
        try:  # by the directory's number: the path of a socket must be short
            connection.connect(f"/proc/self/fd/{directory}/attach.sock")
        finally:
            os.close(directory)
        connection.sendall(greeting)
    except OSError:
        connection.close()
        raise
    return connection


class RuncStreams(RealRuntime):
    """See the module."""

    machine: RuncMachine

    def identifier(self) -> str:
        """The id of a new sandbox or container."""
        return f"{self.random.getrandbits(256):064x}"

    def _sandbox(self, ident: str) -> OciSandbox:
        if ident not in self.machine.sandboxes:
            raise cri.CriError("NotFound", f'sandbox "{ident}": not found')
        return self.machine.sandboxes[ident]

    def _find(self, ident: str) -> OciContainer:
        if ident not in self.machine.containers:
            raise cri.CriError("NotFound", f'container "{ident}": not found')
        return self.machine.containers[ident]

    def _running(self, ident: str) -> OciContainer:
        container = self._find(ident)
        if container.state != cri.CONTAINER_RUNNING:
            raise cri.CriError("Unknown", f"container not running ({ident})")
        return container

    # -- commands

    def _exec_command(self, container: OciContainer, command: tuple[str, ...], tty: bool) -> tuple[list[str], Path]:
        """(the OCI runtime's command line, the directory of its files), for a command in a container."""
        files = Path(tempfile.mkdtemp(prefix="exec-", dir=self.machine.place(container)))
        process = {**container.process, "args": list(command), "terminal": tty}
        if tty and not any(e.startswith("TERM=") for e in process["env"]):
            process["env"] = [*process["env"], "TERM=xterm"]
        (files / "process.json").write_bytes(orjson.dumps(process))
        options = ["--process", str(files / "process.json"), "--pid-file", str(files / "pid")]
        return self.machine.command("exec", *(["--tty"] if tty else []), *options, container.id), files

    @staticmethod
    def _cleared(files: Path) -> None:
        for path in files.iterdir():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            files.rmdir()

    @handles(cri.ExecSync)
    def exec_sync(self, message: cri.ExecSync) -> Future[cri.ExecSyncResponse]:
        container = self._running(message.container_id)
        future: Future[cri.ExecSyncResponse] = Future()
        line, files = self._exec_command(container, message.command, tty=False)

        def run() -> None:
            process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
            try:
                out, err = process.communicate(timeout=message.timeout_s or None)
            except subprocess.TimeoutExpired:
                _kill_inside(files)
                process.kill()
                process.communicate()
                future.fail(cri.CriError("DeadlineExceeded", f"command {list(message.command)} timed out"))
            else:
                code = process.returncode if process.returncode >= 0 else 128 - process.returncode
                problem = _not_started(code, files, err)
                if problem:
                    future.fail(cri.CriError("Unknown", problem))
                else:
                    future.resolve(cri.ExecSyncResponse(code, out, err))
            finally:
                self._cleared(files)

        threading.Thread(target=run, name="exec", daemon=True).start()
        return future

    @handles(cri.Exec)
    def exec(self, message: cri.Exec) -> StreamOpened:
        container, peer, stream_id = self._running(message.container_id), message.peer, message.stream_id
        line, files = self._exec_command(container, message.command, message.tty)
        master = -1
        held = bytearray()

        def complain(data: bytes) -> None:
            """Until the command runs, what is said is the OCI runtime's own complaint."""
            if (files / "pid").exists():
                self._deliver(peer, StreamData(stream_id, STDERR, data))
            else:
                held.extend(data)

        if message.tty:
            master, slave = pty.openpty()
            # setsid makes the terminal the controlling one, so that a change of its size reaches the OCI runtime
            process = subprocess.Popen(["setsid", "--ctty", *line], stdin=slave, stdout=slave, stderr=slave)
            os.close(slave)
            pumps = [_read_terminal(master, lambda data: self._deliver(peer, StreamData(stream_id, STDOUT, data)))]
        else:
            process = subprocess.Popen(
                line,
                stdin=subprocess.PIPE if message.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            assert process.stdout is not None
            assert process.stderr is not None
            pumps = [
                pump(process.stdout, lambda data: self._deliver(peer, StreamData(stream_id, STDOUT, data))),
                pump(process.stderr, complain),
            ]
        self.sessions[stream_id] = _session(process, master, files)

        def wait() -> None:
            code = process.wait()
            for thread in pumps:
                thread.join(timeout=2.0)
            if master >= 0:
                os.close(master)
            code = code if code >= 0 else 128 - code
            problem = _not_started(code, files, bytes(held))
            self._cleared(files)
            self._deliver(
                peer, StreamClosed(stream_id, internal_error(problem) if problem else _streams.exit_status(code))
            )

        threading.Thread(target=wait, name="exec-wait", daemon=True).start()
        return StreamOpened(stream_id, self.ref)

    @handles(cri.Attach)
    def attach(self, message: cri.Attach) -> StreamOpened:
        container, peer, stream_id = self._running(message.container_id), message.peer, message.stream_id
        try:
            connection = connect_shim(self.machine.place(container), b"A")
        except OSError as error:
            raise cri.CriError("Unknown", f"container not running ({container.id})") from error

        def write(data: bytes, eof: bool) -> None:
            if data:
                connection.sendall(HEAD.pack(STDIN, len(data)) + data)
            if eof:
                connection.sendall(HEAD.pack(STDIN, 0))

        def resize(width: int, height: int) -> None:
            size = orjson.dumps({"Width": width, "Height": height})
            connection.sendall(HEAD.pack(RESIZE, len(size)) + size)

        self.sessions[stream_id] = Session(write, connection.close, resize)

        def read() -> None:
            with contextlib.suppress(OSError), connection.makefile("rb") as file:
                while len(head := file.read(HEAD.size)) == HEAD.size:
                    channel, length = HEAD.unpack(head)
                    self._deliver(peer, StreamData(stream_id, channel, file.read(length)))
            self._deliver(peer, StreamClosed(stream_id))

        threading.Thread(target=read, name="attach", daemon=True).start()
        return StreamOpened(stream_id, self.ref)

    @handles(cri.PortForward)
    def port_forward(self, message: cri.PortForward) -> StreamOpened:
        sandbox = self._sandbox(message.pod_sandbox_id)
        child = forward_ports(message, self.relay, lambda port: connect_inside(sandbox.pid, port))
        return StreamOpened(message.stream_id, self.spawn(child))

    # -- logs and ports

    @handles(cri.ReadLog)
    def read_log(self, message: cri.ReadLog) -> cri.ReadLogResponse:
        container = self._find(message.container_id)

        def ended() -> bool:
            return container.state == cri.CONTAINER_EXITED or container.id not in self.machine.containers

        return self.read_log_file(message, Path(container.log_file), ended)

    @handles(cri.Probe)
    def probe(self, message: cri.Probe) -> Future[cri.ProbeResponse]:
        container = self._running(message.container_id)
        sandbox = self._sandbox(container.sandbox_id)
        host = message.host or (sandbox.ips[0] if sandbox.ips else "")
        return probe_port(msgspec.structs.replace(message, host=host))


def _kill_inside(files: Path) -> None:
    """Kill the command itself; the OCI runtime would leave it behind."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((files / "pid").read_text()), signal.SIGKILL)


def _not_started(code: int, files: Path, err: bytes) -> str:
    """Why a command could not be started, where it was the OCI runtime that ended and not the command."""
    if code == 0 or (files / "pid").exists():
        return ""
    text = err.decode(errors="replace").strip().splitlines()
    said = text[-1] if text else f"exit status {code}"
    logged = re.search(r'level=error msg="((?:[^"\\\\]|\\\\.)*)"', said)
    if logged:
        said = logged.group(1).replace('\\"', '"')
    return f"failed to exec in container: failed to start exec: OCI runtime exec failed: {said}: unknown"


def _read_terminal(master: int, sink: Callable[[bytes], None]) -> threading.Thread:
    def run() -> None:
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(master, CHUNK):
                sink(data)

    thread = threading.Thread(target=run, name="terminal", daemon=True)
    thread.start()
    return thread


def _session(process: subprocess.Popen[bytes], master: int, files: Path) -> Session:
    """The input side of a command whose files are there."""

    def write(data: bytes, eof: bool) -> None:
        if master >= 0:
            os.write(master, data + (b"\x04" if eof else b""))
            return
        if process.stdin is not None:
            if data:
                process.stdin.write(data)
                process.stdin.flush()
            if eof:
                process.stdin.close()

    def close() -> None:
        if process.poll() is None:
            _kill_inside(files)
            process.kill()

    def resize(width: int, height: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        with contextlib.suppress(OSError, ValueError):  # older cruns do not hand a change on to the command's terminal
            inner = os.open(f"/proc/{int((files / 'pid').read_text())}/fd/0", os.O_RDWR | os.O_NOCTTY)
            try:
                fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
            finally:
                os.close(inner)

    return Session(write, close, resize if master >= 0 else None)
