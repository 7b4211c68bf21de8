"""`kubekka demo`: from an API request to a running container, and from a dead pod to its
replacement, told by the messages of a live cluster."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from actors.kernel import Tracer
from cli._errors import Failed, UsageError
from cli._story import Line, Story
from protocol.objects import Object

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      # How long pods of this app stay on a node that has gone: seconds, where Kubernetes gives 300.
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers:
      - name: nginx
        image: nginx
        resources:
          requests: {cpu: 250m, memory: 64Mi}
          limits: {cpu: 500m, memory: 128Mi}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
  - port: 80
"""


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `demo`."""
    parser.add_argument(
        "--nodes", type=int, default=3, metavar="N", help="how many simulated nodes, at least 2 (%(default)s)"
    )
    parser.add_argument("--svg", metavar="FILE", help="also save the account as a picture")


class _Teller:
    """Prints the account: one line per act, times in milliseconds since the chapter's start."""

    def __init__(self, record: bool = False) -> None:
        from rich.console import Console

        width = 118 if record else None
        self.console = Console(highlight=False, soft_wrap=not record, record=record, width=width)

    def chapter(self, title: str, about: str) -> None:
        self.console.print(f"\n[bold]{title}[/bold]")
        self.console.print(f"{about}\n", style="dim")

    def lines(self, lines: list[Line], start_s: float) -> None:
        for line in lines:
            self.console.print(f"{(line.time_s - start_s) * 1000:9.1f} ms  [cyan]{line.who:<26}[/cyan] {line.what}")

    def say(self, text: str) -> None:
        self.console.print(text)


def run(options: argparse.Namespace) -> int:
    """Run the demonstration; answers 0 when everything happened that should."""
    from cluster import Cluster, WaitTimeout

    if options.nodes < 2:
        raise UsageError("the demonstration kills a node, so it needs --nodes 2 or more")
    if options.svg is not None:
        try:
            Path(options.svg).touch()
        except OSError as error:
            raise UsageError(f"cannot write {options.svg}: {error.strerror or error}") from None
    tell = _Teller(record=options.svg is not None)
    tracer = Tracer(capacity=1)
    begin = time.perf_counter()
    settings = {"node_monitor_grace_period": 2.0, "node_monitor_period": 0.5}
    cluster = Cluster(nodes=options.nodes, controllers=settings, tracer=tracer, lease_renew_s=0.5)
    try:
        cluster.start()
        took_ms = (time.perf_counter() - begin) * 1000
        actors = len(cluster.system.actors)
        tell.say(f"A cluster of {options.nodes} nodes is up in {took_ms:.0f} ms: {actors} actors, API at {cluster.url}")
        story = Story(names={"web"})
        tracer.subscribe(story.hear)
        _deploy(cluster, tell, story)
        _kill_pod(cluster, tell, story)
        _kill_node(cluster, tell, story)
        _sum_up(cluster, tell, story)
        if options.svg is not None:
            _save_picture(tell, options.svg)
    except WaitTimeout as error:
        raise Failed(str(error)) from None
    finally:
        cluster.stop()
    return 0


def _save_picture(tell: _Teller, path: str) -> None:
    """The account as an SVG that asks nobody on the network for fonts."""
    picture = re.sub(r"@font-face \{.*?\}\s*", "", tell.console.export_svg(title="kubekka demo"), flags=re.DOTALL)
    try:
        Path(path).write_text(picture)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror or error}") from None


def _progress(text: str) -> Any:
    """A spinner on a terminal, nothing in a pipe."""
    from contextlib import nullcontext

    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


def _ready(deployment: Object) -> bool:
    status = deployment.get("status") or {}
    return status.get("readyReplicas") == 3 and status.get("unavailableReplicas", 0) == 0


def _pods(cluster: Any) -> list[Object]:
    found: list[Object] = cluster.client.list("pods", "default", label_selector="app=web")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def _endpoints(cluster: Any) -> list[str]:
    slices = cluster.client.list("endpointslices", "default", label_selector="kubernetes.io/service-name=web")
    return sorted(
        address
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready")
        for address in endpoint["addresses"]
    )


