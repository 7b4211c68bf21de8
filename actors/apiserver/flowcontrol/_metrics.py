"""`apiserver_flowcontrol_*`: what the gate counts, under upstream's names.

Source: k8s.io/apiserver/pkg/util/flowcontrol/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.apiserver.flowcontrol._control import Flow, FlowControl
from actors.apiserver.flowcontrol._levels import Level

__all__ = ["lines"]

_PREFIX = "apiserver_flowcontrol_"
_FLOWS: tuple[tuple[str, str, str, Callable[[Flow], float]], ...] = (
    ("dispatched_requests_total", "counter", "Requests executed.", lambda flow: flow.dispatched),
    ("current_inqueue_requests", "gauge", "Requests waiting in queues.", lambda flow: flow.waiting),
    ("current_executing_requests", "gauge", "Requests under way (exempt ones are not counted).", lambda flow: flow.executing),
    ("current_executing_seats", "gauge", "Seats taken by requests under way.", lambda flow: flow.seats),
)
_LEVELS: tuple[tuple[str, str, Callable[[Level], float]], ...] = (
    ("nominal_limit_seats", "Seats by its shares.", lambda level: level.nominal),
    ("lower_limit_seats", "Seats that it never lends.", lambda level: level.least),
    ("upper_limit_seats", "Seats that it may have with borrowed ones.", lambda level: level.most),
    ("current_limit_seats", "Seats that it has now.", lambda level: level.limit),
    ("demand_seats_high_watermark", "Greatest demand since the last adjustment.", lambda level: level.peak),
    ("demand_seats_smoothed", "Smoothed demand.", lambda level: level.smoothed),
    ("target_seats", "What the last adjustment aimed at.", lambda level: level.target),
)


def lines(control: FlowControl) -> Iterator[str]:
    """The lines of the page."""
    flows = sorted(control.flows.values(), key=lambda flow: flow.name)
    for name, kind, text, value in _FLOWS:
        yield from _head(name, kind, text)
        for flow in flows:
            yield f"{_PREFIX}{name}{{{_labels(flow)}}} {value(flow):g}"
    yield from _head("request_wait_duration_seconds", "histogram", "Seconds that requests waited in queues.")
    for flow in flows:
        wait = f"{_PREFIX}request_wait_duration_seconds"
        yield f'{wait}_bucket{{{_labels(flow)},le="+Inf"}} {flow.waited:g}'
        yield f"{wait}_sum{{{_labels(flow)}}} {flow.wait_s:g}"
        yield f"{wait}_count{{{_labels(flow)}}} {flow.waited:g}"
    yield from _head("rejected_requests_total", "counter", "Requests sent away, by reason.")
    for flow in flows:
        for reason, count in sorted(flow.rejected.items()):
            yield f'{_PREFIX}rejected_requests_total{{{_labels(flow)},reason="{reason}"}} {count}'
    for name, text, of in _LEVELS:
        yield from _head(name, "gauge", text)
        for level in sorted(control.levels.values(), key=lambda level: level.name):
            yield f'{_PREFIX}{name}{{priority_level="{level.name}"}} {of(level):g}'
    yield from _head("seat_fair_frac", "gauge", "Fraction of its target that each level gets.")
    yield f"{_PREFIX}seat_fair_frac {control.fair_fraction:g}"


def _labels(flow: Flow) -> str:
    return f'flow_schema="{flow.name}",priority_level="{flow.level.name}"'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    if kind:
        yield f"# HELP {_PREFIX}{name} {text}"
        yield f"# TYPE {_PREFIX}{name} {kind}"
