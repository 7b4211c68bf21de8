"""Topology hints on endpoints: `trafficDistribution`, and the older `topology-mode: Auto`.

Owns which zones and nodes an endpoint is meant for. It changes a `Plan` and remembers which
Services have hints under the annotation; it talks to nobody. Facts: KEP-4444, KEP-3015, KEP-2433;
kubernetes staging/src/k8s.io/endpointslice/{trafficdist,topologycache}.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from actors.controllers._slicepacking import ZONE_LABEL, Plan
from protocol.objects import Object, condition_status, labels, spec, status
from protocol.objects import annotations as annotations_of
from protocol.quantity import parse_quantity

__all__ = ["HintEvent", "TopologyHints"]

OVERLOAD = 0.2
_CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MODES = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ENABLED, DISABLED = "TopologyAwareHintsEnabled", "TopologyAwareHintsDisabled"
_SHARE = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
_NODES = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"


class HintEvent(NamedTuple):
    """An event about a Service to be recorded."""

    type: str
    reason: str
    message: str


class _Refused(Exception):
    """Hints are impossible; the text goes into the event."""


class _Share(NamedTuple):
    minimum: int
    maximum: int
    desired: float


class TopologyHints:
    """Hints for all Services; `set_nodes` tells it the cluster's zones."""

    def __init__(self) -> None:
        self._ratios: dict[str, float] | None = None
        self._by_service: dict[str, dict[str, dict[str, int]]] = {}

    def set_nodes(self, nodes: Iterable[Object]) -> None:
        """Weigh the zones by the CPU of their ready nodes; one node without a zone or CPU spoils
        the whole account."""
        cpu: dict[str, float] = {}
        self._ratios = None
        for node in nodes:
            if any(label in labels(node) for label in _CONTROL_PLANE) or condition_status(node, "Ready") != "True":
                continue
            zone = labels(node).get(ZONE_LABEL)
            amount = float(parse_quantity((status(node).get("allocatable") or {}).get("cpu", "0")))
            if not zone or not amount:
                return
            cpu[zone] = cpu.get(zone, 0.0) + amount
        total = sum(cpu.values())
        if total and len(cpu) >= 2:
            self._ratios = {zone: amount / total for zone, amount in sorted(cpu.items())}

    def overloaded(self) -> list[str]:
        """Keys of Services whose hints no longer suit the zones' weights."""
        return sorted(
            key
            for key, kinds in self._by_service.items()
            if any(_overloaded(by_zone, self._ratios) for by_zone in kinds.values())
        )

    def forget(self, key: str, address_type: str | None = None) -> bool:
        """Drop what is known of a Service (of one address type); True if there was something."""
        kinds = self._by_service.get(key)
        if kinds is None:
            return False
        if address_type is None:
            del self._by_service[key]
            return True
        kinds.pop(address_type, None)
        if not kinds:
            del self._by_service[key]
        return True

    def apply(self, key: str, service: Object, address_type: str, plan: Plan) -> list[HintEvent]:
        """Set or remove the hints of all slices of one Service and address type."""
        mode = next((annotations_of(service)[m] for m in _MODES if m in annotations_of(service)), "")
        if mode in ("Auto", "auto"):
            return self._automatic(key, address_type, plan)
        events = []
        if self.forget(key, address_type):
            text = f"Topology Aware Hints has been disabled, addressType: {address_type}"
            events.append(HintEvent("Warning", DISABLED, text))
        distribution = spec(service).get("trafficDistribution")
        if distribution in _CLOSE:
            by_node = distribution == "PreferSameNode"
            _rewrite(plan, lambda endpoint: _close(endpoint, by_node))
        else:
            _rewrite(plan, _bare)
        return events

    def _automatic(self, key: str, address_type: str, plan: Plan) -> list[HintEvent]:
        known = key in self._by_service
        try:
            counts = self._distribute(plan)
        except _Refused as refusal:
            self.forget(key, address_type)
            _rewrite(plan, _bare)
            return [HintEvent("Warning", DISABLED, f"{refusal}, addressType: {address_type}")]
        self._by_service.setdefault(key, {})[address_type] = counts
        if known:
            return []
        return [HintEvent("Normal", ENABLED, f"Topology Aware Hints has been enabled, addressType: {address_type}")]

    def _shares(self, endpoints: int) -> dict[str, _Share]:
        """How many endpoints each zone should be hinted."""
        ratios = self._ratios
        if ratios is None:
            raise _Refused(_NODES)
        size = f"({endpoints} endpoints, {len(ratios)} zones)"
        if len(ratios) > endpoints:
            raise _Refused(f"Insufficient number of endpoints {size}")
        minimum = {z: math.ceil(r * endpoints / (1 + OVERLOAD)) for z, r in ratios.items()}
        spare = endpoints - sum(minimum.values())
        if spare < 0:
            raise _Refused(f"{_SHARE} {size}")
        return {z: _Share(m, m + spare, max(ratios[z] * endpoints, m)) for z, m in minimum.items()}

    def _distribute(self, plan: Plan) -> dict[str, int]:
        ready = sum(
            _is_ready(e) for s in (*plan.create, *plan.update, *plan.unchanged) for e in s.get("endpoints") or ()
        )
        shares = self._shares(ready)
        counts: dict[str, int] = {}
        kept = []
        for old in plan.unchanged:
            hinted = _hinted(old, counts, shares)
            if hinted is None:
                plan.update.append({**old})
            else:
                kept.append(old)
                for zone, n in hinted.items():
                    counts[zone] = counts.get(zone, 0) + n
        plan.unchanged = kept
        writable = [*plan.create, *plan.update]
        for entry in writable:
            entry["endpoints"] = [self._own_zone(e, counts) for e in entry.get("endpoints") or ()]
        giving, receiving = _transfers(shares, counts)
        for entry in writable:
            entry["endpoints"] = [_move(e, giving, receiving, counts) for e in entry["endpoints"]]
        if not counts:
            raise _Refused("No hints allocated for zones")
        return counts

    def _own_zone(self, endpoint: Object, counts: dict[str, int]) -> Object:
        if not _is_ready(endpoint):
            return endpoint
        zone = endpoint.get("zone")
        if not zone:
            raise _Refused("One or more endpoints do not have a zone specified")
        counts[zone] = counts.get(zone, 0) + 1
        return {**endpoint, "hints": {"forZones": [{"name": zone}]}}


