"""Our HTTP/2 and gRPC against an independent implementation: the library h2 as the client."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.etcd.server._headers import HeaderDecoder, literal_headers
from actors.etcd.server._stubs import rpc
from protocol.etcd import Put, Range

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Client:
    """A connection that reads only when told to."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.http.initiate_connection()
        self.events: list[Any] = []
        self.data: dict[int, bytes] = {}
        self.headers: dict[int, dict[bytes, bytes]] = {}
        self.ended: set[int] = set()
        self.gone: h2.events.ConnectionTerminated | None = None
        self.acknowledge = True
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def open(self, path: str, *more: tuple[str, str], **options: Any) -> int:
        stream = int(self.http.get_next_available_stream_id())
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path), ("te", "trailers")]
        self.http.send_headers(stream, [*head, ("content-type", "application/grpc"), *more], **options)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, end: bool = True, **options: Any) -> None:
        self.http.send_data(stream, data, end_stream=end, **options)
        self.flush()

    def call(self, method: str, request: Any) -> int:
        stream = self.open(f"/etcdserverpb.{method}")
        self.send(stream, message(request))
        return stream

    def read(self, until: Callable[[], Any]) -> None:
        end = time.monotonic() + 10
        while not until():
            assert time.monotonic() < end, "nothing more came"
            data = self.socket.recv(65536)
            if not data:
                return
            self.take(data)

    def take(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            self.events.append(event)
            match event:
                case h2.events.DataReceived():
                    self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                    if self.acknowledge:
                        self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    self.headers.setdefault(event.stream_id, {}).update(event.headers)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self.ended.add(event.stream_id)
                case h2.events.ConnectionTerminated():
                    self.gone = event
        self.flush()

    def answer(self, stream: int, reply: Any) -> Any:
        """The reply of a unary call that succeeded."""
        self.read(lambda: stream in self.ended)
        assert self.status(stream) == (0, b"")
        (found,) = messages(self.data[stream])
        return reply.FromString(found)

    def status(self, stream: int) -> tuple[int, bytes]:
        self.read(lambda: b"grpc-status" in self.headers.get(stream, {}))
        headers = self.headers[stream]
        return int(headers[b"grpc-status"]), headers.get(b"grpc-message", b"")


def message(request: Any, compressed: bool = False) -> bytes:
    body = request.SerializeToString()
    if compressed:
        body = gzip.compress(body)
    return struct.pack(">BI", compressed, len(body)) + body


def messages(data: bytes) -> list[bytes]:
    found = []
    while len(data) >= 5:
        length = struct.unpack(">I", data[1:5])[0]
        if len(data) < 5 + length:
            break
        found.append(data[5 : 5 + length])
        data = data[5 + length :]
    return found


@pytest.fixture
def server(serve: Any) -> Any:
    return serve()


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    made = Client(server.port)
    yield made
    made.socket.close()


def test_a_call_is_answered_with_message_and_trailers(client: Client) -> None:
    stream = client.call("KV/Put", rpc.PutRequest(key=b"a", value=b"1"))
    assert client.answer(stream, rpc.PutResponse).header.revision == 2
    assert client.headers[stream][b":status"] == b"200"
    assert client.headers[stream][b"content-type"] == b"application/grpc"


def test_many_calls_share_a_connection(client: Client) -> None:
    streams = [client.call("KV/Put", rpc.PutRequest(key=b"k%d" % n)) for n in range(100)]
    client.read(lambda: client.ended >= set(streams))
    assert [client.answer(stream, rpc.PutResponse).header.revision for stream in streams] == list(range(2, 102))


def test_a_message_may_come_in_pieces_and_padded(client: Client) -> None:
    body = message(rpc.PutRequest(key=b"a", value=b"v" * 100))
    stream = client.open("/etcdserverpb.KV/Put", priority_weight=16, priority_depends_on=0)
    for start in range(0, len(body), 7):
        client.send(stream, body[start : start + 7], end=False, pad_length=start % 20)
    client.send(stream, b"", end=True)
    assert client.answer(stream, rpc.PutResponse).header.revision == 2


def test_headers_that_need_several_frames(client: Client) -> None:
    more = [(f"x-{n}", "y" * 1000) for n in range(40)]
    stream = client.open("/etcdserverpb.KV/Put", *more)
    client.send(stream, message(rpc.PutRequest(key=b"a")))
    assert client.answer(stream, rpc.PutResponse).header.revision == 2


def test_a_compressed_message(client: Client) -> None:
    stream = client.open("/etcdserverpb.KV/Put", ("grpc-encoding", "gzip"))
    client.send(stream, message(rpc.PutRequest(key=b"a", value=b"v" * 1000), compressed=True))
    assert client.answer(stream, rpc.PutResponse).header.revision == 2


def test_a_refusal_is_told_in_the_trailers_alone(client: Client) -> None:
    stream = client.call("KV/Put", rpc.PutRequest())
    assert client.status(stream) == (3, b"etcdserver: key is not provided")
    assert stream not in client.data


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/etcdserverpb.KV/Nothing", 12, b"unknown method Nothing for service etcdserverpb.KV"),
        ("/nothing", 12, b"unknown method  for service nothing"),
    ],
)
def test_a_method_that_does_not_exist(client: Client, path: str, code: int, text: bytes) -> None:
    stream = client.open(path)
    client.send(stream, message(rpc.PutRequest(key=b"a")))
    assert client.status(stream) == (code, text)
    assert client.answer(client.call("KV/Put", rpc.PutRequest(key=b"a")), rpc.PutResponse).header.revision == 2


