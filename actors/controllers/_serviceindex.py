"""Which Services a pod's change concerns.

Owns compiled selectors per Service and the question whether a pod changed in a way that endpoints
show. It keeps no pods and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.client import Store
from actors.controllers._servicepods import ready
from protocol.objects import Object, Selector, deleting, key, labels, metadata, selector_of, spec, status

__all__ = ["Pace", "ServiceSelectors"]

SECONDS_PER_POD = 0.0005
SLOWEST_S = 2.0


class Pace:
    """How long to wait before a Service is looked at again.

    One look costs its number of pods, and during a rollout each of them changes several times:
    looking at once each time would cost the square. So a Service rests in proportion to its size,
    nothing at all for a handful of pods, and a burst of changes is one look.
    """

    def __init__(self) -> None:
        self._looked: dict[str, tuple[float, float]] = {}  # key -> (when, rest)

    def rest_s(self, key: str, now: float) -> float:
        """Seconds until `key` may be looked at; 0 for at once."""
        at, rest_s = self._looked.get(key, (0.0, 0.0))
        return max(0.0, at + rest_s - now)

    def looked(self, key: str, pods: int, now: float) -> None:
        """`key` was looked at and has so many pods."""
        self._looked[key] = (now, min(pods * SECONDS_PER_POD, SLOWEST_S))

    def forget(self, key: str) -> None:
        self._looked.pop(key, None)


class ServiceSelectors:
    """The selectors of all Services, by namespace and key."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[str, Selector]] = {}

    def service_changed(self, old: Object | None, new: Object | None) -> None:
        """Keep up with a Service."""
        obj = new or old
        assert obj is not None
        in_namespace = self._by_namespace.setdefault(metadata(obj).get("namespace", ""), {})
        wanted = spec(new).get("selector") if new else None
        if wanted:
            in_namespace[key(obj)] = selector_of({"matchLabels": wanted})
        else:
            in_namespace.pop(key(obj), None)

    def of(self, service_key: str) -> Selector | None:
        """The selector of a Service that has one."""
        return self._by_namespace.get(service_key.partition("/")[0], {}).get(service_key)

    def pods(self, service_key: str, pods: Store) -> list[Object]:
        """The pods that a Service selects."""
        selector = self.of(service_key)
        if selector is None:
            return []
        return [p for p in pods.in_namespace(service_key.partition("/")[0]) if selector.matches(labels(p))]

    def concerned(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Keys of the Services whose endpoints a pod's change may alter."""
        some = new or old
        if some is None:
            return []
        selectors = self._by_namespace.get(metadata(some).get("namespace", ""))
        if not selectors:
            return []
        if old is not None and new is not None:
            same_labels = labels(old) == labels(new)
            same_state = _visible(old) == _visible(new)
            if same_labels and same_state:
                return []
        tags = [labels(pod) for pod in (old, new) if pod is not None]
        return [k for k, selector in selectors.items() if any(selector.matches(t) for t in tags)]


def _visible(pod: Object) -> tuple[Any, ...]:
    """What of a pod shows in endpoints."""
    wanted, state = spec(pod), status(pod)
    return (
        metadata(pod).get("uid"),
        state.get("podIP"),
        state.get("podIPs"),
        state.get("phase"),
        ready(pod),
        deleting(pod),
        wanted.get("nodeName"),
        wanted.get("hostname"),
        wanted.get("subdomain"),
    )
