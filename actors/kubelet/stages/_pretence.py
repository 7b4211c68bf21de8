"""What nodes without kubelets answer for the pods that are played: what they use, and what they have logged.

Owns KWOK's ResourceUsage, ClusterResourceUsage, Logs and ClusterLogs objects, and the answers to the API server that
a kubelet would give. Where no object says otherwise a container uses nothing and has logged nothing. Commands are
never run, whatever an Exec object says: that would be on this machine.

https://kwok.sigs.k8s.io/docs/user/resource-usage-configuration/, https://kwok.sigs.k8s.io/docs/user/logs-configuration/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from actors.client import ClientActor
from actors.kernel import Child, Ref, ThreadActor, handles
from actors.kubelet._config import KubeletConfig
from actors.kubelet._exposition import TEXT
from actors.kubelet._routing import route
from actors.kubelet._stats import resource_metrics, summary
from actors.kubelet._status import parse_time
from actors.kubelet.stages._cel import CelQuery, amount_of
from actors.kubelet.stages._stage import StageError
from protocol import status
from protocol.api import StatusError
from protocol.cel import CelError
from protocol.cri import ContainerStats
from protocol.http import HttpReply
from protocol.message import Address, Message
from protocol.node import (
    STDOUT,
    NodeAnswer,
    NodeCall,
    NodeGet,
    NodeResponse,
    PodAttach,
    PodExec,
    PodLogs,
    PodPortForward,
    PodRun,
    StreamClosed,
    StreamData,
    StreamOpened,
)
from protocol.quantity import QuantityError, parse_quantity

__all__ = ["Pretence", "Scripts"]

Object = dict[str, Any]
VARIABLES = ("pod", "node", "container")
READ_S = 10.0


class Scripts:
    """What the objects beside stages say. Raises: StageError."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self.usages: list[tuple[Object, list[tuple[frozenset[str], dict[str, Any]]]]] = []
        self.logs: list[tuple[Object, list[Object]]] = []
        for obj in objects:
            kind, spec = obj.get("kind"), obj.get("spec") or {}
            if kind in ("ResourceUsage", "ClusterResourceUsage"):
                self.usages.append((obj, [_usage(entry, obj) for entry in spec.get("usages") or ()]))
            elif kind in ("Logs", "ClusterLogs"):
                self.logs.append((obj, list(spec.get("logs") or ())))
        for entries in (self.usages, self.logs):  # one pod's own come before those of many
            entries.sort(key=lambda entry: str(entry[0]["kind"]).startswith("Cluster"))  # type: ignore[attr-defined]

    def usage(self, pod: Object, node: Object, container: Object) -> dict[str, float]:
        """What a container uses now: cores of cpu, bytes of memory."""
        for obj, entries in self.usages:
            if not _about(obj, pod):
                continue
            for names, amounts in entries:
                if not names or container["name"] in names:
                    return {k: _amount(v, pod, node, container) for k, v in amounts.items()}
        return {}

    def log(self, pod: Object, container: str) -> Object | None:
        """The entry about a container's log."""
        for obj, entries in self.logs:
            if _about(obj, pod):
                for entry in entries:
                    if not entry.get("containers") or container in entry["containers"]:
                        return entry
        return None


def _usage(entry: Object, obj: Object) -> tuple[frozenset[str], dict[str, Any]]:
    amounts: dict[str, Any] = {}
    for resource, told in (entry.get("usage") or {}).items():
        try:
            if told.get("expression"):
                amounts[resource] = CelQuery(told["expression"], VARIABLES)
            else:
                amounts[resource] = float(parse_quantity(str(told.get("value", "0"))))
        except (CelError, QuantityError) as error:
            raise StageError(f"{obj['kind']} {obj['metadata']['name']}: {error}") from None
    return frozenset(entry.get("containers") or ()), amounts


def _amount(told: Any, pod: Object, node: Object, container: Object) -> float:
    if isinstance(told, CelQuery):
        annotated = {**pod, "metadata": {"annotations": {}, "labels": {}, **pod["metadata"]}}
        return amount_of(told.run({"pod": annotated, "node": node, "container": container}))
    return float(told)


def _about(obj: Object, pod: Object) -> bool:
    meta, mine = obj["metadata"], pod["metadata"]
    if not str(obj["kind"]).startswith("Cluster"):
        return meta["name"] == mine["name"] and meta.get("namespace", "default") == mine.get("namespace")
    selector = (obj.get("spec") or {}).get("selector") or {}
    namespaces, names = selector.get("matchNamespaces"), selector.get("matchNames")
    return (not namespaces or mine.get("namespace") in namespaces) and (not names or mine["name"] in names)


class ReadFile(Message, frozen=True):
    """Asked: a file's content; None if there is none."""

    path: str


class Reader(ThreadActor):
    """Reads files."""

    @handles(ReadFile)
    def read(self, message: ReadFile) -> bytes | None:
        try:
            return Path(message.path).read_bytes()
        except OSError:
            return None


