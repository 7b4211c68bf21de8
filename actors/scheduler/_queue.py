"""The pods that wait for a node.

Four places, after upstream's queue
(https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/#queue-sort):

    active         tried next, in the order of the profile's queueSort plugin
    backoff        may be tried again, but not yet; taken early when nothing else is active
    unschedulable  waits for an event that one of the plugins that rejected it asked for
    gated          a preEnqueue plugin does not let it in

    add ----> active <--------------- backoff <---- event / flush ---- unschedulable
                |  pop                   ^                                  ^
                v                        | error                            |
             in flight -- done           +------------ requeue -------------+

While a pod is in flight, events are kept, so that one which came between the look at the cluster
and the verdict is not missed: `requeue` replays them. Owns who waits where and why; it decides no
placement and reads no clock (every method is given `now`, in seconds).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import Status

__all__ = ["QueuedPod", "SchedulingQueue"]

MAX_IN_FLIGHT_EVENTS = 100_000
_FLUSHED = ClusterEvent("Flush", frozenset({"*"}))


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A pod and its history in the queue. Times in seconds."""

    pod: PodInfo
    added_at: float
    first_attempt_at: float | None = None
    attempts: int = 0
    failures: int = 0
    """Attempts since the last success of any kind that ended with a verdict."""
    errors: int = 0
    """Attempts in a row that ended with an error."""
    queued_at: float = 0.0
    rejected_by: frozenset[str] = frozenset()
    pending_on: frozenset[str] = frozenset()
    gated_by: str = ""
    message: str = ""
    place: str = ""
    group: tuple[frozenset[str], str, int] | None = None
    entry: int = 0


Hints = Mapping[str, tuple[EventHint, ...]]
PreEnqueue = Callable[[PodInfo], Status]
SortKey = Callable[[PodInfo, float], Any]


@dataclass(slots=True)
class _Flight:
    pod: PodInfo
    start: int


