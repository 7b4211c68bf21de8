"""The dashboard and `top`: what they show, whom they answer, and how time is steered."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from actors.kernel import Tracer
from cli._actors import Look, tree
from cli._main import main
from cli.dashboard import Dashboard, LiveStage, SimulatedStage
from cluster import Cluster, SimulatedCluster

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
"""


def ask(dashboard: Dashboard, path: str, body: Any = None, token: str | None = None) -> Any:
    root = dashboard.url.partition("/?")[0]
    headers = {"X-Token": dashboard.token if token is None else token}
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with urlopen(Request(root + path, data, headers), timeout=20) as reply:
        return json.loads(reply.read())


def refusal(dashboard: Dashboard, path: str, body: Any = None, token: str | None = None) -> tuple[int, str]:
    with pytest.raises(HTTPError) as refused:
        ask(dashboard, path, body, token)
    return refused.value.code, json.loads(refused.value.read())["error"]


@pytest.fixture
def simulated() -> Iterator[Dashboard]:
    """A simulation that stands still, with a deployment."""
    cluster = SimulatedCluster(nodes=2, seed=3, tracer=Tracer(10_000))
    stage = SimulatedStage(cluster)
    stage.playing = False
    with stage.hold():
        cluster.apply(DEPLOYMENT)
    dashboard = Dashboard(stage)
    yield dashboard
    dashboard.close()


def test_nodes_pods_rollouts_messages_and_actors_are_shown(simulated: Dashboard) -> None:
    ask(simulated, "/steer", {"command": "jump", "seconds": 5})
    state = ask(simulated, "/state")
    assert [node["name"] for node in state["nodes"] if node["ready"]] == ["node-0", "node-1"]
    assert [(pod["phase"], pod["ready"]) for pod in state["pods"]] == [("Running", True)] * 2
    assert [(r["kind"], r["name"], r["ready"], r["wanted"]) for r in state["rollouts"]] == [("Deployment", "web", 2, 2)]
    assert "ScalingReplicaSet" in {event["reason"] for event in state["events"]}
    assert {"etcd", "apiserver", "scheduler", "node-0"} <= {twig["name"] for twig in state["actors"]}
    said = ask(simulated, "/messages?after=0")
    assert any(line["what"].startswith("creates replicaset web-") for line in said)
    assert ask(simulated, f"/messages?after={said[-1]['id']}") == []


def test_a_pod_tells_why_it_is_where_it_is(simulated: Dashboard) -> None:
    ask(simulated, "/steer", {"command": "jump", "seconds": 5})
    pod = ask(simulated, "/state")["pods"][0]
    told = ask(simulated, f"/pod?namespace=default&name={pod['name']}")
    assert told["pod"]["node"] == pod["node"]
    assert "Scheduled" in {event["reason"] for event in told["events"]}
    assert any(line["what"].startswith("binds pod") for line in told["messages"])
    assert {node["name"] for node in told["schedule"]["nodes"]} == {"node-0", "node-1"}
    assert refusal(simulated, "/pod?namespace=default&name=nobody") == (404, "there is no pod default/nobody")


def test_time_is_the_viewers(simulated: Dashboard) -> None:
    start = ask(simulated, "/state")["time"]
    assert ask(simulated, "/state")["time"] == start  # it stands
    assert ask(simulated, "/steer", {"command": "jump", "seconds": 3600})["time"] == pytest.approx(start + 3600, abs=1)
    before = ask(simulated, "/messages?after=0")[-1]["id"]
    ask(simulated, "/steer", {"command": "step"})
    assert len(ask(simulated, f"/messages?after={before}")) >= 1
    playing = ask(simulated, "/steer", {"command": "play", "seconds": 600})
    assert (playing["playing"], playing["speed"]) == (True, 600)
    paused = ask(simulated, "/steer", {"command": "pause"})
    assert not paused["playing"]


