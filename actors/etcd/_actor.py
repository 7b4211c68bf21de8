"""The etcd actor: one store, its leases and watchers, answering the messages of `protocol.etcd`.

In memory every request is answered in its handler. With a data directory a change is applied to
the store first and then journalled; nobody sees it, by reply, read or watch, before it is on
disk. If the disk fails the actor crashes, and its next incarnation recovers what was acknowledged.

It never reads another component's state and knows no Kubernetes kind.
"""

from __future__ import annotations

from typing import Any, TypeVar

from actors.etcd import _errors as errors
from actors.etcd._config import EtcdConfig
from actors.etcd._disk import Disk
from actors.etcd._errors import DataDirError
from actors.etcd._hash import hash_all, hash_kv
from actors.etcd._journal import DiskFailed, Flush, Journal, NoteTime
from actors.etcd._kv import KeyValues, is_read_only
from actors.etcd._leases import Lease, Leases
from actors.etcd._proto_size import request_bytes
from actors.etcd._recovery import Captured
from actors.etcd._store import Changes, Store
from actors.etcd._validate import check_put, check_txn
from actors.etcd._watch import Watchers
from actors.kernel import Actor, Child, MailboxFull, Ref, Terminated, Timer, handles
from protocol.etcd import (
    Alarm,
    AlarmMember,
    AlarmResponse,
    CancelWatch,
    Compact,
    CompactResponse,
    Defragment,
    DefragmentResponse,
    DeleteRange,
    DeleteRangeResponse,
    Hash,
    HashKV,
    HashKVResponse,
    HashResponse,
    LeaseGrant,
    LeaseGrantResponse,
    LeaseKeepAlive,
    LeaseKeepAliveResponse,
    LeaseLeases,
    LeaseLeasesResponse,
    LeaseRevoke,
    LeaseRevokeResponse,
    LeaseTimeToLive,
    LeaseTimeToLiveResponse,
    Member,
    MemberList,
    MemberListResponse,
    Op,
    Put,
    PutResponse,
    Range,
    RangeResponse,
    RemoveWatcher,
    Snapshot,
    SnapshotResponse,
    Status,
    StatusResponse,
    Txn,
    TxnResponse,
    Watch,
    WatchProgress,
    WatchResponse,
)
from protocol.message import Address, Message

__all__ = ["Etcd"]

VERSION = "3.6.8"
STORAGE_VERSION = "3.6.0"
RAFT_TERM = 2

KEY_VALUE_OVERHEAD_BYTES = 256
LEASE_OVERHEAD_BYTES = 64
"""What a key or a lease is taken to cost besides its bytes, when the quota is checked."""
SURELY_SMALL_BYTES = 1_000_000
"""A request whose keys and values are below this is not measured exactly."""

TRIM_REVISIONS = 5_000
"""History is freed in slices of so many revisions, so that others get their turn."""
RETRY_BLOCKED_S = 0.01
"""How long to wait before a full mailbox is tried again."""

R = TypeVar("R")


class _CatchUp(Message, frozen=True):
    """To itself: watchers are behind."""


class _Trim(Message, frozen=True):
    """To itself: free compacted history."""


class _ExpireLeases(Message, frozen=True):
    """To itself: a lease may be over."""


class _ReportProgress(Message, frozen=True):
    """To itself: watchers may want to hear how far they are."""


class _AutoCompact(Message, frozen=True):
    """To itself: look whether there is more history than wanted."""


