"""Container logs in files, in the CRI's format: how `kubectl logs` cuts and follows them.

    2026-01-02T03:04:05.123456789Z stdout F text          (P instead of F: the line goes on)

Reads only; who writes them is the shim, or a CRI runtime.
https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""

from __future__ import annotations

import calendar
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from protocol.cri import ReadLog

__all__ = ["Position", "follow", "read_file", "tail_text"]

Entry = tuple[bytes, int, bytes]
"""(time, stream 1 or 2, text with its newline, if it has one)."""

POLL_S = 0.1
CHUNK = 1 << 18


def _seconds(stamp: bytes) -> float:
    text = stamp.decode("ascii", "replace")
    whole, _, fraction = text.rstrip("Z").partition(".")
    try:
        base = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
    return base + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def _parse(line: bytes) -> Entry | None:
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return None
    text = parts[3] if len(parts) == 4 else b""
    return parts[0], 2 if parts[1] == b"stderr" else 1, text if parts[2] == b"P" else text + b"\n"


def read_file(path: Path, question: ReadLog, position: Position | None = None) -> bytes:
    """The log as `question` cuts it; nothing if there is no file. `position` is set to where the
    reading ended, for `follow`."""
    place = position or Position()
    place.open(path)
    entries = list(place.entries())
    if position is None:
        place.close()
    if question.since:
        entries = [p for p in entries if _seconds(p[0]) >= question.since]
    if question.tail_lines is not None:
        entries = _last(entries, question.tail_lines)
    place.shown = _Shown(question.timestamps, question.limit_bytes)
    return b"".join(place.shown.text(entry) for entry in entries)


class _Shown:
    """How entries become what is read: with a time before each line, and no more than so many bytes."""

    def __init__(self, timestamps: bool, limit_bytes: int | None) -> None:
        self.timestamps, self.left = timestamps, limit_bytes
        self.new_line = True

    def text(self, entry: Entry) -> bytes:
        stamp, _, text = entry
        if self.timestamps and self.new_line:
            found = stamp + b" " + text
        else:
            found = text
        self.new_line = text.endswith(b"\n")
        if self.left is not None:
            found = found[: self.left]
            self.left -= len(found)
        return found


class Position:
    """Where a reading of a log has come to: a file that stays open, so that it may be put aside or removed."""

    def __init__(self) -> None:
        self.file: IO[bytes] | None = None
        self.offset = 0
        self.stamp = b""
        """Of the last entry that was read."""
        self.shown = _Shown(False, None)

    def open(self, path: Path) -> None:
        """Go on at the beginning of another file, if it is there."""
        self.close()
        with contextlib.suppress(OSError):
            self.file, self.offset = path.open("rb"), 0

    def close(self) -> None:
        """Let go of the file."""
        if self.file is not None:
            self.file.close()
        self.file = None

    def entries(self) -> Iterator[Entry]:
        """The whole lines from here to the end of the file."""
        while self.file is not None:
            self.file.seek(self.offset)
            data = self.file.read(CHUNK)
            end = data.rfind(b"\n") + 1
            if not end:
                return
            self.offset += end
            for entry in map(_parse, data[:end].splitlines(keepends=True)):
                if entry is not None:
                    self.stamp = entry[0]
                    yield entry


def _last(lines: list[Entry], count: int) -> list[Entry]:
    """The last `count` whole lines, whose parts stay together."""
    if count <= 0:
        return []
    seen = 0
    for index in range(len(lines) - 1, -1, -1):
        ends = lines[index][2].endswith(b"\n")
        if ends and seen == count:
            return lines[index + 1 :]
        seen += ends
    return lines


def tail_text(path: Path, lines: int) -> bytes:
    """The end of a log: what FallbackToLogsOnError takes for the termination message."""
    return read_file(path, ReadLog("", tail_lines=lines))


def _files(path: Path) -> list[Path]:
    """The log and what was put aside of it, the oldest first."""
    aside = sorted(path.parent.glob(f"{path.name}.*"))
    return [*(f for f in aside if f.suffix != ".gz"), path]


def _fresh(path: Path, position: Position) -> Iterator[Entry]:
    """What was written since `position`; a file that was put aside meanwhile is read to its end first."""
    if position.file is None:
        position.open(path)
    while position.file is not None:
        yield from position.entries()
        following = _successor(path, position)
        if following is None:
            return
        yield from position.entries()  # written between the last look and the moment it was put aside
        position.open(following)


def _successor(path: Path, position: Position) -> Path | None:
    """The file that goes on where the one at `position` ends; None while that is the log itself."""
    assert position.file is not None
    own = os.fstat(position.file.fileno()).st_ino
    with contextlib.suppress(OSError):
        if path.stat().st_ino == own:
            return None
        files = [(f, f.stat().st_ino) for f in _files(path)]
        place = next((n for n, (_, inode) in enumerate(files) if inode == own), None)
        if place is not None:
            return files[place + 1][0] if place + 1 < len(files) else None
        for file, _ in files:  # ours has been removed, or was put aside while we looked: what is younger goes on
            with file.open("rb") as opened:
                if opened.readline().split(b" ", 1)[0] > position.stamp:
                    return file
    return None


def follow(
    path: Path,
    position: Position,
    tell: Callable[[int, bytes], None],
    ended: Callable[[], bool],
    stopped: threading.Event,
    done: Callable[[], None],
) -> None:
    """Tell what is written after `position`, on a thread of its own, until the container has `ended` and
    all is told, or as many bytes as were wanted, or `stopped` is set."""

    def run() -> None:
        while not stopped.is_set():
            over = ended()
            for entry in _fresh(path, position):
                text = position.shown.text(entry)
                if text:
                    tell(entry[1], text)
            if over or position.shown.left == 0:
                break
            stopped.wait(POLL_S)
        position.close()
        done()

    threading.Thread(target=run, name="follow", daemon=True).start()
