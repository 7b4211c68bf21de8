"""From one metric of a HorizontalPodAutoscaler to a proposal: fetch, compare, count.

Owns the five kinds of metric sources and the texts that say what went wrong with which. What the
proposals lead to is the controller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from actors.controllers._hpamath import (
    MetricError,
    Sample,
    Tolerances,
    group_pods,
    plain_replicas,
    requests_of,
    utilization_replicas,
)
from actors.controllers._metrics import Metrics
from actors.controllers._pods import is_ready
from actors.controllers._selectors import cached_selector
from protocol.kinds import by_kind
from protocol.objects import Object, status
from protocol.quantity import format_quantity, milli_value

__all__ = ["FailedMetric", "Proposal", "Proposer"]

NO_PODS = "no pods returned by selector while calculating replica count"


class Proposal(NamedTuple):
    """Replicas that one metric asks for, its name for people, its entry in `currentMetrics`."""

    replicas: int
    name: str
    status: Object


class FailedMetric(Exception):
    """A metric could not be used. `reason` is the event's, `why` the event's text; the exception's
    own text says which metric it was."""

    def __init__(self, reason: str, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.reason = reason
        self.why = why


class Target(NamedTuple):
    """What is scaled: namespace, text of the pods' selector, sizes wanted and reported, pods."""

    namespace: str
    selector: str
    wanted: int
    reported: int
    pods: list[Object]