class Pretence(ClientActor):
    """Part of the player; see the module. One actor answers for all of its nodes."""

    scripts: Scripts
    nodes: dict[str, Object]
    reader: Ref | None = None

    def played(self) -> Iterable[Object]:
        """The pods that are played (defined by the player)."""
        raise NotImplementedError

    def door(self) -> Address:
        """Whom streams are opened at."""
        return self.ref

    def _pod(self, namespace: str, name: str) -> Object:
        for pod in self.played():
            if (pod["metadata"].get("namespace"), pod["metadata"]["name"]) == (namespace, name):
                return pod
        raise status.not_found("", "pods", name)

    @handles(PodLogs)
    async def logs(self, message: PodLogs) -> Any:
        """A container's log: the file that a Logs object names."""
        entry = self.scripts.log(self._pod(message.namespace, message.pod), message.container)
        path = (entry or {}).get("previousLogsFile" if message.previous else "logsFile")
        data = b""
        if path:
            if self.reader is None:
                self.reader = self.spawn(Child("reader", Reader))
            found = await self.ask(self.reader, ReadFile(path), timeout=READ_S)
            if found is None:
                raise status.internal_error(f"open {path}: no such file or directory")
            data = _cut(found, message)
        if not message.follow or message.peer is None:
            return data
        if data:
            message.peer.tell(StreamData(message.stream_id, STDOUT, data))
        message.peer.tell(StreamClosed(message.stream_id))
        return StreamOpened(message.stream_id, self.ref)

    @handles(StreamClosed)
    def stream_closed(self, message: StreamClosed) -> None:
        """Somebody who followed a log has gone."""

    @handles(PodExec)
    @handles(PodAttach)
    @handles(PodPortForward)
    def refuse(self, message: Any) -> StreamOpened:
        raise status.bad_request(f"pod {message.pod} is played by stages: there is no process behind it")

    @handles(PodRun)
    async def run_in(self, message: PodRun) -> bytes:
        raise status.bad_request(f"pod {message.pod} is played by stages: there is no process behind it")

    # -- the paths of a node's own API

    async def api_path(self, message: NodeGet) -> NodeResponse:
        """As of no node in particular: alive."""
        return NodeResponse(200, "text/plain; charset=utf-8", b"ok")

    @handles(NodeGet)
    def node_get(self, message: NodeGet) -> NodeResponse:
        """GET for a client in this process, which names the node."""
        return self._get(message.path.rstrip("/"), message.node)

    @handles(NodeCall)
    async def node_call(self, message: NodeCall) -> NodeAnswer:
        """Any request."""
        path = message.call.path.rstrip("/")
        if path.startswith(("/stats", "/metrics", "/pods")):
            found = self._get(path, message.node)
            return NodeAnswer(HttpReply(found.status, found.content_type, found.body))
        try:
            return NodeAnswer(*await route(self, message.call))
        except StatusError as error:
            return NodeAnswer(HttpReply(error.code, "text/plain; charset=utf-8", error.message.encode()))

    def _get(self, path: str, node: str) -> NodeResponse:
        pods = {p["metadata"]["uid"]: p for p in self.played() if p["spec"].get("nodeName") == node}
        now = self.clock.now()
        if path == "/pods":
            body: Object = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(pods.values())}
            return NodeResponse(200, "application/json", orjson.dumps(body))
        stats = [s for pod in pods.values() for s in self._stats(pod, now)]
        if path == "/stats/summary":
            capacity = ((self.nodes.get(node) or {}).get("status") or {}).get("capacity") or {}
            told = summary(node, pods, stats, KubeletConfig(capacity=capacity), now)
            return NodeResponse(200, "application/json", orjson.dumps(told))
        if path == "/metrics/resource":
            return NodeResponse(200, TEXT, resource_metrics(pods, stats, now))
        return NodeResponse(404, "text/plain; charset=utf-8", b"404 page not found\n")

    def _stats(self, pod: Object, now: float) -> Iterable[ContainerStats]:
        if (pod.get("status") or {}).get("phase") != "Running":
            return
        node: Mapping[str, Any] = self.nodes.get(pod["spec"].get("nodeName", "")) or {}
        age = max(0.0, now - parse_time((pod["status"].get("startTime")) or ""))
        for container in pod["spec"].get("containers") or ():
            used = self.scripts.usage(pod, dict(node), container)
            cores, memory = used.get("cpu", 0.0), int(used.get("memory", 0.0))
            yield ContainerStats(
                f"{pod['metadata']['uid']}/{container['name']}", container["name"], pod["metadata"]["uid"], now,
                int(cores * age * 1e9), int(cores * 1e9), memory, memory,
            )  # fmt: skip


def _cut(data: bytes, message: PodLogs) -> bytes:
    lines = data.splitlines(keepends=True)
    if message.tail_lines is not None:
        lines = lines[-message.tail_lines :] if message.tail_lines else []
    text = b"".join(lines)
    return text if message.limit_bytes is None else text[: message.limit_bytes]
