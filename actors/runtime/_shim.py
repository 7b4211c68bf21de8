"""The shim: a small process of its own beside each container, so that nobody else is needed.

    python -I -S _shim.py BUNDLE

It makes the container with the OCI runtime, is the parent of its first process, writes what that prints to the log in
the CRI's format, serves `attach.sock`, and leaves the exit status in `exit.json`. A kubelet, or
the whole program that started it, may be killed meanwhile: the container and its log go on, and
who comes back finds socket and file. It imports nothing of this project, and knows no pods.

`shim.json` in the bundle: runtime (its command), state (its root directory), id, log, tty, stdin, stdin_once,
log_max_bytes, log_max_files. On its standard output it answers one line of JSON: `{"pid": N}` or
`{"error": "..."}`.

`attach.sock`: who connects sends `W` (and then only sees the end), or `A` and gets and sends
frames: channel (1 byte), length (4 bytes, big endian), data. Channels as in a remote command: 0
standard input (an empty frame ends it), 1 and 2 output, 4 the size of the terminal as JSON.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import glob
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from typing import Any

CHUNK = 1 << 16
LINE_MAX_BYTES = 16 << 10
BACKLOG_MAX_BYTES = 4 << 20
DRAIN_S = 0.5
HEAD = struct.Struct(">BI")
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


class Log:
    """The container's log file: `2026-01-02T03:04:05.123456789Z stdout F text`.

    A file that has grown too large is put aside with the time in its name; the oldest go.
    """

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        self.path, self.max_bytes, self.max_files = path, max_bytes, max_files
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.pending = {b"stdout": b"", b"stderr": b""}
        self.open()

    def open(self) -> None:
        self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self.file).st_size

    def write(self, stream: bytes, data: bytes) -> None:
        *lines, rest = (self.pending[stream] + data).split(b"\n")
        out = []
        for line in lines:
            while len(line) > LINE_MAX_BYTES:
                out.append(self.entry(stream, b"P", line[:LINE_MAX_BYTES]))
                line = line[LINE_MAX_BYTES:]
            out.append(self.entry(stream, b"F", line))
        while len(rest) > LINE_MAX_BYTES:
            out.append(self.entry(stream, b"P", rest[:LINE_MAX_BYTES]))
            rest = rest[LINE_MAX_BYTES:]
        self.pending[stream] = rest
        self.append(b"".join(out))

    @staticmethod
    def entry(stream: bytes, tag: bytes, text: bytes) -> bytes:
        seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return b"%s.%09dZ %s %s %s\n" % (stamp.encode(), nanos, stream, tag, text)

    def append(self, data: bytes) -> None:
        if not data:
            return
        with contextlib.suppress(OSError):  # a full disk must not end the container
            os.write(self.file, data)
        self.size += len(data)
        if self.size >= self.max_bytes:
            self.rotate()

    def rotate(self) -> None:
        with contextlib.suppress(OSError):
            os.rename(
                self.path, f"{self.path}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{time.time_ns() % 10**9:09d}"
            )
            for old in sorted(glob.glob(glob.escape(self.path) + ".*"))[: -(self.max_files - 1) or None]:
                os.unlink(old)
            os.close(self.file)
            self.open()

    def close(self) -> None:
        for stream, rest in self.pending.items():
            if rest:
                self.append(self.entry(stream, b"F", rest))


class Client:
    """Somebody at `attach.sock`."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.attached: bool | None = None
        self.received = b""
        self.unsent = bytearray()


