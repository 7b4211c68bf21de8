"""What a node keeps for its OCI containers, on disk and in the kernel, whoever drives them.

    sandboxes/<id>/   config.json (pause's bundle), record.json, shm, hostname, hosts, resolv.conf
    containers/<id>/  config.json, shim.json, record.json, exit.json, attach.sock, upper, work, rootfs
    volumes/          what pods' volumes hold
    state/            the OCI runtime's own
    pause/            the root file system of pause

Owns records, mounts, and the OCI runtime's command line. A new object over the same directory finds
everything again: that is how a node that was killed takes up its containers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import orjson

from actors.kernel import ActorDead
from actors.runtime._control_groups import CGROUPS
from actors.runtime._idmap import free_base, mount_idmapped
from actors.runtime._linux import LinuxError, build_pause, mounted_below, run, started_ticks, why_not
from actors.runtime._pod_network import PodNetwork
from actors.runtime._real_machine import RealMachine
from actors.runtime.images import LocalImage, LocalImages
from protocol import cri
from protocol.cni import CniError

__all__ = ["OciContainer", "OciSandbox", "RuncMachine", "why_no_runc"]

COMMAND_TIMEOUT_S = 30.0
SHM_BYTES = 64 << 20
REMOVERS = 4
UNIFIED = CGROUPS / "unified"
OPEN = Path("/run/kubekka")
"""Below here every directory may be passed through by whoever has no rights: the root of a user namespace."""


def why_no_runc(program: str = "runc") -> str:
    """What keeps this machine from running OCI containers; empty if nothing does."""
    if shutil.which(program) is None:
        return f"{program} is not installed (Debian: apt-get install {program})"
    return why_not()


def launcher(program: str) -> list[str]:
    """How the OCI runtime is called. crun refuses machines where both versions of cgroups have controllers:
    it is shown the first version only."""
    with contextlib.suppress(OSError):
        if Path(program).name == "crun" and Path(UNIFIED, "cgroup.controllers").read_text().strip():
            hidden = f'mount --make-rprivate {CGROUPS} && umount {UNIFIED} && exec "$@"'
            return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", hidden, "sh", program]
    return [program]


class OciSandbox(msgspec.Struct):
    """A pod's sandbox; `began` tells its process from a later one of the same number."""

    id: str
    config: cri.PodSandboxConfig
    created_at: float
    pid: int = 0
    began: int = 0
    ips: tuple[str, ...] = ()
    stopped: bool = False
    id_base: int = 0
    """The first user number of the machine that is the pod's; 0: it has the machine's own."""

    @property
    def ready(self) -> bool:
        """Whether its pause process lives."""
        return not self.stopped and self.pid > 0 and started_ticks(self.pid) == self.began

    def status(self) -> cri.PodSandboxStatus:
        c = self.config
        return cri.PodSandboxStatus(
            self.id, c.name, c.namespace, c.uid, c.attempt, self.ready, self.created_at, self.ips, c.labels,
            c.annotations,
        )  # fmt: skip


class OciContainer(msgspec.Struct):
    """A container and how it fares."""

    id: str
    sandbox_id: str
    pod_uid: str
    config: cri.ContainerConfig
    image_ref: str
    image_id: str
    created_at: float
    log_file: str
    process: dict[str, Any]
    stop_signal: str = "SIGTERM"
    pid: int = 0
    state: str = cri.CONTAINER_CREATED
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""

    def status(self) -> cri.ContainerStatus:
        c = self.config
        return cri.ContainerStatus(
            self.id, self.sandbox_id, self.pod_uid, c.name, c.attempt, self.state, c.image, self.image_ref,
            self.created_at, self.started_at, self.finished_at, self.exit_code, self.signal, self.reason, self.message,
            c.annotations,
        )  # fmt: skip


