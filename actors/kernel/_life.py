"""The life of an actor: how it is made, stopped, unwound after a crash and made again.

It owns the states below and what a specification (`Child`) says of crashes; it never handles a
message of a component.

    new -> starting -> running -> stopping -> dead
               ^          |
               +- restarting (after a crash, with back-off)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.kernel._errors import ActorDead, RestartIntensityExceeded
from actors.kernel._future import Future
from actors.kernel._letters import Begin, Envelope, Start, Stats, Stop, Terminated
from actors.kernel._mailbox import Bounded
from actors.kernel._ref import Ref
from actors.kernel._supervision import Child, Intensity, Restart
from actors.kernel._task import Task

if TYPE_CHECKING:
    from actors.kernel._actor import Actor, Handler
    from actors.kernel._system import ActorSystem

__all__ = ["DEAD", "NEW", "RESTARTING", "RUNNING", "STARTING", "STOPPING", "Life", "cell_under_construction"]

NEW, STARTING, RUNNING, RESTARTING, STOPPING, DEAD = range(6)
STATE_NAMES = ("new", "starting", "running", "restarting", "stopping", "dead")

_constructing = threading.local()


def cell_under_construction() -> Any:
    """The cell whose actor is being made on this thread (for `Actor.__init__`)."""
    cell = getattr(_constructing, "cell", None)
    if cell is None:
        raise TypeError("an actor is made by a system: system.spawn(Child(name, factory)), not by calling its class")
    return cell


class Life(Ref):
    """The part of a cell that lives and dies; `Cell` adds the mail."""

    def __init__(self, system: ActorSystem, path: str, spec: Child, parent: Life | None, host: str) -> None:
        super().__init__(path)
        self.system = system
        self.spec = spec
        self.parent = parent
        self.host = host
        self.clock = system.clock_of(host)
        self.actor: Actor | None = None
        self.mailbox: deque[Any] = deque()
        self.scheduled = False
        self.state = NEW
        self.incarnation = 0
        self.handled = 0
        self.handlers: dict[type, Handler] = {}
        self.bound: Bounded | None = None
        self.tasks: dict[Task, None] = {}
        self.children: dict[str, Life] | None = None
        self.watchers: list[Life] | None = None
        self.serial: dict[Any, deque[Any]] | None = None
        self.stash: list[Any] | None = None
        self.intensity: Intensity | None = None
        self.stopped_future: Future[Any] | None = None
        self.abandoning: BaseException | None = None
        self.ready: Callable[[Any], None] = system.ready

    def deliver(self, item: Any) -> None:
        """Append mail that no bound refuses."""
        raise NotImplementedError

    def reply_error(self, future: Future[Any], error: BaseException) -> None:
        """Answer an ask with an exception."""
        raise NotImplementedError

    def is_alive(self) -> bool:
        return self.state != DEAD

    def is_stopping(self) -> bool:
        """Whether a stop has begun."""
        return self.state == STOPPING

    def _make_actor(self) -> None:
        if self.state not in (NEW, RESTARTING):
            return
        self.state = STARTING
        _constructing.cell = self
        try:
            actor = self.spec.factory()
        finally:
            _constructing.cell = None
        self.actor = actor
        self.handlers = actor.handlers
        self.bound = actor.mailbox
        if actor.blocks and self.system.move_to_thread(self):
            self.deliver(Begin())
        else:
            self._begin()

    def _begin(self) -> None:
        assert self.actor is not None
        started = self.actor.on_start()
        if started is not None and hasattr(started, "send"):
            Task(self, started, self._started, self.crash).step()
        else:
            self._started(None)

    def _started(self, _: Any) -> None:
        if self.state != STARTING:
            return
        self.state = RUNNING
        if self.stash:
            stash, self.stash = self.stash, None
            self.mailbox.extendleft(reversed(stash))
            self._reschedule()

    def _reschedule(self) -> None:
        if self.mailbox and not self.scheduled:
            self.scheduled = True
            self.ready(self)

    def _begin_stop(self, request: Stop) -> None:
        if self.state == DEAD:
            request.future.resolve(None)
            return
        if self.state == STOPPING:
            assert self.stopped_future is not None
            self.stopped_future.add_callback(lambda _: request.future.resolve(None))
            return
        self.stopped_future = request.future
        if self.state != RUNNING:  # nothing runs that could be asked politely
            self.terminate()
            return
        self.state = STOPPING
        Task(self, self._stop_orderly(), lambda _: self.terminate(), self._stop_failed).step()

    async def _stop_orderly(self) -> None:
        """Stop the children, last started first, then let the actor clean up."""
        for child in reversed(list((self.children or {}).values())):
            done = child.request_stop()
            expiry = self.system.after(child.spec.shutdown_s, partial(done.resolve, "late"))
            outcome = await done
            expiry.cancel()
            if outcome == "late" and child.state != DEAD:
                self.system.log.warning("actor_killed", actor=child.actor_urn, after_s=child.spec.shutdown_s)
                child.terminate()
        assert self.actor is not None
        cleanup = self.actor.on_stop()
        if cleanup is not None and hasattr(cleanup, "send"):
            await cleanup

    def _stop_failed(self, error: BaseException) -> None:
        if error is self.abandoning:
            return
        self.system.log.error("actor_stop_failed", actor=self.actor_urn, exc_info=error)
        self.terminate()

    def crash(self, error: BaseException) -> None:
        """The actor failed: unwind it, then do what its specification says."""
        if self.state == DEAD or error is self.abandoning:
            return
        if self.state == STOPPING:
            self._stop_failed(error)
            return
        self.system.log.error("actor_crashed", actor=self.actor_urn, exc_info=error)
        actor = self.actor
        self._unwind(keep_mail=True)
        if actor is not None:
            try:
                actor.on_failure(type(error), error, error.__traceback__)
            except Exception as problem:
                self.system.log.error("on_failure_failed", actor=self.actor_urn, exc_info=problem)
        if self.spec.restart is Restart.TEMPORARY:
            self.terminate()
            return
        if self.intensity is None:
            self.intensity = Intensity()
        wait_s = self.intensity.record(self.spec, self.system.clock.monotonic())
        if wait_s is None:
            self.terminate()
            too_often = RestartIntensityExceeded(f"{self} crashed more than {self.spec.intensity} times")
            too_often.__cause__ = error
            if self.parent is None:
                self.system.failed(too_often)
            else:
                self.parent.crash(too_often)
            return
        self.restart_after(wait_s)

    def restart_after(self, wait_s: float) -> None:
        """Make the actor anew in `wait_s` seconds; mail waits meanwhile."""
        self.state = RESTARTING
        incarnation = self.incarnation
        self.system.after(wait_s, lambda: self._restart(incarnation))

    def _restart(self, incarnation: int) -> None:
        if self.state == RESTARTING and self.incarnation == incarnation:
            self.system.log.info("actor_restarted", actor=self.actor_urn, restarts=self.incarnation)
            self.deliver(Start())

    def _unwind(self, *, keep_mail: bool) -> None:
        """End everything that the present incarnation has under way."""
        self.incarnation += 1
        self.state = RESTARTING
        for child in reversed(list((self.children or {}).values())):
            child.terminate()
        self.children = None
        serial, self.serial = self.serial, None  # first, so that no waiting message starts now
        dead = self.abandoning = ActorDead(f"{self} crashed or stopped before it answered")
        tasks, self.tasks = self.tasks, {}
        for task in list(tasks):
            task.abandon(dead)
        self.abandoning = None
        for waiting in (serial or {}).values():
            for _, message, future in waiting:
                self._refuse(message if future is None else Envelope(message, future))
        self.actor = None
        if not keep_mail:
            self.discard_mail()

    def discard_mail(self) -> None:
        """Refuse all that waits: asks fail, told messages become dead letters."""
        items = [*(self.stash or ()), *self.mailbox]
        self.stash = None
        self.mailbox.clear()
        for item in items:
            self._refuse(item)

    def _refuse(self, item: Any) -> None:
        kind = type(item)
        if kind is Envelope:
            self.reply_error(item.future, ActorDead(f"{self} stopped before it handled the message"))
        elif kind is Stop:
            item.future.resolve(None)
        elif kind is not Task and kind is not Start and kind is not Begin:
            self.system.dead_letter(self, item)

    def terminate(self) -> None:
        """Dead for good: unwind, refuse the mail, tell who monitors."""
        if self.state == DEAD:
            return
        self._unwind(keep_mail=False)
        self.state = DEAD
        self.discard_mail()
        self.system.forget(self)
        if self.parent is not None and self.parent.children is not None:
            if self.parent.children.get(self.spec.name) is self:
                del self.parent.children[self.spec.name]
        for watcher in self.watchers or ():
            if watcher.state != DEAD:
                watcher.deliver(Terminated(self.actor_urn))
        self.watchers = None
        if self.stopped_future is not None:
            self.stopped_future.resolve(None)

    def monitor(self, target: Life) -> None:
        """Have `Terminated` told to this cell when `target` dies (now, if it is dead)."""
        if target.state == DEAD:
            self.deliver(Terminated(target.actor_urn))
            return
        if target.watchers is None:
            target.watchers = []
        if self not in target.watchers:
            target.watchers.append(self)

    def statistics(self) -> Stats:
        """A frozen record of what this actor is doing."""
        return Stats(
            actor_urn=self.actor_urn,
            kind=type(self.actor).__name__,
            state=STATE_NAMES[self.state],
            mailbox=len(self.mailbox),
            handled=self.handled,
            restarts=self.incarnation,
            tasks=len(self.tasks),
        )

    def start(self) -> None:
        """Post the kernel's first mail."""
        self.deliver(Start())
