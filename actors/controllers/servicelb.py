"""The load balancer controller: Services of type LoadBalancer get an address from a pool.

Owns `status.loadBalancer` and the clean-up finalizer of such Services, when the option
`load_balancer_pool` (a CIDR) is set; without it they wait for somebody else, as upstream without a
cloud. The nodes' kube-proxies do the balancing: the address is a VIP. Facts: kubernetes
cloud-provider controllers/service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, deleting, key, metadata, mutable, spec, status

__all__ = ["ServiceLoadBalancerController"]

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"


class ServiceLoadBalancerController(Controller):
    """Hands out addresses. Keys: Services."""

    component: ClassVar[str] = "service-controller"
    resources: ClassVar[tuple[str, ...]] = ("services",)
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        pool = context.options.extra.get("load_balancer_pool")
        self.pool = ipaddress.ip_network(pool, strict=False) if pool else None
        self.given: dict[str, str] = {}  # Service -> address, also while the store lags
        self.on_change("services", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        service = new or old or {}
        if new is None:
            self.given.pop(key(service), None)
        elif self._wanted(new) or FINALIZER in (metadata(new).get("finalizers") or ()):
            for ip in _addresses(new):
                self.given.setdefault(key(new), ip)
            self.queue.add(key(new))

    @staticmethod
    def _wanted(service: Object) -> bool:
        return (
            spec(service).get("type") == "LoadBalancer"
            and not spec(service).get("loadBalancerClass")
            and not deleting(service)
        )

    async def reconcile(self, key: str) -> None:
        service = self.store("services").get(key)
        if service is None or self.pool is None:
            return
        if not self._wanted(service):
            await self._release(key, service)
            return
        if FINALIZER not in (metadata(service).get("finalizers") or ()):
            service = await self._set_finalizers(service, [*(metadata(service).get("finalizers") or ()), FINALIZER])
        if _addresses(service):
            return
        self._event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        ip = self._choose(key, spec(service).get("loadBalancerIP", ""))
        if ip is None:
            text = f"Error syncing load balancer: failed to ensure load balancer: no free address in {self.pool}"
            self._event(service, "Warning", "SyncLoadBalancerFailed", text)
            self.queue.add_after(key, 10.0)
            return
        await self._set_status(service, {"ingress": [{"ip": ip, "ipMode": "VIP"}]})
        self._event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    def _choose(self, key: str, asked: str) -> str | None:
        """The Service's address: the one it has, the one it asks for if that is free, or any."""
        taken = {ip for k, ip in self.given.items() if k != key}
        for ip in (self.given.get(key, ""), asked, *self._free(taken)):
            if ip and ip not in taken:
                self.given[key] = ip
                return ip
        return None

    def _free(self, taken: set[str]) -> Iterator[str]:
        assert self.pool is not None
        return (str(ip) for ip in self.pool.hosts() if str(ip) not in taken)

    async def _release(self, key: str, service: Object) -> None:
        """The Service goes, or is balanced no more."""
        finalizers = metadata(service).get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        self._event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        if _addresses(service) and not deleting(service):
            service = await self._set_status(service, {})
        await self._set_finalizers(service, [f for f in finalizers if f != FINALIZER])
        self.given.pop(key, None)
        self._event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _set_finalizers(self, service: Object, finalizers: list[str]) -> Object:
        """By way of the status, which is all that this controller may write."""
        changed = mutable(service)
        changed["metadata"]["finalizers"] = finalizers
        try:
            return await self.client.update_status("services", changed)
        except StatusError as error:
            if error.code == 404:
                return service
            raise

    async def _set_status(self, service: Object, balancer: Object) -> Object:
        changed = mutable(service)
        changed["status"] = {**status(service), "loadBalancer": balancer}
        return await self.client.update_status("services", changed)

    def _event(self, service: Object, event_type: str, reason: str, message: str) -> None:
        self.recorder.event({"apiVersion": "v1", "kind": "Service", **service}, event_type, reason, message)


def _addresses(service: Object) -> list[str]:
    ingress = (status(service).get("loadBalancer") or {}).get("ingress") or ()
    return [i["ip"] for i in ingress if i.get("ip")]
