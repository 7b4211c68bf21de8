"""HTTP extenders, over real HTTP on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from scheduler_api import FakeApi, State, World

from actors.kernel import Child, LiveSystem
from actors.scheduler import Scheduler, SchedulerConfig
from actors.scheduler._config import ConfigError, ExtenderConfig, parse
from protocol.scheduler import SchedulerStatistics


class Webhook:
    """Refuses node `bad`, likes node `best`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.broken = False
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                verb = self.path.rsplit("/", 1)[-1]
                hook.calls.append((verb, body))
                answer = json.dumps(hook.answer(verb, body)).encode()
                self.send_response(500 if hook.broken else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, verb: str, body: Any) -> Any:
        if verb == "filter":
            names = [n for n in body["nodenames"] if n != "bad"]
            return {"nodenames": names, "failedNodes": {"bad": "the hook said no"} if "bad" in body["nodenames"] else {}}
        return [{"host": n, "score": 10 if n == "best" else 0} for n in body["nodenames"]]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


def run(live: LiveSystem, config: ExtenderConfig, nodes: tuple[str, ...]) -> State:
    """Schedule one pod named `web` and wait for a verdict."""
    state = State()
    world = World.__new__(World)
    world.state = state
    for name in nodes:
        world.node(name)
    world.pod("web", cpu="1")
    api = live.spawn(Child("api", lambda: FakeApi(state)))
    scheduler = live.spawn(Child("scheduler", lambda: Scheduler(api, SchedulerConfig(extenders=(config,)))))
    verdict = threading.Event()
    for _ in range(200):
        said = scheduler.ask(SchedulerStatistics(), timeout=5)
        if said["scheduled"] or said["failed"] or said["errors"]:
            break
        verdict.wait(0.02)
    for _ in range(100):
        conditions = (state.of("pods")["default/web"].get("status") or {}).get("conditions")
        if conditions:
            break
        verdict.wait(0.02)
    return state


def web(state: State) -> dict[str, Any]:
    return state.of("pods")["default/web"]


def extender(url: str, **more: Any) -> ExtenderConfig:
    return ExtenderConfig(url, "filter", "prioritize", weight=5, node_cache_capable=True, **more)


def test_an_extender_filters_and_ranks(live: LiveSystem, hook: Webhook) -> None:
    state = run(live, extender(hook.url), ("bad", "good", "best", "other"))
    assert web(state)["spec"]["nodeName"] == "best"
    assert [verb for verb, _ in hook.calls] == ["filter", "prioritize"]
    assert "bad" not in hook.calls[1][1]["nodenames"]


def test_what_an_extender_refuses_is_in_the_message(live: LiveSystem, hook: Webhook) -> None:
    state = run(live, extender(hook.url), ("bad",))
    condition = web(state)["status"]["conditions"][0]
    assert condition["message"].startswith("0/1 nodes are available: 1 the hook said no.")


def test_an_extender_that_fails_is_an_error_unless_it_may_be_ignored(live: LiveSystem, hook: Webhook) -> None:
    hook.broken = True
    state = run(live, extender(hook.url), ("good",))
    condition = web(state)["status"]["conditions"][0]
    assert condition["reason"] == "SchedulerError"
    assert "code 500" in condition["message"]


def test_an_ignorable_extender_that_fails_is_ignored(live: LiveSystem, hook: Webhook) -> None:
    hook.broken = True
    state = run(live, extender(hook.url, ignorable=True), ("good",))
    assert web(state)["spec"]["nodeName"] == "good"


def test_an_extender_for_certain_resources_is_not_asked_about_other_pods(live: LiveSystem, hook: Webhook) -> None:
    state = run(live, extender(hook.url, managed_resources=("example.com/gpu",)), ("bad",))
    assert web(state)["spec"]["nodeName"] == "bad"
    assert hook.calls == []


def test_preemption_through_an_extender_is_refused_by_name() -> None:
    raw = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    with pytest.raises(ConfigError, match="preemptVerb"):
        parse({**raw, "extenders": [{"urlPrefix": "http://127.0.0.1", "preemptVerb": "preempt"}]})
