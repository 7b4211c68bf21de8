"""Part of a pod's worker: sandbox, volumes, images, containers.

Owns the way from "this container should run" to a started process, and the words for what stands
in its way.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from actors.kernel import ActorDead
from actors.kubelet._cgroups import cgroup_parent, pod_config_resources
from actors.kubelet._env import (
    ConfigError,
    environment,
    expand,
    files_of,
    references,
    service_variables,
    sub_path,
)
from actors.kubelet._granting import Granting
from actors.kubelet._messages import GetServices, GetToken
from actors.kubelet._plan import EXITED, RUNNING, Member
from actors.kubelet._probes import Probe, handler_of, probe_kinds
from actors.kubelet._security import breaks_non_root, security_context
from actors.kubelet._spec import container_kinds, default_grace_s
from actors.kubelet._status import rfc3339
from actors.kubelet._tallies import container_type
from actors.kubelet._volume_setup import devices, volume_setup
from actors.kubelet._volumes import MountError, TokenRequest, content, host_path, is_provided, needs, token_sources
from protocol.api import StatusError
from protocol.cri import (
    ContainerConfig,
    ContainerResources,
    CreateContainer,
    CriError,
    ExecSync,
    Image,
    Mount,
    PodSandboxConfig,
    ReadFile,
    ReadVolume,
    RemoveContainer,
    RunPodSandbox,
    SetUpVolume,
    StartContainer,
    StopPodSandbox,
    UpdateContainerResources,
    UpdatePodSandbox,
)
from protocol.cri import Probe as ProbePort
from protocol.hosts import MAX_HOSTNAME, pod_hostname
from protocol.resolv import ResolvConf

__all__ = ["Starting"]

Object = dict[str, Any]
RUNTIME_REST_S = 0.5
"""A runtime that is being started anew is asked again after this."""


class Starting(Granting):
    """See the module."""

    # -- sandbox and volumes

    async def make_sandbox(self) -> bool:
        """Run the pause container; false when that has to be tried again later."""
        if not await self.claims_ready() or not await self.volumes_ready():
            return False
        pod, spec, meta = self.pod, self.pod["spec"], self.pod["metadata"]
        hostname, full_name = pod_hostname(pod, self.node.config.cluster_domain)
        if spec.get("hostNetwork"):  # the machine's own name space of names too
            hostname, full_name = self.node.name[:MAX_HOSTNAME], ""
        if len(hostname) > MAX_HOSTNAME:
            text = (
                f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {hostname} is too long "
                f"({MAX_HOSTNAME} characters is the max, {len(hostname)} characters requested)"
            )
            self.record("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {text}")
            return False
        features = self.node.features
        if spec.get("hostUsers") is False and features is not None and "user-namespaces" not in features:
            text = "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
            self.record("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {text}")
            return False
        config = PodSandboxConfig(
            meta["name"],
            self.namespace,
            self.uid,
            self.sandbox_attempt,
            hostname,
            meta.get("labels") or {},
            meta.get("annotations") or {},
            bool(spec.get("hostNetwork")),
            bool(spec.get("hostPID")),
            bool(spec.get("hostIPC")),
            bool(spec.get("shareProcessNamespace")),
            spec.get("hostUsers", True) is not False,
            cgroup_parent(pod),
            f"/var/log/pods/{self.namespace}_{meta['name']}_{self.uid}",
            *self._dns(),
            host_ports(spec),
            {s["name"]: str(s["value"]) for s in (spec.get("securityContext") or {}).get("sysctls") or ()},
            host_domain=full_name,
            host_aliases=tuple((a["ip"], tuple(a.get("hostnames") or ())) for a in spec.get("hostAliases") or ()),
            resources=self.pod_resources() if features is not None else None,
            privileged=any((c.get("securityContext") or {}).get("privileged") for _, c in container_kinds(pod)),
        )
        try:
            answer = await self.ask(self.node.runtime, RunPodSandbox(config, spec.get("runtimeClassName") or ""))
        except CriError as error:
            if error.code == "AlreadyExists":
                self.look_again()
                return False
            self.record(
                "Warning",
                "FailedCreatePodSandBox",
                f"Failed to create pod sandbox: rpc error: code = {error.code} desc = {error.message}",
            )
            return False
        if self.sandbox_id:
            self.old_sandboxes.append(self.sandbox_id)
        else:
            self.node.tallies.started_pods += 1
        self.sandbox_id = answer.pod_sandbox_id
        self.sandbox_attempt += 1
        self.facts.sandbox_ready = True
        self.tell_annotations(config.annotations)
        self.facts.ips = self.node.config.node_ips if spec.get("hostNetwork") else answer.ips
        return True

    def pod_resources(self) -> ContainerResources:
        """The limits of the pod's own control group."""
        config = self.node.config
        limit = config.pod_pids_limit if config.pod_pids_limit > 0 else None
        return pod_config_resources(self.pod, limit, config.memory_throttling_factor)

    def tell_annotations(self, known: Mapping[str, str]) -> None:
        """The sandbox knows these of the pod's annotations; they may have changed since."""
        latest = self.pod["metadata"].get("annotations") or {}
        if latest != known:
            self.aside(self._update_sandbox(UpdatePodSandbox(self.sandbox_id, latest)))

    async def _update_sandbox(self, change: UpdatePodSandbox) -> None:
        while not self.gone and self.sandbox_id == change.pod_sandbox_id:
            try:
                await self.ask(self.node.runtime, change)
                break
            except ActorDead:
                await self.sleep(RUNTIME_REST_S)
                change = UpdatePodSandbox(change.pod_sandbox_id, self.pod["metadata"].get("annotations") or {})
            except (CriError, TypeError) as error:  # real runtimes do not take scripts from annotations
                self.log.debug("sandbox_not_updated", pod=self.full_name(), error=str(error))
                break
        self.unsettle()  # not before: what probes answered meanwhile may be of before

    def unsettle(self) -> None:
        """Ask probes anew whose answers were settled (defined by the prober)."""
        raise NotImplementedError

    def look_again(self) -> None:
        """The runtime has what we do not know of, from a life before a crash: ask it anew."""
        self.members = []
        self._make_members()
        self.recover = True
        self.wake_in(0.05)

    def _dns(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """(servers, search domains, options) that the policy gives."""
        config = self.node.config
        found, said = ResolvConf.formed(self.pod, config.cluster_dns, config.cluster_domain, config.resolv_conf)
        for text in said:
            self.record("Warning", "DNSConfigForming", text)
        policy = self.pod["spec"].get("dnsPolicy") or "ClusterFirst"
        if not config.cluster_dns and policy.startswith("ClusterFirst"):
            name = f"{self.pod['metadata']['name']}_{self.namespace}({self.uid})"
            text = (
                "kubelet does not have ClusterDNS IP configured and cannot create Pod using "
                '"ClusterFirst" policy. Falling back to "Default" policy.'
            )
            self.record("Warning", "MissingClusterDNS", f'pod: "{name}". {text}')
        return found.nameservers, found.search, found.options

    async def volumes_ready(self) -> bool:
        """Whether all that the volumes are made of exists; says what is missing, and waits."""
        for volume in self.pod["spec"].get("volumes") or ():
            try:
                if is_provided(volume):
                    await self._volume_content(volume, {})
                if self.node.features is not None:
                    await self._set_up(volume)
            except (MountError, StatusError, CriError) as error:
                self.mount_failures += 1
                if self.mount_failures > 2:
                    text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                    self.record("Warning", "FailedMount", text)
                self.wake_in(min(0.1 * 2 ** (self.mount_failures - 1), 122.0))
                return False
        self.mount_failures = 0
        return True

    async def _set_up(self, volume: Object) -> None:
        """Have the runtime make a volume's directory. Raises: MountError, CriError, with what stands in the way."""
        await self.find_claims()
        name = volume["name"]
        if name in self.block_volumes:
            return
        place, owned = self.places.get(name, ""), name not in self.places or name in self.owned_volumes
        found = volume_setup(self.pod, volume, self.ref, self.node.allocatable, place, owned)
        if found is not None:
            await self.ask(self.node.runtime, SetUpVolume(self.uid, found))

    async def provide_again(self) -> None:
        """After a crash: whoever has the volumes' content is us again."""
        for volume in self.pod["spec"].get("volumes") or ():
            if self.node.features is not None and is_provided(volume):
                try:
                    await self._set_up(volume)
                except (MountError, StatusError, CriError) as error:
                    self.log.info("volume_not_provided", pod=self.full_name(), volume=volume["name"], error=str(error))

    async def _volume_content(self, volume: Object, tokens: dict[TokenRequest, str]) -> dict[str, bytes]:
        wanted = {(kind, name) for kind, name, _ in needs(volume)}
        found = await self.objects(wanted)
        return content(
            self.pod,
            volume,
            lambda kind, name: found.get((kind, name)),
            tokens,
            self.facts.ips,
            self.node.config.node_ips,
            self.node.name,
            self.node.allocatable,
        )

    async def read_volume(self, message: ReadVolume) -> dict[str, bytes]:
        """What a provided volume holds at this moment; tokens are requested only now."""
        for volume in self.pod["spec"].get("volumes") or ():
            if volume["name"] == message.volume:
                tokens: dict[TokenRequest, str] = {}
                for audience, seconds in token_sources(volume):
                    account = self.pod["spec"].get("serviceAccountName") or "default"
                    tokens[audience, seconds] = await self.ask(
                        self.node.kubelet, GetToken(self.namespace, account, audience, seconds, self.pod_name, self.uid)
                    )
                return await self._volume_content(volume, tokens)
        raise MountError(f'volume "{message.volume}" not found')

    # -- one container

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

    # -- configuration

    async def _container_config(self, member: Member, again: bool) -> ContainerConfig:
        spec, node, pod = member.spec, self.node, self.pod
        pairs: list[tuple[str, str]] = []
        services: dict[str, str] = {}
        if node.config.service_links and not self.is_static:  # a static pod waits for no API server
            found = await self.ask(node.kubelet, GetServices(self.namespace))
            services = service_variables(
                found, self.namespace, pod["spec"].get("enableServiceLinks", True) is not False
            )
        if spec.get("env") or spec.get("envFrom"):
            wanted = references(spec)
            objects = await self.objects(wanted, fresh=member.waiting is not None) if wanted else {}
            pairs = environment(
                pod,
                spec,
                lambda kind, name: objects.get((kind, name)),
                services,
                self.facts.ips,
                node.config.node_ips,
                node.name,
                node.allocatable,
                await self._files(spec),
            )
        else:
            pairs = list(services.items())
        values = dict(pairs)
        attempt = member.restart_count + (1 if again else 0)
        security = {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        return ContainerConfig(
            member.name,
            spec.get("image") or "",
            attempt,
            tuple(expand(w, values) for w in spec.get("command") or ()),
            tuple(expand(w, values) for w in spec.get("args") or ()),
            spec.get("workingDir") or "",
            tuple(pairs),
            self._mounts(spec, values),
            resources=self.resources_of(member),
            stdin=bool(spec.get("stdin")),
            stdin_once=bool(spec.get("stdinOnce")),
            tty=bool(spec.get("tty")),
            privileged=bool(security.get("privileged")),
            run_as_user=security.get("runAsUser"),
            readonly_rootfs=bool(security.get("readOnlyRootFilesystem")),
            ports=tuple(p["containerPort"] for p in spec.get("ports") or ()),
            log_path=f"{member.name}/{attempt}.log",
            termination_message_path=spec.get("terminationMessagePath") or "/dev/termination-log",
            termination_message_policy=spec.get("terminationMessagePolicy") or "File",
            security=security_context(pod, spec),
            devices=devices(spec, self.places, self.readonly_claims()) if spec.get("volumeDevices") else (),
            target_id=self._target(spec),
            stop_signal=(spec.get("lifecycle") or {}).get("stopSignal") or "",
        )

    def _target(self, spec: Object) -> str:
        """The container whose processes an ephemeral one is to see."""
        name = spec.get("targetContainerName")
        target = self.member(name) if name else None
        if name and (target is None or not target.container_id):
            raise ConfigError(f"unable to find target container {name}")
        return target.container_id if target is not None else ""

    async def _files(self, spec: Object) -> dict[tuple[str, str], bytes | None]:
        """The files of volumes that the container's environment is read from."""
        volumes = {v["name"]: v for v in self.pod["spec"].get("volumes") or ()}
        found: dict[tuple[str, str], bytes | None] = {}
        for name, path in sorted(files_of(spec)):
            if name in volumes:
                place = self.places.get(name) or host_path(self.pod, volumes[name])
                inside = posixpath.normpath("/" + path).lstrip("/")  # nothing leads out of the volume
                found[name, path] = await self.ask(self.node.runtime, ReadFile(self.uid, place, inside))
        return found

    def _mounts(self, spec: Object, values: dict[str, str]) -> tuple[Mount, ...]:
        mounts = spec.get("volumeMounts")
        if not mounts:
            return ()
        volumes = {v["name"]: v for v in self.pod["spec"].get("volumes") or ()}
        found = []
        recursive, closed = "recursive-read-only-mounts" in (self.node.features or ()), self.readonly_claims()
        for mount in mounts:
            volume = volumes.get(mount["name"])
            if volume is None:
                continue
            source = self.ref if is_provided(volume) else None
            found.append(
                Mount(
                    mount["mountPath"],
                    self.places.get(mount["name"]) or host_path(self.pod, volume),
                    mount["name"],
                    bool(mount.get("readOnly")) or volume.get("image") is not None or mount["name"] in closed,
                    sub_path(mount, values),
                    mount.get("mountPropagation") or "",
                    source,
                    (volume.get("image") or {}).get("reference", ""),
                    recursive and mount.get("recursiveReadOnly") in ("Enabled", "IfPossible"),
                )
            )
        return tuple(found)


def host_ports(spec: Object) -> tuple[tuple[str, int, int, str], ...]:
    """(protocol, container port, host port, host IP) of the ports that the node gives to the pod."""
    if spec.get("hostNetwork"):
        return ()
    return tuple(
        (p.get("protocol") or "TCP", p["containerPort"], p["hostPort"], p.get("hostIP") or "")
        for group in ("initContainers", "containers")
        for container in spec.get(group) or ()
        for p in container.get("ports") or ()
        if p.get("hostPort")
    )


def port_number(spec: Object, port: Any) -> int:
    """A port given by number or by the name that the container gives it; 0 if there is none."""
    if isinstance(port, int):
        return port
    for entry in spec.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return int(port) if str(port or "").isdigit() else 0
