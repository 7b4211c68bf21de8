"""The status of a pod: phase, conditions and container statuses from what its worker knows.

Owns the rules and words of upstream's `pkg/kubelet/kubelet_pods.go` and `status/generate.go`. All
functions are pure; objects that come in are never changed.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from actors.kubelet._plan import EXITED, RUNNING, Member
from actors.kubelet._spec import (
    EPHEMERAL,
    INIT,
    MAIN,
    SIDECAR,
    could_restart_all,
    qos_class,
    restart_policy_of,
    should_restart,
)

__all__ = [
    "OWNED",
    "RESIZES",
    "RESIZE_IN_PROGRESS",
    "RESIZE_PENDING",
    "RESTARTING",
    "PodFacts",
    "container_status",
    "merged",
    "parse_time",
    "phase_of",
    "pod_status",
    "rfc3339",
    "status_patch",
]

Object = dict[str, Any]
RESTARTING = "AllContainersRestarting"
OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", RESTARTING)
"""The conditions that a kubelet sets, in the order in which they are shown."""
RESIZE_PENDING, RESIZE_IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
RESIZES = (RESIZE_PENDING, RESIZE_IN_PROGRESS)
"""Conditions that are there only while there is something to tell."""


@lru_cache(maxsize=4096)
def _rfc3339(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(whole))


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as the API writes times."""
    return _rfc3339(int(seconds))


@lru_cache(maxsize=1024)  # pods are made many in a second
def parse_time(text: str) -> float:
    """The reverse of `rfc3339`; 0 for what is no such time."""
    try:
        return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0


class PodFacts:
    """What the status is computed from, beside the pod and its members.

    `terminal`: all has been stopped for good. `reason`, `message`: why the pod as a whole failed
    (DeadlineExceeded, Evicted, ...); with a reason the phase is Failed once `terminal`. `rejected`: the
    node never took the pod. `restarting`: all containers are being ended, to begin anew. `resize`: condition, reason, message and generation of a resize that is not complete.
    """

    __slots__ = (
        "devices",
        "extra_conditions",
        "host_ips",
        "ips",
        "level",
        "message",
        "prefix",
        "reason",
        "rejected",
        "resize",
        "restarting",
        "sandbox_ready",
        "start_time",
        "terminal",
    )

    def __init__(self, host_ips: Sequence[str] = (), prefix: str = "containerd") -> None:
        self.host_ips = tuple(host_ips)
        self.prefix = prefix
        self.ips: tuple[str, ...] = ()
        self.sandbox_ready = False
        self.start_time = 0.0
        self.terminal = False
        self.rejected = False
        self.restarting = False
        self.reason = ""
        self.message = ""
        self.extra_conditions: tuple[Object, ...] = ()
        self.resize: tuple[str, str, str, int] | None = None
        self.level: Object | None = None
        """Resources of the pod as a whole, as they are allocated."""
        self.devices: Mapping[str, list[Object]] = {}
        """By container: the resources that are devices, with the health of each."""


def container_status(pod: Object, member: Member, prefix: str, devices: Mapping[str, list[Object]] = {}) -> Object:
    """One entry of `containerStatuses`."""
    status: Object = {
        "name": member.name,
        "state": _state(pod, member),
        "lastState": {"terminated": member.last_terminated} if member.last_terminated else {},
        "ready": member.ready if member.kind != INIT else member.terminated is not None and member.exit_code == 0,
        "restartCount": member.restart_count,
        "image": member.image or member.spec.get("image", ""),
        "imageID": member.image_id,
    }
    if member.container_id:
        status["containerID"] = f"{prefix}://{member.container_id}"
    if member.kind in (MAIN, SIDECAR) or member.container_id:
        status["started"] = member.started if member.state == RUNNING else False
    if devices and member.name in devices and member.container_id:
        status["allocatedResourcesStatus"] = devices[member.name]
    if member.container_id:
        _resources(member, status)
        mounts = member.spec.get("volumeMounts")
        if mounts:
            status["volumeMounts"] = [_mount(m) for m in mounts]
    return status


def _resources(member: Member, status: Object) -> None:
    resources = member.spec.get("resources") or {}
    if member.state == RUNNING or member.kind in (MAIN, SIDECAR):
        status["resources"] = {k: v for k, v in resources.items() if v} if resources else {}
        if resources.get("requests"):
            status["allocatedResources"] = resources["requests"]


def _mount(mount: Object) -> Object:
    shown: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        shown["readOnly"] = True
        shown["recursiveReadOnly"] = "Disabled"
    return shown


def _state(pod: Object, member: Member) -> Object:
    if member.state == RUNNING:
        return {"running": {"startedAt": rfc3339(member.started_at)}}
    if member.waiting is not None:
        reason, message = member.waiting
        return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}
    if member.terminated is not None and member.state == EXITED:
        return {"terminated": member.terminated}
    if member.terminated is not None:
        return {"terminated": member.terminated}
    has_init = bool(pod["spec"].get("initContainers"))
    return {"waiting": {"reason": "PodInitializing" if has_init else "ContainerCreating"}}