def test_bytes_that_are_no_message(client: Client) -> None:
    stream = client.open("/etcdserverpb.KV/Put")
    client.send(stream, b"\0\0\0\0\3\xff\xff\xff")
    assert client.status(stream)[0] == 13


def test_a_message_that_is_too_large_ends_the_call_and_not_the_connection(client: Client) -> None:
    stream = client.open("/etcdserverpb.KV/Put")
    client.send(stream, struct.pack(">BI", 0, 3_000_000) + b"x" * 1000, end=False)
    assert client.status(stream) == (8, b"grpc: received message larger than max (3000000 vs. 2097152)")
    assert client.answer(client.call("KV/Put", rpc.PutRequest(key=b"a")), rpc.PutResponse).header.revision == 2


def test_requests_that_are_not_grpc_are_refused(client: Client) -> None:
    stream = client.http.get_next_available_stream_id()
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
    client.http.send_headers(stream, head, end_stream=True)
    client.flush()
    client.read(lambda: stream in client.ended)
    assert client.headers[stream] == {b":status": b"415"}


def test_no_more_is_sent_than_the_client_has_room_for(server: Any, client: Client) -> None:
    for n in range(200):
        server.etcd.ask(Put(b"k%03d" % n, b"v" * 1000))
    client.acknowledge = False
    stream = client.call("KV/Range", rpc.RangeRequest(key=b"k", range_end=b"l"))
    client.read(lambda: len(client.data.get(stream, b"")) >= 65_535)
    client.http.ping(b"12345678")
    client.flush()
    client.read(lambda: any(isinstance(e, h2.events.PingAckReceived) for e in client.events))
    assert len(client.data[stream]) == 65_535
    client.http.increment_flow_control_window(1_000_000)
    client.http.increment_flow_control_window(1_000_000, stream)
    client.flush()
    assert client.answer(stream, rpc.RangeResponse).count == 200


def test_a_client_may_change_its_window_while_it_reads(server: Any, client: Client) -> None:
    server.etcd.ask(Put(b"k", b"v" * 500_000))
    client.acknowledge = False
    stream = client.call("KV/Range", rpc.RangeRequest(key=b"k"))
    client.read(lambda: len(client.data.get(stream, b"")) >= 65_535)
    client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 600_000})
    client.http.increment_flow_control_window(600_000)
    client.flush()
    assert client.answer(stream, rpc.RangeResponse).kvs[0].value == b"v" * 500_000


