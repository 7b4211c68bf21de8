"""What a pod's resolver makes of a name: resolv.conf, and the names that are tried in turn.

Owns the text of resolv.conf by dnsPolicy and the search rules of resolv.conf(5). It sends nothing.
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

__all__ = ["ResolvConf", "candidates"]

MAX_NAMESERVERS, MAX_SEARCH = 3, 32


class ResolvConf(msgspec.Struct, frozen=True):
    """The settings of a resolver. `options` as in the file: `ndots:5`, `single-request-reopen`."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        """The file."""
        lines = [f"nameserver {ip}" for ip in self.nameservers]
        if self.search:
            lines.insert(0, "search " + " ".join(self.search))
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "".join(line + "\n" for line in lines)

    @property
    def ndots(self) -> int:
        for option in self.options:
            if option.startswith("ndots:") and option[6:].isdigit():
                return min(int(option[6:]), 15)
        return 1

    @classmethod
    def for_pod(
        cls,
        pod: dict[str, Any],
        cluster_dns: Sequence[str],
        domain: str = "cluster.local",
        host: ResolvConf | None = None,
    ) -> ResolvConf:
        """What the kubelet writes for a pod; `host`: the node's own file."""
        spec = pod.get("spec") or {}
        policy = spec.get("dnsPolicy") or "ClusterFirst"
        node = host or cls()
        if policy == "ClusterFirst" and spec.get("hostNetwork"):
            policy = "Default"
        if policy == "None":
            found = cls()
        elif policy == "Default" or not cluster_dns:
            found = node
        else:
            namespace = pod["metadata"]["namespace"]
            search = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *node.search)
            found = cls(tuple(cluster_dns), search, ("ndots:5",))
        return found.merged(spec.get("dnsConfig") or {})

    def merged(self, config: dict[str, Any]) -> ResolvConf:
        """With a pod's dnsConfig added: servers and search lists are joined, options overridden."""
        servers = _unique((*self.nameservers, *(config.get("nameservers") or ())))
        search = _unique((*self.search, *(config.get("searches") or ())))
        given = {o["name"]: o.get("value") for o in config.get("options") or ()}
        kept = [o for o in self.options if o.partition(":")[0] not in given]
        options = (*kept, *(f"{name}:{value}" if value else name for name, value in given.items()))
        return ResolvConf(servers[:MAX_NAMESERVERS], search[:MAX_SEARCH], tuple(options))


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def candidates(name: str, conf: ResolvConf) -> list[str]:
    """The absolute names that are asked for, in order: with fewer dots than `ndots` the search list
    comes first, otherwise the name as it is. A final dot means: this name alone."""
    if name.endswith("."):
        return [name.lower()]
    absolute = f"{name}.".lower()
    searched = [f"{name}.{suffix.rstrip('.')}.".lower() for suffix in conf.search]
    return [absolute, *searched] if name.count(".") >= conf.ndots else [*searched, absolute]
