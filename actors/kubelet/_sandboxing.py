"""Part of a pod's worker: its sandbox, and what its volumes hold.

Owns the way to a pause container with everything that the pod shares, and the words for what stands in its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.kernel import ActorDead
from actors.kubelet._cgroups import cgroup_parent, pod_config_resources
from actors.kubelet._granting import Granting
from actors.kubelet._messages import GetToken
from actors.kubelet._spec import container_kinds
from actors.kubelet._volume_setup import volume_setup
from actors.kubelet._volumes import MountError, TokenRequest, content, is_provided, needs, token_sources
from protocol.api import StatusError
from protocol.cri import (
    ContainerResources,
    CriError,
    PodSandboxConfig,
    ReadVolume,
    RunPodSandbox,
    SetUpVolume,
    UpdatePodSandbox,
)
from protocol.hosts import MAX_HOSTNAME, pod_hostname
from protocol.resolv import ResolvConf

__all__ = ["Sandboxing"]

Object = dict[str, Any]
RUNTIME_REST_S = 0.5
"""A runtime that is being started anew is asked again after this."""


class Sandboxing(Granting):
    """See the module."""

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
