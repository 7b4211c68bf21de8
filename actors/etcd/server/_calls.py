"""Calls on the etcd services, whatever they came in by.

A call is fed requests and answers through a `Sink`, which gRPC and the JSON gateway both provide.
What is asked goes to the etcd actor; nothing here waits or does I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

from actors.etcd.server._stubs import rpc
from actors.etcd.server._translate import UNARY, Identity, watch_request, watch_response
from actors.kernel import ActorDead, MailboxFull, Ref
from protocol.etcd import (
    CancelWatch,
    EtcdError,
    LeaseKeepAlive,
    RemoveWatcher,
    Snapshot,
    Watch,
    WatchProgress,
    WatchResponse,
)

__all__ = ["STREAMING", "Call", "Services", "Sink"]

SNAPSHOT_CHUNK_BYTES = 32 * 1024
STORAGE_VERSION = "3.6.0"
STREAM_BUFFER = 128
"""So many watch responses may wait in one stream before the store is told that it is slow."""

MAX_MESSAGE_BYTES = 1_572_864 + 512 * 1024
"""The largest message that a client may send: etcd's request limit and 0.5 MiB of overhead."""

UNKNOWN, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED = 2, 3, 5, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 12, 13, 14


class SharedReply:
    """A reply that many calls get: encoded once, whoever asks."""

    __slots__ = ("_encoded", "message")

    def __init__(self, message: Any) -> None:
        self.message = message
        self._encoded = b""

    def SerializeToString(self) -> bytes:
        """As a protobuf message does."""
        if not self._encoded:
            self._encoded = self.message.SerializeToString()
        return self._encoded


class Sink(Protocol):
    """Where the answers of one call go."""

    def send(self, reply: Any) -> None:
        """Send one reply: a protobuf message, or a `SharedReply`."""

    def finish(self, code: int = 0, message: str = "") -> None:
        """End the call with a gRPC status."""

    def backlog(self) -> int:
        """How many replies wait because the other side does not read."""


class Call(Protocol):
    """One call being served."""

    request: Any  # the class of its request messages

    def receive(self, request: Any) -> None:
        """One request message came in."""

    def half_close(self) -> None:
        """The client will send nothing more."""

    def cancel(self) -> None:
        """The client has gone, or wants no more."""


class Services:
    """The services of one etcd actor. `identity` is what every reply's header says."""

    def __init__(self, etcd: Ref, identity: Identity) -> None:
        self.etcd = etcd
        self.identity = identity
        self.pending = 0
        """Requests that the etcd actor has not answered yet."""
        self.on_idle: Callable[[], None] | None = None
        self._streams = count(1)
        self._told: WatchResponse | None = None
        self._told_reply: Any = None

    def open(self, path: str, sink: Sink) -> Call | None:
        """Begin a call; None when there is no such method."""
        if path in UNARY:
            return UnaryCall(self, path, sink)
        if path in STREAMING:
            return STREAMING[path](self, sink)
        return None

    def ask(self, message: Any, then: Callable[[Any], None], sink: Sink) -> None:
        """Ask the etcd actor; `then` gets the answer, a refusal ends the call."""

        def answered(future: Any) -> None:
            self.pending -= 1
            error = future.exception()
            if error is None:
                then(future.result())
            else:
                fail(sink, error)
            if not self.pending and self.on_idle is not None:
                self.on_idle()

        self.pending += 1
        asked: Any = self.etcd.ask(message, block=False)
        asked.add_callback(answered)

    def watch_reply(self, response: WatchResponse) -> Any:
        """A watch response for the wire. Many streams are told the same, one right after the
        other, and share what was made for the first."""
        told = self._told
        if told is None or not (
            told.events is response.events
            and told.watch_id == response.watch_id
            and told.revision == response.revision
            and told.fragment == response.fragment
            and response.events
        ):
            self._told = response
            self._told_reply = SharedReply(watch_response(response, response.watch_id, self.identity))
        return self._told_reply

    def stream_urn(self) -> str:
        """A name for one watch stream, unique among the addresses that the store knows."""
        return f"{self.etcd.actor_urn}/stream-{next(self._streams)}"


def fail(sink: Sink, error: BaseException) -> None:
    """End a call with what the etcd actor raised."""
    match error:
        case EtcdError():
            sink.finish(error.code, error.message)
        case ActorDead():
            sink.finish(UNAVAILABLE, "etcdserver: server stopped")
        case _:
            sink.finish(UNKNOWN, str(error))


class UnaryCall:
    """One request, one reply."""

    __slots__ = ("_done", "_method", "_services", "_sink", "request")

    def __init__(self, services: Services, path: str, sink: Sink) -> None:
        self._services = services
        self._method = UNARY[path]
        self._sink = sink
        self._done = False
        self.request = self._method.request

    def receive(self, request: Any) -> None:
        self._services.ask(self._method.to_message(request), self._answer, self._sink)

    def _answer(self, response: Any) -> None:
        if not self._done:
            self._sink.send(self._method.to_reply(response, self._services.identity))
            self._sink.finish()

    def half_close(self) -> None:
        """Nothing to do: the reply ends the call."""

    def cancel(self) -> None:
        self._done = True


