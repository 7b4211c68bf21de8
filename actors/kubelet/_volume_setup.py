"""A volume of a pod as a runtime with real files is told to make it. Pure.

Owns modes, owning groups, the sizes of what is in memory: what the manifest says, and the defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from actors.kubelet._volumes import host_path, is_provided
from protocol.cri import Device, Volume
from protocol.message import Address
from protocol.quantity import parse_quantity

__all__ = ["claim_names", "devices", "volume_setup"]

Object = dict[str, Any]
DEFAULT_MODE, TOKEN_MODE = 0o644, 0o600
PROVIDED = ("configMap", "secret", "projected", "downwardAPI")


def _modes(volume: Object) -> Iterator[tuple[str, int]]:
    """(path, mode) of the files whose mode is given one by one."""
    sources = [volume[kind] for kind in PROVIDED if volume.get(kind) is not None]
    for projected in (volume.get("projected") or {}).get("sources") or ():
        sources += [projected[kind] for kind in PROVIDED if projected.get(kind) is not None]
    for source in sources:
        for item in source.get("items") or ():
            if item.get("mode") is not None:
                yield item["path"], int(item["mode"])


def _tokens(volume: Object) -> Iterator[str]:
    """The paths of service account tokens."""
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("serviceAccountToken") is not None:
            yield source["serviceAccountToken"]["path"]


def _only_user(pod: Object) -> int | None:
    """The user that all of its containers run as, if the manifest says so."""
    whole = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    groups = ("initContainers", "containers", "ephemeralContainers")
    users = {(c.get("securityContext") or {}).get("runAsUser", whole) for g in groups for c in pod["spec"].get(g) or ()}
    return users.pop() if len(users) == 1 else None


def _memory_bytes(pod: Object, volume: Object, allocatable: Object) -> int:
    """How much an emptyDir in memory holds: its limit, the pod's, or what the node can give, whichever is least."""
    sizes = [parse_quantity(str(allocatable.get("memory", "0")))]
    limits = [(c.get("resources") or {}).get("limits", {}).get("memory") for c in pod["spec"].get("containers") or ()]
    if limits and all(limits):
        sizes.append(sum((parse_quantity(str(m)) for m in limits), Decimal(0)))
    if volume["emptyDir"].get("sizeLimit"):
        sizes.append(parse_quantity(str(volume["emptyDir"]["sizeLimit"])))
    return int(min((s for s in sizes if s > 0), default=Decimal(0)))


def volume_setup(
    pod: Object, volume: Object, source: Address, allocatable: Object, place: str = "", owned: bool = True
) -> Volume | None:
    """The volume; None where there is nothing to make. `source`: who has the content of provided ones; `place`:
    where a claim's volume is on the node; `owned`: whether an fsGroup may own that."""
    security = pod["spec"].get("securityContext") or {}
    path = place or host_path(pod, volume)
    group = security.get("fsGroup")
    if is_provided(volume):
        modes, owners = dict(_modes(volume)), {}
        user = _only_user(pod)
        for path_of_token in _tokens(volume):  # nobody else is to read them
            if user is not None or group is not None:
                modes[path_of_token] = TOKEN_MODE
            if user is not None:
                owners[path_of_token] = user
        given = next(volume[kind] for kind in PROVIDED if volume.get(kind) is not None)
        mode = given.get("defaultMode")
        return Volume(
            volume["name"], path, "provided", source, default_mode=DEFAULT_MODE if mode is None else int(mode),
            modes=modes, owners=owners, fs_group=group,
        )  # fmt: skip
    on_mismatch = security.get("fsGroupChangePolicy") == "OnRootMismatch"
    if volume.get("emptyDir") is not None:
        medium = volume["emptyDir"].get("medium") or ""
        size = _memory_bytes(pod, volume, allocatable) if medium == "Memory" else None
        return Volume(
            volume["name"],
            path,
            "emptyDir",
            medium=medium,
            size_bytes=size,
            fs_group_on_mismatch=on_mismatch,
            fs_group=group,
        )
    if volume.get("hostPath") is not None:
        return Volume(volume["name"], path, "hostPath", host_path_type=volume["hostPath"].get("type") or "")
    if volume.get("persistentVolumeClaim") is not None or volume.get("ephemeral") is not None:
        readonly = bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
        return Volume(
            volume["name"],
            path,
            "claim",
            fs_group_on_mismatch=on_mismatch,
            readonly=readonly,
            fs_group=group if owned else None,
        )
    return None


def claim_names(pod: Object) -> dict[str, str]:
    """Volume -> the claim that it stands for, a generic ephemeral volume's own included."""
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim") is not None:
            found[volume["name"]] = volume["persistentVolumeClaim"]["claimName"]
        elif volume.get("ephemeral") is not None:
            found[volume["name"]] = f"{pod['metadata']['name']}-{volume['name']}"
    return found


def devices(container: Object, places: Mapping[str, str], readonly: set[str]) -> tuple[Device, ...]:
    """The block devices that a container gets; `places`: volume -> device of the node."""
    return tuple(
        Device(d["devicePath"], places[d["name"]], "r" if d["name"] in readonly else "mrw")
        for d in container.get("volumeDevices") or ()
        if d["name"] in places
    )
