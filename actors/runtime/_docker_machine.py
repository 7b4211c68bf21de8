"""What a node has in a Docker daemon: names and labels as dockershim gave them, images, the pod's files.

    k8s_POD_<pod>_<namespace>_<uid>_<attempt>             the pause container
    k8s_<container>_<pod>_<namespace>_<uid>_<attempt>

Owns the translation between the CRI's words and the Engine API's. The daemon remembers everything:
whoever comes back finds it by label. Blocks.
https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import calendar
import contextlib
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from actors.runtime._linux import LinuxError, build_pause, started_ticks
from actors.runtime._oci_spec import lowest_oom_score
from actors.runtime._pod_network import PodNetwork
from actors.runtime._real_machine import RealMachine
from actors.runtime.images import LocalImages, export
from protocol import cri
from protocol.cni import CniError

__all__ = ["DockerMachine", "docker_error", "seconds", "why_no_docker"]

PAUSE_IMAGE = "localhost/kubekka/pause:1"
NODE, RECORD, TYPE = "kubekka.dev/node", "kubekka.dev/config", "io.kubernetes.docker.type"
POD_UID, SANDBOX = "io.kubernetes.pod.uid", "io.kubernetes.sandbox.id"
TIMEOUT_S = 60
CODES = {404: "NotFound", 409: "AlreadyExists", 400: "InvalidArgument"}
OOM_SCORE_PAUSE = -998
REMOVAL_TRIES = 4


def why_no_docker(endpoint: str) -> str:
    """What keeps containers from running in that daemon; empty if nothing does."""
    try:
        import docker
    except ImportError:
        return "the Python package docker is not installed (pip install kubekka[docker])"
    try:
        client = docker.DockerClient(base_url=endpoint, timeout=10)
        client.ping()
        client.close()
    except Exception as error:
        return f"no Docker daemon answers at {endpoint}: {str(error).splitlines()[0][:200]}"
    return ""


def docker_error(error: Exception, reason: str = "") -> cri.CriError:
    """The daemon's refusal as the CRI has it."""
    text = getattr(error, "explanation", None) or str(error)
    response = getattr(error, "response", None)
    if response is None and isinstance(error, OSError):  # it has gone, or the connection has
        return cri.CriError("Unavailable", f"Cannot connect to the Docker daemon: {text}", reason)
    code = CODES.get(getattr(response, "status_code", 0), "Unknown")
    return cri.CriError(code, f"Error response from daemon: {text}", reason)


