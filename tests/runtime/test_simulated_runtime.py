"""The simulated runtime behind the CRI's verbs, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kernel import Actor, Child, Ref, Simulation, handles
from actors.runtime import Machine, SimulatedRuntime
from protocol import cri
from protocol.node import StreamClosed, StreamData


class Watcher(Actor):
    """Hears of ends and of streams."""

    def __init__(self) -> None:
        super().__init__()
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
        return {"key": b"value of " + message.volume.encode()}


class World:
    def __init__(self, guise: str = "containerd", seed: int = 0) -> None:
        self.sim = Simulation(seed=seed)
        self.machine = Machine()
        self.runtime: Ref = self.sim.spawn(Child("runtime", lambda: SimulatedRuntime(self.machine, guise)))
        self.watcher = self.sim.spawn(Child("watcher", Watcher))
        self.ask(cri.GetContainerEvents(self.watcher))
        self.ask(cri.PullImage("busybox"))

    @property
    def heard(self) -> Watcher:
        return self.watcher.actor  # type: ignore[attr-defined,no-any-return]

    def ask(self, message: Any) -> Any:
        return self.sim.ask(self.runtime, message)

    def sandbox(self, **fields: Any) -> str:
        config = cri.PodSandboxConfig(**{"name": "web", "namespace": "default", "uid": "u1", **fields})
        return str(self.ask(cri.RunPodSandbox(config)).pod_sandbox_id)

    def container(self, sandbox: str, *command: str, start: bool = True, **fields: Any) -> str:
        config = cri.ContainerConfig(**{"name": "c", "image": "busybox", "command": command, **fields})
        ident = str(self.ask(cri.CreateContainer(sandbox, config)).container_id)
        if start:
            self.ask(cri.StartContainer(ident))
        return ident

    def status(self, ident: str) -> cri.ContainerStatus:
        return self.ask(cri.GetContainerStatus(ident))  # type: ignore[no-any-return]


@pytest.fixture
def world() -> World:
    return World()


def test_containers_of_a_pod_share_the_sandboxs_namespaces_and_its_address(world: World) -> None:
    sandbox = world.sandbox(shared_pid=True)
    world.container(sandbox, "sleep", "100", name="a")
    world.container(sandbox, name="b")
    pause, a, b = world.ask(cri.ProcessTree("u1"))[1:]
    assert pause.command == "/pause"
    for kind in ("net", "ipc", "uts", "pid"):
        assert a.namespaces[kind] == b.namespaces[kind] == pause.pid
    assert a.namespaces["mnt"] != b.namespaces["mnt"]


def test_a_container_that_restarts_keeps_the_pods_address(world: World) -> None:
    sandbox = world.sandbox()
    before = world.ask(cri.GetPodSandboxStatus(sandbox)).ips
    world.container(sandbox, "false")
    world.sim.advance(1)
    world.container(sandbox, attempt=1)
    assert world.ask(cri.GetPodSandboxStatus(sandbox)).ips == before


def test_addresses_differ_and_come_back_when_the_range_is_used_up() -> None:
    world = World()
    world.machine.set_pod_cidr("10.1.0.0/29")
    pods = [world.sandbox(uid=str(i), name=f"p{i}") for i in range(5)]
    addresses = [world.ask(cri.GetPodSandboxStatus(p)).ips[0] for p in pods]
    assert len(set(addresses)) == 5
    with pytest.raises(cri.CriError, match="no IP addresses available"):
        world.sandbox(uid="x", name="x")
    world.ask(cri.StopPodSandbox(pods[2]))
    again = world.sandbox(uid="y", name="y")
    assert world.ask(cri.GetPodSandboxStatus(again)).ips[0] == addresses[2]


@pytest.mark.parametrize(
    ("command", "seconds", "code", "reason"),
    [
        (("sleep", "5"), 5, 0, "Completed"),
        (("false",), 0, 1, "Error"),
        (("sh", "-c", "sleep 2; exit 3"), 2, 3, "Error"),
        (("sh", "-c", "echo hi"), 0, 0, "Completed"),
    ],
)
def test_a_command_ends_when_and_how_it_says(
    world: World, command: tuple[str, ...], seconds: float, code: int, reason: str
) -> None:
    ident = world.container(world.sandbox(), *command)
    world.sim.advance(60)
    status = world.status(ident)
    assert (status.state, status.exit_code, status.reason) == (cri.CONTAINER_EXITED, code, reason)
    assert status.finished_at - status.started_at == pytest.approx(seconds)
    assert [s.id for s in world.heard.ended] == [ident]


@pytest.mark.parametrize("command", [(), ("nginx",), ("sh", "-c", "echo up; exec server --port 80")])
def test_what_is_not_known_runs_for_ever_and_arms_no_timer(world: World, command: tuple[str, ...]) -> None:
    ident = world.container(world.sandbox(), *command)
    world.sim.run_until_idle()
    before = world.sim.steps
    world.sim.advance(86_400)
    assert world.status(ident).state == cri.CONTAINER_RUNNING
    assert world.sim.steps <= before + 3


def test_containers_outlive_their_runtime(world: World) -> None:
    sandbox = world.sandbox()
    plain = world.container(sandbox, "sleep", "10", name="plain")
    script = world.container(sandbox, "sh", "-c", "sleep 10; echo done; exit 4", name="script")
    world.sim.advance(3)
    world.sim.crash(world.runtime)
    world.sim.advance(6)
    assert world.status(plain).state == world.status(script).state == cri.CONTAINER_RUNNING
    world.sim.advance(2)
    assert (world.status(plain).exit_code, world.status(script).exit_code) == (0, 4)
    assert world.status(script).finished_at - world.status(script).started_at == pytest.approx(10)
    assert world.ask(cri.ReadLog(script)).data == b"done\n"


def test_stop_ends_a_container_at_once_unless_it_handles_the_signal(world: World) -> None:
    sandbox = world.sandbox()
    plain = world.container(sandbox, name="plain")
    trapping = world.container(sandbox, "sh", "-c", "trap 'sleep 2; exit 0' TERM; sleep 1000", name="trap")
    began = world.sim.clock.now()
    world.ask(cri.StopContainer(plain, 30))
    assert world.status(plain).exit_code == 137
    world.ask(cri.StopContainer(trapping, 30))
    assert world.status(trapping).exit_code == 0
    assert world.sim.clock.now() - began == pytest.approx(2)


def test_stop_kills_what_ignores_the_signal_when_the_grace_is_over(world: World) -> None:
    ident = world.container(world.sandbox(annotations={"kubekka.dev/on-term": "ignore"}))
    began = world.sim.clock.now()
    world.ask(cri.StopContainer(ident, 7))
    assert world.status(ident).exit_code == 137
    assert world.sim.clock.now() - began == pytest.approx(7)


def test_exec_sees_the_containers_environment_files_and_volumes(world: World) -> None:
    mounts = (
        cri.Mount("/conf", "/v/conf", "conf", source=world.watcher),
        cri.Mount("/data", "/v/pods/u1/data", "data"),
    )
    sandbox = world.sandbox()
    one = world.container(sandbox, name="one", envs=(("A", "b"),), mounts=mounts)
    two = world.container(sandbox, name="two", mounts=mounts)
    answer = world.ask(
        cri.ExecSync(one, ("sh", "-c", "echo $A; cat /conf/key; echo shared > /data/f; echo own > /tmp/f"))
    )
    assert (answer.exit_code, answer.stdout) == (0, b"b\nvalue of conf")
    answer = world.ask(cri.ExecSync(two, ("sh", "-c", "cat /data/f; cat /tmp/f")))
    assert answer.stdout == b"shared\n"
    assert answer.exit_code == 1


def test_exec_answers_that_cannot_change_are_marked_as_settled(world: World) -> None:
    ident = world.container(world.sandbox())
    assert world.ask(cri.ExecSync(ident, ("true",))).settled
    assert not world.ask(cri.ExecSync(ident, ("cat", "/tmp/ready"))).settled


def test_exec_is_cut_off_at_its_time_limit(world: World) -> None:
    ident = world.container(world.sandbox())
    with pytest.raises(cri.CriError) as error:
        world.ask(cri.ExecSync(ident, ("sleep", "10"), 1.0))
    assert error.value.code == "DeadlineExceeded"


def test_an_interactive_command_reads_and_writes_its_streams(world: World) -> None:
    ident = world.container(world.sandbox())
    opened = world.ask(cri.Exec(ident, ("sh",), world.watcher, 7, stdin=True))
    opened.address.tell(StreamData(7, 0, b"echo $((6*7))\n"))
    opened.address.tell(StreamData(7, 0, b"exit 3\n", eof=True))
    world.sim.run_until_idle()
    assert world.heard.data == b"42\n"
    assert world.heard.closed["details"]["causes"][0]["message"] == "3"


def test_a_followed_log_shows_what_is_written_later_and_ends_with_the_container(world: World) -> None:
    ident = world.container(world.sandbox(), "sh", "-c", "echo a; sleep 5; echo b; sleep 5; exit 1")
    first = world.ask(cri.ReadLog(ident, peer=world.watcher, stream_id=1))
    assert first.data == b"a\n"
    world.sim.advance(6)
    assert (world.heard.data, world.heard.closed) == (b"b\n", None)
    world.sim.advance(6)
    assert world.heard.closed == {}


def test_a_log_keeps_the_last_lines_within_its_bound(world: World) -> None:
    ident = world.container(world.sandbox(), "sh", "-c", "seq 100000")
    data = world.ask(cri.ReadLog(ident)).data
    assert data.endswith(b"\n100000\n")
    assert len(data) < 600_000
    assert world.ask(cri.ReadLog(ident, tail_lines=2)).data == b"99999\n100000\n"


def test_a_container_above_its_memory_limit_is_killed_at_that_age(world: World) -> None:
    sandbox = world.sandbox(annotations={"kubekka.dev/usage-memory": "64Mi,30s=300Mi"})
    resources = cri.ContainerResources(2, memory_limit_bytes=256 << 20)
    ident = world.container(sandbox, resources=resources)
    world.sim.advance(29)
    assert world.status(ident).state == cri.CONTAINER_RUNNING
    world.sim.advance(2)
    assert (world.status(ident).reason, world.status(ident).exit_code) == ("OOMKilled", 137)


def test_cpu_above_the_limit_is_throttled_and_counted(world: World) -> None:
    sandbox = world.sandbox(annotations={"kubekka.dev/usage-cpu": "2"})
    free = world.container(sandbox, name="free")
    held = world.container(sandbox, name="held", resources=cri.ContainerResources(512, 50_000, 100_000))
    world.sim.advance(10)
    free_stats, held_stats = world.ask(cri.GetContainerStats(free)), world.ask(cri.GetContainerStats(held))
    assert free_stats.cpu_usage_core_ns == pytest.approx(20e9, rel=0.01)
    assert held_stats.cpu_usage_core_ns == pytest.approx(5e9, rel=0.01)
    assert held_stats.throttled_periods == pytest.approx(100, abs=1)
    assert free_stats.throttled_periods == 0


def test_a_crash_asked_for_by_annotation_ends_the_container(world: World) -> None:
    sandbox = world.sandbox()
    ident = world.container(sandbox)
    world.ask(cri.UpdatePodSandbox(sandbox, {"kubekka.dev/crash": "9@1"}))
    assert world.status(ident).exit_code == 9


def test_an_image_tagged_broken_cannot_be_pulled_and_a_bad_name_is_no_image(world: World) -> None:
    with pytest.raises(cri.CriError) as broken:
        world.ask(cri.PullImage("nginx:broken"))
    assert broken.value.reason == "ErrImagePull"
    with pytest.raises(cri.CriError) as bad:
        world.ask(cri.ImageStatus("Nginx Bad"))
    assert bad.value.reason == "InvalidImageName"


def test_the_termination_message_is_what_the_container_wrote(world: World) -> None:
    ident = world.container(world.sandbox(), "sh", "-c", "echo no disk > /dev/termination-log; exit 1")
    assert world.status(ident).message == "no disk\n"
    logged = world.container(
        world.sandbox(uid="u2", name="b"),
        "sh",
        "-c",
        "echo last words; exit 1",
        termination_message_policy="FallbackToLogsOnError",
    )
    assert world.status(logged).message == "last words\n"


def test_a_busy_loop_does_not_hold_up_the_node(world: World) -> None:
    sandbox = world.sandbox()
    world.container(sandbox, "sh", "-c", "while true; do :; done", name="busy")
    ident = world.container(sandbox, "sh", "-c", "echo ok", name="other")
    assert world.ask(cri.ReadLog(ident)).data == b"ok\n"


@pytest.mark.parametrize(
    ("guise", "parent_of_the_container"),
    [
        ("docker", "containerd-shim-runc-v2 -namespace moby"),
        ("containerd", "containerd-shim-runc-v2 -namespace k8s.io"),
        ("rkt", "systemd"),
    ],
)
def test_each_guise_builds_its_own_process_tree(guise: str, parent_of_the_container: str) -> None:
    world = World(guise)
    world.container(world.sandbox(), "sleep", "9")
    tree = {p.pid: p for p in world.ask(cri.ProcessTree("u1"))}
    (container,) = [p for p in tree.values() if p.container == "c"]
    assert parent_of_the_container in tree[container.parent].command
    assert any(p.command == "/pause" for p in tree.values()) == (guise != "rkt")
    assert world.ask(cri.Version()).runtime_name == guise


def test_nothing_is_left_of_a_removed_sandbox(world: World) -> None:
    sandbox = world.sandbox()
    world.container(sandbox)
    world.container(sandbox, "sleep", "5", name="d")
    world.ask(cri.RemovePodSandbox(sandbox))
    world.sim.advance(10)
    assert world.machine.sandboxes == {}
    assert world.machine.containers == {}
    assert not [name for name in world.sim.actors if name.startswith("runtime/")]
