"""Events: what a component tells people about an object.

Owns both forms that Kubernetes has. `event` writes core/v1 events through the correlator of
client-go's `tools/record`: equal events become one with a count, more than ten similar ones within
ten minutes become one "(combined from similar events)", and an object that is talked of too much is
not talked of for a while. `regarding` writes events.k8s.io/v1 events, as the scheduler and
kube-proxy do, where repetition becomes a series.

Recording never waits and never fails: events are sent in the background, in order, and what cannot
be written is dropped with a line in the log.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

from actors.client._client import STRATEGIC_PATCH, Client
from actors.kernel import ActorSystem
from protocol.api import StatusError
from protocol.objects import Object, metadata

__all__ = ["EventRecorder", "reference"]

NORMAL = "Normal"
WARNING = "Warning"

QUEUE_MAX = 1000
CACHE_MAX = 4096
SIMILAR_MAX = 10
SIMILAR_INTERVAL_S = 600.0
SPAM_BURST = 25
SPAM_REFILL_PER_S = 1.0 / 300.0
SERIES_FINISH_S = 360.0
SEND_ATTEMPTS = 4
BUSY = 0.75
"""The load of the system from which on events give way to what they tell of ..."""
BUSY_PER_S = 100.0
"""... all recorders of the system together may then send so many."""
BUSY_BURST = 50
GIVE_WAY_S = 0.5
COMBINED = "(combined from similar events): "
NOTE_MAX = 1024


def reference(obj: Object, field_path: str = "") -> Object:
    """An ObjectReference to `obj`, which carries `apiVersion` and `kind`."""
    meta = metadata(obj)
    found = {
        "kind": obj.get("kind", ""),
        "namespace": meta.get("namespace", ""),
        "name": meta.get("name", ""),
        "uid": meta.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": meta.get("resourceVersion", ""),
        "fieldPath": field_path,
    }
    return {k: v for k, v in found.items() if v}


class _Lru(OrderedDict[Any, Any]):
    """A dict that forgets what was least recently written when it grows too large."""

    def keep(self, key: Any, value: Any) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > CACHE_MAX:
            self.popitem(last=False)


class _Pace:
    """How many events a system's recorders may send while it is busy: a bucket that they share."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = ref(system)
        self._tokens = float(BUSY_BURST)
        self._at = system.clock.monotonic()

    @classmethod
    def of(cls, system: ActorSystem) -> _Pace:
        pace = _PACES.get(system)
        if pace is None:
            pace = _PACES[system] = cls(system)
        return pace

    def allows(self) -> bool:
        """Whether an event may be sent now."""
        system = self._system()
        if system is None or system.load() < BUSY:
            return True
        now = system.clock.monotonic()
        self._tokens = min(self._tokens + (now - self._at) * BUSY_PER_S, float(BUSY_BURST))
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


_PACES: WeakKeyDictionary[ActorSystem, _Pace] = WeakKeyDictionary()


