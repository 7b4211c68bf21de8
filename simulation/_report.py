"""What came of runs, as text: one run, two beside each other, many; and a plot as SVG."""

from __future__ import annotations

from simulation._run import Result, percentile

__all__ = ["compared", "figures", "svg_of", "text_of"]


def figures(result: Result) -> list[tuple[str, str]]:
    """Names and values, in order."""
    converged = "no" if result.converged_s is None else f"{result.converged_s:g} s"
    starts = result.pod_start_s
    refused = ", ".join(f"{n} x {code}" for code, n in sorted(result.codes.items()) if code >= 400) or "none"
    return [
        ("converged after the last disturbance", converged),
        *((f"availability of {name}", f"{share:.2%}") for name, share in result.availability.items()),
        ("pods started", str(len(starts))),
        *((f"pod start p{round(s * 100)}", f"{percentile(starts, s):g} s") for s in (0.5, 0.9, 0.99)),
        *(
            (f"API {what} ({len(times)}) p50, p90, p99, most", f"{', '.join(f'{percentile(times, s) * 1000:g}' for s in (0.5, 0.9, 0.99, 1.0))} ms")
            for what, times in (("reads", result.read_s), ("writes", result.write_s))
        ),
        ("API requests refused", refused),
        ("CPU requested", f"{result.utilisation:.1%}"),
        ("spread (most - fewest pods of a node)", str(result.spread)),
        ("messages handled", str(result.steps)),
        ("checks broken", str(len(result.broken))),
    ]


def text_of(result: Result) -> str:
    """The report of one run."""
    lines = [f"{result.name}, seed {result.seed}"]
    for fault in result.faults:
        lines.append("  fault " + " ".join(f"{key}={value}" for key, value in fault.items()))
    lines += [f"  {name}: {value}" for name, value in figures(result)]
    lines += [f"  BROKEN {text}" for text in result.broken]
    return "\n".join(lines)


def compared(a: Result, b: Result) -> str:
    """Two runs side by side."""
    left, right = dict(figures(a)), dict(figures(b))
    rows = [("", a.name, b.name), *((name, left.get(name, "-"), right.get(name, "-")) for name in {**left, **right})]
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)).rstrip() for row in rows)


def svg_of(result: Result, width: int = 720, height: int = 240) -> str:
    """Pods that are Ready over time, beside all pods."""
    points = result.running or [(0.0, 0, 0)]
    most_x, most_y = points[-1][0] or 1.0, max(max(p[1], p[2]) for p in points) or 1

    def line(column: int, colour: str) -> str:
        path = " ".join(f"{40 + p[0] / most_x * (width - 50):.1f},{height - 25 - p[column] / most_y * (height - 45):.1f}" for p in points)  # type: ignore[call-overload]
        return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
        f'<text x="40" y="14">pods (grey) and Ready pods (green), most {most_y}, over {most_x:g} s, seed {result.seed}</text>'
        f"{line(2, '#999')}{line(1, '#2a7')}</svg>\n"
    )
