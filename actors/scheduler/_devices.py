"""Choosing devices for claims on one node.

Structured parameters as in https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/ :
drivers publish their devices in ResourceSlices, a claim asks for some by class, selectors, counts
and constraints. Owns the search: depth first over the requests, back when a constraint fails. It
knows no pods and changes nothing. Of devices that are given out in part it takes shares (`_device_shares`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.scheduler._device_counters import Counters
from actors.scheduler._device_selectors import attribute, selects
from actors.scheduler._device_shares import Consumed, Shares, consumption, shared
from actors.scheduler._node_selector import compile_required
from actors.scheduler._objects import Objects

__all__ = ["Allocation", "Allocator", "DeviceId", "results_of"]

Object = dict[str, Any]
MAX_STEPS = 100_000
"""Bound on the search on one node; a claim that needs more counts as not allocatable there."""


class DeviceId(NamedTuple):
    driver: str
    pool: str
    device: str


class _Device(NamedTuple):
    id: DeviceId
    body: Object
    local: bool
    """Whether only its node can use it."""
    shared: bool
    """Whether it is given out in part."""


class _Request(NamedTuple):
    """One request (or alternative) of a claim, ready to be met."""

    name: str
    parent: str
    body: Object
    device_class: Object

    @property
    def admin(self) -> bool:
        return bool(self.body.get("adminAccess"))

    @property
    def everything(self) -> bool:
        return self.body.get("allocationMode") == "All"

    @property
    def wanted(self) -> int:
        return int(self.body.get("count") or 1)


@dataclass(slots=True)
class Allocation:
    """What a claim gets on a node: `status` is its `status.allocation`. Who makes it his own names the shares."""

    claim: Object
    status: Object

    def name_shares(self, new_id: Callable[[], str]) -> None:
        """Give each share of a device its `shareID`."""
        for result in results_of(self.status):
            if "consumedCapacity" in result:
                result["shareID"] = new_id()


def allocated_devices(results: Iterable[Object]) -> set[DeviceId]:
    """Devices that are held exclusively."""
    return {
        DeviceId(result.get("driver", ""), result.get("pool", ""), result.get("device", ""))
        for result in results
        if not result.get("adminAccess") and not result.get("shareID")
    }


def results_of(allocation: Object | None) -> list[Object]:
    """The devices that an allocation names."""
    found: list[Object] = ((allocation or {}).get("devices") or {}).get("results") or []
    return found


def _pools(slices: list[Object]) -> list[Object]:
    """Slices of the newest generation of each pool, of pools that are complete."""
    newest: dict[tuple[str, str], int] = {}
    for piece in slices:
        spec = piece.get("spec") or {}
        pool = spec.get("pool") or {}
        key = (spec.get("driver", ""), pool.get("name", ""))
        newest[key] = max(newest.get(key, 0), int(pool.get("generation") or 0))
    current: dict[tuple[str, str], list[Object]] = {}
    for piece in slices:
        spec = piece.get("spec") or {}
        pool = spec.get("pool") or {}
        key = (spec.get("driver", ""), pool.get("name", ""))
        if int(pool.get("generation") or 0) == newest[key]:
            current.setdefault(key, []).append(piece)
    return [
        piece
        for pieces in current.values()
        if len(pieces) >= int((pieces[0]["spec"].get("pool") or {}).get("resourceSliceCount") or 1)
        for piece in pieces
    ]


class Allocator:
    """Allocates claims together. `held`: the results of other allocations. `shares`: whether devices may be
    given out in part (the gate DRAConsumableCapacity)."""

    def __init__(self, claims: list[Object], objects: Objects, held: Iterable[Object] = (), shares: bool = True) -> None:
        self.claims = claims
        self.objects = objects
        held = list(held)
        self.taken = allocated_devices(held)
        self._gives_shares = shares
        self._shares = Shares(held)
        self._slices = _pools(objects.list("resourceslices"))
        self._counters = Counters(self._slices, {*self.taken, *self._shares.devices()})
        self._verdicts: dict[tuple[int, DeviceId], bool] = {}
        self._steps = 0

    # --- devices of a node -----------------------------------------------------------------

    def _devices(self, node: str, labels: Object) -> list[_Device]:
        found = []
        for piece in self._slices:
            spec = piece["spec"]
            everywhere = self._reaches(spec, node, labels)
            per_device = bool(spec.get("perDeviceNodeSelection"))
            if not everywhere and not per_device:
                continue
            for device in spec.get("devices") or ():
                body = device.get("basic") or device
                if per_device and not self._reaches(body, node, labels):
                    continue
                if shared(body) and not self._gives_shares:
                    continue
                place = body if per_device else spec
                identity = DeviceId(
                    spec.get("driver", ""), (spec.get("pool") or {}).get("name", ""), device.get("name", "")
                )
                found.append(_Device(identity, body, not place.get("allNodes"), shared(body)))
        return found

    @staticmethod
    def _reaches(place: Object, node: str, labels: Object) -> bool:
        if place.get("allNodes"):
            return True
        if place.get("nodeName"):
            return bool(place["nodeName"] == node)
        selector = place.get("nodeSelector")
        if selector is None:
            return False
        compiled = compile_required(None, selector)
        return compiled is not None and compiled.matches(labels, node)

    # --- requests --------------------------------------------------------------------------

    def _alternatives(self, claim: Object) -> list[list[_Request]]:
        """Per request of a claim, the ways to meet it in order of preference."""
        found = []
        for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
            name = request.get("name", "")
            listed = request.get("firstAvailable")
            if listed:
                ways = [(f"{name}/{sub.get('name', '')}", sub) for sub in listed]
            else:
                ways = [(name, request.get("exactly") or request)]
            found.append(
                [
                    _Request(full, name, body, self.objects.get("deviceclasses", body.get("deviceClassName", "")) or {})
                    for full, body in ways
                ]
            )
        return found

    def _suits(self, request: _Request, device: _Device) -> bool:
        key = (id(request.body), device.id)
        known = self._verdicts.get(key)
        if known is None:
            selectors = [
                *((request.device_class.get("spec") or {}).get("selectors") or ()),
                *(request.body.get("selectors") or ()),
            ]
            known = (
                _tolerated(request.body, device.body)
                and all(
                    selects((s.get("cel") or {}).get("expression", ""), device.body, device.id.driver)
                    for s in selectors
                )
                and (not self._gives_shares or consumption(request.body, device.body) is not None)
            )
            self._verdicts[key] = known
        return known

    # --- the search ------------------------------------------------------------------------

    def allocate(self, node: str, labels: Object) -> list[Allocation] | None:
        """One allocation per claim, in order; None if the node cannot serve them all. Raises
        `SelectorFailed`."""
        devices = self._devices(node, labels)
        self._steps = 0
        chosen: list[list[tuple[_Request, _Device]]] = [[] for _ in self.claims]
        used: set[DeviceId] = set()
        plan = [(i, ways) for i, claim in enumerate(self.claims) for ways in self._alternatives(claim)]

        def meet(at: int) -> bool:
            if at == len(plan):
                return True
            index, ways = plan[at]
            return any(self._meet_one(index, way, devices, used, chosen, lambda: meet(at + 1)) for way in ways)

        if not meet(0):
            return None
        for picks in chosen:  # other nodes are judged as if this one were not chosen
            for request, device in picks:
                if not request.admin:
                    self._give_back(request, device)
        return [self._result(claim, picks, node) for claim, picks in zip(self.claims, chosen, strict=True)]

    def _take(self, request: _Request, device: _Device) -> bool:
        """Let a request have a device, or its share of it: what it needs of the pool's counters is taken
        by the first who has one."""
        if not device.shared:
            return self._counters.take(device.id[:2], device.body)
        amounts = self._amounts(request, device)
        first = not self._shares.held(device.id)
        if first and not self._counters.take(device.id[:2], device.body):
            return False
        if self._shares.take(device.id, device.body, amounts):
            return True
        if first:
            self._counters.give_back(device.id[:2], device.body)
        return False

    def _give_back(self, request: _Request, device: _Device) -> None:
        """Undo a `_take` that succeeded."""
        if device.shared:
            self._shares.give_back(device.id, self._amounts(request, device))
            if self._shares.held(device.id):
                return
        self._counters.give_back(device.id[:2], device.body)

    @staticmethod
    def _amounts(request: _Request, device: _Device) -> Consumed:
        return consumption(request.body, device.body) or {}

    def _meet_one(
        self,
        index: int,
        request: _Request,
        devices: list[_Device],
        used: set[DeviceId],
        chosen: list[list[tuple[_Request, _Device]]],
        rest: Callable[[], bool],
    ) -> bool:
        suitable = [d for d in devices if self._suits(request, d)]
        free = [d for d in suitable if request.admin or d.id not in self.taken]
        picks = chosen[index]
        constraints = ((self.claims[index].get("spec") or {}).get("devices") or {}).get("constraints") or ()
        if request.everything:
            if not suitable or len(free) < len(suitable):
                return False
            count = len(suitable)
        else:
            count = request.wanted

        several = any(device.shared for device in free)

        def pick(start: int, left: int) -> bool:
            self._steps += 1
            if self._steps > MAX_STEPS:
                return False
            if left == 0:
                return rest()
            for i in range(start, len(free) if several else len(free) - left + 1):
                device = free[i]
                if device.id in used and not request.admin:
                    continue
                if not request.admin and not self._take(request, device):
                    continue
                picks.append((request, device))
                if all(_constraint_holds(c, picks) for c in constraints):
                    alone = not request.admin and not device.shared
                    if alone:
                        used.add(device.id)
                    if pick(i if device.shared and not request.everything else i + 1, left - 1):
                        return True
                    if alone:
                        used.discard(device.id)
                picks.pop()
                if not request.admin:
                    self._give_back(request, device)
            return False

        return pick(0, count)

    def _result(self, claim: Object, picks: list[tuple[_Request, _Device]], node: str) -> Allocation:
        results = []
        for request, device in picks:
            result: Object = {
                "request": request.name,
                "driver": device.id.driver,
                "pool": device.id.pool,
                "device": device.id.device,
            }
            if request.admin:
                result["adminAccess"] = True
            elif device.shared:
                result["consumedCapacity"] = self._amounts(request, device)
            if request.body.get("tolerations"):
                result["tolerations"] = request.body["tolerations"]
            results.append(result)
        status: Object = {"devices": {"results": results}}
        config = list(_config(claim, picks))
        if config:
            status["devices"]["config"] = config
        if any(device.local for _, device in picks):
            fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
            status["nodeSelector"] = {"nodeSelectorTerms": [{"matchFields": fields}]}
        return Allocation(claim, status)


def _config(claim: Object, picks: list[tuple[_Request, _Device]]) -> Iterator[Object]:
    """Configuration for the drivers, of the classes and of the claim."""
    seen = set()
    for request, _ in picks:
        if request.name in seen:
            continue
        seen.add(request.name)
        for entry in (request.device_class.get("spec") or {}).get("config") or ():
            yield {**entry, "source": "FromClass", "requests": [request.name]}
    for entry in ((claim.get("spec") or {}).get("devices") or {}).get("config") or ():
        wanted = entry.get("requests") or []
        if not wanted or any(r.name in wanted or r.parent in wanted for r, _ in picks):
            yield {**entry, "source": "FromClaim"}


def _constraint_holds(constraint: Object, picks: list[tuple[_Request, _Device]]) -> bool:
    wanted = constraint.get("requests") or ()
    concerned = [d for r, d in picks if not wanted or r.name in wanted or r.parent in wanted]
    name = constraint.get("matchAttribute")
    if name:
        values = [attribute(d.body, d.id.driver, name) for d in concerned]
        return all(v is not None and v == values[0] for v in values)
    name = constraint.get("distinctAttribute")
    if name:
        values = [attribute(d.body, d.id.driver, name) for d in concerned]
        return None not in values and len(set(values)) == len(values)
    return True


def _tolerated(request: Object, device: Object) -> bool:
    """Whether a request puts up with a device's taints."""
    for taint in device.get("taints") or ():
        if taint.get("effect") not in ("NoSchedule", "NoExecute"):
            continue
        if not any(_tolerates(t, taint) for t in request.get("tolerations") or ()):
            return False
    return True


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool((toleration.get("value") or "") == (taint.get("value") or ""))
