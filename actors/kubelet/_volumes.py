"""What a pod's volumes hold, as far as the kubelet provides it.

Owns the content of configMap, secret, projected and downwardAPI volumes, as a dict from relative
path to bytes, and which objects a volume needs. Pure: objects come in, `MountError` says what is
missing in upstream's words (`MountVolume.SetUp failed for volume "conf" : configmap "x" not found`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from actors.kubelet._env import ConfigError, downward_field, resource_field

__all__ = ["MountError", "TokenRequest", "content", "host_path", "is_provided", "needs", "token_sources"]

Object = dict[str, Any]
Lookup = Callable[[str, str], Object | None]
KUBELET_DIRECTORY = "/var/lib/kubelet"
PLUGINS = {
    "configMap": "configmap",
    "secret": "secret",
    "projected": "projected",
    "downwardAPI": "downward-api",
    "emptyDir": "empty-dir",
    "persistentVolumeClaim": "local-volume",
    "image": "image",
}
TokenRequest = tuple[str, int]
"""(audience or "", seconds) of a service account token."""


class MountError(Exception):
    """A volume cannot be set up yet."""


def is_provided(volume: Object) -> bool:
    """Whether the kubelet provides its content."""
    return any(volume.get(kind) is not None for kind in ("configMap", "secret", "projected", "downwardAPI"))


def host_path(pod: Object, volume: Object) -> str:
    """Where the volume is on the node."""
    if volume.get("hostPath") is not None:
        return str(volume["hostPath"]["path"])
    if volume.get("persistentVolumeClaim") is not None:
        claim = volume["persistentVolumeClaim"]["claimName"]
        return f"{KUBELET_DIRECTORY}/plugins/claims/{pod['metadata'].get('namespace', '')}/{claim}"
    plugin = next((name for kind, name in PLUGINS.items() if volume.get(kind) is not None), "empty-dir")
    return f"{KUBELET_DIRECTORY}/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~{plugin}/{volume['name']}"


def _sources(volume: Object) -> Iterator[tuple[str, Object]]:
    for kind in ("configMap", "secret", "downwardAPI"):
        if volume.get(kind) is not None:
            yield kind, volume[kind]
    for source in (volume.get("projected") or {}).get("sources") or ():
        for kind in ("configMap", "secret", "downwardAPI", "serviceAccountToken"):
            if source.get(kind) is not None:
                yield kind, source[kind]


def needs(volume: Object) -> Iterator[tuple[str, str, bool]]:
    """(ConfigMap | Secret, name, optional) of the objects it is made of."""
    for kind, source in _sources(volume):
        if kind == "configMap":
            yield "ConfigMap", source.get("name", ""), bool(source.get("optional"))
        elif kind == "secret":
            yield "Secret", source.get("secretName") or source.get("name", ""), bool(source.get("optional"))


def token_sources(volume: Object) -> Iterator[TokenRequest]:
    """The service account tokens that it holds."""
    for kind, source in _sources(volume):
        if kind == "serviceAccountToken":
            yield source.get("audience") or "", int(source.get("expirationSeconds") or 3600)


def content(
    pod: Object,
    volume: Object,
    lookup: Lookup,
    tokens: dict[TokenRequest, str],
    ips: tuple[str, ...],
    host_ips: tuple[str, ...],
    node_name: str,
    allocatable: Object,
) -> dict[str, bytes]:
    """Everything in the volume; raises `MountError`."""
    files: dict[str, bytes] = {}
    for kind, source in _sources(volume):
        if kind == "serviceAccountToken":
            key = (source.get("audience") or "", int(source.get("expirationSeconds") or 3600))
            files[source["path"]] = tokens.get(key, "").encode()
        elif kind == "downwardAPI":
            for item in source.get("items") or ():
                files[item["path"]] = _downward(pod, item, ips, host_ips, node_name, allocatable).encode()
        else:
            files.update(_object_files(kind, source, lookup, pod["metadata"].get("namespace", "")))
    return files


def _downward(
    pod: Object, item: Object, ips: tuple[str, ...], host_ips: tuple[str, ...], node_name: str, allocatable: Object
) -> str:
    try:
        if item.get("fieldRef"):
            return downward_field(pod, item["fieldRef"]["fieldPath"], ips, host_ips, node_name)
        ref = item.get("resourceFieldRef") or {}
        for container in [*pod["spec"].get("containers", ()), *(pod["spec"].get("initContainers") or ())]:
            if container["name"] == ref.get("containerName"):
                return resource_field(container, ref, allocatable)
    except ConfigError as error:
        raise MountError(str(error)) from error
    return ""


def _object_files(kind: str, source: Object, lookup: Lookup, namespace: str) -> dict[str, bytes]:
    proper = "ConfigMap" if kind == "configMap" else "Secret"
    name = source.get("secretName") or source.get("name", "")
    optional = bool(source.get("optional"))
    obj = lookup(proper, name)
    if obj is None:
        if optional:
            return {}
        raise MountError(f'{proper.lower()} "{name}" not found')
    if proper == "ConfigMap":
        data = {k: v.encode() for k, v in (obj.get("data") or {}).items()}
        data.update((k, base64.b64decode(v)) for k, v in (obj.get("binaryData") or {}).items())
    else:
        data = {k: base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    items = source.get("items")
    if not items:
        return data
    files: dict[str, bytes] = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            raise MountError(
                f"references non-existent {'config' if proper == 'ConfigMap' else 'secret'} key: {item['key']}"
            )
        files[item["path"]] = data[item["key"]]
    return files
