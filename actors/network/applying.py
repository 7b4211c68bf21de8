"""A node's rules in this machine's kernel, ready to be started.

Owns which actors it takes to apply Services, and policies if asked for, and how all of it is taken out
again. Must never run a program itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from actors.kernel import Actor, ActorSystem, Child, Ref
from actors.network.applier import CleanUp, IptablesApplier, NftApplier, PolicyApplier, all_jumps
from actors.network.kubeproxy import KubeProxy
from actors.network.policy_agent import NetworkPolicyAgent
from actors.network.policy_rules import JUMPS

__all__ = ["applying_proxy", "clean_up", "why_not"]

CLEAN_UP_TIMEOUT_S = 60.0


def why_not(mode: str = "iptables") -> str:
    """What keeps this machine from taking rules; empty if nothing does."""
    import os

    if not os.path.exists("/proc/self/ns/net") or os.geteuid() != 0:
        return "it needs Linux and root"
    program = "nft" if mode == "nftables" else "iptables-restore"
    return "" if shutil.which(program) else f"{program} is not installed"


def applying_proxy(
    node_name: str, apiserver: Ref, config: Mapping[str, Any], *, netns: str = "", policies: bool = False
) -> Callable[[], Actor]:
    """What makes a kube-proxy that writes to the kernel. `netns`: a path; empty for this namespace."""
    make = NftApplier if config.get("mode") == "nftables" else IptablesApplier
    agent = None
    if policies:
        applier = Child("applier", partial(PolicyApplier, netns=netns))
        agent = Child("policies", partial(NetworkPolicyAgent, node_name, apiserver, applier=applier))
    services = Child("applier", partial(make, netns=netns))
    return partial(KubeProxy, node_name, apiserver, config, applier=services, policies=agent)


def clean_up(system: ActorSystem, netns: str = "") -> bool:
    """Take out what any mode wrote; False when the machine has no program for it. Called from outside
    the system's loop. Raises ApplyError."""
    wanted = (
        ("iptables", IptablesApplier, all_jumps()),
        ("iptables", PolicyApplier, JUMPS),
        ("nft", NftApplier, ()),
    )
    present = [(make, jumps) for program, make, jumps in wanted if shutil.which(program)]
    for make, jumps in present:
        applier = system.spawn(Child(f"cleanup-{make.__name__}", partial(make, netns=netns)))
        applier.ask(CleanUp(jumps), timeout=CLEAN_UP_TIMEOUT_S)
    return bool(present)
