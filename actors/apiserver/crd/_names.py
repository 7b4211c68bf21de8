"""Which names a definition may have, and the conditions that say so.

Pure: takes a definition and its neighbours, returns the new status. Source:
k8s.io/apiextensions-apiserver/pkg/controller/status/naming_controller.go and .../establish.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["TERMINATING", "is_established", "set_condition", "settle_names"]

Object = dict[str, Any]
TERMINATING = {
    "type": "Terminating",
    "status": "True",
    "reason": "InstanceDeletionPending",
    "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
}


def is_established(definition: Object) -> bool:
    """Whether the condition Established is true."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


def set_condition(status: Object, condition: Object, now: str) -> None:
    """Put a condition into a status; its time moves only when its status does."""
    conditions = list(status.get("conditions") or ())
    for i, found in enumerate(conditions):
        if found.get("type") == condition["type"]:
            time = found.get("lastTransitionTime") if found.get("status") == condition["status"] else now
            conditions[i] = _timed(condition, time or now)
            break
    else:
        conditions.append(_timed(condition, now))
    status["conditions"] = conditions


def _timed(condition: Object, time: str) -> Object:
    return {"type": condition["type"], "status": condition["status"], "lastTransitionTime": time,
            "reason": condition.get("reason", ""), "message": condition.get("message", "")}  # fmt: skip


def settle_names(definition: Object, others: Iterable[Object], now: str) -> Object | None:
    """The status after names were judged; None when nothing changes. `others`: all definitions."""
    spec, old = definition["spec"], definition.get("status") or {}
    wanted = spec["names"]
    accepted = old.get("acceptedNames") or {}
    resources, kinds = _taken(spec["group"], others)
    new = {key: value for key, value in accepted.items() if value}
    problem: tuple[str, str] | None = None
    for field, reason, used in (
        ("plural", "PluralConflict", resources),
        ("singular", "SingularConflict", resources),
        ("shortNames", "ShortNamesConflict", resources),
        ("kind", "KindConflict", kinds),
        ("listKind", "ListKindConflict", kinds),
    ):
        clash = _clash(wanted.get(field), accepted.get(field), used)
        if clash:
            problem = (reason, clash)
        elif wanted.get(field):
            new[field] = wanted[field]
    if wanted.get("categories"):
        new["categories"] = wanted["categories"]
    else:
        new.pop("categories", None)
    status = {**old, "acceptedNames": {"plural": "", "kind": "", **new}}
    status.setdefault("conditions", None)
    if problem is None:
        naming = {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"}
    else:
        naming = {"type": "NamesAccepted", "status": "False", "reason": problem[0], "message": problem[1]}
    set_condition(status, naming, now)
    set_condition(status, _established(old, problem is None), now)
    return status if status != old else None


def _established(old: Object, names_good: bool) -> Object:
    for found in old.get("conditions") or ():
        if found.get("type") == "Established" and found.get("status") == "True":
            return dict(found)
    if names_good:
        message = "the initial names have been accepted"
        return {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": message}
    return {"type": "Established", "status": "False", "reason": "NotAccepted", "message": "not all names are accepted"}


def _taken(group: str, others: Iterable[Object]) -> tuple[set[str], set[str]]:
    """The names of resources and kinds that definitions of a group hold."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != group:
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources.update([names.get("plural", ""), names.get("singular", ""), *(names.get("shortNames") or ())])
        kinds.update([names.get("kind", ""), names.get("listKind", "")])
    return resources, kinds


def _clash(wanted: Any, accepted: Any, used: set[str]) -> str:
    if isinstance(wanted, list) or isinstance(accepted, list):
        mine = set(accepted or ())
        clashes = [f'"{name}" is already in use' for name in wanted or () if name not in mine and name in used]
        return clashes[0] if len(clashes) == 1 else f"[{', '.join(clashes)}]" if clashes else ""
    wanted = wanted or ""
    return f'"{wanted}" is already in use' if wanted != (accepted or "") and wanted in used else ""
