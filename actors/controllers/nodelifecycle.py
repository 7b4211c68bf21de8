"""The node lifecycle controller: notices silent nodes, says so, and taints them.

Owns the conditions of nodes whose kubelet has fallen silent, the taints that conditions call for,
readiness of the pods on such nodes, and the `beta.kubernetes.io` labels. Evicting pods is the taint
eviction controller's. Facts: kubernetes pkg/controller/nodelifecycle.

    every 5 s: a node unheard of for 50 s -> conditions Unknown, event, its pods not ready
    next look: -> its zone's queue; 0.1 per second and zone -> taint unreachable:NoExecute
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.client import StatusError
from actors.client._client import STRATEGIC_PATCH
from actors.controllers._nodehealth import (
    FULL,
    NodeHealth,
    Rates,
    ZoneQueue,
    first_sight,
    silenced,
    zone_of,
    zone_state,
)
from actors.controllers._reconcile import Context, Controller
from actors.controllers._taints import NOT_READY, UNREACHABLE, by_node, change_taints, has_taint, key_of
from actors.kernel import handles
from protocol.message import Message
from protocol.objects import (
    Object,
    condition,
    condition_status,
    key,
    labels,
    metadata,
    mutable,
    spec,
    split_key,
    status,
)

__all__ = ["NodeLifecycleController"]

LEASE_NAMESPACE = "kube-node-lease"
EXCLUDE_DISRUPTION = "node.kubernetes.io/exclude-disruption"
TAINT_PERIOD_S = 0.1
NO_EXECUTE = "NoExecute"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
CONDITION_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
MANAGED_TAINTS = frozenset((*CONDITION_TAINTS.values(), UNSCHEDULABLE))
SECONDARY_LABELS = {
    "kubernetes.io/os": "beta.kubernetes.io/os",
    "kubernetes.io/arch": "beta.kubernetes.io/arch",
}


class _Monitor(Message, frozen=True):
    """Look at all nodes."""


class _TaintPass(Message, frozen=True):
    """Let queued nodes through, as far as the rates allow."""


class NodeLifecycleController(Controller):
    """See the module. Keys: `node/NAME` and `pod/NAMESPACE/NAME`."""

    component: ClassVar[str] = "node-controller"
    resources: ClassVar[tuple[str, ...]] = ("nodes", "pods", "leases")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.rates = Rates(**{name: getattr(context.options, name) for name in Rates.__struct_fields__})
        self.health: dict[str, NodeHealth] = {}
        self.known: dict[str, str] = {}  # node -> uid
        self.zones: dict[str, ZoneQueue] = {}
        self._retry_pods: set[str] = set()
        self._monitoring = False
        self._passing = False
        self.on_change("nodes", self._node_changed)
        self.on_change("pods", self._pod_changed)
        self.store("pods").add_index("nodeName", by_node)

    def synced(self) -> None:
        self.every(self.options.node_monitor_period, _Monitor())
        self.ref.tell(_Monitor())

    # --- what changes mean ----------------------------------------------------------------------

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or _tainting(old) != _tainting(new)):
            self.queue.add(f"node/{metadata(new)['name']}")

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        assigned = spec(new).get("nodeName") if new else None
        if assigned and (old is None or spec(old).get("nodeName") != assigned):
            health = self.health.get(assigned)
            if new and health is not None and health.ready is not None and health.ready.get("status") != "True":
                self.queue.add(f"pod/{key(new)}")

    async def reconcile(self, key: str) -> None:
        what, _, name = key.partition("/")
        if what == "pod":
            pod = self.store("pods").get(name)
            health = self.health.get(spec(pod).get("nodeName", "")) if pod else None
            if pod and health and health.ready is not None and health.ready.get("status") != "True":
                await self._mark_not_ready([pod])
            return
        node = self.store("nodes").get(name)
        if node is not None:
            await self._taint_for_scheduling(node)
            await self._complete_labels(node)

    # --- taints and labels that conditions call for ---------------------------------------------

    async def _taint_for_scheduling(self, node: Object) -> None:
        wanted = [
            CONDITION_TAINTS[c["type"], c["status"]]
            for c in status(node).get("conditions") or ()
            if (c.get("type"), c.get("status")) in CONDITION_TAINTS
        ]
        if spec(node).get("unschedulable"):
            wanted.append(UNSCHEDULABLE)
        present = [
            t["key"]
            for t in spec(node).get("taints") or ()
            if t.get("effect") == "NoSchedule" and t.get("key") in MANAGED_TAINTS
        ]
        add = [self._taint(k, "NoSchedule") for k in wanted if k not in present]
        remove = [(k, "NoSchedule") for k in present if k not in wanted]
        if add or remove:
            await change_taints(self.client, metadata(node)["name"], add, remove)

    def _taint(self, key: str, effect: str) -> Object:
        return {"key": key, "effect": effect, "timeAdded": self.clock.rfc3339()}

    async def _complete_labels(self, node: Object) -> None:
        found = labels(node)
        missing = {
            second: found[first]
            for first, second in SECONDARY_LABELS.items()
            if first in found and found.get(second) != found[first]
        }
        if missing:
            body = {"metadata": {"labels": missing}}
            await self.client.patch("nodes", metadata(node)["name"], "", body, patch_type=STRATEGIC_PATCH)

    # --- looking at all nodes -------------------------------------------------------------------

    @handles(_Monitor)
    async def look(self, message: _Monitor) -> None:
        if self._monitoring:
            return
        self._monitoring = True
        try:
            await self._look_at_all()
        except StatusError as error:
            self.log.info("nodes_not_judged", error=error.message)
        finally:
            self._monitoring = False

    async def _look_at_all(self) -> None:
        nodes = list(self.store("nodes"))
        self._note_arrivals(nodes)
        by_zone: dict[str, list[bool]] = {}
        for node in nodes:
            try:
                current = await self._look_at(node)
            except StatusError as error:
                self.log.info("node_health_failed", node=metadata(node)["name"], error=error.message)
                continue
            if EXCLUDE_DISRUPTION not in labels(node):
                by_zone.setdefault(zone_of(node), []).append(current == "True")
        await self._handle_disruption(by_zone, nodes)
        self._start_passes()

    def _note_arrivals(self, nodes: list[Object]) -> None:
        present = {metadata(n)["name"]: n for n in nodes}
        for name, node in present.items():
            self._zone(zone_of(node))
            if name not in self.known:
                self.known[name] = metadata(node).get("uid", "")
                self._node_event(name, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        for name in [n for n in self.known if n not in present]:
            self._node_event(name, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
            del self.known[name]
            self.health.pop(name, None)
            for zone in self.zones.values():
                zone.nodes.pop(name, None)

    def _node_event(self, name: str, reason: str, message: str) -> None:
        about = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.known.get(name, "")}
        self.recorder.event(about, "Normal", reason, message)

    def _zone(self, name: str) -> ZoneQueue:
        zone = self.zones.get(name)
        if zone is None:
            zone = self.zones[name] = ZoneQueue(self.rates.node_eviction_rate, self.clock.monotonic())
        return zone

    async def _look_at(self, node: Object) -> str:
        """Judge one node; returns the status of its Ready condition afterwards."""
        name, now = metadata(node)["name"], self.clock.now()
        health = self.health.get(name)
        if health is None:
            health = self.health[name] = first_sight(node, now)
        health.observe(node, self.store("leases").named(LEASE_NAMESPACE, name), now)
        observed = condition_status(node, "Ready") or "Unknown"
        started = condition(node, "Ready") is not None
        grace_s = self.options.node_monitor_grace_period if started else self.options.node_startup_grace_period
        current = observed if started else ""
        if now > health.probed_at + grace_s:
            node, heard = await self._ask_about(node, health)
            if not heard:
                current = "Unknown"
                await self._silence(node, health)
        if current:
            await self._queue_or_release(node, observed)
            went = current != "True" and observed == "True"
            if went:
                self._node_event(name, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
            if went or (name in self._retry_pods and observed != "True"):
                self._retry_pods.add(name)
                await self._mark_not_ready(list(self.store("pods").by("nodeName", name)))
        self._retry_pods.discard(name)
        return current

    async def _ask_about(self, node: Object, health: NodeHealth) -> tuple[Object, bool]:
        """-> the node as the server has it, and whether it was heard of after all: if we were cut off
        ourselves, our stores are as old as what we hold against the node."""
        name = metadata(node)["name"]
        newest = await self.client.get("nodes", name)
        try:
            lease: Object | None = await self.client.get("leases", name, LEASE_NAMESPACE)
        except StatusError as error:
            if error.code != 404:
                raise
            lease = None
        now = self.clock.now()  # the answer may have been long in coming
        health.observe(newest, lease, now)
        return newest, health.probed_at == now

    async def _silence(self, node: Object, health: NodeHealth) -> None:
        conditions = silenced(node, self.clock.rfc3339())
        if conditions is None:
            return
        changed = mutable(node)
        changed.setdefault("status", {})["conditions"] = conditions
        stored = await self.client.update_status("nodes", changed)
        health.ready = condition(stored, "Ready")

    async def _mark_not_ready(self, pods: list[Object]) -> None:
        """Set Ready to False on pods whose node is not ready; they may still run."""
        now = self.clock.rfc3339()
        for pod in pods:
            ready = condition(pod, "Ready")
            if ready is None or ready.get("status") == "False":
                continue
            namespace, name = split_key(key(pod))
            change = {"type": "Ready", "status": "False", "lastTransitionTime": now}
            body = {"metadata": {"uid": metadata(pod)["uid"]}, "status": {"conditions": [change]}}
            try:
                await self.client.patch("pods", name, namespace, body, patch_type=STRATEGIC_PATCH, subresource="status")
            except StatusError as error:
                if error.code in (404, 409):
                    continue
                raise
            self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    # --- NoExecute taints -----------------------------------------------------------------------

    async def _queue_or_release(self, node: Object, observed: str) -> None:
        name = metadata(node)["name"]
        if observed == "True":
            await self._release(node)
            return
        wanted, opposite = (NOT_READY, UNREACHABLE) if observed == "False" else (UNREACHABLE, NOT_READY)
        if has_taint(node, opposite, NO_EXECUTE):
            # the node suffers already: only the name of the trouble changes, so no rate applies
            await change_taints(self.client, name, [self._taint(wanted, NO_EXECUTE)], [(opposite, NO_EXECUTE)])
        elif not has_taint(node, wanted, NO_EXECUTE):
            self._zone(zone_of(node)).nodes.setdefault(name)

    async def _release(self, node: Object) -> None:
        name = metadata(node)["name"]
        self._zone(zone_of(node)).nodes.pop(name, None)
        unwanted = [(NOT_READY, NO_EXECUTE), (UNREACHABLE, NO_EXECUTE)]
        if any(key_of(t) in unwanted for t in spec(node).get("taints") or ()):
            await change_taints(self.client, name, [], unwanted)

    def _start_passes(self) -> None:
        if not self._passing and self._next_pass_s() is not None:
            self._passing = True
            self.ref.tell(_TaintPass())

    def _next_pass_s(self) -> float | None:
        """When the next queued node may go through, in seconds; None: nobody waits, or may."""
        now = self.clock.monotonic()
        waits = [w for zone in self.zones.values() if (w := zone.wait_s(now)) is not None]
        return min(waits, default=None)

    @handles(_TaintPass)
    async def taint_pass(self, message: _TaintPass) -> None:
        for zone in list(self.zones.values()):
            while (name := zone.take(self.clock.monotonic())) is not None:
                await self._taint_for_execution(zone, name)
        wait_s = self._next_pass_s()
        self._passing = wait_s is not None
        if wait_s is not None:
            self.after(max(TAINT_PERIOD_S, wait_s), _TaintPass())

    async def _taint_for_execution(self, zone: ZoneQueue, name: str) -> None:
        node = self.store("nodes").get(name)
        observed = condition_status(node, "Ready") if node else "True"
        if observed not in ("False", "Unknown"):
            return
        wanted, opposite = (NOT_READY, UNREACHABLE) if observed == "False" else (UNREACHABLE, NOT_READY)
        try:
            await change_taints(self.client, name, [self._taint(wanted, NO_EXECUTE)], [(opposite, NO_EXECUTE)])
        except StatusError as error:
            self.log.info("taint_failed", node=name, error=error.message)
            zone.nodes.setdefault(name)

    # --- zones in trouble -----------------------------------------------------------------------

    async def _handle_disruption(self, by_zone: dict[str, list[bool]], nodes: list[Object]) -> None:
        """Slow down where many nodes of a zone fail, and stop altogether when all nodes of the
        cluster do: then it is the control plane that is cut off."""
        states = {name: zone_state(ready, self.rates.unhealthy_zone_threshold) for name, ready in by_zone.items()}
        was_full = bool(states) and all(self._zone(name).state == FULL for name in states)
        all_full = bool(states) and all(state == FULL for state in states.values())
        now = self.clock.monotonic()
        if all_full:
            if not was_full:
                self.log.warning("full_disruption", nodes=len(nodes))
                for node in nodes:
                    await self._release(node)
            for name in states:
                self.zones[name].set_rate(0.0, now)
                self.zones[name].state = FULL
            for zone in self.zones.values():
                zone.nodes.clear()
            return
        if was_full:
            self.log.warning("full_disruption_over", nodes=len(nodes))
            for health in self.health.values():
                health.probed_at = self.clock.now()
        for name, state in states.items():
            zone = self.zones[name]
            if was_full or zone.state != state:
                zone.set_rate(self.rates.of(state, len(by_zone[name])), now)
                zone.state = state


def _tainting(node: Object) -> tuple[Any, ...]:
    """What of a node decides over its NoSchedule taints and its labels."""
    states = [(c.get("type"), c.get("status")) for c in status(node).get("conditions") or ()]
    return states, spec(node).get("unschedulable"), spec(node).get("taints"), labels(node)
