"""A container's log in memory: bounded, with the time of each line.

Owns lines and how `kubectl logs` cuts them. Partial lines stay open until their newline comes or
the container ends, as in the CRI log format.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Log", "rfc3339_nano"]

MAX_LINES = 4_000
MAX_BYTES = 512 * 1024
MAX_LINE_BYTES = 16 * 1024


class Log:
    """`lines` holds (seconds since the epoch, stream, text with newline), oldest first."""

    __slots__ = ("bytes", "lines", "partial")

    def __init__(self) -> None:
        self.lines: deque[tuple[float, int, bytes]] = deque()
        self.partial: dict[int, tuple[float, bytes]] = {}
        self.bytes = 0

    def write(self, now: float, stream: int, data: bytes) -> None:
        """Append what a process wrote."""
        began, pending = self.partial.pop(stream, (now, b""))
        pieces = (pending + data).split(b"\n")
        for piece in pieces[:-1]:
            self._append(began, stream, piece + b"\n")
            began = now
        rest = pieces[-1]
        while len(rest) > MAX_LINE_BYTES:
            self._append(began, stream, rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if rest:
            self.partial[stream] = (began, rest)

    def close(self) -> None:
        """The process has ended: unfinished lines become lines."""
        for stream, (began, data) in sorted(self.partial.items()):
            self._append(began, stream, data)
        self.partial.clear()

    def _append(self, now: float, stream: int, line: bytes) -> None:
        self.lines.append((now, stream, line))
        self.bytes += len(line)
        while len(self.lines) > MAX_LINES or self.bytes > MAX_BYTES:
            self.bytes -= len(self.lines.popleft()[2])

    def read(
        self,
        since: float = 0.0,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
    ) -> bytes:
        """The log as one text."""
        chosen = [line for line in self.lines if line[0] >= since]
        chosen += [(began, stream, data) for stream, (began, data) in sorted(self.partial.items())]
        if tail_lines is not None:
            chosen = chosen[-tail_lines:] if tail_lines > 0 else []
        text = b"".join(shown(line, timestamps) for line in chosen)
        return text if limit_bytes is None else text[:limit_bytes]


def shown(line: tuple[float, int, bytes], timestamps: bool) -> bytes:
    """One line as a client sees it."""
    return rfc3339_nano(line[0]).encode() + b" " + line[2] if timestamps else line[2]


def rfc3339_nano(seconds: float) -> str:
    """`2026-01-02T03:04:05.123456789Z`."""
    import time

    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1e9):09d}Z"
