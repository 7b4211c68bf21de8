"""Validation of a JobSpec, in jobs and in cron jobs' templates.

Owns counts, completion modes, and the policies for failed pods and for success
(`pkg/apis/batch/validation`).
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    OMIT,
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from actors.apiserver.strategies._meta import nonnegative
from actors.apiserver.strategies.pod_validation import validate_template
from actors.apiserver.strategies.pod_warnings import pod_warnings
from protocol.names import dns1123_subdomain, qualified_name

__all__ = ["count_indexes", "job_warnings", "parse_interval", "validate_job_spec", "validate_managed_by"]

Object = dict[str, Any]

_MAX_PARALLELISM = 100000
_MAX_FAILED = 100000
_MANY = 100000
_MANY_LIMIT = 10000
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_MODES = ("NonIndexed", "Indexed")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")
_STATUSES = ("False", "True", "Unknown")


def validate_job_spec(spec: Object, path: str) -> list[FieldError]:
    """A JobSpec without its selector."""
    errors: list[FieldError] = []
    for name in _COUNTS:
        errors += nonnegative(spec.get(name), f"{path}.{name}")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required(path + ".backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        errors += validate_managed_by(spec["managedBy"], path + ".managedBy")
    errors += _check_mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        errors += _failure_policy(spec, path + ".podFailurePolicy")
    if spec.get("successPolicy") is not None:
        errors += _success_policy(spec, path + ".successPolicy")
    errors += _replacement_policy(spec, path + ".podReplacementPolicy")
    template = spec.get("template") or {}
    errors += validate_template(template, path + ".template")
    return errors + _restart_policy(spec, template.get("spec") or {}, path)


def job_warnings(spec: Object, path: str) -> list[str]:
    """Warnings of a JobSpec, in a job or in a cron job's template."""
    out: list[str] = []
    many = (spec.get("completions") or 0) > _MANY and (spec.get("parallelism") or 0) > _MANY_LIMIT
    if many and spec.get("completionMode") == "Indexed":
        out.append(
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a "
            "parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes "
            "when a big number of indexes fail"
        )
    return out + pod_warnings(spec.get("template") or {}, path + ".template.")


def validate_managed_by(name: str, path: str) -> list[FieldError]:
    """A domain-prefixed path such as `example.com/controller`, at most 63 bytes."""
    errors: list[FieldError] = []
    domain, slash, rest = name.partition("/")
    if not name:
        errors.append(required(path))
    elif not slash or not domain or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.append(invalid(path, name, detail))
    else:
        errors += [invalid(path, domain, message) for message in dns1123_subdomain(domain)]
    if len(name) > 63:
        errors.append(too_long(path, 63))
    return errors


def _check_mode(spec: Object, path: str) -> list[FieldError]:
    mode = spec.get("completionMode")
    errors: list[FieldError] = []
    if mode is not None and mode not in _MODES:
        errors.append(not_supported(path + ".completionMode", mode, _MODES))
    if mode == "Indexed":
        errors += _check_indexed(spec, path)
    elif mode in (None, "NonIndexed"):
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                detail = "requires indexed completion mode"
                errors.append(invalid(f"{path}.{name}", spec[name], detail))
    return errors