def phase_of(pod: Object, members: Iterable[Member], terminal: bool) -> str:
    """The phase from the containers alone."""
    policy = pod["spec"].get("restartPolicy") or "Always"
    pending_init = failed_init = pending_sidecars = 0
    running = waiting = stopped = succeeded = 0
    begun = can_restart = False
    for member in members:
        ended = member.terminated if member.state != RUNNING else None
        held = ended is not None and member.waiting is not None
        if member.kind == INIT:
            if ended is None:
                pending_init += 1
            elif member.exit_code != 0:
                failed_init += restart_policy_of(pod, INIT, member.spec) == "Never" and not should_restart(
                    pod, INIT, member.spec, member.exit_code
                )
                pending_init += 1
            elif held:
                pending_init += 1
        elif member.kind == SIDECAR:
            if member.state == RUNNING:
                running += 1
                pending_sidecars += not member.started
            elif ended is None:
                waiting += 1
                pending_sidecars += 1
        elif member.kind == MAIN:
            begun = begun or member.state == RUNNING or ended is not None
            if member.state == RUNNING:
                running += 1
            elif ended is not None:
                stopped += 1
                succeeded += member.exit_code == 0
                can_restart = can_restart or should_restart(pod, MAIN, member.spec, member.exit_code)
            else:
                waiting += 1
    if failed_init:
        return "Failed"
    if ((pending_init or pending_sidecars) and not begun) or waiting:
        return "Failed" if terminal and waiting and not running and stopped else "Pending"
    if running:
        return "Running"
    if not stopped:
        return "Pending"
    if terminal:
        return "Succeeded" if stopped == succeeded else "Failed"
    if can_restart or policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _names(names: list[str]) -> str:
    return "[" + " ".join(names) + "]"


def _containers_ready(members: Sequence[Member], phase: str) -> tuple[str, str, str]:
    """(status, reason, message)."""
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed":
        return "False", "PodFailed", ""
    unready = [m.name for m in members if m.kind in (SIDECAR, MAIN) and not m.ready]
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: {_names(unready)}"
    return "True", "", ""


def _ready(pod: Object, containers: tuple[str, str, str]) -> tuple[str, str, str]:
    if containers[0] != "True":
        return containers
    gates = pod["spec"].get("readinessGates")
    if not gates:
        return "True", "", ""
    known = {c["type"]: c.get("status", "") for c in (pod.get("status") or {}).get("conditions") or ()}
    problems = []
    for gate in gates:
        name = gate["conditionType"]
        if name not in known:
            problems.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif known[name] != "True":
            problems.append(f'the status of pod readiness gate "{name}" is not "True", but {known[name]}')
    return ("False", "ReadinessGatesNotReady", ", ".join(problems)) if problems else ("True", "", "")


def _initialized(members: Sequence[Member], phase: str) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    if any(m.kind == MAIN and m.has_begun for m in members):
        return "True", "", ""
    incomplete = [
        m.name
        for m in members
        if (m.kind == INIT and not (m.terminated is not None and m.exit_code == 0 and m.state != RUNNING))
        or (m.kind == SIDECAR and not m.started)
    ]
    if incomplete:
        return "False", "ContainersNotInitialized", f"containers with incomplete status: {_names(incomplete)}"
    return "True", "", ""


def pod_status(pod: Object, members: Sequence[Member], facts: PodFacts, now: float) -> Object:
    """The status that the kubelet reports, with transition times kept where nothing changed."""
    old = pod.get("status") or {}
    if facts.rejected:
        return _rejected(pod, facts, now)
    phase = phase_of(pod, members, facts.terminal)
    if facts.reason and facts.terminal:
        phase = "Failed"
    if phase == "Pending" and any(m.base_restarts for m in members):
        phase = "Running"  # it has begun before
    if old.get("phase") in ("Failed", "Succeeded"):
        phase = old["phase"]
    containers = _containers_ready(members, phase)
    verdicts = {
        "PodReadyToStartContainers": ("True" if facts.sandbox_ready else "False", "", ""),
        "Initialized": _initialized(members, phase),
        "Ready": _ready(pod, containers),
        "ContainersReady": containers,
        "PodScheduled": ("True", "", ""),
    }
    if could_restart_all(pod):
        over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
        verdicts[RESTARTING] = ("True" if facts.restarting and not over else "False", over, "")
    generation = pod["metadata"].get("generation")
    status: Object = {"phase": phase}
    if generation is not None:
        status["observedGeneration"] = generation
    status["conditions"] = [
        *_resize_condition(old, facts.resize, now),
        *_conditions(old, verdicts, facts.extra_conditions, generation, now),
    ]
    if facts.host_ips:
        status["hostIP"] = facts.host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in facts.host_ips]
    ips = facts.ips or tuple(entry["ip"] for entry in old.get("podIPs") or ())
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]
    status["startTime"] = old.get("startTime") or rfc3339(facts.start_time or now)
    if facts.reason:
        status["reason"], status["message"] = facts.reason, facts.message
    init = [container_status(pod, m, facts.prefix, facts.devices) for m in members if m.kind in (INIT, SIDECAR)]
    if init:
        status["initContainerStatuses"] = init
    main = sorted((m for m in members if m.kind == MAIN), key=lambda m: m.name)
    status["containerStatuses"] = [container_status(pod, m, facts.prefix, facts.devices) for m in main]
    ephemeral = [container_status(pod, m, facts.prefix, facts.devices) for m in members if m.kind == EPHEMERAL]
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    status["qosClass"] = old.get("qosClass") or qos_class(pod)
    if facts.level and facts.sandbox_ready:
        status["resources"] = {k: v for k, v in facts.level.items() if v}
        if facts.level.get("requests"):
            status["allocatedResources"] = facts.level["requests"]
    return status