class WatchCall:
    """A watch stream: many watches that share one connection and one numbering.

    It is the address that the store tells; when its buffer is full it refuses, and the store
    tries again later.
    """

    request = rpc.WatchRequest

    def __init__(self, services: Services, sink: Sink) -> None:
        self.actor_urn = services.stream_urn()
        self._services = services
        self._sink = sink
        self._next_id = 0
        self._ids: set[int] = set()
        self._open = True

    def receive(self, request: Any) -> None:
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "cancel_request":
                self._services.etcd.tell(CancelWatch(self, request.cancel_request.watch_id))
            case "progress_request":
                self._services.etcd.tell(WatchProgress(self))

    def _create(self, request: Any) -> None:
        watch_id = request.watch_id
        if not watch_id:
            while self._next_id in self._ids:
                self._next_id += 1
            watch_id = self._next_id
        message = watch_request(request, self, watch_id)
        if not request.watch_id and not _refused(message):
            self._next_id += 1
        if not _refused(message):
            self._ids.add(watch_id)
        self._services.ask(message, self._send, self._sink)

    def tell(self, message: WatchResponse) -> None:
        """Take what the store tells. Raises `MailboxFull` when the other side does not read."""
        if self._open and self._sink.backlog() >= STREAM_BUFFER:
            raise MailboxFull(message, self.actor_urn)
        self._send(message)

    def _send(self, response: WatchResponse) -> None:
        if response.canceled and not response.compact_revision:
            # As in etcd, the id of a watch that compaction ended stays taken until it is cancelled.
            self._ids.discard(response.watch_id)
        if self._open:
            self._sink.send(self._services.watch_reply(response))

    def half_close(self) -> None:
        """The stream lives on: etcd, too, goes on sending."""

    def cancel(self) -> None:
        if self._open:
            self._open = False
            self._services.etcd.tell(RemoveWatcher(self))


def _refused(message: Watch) -> bool:
    """Whether the store will refuse a watch for its form; then it takes no id."""
    end = message.range_end
    return message.start_revision < 0 or bool(end and end != b"\0" and (message.key or b"\0") >= end)


class KeepAliveCall:
    """A stream of keep-alives, each with its answer."""

    request = rpc.LeaseKeepAliveRequest

    def __init__(self, services: Services, sink: Sink) -> None:
        self._services = services
        self._sink = sink
        self._open = True
        self._pending = 0
        self._half_closed = False

    def receive(self, request: Any) -> None:
        self._pending += 1
        self._services.ask(LeaseKeepAlive(request.ID), self._answer, self._sink)

    def _answer(self, response: Any) -> None:
        self._pending -= 1
        if not self._open:
            return
        header = self._services.identity.header(response.revision)
        reply = rpc.LeaseKeepAliveResponse(header=header, ID=response.id, TTL=response.ttl)
        self._sink.send(reply)
        self._end_if_done()

    def half_close(self) -> None:
        self._half_closed = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._open and self._half_closed and not self._pending:
            self._open = False
            self._sink.finish()

    def cancel(self) -> None:
        self._open = False


class SnapshotCall:
    """The whole store in chunks, then the SHA-256 of all of them."""

    request = rpc.SnapshotRequest

    def __init__(self, services: Services, sink: Sink) -> None:
        self._services = services
        self._sink = sink
        self._open = True

    def receive(self, _: Any) -> None:
        self._services.ask(Snapshot(), self._answer, self._sink)

    def _answer(self, response: Any) -> None:
        if not self._open:
            return
        blob = response.blob
        for start in range(0, len(blob), SNAPSHOT_CHUNK_BYTES):
            chunk = blob[start : start + SNAPSHOT_CHUNK_BYTES]
            self._chunk(chunk, len(blob) - start - len(chunk))
        self._chunk(hashlib.sha256(blob).digest(), 0)
        self._sink.finish()

    def _chunk(self, blob: bytes, remaining: int) -> None:
        self._sink.send(rpc.SnapshotResponse(remaining_bytes=remaining, blob=blob, version=STORAGE_VERSION))

    def half_close(self) -> None:
        """Nothing to do: the last chunk ends the call."""

    def cancel(self) -> None:
        self._open = False


STREAMING: dict[str, Callable[[Services, Sink], Call]] = {
    "/etcdserverpb.Watch/Watch": WatchCall,
    "/etcdserverpb.Lease/LeaseKeepAlive": KeepAliveCall,
    "/etcdserverpb.Maintenance/Snapshot": SnapshotCall,
}
