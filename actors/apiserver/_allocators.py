"""Cluster IPs and node ports: who has which.

Owns the pools. What is taken is known from the Services in the watch cache plus what requests
under way have reserved; nothing else is stored, so a restart forgets nothing.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from actors.apiserver._addresses import MANAGED, service_addresses
from actors.apiserver.strategies import AllocationError

if TYPE_CHECKING:
    from actors.apiserver._cache import Change
    from actors.apiserver._core import Core
    from actors.apiserver._resources import Served

__all__ = ["ClusterAllocators", "Reservation"]

Object = dict[str, Any]


class ClusterAllocators:
    """The pools of one API server."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._networks: list[Any] = [ipaddress.ip_network(cidr) for cidr in core.config.service_cidrs]
        self._networks_seen = 0
        self.ports = range(core.config.node_ports[0], core.config.node_ports[1] + 1)
        self.reserved_ips: dict[str, int] = {}
        self.reserved_ports: dict[int, int] = {}
        self._revision = -1
        self._ips: set[str] = set()
        self._ports: set[int] = set()

    def forget(self) -> None:
        """The cache was rebuilt."""
        self._revision = -1

    def removed(self, served: Served, obj: Object) -> None:
        """An object was deleted; its addresses are free with it (they are counted from the cache)."""

    def reserve(self, dry_run: bool) -> Reservation:
        """What one request takes."""
        return Reservation(self, dry_run)

    def _count(self) -> None:
        """Bring the counts up to the state of the cache."""
        cache = self.core.store.cache("", "services")
        if self._revision < cache.floor or self._revision < 0:
            self._ips, self._ports = set(), set()
            for entry in cache.all.entries.values():
                self._add(entry.object)
        else:
            for change in cache.since(self._revision):
                self._follow(change)
        self._revision = self.core.store.revision

    def _follow(self, change: Change) -> None:
        if change.old is not None:
            self._ips -= set(service_addresses(change.old.object))
            self._ports -= set(_ports(change.old.object))
        if change.new is not None:
            self._add(change.new.object)

    def _add(self, service: Object) -> None:
        self._ips.update(service_addresses(service))
        self._ports.update(_ports(service))

    def ip_taken(self, address: str) -> bool:
        """Whether a Service has it or a request under way wants it."""
        self._count()
        if address in self._ips or address in self.reserved_ips:
            return True
        made = self.core.get("networking.k8s.io", "ipaddresses", "", address)
        return made is not None and not MANAGED.items() <= (made["metadata"].get("labels") or {}).items()

    def port_taken(self, port: int) -> bool:
        """Whether a Service has it or a request under way wants it."""
        self._count()
        return port in self._ports or port in self.reserved_ports

    @property
    def networks(self) -> list[Any]:
        """The ranges of the cluster: those of the ready ServiceCIDR objects, the oldest first."""
        cache = self.core.store.cache("networking.k8s.io", "servicecidrs")
        if cache.changes != self._networks_seen:
            self._networks_seen = cache.changes
            ready = [e.object for e in cache.all.entries.values() if _usable(e.object)]
            ready.sort(key=lambda obj: str(obj["metadata"].get("creationTimestamp")))
            found = [ipaddress.ip_network(cidr) for obj in ready for cidr in obj["spec"]["cidrs"]]
            if found:
                self._networks = found
        return self._networks

    def ranges(self, family: str) -> list[Any]:
        """The ranges of a family."""
        version = 6 if family == "IPv6" else 4
        return [network for network in self.networks if network.version == version]