def seconds(stamp: str) -> float:
    """A time of the Engine API; 0 for its "never"."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    if not whole or whole.startswith("0001"):
        return 0.0
    return calendar.timegm(time.strptime(whole[:19], "%Y-%m-%dT%H:%M:%S")) + (
        float(f"0.{fraction}") if fraction.isdigit() else 0
    )


class DockerMachine(RealMachine):
    """See the module. Raises: LinuxError, when the daemon does not answer."""

    network: PodNetwork

    def __init__(self, endpoint: str, images: LocalImages, root: Path | None = None, keep: bool = False) -> None:
        missing = why_no_docker(endpoint)
        if missing:
            raise LinuxError(missing)
        import docker
        import requests

        super().__init__(images, root, keep)
        self.errors: tuple[type[Exception], ...] = (docker.errors.DockerException, requests.RequestException)
        self.client = docker.DockerClient(base_url=endpoint, timeout=TIMEOUT_S)
        self.api: Any = self.client.api
        self.network = PodNetwork(str(self.root))
        self.stopped = threading.Event()
        self.events: Any = None
        """The daemon's stream of events, while somebody listens."""
        self._prepare_pause()
        for entry in self.listed(TYPE + "=podsandbox"):
            place = self.place(entry["Id"]) / "ip"
            if entry["State"] == "running" and place.exists():
                self.network.take(entry["Id"], place.read_text())

    def _prepare_pause(self) -> None:
        with contextlib.suppress(*self.errors):
            self.client.images.get(PAUSE_IMAGE)
            return
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                archive.add(build_pause(self.root / "bin"), arcname="pause")
            file.seek(0)
            repository, _, tag = PAUSE_IMAGE.rpartition(":")
            self.api.import_image_from_data(
                file.read(), repository=repository, tag=tag, changes=['ENTRYPOINT ["/pause"]', "USER 65535:65535"]
            )

    # -- finding

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """What the daemon refuses, or does not answer, within is told as CRI's errors are."""
        try:
            yield
        except self.errors as error:
            raise docker_error(error) from error

    def listed(self, *labels: str) -> list[dict[str, Any]]:
        """This node's containers that have these labels, the newest first."""
        wanted = [f"{NODE}={self.root}", *labels]
        with self.asked():
            found: list[dict[str, Any]] = self.api.containers(all=True, filters={"label": wanted})
        return found

    def inspect(self, ident: str, kind: str) -> dict[str, Any]:
        """A container of this node. Raises: CriError NotFound, or Unavailable while the daemon does not answer."""
        try:
            found: dict[str, Any] = self.api.inspect_container(ident)
        except self.errors as error:
            refusal = docker_error(error)
            if refusal.code == "NotFound":
                refusal = cri.CriError("NotFound", f'{kind} "{ident}": not found')
            raise refusal from error
        labels = found["Config"].get("Labels") or {}
        if labels.get(NODE) != str(self.root) or labels.get(TYPE) != kind.replace("sandbox", "podsandbox"):
            raise cri.CriError("NotFound", f'{kind} "{ident}": not found')
        return found

    def place(self, ident: str) -> Path:
        """Where files of a sandbox or container are."""
        return self.root / "containers" / ident

    def sandbox_config(self, info: dict[str, Any]) -> cri.PodSandboxConfig:
        """What a sandbox was made from."""
        return msgspec.json.decode(info["Config"]["Labels"][RECORD], type=cri.PodSandboxConfig)

    def container_config(self, info: dict[str, Any]) -> cri.ContainerConfig:
        """What a container was made from."""
        return msgspec.json.decode(info["Config"]["Labels"][RECORD], type=cri.ContainerConfig)

    def addresses(self, ident: str) -> tuple[str, ...]:
        """The addresses of a sandbox."""
        try:
            return tuple((self.place(ident) / "ip").read_text().split())
        except OSError:
            return ()

    # -- making

    def create_sandbox(self, config: cri.PodSandboxConfig) -> str:
        """The pause container, not yet started; answers its id."""
        host = self.api.create_host_config(
            network_mode="host" if config.host_network else "none",
            ipc_mode="host" if config.host_ipc else "shareable",
            pid_mode="host" if config.host_pid else None,
            cgroup_parent=config.cgroup_parent or None,
            sysctls=dict(config.sysctls) or None,
            security_opt=["no-new-privileges"],
            oom_score_adj=lowest_oom_score(OOM_SCORE_PAUSE),
            cpu_shares=2,
        )
        labels = {
            **dict(config.labels),
            **self._labels(config, "podsandbox", "POD"),
            RECORD: msgspec.json.encode(config).decode(),
        }
        made = self.api.create_container(
            PAUSE_IMAGE,
            name=f"k8s_POD_{config.name}_{config.namespace}_{config.uid}_{config.attempt}",
            hostname=None if config.host_network else config.hostname or config.name,
            labels=labels,
            host_config=host,
        )
        return str(made["Id"])

    def _labels(self, config: cri.PodSandboxConfig, kind: str, name: str) -> dict[str, str]:
        return {
            NODE: str(self.root),
            TYPE: kind,
            "io.kubernetes.container.name": name,
            "io.kubernetes.pod.name": config.name,
            "io.kubernetes.pod.namespace": config.namespace,
            POD_UID: config.uid,
        }

    def create_container(
        self, sandbox: dict[str, Any], config: cri.ContainerConfig, volumes: list[str], extra: dict[str, Any]
    ) -> str:
        """A container that joins a sandbox, not yet started; answers its id."""
        pod, join = self.sandbox_config(sandbox), f"container:{sandbox['Id']}"
        resources, security = config.resources, config.security
        user = config.run_as_user if config.run_as_user is not None else security.run_as_username or None
        if user is not None and security.run_as_group is not None:
            user = f"{user}:{security.run_as_group}"
        host = self.api.create_host_config(
            network_mode="host" if pod.host_network else join,
            ipc_mode="host" if pod.host_ipc else join,
            pid_mode=_processes(pod, config, join),
            binds=volumes,
            cgroup_parent=pod.cgroup_parent or None,
            cpu_shares=resources.cpu_shares or 2,
            cpu_quota=resources.cpu_quota_us or None,
            cpu_period=resources.cpu_period_us or None,
            mem_limit=resources.memory_limit_bytes or None,
            memswap_limit=resources.memory_limit_bytes or None,
            pids_limit=resources.pids_limit,
            oom_score_adj=lowest_oom_score(resources.oom_score_adj),
            privileged=config.privileged,
            read_only=config.readonly_rootfs,
            cap_add=list(security.add_capabilities) or None,
            cap_drop=list(security.drop_capabilities) or None,
            group_add=[str(g) for g in security.supplemental_groups] or None,
            security_opt=_security(config),
            devices=_devices(config) or None,
            log_config={
                "Type": "json-file",
                "Config": {"max-size": str(self.log_max_bytes), "max-file": str(self.log_max_files)},
            },
        )
        if security.unmasked:
            host |= {"MaskedPaths": [], "ReadonlyPaths": []}
        name = f"k8s_{config.name}_{pod.name}_{pod.namespace}_{pod.uid}_{config.attempt}"
        labels = {
            **dict(config.labels),
            **self._labels(pod, "container", config.name),
            SANDBOX: sandbox["Id"],
            "annotation.io.kubernetes.container.restartCount": str(config.attempt),
            RECORD: msgspec.json.encode(config).decode(),
            **extra,
        }
        made = self.api.create_container(
            config.image,
            name=name,
            entrypoint=list(config.command) or None,
            command=list(config.args) or ([] if config.command else None),
            environment=[f"{k}={v}" for k, v in config.envs],
            user=user,
            working_dir=config.working_dir or None,
            tty=config.tty,
            stdin_open=config.stdin,
            stop_signal=config.stop_signal or None,
            detach=not config.stdin_once,  # without, the client sets StdinOnce for whatever has a standard input
            labels=labels,
            host_config=host,
        )
        return str(made["Id"])

    def load_image(self, name: str) -> bool:
        """Hand an image of the local store to the daemon; answers whether there is one."""
        image = self.images.find(name)
        if image is None:
            return False
        with tempfile.TemporaryFile() as file:
            export(self.images, image, file)
            file.seek(0)
            for _ in self.api.load_image(file):
                pass
        return True

    # -- ending

    def process_of(self, info: dict[str, Any]) -> int:
        """The pid of a container that runs, else 0."""
        return int(info["State"].get("Pid") or 0)

    def alive(self, info: dict[str, Any]) -> bool:
        """Whether a container runs."""
        return bool(info["State"]["Running"]) and started_ticks(self.process_of(info)) > 0

    def delete(self, ident: str) -> None:
        """Kill and remove a container; one that has gone is no error."""
        self.unless_gone(lambda: self.api.remove_container(ident, force=True, v=True))
        shutil.rmtree(self.place(ident), ignore_errors=True)

    def unless_gone(self, work: Callable[[], Any]) -> None:
        """Do something to a container. One that has gone, or is going, is no error.

        Raises: CriError, when the daemon does not answer."""
        try:
            work()
        except self.errors as error:
            refusal = docker_error(error)
            if refusal.code == "Unavailable":
                raise refusal from error

    def remove_all(self) -> None:
        """Leave nothing of this node in the daemon."""
        try:
            self._remove_containers()
        finally:
            self.network.down()
            self.clean_up()

    def _remove_containers(self) -> None:
        pods: dict[str, cri.PodSandboxConfig] = {}
        for _ in range(REMOVAL_TRIES):  # a removal that is under way already refuses a second one
            try:
                found = self.listed()
            except cri.CriError:  # a connection of the pool was closed: the next one is not
                continue
            entries = sorted(found, key=lambda e: e["Labels"].get(TYPE) == "podsandbox")
            for entry in entries:
                if entry["Labels"].get(TYPE) == "podsandbox":
                    config = msgspec.json.decode(entry["Labels"][RECORD], type=cri.PodSandboxConfig)
                    pods[config.uid] = config
                    with contextlib.suppress(CniError):
                        self.network.release(entry["Id"], config)
                with contextlib.suppress(
                    cri.CriError
                ):  # a connection that broke or took too long: the next try has another
                    self.delete(entry["Id"])
            if not entries:
                break
        self.forget_messages("*")
        for config in pods.values():
            self.forget_pod(config)


