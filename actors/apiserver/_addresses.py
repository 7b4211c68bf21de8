"""IPAddress objects: what the cluster shows of the addresses that Services have.

Owns the objects `ipaddresses.networking.k8s.io` that carry the allocator's label. They follow the
Services in the store; which address is free is `_allocators`' to say.

https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from actors.apiserver._cache import Change
from actors.apiserver._store import Superseded

if TYPE_CHECKING:
    from actors.apiserver._core import Core

__all__ = ["MANAGED", "Addresses"]

Object = dict[str, Any]
GROUP, RESOURCE = "networking.k8s.io", "ipaddresses"
MANAGED = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
_FAMILY = "ipaddress.kubernetes.io/ip-family"
_SINCE_MINOR = 33


class Addresses:
    """Keeps the IPAddress objects of one API server's Services."""

    def __init__(self, core: Core) -> None:
        self.core = core
        if core.config.minor >= _SINCE_MINOR:
            core.store.cache("", "services").listeners.append(self._changed)

    async def repair(self) -> None:
        """Create what is missing and remove what nobody uses any more; at the start."""
        used: set[str] = set()
        for service in list(self.core.list("", "services")):
            addresses = service_addresses(service)
            used.update(addresses)
            await self._create(service["metadata"], addresses)
        for entry in list(self.core.store.cache(GROUP, RESOURCE).all.entries.values()):
            labels = entry.object["metadata"].get("labels") or {}
            if MANAGED.items() <= labels.items() and entry.name not in used:
                await self._delete(entry.name)

    def _changed(self, change: Change) -> None:
        before = service_addresses(change.old.object) if change.old is not None else ()
        after = service_addresses(change.new.object) if change.new is not None else ()
        if before == after:
            return
        gone = [address for address in before if address not in after]
        added = [address for address in after if address not in before]
        owner = change.new or change.old
        assert owner is not None
        self.core.actor.background(self._follow(owner.object["metadata"], gone, added))

    async def _follow(self, owner: Object, gone: list[str], added: list[str]) -> None:
        for address in gone:
            await self._delete(address)
        await self._create(owner, added)

    async def _create(self, owner: Object, addresses: Iterable[str]) -> None:
        cache = self.core.store.cache(GROUP, RESOURCE)
        for address in addresses:
            if cache.get("", address) is not None:
                continue
            now = self.core.clock.rfc3339()
            family = "IPv6" if ":" in address else "IPv4"
            metadata: Object = {"name": address, "uid": self.core.uid(), "creationTimestamp": now, "generation": 1,
                                "labels": {_FAMILY: family, **MANAGED}}
            parent = {"resource": "services", "namespace": owner["namespace"], "name": owner["name"]}
            obj = {"kind": "IPAddress", "apiVersion": f"{GROUP}/v1", "metadata": metadata, "spec": {"parentRef": parent}}
            metadata["managedFields"] = [_ownership(now)]
            try:
                await self.core.store.create(cache, address, obj)
            except Superseded:
                continue

    async def _delete(self, address: str) -> None:
        cache = self.core.store.cache(GROUP, RESOURCE)
        entry = cache.get("", address)
        while entry is not None and MANAGED.items() <= (entry.object["metadata"].get("labels") or {}).items():
            try:
                await self.core.store.delete(cache, entry)
                return
            except Superseded as lost:
                entry = lost.entry


def _ownership(now: str) -> Object:
    labels: Object = {".": {}, f"f:{_FAMILY}": {}, **{f"f:{name}": {} for name in MANAGED}}
    parent: Object = {".": {}, "f:name": {}, "f:namespace": {}, "f:resource": {}}
    fields = {"f:metadata": {"f:labels": labels}, "f:spec": {".": {}, "f:parentRef": parent}}
    return {
        "manager": "kube-apiserver", "operation": "Update", "apiVersion": f"{GROUP}/v1", "time": now,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }


def service_addresses(service: Object) -> list[str]:
    """The cluster addresses of a Service."""
    spec = service.get("spec") or {}
    found = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [address for address in found if address and address != "None"]
