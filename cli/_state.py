"""Where a cluster keeps its state on this machine."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from assembly.config import default_data_dir
from cli._errors import UsageError

__all__ = ["add_kubeconfig_option", "default_data_dir", "find_kubeconfig", "prepare_data_dir"]


def prepare_data_dir(path: Path) -> Path:
    """Make the directory, readable by its owner alone.

    Raises: UsageError when it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"cannot write to the state directory {path}: {reason}; choose another with --data-dir"
        ) from None
    return path


def add_kubeconfig_option(parser: argparse.ArgumentParser) -> None:
    """`--kubeconfig`, for verbs that speak with a running cluster."""
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="the cluster to speak with (by default the one that `up` left in the state directory, or $KUBECONFIG)",
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the state directory whose cluster to speak with")


def find_kubeconfig(options: argparse.Namespace) -> Path:
    """The kubeconfig that the options or the surroundings name.

    Raises: UsageError when there is none.
    """
    if options.kubeconfig is not None:
        candidates = [options.kubeconfig]
    elif options.data_dir is not None:
        candidates = [options.data_dir / "kubeconfig"]
    else:
        candidates = [default_data_dir() / "kubeconfig"]
        if os.environ.get("KUBECONFIG"):
            candidates.insert(0, Path(os.environ["KUBECONFIG"].split(os.pathsep)[0]))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UsageError(
        f"no kubeconfig at {candidates[0]}; start a cluster with `kubekka up` or name one with --kubeconfig"
    )