def _processes(pod: cri.PodSandboxConfig, config: cri.ContainerConfig, join: str) -> str | None:
    """`pid_mode`: whose processes a container sees."""
    if pod.host_pid:
        return "host"
    if config.target_id:
        return f"container:{config.target_id}"
    return join if pod.shared_pid else None


def _devices(config: cri.ContainerConfig) -> list[str]:
    found = [f"{d}:{d}:rwm" for d in config.security.devices]
    return found + [f"{d.host_path}:{d.container_path}:{d.permissions}" for d in config.devices]


def _security(config: cri.ContainerConfig) -> list[str]:
    """`security_opt`. Docker's own default profile is what RuntimeDefault means."""
    found = ["no-new-privileges"] if config.security.no_new_privs else []
    profile = config.security.seccomp
    if profile in ("", "Unconfined"):
        found.append("seccomp=unconfined")
    elif profile.startswith("Localhost/"):
        try:
            found.append("seccomp=" + Path("/", profile.partition("/")[2]).read_text())
        except OSError as error:
            raise cri.CriError("InvalidArgument", f"failed to load seccomp profile {profile}: {error}") from None
    if config.security.apparmor == "Unconfined":
        found.append("apparmor=unconfined")
    elif config.security.apparmor.startswith("Localhost/"):
        found.append("apparmor=" + config.security.apparmor.partition("/")[2])
    return found
