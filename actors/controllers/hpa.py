"""The HorizontalPodAutoscaler controller: replicas that follow metrics.

Each autoscaler is looked at once per sync period (15 s), not when something changes. It writes the
scale subresource of its target and its own status.
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ , upstream's
`pkg/controller/podautoscaler`.
"""

from __future__ import annotations

from actors.controllers._deletable import built_in, custom
from actors.controllers._hpamath import Change, Tolerances, limit_by_policies, limit_by_rules
from actors.controllers._hpametrics import FailedMetric, Proposal, Proposer, Target
from actors.controllers._metrics import Metrics
from actors.controllers._reconcile import Context, Controller
from protocol.api import Resource, StatusError
from protocol.objects import (
    Object,
    Selector,
    SelectorError,
    deleting,
    find_condition,
    key,
    labels,
    mutable,
    namespace,
    parse_selector,
    spec,
    status,
    with_status,
)
from protocol.quantity import parse_quantity
from protocol.status import failure

__all__ = ["HorizontalPodAutoscalerController"]

HISTORY_S = 3600.0


class Look:
    """One look at one autoscaler: what it finds, and the conditions and numbers it will write."""

    def __init__(self, hpa: Object, now_text: str) -> None:
        self.hpa = hpa
        self.now_text = now_text
        self.conditions: list[Object] = list(status(hpa).get("conditions") or ())
        self.metrics: list[Object] = list(status(hpa).get("currentMetrics") or ())
        self.current: int | None = status(hpa).get("currentReplicas")
        self.desired: int = status(hpa).get("desiredReplicas") or 0
        self.scaled = False
        self.minimum: int = spec(hpa).get("minReplicas", 1)
        self.maximum: int = spec(hpa).get("maxReplicas", 1)

    def condition(self, kind: str, state: str, reason: str, message: str) -> None:
        """Set a condition."""
        entry = {
            "type": kind,
            "status": state,
            "lastTransitionTime": self.now_text,
            "reason": reason,
            "message": message,
        }
        present = find_condition(self.conditions, kind)
        if present is None:
            self.conditions.append(entry)
            return
        if present.get("status") == state:
            entry["lastTransitionTime"] = present["lastTransitionTime"]
        self.conditions[self.conditions.index(present)] = entry

    def as_status(self) -> Object:
        """The status to be written."""
        new: Object = {"desiredReplicas": self.desired, "conditions": self.conditions}
        if self.current:
            new["currentReplicas"] = self.current
        if self.metrics:
            new["currentMetrics"] = self.metrics
        else:
            new["currentMetrics"] = None
        last = self.now_text if self.scaled else status(self.hpa).get("lastScaleTime")
        if last:
            new["lastScaleTime"] = last
        return new