class _Refusing:
    """Stands for the parts of a store that could not be opened: any use raises why."""

    def __init__(self, error: DataDirError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error

    def __iter__(self) -> Any:
        raise self._error

    def __len__(self) -> int:
        return 0


class Etcd(Actor):
    """A whole etcd. Errors are raised at the asker as `EtcdError`; when the data directory cannot
    be used, every request raises the `DataDirError` that says why.

    Watchers are told `WatchResponse`s at their address; one whose mailbox refuses
    (`MailboxFull`) is offered the same response again later and reads on from history.
    """

    def __init__(self, config: EtcdConfig | None = None, disk: Disk | None = None) -> None:
        super().__init__()
        self.config = config or EtcdConfig()
        self._disk = disk or Disk()
        self._alarms: set[str] = set()
        self._journal: Journal | None = None
        self._expiry: tuple[float, Timer] | None = None
        self._catching_up = False
        self._trimming = False
        self._monitored: set[str] = set()
        self._blobs: Ref | None = None
        self._mount(Store(), Leases())

    def _mount(self, store: Store, leases: Leases) -> None:
        self._store = store
        self._leases = leases
        self._watchers = Watchers(store, self._send)
        self._kv = KeyValues(store, leases, self._committed, self.config.max_txn_ops)
        self._quota = self.config.quota_bytes

    def _refuse_all(self, error: DataDirError) -> None:
        """Answer everything with an error that another start would not mend."""
        refusing: Any = _Refusing(error)
        self._store = self._leases = self._watchers = self._kv = refusing

    async def on_start(self) -> None:  # type: ignore[override]
        self.member_id = 0x8E9E05C52164694D
        self.cluster_id = 0xCDF818194E3A8C32
        if self.config.data_dir is not None:
            self._journal = Journal(self, self.config, self._disk, self._published)
            try:
                state = await self._journal.open()
            except DataDirError as error:
                self.log.error("data_dir_refused", error=str(error))
                self._refuse_all(error)
                return
            self._mount(state.store, state.leases)
            self._alarms |= state.alarms
            self.member_id, self.cluster_id = state.member_id, state.cluster_id
            self._arm_expiry()
        self.every(self.config.progress_notify_interval_s, _ReportProgress())
        if self.config.auto_compaction_revisions > 0:
            self.every(60.0, _AutoCompact())

    def on_stop(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def on_failure(self, *_: Any) -> None:
        """After a crash: let go of the directory, for the next incarnation to read it."""
        if self._journal is not None:
            self._journal.close()

    @handles(Flush)
    def _flush(self, _: Flush) -> None:
        if self._journal is not None:
            self.background(self._journal.flush())

    @handles(NoteTime)
    def _note_time(self, _: NoteTime) -> None:
        if self._journal is not None and len(self._leases):
            self._journal.note_time()

    @handles(DiskFailed)
    def _disk_failed(self, message: DiskFailed) -> None:
        raise message.error

    def capture(self) -> Captured:
        """A picture of everything, for a snapshot."""
        now, wall = self.clock.monotonic(), self.clock.now()
        return Captured(self._store, self._leases, self._alarms, now, wall)

    # Keys

    @handles(Range)
    def range(self, message: Range) -> RangeResponse | Any:
        """Read keys; see `protocol.etcd.Range`."""
        return self._answer(self._kv.range(message))

    @handles(Put)
    def put(self, message: Put) -> PutResponse | Any:
        """Write one key."""
        size = len(message.key) + len(message.value)
        self._check_space(KEY_VALUE_OVERHEAD_BYTES + size)
        if size > SURELY_SMALL_BYTES:
            check_put(message)
            self._check_size(message)
        return self._answer(self._kv.put(message))

    @handles(DeleteRange)
    def delete_range(self, message: DeleteRange) -> DeleteRangeResponse | Any:
        """Delete keys."""
        if len(message.key) + len(message.range_end) > SURELY_SMALL_BYTES:
            self._check_size(message)
        return self._answer(self._kv.delete_range(message))

    @handles(Txn)
    def txn(self, message: Txn) -> TxnResponse | Any:
        """Run a transaction."""
        cost = max(_cost(message.success), _cost(message.failure))
        if cost:
            self._check_space(cost)
        if not is_read_only(message) and _bytes(message) > SURELY_SMALL_BYTES:
            check_txn(message, self.config.max_txn_ops)
            self._check_size(message)
        return self._answer(self._kv.txn(message))

    @handles(Compact)
    def compact(self, message: Compact) -> CompactResponse | Any:
        """Forget history below a revision; a physical compaction is answered when it is gone."""
        self._store.compact(message.revision)
        if self._journal is not None:
            self._journal.compacted(message.revision)
        if message.physical:
            self._store.trim()
        elif not self._trimming:
            self._trim(_Trim())
        if self._watchers.behind:
            self._wake_watchers()
        return self._answer(CompactResponse(self._store.revision))

    @handles(_Trim)
    def _trim(self, _: _Trim) -> None:
        self._trimming = not self._store.trim(TRIM_REVISIONS)
        if self._trimming:
            self.ref.tell(_Trim())

    @handles(_AutoCompact)
    def _auto_compact(self, _: _AutoCompact) -> None:
        revision = self._store.revision - self.config.auto_compaction_revisions
        if revision > self._store.compact_revision and revision > 1:
            self.compact(Compact(revision))

    # Leases

    @handles(LeaseGrant)
    def lease_grant(self, message: LeaseGrant) -> LeaseGrantResponse | Any:
        """Make a lease; the server chooses an id for 0."""
        self._check_space(LEASE_OVERHEAD_BYTES)
        lease_id = message.id
        while not lease_id:
            lease_id = self.random.getrandbits(62)
            if lease_id in self._leases:
                lease_id = 0
        lease = self._leases.grant(lease_id, message.ttl, self.clock.monotonic())
        self._lease_changed(lease)
        self._arm_expiry()
        return self._answer(LeaseGrantResponse(self._store.revision, lease_id, lease.ttl))

    @handles(LeaseRevoke)
    def lease_revoke(self, message: LeaseRevoke) -> LeaseRevokeResponse | Any:
        """End a lease and delete its keys."""
        self._revoke(message.id)
        return self._answer(LeaseRevokeResponse(self._store.revision))

    @handles(LeaseKeepAlive)
    def lease_keep_alive(self, message: LeaseKeepAlive) -> LeaseKeepAliveResponse | Any:
        """Start a lease's time anew."""
        ttl = self._leases.renew(message.id, self.clock.monotonic())
        lease = self._leases.get(message.id)
        if ttl and lease is not None:
            self._lease_changed(lease)
        return self._answer(LeaseKeepAliveResponse(self._store.revision, message.id, ttl))

    @handles(LeaseTimeToLive)
    def lease_time_to_live(self, message: LeaseTimeToLive) -> LeaseTimeToLiveResponse | Any:
        """What is left of a lease, and its keys."""
        lease = self._leases.get(message.id)
        now = self.clock.monotonic()
        if lease is None or lease.expires <= now:
            return self._answer(LeaseTimeToLiveResponse(self._store.revision, message.id, -1))
        keys = tuple(sorted(lease.keys)) if message.keys else ()
        return self._answer(
            LeaseTimeToLiveResponse(self._store.revision, lease.id, lease.remaining(now), lease.ttl, keys)
        )

    @handles(LeaseLeases)
    def lease_leases(self, _: LeaseLeases) -> LeaseLeasesResponse | Any:
        """All leases, the one that ends first first."""
        leases = sorted(self._leases, key=lambda lease: (lease.expires, lease.id))
        return self._answer(LeaseLeasesResponse(self._store.revision, tuple(lease.id for lease in leases)))

    @handles(_ExpireLeases)
    def _expire_leases(self, _: _ExpireLeases) -> None:
        self._expiry = None
        for lease_id in self._leases.expired(self.clock.monotonic()):
            self.log.debug("lease_expired", lease=lease_id)
            self._revoke(lease_id)
        self._arm_expiry()

    def _revoke(self, lease_id: int) -> None:
        journal = self._journal
        if journal is not None and lease_id in self._leases:
            journal.lease_ending(lease_id)
        self._kv.revoke(lease_id)
        if journal is not None:
            journal.lease_ended()

    def _lease_changed(self, lease: Lease) -> None:
        if self._journal is not None:
            left_s = lease.expires - self.clock.monotonic()
            self._journal.lease_set(lease.id, lease.ttl, left_s)

    def _arm_expiry(self) -> None:
        """Have a timer for the lease that may end next."""
        due = self._leases.next_expiry()
        if due is None or (self._expiry is not None and self._expiry[0] <= due):
            return
        if self._expiry is not None:
            self._expiry[1].cancel()
        delay = max(0.0, due - self.clock.monotonic())
        self._expiry = (due, self.after(delay, _ExpireLeases()))

    # Watches

    @handles(Watch)
    def watch(self, message: Watch) -> WatchResponse:
        """Open a watch; see `protocol.etcd.Watch`."""
        response = self._watchers.add(message)
        address = message.watcher
        if isinstance(address, Ref) and address.actor_urn not in self._monitored:
            self._monitored.add(address.actor_urn)
            self.monitor(address)
        if self._watchers.behind:
            self._wake_watchers()
        return response

    @handles(CancelWatch)
    def cancel_watch(self, message: CancelWatch) -> None:
        """Close a watch, if there is one."""
        response = self._watchers.cancel(message.watcher, message.watch_id)
        if response is not None:
            self._send(message.watcher, response)

    @handles(WatchProgress)
    def watch_progress(self, message: WatchProgress) -> None:
        """Tell a watcher how far all its watches are."""
        self._watchers.request_progress(message.watcher)
        if self._watchers.behind:
            self._wake_watchers()

    @handles(RemoveWatcher)
    def remove_watcher(self, message: RemoveWatcher) -> None:
        """Close all watches of one watcher."""
        self._watchers.remove_address(message.watcher.actor_urn)

    @handles(Terminated)
    def _terminated(self, message: Terminated) -> None:
        self._monitored.discard(message.actor_urn)
        self._watchers.remove_address(message.actor_urn)

    @handles(_ReportProgress)
    def _report_progress(self, _: _ReportProgress) -> None:
        self._watchers.report_progress()

    @handles(_CatchUp)
    def _catch_up(self, _: _CatchUp) -> None:
        self._catching_up = False
        self._watchers.catch_up()
        if self._watchers.behind:
            self._wake_watchers()

    def _wake_watchers(self) -> None:
        if self._catching_up:
            return
        self._catching_up = True
        if self._watchers.blocked:
            self.after(RETRY_BLOCKED_S, _CatchUp())
        else:
            self.ref.tell(_CatchUp())

    @staticmethod
    def _send(address: Address, response: WatchResponse) -> bool:
        try:
            address.tell(response)
        except MailboxFull:
            return False
        return True

    # Maintenance

    @handles(Status)
    def status(self, _: Status) -> StatusResponse | Any:
        """Sizes, alarms and who this is."""
        store = self._store
        return self._answer(
            StatusResponse(
                store.revision,
                VERSION,
                self.cluster_id,
                self.member_id,
                self.member_id,
                RAFT_TERM,
                store.revision + 3,
                store.size,
                store.size_in_use,
                self._quota,
                STORAGE_VERSION,
                tuple(f"memberID:{self.member_id} alarm:{a} " for a in sorted(self._alarms)),
            )
        )

    @handles(Hash)
    def hash(self, _: Hash) -> HashResponse | Any:
        """A checksum over everything."""
        return self._answer(HashResponse(self._store.revision, hash_all(self._store, self._leases)))

    @handles(HashKV)
    def hash_kv(self, message: HashKV) -> HashKVResponse | Any:
        """A checksum over the history of keys, equal to that of an etcd with the same history."""
        revision = self._store.resolve(message.revision)
        compacted = self._store.compact_revision
        checksum = hash_kv(self._store, revision)
        return self._answer(HashKVResponse(self._store.revision, checksum, max(compacted, -1), revision))

    @handles(Defragment)
    def defragment(self, _: Defragment) -> DefragmentResponse | Any:
        """Count only what is in use against the quota from now on."""
        self._store.trim()
        self._store.defragment()
        return self._answer(DefragmentResponse(self._store.revision))

    @handles(Alarm)
    def alarm(self, message: Alarm) -> AlarmResponse | Any:
        """List, raise or clear alarms."""
        mine = message.member_id in (0, self.member_id)
        named = {"NOSPACE", "CORRUPT"} if message.alarm == "NONE" else {message.alarm}
        match message.action:
            case "GET":
                shown = self._alarms & named
            case "ACTIVATE":
                shown = named - {"NONE"} if message.alarm != "NONE" and mine else set()
                self._set_alarms(self._alarms | shown)
            case _:
                shown = self._alarms & named if mine else set()
                self._set_alarms(self._alarms - shown)
        members = tuple(AlarmMember(self.member_id, name) for name in sorted(shown))
        return self._answer(AlarmResponse(self._store.revision, members))

    def _set_alarms(self, alarms: set[str]) -> None:
        if alarms == self._alarms:
            return
        self._alarms = alarms
        self.log.warning("alarms_changed", alarms=sorted(alarms))
        if self._journal is not None:
            self._journal.alarms_set(alarms)

    @handles(MemberList)
    def member_list(self, _: MemberList) -> MemberListResponse | Any:
        """The one member that there is."""
        return self._answer(MemberListResponse(self._store.revision, (self._member(),)))

    def _member(self) -> Member:
        config = self.config
        return Member(self.member_id, config.name, config.peer_urls, config.client_urls)

    @handles(Snapshot)
    async def snapshot(self, _: Snapshot) -> SnapshotResponse | Any:
        """Everything in one blob, in the file format of etcd's own snapshots."""
        from actors.etcd._blobs import BlobWriter, EncodeSnapshot

        if self._blobs is None:
            self._blobs = self.spawn(Child("blobs", BlobWriter))
        captured = self.capture()
        encode = EncodeSnapshot(captured, self._member(), self.cluster_id)
        blob = await self.ask(self._blobs, encode)
        return self._answer(SnapshotResponse(captured.revision, blob))

    # What happens to every request

    def _answer(self, response: R) -> R | Any:
        """The reply: at once, or a future of it while the journal is behind the store."""
        if self._journal is None:
            return response
        return self._journal.when_durable(response)

    def _committed(self, changes: Changes) -> None:
        """A new revision was made."""
        if self._journal is None:
            self._published(changes)
        else:
            self._journal.committed(self._store.revision, changes)

    def _published(self, changes: Changes) -> None:
        """A revision is safe, so that everybody may know of it."""
        self._watchers.publish(changes)
        if self._watchers.behind:
            self._wake_watchers()

    def _check_space(self, cost: int) -> None:
        """Refuse a write above the quota, and raise the alarm."""
        if self._quota >= 0 and self._store.size + cost >= (self._quota or 2 * 1024**3):
            self._set_alarms(self._alarms | {"NOSPACE"})
            raise errors.no_space()
        if self._alarms:
            raise errors.no_space() if "NOSPACE" in self._alarms else errors.corrupt()

    def _check_size(self, message: Put | DeleteRange | Txn) -> None:
        if request_bytes(message) > self.config.max_request_bytes:
            raise errors.request_too_large()


def _cost(ops: tuple[Op, ...]) -> int:
    """What the puts of a branch may add to the store, in bytes; nested ones are not counted."""
    return sum(KEY_VALUE_OVERHEAD_BYTES + len(op.key) + len(op.value) for op in ops if isinstance(op, Put))


def _bytes(message: Txn) -> int:
    """Roughly how large a transaction is: its keys and values."""
    size = 0
    for compare in message.compare:
        size += len(compare.key) + (len(compare.operand) if type(compare.operand) is bytes else 0)
    for op in (*message.success, *message.failure):
        if isinstance(op, Put):
            size += len(op.key) + len(op.value)
        elif isinstance(op, Txn):
            size += _bytes(op)
    return size
