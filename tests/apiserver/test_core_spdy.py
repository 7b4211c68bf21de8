"""SPDY framing: streams and data arrive however the bytes are cut, and garbage raises one error."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.http._spdy import DICTIONARY, Session, SpdyError


class Recorder:
    """What a session told."""

    def __init__(self) -> None:
        self.sent = b""
        self.streams: dict[int, dict[str, str]] = {}
        self.received: dict[int, bytes] = {}
        self.finished: set[int] = set()
        self.resets: list[int] = []

    def send(self, data: bytes) -> None:
        self.sent += data

    def opened(self, stream: int, headers: dict[str, str], finished: bool) -> None:
        self.streams[stream] = headers

    def data(self, stream: int, data: bytes, finished: bool) -> None:
        self.received[stream] = self.received.get(stream, b"") + data
        if finished:
            self.finished.add(stream)

    def reset(self, stream: int) -> None:
        self.resets.append(stream)


class Client:
    """Makes the frames of a client."""

    def __init__(self) -> None:
        self.packer = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: dict[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        for word in (word for pair in headers.items() for word in pair):
            block += struct.pack(">I", len(word)) + word.encode()
        packed = self.packer.compress(block) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        return self.control(1, struct.pack(">IIH", stream, 0, 0) + packed)

    def control(self, kind: int, payload: bytes) -> bytes:
        return struct.pack(">HHI", 0x8003, kind, len(payload)) + payload

    def data(self, stream: int, data: bytes, finished: bool = False) -> bytes:
        return struct.pack(">II", stream, int(finished) << 24 | len(data)) + data


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@given(st.lists(st.integers(1, 40), min_size=1), st.binary(max_size=200))
def test_streams_and_data_arrive_however_the_bytes_are_cut(cuts: list[int], content: bytes) -> None:
    client, recorder = Client(), Recorder()
    session = Session(recorder)
    sent = client.open(1, {"streamType": "error", "port": "80"}) + client.open(3, {"streamType": "data", "port": "80"})
    sent += client.data(3, content) + client.data(3, b"!", finished=True) + client.control(3, struct.pack(">II", 1, 5))
    at, turn = 0, 0
    while at < len(sent):
        size = cuts[turn % len(cuts)]
        session.feed(sent[at : at + size])
        at, turn = at + size, turn + 1
    assert recorder.streams == {1: {"streamtype": "error", "port": "80"}, 3: {"streamtype": "data", "port": "80"}}
    assert recorder.received == {3: content + b"!"}
    assert (recorder.finished, recorder.resets) == ({3}, [1])


def test_each_stream_is_answered_and_pings_come_back() -> None:
    client, recorder = Client(), Recorder()
    session = Session(recorder)
    session.feed(client.open(5, {"a": "b"}))
    assert struct.unpack(">HHII", recorder.sent[:12])[:2] == (0x8003, 2)
    assert recorder.sent[8:12] == struct.pack(">I", 5)
    recorder.sent = b""
    ping = client.control(6, struct.pack(">I", 7))
    session.feed(ping)
    session.feed(client.control(6, struct.pack(">I", 8)))
    assert recorder.sent == ping


def test_large_data_is_sent_in_pieces_and_ends_once() -> None:
    recorder = Recorder()
    Session(recorder).send_data(3, b"x" * 100_000, finished=True)
    other = Recorder()
    Session(other).feed(recorder.sent)
    assert other.received == {3: b"x" * 100_000}
    assert other.finished == {3}


@given(st.binary(max_size=300))
def test_garbage_raises_one_error_or_nothing(garbage: bytes) -> None:
    session = Session(Recorder())
    try:
        session.feed(garbage)
    except SpdyError:
        return


def test_another_version_is_refused() -> None:
    with pytest.raises(SpdyError, match="version 2"):
        Session(Recorder()).feed(struct.pack(">HHI", 0x8002, 1, 0))
