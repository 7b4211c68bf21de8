"""Ingress and IngressClass.

Owns hosts, paths, backends, TLS entries and the class's parameters (`pkg/apis/networking/validation`).
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._addresses import parse_ip, strict_ip
from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies.service_updates import ingress_addresses
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    path_segment_name,
    port_name,
    port_number,
    wildcard_dns1123_subdomain,
)

__all__ = ["IngressClassStrategy", "IngressStrategy", "domain_prefixed_path"]

_CLASS = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_PATH_CHARS = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"


def domain_prefixed_path(name: str, path: str) -> list[FieldError]:
    """`example.com/thing`."""
    if not name:
        return [required(path)]
    domain, slash, rest = name.partition("/")
    if not slash or not domain or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [invalid(path, name, detail)]
    errors = [invalid(path, domain, message) for message in dns1123_subdomain(domain)]
    if not all(char.isascii() and (char.isalnum() or char in "/-._~%!$&'()*+,;=:") for char in rest):
        detail = f"Invalid path (regex used for validation is '{_PATH_CHARS}')"
        errors.append(invalid(path, rest, detail))
    return errors


class IngressStrategy(Strategy):
    """Ingress."""

    has_status = True
    has_generation = True

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = self.check_meta(obj)
        annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS)
        name = spec.get("ingressClassName")
        errors += self._check_spec(spec)
        if annotation is not None and name is not None and annotation != name:
            detail = "must match `ingressClassName` when both are specified"
            errors.append(invalid(f"annotations.{_CLASS}", annotation, detail))
        return errors

    def _check_spec(self, spec: Object) -> list[FieldError]:
        rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
        errors: list[FieldError] = []
        if not rules and backend is None:
            detail = "either `defaultBackend` or `rules` must be specified"
            errors.append(invalid("spec", spec.get("rules"), detail))
        if backend is not None:
            errors += _backend(backend, "spec.defaultBackend")
        for index, rule in enumerate(rules):
            errors += _rule(rule, f"spec.rules[{index}]")
        for index, entry in enumerate(spec.get("tls") or ()):
            errors += _tls(entry, f"spec.tls[{index}]")
        name = spec.get("ingressClassName")
        if name is not None:
            at = "spec.ingressClassName"
            errors += [invalid(at, name, message) for message in dns1123_subdomain(name)]
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self._check_spec(new.get("spec") or {})

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        known = set(ingress_addresses(old))
        balancer = (new.get("status") or {}).get("loadBalancer") or {}
        for index, item in enumerate(balancer.get("ingress") or ()):
            at = f"status.loadBalancer.ingress[{index}]"
            address, name = item.get("ip", ""), item.get("hostname", "")
            if address and address not in known:
                errors += [invalid(at + ".ip", address, m) for m in strict_ip(address)]
            if name:
                errors += [invalid(at + ".hostname", name, m) for m in dns1123_subdomain(name)]
                if parse_ip(name) is not None:
                    detail = "must be a DNS name, not an IP address"
                    errors.append(invalid(at + ".hostname", name, detail))
        return errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        if _CLASS in (new["metadata"].get("annotations") or {}) and old is None:
            out.append(
                f'annotation "{_CLASS}" is deprecated, please use \'spec.ingressClassName\' instead'
            )
        return out

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Class", "string", "", "Class that implements it."),
            Column("Hosts", "string", "", "Hosts that it is for."),
            Column("Address", "string", "", "Addresses of its load balancer."),
            Column("Ports", "string", "", "Ports of TLS configurations that it serves."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        name = spec.get("ingressClassName")
        return [
            obj["metadata"].get("name", ""),
            "<none>" if name is None else name,
            _hosts(spec.get("rules") or []),
            ",".join(sorted(set(ingress_addresses(obj)))),
            "80, 443" if spec.get("tls") else "80",
            self.age(obj, now),
        ]


def _hosts(rules: list[Object]) -> str:
    hosts: list[str] = []
    more = False
    for rule in rules:
        if len(hosts) == 3:
            more = True
        if not more and rule.get("host"):
            hosts.append(rule["host"])
    if not hosts:
        return "*"
    text = ",".join(hosts)
    return f"{text} + {len(rules) - 3} more..." if more else text


def _tls(entry: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, host in enumerate(entry.get("hosts") or ()):
        check = wildcard_dns1123_subdomain if "*" in host else dns1123_subdomain
        errors += [invalid(f"{path}.hosts[{index}]", host, message) for message in check(host)]
    if name := entry.get("secretName"):
        errors += [invalid(path + ".secretName", name, m) for m in dns1123_subdomain(name)]
    return errors


def _rule(rule: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    host = rule.get("host", "")
    if host:
        if parse_ip(host) is not None:
            detail = "must be a DNS name, not an IP address"
            errors.append(invalid(path + ".host", host, detail))
        check = wildcard_dns1123_subdomain if "*" in host else dns1123_subdomain
        errors += [invalid(path + ".host", host, message) for message in check(host)]
    http = rule.get("http")
    if http is None:
        return errors
    paths = http.get("paths") or []
    if not paths:
        errors.append(required(path + ".http.paths"))
    for index, entry in enumerate(paths):
        errors += _path(entry, f"{path}.http.paths[{index}]")
    return errors


def _path(entry: Object, path: str) -> list[FieldError]:
    kind, target = entry.get("pathType"), entry.get("path", "")
    if kind is None:
        return [required(path + ".pathType", "pathType must be specified")]
    errors: list[FieldError] = []
    at = path + ".path"
    if kind in ("Exact", "Prefix"):
        if not target.startswith("/"):
            errors.append(invalid(at, target, "must be an absolute path"))
        if target:
            for sequence in _BAD_SEQUENCES:
                if sequence in target:
                    errors.append(invalid(at, target, f"must not contain '{sequence}'"))
            for suffix in _BAD_SUFFIXES:
                if target.endswith(suffix):
                    errors.append(invalid(at, target, f"cannot end with '{suffix}'"))
    elif kind == "ImplementationSpecific":
        if target and not target.startswith("/"):
            errors.append(invalid(at, target, "must be an absolute path"))
    else:
        errors.append(not_supported(path + ".pathType", kind, _PATH_TYPES))
    return errors + _backend(entry.get("backend") or {}, path + ".backend")


def _backend(backend: Object, path: str) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _typed_reference(resource, path + ".resource")
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    errors: list[FieldError] = []
    name, port = service.get("name", ""), service.get("port") or {}
    if not name:
        errors.append(required(path + ".service.name"))
    else:
        errors += [invalid(path + ".service.name", name, m) for m in dns1123_label(name)]
    number, label = port.get("number", 0), port.get("name", "")
    if label and number:
        detail = "cannot set both port name & port number"
        errors.append(invalid(path, "", detail))
    elif label:
        errors += [invalid(path + ".service.port.name", label, m) for m in port_name(label)]
    elif number:
        errors += [invalid(path + ".service.port.number", number, m) for m in port_number(number)]
    else:
        errors.append(required(path, "port name or number is required"))
    return errors


def _typed_reference(reference: Object, path: str) -> list[FieldError]:
    group = reference.get("apiGroup")
    errors: list[FieldError] = []
    if group is not None:
        errors += [invalid(path + ".apiGroup", group, m) for m in dns1123_subdomain(group)]
    for key, word in (("kind", "kind"), ("name", "name")):
        value = reference.get(key, "")
        if not value:
            errors.append(required(f"{path}.{key}", f"{word} is required"))
        else:
            errors += [invalid(f"{path}.{key}", value, m) for m in path_segment_name(value, False)]
    return errors


# --- classes ------------------------------------------------------------------------------------


class IngressClassStrategy(Strategy):
    """IngressClass."""

    has_generation = True

    def default(self, obj: Object) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None:
            if parameters.get("scope") is None:
                parameters["scope"] = "Cluster"

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj.get("spec") or {})

    def _check_spec(self, spec: Object) -> list[FieldError]:
        controller = spec.get("controller", "")
        at = "spec.controller"
        errors = [too_long(at, 250)] if len(controller) > 250 else []
        errors += domain_prefixed_path(controller, at)
        parameters = spec.get("parameters")
        return errors + _parameters(parameters) if parameters is not None else errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self._check_spec(new.get("spec") or {})
        now, was = ((o.get("spec") or {}).get("controller", "") for o in (new, old))
        return errors + immutable(now, was, "spec.controller")

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Controller", "string", "", "Controller that implements the class."),
            Column("Parameters", "string", "", "Further configuration of the class."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        parameters = spec.get("parameters")
        cell = "<none>"
        if parameters is not None:
            kind, group = parameters.get("kind", ""), parameters.get("apiGroup")
            kind = kind if group is None else f"{kind}.{group}"
            cell = f"{kind}/{parameters.get('name', '')}"
        return [obj["metadata"].get("name", ""), spec.get("controller", ""), cell, self.age(obj, now)]


def _parameters(parameters: Object) -> list[FieldError]:
    path = "spec.parameters"
    errors = _typed_reference(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    at = path + ".scope"
    if scope is None:
        return [*errors, required(at)]
    if scope not in ("Cluster", "Namespace"):
        errors.append(not_supported(at, scope, ("Cluster", "Namespace")))
    where = path + ".namespace"
    if scope == "Namespace" and namespace is None:
        detail = "`parameters.scope` is set to 'Namespace'"
        errors.append(required(where, detail))
    elif scope == "Namespace":
        errors += [invalid(where, namespace, message) for message in dns1123_label(namespace)]
    elif scope == "Cluster" and namespace is not None:
        detail = "`parameters.scope` is set to 'Cluster'"
        errors.append(forbidden(where, detail))
    return errors
