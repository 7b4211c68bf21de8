"""The Docker runtime: containers by the Engine API, in the manner of dockershim.

Owns the CRI's verbs on top of a Docker daemon of this machine: a pause container per pod whose
network and IPC namespaces the others join (Docker has no way to share UTS: each container has the
pod's host name in a namespace of its own), addresses from the node's network, images from the
local store. The daemon keeps all records; this actor may come and go.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from actors.kernel import Child, Future, handles
from actors.runtime._docker_figures import DockerFigures
from actors.runtime._docker_machine import (
    POD_UID,
    SANDBOX,
    TYPE,
    DockerMachine,
    docker_error,
    seconds,
    why_no_docker,
)
from actors.runtime._pod_files import etc_files
from actors.runtime._pod_mounts import pod_mounts, termination_message
from actors.runtime._process_io import tell
from actors.runtime._real_machine import if_there, plain_config
from protocol import cri
from protocol.message import Message

__all__ = ["DockerMachine", "DockerRuntime", "why_no_docker"]

RECONNECT_S = 1.0
CREATED = ("created",)
KEY = "kubekka.dev/key"
PROPAGATION = {"HostToContainer": ("rslave",), "Bidirectional": ("rshared",)}


class _Died(Message, frozen=True):
    """The daemon says that a container has ended."""

    container_id: str


class DockerRuntime(DockerFigures):
    """See the module."""

    def __init__(self, machine: DockerMachine, network: Child | None = None) -> None:
        super().__init__(machine, network)

    def listen(self) -> None:
        """Hear the daemon's events."""
        self.machine.stopped.clear()
        threading.Thread(target=self._listen, name="docker-events", daemon=True).start()

    def deafen(self) -> None:
        """End that."""
        self.machine.stopped.set()
        with contextlib.suppress(Exception):
            self.machine.events.close()

    def _listen(self) -> None:
        """Tell of every container that ends; after a gap of whatever ended in it."""
        machine = self.machine
        filters = {"type": "container", "event": "die", "label": f"kubekka.dev/node={machine.root}"}
        while not machine.stopped.is_set():
            with contextlib.suppress(Exception):
                events = machine.events = machine.api.events(filters=filters, decode=True)
                for entry in machine.listed(f"{TYPE}=container"):
                    if entry["State"] == "exited":
                        tell(self.ref, _Died(entry["Id"]))
                for event in events:
                    tell(self.ref, _Died(event["id"]))
            machine.stopped.wait(RECONNECT_S)

    @handles(_Died)
    def died(self, message: _Died) -> None:
        with contextlib.suppress(cri.CriError):
            status = self.container_status(cri.GetContainerStatus(message.container_id))
            self.announce(status)

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        config, machine = message.config, self.machine
        if not config.host_users:
            raise cri.CriError("InvalidArgument", "Docker has user namespaces for all of its containers or for none")
        ident = ""
        try:
            machine.limit_pod(config, config.resources)
            ident = machine.create_sandbox(config)
            place = machine.place(ident)
            place.mkdir(parents=True)
            machine.api.start(ident)
            ips: tuple[str, ...] = ()
            if not config.host_network:
                pid = machine.process_of(machine.inspect(ident, "sandbox"))
                ips = machine.network.attach(ident, pid, config)
                (place / "ip").write_text(" ".join(ips))
            for file, text in etc_files(config, ips).items():
                (place / file).write_text(text)
        except machine.errors as error:
            if ident:
                machine.delete(ident)
            raise docker_error(error) from error
        except (cri.CriError, OSError):
            machine.delete(ident)
            raise
        return cri.RunPodSandboxResponse(ident, ips)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        machine = self.machine
        for entry in machine.listed(f"{SANDBOX}={message.pod_sandbox_id}"):
            if entry["State"] == "running":
                self.kill(entry["Id"], "SIGKILL")
        with if_there():
            info = machine.inspect(message.pod_sandbox_id, "sandbox")
            if info["State"]["Running"]:
                self.kill(message.pod_sandbox_id, "SIGKILL")
                machine.network.release(message.pod_sandbox_id, machine.sandbox_config(info))

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        machine = self.machine
        self.stop_pod_sandbox(cri.StopPodSandbox(message.pod_sandbox_id))
        for entry in machine.listed(f"{SANDBOX}={message.pod_sandbox_id}"):
            self._forget(entry["Id"])
        found: list[cri.PodSandboxConfig] = []
        with if_there():
            found.append(machine.sandbox_config(machine.inspect(message.pod_sandbox_id, "sandbox")))
        if not found:
            return
        (config,) = found
        machine.delete(message.pod_sandbox_id)
        machine.forget_messages(f"{message.pod_sandbox_id}-*")
        if not machine.listed(f"{POD_UID}={config.uid}"):
            machine.forget_pod(config)

    @handles(cri.UpdatePodSandboxResources)
    def update_pod_sandbox_resources(self, message: cri.UpdatePodSandboxResources) -> None:
        info = self.machine.inspect(message.pod_sandbox_id, "sandbox")
        self.machine.limit_pod(self.machine.sandbox_config(info), message.resources)

    def _forget(self, ident: str) -> None:
        self.machine.delete(ident)
        self.samples.pop(ident, None)
        self.release_waiters(ident)

    def kill(self, ident: str, signal: str) -> None:
        """Signal a container; one that has gone is no error. Raises: CriError, when the daemon does not answer."""
        self.machine.unless_gone(lambda: self.machine.api.kill(ident, signal))

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        return self._sandbox_status(self.machine.inspect(message.pod_sandbox_id, "sandbox"))

    def _sandbox_status(self, info: dict[str, Any]) -> cri.PodSandboxStatus:
        c = self.machine.sandbox_config(info)
        return cri.PodSandboxStatus(
            info["Id"], c.name, c.namespace, c.uid, c.attempt, self.machine.alive(info), seconds(info["Created"]),
            self.machine.addresses(info["Id"]), c.labels, c.annotations,
        )  # fmt: skip

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        return tuple(self._sandbox_status(i) for i in self.inspected("sandbox", message.pod_uid))

    # -- containers

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        machine, config = self.machine, message.config
        sandbox = machine.inspect(message.pod_sandbox_id, "sandbox")
        if not machine.alive(sandbox):
            raise cri.CriError("FailedPrecondition", f'sandbox container "{sandbox["Id"]}" is not running')
        uid = machine.sandbox_config(sandbox).uid
        key = f"{sandbox['Id']}-{config.name}-{config.attempt}"

        def volume(number: int, mount: cri.Mount) -> Path:
            return machine.volumes.place(uid, mount, machine.messages(key) / f"sub-{number}")

        binds = []
        for mount in pod_mounts(config, machine.place(sandbox["Id"]), machine.messages(key), volume):
            if mount.image:
                raise cri.CriError("InvalidArgument", "image volumes are not supported by this runtime")
            options = ["ro" if mount.readonly else "rw", *PROPAGATION.get(mount.propagation, ())]
            binds.append(f"{mount.source}:{mount.target}:{','.join(options)}")
        with machine.asked():
            ident = machine.create_container(sandbox, plain_config(config), binds, {KEY: key})
        return cri.CreateContainerResponse(ident)

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        machine = self.machine
        machine.inspect(message.container_id, "container")
        try:
            machine.api.start(message.container_id)
        except machine.errors as error:
            refusal = docker_error(error)
            raise cri.CriError(
                "Unknown", f'failed to start container "{message.container_id}": {refusal.message}'
            ) from error
        return cri.StartContainerResponse(
            seconds(machine.inspect(message.container_id, "container")["State"]["StartedAt"])
        )

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None] | None:
        info = self.machine.inspect(message.container_id, "container")
        if not info["State"]["Running"]:
            return None
        signal = info["Config"].get("StopSignal") or "SIGTERM"
        return self.end_container(message.container_id, message.timeout_s, signal)

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        with if_there():
            info = self.machine.inspect(message.container_id, "container")
            self._forget(message.container_id)
            self.machine.forget_messages(info["Config"]["Labels"].get(KEY, ""))

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        return self._status(self.machine.inspect(message.container_id, "container"))

    def _status(self, info: dict[str, Any]) -> cri.ContainerStatus:
        state, config, labels = info["State"], self.machine.container_config(info), info["Config"]["Labels"]
        kind = cri.CONTAINER_EXITED
        if state["Running"]:
            kind = cri.CONTAINER_RUNNING
        elif state["Status"] in CREATED and not state.get("Error"):
            kind = cri.CONTAINER_CREATED
        code = int(state.get("ExitCode") or 0)
        began = seconds(state.get("StartedAt") or "")
        reason = (
            ""
            if kind != cri.CONTAINER_EXITED
            else "OOMKilled"
            if state.get("OOMKilled")
            else "Completed"
            if code == 0
            else "Error"
        )
        return cri.ContainerStatus(
            info["Id"], labels[SANDBOX], labels[POD_UID], config.name, config.attempt, kind, config.image,
            f"docker://{info['Image']}", seconds(info["Created"]), began,
            max(seconds(state.get("FinishedAt") or ""), began) if kind == cri.CONTAINER_EXITED else 0.0, code, code - 128 if code > 128 else 0, reason,
            self._termination_message(info, config, code) if kind == cri.CONTAINER_EXITED else "", config.annotations,
        )  # fmt: skip

    def _termination_message(self, info: dict[str, Any], config: cri.ContainerConfig, code: int) -> str:
        def tail(lines: int) -> bytes:
            with contextlib.suppress(*self.machine.errors):
                return bytes(self.machine.api.logs(info["Id"], tail=lines))
            return b""

        place = self.machine.messages(info["Config"]["Labels"].get(KEY, ""))
        said = termination_message(place, config.termination_message_policy, code, tail)
        return said or str(info["State"].get("Error") or "")

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        found = [self._status(i) for i in self.inspected("container", message.pod_uid)]
        return tuple(sorted(found, key=lambda s: s.created_at))

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        resources = message.resources
        labels = self.machine.inspect(message.container_id, "container")["Config"]["Labels"]
        pod = self.machine.sandbox_config(self.machine.inspect(labels[SANDBOX], "sandbox"))
        self.machine.groups.loosen(self.machine.group_of_pod(pod))  # the kubelet says later what the pod has now
        with self.machine.asked():
            self.machine.api.update_container(
                message.container_id,
                cpu_shares=resources.cpu_shares or 2,
                cpu_quota=resources.cpu_quota_us or -1,
                cpu_period=resources.cpu_period_us or 100_000,
                mem_limit=resources.memory_limit_bytes or -1,
                memswap_limit=resources.memory_limit_bytes or -1,
            )
