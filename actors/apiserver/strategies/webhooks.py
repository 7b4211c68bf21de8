"""ValidatingWebhookConfiguration and MutatingWebhookConfiguration.

Owns their defaults, validation and columns. Calling webhooks belongs to admission.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.strategies._admission_rules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    default_rules,
    validate_client_config,
    validate_rule,
)
from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._expressions import validate_match_conditions
from actors.apiserver.strategies._selectors import validate_selector
from protocol.names import dns1035_label, dns1123_subdomain

__all__ = ["MutatingWebhookStrategy", "WebhookStrategy"]

_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REINVOCATION = ("IfNeeded", "Never")
_REVIEW_VERSIONS = ("v1", "v1beta1")


class WebhookStrategy(Strategy):
    """ValidatingWebhookConfiguration."""

    has_generation = True
    allow_unconditional_update = False
    reinvocation: ClassVar[bool] = False
    """Whether hooks have a reinvocation policy."""

    def default(self, obj: Object) -> None:
        for hook in obj.get("webhooks") or ():
            for key, value in (
                ("failurePolicy", "Fail"),
                ("matchPolicy", "Equivalent"),
                ("timeoutSeconds", 10),
            ):
                if hook.get(key) is None:
                    hook[key] = value
            for key in ("namespaceSelector", "objectSelector"):
                if hook.get(key) is None:
                    hook[key] = {}
            if self.reinvocation and hook.get("reinvocationPolicy") is None:
                hook["reinvocationPolicy"] = "Never"
            default_rules(hook.get("rules"))
            service = (hook.get("clientConfig") or {}).get("service")
            if service is not None and service.get("port") is None:
                service["port"] = 443

    def bumps_generation(self, new: Object, old: Object) -> bool:
        return bool(new.get("webhooks") != old.get("webhooks"))

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        seen: set[str] = set()
        for index, hook in enumerate(obj.get("webhooks") or ()):
            at = f"webhooks[{index}]"
            errors += self._check_hook(hook, at)
            versions = hook.get("admissionReviewVersions") or []
            errors += _review_versions(versions, at + ".admissionReviewVersions")
            name = hook.get("name", "")
            if name and name in seen:
                errors.append(duplicate(at + ".name", name))
            seen.add(name)
        return errors

    def _check_hook(self, hook: Object, path: str) -> list[FieldError]:
        errors = _full_name(hook.get("name", ""), path + ".name")
        for index, rule in enumerate(hook.get("rules") or ()):
            errors += validate_rule(rule, f"{path}.rules[{index}]")
        errors += _one_of(hook, "failurePolicy", FAILURE_POLICIES, path)
        errors += _one_of(hook, "matchPolicy", MATCH_POLICIES, path)
        if hook.get("sideEffects") is None:
            detail = "must specify one of " + ", ".join(_SIDE_EFFECTS)
            errors.append(required(path + ".sideEffects", detail))
        errors += _one_of(hook, "sideEffects", _SIDE_EFFECTS, path)
        timeout = hook.get("timeoutSeconds")
        if timeout is not None and not 1 <= timeout <= 30:
            detail = "the timeout value must be between 1 and 30 seconds"
            errors.append(invalid(path + ".timeoutSeconds", timeout, detail))
        for key in ("namespaceSelector", "objectSelector"):
            if hook.get(key) is not None:
                errors += validate_selector(hook[key], f"{path}.{key}")
        if self.reinvocation:
            errors += _one_of(hook, "reinvocationPolicy", _REINVOCATION, path)
        errors += validate_client_config(hook.get("clientConfig") or {}, path + ".clientConfig")
        conditions = hook.get("matchConditions") or []
        return errors + validate_match_conditions(conditions, path + ".matchConditions")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Webhooks", "integer", "", "Number of webhooks."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        hooks = obj.get("webhooks") or ()
        return [obj["metadata"].get("name", ""), len(hooks), self.age(obj, now)]


class MutatingWebhookStrategy(WebhookStrategy):
    """MutatingWebhookConfiguration."""

    reinvocation = True


def _one_of(hook: Object, key: str, allowed: tuple[str, ...], path: str) -> list[FieldError]:
    value = hook.get(key)
    if value is None or value in allowed:
        return []
    return [not_supported(f"{path}.{key}", value, allowed)]


def _full_name(name: str, path: str) -> list[FieldError]:
    """A domain of at least three segments."""
    if not name:
        return [required(path)]
    if messages := dns1123_subdomain(name):
        return [invalid(path, name, ",".join(messages))]
    if name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        return [invalid(path, name, detail)]
    return []


def _review_versions(versions: list[str], path: str) -> list[FieldError]:
    known = ", ".join(_REVIEW_VERSIONS)
    if not versions:
        return [required(path, f"must specify one of {known}")]
    errors: list[FieldError] = []
    for index, version in enumerate(versions):
        at = f"{path}[{index}]"
        if version in versions[:index]:
            errors.append(invalid(at, version, "duplicate version"))
            continue
        errors += [invalid(at, version, message) for message in dns1035_label(version)]
    if not any(version in _REVIEW_VERSIONS for version in versions):
        errors.append(invalid(path, versions, f"must include at least one of {known}"))
    return errors
