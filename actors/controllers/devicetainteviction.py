"""The device taint eviction controller: pods leave devices whose NoExecute taints their claims do not
tolerate.

Owns the timing of these deletions, the condition that explains them, and the condition
`EvictionInProgress` of DeviceTaintRules. Taints come from ResourceSlices (from 1.36 on) and from
DeviceTaintRules (served by default from 1.37 on). Facts: kubernetes pkg/controller/devicetainteviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

from actors.client import StatusError
from actors.client._client import STRATEGIC_PATCH
from actors.controllers._pods import condition_patch, epoch, is_finished
from actors.controllers._reconcile import Context, Controller
from protocol.objects import (
    Object,
    condition,
    deleting,
    key,
    metadata,
    mutable,
    set_condition,
    spec,
    split_key,
    status,
)

__all__ = ["DeviceTaintEvictionController"]

CLAIMS, SLICES = "resourceclaims", "resourceslices"
RULES = "devicetaintrules.v1.resource.k8s.io"
NO_EXECUTE = "NoExecute"
IN_PROGRESS = "EvictionInProgress"
STATUS_PERIOD_S = 10.0
REASON = "DeviceTaintManagerEviction"

Device = tuple[str, str, str]
"""Driver, pool, device."""


class Eviction(NamedTuple):
    """When a pod has to go (seconds since the epoch), and the names of the rules that say so."""

    at: float
    rules: frozenset[str]


class DeviceTaintEvictionController(Controller):
    """See the module. Keys: `pod/NAMESPACE/NAME`, `rule/NAME`."""

    component: ClassVar[str] = "device-taint-eviction"
    resources: ClassVar[tuple[str, ...]] = ("pods", CLAIMS, SLICES, RULES)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.evicted: dict[str, int] = {}  # rule's uid -> pods that went because of it
        self._marked: set[str] = set()
        self.on_change("pods", self._pod_changed)
        self.on_change(CLAIMS, self._claim_changed)
        self.on_change(SLICES, self._slice_changed)
        self.on_change(RULES, self._rule_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if spec(new or old or {}).get("resourceClaims"):
            self.queue.add(f"pod/{key(new or old or {})}")

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        for claim in (old, new):
            if claim is not None:
                self._look_at_users(claim)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        if any(_taints_of(slice) for slice in (old, new) if slice is not None):
            for claim in self.store(CLAIMS):
                self._look_at_users(claim)

    def _rule_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and spec(old) == spec(new):
            return
        for claim in self.store(CLAIMS):
            self._look_at_users(claim)
        if new is not None:
            self.queue.add(f"rule/{metadata(new)['name']}")
        elif old is not None:
            self.evicted.pop(metadata(old).get("uid", ""), None)

    def _look_at_users(self, claim: Object) -> None:
        for user in status(claim).get("reservedFor") or ():
            if user.get("resource") == "pods" and not user.get("apiGroup"):
                self.queue.add(f"pod/{metadata(claim)['namespace']}/{user['name']}")

    async def reconcile(self, key: str) -> None:
        what, _, name = key.partition("/")
        if what == "pod":
            await self._look_at_pod(name)
        else:
            await self._look_at_rule(name)

    # --- pods -----------------------------------------------------------------------------------

    async def _look_at_pod(self, pod_key: str) -> None:
        pod = self.store("pods").get(pod_key)
        if pod is None or deleting(pod) or is_finished(pod):
            self._marked.discard(pod_key)
            return
        eviction = self._eviction(pod, list(self.store(RULES)))
        if eviction is None:
            if pod_key in self._marked:
                self._marked.discard(pod_key)
                self.recorder.event(pod, "Normal", REASON, "Cancelling deletion")
            return
        self._marked.add(pod_key)
        left_s = eviction.at - self.clock.now()
        if left_s > 0:
            self.queue.add_after(f"pod/{pod_key}", left_s)
            return
        await self._evict(pod_key, metadata(pod)["uid"])
        self._marked.discard(pod_key)
        for rule in self.store(RULES):
            if metadata(rule)["name"] in eviction.rules:
                uid = metadata(rule)["uid"]
                self.evicted[uid] = self.evicted.get(uid, 0) + 1
                self.queue.add_after(f"rule/{metadata(rule)['name']}", STATUS_PERIOD_S)

    async def _evict(self, pod_key: str, uid: str) -> None:
        namespace, name = split_key(pod_key)
        try:
            pod = await self.client.get("pods", name, namespace)
            if metadata(pod)["uid"] != uid or deleting(pod):
                return
            self.recorder.event(pod, "Normal", REASON, "Marking for deletion")
            target = condition(pod, "DisruptionTarget")
            if target is None or target.get("status") != "True":
                change = {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByDeviceTaintManager",
                    "message": "Device Taint manager: deleting due to NoExecute taint",
                    "lastTransitionTime": self.clock.rfc3339(),
                }
                body = condition_patch(pod, change)
                await self.client.patch("pods", name, namespace, body, patch_type=STRATEGIC_PATCH, subresource="status")
            await self.client.delete("pods", name, namespace, uid=uid)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    def _eviction(self, pod: Object, rules: list[Object]) -> Eviction | None:
        """When the first of the pod's claims wants it gone."""
        found = [e for claim in self._claims_of(pod) if (e := self._claim_eviction(claim, rules)) is not None]
        return min(found, default=None)

    def _claims_of(self, pod: Object) -> Iterator[Object]:
        noted = {s["name"]: s.get("resourceClaimName") for s in status(pod).get("resourceClaimStatuses") or ()}
        for wanted in spec(pod).get("resourceClaims") or ():
            name = wanted.get("resourceClaimName") or noted.get(wanted["name"])
            claim = self.store(CLAIMS).named(metadata(pod)["namespace"], name) if name else None
            users = status(claim).get("reservedFor") or () if claim is not None else ()
            if claim is not None and any(user.get("uid") == metadata(pod)["uid"] for user in users):
                yield claim

    def _claim_eviction(self, claim: Object, rules: list[Object]) -> Eviction | None:
        at: float | None = None
        because: set[str] = set()
        for result in _results(claim):
            device = (result.get("driver", ""), result.get("pool", ""), result.get("device", ""))
            for taint, rule in self._taints(device, rules):
                tolerated_s = _tolerated_s(taint, result.get("tolerations") or ())
                if tolerated_s is None:
                    continue
                since = epoch(taint["timeAdded"]) if taint.get("timeAdded") else self.clock.now()
                at = since + tolerated_s if at is None else min(at, since + tolerated_s)
                if rule:
                    because.add(rule)
        return None if at is None else Eviction(at, frozenset(because))

    def _taints(self, device: Device, rules: list[Object]) -> Iterator[tuple[Object, str]]:
        """The NoExecute taints of a device, each with the name of the rule it is from, if of one."""
        for one in self._devices(device[0], device[1]):
            if one.get("name") == device[2]:
                for taint in one.get("taints") or ():
                    if taint.get("effect") == NO_EXECUTE:
                        yield taint, ""
        for rule in rules:
            taint = spec(rule).get("taint") or {}
            if taint.get("effect") == NO_EXECUTE and _selects(rule, device):
                yield taint, metadata(rule)["name"]

    def _devices(self, driver: str, pool: str) -> Iterator[Object]:
        """The devices of a pool, as its newest generation of slices has them."""
        slices = [
            s
            for s in self.store(SLICES)
            if spec(s).get("driver") == driver and (spec(s).get("pool") or {}).get("name") == pool
        ]
        newest = max((_generation(s) for s in slices), default=0)
        for slice in slices:
            if _generation(slice) == newest:
                yield from spec(slice).get("devices") or ()

    # --- rules ----------------------------------------------------------------------------------

    async def _look_at_rule(self, name: str) -> None:
        rule = self.store(RULES).get(name)
        if rule is None:
            return
        present = condition(rule, IN_PROGRESS)
        generation = metadata(rule).get("generation", 0)
        if present is not None and present.get("observedGeneration") == generation:
            left_s = epoch(present["lastTransitionTime"]) + STATUS_PERIOD_S - self.clock.now()
            if left_s > 0:
                self.queue.add_after(f"rule/{name}", left_s)
                return
        now = self.clock.rfc3339()
        wanted = {"type": IN_PROGRESS, **self._progress(rule), "observedGeneration": generation}
        if present is not None and {**present, "lastTransitionTime": ""} == {**wanted, "lastTransitionTime": ""}:
            return
        changed = mutable(rule)
        conditions = changed.setdefault("status", {}).setdefault("conditions", [])
        set_condition(conditions, {**wanted, "lastTransitionTime": now}, now)
        for entry in conditions:
            if entry["type"] == IN_PROGRESS:
                entry["lastTransitionTime"] = now  # of any change: it paces the next
        await self.client.update_status(RULES, changed)
        if wanted["status"] == "True":
            self.queue.add_after(f"rule/{name}", STATUS_PERIOD_S)

    def _progress(self, rule: Object) -> Object:
        """Status, reason and message of the condition."""
        taint = spec(rule).get("taint") or {}
        gone = self.evicted.get(metadata(rule)["uid"], 0)
        after = [f"{_pods(gone)} evicted since starting the controller."] if gone else []
        if taint.get("effect") == NO_EXECUTE:
            pods, spaces = self._pending(rule, [rule])
            if pods:
                verb = "needs" if pods == 1 else "need"
                text = f"{_pods(pods)} {verb} to be evicted in {_spaces(spaces)}."
                return {"status": "True", "reason": "PodsPendingEviction", "message": " ".join([text, *after])}
            return {"status": "False", "reason": "Completed" if gone else "NotStarted", "message": " ".join(after)}
        if taint.get("effect") == "None":
            return {"status": "False", "reason": "NoEffect", "message": " ".join([self._foretold(rule), *after])}
        text = "Eviction only happens for the NoExecute effect."
        return {"status": "False", "reason": "OtherEffect", "message": " ".join([text, *after])}

    def _foretold(self, rule: Object) -> str:
        """What the rule would do."""
        as_if = {**rule, "spec": {**spec(rule), "taint": {**spec(rule)["taint"], "effect": NO_EXECUTE}}}
        pods, spaces = self._pending(rule, [as_if])
        pools = {(spec(s).get("driver", ""), (spec(s).get("pool") or {}).get("name", "")) for s in self.store(SLICES)}
        published = sum(
            _selects(rule, (driver, pool, device.get("name", "")))
            for driver, pool in pools
            for device in self._devices(driver, pool)
        )
        allocated = sum(
            _selects(rule, (r.get("driver", ""), r.get("pool", ""), r.get("device", "")))
            for claim in self.store(CLAIMS)
            for r in _results(claim)
        )
        return (
            f"{_counted(published, 'published device')} selected. {_counted(allocated, 'allocated device')} selected. "
            f"{_pods(pods)} would be evicted in {_spaces(spaces)} if the effect was NoExecute. This information will "
            "not be updated again. Recreate the DeviceTaintRule to trigger an update."
        )

    def _pending(self, rule: Object, rules: list[Object]) -> tuple[int, int]:
        """How many pods wait for their eviction by a rule, and in how many namespaces."""
        name = metadata(rule)["name"]
        waiting = [
            metadata(pod)["namespace"]
            for pod in self.store("pods")
            if spec(pod).get("resourceClaims")
            and not deleting(pod)
            and (eviction := self._eviction(pod, rules)) is not None
            and name in eviction.rules
        ]
        return len(waiting), len(set(waiting))


