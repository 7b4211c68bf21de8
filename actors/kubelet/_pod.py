"""The actor that stands for one pod on its node: its worker.

    Pending --sandbox, images, containers--> Running --all ended--> Succeeded | Failed
       |                                        |
       +------------- deletion, deadline, eviction: stop, report, forget

Owns the pod's whole life on the node, from the first look at its spec until nothing is left of it.
One loop (`_sync`) looks at what is there, asks `_plan.plan` what to do, and does it; everything
that happens (a changed spec, a container's end, a timer) only makes it look again. It never decides
which pods a node has, and reads no other pod.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import ActorDead, AskTimeout, handles
from actors.kubelet._messages import (
    ActiveDeadline,
    ConsiderResize,
    CpusChanged,
    Describe,
    Described,
    Evict,
    Flush,
    ImageBackOff,
    Kick,
    MirrorChanged,
    PodRemoved,
    PodUpdated,
    ProbeDue,
    WorkerGone,
)
from actors.kubelet._plan import RUNNING, plan
from actors.kubelet._resizing import Resizing, with_resources
from actors.kubelet._spec import MAIN, default_grace_s, is_deleting, is_terminal
from actors.kubelet._status import parse_time, rfc3339
from protocol.conditions import Unsettle
from protocol.cri import (
    ContainerEvent,
    CriError,
    ReadVolume,
    UpdateContainerResources,
)

__all__ = ["Pod"]

Object = dict[str, Any]
FAILED_SYNC_S = (0.2, 1.0, 5.0, 10.0)
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class Pod(Resizing):
    """See the module."""

    def on_start(self) -> None:
        self._arm_deadline()
        self.kick()

    # -- what happens

    @handles(PodUpdated)
    def updated(self, message: PodUpdated) -> None:
        """The API has a newer pod."""
        before = self.pod
        self.adopt(message.pod)
        if self.pod is before:
            return
        old_notes = before["metadata"].get("annotations")
        notes = self.pod["metadata"].get("annotations")
        if notes != old_notes and self.sandbox_id and self.facts.sandbox_ready:
            self.tell_annotations(old_notes or {})
        if self.pod["spec"] is not before["spec"] and self.pod["spec"] != before["spec"]:
            self._spec_changed()
        if is_deleting(self.pod) and self.ending:
            grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            if grace < self.grace_s:
                self.grace_s = grace
                self.hasten(grace)
        if not self.working:
            self.flush()
        self.kick_if_needed(before)

    def kick_if_needed(self, before: Object) -> None:
        """Most updates are the echo of our own report: then there is nothing to do."""
        if is_deleting(self.pod) != is_deleting(before) or self.pod["spec"] != before["spec"]:
            self.kick()

    def _spec_changed(self) -> None:
        """Images may change, resources may be resized, ephemeral containers may come."""
        self._make_members()
        specs = {
            c["name"]: c
            for group in ("initContainers", "containers", "ephemeralContainers")
            for c in self.pod["spec"].get(group) or ()
        }
        for member in self.members:
            new = specs.get(member.name)
            if new is None or new is member.spec:
                continue
            old, member.spec = member.spec, with_resources(new, member.spec.get("resources"))
            if new.get("image") != old.get("image") and member.state == RUNNING and member.kind == MAIN:
                text = f"Container {member.name} definition changed, will be restarted"
                self.aside(self._stop_then_kick(member, text))
        if self._differing() or self._level_differs() or self.facts.resize is not None:
            self.ref.tell(ConsiderResize())
        self._arm_deadline()

    async def _stop_then_kick(self, member: Any, text: str) -> None:
        await self.stop_member(member, float(default_grace_s(self.pod)), text)
        self.kick()

    @handles(Unsettle)
    def disturbed(self, message: Unsettle) -> None:
        """What probes answer may have changed."""
        self.unsettle()

    @handles(PodRemoved)
    def removed(self, message: PodRemoved) -> None:
        """The API has forgotten the pod: nothing of it may stay."""
        self.gone = True
        if self.ending and self.grace_s > 0 and not self.done:
            self.grace_s = 0.0
            self.hasten(0.0)
        self.kick()

    @handles(ContainerEvent)
    def container_event(self, message: ContainerEvent) -> None:
        """A container has ended."""
        member = self.member(message.status.name)
        if member is None or member.container_id != message.status.id or member.terminated is not None:
            return
        self.ended(member, message.status)
        self.kick()

    @handles(CpusChanged)
    async def cpus_changed(self, message: CpusChanged) -> None:
        """Containers that share cores share others now."""
        for member in self.members:
            if member.state == RUNNING and not self.ending:
                try:
                    change = UpdateContainerResources(member.container_id, self.resources_of(member))
                    await self.ask(self.node.runtime, change)
                except (CriError, ActorDead, AskTimeout) as error:
                    self.log.info("cores_not_changed", pod=self.full_name(), error=str(error))

    @handles(MirrorChanged)
    def mirror_changed(self, message: MirrorChanged) -> None:
        """A mirror pod that is new, or that somebody wrote to, is to say how it is."""
        self.flush()

    @handles(Kick)
    def kicked(self, message: Kick) -> None:
        self.wake = None
        self.kick()

    @handles(Flush)
    def flush_due(self, message: Flush) -> None:
        self.report_held()

    @handles(ProbeDue)
    async def probe_is_due(self, message: ProbeDue) -> None:
        await self.probe_due(message)

    @handles(ImageBackOff)
    def image_back_off(self, message: ImageBackOff) -> None:
        member = self.member(message.container)
        if member is None or member.hold_until != message.until or member.waiting is None or self.ending:
            return
        reason, image = member.waiting[0], message.image
        if reason.endswith("BackOff"):
            return
        member.waiting = ("ImagePullBackOff", f'Back-off pulling image "{image}": {reason}: {message.message}')
        about = None if message.of_volume else member
        self.record("Normal", "BackOff", f'Back-off pulling image "{image}"', about)
        self.record("Warning", "Failed", "Error: ImagePullBackOff", member)
        self.flush()

    @handles(ActiveDeadline)
    def active_deadline(self, message: ActiveDeadline) -> None:
        self._past_deadline()

    def _past_deadline(self) -> None:
        if self.facts.reason or self.done or is_terminal(self.pod):
            return
        self.facts.reason, self.facts.message = "DeadlineExceeded", DEADLINE_MESSAGE
        self.record("Normal", "DeadlineExceeded", DEADLINE_MESSAGE)
        self.kick()

    @handles(Evict)
    def evict(self, message: Evict) -> None:
        """The node must get rid of the pod."""
        if self.facts.reason or self.done:
            return
        self.facts.reason, self.facts.message = message.reason, message.message
        self.grace_s = float(message.grace_s)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": message.condition or message.message,
            "lastTransitionTime": rfc3339(self.clock.now()),
        }
        self.facts.extra_conditions = (condition,)
        self.record("Warning", message.reason, message.message)
        self.kick()

    @handles(ReadVolume)
    async def volume(self, message: ReadVolume) -> dict[str, bytes]:
        return await self.read_volume(message)

    @handles(Describe)
    def describe(self, message: Describe) -> Described:
        containers = {
            m.name: (m.container_id, self.previous_ids.get(m.name, ""), m.state, m.waiting[0] if m.waiting else "")
            for m in self.members
        }
        return Described(self.sandbox_id, containers, self.pod, self.probe_counts(), self.facts.sandbox_ready)

    def _arm_deadline(self) -> None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if self.deadline_timer is not None:
            self.deadline_timer.cancel()
            self.deadline_timer = None
        if seconds is None:
            return
        if not self.facts.start_time:
            started = (self.pod.get("status") or {}).get("startTime")
            self.facts.start_time = (started and parse_time(started)) or self.clock.now()
        left = self.facts.start_time + float(seconds) - self.clock.now()
        self.deadline_timer = self.after(max(0.0, left), ActiveDeadline())

    # -- the loop

    def kick(self) -> None:
        """Look for work, after what is being done now."""
        self.again = True
        if not self.working:
            self.working = True
            self.background(self._loop())

    def wake_in(self, seconds: float) -> None:
        """Look again in so many seconds, if nothing else comes first."""
        at = self.clock.monotonic() + seconds
        if self.wake is not None:
            if self.wake_at <= at:
                return
            self.wake.cancel()
        self.wake_at = at
        self.wake = self.after(seconds, Kick())

    async def _loop(self) -> None:
        try:
            while self.again and not self.done:
                self.again = False
                try:
                    await self._sync()
                    if not self.again:
                        self.sync_failures = 0 if not any(m.hold_until for m in self.members) else self.sync_failures
                except Exception as error:
                    self.log.warning(
                        "pod_sync_failed",
                        pod=self.full_name(),
                        error=repr(error),
                        exc_info=not isinstance(error, CriError),
                    )
                    self.record("Warning", "FailedSync", f"error determining status: {error}")
                    self.wake_in(FAILED_SYNC_S[min(self.sync_failures, len(FAILED_SYNC_S) - 1)])
                    self.sync_failures += 1
        finally:
            self.working = False

    async def _sync(self) -> None:
        if self.recover:
            await self._recover()
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None and self.facts.start_time and self.clock.now() >= self.facts.start_time + float(seconds):
            self._past_deadline()
        if self.gone or is_deleting(self.pod) or self.facts.reason:
            await self._end()
            return
        if is_terminal(self.pod):
            await self._retire()
            return
        if self.facts.terminal:
            return
        now = self.clock.now()
        if not self.facts.start_time:
            self.facts.start_time = now
        if self.sent is None:
            self.hold_report()
        trigger = self.restart_trigger()
        if (trigger is not None or self.facts.restarting) and not await self._restart_all(trigger):
            return
        actions = plan(self.pod, self.members, self.facts.sandbox_ready, self.backoff, now)
        if actions.ended:
            await self._finish()
            return
        for member, _ in actions.backing_off:
            self._backing_off(member)
        if actions.wake_in_s is not None:
            self.wake_in(actions.wake_in_s)
        if actions.sandbox and not await self.make_sandbox():
            self.report_held()
            if self.wake is None:
                self.wake_in(1.0)
            return
        for member in actions.start:
            if self.gone or is_deleting(self.pod) or self.facts.reason:
                self.again = True
                break
            await self.start_member(member)
            self.again = True
        if not self.again:
            self._note_start()
            self._report_soon()

    async def _restart_all(self, trigger: Any) -> bool:
        """Begin anew, once the container that asks for it has waited out its back-off; true when that is done."""
        left = 0.0 if trigger is None else self.backoff.wait_s(trigger.name, trigger.finished_at, self.clock.now())
        if left > 1e-6:
            self._backing_off(trigger)
            self.wake_in(left)
            self._report_soon()
            return False
        self.facts.restarting = True
        self.held = False
        self.flush()
        if not await self.restart_all(trigger):
            self.wake_in(1.0)
            return False
        self.facts.restarting = False
        return True

    def _note_start(self) -> None:
        """How long the pod took to be up is told once."""
        if self.noted or any(m.kind == MAIN and not m.container_id for m in self.members):
            return
        self.noted = True
        created = parse_time(self.pod["metadata"].get("creationTimestamp") or "")
        if created and not any(m.restart_count for m in self.members):
            self.node.tallies.start_seconds.append(max(0.0, self.clock.now() - created))

    def answered(self) -> None:
        """A probe has answered: the first report may have waited for that."""
        if self.working:
            return
        self._report_soon()

    def _report_soon(self) -> None:
        """All is started that can be: report, unless a first probe is about to answer."""
        busy = any(
            p is not None and p.busy and p.result is None for m in self.members for p in (m.startup, m.readiness)
        )
        if busy and self.held:
            return
        self.report_held()
        self.flush()

    def _backing_off(self, member: Any) -> None:
        if member.waiting is not None and member.waiting[0] == "CrashLoopBackOff":
            return
        seconds = self.backoff.current_s(member.name)
        whole, rest = divmod(int(seconds), 60)
        shown = f"{whole}m{rest}s" if whole else f"{rest}s"
        text = f"back-off {shown} restarting failed container={member.name} pod={self.full_name()}"
        member.waiting = ("CrashLoopBackOff", text)
        member.last_terminated = member.terminated
        self.record(
            "Warning",
            "BackOff",
            f"Back-off restarting failed container {member.name} in pod {self.full_name()}",
            member,
        )

    # -- ends

    async def _finish(self) -> None:
        """The containers have done their work, or cannot: stop the rest and report the outcome."""
        await self.stop_all(float(default_grace_s(self.pod)))
        await self.stop_sandbox()
        self.facts.terminal = True
        for member in self.members:
            if member.terminated is not None:
                member.waiting = None
        self.report_held()
        self.flush()

    async def _end(self) -> None:
        """Stop everything; then report, delete and forget as the occasion asks."""
        self.ending = True
        deleting = is_deleting(self.pod)
        if any(m.state == RUNNING for m in self.members):
            if deleting:
                self.grace_s = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            elif self.facts.reason != "Evicted":
                self.grace_s = float(default_grace_s(self.pod))
            if self.gone and not self.is_static:
                self.grace_s = min(self.grace_s, 2.0)
            await self.stop_all(self.grace_s)
            if any(m.state == RUNNING for m in self.members):
                self.wake_in(1.0)
                return
        await self.stop_sandbox()
        self.facts.terminal = True
        for member in self.members:
            if member.terminated is not None:
                member.waiting = None
        self.held = False
        if self.gone:
            await self.remove_sandbox()
            self._leave()
            return
        if deleting:
            self.account_for_the_lost()
            if self._outcome_matters():
                await self._report_now()
            if not self.gone:
                await self.delete_pod()
        else:
            self.flush()

    def _outcome_matters(self) -> bool:
        """Whether the last status of a pod that is being deleted is worth a write."""
        if self.node.config.final_status == "always":
            return True
        if not any(m.terminated is not None for m in self.members):
            return False
        return self.pod["spec"].get("restartPolicy", "Always") != "Always" or bool(
            self.pod["metadata"].get("finalizers")
        )

    async def _report_now(self) -> None:
        while self.writing and not self.gone:
            await self.sleep(0.01)
        self.writing = True
        await self._write()

    async def _retire(self) -> None:
        """The pod has ended and the API knows; its log stays, its sandbox need not run."""
        if any(m.state == RUNNING for m in self.members):
            await self.stop_all(float(default_grace_s(self.pod)))
        await self.stop_sandbox()
        self.facts.terminal = True

    def _leave(self) -> None:
        self.done = True
        self.node.kubelet.tell(WorkerGone(self.uid))
        self.stop()