class EventRecorder:
    """Records events in the name of `component`; the coroutines run in the client's actor."""

    def __init__(self, client: Client, component: str, host: str = "", *, queue_max: int = QUEUE_MAX) -> None:
        self.client = client
        self.queue_max = queue_max
        self.actor = client.actor
        self.component = component
        self.host = host
        self._queue: deque[Callable[[], Any]] = deque()
        self._sending = False
        self._pace = _Pace.of(self.actor.system)
        self._last_ns = 0
        self._similar = _Lru()  # aggregate key -> (set of messages, when last seen)
        self._sent = _Lru()  # full key -> the event as last written
        self._spam = _Lru()  # object -> (tokens, at)
        self._series = _Lru()  # isomorphism key -> [event, last seen]

    # --- core/v1 --------------------------------------------------------------------------------

    def event(
        self,
        obj: Object,
        event_type: str,
        reason: str,
        message: str,
        *,
        field_path: str = "",
        annotations: dict[str, str] | None = None,
    ) -> None:
        """Record an event about `obj` (an object, or an ObjectReference as `reference` makes)."""
        about = obj if "metadata" not in obj else reference(obj, field_path)
        now = self.actor.clock.rfc3339()
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": self._new_metadata(about, annotations),
            "involvedObject": about,
            "reason": reason,
            "message": message[:NOTE_MAX],
            "source": {"component": self.component, **({"host": self.host} if self.host else {})},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": event_type,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        }
        self._enqueue(lambda: self._record(event))

    async def _record(self, event: Object) -> None:
        """Correlate, then create or patch."""
        event, key = self._aggregate(event)
        written = self._sent.get(key)
        if self._is_spam(event):
            return
        if written is not None:
            changed = {
                "count": written.get("count", 1) + 1,
                "lastTimestamp": event["lastTimestamp"],
                "message": event["message"],
            }
            meta = written["metadata"]
            try:
                answer = await self.client.patch(
                    "events",
                    meta["name"],
                    meta["namespace"],
                    changed,
                    patch_type=STRATEGIC_PATCH,
                )
                self._sent.keep(key, answer)
                return
            except StatusError as error:
                if error.code != 404:
                    raise
            # Events live an hour: it is gone, so tell it anew, with the count so far.
            event = {**event, "count": changed["count"]}
        answer = await self.client.create("events", event, event["metadata"]["namespace"])
        self._sent.keep(key, answer)

    def _aggregate(self, event: Object) -> tuple[Object, tuple[Any, ...]]:
        """The event to write and the key under which repetitions are counted."""
        about = event["involvedObject"]
        similar_key = (_identity(about), event["type"], event["reason"])
        now = self.actor.clock.monotonic()
        messages, seen = self._similar.get(similar_key, ({}, now))
        if now - seen > SIMILAR_INTERVAL_S:
            messages = {}
        messages[event["message"]] = None
        self._similar.keep(similar_key, (messages, now))
        if len(messages) < SIMILAR_MAX:
            return event, (*similar_key, event["message"], about.get("fieldPath", ""))
        messages.pop(next(iter(messages)))
        return {**event, "message": COMBINED + event["message"]}, similar_key

    def _is_spam(self, event: Object) -> bool:
        """Whether the object's bucket of 25 events, refilled every five minutes, is empty."""
        about = _identity(event["involvedObject"])
        now = self.actor.clock.monotonic()
        tokens, at = self._spam.get(about, (float(SPAM_BURST), now))
        tokens = min(float(SPAM_BURST), tokens + (now - at) * SPAM_REFILL_PER_S)
        spam = tokens < 1.0
        self._spam.keep(about, (tokens if spam else tokens - 1.0, now))
        return spam

    # --- events.k8s.io/v1 -----------------------------------------------------------------------

    def regarding(
        self,
        obj: Object,
        event_type: str,
        reason: str,
        action: str,
        note: str,
        *,
        related: Object | None = None,
        instance: str = "",
    ) -> None:
        """Record an events.k8s.io/v1 event about `obj`; `action` says what was done or failed."""
        about = reference(obj)
        event: Object = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": self._new_metadata(about, None),
            "eventTime": self.actor.clock.rfc3339_micro(),
            "reportingController": self.component,
            "reportingInstance": instance or f"{self.component}-{self.actor.host or 'local'}",
            "action": action,
            "reason": reason,
            "regarding": about,
            "note": note[:NOTE_MAX],
            "type": event_type,
        }
        if related is not None:
            event["related"] = reference(related)
        self._enqueue(lambda: self._record_series(event))

    async def _record_series(self, event: Object) -> None:
        about = event["regarding"]
        key = (_identity(about), event["type"], event["reason"], event["action"])
        now = self.actor.clock.monotonic()
        entry = self._series.get(key)
        if entry is not None and now - entry[1] <= SERIES_FINISH_S:
            known: Object = entry[0]
            count = (known.get("series") or {}).get("count", 1) + 1
            series = {"count": count, "lastObservedTime": event["eventTime"]}
            self._series.keep(key, [{**known, "series": series}, now])
            if count > 2:
                return  # upstream too writes the first repetition and then only from time to time
            meta = known["metadata"]
            try:
                await self.client.patch(
                    "events.events.k8s.io",
                    meta["name"],
                    meta["namespace"],
                    {"series": series},
                    patch_type=STRATEGIC_PATCH,
                )
                return
            except StatusError as error:
                if error.code != 404:
                    raise
        self._series.keep(key, [event, now])
        await self.client.create("events.events.k8s.io", event, event["metadata"]["namespace"])

    # --- sending --------------------------------------------------------------------------------

    def _new_metadata(self, about: Object, annotations: dict[str, str] | None) -> Object:
        # Nanoseconds make the name; the clock gives less, so chance fills in and none is used twice.
        now_ns = int(self.actor.clock.now() * 1e6) * 1000 + self.actor.random.randrange(1000)
        self._last_ns = max(now_ns, self._last_ns + 1)
        meta: Object = {
            "name": f"{about['name']}.{self._last_ns:x}",
            "namespace": about.get("namespace") or "default",
        }
        if annotations:
            meta["annotations"] = annotations
        return meta

    def _enqueue(self, send: Callable[[], Any]) -> None:
        if len(self._queue) >= self.queue_max:
            self.actor.log.warning("event_dropped", component=self.component, why="too many")
            return
        self._queue.append(send)
        if not self._sending:
            self._sending = True
            self.actor.background(self._drain())

    async def _drain(self) -> None:
        try:
            while self._queue:
                while not self._pace.allows():
                    await self.actor.sleep(GIVE_WAY_S)
                await self._send(self._queue.popleft())
        finally:
            self._sending = False

    async def _send(self, send: Callable[[], Any]) -> None:
        for attempt in range(SEND_ATTEMPTS):
            try:
                await send()
                return
            except StatusError as error:
                if error.code not in (429, 503, 504) or attempt == SEND_ATTEMPTS - 1:
                    self.actor.log.info("event_refused", error=error.message)
                    return
            await self.actor.sleep(0.5 * 2**attempt)

    def statistics(self) -> dict[str, int]:
        """How many events wait to be sent."""
        return {"queued": len(self._queue)}


def _identity(about: Object) -> tuple[str, ...]:
    """What makes a reference the same object, whatever its version."""
    return (
        about.get("kind", ""),
        about.get("namespace", ""),
        about.get("name", ""),
        about.get("uid", ""),
        about.get("apiVersion", ""),
    )


