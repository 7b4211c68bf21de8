"""What stands between the store and its disk: changes on their way, and who waits for them.

Changes are applied to the store first and gathered here; while one batch is being written and
synced, the next gathers (group commit). Nobody learns of a change before its batch is on the
disk: replies wait in the batch, reads wait with the last batch that they could have seen, and
watchers are told when it is done.

Used by the `Etcd` actor alone, on its thread; the disk is the affair of `_writer`'s actors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.etcd import _errors as errors
from actors.etcd._config import EtcdConfig
from actors.etcd._data_dir import DataDir
from actors.etcd._disk import Disk
from actors.etcd._records import (
    Alarms,
    Alive,
    Changed,
    Compacted,
    LeaseEnded,
    LeaseSet,
    Record,
    pack,
)
from actors.etcd._recovery import Captured, State
from actors.etcd._store import Changes
from actors.etcd._writer import Append, LogWriter, Open, Rotate, SnapshotWriter, WriteSnapshot
from actors.kernel import ActorDead, Child, Future, Restart
from protocol.etcd import EtcdError
from protocol.message import Message

if TYPE_CHECKING:
    from actors.etcd._core import Core

__all__ = ["DiskFailed", "Flush", "Journal", "NoteTime"]

ALIVE_INTERVAL_S = 5.0


class Flush(Message, frozen=True):
    """The journal to its actor: start writing, once the mail that is there has been handled."""


class DiskFailed(Message, frozen=True):
    """The journal to its actor: the disk failed, so crash and recover."""

    error: BaseException


class NoteTime(Message, frozen=True):
    """The journal to its actor: while there are leases, note now and then that time passes."""


class _Batch:
    """What goes to the disk together, and what may be said afterwards."""

    __slots__ = ("published", "records", "waiting")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.published: list[Changes] = []
        self.waiting: list[tuple[Future[Any], Any]] = []


class Journal:
    """The write-ahead log as the `Etcd` actor sees it."""

    def __init__(self, actor: Core, config: EtcdConfig, disk: Disk, published: Callable[[Changes], None]) -> None:
        assert config.data_dir is not None
        self._actor = actor
        self._config = config
        self._publish = published
        owner = (actor.system, actor.actor_urn)
        self._data_dir = DataDir(config.data_dir, disk, not config.unsafe_no_fsync, owner)
        self._gathering = _Batch()
        self._flying: _Batch | None = None
        self._running = False
        self._ending_lease = 0
        self._failed: BaseException | None = None
        self._snapshotting = False

    async def open(self) -> State:
        """Read the directory. Raises `DataDirError`."""
        actor = self._actor
        directory = self._data_dir
        self._log_writer = actor.spawn(Child("log", lambda: LogWriter(directory), restart=Restart.TEMPORARY))
        self._snapshot_writer = actor.spawn(
            Child("snapshots", lambda: SnapshotWriter(directory), restart=Restart.TEMPORARY)
        )
        ids = (actor.random.getrandbits(63), actor.random.getrandbits(63))
        state: State = await actor.ask(self._log_writer, Open(*ids))
        if state.dropped_bytes:
            actor.log.warning("wal_tail_dropped", bytes=state.dropped_bytes)
        actor.log.info("store_recovered", revision=state.store.revision, keys=len(state.store))
        actor.every(ALIVE_INTERVAL_S, NoteTime())
        return state

    def close(self) -> None:
        """Stop using the directory; who still waits is told that the server stopped."""
        self._failed = self._failed or errors.stopped()
        self._data_dir.close()
        self._fail_waiting()

    # What happened

    def committed(self, revision: int, changes: Changes) -> None:
        """A revision was made."""
        if self._ending_lease:
            self._add(LeaseEnded(self._ending_lease, revision, pack(changes)))
            self._ending_lease = 0
        else:
            self._add(Changed(revision, pack(changes)))
        self._gathering.published.append(changes)

    def lease_ending(self, lease_id: int) -> None:
        """The next revision, if one is made before `lease_ended`, comes of the end of a lease."""
        self._ending_lease = lease_id

    def lease_ended(self) -> None:
        """The lease of `lease_ending` is gone."""
        if self._ending_lease:
            self._add(LeaseEnded(self._ending_lease, 0, []))
            self._ending_lease = 0

    def lease_set(self, lease_id: int, ttl: int, left_s: float) -> None:
        """A lease was granted or renewed."""
        self._add(LeaseSet(lease_id, ttl, left_s, self._actor.clock.now()))

    def compacted(self, revision: int) -> None:
        """History was given up."""
        self._add(Compacted(revision))

    def alarms_set(self, alarms: set[tuple[int, str]]) -> None:
        """The alarms changed."""
        self._add(Alarms(sorted(alarms)))

    def note_time(self) -> None:
        """Leases are using up their time."""
        self._add(Alive(self._actor.clock.now()))

    def _add(self, record: Record) -> None:
        self._gathering.records.append(record)
        if not self._running:
            self._running = True
            self._actor.ref.tell(Flush())

    # Who may know

    def when_durable(self, response: Any) -> Any:
        """The response itself, or a future of it that is done when everything that it could
        depend on is on the disk. An `EtcdError` is raised, or fails the future."""
        if self._failed is not None:
            raise errors.stopped()
        batch = self._gathering if self._gathering.records else self._flying
        if batch is None:
            if isinstance(response, EtcdError):
                raise response
            return response
        future: Future[Any] = Future()
        batch.waiting.append((future, response))
        return future

    async def flush(self) -> None:
        """Write batch after batch until nothing is left."""
        try:
            while self._gathering.records:
                await self._flush_one()
        except OSError as error:
            self._fail(error)
        except ActorDead:  # the writer stops when its actor does
            self._failed = errors.stopped()
            self._fail_waiting()
        finally:
            self._running = False

    async def _flush_one(self) -> None:
        batch, self._gathering = self._gathering, _Batch()
        self._flying = batch
        length = await self._actor.ask(self._log_writer, Append(batch.records))
        self._flying = None
        for changes in batch.published:
            self._publish(changes)
        for future, response in batch.waiting:
            if isinstance(response, EtcdError):
                future.fail(response)
            else:
                future.resolve(response)
        if length > self._config.snapshot_wal_bytes and not self._snapshotting:
            self._snapshotting = True
            sequence = await self._actor.ask(self._log_writer, Rotate())
            self._actor.background(self._snapshot(sequence, self._actor.capture()))

    async def _snapshot(self, sequence: int, captured: Captured) -> None:
        """Have a snapshot written. If that fails the log is still whole, only longer."""
        log = self._actor.log
        try:
            await self._actor.ask(self._snapshot_writer, WriteSnapshot(sequence, captured))
            log.info("snapshot_written", sequence=sequence, revision=captured.revision)
        except (OSError, ActorDead) as error:
            log.error("snapshot_failed", sequence=sequence, error=str(error))
        finally:
            self._snapshotting = False

    def _fail(self, error: BaseException) -> None:
        self._failed = error
        if not self._actor.stopping:  # then the log has ended before its last writers, unacknowledged
            self._actor.log.error("wal_write_failed", error=str(error))
        self._fail_waiting()
        self._actor.ref.tell(DiskFailed(error))

    def _fail_waiting(self) -> None:
        batches = [self._flying, self._gathering]
        self._flying, self._gathering = None, _Batch()
        for batch in batches:
            for future, _ in batch.waiting if batch is not None else ():
                future.fail(errors.stopped())
