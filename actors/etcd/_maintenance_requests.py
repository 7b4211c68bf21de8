"""The Maintenance and Cluster services of an etcd."""

from __future__ import annotations

from typing import Any

from actors.etcd._core import Core
from actors.kernel import Child, Ref, handles
from protocol.etcd import (
    Alarm,
    AlarmMember,
    AlarmResponse,
    Defragment,
    DefragmentResponse,
    Hash,
    HashKV,
    HashKVResponse,
    HashResponse,
    MemberList,
    MemberListResponse,
    Snapshot,
    SnapshotResponse,
    Status,
    StatusResponse,
)

__all__ = ["MaintenanceRequests"]

VERSION = "3.6.8"
STORAGE_VERSION = "3.6.0"
RAFT_TERM = 2
RAFT_LEAD = 3
"""A fresh etcd has put three entries into its raft log before the first write."""


class MaintenanceRequests(Core):
    """Handles what concerns the server itself."""

    _blobs: Ref | None = None

    @handles(Status)
    def status(self, message: Status) -> StatusResponse | Any:
        """Sizes, alarms and who this is."""
        return self.serve(self._status, message)

    def _status(self, _: Status) -> StatusResponse:
        store = self._store
        return StatusResponse(
            store.revision,
            VERSION,
            self.cluster_id,
            self.member_id,
            self.member_id,
            RAFT_TERM,
            store.revision + RAFT_LEAD,
            self.size(store.size),
            self.size(store.size_in_use),
            self._quota,
            STORAGE_VERSION,
            tuple(f"memberID:{member} alarm:{name} " for member, name in sorted(self._alarms)),
        )

    @handles(Hash)
    def hash(self, message: Hash) -> HashResponse | Any:
        """A checksum over everything."""
        return self.serve(self._hash, message)

    def _hash(self, _: Hash) -> HashResponse:
        from actors.etcd._hash import hash_all

        return HashResponse(self._store.revision, hash_all(self._store, self._leases))

    @handles(HashKV)
    def hash_kv(self, message: HashKV) -> HashKVResponse | Any:
        """A checksum over the history of keys, equal to that of an etcd with the same history."""
        return self.serve(self._hash_kv, message)

    def _hash_kv(self, message: HashKV) -> HashKVResponse:
        from actors.etcd._hash import hash_kv

        store = self._store
        revision = store.resolve(message.revision)
        return HashKVResponse(store.revision, hash_kv(store, revision), store.compact_revision, revision)

    @handles(Defragment)
    def defragment(self, message: Defragment) -> DefragmentResponse | Any:
        """Count only what is in use against the quota from now on."""
        return self.serve(self._defragment, message)

    def _defragment(self, _: Defragment) -> DefragmentResponse:
        self._store.trim()
        self._store.defragment()
        return DefragmentResponse(self._store.revision)

    @handles(Alarm)
    def alarm(self, message: Alarm) -> AlarmResponse | Any:
        """List, raise or clear alarms."""
        return self.serve(self._alarm, message)

    def _alarm(self, message: Alarm) -> AlarmResponse:
        """As etcd has it, an alarm is about whatever member is named, this one or not."""
        alarm = (message.member_id, message.alarm)
        match message.action:
            case "GET":
                shown = {each for each in self._alarms if message.alarm in ("NONE", each[1])}
            case "ACTIVATE":
                shown = {alarm} if message.alarm != "NONE" else set()
                self.set_alarms(self._alarms | shown)
            case _:
                shown = self._alarms & {alarm}
                self.set_alarms(self._alarms - shown)
        return AlarmResponse(self._store.revision, tuple(AlarmMember(*each) for each in sorted(shown)))

    @handles(MemberList)
    def member_list(self, message: MemberList) -> MemberListResponse | Any:
        """The one member that there is."""
        return self.serve(self._member_list, message)

    def _member_list(self, _: MemberList) -> MemberListResponse:
        return MemberListResponse(self._store.revision, (self.member(),))

    @handles(Snapshot)
    async def snapshot(self, _: Snapshot) -> SnapshotResponse | Any:
        """Everything in one blob, in the file format of etcd's own snapshots."""
        from actors.etcd._blobs import BlobWriter, EncodeSnapshot

        if self._blobs is None:
            self._blobs = self.spawn(Child("blobs", BlobWriter))
        captured = self.capture()
        blob = await self.ask(self._blobs, EncodeSnapshot(captured, self.member(), self.cluster_id))
        return self.serve(lambda answer: answer, SnapshotResponse(captured.revision, blob))
