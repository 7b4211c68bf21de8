"""The disruption controller: what a PodDisruptionBudget allows at this moment.

The API server's eviction subresource spends what this controller computes: it writes each pod that
it lets go into `status.disruptedPods`, where it counts as gone until it is, or for two minutes.
https://kubernetes.io/docs/tasks/run-application/configure-pdb/ , upstream's `pkg/controller/disruption`.
"""

from __future__ import annotations

from actors.controllers._pods import epoch, is_finished, is_ready
from actors.controllers._reconcile import Context, Controller
from actors.controllers._rollout import scaled_value
from actors.controllers._selectors import cached_selector
from protocol.api import Resource, StatusError
from protocol.kinds import by_kind
from protocol.objects import (
    Object,
    controller_of,
    deleting,
    find_condition,
    key,
    labels,
    metadata,
    name,
    namespace,
    spec,
    status,
    uid,
    with_status,
)

__all__ = ["DisruptionController"]

DELETION_TIMEOUT_S = 120.0
STALE = "target "  # begins the keys of pods whose disruption is awaited
_OWN_SCALE = {
    "ReplicaSet": "replicasets",
    "ReplicationController": "replicationcontrollers",
    "StatefulSet": "statefulsets",
}


class CountError(Exception):
    """The number of pods that there should be is not known."""


