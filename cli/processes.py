"""`kubekka processes POD`: the process tree that a pod's runtime has built on its node."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from cli._errors import Failed
from cli._state import add_kubeconfig_option, find_kubeconfig

Process = dict[str, Any]


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `processes`."""
    parser.add_argument("pod", metavar="POD", help="name of the pod")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (%(default)s)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_kubeconfig_option(parser)


def run(options: argparse.Namespace) -> int:
    """Ask the pod's node, and print what it says."""
    from cli._remote import remote_client
    from protocol.api import StatusError

    with remote_client(find_kubeconfig(options)) as client:
        pod = client.get("pods", options.pod, options.namespace)
        node = pod["spec"].get("nodeName")
        if not node:
            raise Failed(f"pod {options.pod} is on no node yet")
        where = f"proxy/processes/{options.namespace}/{options.pod}"
        try:
            found = client.run(lambda c: c.get_subresource("nodes", node, "", where))["processes"]
        except StatusError as error:
            raise Failed(f"node {node}: {error.message}") from None
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else render(found))
    return 0


def render(processes: list[Process]) -> str:
    """One line a process, children below their parents, with the namespaces that it is in. A pid stands
    for whose namespace it is, `host` for the node's."""
    pids = {p["pid"] for p in processes}
    lines: list[str] = [f"{'PID':>8}  {'CONTAINER':<16} {'NAMESPACES':<58} COMMAND"]

    def show(process: Process, depth: int) -> None:
        spaces = " ".join(f"{k}:{'host' if v == 1 else v}" for k, v in sorted(process["namespaces"].items()))
        branch = "   " * (depth - 1) + "`- " if depth else ""
        lines.append(
            f"{process['pid']:>8}  {process['container'] or '-':<16} {spaces or '-':<58} {branch}{process['command']}"
        )
        for child in processes:
            if child["parent"] == process["pid"] and child is not process:
                show(child, depth + 1)

    for process in processes:
        if process["parent"] not in pids:
            show(process, 0)
    return "\n".join(lines) + "\n"