class RuncMachine(RealMachine):
    """See the module. Raises: LinuxError, with what the machine lacks."""

    prefix = "runc"
    network: PodNetwork

    def __init__(
        self, images: LocalImages, root: Path | None = None, program: str = "runc", keep: bool = False
    ) -> None:
        missing = why_no_runc(program)
        if missing:
            raise LinuxError(f"containers cannot be run here: {missing}")
        super().__init__(images, root, keep)
        self.launcher = launcher(program)
        self.open_root = OPEN / hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        self.network = PodNetwork(str(self.root))
        self.sandboxes: dict[str, OciSandbox] = {}
        self.containers: dict[str, OciContainer] = {}
        self._prepare_pause()
        self._load()

    def _prepare_pause(self) -> None:
        place = self.root / "pause"
        if not (place / "pause").exists():
            shutil.copy(build_pause(self.root / "bin"), _made(place) / "pause")
            os.chmod(place / "pause", 0o755)
            for folder in ("proc", "sys", "dev"):  # the root of a user namespace may not make them
                _made(place / folder)

    def _load(self) -> None:
        """Records of a life before."""
        for path in (self.root / "sandboxes").glob("*/record.json"):
            with contextlib.suppress(msgspec.DecodeError, OSError):
                sandbox = msgspec.json.decode(path.read_bytes(), type=OciSandbox)
                self.sandboxes[sandbox.id] = sandbox
                for address in () if sandbox.stopped else sandbox.ips:
                    self.network.take(sandbox.id, address)
        for path in (self.root / "containers").glob("*/record.json"):
            with contextlib.suppress(msgspec.DecodeError, OSError):
                container = msgspec.json.decode(path.read_bytes(), type=OciContainer)
                self.containers[container.id] = container

    def save(self, record: OciSandbox | OciContainer) -> None:
        """Write a record, so that it is there whole or as it was."""
        place = self.place(record)
        half = place / "record.json.new"
        half.write_bytes(msgspec.json.encode(record))
        half.rename(place / "record.json")

    def place(self, record: OciSandbox | OciContainer) -> Path:
        """The record's directory."""
        return self.root / ("sandboxes" if isinstance(record, OciSandbox) else "containers") / record.id

    def command(self, *arguments: str) -> list[str]:
        """The OCI runtime's command line."""
        return [*self.launcher, "--root", str(self.root / "state"), *arguments]

    def oci(self, *arguments: str, given: bytes | None = None) -> str:
        """Run the OCI runtime to its end. Raises: LinuxError with what it said."""
        done = subprocess.run(
            self.command(*arguments), input=given, capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S
        )
        if done.returncode:
            raise LinuxError(done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}")
        return done.stdout.decode()

    # -- mounts

    def take_ids(self, sandbox: OciSandbox) -> None:
        """Give a pod user numbers of its own. Raises: LookupError when there are no more."""
        sandbox.id_base = free_base(s.id_base for s in self.sandboxes.values())

    def open_place(self, sandbox: OciSandbox, place: Path) -> Path:
        """Where the mounts of a record's directory are: in it, or where a pod's own users reach them."""
        return self.open_root / place.relative_to(self.root) if sandbox.id_base else place

    def _made_open(self, sandbox: OciSandbox, place: Path) -> Path:
        found = self.open_place(sandbox, place)
        found.mkdir(parents=True, exist_ok=True)
        for folder in (found, *found.parents) if sandbox.id_base else ():
            if folder == OPEN.parent:
                break
            folder.chmod(0o711)
        return found

    def make_shm(self, sandbox: OciSandbox) -> None:
        """The pod's /dev/shm."""
        place = _made(self._made_open(sandbox, self.place(sandbox)) / "shm")
        owner = f",uid={sandbox.id_base},gid={sandbox.id_base}" if sandbox.id_base else ""
        run("mount", "-t", "tmpfs", "-o", f"nosuid,nodev,noexec,mode=1777,size={SHM_BYTES}{owner}", "shm", str(place))

    def pause_root(self, sandbox: OciSandbox) -> Path:
        """The root file system of the pod's pause container."""
        if not sandbox.id_base:
            return self.root / "pause"
        target = _made(self._made_open(sandbox, self.place(sandbox)) / "rootfs")
        run("mount", "--bind", str(self.root / "pause"), str(target))
        return target

    def mount_image(self, image: LocalImage, user: str, place: Path, sandbox: OciSandbox, writable: bool) -> Path:
        """An image's layers as one directory, whose path is answered; upper and work go to `place`."""
        self.images.use(user, image)
        layers = list(reversed(self.images.layers(image)))
        target = _made(self._made_open(sandbox, place) / "rootfs")
        above = self.images.root / "layers"
        if sandbox.id_base:  # the layers' files belong to the pod's root
            space, mapped = f"/proc/{sandbox.pid}/ns/user", target.parent / "layers"
            for layer in layers:
                mount_idmapped(above / layer.name, mapped / layer.name, space)
            above = mapped
        lower = ":".join(layer.name for layer in layers) or str(_made(place / "empty"))
        if writable:
            upper, work = _made(place / "upper"), _made(place / "work")
            os.chown(upper, sandbox.id_base, sandbox.id_base)
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        elif len(layers) > 1:
            options = f"lowerdir={lower}"
        else:
            run("mount", "--bind", str(above / lower), str(target))
            run("mount", "-o", "remount,bind,ro", str(target))
            return target
        done = subprocess.run(  # relative names: all of the layers have to fit on a page
            ["mount", "-t", "overlay", "-o", options, "overlay", str(target)],
            cwd=above if above.exists() else place, capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise LinuxError(done.stderr.decode(errors="replace").strip())
        return target

    def clear(self, place: Path, user: str = "") -> None:
        """Unmount and remove a record's directory; its image is released."""
        for folder in (place, self.open_root / place.relative_to(self.root)):
            for target in mounted_below(folder):
                with contextlib.suppress(LinuxError):
                    run("umount", "--lazy", target)
            shutil.rmtree(folder, ignore_errors=True)
        if user:
            self.images.release(user)

    # -- the end

    def group_of(self, container: OciContainer) -> str:
        """The container's control group."""
        sandbox = self.sandboxes.get(container.sandbox_id)
        parent = self.group_of_pod(sandbox.config) if sandbox is not None else ""
        return f"{parent or '/kubepods/besteffort/pod' + container.pod_uid}/{container.config.name}"

    def pause_group(self, config: cri.PodSandboxConfig) -> str:
        """The control group of the pod's pause process."""
        return f"{self.group_of_pod(config)}/pause-{config.attempt}"

    def delete_container(self, ident: str) -> None:
        """Kill what runs of a container and remove all there is of it."""
        container = self.containers.pop(ident, None)
        if container is None:
            return
        with contextlib.suppress(LinuxError):
            self.oci("delete", "--force", ident)
        group = self.group_of(container)
        self.clear(self.place(container), ident)
        self.groups.remove(group)
        with contextlib.suppress(OSError):
            Path(container.log_file).unlink()
            for old in Path(container.log_file).parent.glob(f"{Path(container.log_file).name}.*"):
                old.unlink()
            Path(container.log_file).parent.rmdir()

    def stop_sandbox(self, ident: str) -> None:
        """End the pause process; the address is free."""
        sandbox = self.sandboxes.get(ident)
        if sandbox is not None and not sandbox.stopped:
            with contextlib.suppress(LinuxError):
                self.oci("delete", "--force", ident)
            sandbox.stopped = True
            with contextlib.suppress(CniError, ActorDead):
                self.network.release(ident, sandbox.config)
            self.save(sandbox)

    def delete_sandbox(self, ident: str) -> None:
        """Remove all there is of a sandbox and its containers."""
        for container in [c for c in self.containers.values() if c.sandbox_id == ident]:
            self.delete_container(container.id)
        self.stop_sandbox(ident)
        sandbox = self.sandboxes.pop(ident, None)
        if sandbox is None:
            return
        self.clear(self.place(sandbox))
        self.groups.remove(self.pause_group(sandbox.config))
        if not any(s.config.uid == sandbox.config.uid for s in self.sandboxes.values()):
            self.forget_pod(sandbox.config)

    def remove_all(self) -> None:
        """Leave no process, mount, interface and group behind."""
        for sandbox in self.sandboxes.values():  # all at once, so that each is gone when its turn comes
            if sandbox.ready:
                _killed(sandbox.pid)
        for container in self.containers.values():
            if container.state == cri.CONTAINER_RUNNING:
                _killed(container.pid)
        with ThreadPoolExecutor(REMOVERS) as pool:
            list(pool.map(self.delete_sandbox, list(self.sandboxes)))
        for ident in list(self.containers):
            self.delete_container(ident)
        self.network.down()
        for folder in (self.open_root / "sandboxes", self.open_root / "containers", self.open_root, OPEN):
            with contextlib.suppress(OSError):
                folder.rmdir()
        self.clean_up()

    def kill(self, container: OciContainer, number: str, everyone: bool = False) -> None:
        """Signal a container; one that has gone is no error."""
        with contextlib.suppress(LinuxError):
            self.oci("kill", *(["--all"] if everyone else []), container.id, number)

    def exit_record(self, container: OciContainer) -> dict[str, Any] | None:
        """What the shim left of a container that has ended."""
        try:
            value = orjson.loads((self.place(container) / "exit.json").read_bytes())
            return value if isinstance(value, dict) else None
        except (OSError, orjson.JSONDecodeError):
            return None


def _killed(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
