"""What the node lifecycle controller knows of a node's health, and of a zone's.

Owns the two judgements: is a node silent, and how disturbed is a zone. It reads objects, keeps the
times at which it saw them change (its own clock; kubelets' clocks are never compared with it), and
writes nothing. Facts: kubernetes pkg/controller/nodelifecycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.controllers._pods import epoch
from protocol.objects import Object, condition, labels, metadata, spec, status

__all__ = ["NodeHealth", "ZoneQueue", "zone_of", "zone_state"]

UNKNOWN_TYPES = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
NORMAL, PARTIAL, FULL, INITIAL = "Normal", "PartialDisruption", "FullDisruption", "Initial"
UNHEALTHY_ZONE = 0.55
LARGE_ZONE = 50


class NodeHealth:
    """When a node was last heard of. `ready` is its Ready condition as last seen, or None."""

    __slots__ = ("lease_renewed", "probed_at", "ready")

    def __init__(self, ready: Object | None, probed_at: float) -> None:
        self.ready = ready
        self.probed_at = probed_at
        self.lease_renewed = ""

    def observe(self, node: Object, lease: Object | None, now: float) -> None:
        """Note what is new in a node's Ready condition and its lease."""
        current = condition(node, "Ready")
        if (current is not None and (self.ready is None or _beat(self.ready) != _beat(current))) or (
            current is None and self.ready is not None
        ):
            self.probed_at = now
        self.ready = current
        renewed = spec(lease).get("renewTime", "") if lease else ""
        if renewed and renewed > self.lease_renewed:
            self.lease_renewed = renewed
            self.probed_at = now


def first_sight(node: Object, now: float) -> NodeHealth:
    """The health of a node that was not known: its time begins now, or at its creation if its
    kubelet has not spoken yet."""
    ready = condition(node, "Ready")
    created = metadata(node).get("creationTimestamp")
    return NodeHealth(ready, epoch(created) if ready is None and created else now)


def _beat(ready: Object) -> Any:
    return ready.get("lastHeartbeatTime")


def silenced(node: Object, now: str) -> list[Object] | None:
    """The node's conditions with the kubelet's ones set to Unknown, or None if they are already."""
    found = [dict(c) for c in status(node).get("conditions") or ()]
    changed = False
    for kind in UNKNOWN_TYPES:
        entry = next((c for c in found if c.get("type") == kind), None)
        if entry is None:
            found.append(
                {
                    "type": kind,
                    "status": "Unknown",
                    "lastHeartbeatTime": metadata(node).get("creationTimestamp"),
                    "lastTransitionTime": now,
                    "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                }
            )
            changed = True
        elif entry.get("status") != "Unknown":
            entry.update(
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                lastTransitionTime=now,
            )
            changed = True
    return found if changed else None


def zone_of(node: Object) -> str:
    """The failure zone: region and zone labels, or an empty string."""
    found = labels(node)
    region = found.get("topology.kubernetes.io/region", found.get("failure-domain.beta.kubernetes.io/region", ""))
    zone = found.get("topology.kubernetes.io/zone", found.get("failure-domain.beta.kubernetes.io/zone", ""))
    return f"{region}:\x00:{zone}" if region or zone else ""


def zone_state(ready: Iterable[bool], threshold: float = UNHEALTHY_ZONE) -> str:
    """How disturbed a zone is, from whether each of its nodes is ready."""
    states = list(ready)
    bad = states.count(False)
    if bad and bad == len(states):
        return FULL
    if bad > 2 and bad / len(states) >= threshold:
        return PARTIAL
    return NORMAL


class ZoneQueue:
    """Nodes of one zone that wait for their NoExecute taint, let through at a limited rate.

    One token at most is saved up. `rate_hz` 0 lets nobody through.
    """

    def __init__(self, rate_hz: float, now: float) -> None:
        self.nodes: dict[str, None] = {}
        self.state = INITIAL
        self._rate_hz = rate_hz
        self._tokens = 1.0
        self._at = now

    def set_rate(self, rate_hz: float, now: float) -> None:
        """Another rate from now on. What was saved up stays, unless the rate is 0."""
        if rate_hz != self._rate_hz:
            self._refill(now)
            self._rate_hz = rate_hz

    def take(self, now: float) -> str | None:
        """The next node, or None when there is none or it has to wait."""
        if not self.nodes or not self._rate_hz:
            return None
        self._refill(now)
        if self._tokens < 1.0 - 1e-9:
            return None
        self._tokens = max(0.0, self._tokens - 1.0)
        name = next(iter(self.nodes))
        del self.nodes[name]
        return name

    def wait_s(self, now: float) -> float | None:
        """Seconds until a node may go through; None when none waits or the rate is 0."""
        if not self.nodes or not self._rate_hz:
            return None
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate_hz)

    def _refill(self, now: float) -> None:
        self._tokens = min(1.0, self._tokens + (now - self._at) * self._rate_hz)
        self._at = now


class Rates(msgspec.Struct, frozen=True):
    """Taints per second, under the names of the upstream flags."""

    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    large_cluster_size_threshold: int = LARGE_ZONE
    unhealthy_zone_threshold: float = UNHEALTHY_ZONE

    def of(self, state: str, zone_size: int) -> float:
        """The rate for a zone in this state."""
        if state != PARTIAL:
            return self.node_eviction_rate
        return self.secondary_node_eviction_rate if zone_size > self.large_cluster_size_threshold else 0.0
