"""VolumeBinding: nodes from which a pod's volumes can be reached, and volumes for claims without.

https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
A claim whose class waits for its first consumer gets its volume here: an existing one that fits
and can be reached from the node, or one to be provisioned there. The choice is reserved with the
pod's node, written before the pod is bound, and waited for until the controller has bound it.
Volumes are chosen smallest first, as the controller does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, Handle
from actors.scheduler._node_selector import NodeRequirement, NodeTerm
from actors.scheduler._nodes import Bools, Ints, NodeTable, Rows
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler.plugins.volume_restrictions import own_claim
from actors.scheduler.plugins.volumes import (
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    Assumed,
    claim_class,
    claims_of,
    is_bound,
    storage_class,
    storage_of,
    volume_nodes,
    waits_for_consumer,
)
from protocol.api import StatusError
from protocol.objects import mutable
from protocol.selectors import NOTHING, SelectorError, selector_of

__all__ = ["VolumeBinding"]

Object = dict[str, Any]
NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"
NOT_EXISTING = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
BIND_TIMEOUT_S = 600.0
_POLL_S = 0.25


class _Plan(NamedTuple):
    """Per row: index of the volume for each claim in `static` (-1: provision), and the verdict."""

    bound: list[tuple[Object, Object | None]]
    waiting: list[Object]


class _Choice(NamedTuple):
    """What is to be written for one node."""

    static: list[tuple[Object, Object]]
    provision: list[Object]


class VolumeBinding(ColumnPlugin):
    """Args: `bindTimeoutSeconds`."""

    name = "VolumeBinding"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.timeout_s = float(args.get("bindTimeoutSeconds") or BIND_TIMEOUT_S)
        self.assumed = Assumed()
        self._reach: dict[Any, Any] = {}

    # --- filter ----------------------------------------------------------------------------

    def pre_filter(self, cycle: Cycle) -> Status:
        if not cycle.cls.volumes:
            return SKIP
        objects = self.handle.objects
        bound: list[tuple[Object, Object | None]] = []
        waiting: list[Object] = []
        immediate = False
        claims = claims_of(cycle.pod, objects, self.assumed)
        if not claims:
            return SKIP
        for claim in claims:
            problem = _problem(claim.name, claim.ephemeral, claim.object, cycle.pod)
            if problem:
                return Status(Code.UNRESOLVABLE, (problem,), self.name)
            obj = claim.object
            assert obj is not None
            name = (obj.get("spec") or {}).get("volumeName") or ""
            if is_bound(obj):
                bound.append((obj, self.assumed.volume(objects, name)))
            elif waits_for_consumer(objects, obj) and not name:
                waiting.append(obj)
            else:
                immediate = True
        if immediate:
            text = "pod has unbound immediate PersistentVolumeClaims"
            return Status(Code.UNRESOLVABLE, (text,), self.name)
        waiting.sort(key=lambda c: storage_of((c["spec"].get("resources") or {}).get("requests")))
        cycle.data[self.name] = _Plan(bound, waiting)
        return SUCCESS

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        plan: _Plan | None = cycle.data.get(self.name)
        if plan is None:
            return None
        table = cycle.table
        verdicts = {text: np.zeros(table.size, np.bool_) for text in (NODE_CONFLICT, NO_VOLUME, NO_SPACE, NOT_EXISTING)}
        for _, volume in plan.bound:
            if volume is None:
                verdicts[NOT_EXISTING][:] = True
            else:
                verdicts[NODE_CONFLICT] |= ~volume_nodes(volume, table, self._reach)
        if plan.waiting:
            no_volume, no_space = self._unbound(cycle, plan.waiting)
            verdicts[NO_VOLUME] |= no_volume
            verdicts[NO_SPACE] |= no_space
        kinds = sum(v[rows].astype(np.int64) << i for i, v in enumerate(verdicts.values()))
        texts = list(verdicts)
        values, inverse = np.unique(kinds, return_inverse=True)
        codes = []
        for kind in values.tolist():
            reasons = tuple(t for i, t in enumerate(texts) if kind >> i & 1)
            codes.append(cycle.statuses.code(Status(Code.UNRESOLVABLE, reasons, self.name)) if reasons else 0)
        found: Ints = np.array(codes, np.int64)[inverse]
        return found

    def _unbound(self, cycle: Cycle, claims: list[Object]) -> tuple[Bools, Bools]:
        """Rows where a claim finds no volume and none can be made; rows without space for it."""
        table = cycle.table
        missing: Bools = np.zeros(table.size, np.bool_)
        full: Bools = np.zeros(table.size, np.bool_)
        taken: list[tuple[str, Bools]] = []
        for claim in claims:
            selected = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE)
            if selected:
                missing |= np.array([n != selected for n in table.names], np.bool_)
            found: Bools = np.zeros(table.size, np.bool_)
            if not selected:
                for volume in self._candidates(claim):
                    reach = volume_nodes(volume, table, self._reach) & ~found
                    for name, rows in taken:
                        if name == volume["metadata"]["name"]:
                            reach = reach & ~rows
                    if reach.any():
                        taken.append((volume["metadata"]["name"], reach))
                        found |= reach
            can, space = self._provisionable(claim, table)
            missing |= ~found & ~can
            full |= ~found & can & ~space
        return missing, full

    def _candidates(self, claim: Object) -> list[Object]:
        """Free volumes that suit a claim, wherever they are, smallest first."""
        spec = claim.get("spec") or {}
        meta = claim["metadata"]
        wanted = storage_of((spec.get("resources") or {}).get("requests"))
        modes = set(spec.get("accessModes") or ())
        try:
            selector = selector_of(spec["selector"]) if spec.get("selector") else None
        except SelectorError:
            selector = NOTHING
        found = []
        for volume in self.assumed.all_volumes(self.handle.objects):
            body = volume.get("spec") or {}
            ref = body.get("claimRef") or {}
            mine = (
                ref.get("namespace") == meta.get("namespace")
                and ref.get("name") == meta.get("name")
                and ref.get("uid") in (None, "", meta.get("uid"))
            )
            if ref and not mine:
                continue
            if volume["metadata"].get("deletionTimestamp"):
                continue
            if not mine and (volume.get("status") or {}).get("phase") not in ("Available", None):
                continue
            if (body.get("storageClassName") or "") != claim_class(claim):
                continue
            if (body.get("volumeMode") or "Filesystem") != (spec.get("volumeMode") or "Filesystem"):
                continue
            if not modes <= set(body.get("accessModes") or ()):
                continue
            if selector is not None and not selector.matches(volume["metadata"].get("labels")):
                continue
            size = storage_of(body.get("capacity"))
            if size >= wanted:
                found.append((not mine, size, volume["metadata"]["name"], volume))
        return [entry[3] for entry in sorted(found, key=lambda e: e[:3])]

    def _provisionable(self, claim: Object, table: NodeTable) -> tuple[Bools, Bools]:
        """Rows where a volume can be made for a claim at all, and where there is space for it."""
        nowhere: Bools = np.zeros(table.size, np.bool_)
        found = storage_class(self.handle.objects, claim_class(claim))
        if found is None or not found.get("provisioner") or found["provisioner"] == NO_PROVISIONER:
            return nowhere, nowhere
        allowed: Bools = np.ones(table.size, np.bool_)
        topologies = found.get("allowedTopologies") or ()
        if topologies:
            allowed = np.zeros(table.size, np.bool_)
            for topology in topologies:
                term = NodeTerm(
                    tuple(
                        NodeRequirement(e.get("key", ""), "In", tuple(e.get("values") or ()))
                        for e in topology.get("matchLabelExpressions") or ()
                    )
                )
                allowed |= table.matching_term(term, slice(0, table.size))
        return allowed, self._space(claim, found, table)

    def _space(self, claim: Object, storage: Object, table: NodeTable) -> Bools:
        """Rows with capacity, where the driver publishes it (CSIStorageCapacity)."""
        everywhere: Bools = np.ones(table.size, np.bool_)
        driver = self.handle.objects.get("csidrivers", storage["provisioner"])
        if not ((driver or {}).get("spec") or {}).get("storageCapacity"):
            return everywhere
        wanted = storage_of((claim["spec"].get("resources") or {}).get("requests"))
        space: Bools = np.zeros(table.size, np.bool_)
        for capacity in self.handle.objects.list("csistoragecapacities"):
            if capacity.get("storageClassName") != storage["metadata"]["name"]:
                continue
            limit = capacity.get("maximumVolumeSize") or capacity.get("capacity")
            if limit is None or storage_of({"storage": limit}) < wanted:
                continue
            topology = capacity.get("nodeTopology")
            if topology is None:
                continue
            for row, labels in enumerate(table.labels):
                if not space[row] and selector_of(topology).matches(labels):
                    space[row] = True
        return space

    # --- reserve ---------------------------------------------------------------------------

    def reserve(self, cycle: Cycle, node_name: str) -> Status:
        plan: _Plan | None = cycle.data.get(self.name)
        if plan is None or not plan.waiting:
            return SUCCESS
        table = cycle.table
        row = table.index[node_name]
        static: list[tuple[Object, Object]] = []
        provision: list[Object] = []
        used: set[str] = set()
        for claim in plan.waiting:
            chosen = None
            for volume in self._candidates(claim):
                name = volume["metadata"]["name"]
                if name not in used and volume_nodes(volume, table, self._reach)[row]:
                    chosen = volume
                    break
            if chosen is not None:
                used.add(chosen["metadata"]["name"])
                static.append((claim, _for_claim(chosen, claim)))
            else:
                provision.append(_on_node(claim, node_name))
        for _, volume in static:
            self.assumed.volumes[volume["metadata"]["name"]] = volume
        for claim in provision:
            meta = claim["metadata"]
            self.assumed.claims[f"{meta.get('namespace', '')}/{meta['name']}"] = claim
        cycle.data["Reserve" + self.name] = _Choice(static, provision)
        return SUCCESS

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        choice: _Choice | None = cycle.data.pop("Reserve" + self.name, None)
        if choice is not None:
            self.assumed.forget(choice.provision, [v for _, v in choice.static])

    # --- pre-bind --------------------------------------------------------------------------

    def has_pre_bind_work(self, cycle: Cycle) -> bool:
        return "Reserve" + self.name in cycle.data

    async def pre_bind(self, cycle: Cycle, node_name: str) -> Status:
        choice: _Choice | None = cycle.data.get("Reserve" + self.name)
        if choice is None:
            return SUCCESS
        client = self.handle.client
        try:
            for _, volume in choice.static:
                await client.update("persistentvolumes", volume)
            for claim in choice.provision:
                await client.update("persistentvolumeclaims", claim)
        except StatusError as error:
            return Status(Code.ERROR, (f"binding volumes: {error.message}",), self.name)
        deadline = self.handle.now() + self.timeout_s
        while not self._all_bound(cycle.pod):
            if self.handle.now() >= deadline:
                return Status(Code.ERROR, ("binding volumes: context deadline exceeded",), self.name)
            for claim in choice.provision:
                seen = self._seen(claim)
                if seen is None:
                    return Status(Code.ERROR, ("binding volumes: the claim was deleted",), self.name)
                selected = (seen["metadata"].get("annotations") or {}).get(SELECTED_NODE)
                if selected is None and _moved_on(seen, claim) and not is_bound(seen):
                    # The provisioner gave up on this node: another may do.
                    text = f'binding volumes: selectedNode annotation reset for PVC "{claim["metadata"]["name"]}"'
                    return Status(Code.ERROR, (text,), self.name)
            await self.handle.sleep(_POLL_S)
        return SUCCESS

    def _seen(self, claim: Object) -> Object | None:
        meta = claim["metadata"]
        return self.handle.objects.get("persistentvolumeclaims", f"{meta.get('namespace', '')}/{meta['name']}")

    def _all_bound(self, pod: PodInfo) -> bool:
        objects = self.handle.objects
        return all(c.object is not None and is_bound(c.object) for c in claims_of(pod, objects))

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("StorageClass", frozenset({"add", "update"})),
            EventHint("PersistentVolumeClaim", frozenset({"add", "update"}), own_claim),
            EventHint("PersistentVolume", frozenset({"add", "update"})),
            EventHint("Node", frozenset({"add", "labels"})),
            EventHint("CSINode", frozenset({"add", "update"})),
            EventHint("CSIDriver", frozenset({"update"})),
            EventHint("CSIStorageCapacity", frozenset({"add", "update"})),
        )


def _problem(name: str, ephemeral: bool, claim: Object | None, pod: PodInfo) -> str:
    """Why a claim cannot be used at all; empty if it can."""
    if claim is None:
        if ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if (claim.get("status") or {}).get("phase") == "Lost":
        volume = (claim.get("spec") or {}).get("volumeName") or ""
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
    if claim["metadata"].get("deletionTimestamp"):
        return f'persistentvolumeclaim "{name}" is being deleted'
    if ephemeral:
        owners = claim["metadata"].get("ownerReferences") or ()
        if not any(o.get("uid") == pod.uid and o.get("controller") for o in owners):
            return f"PVC {pod.namespace}/{name} was not created for pod {pod.key} (pod is not owner)"
    return ""


def _moved_on(seen: Object, written: Object) -> bool:
    return bool(seen["metadata"].get("resourceVersion") != written["metadata"].get("resourceVersion"))


def _for_claim(volume: Object, claim: Object) -> Object:
    """A volume, set aside for a claim."""
    made: Object = mutable(volume)
    meta = claim["metadata"]
    made["spec"]["claimRef"] = {
        **(made["spec"].get("claimRef") or {}),
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "uid": meta.get("uid", ""),
        "resourceVersion": meta.get("resourceVersion", ""),
    }
    made["metadata"].setdefault("annotations", {})[BOUND_BY_CONTROLLER] = "yes"
    return made


def _on_node(claim: Object, node_name: str) -> Object:
    """A claim for which a volume is to be made that the node can reach."""
    made: Object = mutable(claim)
    made["metadata"].setdefault("annotations", {})[SELECTED_NODE] = node_name
    return made
