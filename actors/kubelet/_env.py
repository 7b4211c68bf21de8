"""The environment of a container: values, references, and `$(NAME)` in commands.

Owns the rules of https://kubernetes.io/docs/concepts/workloads/pods/ for env and envFrom. The
ConfigMaps and Secrets come in; what is missing raises `ConfigError` with upstream's text, which
becomes the waiting reason CreateContainerConfigError.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from actors.kubelet._env_file import EnvFileError, variable_in
from protocol.quantity import parse_quantity

__all__ = [
    "ConfigError",
    "downward_field",
    "environment",
    "expand",
    "files_of",
    "references",
    "resource_field",
    "service_variables",
    "sub_path",
]

Object = dict[str, Any]
FileKey = tuple[str, str]
Lookup = Callable[[str, str], Object | None]
"""(ConfigMap | Secret, name) -> the object or None."""


class ConfigError(Exception):
    """The container's configuration cannot be made: CreateContainerConfigError."""


def expand(text: str, values: dict[str, str]) -> str:
    """`$(NAME)` replaced by its value, `$$(NAME)` and unknown names left as they are (one `$` less).

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    if "$" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return values.get(match.group(1), match.group(0))

    return re.sub(r"\$\$|\$\(([^()$]+)\)", one, text)


def sub_path(mount: Object, values: dict[str, str]) -> str:
    """The part of a volume that a mount shows: subPath, or subPathExpr with the container's variables in
    place. Raises `ConfigError` for an unknown variable and for a path that leads out of the volume."""
    expression = mount.get("subPathExpr")
    path = mount.get("subPath") or ""
    if expression:
        for escape, name in re.findall(r"(\$\$)|\$\(([^()$]+)\)", expression):
            if not escape and name not in values:
                raise ConfigError(f'missing value for "{name}"')
        path = expand(expression, values)
    if path.startswith("/"):
        raise ConfigError(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ConfigError(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def references(container: Object) -> set[tuple[str, str]]:
    """(kind, name) of the ConfigMaps and Secrets that its environment refers to."""
    found: set[tuple[str, str]] = set()
    for source in container.get("envFrom") or ():
        if source.get("configMapRef"):
            found.add(("ConfigMap", source["configMapRef"].get("name", "")))
        if source.get("secretRef"):
            found.add(("Secret", source["secretRef"].get("name", "")))
    for variable in container.get("env") or ():
        value_from = variable.get("valueFrom") or {}
        if value_from.get("configMapKeyRef"):
            found.add(("ConfigMap", value_from["configMapKeyRef"].get("name", "")))
        if value_from.get("secretKeyRef"):
            found.add(("Secret", value_from["secretKeyRef"].get("name", "")))
    return found


def files_of(container: Object) -> set[FileKey]:
    """(volume, path) of the files that its environment refers to."""
    refs = [(v.get("valueFrom") or {}).get("fileKeyRef") for v in container.get("env") or ()]
    return {(r["volumeName"], r["path"]) for r in refs if r}


def _data(kind: str, obj: Object) -> dict[str, str]:
    data = obj.get("data") or {}
    if kind == "ConfigMap":
        return dict(data)
    return {k: base64.b64decode(v).decode(errors="replace") for k, v in data.items()}


def environment(
    pod: Object,
    container: Object,
    lookup: Lookup,
    services: dict[str, str],
    ips: tuple[str, ...],
    host_ips: tuple[str, ...],
    node_name: str,
    allocatable: Object,
    files: Mapping[FileKey, bytes | None] = {},
) -> list[tuple[str, str]]:
    """The variables in order; raises `ConfigError`. `files` holds what `files_of` names."""
    namespace = pod["metadata"].get("namespace", "")
    values: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        _from_source(source, namespace, lookup, values)
    declared: dict[str, str] = {}
    known = {**services, **values}
    for variable in container.get("env") or ():
        name = variable["name"]
        value: str | None
        if (variable.get("valueFrom") or {}).get("fileKeyRef"):
            value = _from_file(variable["valueFrom"]["fileKeyRef"], pod, files)
        elif variable.get("valueFrom"):
            value = _from_reference(
                variable["valueFrom"], pod, container, lookup, ips, host_ips, node_name, allocatable
            )
        else:
            value = expand(variable.get("value") or "", known)
        if value is not None:
            declared[name] = known[name] = value
    result = {**values, **declared}
    return [*result.items(), *((k, v) for k, v in services.items() if k not in result)]


def _from_source(source: Object, namespace: str, lookup: Lookup, values: dict[str, str]) -> None:
    for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        ref = source.get(field)
        if ref is None:
            continue
        obj = lookup(kind, ref.get("name", ""))
        if obj is None:
            if ref.get("optional"):
                continue
            raise ConfigError(f'{kind.lower()} "{ref.get("name", "")}" not found')
        for key, value in _data(kind, obj).items():
            values[(source.get("prefix") or "") + key] = value


def _from_file(ref: Object, pod: Object, files: Mapping[FileKey, bytes | None]) -> str | None:
    name, path, key = ref["volumeName"], ref["path"], ref["key"]
    if not any(v["name"] == name for v in pod["spec"].get("volumes") or ()):
        raise ConfigError(f'cannot find the volume "{name}" referenced by FileKeyRef')
    content = files.get((name, path))
    try:
        value = variable_in(content.decode(errors="replace"), key) if content is not None else None
    except EnvFileError:
        value = None
    if value is None:
        raise ConfigError("couldn't parse env file")
    if not value:
        if ref.get("optional"):
            return None
        raise ConfigError(f'environment variable key "{key}" not found in file "{path}"')
    return value


def _from_reference(
    source: Object,
    pod: Object,
    container: Object,
    lookup: Lookup,
    ips: tuple[str, ...],
    host_ips: tuple[str, ...],
    node_name: str,
    allocatable: Object,
) -> str | None:
    if source.get("fieldRef"):
        return downward_field(pod, source["fieldRef"]["fieldPath"], ips, host_ips, node_name)
    if source.get("resourceFieldRef"):
        ref = source["resourceFieldRef"]
        return resource_field(_named_container(pod, ref.get("containerName"), container), ref, allocatable)
    namespace = pod["metadata"].get("namespace", "")
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        ref = source.get(field)
        if ref is None:
            continue
        name = ref.get("name", "")
        obj = lookup(kind, name)
        if obj is None:
            if ref.get("optional"):
                return None
            raise ConfigError(f'{kind.lower()} "{name}" not found')
        data = _data(kind, obj)
        if ref["key"] not in data:
            if ref.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {ref['key']} in {kind} {namespace}/{name}")
        return data[ref["key"]]
    return None


def _named_container(pod: Object, name: str | None, default: Object | None) -> Object:
    spec = pod["spec"]
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        if container["name"] == name:
            return container  # type: ignore[no-any-return]
    if default is None:
        raise ConfigError(f"container {name} not found")
    return default


def _quoted(text: str) -> str:
    """As Go's %q prints it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def downward_field(pod: Object, path: str, ips: tuple[str, ...], host_ips: tuple[str, ...], node_name: str) -> str:
    """A field of the pod as text; raises `ConfigError` for one that is not offered."""
    meta, spec = pod["metadata"], pod["spec"]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
    if match:
        return str((meta.get(match.group(1)) or {}).get(match.group(2), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        fields = meta.get(path[9:]) or {}
        return "\n".join(f"{k}={_quoted(v)}" for k, v in sorted(fields.items()))
    simple = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": host_ips[0] if host_ips else "",
        "status.hostIPs": ",".join(host_ips),
        "status.podIP": ips[0] if ips else "",
        "status.podIPs": ",".join(ips),
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path])


