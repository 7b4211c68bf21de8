"""Part of a pod's worker: what the runtime is told of a container.

Owns how a container's spec, the objects and files that it refers to and the pod's Services become one
`ContainerConfig`. It starts nothing.
"""

from __future__ import annotations

import posixpath
from typing import Any

from actors.kubelet._env import (
    ConfigError,
    environment,
    expand,
    files_of,
    references,
    service_variables,
    sub_path,
)
from actors.kubelet._messages import GetServices
from actors.kubelet._plan import Member
from actors.kubelet._sandboxing import Sandboxing
from actors.kubelet._security import security_context
from actors.kubelet._volume_setup import devices
from actors.kubelet._volumes import host_path, is_provided
from protocol.cri import (
    ContainerConfig,
    Mount,
    ReadFile,
)

__all__ = ["Configuring"]

Object = dict[str, Any]


class Configuring(Sandboxing):
    """See the module."""

    async def _container_config(self, member: Member, again: bool) -> ContainerConfig:
        spec, node, pod = member.spec, self.node, self.pod
        pairs: list[tuple[str, str]] = []
        services: dict[str, str] = {}
        if node.config.service_links and not self.is_static:  # a static pod waits for no API server
            found = await self.ask(node.kubelet, GetServices(self.namespace))
            services = service_variables(
                found, self.namespace, pod["spec"].get("enableServiceLinks", True) is not False
            )
        if spec.get("env") or spec.get("envFrom"):
            wanted = references(spec)
            objects = await self.objects(wanted, fresh=member.waiting is not None) if wanted else {}
            pairs = environment(
                pod,
                spec,
                lambda kind, name: objects.get((kind, name)),
                services,
                self.facts.ips,
                node.config.node_ips,
                node.name,
                node.allocatable,
                await self._files(spec),
            )
        else:
            pairs = list(services.items())
        values = dict(pairs)
        attempt = member.restart_count + (1 if again else 0)
        security = {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        return ContainerConfig(
            member.name,
            spec.get("image") or "",
            attempt,
            tuple(expand(w, values) for w in spec.get("command") or ()),
            tuple(expand(w, values) for w in spec.get("args") or ()),
            spec.get("workingDir") or "",
            tuple(pairs),
            self._mounts(spec, values),
            resources=self.resources_of(member),
            stdin=bool(spec.get("stdin")),
            stdin_once=bool(spec.get("stdinOnce")),
            tty=bool(spec.get("tty")),
            privileged=bool(security.get("privileged")),
            run_as_user=security.get("runAsUser"),
            readonly_rootfs=bool(security.get("readOnlyRootFilesystem")),
            ports=tuple(p["containerPort"] for p in spec.get("ports") or ()),
            log_path=f"{member.name}/{attempt}.log",
            termination_message_path=spec.get("terminationMessagePath") or "/dev/termination-log",
            termination_message_policy=spec.get("terminationMessagePolicy") or "File",
            security=security_context(pod, spec),
            devices=devices(spec, self.places, self.readonly_claims()) if spec.get("volumeDevices") else (),
            target_id=self._target(spec),
            stop_signal=(spec.get("lifecycle") or {}).get("stopSignal") or "",
        )

    def _target(self, spec: Object) -> str:
        """The container whose processes an ephemeral one is to see."""
        name = spec.get("targetContainerName")
        target = self.member(name) if name else None
        if name and (target is None or not target.container_id):
            raise ConfigError(f"unable to find target container {name}")
        return target.container_id if target is not None else ""

    async def _files(self, spec: Object) -> dict[tuple[str, str], bytes | None]:
        """The files of volumes that the container's environment is read from."""
        volumes = {v["name"]: v for v in self.pod["spec"].get("volumes") or ()}
        found: dict[tuple[str, str], bytes | None] = {}
        for name, path in sorted(files_of(spec)):
            if name in volumes:
                place = self.places.get(name) or host_path(self.pod, volumes[name])
                inside = posixpath.normpath("/" + path).lstrip("/")  # nothing leads out of the volume
                try:
                    found[name, path] = await self.ask(self.node.runtime, ReadFile(self.uid, place, inside))
                except TypeError:  # a runtime that keeps no such files
                    found[name, path] = None
        return found

    def _mounts(self, spec: Object, values: dict[str, str]) -> tuple[Mount, ...]:
        mounts = spec.get("volumeMounts")
        if not mounts:
            return ()
        volumes = {v["name"]: v for v in self.pod["spec"].get("volumes") or ()}
        found = []
        recursive, closed = "recursive-read-only-mounts" in (self.node.features or ()), self.readonly_claims()
        for mount in mounts:
            volume = volumes.get(mount["name"])
            if volume is None:
                continue
            source = self.ref if is_provided(volume) else None
            found.append(
                Mount(
                    mount["mountPath"],
                    self.places.get(mount["name"]) or host_path(self.pod, volume),
                    mount["name"],
                    bool(mount.get("readOnly")) or volume.get("image") is not None or mount["name"] in closed,
                    sub_path(mount, values),
                    mount.get("mountPropagation") or "",
                    source,
                    (volume.get("image") or {}).get("reference", ""),
                    recursive and mount.get("recursiveReadOnly") in ("Enabled", "IfPossible"),
                )
            )
        return tuple(found)
