"""Containers as plain subprocesses of the user's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.kernel import Actor, Child, LiveSystem, Ref, handles
from actors.runtime import ProcessMachine, ProcessRuntime
from actors.runtime._volume_mounts import Refresh
from protocol import cri
from protocol.node import StreamClosed, StreamData

WAIT_S = 10.0


class Watcher(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.content = {"key": b"content"}
        self.ended: list[cri.ContainerStatus] = []
        self.data = b""
        self.closed: Any = None

    @handles(cri.ContainerEvent)
    def event(self, message: cri.ContainerEvent) -> None:
        self.ended.append(message.status)

    @handles(StreamData)
    def stream(self, message: StreamData) -> None:
        self.data += message.data

    @handles(StreamClosed)
    def close(self, message: StreamClosed) -> None:
        self.closed = message.status or {}

    @handles(cri.ReadVolume)
    def volume(self, message: cri.ReadVolume) -> dict[str, bytes]:
        return self.content


class World:
    def __init__(self, system: LiveSystem, root: Path) -> None:
        self.machine = ProcessMachine(root)
        self.runtime: Ref = system.spawn(Child("runtime", lambda: ProcessRuntime(self.machine)))
        self.watcher = system.spawn(Child("watcher", Watcher))
        self.ask(cri.GetContainerEvents(self.watcher))
        self.sandbox: str = self.ask(
            cri.RunPodSandbox(cri.PodSandboxConfig("p", "ns", "u1", log_directory="/var/log/pods/ns_p_u1"))
        ).pod_sandbox_id

    @property
    def heard(self) -> Watcher:
        return self.watcher.actor  # type: ignore[attr-defined,no-any-return]

    def ask(self, message: Any) -> Any:
        return self.runtime.ask(message, timeout=WAIT_S)

    def start(self, *command: str, **fields: Any) -> str:
        config = cri.ContainerConfig(**{"name": "c", "image": "i", "command": command, **fields})
        ident = str(self.ask(cri.CreateContainer(self.sandbox, config)).container_id)
        self.ask(cri.StartContainer(ident))
        return ident

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    system = LiveSystem("process-test", seed=1).start_thread()
    made = World(system, tmp_path)
    yield made
    system.shutdown()
    assert not [c for c in made.machine.containers.values() if c.process is not None and c.process.poll() is None], (
        "a process was left behind"
    )


def test_a_process_runs_prints_and_ends_with_its_code(world: World) -> None:
    ident = world.start("sh", "-c", "echo out; echo err >&2; exit 3")
    world.until(lambda: bool(world.heard.ended))
    status = world.ask(cri.GetContainerStatus(ident))
    assert (status.state, status.exit_code, status.reason) == (cri.CONTAINER_EXITED, 3, "Error")
    assert sorted(world.ask(cri.ReadLog(ident)).data.splitlines()) == [b"err", b"out"]
    log = next((world.machine.root / "logs").rglob("0.log")).read_text()
    assert " stdout F out\n" in log


def test_environment_volumes_and_directory_are_the_containers_own(world: World) -> None:
    mounts = (cri.Mount("/conf", "/var/lib/kubelet/pods/u1/volumes/conf", "conf", source=world.watcher),)
    ident = world.start("sh", "-c", "cat conf/key; echo $A; touch here", envs=(("A", "b"),), mounts=mounts)
    world.until(lambda: bool(world.heard.ended))
    assert world.ask(cri.ReadLog(ident)).data == b"contentb\n"
    assert (world.machine.containers[ident].home / "here").exists()


def test_stop_sends_term_first_and_kills_after_the_grace(world: World) -> None:
    polite = world.start("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done", name="a")
    deaf = world.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", name="b")
    for ident in (polite, deaf):
        world.until(lambda i=ident: world.ask(cri.ReadLog(i)).data == b"up\n")  # type: ignore[misc]
    world.ask(cri.StopContainer(polite, 5))
    world.ask(cri.StopContainer(deaf, 0.2))
    assert world.ask(cri.GetContainerStatus(polite)).exit_code == 0
    assert world.ask(cri.GetContainerStatus(deaf)).exit_code == 137


def test_a_command_that_does_not_exist_cannot_start(world: World) -> None:
    with pytest.raises(cri.CriError, match="executable file not found"):
        world.start("no-such-program-here")
    with pytest.raises(cri.CriError, match="no command specified"):
        world.start()


def test_exec_runs_beside_the_container(world: World) -> None:
    ident = world.start("sleep", "60")
    answer = world.ask(cri.ExecSync(ident, ("sh", "-c", "pwd; exit 4")))
    assert (answer.exit_code, answer.stdout.decode().strip()) == (4, str(world.machine.containers[ident].home))
    with pytest.raises(cri.CriError, match="timed out"):
        world.ask(cri.ExecSync(ident, ("sleep", "9"), 0.1))
    opened = world.ask(cri.Exec(ident, ("cat",), world.watcher, 5, stdin=True))
    opened.address.tell(StreamData(5, 0, b"hello", eof=True))
    world.until(lambda: world.heard.closed is not None)
    assert world.heard.data == b"hello"


def test_probes_reach_real_ports(world: World) -> None:
    script = (
        "import http.server, sys; s = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler); "
        "print(s.server_port, flush=True); s.serve_forever()"
    )
    ident = world.start(sys.executable, "-c", script)
    world.until(lambda: bool(world.ask(cri.ReadLog(ident)).data))
    port = int(world.ask(cri.ReadLog(ident)).data.split()[0])
    assert world.ask(cri.Probe(ident, "http", port)).ok
    assert world.ask(cri.Probe(ident, "tcp", port)).ok
    assert world.ask(cri.Probe(ident, "http", port, detail="/nope")).output == "HTTP probe failed with statuscode: 404"
    assert not world.ask(cri.Probe(ident, "tcp", 1)).ok
    world.ask(cri.StopContainer(ident, 0))


def test_removing_the_sandbox_ends_its_processes(world: World) -> None:
    ident = world.start("sleep", "60")
    process = world.machine.containers[ident].process
    assert process is not None
    world.ask(cri.RemovePodSandbox(world.sandbox))
    assert process.wait(WAIT_S) == -9


def test_a_changed_volume_is_seen_and_a_sub_path_stays_inside(world: World) -> None:
    place = "/var/lib/kubelet/pods/u1/volumes/conf"
    conf = cri.Mount("/conf", place, "conf", source=world.watcher)
    data = cri.Mount("/data", "/var/lib/kubelet/pods/u1/volumes/kubernetes.io~empty-dir/data", "data")
    script = "ln -s /etc data/out; echo written > data/f; while test $(cat conf/key) = content; do sleep 0.05; done; cat conf/key"
    ident = world.start("sh", "-c", script, mounts=(conf, data))
    world.until(lambda: world.ask(cri.ReadFile("u1", data.host_path, "f")) == b"written\n")
    assert world.ask(cri.ReadFile("u1", data.host_path, "out/passwd")) is None
    with pytest.raises(cri.CriError, match='failed to prepare subPath for volumeMount "data"'):
        world.start("true", name="b", mounts=(cri.Mount("/x", data.host_path, "data", sub_path="out"),))
    world.heard.content = {"key": b"changed"}
    world.ask(Refresh())
    world.until(lambda: bool(world.heard.ended))
    assert world.ask(cri.ReadLog(ident)).data == b"changed"
