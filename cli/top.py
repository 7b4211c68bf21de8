"""`kubekka top`: a live view of the actor tree of a running cluster."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from cli._actors import Look, Source, tree
from cli._state import add_kubeconfig_option, find_kubeconfig

if TYPE_CHECKING:
    from rich.table import Table

SORTS = ("tree", "rate", "mailbox", "restarts")
BUSY_MAILBOX = 100  # from here on a mailbox is shown in red


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `top`."""
    add_kubeconfig_option(parser)
    parser.add_argument(
        "--interval", type=_positive, default=1.0, metavar="SECONDS", help="between two looks (%(default)s)"
    )
    parser.add_argument("--sort", choices=SORTS, default="tree", help="the order of the actors (%(default)s)")
    parser.add_argument("--once", action="store_true", help="two looks, one table, and done")
    parser.add_argument("--all", action="store_true", help="every actor; otherwise many alike are one line")


def _positive(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Look again and again, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    source = Source(find_kubeconfig(options))
    fold = sys.maxsize if options.all else 12
    before = source.look()
    time.sleep(options.interval)
    console = Console(width=None if sys.stdout.isatty() else 120)
    if options.once or not console.is_terminal:
        console.print(_table(source.look(), before, fold, options.sort, None))
        return 0
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                now = source.look()
                live.update(_table(now, before, fold, options.sort, console.height - 5), refresh=True)
                before = now
                time.sleep(options.interval)
    except KeyboardInterrupt:
        return 0


def _table(now: Look, before: Look, fold: int, sort: str, most: int | None) -> Table:
    from rich.table import Table
    from rich.text import Text

    root = tree(now, before, fold)
    lines = [(depth - 1, twig) for depth, twig in root.walk() if depth]
    if sort != "tree":
        lines = [(0, twig) for _, twig in sorted(lines, key=lambda line: -getattr(line[1], sort))]
    table = Table(
        title=f"{len(now.actors):,} actors, {root.total('rate'):,.0f} messages/s, "
        f"{int(root.total('mailbox')):,} waiting, {int(root.total('restarts')):,} restarts",
        box=None,
        pad_edge=False,
    )
    table.add_column("ACTOR", no_wrap=True)
    for head in ("MSG/S", "MAILBOX", "HANDLED", "TASKS", "RESTARTS"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("KIND", no_wrap=True)
    for depth, twig in lines[:most]:
        table.add_row(
            Text("  " * depth + twig.name),
            f"{twig.rate:,.1f}" if twig.rate else "",
            Text(f"{twig.mailbox:,}", style="red" if twig.mailbox >= BUSY_MAILBOX else "") if twig.mailbox else "",
            f"{twig.handled:,}",
            str(twig.tasks or ""),
            Text(str(twig.restarts), style="yellow") if twig.restarts else "",
            Text(twig.kind, style="dim"),
        )
    if most is not None and len(lines) > most:
        table.add_row(Text(f"... {len(lines) - most} more", style="dim"))
    return table
