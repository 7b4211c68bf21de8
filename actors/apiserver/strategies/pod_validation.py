"""Validation of a PodSpec as a whole, in pods and in templates.

Owns the order in which a spec is checked (it is the order of the causes) and the fields that belong
to no container. The parts are in the `pod_*` modules beside it.
"""

from __future__ import annotations

import re
from typing import Any

from actors.apiserver.strategies._addresses import strict_ip
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
from actors.apiserver.strategies._meta import validate_annotations, validate_labels
from actors.apiserver.strategies._resources import (
    is_huge_page,
    pod_level_name,
    sum_requests,
    validate_requirements,
)
from actors.apiserver.strategies.pod_containers import (
    PodFacts,
    validate_containers,
    validate_ephemeral,
)
from actors.apiserver.strategies.pod_profiles import validate_profile_annotations
from actors.apiserver.strategies.pod_scheduling import (
    validate_affinity,
    validate_gates,
    validate_spread,
    validate_tolerations,
)
from actors.apiserver.strategies.pod_security import (
    all_containers,
    validate_host_users,
    validate_os,
    validate_pod_context,
    validate_shared_processes,
    validate_windows_host_process,
)
from actors.apiserver.strategies.pod_volumes import validate_volumes
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    dns1123_subdomain_underscore,
    qualified_name,
)
from protocol.quantity import format_quantity, parse_quantity

__all__ = ["validate_pod_annotations", "validate_pod_spec", "validate_template"]

