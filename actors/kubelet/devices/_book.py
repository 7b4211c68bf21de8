"""Which devices a node has and which container holds which.

Owns upstream's rules of `pkg/kubelet/cm/devicemanager`: healthy devices are given out, devices of a plugin that
has gone are kept for a while and then counted as none, what init containers had goes on to the containers after
them, and what was given survives a restart of the kubelet. Pure: it talks to no plugin.

    book.update("example.com/gpu", {"gpu-0": True, "gpu-1": False}, now)
    book.choose(pod)                -> [("c", "example.com/gpu", ("gpu-0",))]
    book.capacity()                 -> ({"example.com/gpu": "2"}, {"example.com/gpu": "1"})
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson

from actors.kubelet._spec import INIT, MAIN, SIDECAR, container_kinds, container_resources
from protocol.quantity import value

__all__ = ["AllocationError", "DeviceBook", "Granted"]

Object = dict[str, Any]
Choice = tuple[str, str, tuple[str, ...]]
"""(container, resource, device ids)"""
GRACE_S = 300.0
"""How long the devices of a plugin that has gone are kept on the books."""


class AllocationError(Exception):
    """A container cannot have the devices that it asks for; in upstream's words."""


class Granted(msgspec.Struct, frozen=True):
    """What a plugin wants its devices' container to have. Mounts: (container path, host path, read-only);
    devices: (container path, host path, permissions)."""

    envs: Mapping[str, str] = {}
    mounts: tuple[tuple[str, str, bool], ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    annotations: Mapping[str, str] = {}


class DeviceBook:
    """See the module."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, bool]] = {}
        """resource -> device id -> healthy"""
        self.gone_at: dict[str, float] = {}
        """resource -> when its plugin went, in seconds of the clock that `now` is of"""
        self.held: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
        """pod uid -> container -> resource -> device ids"""
        self.granted: dict[tuple[str, str, str], Granted] = {}
        self.ended: set[str] = set()
        """Resources that there were, and of which the Node says 0 now."""

    # -- what there is

    def update(self, resource: str, devices: Mapping[str, bool]) -> bool:
        """A plugin has listed its devices; true if that is news."""
        self.gone_at.pop(resource, None)
        self.ended.discard(resource)
        news = self.devices.get(resource) != dict(devices)
        self.devices[resource] = dict(devices)
        return news

    def plugin_gone(self, resource: str, now: float) -> None:
        """Its devices cannot be given out, and are counted for a while."""
        if resource in self.devices and resource not in self.gone_at:
            self.gone_at[resource] = now
            self.devices[resource] = dict.fromkeys(self.devices[resource], False)

    def forget_old(self, now: float) -> bool:
        """Take out what has been gone for too long; true if there was any."""
        over = [r for r, since in self.gone_at.items() if now - since >= GRACE_S]
        for resource in over:
            del self.gone_at[resource], self.devices[resource]
            self.ended.add(resource)
        return bool(over)

    def capacity(self) -> tuple[dict[str, str], dict[str, str]]:
        """(capacity, allocatable) by resource."""
        total = {r: str(len(d)) for r, d in self.devices.items()}
        healthy = {r: str(sum(d.values())) for r, d in self.devices.items()}
        none = dict.fromkeys(sorted(self.ended), "0")
        return {**none, **total}, {**none, **healthy}

    def health(self, resource: str, device: str) -> str:
        """Healthy, Unhealthy or Unknown."""
        healthy = self.devices.get(resource, {}).get(device)
        if healthy is None or (resource in self.gone_at):
            return "Unknown" if healthy is None else "Unhealthy"
        return "Healthy" if healthy else "Unhealthy"

    def knows(self, resource: str) -> bool:
        """Whether it is a resource of devices."""
        return resource in self.devices

    # -- who has what

    def wants(self, pod: Object) -> bool:
        """Whether a container asks for devices."""
        return bool(self.devices) and any(
            name in self.devices for _, c in container_kinds(pod) for name in container_resources(c)[0]
        )

    def free(self, resource: str) -> set[str]:
        """Healthy devices that nobody holds."""
        taken = {d for pod in self.held.values() for c in pod.values() for d in c.get(resource, ())}
        return {d for d, healthy in self.devices.get(resource, {}).items() if healthy} - taken

    def choose(self, pod: Object, preferred: Mapping[tuple[str, str], Iterable[str]] = {}) -> list[Choice]:
        """Give every container its devices, or none: raises `AllocationError`. Answers what is new.

        `preferred`: what a plugin prefers, by container and resource.
        """
        uid = pod["metadata"]["uid"]
        chosen: list[Choice] = []
        reusable: dict[str, list[str]] = {}
        held = {name: dict(resources) for name, resources in self.held.get(uid, {}).items()}
        for kind, container in container_kinds(pod):
            if kind not in (INIT, SIDECAR, MAIN):
                continue
            name = container["name"]
            for resource, amount in sorted(container_resources(container)[0].items()):
                if resource not in self.devices:
                    continue
                needed = value(str(amount))
                have = held.get(name, {}).get(resource)
                if have is None:
                    wish = preferred.get((name, resource), ())
                    have = self._pick(resource, needed, reusable.get(resource, []), wish, chosen)
                    if have:
                        chosen.append((name, resource, have))
                        held.setdefault(name, {})[resource] = have
                elif len(have) != needed:
                    raise AllocationError(
                        f"pod {uid!r} container {name!r} changed request for resource {resource!r} from {len(have)} to {needed}"
                    )
                if kind == INIT:
                    pool = reusable.setdefault(resource, [])
                    pool += [d for d in have if d not in pool]
                elif resource in reusable:
                    reusable[resource] = [d for d in reusable[resource] if d not in have]
        if held:
            self.held[uid] = held
        return chosen

    def _pick(
        self, resource: str, needed: int, reusable: list[str], wish: Iterable[str], chosen: list[Choice]
    ) -> tuple[str, ...]:
        if needed <= 0:
            return ()
        devices = self.devices[resource]
        if resource in self.gone_at:
            raise AllocationError(f"cannot allocate unregistered device {resource}")
        if not any(devices.values()):
            raise AllocationError(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        picked = reusable[:needed]
        taken = {d for _, r, ids in chosen if r == resource for d in ids}
        free = sorted(self.free(resource) - taken - set(picked), key=_natural)
        missing = needed - len(picked)
        if len(free) < missing:
            raise AllocationError(
                f"requested number of devices unavailable for {resource}. Requested: {missing}, Available: {len(free)}"
            )
        first = [d for d in wish if d in free]
        return tuple(picked + [*first, *(d for d in free if d not in first)][:missing])

    def release(self, uid: str) -> bool:
        """The pod has ended; true if it held anything."""
        for key in [k for k in self.granted if k[0] == uid]:
            del self.granted[key]
        return self.held.pop(uid, None) is not None

    def of_container(self, uid: str, container: str) -> dict[str, tuple[str, ...]]:
        """resource -> device ids."""
        return self.held.get(uid, {}).get(container, {})

    def grants(self, uid: str, container: str) -> list[Granted]:
        """What the plugins of a container's devices want it to have."""
        return [
            self.granted[uid, container, r]
            for r in self.of_container(uid, container)
            if (uid, container, r) in self.granted
        ]

    # -- what outlives the kubelet

    def checkpoint(self) -> bytes:
        """Everything that was given, and the devices there were."""
        entries = [
            {
                "PodUID": uid, "ContainerName": name, "ResourceName": resource, "DeviceIDs": {"-1": list(ids)},
                "AllocResp": msgspec.to_builtins(self.granted.get((uid, name, resource), Granted())),
            }
            for uid, containers in self.held.items()
            for name, resources in containers.items()
            for resource, ids in resources.items()
        ]  # fmt: skip
        data = {"PodDeviceEntries": entries, "RegisteredDevices": {r: list(d) for r, d in self.devices.items()}}
        return orjson.dumps({"Data": data, "Checksum": zlib.crc32(orjson.dumps(data))})

    def restore(self, checkpoint: bytes, now: float) -> None:
        """Take up a checkpoint: the plugins have yet to come again. Raises: ValueError for a broken one."""
        told = orjson.loads(checkpoint)
        data = told["Data"]
        if zlib.crc32(orjson.dumps(data)) != told["Checksum"]:
            raise ValueError("the checkpoint of devices is corrupt")
        for entry in data["PodDeviceEntries"]:
            ids = tuple(d for group in entry["DeviceIDs"].values() for d in group)
            uid, name, resource = entry["PodUID"], entry["ContainerName"], entry["ResourceName"]
            self.held.setdefault(uid, {}).setdefault(name, {})[resource] = ids
            self.granted[uid, name, resource] = msgspec.convert(entry["AllocResp"], Granted)
        for resource, devices in data["RegisteredDevices"].items():
            self.devices[resource] = dict.fromkeys(devices, False)
            self.gone_at[resource] = now


def _natural(name: str) -> tuple[str, int, str]:
    """gpu-2 before gpu-10."""
    head = name.rstrip("0123456789")
    tail = name[len(head) :]
    return head, int(tail) if tail else -1, name
