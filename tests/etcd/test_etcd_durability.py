"""What is on the disk: acknowledged changes survive, unfinished ones leave nothing, damage is
reported."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.etcd import DataDirError, Etcd, EtcdConfig
from actors.etcd._data_dir import segment_name, snapshot_name
from actors.etcd._disk import Disk
from actors.etcd._frames import frame, read_frames
from actors.kernel import Child, Ref, Simulation
from protocol.etcd import (
    Alarm,
    AlarmMember,
    Compact,
    DeleteRange,
    EtcdError,
    HashKV,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
    Put,
    Range,
    Status,
    Txn,
    Watch,
    WatchResponse,
)

ROOT = Path(__file__).resolve().parents[2]


class Store:
    """An etcd on a directory, in a simulation of its own."""

    def __init__(self, directory: Path, disk: Disk | None = None, **config: Any) -> None:
        self.sim = Simulation(seed=0)
        settings = EtcdConfig(data_dir=directory, **config)
        self.etcd: Ref = self.sim.spawn(Child("etcd", lambda: Etcd(settings, disk)))

    def ask(self, message: Any) -> Any:
        return self.sim.ask(self.etcd, message)

    def keys(self) -> dict[bytes, bytes]:
        return {record.key: record.value for record in self.ask(Range(b"\0", b"\0")).kvs}

    def close(self) -> None:
        self.etcd.stop(block=False)
        self.sim.run_until_idle()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def segments(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith("wal-"))


def snapshots(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith("snap-"))


# Restarts


def fill(store: Store) -> None:
    for n in range(20):
        store.ask(Put(b"k%d" % (n % 7), b"%d" % n))
    store.ask(DeleteRange(b"k3"))
    store.ask(Txn(success=(Put(b"x", b"1"), Put(b"y", b"2"), DeleteRange(b"k1", b"k2"))))
    store.ask(DeleteRange(b"z"))


def test_everything_is_there_after_a_restart(directory: Path) -> None:
    store = Store(directory)
    fill(store)
    before = store.keys(), store.ask(HashKV()), store.ask(Status())
    store.close()
    again = Store(directory)
    after = again.keys(), again.ask(HashKV()), again.ask(Status())
    assert after == before
    assert again.ask(Range(b"k0", revision=2)).kvs[0].value == b"0"


def test_a_restart_after_compaction_keeps_what_compaction_kept(directory: Path) -> None:
    store = Store(directory)
    fill(store)
    store.ask(Compact(10))
    before = store.keys(), store.ask(HashKV())
    store.close()
    again = Store(directory)
    assert (again.keys(), again.ask(HashKV())) == before
    with pytest.raises(EtcdError, match="has been compacted"):
        again.ask(Range(b"a", revision=9))


def test_an_unfinished_compaction_is_finished_after_a_restart(directory: Path) -> None:
    store = Store(directory)
    fill(store)
    store.ask(Compact(10))
    store.close()
    assert Store(directory).ask(Compact(11)).revision > 11


def test_leases_survive_with_the_time_that_they_had_left(directory: Path) -> None:
    store = Store(directory)
    store.ask(LeaseGrant(100, 7))
    store.ask(Put(b"a", b"1", lease=7))
    store.sim.advance(30)
    store.close()
    again = Store(directory)
    left = again.ask(LeaseTimeToLive(7, keys=True))
    assert 69 <= left.ttl <= 75  # time is noted every five seconds
    assert (left.granted_ttl, left.keys) == (100, (b"a",))
    again.sim.advance(76)
    assert again.keys() == {}


def test_a_renewed_lease_survives_with_its_renewed_time(directory: Path) -> None:
    store = Store(directory)
    store.ask(LeaseGrant(100, 7))
    store.sim.advance(90)
    store.ask(LeaseKeepAlive(7))
    store.close()
    assert Store(directory).ask(LeaseTimeToLive(7)).ttl >= 99


def test_a_revoked_lease_stays_revoked(directory: Path) -> None:
    store = Store(directory)
    store.ask(LeaseGrant(100, 7))
    store.ask(LeaseGrant(100, 8))
    store.ask(Put(b"a", b"1", lease=7))
    store.ask(LeaseRevoke(7))
    store.ask(LeaseRevoke(8))
    store.close()
    again = Store(directory)
    assert [again.ask(LeaseTimeToLive(n)).ttl for n in (7, 8)] == [-1, -1]
    assert again.keys() == {}
    assert again.ask(Status()).revision == 3


def test_alarms_survive(directory: Path) -> None:
    store = Store(directory)
    store.ask(Alarm("ACTIVATE", 5, "NOSPACE"))
    store.close()
    again = Store(directory)
    assert again.ask(Alarm()).alarms == (AlarmMember(5, "NOSPACE"),)
    with pytest.raises(EtcdError, match="database space exceeded"):
        again.ask(Put(b"a"))


def test_the_identity_of_the_server_survives(directory: Path) -> None:
    store = Store(directory)
    first = store.ask(Status())
    store.close()
    second = Store(directory).ask(Status())
    assert (first.member_id, first.cluster_id) == (second.member_id, second.cluster_id)


def test_a_stop_under_load_loses_nothing_that_was_acknowledged(directory: Path) -> None:
    store = Store(directory)
    futures = {b"k%d" % n: store.etcd.ask(Put(b"k%d" % n, b"v" * 100), block=False) for n in range(200)}
    store.sim.run(until=lambda: any(future.done for future in futures.values()), timeout_s=10)
    store.close()
    assert all(future.done for future in futures.values())
    acknowledged = {key for key, future in futures.items() if future.exception() is None}
    assert acknowledged <= set(Store(directory).keys())


# Snapshots


def test_snapshots_replace_the_log_and_hold_everything(directory: Path) -> None:
    store = Store(directory, snapshot_wal_bytes=2_000)
    store.ask(LeaseGrant(100, 7))
    store.ask(Put(b"leased", b"1", lease=7))
    for n in range(200):
        store.ask(Put(b"k%d" % (n % 10), b"x" * 50))
        if n == 100:
            store.ask(Compact(50))
    store.sim.run_until_idle()
    before = store.keys(), store.ask(HashKV()), store.ask(LeaseTimeToLive(7, keys=True)).keys
    store.close()
    assert len(snapshots(directory)) == 1
    assert len(segments(directory)) == 1
    assert snapshots(directory) != [snapshot_name(2)]  # there was more than one
    again = Store(directory)
    assert (again.keys(), again.ask(HashKV()), again.ask(LeaseTimeToLive(7, keys=True)).keys) == before


def test_a_damaged_snapshot_is_refused(directory: Path) -> None:
    store = Store(directory, snapshot_wal_bytes=500)
    for n in range(50):
        store.ask(Put(b"k%d" % n, b"x" * 50))
    store.sim.run_until_idle()
    store.close()
    path = directory / snapshots(directory)[0]
    data = path.read_bytes()
    for position in (0, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(flipped(data, position))
        assert "snap-" in problem(directory)
    path.write_bytes(data[: len(data) // 2])
    assert "damaged" in problem(directory)
    path.write_bytes(data)
    assert len(Store(directory).keys()) == 50


def test_an_unfinished_snapshot_is_ignored(directory: Path) -> None:
    store = Store(directory)
    fill(store)
    before = store.keys()
    store.close()
    (directory / "snap-0000000000000009.tmp").write_bytes(b"half")
    assert Store(directory).keys() == before
    assert not (directory / "snap-0000000000000009.tmp").exists()


# Cut off and damaged


def flipped(data: bytes, position: int, bit: int = 3) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def problem(directory: Path) -> str:
    """What is said when a directory is opened that cannot be used."""
    store = Store(directory)
    with pytest.raises(DataDirError) as refusal:
        store.ask(Range(b"a"))
    with pytest.raises(DataDirError):
        store.ask(Put(b"a"))
    store.close()
    return str(refusal.value)


@pytest.fixture
def log(directory: Path) -> Path:
    """The log of five acknowledged writes."""
    store = Store(directory)
    for n in range(5):
        store.ask(Put(b"k%d" % n, b"value"))
    store.close()
    return directory / segment_name(1)


def test_a_log_cut_at_any_byte_of_its_last_write_loses_that_write_only(directory: Path, log: Path) -> None:
    whole = log.read_bytes()
    ends = [0, *(end for end, _ in read_frames(whole))]
    for length in range(ends[-2], len(whole)):
        log.write_bytes(whole[:length])
        store = Store(directory)
        assert sorted(store.keys()) == [b"k0", b"k1", b"k2", b"k3"]
        store.ask(Put(b"after", b"1"))
        store.close()
        again = Store(directory)
        assert sorted(again.keys()) == [b"after", b"k0", b"k1", b"k2", b"k3"]
        again.close()


def test_a_log_cut_at_any_byte_opens_with_a_prefix_of_the_writes(directory: Path, log: Path) -> None:
    whole = log.read_bytes()
    every = [b"k%d" % n for n in range(5)]
    for length in range(0, len(whole), 3):
        log.write_bytes(whole[:length])
        store = Store(directory)
        kept = sorted(store.keys())
        assert kept == every[: len(kept)]
        store.close()


def test_a_flipped_bit_at_any_byte_is_reported_with_its_place(directory: Path, log: Path) -> None:
    whole = log.read_bytes()
    for position in range(len(whole)):
        log.write_bytes(flipped(whole, position, position % 8))
        text = problem(directory)
        assert str(log) in text
        assert "damaged" in text


def test_a_last_write_whose_sectors_never_reached_the_disk_is_dropped(directory: Path, log: Path) -> None:
    whole = log.read_bytes()
    large = frame(b"\x91" + b"z" * 3000)
    start = len(whole)
    sector = (start // 512 + 2) * 512
    torn = bytearray(whole + large)
    torn[sector : sector + 512] = bytes(512)
    log.write_bytes(bytes(torn))
    store = Store(directory)
    assert len(store.keys()) == 5
    store.close()
    log.write_bytes(whole + bytes(700))  # nothing of it did, only the length of the file
    assert len(Store(directory).keys()) == 5


def test_zeros_in_the_middle_are_damage(directory: Path, log: Path) -> None:
    whole = log.read_bytes()
    ends = [end for end, _ in read_frames(whole)]
    log.write_bytes(whole[: ends[1]] + bytes(12) + whole[ends[1] + 12 :])
    assert "damaged" in problem(directory)


def test_a_missing_segment_is_refused(directory: Path) -> None:
    store = Store(directory, snapshot_wal_bytes=500)
    for n in range(30):
        store.ask(Put(b"k%d" % n, b"x" * 50))
    store.sim.run_until_idle()
    store.close()
    (directory / segments(directory)[-1]).unlink()
    assert "hole" in problem(directory)


def test_a_file_that_is_no_log_is_refused(directory: Path) -> None:
    directory.mkdir()
    (directory / segment_name(1)).write_bytes(b"this is not a log, but it is long enough")
    assert "damaged" in problem(directory)


def test_a_newer_format_is_refused_by_name(directory: Path, log: Path) -> None:
    from actors.etcd._records import Head, encode

    log.write_bytes(frame(encode([Head(99, 1, 5, 6)])))
    assert "format is 99" in problem(directory)


# One process per directory


def test_a_second_store_on_the_same_directory_is_told_who_uses_it(directory: Path) -> None:
    store = Store(directory)
    store.ask(Put(b"a", b"1"))
    assert problem(directory) == f"data directory {directory} is in use by process {os.getpid()}"
    store.ask(Put(b"b", b"1"))
    store.close()
    assert len(Store(directory).keys()) == 2


def test_a_crashed_store_comes_back_in_the_same_process(directory: Path) -> None:
    store = Store(directory)
    fill(store)
    before = store.keys()
    store.sim.crash(store.etcd)
    assert store.keys() == before


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot use data directory" in problem(tmp_path / "file" / "data")


# Errors of the disk


class Faulty(Disk):
    """A disk that fails when told to. `writes` and `syncs` count down to the failure."""

    def __init__(self) -> None:
        self.writes = self.syncs = 1 << 60
        self.code = errno.ENOSPC
        self.partial = 0
        self.in_flight: Callable[[], None] | None = None

    def write(self, fd: int, data: bytes) -> None:
        self.writes -= 1
        if self.writes < 0:
            os.write(fd, data[: self.partial])
            raise OSError(self.code, os.strerror(self.code))
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        self.syncs -= 1
        if self.in_flight is not None:
            self.in_flight()
        if self.syncs < 0:
            raise OSError(self.code, os.strerror(self.code))
        super().sync(fd)

    def mend(self) -> None:
        self.writes = self.syncs = 1 << 60


@pytest.mark.parametrize("what", ["writes", "syncs"])
@pytest.mark.parametrize("partial", [0, 1, 11, 12, 30])
def test_a_write_that_the_disk_refuses_is_not_acknowledged_and_leaves_nothing(
    directory: Path, what: str, partial: int
) -> None:
    disk = Faulty()
    disk.partial = partial
    store = Store(directory, disk)
    store.ask(Put(b"before", b"1"))
    setattr(disk, what, 0)
    with pytest.raises(EtcdError) as refusal:
        store.ask(Txn(success=(Put(b"a", b"1"), Put(b"b", b"1"))))
    assert refusal.value.code == 14
    disk.mend()
    assert store.keys() == {b"before": b"1"}  # the next incarnation has read the disk
    store.ask(Put(b"after", b"1"))
    store.close()
    assert sorted(Store(directory).keys()) == [b"after", b"before"]


def test_every_acknowledged_write_is_there_whenever_the_disk_fails(directory: Path) -> None:
    disk = Faulty()
    store = Store(directory, disk, snapshot_wal_bytes=1_500)
    chance = random.Random(5)
    acknowledged: dict[bytes, bytes] = {}
    unknown: set[bytes] = set()
    failures = 0
    for n in range(400):
        if chance.random() < 0.05:
            disk.code = chance.choice((errno.EIO, errno.ENOSPC))
            disk.partial = chance.choice((0, 5, 40))
            setattr(disk, chance.choice(("writes", "syncs")), chance.randrange(3))
        key, value = b"k%d" % (n % 20), b"%d" % n
        try:
            store.ask(Put(key, value))
            acknowledged[key] = value
            unknown.discard(key)
        except EtcdError:
            failures += 1
            unknown.add(key)
            disk.mend()
            store.sim.advance(10)  # the supervisor allows so many crashes in a minute
    disk.mend()
    found = store.keys()
    assert failures > 5
    assert {k: v for k, v in found.items() if k not in unknown} == {
        k: v for k, v in acknowledged.items() if k not in unknown
    }


def test_nobody_sees_a_change_before_it_is_on_the_disk(directory: Path, watching: type[Any]) -> None:
    disk = Faulty()
    store = Store(directory, disk)
    store.ask(Put(b"a", b"old"))
    heard: list[WatchResponse] = []
    watcher = store.sim.spawn(Child("watcher", lambda: watching(heard)))
    store.ask(Watch(watcher, 1, b"a"))
    seen: list[tuple[int, bool]] = []
    put = store.etcd.ask(Put(b"a", b"new"), block=False)
    read = store.etcd.ask(Range(b"a"), block=False)
    disk.in_flight = lambda: seen.append((len(heard), put.done or read.done))
    store.sim.run_until_idle()
    assert seen
    assert set(seen) == {(0, False)}
    assert len(heard) == 1
    assert read.get().kvs[0].value == b"new"


def test_watchers_of_a_store_that_failed_are_told_to_begin_again(directory: Path, watching: type[Any]) -> None:
    disk = Faulty()
    store = Store(directory, disk)
    heard: list[WatchResponse] = []
    watcher = store.sim.spawn(Child("watcher", lambda: watching(heard)))
    store.ask(Watch(watcher, 1, b"a"))
    store.ask(Put(b"a", b"1"))
    disk.writes = 0
    with pytest.raises(EtcdError):
        store.ask(Put(b"a", b"never"))
    disk.mend()
    store.sim.advance(1)
    assert [(r.canceled, r.cancel_reason) for r in heard] == [(False, ""), (True, "etcdserver: server stopped")]
    heard.clear()
    store.ask(Watch(watcher, 1, b"a", start_revision=2))
    store.ask(Put(b"a", b"2"))
    store.sim.run_until_idle()
    assert [e.kv.value for r in heard for e in r.events] == [b"1", b"2"]


def test_writes_that_come_together_share_one_sync(directory: Path) -> None:
    disk = Faulty()
    store = Store(directory, disk)
    store.ask(Put(b"a", b"1"))
    before = disk.syncs
    futures = [store.etcd.ask(Put(b"k%d" % n, b"1"), block=False) for n in range(50)]
    store.sim.run_until_idle()
    assert all(future.done for future in futures)
    assert before - disk.syncs <= 2


def test_without_fsync_nothing_is_synced_and_a_restart_still_finds_it(directory: Path) -> None:
    disk = Faulty()
    store = Store(directory, disk, unsafe_no_fsync=True)
    store.ask(Put(b"a", b"1"))
    before = disk.syncs
    store.ask(Put(b"b", b"1"))
    assert disk.syncs == before
    store.close()
    assert len(Store(directory).keys()) == 2


# kill -9

WRITER = """
import json, sys
from pathlib import Path
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Actor, Child, LiveSystem, handles
from protocol.etcd import Compact, Put, Txn

