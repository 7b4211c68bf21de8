"""The node IPAM controller: a range of pod addresses for every node.

Owns `spec.podCIDR` and `spec.podCIDRs`, cut from the cluster's range when `allocate_node_cidrs` is
set among the options. A node that brings its own keeps it. Facts: kubernetes
pkg/controller/nodeipam/ipam/range_allocator.go.
"""

from __future__ import annotations

import ipaddress
from typing import ClassVar

from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata, spec

__all__ = ["NodeIpamController", "RangeAllocator"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RangeAllocator:
    """Subnets of one cluster range. `free` ones are handed out in order, round the range."""

    def __init__(self, cluster: str, mask: int) -> None:
        self.cluster: Network = ipaddress.ip_network(cluster, strict=False)
        if mask < self.cluster.prefixlen:
            raise ValueError(f"node mask /{mask} is wider than the cluster range {cluster}")
        self.mask = mask
        self.size = 1 << (mask - self.cluster.prefixlen)
        self.step = 1 << (self.cluster.max_prefixlen - mask)
        self.used: set[int] = set()
        self._next = 0

    def take(self) -> str | None:
        """A free subnet, None when there is none left."""
        for offset in range(self.size):
            index = (self._next + offset) % self.size
            if index not in self.used:
                self.used.add(index)
                self._next = index + 1
                return self._subnet(index)
        return None

    def occupy(self, subnet: str) -> None:
        """A subnet is in use."""
        index = self._index(subnet)
        if index is not None:
            self.used.add(index)

    def release(self, subnet: str) -> None:
        """A subnet is free again."""
        index = self._index(subnet)
        if index is not None:
            self.used.discard(index)

    def _subnet(self, index: int) -> str:
        return f"{self.cluster.network_address + index * self.step}/{self.mask}"

    def _index(self, subnet: str) -> int | None:
        net = ipaddress.ip_network(subnet, strict=False)
        if net.version != self.cluster.version or net.network_address not in self.cluster:
            return None
        return (int(net.network_address) - int(self.cluster.network_address)) // self.step


class NodeIpamController(Controller):
    """Hands out pod ranges. Keys: nodes."""

    component: ClassVar[str] = "cidrAllocator"
    resources: ClassVar[tuple[str, ...]] = ("nodes",)
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.active = context.options.allocate_node_cidrs
        masks = {4: context.options.node_cidr_mask_size_ipv4, 6: context.options.node_cidr_mask_size_ipv6}
        ranges = [c.strip() for c in context.options.cluster_cidr.split(",") if c.strip()]
        self.allocators = [RangeAllocator(c, masks[ipaddress.ip_network(c, strict=False).version]) for c in ranges]
        self._taken: dict[str, list[str]] = {}
        self.on_change("nodes", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if not self.active:
            return
        name = metadata(new or old or {})["name"]
        if new is None:
            for subnet in self._taken.pop(name, []):
                for each in self.allocators:
                    each.release(subnet)
            return
        held = spec(new).get("podCIDRs") or ([spec(new)["podCIDR"]] if spec(new).get("podCIDR") else [])
        if held:
            if self._taken.get(name) != held:
                for subnet in held:
                    for each in self.allocators:
                        each.occupy(subnet)
                self._taken[name] = list(held)
        elif old is None or spec(old).get("podCIDR"):
            self.queue.add(name)

    async def reconcile(self, key: str) -> None:
        node = self.store("nodes").get(key)
        if node is None or spec(node).get("podCIDR"):
            return
        if key not in self._taken:
            subnets = [allocator.take() for allocator in self.allocators]
            if None in subnets:
                about = {"apiVersion": "v1", "kind": "Node", "name": key, "uid": metadata(node)["uid"]}
                self.recorder.event(about, "Normal", "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
                for allocator, subnet in zip(self.allocators, subnets):
                    if subnet:
                        allocator.release(subnet)
                self.queue.add_after(key, 10.0)
                return
            self._taken[key] = [s for s in subnets if s]
        mine = self._taken[key]
        await self.client.patch("nodes", key, "", {"spec": {"podCIDR": mine[0], "podCIDRs": mine}})