class Proposer:
    """Evaluates metrics for one target; times in seconds, `now` since the epoch."""

    def __init__(
        self,
        metrics: Metrics,
        target: Target,
        tolerances: Tolerances,
        initialization_s: float,
        readiness_delay_s: float,
        now: float,
    ) -> None:
        self.metrics = metrics
        self.target = target
        self.tolerances = tolerances
        self.initialization_s = initialization_s
        self.readiness_delay_s = readiness_delay_s
        self.now = now

    async def propose(self, metric: Object) -> Proposal:
        """Raises `FailedMetric`."""
        kind = metric.get("type", "")
        if kind == "Resource":
            return await self._resource(metric["resource"])
        if kind == "ContainerResource":
            return await self._container_resource(metric["containerResource"])
        if kind == "Pods":
            return await self._pods(metric["pods"])
        if kind == "Object":
            return await self._object(metric["object"])
        if kind == "External":
            return await self._external(metric["external"])
        why = f'unknown metric source type "{kind}"'
        raise FailedMetric("InvalidMetricSourceType", why, why)

    # --- resource metrics -----------------------------------------------------------------------

    async def _resource(self, source: Object) -> Proposal:
        resource = source["name"]
        try:
            replicas, current = await self._usage(resource, "", source.get("target") or {})
        except MetricError as error:
            what = f"failed to get {resource} resource metric value"
            raise FailedMetric("FailedGetResourceMetric", what, str(error)) from None
        entry = {"type": "Resource", "resource": {"name": resource, "current": current}}
        return Proposal(replicas, _resource_name(resource, current), entry)

    async def _container_resource(self, source: Object) -> Proposal:
        resource, container = source["name"], source["container"]
        try:
            replicas, current = await self._usage(resource, container, source.get("target") or {})
        except MetricError as error:
            what = f"failed to get {container} container metric value"
            raise FailedMetric("FailedGetContainerResourceMetric", what, str(error)) from None
        detail = {"name": resource, "container": container, "current": current}
        entry = {"type": "ContainerResource", "containerResource": detail}
        return Proposal(replicas, _resource_name(resource, current, "container "), entry)

    async def _usage(self, resource: str, container: str, target: Object) -> tuple[int, Object]:
        """(replicas, current value). Raises `MetricError`."""
        average = target.get("averageValue")
        share = target.get("averageUtilization")
        if average is None and share is None:
            raise MetricError(
                f"invalid {resource} metric source: neither an average utilization target nor an"
                " average value (usage) target was set"
            )
        word = "usage" if average is not None else "utilization"
        try:
            samples = await self._samples(resource, container)
            groups = group_pods(
                self.target.pods,
                samples,
                resource == "cpu",
                self.initialization_s,
                self.readiness_delay_s,
                self.now,
            )
            if average is not None:
                replicas, used = plain_replicas(
                    self.target.wanted, milli_value(average), samples, groups, self.tolerances
                )
                return replicas, {"averageValue": _quantity(used)}
            requests = requests_of(self.target.pods, container, resource)
            replicas, percent, used = utilization_replicas(
                self.target.wanted, int(share or 0), samples, requests, groups, self.tolerances
            )
        except MetricError as error:
            raise MetricError(f"failed to get {resource} {word}: {error}") from None
        return replicas, {"averageUtilization": percent, "averageValue": _quantity(used)}

    async def _samples(self, resource: str, container: str) -> dict[str, Sample]:
        try:
            samples = await self.metrics.pods(
                resource, self.target.namespace, self.target.selector, container
            )
        except MetricError as error:
            raise MetricError(f"unable to get metrics for resource {resource}: {error}") from None
        if not self.target.pods:
            raise MetricError(NO_PODS)
        return samples

    # --- custom and external metrics ------------------------------------------------------------

    async def _pods(self, source: Object) -> Proposal:
        metric = source["metric"]["name"]
        selector = str(cached_selector(source["metric"].get("selector") or {}))
        wanted = milli_value((source.get("target") or {}).get("averageValue") or "0")
        try:
            samples = await self.metrics.custom_pods(
                metric, self.target.namespace, self.target.selector, selector
            )
            groups = group_pods(self.target.pods, samples, False, 0.0, 0.0, self.now)
            replicas, used = plain_replicas(
                self.target.wanted, wanted, samples, groups, self.tolerances
            )
        except MetricError as error:
            why = f"unable to get metric {metric}: {error}"
            what = "failed to get pods metric value"
            raise FailedMetric("FailedGetPodsMetric", what, why) from None
        detail = {"metric": source["metric"], "current": {"averageValue": _quantity(used)}}
        return Proposal(replicas, f"pods metric {metric}", {"type": "Pods", "pods": detail})

    async def _object(self, source: Object) -> Proposal:
        metric, target = source["metric"]["name"], source.get("target") or {}
        selector = str(cached_selector(source["metric"].get("selector") or {}))
        about = source["describedObject"]
        what = "failed to get object metric value"
        if target.get("averageValue") is not None:
            what += f": failed to get {metric} object metric"
        try:
            value = await self.metrics.custom_object(
                _resource_of(about), about["name"], metric, self.target.namespace, selector
            )
        except MetricError as error:
            where = f"{about['kind']} on {self.target.namespace} {about['name']}"
            raise FailedMetric("FailedGetObjectMetric", what, f"unable to get metric {metric}: {where}/{error}") from None
        try:
            replicas, current = self._by_value(value, target)
        except MetricError as error:
            raise FailedMetric("FailedGetObjectMetric", what, str(error)) from None
        if "averageValue" in current:  # upstream names neither the object nor its kind here
            detail = {"describedObject": {"kind": "", "name": ""}, "metric": source["metric"], "current": current}
            name = f"external metric {metric}({_go_selector(source['metric'].get('selector'))})"
        else:
            detail = {"describedObject": about, "metric": source["metric"], "current": current}
            name = f"{about['kind']} metric {metric}"
        return Proposal(replicas, name, {"type": "Object", "object": detail})

    async def _external(self, source: Object) -> Proposal:
        metric, target = source["metric"]["name"], source.get("target") or {}
        selector = str(cached_selector(source["metric"].get("selector") or {}))
        shown = _go_selector(source["metric"].get("selector"))
        per_pod = target.get("averageValue") is not None
        inner = f"failed to get {metric} external metric" if per_pod else f"failed to get external metric {metric}"
        what = f"failed to get {metric} external metric value: {inner}"
        try:
            value = sum(await self.metrics.external(metric, self.target.namespace, selector))
        except MetricError as error:
            why = f"unable to get external metric {self.target.namespace}/{metric}/{shown}: {error}"
            raise FailedMetric("FailedGetExternalMetric", what, why) from None
        try:
            replicas, current = self._by_value(value, target)
        except MetricError as error:
            raise FailedMetric("FailedGetExternalMetric", what, str(error)) from None
        detail = {"metric": source["metric"], "current": current}
        return Proposal(replicas, f"external metric {metric}({shown})", {"type": "External", "external": detail})

    def _by_value(self, value: int, target: Object) -> tuple[int, Object]:
        """Replicas for one value of all pods together: per pod, or against one target. Raises
        `MetricError`."""
        if target.get("averageValue") is not None:
            wanted = milli_value(target["averageValue"])
            pods = max(1, self.target.reported)
            replicas = self.target.reported
            if not self.tolerances.within(value / (wanted * pods)):
                replicas = math.ceil(value / wanted)
            return replicas, {"averageValue": _quantity(math.ceil(value / pods))}
        wanted = milli_value(target.get("value") or "0")
        ratio = value / wanted if wanted else 0.0
        current: Object = {"value": _quantity(value)}
        if self.target.wanted == 0:
            return math.ceil(ratio), current
        if self.tolerances.within(ratio):
            return self.target.wanted, current
        if not self.target.pods:
            raise MetricError(f"unable to calculate ready pods: {NO_PODS}")
        return math.ceil(ratio * _running(self.target.pods)), current


def _running(pods: Iterable[Object]) -> int:
    return sum(status(p).get("phase") == "Running" and is_ready(p) for p in pods)


def _quantity(milli: int) -> str:
    return format_quantity(Decimal(milli) / 1000)


def _resource_name(resource: str, current: Object, of: str = "") -> str:
    if "averageUtilization" in current:
        return f"{resource} {of}resource utilization (percentage of request)"
    return f"{resource} resource"


def _resource_of(about: Object) -> str:
    """How the custom metrics API names the kind of an object."""
    group, _, version = about.get("apiVersion", "").rpartition("/")
    kind = by_kind(group, version, about.get("kind", ""))
    plural = kind.resource if kind is not None else about.get("kind", "").lower() + "s"
    return f"{plural}.{group}" if group else plural


def _go_selector(selector: Object | None) -> str:
    """A LabelSelector as Go prints it in these texts."""
    if selector is None:
        return "nil"
    labels = " ".join(f"{k}: {v}," for k, v in sorted((selector.get("matchLabels") or {}).items()))
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{}},}}"
