"""`kubekka packet`: which chains and rules a packet meets on its way, and where it ends."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli._errors import UsageError
from cli._files import load_objects
from cli._state import add_kubeconfig_option, find_kubeconfig

KINDS = (
    ("Node", "nodes"),
    ("Service", "services"),
    ("EndpointSlice", "endpointslices"),
    ("Pod", "pods"),
    ("NetworkPolicy", "networkpolicies"),
    ("Namespace", "namespaces"),
)


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `packet`."""
    parser.add_argument(
        "--from", dest="source", required=True, metavar="END", help="POD, NS/POD, node/NAME or an address"
    )
    parser.add_argument(
        "--to",
        dest="target",
        required=True,
        metavar="END:PORT",
        help="SERVICE:PORT, pod/NAME:PORT, node/NAME:PORT or ADDRESS:PORT",
    )
    parser.add_argument("-n", "--namespace", default="default", help="namespace of names without one (%(default)s)")
    parser.add_argument("--protocol", choices=("tcp", "udp", "sctp"), default="tcp")
    parser.add_argument("--seed", type=int, default=0, help="decides which endpoint chance picks (%(default)s)")
    parser.add_argument(
        "-f", "--filename", metavar="FILE", help="objects from this file (- for stdin) instead of a cluster"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeProxyConfiguration")
    add_kubeconfig_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print the packet's way; exit status 1 when it is lost."""
    from actors.network.iptables_cli import ConfigError
    from actors.network.packet_cli import UnknownEnd, follow

    config = load_objects(options.config)[0] if options.config else None
    if options.filename:
        objects = load_objects(options.filename)
    else:
        from cli._remote import remote_client

        with remote_client(find_kubeconfig(options)) as client:
            objects = [{"kind": kind, **item} for kind, word in KINDS for item in client.list(word)]
    try:
        journey = follow(
            objects,
            options.source,
            options.target,
            namespace=options.namespace,
            protocol=options.protocol,
            config=config,
            seed=options.seed,
        )
    except (ConfigError, UnknownEnd) as error:
        raise UsageError(str(error)) from None
    sys.stdout.write("".join(line + "\n" for line in journey.lines()))
    return 0 if journey.delivered else 1