def _check_indexed(spec: Object, path: str) -> list[FieldError]:
    """The limits of a job whose pods have numbers."""
    errors: list[FieldError] = []
    completions, failed = spec.get("completions"), spec.get("maxFailedIndexes")
    parallelism = spec.get("parallelism") or 0
    if completions is None:
        errors.append(required(path + ".completions", "when completion mode is Indexed"))
    if parallelism > _MAX_PARALLELISM:
        detail = f"must be less than or equal to {_MAX_PARALLELISM} when completion mode is Indexed"
        errors.append(invalid(path + ".parallelism", parallelism, detail))
    at = path + ".maxFailedIndexes"
    if failed is not None and completions is not None and failed > completions:
        errors.append(invalid(at, failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MAX_FAILED:
        errors.append(invalid(at, failed, f"must be less than or equal to {_MAX_FAILED}"))
    if spec.get("backoffLimitPerIndex") is None or (completions or 0) <= _MANY:
        return errors
    detail = (
        f"must be less than or equal to {_MANY_LIMIT} when completions are above {_MANY} and used "
        "with backoff limit per index"
    )
    if failed is None:
        errors.append(required(at, f"must be specified when completions is above {_MANY}"))
    if parallelism > _MANY_LIMIT:
        errors.append(invalid(path + ".parallelism", parallelism, detail))
    if failed is not None and failed > _MANY_LIMIT:
        errors.append(invalid(at, failed, detail))
    return errors


def _restart_policy(spec: Object, pod: Object, path: str) -> list[FieldError]:
    policy = pod.get("restartPolicy", "")
    at = path + ".template.spec.restartPolicy"
    if policy in ("Always", ""):
        return [required(at, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(at, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        return [invalid(at, policy, detail)]
    return []


def _replacement_policy(spec: Object, path: str) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    if spec.get("podFailurePolicy") is not None:
        return [] if policy == "Failed" else [not_supported(path, policy, ("Failed",))]
    return [] if policy in _REPLACEMENT else [not_supported(path, policy, _REPLACEMENT)]


def _listed(values: tuple[str, ...]) -> str:
    """Values as Go's `%q` writes a list."""
    quoted = " ".join(f'"{value}"' for value in values)
    return f"valid values: [{quoted}]"


# --- failure policy -----------------------------------------------------------------------------


def _failure_policy(spec: Object, path: str) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or []
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {
        container.get("name", "")
        for key in ("containers", "initContainers")
        for container in pod.get(key) or ()
    }
    errors: list[FieldError] = []
    if len(rules) > 20:
        errors.append(too_many(path + ".rules", len(rules), 20))
    for index, rule in enumerate(rules):
        errors += _failure_rule(spec, rule, names, f"{path}.rules[{index}]")
    return errors


def _failure_rule(spec: Object, rule: Object, names: set[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    action = rule.get("action", "")
    if not action:
        errors.append(required(path + ".action", _listed(_ACTIONS)))
    elif action == "FailIndex":
        if spec.get("backoffLimitPerIndex") is None:
            detail = "requires the backoffLimitPerIndex to be set"
            errors.append(invalid(path + ".action", action, detail))
    elif action not in _ACTIONS:
        errors.append(not_supported(path + ".action", action, _ACTIONS))
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        errors += _exit_codes(codes, names, path + ".onExitCodes")
    if conditions:
        errors += _pod_conditions(conditions, path + ".onPodConditions")
    if codes is not None and conditions:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        errors.append(invalid(path, OMIT, detail))
    if codes is None and not conditions:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
        errors.append(invalid(path, OMIT, detail))
    return errors


def _exit_codes(codes: Object, names: set[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, values = codes.get("operator", ""), codes.get("values") or []
    if not operator:
        errors.append(required(path + ".operator", _listed(_OPERATORS)))
    elif operator not in _OPERATORS:
        errors.append(not_supported(path + ".operator", operator, _OPERATORS))
    name = codes.get("containerName")
    if name is not None and name not in names:
        detail = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid(path + ".containerName", name, detail))
    at = path + ".values"
    if not values:
        errors.append(invalid(at, codes.get("values"), "at least one value is required"))
    elif len(values) > 255:
        errors.append(too_many(at, len(values), 255))
    ordered = True
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(invalid(f"{at}[{index}]", value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(f"{at}[{index}]", value))
        seen.add(value)
        if index and values[index - 1] > value:
            ordered = False
    if not ordered:
        errors.append(invalid(at, values, "must be ordered"))
    return errors


def _pod_conditions(conditions: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(conditions) > 20:
        errors.append(too_many(path, len(conditions), 20))
    for index, pattern in enumerate(conditions):
        at = f"{path}[{index}]"
        kind, state = pattern.get("type", ""), pattern.get("status", "")
        errors += [invalid(at + ".type", kind, message) for message in qualified_name(kind)]
        if not state:
            errors.append(required(at + ".status", _listed(_STATUSES)))
        elif state not in _STATUSES:
            errors.append(not_supported(at + ".status", state, _STATUSES))
    return errors


# --- success policy -----------------------------------------------------------------------------


def _success_policy(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    policy = spec["successPolicy"]
    if spec.get("completionMode") != "Indexed":
        detail = "requires indexed completion mode"
        return [invalid(path, internal_form("batch.SuccessPolicy", policy), detail)]
    rules = policy.get("rules") or []
    if not rules:
        errors.append(required(path + ".rules", "at least one rules must be specified when the successPolicy is specified"))
    if len(rules) > 20:
        errors.append(too_many(path + ".rules", len(rules), 20))
    for index, rule in enumerate(rules):
        errors += _success_rule(spec, rule, f"{path}.rules[{index}]")
    return errors


def _success_rule(spec: Object, rule: Object, path: str) -> list[FieldError]:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        return [required(path, detail)]
    errors: list[FieldError] = []
    total = 0
    if indexes is not None:
        at = path + ".succeededIndexes"
        if len(indexes) > 65536:
            errors.append(too_long(at, 65536))
        total, problem = count_indexes(indexes, spec.get("completions") or 0)
        if problem:
            errors.append(invalid(at, indexes, f"error parsing succeededIndexes: {problem}"))
    if count is not None:
        at = path + ".succeededCount"
        errors += nonnegative(count, at)
        completions = spec.get("completions")
        if completions is not None and count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            errors.append(invalid(at, count, detail))
        if indexes is not None and count > total:
            detail = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            errors.append(invalid(at, count, detail))
    return errors


def parse_interval(text: str, completions: int) -> tuple[int, int]:
    """The ends of `3` or `2-4`. Raises `ValueError` with Kubernetes' words."""
    ends = text.split("-")
    if len(ends) > 2:
        raise ValueError(
            f'the fragment "{text}" violates the requirement that an index interval can have at '
            "most two parts separated by '-'"
        )
    numbers: list[int] = []
    for end in ends:
        if not end.lstrip("+-").isdigit():
            raise ValueError(f'cannot convert string to integer for index: "{end}"')
        numbers.append(int(end))
        if numbers[-1] >= completions:
            raise ValueError(f'too large index: "{end}"')
    first, last = numbers[0], numbers[-1]
    if len(ends) == 2 and first >= last:
        raise ValueError(f"non-increasing order, previous: {first}, current: {last}")
    return first, last


def count_indexes(text: str, completions: int) -> tuple[int, str]:
    """How many indexes `0,2-4` names, or none and what is wrong with it."""
    total, previous = 0, -1
    if not text:
        return 0, ""
    for part in text.split(","):
        try:
            first, last = parse_interval(part, completions)
        except ValueError as error:
            return 0, str(error)
        if previous >= first:
            return 0, f"non-increasing order, previous: {previous}, current: {first}"
        total += last - first + 1
        previous = last
    return total, ""
