"""Concurrent histories are linearizable, crashes included.

What clients did and saw is recorded with the order of its beginnings and ends; a checker in the
style of Porcupine (Wing and Gong's algorithm with Lowe's memory of configurations) then looks for
an order of the operations that a single register per key could have had.
https://www.cs.ox.ac.uk/people/gavin.lowe/LinearizabiltyTesting/paper.pdf
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Actor, ActorDead, Child, LiveSystem, Ref, Simulation, handles
from protocol.etcd import Compare, EtcdError, Put, Range, Txn

INFINITY = 1 << 60


@dataclass
class Operation:
    """One call. `end` is infinite when its outcome is not known: it may still take effect."""

    client: int
    kind: str  # "get", "put", "cas"
    key: bytes
    argument: Any
    start: int
    end: int = INFINITY
    result: Any = None


@dataclass
class History:
    """The calls of all clients; their order is that of one counter."""

    operations: list[Operation] = field(default_factory=list)
    clock: Iterable[int] = field(default_factory=count)

    def begin(self, client: int, kind: str, key: bytes, argument: Any = None) -> Operation:
        operation = Operation(client, kind, key, argument, next(iter(self.clock)))
        self.operations.append(operation)
        return operation

    def end(self, operation: Operation, result: Any) -> None:
        operation.result = result
        operation.end = next(iter(self.clock))


def step(value: bytes, operation: Operation) -> tuple[bool, bytes]:
    """A register's answer to an operation: whether it could be the one seen, and the new value."""
    known = operation.end != INFINITY
    match operation.kind:
        case "get":
            return not known or operation.result == value, value
        case "put":
            return True, operation.argument
        case _:
            expected, new = operation.argument
            succeeds = value == expected
            if known and operation.result != succeeds:
                return False, value
            return True, new if succeeds else value


def linearizable(operations: list[Operation]) -> bool:
    """Whether some order explains what was seen of one key."""
    # Reads whose answer nobody got say nothing.
    calls = [o for o in operations if o.kind != "get" or o.end != INFINITY]
    done, value = 0, b""
    stack: list[tuple[int, bytes, int]] = []
    seen: set[tuple[int, bytes]] = set()
    position = 0
    calls.sort(key=lambda o: o.start)
    finished = sum(1 << i for i, o in enumerate(calls) if o.end != INFINITY)
    while done & finished != finished:
        first_end = min(o.end for i, o in enumerate(calls) if not done >> i & 1)
        for i in range(position, len(calls)):
            if done >> i & 1 or calls[i].start > first_end:
                continue
            possible, after = step(value, calls[i])
            configuration = (done | 1 << i, after)
            if possible and configuration not in seen:
                seen.add(configuration)
                stack.append((done, value, i))
                done, value = configuration
                position = 0
                break
        else:
            if not stack:
                return False
            done, value, i = stack.pop()
            position = i + 1
    return True


def assert_linearizable(history: History) -> None:
    for key in sorted({o.key for o in history.operations}):
        of_key = [o for o in history.operations if o.key == key]
        assert linearizable(of_key), "\n".join(map(str, of_key))


# The checker itself


def op(kind: str, argument: Any, result: Any, start: int, end: int = INFINITY) -> Operation:
    return Operation(0, kind, b"k", argument, start, end, result)


@pytest.mark.parametrize(
    ("operations", "verdict"),
    [
        ([op("put", b"1", None, 0, 1), op("get", None, b"1", 2, 3)], True),
        ([op("put", b"1", None, 0, 1), op("get", None, b"", 2, 3)], False),
        ([op("put", b"1", None, 0, 3), op("get", None, b"", 1, 2)], True),
        ([op("put", b"1", None, 0, 9), op("get", None, b"1", 1, 2), op("get", None, b"", 3, 4)], False),
        ([op("put", b"1", None, 0), op("get", None, b"", 1, 2), op("get", None, b"1", 3, 4)], True),
        ([op("put", b"1", None, 0), op("get", None, b"1", 1, 2), op("get", None, b"", 3, 4)], False),
        ([op("cas", (b"", b"1"), True, 0, 1), op("cas", (b"", b"2"), True, 2, 3)], False),
        ([op("cas", (b"", b"1"), True, 0, 3), op("cas", (b"", b"2"), False, 1, 2)], True),
    ],
)
def test_the_checker_tells_possible_histories_from_impossible_ones(operations: list[Operation], verdict: bool) -> None:
    assert linearizable(operations) is verdict


# Clients


class Go:
    pass


