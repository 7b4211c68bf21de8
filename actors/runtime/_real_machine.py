"""What a node of real containers has on this machine, whichever runtime runs them.

    volumes/     what pods' volumes hold
    logs/        <namespace>_<pod>_<uid>/<container>/<attempt>.log
    messages/    what containers write to /dev/termination-log

Owns directories and control groups. A new object over the same directory finds everything again.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.runtime._apparmor import is_enabled
from actors.runtime._control_groups import ControlGroups
from actors.runtime._linux import LinuxError, mounted_below, run
from actors.runtime._volume_mounts import VolumeMounts
from actors.runtime.images import LocalImages
from protocol import cri

__all__ = ["RealMachine", "features", "if_there", "plain_config"]


def features(*more: str) -> tuple[str, ...]:
    """`VersionResponse.features`: what this kernel has, and what the runtime adds."""
    return (*(("apparmor",) if is_enabled() else ()), *more)


@contextmanager
def if_there() -> Iterator[None]:
    """What has gone already is no error; a runtime that does not answer is one."""
    try:
        yield
    except cri.CriError as error:
        if error.code != "NotFound":
            raise


def plain_config(config: cri.ContainerConfig) -> cri.ContainerConfig:
    """The configuration without whom to ask for volumes, as a record holds it."""
    import msgspec

    return msgspec.structs.replace(config, mounts=tuple(msgspec.structs.replace(m, source=None) for m in config.mounts))


class RealMachine:
    """See the module. With `keep`, stopping the runtime leaves everything running, as stopping a kubelet does."""

    def __init__(self, images: LocalImages, root: Path | None, keep: bool) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="kubekka-node-") if root is None else None
        self.root = Path(self._temporary.name if self._temporary is not None else root or ".").resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.images, self.keep = images, keep
        self.groups = ControlGroups()
        self.volumes = VolumeMounts(self.root / "volumes")
        self.network: Any = None
        """How pods get onto the network (`PodNetwork`), where that is not the runtime's own affair."""
        self.log_max_bytes, self.log_max_files = 10 << 20, 5
        """When a log is put aside, and how many files are kept of it."""
        self.watcher: Any = None
        self.cleanups: list[Callable[[], None]] = []
        """Called when everything else has been removed."""

    def log_directory(self, config: cri.PodSandboxConfig) -> Path:
        """Where a pod's logs are: below the machine's own directory, as several nodes may share this host."""
        return self.root / "logs" / (config.log_directory.rsplit("/", 1)[-1] or config.uid)

    def messages(self, key: str) -> Path:
        """Where the termination message of a container is, and parts of volumes that are mounted for it."""
        return self.root / "messages" / (key or "none")

    def forget_messages(self, pattern: str) -> None:
        """The containers with these keys have gone."""
        for place in (self.root / "messages").glob(pattern) if pattern else ():
            for target in mounted_below(place):
                with contextlib.suppress(LinuxError):
                    run("umount", "--lazy", target)
            shutil.rmtree(place, ignore_errors=True)

    @staticmethod
    def group_of_pod(config: cri.PodSandboxConfig) -> str:
        """The pod's control group."""
        return config.cgroup_parent or f"/kubepods/besteffort/pod{config.uid}"

    def limit_pod(self, config: cri.PodSandboxConfig, resources: cri.ContainerResources | None) -> None:
        """Make the pod's control group, with its limits where they are known."""
        if resources is not None:
            self.groups.make(self.group_of_pod(config), resources)

    def forget_pod(self, config: cri.PodSandboxConfig) -> None:
        """The last sandbox of a pod has gone: so does all that the pod had here."""
        self.groups.remove(self.group_of_pod(config))
        self.volumes.remove(config.uid)
        shutil.rmtree(self.log_directory(config), ignore_errors=True)

    def clean_up(self) -> None:
        """All pods have gone: so does what was above them."""
        self.groups.remove_top()
        for cleanup in self.cleanups:
            cleanup()

    def load_image(self, name: str) -> bool:
        """Hand an image of the local store to a daemon; answers whether there is one, and a way."""
        return self.images.find(name) is not None

    def remove_all(self) -> None:
        """Leave nothing of this node behind."""
        raise NotImplementedError
