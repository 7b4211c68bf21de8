"""Which requests a webhook or an admission policy looks at.

Owns rules, match resources and the address of a webhook, with their defaults
(`pkg/apis/admissionregistration/validation`).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._selectors import validate_selector
from protocol.cel import url_problem
from protocol.names import dns1123_subdomain, path_segment_name, port_number

__all__ = [
    "FAILURE_POLICIES",
    "MATCH_POLICIES",
    "check_service",
    "check_url",
    "default_match_resources",
    "default_rules",
    "validate_client_config",
    "validate_match_resources",
    "validate_rule",
]

Object = dict[str, Any]

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_URL_FORM = "; desired format: https://host[/path]"


def default_rules(rules: list[Object] | None) -> None:
    """Rules are for every scope."""
    for rule in rules or ():
        if rule.get("scope") is None:
            rule["scope"] = "*"


def default_match_resources(match: Object) -> None:
    """Everything matches, in any version."""
    if match.get("matchPolicy") is None:
        match["matchPolicy"] = "Equivalent"
    for key in ("namespaceSelector", "objectSelector"):
        if match.get(key) is None:
            match[key] = {}
    default_rules(match.get("resourceRules"))
    default_rules(match.get("excludeResourceRules"))


def _list(
    rule: Object, key: str, noun: str, path: str, blanks: bool = False
) -> list[FieldError]:
    items, at = rule.get(key) or [], f"{path}.{key}"
    if not items:
        return [required(at)]
    errors: list[FieldError] = []
    if len(items) > 1 and "*" in items:
        errors.append(invalid(at, items, f"if '*' is present, must not specify other {noun}"))
    if not blanks:
        errors += [required(f"{at}[{i}]") for i, item in enumerate(items) if not item]
    return errors


def validate_rule(rule: Object, path: str) -> list[FieldError]:
    """Operations, groups, versions, resources and scope."""
    errors = _list(rule, "operations", "operations", path, blanks=True)
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            errors.append(not_supported(f"{path}.operations[{index}]", operation, _OPERATIONS))
    errors += _list(rule, "apiGroups", "API groups", path, blanks=True)
    errors += _list(rule, "apiVersions", "API versions", path)
    errors += _resources(rule.get("resources") or [], path + ".resources")
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        errors.append(not_supported(path + ".scope", scope, _SCOPES))
    return errors


def _resources(resources: list[str], path: str) -> list[FieldError]:
    """`pods`, `pods/status`, `pods/*`, `*/status`, `*` and `*/*`, without overlap."""
    errors = [] if resources else [required(path)]
    whole: set[str] = set()
    everywhere: set[str] = set()
    plain = False
    for index, resource in enumerate(resources):
        at = f"{path}[{index}]"
        if not resource:
            errors.append(required(at))
            continue
        name, slash, sub = resource.partition("/")
        if not slash:
            plain = resource != "*"
            continue
        if name in whole:
            detail = f"if '{name}/*' is present, must not specify {resource}"
            errors.append(invalid(at, resource, detail))
        if sub in everywhere:
            detail = f"if '*/{sub}' is present, must not specify {resource}"
            errors.append(invalid(at, resource, detail))
        if sub == "*":
            whole.add(name)
        if name == "*":
            everywhere.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        detail = "if '*/*' is present, must not specify other resources"
        errors.append(invalid(path, resources, detail))
    if "*" in resources and plain:
        detail = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid(path, resources, detail))
    return errors


def validate_match_resources(match: Object, path: str) -> list[FieldError]:
    """The requests of a policy or binding; a missing selector was not defaulted."""
    errors: list[FieldError] = []
    policy = match.get("matchPolicy")
    if policy is None:
        errors.append(required(path + ".matchPolicy"))
    elif policy not in MATCH_POLICIES:
        errors.append(not_supported(path + ".matchPolicy", policy, MATCH_POLICIES))
    for key in ("namespaceSelector", "objectSelector"):
        selector = match.get(key)
        if selector is None:
            errors.append(required(f"{path}.{key}"))
        else:
            errors += validate_selector(selector, f"{path}.{key}")
    for key in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(key) or ()):
            errors += _named_rule(rule, f"{path}.{key}[{index}]")
    return errors


def _named_rule(rule: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    names = rule.get("resourceNames") or []
    for index, name in enumerate(names):
        at = f"{path}.resourceNames[{index}]"
        errors += [invalid(at, name, message) for message in path_segment_name(name, False)]
        if name in names[:index]:
            errors.append(duplicate(at, name))
    return errors + validate_rule(rule, path)


def validate_client_config(config: Object, path: str) -> list[FieldError]:
    """How a webhook is called: by URL or through a Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if service is not None:
        return check_service(service, path + ".service")
    return check_url(url or "", path + ".url")


def check_url(url: str, path: str) -> list[FieldError]:
    """A URL that webhooks are called at."""
    try:
        problem = url_problem(url, absolute=False)
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError as error:
        problem = f"parse {json.dumps(url)}: {error}"
    if problem:
        return [required(path, f"url must be a valid URL: {problem}{_URL_FORM}")]
    errors: list[FieldError] = []
    if parts.scheme != "https":
        detail = "'https' is the only allowed URL scheme" + _URL_FORM
        errors.append(invalid(path, parts.scheme, detail))
    if not host:
        errors.append(invalid(path, "", "host must be specified" + _URL_FORM))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        errors.append(invalid(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        detail = "fragments are not permitted in the URL"
        errors.append(invalid(path, parts.fragment, detail))
    if parts.query:
        detail = "query parameters are not permitted in the URL"
        errors.append(invalid(path, parts.query, detail))
    return errors


def check_service(service: Object, path: str) -> list[FieldError]:
    """A Service that webhooks are called through."""
    errors: list[FieldError] = []
    for key in ("name", "namespace"):
        if not service.get(key):
            errors.append(required(f"{path}.{key}"))
    port = service.get("port", 0)
    if messages := port_number(port):
        errors.append(invalid(path + ".port", port, "port is not valid: " + ", ".join(messages)))
    where = service.get("path")
    if where in (None, "", "/"):
        return errors
    at = path + ".path"
    if where == "//":
        return [*errors, invalid(at, where, "segment[0] may not be empty")]
    if not where.startswith("/"):
        errors.append(invalid(at, where, "must start with a '/'"))
    for index, step in enumerate(where[1:].removesuffix("/").split("/")):
        messages = dns1123_subdomain(step) if step else ()
        if not step:
            errors.append(invalid(at, where, f"segment[{index}] may not be empty"))
        errors += [invalid(at, where, f"segment[{index}]: {message}") for message in messages]
    return errors
