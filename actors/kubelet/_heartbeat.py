"""Part of the kubelet: the Node object, its status and its Lease.

Owns registration and heartbeats: a Lease renewed every ten seconds says that the node lives, the
status is written when it changes, every five minutes, and whenever the API server may have thought
the node dead.
"""

from __future__ import annotations

from typing import Any

from actors.client import ClientActor
from actors.kubelet._config import KubeletConfig
from actors.kubelet._context import NodeContext
from actors.kubelet._node_status import allocatable, lease_object, node_object, node_status
from protocol.api import StatusError
from protocol.cri import CriError, Image, ListImages, UpdateRuntimeConfig, Version, VersionResponse
from protocol.message import Message
from protocol.node import NodeConnected
from protocol.quantity import value

__all__ = ["Heartbeat", "Tick"]

Object = dict[str, Any]
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 7.0)
POD_CIDR_WAITS_S = (0.05, 0.1, 0.2, 0.4)


class Tick(Message, frozen=True):
    """Time for a heartbeat."""


class Heartbeat(ClientActor):
    """See the module."""

    node: NodeContext
    config: KubeletConfig

    def begin_heartbeat(self) -> None:
        """What is known at the start: nothing."""
        self.version = VersionResponse("0.1.0", "containerd", "", "v1")
        self.node_object: Object = {}
        self.lease: Object | None = None
        self.registered = False
        self.started_at = self.system.clock.now()
        self.status_at = 0.0
        self.renewed_at = 0.0
        self.pressures: frozenset[str] = frozenset()
        self.pressure_seen_at: dict[str, float] = {}
        self.renewing = False

    async def learn_runtime(self) -> None:
        """The runtime's name, and what the node can offer."""
        self.version = await self.ask(self.node.runtime, Version())
        self.node.prefix = self.version.runtime_name
        self.node.features = self.version.features
        self.node.allocatable = allocatable(self.config)
        self.node.memory_bytes = max(1, value(str(self.config.capacity.get("memory", "1"))))

    async def register(self) -> None:
        """Make the Node object, or take on the one that is there; tries until it succeeds."""
        failures = 0
        while not self.registered:
            try:
                await self._register_once()
                self.registered = True
            except (StatusError, CriError) as error:
                self.log.info("node_not_registered", node=self.node.name, error=error.message)
                await self.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
        await self.take_pod_cidr()
        self._connect()

    def _connect(self) -> None:
        """Let the API server ask this kubelet, unless somebody else plays the node's pods."""
        if self.config.pods:
            self.node.apiserver.tell(NodeConnected(self.node.name, self.ref))

    async def _register_once(self) -> None:
        name = self.node.name
        if self.config.register:
            status = await self._status({})
            try:
                self.node_object = await self.client.create("nodes", node_object(name, self.config, status))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
            else:
                self.status_at = self.clock.monotonic()
                await self.renew()
                return
        self.node_object = await self.client.get("nodes", name)
        await self._adopt_labels()
        await self.write_status()
        await self.renew()

    async def _adopt_labels(self) -> None:
        """A Node that was there before gets the labels that this kubelet is set to have."""
        if not self.config.register:
            return
        wanted = node_object(self.node.name, self.config, {})["metadata"]["labels"]
        have = self.node_object["metadata"].get("labels") or {}
        missing = {k: v for k, v in wanted.items() if have.get(k) != v}
        if missing:
            self.node_object = await self.client.patch("nodes", self.node.name, "", {"metadata": {"labels": missing}})

    async def take_pod_cidr(self) -> None:
        """Tell the runtime which addresses are this node's: those it is set to have, else those
        that the controllers give the Node soon after its registration, else the fallback."""
        cidr = self.config.pod_cidr or _pod_cidr(self.node_object)
        for delay_s in POD_CIDR_WAITS_S:
            if cidr:
                break
            await self.sleep(delay_s)
            try:
                self.node_object = await self.client.get("nodes", self.node.name)
            except StatusError as error:
                self.log.info("node_not_read", node=self.node.name, error=error.message)
            cidr = _pod_cidr(self.node_object)
        await self.configure_runtime(cidr or self.config.fallback_pod_cidr)

    async def configure_runtime(self, cidr: str) -> None:
        """Tell the runtime whose addresses pods get, and how large their logs may become."""
        config = self.config
        message = UpdateRuntimeConfig(cidr, config.container_log_max_bytes, config.container_log_max_files)
        await self.ask(self.node.runtime, message)

    async def _status(self, old: Object) -> Object:
        images: tuple[Image, ...] = await self.ask(self.node.runtime, ListImages())
        status = node_status(self.node.name, self.config, self.version, images, self.pressures, old, self.clock.now())
        for name, amounts in zip(("capacity", "allocatable"), self.device_capacity(), strict=True):
            status[name] = {**status[name], **amounts}
        return status

    def device_capacity(self) -> tuple[dict[str, str], dict[str, str]]:
        """(capacity, allocatable) of devices (defined by the part that keeps them)."""
        return {}, {}

    async def write_status(self) -> None:
        """Write the status, whatever the API thinks it is; raises StatusError, CriError."""
        status = await self._status(self.node_object.get("status") or {})
        patch = {
            "status": {**status, "$setElementOrder/conditions": [{"type": c["type"]} for c in status["conditions"]]}
        }
        self.node_object = await self.client.patch(
            "nodes", self.node.name, "", patch, patch_type=STRATEGIC_PATCH, subresource="status"
        )
        self.status_at = self.clock.monotonic()

    async def renew(self) -> None:
        """Renew the lease, made anew if it is gone; raises StatusError."""
        uid = (self.node_object.get("metadata") or {}).get("uid", "")
        stamp = self.clock.rfc3339_micro()
        if self.lease is None:
            try:
                self.lease = await self.client.create("leases", lease_object(self.node.name, uid, self.config, stamp))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                self.lease = await self.client.get("leases", self.node.name, "kube-node-lease")
                await self._update_lease(stamp)
        else:
            await self._update_lease(stamp)
        self.renewed_at = self.clock.monotonic()

    async def _update_lease(self, stamp: str) -> None:
        assert self.lease is not None
        spec = {**self.lease["spec"], "renewTime": stamp, "holderIdentity": self.node.name}
        try:
            self.lease = await self.client.update("leases", {**self.lease, "spec": spec})
        except StatusError as error:
            if error.code in (404, 409):
                self.lease = None  # gone or changed by somebody: look anew next time
            raise

    async def set_pressure(self, under: frozenset[str]) -> None:
        """Report pressure conditions when they begin; when one ends, a while later."""
        now = self.clock.monotonic()
        self.pressure_seen_at.update(dict.fromkeys(under, now))
        lasting = {c for c in self.pressures if now - self.pressure_seen_at[c] < self.config.pressure_transition_s}
        wanted = under | lasting
        if wanted != self.pressures:
            self.pressures = wanted
            try:
                await self.write_status()
            except (StatusError, CriError) as error:
                self.log.info("pressure_not_reported", node=self.node.name, error=error.message)
                self.status_at = -self.config.status_report_s  # with the next heartbeat

    async def beat(self) -> None:
        """One heartbeat: the lease always, the status when it is due or was not believed."""
        if not self.registered or self.renewing:
            return
        self.renewing = True
        try:
            now = self.clock.monotonic()
            doubted = now - self.renewed_at > self.config.lease_duration_s * 0.75
            try:
                await self.renew()
            except StatusError:
                await self.sleep(0.2)
                await self.renew()
            self._connect()  # it may have been started anew
            if doubted or now - self.status_at >= self.config.status_report_s:
                await self.write_status()
        except (StatusError, CriError) as error:  # a runtime that does not answer keeps no lease from being renewed
            self.log.info("heartbeat_failed", node=self.node.name, error=error.message)
        finally:
            self.renewing = False


def _pod_cidr(node: Object) -> str:
    return (node.get("spec") or {}).get("podCIDR") or ""
