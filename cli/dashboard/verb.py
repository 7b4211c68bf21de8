"""`kubekka dashboard`: a simulated cluster in the browser, whose time one owns."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli._errors import Failed, UsageError
from cli._files import load_objects
from cli._serve import Interruption, port_number, port_problem

__all__ = ["configure", "run"]

LAST_RECORDS = 10_000


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `dashboard`."""
    parser.add_argument("-f", "--filename", type=Path, metavar="FILE", help="a manifest to apply at the start")
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help="simulated nodes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (%(default)s)")
    parser.add_argument("--port", type=port_number, default=0, help="port of the page; 0 picks a free one (%(default)s)")
    parser.add_argument("--paused", action="store_true", help="begin with time standing still")


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C. (For a served cluster: `up --dashboard`.)"""
    from actors.kernel import Tracer
    from cli.dashboard import Dashboard, SimulatedStage
    from cluster import ManifestError, SimulatedCluster
    from protocol.api import StatusError

    objects = load_objects(options.filename) if options.filename else []
    try:
        cluster = SimulatedCluster(seed=options.seed, nodes=options.nodes, tracer=Tracer(capacity=LAST_RECORDS))
    except ValueError as error:
        raise UsageError(str(error)) from None
    stage = SimulatedStage(cluster)
    stage.playing = not options.paused
    try:
        with stage.hold():
            cluster.apply(objects)
        dashboard = Dashboard(stage, port=options.port)
    except ManifestError as error:
        raise UsageError(str(error)) from None
    except StatusError as error:
        raise Failed(f"{error.reason}: {error.message}") from None
    except OSError as error:
        raise port_problem(error, "127.0.0.1", options.port) from None
    try:
        with Interruption() as interruption:
            print(f"dashboard: {dashboard.url}", flush=True)
            if sys.stderr.isatty():
                print("Ctrl-C ends it.", file=sys.stderr)
            interruption.wait()
    finally:
        dashboard.close()
    return 0