Object = dict[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("PreemptLowerPriority", "Never")
_MAX_INT32 = 2**31 - 1
_MIRROR = "kubernetes.io/config.mirror"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_INT32 = re.compile(r"(0|-?[1-9][0-9]*)\Z")
ENV_FILES_SINCE = 35
_TWO_NAMES = ("resourceClaimName", "resourceClaimTemplateName")


def validate_template(template: Object, path: str, minor: int = 36) -> list[FieldError]:
    """A PodTemplateSpec."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    errors = validate_labels(meta.get("labels"), path + ".labels") if meta else []
    annotations = meta.get("annotations")
    if annotations:
        at = path + ".annotations"
        errors += validate_annotations(annotations, at)
        errors += validate_pod_annotations(annotations, spec, at)
    errors += validate_pod_spec(spec, path + ".spec", {}, is_pod=False, minor=minor)
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        errors.append(forbidden(path + ".spec.ephemeralContainers", detail))
    return errors


def validate_pod_annotations(annotations: Object, spec: Object, path: str) -> list[FieldError]:
    """Annotations of pods that Kubernetes itself understands."""
    errors: list[FieldError] = []
    if _MIRROR in annotations and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid(f"{path}[{_MIRROR}]", annotations[_MIRROR], detail))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not (_INT32.match(cost) and -(2**31) <= int(cost) <= _MAX_INT32):
        errors.append(invalid(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    return errors + validate_profile_annotations(annotations, spec, path)


def validate_pod_spec(
    spec: Object, path: str, meta: Object, is_pod: bool = True, minor: int = 36
) -> list[FieldError]:
    """A PodSpec. `meta` is the pod's metadata, empty in a template."""
    errors: list[FieldError] = []
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        errors.append(required(path + ".terminationGracePeriodSeconds"))
    volumes, found = validate_volumes(spec, path + ".volumes", meta.get("name", ""), is_pod)
    errors += found
    claims: tuple[str, ...] = ()
    if "resourceClaims" in spec:
        claims = tuple(claim["name"] for claim in spec["resourceClaims"] if claim.get("name"))
        errors += _resource_claims(spec["resourceClaims"], meta, path + ".resourceClaims")
    facts = PodFacts(
        volumes,
        claims,
        spec.get("restartPolicy", ""),
        grace,
        spec.get("hostUsers", True),
        spec.get("os"),
        minor >= ENV_FILES_SINCE,
    )
    errors += validate_containers(spec, path, facts)
    if "ephemeralContainers" in spec:
        errors += validate_ephemeral(spec, path + ".ephemeralContainers", facts)
    if "resources" in spec:
        errors += _pod_resources(spec, claims, path)
    if spec.get("hostNetwork"):
        errors += _host_network_ports(spec, path + ".containers", is_pod)
    errors += _policies(spec, path)
    errors += _placement(spec, path)
    errors += validate_windows_host_process(spec, path)
    if "hostUsers" in spec:
        errors += validate_host_users(spec, path)
    if "hostnameOverride" in spec:
        errors += _hostname_override(spec, path)
    errors += _names_and_numbers(spec, path)
    if "os" in spec:
        errors += validate_os(spec, path)
    return errors + _env_files(spec, path)


def _policies(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, allowed in (("restartPolicy", _RESTART), ("dnsPolicy", _DNS)):
        policy = spec.get(key, "")
        if policy not in allowed:
            at = f"{path}.{key}"
            errors.append(not_supported(at, policy, allowed) if policy else required(at))
    return errors


def _placement(spec: Object, path: str) -> list[FieldError]:
    """From the node selector to topology spread, in upstream's order."""
    errors = validate_labels(spec.get("nodeSelector"), path + ".nodeSelector")
    errors += validate_shared_processes(spec, path + ".securityContext")
    errors += validate_pod_context(spec, path + ".securityContext")
    if "affinity" in spec:
        errors += validate_affinity(spec["affinity"], path + ".affinity")
    if "dnsConfig" in spec or spec.get("dnsPolicy") == "None":
        errors += _dns_config(spec, path + ".dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        at = f"{path}.readinessGates[{index}].conditionType"
        kind = gate.get("conditionType", "")
        errors += [invalid(at, kind, message) for message in qualified_name(kind)]
    if "schedulingGates" in spec:
        errors += validate_gates(spec["schedulingGates"], path + ".schedulingGates")
    if "topologySpreadConstraints" in spec:
        constraints = spec["topologySpreadConstraints"]
        errors += validate_spread(constraints, path + ".topologySpreadConstraints")
    return errors


def _names_and_numbers(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("serviceAccountName", "nodeName"):
        if name := spec.get(key):
            errors += [invalid(f"{path}.{key}", name, m) for m in dns1123_subdomain(name)]
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        detail = f"must be between 1 and {_MAX_INT32}, inclusive"
        errors.append(invalid(path + ".activeDeadlineSeconds", deadline, detail))
    for key in ("hostname", "subdomain"):
        if name := spec.get(key):
            errors += [invalid(f"{path}.{key}", name, message) for message in dns1123_label(name)]
    if spec.get("tolerations"):
        errors += validate_tolerations(spec["tolerations"], path + ".tolerations")
    if spec.get("hostAliases"):
        errors += _host_aliases(spec["hostAliases"], path + ".hostAliases")
    for key in ("priorityClassName", "runtimeClassName"):
        name = spec.get(key)
        if name or (name is not None and key == "runtimeClassName"):
            errors += [invalid(f"{path}.{key}", name, m) for m in dns1123_subdomain(name)]
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in _PREEMPTION:
        at = path + ".preemptionPolicy"
        errors.append(not_supported(at, preemption, _PREEMPTION) if preemption else required(at))
    if "overhead" in spec:
        errors += validate_requirements({"limits": spec["overhead"]}, (), path + ".overhead")
    return errors


def _host_aliases(aliases: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, alias in enumerate(aliases):
        address = alias.get("ip", "")
        errors += [invalid(f"{path}[{index}].ip", address, m) for m in strict_ip(address)]
        for number, name in enumerate(alias.get("hostnames") or ()):
            at = f"{path}[{index}].hostnames[{number}]"
            errors += [invalid(at, name, message) for message in dns1123_subdomain(name)]
    return errors


def _host_network_ports(spec: Object, path: str, is_pod: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    detail = "must match `containerPort` when `hostNetwork` is true"
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort", 0)
            if (is_pod or host) and host != port.get("containerPort", 0):
                errors.append(invalid(f"{path}[{index}].ports[{number}].hostPort", host, detail))
    return errors


def _dns_config(spec: Object, path: str) -> list[FieldError]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(path + ".nameservers", detail)]
    config = config or {}
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    errors: list[FieldError] = []
    if len(servers) > 3:
        detail = "must not have more than 3 nameservers"
        errors.append(invalid(path + ".nameservers", servers, detail))
    for index, server in enumerate(servers):
        errors += [invalid(f"{path}.nameservers[{index}]", server, m) for m in strict_ip(server)]
    if len(searches) > 32:
        detail = "must not have more than 32 search paths"
        errors.append(invalid(path + ".searches", searches, detail))
    if len(" ".join(searches)) > 2048:
        detail = "must not have more than 2048 characters (including spaces) in the search list"
        errors.append(invalid(path + ".searches", searches, detail))
    for index, search in enumerate(searches):
        if search != ".":
            name = search.removesuffix(".")
            at = f"{path}.searches[{index}]"
            errors += [invalid(at, name, m) for m in dns1123_subdomain_underscore(name)]
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{index}]", "must not be empty"))
    return errors


def _hostname_override(spec: Object, path: str) -> list[FieldError]:
    name = spec["hostnameOverride"]
    at = path + ".hostnameOverride"
    errors: list[FieldError] = []
    if spec.get("setHostnameAsFQDN"):
        errors.append(forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        errors.append(forbidden(at, "may not be specified when hostNetwork is true"))
    if len(name) > 64:
        errors.append(too_long(at, 64))
    return errors + [invalid(at, name, message) for message in dns1123_subdomain(name)]


def _env_files(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for container, at in all_containers(spec, path):
        for index, variable in enumerate(container.get("env") or ()):
            reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if reference is None:
                continue
            where = f"{at}.env[{index}].valueFrom.fileKeyRef.volumeName"
            name = reference.get("volumeName", "")
            volumes = {v.get("name", ""): v for v in spec.get("volumes") or ()}
            if name not in volumes:
                errors.append(not_found(where, name))
            elif "emptyDir" not in volumes[name]:
                detail = "referenced volume must be of type emptyDir"
                errors.append(invalid(where, name, detail))
    return errors


# --- resources of the whole pod -----------------------------------------------------------------


def _resource_claims(claims: list[Object], meta: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        if _MIRROR in (meta.get("annotations") or {}):
            errors.append(forbidden("", "static pods do not support resource claims"))
            continue
        at = f"{path}[{index}]"
        name = claim.get("name", "")
        if not name:
            errors.append(required(at + ".name"))
        elif name in seen:
            errors.append(duplicate(at + ".name", name))
        else:
            errors += [invalid(at + ".name", name, message) for message in dns1123_label(name)]
            seen.add(name)
        given = [key for key in _TWO_NAMES if claim.get(key) is not None]
        if len(given) != 1:
            shown = {
                "Name": name,
                "ResourceClaimName": claim.get("resourceClaimName"),
                "ResourceClaimTemplateName": claim.get("resourceClaimTemplateName"),
            }
            detail = (
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
                if given
                else "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            )
            errors.append(invalid(at, shown, detail))
        for key in given:
            errors += [invalid(f"{at}.{key}", claim[key], m) for m in dns1123_subdomain(claim[key])]
    return errors


def _pod_resources(spec: Object, claims: tuple[str, ...], path: str) -> list[FieldError]:
    """Requests and limits of the pod (KEP-2837) against those of its containers."""
    resources = spec["resources"]
    at = path + ".resources"
    if (spec.get("os") or {}).get("name") == "windows":
        return [forbidden(at, "may not be set for a windows pod")]
    errors: list[FieldError] = []
    if resources.get("claims"):
        detail = "claims may not be set for Resources at pod-level"
        errors.append(forbidden(at + ".claims", detail))
    errors += validate_requirements(resources, claims, at, pod_level_name)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, number in sum_requests(spec, "requests").items():
        if name in requests and number > parse_quantity(requests[name]):
            total = format_quantity(number, "BinarySI" if name == "memory" else "DecimalSI")
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            errors.append(invalid(f"{at}.requests[{name}]", requests[name], detail))
    for name, number in sum_requests(spec, "limits").items():
        if is_huge_page(name) and name in limits and number > parse_quantity(limits[name]):
            total = format_quantity(number, "BinarySI")
            detail = f"must be greater than or equal to aggregate container limits of {total}"
            errors.append(invalid(f"{at}.limits[{name}]", limits[name], detail))
    for index, container in enumerate(spec.get("containers") or ()):
        own = (container.get("resources") or {}).get("limits") or {}
        for name, amount in own.items():
            if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                where = f"{at}.containers[{index}][{name}].limits"
                errors.append(invalid(where, amount, detail))
    return errors
