"""Where a pod may run: affinity, tolerations, topology spread, scheduling gates.

Owns the validation of these and what may change about them while a pod is gated.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import validate_label_name
from actors.apiserver.strategies._selectors import validate_selector
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    label_value,
    qualified_name,
)

__all__ = [
    "TAINT_EFFECTS",
    "node_affinity_additions",
    "node_selector_additions",
    "only_added_tolerations",
    "only_deleted_gates",
    "validate_affinity",
    "validate_gates",
    "validate_node_selector",
    "validate_preferred_terms",
    "validate_spread",
    "validate_taint_effect",
    "validate_tolerations",
]

Object = dict[str, Any]

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_BOTH_KEYS = "exists in both matchLabelKeys and labelSelector"


# --- node affinity ------------------------------------------------------------------------------


def _node_requirement(requirement: Object, allow_invalid: bool, path: str) -> list[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    errors: list[FieldError] = []
    at = path + ".values"
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(at, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(at, detail))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(at, detail))
    else:
        errors.append(invalid(path + ".operator", operator, "not a valid selector operator"))
    errors += validate_label_name(requirement.get("key", ""), path + ".key")
    if not allow_invalid:
        for index, value in enumerate(values):
            errors += [invalid(f"{at}[{index}]", value, message) for message in label_value(value)]
    return errors


def _node_field(requirement: Object, path: str) -> list[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    errors: list[FieldError] = []
    if operator not in ("In", "NotIn"):
        errors.append(invalid(path + ".operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(path + ".values", detail))
    key = requirement.get("key", "")
    if key != "metadata.name":
        errors.append(invalid(path + ".key", key, "not a valid field selector key"))
    else:
        for index, value in enumerate(values):
            where = f"{path}.values[{index}]"
            errors += [invalid(where, value, message) for message in dns1123_subdomain(value)]
    return errors


def _node_term(term: Object, allow_invalid: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        errors += _node_requirement(requirement, allow_invalid, f"{path}.matchExpressions[{index}]")
    for index, requirement in enumerate(term.get("matchFields") or ()):
        errors += _node_field(requirement, f"{path}.matchFields[{index}]")
    return errors


def validate_node_selector(selector: Object, path: str) -> list[FieldError]:
    """A NodeSelector: at least one term."""
    terms = selector.get("nodeSelectorTerms") or []
    at = path + ".nodeSelectorTerms"
    if not terms:
        return [required(at, "must have at least one node selector term")]
    errors: list[FieldError] = []
    for index, term in enumerate(terms):
        errors += _node_term(term, False, f"{at}[{index}]")
    return errors


def validate_preferred_terms(terms: list[Object], path: str) -> list[FieldError]:
    """Weighted node selector terms."""
    errors: list[FieldError] = []
    for index, term in enumerate(terms):
        errors += _weight(term, f"{path}[{index}].weight")
        errors += _node_term(term.get("preference") or {}, True, f"{path}[{index}].preference")
    return errors


def _weight(term: Object, path: str) -> list[FieldError]:
    weight = term.get("weight", 0)
    return [] if 0 < weight <= 100 else [invalid(path, weight, "must be in the range 1-100")]


def _node_affinity(affinity: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if affinity.get(_REQUIRED) is not None:
        errors += validate_node_selector(affinity[_REQUIRED], f"{path}.{_REQUIRED}")
    if affinity.get(_PREFERRED):
        errors += validate_preferred_terms(affinity[_PREFERRED], f"{path}.{_PREFERRED}")
    return errors


# --- pod affinity -------------------------------------------------------------------------------


def _label_keys(keys: list[str], selector: Object | None, path: str) -> list[FieldError]:
    if not keys:
        return []
    if selector is None:
        return [forbidden(path, "must not be specified when labelSelector is not set")]
    errors: list[FieldError] = []
    for index, key in enumerate(keys):
        errors += validate_label_name(key, f"{path}[{index}]")
    return errors


def _match_keys(term: Object, path: str) -> list[FieldError]:
    """Keys whose values a pod's own labels give; they must not be in the selector already."""
    keys, unlike = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    if not keys and not unlike:
        return []
    selector = term.get("labelSelector")
    errors = _label_keys(keys, selector, path + ".matchLabelKeys")
    errors += _label_keys(unlike, selector, path + ".mismatchLabelKeys")
    seen = set((selector or {}).get("matchLabels") or ())
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key", "")
        if key in keys and key in seen:
            errors.append(invalid(f"{path}[{keys.index(key)}]", key, _BOTH_KEYS))
        seen.add(key)
    for index, key in enumerate(keys):
        if key in unlike:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid(f"{path}.matchLabelKeys[{index}]", key, detail))
    return errors


def _pod_term(term: Object, path: str) -> list[FieldError]:
    errors = validate_selector(term.get("labelSelector"), path + ".labelSelector")
    errors += validate_selector(term.get("namespaceSelector"), path + ".namespaceSelector")
    for name in term.get("namespaces") or ():
        errors += [invalid(path + ".namespace", name, message) for message in dns1123_label(name)]
    errors += _match_keys(term, path)
    key = term.get("topologyKey", "")
    if not key:
        errors.append(required(path + ".topologyKey", "can not be empty"))
    return errors + validate_label_name(key, path + ".topologyKey")