class DisruptionController(Controller):
    """See the module."""

    component = "controllermanager"
    resources = (
        "poddisruptionbudgets",
        "pods",
        "replicasets",
        "replicationcontrollers",
        "statefulsets",
        "deployments",
    )
    interval_s = 0.02

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.budgets = self.store("poddisruptionbudgets")
        self.pods = self.store("pods")
        self.on_change("poddisruptionbudgets", self._budget_changed)
        self.on_change("pods", self._pod_changed)
        for what in ("deployments", *_OWN_SCALE.values()):
            self.on_change(what, self._owner_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _budget_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_target(new):
            self.queue.add(STALE + key(new))
        if not len(self.budgets):
            return
        pod = new or old
        assert pod is not None
        if old is not None and new is not None:
            same = is_ready(old) == is_ready(new) and deleting(old) == deleting(new)
            if same and labels(old) == labels(new) and controller_of(old) == controller_of(new):
                return
        for budget in self.budgets.in_namespace(namespace(pod)):
            selector = cached_selector(spec(budget).get("selector"))
            if any(selector.matches(labels(p)) for p in (old, new) if p is not None):
                self.queue.add(key(budget))

    def _owner_changed(self, old: Object | None, new: Object | None) -> None:
        """A new size changes what a share of it is."""
        obj = new or old
        assert obj is not None
        if old is not None and new is not None:
            if spec(old).get("replicas") == spec(new).get("replicas"):
                return
        if len(self.budgets):
            for budget in self.budgets.in_namespace(namespace(obj)):
                self.queue.add(key(budget))

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        if key.startswith(STALE):
            await self._clear_stale_target(key)
            return
        budget = self.budgets.get(key)
        if budget is None:
            return
        selector = cached_selector(spec(budget).get("selector"))
        pods = [p for p in self.pods.in_namespace(namespace(budget)) if selector.matches(labels(p))]
        if not pods:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected, desired, unmanaged = await self._expected(budget, pods)
        except CountError as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            await self._allow_nothing(budget, str(error))
            return
        if unmanaged:
            self.recorder.event(budget, "Warning", "UnmanagedPods", _unmanaged_text(selector))
        disrupted, recheck_s = self._disrupted(budget, pods)
        healthy = sum(
            is_ready(p) and not deleting(p) and name(p) not in disrupted for p in pods
        )
        await self._write(budget, expected, desired, healthy, disrupted)
        if recheck_s is not None:
            self.queue.add_after(key, recheck_s)

    async def _clear_stale_target(self, stale_key: str) -> None:
        """A pod that was to be disrupted but is still there after two minutes is no target now."""
        pod = self.pods.get(stale_key.removeprefix(STALE))
        target = _is_target(pod) if pod is not None else None
        if pod is None or target is None:
            return
        left_s = epoch(target["lastTransitionTime"]) + DELETION_TIMEOUT_S - self.clock.now()
        if left_s > 0:
            self.queue.add_after(stale_key, left_s)
            return
        cleared = {
            "type": "DisruptionTarget",
            "status": "False",
            "lastTransitionTime": self.clock.rfc3339(),
        }
        conditions = [cleared if c is target else c for c in status(pod)["conditions"]]
        await self.client.update_status(
            "pods", with_status(pod, {**status(pod), "conditions": conditions})
        )

    async def _expected(self, budget: Object, pods: list[Object]) -> tuple[int, int, bool]:
        """(pods that there should be, healthy ones that there must be, whether some pods have no
        controller to say). Raises `CountError`."""
        of = spec(budget)
        if of.get("maxUnavailable") is not None:
            expected, unmanaged = await self._expected_scale(pods)
            unavailable = scaled_value(of["maxUnavailable"], expected, round_up=True)
            return expected, max(0, expected - unavailable), unmanaged
        minimum = of.get("minAvailable")
        if isinstance(minimum, str):
            expected, unmanaged = await self._expected_scale(pods)
            return expected, scaled_value(minimum, expected, round_up=True), unmanaged
        return len(pods), int(minimum or 0), False

    async def _expected_scale(self, pods: list[Object]) -> tuple[int, bool]:
        """The sum of the sizes of the pods' controllers."""
        scales: dict[str, int] = {}
        unmanaged = False
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                unmanaged = True
                continue
            if reference.get("uid", "") in scales:
                continue
            owner_uid, scale = await self._scale_of(pod, reference)
            scales[owner_uid] = scale
        return sum(scales.values()), unmanaged

    async def _scale_of(self, pod: Object, reference: Object) -> tuple[str, int]:
        """(uid, size) of what scales the pod: of a ReplicaSet's Deployment, if it has one."""
        kind, owner_name = reference.get("kind", ""), reference.get("name", "")
        if kind in _OWN_SCALE:
            owner = self.store(_OWN_SCALE[kind]).named(namespace(pod), owner_name)
            if owner is not None and uid(owner) == reference.get("uid"):
                above = controller_of(owner) if kind == "ReplicaSet" else None
                if above is not None and above.get("kind") == "Deployment":
                    top = self.store("deployments").named(namespace(pod), above.get("name", ""))
                    if top is not None and uid(top) == above.get("uid"):
                        return uid(top), _replicas(top)
                return uid(owner), _replicas(owner)
            raise CountError(f'found no controllers for pod "{name(pod)}"')
        return reference.get("uid", ""), await self._subresource_scale(pod, reference)

    async def _subresource_scale(self, pod: Object, reference: Object) -> int:
        """The size of any other kind that has a scale."""
        group, _, version = reference.get("apiVersion", "").rpartition("/")
        kind = by_kind(group, version, reference.get("kind", ""))
        owner_name = reference.get("name", "")
        if kind is not None:
            what = Resource(group, version, kind.resource)
        else:
            what = Resource(group, version, _plural(reference.get("kind", "")))
        try:
            scale = await self.client.get_subresource(what, owner_name, namespace(pod), "scale")
        except StatusError as error:
            if error.code in (404, 405):
                described = f"{_plural(reference.get('kind', ''))}.{group}"
                raise CountError(f"{described} does not implement the scale subresource") from None
            raise
        return int(spec(scale).get("replicas") or 0)

    def _disrupted(self, budget: Object, pods: list[Object]) -> tuple[dict[str, str], float | None]:
        """(pods let go but still there, in how many seconds one of these counts as healthy)."""
        now = self.clock.now()
        kept: dict[str, str] = {}
        recheck_s: float | None = None
        noted: dict[str, str] = status(budget).get("disruptedPods") or {}
        for pod in pods:
            at = noted.get(name(pod))
            if at is None or deleting(pod):
                continue
            left_s = epoch(at) + DELETION_TIMEOUT_S - now
            if left_s <= 0:
                self.recorder.event(
                    pod,
                    "Warning",
                    "NotDeleted",
                    f"Pod was expected by PDB {namespace(budget)}/{name(budget)} to be deleted but"
                    " it wasn't",
                )
                continue
            kept[name(pod)] = at
            recheck_s = left_s if recheck_s is None else min(recheck_s, left_s)
        return kept, recheck_s

    # --- status ---------------------------------------------------------------------------------

    async def _write(
        self,
        budget: Object,
        expected: int,
        desired: int,
        healthy: int,
        disrupted: dict[str, str],
    ) -> None:
        allowed = max(0, healthy - desired) if expected > 0 else 0
        new: Object = {
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "observedGeneration": metadata(budget).get("generation") or 0,
        }
        if disrupted:
            new["disruptedPods"] = disrupted
        state = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
        new["conditions"] = self._conditions(budget, *state, "")
        if new != status(budget):
            await self.client.update_status(
                "poddisruptionbudgets", with_status(budget, new)
            )

    async def _allow_nothing(self, budget: Object, why: str) -> None:
        """Not knowing how many pods there should be, let none go."""
        new = {
            **dict.fromkeys(("currentHealthy", "desiredHealthy", "expectedPods"), 0),
            **status(budget),
            "disruptionsAllowed": 0,
        }
        new["conditions"] = self._conditions(budget, "False", "SyncFailed", why)
        if new != status(budget):
            await self.client.update_status(
                "poddisruptionbudgets", with_status(budget, new)
            )

    def _conditions(self, budget: Object, state: str, reason: str, message: str) -> list[Object]:
        conditions: list[Object] = list(status(budget).get("conditions") or ())
        present = find_condition(conditions, "DisruptionAllowed")
        entry = {
            "type": "DisruptionAllowed",
            "status": state,
            "reason": reason,
            "message": message,
            "observedGeneration": metadata(budget).get("generation") or 0,
            "lastTransitionTime": self.clock.rfc3339(),
        }
        if present is None:
            return [*conditions, entry]
        if present.get("status") == state:
            entry["lastTransitionTime"] = present.get("lastTransitionTime")
        return [entry if c is present else c for c in conditions]


def _is_target(pod: Object) -> Object | None:
    """The condition that says that a pod is to be disrupted, while that is still to come."""
    target = find_condition(status(pod).get("conditions"), "DisruptionTarget")
    if target is None or target.get("status") != "True" or deleting(pod) or is_finished(pod):
        return None
    return target


def _unmanaged_text(selector: object) -> str:
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be"
        " unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may"
        " result in undefined behavior. To account for these pods please set"
        ' ".spec.minAvailable" field of the PDB to an integer value.'
    )


def _replicas(obj: Object) -> int:
    wanted = spec(obj).get("replicas")
    return 1 if wanted is None else int(wanted)


def _plural(kind: str) -> str:
    """How most custom kinds name their resource."""
    lower = kind.lower()
    if lower.endswith(("s", "x", "ch")):
        return f"{lower}es"
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"
