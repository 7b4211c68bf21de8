"""Part of the kubelet: what is read at the paths of its own API.

Owns the bodies of /pods, /metrics and its kin, /stats, /configz and /logs/. Streams and commands are in `_serving`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import orjson

from actors.kernel import ActorDead
from actors.kubelet._configz import configuration
from actors.kubelet._exposition import TEXT
from actors.kubelet._messages import Describe, Described
from actors.kubelet._plan import EXITED, NEW, RUNNING
from actors.kubelet._routing import DEBUGGING, route
from actors.kubelet._serving import Serving
from actors.kubelet._stats import cadvisor_metrics, resource_metrics, summary
from actors.kubelet._tallies import kubelet_metrics, probe_metrics
from protocol.api import StatusError
from protocol.cri import ContainerStats, CriError, ImageFsInfo, ListContainerStats, ReadLog
from protocol.http import HttpCall, HttpReply
from protocol.message import Address
from protocol.node import NodeAnswer, NodeGet, NodeResponse, PodProcesses

__all__ = ["Paths"]

Object = dict[str, Any]
_PLAIN = "text/plain; charset=utf-8"
_JSON = "application/json"
_STATES = {NEW: "created", RUNNING: "running", EXITED: "exited"}


class Paths(Serving):
    """See the module."""

    def door(self) -> Address:
        """Whom streams are opened at."""
        return self.ref

    async def api_call(self, call: HttpCall) -> NodeAnswer:
        """Any request for the kubelet's own API."""
        head = "/" + call.path.strip("/").partition("/")[0]
        self.node.tallies.requests[call.method, head.lstrip("/")] += 1
        try:
            return NodeAnswer(*await route(self, call))
        except StatusError as error:
            return NodeAnswer(HttpReply(error.code, _PLAIN, error.message.encode()))

    async def api_path(self, message: NodeGet) -> NodeResponse:
        """GET of the kubelet's own API."""
        path = message.path.rstrip("/") or "/"
        if path in ("/healthz", "/healthz/ping", "/healthz/syncloop", "/healthz/log"):
            return NodeResponse(200, _PLAIN, b"ok")
        if path in ("/pods", "/runningpods"):
            return _json(await self._pod_list(path == "/runningpods"))
        if path.startswith("/processes/") and path.count("/") == 3:
            _, _, namespace, pod = path.split("/")
            return _json({"processes": [_process(p) for p in await self.processes(PodProcesses(namespace, pod))]})
        if path in ("/stats/summary", "/metrics/resource", "/metrics/cadvisor"):
            return await self._stats(path, message.query)
        if path == "/metrics":
            return NodeResponse(200, TEXT, await self._own_metrics())
        if path == "/metrics/probes":
            counts = [(d.pod, count) for d in await self._all_described() for count in d.probes]
            return NodeResponse(200, TEXT, probe_metrics(counts))
        if path == "/configz":
            return _json({"kubeletconfig": configuration(self.config)})
        if path == "/logs" or path.startswith("/logs/"):
            return await self._log_files([unquote(p) for p in path.split("/")[2:] if p], message.path.endswith("/"))
        if path == "/":
            known = sorted(
                ["/configz", "/healthz", "/logs/", "/metrics", "/pods", "/stats/", *(f"/{d}" for d in DEBUGGING)]
            )
            return NodeResponse(404, _PLAIN, ("404 page not found\n" + "\n".join(known) + "\n").encode())
        return NodeResponse(404, _PLAIN, b"404 page not found\n")

    # -- pods

    async def _all_described(self) -> list[Described]:
        found = []
        for worker in list(self.node.workers.values()):
            try:
                found.append(await self.ask(worker, Describe()))
            except ActorDead:
                continue
        return found

    async def _pod_list(self, running: bool) -> Object:
        items: Iterable[Object] = self.node.pods.values()
        if running:
            described = [d for d in await self._all_described() if d.sandbox_ready]
            items = [_running_pod(d) for d in described]
        else:
            items = [{"kind": "Pod", "apiVersion": "v1", **p} if "kind" not in p else p for p in items]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(items)}

    # -- figures

    async def _stats(self, path: str, query: str) -> NodeResponse:
        stats: tuple[ContainerStats, ...] = await self.ask(self.node.runtime, ListContainerStats())
        now = self.clock.now()
        if path == "/metrics/resource":
            return NodeResponse(200, TEXT, resource_metrics(self.node.pods, stats, now))
        if path == "/metrics/cadvisor":
            return NodeResponse(200, TEXT, cadvisor_metrics(self.node.pods, stats, self.config, now))
        brief = parse_qs(query).get("only_cpu_and_memory", ["false"])[0] in ("true", "1")
        images = (0, 0)
        if not brief:
            try:
                told = await self.ask(self.node.runtime, ImageFsInfo())
                images = (told.used_bytes, told.inodes_used)
            except (CriError, TypeError) as error:
                self.log.debug("image_file_system_unknown", error=str(error))
        body = summary(
            self.node.name, self.node.pods, stats, self.config, now, self.started_at, images, only_cpu_and_memory=brief
        )
        return _json(body)

    async def _own_metrics(self) -> bytes:
        described = await self._all_described()
        states = [_STATES[entry[2]] for d in described for entry in d.containers.values() if entry[0]]
        ready = sum(1 for d in described if d.sandbox_ready)
        return kubelet_metrics(
            self.node.name,
            self.config.kubelet_version,
            self.node.tallies,
            self.node.pods,
            states,
            ready,
            self.started_at,
        )

    # -- /var/log

    async def _log_files(self, where: list[str], slash: bool) -> NodeResponse:
        """The machine's log directory, as far as it is about pods: `pods/NAMESPACE_NAME_UID/CONTAINER/N.log`."""
        if not where:
            return _directory(["pods/"])
        if where[0] != "pods" or len(where) > 4:
            return NodeResponse(404, _PLAIN, b"404 page not found\n")
        described = {_log_folder(d.pod): d for d in await self._all_described()}
        if len(where) == 1:
            return _directory([f"{name}/" for name in sorted(described)])
        pod = described.get(where[1])
        if pod is None:
            return NodeResponse(404, _PLAIN, b"404 page not found\n")
        if len(where) == 2:
            return _directory([f"{name}/" for name, entry in sorted(pod.containers.items()) if entry[0] or entry[1]])
        entry = pod.containers.get(where[2])
        runs = [ident for ident in (entry[1], entry[0]) if ident] if entry else []
        if len(where) == 3 and runs:
            return _directory([f"{number}.log" for number in range(len(runs))])
        number = where[-1].removesuffix(".log")
        if len(where) == 4 and number.isdigit() and int(number) < len(runs):
            answer = await self.ask(self.node.runtime, ReadLog(runs[int(number)], timestamps=True))
            return NodeResponse(200, _PLAIN, b"".join(map(_cri_line, answer.data.splitlines(keepends=True))))
        return NodeResponse(404, _PLAIN, b"404 page not found\n")


