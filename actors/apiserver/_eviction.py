"""Evictions: deleting a pod if its disruption budgets allow.

Owns the check against PodDisruptionBudgets and their count.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from typing import Any

from actors.apiserver import _write
from actors.apiserver._cache import Entry
from actors.apiserver._core import Answer, Core, copy
from actors.apiserver._delete import check_preconditions, delete_entry
from actors.apiserver._options import DeleteOptions, delete_options
from actors.apiserver._request import Request
from actors.apiserver._store import Superseded
from actors.apiserver._subresources import admitted
from actors.apiserver.fieldvalidation import decode
from protocol import status
from protocol.api import StatusError
from protocol.selectors import selector_of

__all__ = ["evict"]

Object = dict[str, Any]
_REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget."
_MANAGER = "kube-apiserver"
_MAX_DISRUPTED = 2000


async def evict(core: Core, request: Request) -> Answer:
    """POST of an Eviction."""
    body = request.body
    gvk = ("policy", "v1", "Eviction")
    eviction, warnings = decode(
        core.schema, gvk, body, request.options.get("fieldValidation") or "Warn", request.content_type
    )
    request.warnings += warnings
    named = (eviction.get("metadata") or {}).get("name")
    if named and named != request.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    options = delete_options(eviction.get("deleteOptions"), {})
    if request.dry_run:
        options = options._replace(dry_run=True)
    pods = core.resources.get("", "v1", "pods")
    assert pods is not None
    await admitted(core, request, pods.kind, request.name, "eviction", eviction)
    entry = pods.cache.get(request.namespace, request.name)
    if entry is None:
        raise status.not_found("", "pods", request.name)
    pod = entry.object
    if not _unprotected(pod):
        await _take(core, request, pod, options)
    inner = Request(
        "delete", pods, request.namespace, request.name, "", request.options, None, "", request.user, request.user_agent
    )
    current: Entry | None = pods.cache.get(request.namespace, request.name)
    if current is None:
        raise status.not_found("", "pods", request.name)
    if not options.dry_run:
        current = await _say_why(core, pods, current, options)
        if options.resource_version:
            options = options._replace(resource_version=current.object["metadata"]["resourceVersion"])
    await delete_entry(core, inner, current, options)
    return Answer(obj=status.success(code=201), code=201)


async def _say_why(core: Core, pods: Any, entry: Entry, options: DeleteOptions) -> Entry:
    """Note in the pod's conditions why it goes: its owners and its node tell by that. Like the deletion
    it is the server's own doing: nobody is asked and nobody owns it."""
    while True:
        check_preconditions(pods, entry, options)
        obj = copy(entry.object)
        _disrupt(obj.setdefault("status", {}).setdefault("conditions", []), core.clock.rfc3339())
        if _write.unchanged(obj, entry.object):
            return entry
        try:
            return await core.store.update(pods.cache, entry, obj)
        except Superseded as lost:
            if lost.entry is None:
                raise status.not_found("", "pods", entry.name) from None
            entry = lost.entry


def _disrupt(conditions: list[Object], now: str) -> None:
    made = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    for index, condition in enumerate(conditions):
        if condition.get("type") == made["type"]:
            if condition.get("status") == made["status"]:
                made["lastTransitionTime"] = condition.get("lastTransitionTime") or now
            conditions[index] = made
            return
    conditions.append(made)


def _unprotected(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def _ready(pod: Object) -> bool:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            return bool(condition.get("status") == "True")
    return False


def _budgets(core: Core, pod: Object) -> list[Object]:
    labels = pod["metadata"].get("labels") or {}
    if not labels:
        return []
    found = []
    for budget in core.list("policy", "poddisruptionbudgets", pod["metadata"]["namespace"]):
        selector = (budget.get("spec") or {}).get("selector")
        if selector is not None and selector_of(selector).matches(labels):
            found.append(budget)
    return found


async def _take(core: Core, request: Request, pod: Object, options: DeleteOptions) -> None:
    """Count one disruption against the pod's budget. Raises 429 when there is none left."""
    budgets = _budgets(core, pod)
    if len(budgets) > 1:
        raise status.internal_error(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    if not budgets:
        return
    name = budgets[0]["metadata"]["name"]
    if _unhealthy_allowed(budgets[0], pod):
        return
    served = core.resources.get("policy", "v1", "poddisruptionbudgets")
    inner = Request(
        "update", served, request.namespace, name, "status", {}, None, "", request.user, _MANAGER
    )

    async def count(old: Object | None) -> Object:
        assert old is not None
        return _counted(core, old, pod["metadata"]["name"])

    if options.dry_run:
        entry = served.cache.get(request.namespace, name) if served is not None else None
        if entry is not None:
            _counted(core, entry.object, pod["metadata"]["name"])
        return
    await _write.update_loop(core, inner, count)


def _unhealthy_allowed(budget: Object, pod: Object) -> bool:
    if _ready(pod):
        return False
    policy = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy")
    if policy == "AlwaysAllow":
        return True
    found = budget.get("status") or {}
    wanted = found.get("desiredHealthy") or 0
    if (found.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        return False
    return (found.get("currentHealthy") or 0) >= wanted > 0


def _counted(core: Core, old: Object, pod: str) -> Object:
    found = old.get("status") or {}
    name = old["metadata"]["name"]
    if (found.get("observedGeneration") or 0) < (old["metadata"].get("generation") or 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", 10)
    allowed = found.get("disruptionsAllowed") or 0
    if allowed < 0:
        raise status.forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative")
    if len(found.get("disruptedPods") or {}) > _MAX_DISRUPTED:
        raise status.forbidden(
            "policy", "poddisruptionbudgets", name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if allowed == 0:
        raise _too_many(
            f"The disruption budget {name} needs {found.get('desiredHealthy') or 0} healthy pods and has "
            f"{found.get('currentHealthy') or 0} currently",
            0,
        )
    new = copy(old)
    state = new.setdefault("status", {})
    state["disruptionsAllowed"] = allowed - 1
    state.setdefault("disruptedPods", {})[pod] = core.clock.rfc3339()
    _condition(core, state)
    return new


def _condition(core: Core, state: Object) -> None:
    left = state["disruptionsAllowed"] > 0
    made = {
        "type": "DisruptionAllowed",
        "status": "True" if left else "False",
        "observedGeneration": state.get("observedGeneration") or 0,
        "lastTransitionTime": core.clock.rfc3339(),
        "reason": "SufficientPods" if left else "InsufficientPods",
        "message": "",
    }
    conditions = state.setdefault("conditions", [])
    for index, condition in enumerate(conditions):
        if condition.get("type") == "DisruptionAllowed":
            if condition.get("status") == made["status"]:
                made["lastTransitionTime"] = condition.get("lastTransitionTime")
            conditions[index] = made
            return
    conditions.append(made)


def _too_many(why: str, retry_after_s: int) -> StatusError:
    return status.too_many_requests(_REFUSAL, retry_after_s, [{"reason": "DisruptionBudget", "message": why}])
