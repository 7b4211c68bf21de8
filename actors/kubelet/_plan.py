"""What a pod's worker does next, as a pure function of what is there.

Owns the order of things: sandbox, init containers one after the other, sidecars before what
follows them, then all containers at once; restarts with back-off; the end of a pod. It never
asks anybody: `plan` takes records and answers `Actions`.
"""

from __future__ import annotations

from typing import Any

from actors.kubelet._backoff import Backoff
from actors.kubelet._spec import EPHEMERAL, INIT, MAIN, SIDECAR, restart_policy_of, should_restart

__all__ = ["EXITED", "NEW", "RUNNING", "Actions", "Member", "plan"]

Object = dict[str, Any]
NEW, RUNNING, EXITED = "new", "running", "exited"


class Member:
    """One container as its pod's worker knows it.

    `state`: NEW (never created, or gone with its sandbox), RUNNING or EXITED. `waiting`: reason
    and message while it cannot start. `terminated` describes the run that ended last, in the
    API's form; `finished_at` is when, in seconds since the epoch. `base_restarts`: how many of its
    restarts were of the whole pod, which then began anew.
    """

    __slots__ = (
        "base_restarts",
        "container_id",
        "exit_code",
        "finished_at",
        "hold_until",
        "image",
        "image_id",
        "index",
        "kind",
        "last_terminated",
        "liveness",
        "name",
        "readiness",
        "ready",
        "resources",
        "restart_count",
        "spec",
        "started",
        "started_at",
        "startup",
        "state",
        "stopping",
        "terminated",
        "waiting",
    )

    def __init__(self, kind: str, index: int, spec: Object) -> None:
        self.kind = kind
        self.index = index
        self.spec = spec
        self.name: str = spec["name"]
        self.state = NEW
        self.container_id = ""
        self.image = ""
        self.image_id = ""
        self.restart_count = 0
        self.base_restarts = 0
        self.started_at = 0.0
        self.finished_at = 0.0
        self.exit_code = 0
        self.waiting: tuple[str, str] | None = None
        self.terminated: Object | None = None
        self.last_terminated: Object | None = None
        self.started = False
        self.ready = False
        self.stopping = False
        self.hold_until = 0.0
        self.resources: Object | None = None
        self.liveness: Any = None
        self.readiness: Any = None
        self.startup: Any = None

    def begin_anew(self) -> None:
        """The whole pod is started again: as if it had never run, but for the count."""
        self.last_terminated = self.terminated or self.last_terminated
        self.restart_count += 1
        self.base_restarts = self.restart_count
        self.state, self.container_id = NEW, ""
        self.terminated = self.waiting = None
        self.exit_code = 0
        self.hold_until = 0.0
        self.started = self.ready = self.stopping = False

    @property
    def has_begun(self) -> bool:
        """Whether it has run since the pod began, or began anew."""
        return self.state != NEW or self.terminated is not None or self.restart_count > self.base_restarts


class Actions:
    """`sandbox`: one must be made. `start`: members to start now. `ended`: nothing is left to run
    and sidecars may stop. `failed`: the initialisation failed for good. `backing_off`: members and
    seconds they still wait; `wake_in_s`: when to plan again by itself."""

    __slots__ = ("backing_off", "ended", "failed", "sandbox", "start", "wake_in_s")

    def __init__(self) -> None:
        self.sandbox = False
        self.start: list[Member] = []
        self.ended = False
        self.failed = False
        self.backing_off: list[tuple[Member, float]] = []
        self.wake_in_s: float | None = None

    def wait(self, member: Member, seconds: float) -> None:
        """`member` starts in so many seconds."""
        self.backing_off.append((member, seconds))
        self.wake_in_s = seconds if self.wake_in_s is None else min(seconds, self.wake_in_s)


def plan(pod: Object, members: list[Member], sandbox_ready: bool, backoff: Backoff, now: float) -> Actions:
    """See the module. `now` in seconds since the epoch."""
    actions = Actions()
    begun = any(m.kind == MAIN and m.has_begun for m in members)
    if not _initialise(pod, members, begun, backoff, now, actions):
        if actions.failed:
            actions.start.clear()
        actions.sandbox = not sandbox_ready and bool(actions.start)
        return actions
    left = False
    for member in members:
        if member.kind not in (MAIN, EPHEMERAL):
            continue
        if member.state == RUNNING:
            left = left or member.kind == MAIN
        elif member.state == NEW and member.terminated is None:
            left = left or member.kind == MAIN
            _start(member, now, actions)
        elif member.kind == MAIN and should_restart(pod, MAIN, member.spec, member.exit_code):
            left = True
            _restart(member, backoff, now, actions)
    actions.ended = not left
    if actions.ended:
        actions.start = []
        actions.backing_off = []
        actions.wake_in_s = None
    actions.sandbox = not sandbox_ready and bool(actions.start)
    return actions


def _start(member: Member, now: float, actions: Actions) -> None:
    if member.hold_until > now:
        seconds = member.hold_until - now
        actions.wake_in_s = seconds if actions.wake_in_s is None else min(seconds, actions.wake_in_s)
    else:
        actions.start.append(member)


def _restart(member: Member, backoff: Backoff, now: float, actions: Actions) -> None:
    """Start an ended container again, at once or when its back-off is over."""
    left = backoff.wait_s(member.name, member.finished_at, now)
    if left > 1e-6:
        actions.wait(member, left)
    else:
        _start(member, now, actions)


def _initialise(
    pod: Object, members: list[Member], begun: bool, backoff: Backoff, now: float, actions: Actions
) -> bool:
    """Plan the init containers; true when the others may run."""
    for member in members:
        if member.kind == SIDECAR:
            if member.state == RUNNING:
                if not member.started and not begun:
                    return False
                continue
            if member.state == NEW and member.terminated is None:
                _start(member, now, actions)
            else:
                _restart(member, backoff, now, actions)
            if not begun:
                return False
        elif member.kind == INIT:
            if begun or (member.state == EXITED and member.exit_code == 0):
                continue
            if member.state == RUNNING:
                return False
            if member.terminated is None:
                _start(member, now, actions)
            elif member.state == NEW and member.exit_code == 0:
                continue
            elif should_restart(pod, INIT, member.spec, member.exit_code):
                _restart(member, backoff, now, actions)
            else:
                actions.failed = restart_policy_of(pod, INIT, member.spec) == "Never"
                actions.ended = actions.failed
            return False
    return True