def _json(body: Object) -> NodeResponse:
    return NodeResponse(200, _JSON, orjson.dumps(body))


def _process(entry: Any) -> Object:
    return {
        "pid": entry.pid, "parent": entry.parent, "command": entry.command, "container": entry.container,
        "namespaces": dict(entry.namespaces),
    }  # fmt: skip


def _running_pod(described: Described) -> Object:
    """What the runtime knows of a pod: names and images of what runs."""
    meta = described.pod["metadata"]
    specs = {
        c["name"]: c
        for g in ("initContainers", "containers", "ephemeralContainers")
        for c in described.pod["spec"].get(g) or ()
    }
    containers = [
        {"name": name, "image": specs.get(name, {}).get("image", ""), "resources": {}}
        for name, entry in described.containers.items()
        if entry[2] == RUNNING
    ]
    return {
        "metadata": {"name": meta["name"], "namespace": meta.get("namespace", ""), "uid": meta["uid"]},
        "spec": {"containers": containers},
        "status": {},
    }


def _log_folder(pod: Object) -> str:
    meta = pod["metadata"]
    return f"{meta.get('namespace', '')}_{meta['name']}_{meta['uid']}"


def _directory(names: Iterable[str]) -> NodeResponse:
    """As Go's file server lists one."""
    from html import escape  # its table of entities is large, and hardly anybody asks

    lines = "".join(f'<a href="{quote(name)}">{escape(name)}</a>\n' for name in names)
    return NodeResponse(
        200,
        "text/html; charset=utf-8",
        f'<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{lines}</pre>\n'.encode(),
    )


def _cri_line(line: bytes) -> bytes:
    stamp, _, text = line.partition(b" ")
    return stamp + b" stdout " + (b"F " + text if text.endswith(b"\n") else b"P " + text + b"\n")