def resource_field(container: Object, ref: Object, allocatable: Object) -> str:
    """`limits.cpu` and the like, divided and rounded up; a limit that is not set is what the node
    can give."""
    kind, _, name = ref["resource"].partition(".")
    amount = ((container.get("resources") or {}).get(kind) or {}).get(name)
    if amount is None and kind == "requests":
        amount = ((container.get("resources") or {}).get("limits") or {}).get(name)
    if amount is None:
        amount = allocatable.get(name, "0") if kind == "limits" else "0"
    divisor = parse_quantity(str(ref.get("divisor") or "1")) or Decimal(1)
    value = parse_quantity(str(amount)) / divisor
    return str(int(value.to_integral_value(rounding=ROUND_CEILING)))


def service_variables(services: Iterable[Object], namespace: str, links: bool) -> dict[str, str]:
    """`REDIS_SERVICE_HOST` and its kin, for the pod's namespace and the API server's own Service.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    values: dict[str, str] = {}
    for service in services:
        meta, spec = service["metadata"], service.get("spec") or {}
        master = meta["name"] == "kubernetes" and meta.get("namespace") == "default"
        if not (master or (links and meta.get("namespace") == namespace)):
            continue
        ip = spec.get("clusterIP")
        ports = spec.get("ports") or []
        if not ip or ip == "None" or not ports:
            continue
        name = meta["name"].upper().replace("-", "_")
        values[f"{name}_SERVICE_HOST"] = ip
        values[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                values[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for index, port in enumerate(ports):
            protocol = (port.get("protocol") or "TCP").lower()
            number = port["port"]
            prefix = f"{name}_PORT_{number}_{protocol.upper()}"
            url = f"{protocol}://{ip}:{number}"
            if index == 0:
                values[f"{name}_PORT"] = url
            values.update(
                {prefix: url, f"{prefix}_PROTO": protocol, f"{prefix}_PORT": str(number), f"{prefix}_ADDR": ip}
            )
    return values
