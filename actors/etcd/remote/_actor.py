"""The actor that stands for a real etcd. It keeps nothing but connections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc.aio

from actors.etcd.remote._endpoints import Endpoints, RemoteConfig, to_etcd_error
from actors.etcd.remote._streams import RemoteWatches
from actors.etcd.remote._translate import CALLS
from actors.etcd.server._stubs import rpc
from actors.kernel import Actor, Future, Ref, Terminated, handles
from protocol.etcd import (
    Alarm,
    CancelWatch,
    Compact,
    Defragment,
    DeleteRange,
    Hash,
    HashKV,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseKeepAliveResponse,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
    MemberList,
    Put,
    Range,
    RemoveWatcher,
    Snapshot,
    SnapshotResponse,
    Status,
    Txn,
    Watch,
    WatchProgress,
    WatchResponse,
)
from protocol.message import Address

__all__ = ["RemoteEtcd"]

KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
DIGEST_BYTES = 32
T = TypeVar("T")


class RemoteEtcd(Actor):
    """Takes the messages of `Etcd` and has a real etcd carry them out."""

    def __init__(self, servers: RemoteConfig | tuple[str, ...]) -> None:
        super().__init__()
        self._config = servers if isinstance(servers, RemoteConfig) else RemoteConfig(servers=servers)
        self._streams: dict[str, RemoteWatches] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def on_start(self) -> None:
        self._endpoints = Endpoints(self._config, self._pause)

    async def on_stop(self) -> None:  # type: ignore[override]
        self.on_failure()
        await self._future(self._endpoints.close())

    def on_failure(self, *_: Any) -> None:
        """End what runs on the loop beside this actor."""
        for stream in self._streams.values():
            stream.close()
        for task in list(self._tasks):
            task.cancel()

    def _pause(self, seconds: float) -> Any:
        return self.sleep(seconds).asyncio()

    def _future(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run asyncio code beside this actor; the future is its outcome."""
        outcome: Future[T] = Future()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def done(finished: asyncio.Task[T]) -> None:
            self._tasks.discard(finished)
            if finished.cancelled():
                outcome.fail(asyncio.CancelledError("the connection to etcd was closed"))
            elif (error := finished.exception()) is not None:
                outcome.fail(error)
            else:
                outcome.resolve(finished.result())

        task.add_done_callback(done)
        return outcome

    # Requests that one reply answers

    @handles(Range)
    @handles(Put)
    @handles(DeleteRange)
    @handles(Compact)
    @handles(LeaseGrant)
    @handles(LeaseRevoke)
    @handles(LeaseTimeToLive)
    @handles(LeaseLeases)
    @handles(Status)
    @handles(Alarm)
    @handles(Defragment)
    @handles(Hash)
    @handles(HashKV)
    @handles(MemberList)
    def unary(self, message: Any) -> Future[Any]:
        """Pass a request on."""
        return self._future(self._unary(message, CALLS[type(message)].reads))

    @handles(Txn)
    def txn(self, message: Txn) -> Future[Any]:
        """Pass a transaction on; one that only reads may be repeated."""
        reads = all(isinstance(op, Range) for op in (*message.success, *message.failure))
        return self._future(self._unary(message, reads))

    async def _unary(self, message: Any, repeatable: bool) -> Any:
        call = CALLS[type(message)]
        request = call.to_request(message)
        return call.to_response(await self._endpoints.unary(call.path, request, call.reply, repeatable))

    # Requests that are streams to etcd

    @handles(LeaseKeepAlive)
    def lease_keep_alive(self, message: LeaseKeepAlive) -> Future[LeaseKeepAliveResponse]:
        """Renew a lease once."""
        return self._future(self._keep_alive(message.id))

    async def _keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        method = self._endpoints.channel.stream_stream(
            KEEP_ALIVE,
            rpc.LeaseKeepAliveRequest.SerializeToString,
            rpc.LeaseKeepAliveResponse.FromString,
        )
        call = method(timeout=self._config.request_timeout_s)
        try:
            await call.write(rpc.LeaseKeepAliveRequest(ID=lease_id))
            reply = await call.read()
        except grpc.aio.AioRpcError as error:
            raise to_etcd_error(error) from None
        finally:
            call.cancel()
        return LeaseKeepAliveResponse(reply.header.revision, reply.ID, reply.TTL)

    @handles(Snapshot)
    def snapshot(self, _: Snapshot) -> Future[SnapshotResponse]:
        """Fetch everything."""
        return self._future(self._snapshot())

    async def _snapshot(self) -> SnapshotResponse:
        method = self._endpoints.channel.unary_stream(
            SNAPSHOT, rpc.SnapshotRequest.SerializeToString, rpc.SnapshotResponse.FromString
        )
        parts, revision = [], 0
        try:
            async for reply in method(rpc.SnapshotRequest()):
                parts.append(reply.blob)
                revision = reply.header.revision
        except grpc.aio.AioRpcError as error:
            raise to_etcd_error(error) from None
        return SnapshotResponse(revision, b"".join(parts)[:-DIGEST_BYTES])

    # Watches

    @handles(Watch)
    def watch(self, message: Watch) -> Future[WatchResponse]:
        """Open a watch."""
        return self._stream(message.watcher).open(message)

    def _stream(self, address: Address) -> RemoteWatches:
        stream = self._streams.get(address.actor_urn)
        if stream is None:
            stream = RemoteWatches(address, self._endpoints, self._pause)
            self._streams[address.actor_urn] = stream
            if isinstance(address, Ref):
                self.monitor(address)
        return stream

    @handles(CancelWatch)
    def cancel_watch(self, message: CancelWatch) -> None:
        """Close a watch, if there is one."""
        stream = self._streams.get(message.watcher.actor_urn)
        if stream is not None:
            stream.cancel(message.watch_id)

    @handles(WatchProgress)
    def watch_progress(self, message: WatchProgress) -> None:
        """Tell a watcher how far all its watches are."""
        stream = self._streams.get(message.watcher.actor_urn)
        if stream is not None:
            stream.request_progress()

    @handles(RemoveWatcher)
    def remove_watcher(self, message: RemoveWatcher) -> None:
        """Close all watches of one watcher."""
        self._drop(message.watcher.actor_urn)

    @handles(Terminated)
    def _terminated(self, message: Terminated) -> None:
        self._drop(message.actor_urn)

    def _drop(self, actor_urn: str) -> None:
        stream = self._streams.pop(actor_urn, None)
        if stream is not None:
            stream.close()