def _usable(cidr: Object) -> bool:
    if cidr["metadata"].get("deletionTimestamp"):
        return False
    conditions = (cidr.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _ports(service: Object) -> list[int]:
    spec = service.get("spec") or {}
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return found


class Reservation:
    """What one request has taken and given back. `commit` or `cancel` ends it."""

    __slots__ = ("_ips", "_ports", "_released_ips", "_released_ports", "pools")

    def __init__(self, pools: ClusterAllocators, dry_run: bool) -> None:
        self.pools = pools
        self._ips: list[str] = []
        self._ports: list[int] = []
        self._released_ips: set[str] = set()
        self._released_ports: set[int] = set()

    def ip_families(self) -> tuple[str, ...]:
        """The cluster's families, the default one first."""
        families = ["IPv6" if network.version == 6 else "IPv4" for network in self.pools.networks]
        return tuple(dict.fromkeys(families))

    def allocate_ip(self, family: str, wanted: str, namespace: str, name: str) -> str:
        """An address of a family. Raises `AllocationError`."""
        ranges = self.pools.ranges(family)
        address = self._wanted_ip(ranges, wanted) if wanted else self._any_of(ranges)
        self._ips.append(address)
        self.pools.reserved_ips[address] = self.pools.reserved_ips.get(address, 0) + 1
        return address

    def _wanted_ip(self, ranges: list[Any], wanted: str) -> str:
        address = ipaddress.ip_address(wanted)
        network = next((network for network in ranges if address in network), None)
        if network is None:
            raise AllocationError("the provided network does not match the current range")
        if address in (network.network_address, network.broadcast_address):
            raise AllocationError(
                f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
            )
        if self.pools.ip_taken(wanted) and wanted not in self._released_ips:
            raise AllocationError("provided IP is already allocated")
        return str(address)

    def _any_of(self, ranges: list[Any]) -> str:
        for network in ranges:
            found = self._any_ip(network)
            if found:
                return found
        raise AllocationError("range is full")

    def _any_ip(self, network: Any) -> str:
        base, size = int(network.network_address), min(network.num_addresses, 1 << 20)
        offset = min(max(16, size // 16), 256) if size > 32 else 0
        random = self.pools.core.random
        for low, high in ((max(offset, 1), size - 1), (1, offset)):
            span = high - low
            if span <= 0:
                continue
            start = random.randrange(span)
            for step in range(span):
                address = str(ipaddress.ip_address(base + low + (start + step) % span))
                if not self.pools.ip_taken(address):
                    return address
        return ""

    def release_ip(self, address: str) -> None:
        """Give an address back, once the request has succeeded."""
        self._released_ips.add(address)

    def allocate_port(self, wanted: int, protocol: str) -> int:
        """A node port. Raises `AllocationError`."""
        ports = self.pools.ports
        if wanted:
            if wanted not in ports:
                raise AllocationError(
                    f"provided port is not in the valid range. The range of valid ports is {ports[0]}-{ports[-1]}"
                )
            if wanted not in self._ports and wanted not in self._released_ports and self.pools.port_taken(wanted):
                raise AllocationError("provided port is already allocated")
            port = wanted
        else:
            port = self._any_port()
        self._ports.append(port)
        self.pools.reserved_ports[port] = self.pools.reserved_ports.get(port, 0) + 1
        return port

    def _any_port(self) -> int:
        ports = self.pools.ports
        reserved = min(max(16, len(ports) // 32), 128) if len(ports) > 16 else 0
        random = self.pools.core.random
        for low, high in ((reserved, len(ports)), (0, reserved)):
            span = high - low
            if span <= 0:
                continue
            start = random.randrange(span)
            for step in range(span):
                port = ports[low + (start + step) % span]
                if not self.pools.port_taken(port):
                    return port
        raise AllocationError("range is full")

    def release_port(self, port: int) -> None:
        """Give a node port back, once the request has succeeded."""
        self._released_ports.add(port)

    def commit(self) -> None:
        """The write succeeded: from now on the stored Service says what is taken."""
        self.cancel()

    def cancel(self) -> None:
        """Drop the reservations."""
        for address in self._ips:
            left = self.pools.reserved_ips.get(address, 0) - 1
            if left > 0:
                self.pools.reserved_ips[address] = left
            else:
                self.pools.reserved_ips.pop(address, None)
        for port in self._ports:
            left = self.pools.reserved_ports.get(port, 0) - 1
            if left > 0:
                self.pools.reserved_ports[port] = left
            else:
                self.pools.reserved_ports.pop(port, None)
        self._ips, self._ports = [], []
