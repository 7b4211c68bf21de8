"""Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["TEXT", "Family", "exposition", "histogram"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


class Family:
    """The samples of one metric. `kind`: counter, gauge or histogram."""

    __slots__ = ("help", "kind", "name", "samples")

    def __init__(self, name: str, kind: str, words: str) -> None:
        self.name = name
        self.kind = kind
        self.help = words
        self.samples: list[str] = []

    def add(self, value: float, labels: Labels | None = None, stamp_ms: int | None = None, suffix: str = "") -> Family:
        """One more sample; its labels are written in the order of their names."""
        shown = ",".join(f'{k}="{_escaped(v)}"' for k, v in sorted((labels or {}).items()))
        text = f"{self.name}{suffix}" + (f"{{{shown}}}" if shown else "") + f" {_number(value)}"
        self.samples.append(text if stamp_ms is None else f"{text} {stamp_ms}")
        return self


def histogram(family: Family, bounds: Iterable[float], values: Iterable[float], labels: Labels | None = None) -> Family:
    """Add one histogram of these values."""
    seen = sorted(values)
    base = dict(labels or {})
    for bound in bounds:
        below = sum(1 for value in seen if value <= bound)
        family.add(below, {**base, "le": _number(bound)}, suffix="_bucket")
    family.add(len(seen), {**base, "le": "+Inf"}, suffix="_bucket")
    family.add(sum(seen), base, suffix="_sum")
    return family.add(len(seen), base, suffix="_count")


def exposition(families: Iterable[Family]) -> bytes:
    """The whole text, by name; families without samples are left out."""
    lines: list[str] = []
    for family in sorted((f for f in families if f.samples), key=lambda f: f.name):
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}", *family.samples]
    return ("\n".join(lines) + "\n").encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))
