"""The scheduler actor: takes pods from the queue, has a node found for each, and gets them bound.

One pod is placed at a time, against a cluster in which the pods placed before it already stand;
bindings run beside that, many at once. Between batches of pods the actor handles its mail, so that
what it believes stays close to what is.

It keeps nothing that it cannot read again: after a crash, or on another machine, it lists and
watches, and goes on. With leader election only the leader places pods; the others watch, and are
ready at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any

from actors.client import Client, ClientActor, EventRecorder, LeaderElector
from actors.kernel import Ref, handles
from actors.scheduler._assembly import assemble
from actors.scheduler._binding import Binder
from actors.scheduler._cache import Cache
from actors.scheduler._config import SchedulerConfig
from actors.scheduler._engine import Decision, Engine
from actors.scheduler._events import EventHint
from actors.scheduler._explain import explain, wants_account
from actors.scheduler._fit_error import NO_NODES, fit_message
from actors.scheduler._framework import Cycle, Diagnosis, PostFilterResult
from actors.scheduler._objects import Objects
from actors.scheduler._outcome import ERROR, UNSCHEDULABLE, Reporter
from actors.scheduler._pods import DEFAULT_SCHEDULER, PodInfo
from actors.scheduler._queue import QueuedPod, SchedulingQueue
from actors.scheduler._status import SUCCESS, Code, Status
from actors.scheduler._watching import Watching
from protocol import status as statuses
from protocol.api import UserInfo
from protocol.message import Message
from protocol.scheduler import ExplainPod, SchedulerStatistics

__all__ = ["SCHEDULER_USER", "Scheduler"]

SCHEDULER_USER = UserInfo("system:kube-scheduler", ("system:authenticated",))
TICK_S = 1.0
"""How often backoffs and unconfirmed bindings are looked at, while there are any."""
FLUSH_S = 30.0
"""How often pods are looked for that no event has moved, while there are any that wait."""
BATCH_MAX_S = 0.02
"""No batch keeps the loop longer than this and one pod."""
NO_NODE_AT_ALL = "(no nodes)"
"""Stands for a plugin: what rejects pods while there is no node."""


class _Work(Message, frozen=True):
    """There may be a pod to place."""


class _Tick(Message, frozen=True):
    """Look at what has expired."""


class _Flush(Message, frozen=True):
    """Let pods back in that have waited too long for an event."""


class Scheduler(ClientActor):
    """Schedules pods. `apiserver` is the API server actor or an HTTP transport.

    Raises `ConfigError` when the configuration cannot be used.
    """

    def __init__(
        self,
        apiserver: Ref,
        config: SchedulerConfig | None = None,
        *,
        user: UserInfo = SCHEDULER_USER,
        identity: str = "",
    ) -> None:
        super().__init__()
        self.config = (config or SchedulerConfig()).with_profiles()
        self.client = Client(self, apiserver, user=user, user_agent="kube-scheduler")
        self.identity = identity or f"{self.host or 'local'}_{self.random.getrandbits(64):016x}"
        self.cache = Cache()
        self.objects = Objects()
        self.nominated: dict[str, dict[str, PodInfo]] = {}
        self.handles, self.engines, self.reporters = assemble(self)
        for engine in self.engines.values():
            engine.on_evicted = self._evicted
        first = self.engines[self.config.profiles[0].name].profile
        a_node = {NO_NODE_AT_ALL: (EventHint("Node", frozenset({"add"})),)}
        self._hints = {name: {**engine.profile.hints(), **a_node} for name, engine in self.engines.items()}
        self.queue = SchedulingQueue(
            first.queue_sort.sort_key,
            self._pre_enqueue,
            lambda pod: self._hints[pod.scheduler_name],
            self.config.backoff_initial_s,
            self.config.backoff_max_s,
            self.config.unschedulable_max_s,
        )
        self.watching = Watching(
            self.client,
            self.cache,
            self.objects,
            self.queue,
            self.engines.__contains__,
            self.nominated,
            self.work,
            self._gone,
        )
        self.binder = Binder(self, self.work)
        self.elector: LeaderElector | None = None
        self.leading = not self.config.leader_elect and not self.config.passive
        self.synced = False
        self._working = False
        self._ticking = False
        self._flushing = False
        self.counters = {"scheduled": 0, "attempts": 0, "failed": 0, "errors": 0, "preempted": 0}
        self.attempt_seconds: deque[float] = deque(maxlen=20_000)

    # --- life ------------------------------------------------------------------------------

    def on_start(self) -> None:
        if self.config.extenders:
            from actors.scheduler._extender import attach

            attach(self, self.config.extenders)
        self.watching.start()
        self.background(self._begin())
        if self.config.leader_elect and not self.config.passive:
            self.elector = LeaderElector(
                self.client,
                self.config.leader_name,
                self.identity,
                namespace=self.config.leader_namespace,
                lease_duration_s=int(self.config.lease_duration_s),
                renew_deadline_s=self.config.renew_deadline_s,
                retry_s=self.config.retry_period_s,
                on_started=lambda: self._lead(True),
                on_stopped=lambda: self._lead(False),
                recorder=EventRecorder(self.client, DEFAULT_SCHEDULER),
            )
            self.elector.start()

    async def on_stop(self) -> None:  # type: ignore[override]
        if self.elector is not None:
            await self.elector.release()

    async def _begin(self) -> None:
        await self.watching.synced()
        self.synced = True
        self.log.info("scheduler_ready", nodes=self.cache.table.count, pods=len(self.cache))
        self.work()

    def _lead(self, leading: bool) -> None:
        self.leading = leading
        if leading:
            self.work()

    # --- placing pods ----------------------------------------------------------------------

    def work(self) -> None:
        """Have the queue looked at, soon."""
        if not self._working and self.synced and self.leading:
            self._working = True
            self.ref.tell(_Work())

    @handles(_Work)
    def place_some(self, message: _Work) -> None:
        """Place a batch of pods; go on after the mail if there are more."""
        self._working = False
        if not self.leading:
            return
        began = self.clock.monotonic()
        for _ in range(self.config.batch):
            if self.clock.monotonic() - began > BATCH_MAX_S:
                break
            if self.binder.under_way >= self.config.binds_in_flight:
                return  # a binding that ends calls `work`
            queued = self.queue.pop(self.clock.monotonic())
            if queued is None:
                return
            self._attempt(queued)
        self.work()

    def _attempt(self, queued: QueuedPod) -> None:
        pod = queued.pod
        engine = self.engines[pod.scheduler_name]
        if pod.terminating:
            text = f"skip schedule deleting pod: {pod.namespace}/{pod.name}"
            self.reporter(pod).event(pod.object, "Warning", "FailedScheduling", text, action="Scheduling")
            self.queue.done(pod.uid)
            return
        if self.cache.placed(pod.uid) is not None:
            self.queue.done(pod.uid)
            return
        if any(e.interested(pod) for e in engine.extenders):
            self.background(self._consult(engine, queued))
            return
        self._decide(engine, queued)

    async def _consult(self, engine: Engine, queued: QueuedPod) -> None:
        """Ask the extenders about a pod, then place it."""
        pod = queued.pod
        table = self.cache.table
        names = [n for n, row in table.index.items() if table.alive[row]]
        try:
            for extender in engine.extenders:
                if extender.interested(pod):
                    names = await extender.consult(pod, names)
        except OSError as error:
            self.counters["errors"] += 1
            if self._unplaced(pod) is not None:
                self.reporter(pod).failed(pod, ERROR, str(error), "")
                self._requeue(queued, message=str(error))
            return
        seen = self._unplaced(pod)
        if seen is None or self.cache.placed(pod.uid) is not None:
            self.queue.done(pod.uid)
            return
        queued.pod = seen
        self._decide(engine, queued)
        for extender in engine.extenders:
            extender.forget(pod.uid)

    def _decide(self, engine: Engine, queued: QueuedPod) -> None:
        pod = queued.pod
        self.counters["attempts"] += 1
        self.cache.table.trim_log()
        account = explain(engine, pod) if self.config.explain or wants_account(pod) else None
        began = self.clock.monotonic()
        try:
            decision = engine.schedule(pod)
        except Exception as error:
            decision = self._mistake(engine, pod, error)
        self.attempt_seconds.append(self.clock.monotonic() - began)
        if account is not None:
            self.background(self.reporter(pod).account(pod, account, decision.node))
        if decision.node:
            self.binder.carry_out(engine, queued, decision)
        else:
            self._not_placed(engine, queued, decision)

    def _mistake(self, engine: Engine, pod: PodInfo, error: Exception) -> Decision:
        """A plugin's mistake costs its pod an attempt, not everybody the scheduler."""
        self.log.error("plugin_failed", pod=pod.key, exc_info=error)
        return Decision(Cycle(pod, self.cache, engine.statuses), error=f"{type(error).__name__}: {error}")

    def _not_placed(self, engine: Engine, queued: QueuedPod, decision: Decision) -> None:
        pod = queued.pod
        if decision.error:
            self.counters["errors"] += 1
            self.reporter(pod).failed(pod, ERROR, decision.error, "")
            self._requeue(queued, message=decision.error)
            return
        self.counters["failed"] += 1
        diagnosis = decision.diagnosis
        if diagnosis is None:
            self.reporter(pod).failed(pod, UNSCHEDULABLE, NO_NODES, "")
            self._requeue(queued, rejected_by=(NO_NODE_AT_ALL,), message=NO_NODES)
            return
        made = PostFilterResult(Status(Code.UNSCHEDULABLE), nominated="")
        if engine.profile.post_filter:
            try:
                made = engine.post_filter(decision)
            except Exception as error:
                made = PostFilterResult(Status(Code.ERROR, (self._mistake(engine, pod, error).error,)))
            if made.later is not None:
                self.background(self._not_placed_later(queued, diagnosis, made.later()))
                return
        self._no_node(queued, diagnosis, made)

    async def _not_placed_later(
        self, queued: QueuedPod, diagnosis: Diagnosis, made: Coroutine[Any, Any, PostFilterResult]
    ) -> None:
        """What was decided about a pod by others, if it is still there to hear it."""
        result = await made
        seen = self._unplaced(queued.pod)
        if seen is None:
            self.queue.done(queued.pod.uid)
            return
        queued.pod = seen
        self._no_node(queued, diagnosis, result)

    def _no_node(self, queued: QueuedPod, diagnosis: Diagnosis, made: PostFilterResult) -> None:
        """Back to the queue, with what is to be said and perhaps a node to hope for."""
        pod, nominated = queued.pod, made.nominated
        if nominated:
            self.counters["preempted"] += 1
        message = fit_message(diagnosis, self.cache.table, made.status.message)
        if nominated is not None:
            self.watching.nominate(pod, nominated)
        self.reporter(pod).failed(pod, UNSCHEDULABLE, message, nominated)
        self._requeue(queued, rejected_by=diagnosis.plugins, pending_on=diagnosis.pending_plugins, message=message)

    def failed(self, engine: Engine, queued: QueuedPod, status: Status, node: str) -> None:
        """What was decided could not be carried out."""
        pod = queued.pod
        self.counters["failed" if status.rejected else "errors"] += 1
        message = status.message
        if status.rejected:
            counted = sorted(f"1 {reason}" for reason in status.reasons)
            message = f"0/1 nodes are available: {', '.join(counted)}."
        seen = self._unplaced(pod)
        if seen is None:
            self.queue.done(pod.uid)
            return
        queued.pod = pod = seen
        self.reporter(pod).failed(pod, UNSCHEDULABLE if status.rejected else ERROR, message, "")
        if status.rejected:
            self._requeue(queued, rejected_by=(status.plugin,), message=message)
        else:
            self._requeue(queued, message=message)

    def _unplaced(self, pod: PodInfo) -> PodInfo | None:
        """A pod as it was seen last; None if it is gone or has a node."""
        seen = self.watching.pods.get(pod.name, pod.namespace)
        if seen is None or (seen["metadata"].get("uid") or pod.uid) != pod.uid:
            return None
        if (seen.get("spec") or {}).get("nodeName"):
            return None
        return self.cache.classes.info(seen, pod)

    def _requeue(self, queued: QueuedPod, **why: Any) -> None:
        if self.queue.requeue(queued, self.clock.monotonic(), **why):
            self.work()
        self.watch_the_clock()

    def watch_the_clock(self) -> None:
        """Look again in a while, as long as there is something that time alone changes."""
        lengths = self.queue.lengths
        if not self._ticking and (lengths["backoff"] or self.cache.assumed_count):
            self._ticking = True
            self.after(TICK_S, _Tick())
        if not self._flushing and lengths["unschedulable"]:
            self._flushing = True
            self.after(FLUSH_S, _Flush())

    def reporter(self, pod: PodInfo) -> Reporter:
        """Who writes about this pod."""
        return self.reporters[pod.scheduler_name]

    # --- what others tell ------------------------------------------------------------------

    def _pre_enqueue(self, pod: PodInfo) -> Status:
        for plugin in self.engines[pod.scheduler_name].profile.pre_enqueue:
            try:
                status = plugin.pre_enqueue(pod)
            except Exception as error:
                self.log.error("plugin_failed", pod=pod.key, exc_info=error)
                status = Status(Code.UNRESOLVABLE, (f"{type(error).__name__}: {error}",))
            if not status.ok:
                return status.by(plugin.name)
        return SUCCESS

    def _gone(self, uid: str) -> None:
        for handle in self.handles.values():
            waiting = handle.waiting.get(uid)
            if waiting is not None:
                waiting.reject("", "pod deleted")

    def _evicted(self, uid: str, gone: bool, error: str) -> None:
        """The evictions for a pod are done."""
        if error:
            self.log.warning("preemption_failed", pod=uid, error=error)
        now = self.clock.monotonic()
        active = self.queue.ungate(uid, now, active=gone or bool(error))
        if error:
            active = bool(self.queue.activate((uid,), now)) or active
        if active:
            self.work()

    @handles(_Tick)
    def tick(self, message: _Tick) -> None:
        """Backoffs that ended, assumptions that nothing has confirmed."""
        self._ticking = False
        now = self.clock.monotonic()
        moved = self.queue.flush_backoff(now)
        for pod in self.cache.overdue(now):
            self.background(self.binder.find_out(pod))
        if moved:
            self.work()
        self.watch_the_clock()

    @handles(_Flush)
    def flush(self, message: _Flush) -> None:
        """Pods that no event has moved for minutes."""
        self._flushing = False
        if self.queue.flush_unschedulable(self.clock.monotonic()):
            self.work()
        self.watch_the_clock()

    # --- questions -------------------------------------------------------------------------

    @handles(ExplainPod)
    def explain(self, message: ExplainPod) -> dict[str, Any]:
        """See `protocol.scheduler.ExplainPod`."""
        pod = self.watching.pods.get(message.name, message.namespace)
        if pod is None:
            raise statuses.not_found("", "pods", message.name)
        info = self.cache.classes.info(pod)
        engine = self.engines.get(info.scheduler_name)
        if engine is None:
            raise statuses.bad_request(f"pod {info.key} is of scheduler {info.scheduler_name!r}, not of this one")
        return explain(engine, info)

    @handles(SchedulerStatistics)
    def statistics(self, message: SchedulerStatistics) -> dict[str, Any]:
        """See `protocol.scheduler.SchedulerStatistics`."""
        at = {}
        if message.latencies:
            times = sorted(self.attempt_seconds)
            at = {f"p{p}": times[min(len(times) * p // 100, len(times) - 1)] if times else 0.0 for p in (50, 90, 99)}
        return {
            **self.counters,
            "queue": self.queue.lengths,
            "binding": self.binder.under_way,
            "nodes": self.cache.table.count,
            "pods": len(self.cache),
            "attempt_seconds": at,
        }