class HorizontalPodAutoscalerController(Controller):
    """See the module."""

    component = "horizontal-pod-autoscaler"
    resources = ("horizontalpodautoscalers", "pods", "customresourcedefinitions")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.autoscalers = self.store("horizontalpodautoscalers")
        self.pods = self.store("pods")
        self.metrics = Metrics(self.client)
        self._recommended: dict[str, list[tuple[float, int]]] = {}
        self._ups: dict[str, list[Change]] = {}
        self._downs: dict[str, list[Change]] = {}
        self._selectors: dict[str, Selector] = {}
        self.on_change("horizontalpodautoscalers", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            for memory in (self._recommended, self._ups, self._downs, self._selectors):
                memory.pop(key(old), None)  # type: ignore[attr-defined]
        elif old is None or spec(old) != spec(new):
            self.queue.add_after(key(new), self.options.horizontal_pod_autoscaler_sync_period)

    async def reconcile(self, key: str) -> None:
        hpa = self.autoscalers.get(key)
        if hpa is None or deleting(hpa):
            return
        try:
            await self._look(key, Look(hpa, self.clock.rfc3339()))
        finally:
            self.queue.add_after(key, self.options.horizontal_pod_autoscaler_sync_period)

    # --- one look -------------------------------------------------------------------------------

    async def _look(self, key: str, look: Look) -> None:
        try:
            what, scale = await self._scale_of(look.hpa)
        except StatusError as error:
            self.recorder.event(look.hpa, "Warning", "FailedGetScale", error.message)
            text = "the HPA controller was unable to get the target's current scale"
            look.condition("AbleToScale", "False", "FailedGetScale", f"{text}: {error.message}")
            await self._write(look)
            return
        text = "the HPA controller was able to get the target's current scale"
        look.condition("AbleToScale", "True", "SucceededGetScale", text)
        current = int(spec(scale).get("replicas") or 0)
        look.current = current
        self._recommended.setdefault(key, [(self.clock.now(), current)])
        try:
            desired, why = await self._desired(key, look, scale, current)
        except FailedMetric as error:
            self.recorder.event(
                look.hpa, "Warning", "FailedComputeMetricsReplicas", str(error)
            )
            await self._write(look)
            return
        if desired != current and not await self._rescale(key, look, what, scale, desired, why):
            return
        look.desired = desired
        await self._write(look)

    async def _desired(
        self, key: str, look: Look, scale: Object, current: int
    ) -> tuple[int, str]:
        """(replicas, reason for people). Raises `FailedMetric`."""
        if current == 0 and look.minimum != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            look.condition("ScalingActive", "False", "ScalingDisabled", text)
            return 0, ""
        if current > look.maximum:
            return look.maximum, "Current number of replicas above Spec.MaxReplicas"
        if current < look.minimum:
            return look.minimum, "Current number of replicas below Spec.MinReplicas"
        best = await self._evaluate(look, scale, current)
        why = ""
        if best.replicas > current:
            why = f"{best.name} above target"
        elif best.replicas < current:
            why = "All metrics below target"
        return self._normal(key, look, current, best.replicas), why

    async def _evaluate(self, look: Look, scale: Object, current: int) -> Proposal:
        """The largest proposal of all metrics. Raises `FailedMetric`."""
        target = self._target(look, scale, current)
        proposer = Proposer(
            self.metrics,
            target,
            self._tolerances(look.hpa),
            self.options.horizontal_pod_autoscaler_cpu_initialization_period,
            self.options.horizontal_pod_autoscaler_initial_readiness_delay,
            self.clock.now(),
        )
        wanted = spec(look.hpa).get("metrics") or ()
        best: Proposal | None = None
        failures: list[FailedMetric] = []
        statuses: list[Object] = []
        for metric in wanted:
            try:
                proposal = await proposer.propose(metric)
            except FailedMetric as error:
                failures.append(error)
                self.recorder.event(look.hpa, "Warning", error.reason, error.why)
                statuses.append({"type": ""})
                continue
            statuses.append(proposal.status)
            if best is None or proposal.replicas > best.replicas:
                best = proposal
        # With some metrics unknown it may still grow, by what the others say, but never shrink.
        if best is None or (failures and best.replicas < current):
            first = failures[0] if failures else FailedMetric("", "no metrics", "")
            text = f"the HPA was unable to compute the replica count: {first.why}"
            look.condition("ScalingActive", "False", first.reason, text)
            count = f"{len(failures)} invalid out of {len(wanted)}"
            raise FailedMetric(
                first.reason, f"invalid metrics ({count}), first error is", str(first)
            )
        look.metrics = statuses
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        look.condition("ScalingActive", "True", "ValidMetricFound", text)
        return best

    def _target(self, look: Look, scale: Object, current: int) -> Target:
        """What is scaled, with its pods. Raises `FailedMetric`."""
        text = status(scale).get("selector") or ""
        if not text:
            why = "selector is required"
            self.recorder.event(look.hpa, "Warning", "SelectorRequired", why)
            message = "the HPA target's scale is missing a selector"
            look.condition("ScalingActive", "False", "InvalidSelector", message)
            raise FailedMetric("InvalidSelector", "invalid selector", why)
        try:
            selector = parse_selector(text)
        except SelectorError as error:
            why = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self.recorder.event(look.hpa, "Warning", "InvalidSelector", why)
            look.condition("ScalingActive", "False", "InvalidSelector", why)
            raise FailedMetric("InvalidSelector", "invalid selector", why) from None
        where = namespace(look.hpa)
        pods = [p for p in self.pods.in_namespace(where) if selector.matches(labels(p))]
        self._selectors[key(look.hpa)] = selector
        rivals = self._rivals(where, pods)
        if len(rivals) > 1:
            why = f"pods by selector {text} are controlled by multiple HPAs: [{' '.join(rivals)}]"
            self.recorder.event(look.hpa, "Warning", "AmbiguousSelector", why)
            look.condition("ScalingActive", "False", "AmbiguousSelector", why)
            raise FailedMetric("AmbiguousSelector", "ambiguous selector", why)
        reported = int(status(scale).get("replicas") or 0)
        return Target(where, text, current, reported, pods)

    def _rivals(self, where: str, pods: list[Object]) -> list[str]:
        """The autoscalers that scale any of these pods, as far as they have been looked at."""
        return sorted(
            other
            for other, selector in self._selectors.items()
            if other.startswith(f"{where}/") and any(selector.matches(labels(p)) for p in pods)
        )

    def _tolerances(self, hpa: Object) -> Tolerances:
        default = self.options.horizontal_pod_autoscaler_tolerance
        behavior = spec(hpa).get("behavior") or {}

        def of(direction: str) -> float:
            text = (behavior.get(direction) or {}).get("tolerance")
            return default if text is None else float(parse_quantity(text))

        return Tolerances(of("scaleDown"), of("scaleUp"))

    # --- limits ---------------------------------------------------------------------------------

    def _normal(self, key: str, look: Look, current: int, proposed: int) -> int:
        """The proposal, steadied and within the limits; sets the conditions that say so."""
        behavior = spec(look.hpa).get("behavior")
        now = self.clock.now()
        if behavior is None:
            window_s = self.options.horizontal_pod_autoscaler_downscale_stabilization
            steady, why = self._steadied(key, current, proposed, 0.0, window_s, False)
        else:
            up_s = (behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds") or 0
            down_s = (behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds")
            if down_s is None:
                down_s = self.options.horizontal_pod_autoscaler_downscale_stabilization
            steady, why = self._steadied(key, current, proposed, up_s, down_s, True)
        look.condition("AbleToScale", "True", *why)
        if behavior is None:
            limited, reason = limit_by_rules(current, steady, look.minimum, look.maximum)
        else:
            ups, downs = self._ups.get(key, []), self._downs.get(key, [])
            limited, reason = limit_by_policies(
                current, steady, look.minimum, look.maximum, behavior, ups, downs, now
            )
        look.condition("ScalingLimited", "False" if limited == steady else "True", *reason)
        return limited

    def _steadied(
        self, key: str, current: int, proposed: int, up_s: float, down_s: float, both: bool
    ) -> tuple[int, tuple[str, str]]:
        """(recommendation, (reason, message)) over the recent ones: down to the highest of the
        window, up (with behaviour) to the lowest of its window."""
        now = self.clock.now()
        recent = [r for r in self._recommended.get(key, []) if r[0] > now - HISTORY_S]
        highest = max([proposed, *(n for at, n in recent if at > now - down_s)])
        lowest = min([proposed, *(n for at, n in recent if at > now - up_s)])
        self._recommended[key] = [*recent, (now, proposed)]
        steady = highest
        if both:
            steady = current
            steady = max(steady, lowest)
            steady = min(steady, highest)
        if steady == proposed:
            return steady, ("ReadyForNewScale", "recommended size matches current size")
        if both and proposed >= current:
            return steady, (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent"
                " recommendation",
            )
        return steady, (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent"
            " recommendation",
        )

    # --- scale subresource and status -----------------------------------------------------------

    async def _scale_of(self, hpa: Object) -> tuple[Resource, Object]:
        reference = spec(hpa).get("scaleTargetRef") or {}
        group, kind = reference.get("apiVersion", "").rpartition("/")[0], reference.get("kind", "")
        # Any version will do: the kind is looked for, in whatever version it is served.
        kinds = (*built_in(), *custom(self.store("customresourcedefinitions")))
        found = next((k for k in kinds if (k.resource.group, k.kind) == (group, kind)), None)
        if found is None:
            raise failure(404, "NotFound", f'no matches for kind "{kind}" in group "{group}"')
        what = found.resource
        scale = await self.client.get_subresource(
            what, reference.get("name", ""), namespace(hpa), "scale"
        )
        return what, scale

    async def _rescale(
        self, key: str, look: Look, what: Resource, scale: Object, desired: int, why: str
    ) -> bool:
        changed = mutable(scale)
        changed.setdefault("spec", {})["replicas"] = desired
        try:
            await self.client.update(what, changed, subresource="scale")
        except StatusError as error:
            text = f"New size: {desired}; reason: {why}; error: {error.message}"
            self.recorder.event(look.hpa, "Warning", "FailedRescale", text)
            text = f"the HPA controller was unable to update the target scale: {error.message}"
            look.condition("AbleToScale", "False", "FailedUpdateScale", text)
            await self._write(look)
            return False
        text = f"the HPA controller was able to update the target scale to {desired}"
        look.condition("AbleToScale", "True", "SucceededRescale", text)
        self.recorder.event(
            look.hpa, "Normal", "SuccessfulRescale", f"New size: {desired}; reason: {why}"
        )
        look.scaled = True
        now = self.clock.now()
        by = desired - (look.current or 0)
        memory = self._ups if by > 0 else self._downs
        memory[key] = [c for c in memory.get(key, []) if c.at > now - HISTORY_S]
        memory[key].append(Change(now, abs(by)))
        return True

    async def _write(self, look: Look) -> None:
        new = look.as_status()
        old = status(look.hpa)
        if new == {"currentMetrics": None, **old}:
            return
        try:
            await self.client.update_status(
                "horizontalpodautoscalers", with_status(look.hpa, new)
            )
        except StatusError as error:
            self.recorder.event(look.hpa, "Warning", "FailedUpdateStatus", error.message)
            raise