class Client(Actor):
    """Does random things to a few keys and notes what it did and saw."""

    def __init__(self, number: int, etcd: Ref, history: History, operations: int) -> None:
        super().__init__()
        self.number = number
        self.etcd = etcd
        self.history = history
        self.operations = operations
        self.last: dict[bytes, bytes] = {}

    @handles(Go)
    async def go(self, _: Go) -> None:
        chance = random.Random(self.number)
        for n in range(self.operations):
            key = chance.choice((b"x", b"y"))
            new = b"%d-%d" % (self.number, n)
            kind = chance.choice(("get", "get", "put", "cas"))
            argument = {"put": new, "cas": (self.last.get(key, b""), new)}.get(kind)
            operation = self.history.begin(self.number, kind, key, argument)
            try:
                result = await getattr(self, kind)(key, argument)
            except (EtcdError, ActorDead):
                await self.sleep(chance.random() * 0.05)
                continue
            self.history.end(operation, result)
            if chance.random() < 0.3:
                await self.sleep(chance.random() * 0.002)

    async def get(self, key: bytes, _: Any) -> bytes:
        found = (await self.ask(self.etcd, Range(key))).kvs
        self.last[key] = found[0].value if found else b""
        return self.last[key]

    async def put(self, key: bytes, value: bytes) -> None:
        await self.ask(self.etcd, Put(key, value))

    async def cas(self, key: bytes, argument: tuple[bytes, bytes]) -> bool:
        expected, new = argument
        holds = Compare(key, "VALUE", "EQUAL", expected) if expected else Compare(key, "VERSION", "EQUAL", 0)
        return bool((await self.ask(self.etcd, Txn((holds,), (Put(key, new),)))).succeeded)


def clients(system: Any, etcd: Ref, history: History, number: int, operations: int) -> list[Any]:
    made = []
    for n in range(number):
        spec = Child(f"client-{n}", lambda n=n: Client(n, etcd, history, operations))
        client = system.spawn(spec, host="clients") if isinstance(system, Simulation) else system.spawn(spec)
        made.append(client.ask(Go(), block=False))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_histories_with_crashes_at_random_moments_are_linearizable(seed: int, tmp_path: Path) -> None:
    sim = Simulation(seed=seed)
    config = EtcdConfig(data_dir=tmp_path / "d", snapshot_wal_bytes=3_000)
    etcd = sim.spawn(Child("etcd", lambda: Etcd(config)), host="etcd")
    sim.link("clients", "etcd", delay=(0.0005, 0.003))
    history = History()
    running = clients(sim, etcd, history, number=5, operations=60)
    chance = random.Random(seed)
    crashes = 0
    while not all(future.done for future in running):
        sim.advance(chance.random() * 0.05)
        if not all(future.done for future in running):
            crashes += 1
            sim.crash(etcd)
    assert [future.exception() for future in running] == [None] * 5
    assert crashes >= 5
    unknown = [o for o in history.operations if o.end == INFINITY]
    assert len(history.operations) - len(unknown) > 150
    assert_linearizable(history)


def test_a_store_that_forgets_acknowledged_writes_is_found_out(tmp_path: Path) -> None:
    sim = Simulation(seed=0)
    etcd = sim.spawn(Child("etcd", Etcd), host="etcd")  # in memory: a crash forgets everything
    sim.link("clients", "etcd", delay=(0.0005, 0.003))
    history = History()
    running = clients(sim, etcd, history, number=3, operations=60)
    sim.advance(0.1)
    sim.crash(etcd)
    sim.advance(60)
    assert all(future.done for future in running)
    with pytest.raises(AssertionError):
        assert_linearizable(history)


def test_a_server_killed_again_and_again_is_linearizable_to_its_remote_clients(
    live: LiveSystem, etcd_process: Callable[..., Any], tmp_path: Path, until: Any
) -> None:
    from actors.etcd import RemoteConfig, RemoteEtcd

    def serve(url: str = "http://127.0.0.1:0") -> Any:
        return etcd_process("--listen-client-urls", url, "--data-dir", str(tmp_path / "d"))

    process = serve()
    url = process.url
    config = RemoteConfig(servers=(url,), request_timeout_s=5.0)
    remote = live.spawn(Child("remote", lambda: RemoteEtcd(config)))
    history = History()
    running = clients(live, remote, history, number=8, operations=150)
    for kills in range(1, 4):
        until(lambda: len(history.operations) > kills * 200 or all(f.done for f in running), "some operations")
        process.end(signal.SIGKILL)
        process = serve(url)
        assert process.ready, "the server did not come back"
    until(lambda: all(future.done for future in running), "all clients", seconds=30)
    assert len([o for o in history.operations if o.end != INFINITY]) > 800
    assert_linearizable(history)
