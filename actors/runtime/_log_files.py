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

from protocol.cri import ReadLog

__all__ = ["follow", "read_file", "tail_text"]

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


def _parse(line: bytes) -> tuple[bytes, int, bytes] | None:
    """(time, stream 1 or 2, text with its newline, if it has one)."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return None
    text = parts[3] if len(parts) == 4 else b""
    return parts[0], 2 if parts[1] == b"stderr" else 1, text if parts[2] == b"P" else text + b"\n"


def read_file(path: Path, question: ReadLog, position: list[int] | None = None) -> bytes:
    """The log as `question` cuts it; nothing if there is no file. `position` is set to where the
    reading ended, for `follow`."""
    try:
        with path.open("rb") as file:
            data = file.read()
            inode = os.fstat(file.fileno()).st_ino
    except OSError:
        return b""
    end = data.rfind(b"\n") + 1
    if position is not None:
        position[:] = [inode, end]
    lines = [p for p in map(_parse, data[:end].splitlines(keepends=True)) if p is not None]
    if question.since:
        lines = [p for p in lines if _seconds(p[0]) >= question.since]
    if question.tail_lines is not None:
        lines = _last(lines, question.tail_lines)
    data = b"".join((stamp + b" " + text if question.timestamps else text) for stamp, _, text in lines)
    return data if question.limit_bytes is None else data[: question.limit_bytes]


def _last(lines: list[tuple[bytes, int, bytes]], count: int) -> list[tuple[bytes, int, bytes]]:
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


def _fresh(path: Path, position: list[int]) -> Iterator[bytes]:
    """Whole lines written since `position` = [inode, offset]; a file put aside is read to its end first."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        inode = os.fstat(file.fileno()).st_ino
        if position[0] != inode:
            position[0], position[1] = inode, 0
        file.seek(position[1])
        while data := file.read(CHUNK):
            end = data.rfind(b"\n") + 1
            if not end:
                return
            position[1] += end
            file.seek(position[1])
            yield from data[:end].splitlines(keepends=True)


def follow(
    path: Path,
    position: list[int],
    timestamps: bool,
    tell: Callable[[int, bytes], None],
    ended: Callable[[], bool],
    stopped: threading.Event,
    done: Callable[[], None],
) -> None:
    """Tell what is written after `position`, on a thread of its own, until the container has `ended` and
    all is told, or `stopped` is set."""

    def run() -> None:
        while not stopped.is_set():
            over = ended()
            for line in _fresh(path, position):
                parsed = _parse(line)
                if parsed is not None:
                    tell(parsed[1], parsed[0] + b" " + parsed[2] if timestamps else parsed[2])
            if over:
                break
            stopped.wait(POLL_S)
        done()

    threading.Thread(target=run, name="follow", daemon=True).start()
