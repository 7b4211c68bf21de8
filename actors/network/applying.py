"""A node's rules in this machine's kernel, ready to be started.

Owns which actors it takes to apply Services, and policies if asked for, and how all of it is taken out
again. Must never run a program itself.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from actors.kernel import Actor, ActorSystem, Child, Ref
from actors.network._config import ConfigError
from actors.network.applier import CleanUp, IptablesApplier, NftApplier, PolicyApplier, all_jumps
from actors.network.health_server import HealthPorts
from actors.network.kubeproxy import KubeProxy
from actors.network.policy_agent import NetworkPolicyAgent
from actors.network.policy_rules import JUMPS

__all__ = ["applying_proxy", "clean_up", "families", "own_ports", "why_not"]

CLEAN_UP_TIMEOUT_S = 60.0


def why_not(mode: str = "iptables") -> str:
    """What keeps this machine from taking rules; empty if nothing does."""
    import os

    if not os.path.exists("/proc/self/ns/net") or os.geteuid() != 0:
        return "it needs Linux and root"
    program = "nft" if mode == "nftables" else "iptables-restore"
    return "" if shutil.which(program) else f"{program} is not installed"


def families(mode: str = "iptables") -> tuple[str, ...]:
    """The address families whose rules this machine takes: IPv6 only where the kernel has it."""
    import os

    program = "nft" if mode == "nftables" else "ip6tables-restore"
    six = os.path.exists("/proc/net/if_inet6") and shutil.which(program)
    return ("IPv4", "IPv6") if six else ("IPv4",)


def applying_proxy(
    node_name: str,
    apiserver: Ref,
    config: Mapping[str, Any],
    *,
    netns: str = "",
    policies: bool = False,
    serving: tuple[tuple[str, str, int], ...] = (),
    neighbours: tuple[str, ...] = (),
) -> Callable[[], Actor]:
    """What makes a kube-proxy that writes to the kernel, for both address families. `netns`: a path; empty
    for this namespace. `serving`: as `own_ports` says; health check node ports are answered anyway.
    `neighbours`: other nodes whose pods are in the same namespace's reach."""
    mode = config.get("mode") or "iptables"
    make = NftApplier if mode == "nftables" else IptablesApplier
    both = families(mode)
    agent = None
    if policies:
        appliers = {f: Child(_name(f), partial(PolicyApplier, f, netns=netns)) for f in families()}
        make_agent = partial(NetworkPolicyAgent, node_name, apiserver, appliers=appliers, neighbours=neighbours)
        agent = Child("policies", make_agent)
    return partial(
        KubeProxy,
        node_name,
        apiserver,
        config,
        appliers={f: Child(_name(f), partial(make, f, netns=netns)) for f in both},
        policies=agent,
        ports=Child("ports", partial(HealthPorts, netns)),
        serving=serving,
        neighbours=neighbours,
    )


def own_ports(config: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    """Where a kube-proxy tells of itself: (purpose, address, port). Upstream's ports, on loopback unless
    the configuration says otherwise. Raises ConfigError."""
    found = []
    for purpose, port in (("healthz", 10256), ("metrics", 10249)):
        field = f"{purpose}BindAddress"
        text = config.get(field, f"127.0.0.1:{port}")
        host, _, number = text.rpartition(":") if re.search(r"[\].\w]:\d+$", text) else (text, "", str(port))
        if not text:
            continue
        try:
            found.append((purpose, str(ipaddress.ip_address(host.strip("[]"))), int(number)))
        except ValueError:
            raise ConfigError(f"{field}: {text!r} is no IP:PORT") from None
    return tuple(found)


def _name(family: str) -> str:
    return "applier" if family == "IPv4" else "applier-ipv6"


def clean_up(system: ActorSystem, netns: str = "") -> bool:
    """Take out what any mode wrote; False when the machine has no program for it. Called from outside
    the system's loop. Raises ApplyError."""
    wanted = (
        (IptablesApplier, "iptables", all_jumps()),
        (PolicyApplier, "iptables", JUMPS),
        (NftApplier, "nftables", ()),
    )
    found = [
        (f"cleanup-{make.__name__}-{family}", partial(make, family, netns=netns), jumps)
        for make, mode, jumps in wanted
        for family in families(mode)
        if shutil.which("nft" if mode == "nftables" else "iptables")
    ]
    for name, make, jumps in found:
        system.spawn(Child(name, make)).ask(CleanUp(jumps), timeout=CLEAN_UP_TIMEOUT_S)
    return bool(found)
