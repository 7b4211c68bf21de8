"""`kubekka explain-schedule POD`: for each node, which plugin refused it or how it scored.

A scheduler of our own reads the cluster through a door that lets no write pass, and is asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from typing import Any

from actors.kernel import Actor, Child, Ref, handles
from cli._errors import Failed
from cli._remote import remote_system
from cli._state import add_kubeconfig_option, find_kubeconfig
from protocol import status
from protocol.api import ApiRequest, CancelWatch, Hold, StatusError
from protocol.scheduler import ExplainPod

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
    from actors.scheduler import Scheduler, SchedulerConfig, load

    config = load(options.config) if options.config else SchedulerConfig()
    with remote_system(find_kubeconfig(options)) as (system, apiserver):
        door = system.spawn(Child("read-only", partial(ReadOnly, apiserver)))
        scheduler = system.spawn(Child("scheduler", partial(Scheduler, door, config)))
        account = _ask(scheduler, ExplainPod(options.namespace, options.pod))
    if options.output == "json":
        sys.stdout.write(json.dumps(account, indent=2) + "\n")
    else:
        _print(account)
    return 0


def _ask(scheduler: Ref, question: ExplainPod) -> dict[str, Any]:
    """The account, once the scheduler has read the cluster."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            account: dict[str, Any] = scheduler.ask(question, timeout=PATIENCE_S)
            return account
        except StatusError as error:
            if error.code != 404 or time.monotonic() > deadline:
                raise Failed(error.message) from None
            time.sleep(0.05)


def _print(account: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(account["outcome"])
    if account.get("message"):
        console.print(account["message"])
    nodes = account.get("nodes") or []
    refused = [n for n in nodes if not n["feasible"]]
    if refused:
        table = Table("node", "refused by", "because", title="Nodes that do not fit", title_justify="left")
        for node in refused:
            for plugin, reasons in node["rejected"].items():
                table.add_row(node["name"], plugin, ", ".join(reasons))
        console.print(table)
    feasible = sorted((n for n in nodes if n["feasible"]), key=lambda n: -n.get("total", 0))
    if feasible:
        plugins = list(account["weights"])
        heads = [f"{p}\n(weight {account['weights'][p]})" for p in plugins]
        table = Table("node", *heads, "total", title="Scores (normalised, weighted)", title_justify="left")
        for node in feasible:
            cells = [_score(node["scores"].get(plugin)) for plugin in plugins]
            table.add_row(node["name"], *cells, f"{node['total']:g}")
        console.print(table)


def _score(score: dict[str, Any] | None) -> str:
    return "-" if score is None else f"{score['normalized']:g} -> {score['weighted']:g}"
