"""What every request of an etcd has in common: the store and its parts, the journal between them
and the disk, and when an answer may be given.

The handlers are in the subclasses, one module per service; `Etcd` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from actors.etcd import _errors as errors
from actors.etcd._config import DEFAULT_QUOTA_BYTES, EtcdConfig
from actors.etcd._disk import Disk
from actors.etcd._errors import DataDirError
from actors.etcd._journal import DiskFailed, Flush, Journal, NoteTime
from actors.etcd._kv import KeyValues
from actors.etcd._leases import Leases
from actors.etcd._recovery import Captured
from actors.etcd._store import Changes, Store
from actors.etcd._watch import Watchers
from actors.kernel import Actor, Future, MailboxFull, Timer, handles
from protocol.conditions import DISK
from protocol.etcd import EtcdError, Member, Range, WatchResponse
from protocol.message import Address, Message

__all__ = ["CatchUp", "Core", "ExpireLeases"]

RETRY_BLOCKED_S = 0.01
"""How long to wait before a full mailbox is tried again."""
EMPTY_DATABASE_BYTES = 20_480
"""What etcd's database takes before anything is in it."""
MEMBER_ID, CLUSTER_ID = 0x8E9E05C52164694D, 0xCDF818194E3A8C32
"""The identity of a store that is kept in memory, the same each time: that of a lone etcd."""

M = TypeVar("M")
R = TypeVar("R")


class CatchUp(Message, frozen=True):
    """To itself: watchers are behind."""


class ExpireLeases(Message, frozen=True):
    """To itself: a lease may be over."""


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


class Core(Actor):
    """An etcd without its handlers."""

    def __init__(self, config: EtcdConfig | None = None, disk: Disk | None = None) -> None:
        super().__init__()
        self.config = config or EtcdConfig()
        self._disk = disk or Disk()
        self._alarms: set[tuple[int, str]] = set()
        self._journal: Journal | None = None
        self._expiry: tuple[float, Timer] | None = None
        self._catching_up = False
        self._trimming = False
        self._monitored: set[str] = set()
        self.member_id, self.cluster_id = MEMBER_ID, CLUSTER_ID
        self._mount(Store(), Leases())

    def _mount(self, store: Store, leases: Leases) -> None:
        self._store = store
        self._leases = leases
        self._watchers = Watchers(store, self._send)
        self._kv = KeyValues(store, leases, self._committed, self.config.max_txn_ops)
        self._quota = self.config.quota_bytes or DEFAULT_QUOTA_BYTES

    def _refuse_all(self, error: DataDirError) -> None:
        """Answer everything with an error that another start would not mend."""
        refusing: Any = _Refusing(error)
        self._store = self._leases = self._watchers = self._kv = refusing

    async def on_start(self) -> None:  # type: ignore[override]
        if self.config.data_dir is not None:
            self._journal = Journal(self, self.config, self._disk, self._published)
            try:
                state = await self._journal.open()
            except DataDirError as error:
                self.log.info("data_dir_refused", error=str(error))
                self._refuse_all(error)
                return
            self._mount(state.store, state.leases)
            self._alarms |= state.alarms
            self.member_id, self.cluster_id = state.member_id, state.cluster_id
            self.arm_expiry()
        self.begin()

    def begin(self) -> None:
        """Set the timers, once the store is open."""

    def on_stop(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def on_failure(self, *_: Any) -> None:
        """After a crash: let go of the directory, for the next incarnation to read it, and let
        watchers know that they have to begin again."""
        if self._journal is not None:
            self._journal.close()
        self._watchers.cancel_all(errors.stopped().message)

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

    def member(self) -> Member:
        """How the list of members shows this one."""
        config = self.config
        return Member(self.member_id, config.name, config.peer_urls, config.client_urls)

    # When an answer may be given

    def serve(self, work: Callable[[M], R], message: M) -> R | Any:
        """Do what a request asks for. The answer, or the refusal, is given at once; with a journal
        a future of it, done when everything that it could depend on is on the disk."""
        slow = self.system.world.get(DISK)
        if slow is not None and not isinstance(message, Range):
            return self.background(self._slowly(slow.seconds, work, message))
        return self._serve(work, message)

    async def _slowly(self, seconds: float, work: Callable[[M], R], message: M) -> R | Any:
        """Begin with a change when a slow disk has had its time for it."""
        await self.sleep(seconds)
        answer = self._serve(work, message)
        return await answer if isinstance(answer, Future) else answer

    def _serve(self, work: Callable[[M], R], message: M) -> R | Any:
        journal = self._journal
        if journal is None:
            return work(message)
        try:
            response = work(message)
        except EtcdError as refusal:
            return journal.when_durable(refusal)
        return journal.when_durable(response)

    def _committed(self, changes: Changes) -> None:
        """A new revision was made."""
        if self._journal is None:
            self._published(changes)
        else:
            self._journal.committed(self._store.revision, changes)

    def _published(self, changes: Changes) -> None:
        """A revision is safe, so that everybody may know of it."""
        self._watchers.publish(changes)
        self.wake_watchers()

    # Watchers that are behind

    def wake_watchers(self) -> None:
        """Let those who are behind catch up, if there are any."""
        if self._catching_up or not self._watchers.behind:
            return
        self._catching_up = True
        if self._watchers.blocked:
            self.after(RETRY_BLOCKED_S, CatchUp())
        else:
            self.ref.tell(CatchUp())

    @handles(CatchUp)
    def _catch_up(self, _: CatchUp) -> None:
        self._catching_up = False
        self._watchers.catch_up()
        self.wake_watchers()

    @staticmethod
    def _send(address: Address, response: WatchResponse) -> bool:
        try:
            address.tell(response)
        except MailboxFull:
            return False
        return True

    # Leases that end

    def arm_expiry(self) -> None:
        """Have a timer for the lease that may end next."""
        due = self._leases.next_expiry()
        if due is None or (self._expiry is not None and self._expiry[0] <= due):
            return
        if self._expiry is not None:
            self._expiry[1].cancel()
        delay = max(0.0, due - self.clock.monotonic())
        self._expiry = (due, self.after(delay, ExpireLeases()))

    # Limits

    def check_quota(self, cost: int) -> None:
        """Refuse a write that may take the store above its quota, and raise the alarm."""
        if self._quota >= 0 and self.size(self._store.size) + cost >= self._quota:
            self.set_alarms(self._alarms | {(self.member_id, "NOSPACE")})
            raise errors.no_space()

    def check_alarms(self, takes_space: bool) -> None:
        """Refuse a change that an alarm forbids: CORRUPT all of them, NOSPACE those that add."""
        names = {name for _, name in self._alarms}
        if "CORRUPT" in names:
            raise errors.corrupt()
        if takes_space and "NOSPACE" in names:
            raise errors.no_space()

    @staticmethod
    def size(stored_bytes: int) -> int:
        """What a database with so many bytes in it takes."""
        return EMPTY_DATABASE_BYTES + stored_bytes

    def set_alarms(self, alarms: set[tuple[int, str]]) -> None:
        """These alarms stand from now on, each with the member that it is about."""
        if alarms == self._alarms:
            return
        self._alarms = alarms
        self.log.warning("alarms_changed", alarms=sorted(alarms))
        if self._journal is not None:
            self._journal.alarms_set(alarms)
