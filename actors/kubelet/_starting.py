"""Part of a pod's worker: from a container that should run to a started process.

Owns images, creation, start, hooks and the setting up of probes, and the words for what stands in the way.
"""

from __future__ import annotations

from typing import Any

from actors.kubelet._configuring import Configuring
from actors.kubelet._env import (
    ConfigError,
)
from actors.kubelet._plan import EXITED, RUNNING, Member
from actors.kubelet._probes import Probe, handler_of, probe_kinds
from actors.kubelet._security import breaks_non_root
from actors.kubelet._spec import default_grace_s
from actors.kubelet._status import rfc3339
from actors.kubelet._tallies import container_type
from protocol.cri import (
    ContainerConfig,
    CreateContainer,
    CriError,
    ExecSync,
    Image,
    RemoveContainer,
    StartContainer,
    StopPodSandbox,
    UpdateContainerResources,
)
from protocol.cri import Probe as ProbePort

__all__ = ["Starting", "port_number"]

Object = dict[str, Any]


class Starting(Configuring):
    """See the module."""

    async def start_member(self, member: Member) -> None:
        """Create and start a container. What stands in the way becomes its waiting reason."""
        now = self.clock.now()
        again = member.terminated is not None
        for volume in self._image_volumes(member.spec):
            policy = volume.get("pullPolicy") or "IfNotPresent"
            if await self._ensure_image(member, now, volume.get("reference", ""), policy, of_volume=True) is None:
                return
        image, policy = member.spec.get("image") or "", member.spec.get("imagePullPolicy") or "IfNotPresent"
        image_id = await self._ensure_image(member, now, image, policy)
        if image_id is None:
            return
        try:
            problem = breaks_non_root(self.pod, member.spec, image_id.user, self.full_name())
            if problem:
                raise ConfigError(problem)
            config = await self._container_config(member, again)
        except ConfigError as error:
            self._wait(member, "CreateContainerConfigError", str(error))
            self.record("Warning", "Failed", f"Error: {error}", member)
            self._hold(member)
            return
        await self._run_container(member, self.with_devices(member, config), again, image_id)

    def _image_volumes(self, spec: Object) -> list[Object]:
        """The image volumes that a container mounts."""
        mounted = {m["name"] for m in spec.get("volumeMounts") or ()}
        volumes = self.pod["spec"].get("volumes") or ()
        return [v["image"] for v in volumes if v.get("image") is not None and v["name"] in mounted]

    async def _run_container(self, member: Member, config: ContainerConfig, again: bool, image_id: Image) -> None:
        runtime = self.node.runtime
        try:
            await self.ready_devices(member)
            created = await self.ask(runtime, CreateContainer(self.sandbox_id, config))
        except CriError as error:
            if error.code == "AlreadyExists":
                self.look_again()
                return
            if error.code == "FailedPrecondition" and self.facts.sandbox_ready:
                await self._sandbox_lost()
                return
            self._wait(member, error.reason or "CreateContainerError", error.message)
            self.record("Warning", "Failed", f"Error: {error.message}", member)
            self._hold(member)
            return
        self.record("Normal", "Created", "Container created", member)
        before, terminated = member.container_id, member.terminated
        if again:
            self.backoff.advance(member.name, member.finished_at)
            member.restart_count += 1
            member.last_terminated = terminated
        member.container_id = created.container_id
        member.image = image_id.repo_tags[0] if image_id.repo_tags else config.image
        member.image_id = image_id.repo_digests[0] if image_id.repo_digests else image_id.id
        member.terminated = None
        member.exit_code = 0
        try:
            started = await self.ask(runtime, StartContainer(created.container_id))
        except CriError as error:
            self._start_failed(member, error)
            return
        self.record("Normal", "Started", "Container started", member)
        self.node.tallies.started_containers[container_type(member.kind)] += 1
        member.waiting = None
        member.hold_until = 0.0
        if member.terminated is None:
            member.state = RUNNING
            member.started_at = started.started_at
            if self.resources_of(member) != config.resources:  # they were changed while it was being made
                await self.ask(runtime, UpdateContainerResources(member.container_id, self.resources_of(member)))
            await self._after_start(member)
        if before:
            self.forget_older(member.name, before)

    async def _sandbox_lost(self) -> None:
        """The pause container has ended: what it held is gone, so the whole pod begins anew."""
        self.record("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        self.facts.sandbox_ready = False
        await self.ask(self.node.runtime, StopPodSandbox(self.sandbox_id))
        self.wake_in(0.1)

    def forget_older(self, name: str, before: str) -> None:
        """Keep one ended container for its log, and remove the one before it."""
        oldest = self.previous_ids.get(name)
        self.previous_ids[name] = before
        if oldest:
            self.ask(self.node.runtime, RemoveContainer(oldest))

    def _start_failed(self, member: Member, error: CriError) -> None:
        self.record("Warning", "Failed", f"Error: {error.message}", member)
        now = self.clock.now()
        member.state = EXITED
        member.exit_code = 128
        member.finished_at = now
        member.terminated = {
            "exitCode": 128,
            "reason": "StartError",
            "message": error.message,
            "startedAt": rfc3339(0),
            "finishedAt": rfc3339(now),
            "containerID": f"{self.node.prefix}://{member.container_id}",
        }

    async def _after_start(self, member: Member) -> None:
        """postStart, then probes: without any, a container that runs is started and ready."""
        hook = (member.spec.get("lifecycle") or {}).get("postStart")
        if hook:
            problem = await self.run_hook(member, hook, 0.0)
            if problem and member.state == RUNNING:  # the words stay here: they may hold secrets
                self.log.info("post_start_hook_failed", pod=self.full_name(), container=member.name, error=problem)
                self.record("Warning", "FailedPostStartHook", "PostStartHook failed", member)
                await self.stop_member(member, float(default_grace_s(self.pod)), "FailedPostStartHook")
                return
        if member.state != RUNNING:
            return
        self.begin_probes(member)

    def begin_probes(self, member: Member) -> None:
        """Set up the probes of a container that has just started."""
        member.startup = member.liveness = member.readiness = None
        for kind, field in probe_kinds:
            spec = member.spec.get(field)
            if spec and handler_of(spec)[0] != "none":
                setattr(member, kind.lower(), Probe(kind, spec))
        self.update_readiness(member)
        self.schedule_probes(member)

    async def stop_member(self, member: Member, grace_s: float, message: str, hooks: bool = True) -> None:
        """End a container (defined by the part that stops)."""
        raise NotImplementedError

    def update_readiness(self, member: Member) -> None:
        """Take over what the probes say (defined by the prober)."""
        raise NotImplementedError

    def schedule_probes(self, member: Member) -> None:
        """Arm the timers (defined by the prober)."""
        raise NotImplementedError

    async def run_hook(self, member: Member, hook: Object, timeout_s: float) -> str:
        """Run a lifecycle handler; answers what went wrong, or nothing."""
        runtime = self.node.runtime
        if hook.get("sleep"):
            await self.sleep(float(hook["sleep"].get("seconds") or 0))
            return ""
        kind, handler = handler_of(hook)
        try:
            if kind == "exec":
                command = tuple(handler.get("command") or ())
                answer = await self.ask(runtime, ExecSync(member.container_id, command, timeout_s))
                if answer.exit_code:
                    return f"command '{' '.join(command)}' exited with {answer.exit_code}: {answer.stderr.decode(errors='replace')}"
            elif kind in ("http", "tcp"):
                port = port_number(member.spec, handler.get("port"))
                answer = await self.ask(
                    runtime,
                    ProbePort(
                        member.container_id,
                        kind,
                        port,
                        (handler.get("scheme") or "http").lower(),
                        handler.get("host") or "",
                        handler.get("path") or "",
                    ),
                )
                return "" if answer.ok else answer.output
        except CriError as error:
            return error.message
        return ""


def port_number(spec: Object, port: Any) -> int:
    """A port given by number or by the name that the container gives it; 0 if there is none."""
    if isinstance(port, int):
        return port
    for entry in spec.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return int(port) if str(port or "").isdigit() else 0
