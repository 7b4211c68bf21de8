"""The watch verb: where a watch starts, what it is told first, and when it ends.

Owns resourceVersion, sendInitialEvents, bookmarks and time-outs of watches. Who is told of which
change afterwards is `_watch`'s.

https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch
"""

from __future__ import annotations

from functools import partial
from typing import Any

from actors.apiserver._converting import ConvertingWatch
from actors.apiserver._core import Core
from actors.apiserver._messages import WatchExpired
from actors.apiserver._options import integer, resource_version
from actors.apiserver._read import check_list_options
from actors.apiserver._request import Request, truthy
from actors.apiserver._resources import Served
from actors.apiserver._selection import selection
from actors.apiserver._watch import Renderer, Watch
from protocol import status
from protocol.message import Address

__all__ = ["cancel_watch", "check_watch", "open_watch"]

INITIAL_END = {"k8s.io/initial-events-end": "true"}


def check_watch(request: Request) -> int:
    """Refuse options that make no watch. Answers the version to start from (-1: none was given)."""
    options = request.options
    selection(request)
    check_list_options(options, True)
    text = options.get("resourceVersion", "")
    if not text:
        return -1
    try:
        return resource_version(text)
    except ValueError as error:
        raise status.unknown_error(f'resourceVersion: Invalid value: "{text}": {error}') from None


async def open_watch(
    core: Core, request: Request, address: Address, watch_id: int, renderer: Renderer, serial: int
) -> Watch:
    """Open a watch; its first events are told at once. Raises `StatusError` for wrong options."""
    start = check_watch(request)
    options = request.options
    served: Served = request.served
    if start <= 0:
        await core.store.fresh()
    kind = served.kind
    bookmarks = truthy(options.get("allowWatchBookmarks"))
    make: Any = Watch
    if served.webhook is not None:
        make = partial(ConvertingWatch, core, served)
    watch: Watch = make(
        serial, address, watch_id, served.cache, selection(request), renderer, bookmarks, (kind.kind, kind.api_version)
    )
    watch.user = request.user.name
    core.watches.add(watch)
    watch.timer = core.actor.after(_timeout(core, options), WatchExpired(serial))
    initial = options.get("sendInitialEvents")
    wants_state = truthy(initial) if initial is not None else start <= 0
    if wants_state:
        _send_state(core, watch, initial is not None and bookmarks)
    elif start > 0 and start < served.cache.floor:
        _refuse_old(core, watch, start)
    else:
        _send_history(core, watch, max(start, 0) if start >= 0 else core.store.revision)
    return watch


def _timeout(core: Core, options: dict[str, str]) -> float:
    if options.get("timeoutSeconds"):
        seconds = integer(options["timeoutSeconds"])
        if seconds > 0:
            return float(seconds)
    return core.config.min_watch_timeout * (1.0 + core.random.random())


def _send_state(core: Core, watch: Watch, mark_end: bool) -> None:
    watch.since = core.store.revision
    watch.begin()
    if mark_end:
        watch.bookmark(core.store.revision, INITIAL_END)


def _send_history(core: Core, watch: Watch, start: int) -> None:
    watch.since = max(start, core.store.revision)
    watch.replay(watch.cache.since(start))
    if start > core.store.revision:
        watch.since = start


def _refuse_old(core: Core, watch: Watch, start: int) -> None:
    error = status.expired(f"too old resource version: {start} ({watch.cache.floor})")
    watch.send([watch.renderer.plain("ERROR", error.status)])
    core.watches.close(watch, "expired")


def cancel_watch(core: Core, address: Address, watch_id: int) -> None:
    """The client wants no more of it."""
    watch = core.watches.find(address, watch_id)
    if watch is not None:
        core.watches.remove(watch)
