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
from actors.apiserver.strategies._names import (
    config_map_key,
    dns1123_label,
    dns1123_subdomain,
    dns_subdomain_name,
    port_name,
    port_number,
    relaxed_env_var_name,
)
from actors.apiserver.strategies._resources import validate_requirements
from actors.apiserver.strategies._volume_sources import no_backsteps, relative_path
from actors.apiserver.strategies.pod_fields import validate_field_ref, validate_resource_field_ref
from actors.apiserver.strategies.pod_probes import validate_lifecycle, validate_probe
from actors.apiserver.strategies.pod_security import validate_security_context
from actors.apiserver.strategies.pod_volumes import validate_pull_policy

__all__ = ["PodFacts", "validate_containers", "validate_ephemeral", "validate_image_whitespace"]

Object = dict[str, Any]

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ENV_FIELDS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_RESIZE = ("NotRequired", "RestartContainer")
_RESTART = ("Always", "Never", "OnFailure")
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
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
        errors += _env(container["env"], path + ".env", facts.env_files)
    if "envFrom" in container:
        errors += _env_from(container["envFrom"], path + ".envFrom")
    if "volumeMounts" in container:
        errors += _mounts(container, path + ".volumeMounts", facts.volumes)
    if "volumeDevices" in container:
        errors += _devices(container, path + ".volumeDevices", facts.volumes)
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


# --- environment --------------------------------------------------------------------------------


