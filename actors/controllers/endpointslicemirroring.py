"""The EndpointSlice mirroring controller: Endpoints written by hand show up as slices.

Owns slices with its name in `endpointslice.kubernetes.io/managed-by`, made from Endpoints of
Services that have no selector. Facts: kubernetes pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from actors.controllers._servicepods import SERVICE_NAME_LABEL, port_hash, ports_key
from actors.controllers._slicepacking import MANAGED_BY_LABEL, Identity, Plan, identity, pack
from actors.controllers._slicetracker import SliceTracker
from actors.controllers._slicewrites import service_of, write_plan
from protocol.objects import Object, key, labels, metadata, owner_reference, spec, split_key
from protocol.objects import annotations as annotations_of

__all__ = ["EndpointSliceMirroringController"]

MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
mirrored_service = service_of(MANAGED_BY)
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_PER_SUBSET = 1000


class EndpointSliceMirroringController(Controller):
    """Mirrors Endpoints. Keys: Endpoints."""

    component: ClassVar[str] = "endpoint-slice-mirroring-controller"
    resources: ClassVar[tuple[str, ...]] = ("endpoints", "services", "endpointslices")
    interval_s: ClassVar[float] = 0.05

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.tracker = SliceTracker()
        self.on_change("endpoints", self._own_changed)
        self.on_change("services", self._own_changed)
        self.on_change("endpointslices", self._slice_changed)
        self.store("endpointslices").add_index("mirrored-service", mirrored_service)

    def _own_changed(self, old: Object | None, new: Object | None) -> None:
        self.queue.add(key(new or old or {}))

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None and labels(obj).get(MANAGED_BY_LABEL) == MANAGED_BY:
                service_key = mirrored_service(obj)[0]
                if self.tracker.seen(service_key, metadata(obj)["name"], new):
                    self.queue.add(service_key)

    async def reconcile(self, key: str) -> None:
        endpoints = self.store("endpoints").get(key)
        service = self.store("services").get(key)
        existing = list(self.store("endpointslices").by("mirrored-service", key))
        if self.tracker.stale(key, existing):
            return
        if endpoints is None or not _wanted(endpoints) or service is None or spec(service).get("selector"):
            await write_plan(self.client, self.tracker, key, Plan([], [], existing, []))
            if endpoints is None:
                self.tracker.forget(key)
            return
        try:
            await write_plan(self.client, self.tracker, key, _plan(endpoints, existing))
        except StatusError as error:
            if error.code not in (404, 409, 503, 504) and "is being terminated" not in error.message:
                namespace, name = split_key(key)
                text = f"Error updating mirrored EndpointSlices for Endpoints {namespace}/{name}: {error.message}"
                about = {"apiVersion": "v1", "kind": "Endpoints", **endpoints}
                self.recorder.event(about, "Warning", "FailedToUpdateEndpointSlices", text)
            raise


def _wanted(endpoints: Object) -> bool:
    return labels(endpoints).get(SKIP) != "true" and LEADER not in annotations_of(endpoints)


def _plan(endpoints: Object, existing: list[Object]) -> Plan:
    """Slices by ports and family, each subset cut at 1000 addresses."""
    desired: dict[tuple[Any, ...], dict[Identity, Object]] = {}
    ports: dict[tuple[Any, ...], list[Object]] = {}
    for subset in endpoints.get("subsets") or ():
        offered = [{"name": "", "protocol": "TCP", **p} for p in subset.get("ports") or ()]
        rest = MAX_PER_SUBSET
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in (subset.get(field) or ())[:rest]:
                rest -= 1
                group = ("IPv6" if ":" in address["ip"] else "IPv4", ports_key(offered))
                ports[group] = offered
                endpoint = _endpoint(address, ready)
                desired.setdefault(group, {})[identity(endpoint)] = endpoint
    by_group: dict[tuple[Any, ...], list[Object]] = {}
    for old in existing:
        group = (old.get("addressType", "IPv4"), ports_key(old.get("ports") or ()))
        by_group.setdefault(group, []).append(old)
    plan = Plan([], [], [], [])
    for group, wanted in desired.items():
        plan.extend(pack(by_group.pop(group, []), wanted, _template(endpoints, ports[group], group[0])))
    for left in by_group.values():
        plan.delete += left
    return plan


def _endpoint(address: Object, ready: bool) -> Object:
    found: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    if address.get("targetRef"):
        found["targetRef"] = address["targetRef"]
    for field in ("nodeName", "hostname"):
        if address.get(field):
            found[field] = address[field]
    return found


def _template(endpoints: Object, ports: list[Object], address_type: str) -> Object:
    meta = metadata(endpoints)
    notes = {k: v for k, v in annotations_of(endpoints).items() if k not in (LAST_CHANGE, LAST_APPLIED)}
    about: Object = {
        "generateName": f"{meta['name'][:62]}-",
        "namespace": meta["namespace"],
        "labels": {**labels(endpoints), SERVICE_NAME_LABEL: meta["name"], MANAGED_BY_LABEL: MANAGED_BY},
        "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Endpoints", **endpoints})],
    }
    if notes:
        about["annotations"] = notes
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": about,
        "addressType": address_type,
        "ports": sorted(ports, key=lambda p: port_hash(p, pointers=True)) or None,
        "endpoints": None,
    }
