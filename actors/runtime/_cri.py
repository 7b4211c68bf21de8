"""The CRI runtime: containers by containerd or CRI-O, over the gRPC interface that a kubelet uses.

Owns the kubelet's side of the CRI v1: messages out of `protocol.cri`, streams by the runtime's
streaming URLs, logs from the files that the runtime writes. Addresses come from the runtime's own
network (CNI). The runtime keeps all records; this actor may come and go.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import msgspec

from actors.kernel import Future, handles
from actors.runtime._cri_client import message as message_class
from actors.runtime._cri_configs import NODE, container_config, mount_config, resources_config, sandbox_config
from actors.runtime._cri_figures import RUNNING, UID, CriFigures
from actors.runtime._cri_machine import CriMachine, why_no_cri
from actors.runtime._cri_streams import EXITED
from actors.runtime._idmap import free_base
from actors.runtime._log_files import tail_text
from actors.runtime._oci_spec import lowest_oom_score
from actors.runtime._pod_files import etc_files
from actors.runtime._pod_mounts import pod_mounts, termination_message
from actors.runtime._process_io import tell
from actors.runtime._real_machine import if_there
from actors.runtime._sessions import later
from protocol import cri
from protocol.message import Message

__all__ = ["CriMachine", "CriRuntime", "why_no_cri"]

POLL_S = 0.3
STOP_MARGIN_S = 30.0
STOP_POLL_S = 0.2
STAMP = str.maketrans("T.", "--", "-:Z")
"""Of a time, what stands in the name of a log that was put aside: 20260102-030405-123456."""
STATES = {0: cri.CONTAINER_CREATED, RUNNING: cri.CONTAINER_RUNNING, EXITED: cri.CONTAINER_EXITED}
KEY, POLICY, IMAGE = "kubekka.dev/key", "kubekka.dev/termination-message-policy", "kubekka.dev/image"
POD_NAME, LOG, STOP_SIGNAL = "io.kubernetes.pod.name", "kubekka.dev/log", "kubekka.dev/stop-signal"
OWN_FILES = ("/etc/hostname", "/etc/resolv.conf")
"""What the runtime makes itself."""
SANDBOX_CONFIG, PARENT, ID_BASE = "kubekka.dev/config", "kubekka.dev/cgroup-parent", "kubekka.dev/id-base"


class _Exited(Message, frozen=True):
    """The runtime lists a container as ended."""

    container_id: str


class CriRuntime(CriFigures):
    """See the module."""

    def __init__(self, machine: CriMachine) -> None:
        super().__init__(machine)

    def listen(self) -> None:
        """List again and again, in a thread."""
        self.machine.stopped.clear()
        threading.Thread(target=self._listen, name="cri-relist", daemon=True).start()

    def deafen(self) -> None:
        """End that."""
        self.machine.stopped.set()

    def _listen(self) -> None:
        """List again and again, as the kubelet does with runtimes that tell no events; and put aside logs that
        have grown too large."""
        told: set[str] = set()
        while not self.machine.stopped.wait(POLL_S):
            try:
                found = self.machine.containers()
            except cri.CriError:
                continue
            ended = {c.id for c in found if c.state == EXITED}
            for ident in sorted(ended - told):
                tell(self.ref, _Exited(ident))
            told = ended
            for container in found:
                if container.state == RUNNING:
                    self._rotate(container)

    def _rotate(self, container: Any) -> None:
        path = Path(container.annotations.get(LOG, ""))
        with contextlib.suppress(OSError, cri.CriError):
            info = path.stat()
            if info.st_size > self.machine.log_max_bytes:
                stamp = self.clock.rfc3339_micro().translate(STAMP)
                path.rename(f"{path}.{stamp}")
                self.machine.call("ReopenContainerLog", container_id=container.id)
                for old in sorted(path.parent.glob(path.name + ".*"))[: 1 - self.machine.log_max_files]:
                    old.unlink()

    @handles(_Exited)
    def exited(self, message: _Exited) -> None:
        with contextlib.suppress(cri.CriError):
            self.announce(self.container_status(cri.GetContainerStatus(message.container_id)))

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        pod, machine = message.config, self.machine
        directory = machine.log_directory(pod)
        directory.mkdir(parents=True, exist_ok=True)
        handler, base = message.runtime_handler, 0
        if not pod.host_users:
            base = self._id_base(handler)
        machine.limit_pod(pod, pod.resources)
        config = sandbox_config(pod, str(machine.root), str(directory), base)
        config.annotations[SANDBOX_CONFIG] = msgspec.json.encode(pod).decode()
        config.annotations[PARENT] = pod.cgroup_parent
        config.annotations[ID_BASE] = str(base)
        ident = machine.call("RunPodSandbox", config=config, runtime_handler=handler).pod_sandbox_id
        place = machine.root / "sandboxes" / ident
        place.mkdir(parents=True)
        status = machine.call("PodSandboxStatus", pod_sandbox_id=ident).status
        ips = _addresses(status)
        for file, text in etc_files(pod, ips).items():
            (place / file).write_text(text)
        return cri.RunPodSandboxResponse(ident, ips)

    def _id_base(self, handler: str) -> int:
        """User numbers for a pod, where the runtime can give it some."""
        if handler not in self.machine.user_namespaces():
            what = f'RuntimeClass handler "{handler}"' if handler else "runtime"
            raise cri.CriError(
                "InvalidArgument", f"can't set `spec.hostUsers: false`, {what} does not support user namespaces"
            )
        try:
            return free_base(int(s.annotations.get(ID_BASE) or 0) for s in self.machine.sandboxes())
        except LookupError as error:
            raise cri.CriError("Unknown", str(error)) from error

    @handles(cri.UpdatePodSandboxResources)
    def update_pod_sandbox_resources(self, message: cri.UpdatePodSandboxResources) -> None:
        status = self.machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status
        self.machine.limit_pod(self._pod(status), message.resources)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        with if_there():
            self.machine.call("StopPodSandbox", pod_sandbox_id=message.pod_sandbox_id)

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        machine = self.machine
        found: list[cri.PodSandboxConfig] = []
        with if_there():
            found.append(self._pod(machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status))
        if not found:
            return
        (pod,) = found
        for container in machine.containers(sandbox_id=message.pod_sandbox_id):
            self.remove_container(cri.RemoveContainer(container.id))
        machine.delete_sandbox(message.pod_sandbox_id)
        if not machine.sandboxes(pod.uid):
            machine.forget_pod(pod)

    @staticmethod
    def _pod(status: Any) -> cri.PodSandboxConfig:
        return msgspec.json.decode(status.annotations[SANDBOX_CONFIG], type=cri.PodSandboxConfig)

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        status = self.machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status
        pod = self._pod(status)
        return cri.PodSandboxStatus(
            status.id, pod.name, pod.namespace, pod.uid, pod.attempt, status.state == 0, status.created_at / 1e9,
            _addresses(status), pod.labels, pod.annotations,
        )  # fmt: skip

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        found = []
        for sandbox in self.machine.sandboxes(message.pod_uid):
            with if_there():
                found.append(self.pod_sandbox_status(cri.GetPodSandboxStatus(sandbox.id)))
        return tuple(found)

    @handles(cri.UpdateRuntimeConfig)
    def update_runtime_config(self, message: cri.UpdateRuntimeConfig) -> None:
        super().update_runtime_config(message)
        config = message_class("RuntimeConfig")(network_config={"pod_cidr": message.pod_cidr})
        with contextlib.suppress(cri.CriError):
            self.machine.call("UpdateRuntimeConfig", runtime_config=config)

    # -- containers

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        machine, config = self.machine, message.config
        sandbox = machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status
        pod = self._pod(sandbox)
        key = f"{sandbox.id}-{config.name}-{config.attempt}"
        base = int(sandbox.annotations.get(ID_BASE) or 0)

        def volume(number: int, mount: cri.Mount) -> Path:
            return machine.volumes.place(pod.uid, mount, machine.messages(key) / f"sub-{number}")

        etc = machine.root / "sandboxes" / sandbox.id
        mounts = [
            mount_config(mount, base)
            for mount in pod_mounts(config, etc, machine.messages(key), volume)
            if mount.target not in OWN_FILES or not mount.source.startswith(str(etc))
        ]
        labels = {
            NODE: str(machine.root),
            UID: pod.uid,
            POD_NAME: pod.name,
            "io.kubernetes.container.name": config.name,
        }
        made = container_config(pod, config, mounts, labels, lowest_oom_score(config.resources.oom_score_adj), base)
        made.annotations[KEY] = key
        made.annotations[POLICY] = config.termination_message_policy
        made.annotations[IMAGE] = config.image
        if config.stop_signal:
            made.annotations[STOP_SIGNAL] = config.stop_signal
        made.annotations[LOG] = str(machine.log_directory(pod) / made.log_path)
        whole = sandbox_config(pod, str(machine.root), str(machine.log_directory(pod)), base)
        answer = machine.call(
            "CreateContainer", pod_sandbox_id=message.pod_sandbox_id, config=made, sandbox_config=whole
        )
        return cri.CreateContainerResponse(answer.container_id)

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        self.machine.call("StartContainer", container_id=message.container_id)
        status = self.machine.call("ContainerStatus", container_id=message.container_id).status
        return cri.StartContainerResponse(status.started_at / 1e9)

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None]:
        seconds = int(message.timeout_s + 0.999)

        def work() -> None:
            own = ""
            with if_there():
                own = self._status(message.container_id).annotations.get(STOP_SIGNAL, "")
            left = 0 if own and self._asked_to_end(message.container_id, own, message.timeout_s) else seconds
            self.machine.call("StopContainer", seconds + STOP_MARGIN_S, container_id=message.container_id, timeout=left)

        return later(Future(), work)

    def _asked_to_end(self, ident: str, own: str, timeout_s: float) -> bool:
        """Send the signal that the manifest names, which older runtimes do not know of, and wait; answers whether
        that was done, so that what still runs is to be killed."""
        pid = self.container_pid(ident)
        if not pid or timeout_s <= 0:
            return False
        with contextlib.suppress(OSError):
            os.kill(pid, signal.Signals[own])
        for _ in range(int(timeout_s / STOP_POLL_S)):
            if self.machine.stopped.wait(STOP_POLL_S):
                raise cri.CriError("Unavailable", "the runtime's actor has stopped")
            if self._status(ident).state != RUNNING:
                break
        return True

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        with if_there():
            status = self.machine.call("ContainerStatus", container_id=message.container_id).status
            self.machine.call("RemoveContainer", container_id=message.container_id)
            key = status.annotations.get(KEY, "")
            self.samples.pop(message.container_id, None)
            self.machine.forget_messages(key)
            for path in Path(status.log_path).parent.glob(Path(status.log_path).name + "*"):
                path.unlink()

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        answer = self.machine.call("ContainerStatus", container_id=message.container_id, verbose=True)
        status, notes = answer.status, answer.status.annotations
        exited = status.state == EXITED
        return cri.ContainerStatus(
            status.id,
            _sandbox_of(answer) or notes.get(KEY, "").partition("-")[0],
            status.labels.get(UID, ""),
            status.metadata.name,
            status.metadata.attempt,
            STATES.get(status.state, cri.CONTAINER_EXITED),
            notes.get(IMAGE, "") or status.image.image,
            status.image_ref,
            status.created_at / 1e9,
            status.started_at / 1e9,
            max(status.finished_at, status.started_at) / 1e9 if exited else 0.0,
            status.exit_code,
            status.exit_code - 128 if status.exit_code > 128 else 0,
            status.reason if exited else "",
            self._termination_message(status) if exited else "",
        )

    def _termination_message(self, status: Any) -> str:
        notes, log = status.annotations, Path(status.log_path)
        place = self.machine.messages(notes.get(KEY, ""))
        said = termination_message(place, notes.get(POLICY, ""), status.exit_code, lambda n: tail_text(log, n))
        return said or str(status.message)

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        found = []
        for container in self.machine.containers(message.pod_uid):
            with if_there():
                found.append(self.container_status(cri.GetContainerStatus(container.id)))
        return tuple(sorted(found, key=lambda s: s.created_at))

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        linux = resources_config(message.resources, lowest_oom_score(message.resources.oom_score_adj))
        key = self.machine.call("ContainerStatus", container_id=message.container_id).status.annotations.get(KEY, "")
        with if_there():  # the kubelet says later what the pod has now
            pod = self._pod(self.machine.call("PodSandboxStatus", pod_sandbox_id=key.partition("-")[0]).status)
            self.machine.groups.loosen(self.machine.group_of_pod(pod))
        self.machine.call("UpdateContainerResources", container_id=message.container_id, linux=linux)


def _addresses(status: Any) -> tuple[str, ...]:
    network = status.network
    return tuple(ip for ip in (network.ip, *(extra.ip for extra in network.additional_ips)) if ip)


def _sandbox_of(answer: Any) -> str:
    try:
        return str(json.loads(answer.info.get("info", "{}")).get("sandboxID", ""))
    except ValueError:
        return ""