def _settle(cluster: Any, timeout_s: float) -> None:
    """Three ready pods, and the Service leads to exactly them."""
    cluster.wait("deployments/web", _ready, timeout_s=timeout_s)

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        addresses = sorted(pod["status"].get("podIP", "") for pod in _pods(cluster))
        if len(addresses) == 3 and addresses == _endpoints(cluster):
            return
        time.sleep(0.02)
    raise Failed("the Service does not lead to the pods")


def _deploy(cluster: Any, tell: _Teller, story: Story) -> None:
    tell.chapter(
        "1. From an API request to a running container",
        "A Deployment of 3 replicas and a Service. One pod is followed all the way; the others do the same.",
    )
    start = cluster.system.clock.now()
    cluster.apply(MANIFEST)
    _settle(cluster, 20.0)
    tell.lines(story.take(), start)
    pod = next(p for p in _pods(cluster) if p["metadata"]["name"] in story.followed)
    tell.say(f"\nPod {pod['metadata']['name']} runs on {pod['spec']['nodeName']} with IP {pod['status']['podIP']}.")
    _show_node(cluster, tell, pod)


def _show_node(cluster: Any, tell: _Teller, pod: Object) -> None:
    from actors.kubelet import pod_cgroups
    from actors.network import GetRules

    tell.say("Its requests and limits (250m and 500m CPU, 64Mi and 128Mi) became, on the node:")
    for path, versions in pod_cgroups(pod).items():
        files = ", ".join(f"{name}={value}" for name, value in versions["v1"].items())
        tell.say(f"  {path}\n    {files}")
    proxy = cluster.system.lookup(f"kube-proxy-{pod['spec']['nodeName']}")
    rules = proxy.ask(GetRules(("nat",)), timeout=10)
    tell.say("and kube-proxy's way from the Service to a pod, as iptables has it:")
    for line in rules.splitlines():
        if line.startswith("-A") and "default/web" in line:
            tell.say(f"  {line}")


def _kill_pod(cluster: Any, tell: _Teller, story: Story) -> None:
    victim = story.followed[0]
    tell.chapter("2. A pod dies", f"Pod {victim} is deleted. What notices, and what replaces it?")
    story.pods += 1
    start = cluster.system.clock.now()
    cluster.client.delete("pods", victim, "default")
    cluster.wait(f"pods/{victim}", "deleted", timeout_s=60.0)
    _settle(cluster, 20.0)
    tell.lines(story.take(), start)
    tell.say(f"\nThe replacement is {story.followed[-1]}; the Service leads to it and no longer to the old IP.")


def _kill_node(cluster: Any, tell: _Teller, story: Story) -> None:
    pod = next(p for p in _pods(cluster) if p["metadata"]["name"] == story.followed[-1])
    node = pod["spec"]["nodeName"]
    tell.chapter(
        "3. A node dies",
        f"Everything on {node} falls silent at once. Nobody tells the control plane; it has to notice\n"
        "that the heartbeats have stopped (here after 2 s; in a cluster as shipped after 50 s).",
    )
    story.names.add(node)
    story.pods += 1
    lost = {p["metadata"]["name"] for p in _pods(cluster) if p["spec"].get("nodeName") == node}
    start = cluster.system.clock.now()
    cluster.kill_node(node)
    with _progress("waiting for the node to be missed ..."):
        cluster.wait("pods", lambda pods: _moved(pods, lost), namespace="default", timeout_s=60.0)
        cluster.wait("deployments/web", _ready, timeout_s=60.0)
    tell.lines(story.take(), start)
    where = sorted({p["spec"]["nodeName"] for p in _pods(cluster)})
    tell.say(f"\nThe pods now run on {', '.join(where)}; {node} is NotReady and tainted unreachable.")


def _moved(pods: list[Object], lost: set[str]) -> bool:
    going = {p["metadata"]["name"] for p in pods if p["metadata"].get("deletionTimestamp")}
    present = {p["metadata"]["name"] for p in pods}
    return all(name in going or name not in present for name in lost)


def _sum_up(cluster: Any, tell: _Teller, story: Story) -> None:
    total = sum(story.counts.values())
    busiest = sorted(story.counts.items(), key=lambda item: -item[1])[:6]
    tell.chapter("4. In numbers", f"{total:,} messages were sent in the chapters above. Most talkative:")
    for who, count in busiest:
        tell.say(f"  {who:<32} {count:>7,}")
