"""DynamicResources: devices that a pod's ResourceClaims ask for.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
Filter asks, per node, whether all claims that are not allocated yet can be (`_devices`). The
allocation found for the chosen node is in flight from `reserve` on, so that no other pod is promised
the same devices, and is written with the reservation before the pod is bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from actors.scheduler._device_selectors import SelectorFailed
from actors.scheduler._devices import Allocation, Allocator, results_of
from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, Diagnosis, Handle, PostFilterResult
from actors.scheduler._node_selector import compile_required
from actors.scheduler._nodes import Bools, Ints, Rows
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from protocol.api import StatusError
from protocol.objects import mutable

__all__ = ["DynamicResources"]

Object = dict[str, Any]
FINALIZER = "resource.kubernetes.io/delete-protection"
MAX_RESERVED = 256
RESOURCE = "resourceclaims"
SHARES_SINCE = 36
"""The minor version in which DRAConsumableCapacity is on by default."""


class _Missing(Exception):
    """A claim of the pod does not exist (yet)."""


class _State(NamedTuple):
    claims: list[Object]
    allocator: Allocator | None
    reach: Bools | None
    """Rows that every claim allocated already can be used from; None: all."""
    found: dict[int, list[Allocation]]
    """Allocations per row, as the filter found them."""


class DynamicResources(ColumnPlugin):
    name = "DynamicResources"
    no_devices = Status(Code.UNSCHEDULABLE, ("cannot allocate all claims",), name)
    elsewhere = Status(Code.UNSCHEDULABLE, ("resourceclaim not available on the node",), name)

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.in_flight: dict[str, Allocation] = {}
        """Allocations by the claim's uid, from reserve until the API shows them."""

    # --- a pod's claims --------------------------------------------------------------------

    def _claims(self, pod: PodInfo) -> list[Object]:
        """The claims of a pod that it needs. Raises `_Missing`."""
        statuses = {
            s.get("name"): s.get("resourceClaimName")
            for s in (pod.object.get("status") or {}).get("resourceClaimStatuses") or ()
        }
        found = []
        for entry in pod.cls.claims:
            name = entry.get("resourceClaimName")
            if not name:
                if entry.get("name") not in statuses:
                    raise _Missing(f'pod "{pod.key}": ResourceClaim not created yet')
                name = statuses[entry.get("name")]
                if not name:
                    continue  # the template made no claim for this pod
            claim = self.handle.objects.get(RESOURCE, f"{pod.namespace}/{name}")
            if claim is None:
                raise _Missing(f'resourceclaim "{name}" not found')
            if claim["metadata"].get("deletionTimestamp"):
                raise _Missing(f'resourceclaim "{name}" is being deleted')
            found.append(claim)
        return found

    def pre_enqueue(self, pod: PodInfo) -> Status:
        if not pod.cls.claims:
            return SUCCESS
        try:
            self._claims(pod)
        except _Missing as missing:
            return Status(Code.UNRESOLVABLE, (str(missing),), self.name)
        return SUCCESS

    # --- filter ----------------------------------------------------------------------------

    def pre_filter(self, cycle: Cycle) -> Status:
        cycle.data[self.name] = None
        pod = cycle.pod
        if not cycle.cls.claims:
            return SKIP
        try:
            claims = self._claims(pod)
        except _Missing as missing:
            return Status(Code.UNRESOLVABLE, (str(missing),), self.name)
        if not claims:
            return SKIP
        to_allocate = []
        reach: Bools | None = None
        for claim in claims:
            allocation = (claim.get("status") or {}).get("allocation")
            if allocation is not None:
                if not _reserved_for(claim, pod) and len(_reserved(claim)) >= MAX_RESERVED:
                    return Status(Code.UNSCHEDULABLE, ("resourceclaim in use",), self.name)
                if allocation.get("nodeSelector"):
                    selector = compile_required(None, allocation["nodeSelector"])
                    if selector is not None:
                        here = cycle.table.matching(selector, slice(0, cycle.table.size))
                        reach = here if reach is None else reach & here
                continue
            if claim["metadata"].get("uid") in self.in_flight:
                text = f"resource claim {claim['metadata']['name']} is in the process of being allocated"
                return Status(Code.UNSCHEDULABLE, (text,), self.name)
            problem = self._class_problem(claim)
            if problem:
                return Status(Code.UNSCHEDULABLE, (problem,), self.name)
            to_allocate.append(claim)
        allocator = None
        if to_allocate:
            shares = self.handle.minor >= SHARES_SINCE
            allocator = Allocator(to_allocate, self.handle.objects, self._held(), shares)
        cycle.data[self.name] = _State(claims, allocator, reach, {})
        return SUCCESS

    def _class_problem(self, claim: Object) -> str:
        for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
            subs = request.get("firstAvailable")
            for body in subs or (request.get("exactly") or request,):
                name = body.get("deviceClassName") or ""
                label = f"{request.get('name')}/{body.get('name')}" if subs else request.get("name")
                if self.handle.objects.get("deviceclasses", name) is None:
                    return f"request {label}: device class {name} does not exist"
        return ""

    def _held(self) -> list[Object]:
        """The devices of all other allocations, also of those on their way to the API."""
        claims = self.handle.objects.list(RESOURCE)
        for claim in claims:
            if (claim.get("status") or {}).get("allocation"):
                self.in_flight.pop(claim["metadata"].get("uid", ""), None)
        held = [r for claim in claims for r in results_of((claim.get("status") or {}).get("allocation"))]
        for allocation in self.in_flight.values():
            held += results_of(allocation.status)
        return held

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        state: _State | None = cycle.data.get(self.name)
        if state is None:
            return None
        table = cycle.table
        numbers = np.arange(table.size)[rows]
        codes: Ints = np.zeros(numbers.shape[0], np.int64)
        if state.allocator is not None:
            code = cycle.statuses.code(self.no_devices)
            for i, row in enumerate(numbers.tolist()):
                try:
                    found = state.allocator.allocate(table.names[row] or "", dict(table.labels[row]))
                except SelectorFailed as error:
                    failed = Status(Code.UNRESOLVABLE, (str(error),), self.name)
                    codes[i] = cycle.statuses.code(failed)
                    continue
                if found is None:
                    codes[i] = code
                else:
                    state.found[row] = found
        if state.reach is not None:
            codes[~state.reach[rows]] = cycle.statuses.code(self.elsewhere)
        return codes

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> PostFilterResult:
        if self.handle.minor < 34 and not cycle.cls.claims:
            # Devices were not for everybody yet, and other pods heard nothing of them.
            return PostFilterResult(Status(Code.UNSCHEDULABLE, (), self.name))
        if self.name not in cycle.data:
            # Another plugin rejected the pod before this one could prepare.
            return PostFilterResult(Status(Code.ERROR, ("not found",), self.name))
        state: _State | None = cycle.data[self.name]
        for claim in state.claims if state is not None and state.reach is not None else ():
            reserved = _reserved(claim)
            allocated = bool((claim.get("status") or {}).get("allocation"))
            if allocated and (not reserved or (len(reserved) == 1 and _reserved_for(claim, cycle.pod))):
                if self.handle.act is not None:
                    self.handle.act(self._deallocate(claim))
                return PostFilterResult(
                    Status(Code.UNSCHEDULABLE, ("deallocation of ResourceClaim completed",), self.name)
                )
        return PostFilterResult(Status(Code.UNSCHEDULABLE, ("no new claims to deallocate",), self.name))

    async def _deallocate(self, claim: Object) -> None:
        """Give an idle claim back, so that it can be allocated where the pod can go."""
        freed = mutable(claim)
        freed["status"].pop("allocation", None)
        freed["status"].pop("reservedFor", None)
        await self.handle.client.update_status(RESOURCE, freed)

    # --- reserve, bind ---------------------------------------------------------------------

    def reserve(self, cycle: Cycle, node_name: str) -> Status:
        state: _State | None = cycle.data.get(self.name)
        if state is None or state.allocator is None:
            return SUCCESS
        row = cycle.table.index[node_name]
        found = state.found.get(row)
        if found is None:
            return Status(Code.ERROR, ("claim allocation not found for node",), self.name)
        for allocation in found:
            allocation.name_shares(self._new_share)
            self.in_flight[allocation.claim["metadata"].get("uid", "")] = allocation
        cycle.data["Reserve" + self.name] = found
        return SUCCESS

    def _new_share(self) -> str:
        """A UID for a share of a device."""
        return str(UUID(int=self.handle.random.getrandbits(128), version=4))

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        for allocation in cycle.data.pop("Reserve" + self.name, ()):
            self.in_flight.pop(allocation.claim["metadata"].get("uid", ""), None)
        state: _State | None = cycle.data.get(self.name)
        if state is None or self.handle.act is None:
            return
        for claim in state.claims:
            current = self.handle.objects.get(RESOURCE, f"{cycle.pod.namespace}/{claim['metadata']['name']}")
            if current is not None and _reserved_for(current, cycle.pod):
                self.handle.act(self._release(current, cycle.pod))

    async def _release(self, claim: Object, pod: PodInfo) -> None:
        meta = claim["metadata"]
        entry = {"$patch": "delete", "uid": pod.uid}
        body = {"metadata": {"uid": meta.get("uid")}, "status": {"reservedFor": [entry]}}
        await self.handle.client.patch(
            RESOURCE,
            meta["name"],
            meta.get("namespace", ""),
            body,
            patch_type="application/strategic-merge-patch+json",
            subresource="status",
        )

    def has_pre_bind_work(self, cycle: Cycle) -> bool:
        return cycle.data.get(self.name) is not None

    async def pre_bind(self, cycle: Cycle, node_name: str) -> Status:
        state: _State | None = cycle.data.get(self.name)
        if state is None:
            return SUCCESS
        allocations = {a.claim["metadata"].get("uid", ""): a for a in cycle.data.get("Reserve" + self.name, ())}
        for claim in state.claims:
            if _reserved_for(claim, cycle.pod):
                continue
            try:
                await self._bind_claim(claim, allocations.get(claim["metadata"].get("uid", "")), cycle.pod)
            except StatusError as error:
                return Status(Code.ERROR, (error.message,), self.name)
            except _Missing as error:
                return Status(Code.ERROR, (str(error),), self.name)
        return SUCCESS

    async def _bind_claim(self, claim: Object, allocation: Allocation | None, pod: PodInfo) -> None:
        """Write allocation and reservation. Raises `_Missing` when another was faster."""
        client, meta = self.handle.client, claim["metadata"]
        for _ in range(5):
            current = await client.get(RESOURCE, meta["name"], meta.get("namespace", ""))
            if current["metadata"].get("uid") != meta.get("uid"):
                raise _Missing("the claim was replaced")
            held = (current.get("status") or {}).get("allocation")
            if held is None and allocation is None:
                raise _Missing("claim got deallocated elsewhere in the meantime")
            if held is not None and allocation is not None:
                raise _Missing("claim got allocated elsewhere in the meantime")
            new = mutable(current)
            try:
                if allocation is not None and FINALIZER not in (new["metadata"].get("finalizers") or ()):
                    new["metadata"].setdefault("finalizers", []).append(FINALIZER)
                    new = mutable(await client.update(RESOURCE, new))
                status = new.setdefault("status", {})
                if allocation is not None:
                    status["allocation"] = allocation.status
                user = {"resource": "pods", "name": pod.name, "uid": pod.uid}
                status["reservedFor"] = [*(status.get("reservedFor") or ()), user]
                await client.update_status(RESOURCE, new)
                return
            except StatusError as error:
                if error.code != 409:
                    raise
        raise _Missing("the claim changes all the time")

    # --- queueing --------------------------------------------------------------------------

    def events(self) -> tuple[EventHint, ...]:
        def uses_claims(pod: PodInfo, event: ClusterEvent) -> bool:
            return bool(pod.cls.claims)

        return (
            EventHint("ResourceClaim", frozenset({"add", "update", "delete"}), uses_claims),
            EventHint("ResourceSlice", frozenset({"add", "update"}), uses_claims),
            EventHint("DeviceClass", frozenset({"add", "update"}), uses_claims),
            EventHint("UnscheduledPod", frozenset({"claims"}), uses_claims),
            EventHint("Node", frozenset({"add", "labels"}), uses_claims),
        )


def _reserved(claim: Object) -> list[Object]:
    return (claim.get("status") or {}).get("reservedFor") or []


def _reserved_for(claim: Object, pod: PodInfo) -> bool:
    return any(r.get("uid") == pod.uid for r in _reserved(claim))
