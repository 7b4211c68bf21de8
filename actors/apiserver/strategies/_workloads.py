"""What workloads have in common: replicas, percentages, selectors over a pod template.

Owns the rules that deployments, replica sets, stateful sets, daemon sets and controllers share
(`pkg/apis/apps/validation`). Knows none of these kinds.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import NEGATIVE, nonnegative
from actors.apiserver.strategies._selectors import (
    compile_selector,
    selector_form,
    validate_selector,
)
from actors.apiserver.strategies.pod_validation import validate_template
from actors.apiserver.strategies.pod_warnings import pod_warnings
from protocol.names import dns1123_label, percent

__all__ = [
    "LABELS_MISMATCH",
    "collisions_only_grow",
    "int_or_percent",
    "is_zero",
    "name_warning",
    "not_over_100",
    "sorted_labels",
    "template_warnings",
    "validate_counts",
    "validate_pod_restarts",
    "validate_selected_template",
]

Object = dict[str, Any]

LABELS_MISMATCH = "`selector` does not match template `labels`"
_OVER = "cannot be greater than status.replicas"


def int_or_percent(value: int | str, path: str) -> list[FieldError]:
    """A count or a percentage."""
    if isinstance(value, int):
        return [invalid(path, value, NEGATIVE)] if value < 0 else []
    return [invalid(path, value, message) for message in percent(value)]


def not_over_100(value: int | str, path: str) -> list[FieldError]:
    """At most 100 %, where it is a percentage at all."""
    if isinstance(value, str) and not percent(value) and int(value[:-1]) > 100:
        return [invalid(path, value, "must not be greater than 100%")]
    return []


def is_zero(value: int | str) -> bool:
    """0 or `0%`; nonsense counts as nothing."""
    if isinstance(value, int):
        return value == 0
    return bool(percent(value)) or int(value[:-1]) == 0


def sorted_labels(labels: dict[str, str] | None) -> dict[str, str] | None:
    """Labels as Go's JSON writes them, null without any."""
    return dict(sorted(labels.items())) if labels else None


def validate_pod_restarts(spec: Object, path: str, kind: str) -> list[FieldError]:
    """Pods that are kept running are restarted always and have no deadline."""
    errors: list[FieldError] = []
    policy = spec.get("restartPolicy", "")
    if policy != "Always":
        errors.append(not_supported(path + ".restartPolicy", policy, ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden(path + ".activeDeadlineSeconds", detail))
    return errors


def validate_selected_template(
    spec: Object, kind: str, empty: str, bad: str = "invalid label selector"
) -> list[FieldError]:
    """The selector, and the template whose labels it must match; `kind` is for the texts."""
    selector = spec.get("selector")
    errors: list[FieldError] = []
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += validate_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            detail = f"empty selector is invalid for {empty}"
            errors.append(invalid("spec.selector", selector_form(selector), detail))
    compiled = compile_selector(selector)
    if compiled is None:
        errors.append(invalid("spec.selector", selector_form(selector), bad))
        return errors
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    everything = selector is not None and not str(compiled)
    if not everything and not compiled.matches(labels):
        at = "spec.template.metadata.labels"
        errors.append(invalid(at, sorted_labels(labels), LABELS_MISMATCH))
    errors += validate_template(template, "spec.template")
    return errors + validate_pod_restarts(template.get("spec") or {}, "spec.template.spec", kind)


def validate_counts(
    status: Object, counts: tuple[str, ...], bounded: tuple[str, ...], ready: str
) -> list[FieldError]:
    """Counts of a status: not negative, not more than the replicas, available ones are ready.

    `ready`: the name by which the last text calls the ready replicas.
    """
    errors: list[FieldError] = []
    for name in counts:
        errors += nonnegative(status.get(name), f"status.{name}")
    replicas = status.get("replicas", 0)
    for name in bounded:
        count = status.get(name, 0)
        if count > replicas:
            errors.append(invalid(f"status.{name}", count, _OVER))
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        detail = f"cannot be greater than {ready}"
        errors.append(invalid("status.availableReplicas", available, detail))
    return errors


def name_warning(meta: Object) -> list[str]:
    """A name that pods and their host names inherit should be a DNS label."""
    problems = dns1123_label(meta.get("name", ""))
    if not problems:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
        f"behavior; a DNS label is recommended: [{' '.join(problems)}]"
    ]


def template_warnings(new: Object, old: Object | None) -> list[str]:
    """About the name once, about the pod template each time the spec changes."""
    if old is None:
        return name_warning(new["metadata"]) + pod_warnings(new["spec"]["template"], "spec.template.")
    if new["metadata"].get("generation") != old["metadata"].get("generation"):
        return pod_warnings(new["spec"]["template"], "spec.template.")
    return []


def collisions_only_grow(status: Object, before: Object) -> list[FieldError]:
    """The count of hash collisions is how new names are found: it must never go back."""
    count = status.get("collisionCount", 0)
    if before.get("collisionCount", 0) > count:
        return [invalid("status.collisionCount", count, "cannot be decremented")]
    return []
