"""How benchmarks report: comparisons with a peer as a table, JSON and a plot.

It owns the shape of the results and knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Comparison", "Series", "arguments", "finish"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing measured on us and on a peer; `ratio` > 1 means that ours does better."""

    name: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    lower_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; None without a peer's figure."""
        if not self.peer or not self.ours:
            return None
        return self.peer / self.ours if self.lower_is_better else self.ours / self.peer


@dataclass(frozen=True, slots=True)
class Series:
    """A curve for the plot: `y` (in `unit`) over `x` (in `x_unit`)."""

    name: str
    unit: str
    x_unit: str
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)


def arguments(name: str, argv: Sequence[str], extra: Callable[[argparse.ArgumentParser], Any] | None = None) -> Any:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}")
    parser.add_argument("--quick", action="store_true", help="a smaller run, some seconds long")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument(
        "--plot", metavar="FILE", help="write a picture, .svg or .png (needs matplotlib: pip install 'kubekka[bench]')"
    )
    if extra is not None:
        extra(parser)
    return parser.parse_args(argv)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def _table(comparisons: Sequence[Comparison]) -> str:
    rows = [("what", "unit", "kubekka", "peer", "ratio", "peer is")]
    for c in comparisons:
        ratio = f"{c.ratio:.2f}x" if c.ratio is not None else "-"
        rows.append((c.name, c.unit, _figure(c.ours), _figure(c.peer), ratio, c.peer_name))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = [
        "  ".join(cell.ljust(w) if i in (0, 1, 5) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def _grows(values: Sequence[float]) -> bool:
    """Whether only a logarithmic axis shows all of them."""
    return bool(values) and 0 < min(values) * 100 <= max(values)


def _plot(name: str, comparisons: Sequence[Comparison], series: Sequence[Series], path: str) -> None:
    try:
        import matplotlib
    except ImportError:
        print("--plot needs matplotlib: pip install 'kubekka[bench]'", file=sys.stderr)
        raise SystemExit(2) from None
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "kubekka", "svg.fonttype": "none"})  # one result, one file
    from matplotlib import pyplot

    with_ratio = [c for c in comparisons if c.ratio is not None]
    groups: dict[tuple[str, str], list[Series]] = {}
    for curve in series:
        groups.setdefault((curve.unit, curve.x_unit), []).append(curve)
    panels = (1 if with_ratio else 0) + len(groups)
    figure, axes = pyplot.subplots(panels or 1, 1, figsize=(9, 4 * (panels or 1)), squeeze=False)
    remaining = [row[0] for row in axes]
    if with_ratio:
        bars = remaining.pop(0)
        bars.barh([c.name for c in with_ratio], [c.ratio or 0 for c in with_ratio])
        bars.set_xscale("log")
        bars.axvline(1.0, color="black", linewidth=0.8)
        bars.set_xlabel("times better than the peer (log scale)")
        bars.invert_yaxis()
    for axis, ((unit, x_unit), curves) in zip(remaining, groups.items()):
        for curve in curves:
            axis.plot(curve.x, curve.y, marker="o", label=curve.name)
        if _grows([x for curve in curves for x in curve.x]):
            axis.set_xscale("log")
        if _grows([y for curve in curves for y in curve.y]):
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.grid(True, which="major", linewidth=0.3)
        axis.set_xlabel(x_unit)
        axis.set_ylabel(unit)
        axis.legend()
    figure.suptitle(f"kubekka: {name}")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def finish(name: str, comparisons: Sequence[Comparison], options: Any, series: Sequence[Series] = ()) -> int:
    """Print the table and write what `options` asks for; answers the exit status."""
    print(_table(comparisons))
    if options.json:
        document = {
            "benchmark": name,
            "quick": options.quick,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "comparisons": [{**asdict(c), "ratio": c.ratio} for c in comparisons],
            "series": [asdict(s) for s in series],
        }
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    if options.plot:
        _plot(name, comparisons, series, options.plot)
    return 0