class Clients(Actor):
    @handles(int)
    async def go(self, start):
        etcd = self.system.lookup("etcd")
        async def client(c):
            n = start
            while True:
                n += 1
                keys = (b"a%d" % c, b"b%d" % c)
                value = json.dumps(n).encode()
                r = await self.ask(etcd, Txn(success=tuple(Put(k, value) for k in keys)))
                sys.stdout.write(f"{c} {n} {r.revision}\\n")
                if n % 50 == 0:
                    await self.ask(etcd, Put(b"big%d" % c, b"x" * 4000))
        await self.gather(*(client(c) for c in range(16)))

system = LiveSystem("writer").start_thread()
config = EtcdConfig(data_dir=Path(sys.argv[1]), snapshot_wal_bytes=200_000)
system.spawn(Child("etcd", lambda: Etcd(config)))
clients = system.spawn(Child("clients", Clients))
clients.tell(int(sys.argv[2]))
import threading
threading.Event().wait()
"""


def test_kill_9_at_random_points_loses_nothing_that_was_acknowledged(directory: Path) -> None:
    chance = random.Random(11)
    latest: dict[int, int] = {}
    for attempt in range(5):
        command = [sys.executable, "-u", "-c", WRITER, str(directory), str(max(latest.values(), default=0))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(50, 1500))]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait(10)
        revision = 0
        for line in lines:
            if line.endswith(b"\n") and line.count(b" ") == 2:
                client, n, at = map(int, line.split())
                latest[client] = n
                revision = max(revision, at)
        store = Store(directory)
        keys = {k: json.loads(v) for k, v in store.keys().items() if not k.startswith(b"big")}
        for client, n in latest.items():
            assert keys[b"a%d" % client] == keys[b"b%d" % client] >= n, f"attempt {attempt}"
            latest[client] = keys[b"a%d" % client]
        assert store.ask(Status()).revision >= revision
        store.close()
