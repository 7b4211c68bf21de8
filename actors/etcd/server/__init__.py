"""etcd's own API on the network: gRPC and the JSON gateway on one port, plain or with TLS.

`main_options` and `run` are what the command line calls.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from actors.etcd.server._options import main_options

if TYPE_CHECKING:
    from actors.kernel import LiveSystem

__all__ = ["main_options", "run"]


def run(options: argparse.Namespace, system: LiveSystem | None = None) -> int:
    """Serve until SIGTERM or SIGINT; a second one stops at once. Returns the exit status: 0 after
    a clean stop, 1 when it could not listen or its disk failed, 2 for options that make no sense
    and for a data directory that cannot be used."""
    from actors.etcd.server import _run  # speaks gRPC, which takes a while to import

    return _run.run(options, system)