def _results(claim: Object) -> Iterable[Object]:
    return ((status(claim).get("allocation") or {}).get("devices") or {}).get("results") or ()


def _generation(slice: Object) -> int:
    return int((spec(slice).get("pool") or {}).get("generation") or 0)


def _taints_of(slice: Object) -> list[Object]:
    return [t for d in spec(slice).get("devices") or () for t in d.get("taints") or () if t.get("effect") == NO_EXECUTE]


def _selects(rule: Object, device: Device) -> bool:
    selector = spec(rule).get("deviceSelector")
    if selector is None:
        return False
    return all(selector.get(field) in (None, have) for field, have in zip(("driver", "pool", "device"), device))


def _tolerated_s(taint: Object, tolerations: Iterable[Object]) -> float | None:
    """For how long a taint is put up with; None for ever."""
    shortest: float | None = None
    for toleration in tolerations:
        if toleration.get("effect") != NO_EXECUTE or not _tolerates(toleration, taint):
            continue
        seconds = toleration.get("tolerationSeconds")
        if seconds is None:
            return None
        shortest = max(0.0, seconds) if shortest is None else min(shortest, max(0.0, seconds))
    return shortest or 0.0


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool((toleration.get("value") or "") == (taint.get("value") or ""))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _pods(number: int) -> str:
    return _counted(number, "pod")


def _spaces(number: int) -> str:
    return "1 namespace" if number == 1 else f"{number} different namespaces"