def test_large_requests_get_their_window_back(client: Client) -> None:
    value = b"v" * 1_000_000
    for n in range(8):
        stream = client.open("/etcdserverpb.KV/Put")
        body = message(rpc.PutRequest(key=b"a", value=value))
        while body:
            room = min(client.http.local_flow_control_window(stream), client.http.max_outbound_frame_size)
            if room == 0:
                window = client.http.local_flow_control_window
                client.read(lambda: window(stream) > 0)
                continue
            client.send(stream, body[:room], end=len(body) <= room)
            body = body[room:]
        assert client.answer(stream, rpc.PutResponse).header.revision == n + 2


# Streams


def create(key: bytes, **more: Any) -> bytes:
    return message(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key, **more)))


def responses(client: Client, stream: int) -> list[Any]:
    return [rpc.WatchResponse.FromString(body) for body in messages(client.data.get(stream, b""))]


def test_a_reset_stream_closes_its_watches(server: Any, client: Client, until: Any) -> None:
    stream = client.open("/etcdserverpb.Watch/Watch")
    client.send(stream, create(b"a"), end=False)
    client.read(lambda: responses(client, stream))
    watchers = server.etcd.actor._watchers
    assert len(watchers) == 1
    client.http.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
    client.flush()
    until(lambda: len(watchers) == 0, "the end of the watch")


def test_a_lost_connection_closes_its_watches(server: Any, client: Client, until: Any) -> None:
    stream = client.open("/etcdserverpb.Watch/Watch")
    for n in range(5):
        client.send(stream, create(b"%d" % n), end=False)
    client.read(lambda: len(responses(client, stream)) == 5)
    client.socket.close()
    until(lambda: len(server.etcd.actor._watchers) == 0, "the end of the watches")


def test_a_client_that_does_not_read_holds_nobody_back_and_misses_nothing(server: Any, client: Client) -> None:
    slow, quick = client, Client(server.port)
    streams = {}
    for each in (slow, quick):
        streams[each] = each.open("/etcdserverpb.Watch/Watch")
        each.send(streams[each], create(b"a"), end=False)
        each.read(lambda each=each: responses(each, streams[each]))
    for n in range(3000):
        server.etcd.ask(Put(b"a", b"%05d" % n + b"x" * 1000))

    def events(each: Client) -> list[bytes]:
        return [event.kv.value[:5] for response in responses(each, streams[each]) for event in response.events]

    expected = [b"%05d" % n for n in range(3000)]
    quick.read(lambda: len(quick.data[streams[quick]]) > 3_000_000 and len(events(quick)) == 3000)
    assert events(quick) == expected
    slow.read(lambda: len(slow.data[streams[slow]]) > 3_000_000 and len(events(slow)) == 3000)
    assert events(slow) == expected
    quick.socket.close()


def test_keep_alives_are_answered_until_the_client_has_said_all(server: Any, client: Client) -> None:
    stream = client.open("/etcdserverpb.Lease/LeaseKeepAlive")
    client.send(stream, b"".join(message(rpc.LeaseKeepAliveRequest(ID=n)) for n in (4, 5, 6)), end=True)
    client.read(lambda: stream in client.ended)
    replies = [rpc.LeaseKeepAliveResponse.FromString(body) for body in messages(client.data[stream])]
    assert [(reply.ID, reply.TTL) for reply in replies] == [(4, 0), (5, 0), (6, 0)]
    assert client.status(stream)[0] == 0


def test_a_server_that_stops_says_goodbye(server: Any, client: Client) -> None:
    assert client.answer(client.call("KV/Put", rpc.PutRequest(key=b"a")), rpc.PutResponse)
    server.close()
    client.read(lambda: client.gone)
    assert client.gone is not None
    assert client.gone.error_code == h2.errors.ErrorCodes.NO_ERROR