def _pod_affinity(affinity: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        errors += _pod_term(term, f"{path}.{_REQUIRED}[{index}]")
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        errors += _weight(term, at + ".weight")
        errors += _pod_term(term.get("podAffinityTerm") or {}, at + ".podAffinityTerm")
    return errors


def validate_affinity(affinity: Object, path: str) -> list[FieldError]:
    """An Affinity."""
    errors: list[FieldError] = []
    if affinity.get("nodeAffinity") is not None:
        errors += _node_affinity(affinity["nodeAffinity"], path + ".nodeAffinity")
    for key in ("podAffinity", "podAntiAffinity"):
        if affinity.get(key) is not None:
            errors += _pod_affinity(affinity[key], f"{path}.{key}")
    return errors


# --- tolerations --------------------------------------------------------------------------------


def validate_taint_effect(effect: str, path: str, allow_empty: bool = True) -> list[FieldError]:
    """What a taint does."""
    if effect in TAINT_EFFECTS:
        return []
    if not effect:
        return [] if allow_empty else [required(path)]
    return [not_supported(path, effect, TAINT_EFFECTS)]


def validate_tolerations(tolerations: list[Object], path: str) -> list[FieldError]:
    """Tolerations of a pod or runtime class."""
    errors: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        errors += _toleration(toleration, f"{path}[{index}]")
    return errors


def _toleration(toleration: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    value, effect = toleration.get("value", ""), toleration.get("effect", "")
    if key:
        errors += validate_label_name(key, path + ".key")
    elif operator != "Exists":
        detail = (
            "operator must be Exists when `key` is empty, which means "
            '"match all values and all keys"'
        )
        errors.append(invalid(path + ".operator", operator, detail))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(invalid(path + ".effect", effect, detail))
    if operator in ("Equal", ""):
        if problems := label_value(value):
            errors.append(invalid(path + ".operator", value, ";".join(problems)))
    elif operator == "Exists":
        if value:
            detail = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid(path + ".operator", value, detail))
    else:
        errors.append(not_supported(path + ".operator", operator, ("Equal", "Exists")))
    return errors + validate_taint_effect(effect, path + ".effect")


def only_added_tolerations(new: list[Object], old: list[Object], path: str) -> list[FieldError]:
    """An update may add tolerations and change their seconds, nothing else."""
    if new == old:
        return validate_tolerations(new, path)

    def bare(toleration: Object) -> Object:
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}

    present = [bare(toleration) for toleration in new]
    if any(bare(toleration) not in present for toleration in old):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        return [forbidden(path, detail)]
    return validate_tolerations(new, path)


# --- topology spread ----------------------------------------------------------------------------

_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")


def validate_spread(constraints: list[Object], path: str) -> list[FieldError]:
    """Topology spread constraints."""
    errors: list[FieldError] = []
    seen: list[tuple[str, str]] = [
        (c.get("topologyKey", ""), c.get("whenUnsatisfiable", "")) for c in constraints
    ]
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        skew, key, action = constraint.get("maxSkew", 0), *seen[index]
        if skew <= 0:
            errors.append(invalid(at + ".maxSkew", skew, "must be greater than zero"))
        if not key:
            errors.append(required(at + ".topologyKey", "can not be empty"))
        if action not in _ACTIONS:
            errors.append(not_supported(at + ".whenUnsatisfiable", action, _ACTIONS))
        if seen[index] in seen[index + 1 :]:
            where = at + ".{topologyKey, whenUnsatisfiable}"
            errors.append(duplicate(where, f"{{{key}, {action}}}"))
        errors += _spread_options(constraint, action, at)
        errors += _match_keys(constraint, at)
        errors += validate_selector(constraint.get("labelSelector"), at + ".labelSelector")
    return errors


def _spread_options(constraint: Object, action: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    domains = constraint.get("minDomains")
    if domains is not None:
        at = path + ".minDomains"
        if domains <= 0:
            errors.append(invalid(at, domains, "must be greater than zero"))
        if action != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            errors.append(invalid(at, domains, detail))
    for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = constraint.get(key)
        if policy is not None and policy not in _INCLUSION:
            errors.append(not_supported(f"{path}.{key}", policy, _INCLUSION))
    return errors


# --- gates --------------------------------------------------------------------------------------


def validate_gates(gates: list[Object], path: str) -> list[FieldError]:
    """Scheduling gates."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        at = f"{path}[{index}]"
        errors += [invalid(at, name, message) for message in qualified_name(name)]
        if name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
    return errors


def only_deleted_gates(new: list[Object], old: list[Object], path: str) -> list[FieldError]:
    """An update may only take gates away."""
    known = {gate.get("name", "") for gate in old}
    return [
        forbidden(
            f"{path}[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for index, gate in enumerate(new)
        if gate.get("name", "") not in known
    ]


def node_selector_additions(new: Object, old: Object, path: str) -> list[FieldError]:
    """While gated, a pod's node selector may only grow."""
    if all(new.get(key) == value for key, value in old.items()):
        return []
    detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    return [invalid(path, dict(sorted(new.items())) or None, detail)]


def node_affinity_additions(new: Object, old: Object, path: str) -> list[FieldError]:
    """While gated, the terms of a pod's required node affinity may only grow."""
    before = (old.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if old.get(_REQUIRED) is None:
        return []
    now = (new.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    at = f"{path}.{_REQUIRED}.nodeSelectorTerms"
    if before and len(before) != len(now):
        shown = [internal_form("core.NodeSelectorTerm", term) for term in now] or None
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid(at, shown, detail)]
    detail = "only additions are allowed (no mutations or deletions)"
    return [
        invalid(f"{at}[{index}]", internal_form("core.NodeSelectorTerm", now[index]), detail)
        for index, term in enumerate(before)
        if not _grows(now[index], term)
    ]


def _grows(new: Object, old: Object) -> bool:
    parts = ("matchExpressions", "matchFields")
    if not any(old.get(part) for part in parts):
        return not any(new.get(part) for part in parts)
    return all((new.get(part) or [])[: len(old.get(part) or [])] == (old.get(part) or []) for part in parts)
