"""Part of the kubelet: logs, exec, attach, port-forward.

Owns the kubelet's answers and refusals (upstream's `pkg/kubelet/server`); the bytes come from the
runtime and go to whoever asked, not through here.
"""

from __future__ import annotations

from typing import Any

from actors.kubelet._cgroups import pod_cgroups
from actors.kubelet._heartbeat import Heartbeat
from actors.kubelet._messages import Describe, Described
from actors.kubelet._plan import NEW, RUNNING
from protocol import status
from protocol.cri import (
    Attach,
    CriError,
    Exec,
    ExecSync,
    ExecSyncResponse,
    PortForward,
    ProcessEntry,
    ProcessTree,
    ReadLog,
    ReadLogResponse,
)
from protocol.node import (
    STDOUT,
    PodAttach,
    PodCgroups,
    PodExec,
    PodLogs,
    PodPortForward,
    PodProcesses,
    PodRun,
    StreamData,
    StreamOpened,
)

__all__ = ["Serving"]

Object = dict[str, Any]
RUN_TIMEOUT_S = 120.0


class Serving(Heartbeat):
    """See the module."""

    def pod_named(self, namespace: str, name: str) -> Object | None:
        """The pod of that name on this node: of several, the one that is not being deleted."""
        found = [
            p
            for p in self.node.pods.values()
            if p["metadata"]["name"] == name and p["metadata"].get("namespace", "") == namespace
        ]
        found.sort(key=lambda p: bool(p["metadata"].get("deletionTimestamp")))
        return found[0] if found else None

    async def _described(self, namespace: str, name: str) -> Described:
        pod = self.pod_named(namespace, name)
        worker = self.node.workers.get(pod["metadata"]["uid"]) if pod is not None else None
        if worker is None:
            raise status.not_found("", "pods", name)
        return await self.ask(worker, Describe())  # type: ignore[no-any-return]

    async def _running_container(self, namespace: str, name: str, container: str, attach: bool = False) -> str:
        described = await self._described(namespace, name)
        entry = described.containers.get(container)
        if entry is None:
            raise status.bad_request(f"container {container} is not valid for pod {name}")
        ident, _, state, _ = entry
        if state != RUNNING:
            where = f"container {container} not found in pod {name}_{namespace}"
            raise status.internal_error(where if attach else f'container not found ("{container}")')
        return ident

    async def logs(self, message: PodLogs) -> Any:
        """The log of a container, of the run before this one with `previous`."""
        described = await self._described(message.namespace, message.pod)
        entry = described.containers.get(message.container)
        if entry is None:
            raise status.bad_request(f"container {message.container} is not valid for pod {message.pod}")
        ident, previous, state, waiting = entry
        if message.previous:
            ident = previous if state == RUNNING or previous else ident if state != NEW and waiting else previous
            if not ident:
                raise status.bad_request(
                    f'previous terminated container "{message.container}" in pod "{message.pod}" not found'
                )
        elif not ident:
            reason = waiting or "ContainerCreating"
            how = (
                "trying and failing to pull image"
                if reason in ("ErrImagePull", "ImagePullBackOff")
                else f"waiting to start: {reason}"
            )
            raise status.bad_request(f'container "{message.container}" in pod "{message.pod}" is {how}')
        since = message.since_time or 0.0
        if message.since_seconds is not None:
            since = self.clock.now() - message.since_seconds
        request = ReadLog(
            ident,
            since,
            message.tail_lines,
            message.limit_bytes,
            message.timestamps,
            message.peer if message.follow else None,
            message.stream_id,
        )
        try:
            answer: ReadLogResponse = await self.ask(self.node.runtime, request)
        except CriError as error:
            raise status.internal_error(error.message) from error
        if not message.follow or message.peer is None:
            return answer.data
        if answer.data:
            message.peer.tell(StreamData(message.stream_id, STDOUT, answer.data))
        return StreamOpened(message.stream_id, self.node.runtime)

    async def exec_in(self, message: PodExec) -> StreamOpened:
        """Run a command in a container."""
        ident = await self._running_container(message.namespace, message.pod, message.container)
        try:
            return await self.ask(
                self.node.runtime,
                Exec(  # type: ignore[no-any-return]
                    ident, message.command, message.peer, message.stream_id, message.stdin, message.tty
                ),
            )
        except CriError as error:
            raise status.internal_error(error.message) from error

    async def attach_to(self, message: PodAttach) -> StreamOpened:
        """Join the main process of a container."""
        ident = await self._running_container(message.namespace, message.pod, message.container, attach=True)
        try:
            return await self.ask(
                self.node.runtime,
                Attach(  # type: ignore[no-any-return]
                    ident, message.peer, message.stream_id, message.stdin, message.tty
                ),
            )
        except CriError as error:
            raise status.internal_error(error.message) from error

    async def forward(self, message: PodPortForward) -> StreamOpened:
        """Connect to ports of a pod."""
        described = await self._described(message.namespace, message.pod)
        if not described.sandbox_id:
            raise status.not_found("", "pods", message.pod)
        try:
            return await self.ask(
                self.node.runtime,
                PortForward(  # type: ignore[no-any-return]
                    described.sandbox_id, message.ports, message.peer, message.stream_id
                ),
            )
        except CriError as error:
            raise status.internal_error(error.message) from error

    async def run_in(self, message: PodRun) -> bytes:
        """Run a command in a container to its end."""
        ident = await self._running_container(message.namespace, message.pod, message.container)
        try:
            done: ExecSyncResponse = await self.ask(self.node.runtime, ExecSync(ident, message.command, RUN_TIMEOUT_S))
        except CriError as error:
            raise status.internal_error(error.message) from error
        output = done.stdout + done.stderr
        if done.exit_code:
            text = f"command '{' '.join(message.command)}' exited with {done.exit_code}: {output.decode('utf-8', 'replace')}"
            raise status.internal_error(text)
        return output

    def cgroups(self, message: PodCgroups) -> dict[str, dict[str, dict[str, str]]]:
        """The control groups of a pod."""
        pod = self.pod_named(message.namespace, message.pod)
        if pod is None:
            raise status.not_found("", "pods", message.pod)
        return pod_cgroups(pod)

    async def processes(self, message: PodProcesses) -> tuple[ProcessEntry, ...]:
        """What `ps` on the node shows of a pod."""
        uid = ""
        if message.pod:
            pod = self.pod_named(message.namespace, message.pod)
            if pod is None:
                raise status.not_found("", "pods", message.pod)
            uid = pod["metadata"]["uid"]
        return await self.ask(self.node.runtime, ProcessTree(uid))  # type: ignore[no-any-return]