def split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The frames of a connection: kind, flags, stream, payload."""
    while data:
        length = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]
        data = data[9 + length :]


def test_calls_under_way_are_answered_before_a_server_stops(etcd_process: Any, tmp_path: Any) -> None:
    import signal

    process = etcd_process("--data-dir", str(tmp_path / "d"))
    client = Client(int(process.url.rpartition(":")[2]))
    answered = client.call("KV/Put", rpc.PutRequest(key=b"first"))
    client.answer(answered, rpc.PutResponse)
    streams = [client.call("KV/Put", rpc.PutRequest(key=b"k%d" % n, value=b"v" * 10_000)) for n in range(300)]
    process.process.send_signal(signal.SIGTERM)
    data = b""
    while received := client.socket.recv(65536):  # until the server closes
        data += received
    frames = list(split(data))
    goaway = next(payload for kind, _, _, payload in frames if kind == 7)
    taken = {stream for stream in streams if stream <= struct.unpack(">I", goaway[:4])[0]}
    ended = {
        stream for kind, flags, stream, payload in frames if kind == 1 and flags & 1 and b"grpc-status\x010" in payload
    }
    assert ended == taken
    assert taken
    client.socket.close()
    assert process.process.wait(20) == 0


# Broken clients


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(0, 0, 0, b"x"), 1),  # data without a stream
        (frame(0, 0, 9, b"x"), 1),  # data on a stream that was never opened
        (frame(1, 4, 2, b""), 1),  # an even stream
        (frame(9, 4, 1, b""), 1),  # nothing to continue
        (frame(1, 0, 1, b"") + frame(6, 0, 0, bytes(8)), 1),  # something else amid a header block
        (frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"), 9),  # headers that cannot be decoded
        (frame(1, 12, 1, b"\x09a"), 1),  # more padding than frame
        (frame(4, 0, 0, b"12345"), 6),  # half a setting
        (frame(4, 0, 0, struct.pack(">HI", 4, 1 << 31)), 3),  # too large a window
        (frame(5, 0, 1, bytes(4)), 1),  # a push
        (frame(6, 0, 0, b"short"), 6),  # a short ping
        (frame(8, 0, 0, bytes(4)), 3),  # a window that grows by nothing
        (frame(0, 0, 1, bytes(20_000)), 6),  # a frame that is too large
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_how_and_let_go(server: Any, sent: bytes, code: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(PREFACE + frame(4, 0, 0) + sent)
        data = b""
        while received := s.recv(65536):
            data += received
    goaway = data[data.rindex(b"\x07\0\0\0\0\0") - 3 :]
    assert struct.unpack(">I", goaway[13:17])[0] == code
    assert server.etcd.ask(Range(b"a"), timeout=10).count == 0


def test_random_bytes_never_hurt_the_server(server: Any) -> None:
    frames = st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=60))

    @settings(max_examples=60)
    @given(st.lists(frames | st.binary(max_size=30), max_size=8))
    def attack(pieces: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
            try:
                s.sendall(PREFACE + frame(4, 0, 0) + b"".join(pieces))
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except ConnectionError:
                pass  # the server has let go already

    attack()
    assert server.etcd.ask(Range(b"a"), timeout=10).revision >= 1


# Header blocks


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=5))
def test_header_blocks_are_read_as_they_were_written(headers: list[tuple[bytes, bytes]]) -> None:
    assert HeaderDecoder().decode(literal_headers(*headers)) == dict(headers)


def test_repeated_header_blocks_mean_the_same_while_the_table_stands_and_anew_when_it_moves() -> None:
    import hpack

    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    for n in range(50):
        headers = [(b":path", b"/a"), (b"x", b"%d" % (n // 10)), (b"y", b"%d" % (n % 3))]
        assert decoder.decode(encoder.encode(headers)) == dict(headers)
