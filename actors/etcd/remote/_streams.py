"""The watches of one watcher on a real etcd: one gRPC stream, opened again when it breaks.

A watch that had been told of everything up to a revision goes on right after it, on whichever
member answers; the watcher sees no gap and no repetition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio

from actors.etcd import _errors as errors
from actors.etcd.remote._endpoints import Endpoints
from actors.etcd.remote._translate import watch_create, watch_events
from actors.etcd.server._stubs import rpc
from actors.kernel import Future, MailboxFull
from protocol.etcd import Watch, WatchResponse
from protocol.message import Address

__all__ = ["RemoteWatches"]

PATH = "/etcdserverpb.Watch/Watch"
RETRY_S = 0.05


class _Watch:
    """One watch: the number it has on the stream, and the next revision to hear of."""

    __slots__ = ("canceling", "created", "next", "number", "request", "seq")

    def __init__(self, request: Watch, number: int, created: Future[WatchResponse]) -> None:
        self.request = request
        self.number = number
        self.next = request.start_revision
        self.seq = 1
        self.created: Future[WatchResponse] | None = created
        self.canceling = False


class RemoteWatches:
    """All watches of one address. Lives on the loop's thread, used by `RemoteEtcd` alone."""

    def __init__(self, address: Address, endpoints: Endpoints, pause: Callable[[float], Awaitable[Any]]) -> None:
        self._address = address
        self._endpoints = endpoints
        self._pause = pause
        self._watches: dict[int, _Watch] = {}  # by number
        self._numbers: dict[int, int] = {}  # the watcher's id -> number
        self._last_number = 0
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self._progress_wanted = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def open(self, request: Watch) -> Future[WatchResponse]:
        """Open a watch; the future is its first response."""
        created: Future[WatchResponse] = Future()
        if request.watch_id in self._numbers:
            reason = errors.DUPLICATE_WATCH_ID
            created.resolve(WatchResponse(-1, 0, created=True, canceled=True, cancel_reason=reason))
            return created
        self._last_number += 1
        watch = _Watch(request, self._last_number, created)
        self._watches[watch.number] = watch
        self._numbers[request.watch_id] = watch.number
        self._outgoing.put_nowait(watch_create(request, watch.number, watch.next))
        return created

    def cancel(self, watch_id: int) -> None:
        """Close one watch; the watcher is told when it is closed."""
        number = self._numbers.get(watch_id)
        if number is not None:
            self._watches[number].canceling = True
            cancel = rpc.WatchCancelRequest(watch_id=number)
            self._outgoing.put_nowait(rpc.WatchRequest(cancel_request=cancel))

    def request_progress(self) -> None:
        """Have the watcher told how far all its watches are."""
        if self._watches:
            self._progress_wanted = True
            self._outgoing.put_nowait(_progress())

    def close(self) -> None:
        """End all watches without telling anybody."""
        self._task.cancel()

    # The stream

    async def _run(self) -> None:
        while True:
            channel = self._endpoints.channel
            call = channel.stream_stream(PATH, rpc.WatchRequest.SerializeToString, rpc.WatchResponse.FromString)()
            sender = asyncio.get_running_loop().create_task(self._send(call))
            try:
                async for response in call:
                    await self._receive(response)
            except grpc.aio.AioRpcError:
                pass  # the member is gone; the watches go on with another one
            finally:
                sender.cancel()
                call.cancel()
            self._endpoints.next_member(channel)
            await self._pause(RETRY_S)
            self._start_over()

    async def _send(self, call: Any) -> None:
        while True:
            await call.write(await self._outgoing.get())

    def _start_over(self) -> None:
        """Queue what a new stream must be told first."""
        self._outgoing = asyncio.Queue()
        for watch in list(self._watches.values()):
            if watch.canceling:
                self._forget(watch)
                self._address.tell(WatchResponse(watch.request.watch_id, 0, canceled=True))
            else:
                request = watch_create(watch.request, watch.number, watch.next)
                self._outgoing.put_nowait(request)
        if self._progress_wanted and self._watches:
            self._outgoing.put_nowait(_progress())

    def _forget(self, watch: _Watch) -> None:
        del self._watches[watch.number]
        self._numbers.pop(watch.request.watch_id, None)

    async def _receive(self, response: Any) -> None:
        revision = response.header.revision
        if response.watch_id == -1 and not response.created:
            self._progress_wanted = False
            await self._tell(WatchResponse(-1, revision))
            return
        watch = self._watches.get(response.watch_id)
        if response.created:
            await self._opened(response, watch)
        elif watch is not None:
            await self._told(response, watch)

    async def _opened(self, response: Any, watch: _Watch | None) -> None:
        revision = response.header.revision
        if watch is None:
            # Refused: the reply does not say which, but creations are answered in order.
            watch = next((w for w in self._watches.values() if w.created is not None), None)
            if watch is None:
                return
        waiting, watch.created = watch.created, None
        if response.canceled:
            self._forget(watch)
        elif not watch.next:
            watch.next = revision + 1
        if waiting is not None:
            watch_id = -1 if response.canceled else watch.request.watch_id
            waiting.resolve(
                WatchResponse(
                    watch_id,
                    revision,
                    created=True,
                    canceled=response.canceled,
                    cancel_reason=response.cancel_reason,
                )
            )

    async def _told(self, response: Any, watch: _Watch) -> None:
        revision = response.header.revision
        events = watch_events(response)
        if response.canceled:
            self._forget(watch)
        elif events:
            watch.next = max(watch.next, events[-1].kv.mod_revision + 1)
        elif revision:
            watch.next = max(watch.next, revision + 1)
        seq = watch.seq
        watch.seq += 1
        await self._tell(
            WatchResponse(
                watch.request.watch_id,
                revision,
                events,
                canceled=response.canceled,
                compact_revision=response.compact_revision,
                cancel_reason=response.cancel_reason,
                fragment=response.fragment,
                seq=seq,
            )
        )

    async def _tell(self, response: WatchResponse) -> None:
        """Tell the watcher; while its mailbox is full nothing more is read from the stream, so
        that the member, too, holds back."""
        while True:
            try:
                self._address.tell(response)
                return
            except MailboxFull:
                await self._pause(0.01)


def _progress() -> Any:
    return rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
