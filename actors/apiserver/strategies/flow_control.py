"""FlowSchema and PriorityLevelConfiguration.

Owns defaults, validation and columns (`pkg/apis/flowcontrol/validation`). Queueing requests by
them belongs to whoever serves requests.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import math
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    dns_subdomain_name,
)

__all__ = ["FlowSchemaStrategy", "PriorityLevelStrategy"]

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_METHODS = ("ByNamespace", "ByUser")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_MAX_PRECEDENCE = 10000
_MAX_QUEUES = 10_000_000
_MAX_HASH_BITS = 60
_NAMESPACES = "each member of this list must be '*' or a DNS-1123 label; "


class FlowSchemaStrategy(Strategy):
    """FlowSchema."""

    has_status = True
    status_keeps_metadata = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def check(self, obj: Object) -> list[FieldError]:
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
        errors = self.check_meta(obj) + self._check_precedence(spec, name)
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type", "") not in _METHODS:
            at, shown = "spec.distinguisherMethod.type", {"Type": method.get("type", "")}
            errors.append(not_supported(at, shown, _METHODS))
        level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
        at = "spec.priorityLevelConfiguration.name"
        if level:
            errors += [invalid(at, level, message) for message in dns_subdomain_name(level, False)]
        else:
            errors.append(required(at, "must reference a priority level"))
        for index, rule in enumerate(spec.get("rules") or ()):
            errors += _rule(rule, f"spec.rules[{index}]")
        return errors + _conditions(obj)

    def _check_precedence(self, spec: Object, name: str) -> list[FieldError]:
        value, at = spec.get("matchingPrecedence", 0), "spec.matchingPrecedence"
        errors: list[FieldError] = []
        if value <= 0:
            errors.append(invalid(at, value, "must be a positive value"))
        if value > _MAX_PRECEDENCE:
            errors.append(invalid(at, value, f"must not be greater than {_MAX_PRECEDENCE}"))
        if value == 1 and name != "exempt":
            detail = "only the schema named 'exempt' may have matchingPrecedence 1"
            errors.append(invalid(at, value, detail))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return _conditions(new)

    def table_order(self, rows: list[tuple[Object, Object | None]]) -> list[tuple[Object, Object | None]]:
        """In the order in which requests are matched."""
        return sorted(rows, key=lambda row: ((row[0].get("spec") or {}).get("matchingPrecedence", 0), row[0]["metadata"]["name"]))

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("PriorityLevel", "string", "", "Priority level of the requests it matches."),
            Column("MatchingPrecedence", "string", "", "Lower numbers are tried first."),
            Column("DistinguisherMethod", "string", "", "How flows are told apart."),
            AGE,
            Column("MissingPL", "string", "", "Whether its priority level is missing."),
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        dangling = (c for c in status.get("conditions") or () if c.get("type") == "Dangling")
        return [
            obj["metadata"].get("name", ""),
            (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
            spec.get("matchingPrecedence", 0),
            (spec.get("distinguisherMethod") or {}).get("type") or "<none>",
            self.age(obj, now),
            next((c.get("status", "") for c in dangling), "?"),
        ]


class PriorityLevelStrategy(Strategy):
    """PriorityLevelConfiguration."""

    has_status = True
    status_keeps_metadata = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("exempt") is not None:
            _default_exempt(spec["exempt"])
        limited = spec.get("limited")
        if limited is None:
            return
        for key, value in (("nominalConcurrencyShares", 30), ("lendablePercent", 0)):
            if limited.get(key) is None:
                limited[key] = value
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        for key, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
            if queuing is not None and not queuing.get(key):
                queuing[key] = value

    def check(self, obj: Object) -> list[FieldError]:
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
        errors, kind = self.check_meta(obj), spec.get("type", "")
        if (name == "exempt") != (kind == "Exempt"):
            detail = "type must be 'Exempt' if and only if name is 'exempt'"
            errors.append(invalid("spec.type", kind, detail))
        limited, exempt = spec.get("limited"), spec.get("exempt")
        if kind == "Exempt":
            if limited is not None:
                detail = "must be nil if the type is not Limited"
                errors.append(forbidden("spec.limited", detail))
            errors += _exempt(exempt or {}, "spec.exempt")
        elif kind == "Limited":
            if exempt is not None:
                errors.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
            if limited is None:
                detail = "must not be empty when type is Limited"
                errors.append(required("spec.limited", detail))
            else:
                errors += _limited(limited, "spec.limited")
        else:
            errors.append(not_supported("spec.type", kind, ("Exempt", "Limited")))
        return errors + _conditions(obj)

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return _conditions(new)

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Type", "string", "", "Whether requests of the level are limited."),
            Column("NominalConcurrencyShares", "string", "", "Share of the server's capacity."),
            Column("Queues", "string", "", "Number of queues."),
            Column("HandSize", "string", "", "Queues that one flow may use."),
            Column("QueueLengthLimit", "string", "", "Requests that may wait in one queue."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        limited = spec.get("limited") or {}
        queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("type", ""),
            limited.get("nominalConcurrencyShares", "<none>"),
            queuing.get("queues", "<none>"),
            queuing.get("handSize", "<none>"),
            queuing.get("queueLengthLimit", "<none>"),
            self.age(obj, now),
        ]


def _default_exempt(exempt: Object) -> None:
    for key in ("nominalConcurrencyShares", "lendablePercent"):
        if exempt.get(key) is None:
            exempt[key] = 0


def _conditions(obj: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        kind = condition.get("type", "")
        at = f"status.conditions[{index}].type"
        if kind in seen:
            errors.append(duplicate(at, kind))
        seen.add(kind)
        if not kind:
            errors.append(required(at, "must not be empty"))
    return errors


def _rule(rule: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    subjects = rule.get("subjects") or []
    if not subjects:
        detail = "subjects must contain at least one value"
        errors.append(required(path + ".subjects", detail))
    for index, subject in enumerate(subjects):
        errors += _subject(subject, f"{path}.subjects[{index}]")
    resources, urls = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not urls:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        errors.append(required(path, detail))
    for index, entry in enumerate(resources):
        errors += _resource_rule(entry, f"{path}.resourceRules[{index}]")
    for index, entry in enumerate(urls):
        errors += _url_rule(entry, f"{path}.nonResourceRules[{index}]")
    return errors


def _subject(subject: Object, path: str) -> list[FieldError]:
    kind = subject.get("kind", "")
    key = _SUBJECTS.get(kind)
    if key is None:
        return [not_supported(path + ".kind", kind, _SUBJECTS)]
    given, at = subject.get(key), f"{path}.{key}"
    if given is None:
        errors = [required(at, f"{key} is required when subject kind is '{kind}'")]
    elif not given.get("name"):
        errors = [required(at + ".name")]
    else:
        errors = []
    if given is not None and kind == "ServiceAccount":
        errors += _account(given, at)
    for other, name in (("User", "user"), ("Group", "group"), ("ServiceAccount", "serviceAccount")):
        if other != kind and subject.get(name) is not None:
            detail = f"{name} is forbidden when subject kind is not '{other}'"
            errors.append(forbidden(f"{path}.{name}", detail))
    return errors


def _account(account: Object, path: str) -> list[FieldError]:
    name, namespace = account.get("name", ""), account.get("namespace", "")
    errors: list[FieldError] = []
    if name and name != "*":
        errors += [invalid(path + ".name", name, message) for message in dns1123_subdomain(name)]
    at = path + ".namespace"
    if not namespace:
        return [*errors, required(at, "must specify namespace for service account")]
    return errors + [invalid(at, namespace, message) for message in dns1123_label(namespace)]


def _verbs(rule: Object, path: str) -> list[FieldError]:
    verbs, at = rule.get("verbs") or [], path + ".verbs"
    if not verbs:
        return [required(at, "verbs must contain at least one value")]
    if "*" in verbs:
        detail = "if '*' is present, must not specify other verbs"
        return [invalid(at, verbs, detail)] if len(verbs) > 1 else []
    return [] if set(verbs) <= set(_VERBS) else [not_supported(at, verbs, _VERBS)]


def _resource_rule(rule: Object, path: str) -> list[FieldError]:
    errors = _verbs(rule, path)
    for key, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        items, at = rule.get(key) or [], f"{path}.{key}"
        if not items:
            errors.append(required(at, f"resource rules must supply at least one {one}"))
        elif len(items) > 1 and "*" in items:
            errors.append(invalid(at, items, f"if '*' is present, must not specify other {many}"))
    namespaces, at = rule.get("namespaces") or [], path + ".namespaces"
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        errors.append(required(at, detail))
    elif "*" in namespaces:
        if len(namespaces) > 1:
            detail = "if '*' is present, must not specify other namespaces"
            errors.append(invalid(at, namespaces, detail))
    else:
        for index, name in enumerate(namespaces):
            where = f"{at}[{index}]"
            errors += [invalid(where, name, _NAMESPACES + m) for m in dns1123_label(name)]
    return errors


def _url_rule(rule: Object, path: str) -> list[FieldError]:
    errors, urls = _verbs(rule, path), rule.get("nonResourceURLs") or []
    at = path + ".nonResourceURLs"
    if not urls:
        errors.append(required(at, "nonResourceURLs must contain at least one value"))
    elif "*" in urls:
        if len(urls) > 1:
            detail = "if '*' is present, must not specify other non-resource URLs"
            errors.append(invalid(at, urls, detail))
    else:
        for index, url in enumerate(urls):
            if problem := _url_problem(url):
                errors.append(invalid(f"{at}[{index}]", url, problem))
    return errors


def _url_problem(url: str) -> str:
    """The first thing wrong with a path."""
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    count = url.count("*")
    if count > 1 or (count == 1 and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def _percent(value: int | None, path: str) -> list[FieldError]:
    if value is None or 0 <= value <= 100:
        return []
    return [invalid(path, value, "must be between 0 and 100, inclusive")]


def _exempt(exempt: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    shares = exempt.get("nominalConcurrencyShares") or 0
    if shares < 0:
        at = path + ".nominalConcurrencyShares"
        errors.append(invalid(at, shares, "must be a non-negative integer"))
    return errors + _percent(exempt.get("lendablePercent"), path + ".lendablePercent")


def _limited(limited: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    shares = limited.get("nominalConcurrencyShares") or 0
    if shares < 0:
        at = path + ".nominalConcurrencyShares"
        errors.append(invalid(at, shares, "must be a non-negative integer"))
    response, at = limited.get("limitResponse") or {}, path + ".limitResponse"
    kind, queuing = response.get("type", ""), response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            detail = "must be nil if limited.limitResponse.type is not Limited"
            errors.append(forbidden(at + ".queuing", detail))
    elif kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            errors.append(required(at + ".queuing", detail))
        else:
            errors += _queuing(queuing, at + ".queuing")
    else:
        errors.append(not_supported(at + ".type", kind, ("Queue", "Reject")))
    errors += _percent(limited.get("lendablePercent"), path + ".lendablePercent")
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        errors.append(invalid(path + ".borrowingLimitPercent", borrowing, detail))
    return errors


def _queuing(queuing: Object, path: str) -> list[FieldError]:
    queues, hand, length = (queuing.get(k, 0) for k in ("queues", "handSize", "queueLengthLimit"))
    errors: list[FieldError] = []
    if length <= 0:
        errors.append(invalid(path + ".queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(invalid(path + ".queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        detail = f"must not be greater than {_MAX_QUEUES}"
        errors.append(invalid(path + ".queues", queues, detail))
    at = path + ".handSize"
    if hand <= 0:
        errors.append(invalid(at, hand, "must be positive"))
    elif hand > queues:
        errors.append(invalid(at, hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _MAX_HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be "
            f"greater than {_MAX_HASH_BITS}"
        )
        errors.append(invalid(at, hand, detail))
    return errors
