"""DefaultPreemption: make room for a pod by evicting pods of lower priority.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
On each node that was refused for a reason that evictions can mend, all pods of lower priority are
supposed gone; if the pod fits then, they are let back in, most important first, as long as it still
fits, pods whose disruption budget would be violated before the others. Who is not let back is a
victim. Among the nodes, the one with the least harm is chosen. The evictions run beside the
scheduling of other pods; until they are done the pod is not tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._fit_error import fit_message
from actors.scheduler._framework import Cycle, Diagnosis, Handle, Plugin, PostFilterResult
from actors.scheduler._nodes import Ints
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SUCCESS, Code, Status
from actors.scheduler._verdicts import Verdicts
from protocol.api import StatusError
from protocol.objects import find_condition
from protocol.selectors import SelectorError, selector_of

if TYPE_CHECKING:
    from actors.scheduler._engine import Engine

__all__ = ["Candidate", "DefaultPreemption", "more_important", "pick"]

Object = dict[str, Any]
MAX_KEPT = 16
NO_VICTIMS = Status(Code.UNRESOLVABLE, ("No preemption victims found for incoming pod",))
NOT_HELPFUL = Status(Code.UNRESOLVABLE, ("Preemption is not helpful for scheduling",))


@dataclass(frozen=True)
class Candidate:
    """A node and who would have to go, most important first."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int

    @cached_property
    def harm(self) -> tuple[int, ...]:
        """What is compared first when nodes are compared; less is better."""
        victims = self.victims
        return self.violations, victims[0].priority, sum(v.priority + 2**31 for v in victims), len(victims)


def more_important(pod: PodInfo) -> tuple[int, str]:
    """Sort key: higher priority first, then who has run longest (RFC 3339 times sort as text;
    one that has not started counts as starting now)."""
    return (-pod.priority, pod.start_time or "~")


def pick(candidates: list[Candidate]) -> Candidate:
    """The candidate that does the least harm: fewest violated budgets, lowest highest priority,
    smallest sum of priorities, fewest victims, latest start of the most important victims."""
    least = min(c.harm for c in candidates)
    return max((c for c in candidates if c.harm == least), key=_earliest_start)


def _earliest_start(candidate: Candidate) -> str:
    highest = candidate.victims[0].priority
    return min(v.start_time or "~" for v in candidate.victims if v.priority == highest)


