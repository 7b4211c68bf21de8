"""The SELinux warning controller: pods that share a volume but not its SELinux label are told so.

Owns the events that warn of it; it changes nothing. Kubelets that mount volumes with a label (`-o
context`) let only pods of that label use them on one node. Off unless asked for. Labels are compared as
far as both say something: what they leave out the node fills in. Facts: kubernetes
pkg/controller/volume/selinuxwarning, KEP-1710.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from actors.controllers._pods import is_finished
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, key, metadata, spec

__all__ = ["SELinuxWarningController"]

RECURSIVE, MOUNT_OPTION = "Recursive", "MountOption"
CLAIMS, VOLUMES, DRIVERS = "persistentvolumeclaims", "persistentvolumes", "csidrivers"
IN_TREE = ("fc", "iscsi")
"""Sources other than CSI that can be mounted with a label."""


class Use(NamedTuple):
    """How a pod uses a volume."""

    pod: Object
    label: str
    policy: str


class SELinuxWarningController(Controller):
    """Compares the users of each volume. Keys: `volume/NAME`, `pod/NAMESPACE/NAME`."""

    component: ClassVar[str] = "selinux-warning"
    resources: ClassVar[tuple[str, ...]] = ("pods", CLAIMS, VOLUMES, DRIVERS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.store("pods").add_index("claims", _claims)
        self.on_change("pods", self._pod_changed)
        self.on_change(CLAIMS, self._claim_changed)
        self.on_change(VOLUMES, self._volume_changed)
        self.on_change(DRIVERS, self._driver_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and _claims(new):
            self.queue.add(f"pod/{key(new)}")

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        name = spec(new).get("volumeName") if new is not None else None
        if name and (old is None or spec(old).get("volumeName") != name):
            self.queue.add(f"volume/{name}")

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None:
            self.queue.add(f"volume/{metadata(new)['name']}")

    def _driver_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and spec(old).get("seLinuxMount") == spec(new).get("seLinuxMount"):
            return
        driver = metadata(new or old or {})["name"]
        for volume in self.store(VOLUMES):
            if (spec(volume).get("csi") or {}).get("driver") == driver:
                self.queue.add(f"volume/{metadata(volume)['name']}")

    async def reconcile(self, key: str) -> None:
        what, _, name = key.partition("/")
        if what == "pod":
            pod = self.store("pods").get(name)
            for claim_key in _claims(pod) if pod is not None else ():
                claim = self.store(CLAIMS).get(claim_key)
                if claim is not None and spec(claim).get("volumeName"):
                    self._warn(spec(claim)["volumeName"])
            return
        self._warn(name)

    def _warn(self, volume_name: str) -> None:
        volume = self.store(VOLUMES).get(volume_name)
        if volume is None:
            return
        users = list(self._users(volume))
        for use in users:
            for other in users:
                if other.pod is use.pod:
                    continue
                if use.policy != other.policy:
                    self._tell(use, other, "SELinuxChangePolicy", use.policy, other.policy)
                if _conflict(use.label, other.label):
                    self._tell(use, other, "SELinuxLabel", use.label, other.label)

    def _users(self, volume: Object) -> Iterator[Use]:
        """The pods that use a volume, as they would have it mounted."""
        ref = spec(volume).get("claimRef") or {}
        claim_key = f"{ref.get('namespace', '')}/{ref.get('name', '')}"
        mountable = self._mountable(volume)
        for pod in self.store("pods").by("claims", claim_key):
            if is_finished(pod):
                continue
            labels = _labels(pod, ref.get("name", ""))
            if len(labels) > 1:
                text = f'Volume "{_volume_name(pod, ref.get("name", ""))}" is mounted twice with different SELinux labels inside this pod'
                self.recorder.event(pod, "Warning", "MultipleSELinuxLabels", text)
                continue
            policy = (spec(pod).get("securityContext") or {}).get("seLinuxChangePolicy") or MOUNT_OPTION
            label = next(iter(labels), "") if mountable and policy != RECURSIVE else ""
            yield Use(pod, label, policy if label else RECURSIVE)

    def _mountable(self, volume: Object) -> bool:
        """Whether this kind of volume can be mounted with a label."""
        csi = spec(volume).get("csi")
        if csi is None:
            return any(source in spec(volume) for source in IN_TREE)
        driver = self.store(DRIVERS).get(csi.get("driver", ""))
        return driver is not None and bool(spec(driver).get("seLinuxMount"))

    def _tell(self, use: Use, other: Use, what: str, value: str, other_value: str) -> None:
        after = ". If both pods land on the same node, only one of them may access the volume."
        if metadata(use.pod)["namespace"] == metadata(other.pod)["namespace"]:
            text = (
                f"{what} {json.dumps(value)} conflicts with pod {metadata(other.pod)['name']} that uses the same "
                f"volume as this pod with {what} {json.dumps(other_value)}{after}"
            )
        else:  # what goes on in another namespace is not told
            text = (
                f"{what} {json.dumps(value)} conflicts with another pod that uses the same volume as this pod with a "
                f"different {what}{after}"
            )
        self.recorder.event(use.pod, "Normal", f"{what}Conflict", text)


def _claims(pod: Object) -> tuple[str, ...]:
    """Index function: the claims that a pod names."""
    where = metadata(pod).get("namespace", "")
    names = [(v.get("persistentVolumeClaim") or {}).get("claimName") for v in spec(pod).get("volumes") or ()]
    return tuple(f"{where}/{name}" for name in names if name)


def _volume_name(pod: Object, claim: str) -> str:
    for volume in spec(pod).get("volumes") or ():
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim:
            return str(volume["name"])
    return ""


def _labels(pod: Object, claim: str) -> set[str]:
    """The labels of the containers that mount a claim."""
    name = _volume_name(pod, claim)
    default = (spec(pod).get("securityContext") or {}).get("seLinuxOptions")
    found = set()
    for container in (*(spec(pod).get("initContainers") or ()), *(spec(pod).get("containers") or ())):
        if any(mount.get("name") == name for mount in container.get("volumeMounts") or ()):
            options = (container.get("securityContext") or {}).get("seLinuxOptions") or default or {}
            parts = [options.get(part, "") for part in ("user", "role", "type", "level")]
            found.add(":".join(parts) if any(parts) else "")
    return found


def _conflict(one: str, other: str) -> bool:
    if not one or not other:
        return False
    return any(a and b and a != b for a, b in zip(one.split(":", 3), other.split(":", 3)))
