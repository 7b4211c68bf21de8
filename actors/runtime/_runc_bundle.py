"""Part of the OCI runtime: a container's bundle, from the CRI's words, the image and the pod's volumes.

Owns what has to be on disk before the OCI runtime is called: root file system, configuration, mounts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson

from actors.kernel import handles
from actors.runtime._apparmor import profile_for
from actors.runtime._control_groups import pod_resources
from actors.runtime._idmap import mount_idmapped
from actors.runtime._linux import LinuxError
from actors.runtime._oci_spec import Joined, bind, container_spec, identity, process_spec
from actors.runtime._pod_mounts import HostMount, pod_mounts
from actors.runtime._real_machine import plain_config
from actors.runtime._runc_figures import RuncFigures
from actors.runtime._runc_machine import OciContainer, OciSandbox
from actors.runtime._sub_path import sub_path_mount
from actors.runtime.images import ImageError, LocalImage
from protocol import cri

__all__ = ["RuncBundles"]


class RuncBundles(RuncFigures):
    """See the module."""

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        sandbox, config, machine = self._sandbox(message.pod_sandbox_id), message.config, self.machine
        if not sandbox.ready:
            raise cri.CriError("FailedPrecondition", f'sandbox container "{sandbox.id}" is not running')
        for other in machine.containers.values():
            if other.sandbox_id == sandbox.id and (other.config.name, other.config.attempt) == (
                config.name,
                config.attempt,
            ):
                raise cri.CriError("AlreadyExists", f'container name "{config.name}" is reserved for "{other.id}"')
        image = self._image(config.image)
        if image is None:
            raise cri.CriError("NotFound", f'failed to resolve image "{config.image}": not found')
        ident = self.identifier()
        place = machine.root / "containers" / ident
        place.mkdir(parents=True)
        try:
            return self._create(ident, place, sandbox, config, image)
        except (LinuxError, OSError, ImageError) as error:
            machine.clear(place, ident)
            raise cri.CriError("Unknown", f"failed to create container: {error}") from error
        except cri.CriError:
            machine.clear(place, ident)
            raise

    def _create(
        self, ident: str, place: Path, sandbox: OciSandbox, config: cri.ContainerConfig, image: LocalImage
    ) -> cri.CreateContainerResponse:
        machine = self.machine
        config = msgspec.structs.replace(config, resources=machine.groups.known(config.resources))
        rootfs = machine.mount_image(image, ident, place, sandbox, writable=True)
        defaults = image.config.get("config") or {}
        who = identity(rootfs, config, str(defaults.get("User") or ""))
        process = process_spec(config, defaults, who, sandbox.config.hostname or sandbox.config.name)
        profile = profile_for(config.security.apparmor, config.privileged)
        if profile:
            process["apparmorProfile"] = profile
        cri_image = image.as_cri()
        container = OciContainer(
            ident,
            sandbox.id,
            sandbox.config.uid,
            plain_config(config),
            cri_image.repo_digests[0] if cri_image.repo_digests else cri_image.id,
            cri_image.id,
            self.clock.now(),
            str(machine.log_directory(sandbox.config) / (config.log_path or f"{config.name}/{config.attempt}.log")),
            process,
            config.stop_signal or str(defaults.get("StopSignal") or "SIGTERM"),
        )
        group = f"{machine.group_of_pod(sandbox.config)}/{config.name}"
        mounts = self._mounts(container, sandbox, config, place)
        target = self._running(config.target_id).pid if config.target_id else 0
        joins = Joined(sandbox.pid, sandbox.id_base, target)
        spec = container_spec(
            sandbox.config, config, process, str(rootfs), mounts, joins, group, machine.groups.unified
        )
        (place / "config.json").write_bytes(orjson.dumps(spec))
        self._write_shim(place, ident, config, container.log_file)
        machine.containers[ident] = container
        machine.save(container)
        self.limit_pod(sandbox)
        return cri.CreateContainerResponse(ident)

    def _write_shim(self, place: Path, ident: str, config: cri.ContainerConfig, log: str) -> None:
        settings = {
            "runtime": self.machine.launcher,
            "state": str(self.machine.root / "state"),
            "id": ident,
            "log": log,
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "log_max_bytes": self.machine.log_max_bytes,
            "log_max_files": self.machine.log_max_files,
        }
        (place / "shim.json").write_text(json.dumps(settings))

    def limit_pod(self, sandbox: OciSandbox) -> None:
        """The pod's own group: as the kubelet said, else the sums of its containers."""
        latest = {
            c.config.name: c.config.resources for c in self.machine.containers.values() if c.sandbox_id == sandbox.id
        }
        self.machine.limit_pod(sandbox.config, sandbox.config.resources or pod_resources(latest.values()))

    def _mounts(
        self, container: OciContainer, sandbox: OciSandbox, config: cri.ContainerConfig, place: Path
    ) -> list[dict[str, Any]]:
        """The pod's files and shared memory, the termination message, and the volumes."""
        own = self.machine.place(sandbox)
        open_place = self.machine.open_place(sandbox, place)

        def volume(number: int, mount: cri.Mount) -> Path:
            return self.machine.volumes.place(sandbox.config.uid, mount, open_place / f"sub-{number}")

        found = []
        if "/dev/shm" not in {m.container_path.rstrip("/") for m in config.mounts}:
            shm = "/dev/shm" if sandbox.config.host_ipc else str(self.machine.open_place(sandbox, own) / "shm")
            found.append(bind("/dev/shm", shm, False))
        for number, mount in enumerate(pod_mounts(config, own, place, volume)):
            source = Path(mount.source) if not mount.image else self._image_volume(container, sandbox, mount, number)
            if sandbox.id_base and not mount.image:
                source = mount_idmapped(source, open_place / f"mapped-{number}", f"/proc/{sandbox.pid}/ns/user")
            found.append(bind(mount.target, str(source), mount.readonly, mount.propagation, mount.recursive_readonly))
        return found

    def _image_volume(self, container: OciContainer, sandbox: OciSandbox, mount: HostMount, number: int) -> Path:
        """An image's files as a volume."""
        image = self._image(mount.image)
        if image is None:
            raise cri.CriError("NotFound", f'failed to resolve image "{mount.image}": not found')
        place = self.machine.place(container) / f"image-{number}"
        place.mkdir()
        rootfs = self.machine.mount_image(image, f"{container.id}-{number}", place, sandbox, writable=False)
        open_place = self.machine.open_place(sandbox, place)
        try:
            return sub_path_mount(rootfs, mount.sub_path, open_place / "sub")
        except OSError as error:
            raise cri.CriError(
                "NotFound", f"subpath {mount.sub_path!r} of image {mount.image}: {error.strerror}"
            ) from error
