"""ResourceQuota and LimitRange.

Owns which resources and scopes they may name and how amounts relate. Enforcing them is admission's.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    required,
)
from actors.apiserver.strategies._resources import (
    container_name,
    is_huge_page,
    is_native,
    is_standard_quota,
    resource_name,
    validate_amount,
)
from protocol.names import qualified_name
from protocol.quantity import parse_quantity

__all__ = ["LimitRangeStrategy", "QuotaStrategy"]

_BAD_RESOURCE = "must be a standard resource for quota"
_FLAG_SCOPES = (
    "BestEffort",
    "NotBestEffort",
    "Terminating",
    "NotTerminating",
    "CrossNamespacePodAffinity",
)
_SCOPES = (*_FLAG_SCOPES, "PriorityClass", "VolumeAttributesClass")
_CONFLICTS = (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating"))
_POD_RESOURCES = frozenset(
    {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
)
_CLAIM_RESOURCES = frozenset({"persistentvolumeclaims", "requests.storage"})
_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
    "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
    "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def _amounts(amounts: dict[str, str] | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, amount in (amounts or {}).items():
        at = f"{path}[{name}]"
        errors += resource_name(name, at)
        if "/" not in name and not is_standard_quota(name):
            errors.append(invalid(at, name, _BAD_RESOURCE))
        errors += validate_amount(name, amount, at)
    return errors


def _scope_fits(scope: str, resource: str) -> bool:
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in _CLAIM_RESOURCES
    return resource in _POD_RESOURCES or scope not in _SCOPES


def _misfits(scope: str, hard: dict[str, str]) -> int:
    return sum(is_standard_quota(name) and not _scope_fits(scope, name) for name in sorted(hard))


def _scopes(spec: Object, path: str) -> list[FieldError]:
    scopes = spec.get("scopes") or []
    errors: list[FieldError] = []
    at = path + ".scopes"
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(invalid(at, scopes, "unsupported scope"))
        detail = "unsupported scope applied to resource"
        errors += [invalid(at, scopes, detail)] * _misfits(scope, spec.get("hard") or {})
    for pair in _CONFLICTS:
        if set(pair) <= set(scopes):
            errors.append(invalid(at, scopes, "conflicting scopes"))
    return errors


def _scope_selector(spec: Object, path: str) -> list[FieldError]:
    selector = spec.get("scopeSelector")
    if selector is None:
        return []
    at = path + ".scopeSelector.matchExpressions"
    errors: list[FieldError] = []
    seen: set[str] = set()
    for requirement in selector.get("matchExpressions") or ():
        scope, operator = requirement.get("scopeName", ""), requirement.get("operator", "")
        values = requirement.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid(at + ".scopeName", scope, "unsupported scope"))
        shown = _selector_form(selector)
        detail = "unsupported scope applied to resource"
        errors += [invalid(at, shown, detail)] * _misfits(scope, spec.get("hard") or {})
        if scope in _FLAG_SCOPES and operator != "Exists":
            errors.append(invalid(at + ".operator", operator, _EXISTS))
        if operator in ("In", "NotIn"):
            if not values:
                detail = (
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                )
                errors.append(required(at + ".values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = (
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                )
                errors.append(invalid(at + ".values", values, detail))
        else:
            errors.append(invalid(at + ".operator", operator, "not a valid selector operator"))
        seen.add(scope)
    for pair in _CONFLICTS:
        if set(pair) <= seen:
            errors.append(invalid(at, spec.get("scopes"), "conflicting scopes"))
    return errors


def _selector_form(selector: Object) -> Object:
    return {
        "MatchExpressions": [
            {
                "ScopeName": item.get("scopeName", ""),
                "Operator": item.get("operator", ""),
                "Values": item.get("values"),
            }
            for item in selector.get("matchExpressions") or ()
        ]
    }


class QuotaStrategy(Strategy):
    """ResourceQuota."""

    has_status = True
    standard_finalizers_only = True

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj)

    def _check_spec(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = _amounts(spec.get("hard"), "spec.hard")
        return errors + _scopes(spec, "spec") + _scope_selector(spec, "spec")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self._check_spec(new)
        now, was = (set((o.get("spec") or {}).get("scopes") or ()) for o in (new, old))
        if now != was:
            shown = (new.get("spec") or {}).get("scopes")
            errors.append(invalid("spec.scopes", shown, "field is immutable"))
        return errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        if not new["metadata"].get("resourceVersion"):
            errors.append(required("resourceVersion"))
        status = new.get("status") or {}
        errors += _amounts(status.get("hard"), "status.hard")
        return errors + _amounts(status.get("used"), "status.used")

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Request", "string", "", "What is asked for, of how much may be."),
            Column("Limit", "string", "", "Limits in use, of how much may be."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        status = obj.get("status") or {}
        used = status.get("used") or {}
        cells: dict[bool, list[str]] = {False: [], True: []}
        for name, hard in sorted((status.get("hard") or {}).items()):
            cells[name.startswith("limits.")].append(f"{name}: {used.get(name, '0')}/{hard}")
        name = obj["metadata"].get("name", "")
        return [name, ", ".join(cells[False]), ", ".join(cells[True]), self.age(obj, now)]


# --- limit ranges -------------------------------------------------------------------------------

_TYPES = ("Pod", "Container", "PersistentVolumeClaim")


def _limit_type(kind: str, path: str) -> list[FieldError]:
    errors = [invalid(path, kind, message) for message in qualified_name(kind)]
    if not errors and "/" not in kind and kind not in _TYPES:
        errors.append(invalid(path, kind, "must be a standard limit type or fully qualified"))
    return errors


def _limit_names(kind: str, amounts: dict[str, str] | None, path: str) -> list[FieldError]:
    check = container_name if kind in ("Pod", "Container") else resource_name
    return [error for name in amounts or () for error in check(name, f"{path}[{name}]")]


def _compare(limit: Object, path: str) -> list[FieldError]:
    """How minimum, maximum, defaults and ratio of each resource relate."""
    kinds = ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")
    amounts = {kind: limit.get(kind) or {} for kind in kinds}
    if limit.get("type") == "Pod":
        amounts["default"] = amounts["defaultRequest"] = {}
    errors: list[FieldError] = []
    for name in dict.fromkeys(name for given in amounts.values() for name in given):
        texts = {kind: given.get(name) for kind, given in amounts.items()}
        errors += _compare_one(name, texts, path)
    return errors


_ORDER = (
    ("min", "max", "min", "min", "min value {0} is greater than max value {1}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {0} is greater than default request value {1}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {0} is greater than max value {1}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {0} is greater than default limit value {1}",
    ),
    ("min", "default", "default", "min", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "max", "default value {0} is greater than max value {1}"),
)
"""Lesser kind, greater kind, field of the error, kind whose amount is shown, text."""


def _compare_one(name: str, texts: dict[str, str | None], path: str) -> list[FieldError]:
    numbers = {kind: parse_quantity(text) for kind, text in texts.items() if text is not None}
    errors: list[FieldError] = []
    for lesser, greater, field, shown, text in _ORDER:
        if lesser in numbers and greater in numbers and numbers[lesser] > numbers[greater]:
            detail = text.format(texts[lesser], texts[greater])
            errors.append(invalid(f"{path}.{field}[{name}]", texts[shown], detail))
    ratio, at = numbers.get("maxLimitRequestRatio"), f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None:
        shown_ratio = texts["maxLimitRequestRatio"]
        if ratio < 1:
            errors.append(invalid(at, shown_ratio, f"ratio {shown_ratio} is less than 1"))
        if numbers.get("min") and "max" in numbers and ratio > numbers["max"] / numbers["min"]:
            limit = numbers["max"] / numbers["min"]
            detail = f"ratio {shown_ratio} is greater than max/min = {float(limit):.6f}"
            errors.append(invalid(at, shown_ratio, detail))
    overcommit = is_native(name) and not is_huge_page(name)
    both = "default" in numbers and "defaultRequest" in numbers
    if not overcommit and both and numbers["default"] != numbers["defaultRequest"]:
        detail = (
            f"default value {texts['default']} must equal to defaultRequest value "
            f"{texts['defaultRequest']} in {name}"
        )
        errors.append(invalid(f"{path}.defaultRequest[{name}]", texts["defaultRequest"], detail))
    return errors


class LimitRangeStrategy(Strategy):
    """LimitRange."""

    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        for limit in (obj.get("spec") or {}).get("limits") or ():
            if limit.get("type") == "Container":
                _default_limit(limit)

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """A limit range created without a name gets one."""

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        seen: set[str] = set()
        for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
            at = f"spec.limits[{index}]"
            kind = limit.get("type", "")
            errors += _limit_type(kind, at + ".type")
            if kind in seen:
                errors.append(duplicate(at + ".type", kind))
            seen.add(kind)
            errors += _check_limit(limit, kind, at)
            errors += _compare(limit, at)
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)


def _check_limit(limit: Object, kind: str, path: str) -> list[FieldError]:
    errors = _limit_names(kind, limit.get("max"), path + ".max")
    errors += _limit_names(kind, limit.get("min"), path + ".min")
    for field in ("default", "defaultRequest"):
        if kind != "Pod":
            errors += _limit_names(kind, limit.get(field), f"{path}.{field}")
        elif limit.get(field):
            errors.append(forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
    if kind == "PersistentVolumeClaim":
        if all("storage" not in (limit.get(field) or {}) for field in ("min", "max")):
            detail = (
                "either minimum or maximum storage value is required, but neither was provided"
            )
            errors.append(required(path + ".limits", detail))
    ratio = limit.get("maxLimitRequestRatio")
    return errors + _limit_names(kind, ratio, path + ".maxLimitRequestRatio")


def _default_limit(limit: Object) -> None:
    default = dict(limit.get("default") or {})
    requests = dict(limit.get("defaultRequest") or {})
    for name, amount in (limit.get("max") or {}).items():
        default.setdefault(name, amount)
    for source in (default, limit.get("min") or {}):
        for name, amount in source.items():
            requests.setdefault(name, amount)
    if default:
        limit["default"] = default
    if requests:
        limit["defaultRequest"] = requests
