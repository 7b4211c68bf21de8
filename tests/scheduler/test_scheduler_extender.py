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
            names = [n for n in body["NodeNames"] if n != "bad"]
            return {
                "nodenames": names,
                "failedNodes": {"bad": "the hook said no"} if "bad" in body["NodeNames"] else {},
            }
        return [{"host": n, "score": 10 if n == "best" else 0} for n in body["NodeNames"]]

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
    assert "bad" not in hook.calls[1][1]["NodeNames"]


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


class Judge(Webhook):
    """Strikes node `dear` from the candidates of a preemption; binds."""

    def __init__(self, api_state: State | None = None) -> None:
        super().__init__()
        self.strike = {"dear"}
        self.binds = 0

    def answer(self, verb: str, body: Any) -> Any:
        if verb == "preempt":
            offered = body["NodeNameToMetaVictims"] or {
                node: {"Pods": [{"UID": p["metadata"]["uid"]} for p in v["Pods"]], **v}
                for node, v in body["NodeNameToVictims"].items()
            }
            left = {n: {"Pods": v["Pods"], "NumPDBViolations": 0} for n, v in offered.items() if n not in self.strike}
            return {"NodeNameToMetaVictims": left}
        if verb == "bind":
            self.binds += 1
            return {"Error": "the binder is away"}
        return super().answer(verb, body)


@pytest.fixture
def judge() -> Iterator[Judge]:
    made = Judge()
    yield made
    made.close()


def crowded(live: LiveSystem, *configs: ExtenderConfig) -> State:
    """Nodes `cheap` and `dear`, each full of a pod of low priority; the one on `dear` is the less
    important. A pod of high priority wants room."""
    state = State()
    world = World.__new__(World)
    world.state = state
    for node, priority in (("cheap", 5), ("dear", 1)):
        world.node(node, cpu="2")
        world.pod(f"low-{node}", cpu="2", priority=priority, nodeName=node)
    world.pod("web", cpu="2", priority=100)
    api = live.spawn(Child("api", lambda: FakeApi(state)))
    scheduler = live.spawn(Child("scheduler", lambda: Scheduler(api, SchedulerConfig(extenders=configs))))
    pause = threading.Event()
    for _ in range(300):
        said = scheduler.ask(SchedulerStatistics(), timeout=5)
        if said["scheduled"] or said["failed"] and web(state).get("status", {}).get("conditions"):
            break
        pause.wait(0.02)
    return state


def test_an_extender_strikes_candidates_of_a_preemption(live: LiveSystem, judge: Judge) -> None:
    state = crowded(live, ExtenderConfig(judge.url, preempt_verb="preempt", node_cache_capable=True))
    pods = state.of("pods")
    assert "default/low-dear" in pods
    assert web(state)["spec"].get("nodeName") == "cheap" or "default/low-cheap" not in pods
    offered = judge.calls[0][1]["NodeNameToMetaVictims"]
    assert set(offered) == {"cheap", "dear"}
    assert [list(v) for v in offered["dear"]["Pods"]] == [["UID"]]


def test_without_a_cache_an_extender_is_told_the_victims_whole(live: LiveSystem, judge: Judge) -> None:
    judge.strike = set()
    crowded(live, ExtenderConfig(judge.url, preempt_verb="preempt"))
    offered = judge.calls[0][1]["NodeNameToVictims"]
    assert offered["dear"]["Pods"][0]["metadata"]["name"] == "low-dear"


def test_no_candidate_left_means_no_preemption(live: LiveSystem, judge: Judge) -> None:
    judge.strike = {"dear", "cheap"}
    state = crowded(live, ExtenderConfig(judge.url, preempt_verb="preempt", node_cache_capable=True))
    assert {"default/low-dear", "default/low-cheap"} <= set(state.of("pods"))
    message = web(state)["status"]["conditions"][0]["message"]
    assert message.endswith("preemption: no candidate node for preemption")


def test_a_binder_that_may_be_ignored_and_fails_is_replaced(live: LiveSystem, judge: Judge) -> None:
    state = run(live, ExtenderConfig(judge.url, bind_verb="bind", ignorable=True), ("good",))
    assert web(state)["spec"]["nodeName"] == "good"
    assert judge.binds == 1


def test_a_binder_that_fails_is_an_error(live: LiveSystem, judge: Judge) -> None:
    state = run(live, ExtenderConfig(judge.url, bind_verb="bind"), ("good",))
    assert web(state)["status"]["conditions"][0]["message"] == "the binder is away"


RAW = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def test_a_file_says_all_there_is_to_say_of_an_extender() -> None:
    managed = [{"name": "example.com/gpu", "ignoredByScheduler": True}, {"name": "example.com/nic"}]
    entry = {
        "urlPrefix": "hooks.example:8443/scheduler/",
        "preemptVerb": "preempt",
        "enableHTTPS": True,
        "tlsConfig": {"insecure": True, "caFile": "/ca.pem"},
        "managedResources": managed,
    }
    (found,) = parse({**RAW, "extenders": [entry]}).extenders
    assert found.url_prefix == "https://hooks.example:8443/scheduler"
    assert found.preempt_verb == "preempt"
    assert found.managed_resources == ("example.com/gpu", "example.com/nic")
    assert found.ignored_resources == ("example.com/gpu",)
    assert found.tls is not None
    assert found.tls.insecure
    assert found.tls.ca_file == "/ca.pem"


def test_a_ranking_needs_a_weight_and_one_binds_at_most() -> None:
    with pytest.raises(ConfigError, match="positive weight"):
        parse({**RAW, "extenders": [{"urlPrefix": "http://127.0.0.1", "prioritizeVerb": "rank"}]})
    binder = {"urlPrefix": "http://127.0.0.1", "bindVerb": "bind"}
    with pytest.raises(ConfigError, match="2 extenders implementing bind"):
        parse({**RAW, "extenders": [binder, binder]})


def test_a_resource_of_an_extenders_own_is_not_checked(live: LiveSystem, judge: Judge) -> None:
    state = State()
    world = World.__new__(World)
    world.state = state
    world.node("good")
    world.pod("web", cpu="1")
    requests = state.of("pods")["default/web"]["spec"]["containers"][0]["resources"]["requests"]
    requests["example.com/gpu"] = "1"
    config = ExtenderConfig(judge.url, managed_resources=("example.com/gpu",), ignored_resources=("example.com/gpu",))
    api = live.spawn(Child("api", lambda: FakeApi(state)))
    scheduler = live.spawn(Child("scheduler", lambda: Scheduler(api, SchedulerConfig(extenders=(config,)))))
    pause = threading.Event()
    for _ in range(200):
        if scheduler.ask(SchedulerStatistics(), timeout=5)["scheduled"]:
            break
        pause.wait(0.02)
    assert web(state)["spec"]["nodeName"] == "good"
