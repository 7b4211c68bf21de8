"""Part of a pod's worker: devices, cores and claims of dynamic resources.

Owns what a container gets of what the kubelet has given to it, and the preparation of ResourceClaims before the
pod's sandbox is made. What is given, the kubelet decides (`_devicing`).
https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.client import Client
from actors.kernel import ActorDead, AskTimeout
from actors.kubelet._cgroups import container_config_resources
from actors.kubelet._claims import Claims
from actors.kubelet._plan import Member
from actors.kubelet._status import rfc3339
from actors.kubelet.devices import Granted, cpu_list
from actors.kubelet.devices._messages import PluginError, PreStart
from protocol.api import ADMIN, StatusError
from protocol.cri import ContainerConfig, ContainerResources, CriError, Device, Mount

__all__ = ["Granting"]

Object = dict[str, Any]
PRE_START_S = 60.0
CLAIM_RETRY_S = (0.5, 1.0, 5.0, 10.0)


class ClaimError(Exception):
    """A claim cannot be prepared."""


class Granting(Claims):
    """See the module."""

    claim_failures = 0

    def resources_of(self, member: Member) -> ContainerResources:
        """What the runtime is told of a container, the cores that it may run on included."""
        node = self.node
        factor = node.config.memory_throttling_factor
        resources = container_config_resources(self.pod, member.spec, node.memory_bytes, factor)
        if node.cpus is None:
            return resources
        cores = cpu_list(node.cpus.of_container(self.uid, member.name))
        return msgspec.structs.replace(resources, unified={**resources.unified, "cpuset.cpus": cores})

    def with_devices(self, member: Member, config: ContainerConfig) -> ContainerConfig:
        """The container with what its devices' plugins want it to have."""
        grants: list[Granted] = self.node.book.grants(self.uid, member.name) if self.node.book.held else []
        if not grants:
            return config
        envs = dict(config.envs)
        for grant in grants:
            envs.update(grant.envs)
        mounts = [Mount(c, h, "device", readonly) for grant in grants for c, h, readonly in grant.mounts]
        devices = [Device(c, h, permissions) for grant in grants for c, h, permissions in grant.devices]
        annotations = {**config.annotations, **{k: v for grant in grants for k, v in grant.annotations.items()}}
        return msgspec.structs.replace(
            config,
            envs=tuple(envs.items()),
            mounts=(*config.mounts, *mounts),
            devices=(*config.devices, *devices),
            annotations=annotations,
        )

    async def ready_devices(self, member: Member) -> None:
        """Tell plugins that want to know of a start. Raises: CriError."""
        host = self.node.plugin_host
        if host is None:
            return
        for resource, ids in self.node.book.of_container(self.uid, member.name).items():
            try:
                await self.ask(host, PreStart(resource, ids), timeout=PRE_START_S)
            except (PluginError, ActorDead, AskTimeout) as error:
                text = f"device plugin PreStartContainer rpc failed with err: {error}"
                raise CriError("Unknown", text, "PreStartHookError") from error

    def note_devices(self) -> None:
        """For the status: the health of the devices that containers have."""
        book, held = self.node.book, self.node.book.held.get(self.uid)
        if held is None:
            return
        self.facts.devices = {
            name: [
                {"name": resource, "resources": [{"resourceID": d, "health": book.health(resource, d)} for d in ids]}
                for resource, ids in sorted(resources.items())
            ]
            for name, resources in held.items()
        }

    # -- claims

    async def claims_ready(self) -> bool:
        """Whether the pod's ResourceClaims are prepared; says what stands in the way."""
        wanted = self.pod["spec"].get("resourceClaims")
        if not wanted or self.uid in self.node.claims:
            return True
        try:
            found = {entry["name"]: await self._prepare(entry) for entry in wanted}
        except (ClaimError, StatusError) as error:
            words = error.message if isinstance(error, StatusError) else str(error)
            text = f"Failed to prepare dynamic resources: prepare dynamic resources: {words}"
            self.record("Warning", "FailedPrepareDynamicResources", text)
            self.wake_in(CLAIM_RETRY_S[min(self.claim_failures, len(CLAIM_RETRY_S) - 1)])
            self.claim_failures += 1
            return False
        self.node.claims[self.uid] = {name: claim for name, claim in found.items() if claim is not None}
        return True

    async def _prepare(self, entry: Object) -> Object | None:
        """One claim; None for one that the pod turned out not to need."""
        name = entry.get("resourceClaimName")
        if not name:
            told = (self.pod.get("status") or {}).get("resourceClaimStatuses") or ()
            known = next((s for s in told if s["name"] == entry["name"]), None)
            if known is None:
                raise ClaimError(f'pod "{self.namespace}/{self.pod_name}": ResourceClaim not created yet')
            name = known.get("resourceClaimName")
            if not name:
                return None
        try:
            claim: Object = await self.client.get("resourceclaims", name, self.namespace)
        except StatusError as error:
            text = f"fetch ResourceClaim {self.namespace}/{name} referenced by pod {self.pod_name}: {error.message}"
            raise ClaimError(text) from error
        status = claim.get("status") or {}
        if not any(r.get("uid") == self.uid for r in status.get("reservedFor") or ()):
            uid = claim["metadata"]["uid"]
            raise ClaimError(f"pod {self.pod_name} ({self.uid}) is not allowed to use ResourceClaim {name} ({uid})")
        results = ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
        drivers = self.node.config.dra_drivers
        for result in results:
            if "*" not in drivers and result["driver"] not in drivers:
                raise ClaimError(f"NodePrepareResources: DRA driver {result['driver']} is not registered")
        await self._tell_as_driver(claim, results)
        return claim

    async def _tell_as_driver(self, claim: Object, results: Any) -> None:
        """A simulated driver says of its devices that they are ready, as real ones may do."""
        if "*" not in self.node.config.dra_drivers or not results or (claim.get("status") or {}).get("devices"):
            return
        ready = {
            "type": "Ready", "status": "True", "reason": "Prepared", "message": "",
            "lastTransitionTime": rfc3339(self.clock.now()),
        }  # fmt: skip
        devices: list[Object] = []
        for result in results:
            key = {k: result[k] for k in ("driver", "pool", "device")}
            if result.get("adminAccess"):
                continue
            if result.get("shareID"):
                key["shareID"] = result["shareID"]
            if not any(all(d.get(k) == v for k, v in key.items()) for d in devices):
                devices.append({**key, "conditions": [ready]})
        if not devices:
            return
        driver = Client(self, self.node.apiserver, user=ADMIN, user_agent="simulated-dra-driver")
        body = {"metadata": {"uid": claim["metadata"]["uid"]}, "status": {"devices": devices}}
        try:
            meta = claim["metadata"]
            await driver.patch("resourceclaims", meta["name"], self.namespace, body, subresource="status")
        except StatusError as error:
            self.log.info("claim_status_not_written", claim=claim["metadata"]["name"], error=error.message)