def test_what_is_wrong_is_said(simulated: Dashboard) -> None:
    assert refusal(simulated, "/steer", {"command": "fly"}) == (400, "'fly' is none of play, pause, step, jump")
    assert refusal(simulated, "/steer", {"command": "jump", "seconds": -1})[0] == 400
    assert refusal(simulated, "/steer", {"command": "jump", "seconds": "x"}) == (400, "seconds is a number")
    assert refusal(simulated, "/steer", b"[]") == (400, "the body is no JSON object")
    assert refusal(simulated, "/steer", b"{") == (400, "the body is no JSON")
    assert refusal(simulated, "/elsewhere")[0] == 404


@pytest.mark.parametrize("path", ["/", "/state", "/messages", "/pod"])
def test_nobody_without_the_token_is_answered(simulated: Dashboard, path: str) -> None:
    assert refusal(simulated, path, token="")[0] == 403
    assert refusal(simulated, path, token="wrong")[0] == 403
    assert refusal(simulated, "/steer", {"command": "pause"}, token="wrong")[0] == 403


@pytest.fixture(scope="module")
def live() -> Iterator[Cluster]:
    with Cluster(nodes=2, tracer=Tracer(10_000)) as cluster:
        cluster.apply(DEPLOYMENT)
        cluster.wait("deployments/web", "Available")
        yield cluster


def test_a_served_cluster_is_shown_but_not_steered(live: Cluster) -> None:
    dashboard = Dashboard(LiveStage(live))
    try:
        state = ask(dashboard, "/state")
        assert [(r["name"], r["ready"]) for r in state["rollouts"]] == [("web", 2)]
        assert not state["steerable"]
        code, why = refusal(dashboard, "/steer", {"command": "pause"})
        assert code == 400
        assert "real time" in why
    finally:
        dashboard.close()


def test_top_shows_the_actors_of_a_running_cluster(live: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--kubeconfig", str(live.kubeconfig), "--once", "--interval", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "deployment-controller" in shown
    assert "x InformerActor" in shown
    assert "messages/s" in shown


def test_the_actors_are_told_to_whom_rbac_lets(live: Cluster, tmp_path: Path) -> None:
    import yaml

    config = yaml.safe_load(live.kubeconfig.read_text())
    config["users"][0]["user"] = {}
    stranger = tmp_path / "kubeconfig"
    stranger.write_text(yaml.safe_dump(config))
    assert main(["top", "--kubeconfig", str(stranger), "--once"]) == 1


def test_rates_and_folding() -> None:
    def actor(path: str, kind: str, handled: int, restarts: int = 0) -> dict[str, Any]:
        return {"actor_urn": path, "kind": kind, "state": "", "mailbox": 1, "handled": handled, "restarts": restarts, "tasks": 0}

    def look(time_s: float, times: int) -> Look:
        pods = [actor(f"node/pod-{n}", "Pod", 10 * times) for n in range(30)]
        return Look(time_s, (actor("node", "Node", 5 * times), *pods, actor("odd", "Odd", 4, times)))

    root = tree(look(12.0, 3), look(10.0, 1))
    node = root.children["node"]
    assert node.rate == 5.0
    assert {c.name: (c.count, c.mailbox, c.rate) for c in node.children.values()} == {"30 x Pod": (30, 30, 300.0)}
    assert root.children["odd"].rate == 0.0  # it restarted: its count began anew
    assert root.total("mailbox") == 32
    assert len(tree(look(1.0, 1), fold=100).children["node"].children) == 30


def browser() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(browser() is None, reason="needs Chromium")
def test_a_browser_shows_the_page(simulated: Dashboard, tmp_path: Path) -> None:
    ask(simulated, "/steer", {"command": "jump", "seconds": 5})
    pod = ask(simulated, "/state")["pods"][0]["name"]
    command = [
        str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000", "--dump-dom", simulated.url,
    ]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f'data-pod="default/{pod}"' in page
    assert 'class="pod ready"' in page
    assert "2/2 ready" in page
    assert "creates replicaset web-" in page
    assert "deployment-controller" in page
    assert "(paused)" in page
