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
MAX_SEARCH_CHARS = 2048
MAX_DOMAIN_CHARS = 253  # a longer one makes some resolvers abort
NAMESERVERS_CUT = (
    "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
)
SEARCH_CUT = "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "


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
    def parse(cls, text: str) -> ResolvConf:
        """What a node's file says: name servers add up, of `search` and `options` the last line counts."""
        servers: list[str] = []
        search: tuple[str, ...] = ()
        options: tuple[str, ...] = ()
        for line in text.splitlines():
            words = line.split()
            if not words or words[0][0] in "#;":
                continue
            if words[0] == "nameserver" and len(words) > 1:
                servers.append(words[1])
            elif words[0] == "search":
                search = tuple(w if w == "." else w.removesuffix(".") for w in words[1:])
            elif words[0] == "options":
                options = tuple(words[1:])
        return cls(tuple(servers), search, options)

    @classmethod
    def for_pod(
        cls,
        pod: dict[str, Any],
        cluster_dns: Sequence[str],
        domain: str = "cluster.local",
        host: ResolvConf | None = None,
    ) -> ResolvConf:
        """What the kubelet writes for a pod; `host`: the node's own file."""
        return cls.formed(pod, cluster_dns, domain, host)[0]

    @classmethod
    def formed(
        cls,
        pod: dict[str, Any],
        cluster_dns: Sequence[str],
        domain: str = "cluster.local",
        host: ResolvConf | None = None,
    ) -> tuple[ResolvConf, tuple[str, ...]]:
        """The same, with what there is to be said about it: that something had to be left out."""
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
            cluster = (f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
            found = cls(tuple(cluster_dns), _unique((*cluster, *node.search)), ("ndots:5",))
        return found._merged(spec.get("dnsConfig") or {})._fitted()

    def _merged(self, config: dict[str, Any]) -> ResolvConf:
        """With a pod's dnsConfig added: servers and search lists are joined, options overridden."""
        if not config:
            return self
        servers = _unique((*self.nameservers, *(config.get("nameservers") or ())))
        search = _unique((*self.search, *(config.get("searches") or ())))
        given = {o["name"]: o.get("value") for o in config.get("options") or ()}
        kept = [o for o in self.options if o.partition(":")[0] not in given]
        options = (*kept, *(f"{name}:{value}" if value else name for name, value in given.items()))
        return ResolvConf(servers, search, tuple(options))

    def _fitted(self) -> tuple[ResolvConf, tuple[str, ...]]:
        """Within what resolvers take, and upstream's words for what is left out."""
        said = []
        servers = self.nameservers[:MAX_NAMESERVERS]
        if servers != self.nameservers:
            said.append(NAMESERVERS_CUT + " ".join(servers))
        search = [domain for domain in self.search[:MAX_SEARCH] if len(domain) <= MAX_DOMAIN_CHARS]
        while len(" ".join(search)) > MAX_SEARCH_CHARS:
            search.pop()
        if len(search) != len(self.search):
            said.append(SEARCH_CUT + " ".join(search))
        return ResolvConf(servers, tuple(search), self.options), tuple(said)


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
