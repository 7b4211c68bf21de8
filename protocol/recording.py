"""Recordings: every revision of a cluster's store in one file, and how to read it at any moment.

A recording is a stream of msgpack arrays; the first names the format, each other one is a whole
state or some changes:

    ["kubekka-recording", 1, {"minor": 36}]
    ["base", time_s, revision, [[key, value], ...]]
    ["changes", time_s, [[revision, key, value or nil], ...]]

`time_s` is seconds since the epoch on the recorded cluster's clock, `key` and `value` are the
store's own bytes (values are JSON), nil stands for a deletion. A file that ends inside an array
was cut off by a crash: what is whole is kept. Knows nothing of actors, and objects only as JSON.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import orjson

__all__ = ["Change", "NotARecording", "Recording", "base_record", "changes_record", "header"]

FORMAT, VERSION = "kubekka-recording", 1
Object = dict[str, Any]


class NotARecording(ValueError):
    """A file that is no recording, or is damaged; the text says what is wrong and where."""


def header(minor: int) -> bytes:
    """How a recording of a cluster that is Kubernetes 1.`minor` begins."""
    return _packed([FORMAT, VERSION, {"minor": minor}])


def base_record(time_s: float, revision: int, state: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The whole state of the store as of a revision."""
    return _packed(["base", time_s, revision, [list(pair) for pair in state]])


def changes_record(time_s: float, changes: Iterable[tuple[int, bytes, bytes | None]]) -> bytes:
    """What changed, in order: revision, key, and the new value or None."""
    return _packed(["changes", time_s, [list(change) for change in changes]])


def _packed(record: list[Any]) -> bytes:
    data: bytes = msgpack.packb(record)
    return data


@dataclass(frozen=True)
class Change:
    """One change of one key. `value` is None when it was deleted."""

    revision: int
    time_s: float
    key: str
    value: bytes | None


@dataclass
class Recording:
    """A recording in memory. `revisions` are those at which something changed, in order, with
    `times` beside them; the state is known from the first on."""

    minor: int = 36
    revisions: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    cut: bool = False
    """Whether the file ended inside a record."""
    _history: dict[str, list[Change]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file. Raises: OSError, NotARecording."""
        recording = cls()
        with path.open("rb") as file:
            unpacker = msgpack.Unpacker(file, raw=False, use_list=True, max_buffer_size=0)
            offset = 0
            try:
                first = next(unpacker, None)
                if not isinstance(first, list) or first[:1] != [FORMAT]:
                    raise NotARecording(f"{path} is no recording of a cluster")
                if first[1] != VERSION:
                    raise NotARecording(f"{path} is a recording of format {first[1]}; this program reads {VERSION}")
                recording.minor = int(first[2]["minor"])
                offset = unpacker.tell()
                for record in unpacker:
                    offset = unpacker.tell()
                    recording._add(record)
                recording.cut = offset < path.stat().st_size
            except NotARecording:
                raise
            except (ValueError, TypeError, KeyError, IndexError, msgpack.UnpackException) as error:
                where = f"after byte {offset}" if offset else "at its start"
                what = "damaged" if offset else "no recording of a cluster"
                raise NotARecording(f"{path} is {what} {where}: {type(error).__name__}") from None
        if not recording.revisions:
            raise NotARecording(f"{path} ends before the first state was recorded")
        return recording

    def _add(self, record: Any) -> None:
        if record[0] == "base":
            _, time_s, revision, pairs = record
            state = {_text(key): value for key, value in pairs}
            gone = [key for key in self._history if key not in state]
            for key, value in [*((key, None) for key in gone), *state.items()]:
                self._note(Change(revision, time_s, key, value))
            self._mark(revision, time_s)
        elif record[0] == "changes":
            _, time_s, changes = record
            for revision, key, value in changes:
                self._note(Change(revision, time_s, _text(key), value))
                self._mark(revision, time_s)
        else:
            raise ValueError(record[0])

    def _note(self, change: Change) -> None:
        known = self._history.setdefault(change.key, [])
        if not known or known[-1].value != change.value:
            known.append(change)

    def _mark(self, revision: int, time_s: float) -> None:
        if not self.revisions or revision > self.revisions[-1]:
            self.revisions.append(revision)
            self.times.append(time_s)

    # -- Moments ---------------------------------------------------------------------------------

    def revision_at(self, time_s: float) -> int:
        """The last revision at that time; the first one if it is before all."""
        index = bisect.bisect_right(self.times, time_s) - 1
        return self.revisions[max(index, 0)]

    def step(self, revision: int, count: int) -> int:
        """The revision `count` changes later (earlier if negative), as far as there are any."""
        index = bisect.bisect_right(self.revisions, revision) - 1 + count
        return self.revisions[min(max(index, 0), len(self.revisions) - 1)]

    def time_of(self, revision: int) -> float:
        """When that revision was made."""
        index = bisect.bisect_right(self.revisions, revision) - 1
        return self.times[max(index, 0)]

    def state(self, revision: int) -> dict[str, bytes]:
        """Every key with its value as of a revision, in the order of the keys."""
        found = {}
        for key in sorted(self._history):
            value = self.value(key, revision)
            if value is not None:
                found[key] = value
        return found

    def value(self, key: str, revision: int) -> bytes | None:
        """The value of a key as of a revision, None if there was none."""
        changes = self._history.get(key, ())
        index = bisect.bisect_right(changes, revision, key=lambda change: change.revision) - 1
        return changes[index].value if index >= 0 else None

    def changes(self, prefix: str = "", after: int = -1, until: int | None = None) -> Iterator[Change]:
        """The changes of keys that begin with `prefix`, of the revisions after one up to another,
        in order. What the first state held counts as changes of its revision."""
        keys = (key for key in self._history if key.startswith(prefix))
        found = [c for key in keys for c in self._history[key] if c.revision > after and (until is None or c.revision <= until)]
        yield from sorted(found, key=lambda change: (change.revision, change.key))


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def decode(change: Change) -> Object | None:
    """The object after a change, with its resource version. None when it was deleted."""
    if change.value is None:
        return None
    obj: Object = orjson.loads(change.value)
    return obj
