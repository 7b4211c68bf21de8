"""An API server on an etcd in memory: in virtual time, or live over HTTPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.apiserver.standalone import Options, Standalone
from actors.etcd import Etcd
from actors.kernel import Actor, Child, Simulation, handles
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
        config = ApiServerConfig(**settings)
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
def https() -> Iterator[Standalone]:
    """A live API server behind TLS, shared by the tests of a module."""
    server = Standalone(Options(token="secret", make_etcd=Etcd)).start()
    account = ApiRequest("create", Resource("", "v1", "serviceaccounts"), "default", body={"metadata": {"name": "default"}})
    server.apiserver.ask(account, timeout=30)
    yield server
    server.stop()
