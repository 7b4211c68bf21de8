"""Real namespaces, a real pause process, real control groups: on Linux, as root, or skipped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.kernel import Child, LiveSystem, Ref
from actors.runtime._control_groups import CGROUPS
from actors.runtime._linux import why_not
from protocol import cri

MISSING = why_not()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"containers cannot be isolated here: {MISSING}")
WAIT_S = 15.0


class World:
    def __init__(self, system: LiveSystem, root: Path) -> None:
        from actors.runtime import NamespaceMachine, NamespaceRuntime

        self.machine = NamespaceMachine(root)
        self.runtime: Ref = system.spawn(Child("runtime", lambda: NamespaceRuntime(self.machine)))
        self.ask(cri.UpdateRuntimeConfig("10.199.7.0/24"))

    def ask(self, message: Any) -> Any:
        return self.runtime.ask(message, timeout=WAIT_S)

    def sandbox(self, name: str = "p", **fields: Any) -> str:
        config = cri.PodSandboxConfig(
            name,
            "ns",
            f"uid-{name}",
            cgroup_parent=f"/kubepods/burstable/pod{os.getpid()}-{name}",
            log_directory=f"/var/log/pods/{name}",
            **fields,
        )
        return str(self.ask(cri.RunPodSandbox(config)).pod_sandbox_id)

    def start(self, sandbox: str, *command: str, **fields: Any) -> str:
        config = cri.ContainerConfig(**{"name": "c", "image": "i", "command": command, **fields})
        ident = str(self.ask(cri.CreateContainer(sandbox, config)).container_id)
        self.ask(cri.StartContainer(ident))
        return ident

    def output(self, ident: str, *command: str) -> str:
        answer = self.ask(cri.ExecSync(ident, command, 10.0))
        assert answer.exit_code == 0, answer.stderr
        return str(answer.stdout.decode()).strip()

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    system = LiveSystem("namespace-test", seed=1).start_thread()
    made = World(system, tmp_path)
    yield made
    system.shutdown()
    assert not list(CGROUPS.glob(f"*/kubepods/burstable/pod{os.getpid()}-*")), "a control group was left behind"


def namespaces(world: World, ident: str) -> dict[str, str]:
    script = "for k in net ipc uts pid; do echo $k $(readlink /proc/self/ns/$k); done"
    return dict(line.split() for line in world.output(ident, "sh", "-c", script).splitlines())


def test_containers_of_a_pod_are_in_pauses_namespaces_and_pods_are_apart(world: World) -> None:
    first, second = world.sandbox("one"), world.sandbox("two")
    a, b = world.start(first, "sleep", "60", name="a"), world.start(first, "sleep", "60", name="b")
    other = world.start(second, "sleep", "60")
    pause = world.machine.pause_pids[first]
    assert Path(f"/proc/{pause}/comm").read_text().strip() == "pause"
    mine = namespaces(world, a)
    for kind in ("net", "ipc", "uts"):
        assert mine[kind] == namespaces(world, b)[kind] == os.readlink(f"/proc/{pause}/ns/{kind}")
        assert mine[kind] != namespaces(world, other)[kind]
        assert mine[kind] != os.readlink(f"/proc/self/ns/{kind}")
    assert world.output(a, "hostname") == "one"


def test_a_container_that_dies_leaves_the_pods_address_to_the_next_one(world: World) -> None:
    sandbox = world.sandbox()
    (address,) = world.ask(cri.GetPodSandboxStatus(sandbox)).ips
    ident = world.start(sandbox, "false")
    world.until(lambda: world.ask(cri.GetContainerStatus(ident)).state == cri.CONTAINER_EXITED)
    again = world.start(sandbox, "sleep", "60", attempt=1)
    assert f"inet {address}/24" in world.output(again, "ip", "-4", "addr", "show", "eth0")


def test_a_port_of_the_pod_is_reached_at_its_address_and_not_at_the_machines(world: World) -> None:
    sandbox = world.sandbox()
    script = "import http.server, socketserver; socketserver.TCPServer(('', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()"
    ident = world.start(sandbox, sys.executable, "-c", script)
    world.until(lambda: world.ask(cri.Probe(ident, "tcp", 8080)).ok)
    assert world.ask(cri.Probe(ident, "http", 8080)).ok
    assert not world.ask(cri.Probe(ident, "tcp", 8080, host="127.0.0.1")).ok


def test_pause_is_number_one_of_a_shared_pid_namespace_and_reaps_orphans(world: World) -> None:
    sandbox = world.sandbox(shared_pid=True)
    ident = world.start(sandbox, "sleep", "60")
    pause = world.machine.pause_pids[sandbox]
    assert Path(f"/proc/{pause}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
    world.output(ident, "sh", "-c", "(sleep 0.05 &) ; true")

    def children() -> list[str]:
        return Path(f"/proc/{pause}/task/{pause}/children").read_text().split()

    world.until(lambda: not children())


def test_a_cpu_limit_throttles(world: World) -> None:
    sandbox = world.sandbox()
    held = world.start(
        sandbox,
        "sh",
        "-c",
        "while :; do :; done",
        name="held",
        resources=cri.ContainerResources(102, 10_000, 100_000, 64 << 20),
    )
    group = f"kubepods/burstable/pod{os.getpid()}-p/held"
    files = [p for p in (CGROUPS / "cpu" / group, CGROUPS / group) if p.is_dir()]
    quota = (files[0] / "cpu.cfs_quota_us") if (files[0] / "cpu.cfs_quota_us").exists() else (files[0] / "cpu.max")
    assert quota.read_text().split()[0] == "10000"
    time.sleep(1.0)
    stats = world.ask(cri.GetContainerStats(held))
    assert stats.throttled_periods >= 3
    assert stats.cpu_usage_core_ns < 400_000_000  # a tenth of a core, with room for a slow machine
    world.ask(cri.StopContainer(held, 0))


def test_nothing_is_left_of_a_removed_pod(world: World) -> None:
    sandbox = world.sandbox("gone")
    world.start(sandbox, "sleep", "60")
    pause = world.machine.pause_pids[sandbox]
    world.ask(cri.RemovePodSandbox(sandbox))
    assert not Path(f"/proc/{pause}").exists()
    assert not list(CGROUPS.glob(f"*/kubepods/burstable/pod{os.getpid()}-gone"))
