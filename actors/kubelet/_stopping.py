"""Part of a pod's worker: how containers and the pod end.

Owns preStop hooks, the grace period, the order (containers first, then sidecars from the last to
the first), and what ended containers are recorded as. It never decides that something has to end.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import ActorDead, AskTimeout, Future
from actors.kubelet._plan import EXITED, NEW, RUNNING, Member
from actors.kubelet._spec import EPHEMERAL, MAIN, RESTART_ALL, SIDECAR, default_grace_s, restart_action
from actors.kubelet._starting import Starting
from actors.kubelet._status import rfc3339
from protocol.cri import (
    CONTAINER_EXITED,
    ContainerStatus,
    CriError,
    GetContainerStatus,
    RemovePodSandbox,
    StopContainer,
    StopPodSandbox,
)

__all__ = ["Stopping"]

Object = dict[str, Any]
MIN_GRACE_S = 2.0
"""What a container has left after its preStop hook used up the grace period."""
STOP_MARGIN_S = 30.0


class Stopping(Starting):
    """See the module."""

    def ended(self, member: Member, status: ContainerStatus) -> None:
        """Note that a container has ended, once."""
        if status.state != CONTAINER_EXITED or status.id != member.container_id or member.terminated is not None:
            return
        member.state = EXITED
        member.exit_code = status.exit_code
        member.finished_at = status.finished_at
        member.stopping = False
        member.started = member.ready = False
        member.startup = member.liveness = member.readiness = None
        member.terminated = self.terminated_state(status)

    def terminated_state(self, status: ContainerStatus) -> Object:
        """A run that ended, in the API's form."""
        state: Object = {
            "exitCode": status.exit_code,
            "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        }
        if status.message:
            state["message"] = status.message
        state["startedAt"] = rfc3339(status.started_at)
        state["finishedAt"] = rfc3339(status.finished_at)
        state["containerID"] = f"{self.node.prefix}://{status.id}"
        return state

    async def stop_member(self, member: Member, grace_s: float, message: str, hooks: bool = True) -> None:
        """preStop (with `hooks`), SIGTERM, SIGKILL; returns when the container has ended and is noted as such."""
        if member.state != RUNNING:
            return
        ident = member.container_id
        member.stopping = True
        self.record("Normal", "Killing", message, member)
        began = self.clock.monotonic()
        hook = (member.spec.get("lifecycle") or {}).get("preStop")
        if hook and hooks and grace_s > 0:
            await self._pre_stop(member, hook, grace_s)
        left = max(grace_s - (self.clock.monotonic() - began), MIN_GRACE_S if grace_s > 0 and hook else 0.0)
        try:
            await self.ask(self.node.runtime, StopContainer(ident, left), timeout=left + STOP_MARGIN_S)
            status = await self.ask(self.node.runtime, GetContainerStatus(ident))
        except (CriError, AskTimeout, ActorDead) as error:
            self.log.warning("container_stop_failed", container=member.name, error=str(error))
            member.stopping = False
            return
        if member.container_id == ident:
            self.ended(member, status)

    async def _pre_stop(self, member: Member, hook: Object, grace_s: float) -> None:
        running = self.background(self.run_hook(member, hook, grace_s))
        timer = self.sleep(grace_s)
        first = await self._first(running, timer)
        if first is timer:
            self.log.info("pre_stop_hook_unfinished", pod=self.full_name(), container=member.name, grace_s=grace_s)
        elif running.exception() is not None or running.result():
            problem = running.exception() or running.result()  # the words stay here: they may hold secrets
            self.log.info("pre_stop_hook_failed", pod=self.full_name(), container=member.name, error=str(problem))
            self.record("Warning", "FailedPreStopHook", "PreStopHook failed", member)

    async def _first(self, *futures: Any) -> Any:
        """The future that is done first."""
        winner: Any = Future()
        for future in futures:
            future.add_callback(lambda f: winner.done or winner.resolve(f))
        return await winner

    async def stop_all(self, grace_s: float) -> None:
        """End every container: those of the pod together, then the sidecars, the last one first."""
        began = self.clock.monotonic()
        first = [m for m in self.members if m.kind != SIDECAR and m.state == RUNNING]
        await self.gather(*[self.stop_member(m, grace_s, f"Stopping container {m.name}") for m in first])
        for member in reversed([m for m in self.members if m.kind == SIDECAR]):
            left = max(0.0, grace_s - (self.clock.monotonic() - began))
            await self.stop_member(member, left, f"Stopping container {member.name}")

    def restart_trigger(self) -> Member | None:
        """The container whose end is to restart all of them."""
        ended = [m for m in self.members if m.kind != EPHEMERAL and m.state == EXITED]
        return next((m for m in ended if restart_action(m.spec, m.exit_code) == RESTART_ALL), None)

    async def restart_all(self, trigger: Member | None) -> bool:
        """End every container, without hooks, and let the pod begin anew in its sandbox with its volumes (KEP-5532).
        False when one of them does not end."""
        members = [m for m in self.members if m.kind != EPHEMERAL]
        grace_s = float(default_grace_s(self.pod))
        await self.gather(
            *[
                self.stop_member(m, grace_s, f"Stopping container {m.name}", False)
                for m in members
                if m.state == RUNNING
            ]
        )
        if any(m.state == RUNNING for m in members):
            return False
        if trigger is not None:
            self.backoff.advance(trigger.name, trigger.finished_at)
        for member in members:
            if member.container_id:
                self.forget_older(member.name, member.container_id)
                member.begin_anew()
        return True

    def hasten(self, grace_s: float) -> None:
        """The grace period became shorter while containers were ending."""
        for member in self.members:
            if member.state == RUNNING and member.stopping:
                self.ask(self.node.runtime, StopContainer(member.container_id, grace_s))

    async def stop_sandbox(self) -> None:
        """Give the pod's namespaces and addresses back."""
        if self.sandbox_id and self.facts.sandbox_ready:
            await self.ask(self.node.runtime, StopPodSandbox(self.sandbox_id))
        self.facts.sandbox_ready = False

    async def remove_sandbox(self) -> None:
        """Leave nothing of the pod in the runtime."""
        for ident in [*self.old_sandboxes, self.sandbox_id]:
            if ident:
                await self.ask(self.node.runtime, RemovePodSandbox(ident))
        self.old_sandboxes = []
        self.sandbox_id = ""
        self.facts.sandbox_ready = False

    def account_for_the_lost(self) -> None:
        """Containers of a pod that had begun and of which nothing is known ended somehow."""
        if not any(m.terminated is not None or m.container_id for m in self.members if m.kind == MAIN):
            return
        for member in self.members:
            if member.kind == MAIN and member.state == NEW and member.terminated is None:
                member.waiting = None
                member.exit_code = 137
                member.terminated = {
                    "exitCode": 137,
                    "reason": "ContainerStatusUnknown",
                    "message": "The container could not be located when the pod was terminated",
                    "startedAt": None,
                    "finishedAt": None,
                }