def _rejected(pod: Object, facts: PodFacts, now: float) -> Object:
    """A pod that the node never took has no containers and no conditions to tell of."""
    old, generation = pod.get("status") or {}, pod["metadata"].get("generation")
    status: Object = {"phase": "Failed", "reason": facts.reason, "message": facts.message}
    if generation is not None:
        status["observedGeneration"] = generation
    status["conditions"] = [c for c in old.get("conditions") or () if c["type"] not in (*OWNED, *RESIZES)]
    status["startTime"] = old.get("startTime") or rfc3339(now)
    status["qosClass"] = old.get("qosClass") or qos_class(pod)
    return status


def _resize_condition(old: Object, resize: tuple[str, str, str, int] | None, now: float) -> list[Object]:
    if resize is None:
        return []
    kind, reason, message, generation = resize
    before = next((c for c in old.get("conditions") or () if c["type"] == kind), None)
    kept = before is not None and before.get("status") == "True" and before.get("reason", "") == reason
    condition: Object = {
        "type": kind,
        "status": "True",
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and kept else rfc3339(now),
        "observedGeneration": generation,
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return [condition]


def _conditions(
    old: Object, verdicts: dict[str, tuple[str, str, str]], extra: Sequence[Object], generation: int | None, now: float
) -> list[Object]:
    """The kubelet's conditions, then everybody else's."""
    known = {c["type"]: c for c in old.get("conditions") or ()}
    found: list[Object] = []
    for name, (value, reason, message) in verdicts.items():
        before = known.get(name)
        same = before is not None and before.get("status") == value
        if before is not None and same and name == "PodScheduled":
            condition = dict(before)
        else:
            condition = {
                "type": name,
                "status": value,
                "lastTransitionTime": before["lastTransitionTime"]
                if before is not None and same and before.get("lastTransitionTime")
                else rfc3339(now),
            }
            if reason:
                condition["reason"] = reason
            if message:
                condition["message"] = message
        if generation is not None:
            condition["observedGeneration"] = generation
        found.append(condition)
    others = {c["type"]: c for c in extra}
    for name, condition in known.items():
        if name not in verdicts and name not in others and name not in RESIZES:
            found.append(condition)
    found.extend(others.values())
    return found


def merged(old: Object, new: Object) -> Object:
    """`old` with what the kubelet says replaced and what it does not know kept."""
    kept = {k: v for k, v in old.items() if k not in new and k not in ("reason", "message")}
    return {**kept, **new}


def status_patch(pod: Object, new: Object) -> Object | None:
    """The strategic merge patch from the pod's status to `new`; None if they say the same.

    It names the uid, so that it can never reach another pod of the same name, and only those
    conditions that changed, so that nobody else's are touched.
    """
    old = pod.get("status") or {}
    changes: Object = {}
    for name, value in new.items():
        if name != "conditions" and old.get(name) != value:
            changes[name] = value
    for name in ("reason", "message"):
        if name in old and name not in new:
            changes[name] = None
    known = {c["type"]: c for c in old.get("conditions") or ()}
    changed = [c for c in new["conditions"] if _said(known.get(c["type"])) != _said(c)]
    named = {c["type"] for c in new["conditions"]}
    over = [{"$patch": "delete", "type": n} for n in (*OWNED, *RESIZES) if n in known and n not in named]
    if changed or over:
        changes["$setElementOrder/conditions"] = [{"type": c["type"]} for c in new["conditions"]]
        changes["conditions"] = [_with_removed(known.get(c["type"]), c) for c in changed] + over
    for name in ("podIPs", "hostIPs"):
        if name in changes:
            changes[name] = [{"$patch": "replace"}, *changes[name]]
    if not changes:
        return None
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": changes}


def _said(condition: Object | None) -> Object | None:
    """Without the fields that are null, which the server may add."""
    return None if condition is None else {k: v for k, v in condition.items() if v is not None}


def _with_removed(before: Object | None, condition: Object) -> Object:
    """A merged condition keeps fields that the patch does not name: remove them by name."""
    gone = {k: None for k, v in (before or {}).items() if k not in condition and v is not None}
    return {**condition, **gone} if gone else condition
