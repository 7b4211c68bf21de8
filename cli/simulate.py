"""`kubekka simulate`: play a scenario in virtual time, under one seed or many."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cli._errors import UsageError


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `simulate`."""
    parser.add_argument("scenario", type=Path, metavar="SCENARIO", help="a scenario file (docs/simulate.md)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="what all chance comes from (%(default)s)")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="play N seeds, from --seed on, on all cores")
    parser.add_argument("--workers", type=int, default=None, metavar="N", help="processes at a time (all cores)")
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="play another scenario too, side by side")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the pods over time")


def run(options: argparse.Namespace) -> int:
    """Play; 0 when every check held, 1 when one was broken."""
    from simulation import ScenarioError, load_scenario

    if options.runs < 1 or (options.workers is not None and options.workers < 1):
        raise UsageError("--runs and --workers are at least 1")
    try:
        scenario = load_scenario(options.scenario)
        other = load_scenario(options.compare) if options.compare else None
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from None
    except ScenarioError as error:
        raise UsageError(str(error)) from None
    if options.runs > 1:
        return _many(options, scenario)
    from simulation._report import compared, svg_of, text_of
    from simulation._run import run_scenario

    result = run_scenario(scenario, options.seed)
    print(text_of(result))
    if other is not None:
        second = run_scenario(other, options.seed)
        print(text_of(second))
        print(compared(result, second))
    if options.plot is not None:
        try:
            options.plot.write_text(svg_of(result))
        except OSError as error:
            raise UsageError(f"cannot write {options.plot}: {error.strerror}") from None
    print(f"trace hash: {result.trace_hash}")
    return 1 if result.broken else 0


def _many(options: argparse.Namespace, scenario: object) -> int:
    import hashlib

    from simulation import explore, shrink
    from simulation._schema import Scenario

    assert isinstance(scenario, Scenario)
    digest = hashlib.blake2b(digest_size=16)
    failing = []
    for done, result in enumerate(explore(scenario, range(options.seed, options.seed + options.runs), options.workers), 1):
        digest.update(result.trace_hash.encode())
        if result.broken:
            failing.append(result)
        if sys.stderr.isatty():
            print(f"\r{done}/{options.runs} runs, {len(failing)} failed", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{options.runs} runs, {len(failing)} failed")
    for result in failing[:20]:
        print(f"  seed {result.seed}: {result.broken[0]}")
    if failing:
        first = min(failing, key=lambda r: (len(r.faults), r.seed))
        faults, smallest = shrink(scenario, first.seed)
        print(f"smallest failing schedule (seed {first.seed}):")
        for fault in faults:
            words = " ".join(f"{key}={value}" for key, value in fault["with"].items())
            print(f"  at {fault['at']:g}s {fault['verb']} {words}" + (f" for {fault['for']:g}s" if "for" in fault else ""))
        if not faults:
            print("  (no fault at all is needed)")
        for text in smallest.broken:
            print(f"  BROKEN {text}")
        print(f"again: kubekka simulate {options.scenario} --seed {first.seed}")
    print(f"trace hash: {digest.hexdigest()}")
    return 1 if failing else 0
