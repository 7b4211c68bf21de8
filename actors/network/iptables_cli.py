"""The rules of a node for a set of objects, as a pure function.

Owns the reading of object lists as kubectl prints them. Must never talk to a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from actors.network._config import ConfigError, ProxyConfig
from actors.network.nftables import rules_for

__all__ = ["ConfigError", "UnknownNode", "objects_in", "render"]


class UnknownNode(LookupError):
    """No node of that name is among the objects."""


def objects_in(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The single objects in YAML or JSON documents; Lists are unpacked, empty documents skipped."""
    for document in documents:
        if not isinstance(document, dict):
            continue
        if "items" in document and str(document.get("kind", "")).endswith("List"):
            inner = str(document["kind"]).removesuffix("List")
            for item in document["items"] or ():
                yield item if "kind" in item or not inner else {"kind": inner, **item}
        else:
            yield document


def render(
    objects: Iterable[Mapping[str, Any]],
    node_name: str,
    config: Mapping[str, Any] | None = None,
    tables: Iterable[str] = ("nat", "filter"),
    family: str = "IPv4",
) -> str:
    """`iptables-restore` text (`nft -f` text in the mode nftables) that the kube-proxy of node `node_name` writes for `objects`
    (Services, EndpointSlices and Nodes; others are passed over), with a KubeProxyConfiguration.

    Raises UnknownNode when there are Nodes but not this one, ConfigError for a bad configuration or
    an object that makes no sense.
    """
    nodes: dict[str, Mapping[str, Any]] = {}
    services: list[Mapping[str, Any]] = []
    slices: list[Mapping[str, Any]] = []
    for obj in objects_in(objects):
        kind = obj.get("kind")
        if kind == "Node":
            nodes[str((obj.get("metadata") or {}).get("name", ""))] = obj
        elif kind == "Service":
            services.append(obj)
        elif kind == "EndpointSlice":
            slices.append(obj)
    node_name = node_name or (config or {}).get("hostnameOverride", "")
    if nodes and node_name not in nodes:
        raise UnknownNode(f'nodes "{node_name}" not found')
    rules = rules_for(ProxyConfig.load(config, nodes.get(node_name), node_name, family))
    for endpoint_slice in slices:
        _take(rules.set_slice, endpoint_slice)
    for service in services:
        _take(rules.set_service, service)
    return rules.text(tables)


def _take(change: Callable[[Mapping[str, Any]], object], obj: Mapping[str, Any]) -> None:
    """Give the rule set an object that nobody has validated. Raises ConfigError, naming it."""
    try:
        change(obj)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        meta = obj.get("metadata")
        name = meta.get("name", "?") if isinstance(meta, Mapping) else "?"
        raise ConfigError(f'{obj.get("kind")} "{name}" cannot be read: {type(error).__name__}: {error}') from error