def _is_ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is True


def _bare(endpoint: Object) -> Object:
    return {k: v for k, v in endpoint.items() if k != "hints"} if endpoint.get("hints") else endpoint


def _close(endpoint: Object, by_node: bool) -> Object:
    """Hints for the endpoint's own zone, and for its own node where asked; one that is not ready
    keeps what it has."""
    if not _is_ready(endpoint):
        return endpoint
    hints: Object = {}
    if endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if by_node and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    bare = {k: v for k, v in endpoint.items() if k != "hints"}
    return {**bare, "hints": hints} if hints else bare


def _rewrite(plan: Plan, hint: Callable[[Object], Object]) -> None:
    """Apply `hint` to every endpoint; a slice that thereby changes is written."""
    for entry in (*plan.create, *plan.update):
        entry["endpoints"] = [hint(e) for e in entry.get("endpoints") or ()]
    kept = []
    for old in plan.unchanged:
        endpoints = old.get("endpoints") or []
        hinted = [hint(e) for e in endpoints]
        if hinted == endpoints:
            kept.append(old)
        else:
            plan.update.append({**old, "endpoints": hinted})
    plan.unchanged = kept


def _hinted(old: Object, counts: dict[str, int], shares: dict[str, _Share]) -> dict[str, int] | None:
    """Hints by zone in a slice, or None when these are incomplete or not possible any more."""
    found: dict[str, int] = {}
    for endpoint in old.get("endpoints") or ():
        if not _is_ready(endpoint):
            continue
        zones = [z["name"] for z in (endpoint.get("hints") or {}).get("forZones") or ()]
        if not zones or any(z not in shares for z in zones):
            return None
        for zone in zones:
            found[zone] = found.get(zone, 0) + 1
    if any(n + counts.get(z, 0) > shares[z].maximum for z, n in found.items()):
        return None
    return found


def _transfers(shares: dict[str, _Share], counts: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """How many endpoints each zone gives away and gets, rounded by the largest need first."""
    surplus = {z: counts.get(z, 0) - s.desired for z, s in shares.items()}
    giving_need = {z: n for z, n in surplus.items() if n > 0}
    receiving_need = {z: -n for z, n in surplus.items() if n < 0}
    giving: dict[str, int] = {}
    receiving: dict[str, int] = {}
    while giving_need and receiving_need:
        giver = max(giving_need, key=lambda z: giving_need[z])
        taker = max(receiving_need, key=lambda z: receiving_need[z])
        give, take = giving_need[giver], receiving_need[taker]
        if (give < 1 and take < 1) or give < 0.5 or take < 0.5:
            break
        giving[giver] = giving.get(giver, 0) + 1
        receiving[taker] = receiving.get(taker, 0) + 1
        giving_need[giver] -= 1
        receiving_need[taker] -= 1
    return giving, receiving


def _move(endpoint: Object, giving: dict[str, int], receiving: dict[str, int], counts: dict[str, int]) -> Object:
    """Hint an endpoint of a giving zone for a receiving one."""
    if not _is_ready(endpoint) or not giving.get(endpoint["zone"]):
        return endpoint
    taker = next((z for z in sorted(receiving) if receiving[z]), None)
    if taker is None:
        return endpoint
    giver = endpoint["zone"]
    giving[giver] -= 1
    receiving[taker] -= 1
    counts[giver] -= 1
    counts[taker] = counts.get(taker, 0) + 1
    return {**endpoint, "hints": {"forZones": [{"name": taker}]}}


def _overloaded(by_zone: dict[str, int], ratios: dict[str, float] | None) -> bool:
    if not by_zone:
        return False
    if not ratios:
        return True
    total = sum(by_zone.values())
    return any(by_zone.get(z, -1) < math.ceil(total * r / (1 + OVERLOAD)) for z, r in ratios.items())
