"""`kubekka etcd`: an etcd server."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """etcd's own options."""
    from actors.etcd.server import main_options

    main_options(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from actors.etcd.server import run as serve

    return serve(options)
