"""`python -m bench api`: the API server over HTTPS with keep-alive, and in process.

The load comes from a process of its own (`_Load`): bare asyncio protocols that send prepared requests
on 16 connections and count answers. The peer's figures are those of kube-apiserver 1.36 with etcd
3.6, measured with the same load on a machine of two cores.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench._report import Comparison, arguments, finish
from cluster import ApiServerProcess
from protocol.api import UserInfo

__all__ = ["main"]

CONNECTIONS = 16
PEER = "kube-apiserver 1.36 (quoted, not run)"
_TOKEN = "bench"
_POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "NAME", "labels": {"app": "bench"}},
    "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]},
}
_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "NAME"}, "data": {"k": "v"}}


class _Client(asyncio.Protocol):
    """One connection of the load: a request, its answer, the next request."""

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.transport: Any = None
        self.missing = -1  # bytes of the body that are still to come; -1: the head is
        self.head = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.load.next_request())

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            data = self.head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.head = data
                return
            self.head = b""
            start = data.find(b"Content-Length: ") + 16
            self.missing = int(data[start : data.find(b"\r", start)]) - (len(data) - end - 4)
            self.load.answered(data[9:12])
        else:
            self.missing -= len(data)
        if self.missing <= 0:
            self.missing = -1
            if self.load.more():
                self.transport.write(self.load.next_request())
            else:
                self.transport.close()
                self.load.left -= 1
                if not self.load.left:
                    self.load.done.set_result(None)


class _Load:
    """Sends requests made from a template for some seconds; counts answers by code."""

    def __init__(self, template: bytes, body: bytes, seconds: float, prefix: str) -> None:
        self.template = template
        self.body = body
        self.seconds = seconds
        self.prefix = prefix
        self.count = 0
        self.codes: dict[str, int] = {}
        self.left = CONNECTIONS
        self.deadline = 0.0
        self.done: asyncio.Future[None]

    def next_request(self) -> bytes:
        self.count += 1
        if not self.body:
            return self.template
        body = self.body.replace(b"NAME", f"{self.prefix}-{self.count}".encode())
        return self.template + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def answered(self, code: bytes) -> None:
        word = code.decode()
        self.codes[word] = self.codes.get(word, 0) + 1

    def more(self) -> bool:
        return time.perf_counter() < self.deadline

    async def run(self, port: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self.done = loop.create_future()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        start = time.perf_counter()
        self.deadline = start + self.seconds
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: _Client(self), "127.0.0.1", port, ssl=context)
        await self.done
        return {"seconds": time.perf_counter() - start, "codes": self.codes}


def _load_process(arguments: Sequence[str]) -> None:
    import uvloop

    port, method, path, body, seconds, prefix = arguments
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {_TOKEN}\r\n"
        f"User-Agent: bench/1\r\nAccept: application/json\r\n"
    )
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    head += f"Content-Type: {kind}\r\n" if body else "\r\n"
    load = _Load(head.encode(), body.encode(), float(seconds), prefix)
    print(json.dumps(uvloop.run(load.run(int(port)))))


class _Server:
    """An API server with an etcd in memory, on a port of its own."""

    def __init__(self) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        started = time.perf_counter()
        self.server = ApiServerProcess(apiserver={"tokens": {_TOKEN: UserInfo("admin", ("system:masters",), "admin")}}).start()
        self.ask("list", "namespaces")
        self.start_s = time.perf_counter() - started
        self.ask("create", "serviceaccounts", "default", body={"metadata": {"name": "default"}})

    def ask(self, verb: str, resource: str, namespace: str = "", name: str = "", body: Any = None) -> Any:
        from protocol.api import ApiRequest, Resource

        return self.server.apiserver.ask(
            ApiRequest(verb, Resource("", "v1", resource), namespace, name, body=body), timeout=30
        )

    def load(self, method: str, path: str, body: Any, seconds: float, prefix: str = "x") -> float:
        """Answers per second to a load; raises when any answer was none of success."""
        text = json.dumps(body) if body else ""
        words = [sys.executable, "-m", "bench.api", str(self.server.port), method, path, text, str(seconds), prefix]
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 30, check=True)
        found = json.loads(done.stdout)
        bad = {code: n for code, n in found["codes"].items() if code not in ("200", "201")}
        if bad:
            raise RuntimeError(f"{method} {path}: {bad}")
        return float(sum(found["codes"].values()) / found["seconds"])


def _in_process(server: _Server, count: int, make: Callable[[int], Any]) -> float:
    """Asks per second from an actor beside the API server, 16 at a time."""
    from actors.kernel import Actor, Child, handles
    from protocol.message import Message

    class Go(Message, frozen=True):
        """Begin."""

    apiserver = server.server.apiserver

    class Asker(Actor):
        """Asks without waiting between."""

        @handles(Go)
        async def go(self, message: Go) -> float:
            started = time.perf_counter()
            for first in range(0, count, CONNECTIONS):
                await self.gather(*(self.ask(apiserver, make(n)) for n in range(first, min(first + CONNECTIONS, count))))
            return time.perf_counter() - started

    ref = server.server.system.spawn(Child(f"asker-{count}-{id(make)}", Asker))
    seconds: Any = ref.ask(Go(), timeout=120)
    return float(count / seconds)


def _watch_fan_out(server: _Server, watchers: int, writes: int) -> float:
    """Events per second that reach watchers in this process."""
    from actors.kernel import Actor, Child, handles
    from protocol.api import ADMIN, ApiRequest, Resource, WatchEvents
    from protocol.message import Message

    class Open(Message, frozen=True):
        """Open the watches."""

    class Wait(Message, frozen=True):
        """Answered when all events are here."""

    apiserver = server.server.apiserver

    class Watcher(Actor):
        """Holds all watches and counts."""

        def __init__(self) -> None:
            super().__init__()
            self.seen = 0
            self.waiting: Any = None

        @handles(Open)
        async def open(self, message: Open) -> None:
            resource = Resource("", "v1", "configmaps")
            for number in range(watchers):
                await self.ask(
                    apiserver,
                    ApiRequest("watch", resource, "fan", options={"resourceVersion": "0"}, user=ADMIN,
                               watcher=self.ref, watch_id=number),
                )

        @handles(WatchEvents)
        def events(self, message: WatchEvents) -> None:
            self.seen += len(message.events)

        @handles(Wait)
        async def wait(self, message: Wait) -> int:
            while self.seen < watchers * writes:
                await self.sleep(0.001)
            return self.seen

    server.ask("create", "namespaces", body={"metadata": {"name": "fan"}})
    ref = server.server.system.spawn(Child("fan-out", Watcher))
    ref.ask(Open(), timeout=60)
    started = time.perf_counter()
    for number in range(writes):
        server.ask("create", "configmaps", "fan", body={"metadata": {"name": f"w-{number}"}})
    ref.ask(Wait(), timeout=60)
    return watchers * writes / (time.perf_counter() - started)


def _resident_kib() -> float:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _lists(server: _Server, namespace: str, count: int, seconds: float) -> list[Comparison]:
    """LIST of so many pods, and what one of them takes in memory (etcd's copy too)."""
    server.ask("create", "namespaces", body={"metadata": {"name": namespace}})
    server.ask("create", "serviceaccounts", namespace, body={"metadata": {"name": "default"}})
    gc.collect()
    before = _resident_kib()
    for number in range(count):
        server.ask("create", "pods", namespace, body={**_POD, "metadata": {"name": f"p-{number}"}})
    per_pod = (_resident_kib() - before) / count
    rate = server.load("GET", f"/api/v1/namespaces/{namespace}/pods", None, seconds)
    found = [Comparison(f"LIST {count:,} pods", "1/s", rate, 45 if count == 500 else None, PEER if count == 500 else "")]
    if count > 500:
        found.append(Comparison("memory per stored pod", "KiB", per_pod, lower_is_better=True))
    return found


def main(argv: list[str]) -> int:
    """Measure and report."""
    from protocol.api import ApiRequest, Resource

    options = arguments("api", argv)
    seconds = 1.5 if options.quick else 5.0
    server = _Server()
    results = [
        Comparison("start to ready", "s", server.start_s, 3.6, PEER, lower_is_better=True),
        Comparison("memory when idle", "MiB", _resident_kib() / 1024, 280, PEER, lower_is_better=True),
    ]
    config_maps, pods = Resource("", "v1", "configmaps"), Resource("", "v1", "pods")
    server.ask("create", "configmaps", "default", body={**_CONFIG_MAP, "metadata": {"name": "one"}})
    base = "/api/v1/namespaces/default"
    results.append(Comparison("GET one object", "1/s", server.load("GET", f"{base}/configmaps/one", None, seconds), 2835, PEER))
    rate = server.load("POST", f"{base}/configmaps", _CONFIG_MAP, seconds)
    results.append(Comparison("create ConfigMap", "1/s", rate, 1508, PEER))
    server.ask("create", "namespaces", body={"metadata": {"name": "pods"}})
    server.ask("create", "serviceaccounts", "pods", body={"metadata": {"name": "default"}})
    one = f"{base}/configmaps/one"
    rate = server.load("PUT", one, {**_CONFIG_MAP, "metadata": {"name": "one"}, "data": {"k": "NAME"}}, seconds)
    results.append(Comparison("update ConfigMap", "1/s", rate))
    rate = server.load("PATCH", one, {"data": {"k": "NAME"}}, seconds)
    results.append(Comparison("merge patch ConfigMap", "1/s", rate))
    rate = server.load("POST", "/api/v1/namespaces/pods/pods", _POD, seconds)
    results.append(Comparison("create Pod", "1/s", rate, 688, PEER))
    for name, pods_there in (("five", 500), ("fifty", 5000)) if not options.quick else (("five", 500),):
        results += _lists(server, name, pods_there, seconds)
    count = 3000 if options.quick else 20000
    get = ApiRequest("get", config_maps, "default", "one")
    results.append(Comparison("GET in process", "1/s", _in_process(server, count, lambda n: get)))
    results.append(
        Comparison("create ConfigMap in process", "1/s", _in_process(
            server, count // 2,
            lambda n: ApiRequest("create", config_maps, "default", body={"metadata": {"name": f"in-{n}"}, "data": {"k": "v"}}),
        ))
    )
    results.append(
        Comparison("create Pod in process", "1/s", _in_process(
            server, count // 2,
            lambda n: ApiRequest("create", pods, "default", body={**_POD, "metadata": {"name": f"in-{n}"}}),
        ))
    )
    results.append(Comparison("watch fan-out, 1,000 watchers", "events/s", _watch_fan_out(server, 1000, 20)))
    server.server.stop()
    return finish("api", results, options)


if __name__ == "__main__":
    _load_process(sys.argv[1:])
