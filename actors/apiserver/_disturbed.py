"""The API server while somebody makes it fail: answers it does not give, streams that break.

Owns what a fault does to a request; which requests, and for how long, others say
(`protocol.conditions`). Every failure is one that a real server has been seen to give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol import status
from protocol.api import StatusError, UserInfo
from protocol.conditions import ApiFault, BreakWatches, matches
from protocol.etcd import Compact, EtcdError

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["break_watches", "forget_history", "strike"]

WRITES = ("update", "patch", "delete")


async def strike(
    server: ApiServer, faults: tuple[ApiFault, ...], user: UserInfo, verb: str, group: str, resource: str, name: str
) -> bool:
    """Let faults have their way with a request; answers whether it is to be carried out and its
    answer lost. Raises: the `StatusError` that it fails with."""
    for fault in faults:
        if not fault.concerns(user.name, verb, resource) or server.random.random() >= fault.rate:
            continue
        if fault.delay_s:
            await server.sleep(fault.delay_s)
        if fault.code == 409 and verb not in WRITES:
            continue
        if fault.code:
            if fault.after and verb != "watch":
                return True
            raise _error(fault.code, group, resource, name, verb)
    return False


def _error(code: int, group: str, resource: str, name: str, verb: str) -> StatusError:
    if code == 429:
        return status.too_many_requests("Too many requests, please try again later.", 1)
    if code == 409:
        return status.conflict(
            group, resource, name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    if code == 410:
        return status.expired("The resourceVersion for the provided list is too old.")
    if code == 503:
        return status.service_unavailable("the server is currently unable to handle the request")
    if code == 504:
        return status.server_timeout(group, resource, verb, 1)
    return status.internal_error("etcdserver: request timed out")


def break_watches(server: ApiServer, message: BreakWatches) -> int:
    """End open watches without a word; answers how many."""
    watches = server.core.watches
    broken = 0
    for watch in list(watches.open.values()):
        meant = matches(message.resources, watch.cache.resource) and matches(message.users, watch.user)
        if meant and server.random.random() < message.rate:
            watches.close(watch, "connection reset")
            broken += 1
    return broken


async def forget_history(server: ApiServer) -> int:
    """Compact etcd and the watch cache up to now."""
    store = server.core.store
    revision = store.revision
    try:
        await server.ask(store.etcd, Compact(revision), 30.0)
    except EtcdError as error:
        if "compacted" not in error.message:  # nothing was written since the last time
            raise
    store.begin_history()
    return revision
