"""Containers of a pod: regular, init, sidecar and ephemeral ones.

Owns the validation of everything below a container but its security context, and how containers of
one pod may relate (names, host ports).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
    too_long,
)
from actors.apiserver.strategies._resources import validate_requirements
from actors.apiserver.strategies.pod_env import validate_env, validate_env_from
from actors.apiserver.strategies.pod_mounts import validate_devices, validate_mounts
from actors.apiserver.strategies.pod_probes import validate_lifecycle, validate_probe
from actors.apiserver.strategies.pod_security import validate_security_context
from actors.apiserver.strategies.pod_volumes import validate_pull_policy
from protocol.names import (
    dns1123_label,
    port_name,
    port_number,
)

__all__ = ["PodFacts", "validate_containers", "validate_ephemeral", "validate_image_whitespace"]

Object = dict[str, Any]

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_RESIZE = ("NotRequired", "RestartContainer")
_RESTART = ("Always", "Never", "OnFailure")
_NOT_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)
_HOOKS = ("livenessProbe", "readinessProbe", "startupProbe")


class PodFacts(NamedTuple):
    """What the checks of a container need to know of its pod."""

    volumes: dict[str, Object]
    claims: Collection[str]
    restart_policy: str
    grace_s: int | None
    host_users: bool
    os: Object | None
    env_files: bool
    """Variables may come from files (KEP-3721)."""


def validate_containers(spec: Object, path: str, facts: PodFacts) -> list[FieldError]:
    """Regular and init containers."""
    containers = spec.get("containers")
    at = path + ".containers"
    if not containers:
        errors = [required(at)]
    else:
        errors = []
        names: set[str] = set()
        for index, container in enumerate(containers):
            errors += _regular(container, f"{at}[{index}]", facts, names)
        errors += _host_ports(containers, at)
    if spec.get("initContainers"):
        errors += _init_containers(spec, path + ".initContainers", facts)
    return errors


def _regular(container: Object, path: str, facts: PodFacts, names: set[str]) -> list[FieldError]:
    errors = _common(container, path, facts)
    name = container.get("name", "")
    if name in names:
        errors.append(duplicate(path + ".name", name))
    names.add(name)
    if "lifecycle" in container:
        at = path + ".lifecycle"
        errors += validate_lifecycle(container["lifecycle"], facts.grace_s, at, facts.os)
    for hook in _HOOKS:
        if hook in container:
            errors += validate_probe(container[hook], hook, facts.grace_s, f"{path}.{hook}")
    if "restartPolicy" in container or "restartPolicyRules" in container:
        errors += _restart_policy(container, path)
    return errors


def _init_containers(spec: Object, path: str, facts: PodFacts) -> list[FieldError]:
    names = {container.get("name", "") for container in spec.get("containers") or ()}
    errors: list[FieldError] = []
    for index, container in enumerate(spec["initContainers"]):
        at = f"{path}[{index}]"
        errors += _common(container, at, facts)
        policy = container.get("restartPolicy")
        if policy == "Always":
            if container.get("restartPolicyRules"):
                detail = (
                    "restartPolicyRules are not allowed for init containers with restart policy Always"
                )
                errors.append(forbidden(at + ".restartPolicyRules", detail))
        elif policy is not None:
            errors += _restart_policy(container, at)
        name = container.get("name", "")
        if name in names:
            errors.append(duplicate(at + ".name", name))
        elif name:
            names.add(name)
        errors += _host_ports([container], path)
        errors += _init_hooks(container, at, facts)
    return errors


def _init_hooks(container: Object, path: str, facts: PodFacts) -> list[FieldError]:
    errors: list[FieldError] = []
    if container.get("restartPolicy") == "Always":
        if "lifecycle" in container:
            at = path + ".lifecycle"
            errors += validate_lifecycle(container["lifecycle"], facts.grace_s, at, facts.os)
        for hook in _HOOKS:
            if hook in container:
                errors += validate_probe(container[hook], hook, facts.grace_s, f"{path}.{hook}")
        return errors
    detail = "may not be set for init containers without restartPolicy=Always"
    return [forbidden(f"{path}.{k}", detail) for k in ("lifecycle", *_HOOKS) if k in container]


def validate_ephemeral(spec: Object, path: str, facts: PodFacts) -> list[FieldError]:
    """Ephemeral containers."""
    ephemeral = spec.get("ephemeralContainers")
    if not ephemeral:
        return []
    others = {
        container.get("name", "")
        for key in ("containers", "initContainers")
        for container in spec.get(key) or ()
    }
    names = set(others)
    errors: list[FieldError] = []
    detail = "cannot be set for an Ephemeral Container"
    for index, container in enumerate(ephemeral):
        at = f"{path}[{index}]"
        errors += _common(container, at, facts)
        errors += validate_image_whitespace(container, at)
        name, target = container.get("name", ""), container.get("targetContainerName", "")
        if name in names:
            errors.append(duplicate(at + ".name", name))
        names.add(name)
        if target and target not in others:
            errors.append(not_found(at + ".targetContainerName", target))
        errors += [forbidden(f"{at}.{key}", detail) for key in _NOT_EPHEMERAL if container.get(key)]
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    errors.append(forbidden(f"{at}.volumeMounts[{number}].{field}", detail))
    return errors


def validate_image_whitespace(container: Object, path: str) -> list[FieldError]:
    """An image's name in a pod; templates may still be filled in."""
    image = container.get("image", "")
    if image != image.strip():
        detail = "must not have leading or trailing whitespace"
        return [invalid(path + ".image", image, detail)]
    return []


