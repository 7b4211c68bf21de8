"""`kubekka trace -f manifest.yaml`: the causal tree of messages that applying a manifest sets off."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from actors.kernel import Tracer, TraceRecord
from cli._errors import Failed, UsageError
from cli._files import load_objects
from cli._narrate import component, narrate


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `trace`."""
    parser.add_argument("-f", "--filename", metavar="FILE", required=True, help="the manifest to apply (- for stdin)")
    parser.add_argument(
        "--nodes", type=int, default=3, metavar="N", help="nodes of the cluster to trace in (%(default)s)"
    )
    parser.add_argument(
        "--settle", type=float, default=1.0, metavar="SECONDS", help="virtual seconds to follow (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (%(default)s)")
    parser.add_argument("--all", action="store_true", help="every message, also those without meaning to a reader")
    parser.add_argument(
        "--format",
        choices=("text", "mermaid", "chrome"),
        default="text",
        help="text, a Mermaid sequence diagram, or a Chrome/Perfetto trace (%(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Apply the manifest in a simulated cluster and print what followed."""
    from cluster import ManifestError, SimulatedCluster
    from protocol.api import StatusError

    objects = load_objects(options.filename)
    tracer = Tracer(capacity=1_000_000)
    cluster = SimulatedCluster(seed=options.seed, nodes=options.nodes, tracer=tracer)
    cluster.sim.advance(1.0)
    first = tracer.records[-1].id + 1 if tracer.records else 1
    try:
        cluster.apply(objects)
    except ManifestError as error:
        raise UsageError(str(error)) from None
    except StatusError as error:
        raise Failed(f"{error.reason}: {error.message}") from None
    cluster.sim.advance(options.settle)
    records = [r for r in tracer.records if r.id >= first]
    roots = [r for r in records if r.sender == "outside" and r.kind == "ask" and r.receiver == "desk"]
    if options.format == "chrome":
        _chrome(records)
        return 0
    tree = [(depth, record) for root in roots[: len(objects)] for depth, record in tracer.tree(root.id)]
    if options.format == "mermaid":
        _mermaid(record for _, record in tree)
    else:
        _text(tree, options.all, records[0].time_s if records else 0.0)
    return 0


def _text(tree: Iterable[tuple[int, TraceRecord]], everything: bool, start_s: float) -> None:
    """Indented by cause: what has a meaning, or everything."""
    depths: list[tuple[int, int]] = []  # (depth in the tree, depth on the page) of the ancestors shown
    for depth, record in tree:
        told = narrate(record)
        if told is None and not everything:
            continue
        while depths and depths[-1][0] >= depth:
            depths.pop()
        level = depths[-1][1] + 1 if depths else 0
        depths.append((depth, level))
        told = told or f"{record.kind} {record.message_type}"
        when = f"{(record.time_s - start_s) * 1000:8.1f} ms "
        to = f" -> {component(record.receiver)}" if everything else ""
        sys.stdout.write(f"{when}{'  ' * level}{component(record.sender)}{to}: {told}\n")


def _mermaid(records: Iterable[TraceRecord]) -> None:
    names: dict[str, str] = {}
    lines = []
    for record in sorted(records, key=lambda r: r.id):
        told = narrate(record)
        if told is None:
            continue
        sender, receiver = component(record.sender), component(record.receiver)
        for name in (sender, receiver):
            names.setdefault(name, f"p{len(names)}")
        lines.append(f"    {names[sender]}->>{names[receiver]}: {told.replace(';', ',')}")
    sys.stdout.write("sequenceDiagram\n")
    for name, short in names.items():
        sys.stdout.write(f"    participant {short} as {name}\n")
    sys.stdout.write("\n".join(lines) + "\n")


def _chrome(records: list[TraceRecord]) -> None:
    """The trace event format: one row per actor, an arrow per message."""
    rows: dict[str, int] = {}
    events: list[dict[str, Any]] = []
    for record in records:
        for path in (record.sender, record.receiver):
            if path not in rows:
                rows[path] = len(rows) + 1
                events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": rows[path], "args": {"name": path}})
        at = record.time_s * 1e6
        name = narrate(record) or f"{record.kind} {record.message_type}"
        common = {"pid": 1, "ts": at, "name": name, "cat": record.kind}
        events.append(
            {
                **common,
                "ph": "X",
                "dur": 1,
                "tid": rows[record.receiver],
                "args": {"id": record.id, "cause": record.cause},
            }
        )
        events.append({**common, "ph": "s", "id": record.id, "tid": rows[record.sender]})
        events.append({**common, "ph": "f", "id": record.id, "tid": rows[record.receiver], "bp": "e"})
    json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, sys.stdout)
    sys.stdout.write("\n")
