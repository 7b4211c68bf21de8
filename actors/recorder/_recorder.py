"""The actors that record: one watches, the other writes, so that no disk slows the cluster down.

Must never stop what it records: a recording that cannot go on is logged and left as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from actors.kernel import Actor, ActorDead, AskTimeout, Child, Ref, ThreadActor, handles
from protocol.etcd import CancelWatch, EtcdError, Range, RangeResponse, Watch, WatchResponse
from protocol.message import Message
from protocol.recording import base_record, changes_record, header

__all__ = ["FinishRecording", "Recorder"]

START, END = b"/registry/", b"/registry0"
CHECK_PERIOD_S = 5.0
ASK_TIMEOUT_S = 30.0
AGAIN_S = 1.0  # after the store could not be read


class CheckTick(Message, frozen=True):
    """Time to see whether the watch still stands."""


class BeginTick(Message, frozen=True):
    """Time to record the whole state and what follows."""


class FinishRecording(Message, frozen=True):
    """Write what has been seen. Answered by the number of bytes in the file."""


class Append(Message, frozen=True):
    """Bytes to be appended."""

    data: bytes


class Recorder(Actor):
    """Records all of `/registry/` in a file (replaced if it exists) from its start on.

    When the watch is lost, or the store restarts, the whole state is recorded again: a recording
    may lack revisions then, but never shows a state that was not.
    """

    def __init__(self, path: Path, etcd: Ref, minor: int) -> None:
        super().__init__()
        self.path = path
        self.etcd = etcd
        self.minor = minor
        self.watch_id = 0
        self.seq = 0
        self.revision = 0

    async def on_start(self) -> None:  # type: ignore[override]
        path, minor, fresh = self.path, self.minor, self.restarts == 0
        self.file = self.spawn(Child("file", lambda: RecordingFile(path, minor, fresh)))
        await self._begin()
        self.every(CHECK_PERIOD_S, CheckTick())

    @handles(BeginTick)
    async def begin(self, _: BeginTick) -> None:
        await self._begin()

    async def _begin(self) -> None:
        """The state as it is, and then a watch from there."""
        self.watch_id += 1
        self.seq = 1  # number 0 is the answer to the ask
        watch_id = self.watch_id
        try:
            found: RangeResponse = await self.ask(self.etcd, Range(START, END), timeout=ASK_TIMEOUT_S)
            self.revision = found.revision
            pairs = [(kv.key, kv.value) for kv in found.kvs]
            self.file.tell(Append(base_record(self.clock.now(), found.revision, pairs)))
            watch = Watch(self.ref, watch_id, START, END, start_revision=found.revision + 1)
            await self.ask(self.etcd, watch, timeout=ASK_TIMEOUT_S)
        except (ActorDead, AskTimeout, EtcdError) as error:
            self.log.warning("recording_interrupted", error=str(error))
            self.watch_id += 1  # whatever of this watch may come is not listened to
            self.after(AGAIN_S, BeginTick())

    @handles(WatchResponse)
    def changed(self, message: WatchResponse) -> None:
        """Changes, in order."""
        if message.watch_id != self.watch_id:
            return
        if message.seq != self.seq or message.canceled:
            self._lost(message.cancel_reason or "responses are missing")
            return
        self.seq += 1
        self.revision = max(self.revision, message.revision)
        if message.events:
            changes = [
                (event.kv.mod_revision, event.kv.key, event.kv.value if event.type == "PUT" else None)
                for event in message.events
            ]
            self.file.tell(Append(changes_record(self.clock.now(), changes)))

    @handles(CheckTick)
    async def check(self, _: CheckTick) -> None:
        """A store that restarted knows of no watch: then nothing comes although there is more."""
        before = self.revision
        try:
            found: RangeResponse = await self.ask(self.etcd, Range(START, END, limit=1), timeout=ASK_TIMEOUT_S)
            newest = found.revision
            if newest <= before:
                return
            await self.sleep(AGAIN_S)
            if self.revision == before:
                self._lost("the store has gone on without it")
        except (ActorDead, AskTimeout, EtcdError):
            return

    def _lost(self, why: str) -> None:
        self.log.warning("recording_watch_lost", why=why)
        self.etcd.tell(CancelWatch(self.ref, self.watch_id))
        self.watch_id += 1
        self.after(0.0, BeginTick())

    @handles(FinishRecording)
    async def finish(self, message: FinishRecording) -> int:
        size: int = await self.ask(self.file, message, timeout=ASK_TIMEOUT_S)
        return size


class RecordingFile(ThreadActor):
    """The file. Raises at its start: OSError when it cannot be written."""

    def __init__(self, path: Path, minor: int, fresh: bool) -> None:
        super().__init__()
        self.path = path
        self.minor = minor
        self.fresh = fresh
        self.file: BinaryIO | None = None

    def on_start(self) -> None:
        fresh = self.fresh and self.restarts == 0
        self.file = self.path.open("wb" if fresh else "ab")
        if fresh:
            self._write(header(self.minor))

    def on_stop(self) -> None:
        if self.file is not None:
            self.file.close()

    def _write(self, data: bytes) -> None:
        assert self.file is not None
        self.file.write(data)
        self.file.flush()  # to the kernel, so that it survives our own end

    @handles(Append)
    def append(self, message: Append) -> None:
        self._write(message.data)

    @handles(FinishRecording)
    def finish(self, _: FinishRecording) -> int:
        assert self.file is not None
        return self.file.tell()