def _common(container: Object, path: str, facts: PodFacts) -> list[FieldError]:
    errors: list[FieldError] = []
    name = container.get("name", "")
    if not name:
        errors.append(required(path + ".name"))
    elif problems := dns1123_label(name):
        errors += [invalid(path + ".name", name, message) for message in problems]
    if not container.get("image"):
        errors.append(required(path + ".image"))
    policy = container.get("terminationMessagePolicy")
    if policy not in _MESSAGE_POLICIES:
        at = path + ".terminationMessagePolicy"
        wrong = not_supported(at, policy, _MESSAGE_POLICIES) if policy else required(at)
        errors.append(wrong)
    if "ports" in container:
        errors += _ports(container["ports"], path + ".ports")
    if "env" in container:
        errors += validate_env(container["env"], path + ".env", facts.env_files)
    if "envFrom" in container:
        errors += validate_env_from(container["envFrom"], path + ".envFrom")
    if "volumeMounts" in container:
        errors += validate_mounts(container, path + ".volumeMounts", facts.volumes)
    if "volumeDevices" in container:
        errors += validate_devices(container, path + ".volumeDevices", facts.volumes)
    errors += validate_pull_policy(container.get("imagePullPolicy"), path + ".imagePullPolicy")
    if resources := container.get("resources"):
        errors += validate_requirements(resources, facts.claims, path + ".resources")
    if "resizePolicy" in container:
        policies = container["resizePolicy"]
        errors += _resize_policy(policies, path + ".resizePolicy", facts.restart_policy)
    if "securityContext" in container:
        context = container["securityContext"]
        errors += validate_security_context(context, path + ".securityContext", facts.host_users)
    return errors


# --- ports --------------------------------------------------------------------------------------


def _ports(ports: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        name = port.get("name", "")
        if name:
            if problems := port_name(name):
                errors += [invalid(at + ".name", name, message) for message in problems]
            elif name in names:
                errors.append(duplicate(at + ".name", name))
            else:
                names.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            errors.append(required(at + ".containerPort"))
        else:
            errors += [invalid(at + ".containerPort", number, m) for m in port_number(number)]
        host = port.get("hostPort", 0)
        if host:
            errors += [invalid(at + ".hostPort", host, message) for message in port_number(host)]
        protocol = port.get("protocol", "")
        if protocol not in _PROTOCOLS:
            where = at + ".protocol"
            wrong = not_supported(where, protocol, _PROTOCOLS) if protocol else required(where)
            errors.append(wrong)
    return errors


def _host_ports(containers: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in seen:
                errors.append(duplicate(f"{path}[{index}].ports[{number}].hostPort", key))
            seen.add(key)
    return errors


# --- policies -----------------------------------------------------------------------------------


def _resize_policy(policies: list[Object], path: str, pod_policy: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if name in seen:
            errors.append(duplicate(f"{path}[{index}]", name))
        seen.add(name)
        if name not in ("cpu", "memory"):
            errors.append(not_supported(path, name, ("cpu", "memory")) if name else required(path))
        if restart not in _RESIZE:
            errors.append(not_supported(path, restart, _RESIZE) if restart else required(path))
        if pod_policy == "Never" and restart != "NotRequired":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            errors.append(invalid(path, restart, detail))
    return errors


def _restart_policy(container: Object, path: str) -> list[FieldError]:
    """A container's own restart policy and rules (KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    errors: list[FieldError] = []
    at = path + ".restartPolicy"
    if policy is None:
        if not rules:
            return errors
        errors.append(required(at, "must specify restartPolicy when restart rules are used"))
    elif policy not in _RESTART:
        errors.append(not_supported(at, policy, _RESTART))
    if len(rules) > 20:
        errors.append(too_long(path + ".restartPolicyRules", 20))
    for index, rule in enumerate(rules):
        where = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action", "") not in ("Restart", "RestartAllContainers"):
            errors.append(not_supported(where + ".action", rule.get("action", ""), ("Restart",)))
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(required(where + ".exitCodes", "must be specified"))
            continue
        if codes.get("operator", "") not in ("In", "NotIn"):
            operator = codes.get("operator", "")
            errors.append(not_supported(where + ".exitCodes.operator", operator, ("In", "NotIn")))
        if len(codes.get("values") or ()) > 255:
            errors.append(too_long(where + ".exitCodes.values", 255))
    return errors