def _env(variables: list[Object], path: str, env_files: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(variables):
        name = variable.get("name", "")
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        elif problems := relaxed_env_var_name(name):
            errors += [invalid(f"{path}[{index}].name", name, message) for message in problems]
        if "valueFrom" in variable:
            errors += _value_from(variable, f"{path}[{index}].valueFrom", env_files)
    return errors


def _value_from(variable: Object, path: str, env_files: bool) -> list[FieldError]:
    source = variable["valueFrom"]
    errors: list[FieldError] = []
    if "fieldRef" in source:
        errors += validate_field_ref(source["fieldRef"], _ENV_FIELDS, path + ".fieldRef")
    if "resourceFieldRef" in source:
        at = path + ".resourceFieldRef"
        errors += validate_resource_field_ref(source["resourceFieldRef"], at, volume=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            errors += _key_ref(source[kind], f"{path}.{kind}")
    if "fileKeyRef" in source:
        errors += _file_key_ref(source["fileKeyRef"], path + ".fileKeyRef")
    count = sum(kind in source for kind in _SOURCES)
    if count == 0:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`"
        listed += ", `secretKeyRef` or `fileKeyRef`" if env_files else " or `secretKeyRef`"
        errors.append(invalid(path, "", f"must specify one of: {listed}"))
    elif variable.get("value"):
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_ref(reference: Object, path: str) -> list[FieldError]:
    name, key = reference.get("name", ""), reference.get("key", "")
    errors = [invalid(path + ".name", name, message) for message in dns1123_subdomain(name)]
    if not key:
        errors.append(required(path + ".key"))
    else:
        errors += [invalid(path + ".key", key, message) for message in config_map_key(key)]
    return errors


def _file_key_ref(reference: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    key, volume, target = (reference.get(k, "") for k in ("key", "volumeName", "path"))
    if not key:
        errors.append(required(path + ".key"))
    else:
        errors += [invalid(path + ".key", key, message) for message in relaxed_env_var_name(key)]
    if not volume:
        errors.append(required(path + ".volumeName"))
    else:
        errors += [invalid(path + ".volumeName", volume, m) for m in dns1123_label(volume)]
    if not target:
        errors.append(required(path + ".path"))
    return errors + no_backsteps(target, path + ".path")


def _env_from(sources: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        if prefix := source.get("prefix"):
            errors += [invalid(at + ".prefix", prefix, m) for m in relaxed_env_var_name(prefix)]
        count = 0
        for kind in ("configMapRef", "secretRef"):
            if kind not in source:
                continue
            count += 1
            name = source[kind].get("name", "")
            where = f"{at}.{kind}.name"
            if not name:
                errors.append(required(where))
            else:
                errors += [invalid(where, name, m) for m in dns_subdomain_name(name, True)]
        if count == 0:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    return errors


# --- mounts -------------------------------------------------------------------------------------


def _mounts(container: Object, path: str, volumes: dict[str, Object]) -> list[FieldError]:
    devices = {d.get("name", ""): d.get("devicePath", "") for d in container.get("volumeDevices") or ()}
    errors: list[FieldError] = []
    points: set[str] = set()
    for index, mount in enumerate(container["volumeMounts"]):
        at = f"{path}[{index}]"
        name, point = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.append(required(at + ".name"))
        if name not in volumes:
            errors.append(not_found(at + ".name", name))
        if not point:
            errors.append(required(at + ".mountPath"))
        if point in points:
            errors.append(invalid(at + ".mountPath", point, "must be unique"))
        points.add(point)
        if devices:
            if name in devices:
                errors.append(invalid(at + ".name", name, "must not already exist in volumeDevices"))
            if point in devices.values():
                detail = "must not already exist as a path in volumeDevices"
                errors.append(invalid(at + ".mountPath", point, detail))
        if len(mount) > 2:
            errors += _mount_options(mount, container, path, at)
    return errors


def _mount_options(mount: Object, container: Object, path: str, at: str) -> list[FieldError]:
    """Options of one mount; most of their errors name the list, not the element, as upstream's."""
    errors: list[FieldError] = []
    sub, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
    if sub:
        errors += relative_path(sub, path + ".subPath")
    if expression:
        if sub:
            detail = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid(at + ".subPathExpr", expression, detail))
        errors += relative_path(expression, path + ".subPathExpr")
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        where = path + ".mountPropagation"
        if propagation not in _PROPAGATION:
            errors.append(not_supported(where, propagation, _PROPAGATION))
        privileged = (container.get("securityContext") or {}).get("privileged")
        if propagation == "Bidirectional" and not privileged:
            detail = "Bidirectional mount propagation is available only to privileged containers"
            errors.append(forbidden(where, detail))
    recursive = mount.get("recursiveReadOnly")
    if recursive is not None and recursive != "Disabled":
        where = path + ".recursiveReadOnly"
        if recursive not in _RECURSIVE:
            errors.append(not_supported(where, recursive, _RECURSIVE))
            return errors
        if not mount.get("readOnly"):
            errors.append(forbidden(where, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            errors.append(forbidden(where, detail))
    return errors


def _devices(container: Object, path: str, volumes: dict[str, Object]) -> list[FieldError]:
    mounts = {m.get("name", ""): m.get("mountPath", "") for m in container.get("volumeMounts") or ()}
    errors: list[FieldError] = []
    paths: set[str] = set()
    names: set[str] = set()
    for index, device in enumerate(container["volumeDevices"]):
        at = f"{path}[{index}]"
        name, target = device.get("name", ""), device.get("devicePath", "")
        if not name:
            errors.append(required(at + ".name"))
        if name in names:
            errors.append(invalid(at + ".name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(not_found(at + ".name", name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            detail = (
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            )
            errors.append(invalid(at + ".name", name, detail))
        if not target:
            errors.append(required(at + ".devicePath"))
        if target in paths:
            errors.append(invalid(at + ".devicePath", target, "must be unique"))
        if target and no_backsteps(target, ""):
            errors.append(invalid(at + ".devicePath", target, "can not contain backsteps ('..')"))
        else:
            paths.add(target)
        if name in mounts:
            errors.append(invalid(at + ".name", name, "must not already exist in volumeMounts"))
        if target in mounts.values():
            detail = "must not already exist as a path in volumeMounts"
            errors.append(invalid(at + ".devicePath", target, detail))
        if name:
            names.add(name)
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
