"""What tests of whole clusters with real containers share: processes of `cluster.py`, kubectl at a pipe or a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli._errors import UsageError
from cli.kubectl import find_kubectl

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 40.0


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until something holds, and answer it."""
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


class Process:
    """A verb of `cluster.py` that serves."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.folder, self.command = folder, command

    def start(self) -> None:
        """Until it says that it is ready."""
        self.errors = (self.folder / f"errors-{self.command[0]}").open("ab")
        command = [sys.executable, str(ROOT / "cluster.py"), *self.command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, cwd=ROOT)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(b"ready:"), Path(self.errors.name).read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it; answers its exit status."""
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()
        return code


class Up(Process):
    """A cluster in a process of its own."""

    def __init__(self, folder: Path, *options: str, nodes: int = 1) -> None:
        try:
            self.binary = find_kubectl()
        except UsageError as missing:
            pytest.skip(str(missing))
        self.options = options
        self.kubeconfig = folder / "kubeconfig"
        super().__init__(
            folder, "up", "--nodes", str(nodes), "--port", "0", "--data-dir", str(folder / "data"),
            "--kubeconfig", str(self.kubeconfig), *options,
        )  # fmt: skip

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl, which has to succeed; answers its output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl."""
        command = [self.binary, f"--kubeconfig={self.kubeconfig}", "--request-timeout=30s", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT_S, check=False)

    def tried(self, *arguments: str) -> str:
        """As `kubectl`; empty when it fails."""
        with contextlib.suppress(AssertionError):
            return self.kubectl(*arguments)
        return ""

    def apply(self, manifest: str, pod: str = "") -> None:
        """Apply a manifest, and wait until a pod of it is ready."""
        self.kubectl("apply", "-f", "-", stdin=manifest)
        if pod:
            self.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", f"--timeout={WAIT_S}s")

    def field(self, path: str, pod: str = "web") -> str:
        """A field of a pod."""
        return self.kubectl("get", "pod", pod, "-o", f"jsonpath={{{path}}}")

    @contextlib.contextmanager
    def forwarded(self, port: int, pod: str = "web") -> Iterator[int]:
        """A port of this machine that leads to one of a pod."""
        command = [self.binary, f"--kubeconfig={self.kubeconfig}", "port-forward", f"pod/{pod}", f"0:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "Forwarding from" in line, line
            yield int(line.split("127.0.0.1:")[1].split()[0])
        finally:
            process.terminate()
            process.wait(WAIT_S)
            assert process.stdout is not None
            process.stdout.close()

    @contextlib.contextmanager
    def at_terminal(self, *arguments: str, rows: int = 24, columns: int = 80) -> Iterator[Terminal]:
        """kubectl at a terminal of its own."""
        terminal = Terminal([self.binary, f"--kubeconfig={self.kubeconfig}", *arguments], rows, columns)
        try:
            yield terminal
        finally:
            terminal.close()


class Terminal:
    """A program at a terminal."""

    def __init__(self, command: list[str], rows: int, columns: int) -> None:
        self.shown = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execv(command[0], command)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Pull at the window's corner."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: str) -> str:
        """Read until something is shown; answers all that was since the beginning."""
        end = time.monotonic() + WAIT_S
        while text.encode() not in self.shown:
            assert time.monotonic() < end, self.shown
            readable, _, _ = select.select([self.master], [], [], 0.2)
            if readable:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # the other end is closed
                    data = b""
                assert data or text.encode() in self.shown, self.shown
                self.shown += data
        return self.shown.decode(errors="replace")

    def end(self) -> int:
        """Wait for its end; answers its exit status."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if select.select([self.master], [], [], 0.05)[0]:
                    self.shown += os.read(self.master, 65536)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"does not end: {self.shown!r}")

    def close(self) -> None:
        """Put the terminal away."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


def fetch(port: int, path: str) -> bytes:
    """What an HTTP server on this machine answers."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(4096):
            answer += data
    return answer


def groups_of(uid: str) -> list[str]:
    """The control groups of a pod that there are; other pods' may come and go meanwhile."""
    return [f"{folder}/pod{uid}" for folder, folders, _ in os.walk("/sys/fs/cgroup") if f"pod{uid}" in folders]


def runtime_options(name: str, endpoint: str = "", images: Path | None = None) -> list[str]:
    """The options that choose a runtime; `crun` is `runc` with another program."""
    options = ["--runtime", "runc" if name == "crun" else name]
    if name == "crun":
        options += ["--oci-runtime", "crun"]
    if endpoint:
        options += ["--container-runtime-endpoint", endpoint]
    if images is not None:
        options += ["--image-store", str(images)]
    return options