@dataclass
class SchedulingQueue:
    """See the module. `hints`: per profile and plugin, the events that it waits for."""

    sort_key: SortKey
    pre_enqueue: PreEnqueue
    hints: Callable[[PodInfo], Hints]
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 10.0
    unschedulable_max_s: float = 300.0
    pods: dict[str, QueuedPod] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._active: list[tuple[Any, int, QueuedPod]] = []
        self._backoff: list[tuple[float, int, QueuedPod]] = []
        self._counts = {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0}
        self._waiting: dict[tuple[frozenset[str], str, int], dict[str, QueuedPod]] = {}
        # by (plugins that hold the pods, scheduler name, class), so that one look may do for many
        self._in_flight: dict[str, _Flight] = {}
        self._events: list[ClusterEvent] = []
        self._events_start = 0
        self._entries = 0

    def __len__(self) -> int:
        return len(self.pods)

    def __contains__(self, uid: str) -> bool:
        return uid in self.pods

    @property
    def lengths(self) -> dict[str, int]:
        """How many pods are where."""
        return dict(self._counts)

    # --- in and out ------------------------------------------------------------------------

    def add(self, pod: PodInfo, now: float) -> bool:
        """A pod without a node is seen. Whether it became active."""
        queued = self.pods.get(pod.uid)
        if queued is None:
            queued = self.pods[pod.uid] = QueuedPod(pod, now)
        queued.pod = pod
        return self._admit(queued, "active", now)

    def update(self, pod: PodInfo, event: ClusterEvent, now: float) -> bool:
        """A newer version of a waiting pod. Whether it became active. `event`: what changed, as
        an `UnscheduledPod` event; without actions it moves nothing."""
        flight = self._in_flight.get(pod.uid)
        if flight is not None:
            flight.pod = pod
            if event.actions:
                self._remember(event)
            return False
        queued = self.pods.get(pod.uid)
        if queued is None:
            return self.add(pod, now)
        queued.pod = pod
        if queued.place == "active":
            self._put_active(queued)
            return False
        if queued.group is not None and queued.group[2] != pod.cls.index:
            self._put_waiting(queued, queued.place)
        if queued.place == "gated":
            # A gated pod goes in as soon as nothing holds it, whatever the event was.
            return self._admit(queued, "active", now)
        if queued.place == "unschedulable" and event.actions:
            return self._move_if_worth(queued, event, now)
        return False

    def delete(self, uid: str) -> None:
        """The pod is gone, has a node, or is somebody else's."""
        queued = self.pods.pop(uid, None)
        if queued is not None:
            self._leave(queued)
        self.done(uid)

    def pop(self, now: float) -> QueuedPod | None:
        """The next pod to try, now in flight; None if nothing can be tried yet."""
        queued = self._pop_active() or self._pop_backoff(now)
        if queued is None:
            return None
        self._leave(queued)
        del self.pods[queued.pod.uid]
        queued.attempts += 1
        if queued.first_attempt_at is None:
            queued.first_attempt_at = now
        self._in_flight[queued.pod.uid] = _Flight(queued.pod, self._events_start + len(self._events))
        return queued

    def _pop_active(self) -> QueuedPod | None:
        while self._active:
            _, entry, queued = heapq.heappop(self._active)
            if queued.place == "active" and queued.entry == entry:
                return queued
        return None

    def _pop_backoff(self, now: float) -> QueuedPod | None:
        """The pod whose backoff ends first; pods that failed with an error wait it out."""
        kept = []
        found = None
        while self._backoff:
            item = heapq.heappop(self._backoff)
            expiry, entry, queued = item
            if queued.place != "backoff" or queued.entry != entry:
                continue
            if queued.errors and expiry > now:
                kept.append(item)
                continue
            found = queued
            break
        for item in kept:
            heapq.heappush(self._backoff, item)
        return found

    def done(self, uid: str) -> None:
        """A popped pod needs no more of the queue."""
        if self._in_flight.pop(uid, None) is not None:
            self._forget_events()

    def requeue(
        self,
        queued: QueuedPod,
        now: float,
        *,
        rejected_by: Iterable[str] = (),
        pending_on: Iterable[str] = (),
        message: str = "",
    ) -> bool:
        """A popped pod was not placed. Without `rejected_by` and `pending_on` it was an error.
        Whether it became active. The caller knows that the pod still exists."""
        flight = self._in_flight.pop(queued.pod.uid, None)
        missed: list[ClusterEvent] = []
        if flight is not None:
            missed = self._events[max(flight.start - self._events_start, 0) :]
            queued.pod = flight.pod
        self._forget_events()
        queued.rejected_by = frozenset(rejected_by)
        queued.pending_on = frozenset(pending_on)
        queued.message = message
        queued.queued_at = now
        self.pods[queued.pod.uid] = queued
        if not queued.rejected_by and not queued.pending_on:
            queued.errors += 1
            return self._admit(queued, "backoff", now)
        queued.errors = 0
        queued.failures += 1
        place = "unschedulable"
        for event in missed:
            worth = self._worth(queued, event)
            if worth:
                place = worth
            if worth == "active":
                break
        if place == "unschedulable":
            self._put_waiting(queued, place)
            return False
        return self._admit(queued, place, now)

    # --- events ----------------------------------------------------------------------------

    def move(self, event: ClusterEvent, now: float) -> int:
        """Something happened: let those pods back in whom it may help. How many became active."""
        if self._in_flight:
            self._remember(event)
        moved = 0
        for (plugins, _, _), group in list(self._waiting.items()):
            if not group or not self._wanted(next(iter(group.values())), plugins, event):
                continue
            for queued in list(group.values()):
                if queued.place == "gated":
                    if any(self._hint_says(queued, p, event) for p in plugins):
                        moved += self._admit(queued, "active", now)
                else:
                    moved += self._move_if_worth(queued, event, now)
        return moved

    def activate(self, uids: Iterable[str], now: float) -> int:
        """Let these pods be tried at once, whatever they wait for."""
        moved = 0
        for uid in uids:
            queued = self.pods.get(uid)
            if queued is not None and queued.place != "active":
                queued.errors = 0
                moved += self._admit(queued, "active", now)
        return moved

    def ungate(self, uid: str, now: float, *, active: bool) -> bool:
        """What held a gated pod is over: try it at once, or have it wait for events again."""
        queued = self.pods.get(uid)
        if queued is None or queued.place != "gated":
            return False
        if active or not queued.rejected_by - {queued.gated_by}:
            return self._admit(queued, "active", now)
        queued.rejected_by -= {queued.gated_by}
        queued.gated_by = ""
        self._put_waiting(queued, "unschedulable")
        return False

    def flush_backoff(self, now: float) -> int:
        """Let pods back in whose backoff is over."""
        moved = 0
        while self._backoff and self._backoff[0][0] <= now:
            _, entry, queued = heapq.heappop(self._backoff)
            if queued.place == "backoff" and queued.entry == entry:
                moved += self._admit(queued, "active", now)
        return moved

    def flush_unschedulable(self, now: float) -> int:
        """Let pods back in that nothing has moved for too long."""
        moved = 0
        for group in list(self._waiting.values()):
            for queued in list(group.values()):
                if queued.place == "unschedulable" and now - queued.queued_at >= self.unschedulable_max_s:
                    moved += self._admit(queued, self._by_backoff(queued, now), now)
        return moved

    def backoff_s(self, queued: QueuedPod) -> float:
        """How long a pod is kept from being tried again, from its last failure on."""
        tries = queued.errors or queued.failures
        if tries == 0:
            return 0.0
        return float(min(self.backoff_initial_s * 2 ** min(tries - 1, 30), self.backoff_max_s))

    # --- inside ----------------------------------------------------------------------------

    def _wanted(self, one: QueuedPod, plugins: frozenset[str], event: ClusterEvent) -> bool:
        """Whether an event may help any pod of a group, of which this is one."""
        hints = self.hints(one.pod)
        return any(
            h.wants(event) and (not h.by_class or self._helps(h, one.pod, event))
            for p in plugins
            for h in hints.get(p, (_ANYTHING,))
        )

    @staticmethod
    def _helps(hint: EventHint, pod: PodInfo, event: ClusterEvent) -> bool:
        """What a hint says; one that fails must not keep a pod waiting."""
        if hint.helps is None:
            return True
        try:
            return hint.helps(pod, event)
        except Exception:
            return True

    def _hint_says(self, queued: QueuedPod, plugin: str, event: ClusterEvent) -> bool:
        for hint in self.hints(queued.pod).get(plugin, (_ANYTHING,)):
            if hint.wants(event) and self._helps(hint, queued.pod, event):
                return True
        return False

    def _worth(self, queued: QueuedPod, event: ClusterEvent) -> str:
        """Where an event sends an unschedulable pod: "" (nowhere), "backoff" or "active"."""
        if event is _FLUSHED:
            return "backoff"
        if any(self._hint_says(queued, p, event) for p in sorted(queued.pending_on)):
            # Who waits for something that was under way has lost no attempt.
            return "active"
        if any(self._hint_says(queued, p, event) for p in sorted(queued.rejected_by)):
            return "backoff"
        return ""

    def _move_if_worth(self, queued: QueuedPod, event: ClusterEvent, now: float) -> bool:
        worth = self._worth(queued, event)
        if not worth:
            return False
        return self._admit(queued, worth if worth == "active" else self._by_backoff(queued, now), now)

    def _by_backoff(self, queued: QueuedPod, now: float) -> str:
        return "backoff" if queued.queued_at + self.backoff_s(queued) > now else "active"

    def _admit(self, queued: QueuedPod, place: str, now: float) -> bool:
        """Put a pod in `place` unless a preEnqueue plugin holds it."""
        if place == "backoff" and self._by_backoff(queued, now) == "active":
            place = "active"
        status = self.pre_enqueue(queued.pod)
        if not status.ok:
            queued.gated_by = status.plugin
            queued.message = status.message
            queued.rejected_by = frozenset((*queued.rejected_by, status.plugin))
            self._put_waiting(queued, "gated")
            return False
        queued.gated_by = ""
        if place == "active":
            self._put_active(queued)
            return True
        self._place(queued, "backoff")
        expiry = queued.queued_at + self.backoff_s(queued)
        heapq.heappush(self._backoff, (expiry, queued.entry, queued))
        # Nothing else may be waiting, and then it is taken at once.
        return not queued.errors

    def _put_active(self, queued: QueuedPod) -> None:
        self._place(queued, "active")
        key = self.sort_key(queued.pod, queued.added_at)
        heapq.heappush(self._active, (key, queued.entry, queued))

    def _put_waiting(self, queued: QueuedPod, place: str) -> None:
        self._place(queued, place)
        plugins = queued.rejected_by | queued.pending_on
        if place == "gated":
            plugins = frozenset((queued.gated_by,))
        queued.group = (plugins, queued.pod.scheduler_name, queued.pod.cls.index)
        self._waiting.setdefault(queued.group, {})[queued.pod.uid] = queued

    def _place(self, queued: QueuedPod, place: str) -> None:
        self._leave(queued)
        self._entries += 1
        queued.entry = self._entries
        queued.place = place
        self._counts[place] += 1

    def _leave(self, queued: QueuedPod) -> None:
        """Out of wherever it is; entries of heaps are left behind and recognised by their number."""
        if queued.group is not None:
            group = self._waiting[queued.group]
            del group[queued.pod.uid]
            if not group:
                del self._waiting[queued.group]
            queued.group = None
        if queued.place:
            self._counts[queued.place] -= 1
            queued.place = ""

    def _remember(self, event: ClusterEvent) -> None:
        if len(self._events) < MAX_IN_FLIGHT_EVENTS:
            self._events.append(event)
        elif self._events[-1] is not _FLUSHED:
            # Too many to keep: who is in flight is let back in by this one, which helps all.
            self._events[-1] = _FLUSHED

    def _forget_events(self) -> None:
        if not self._in_flight:
            self._events_start += len(self._events)
            self._events.clear()
            return
        if len(self._events) > 1000:
            first = min(f.start for f in self._in_flight.values())
            drop = first - self._events_start
            if drop > len(self._events) // 2:
                del self._events[:drop]
                self._events_start = first


_ANYTHING = EventHint("*", frozenset({"*"}))
