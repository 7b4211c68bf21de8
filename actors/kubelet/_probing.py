"""Part of a pod's worker: doing the probes and living by what they say.

A probe whose answer cannot change by itself is not asked again once it is good: a pod that is
ready and runs for ever costs no timers.
"""

from __future__ import annotations

from collections import Counter

from actors.kernel import ActorDead
from actors.kubelet._messages import ProbeDue
from actors.kubelet._plan import RUNNING, Member
from actors.kubelet._probes import LIVENESS, READINESS, STARTUP, Probe, handler_of
from actors.kubelet._spec import MAIN, SIDECAR, restart_policy_of
from actors.kubelet._starting import port_number
from actors.kubelet._stopping import Stopping
from actors.kubelet._tallies import ProbeCount
from protocol.conditions import PROBES, ProbeFault, matches
from protocol.cri import CriError, ExecSync
from protocol.cri import Probe as ProbePort

__all__ = ["Probing"]

MAX_OUTPUT_CHARS = 10_240


class Probing(Stopping):
    """See the module."""

    def update_readiness(self, member: Member) -> None:
        """`started` and `ready` as the probes have it."""
        running = member.state == RUNNING
        member.started = running and (member.startup is None or member.startup.result is True)
        member.ready = member.started and (member.readiness is None or member.readiness.result is True)
        if member.kind not in (MAIN, SIDECAR):
            member.ready = False

    def schedule_probes(self, member: Member) -> None:
        """Arm the first round: startup alone if there is one, else liveness and readiness."""
        if member.startup is not None and member.startup.result is None:
            self._arm(member, member.startup, member.startup.initial_delay_s)
            return
        age_s = max(0.0, self.clock.now() - member.started_at)
        for probe in (member.liveness, member.readiness):
            if probe is not None:
                self._arm(member, probe, max(0.0, probe.initial_delay_s - age_s))

    def _arm(self, member: Member, probe: Probe, delay_s: float) -> None:
        probe.token += 1
        message = ProbeDue(member.name, probe.kind, probe.token)
        if delay_s <= 0:
            self.aside(self._probe(member, probe))
        else:
            self.after(delay_s, message)

    async def probe_due(self, message: ProbeDue) -> None:
        """A probe's timer."""
        member = self.member(message.container)
        probe: Probe | None = getattr(member, message.kind.lower()) if member is not None else None
        if member is not None and probe is not None and probe.token == message.token:
            await self._probe(member, probe)

    def unsettle(self) -> None:
        """The pod's annotations changed: what was settled may be different now."""
        for member in self.members:
            for probe in (member.startup, member.liveness, member.readiness):
                if probe is not None and probe.busy:
                    probe.doubted = True
                elif probe is not None and probe.settled and member.state == RUNNING:
                    self._count_settled(member, probe)
                    probe.settled = False
                    self._arm(member, probe, 0.0)

    async def _probe(self, member: Member, probe: Probe) -> None:
        if member.state != RUNNING or probe.busy or ((self.ending or member.stopping) and probe.kind != READINESS):
            return
        probe.busy = True
        ident = member.container_id
        try:
            ok, output, settled = await self._do(member, probe)
        except ActorDead:
            self._ask_later(member, probe)  # the runtime is being restarted: that says nothing of the container
            return
        finally:
            probe.busy = False
        current = getattr(member, probe.kind.lower())
        if member.state != RUNNING or member.container_id != ident or current is not probe:
            return
        if not ok:
            self.record("Warning", "Unhealthy", f"{probe.kind} probe failed: {output[:MAX_OUTPUT_CHARS]}", member)
        self._count(member, probe, "successful" if ok else "failed")
        changed = probe.record(ok, settled and not probe.doubted)
        probe.doubted = False
        probe.settled_at = self.clock.now()
        if changed:
            self._verdict(member, probe)
        self._ask_later(member, probe)
        self.answered()

    def _count(self, member: Member, probe: Probe, result: str, times: int = 1) -> None:
        if self.probed is None:
            self.probed = Counter()
        self.probed[member.name, probe.kind, result] += times

    def _count_settled(self, member: Member, probe: Probe) -> None:
        """The probes that would have been done meanwhile, had their answers not been known."""
        times = int((self.clock.now() - probe.settled_at) / probe.period_s) if member.state == RUNNING else 0
        if times > 0:
            self._count(member, probe, "successful", times)
            probe.settled_at += times * probe.period_s

    def probe_counts(self) -> tuple[ProbeCount, ...]:
        """What probes have said, how often."""
        for member in self.members:
            for probe in (member.liveness, member.readiness):
                if probe is not None and probe.settled:
                    self._count_settled(member, probe)
        return tuple((*key, times) for key, times in sorted((self.probed or {}).items()))

    def _ask_later(self, member: Member, probe: Probe) -> None:
        delay_s = probe.next_delay_s()
        if delay_s is not None and member.state == RUNNING and getattr(member, probe.kind.lower()) is probe:
            probe.token += 1
            self.after(delay_s, ProbeDue(member.name, probe.kind, probe.token))

    def flush(self) -> None:
        """Report (defined by the reporter)."""
        raise NotImplementedError

    def answered(self) -> None:
        """A probe has answered (defined by the worker)."""
        raise NotImplementedError

    def kick(self) -> None:
        """Look for work (defined by the worker)."""
        raise NotImplementedError

    def _verdict(self, member: Member, probe: Probe) -> None:
        self.update_readiness(member)
        if probe.kind == STARTUP and probe.result:
            self.schedule_probes(member)
            self.kick()
        elif probe.kind in (STARTUP, LIVENESS) and probe.result is False:
            self.aside(self._kill_unhealthy(member, probe))

    async def _kill_unhealthy(self, member: Member, probe: Probe) -> None:
        if member.stopping:
            return
        grace = probe.spec.get("terminationGracePeriodSeconds")
        if grace is None:
            grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        text = f"Container {member.name} failed {probe.kind.lower()} probe"
        if restart_policy_of(self.pod, member.kind, member.spec) != "Never" or member.spec.get("restartPolicyRules"):
            text += ", will be restarted"
        await self.stop_member(member, float(grace), text)
        self.kick()

    async def _do(self, member: Member, probe: Probe) -> tuple[bool, str, bool]:
        """(succeeded, output, whether it would say the same again)."""
        fault: ProbeFault | None = self.system.world.get(PROBES)
        meta = self.pod["metadata"]
        if fault is not None and matches(fault.pods, f"{meta['namespace']}/{meta['name']}"):
            if self.random.random() < fault.rate:
                return False, "connection reset by peer", False
            ok, output, _ = await self._really(member, probe)
            return ok, output, False
        return await self._really(member, probe)

    async def _really(self, member: Member, probe: Probe) -> tuple[bool, str, bool]:
        kind, handler = handler_of(probe.spec)
        try:
            if kind == "exec":
                command = tuple(handler.get("command") or ())
                answer = await self.ask(self.node.runtime, ExecSync(member.container_id, command, probe.timeout_s))
                output = (answer.stdout + answer.stderr).decode(errors="replace")
                return answer.exit_code == 0, output, answer.settled
            port = port_number(member.spec, handler.get("port"))
            headers = tuple((h["name"], h.get("value") or "") for h in handler.get("httpHeaders") or ())
            detail = handler.get("service") or "" if kind == "grpc" else handler.get("path") or "/"
            reply = await self.ask(
                self.node.runtime,
                ProbePort(
                    member.container_id,
                    kind,
                    port,
                    (handler.get("scheme") or "HTTP").lower(),
                    handler.get("host") or "",
                    detail,
                    headers,
                    probe.timeout_s,
                ),
            )
            return reply.ok, reply.output, reply.settled
        except CriError as error:
            if error.code == "DeadlineExceeded":
                command_text = " ".join(handler.get("command") or ())
                return False, f'command timed out: "{command_text}" timed out after {probe.timeout_s:g}s', False
            return False, error.message, False
