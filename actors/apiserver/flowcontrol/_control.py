"""The gate before a request is authorised: classify it, seat it, queue it, or send it away.

Owns the table of flows by user and request, the levels, and what is counted of them. What the
configuration objects mean is in the modules beside this one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from actors.apiserver._authz import Attributes
from actors.apiserver.flowcontrol._levels import Level, adjust, share_out
from actors.apiserver.flowcontrol._match import matches, precedence
from actors.apiserver.flowcontrol._queues import Waiting
from actors.apiserver.flowcontrol._retry import RetryAfter
from protocol.api import UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core

__all__ = ["Flow", "FlowControl", "Rejected"]

Object = dict[str, Any]
GROUP = "flowcontrol.apiserver.k8s.io"
_BOUND = 4096
_ADJUST_S = 10.0
_OBJECTS_PER_SEAT, _MOST_SEATS, _MOST_SHARE = 100, 10, 0.15
_UNTRACKED = frozenset(("exec", "attach", "portforward", "proxy", "log"))


class Rejected(Exception):
    """A request that must not go on now: 429. `flow` says whose it was."""

    def __init__(self, flow: Flow, retry_after_s: int, reason: str) -> None:
        super().__init__(reason)
        self.flow = flow
        self.retry_after_s = retry_after_s
        self.reason = reason


class Flow:
    """The requests of one FlowSchema: its level, its counters, and the headers of its answers."""

    __slots__ = (
        "by", "dispatched", "executing", "exempt", "headers", "level", "name", "rejected", "seats", "wait_s", "waited",
        "waiting",
    )  # fmt: skip

    def __init__(self, name: str, uid: str, level: Level, by: str) -> None:
        self.name = name
        self.level = level
        self.by = by
        self.exempt = level.exempt
        self.headers = (
            f"X-Kubernetes-Pf-Flowschema-Uid: {uid}\r\nX-Kubernetes-Pf-Prioritylevel-Uid: {level.uid}\r\n".encode()
        )
        self.dispatched = self.executing = self.waiting = self.seats = self.waited = 0
        self.wait_s = 0.0
        self.rejected: dict[str, int] = {}


class FlowControl:
    """The gate of one API server. `total` seats are shared by all levels."""

    def __init__(self, core: Core, total: int) -> None:
        self.core = core
        self.total = total
        self.levels: dict[str, Level] = {}
        self.flows: dict[str, Flow] = {}
        self.fair_fraction = 0.0
        self.retry = RetryAfter()
        self._schemas: list[tuple[Object, Flow]] = []
        self._known: dict[tuple[Any, ...], Any] = {}
        self._seen = -1
        self._caches: tuple[Any, Any] | None = None
        self._kept = False

    def forget(self) -> None:
        """The configuration may have changed altogether."""
        self._seen, self._caches = -1, None

    # --- configuration ----------------------------------------------------------------------

    def _refresh(self) -> tuple[Any, Any]:
        """Read the objects again."""
        store = self.core.store
        caches = self._caches = store.cache(GROUP, "flowschemas"), store.cache(GROUP, "prioritylevelconfigurations")
        self._seen = caches[0].changes + caches[1].changes
        self._known = {}
        found = list(self.core.list(GROUP, "prioritylevelconfigurations"))
        nominal = share_out(found, self.total)
        for level in self.levels.values():
            level.gone = True
        for obj in found:
            name = obj["metadata"]["name"]
            level = self.levels.setdefault(name, Level(name))
            level.gone = False
            level.configure(obj, nominal[name], self.total)
        self._schemas = []
        for obj in sorted(self.core.list(GROUP, "flowschemas"), key=precedence):
            spec = obj.get("spec") or {}
            target = self.levels.get((spec.get("priorityLevelConfiguration") or {}).get("name", ""))
            if target is not None and not target.gone:
                self._schemas.append((obj, self._flow(obj, target)))
        for name in [name for name, level in self.levels.items() if level.gone and not level.executing]:
            if self.levels[name].queues is None or not self.levels[name].queues.waiting:  # type: ignore[union-attr]
                del self.levels[name]
        if not self._kept:
            self._kept = True
            self.core.actor.background(self._keep())
        return caches

    def _flow(self, obj: Object, level: Level) -> Flow:
        name = obj["metadata"]["name"]
        by = ((obj.get("spec") or {}).get("distinguisherMethod") or {}).get("type", "")
        made = Flow(name, obj["metadata"].get("uid", ""), level, by)
        before = self.flows.get(name)
        if before is not None and before.level is level:
            before.headers, before.by, before.exempt = made.headers, by, level.exempt
            return before
        self.flows[name] = made
        return made

    async def _keep(self) -> None:
        """Lend seats by demand, and keep the default objects as they should be, as long as the server lives."""
        from actors.apiserver.flowcontrol._defaults import keep_defaults

        while True:
            await self.core.actor.sleep(_ADJUST_S)
            self.fair_fraction = adjust([level for level in self.levels.values() if not level.gone], self.total)
            for level in self.levels.values():
                self._dispatch(level)
            await keep_defaults(self.core)

    # --- requests ---------------------------------------------------------------------------

    def classify(self, user: UserInfo, wanted: Attributes, trail: Any) -> bool:
        """Set `trail.flow` to whose request it is; answers whether it needs a seat. What runs long (exec,
        logs, proxies) has no flow."""
        caches = self._caches
        if caches is None or caches[0].changes + caches[1].changes != self._seen:
            caches = self._refresh()
        key = (user.name, user.groups, *wanted[:5], wanted.path)
        flow = self._known.get(key, False)
        if flow is False:
            flow = self._find(key, user, wanted)
        if flow is None:
            return False
        trail.flow = flow
        if flow.exempt:
            flow.dispatched += 1
            return False
        return True

    def _find(self, key: tuple[Any, ...], user: UserInfo, wanted: Attributes) -> Flow | None:
        found: Flow | None = None
        if wanted.subresource not in _UNTRACKED:
            for schema, flow in self._schemas:
                if matches(schema, user, wanted):
                    found = flow
                    break
        if len(self._known) >= _BOUND:
            self._known = {}
        self._known[key] = found
        return found

    def width(self, flow: Flow, wanted: Attributes, limit: int) -> int:
        """The seats of a list: by the number of objects that are looked at. `limit`: of the request, 0 for none."""
        stored = len(self.core.store.cache(wanted.group, wanted.resource).all.entries)
        objects = min(2 * limit, stored + limit) if 0 < limit < stored else stored
        most = min(_MOST_SEATS, max(1, math.ceil(flow.level.nominal * _MOST_SHARE)))
        return min(max(1, math.ceil(objects / _OBJECTS_PER_SEAT)), most)

    def enter(self, flow: Flow, seats: int) -> bool:
        """Take seats when there are some."""
        level = flow.level
        if not level.room(seats):
            return False
        self._begin(flow, seats)
        return True

    def _begin(self, flow: Flow, seats: int) -> None:
        level = flow.level
        level.used += seats
        level.executing += 1
        flow.executing += 1
        flow.seats += seats
        flow.dispatched += 1
        if level.used > level.peak:
            level.peak = level.used

    async def wait(self, flow: Flow, user: UserInfo, wanted: Attributes, seats: int, patience_s: float) -> Waiting:
        """Queue until there are seats; they are taken then. Raises `Rejected`."""
        from actors.kernel import Future

        level = flow.level
        if level.queues is None:
            raise self._reject(flow, "concurrency-limit")
        by = user.name if flow.by == "ByUser" else wanted.namespace if flow.by == "ByNamespace" else ""
        future: Any = Future()
        now = self.core.clock.monotonic()
        one = level.queues.add(flow, f"{flow.name}\0{by}", future, seats, now)
        if one is None:
            raise self._reject(flow, "queue-full")
        flow.waiting += 1
        level.note()
        timer = self.core.actor.system.after(patience_s, lambda: self._late(level, one))
        going = False
        try:
            going = await future
        finally:
            timer.cancel()
            flow.waiting -= 1
            if not future.done:  # the request is gone
                level.queues.remove(one)
            flow.waited += 1
            flow.wait_s += self.core.clock.monotonic() - now
        if not going:
            raise self._reject(flow, "time-out")
        one.since = self.core.clock.monotonic()
        return one

    def _late(self, level: Level, one: Waiting) -> None:
        if not one.future.done and level.queues is not None:
            level.queues.remove(one)
            one.future.resolve(False)

    def leave(self, flow: Flow, seats: int, waited: Waiting | None) -> None:
        """A request has ended: its seats are free."""
        level = flow.level
        level.used -= seats
        level.executing -= 1
        flow.executing -= 1
        flow.seats -= seats
        if level.queues is not None:
            if waited is not None:
                level.queues.served(waited, self.core.clock.monotonic() - waited.since)
            if level.queues.waiting:
                self._dispatch(level)

    def _dispatch(self, level: Level) -> None:
        while True:
            one = level.ready()
            if one is None or level.queues is None:
                return
            level.queues.take(one)
            self._begin(one.flow, one.seats)
            one.future.resolve(True)

    def _reject(self, flow: Flow, reason: str) -> Rejected:
        flow.rejected[reason] = flow.rejected.get(reason, 0) + 1
        after = self.retry.dropped(flow.level.name, int(self.core.clock.now()))
        return Rejected(flow, after, reason)
