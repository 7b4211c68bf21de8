"""Logs in files: how they are cut, followed over rotation, and what kubectl's options mean."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from actors.runtime._log_files import Position, follow, read_file
from protocol.cri import ReadLog

World = Any
WAIT_S = 10.0


def line(second: int, text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return f"2026-01-02T03:04:{second:02d}.000000001Z {stream} {tag} {text}\n".encode()


def read(path: Path, **fields: Any) -> bytes:
    return read_file(path, ReadLog("c", **fields))


def test_a_log_is_cut_as_asked(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"".join(line(n, f"line {n}") for n in range(5)))
    assert read(log, tail_lines=2) == b"line 3\nline 4\n"
    assert read(log, tail_lines=0) == b""
    assert read(log, limit_bytes=9) == b"line 0\nli"
    assert read(log, since=1767323040.0 + 3) == b"line 3\nline 4\n"
    assert read(log, timestamps=True, tail_lines=1) == b"2026-01-02T03:04:04.000000001Z line 4\n"
    assert read(tmp_path / "none.log") == b""


def test_parts_of_a_line_are_one_line(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(
        line(0, "first") + line(1, "a", "P") + line(2, "b", "P") + line(3, "c") + line(4, "unfin", "P")[:-9]
    )
    assert read(log) == b"first\nabc\n"
    assert read(log, tail_lines=1) == b"abc\n"
    assert read(log, timestamps=True, tail_lines=1) == b"2026-01-02T03:04:01.000000001Z abc\n"


class Reader:
    """Follows a log."""

    def __init__(self, path: Path, **fields: Any) -> None:
        self.data = b""
        self.ended, self.done = threading.Event(), threading.Event()
        position = Position()
        self.begun = read_file(path, ReadLog("c", **fields), position)
        follow(path, position, self.take, self.ended.is_set, threading.Event(), self.done.set)

    def take(self, stream: int, text: bytes) -> None:
        self.data += text

    def until(self, text: bytes) -> None:
        end = time.monotonic() + WAIT_S
        while self.data != text:
            assert time.monotonic() < end, self.data
            time.sleep(0.01)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_reader_follows_over_rotations_and_misses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    append(log, line(0, "a"))
    reader = Reader(log)
    assert reader.begun == b"a\n"
    append(log, line(1, "b"))
    log.rename(tmp_path / "0.log.20260102-030401-000001")
    append(log, line(2, "c"))
    log.rename(tmp_path / "0.log.20260102-030402-000001")  # two before the reader looks again
    append(log, line(3, "d"))
    reader.until(b"b\nc\nd\n")
    (tmp_path / "0.log.20260102-030401-000001").unlink()
    append(log, line(4, "e"))
    reader.ended.set()
    assert reader.done.wait(WAIT_S)
    assert reader.data == b"b\nc\nd\ne\n"


def test_a_reader_stops_when_it_has_as_much_as_it_wanted(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    append(log, line(0, "abcdef"))
    reader = Reader(log, limit_bytes=10)
    append(log, line(1, "ghijkl"))
    assert reader.done.wait(WAIT_S)
    assert reader.begun + reader.data == b"abcdef\nghi"


@pytest.mark.only_kinds("runc", "crun", "cri")
def test_a_follower_of_a_container_sees_every_line_over_rotations(node: World, pod_network: str) -> None:
    from protocol.cri import UpdateRuntimeConfig

    node.ask(UpdateRuntimeConfig(pod_network, 3000, 3))
    script = "sleep 0.5; for i in $(seq 300); do echo line $i; sleep 0.01; done"
    ident = node.start(node.sandbox(), "sh", "-c", script)
    stream = node.stream()
    begun = node.log(ident, peer=node.listener, stream_id=stream)
    node.until(lambda: stream in node.heard.closed)
    assert (begun + node.heard.data[stream]).decode().split("\n") == [f"line {n}" for n in range(1, 301)] + [""]
    (log,) = (node.root / "logs").rglob("0.log")
    assert len(list(log.parent.iterdir())) == 3
    tail = node.log(ident, tail_lines=2)
    assert tail in (b"line 299\nline 300\n", b"line 300\n", b"")  # kubectl logs looks at the newest file only
