"""The built-in network: a bridge on the node, and a pair of interfaces for each pod.

Owns the interfaces, the node's settings that make it forward, and the masquerade for what pods send
out of the cluster. Which address a pod gets, `AddressPool` says. Everything here blocks; CniError says
what went wrong.

    pod: eth0 10.244.1.5/24 --- vethab12cd34 (node) --- bridge 10.244.1.1/24 --- the node's routes
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import shutil
from pathlib import Path
from typing import Any

from actors.network.cni._ipam import AddressPool
from actors.network.cni._run import ip, ip_succeeds, run, set_sysctls
from protocol.cni import CODES, AddPod, CheckPod, CniError, DelPod, PodNetwork, PortMapping

__all__ = ["Bridge"]

VERSION = "1.1.0"
MASQUERADE = "KUBEKKA-MASQ"
FORWARDING = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",  # what one pod answers another passes the node's translation
    "net/bridge/bridge-nf-call-ip6tables": "1",
}
FORWARDING_IPV6 = {"net/ipv6/conf/all/forwarding": "1"}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def host_interface(container_id: str, ifname: str) -> str:
    """The name of the pair's end on the node."""
    return "veth" + hashlib.sha256(f"{container_id} {ifname}".encode()).hexdigest()[:8]


class Bridge:
    """`netns`: the node's namespace (a path; empty for this process's). `cluster_cidr`: where pods of
    all nodes are; what goes elsewhere is masqueraded. `folder`: keeps addresses over restarts."""

    def __init__(
        self, name: str = "cni0", *, netns: str = "", cluster_cidr: str = "", folder: Path | None = None
    ) -> None:
        self.name, self.netns, self.cluster_cidr, self.folder = name, netns, cluster_cidr, folder
        self.pool: AddressPool | None = None

    def set_pod_cidr(self, cidr: str) -> None:
        """Make the bridge, with the range's first address. What is there already is kept."""
        if self.pool is not None and str(self.pool.network) == str(ipaddress.ip_network(cidr)):
            return
        pool = AddressPool(cidr, self.folder)
        quick = " nodad" if pool.network.version == 6 else ""  # the pool sees to it that nobody else has it
        if not ip_succeeds("link", "show", self.name, netns=self.netns):
            ip(f"link add {self.name} type bridge", netns=self.netns)
        ip(
            f"link set {self.name} up",
            f"addr replace {pool.gateway}/{pool.bits} dev {self.name}{quick}",
            netns=self.netns,
        )
        set_sysctls({**FORWARDING, **(FORWARDING_IPV6 if quick else {})}, self.netns)
        self.pool = pool
        self._masquerade(cidr)

    @property
    def _iptables(self) -> str:
        """The program for the pods' address family."""
        return "ip6tables" if self.pool is not None and self.pool.network.version == 6 else "iptables"

    def _masquerade(self, cidr: str) -> None:
        """What pods send out of the cluster carries the node's address."""
        program = self._iptables
        if not self.cluster_cidr or shutil.which(f"{program}-restore") is None:
            return
        multicast = "ff00::/8" if program == "ip6tables" else "224.0.0.0/4"
        text = (
            f"*nat\n:{MASQUERADE} - [0:0]\n-A {MASQUERADE} -d {self.cluster_cidr} -j RETURN\n"
            f"-A {MASQUERADE} ! -d {multicast} -j MASQUERADE --random-fully\nCOMMIT\n"
        )
        status, _, errors = run((f"{program}-restore", "-w", "5", "--noflush"), netns=self.netns, stdin=text)
        if status:
            raise CniError(CODES["io failure"], f"{program}-restore: {errors.strip()}")
        rule = ("POSTROUTING", "-s", cidr, "-j", MASQUERADE)
        table = (program, "-w", "5", "-t", "nat")
        if run((*table, "-C", *rule), netns=self.netns)[0]:
            run((*table, "-A", *rule), netns=self.netns)

    def remove(self) -> None:
        """Take the bridge and all that hangs on it away."""
        with contextlib.suppress(CniError):
            for link in self._links():
                ip(f"link del {link}", netns=self.netns)
            ip(f"link del {self.name}", netns=self.netns)
        if self.cluster_cidr and self.pool is not None:
            table = (self._iptables, "-w", "5", "-t", "nat")
            run((*table, "-D", "POSTROUTING", "-s", str(self.pool.network), "-j", MASQUERADE), netns=self.netns)
            run((*table, "-F", MASQUERADE), netns=self.netns)
            run((*table, "-X", MASQUERADE), netns=self.netns)
        self.pool = None

    def _links(self) -> list[str]:
        status, output, _ = run(("ip", "-json", "link", "show", "master", self.name), netns=self.netns)
        return [link["ifname"] for link in json.loads(output or "[]")] if status == 0 else []

    # --- the verbs --------------------------------------------------------------------------------

    def status(self) -> str:
        """Why no pod can be attached now; empty if one can."""
        return "" if self.pool is not None else "the node has no range of pod addresses yet"

    def add(self, message: AddPod) -> PodNetwork:
        """Attach a pod; done twice, it changes nothing."""
        if self.pool is None:
            raise CniError(CODES["plugin not available"], self.status())
        owner = _owner(message.container_id, message.ifname)
        outside = host_interface(message.container_id, message.ifname)
        known = bool(self.pool.of(owner))
        address = self.pool.allocate(owner)
        if not known or not ip_succeeds("link", "show", outside, netns=self.netns):
            try:
                self._attach(message, outside, address)
            except CniError:
                self._detach(outside)
                self.pool.free(owner)
                raise
        return PodNetwork((address,), self._result(message, outside, address))

    def _attach(self, message: AddPod, outside: str, address: str) -> None:
        assert self.pool is not None
        version = self.pool.network.version
        quick = "" if version == 4 else " nodad"
        ip(
            f"link add {outside} type veth peer name {message.ifname} netns {message.netns}",
            f"link set {outside} master {self.name} up",
            f"link set {outside} type bridge_slave hairpin on",  # a pod may meet itself by a Service
            netns=self.netns,
        )
        ip(
            "link set lo up",
            f"addr add {address}/{self.pool.bits} dev {message.ifname}{quick}",
            f"link set {message.ifname} up",
            f"route add {EVERYWHERE[version]} via {self.pool.gateway} dev {message.ifname}",
            netns=message.netns,
        )
        for mapping in message.port_mappings:
            self._map_port("-A", mapping, address)

    def _map_port(self, verb: str, mapping: PortMapping, address: str) -> None:
        """A host port: packets to it on any address of the node lead to the pod."""
        where = ("-d", mapping.host_ip) if mapping.host_ip not in ("", "0.0.0.0", "::") else ()
        inside = f"[{address}]" if ":" in address else address
        match = ("-p", mapping.protocol, *where, "-m", "addrtype", "--dst-type", "LOCAL")
        target = (
            "--dport",
            str(mapping.host_port),
            "-j",
            "DNAT",
            "--to-destination",
            f"{inside}:{mapping.container_port}",
        )
        for chain in ("PREROUTING", "OUTPUT"):
            arguments = (self._iptables, "-w", "5", "-t", "nat", verb, chain, *match, *target)
            status, _, errors = run(arguments, netns=self.netns)
            if status and verb == "-A":
                raise CniError(CODES["io failure"], f"host port {mapping.host_port}: {errors.strip()}")

    def delete(self, message: DelPod) -> None:
        """Detach; the pod's end of the pair goes with it."""
        owner = _owner(message.container_id, message.ifname)
        if self.pool is not None:
            address = self.pool.free(owner)
            for mapping in message.port_mappings if address else ():
                self._map_port("-D", mapping, address)
        self._detach(host_interface(message.container_id, message.ifname))

    def _detach(self, outside: str) -> None:
        with contextlib.suppress(CniError):  # the interface goes with the pod's namespace
            ip(f"link del {outside}", netns=self.netns)

    def check(self, message: CheckPod) -> None:
        """Raises CniError unless the interface, its address and its route are there."""
        address = self.pool.of(_owner(message.container_id, message.ifname)) if self.pool else ""
        if not address:
            raise CniError(CODES["unknown container"], f"container {message.container_id} has no address")
        status, output, _ = run(("ip", "-json", "addr", "show", "dev", message.ifname), netns=message.netns)
        found = (
            [a.get("local") for link in json.loads(output or "[]") for a in link.get("addr_info", ())]
            if status == 0
            else []
        )
        if address not in found:
            raise CniError(100, f"{message.ifname} does not have the address {address}")
        if not ip_succeeds("link", "show", host_interface(message.container_id, message.ifname), netns=self.netns):
            raise CniError(101, f"the node's end of {message.ifname} is not there")

    def collect(self, valid: tuple[tuple[str, str], ...]) -> None:
        """Free what belongs to none of `valid`."""
        if self.pool is not None:
            for owner in self.pool.keep_only(_owner(*pair) for pair in valid):
                container_id, _, ifname = owner.partition("\n")
                self._detach(host_interface(container_id, ifname))

    def _result(self, message: AddPod, outside: str, address: str) -> dict[str, Any]:
        assert self.pool is not None
        return {
            "cniVersion": VERSION,
            "interfaces": [
                {"name": self.name},
                {"name": outside},
                {"name": message.ifname, "sandbox": message.netns},
            ],
            "ips": [{"address": f"{address}/{self.pool.bits}", "gateway": self.pool.gateway, "interface": 2}],
            "routes": [{"dst": EVERYWHERE[self.pool.network.version], "gw": self.pool.gateway}],
            "dns": {},
        }


def _owner(container_id: str, ifname: str) -> str:
    return f"{container_id}\n{ifname}"