class Shim:
    """See the module."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.log = Log(settings["log"], settings["log_max_bytes"], settings["log_max_files"])
        self.poll = select.poll()
        self.outputs: dict[int, bytes] = {}
        self.clients: dict[int, Client] = {}
        self.stdin = -1
        self.to_stdin = bytearray()
        self.stdin_ends = False
        self.console = -1
        self.pid = 0
        self.status: int | None = None

    # -- the beginning

    def create(self) -> None:
        """Make the container. Raises: RuntimeError with the OCI runtime's words."""
        tty = self.settings["tty"]
        command = [
            *self.settings["runtime"],
            "--root",
            self.settings["state"],
            "--log",
            "runtime.log",
            "--log-format",
            "json",
        ]
        command += ["create", "--bundle", ".", "--pid-file", "pid"]
        listener = None
        ends: list[int] = []
        stdio: list[int] = [os.open(os.devnull, os.O_RDWR)] * 3
        if tty:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with contextlib.suppress(FileNotFoundError):
                os.unlink("console.sock")
            listener.bind("console.sock")
            listener.listen(1)
            command += ["--console-socket", "console.sock"]
        else:
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            self.outputs = {out: b"stdout", err: b"stderr"}
            stdio[1:] = [out_end, err_end]
            ends = [out_end, err_end]
            if self.settings["stdin"]:
                in_end, self.stdin = os.pipe()
                stdio[0] = in_end
                ends.append(in_end)
        # Files, not pipes, for what the runtime itself says: the container inherits the pipes.
        made = subprocess.run(
            [*command, self.settings["id"]], stdin=stdio[0], stdout=stdio[1], stderr=stdio[2], check=False
        )
        for end in ends:
            os.close(end)
        if made.returncode:
            raise RuntimeError(self.complaint(made.returncode))
        if listener is not None:
            self.console = self.receive_console(listener)
            self.outputs = {self.console: b"stdout"}
            self.stdin = self.console if self.settings["stdin"] else -1
        with open("pid") as file:
            self.pid = int(file.read())

    def complaint(self, code: int) -> str:
        """What the runtime wrote in its log, the last error first."""
        with contextlib.suppress(OSError, ValueError), open("runtime.log") as file:
            for line in reversed(file.read().splitlines()):
                entry = json.loads(line)
                if entry.get("level") == "error":
                    return str(entry["msg"])
        for fd in self.outputs:  # it may have complained before it had a log
            with contextlib.suppress(OSError):
                os.set_blocking(fd, False)
                text = os.read(fd, CHUNK).decode(errors="replace").strip()
                if text:
                    return text
        return f"{self.settings['runtime'][-1]} create: exit status {code}"

    @staticmethod
    def receive_console(listener: socket.socket) -> int:
        listener.settimeout(10)
        connection, _ = listener.accept()
        fds = array.array("i")
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(fds.itemsize))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: fds.itemsize])
        connection.close()
        listener.close()
        os.unlink("console.sock")
        return fds[0]

    # -- the long middle

    def run(self) -> None:
        """Until the container has ended and its output is read."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink("attach.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind("attach.sock")
        self.listener.listen(16)
        wake, wake_end = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for fd in (self.listener.fileno(), wake, *self.outputs):
            self.poll.register(fd, select.POLLIN)
        if self.stdin >= 0:
            os.set_blocking(self.stdin, False)
        answer({"pid": self.pid})
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        self.reap()
        deadline = 0.0
        while True:
            if self.status is not None:
                deadline = deadline or time.monotonic() + DRAIN_S
                if not self.outputs or time.monotonic() > deadline:
                    return
            for fd, _ in self.poll.poll(100 if self.status is not None else 60_000):
                if fd == wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, CHUNK)
                elif fd == self.listener.fileno():
                    self.accept()
                elif fd in self.outputs:
                    self.output(fd)
                elif fd in self.clients:
                    self.client(self.clients[fd])
            self.feed()
            self.reap()

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.status = status

    def output(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except OSError:  # a terminal whose other end is closed
            data = b""
        if not data:
            self.poll.unregister(fd)
            del self.outputs[fd]
            return
        stream = self.outputs[fd]
        self.log.write(stream, data)
        frame = HEAD.pack(1 if stream == b"stdout" else 2, len(data)) + data
        for client in [c for c in self.clients.values() if c.attached]:
            client.unsent += frame
            self.send(client)

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        self.clients[connection.fileno()] = Client(connection)
        self.poll.register(connection, select.POLLIN)

    def client(self, client: Client) -> None:
        self.send(client)
        try:
            data = client.connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(client)
            return
        client.received += data
        if client.attached is None:
            client.attached = client.received[:1] == b"A"
            client.received = client.received[1:]
        while len(client.received) >= HEAD.size:
            channel, length = HEAD.unpack_from(client.received)
            if len(client.received) < HEAD.size + length:
                return
            self.frame(channel, client.received[HEAD.size : HEAD.size + length])
            client.received = client.received[HEAD.size + length :]

    def frame(self, channel: int, data: bytes) -> None:
        if channel == 4 and self.console >= 0:
            with contextlib.suppress(ValueError, KeyError, OSError, struct.error):
                size = json.loads(data)
                fcntl.ioctl(self.console, termios.TIOCSWINSZ, struct.pack("HHHH", size["Height"], size["Width"], 0, 0))
        elif channel == 0 and self.stdin >= 0:
            self.to_stdin += data
            if not data and self.settings["stdin_once"]:
                self.stdin_ends = True

    def feed(self) -> None:
        """Give the container what waits for its standard input."""
        if self.stdin < 0:
            return
        if self.to_stdin:
            with contextlib.suppress(BlockingIOError):
                try:
                    del self.to_stdin[: os.write(self.stdin, self.to_stdin[:CHUNK])]
                except BrokenPipeError:
                    self.to_stdin.clear()
        if self.stdin_ends and not self.to_stdin and self.console < 0:
            os.close(self.stdin)
            self.stdin = -1

    def send(self, client: Client) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                while client.unsent:
                    del client.unsent[: client.connection.send(client.unsent)]
            except OSError:
                client.unsent.clear()
        events = select.POLLIN | (select.POLLOUT if client.unsent else 0)
        self.poll.modify(client.connection, events)
        if len(client.unsent) > BACKLOG_MAX_BYTES:  # who reads too slowly is cut off
            self.drop(client)

    def drop(self, client: Client) -> None:
        self.poll.unregister(client.connection)
        del self.clients[client.connection.fileno()]
        client.connection.close()

    # -- the end

    def finish(self) -> None:
        """Leave the exit status, then go: the end of its connections tells whoever watches."""
        self.log.close()
        assert self.status is not None
        code = os.waitstatus_to_exitcode(self.status)
        record = {"code": code if code >= 0 else 128 - code, "signal": max(0, -code), "finished_at": time.time()}
        with open("exit.json.new", "w") as file:
            json.dump(record, file)
        os.rename("exit.json.new", "exit.json")
        with contextlib.suppress(FileNotFoundError):
            os.unlink("attach.sock")
        end = time.monotonic() + DRAIN_S
        for client in list(self.clients.values()):
            client.connection.settimeout(max(0.01, end - time.monotonic()))
            with contextlib.suppress(OSError):
                client.connection.sendall(client.unsent)


def answer(value: dict[str, Any]) -> None:
    """Tell who started us."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Become the shim of a bundle, apart from whoever started it."""
    import ctypes

    os.chdir(sys.argv[1])
    if os.fork():
        os._exit(0)
    os.setsid()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, the container does not inherit that
    with open("shim.json") as file:
        shim = Shim(json.load(file))
    try:
        shim.create()
    except (RuntimeError, OSError, ValueError) as error:
        answer({"error": str(error)})
        os._exit(1)
    shim.run()
    shim.finish()


if __name__ == "__main__":
    main()