class DefaultPreemption(Plugin):
    """Args: `minCandidateNodesPercentage` (10), `minCandidateNodesAbsolute` (100)."""

    name = "DefaultPreemption"
    engine: Engine
    """Set by whoever makes the engine: verdicts about suppositions come from it."""

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.percentage = int(args.get("minCandidateNodesPercentage", 10))
        self.absolute = int(args.get("minCandidateNodesAbsolute", 100))
        self._kept: dict[Any, _Kept] = {}

    def pre_enqueue(self, pod: PodInfo) -> Status:
        if pod.uid not in self.handle.pending:
            return SUCCESS
        text = "waiting for the preemption for this pod to be finished"
        return Status(Code.UNRESOLVABLE, (text,), self.name)

    def events(self) -> tuple[EventHint, ...]:
        # What the pod waits for is the end of its own evictions; those who rejected it decide
        # about everything else.
        return (EventHint("AssignedPod", frozenset({"delete"}), _never, by_class=True),)

    # --- postFilter ------------------------------------------------------------------------

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> PostFilterResult:
        refusal = self._ineligible(cycle.pod, diagnosis)
        if refusal:
            return PostFilterResult(Status(Code.UNSCHEDULABLE, (f"preemption: {refusal}",), self.name))
        candidates, verdicts = self.candidates(cycle, diagnosis)
        if not candidates:
            text = fit_message(Diagnosis(cycle.statuses, verdicts, NOT_HELPFUL), cycle.table)
            status = Status(Code.UNSCHEDULABLE, (f"preemption: {text}",), self.name)
            return PostFilterResult(status, nominated="")
        asked = [e for e in self.engine.extenders if e.preempts and e.interested(cycle.pod)]
        if asked:
            return PostFilterResult(SUCCESS, later=lambda: self._with_extenders(cycle.pod, candidates, asked))
        return self._act_on(cycle.pod, candidates)

    def _act_on(self, pod: PodInfo, candidates: list[Candidate]) -> PostFilterResult:
        best = pick(candidates)
        self._evict(pod, best)
        return PostFilterResult(SUCCESS, nominated=best.node)

    async def _with_extenders(
        self, pod: PodInfo, candidates: list[Candidate], extenders: list[Any]
    ) -> PostFilterResult:
        """Let extenders strike candidates and choose other victims, one after the other."""
        try:
            for extender in extenders:
                candidates = await extender.preempt(pod, candidates)
                if not candidates:
                    break
        except OSError as error:
            return PostFilterResult(Status(Code.ERROR, (str(error),), self.name))
        if not candidates:
            text = "preemption: no candidate node for preemption"
            return PostFilterResult(Status(Code.UNSCHEDULABLE, (text,), self.name))
        return self._act_on(pod, candidates)

    def _ineligible(self, pod: PodInfo, diagnosis: Diagnosis) -> str:
        """Why the pod may not preempt (again); empty if it may."""
        if (pod.object.get("spec") or {}).get("preemptionPolicy") == "Never":
            return "not eligible due to preemptionPolicy=Never."
        row = self.handle.table.index.get(pod.nominated_node) if pod.nominated_node else None
        if row is None or row >= diagnosis.codes.shape[0]:
            return ""
        if diagnosis.status(row).code is Code.UNRESOLVABLE:
            return ""
        for other in self.handle.cache.pods_on(row).values():
            if other.priority < pod.priority and other.terminating and _preempted(other.object):
                return "not eligible due to a terminating pod on the nominated node."
        return ""

    def candidates(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[list[Candidate], Ints]:
        """Nodes that evictions can make room on, and a verdict per row for the others (-1: of no
        help). Stops when there are enough of them."""
        table, statuses = cycle.table, cycle.statuses
        size = table.size
        verdicts: Ints = np.full(size, -1, np.int64)
        codes = diagnosis.codes
        mendable = [c for c in np.unique(codes).tolist() if c > 0 and statuses[c].code is Code.UNSCHEDULABLE]
        rows = np.flatnonzero(np.isin(codes, mendable) & table.alive[: codes.shape[0]])
        if diagnosis.absent.code is Code.UNSCHEDULABLE:
            rows = np.flatnonzero(((codes < 0) | np.isin(codes, mendable)) & table.alive[: codes.shape[0]])
        number = rows.shape[0]
        if not number:
            return [], verdicts
        enough = min(max(number * self.percentage // 100, self.absolute), number)
        offset = self.handle.random.randrange(number)
        simple = self._resources_only(cycle)
        budgets = _budgets(self.handle)
        kept = self._kept_for(cycle) if simple else None
        found: list[Candidate] = []
        harmless = 0
        for row in np.roll(rows, -offset).tolist():
            one, status = self._victims_of(cycle, row, budgets, kept)
            if one is None:
                verdicts[row] = statuses.code(status)
                continue
            found.append(one)
            harmless += one.violations == 0
            if harmless and len(found) >= enough:
                break
        return found, verdicts

    # --- what is kept between equal preemptors ---------------------------------------------

    def _kept_for(self, cycle: Cycle) -> _Kept:
        """Results for preemptors of this kind and priority, without those of rows that changed."""
        key = (Verdicts.kind(cycle.cls), cycle.pod.priority)
        table = cycle.table
        stamp = (self.handle.objects.versions["poddisruptionbudgets"], table.generation)
        kept = self._kept.pop(key, None)
        end = table.log_start + len(table.log)
        if kept is None or kept.stamp != stamp or kept.position < table.log_start:
            if len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            kept = _Kept(stamp)
        else:
            for row in table.log[kept.position - table.log_start :]:
                kept.results.pop(row, None)
        kept.position = end
        self._kept[key] = kept
        return kept

    def _victims_of(
        self, cycle: Cycle, row: int, budgets: list[tuple[Object, Any]], kept: _Kept | None
    ) -> tuple[Candidate | None, Status]:
        if kept is None:
            return self._victims(cycle, row, budgets, False)
        hoping = tuple(self.handle.nominated.get(cycle.table.names[row] or "", ()))
        known = kept.results.get(row)
        if known is not None and known[0] == hoping and cycle.pod.uid not in hoping:
            return known[1], known[2]
        one, status = self._victims(cycle, row, budgets, True)
        if cycle.pod.uid not in hoping:
            kept.results[row] = (hoping, one, status)
        return one, status

    # --- victims on one node ---------------------------------------------------------------

    def _resources_only(self, cycle: Cycle) -> bool:
        """Whether on a node that was refused for want of resources nothing else depends on which
        pods are there, so that the room can be reckoned with instead of asking every filter."""
        profile = self.engine.profile
        return (
            not cycle.cls.ports
            and not self.engine.extenders
            and all(p.name in cycle.skip_filter for p in profile.late_filters)
            and bool(profile.row_filters)
            and profile.row_filters[-1].name == "NodeResourcesFit"
        )

    def _victims(
        self, cycle: Cycle, row: int, budgets: list[tuple[Object, Any]], simple: bool
    ) -> tuple[Candidate | None, Status]:
        pod, cache = cycle.pod, cycle.cache
        lower = [p for p in cache.pods_on(row).values() if p.priority < pod.priority]
        if not lower:
            return None, NO_VICTIMS
        hoping = self._hoping(pod, cycle.table.names[row] or "")
        room: _Room | _Suppose
        if simple and not any(p.cls.anti_affinity for p in hoping):
            room = _Room(self.engine, cycle, row, hoping)
        else:
            room = _Suppose(self.engine, cycle, row)
        try:
            for victim in lower:
                room.remove(victim)
            status = room.fits()
            if not status.ok:
                return None, status
            lower.sort(key=more_important)
            violating, others = _by_budget(lower, budgets)
            victims: list[PodInfo] = []
            violations = 0
            for group, counts in ((violating, 1), (others, 0)):
                for one in group:
                    room.put_back(one)
                    if not room.fits().ok:
                        room.remove(one)
                        victims.append(one)
                        violations += counts
        finally:
            room.undo()
        if not victims:
            return None, NO_VICTIMS
        victims.sort(key=more_important)
        return Candidate(cycle.table.names[row] or "", tuple(victims), violations), SUCCESS

    def _hoping(self, pod: PodInfo, node: str) -> list[PodInfo]:
        """Pods that room is being made for on a node and that this one may not push aside."""
        pods = self.handle.nominated.get(node)
        return [p for p in pods.values() if p.priority >= pod.priority and p.uid != pod.uid] if pods else []

    # --- acting ----------------------------------------------------------------------------

    def _evict(self, pod: PodInfo, candidate: Candidate) -> None:
        """Start the evictions, and let pods of lower priority that hoped for the node hope anew."""
        handle = self.handle
        victims = [v for v in candidate.victims if not v.terminating]
        if not victims or handle.act is None:
            return
        handle.pending[pod.uid] = pod
        handle.act(self._run_evictions(pod, candidate.node, victims))

    async def _run_evictions(self, pod: PodInfo, node: str, victims: list[PodInfo]) -> None:
        try:
            for other in list(self.handle.nominated.get(node, {}).values()):
                if other.priority < pod.priority:
                    await self._disappoint(other)
            for victim in victims:
                await self._evict_one(pod, node, victim)
        except StatusError as error:
            # The pod is tried again at once: nothing else would bring it back.
            self.handle.pending.pop(pod.uid, None)
            self.engine.on_evicted(pod.uid, True, error.message)
            return
        self.handle.pending.pop(pod.uid, None)
        gone = all(self.handle.cache.placed(v.uid) is None for v in victims)
        self.engine.on_evicted(pod.uid, gone, "")

    async def _disappoint(self, other: PodInfo) -> None:
        """A pod of lower priority will not get the room it hoped for here."""
        body = {"metadata": {"uid": other.uid}, "status": {"nominatedNodeName": None}}
        try:
            await self.handle.client.patch("pods", other.name, other.namespace, body, subresource="status")
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _evict_one(self, pod: PodInfo, node: str, victim: PodInfo) -> None:
        handle = self.handle
        waiting = handle.waiting.get(victim.uid)
        if waiting is not None:
            waiting.reject(self.name, "preempted")
        else:
            client = handle.client
            try:
                condition = {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "PreemptionByScheduler",
                    "message": f"{pod.scheduler_name}: preempting to accommodate a higher priority pod",
                    "lastTransitionTime": handle.rfc3339(),
                }
                generation = victim.object["metadata"].get("generation")
                if generation:
                    condition["observedGeneration"] = generation
                present = (victim.object.get("status") or {}).get("conditions") or ()
                order = [{"type": kind} for kind in dict.fromkeys(c["type"] for c in (*present, condition))]
                change = {"$setElementOrder/conditions": order, "conditions": [condition]}
                await client.patch(
                    "pods",
                    victim.name,
                    victim.namespace,
                    {"metadata": {"uid": victim.uid}, "status": change},
                    patch_type="application/strategic-merge-patch+json",
                    subresource="status",
                )
                await client.delete("pods", victim.name, victim.namespace, uid=victim.uid)
            except StatusError as error:
                if error.code not in (404, 409):
                    raise
                return
        if handle.event is not None:
            handle.event(
                victim.object,
                "Normal",
                "Preempted",
                f"Preempted by pod {pod.uid} on node {node}",
                action="Preempting",
                related=pod.object,
            )


@dataclass
class _Kept:
    """Victims per row as found for one kind of preemptor, with who hoped for the node then."""

    stamp: tuple[int, int]
    position: int = 0
    results: dict[int, tuple[tuple[str, ...], Candidate | None, Status]] = field(default_factory=dict)


def _never(pod: PodInfo, event: ClusterEvent) -> bool:
    return False


def _preempted(pod: Object) -> bool:
    """Whether a pod that is going goes because this scheduler preempted it."""
    condition = find_condition((pod.get("status") or {}).get("conditions"), "DisruptionTarget")
    return (
        condition is not None
        and condition.get("status") == "True"
        and condition.get("reason") == "PreemptionByScheduler"
    )


def _budgets(handle: Handle) -> list[tuple[Object, Any]]:
    """Disruption budgets that select anything, with their compiled selectors."""
    found = []
    for budget in handle.objects.list("poddisruptionbudgets"):
        try:
            selector = selector_of((budget.get("spec") or {}).get("selector"))
        except SelectorError:
            continue
        if not selector.empty and not selector.nothing:
            found.append((budget, selector))
    return found


def _by_budget(pods: list[PodInfo], budgets: list[tuple[Object, Any]]) -> tuple[list[PodInfo], list[PodInfo]]:
    """Pods whose eviction would violate a budget, if those before them in the list were evicted
    too, and the others."""
    if not budgets:
        return [], pods
    allowed = [int((b.get("status") or {}).get("disruptionsAllowed") or 0) for b, _ in budgets]
    violating: list[PodInfo] = []
    others: list[PodInfo] = []
    for pod in pods:
        violated = False
        for i, (budget, selector) in enumerate(budgets):
            if not pod.cls.labels or budget["metadata"].get("namespace") != pod.namespace:
                continue
            if not selector.matches(pod.cls.labels):
                continue
            if pod.name in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue
            allowed[i] -= 1
            violated = violated or allowed[i] < 0
        (violating if violated else others).append(pod)
    return violating, others


class _Suppose:
    """Room on a node by supposing pods away and asking every filter."""

    def __init__(self, engine: Engine, cycle: Cycle, row: int) -> None:
        self.ask: Callable[[], Status] = lambda: engine.check_row_with_nominated(cycle.pod, row)
        self.supposition = cycle.cache.suppose(row)

    def remove(self, pod: PodInfo) -> None:
        self.supposition.take_out(pod)

    def put_back(self, pod: PodInfo) -> None:
        self.supposition.put_back(pod)

    def fits(self) -> Status:
        return self.ask()

    def undo(self) -> None:
        self.supposition.undo()


class _Room:
    """Room on a node by reckoning, where only resources matter. Agrees with `_Suppose`."""

    def __init__(self, engine: Engine, cycle: Cycle, row: int, hoping: list[PodInfo]) -> None:
        table = cycle.table
        self.names = table.resources.names
        self.wanted = dict(engine.profile.row_filters[-1]._requests(cycle.cls))  # type: ignore[attr-defined]
        self.capacity = {p: int(table.allocatable[p, row]) for p in self.wanted}
        self.free = {p: self.capacity[p] - int(table.requested[p, row]) for p in self.wanted}
        self.places = int(table.pods_allowed[row] - table.pods[row])
        for pod in hoping:
            self.put_back(pod)

    def remove(self, pod: PodInfo, sign: int = 1) -> None:
        for place, number in pod.cls.requests:
            if place in self.free:
                self.free[place] += sign * number
        self.places += sign

    def put_back(self, pod: PodInfo) -> None:
        self.remove(pod, -1)

    def fits(self) -> Status:
        short = [p for p, number in self.wanted.items() if self.free[p] < number]
        if self.places >= 1 and not short:
            return SUCCESS
        reasons = ["Too many pods"] if self.places < 1 else []
        reasons += [f"Insufficient {self.names[p]}" for p in short]
        never = any(self.capacity[p] < self.wanted[p] for p in short)
        code = Code.UNRESOLVABLE if never else Code.UNSCHEDULABLE
        return Status(code, tuple(reasons), "NodeResourcesFit")

    def undo(self) -> None:
        """Nothing was changed."""
