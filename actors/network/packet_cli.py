"""Following one packet through a cluster's rules, as a pure function.

Owns the reading of object lists as kubectl prints them; the ways are in `_paths`. Must never talk to a
cluster.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from actors.network._addresses import node_ips, pod_ips
from actors.network._paths import Hop, Journey, Paths, UnknownEnd
from actors.network.iptables_cli import objects_in
from actors.network.policy import Policies

__all__ = ["Hop", "Journey", "UnknownEnd", "follow"]

Object = Mapping[str, Any]


def follow(
    objects: Iterable[Object],
    source: str,
    target: str,
    *,
    namespace: str = "default",
    protocol: str = "tcp",
    config: Object | None = None,
    seed: int = 0,
    sport: int = 40000,
) -> Journey:
    """Send one packet. `source`: a pod's name (`web-1`, `ns/web-1`), `node/NAME`, or an address
    outside. `target`: `SERVICE:PORT`, `pod/NAME:PORT`, `node/NAME:PORT` or `ADDRESS:PORT`; a port
    may be a Service port's name. Raises UnknownEnd, and ConfigError for a bad `config`.
    """
    found: dict[str, dict[tuple[str, str], Object]] = {}
    for obj in objects_in(objects):
        meta = obj["metadata"]
        found.setdefault(str(obj.get("kind")), {})[meta.get("namespace", ""), meta["name"]] = obj
    pods, nodes = found.get("Pod", {}), found.get("Node", {})
    paths = Paths(
        pods={ip: pod for pod in pods.values() for ip in pod_ips(pod)},
        nodes={ip: node for node in nodes.values() for ip in node_ips(node)},
        pod=lambda space, name: pods.get((space, name)),
        node=lambda name: nodes.get(("", name)),
        services=found.get("Service", {}).values(),
        slices=found.get("EndpointSlice", {}).values(),
        policies=Policies(found.get("NetworkPolicy", {}).values(), found.get("Namespace", {}).values()),
        config=config,
        rng=random.Random(seed),
    )
    return paths.follow(source, target, namespace, protocol, sport)
