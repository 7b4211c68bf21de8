"""`kubekka iptables`: the rules that a node's kube-proxy writes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli._errors import UsageError
from cli._files import load_objects
from cli._state import add_kubeconfig_option, find_kubeconfig


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `iptables`."""
    parser.add_argument(
        "--node", metavar="NAME", default="", help="the node whose rules to print (the first one by default)"
    )
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        help="take Services, EndpointSlices and Nodes from this file (- for stdin) instead of a running cluster",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeProxyConfiguration")
    parser.add_argument("-t", "--table", choices=("nat", "filter"), help="this table only")
    parser.add_argument(
        "--proxy-mode", choices=("iptables", "nftables"), help="whose rules (the configuration's: iptables)"
    )
    parser.add_argument("-6", "--ipv6", action="store_true", help="the rules of the IPv6 side")
    add_kubeconfig_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print what iptables-restore (or `nft -f`) would be given."""
    from actors.network.iptables_cli import ConfigError, UnknownNode, render

    config = dict(load_objects(options.config)[0]) if options.config else {}
    if options.proxy_mode:
        config["mode"] = options.proxy_mode
    if options.filename:
        objects = load_objects(options.filename)
    else:
        from cli._remote import remote_client

        with remote_client(find_kubeconfig(options)) as client:
            objects = [
                {"kind": kind, **item}
                for kind, word in (("Node", "nodes"), ("Service", "services"), ("EndpointSlice", "endpointslices"))
                for item in client.list(word)
            ]
    node = options.node or next((o["metadata"]["name"] for o in objects if o.get("kind") == "Node"), "")
    tables = (options.table,) if options.table else ("nat", "filter")
    try:
        sys.stdout.write(render(objects, node, config, tables, "IPv6" if options.ipv6 else "IPv4"))
    except (ConfigError, UnknownNode) as error:
        raise UsageError(str(error)) from None
    return 0
