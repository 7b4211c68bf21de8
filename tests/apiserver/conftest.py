"""An API server on an etcd in memory: in virtual time, or live over HTTPS."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig, pki
from actors.etcd import Etcd
from actors.kernel import Actor, Child, Simulation, handles
from cluster import ApiServerProcess
from protocol.api import ADMIN, ApiRequest, Resource, StatusError, UserInfo, WatchClosed, WatchEvents

Object = dict[str, Any]


def resource(name: str) -> Resource:
    """`pods`, `deployments.apps` or `deployments.v1.apps` as a Resource."""
    word, _, rest = name.partition(".")
    version, _, group = rest.partition(".")
    if rest and not version.startswith("v"):
        return Resource(rest, "v1", word)
    return Resource(group, version or "v1", word)


class Watcher(Actor):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, Object]] = []
        self.closed: list[int] = []
        self.seqs: list[int] = []

    @handles(WatchEvents)
    def told(self, message: WatchEvents) -> None:
        self.seqs.append(message.seq)
        self.events += [(e.type, e.object) for e in message.events]

    @handles(WatchClosed)
    def end(self, message: WatchClosed) -> None:
        self.closed.append(message.watch_id)


class Api:
    """An API server in a simulation, and verbs to use it by."""

    def __init__(self, sim: Simulation, **settings: Any) -> None:
        self.sim = sim
        self.etcd = sim.spawn(Child("etcd", Etcd))
        config = ApiServerConfig(**{"debug": True, **settings})
        self.server = sim.spawn(Child("apiserver", lambda: ApiServer(config, self.etcd)))
        self._watches = 0

    def ask(
        self, verb: str, what: str, namespace: str = "", name: str = "", body: Any = None, sub: str = "",
        patch: str = "", user: UserInfo = ADMIN, **options: str,
    ) -> Object:
        message = ApiRequest(
            verb, resource(what), namespace, name, sub, body, patch, options, user, user_agent="test/1"
        )
        answer: Object = self.sim.ask(self.server, message)
        return answer

    def create(self, what: str, namespace: str, body: Object, **more: Any) -> Object:
        return self.ask("create", what, namespace, body=body, **more)

    def config_map(self, name: str, namespace: str = "default", **fields: Any) -> Object:
        labels = fields.pop("labels", None)
        metadata: Object = {"name": name, **({"labels": labels} if labels else {})}
        return self.create("configmaps", namespace, {"metadata": metadata, **fields})

    def get(self, what: str, namespace: str, name: str, **more: Any) -> Object:
        return self.ask("get", what, namespace, name, **more)

    def names(self, what: str, namespace: str = "", **options: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.ask("list", what, namespace, **options)["items"]]

    def merge(self, what: str, namespace: str, name: str, body: Any, **more: Any) -> Object:
        return self.ask("patch", what, namespace, name, body=body, patch="application/merge-patch+json", **more)

    def watch(self, what: str, namespace: str = "", **options: str) -> Watcher:
        """Open a watch; the actor that is told is returned."""
        made: list[Watcher] = []

        def factory() -> Watcher:
            made.append(Watcher())
            return made[-1]

        self._watches += 1
        ref = self.sim.spawn(Child(f"watcher-{self._watches}", factory))
        message = ApiRequest("watch", resource(what), namespace, options=options, watcher=ref, watch_id=self._watches)
        self.sim.ask(self.server, message)
        self.sim.advance(0.01)
        return made[-1]

    def settle(self) -> None:
        self.sim.advance(0.01)


@pytest.fixture
def api(sim: Simulation) -> Api:
    return Api(sim)


@pytest.fixture
def make_api(sim: Simulation) -> Callable[..., Api]:
    return lambda **settings: Api(sim, **settings)


@pytest.fixture
def refused() -> Callable[..., StatusError]:
    """Run something that must be refused; answers the error."""

    def run(function: Callable[..., Any], *args: Any, **more: Any) -> StatusError:
        with pytest.raises(StatusError) as caught:
            function(*args, **more)
        return caught.value

    return run


@pytest.fixture(scope="module")
def https() -> Iterator[ApiServerProcess]:
    """A live API server behind TLS, shared by the tests of a module."""
    server = ApiServerProcess(debug=True, apiserver={"tokens": {"secret": UserInfo("admin", ("system:masters",), "admin")}}).start()
    account = ApiRequest("create", Resource("", "v1", "serviceaccounts"), "default", body={"metadata": {"name": "default"}})
    server.apiserver.ask(account, timeout=30)
    yield server
    server.stop()


CONFIG_MAPS = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]


class Hook:
    """A webhook on this machine: answers with `respond(request)`, remembers the requests."""

    def __init__(self) -> None:
        authority = pki.Authority.create(time.time())
        self.ca = base64.b64encode(authority.certificate).decode()
        self.requests: list[Object] = []
        self.respond: Callable[[Object], Object] = lambda request: {"allowed": True}
        self.code = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.requests.append(review["request"])
                response = {"uid": review["request"]["uid"], **hook.respond(review["request"])}
                body = json.dumps({**review, "request": None, "response": response}).encode()
                self.send_response(hook.code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = pki.server_context(authority.server(["127.0.0.1", "localhost", "hook.default.svc"]))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spec(self, **more: Any) -> Object:
        client = {"url": f"https://127.0.0.1:{self.port}/check", "caBundle": self.ca}
        return {
            "name": "w.example.com",
            "clientConfig": client,
            "rules": CONFIG_MAPS,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **more,
        }


@pytest.fixture(scope="module")
def served_hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()


@pytest.fixture
def hook(served_hook: Hook) -> Hook:
    served_hook.requests.clear()
    served_hook.code = 200
    served_hook.respond = lambda request: {"allowed": True}
    return served_hook
