"""A pod's row in `kubectl get pods`.

Owns how phase, reasons, restarts and readiness become cells (`printPod` of
`pkg/printers/internalversion`).
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column
from actors.apiserver.strategies._time import parse_time, since

__all__ = ["COLUMNS", "pod_row"]

Object = dict[str, Any]

COLUMNS = (
    NAME,
    Column("Ready", "string", "", "Containers that are ready, of all."),
    Column("Status", "string", "", "Aggregate status of the containers in this pod."),
    Column("Restarts", "string", "", "How often containers were restarted and when the last time."),
    AGE,
    Column("IP", "string", "", "Address of the pod.", 1),
    Column("Node", "string", "", "Node on which the pod runs.", 1),
    Column("Nominated Node", "string", "", "Node that preemption makes room on.", 1),
    Column("Readiness Gates", "string", "", "Gates that are open, of all.", 1),
)


class _Restarts:
    """Number of restarts and the time of the last one."""

    def __init__(self) -> None:
        self.count = 0
        self.last = ""

    def add(self, status: Object) -> None:
        """Count one container."""
        self.count += status.get("restartCount", 0)
        last = (status.get("lastState") or {}).get("terminated") or {}
        finished = last.get("finishedAt") or ""
        if finished and (not self.last or parse_time(finished) > parse_time(self.last)):
            self.last = finished

    def text(self, now: float) -> str:
        """`0`, or `3 (5m ago)`."""
        if self.count and self.last:
            return f"{self.count} ({since(self.last, now)} ago)"
        return str(self.count)


def _exit_reason(terminated: Object, prefix: str = "") -> str:
    if terminated.get("reason"):
        return prefix + str(terminated["reason"])
    if terminated.get("signal"):
        return f"{prefix}Signal:{terminated['signal']}"
    return f"{prefix}ExitCode:{terminated.get('exitCode', 0)}"


def _condition(status: Object, kind: str) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            return str(condition.get("status", ""))
    return ""


def pod_row(pod: Object, now: float) -> list[Any]:
    """The cells of a pod."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    phase = status.get("phase", "")
    reason = status.get("reason") or phase
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    inits = {c.get("name"): c for c in spec.get("initContainers") or ()}
    sidecars = {name for name, c in inits.items() if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    init_reason, ready, restarts, sidecar_restarts = _init_cells(status, sidecars, len(inits))
    reason = init_reason or reason
    if not init_reason or _condition(status, "Initialized") == "True":
        restarts = sidecar_restarts
        reason, more = _main_cells(status, reason, restarts)
        ready += more
    if meta.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Failed", "Succeeded"):
            reason = "Terminating"
    return [
        meta.get("name", ""),
        f"{ready}/{total}",
        reason,
        restarts.text(now),
        since(meta.get("creationTimestamp"), now),
        *_wide_cells(spec, status),
    ]


def _init_cells(
    status: Object, sidecars: set[str], total: int
) -> tuple[str, int, _Restarts, _Restarts]:
    """The reason while initialising, ready sidecars, and restarts of all and of sidecars."""
    ready, everything, own = 0, _Restarts(), _Restarts()
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        everything.add(container)
        sidecar = container.get("name") in sidecars
        if sidecar:
            own.add(container)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            return _exit_reason(terminated, "Init:"), ready, everything, own
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return "Init:" + waiting["reason"], ready, everything, own
        return f"Init:{index}/{total}", ready, everything, own
    return "", ready, everything, own


def _main_cells(status: Object, reason: str, restarts: _Restarts) -> tuple[str, int]:
    running, ready = False, 0
    for container in reversed(status.get("containerStatuses") or []):
        restarts.add(container)
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _exit_reason(terminated)
        elif container.get("ready") and "running" in state:
            running = True
            ready += 1
    if reason == "Completed" and running:
        reason = "Running" if _condition(status, "Ready") == "True" else "NotReady"
    return reason, ready


def _wide_cells(spec: Object, status: Object) -> list[str]:
    addresses = status.get("podIPs") or []
    gates = spec.get("readinessGates") or []
    opened = sum(_condition(status, gate.get("conditionType", "")) == "True" for gate in gates)
    return [
        (addresses[0].get("ip") if addresses else "") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{opened}/{len(gates)}" if gates else "<none>",
    ]
