"""The Service CIDR controller: ranges of cluster IPs are ready, or wait until nobody uses them.

Owns the Ready condition and the finalizer of ServiceCIDRs. A range may go when each address in it
that is in use lies in another range too. Facts: kubernetes pkg/controller/servicecidrs; KEP-1880.
"""

from __future__ import annotations

import ipaddress
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, deleting, metadata, mutable, set_condition, spec

__all__ = ["ServiceCIDRController"]

CIDRS, ADDRESSES = "servicecidrs", "ipaddresses"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = "Kubernetes Service CIDR is ready"
IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


class ServiceCIDRController(Controller):
    """See the module. Keys: ranges."""

    component: ClassVar[str] = "service-cidr-controller"
    resources: ClassVar[tuple[str, ...]] = (CIDRS, ADDRESSES, "services")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(CIDRS, self._range_changed)
        self.on_change(ADDRESSES, self._use_changed)
        self.on_change("services", self._use_changed)

    def _range_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(metadata(new)["name"])
        self._use_changed(new, old)

    def _use_changed(self, old: Object | None, new: Object | None) -> None:
        """Something let go of an address, or a range came: one that waits may go now."""
        if new is None or old is not None:
            for cidr in self.store(CIDRS):
                if deleting(cidr):
                    self.queue.add(metadata(cidr)["name"])

    async def reconcile(self, key: str) -> None:
        cidr = self.store(CIDRS).get(key)
        if cidr is None:
            return
        finalizers = metadata(cidr).get("finalizers") or []
        if deleting(cidr):
            if self._in_use(cidr):
                await self._condition(cidr, "False", "Terminating", IN_USE)
            elif FINALIZER in finalizers:
                await self._set_finalizers(cidr, [f for f in finalizers if f != FINALIZER])
            return
        if FINALIZER not in finalizers:
            cidr = await self._set_finalizers(cidr, [*finalizers, FINALIZER])
        await self._condition(cidr, "True", "", READY)

    async def _set_finalizers(self, cidr: Object, finalizers: list[str]) -> Object:
        changed = mutable(cidr)
        changed["metadata"]["finalizers"] = finalizers
        try:
            return await self.client.update(CIDRS, changed)
        except StatusError as error:
            if error.code == 404:
                return cidr
            raise

    async def _condition(self, cidr: Object, state: str, reason: str, message: str) -> None:
        changed = mutable(cidr)
        conditions = changed.setdefault("status", {}).setdefault("conditions", [])
        entry = {"type": "Ready", "status": state, "reason": reason, "message": message}
        if set_condition(conditions, entry, self.clock.rfc3339()):
            await self.client.update_status(CIDRS, changed)

    def _in_use(self, cidr: Object) -> bool:
        mine = _networks(cidr)
        others = [
            n
            for c in self.store(CIDRS)
            if metadata(c)["name"] != metadata(cidr)["name"] and not deleting(c)
            for n in _networks(c)
        ]
        return any(
            any(address in net for net in mine) and not any(address in net for net in others)
            for address in self._used()
        )

    def _used(self) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        found = [metadata(a)["name"] for a in self.store(ADDRESSES)]
        for service in self.store("services"):
            found += [ip for ip in spec(service).get("clusterIPs") or () if ip and ip != "None"]
        return [ipaddress.ip_address(ip) for ip in found]


def _networks(cidr: Object) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(c, strict=False) for c in spec(cidr).get("cidrs") or ()]
