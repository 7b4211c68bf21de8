"""Warnings about pods and pod templates.

Owns what works but should not be written any more, or probably is a mistake
(`pkg/api/pod/warnings.go`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.apiserver.strategies._errors import quote
from actors.apiserver.strategies._warnings import ip_warnings, node_label_warning
from actors.apiserver.strategies.pod_security import all_containers
from protocol.names import label_value
from protocol.quantity import parse_quantity

__all__ = ["pod_warnings"]

Object = dict[str, Any]

_ANNOTATIONS = (
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        'non-functional in v1.16+; use the "priorityClassName" field instead',
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        'non-functional in v1.11+; use the "sysctls" field instead',
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        'non-functional in v1.11+; use the "sysctls" field instead',
    ),
)
_VOLUMES = (
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NULL_SELECTOR = "a null labelSelector results in matching no pod"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_TEXT = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_BYTES = ("memory", "ephemeral-storage")


def pod_warnings(owner: Object, path: str = "") -> list[str]:
    """Warnings about a pod (`path` empty) or a template (`path` such as `spec.template.`)."""
    spec = owner.get("spec") or {}
    annotations = (owner.get("metadata") or {}).get("annotations") or {}
    out: list[str] = []
    if "nodeSelector" in spec or "affinity" in spec or "topologySpreadConstraints" in spec:
        out += _placement(spec, path)
    if annotations:
        for key, text in _ANNOTATIONS:
            if key in annotations:
                out.append(f"{path}metadata.annotations[{key}]: {text}")
    if "volumes" in spec:
        out += _volumes(spec["volumes"], path)
    out += _lists(spec, path)
    if annotations:
        out += _profiles(spec, annotations, path)
    out += _containers(spec, path)
    out += _ports(spec, path)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        out.append(f"{path}spec.terminationGracePeriodSeconds: {text}")
    if "affinity" in spec:
        out += _pod_affinity(spec["affinity"], path)
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        out += ip_warnings(f"{path}spec.dnsConfig.nameservers[{index}]", server)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        out += ip_warnings(f"{path}spec.hostAliases[{index}].ip", alias.get("ip", ""))
    return out


def _placement(spec: Object, path: str) -> list[str]:
    out: list[str] = []
    for key in spec.get("nodeSelector") or ():
        if text := node_label_warning(key):
            out.append(f"{path}spec.nodeSelector[{key}]: {text}")
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    at = f"{path}spec.affinity.nodeAffinity"
    for index, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        out += _node_term(term, f"{at}.{_REQUIRED}.nodeSelectorTerms[{index}]", False)
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        out += _node_term(term.get("preference") or {}, f"{at}.{_PREFERRED}[{index}].preference", True)
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        at = f"{path}spec.topologySpreadConstraints[{index}]"
        key = constraint.get("topologyKey", "")
        if text := node_label_warning(key):
            out.append(f"{at}.topologyKey: {key} is {text}")
        if constraint.get("labelSelector") is None:
            out.append(f"{at}.labelSelector: {_NULL_SELECTOR}")
    return out


def _node_term(term: Object, path: str, check_values: bool) -> list[str]:
    out: list[str] = []
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        key = expression.get("key", "")
        if text := node_label_warning(key):
            out.append(f"{at}.key: {key} is {text}")
        if check_values:
            for number, value in enumerate(expression.get("values") or ()):
                for message in label_value(value):
                    out.append(f"{at}.values[{number}]: {value} is invalid, {message}")
    return out


def _volumes(volumes: list[Object], path: str) -> list[str]:
    out: list[str] = []
    for index, volume in enumerate(volumes):
        for key, shown, text in _VOLUMES:
            if key in volume:
                out.append(f"{path}spec.volumes[{index}].{shown}: {text}")
    return out + [warning for volume in volumes for warning in _overlaps(volume)]


def _lists(spec: Object, path: str) -> list[str]:
    out: list[str] = []
    for key, field, word in (("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")):
        seen: set[str] = set()
        for index, item in enumerate(spec.get(key) or ()):
            value = item.get(field, "")
            if value in seen:
                out.append(f"{path}spec.{key}[{index}].{field}: duplicate {word} {quote(value)}")
            seen.add(value)
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if not item.get("name"):
            out.append(f'{path}spec.imagePullSecrets[{index}].name: invalid empty name ""')
    for name in _BYTES:
        amount = (spec.get("overhead") or {}).get(name)
        out += _fraction(amount, f"{path}spec.overhead[{name}]")
    return out


def _fraction(amount: str | None, path: str) -> list[str]:
    if amount is None or not amount[-1:].isalpha() or parse_quantity(amount) % 1 == 0:
        return []
    return [f"{path}: fractional byte value {quote(amount)} is invalid, must be an integer"]


def _profiles(spec: Object, annotations: Object, path: str) -> list[str]:
    context = spec.get("securityContext") or {}
    at = f"{path}metadata.annotations"
    out: list[str] = []
    if _SECCOMP_POD in annotations and "seccompProfile" not in context:
        out.append(f"{at}[{_SECCOMP_POD}]: {_SECCOMP_TEXT}")
    for container, _ in all_containers(spec, ""):
        own = container.get("securityContext") or {}
        key = _SECCOMP_CONTAINER + container.get("name", "")
        if key in annotations and "seccompProfile" not in own:
            out.append(f"{at}[{key}]: {_SECCOMP_TEXT}")
        key = _APP_ARMOR + container.get("name", "")
        if path and key in annotations and "appArmorProfile" not in own:
            text = 'deprecated since v1.30; use the "appArmorProfile" field instead'
            out.append(f"{at}[{key}]: {text}")
    return out


def _containers(spec: Object, path: str) -> list[str]:
    out: list[str] = []
    for container, at in all_containers(spec, path + "spec"):
        resources = container.get("resources")
        if resources:
            for name in _BYTES:
                for kind in ("limits", "requests"):
                    amount = (resources.get(kind) or {}).get(name)
                    out += _fraction(amount, f"{at}.resources.{kind}[{name}]")
        if len(container.get("env") or ()) > 1:
            out += _env(container["env"], at)
    return out


def _env(variables: list[Object], path: str) -> list[str]:
    out: list[str] = []
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name", ""), variable.get("value", "")
        if name not in seen:
            seen.add(name)
            continue
        reference = f"$({name})"
        if "valueFrom" in variable or value == reference or reference not in value:
            out.append(
                f"{path}.env[{index}]: hides previous definition of {quote(name)}, which may be "
                "dropped when using apply"
            )
    return out


def _ports(spec: Object, path: str) -> list[str]:
    out: list[str] = []
    seen: dict[tuple[int, str], list[tuple[str, str, int]]] = {}
    names: dict[str, str] = {}
    named: list[str] = []
    for at, port in _all_ports(spec, path):
        host_ip, host = port.get("hostIP", ""), port.get("hostPort", 0)
        if host_ip and not host:
            out.append(f"{at}: hostIP set without hostPort: {_go_port(port)}")
        others = seen.setdefault((port.get("containerPort", 0), port.get("protocol", "")), [])
        for other, other_ip, other_host in others:
            if host_ip == other_ip and host == other_host:
                out.append(f"{at}: duplicate port definition with {other}")
            elif not host or not other_host:
                out.append(f"{at}: overlapping port definition with {other}")
            elif host == other_host and bool(host_ip) != bool(other_ip):
                out.append(f"{at}: dangerously ambiguous port definition with {other}")
        others.append((at, host_ip, host))
        name = port.get("name", "")
        if not name:
            continue
        if name in names:
            first = names[name]
            named.append(
                f"{at}: duplicate port name {quote(name)} with {first}, services and probes that "
                f"select ports by name will use {first}"
            )
        else:
            names[name] = at
    return out + named


def _all_ports(spec: Object, path: str) -> Iterator[tuple[str, Object]]:
    for container, at in all_containers(spec, path + "spec"):
        for index, port in enumerate(container.get("ports") or ()):
            yield f"{at}.ports[{index}]", port


def _go_port(port: Object) -> str:
    return (
        f"{{Name:{port.get('name', '')} HostPort:{port.get('hostPort', 0)} "
        f"ContainerPort:{port.get('containerPort', 0)} Protocol:{port.get('protocol', '')} "
        f"HostIP:{port.get('hostIP', '')}}}"
    )


def _pod_affinity(affinity: Object, path: str) -> list[str]:
    out: list[str] = []
    for key in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(key) or {}
        at = f"{path}spec.affinity.{key}"
        for index, term in enumerate(terms.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                out.append(f"{at}.{_REQUIRED}[{index}].labelSelector: {_NULL_SELECTOR}")
        for index, term in enumerate(terms.get(_PREFERRED) or ()):
            if (term.get("podAffinityTerm") or {}).get("labelSelector") is None:
                where = f"{at}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector"
                out.append(f"{where}: {_NULL_SELECTOR}")
    return out


# --- overlapping paths inside volumes -----------------------------------------------------------


def _overlaps(volume: Object) -> list[str]:
    name = quote(volume.get("name", ""))
    for kind, field, word in (("configMap", "name", "ConfigMap"), ("secret", "secretName", "Secret")):
        source = volume.get(kind)
        if source is not None and source.get("items"):
            shown = f"{word} {quote(source.get(field, ''))}"
            return _collisions([(i.get("path", ""), "") for i in source["items"]], name, shown)
    source = volume.get("downwardAPI")
    if source is not None and source.get("items"):
        return _collisions([(i.get("path", ""), "") for i in source["items"]], name, "DownwardAPI")
    if "projected" not in volume:
        return []
    out: list[str] = []
    paths: list[tuple[str, str]] = []
    for projection in volume["projected"].get("sources") or ():
        if not projection:
            out.append(f"volume {name} (Projected) has no sources provided")
        paths += _projected_paths(projection)
    return out + _collisions(paths, name, "Projected")


def _projected_paths(source: Object) -> list[tuple[str, str]]:
    for kind, word in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if (source.get(kind) or {}).get("items"):
            shown = f"{word} {quote(source[kind].get('name', ''))}"
            return [(item.get("path", ""), shown) for item in source[kind]["items"]]
    if (source.get("downwardAPI") or {}).get("items"):
        return [(item.get("path", ""), "DownwardAPI") for item in source["downwardAPI"]["items"]]
    if "serviceAccountToken" in source:
        return [(source["serviceAccountToken"].get("path", ""), "ServiceAccountToken")]
    if "clusterTrustBundle" in source:
        bundle = source["clusterTrustBundle"]
        name = bundle.get("name") if "name" in bundle else bundle.get("signerName", "")
        return [(bundle.get("path", ""), f"ClusterTrustBundle {quote(name or '')}")]
    certificate = source.get("podCertificate") or {}
    words = (("certificateChainPath", "chain"), ("keyPath", "key"), ("credentialBundlePath", "credential bundle"))
    return [(certificate[key], f"PodCertificate {word}") for key, word in words if certificate.get(key)]


def _collisions(paths: list[tuple[str, str]], volume: str, kind: str) -> list[str]:
    def shown(entry: tuple[str, str]) -> str:
        return f"{quote(entry[0])} ({entry[1]})" if entry[1] else quote(entry[0])

    out: list[str] = []
    seen: list[tuple[str, str]] = []
    for path, source in paths:
        entry = (path.rstrip("/"), source)
        for other in seen:
            if not entry[0] or not other[0]:
                continue
            one, two = entry[0] + "/", other[0] + "/"
            if one.startswith(two) or two.startswith(one):
                body = f"{shown(entry)} with {shown(other)}"
                out.append(f"volume {volume} ({kind}): overlapping paths: {body}")
        seen.append(entry)
    return out
