"""Part of the kubelet: what workers want to know of the API, and what they tell people.

Owns what was read of ConfigMaps, Secrets, Services and tokens, for how long it holds, and the rate of events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from actors.kernel import Future, handles
from actors.kubelet._devicing import Devicing
from actors.kubelet._messages import (
    GetObject,
    GetServices,
    GetToken,
    PodEvent,
)
from protocol.api import StatusError
from protocol.message import Message

__all__ = ["Lookups"]

Object = dict[str, Any]
MAX_QUEUED_EVENTS = 1000
MAX_CACHED = 1000
EVENTS_REST_S = 2.0
EVENTS_PERIOD_S = 0.5
SERVICES_TTL_S = 2.0
STALE_AFTER_S = 1.0
TOKEN_REFRESH = 0.8


class MoreEvents(Message, frozen=True):
    """Events wait, and may be recorded again."""


class Lookups(Devicing):
    """See the module."""

    def begin_lookups(self) -> None:
        """Nothing has been read."""
        self.objects: dict[tuple[str, str, str], tuple[float, Object | None]] = {}
        self.fetching: dict[tuple[str, str, str], Future[Any]] = {}
        self.services: dict[str, tuple[float, list[Object]]] = {}
        self.tokens: dict[GetToken, tuple[float, str]] = {}
        self.event_queue: deque[PodEvent] = deque()
        self.event_tokens = float(self.config.event_burst)
        self.event_tokens_at = 0.0
        self.events_due = False
        self.events_dropped = 0

    # -- what workers ask of the API

    @handles(GetObject)
    def get_object(self, message: GetObject) -> Any:
        """From the cache, or as soon as one request for it has been answered."""
        key = (message.kind, message.namespace, message.name)
        known = self.objects.get(key)
        if known is not None and not message.fresh and self.clock.monotonic() - known[0] < self.config.object_ttl_s:
            return known[1]
        return self._shared(key, lambda: self._fetch(key), None if known is None else known[1])

    def _shared(self, key: tuple[str, str, str], fetch: Callable[[], Any], stale: Any) -> Any:
        """One request for all that ask at the same time. What was known before is good enough when
        the API server does not answer soon: pods must go on without it."""
        under_way = self.fetching.get(key)
        if under_way is None:
            under_way = self.background(fetch())
            if not under_way.done:
                self.fetching[key] = under_way
                under_way.add_callback(lambda _: self.fetching.pop(key, None))
        return under_way if stale is None else self.background(self._or_stale(under_way, stale))

    async def _or_stale(self, under_way: Future[Any], stale: Any) -> Any:
        answer: Future[Any] = Future()

        def first(value: Any) -> None:
            if not answer.done:
                answer.resolve(value)

        under_way.add_callback(lambda f: first(stale if f.exception() else f.result()))
        timer = self.system.after(STALE_AFTER_S, lambda: first(stale))
        found = await answer
        timer.cancel()
        return found

    def _remember(self, cache: dict[Any, Any], key: Any, value: Any) -> None:
        """Keep what was read, with the time; of very many the one that was read first is forgotten."""
        cache.pop(key, None)
        if len(cache) >= MAX_CACHED:
            del cache[next(iter(cache))]
        cache[key] = (self.clock.monotonic(), value)

    async def _fetch(self, key: tuple[str, str, str]) -> Object | None:
        kind, namespace, name = key
        try:
            obj: Object | None = await self.client.get(
                "configmaps" if kind == "ConfigMap" else "secrets", name, namespace
            )
        except StatusError as error:
            # A node may see only what its pods use: 403 until the API server knows of the binding.
            if error.code not in (403, 404):
                raise
            obj = None
        if obj is not None:
            self._remember(self.objects, key, obj)
        else:
            self.objects.pop(key, None)
        return obj

    @handles(GetServices)
    def get_services(self, message: GetServices) -> Any:
        known = self.services.get(message.namespace)
        if known is not None and self.clock.monotonic() - known[0] < SERVICES_TTL_S:
            return known[1]
        namespace = message.namespace
        return self._shared(
            ("Service", namespace, ""), lambda: self._fetch_services(namespace), None if known is None else known[1]
        )

    async def _fetch_services(self, namespace: str) -> list[Object]:
        found: list[Object] = []
        try:
            found = list((await self.client.list("services", namespace, resourceVersion="0")).get("items") or ())
            if namespace != "default":
                found.append(await self.client.get("services", "kubernetes", "default"))
        except StatusError as error:
            self.log.debug("services_unknown", error=error.message)
        self._remember(self.services, namespace, found)
        return found

    @handles(GetToken, serial=lambda m: m)
    async def get_token(self, message: GetToken) -> str:
        now = self.clock.monotonic()
        known = self.tokens.get(message)
        if known is not None and now < known[0]:
            return known[1]
        spec: Object = {
            "expirationSeconds": message.seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": message.pod_name, "uid": message.pod_uid},
        }
        if message.audience:
            spec["audiences"] = [message.audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.client.create(
            "serviceaccounts", body, message.namespace, name=message.service_account, subresource="token"
        )
        token = str(answer["status"]["token"])
        self.tokens[message] = (now + message.seconds * TOKEN_REFRESH, token)
        return token

    # -- events, within the rate that a kubelet allows itself

    @handles(PodEvent)
    def pod_event(self, message: PodEvent) -> None:
        """The first few at once; of a flood the rest a little later, so that the statuses of many
        pods that start together reach the API before the story of how they did."""
        now = self.clock.monotonic()
        qps, burst = self.config.event_qps, float(self.config.event_burst)
        self.event_tokens = min(burst, self.event_tokens + (now - self.event_tokens_at) * qps)
        self.event_tokens_at = now
        if self.event_tokens >= 1.0 and not self.events_due:
            self.event_tokens -= 1.0
            self._record(message)
        elif len(self.event_queue) >= MAX_QUEUED_EVENTS:
            self.events_dropped += 1
        else:
            self.event_queue.append(message)
            if not self.events_due:
                self.events_due = True
                self.after(EVENTS_REST_S, MoreEvents())

    @handles(MoreEvents)
    def more_events(self, message: MoreEvents) -> None:
        for _ in range(min(len(self.event_queue), max(1, int(self.config.event_qps * EVENTS_PERIOD_S)))):
            self._record(self.event_queue.popleft())
        self.event_tokens_at = self.clock.monotonic()
        self.events_due = bool(self.event_queue)
        if self.events_due:
            self.after(EVENTS_PERIOD_S, MoreEvents())

    def _record(self, event: PodEvent) -> None:
        self.recorder.event(_typed(event.pod), event.type, event.reason, event.message, field_path=event.field_path)


def _typed(pod: Object) -> Object:
    return pod if "kind" in pod else {"apiVersion": "v1", "kind": "Pod", **pod}
