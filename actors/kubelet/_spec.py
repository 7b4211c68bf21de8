"""Reading a pod's spec: kinds of containers, restart rules, requests and limits, QoS.

Owns pure questions about one pod object. It never asks anybody and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from protocol.quantity import parse_quantity

__all__ = [
    "INIT",
    "MAIN",
    "RESTART_ALL",
    "SIDECAR",
    "container_kinds",
    "container_resources",
    "could_restart_all",
    "default_grace_s",
    "is_critical",
    "is_deleting",
    "is_mirror",
    "is_static",
    "is_terminal",
    "pod_key",
    "pod_requests",
    "qos_class",
    "restart_action",
    "restart_policy_of",
    "should_restart",
]

Object = dict[str, Any]
INIT, SIDECAR, MAIN, EPHEMERAL = "init", "sidecar", "main", "ephemeral"
CRITICAL_PRIORITY = 2_000_000_000
GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
RESTART_ALL = "RestartAllContainers"
DEFAULT_GRACE_S = 30


def pod_key(pod: Object) -> str:
    """`namespace/name`."""
    meta = pod["metadata"]
    return f"{meta.get('namespace', '')}/{meta['name']}"


def is_deleting(pod: Object) -> bool:
    """Somebody asked for its deletion."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Object) -> bool:
    """The API says that it has ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_mirror(pod: Object) -> bool:
    """It only shows a static pod."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def is_static(pod: Object) -> bool:
    """It comes from a manifest on the machine."""
    return "kubernetes.io/config.hash" in (pod["metadata"].get("annotations") or {}) and not is_mirror(pod)


def is_critical(pod: Object) -> bool:
    """The node cannot do without it: static pods, and those of the system's priority classes."""
    return int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY or is_static(pod) or is_mirror(pod)


def default_grace_s(pod: Object) -> int:
    """Its own grace period, in seconds."""
    value = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_S if value is None else int(value)


def container_kinds(pod: Object) -> Iterator[tuple[str, Object]]:
    """(kind, container spec) of all containers, in the order in which they start."""
    spec = pod["spec"]
    for container in spec.get("initContainers") or ():
        yield (SIDECAR if container.get("restartPolicy") == "Always" else INIT), container
    for container in spec.get("containers") or ():
        yield MAIN, container
    for container in spec.get("ephemeralContainers") or ():
        yield EPHEMERAL, container


def restart_policy_of(pod: Object, kind: str, container: Object) -> str:
    """Always, OnFailure or Never, for one container: its own (KEP-5307), else the pod's. An init
    container of a pod that always restarts runs again only when it failed."""
    own = container.get("restartPolicy")
    if own:
        return str(own)
    policy = str(pod["spec"].get("restartPolicy") or "Always")
    if kind == EPHEMERAL:
        return "Never"
    if kind == INIT and policy == "Always":
        return "OnFailure"
    return policy


def restart_action(container: Object, exit_code: int) -> str:
    """What the first of its rules that matches says: Restart, RestartAllContainers, or nothing."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        inside = exit_code in (codes.get("values") or ())
        if codes and inside == (codes.get("operator") == "In"):
            return str(rule.get("action") or "")
    return ""


def could_restart_all(pod: Object) -> bool:
    """Whether a container's end may restart the whole pod (KEP-5532)."""
    return any(
        rule.get("action") == RESTART_ALL
        for group in ("initContainers", "containers")
        for container in pod["spec"].get(group) or ()
        for rule in container.get("restartPolicyRules") or ()
    )


def should_restart(pod: Object, kind: str, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with `exit_code` is to run again."""
    if restart_action(container, exit_code):
        return True
    policy = restart_policy_of(pod, kind, container)
    if policy == "Always":
        return True
    return policy == "OnFailure" and exit_code != 0


def container_resources(container: Object) -> tuple[dict[str, str], dict[str, str]]:
    """(requests, limits); a limit without a request counts as the request."""
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    return ({**limits, **requests} if limits else requests), limits


def qos_class(pod: Object) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    spec = pod["spec"]
    pod_level = spec.get("resources") or {}
    sources = (
        [{"resources": pod_level}]
        if pod_level.get("requests") or pod_level.get("limits")
        else [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    )
    guaranteed, any_set = True, False
    for container in sources:
        resources = container.get("resources") or {}
        if not resources:
            guaranteed = False
            continue
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name)
            if _positive(limit) or _positive(request):
                any_set = True
            if not _positive(limit) or (
                request is not None and parse_quantity(str(request)) != parse_quantity(str(limit))
            ):
                guaranteed = False
    if not any_set:
        return BEST_EFFORT
    return GUARANTEED if guaranteed else BURSTABLE


def _positive(quantity: Any) -> bool:
    return quantity is not None and parse_quantity(str(quantity)) > 0


def pod_requests(pod: Object) -> dict[str, Decimal]:
    """What the scheduler counts: the sum of containers and sidecars, or what the initialisation
    needs at its most, and the overhead. https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers"""
    total: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    sidecars: dict[str, Decimal] = {}
    for kind, container in container_kinds(pod):
        wanted = {k: parse_quantity(str(v)) for k, v in container_resources(container)[0].items()}
        for name, amount in wanted.items():
            if kind == SIDECAR:
                sidecars[name] = sidecars.get(name, Decimal(0)) + amount
                peak[name] = max(peak.get(name, Decimal(0)), sidecars[name])
            elif kind == INIT:
                peak[name] = max(peak.get(name, Decimal(0)), amount + sidecars.get(name, Decimal(0)))
            elif kind == MAIN:
                total[name] = total.get(name, Decimal(0)) + amount
    for name, amount in sidecars.items():
        total[name] = total.get(name, Decimal(0)) + amount
    for name, amount in peak.items():
        total[name] = max(total.get(name, Decimal(0)), amount)
    level = (pod["spec"].get("resources") or {}).get("requests") or {}
    for name, text in level.items():
        total[name] = parse_quantity(str(text))
    for name, text in (pod["spec"].get("overhead") or {}).items():
        total[name] = total.get(name, Decimal(0)) + parse_quantity(str(text))
    return total
