"""How a HorizontalPodAutoscaler turns metrics into a number of replicas.

Pure functions: usage and requests in, replicas out; limits and rates of change after that. They
fetch nothing.
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ , upstream's
`pkg/controller/podautoscaler`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from actors.controllers._pods import epoch, ready_condition
from protocol.objects import Object, deleting, name, spec, status
from protocol.quantity import milli_value

__all__ = [
    "Change",
    "Groups",
    "MetricError",
    "Sample",
    "Tolerances",
    "group_pods",
    "limit_by_policies",
    "limit_by_rules",
    "plain_replicas",
    "requests_of",
    "utilization_replicas",
]

SCALE_UP_FACTOR = 2
SCALE_UP_MINIMUM = 4


class MetricError(Exception):
    """A metric from which no number of replicas follows; the text is for people."""


class Sample(NamedTuple):
    """One pod's usage in thousandths, when it was measured and over how many seconds."""

    value: int
    at: float
    window_s: float


class Tolerances(NamedTuple):
    """How far the ratio of usage to target may be from 1 without anything being done."""

    down: float = 0.1
    up: float = 0.1

    def within(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Groups(NamedTuple):
    """Pods by what is known of them: names, but for the number of those that count."""

    counted: int
    unready: list[str]
    missing: list[str]
    ignored: list[str]


def group_pods(
    pods: Iterable[Object],
    samples: Mapping[str, Sample],
    is_cpu: bool,
    initialization_s: float,
    readiness_delay_s: float,
    now: float,
) -> Groups:
    """Sort out the pods whose usage says nothing yet."""
    counted = 0
    unready: list[str] = []
    missing: list[str] = []
    ignored: list[str] = []
    for pod in pods:
        phase = status(pod).get("phase")
        if deleting(pod) or phase == "Failed":
            ignored.append(name(pod))
        elif phase == "Pending":
            unready.append(name(pod))
        elif name(pod) not in samples:
            missing.append(name(pod))
        elif is_cpu and _is_starting(
            pod, samples[name(pod)], initialization_s, readiness_delay_s, now
        ):
            unready.append(name(pod))
        else:
            counted += 1
    return Groups(counted, unready, missing, ignored)


def _is_starting(
    pod: Object, sample: Sample, initialization_s: float, readiness_delay_s: float, now: float
) -> bool:
    """Whether the CPU that a pod uses may be that of its start."""
    condition, started = ready_condition(pod), status(pod).get("startTime")
    if condition is None or not started:
        return True
    not_ready = condition.get("status") == "False"
    since = epoch(condition["lastTransitionTime"])
    if epoch(started) + initialization_s > now:
        return not_ready or sample.at < since + sample.window_s
    return not_ready and epoch(started) + readiness_delay_s > since


def requests_of(pods: Iterable[Object], container: str, resource: str) -> dict[str, int]:
    """What each pod requests, in thousandths. Raises `MetricError` where a request is missing."""
    found: dict[str, int] = {}
    for pod in pods:
        total = 0
        sidecars = [
            c for c in spec(pod).get("initContainers") or () if c.get("restartPolicy") == "Always"
        ]
        for entry in (*(spec(pod).get("containers") or ()), *sidecars):
            if container and entry.get("name") != container:
                continue
            request = ((entry.get("resources") or {}).get("requests") or {}).get(resource)
            if request is None:
                raise MetricError(
                    f"missing request for {resource} in container {entry.get('name')} of Pod"
                    f" {name(pod)}"
                )
            total += milli_value(request)
        found[name(pod)] = total
    return found


class _Usage(NamedTuple):
    ratio: float
    utilization: int
    average: int


def _utilization(
    samples: Mapping[str, Sample], requests: Mapping[str, int], target: int
) -> _Usage:
    used = requested = count = 0
    for pod, sample in samples.items():
        if pod in requests:
            used += sample.value
            requested += requests[pod]
            count += 1
    if requested == 0:
        raise MetricError("no metrics returned matched known pods")
    percent = used * 100 // requested
    return _Usage(percent / target, percent, used // count)


def _plain(samples: Mapping[str, Sample], target: int) -> _Usage:
    average = sum(s.value for s in samples.values()) // max(1, len(samples))
    return _Usage(average / target, average, average)


def utilization_replicas(
    current: int,
    target: int,
    samples: dict[str, Sample],
    requests: Mapping[str, int],
    groups: Groups,
    tolerances: Tolerances,
) -> tuple[int, int, int]:
    """(replicas, utilization in percent, average usage in thousandths) for a share of requests.

    Raises `MetricError`.
    """

    def usage(known: Mapping[str, Sample]) -> _Usage:
        return _utilization(known, requests, target)

    def fallback(pod: str) -> int:
        return requests.get(pod, 0) * max(100, target) // 100

    first, replicas = _replicas(current, samples, groups, tolerances, usage, fallback)
    return replicas, first.utilization, first.average


def plain_replicas(
    current: int,
    target: int,
    samples: dict[str, Sample],
    groups: Groups,
    tolerances: Tolerances,
) -> tuple[int, int]:
    """(replicas, average usage) for a target per pod, both in thousandths. Raises `MetricError`."""
    first, replicas = _replicas(
        current, samples, groups, tolerances, lambda known: _plain(known, target), lambda _: target
    )
    return replicas, first.average


def _replicas(
    current: int,
    samples: dict[str, Sample],
    groups: Groups,
    tolerances: Tolerances,
    usage: Callable[[Mapping[str, Sample]], _Usage],
    fallback: Callable[[str], int],
) -> tuple[_Usage, int]:
    """Replicas by the ratio of usage to target; pods of which nothing is known count as whatever
    makes the change smaller."""
    known = {
        pod: s
        for pod, s in samples.items()
        if pod not in groups.ignored and pod not in groups.unready
    }
    if not known:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    first = usage(known)
    growing_with_unready = bool(groups.unready) and first.ratio > 1.0
    if not growing_with_unready and not groups.missing:
        if tolerances.within(first.ratio):
            return first, current
        return first, math.ceil(first.ratio * groups.counted)
    assumed = dict(known)
    for pod in groups.missing:
        if first.ratio < 1.0:
            assumed[pod] = Sample(fallback(pod), 0.0, 0.0)
        elif first.ratio > 1.0:
            assumed[pod] = Sample(0, 0.0, 0.0)
    if growing_with_unready:
        for pod in groups.unready:
            assumed[pod] = Sample(0, 0.0, 0.0)
    second = usage(assumed)
    turned = (first.ratio < 1.0 < second.ratio) or (first.ratio > 1.0 > second.ratio)
    if tolerances.within(second.ratio) or turned:
        return first, current
    wanted = math.ceil(second.ratio * len(assumed))
    backwards = (second.ratio < 1.0 and wanted > current) or (
        second.ratio > 1.0 and wanted < current
    )
    return first, current if backwards else wanted


# --- limits -------------------------------------------------------------------------------------

IN_RANGE = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
UP_LIMIT = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
DOWN_LIMIT = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)


def limit_by_rules(
    current: int, desired: int, minimum: int, maximum: int
) -> tuple[int, tuple[str, str]]:
    """(replicas, (reason, message)) without behaviour: at most twice as many, or four, at a time."""
    most = max(SCALE_UP_FACTOR * current, SCALE_UP_MINIMUM)
    why = UP_LIMIT if maximum > most else TOO_MANY
    most = min(most, maximum)
    if desired < minimum:
        return minimum, TOO_FEW
    if desired > most:
        return most, why
    return desired, IN_RANGE


class Change(NamedTuple):
    """A rescale that was made: when, and by how many replicas (positive)."""

    at: float
    replicas: int


def _in_period(changes: Iterable[Change], period_s: float, now: float) -> int:
    return sum(c.replicas for c in changes if c.at > now - period_s)


def limit_by_policies(
    current: int,
    desired: int,
    minimum: int,
    maximum: int,
    behavior: Object,
    ups: list[Change],
    downs: list[Change],
    now: float,
) -> tuple[int, tuple[str, str]]:
    """(replicas, (reason, message)) under the policies of `spec.behavior`."""
    if desired > current:
        most = max(current, _up_limit(current, behavior.get("scaleUp") or {}, ups, downs, now))
        why = UP_LIMIT if maximum > most else TOO_MANY
        most = min(most, maximum)
        if desired > most:
            return most, why
    elif desired < current:
        rules = behavior.get("scaleDown") or {}
        least = min(current, _down_limit(current, rules, ups, downs, now))
        why = DOWN_LIMIT if minimum < least else TOO_FEW
        least = max(least, minimum)
        if desired < least:
            return least, why
    return desired, IN_RANGE


def _up_limit(
    current: int, rules: Object, ups: list[Change], downs: list[Change], now: float
) -> int:
    select = rules.get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    proposals = []
    for policy in rules.get("policies") or ():
        period_s = policy.get("periodSeconds", 0)
        start = current - _in_period(ups, period_s, now) + _in_period(downs, period_s, now)
        if policy.get("type") == "Pods":
            proposals.append(start + policy["value"])
        else:
            proposals.append(math.ceil(start * (1 + policy["value"] / 100)))
    if not proposals:
        return 2**31 - 1
    return min(proposals) if select == "Min" else max(proposals)


def _down_limit(
    current: int, rules: Object, ups: list[Change], downs: list[Change], now: float
) -> int:
    select = rules.get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    proposals = []
    for policy in rules.get("policies") or ():
        period_s = policy.get("periodSeconds", 0)
        start = current - _in_period(ups, period_s, now) + _in_period(downs, period_s, now)
        if policy.get("type") == "Pods":
            proposals.append(start - policy["value"])
        else:
            proposals.append(int(start * (1 - policy["value"] / 100)))
    if not proposals:
        return 0
    return max(proposals) if select == "Min" else min(proposals)

