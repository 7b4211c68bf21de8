"""The API client's other transport: the same messages, spoken as HTTPS to any API server.

Owns the translation between `ApiRequest` and the HTTP form of the Kubernetes API. Who asks is
decided by the kubeconfig's credentials, not by the request's `user`. A component that is given this
actor's address in place of the API server's notices no difference.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from actors.client._http1 import Connection, Pool, Response
from actors.client._kubeconfig import KubeConfig, load_kubeconfig
from actors.kernel import Actor, Future, handles
from protocol import status
from protocol.api import (
    ApiRequest,
    CancelWatch,
    Hold,
    StatusError,
    WatchClosed,
    WatchEvent,
    WatchEvents,
)

__all__ = ["HttpTransport", "request_target"]

REQUEST_TIMEOUT_S = 60.0
CONCURRENT_MAX = 64
METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}


def request_target(request: ApiRequest) -> str:
    """Path and query of a request."""
    what = request.resource
    parts = ["apis", what.group, what.version] if what.group else ["api", what.version]
    if request.namespace:
        parts += ["namespaces", request.namespace]
    parts.append(what.resource)
    if request.name:
        parts.append(request.name)
    if request.subresource:
        parts += request.subresource.split("/")
    options = dict(request.options)
    if request.verb == "watch":
        options["watch"] = "1"
    path = "/" + "/".join(quote(part, safe="*") for part in parts)
    return f"{path}?{urlencode(options)}" if options else path


class HttpTransport(Actor):
    """Sends requests to the API server of a kubeconfig. Lives in a `LiveSystem` only."""

    def __init__(self, config: KubeConfig) -> None:
        super().__init__()
        self.config = config
        self.pool = Pool(config.host, config.port, config.tls, config.server_name)
        self.places = asyncio.Semaphore(CONCURRENT_MAX)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.watches: dict[tuple[str, int], asyncio.Task[Any]] = {}

    @classmethod
    def from_kubeconfig(cls, path: str | Path, context: str = "") -> HttpTransport:
        """Raises `ValueError` for what is no kubeconfig."""
        return cls(load_kubeconfig(path, context))

    async def on_stop(self) -> None:  # type: ignore[override]
        """End all exchanges, and wait until they have: a task that the loop forgets complains."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            ended: Future[None] = Future()
            asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: ended.resolve(None))
            await ended
        self.pool.close()

    # --- messages -------------------------------------------------------------------------------

    @handles(ApiRequest)
    async def request(self, message: ApiRequest) -> Any:
        """One request; raises `StatusError` at the asker."""
        if message.verb == "watch":
            standing: Future[None] = Future()
            assert message.watcher is not None
            key = (message.watcher.actor_urn, message.watch_id)
            self.watches[key] = self._start(self._watch(message, standing, key))
            return await standing
        answered: Future[Any] = Future()
        self._start(self._exchange(message), answered)
        return await answered

    @handles(CancelWatch)
    def cancel_watch(self, message: CancelWatch) -> None:
        task = self.watches.pop((message.watcher.actor_urn, message.watch_id), None)
        if task is not None:
            task.cancel()

    @handles(Hold)
    async def hold(self, _: Hold) -> None:
        """Never answered; each watch tells of its own end."""
        await Future()

    def _start(
        self, work: Coroutine[Any, Any, Any], answer: Future[Any] | None = None
    ) -> asyncio.Task[Any]:
        """Run asyncio code; its outcome becomes that of the kernel's future."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)

        def done(ended: asyncio.Task[Any]) -> None:
            self.tasks.discard(ended)
            if ended.cancelled():
                if answer is not None:
                    answer.fail(status.service_unavailable("the transport has stopped"))
                return
            error = ended.exception()
            if answer is None:
                return
            if error is not None:
                answer.fail(error)
            else:
                answer.resolve(ended.result())

        task.add_done_callback(done)
        return task

    # --- one exchange ---------------------------------------------------------------------------

    async def _exchange(self, message: ApiRequest) -> Any:
        async with self.places:
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    return await self._try_exchange(message)
            except TimeoutError:
                raise status.timeout("the API server did not answer") from None
            except (OSError, EOFError, ValueError) as error:
                raise self._unreachable(error) from None

    async def _try_exchange(self, message: ApiRequest) -> Any:
        """A connection that idled may have been closed by the server meanwhile: what fails on one
        before any answer came is sent again on a new one, if sending twice does no harm."""
        idle = self.pool.take_idle()
        if idle is not None:
            try:
                return await self._converse(idle, message)
            except (OSError, EOFError):
                idle.close()
                if message.verb not in ("get", "list"):
                    raise
        return await self._converse(await self.pool.open(), message)

    async def _converse(self, connection: Connection, message: ApiRequest) -> Any:
        complete = False
        try:
            response = await self._send(connection, message)
            body = b"".join([piece async for piece in connection.body(response)])
            complete = response.keeps_alive
        finally:
            if complete:
                self.pool.give_back(connection)
            else:
                connection.close()
        if response.status >= 400:
            raise _failure(response, body)
        return orjson.loads(body) if body else None

    async def _send(self, connection: Connection, message: ApiRequest) -> Response:
        headers = {
            "Host": f"{self.config.host}:{self.config.port}",
            "User-Agent": message.user_agent,
            "Accept": "application/json",
        }
        if self.config.authorization:
            headers["Authorization"] = self.config.authorization
        body = b""
        if message.body is not None:
            body = orjson.dumps(message.body)
            headers["Content-Type"] = message.patch_type or "application/json"
        target = self.config.prefix + request_target(message)
        return await connection.send(METHODS[message.verb], target, headers, body)

    def _unreachable(self, error: BaseException) -> StatusError:
        where = f"{self.config.host}:{self.config.port}"
        return status.service_unavailable(f"{where} cannot be reached: {error}")

    # --- watches --------------------------------------------------------------------------------

    async def _watch(
        self, message: ApiRequest, standing: Future[None], key: tuple[str, int]
    ) -> None:
        """Read one watch to its end, telling the watcher what each piece of it brings."""
        assert message.watcher is not None
        tell: Callable[[Any], None] = message.watcher.tell
        connection: Connection | None = None
        reason = "the server ended it"
        try:
            connection = await self.pool.open()
            response = await self._send(connection, message)
            if response.status >= 400:
                body = b"".join([piece async for piece in connection.body(response)])
                standing.fail(_failure(response, body))
                return
            standing.resolve(None)
            seq, rest = 0, b""
            async for piece in connection.body(response):
                *lines, rest = (rest + piece).split(b"\n")
                events = tuple(_event(line) for line in lines if line.strip())
                if events:
                    tell(WatchEvents(message.watch_id, seq, events))
                    seq += 1
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            reason = str(error) or type(error).__name__
            if not standing.done:
                standing.fail(self._unreachable(error))
        finally:
            if connection is not None:
                connection.close()
            if self.watches.pop(key, None) is not None and standing.done:
                tell(WatchClosed(message.watch_id, reason))


def _event(line: bytes) -> WatchEvent:
    event = orjson.loads(line)
    return WatchEvent(event["type"], event["object"])


def _failure(response: Response, body: bytes) -> StatusError:
    """The Status that the server answered, or what client-go makes of an answer that is none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status":
        error = StatusError(found)
    elif response.status == 404:
        error = status.page_not_found()
    else:
        text = body[:2048].decode("utf-8", "replace").strip()
        error = status.failure(response.status, "", text or f"HTTP status {response.status}")
    after = response.headers.get("retry-after", "")
    if after.isdigit():
        details = {"retryAfterSeconds": int(after), **(error.status.get("details") or {})}
        error.status = {**error.status, "details": details}
    return error
