"""`kubekka explain-schedule POD`: for each node, which plugin refused it or how it scored.

A scheduler of our own reads the cluster through a door that lets no write pass, and is asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import partial
from typing import Any

from actors.client import OutsideClient
from actors.kernel import Actor, Child, Ref, handles
from cli._errors import Failed
from cli._files import scheduler_config
from cli._remote import remote_system
from cli._state import add_kubeconfig_option, find_kubeconfig
from protocol import status
from protocol.api import ApiRequest, CancelWatch, Hold, StatusError
from protocol.scheduler import ExplainPod, SchedulerStatistics

PATIENCE_S = 15.0


class ReadOnly(Actor):
    """Passes reads and watches on to an API server and refuses writes."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.apiserver = apiserver

    @handles(ApiRequest)
    def request(self, message: ApiRequest) -> Any:
        if message.verb not in ("get", "list", "watch"):
            raise status.service_unavailable("this client only reads")
        return self.ask(self.apiserver, message)

    @handles(CancelWatch)
    def cancel(self, message: CancelWatch) -> None:
        self.apiserver.tell(message)

    @handles(Hold)
    def hold(self, message: Hold) -> Any:
        return self.ask(self.apiserver, message)


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `explain-schedule`."""
    parser.add_argument("pod", metavar="POD", help="name of the pod")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (%(default)s)")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="form of the account (%(default)s)"
    )
    parser.add_argument("--config", metavar="FILE", help="a KubeSchedulerConfiguration to judge by")
    add_kubeconfig_option(parser)


def run(options: argparse.Namespace) -> int:
    """Ask a scheduler that cannot act."""
    from actors.scheduler import Scheduler, SchedulerConfig

    config = scheduler_config(options.config) if options.config else SchedulerConfig()
    with remote_system(find_kubeconfig(options)) as (system, apiserver):
        door = system.spawn(Child("read-only", partial(ReadOnly, apiserver)))
        scheduler = system.spawn(Child("scheduler", partial(Scheduler, door, replace(config, passive=True))))
        client = OutsideClient(system, apiserver, name="count")
        client.get("pods", options.pod, options.namespace)  # a pod that there is not ends this here
        nodes = len(client.list("nodes"))
        account = _ask(scheduler, ExplainPod(options.namespace, options.pod), nodes)
    if options.output == "json":
        sys.stdout.write(json.dumps(account, indent=2) + "\n")
    else:
        _print(account)
    return 0


def _ask(scheduler: Ref, question: ExplainPod, nodes: int) -> dict[str, Any]:
    """The account, once the scheduler has read the cluster and its `nodes`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            known = scheduler.ask(SchedulerStatistics(), timeout=PATIENCE_S)["nodes"]
            account: dict[str, Any] = scheduler.ask(question, timeout=PATIENCE_S)
            if known >= nodes or time.monotonic() > deadline:
                return account
        except StatusError as error:
            if error.code != 404 or time.monotonic() > deadline:
                raise Failed(error.message) from None
        time.sleep(0.05)


def _print(account: dict[str, Any]) -> None:
    lines = [account["outcome"]]
    if account.get("message") and account["message"] not in account["outcome"]:
        lines.append(account["message"])
    nodes = account.get("nodes") or []
    feasible = sorted((n for n in nodes if n["feasible"]), key=lambda n: (-n["total"], n["name"]))
    refused = [n for n in nodes if not n["feasible"]]
    wide = max((len(n["name"]) for n in nodes), default=0)
    if feasible:
        weights = account["weights"]
        lines += ["", "nodes that fit, best first (score x weight of each plugin):"]
        for node in feasible:
            parts = [
                f"{plugin} {node['scores'][plugin]['normalized']:g}x{weight}"
                for plugin, weight in weights.items()
                if node["scores"].get(plugin)
            ]
            lines.append(f"  {node['name']:<{wide}}  {node['total']:>6g}  {', '.join(parts)}")
    if refused:
        lines += ["", "nodes that do not fit (the first reason is what counted):"]
        for node in refused:
            reasons = "; ".join(f"{plugin}: {', '.join(why)}" for plugin, why in node["rejected"].items())
            lines.append(f"  {node['name']:<{wide}}  {reasons}")
    sys.stdout.write("\n".join(lines) + "\n")
