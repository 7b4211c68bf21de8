"""`kubekka cgroups POD`: what requests and limits become."""

from __future__ import annotations

import argparse
import sys

from cli._errors import UsageError
from cli._state import add_kubeconfig_option, find_kubeconfig


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `cgroups`."""
    parser.add_argument("pod", metavar="POD", help="name of the pod")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (%(default)s)")
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        help="take the pod from this file (- for stdin) instead of a running cluster",
    )
    parser.add_argument(
        "--cgroup-version", choices=("v1", "v2", "both"), default="both", help="which files to show (%(default)s)"
    )
    add_kubeconfig_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print each group of the pod with its files."""
    from actors.kubelet import pod_cgroups

    pod = _pod(options)
    lines = []
    for path, versions in pod_cgroups(pod).items():
        lines.append(path)
        for version, files in versions.items():
            if options.cgroup_version in (version, "both"):
                lines.extend(f"  {version}  {name:<28} {value}" for name, value in files.items())
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _pod(options: argparse.Namespace) -> dict[str, object]:
    if not options.filename:
        from cli._remote import remote_client

        with remote_client(find_kubeconfig(options)) as client:
            return client.get("pods", options.pod, options.namespace)
    from cli._files import load_objects

    for obj in load_objects(options.filename):
        if obj.get("kind") == "Pod" and obj.get("metadata", {}).get("name") == options.pod:
            return obj
    raise UsageError(f"{options.filename} holds no pod named {options.pod!r}")
