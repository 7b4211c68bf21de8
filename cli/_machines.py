"""Which runtime a node's containers run in: the options that choose it, and the machines behind them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cli._errors import UsageError

__all__ = [
    "REAL",
    "RUNTIMES",
    "add_image_store_option",
    "add_runtime_options",
    "check_runtime",
    "runtime_settings",
]

REAL = ("namespaces", "runc", "docker", "cri")
RUNTIMES = ("simulated", "process", *REAL)
ENDPOINTS = {"docker": "unix:///var/run/docker.sock", "cri": "unix:///run/containerd/containerd.sock"}


def add_image_store_option(parser: argparse.ArgumentParser) -> None:
    """`--image-store`."""
    parser.add_argument(
        "--image-store",
        type=Path,
        metavar="DIR",
        help="the local image store (by default `images` in the state directory)",
    )


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """`--runtime` and what belongs to it."""
    parser.add_argument(
        "--runtime", choices=RUNTIMES, default="simulated", help="what runs the containers (%(default)s)"
    )
    add_image_store_option(parser)
    parser.add_argument(
        "--oci-runtime",
        default="runc",
        metavar="PROGRAM",
        help="the program behind --runtime runc, e.g. crun (%(default)s)",
    )
    parser.add_argument(
        "--container-runtime-endpoint",
        default="",
        metavar="URL",
        help=f"where --runtime docker ({ENDPOINTS['docker']}) or cri ({ENDPOINTS['cri']}) listens",
    )


def runtime_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The same as fields of `ClusterConfig`. Raises: UsageError when this machine cannot run containers that way."""
    endpoint = options.container_runtime_endpoint or ENDPOINTS.get(options.runtime, "")
    check_runtime(options.runtime, options.oci_runtime, endpoint)
    return {
        "runtime": options.runtime,
        "image_store": options.image_store,
        "oci_runtime": options.oci_runtime,
        "runtime_endpoint": endpoint,
    }


def check_runtime(name: str, program: str = "runc", endpoint: str = "") -> None:
    """Raises: UsageError, with what is missing."""
    if name not in REAL:
        return
    import actors.runtime as runtimes

    missing = ""
    if name == "namespaces":
        missing = runtimes.why_no_namespaces()
    elif name == "runc":
        missing = runtimes.why_no_runc(program)
    elif name == "docker":
        missing = runtimes.why_no_docker(endpoint)
    elif name == "cri":
        missing = runtimes.why_no_cri(endpoint)
    if missing:
        raise UsageError(f"--runtime {name} cannot run containers here: {missing}")
