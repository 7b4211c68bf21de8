"""How a runtime gets its pods onto the network: by the node's network actor (`protocol.cni`) if there is one,
else by a bridge of its own.

Owns which address is whose in the second case; the caller remembers addresses over restarts and
tells them by `take`. Blocks; for actors with threads of their own.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from actors.runtime._linux import Bridge, LinuxError
from protocol import cni
from protocol.cri import CriError, PodSandboxConfig

__all__ = ["PodNetwork"]

FALLBACK_CIDR = "10.245.0.0/24"
TIMEOUT_S = 30.0


class PodNetwork:
    """`key` names the node: the same key finds the same bridge again."""

    def __init__(self, key: str) -> None:
        self.bridge = Bridge(key)
        self.actor: Any = None
        """The Ref of the node's network actor."""
        self.direct: Any = None
        """Who carries out `DelPod` when that actor has stopped already."""
        self.cidr = ""
        self.taken: dict[str, str] = {}
        self.last = 1

    def set_cidr(self, cidr: str) -> None:
        """Addresses from now on come from here. Raises: LinuxError, CniError."""
        if not cidr or cidr == self.cidr:
            return
        if self.actor is not None:
            self.actor.ask(cni.SetPodCidr(cidr), timeout=TIMEOUT_S)
        else:
            self.bridge.up(cidr)
        self.cidr = cidr

    def take(self, sandbox_id: str, address: str) -> None:
        """A sandbox from before has this address."""
        self.taken[address] = sandbox_id

    def attach(self, sandbox_id: str, pid: int, config: PodSandboxConfig) -> tuple[str, ...]:
        """Give the sandbox whose process is `pid` an interface; answers its addresses.

        Raises: CriError when no address is left or the machine refuses.
        """
        try:
            if not self.cidr:
                self.set_cidr(FALLBACK_CIDR)
            if self.actor is not None:
                ports = _ports(config)
                message = cni.AddPod(
                    sandbox_id, f"/proc/{pid}/ns/net", config.namespace, config.name, config.uid, port_mappings=ports
                )
                found: cni.PodNetwork = self.actor.ask(message, timeout=TIMEOUT_S)
                return found.addresses
            address = self._free()
            self.taken[address] = sandbox_id
            self.bridge.attach(pid, address)
            return (address,)
        except (LinuxError, cni.CniError) as error:
            self.release(sandbox_id, config)
            raise CriError("Unknown", f"failed to setup network for sandbox: {error}") from error

    def _free(self) -> str:
        """The next address, as CNI's host-local plugin goes round, so that one just given back rests."""
        network = ipaddress.ip_network(self.cidr, strict=False)
        count = network.num_addresses - 3  # without network, gateway and broadcast
        for step in range(max(0, count)):
            offset = 2 + (self.last - 1 + step) % count
            address = str(network.network_address + offset)
            if address not in self.taken:
                self.last = offset
                return address
        raise CriError("Unknown", f"no IP addresses available in range set: {self.cidr}")

    def release(self, sandbox_id: str, config: PodSandboxConfig) -> None:
        """The sandbox's addresses are free."""
        self.taken = {a: s for a, s in self.taken.items() if s != sandbox_id}
        if config.host_network:
            return
        if self.actor is not None or self.direct is not None:
            message = cni.DelPod(
                sandbox_id, "", config.namespace, config.name, config.uid, port_mappings=_ports(config)
            )
            if self.actor is not None:
                self.actor.ask(message, timeout=TIMEOUT_S)
            else:
                self.direct.delete(message)

    def down(self) -> None:
        """Remove the bridge, if it is ours."""
        if self.actor is None and self.direct is None:
            self.bridge.down()
        self.cidr = ""


def _ports(config: PodSandboxConfig) -> tuple[cni.PortMapping, ...]:
    return tuple(
        cni.PortMapping(host, inside, protocol.lower(), ip)
        for protocol, inside, host, ip in config.port_mappings
        if host
    )
