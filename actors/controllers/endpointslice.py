"""The EndpointSlice controller: a Service with a selector has slices of its pods.

Owns the slices that carry its name in `endpointslice.kubernetes.io/managed-by`. They go with their
Service by the garbage collector's hand. Facts: kubernetes
staging/src/k8s.io/endpointslice/reconciler.go, pkg/controller/endpointslice.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.controllers._reconcile import Context, Controller
from actors.controllers._serviceindex import Pace, ServiceSelectors
from actors.controllers._servicepods import (
    LAST_CHANGE,
    address_types,
    addresses_of,
    belongs,
    ports_key,
    ports_of,
    trigger_time,
)
from actors.controllers._slicepacking import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    Identity,
    Plan,
    endpoint_of,
    identity,
    new_slice,
    pack,
)
from actors.controllers._slicetracker import SliceTracker
from actors.controllers._slicewrites import service_of, write_plan
from actors.controllers._topologyhints import TopologyHints
from protocol.api import StatusError
from protocol.objects import Object, is_controlled_by, key, labels, metadata, spec, split_key
from protocol.objects import annotations as annotations_of

__all__ = ["EndpointSliceController"]

MISSING_NODE_RETRY_S = 1.0
NODES_KEY = "\0nodes"
Ports = tuple[tuple[Any, ...], ...]
managed_service = service_of(MANAGED_BY)


class EndpointSliceController(Controller):
    """Keeps slices equal to the pods of their Services, at most `max_endpoints_per_slice` endpoints (100) in each."""

    component: ClassVar[str] = "endpoint-slice-controller"
    resources: ClassVar[tuple[str, ...]] = ("services", "pods", "nodes", "endpointslices")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.selectors = ServiceSelectors()
        self.pace = Pace()
        self.hints = TopologyHints()
        self.tracker = SliceTracker()
        self._moments: dict[str, dict[str, str]] = {}
        self._fresh: dict[str, str] = {}
        self._nodes_changed = True
        self.on_change("services", self._service_changed)
        self.on_change("pods", self._pod_changed)
        self.on_change("nodes", self._node_changed)
        self.on_change("endpointslices", self._slice_changed)
        self.store("endpointslices").add_index("managed-service", managed_service)

    # --- what changes mean ----------------------------------------------------------------------

    def _service_changed(self, old: Object | None, new: Object | None) -> None:
        self.selectors.service_changed(old, new)
        self.queue.add(key(new or old or {}))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        now = self.clock.monotonic()
        for service_key in self.selectors.concerned(old, new):
            self.queue.add_after(service_key, self.pace.rest_s(service_key, now))

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or _weight(old) != _weight(new):
            self._nodes_changed = True
            self.queue.add(NODES_KEY)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None and labels(obj).get(MANAGED_BY_LABEL) == MANAGED_BY:
                service_key = managed_service(obj)[0]
                if self.tracker.seen(service_key, metadata(obj)["name"], new):
                    self.queue.add(service_key)

    # --- reconciling ----------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        if self._nodes_changed:
            self._nodes_changed = False
            self.hints.set_nodes(self.store("nodes"))
        if key == NODES_KEY:
            for service_key in self.hints.overloaded():
                self.queue.add(service_key)
            return
        service = self.store("services").get(key)
        if service is None:
            self.tracker.forget(key)
            self.pace.forget(key)
            self.hints.forget(key)
            self._moments.pop(key, None)
            self._fresh.pop(key, None)
            return
        if not spec(service).get("selector") or spec(service).get("type") == "ExternalName":
            return
        existing = [s for s in self.store("endpointslices").by("managed-service", key) if not _going(s)]
        if self.tracker.stale(key, existing):
            return  # what we wrote is still on its way to us and will bring us back
        pods = self.selectors.pods(key, self.store("pods"))
        self.pace.looked(key, len(pods), self.clock.monotonic())
        moment = trigger_time(service, pods, self._moments.setdefault(key, {}))
        if moment:
            self._fresh[key] = min(moment, self._fresh.get(key, moment))
        try:
            await self._reconcile_all(key, service, pods, existing)
        except StatusError as error:
            if error.code not in (404, 409, 503, 504) and "is being terminated" not in error.message:
                namespace, name = split_key(key)
                text = f"Error updating Endpoint Slices for Service {namespace}/{name}: {error.message}"
                self.recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", text)
            raise

    async def _reconcile_all(self, key: str, service: Object, pods: list[Object], existing: list[Object]) -> None:
        supported = address_types(service)
        failure: StatusError | None = None
        plans = []
        for address_type in supported:
            mine = [s for s in existing if s.get("addressType") == address_type]
            plan = self._plan(key, service, pods, mine, address_type)
            events = self.hints.apply(key, service, address_type, plan)
            plans.append((plan, events))
        for address_type in {s.get("addressType", ""): None for s in existing}:
            if address_type not in supported:
                self.hints.forget(key, address_type)
                unwanted = [s for s in existing if s.get("addressType") == address_type]
                plans.append((Plan([], [], unwanted, []), []))
        moment = self._fresh.get(key, "")
        for plan, events in plans:
            try:
                await write_plan(self.client, self.tracker, key, _stamped_plan(_finalized(plan), moment))
            except StatusError as error:
                failure = failure or error
            for event in events:
                self.recorder.event(service, event.type, event.reason, event.message)
        if failure is not None:
            raise failure
        self._fresh.pop(key, None)

    def _plan(self, key: str, service: Object, pods: list[Object], existing: list[Object], address_type: str) -> Plan:
        by_ports: dict[Ports, list[Object]] = {}
        plan = Plan([], [], [], [])
        for old in existing:
            if is_controlled_by(old, service):
                by_ports.setdefault(ports_key(old.get("ports") or ()), []).append(old)
            else:
                plan.delete.append(old)
        desired: dict[Ports, dict[Identity, Object]] = {}
        ports: dict[Ports, list[Object]] = {}
        for pod in pods:
            if not belongs(pod, with_terminating=True):
                continue
            offered = ports_of(service, pod)
            group = ports_key(offered)
            ports.setdefault(group, offered)
            wanted = desired.setdefault(group, {})
            endpoint = self._endpoint(key, service, pod, address_type)
            if endpoint is not None:
                wanted[identity(endpoint)] = endpoint
        for group, endpoints in desired.items():
            template = new_slice(service, ports[group], address_type)
            plan.extend(pack(by_ports.pop(group, []), endpoints, template, self.options.max_endpoints_per_slice))
        for left in by_ports.values():
            plan.delete += left
        if len(existing) == len(plan.delete) and not plan.create:
            _keep_a_placeholder(plan, new_slice(service, [], address_type))
        return plan

    def _endpoint(self, key: str, service: Object, pod: Object, address_type: str) -> Object | None:
        addresses = addresses_of(pod, address_type)
        node = self.store("nodes").get(spec(pod).get("nodeName") or "")
        if node is None and not spec(service).get("publishNotReadyAddresses"):
            self.queue.add_after(key, MISSING_NODE_RETRY_S)
            return None
        return endpoint_of(pod, node, service, addresses) if addresses else None


def _going(obj: Object) -> bool:
    return bool(metadata(obj).get("deletionTimestamp"))


def _weight(node: Object) -> tuple[object, ...]:
    """What of a node matters for topology."""
    state = node.get("status") or {}
    ready = next((c.get("status") for c in state.get("conditions") or () if c.get("type") == "Ready"), None)
    return labels(node), (state.get("allocatable") or {}).get("cpu"), ready


def _keep_a_placeholder(plan: Plan, placeholder: Object) -> None:
    """A Service without endpoints keeps one empty slice."""
    if len(plan.delete) == 1:
        only = plan.delete[0]
        same_labels = labels(only) == labels(placeholder)
        owned = metadata(only).get("ownerReferences") == metadata(placeholder)["ownerReferences"]
        if not only.get("endpoints") and not only.get("ports") and same_labels and owned:
            plan.unchanged.append(plan.delete.pop())
            return
    plan.create.append(placeholder)


def _finalized(plan: Plan) -> Plan:
    """A slice to go and one to come are one slice to change, when their families agree."""
    while plan.create and plan.delete:
        old = plan.delete[-1]
        wanted = next((c for c in plan.create if c["addressType"] == old.get("addressType")), None)
        if wanted is None or metadata(old).get("ownerReferences") != metadata(wanted)["ownerReferences"]:
            break
        plan.delete.pop()
        plan.create.remove(wanted)
        meta = {**metadata(old), "labels": labels(wanted)}
        plan.update.append({**wanted, "metadata": meta})
    return plan


def _stamped_plan(plan: Plan, moment: str) -> Plan:
    create, update = ([_stamped(wanted, moment) for wanted in slices] for slices in (plan.create, plan.update))
    return Plan(create, update, plan.delete, plan.unchanged)


def _stamped(wanted: Object, moment: str) -> Object:
    """With the time of the change that led to this write, or without such an annotation."""
    notes = {k: v for k, v in annotations_of(wanted).items() if k != LAST_CHANGE}
    if moment:
        notes[LAST_CHANGE] = moment
    meta = {k: v for k, v in metadata(wanted).items() if k != "annotations"}
    if notes:
        meta["annotations"] = notes
    return {**wanted, "metadata": meta, "endpoints": wanted.get("endpoints") or None}
