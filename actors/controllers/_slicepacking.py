"""Packing endpoints into EndpointSlices.

Owns how the endpoints of one port set are spread over slices of bounded size with few writes:
slices keep what they have, changed ones are filled up first, then the fullest unchanged one that
takes the rest, then new ones. It knows slices as dicts and talks to nobody. Facts: kubernetes
staging/src/k8s.io/endpointslice/reconciler.go.

    max 4; slices A[1 2 3 4] B[5 6]; 2 goes, 7 8 come
    -> A keeps 1 3 4 and takes 7 (it is written anyway); B takes 8; nothing is created
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.controllers._servicepods import (
    HEADLESS_LABEL,
    SERVICE_NAME_LABEL,
    hostname_of,
    is_headless,
    port_hash,
    ready,
    target_ref,
)
from protocol.objects import Object, deleting, labels, metadata, name, namespace, owner_reference, spec

__all__ = ["MANAGED_BY", "Plan", "endpoint_of", "identity", "new_slice", "pack", "slice_labels"]

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"
_RESERVED = (SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL)
ZONE_LABEL = "topology.kubernetes.io/zone"

Identity = tuple[Any, ...]


class Plan(msgspec.Struct):
    """What to write. `update` holds whole new objects, `unchanged` the old ones."""

    create: list[Object] = []
    update: list[Object] = []
    delete: list[Object] = []
    unchanged: list[Object] = []

    def extend(self, other: Plan) -> None:
        self.create += other.create
        self.update += other.update
        self.delete += other.delete
        self.unchanged += other.unchanged


def endpoint_of(pod: Object, node: Object | None, service: Object, addresses: list[str]) -> Object:
    """The endpoint that a pod is. Under publishNotReadyAddresses it is `ready` whatever its state;
    `serving` always tells the pod's readiness."""
    serving, terminating = ready(pod), deleting(pod)
    early = bool(spec(service).get("publishNotReadyAddresses"))
    found: Object = {
        "addresses": addresses,
        "conditions": {"ready": early or (serving and not terminating), "serving": serving, "terminating": terminating},
        "targetRef": target_ref(pod),
    }
    if spec(pod).get("nodeName"):
        found["nodeName"] = spec(pod)["nodeName"]
    zone = labels(node).get(ZONE_LABEL) if node else None
    if zone is not None:
        found["zone"] = zone
    hostname = hostname_of(pod, service)
    if hostname:
        found["hostname"] = hostname
    return found


def identity(endpoint: Object) -> Identity:
    """What makes two endpoints the same one, perhaps in another state."""
    target = endpoint.get("targetRef") or {}
    return (
        tuple(sorted(endpoint.get("addresses") or ())),
        endpoint.get("hostname") or "",
        target.get("namespace", ""),
        target.get("name", ""),
    )


def slice_labels(service: Object, managed_by: str = MANAGED_BY) -> dict[str, str]:
    """A slice carries its Service's labels and those by which it is found."""
    found = {k: v for k, v in labels(service).items() if k not in _RESERVED}
    if is_headless(service):
        found[HEADLESS_LABEL] = ""
    found[SERVICE_NAME_LABEL] = name(service)
    found[MANAGED_BY_LABEL] = managed_by
    return found


def new_slice(service: Object, ports: list[Object], address_type: str, managed_by: str = MANAGED_BY) -> Object:
    owner = owner_reference({"apiVersion": "v1", "kind": "Service", **service})
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name(service)[:62]}-",
            "namespace": namespace(service),
            "labels": slice_labels(service, managed_by),
            "ownerReferences": [owner],
        },
        "addressType": address_type,
        "ports": sorted(ports, key=lambda p: port_hash(p, pointers=True)) or None,
        "endpoints": None,
    }


def _changed(old: Object, new: Object) -> bool:
    return {k: v for k, v in old.items() if k != "hints"} != {k: v for k, v in new.items() if k != "hints"}


def pack(existing: list[Object], desired: Mapping[Identity, Object], template: Object, limit: int = 100) -> Plan:
    """Bring the slices of one port set to hold exactly `desired`. `template`: an empty slice with
    the labels and ports that all of them should have."""
    missing = dict(desired)
    plan = Plan([], [], [], [])
    for old in existing:
        kept, touched = _keep(old, missing)
        relabelled = labels(old) != labels(template)
        if not kept and touched:
            plan.delete.append(old)
        elif touched or relabelled:
            plan.update.append(_with(old, kept, labels(template)))
        else:
            plan.unchanged.append(old)
    rest = list(missing.values())
    for filled in sorted(plan.update, key=lambda s: -len(s["endpoints"])):
        room = limit - len(filled["endpoints"])
        filled["endpoints"] += rest[:room]
        rest = rest[room:]
    while rest:
        _place(plan, rest[:limit], template, limit)
        rest = rest[limit:]
    return plan


def _keep(old: Object, missing: dict[Identity, Object]) -> tuple[list[Object], bool]:
    """The endpoints that stay in a slice, in their present state; takes them out of `missing`."""
    kept, touched = [], False
    for endpoint in old.get("endpoints") or ():
        wanted = missing.pop(identity(endpoint), None)
        if wanted is None:
            touched = True
        elif _changed(endpoint, wanted):
            touched = True
            kept.append({**wanted, "hints": endpoint["hints"]} if endpoint.get("hints") else wanted)
        else:
            kept.append(endpoint)
    return kept, touched


def _with(old: Object, endpoints: list[Object], new_labels: dict[str, str]) -> Object:
    return {**old, "metadata": {**metadata(old), "labels": new_labels}, "endpoints": endpoints}


def _place(plan: Plan, endpoints: list[Object], template: Object, limit: int) -> None:
    """Put endpoints, at most a slice's worth, in the fullest unchanged slice that takes them all,
    or in a new one."""
    fitting = [s for s in plan.unchanged if len(s.get("endpoints") or ()) + len(endpoints) <= limit]
    if fitting and len(endpoints) < limit:
        fullest = max(fitting, key=lambda s: len(s.get("endpoints") or ()))
        plan.unchanged = [s for s in plan.unchanged if s is not fullest]
        plan.update.append(_with(fullest, [*(fullest.get("endpoints") or ()), *endpoints], labels(template)))
    else:
        plan.create.append({**template, "endpoints": list(endpoints)})
