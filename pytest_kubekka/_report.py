"""What a test that failed wants to know of its cluster: objects that are not well, events, messages.

It only reads, and whatever goes wrong in it is said in its own text: a report never hides the
failure that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from actors.kernel import Tracer
from cli._narrate import component, narrate
from protocol.objects import Object

__all__ = ["describe"]

EVENTS_SHOWN, MESSAGES_SHOWN, PODS_SHOWN = 25, 25, 25


def describe(cluster: Any, replay: str) -> str:
    """The report on a `Cluster` or `SimulatedCluster`; `replay` is the line that runs it again."""
    parts: list[tuple[str, Iterator[str]]] = [
        ("pods that are not Ready", _pods(cluster)),
        ("events", _events(cluster)),
        ("last messages", _messages(cluster.tracer)),
    ]
    lines: list[str] = []
    for title, content in parts:
        try:
            found = list(content)
        except Exception as error:  # the cluster may be what broke
            found = [f"(cannot be told: {type(error).__name__}: {error})"]
        if found:
            lines += [f"{title}:", *(f"  {line}" for line in found)]
    return "\n".join([*lines, f"again: {replay}"])


def _pods(cluster: Any) -> Iterator[str]:
    unwell = [pod for pod in cluster.client.list("pods") if not _well(pod)]
    for pod in unwell[:PODS_SHOWN]:
        meta, status = pod["metadata"], pod.get("status") or {}
        node = (pod.get("spec") or {}).get("nodeName") or "no node"
        yield f"{meta.get('namespace')}/{meta['name']} on {node}: {status.get('phase', '?')}{_why(status)}"
    if len(unwell) > PODS_SHOWN:
        yield f"... and {len(unwell) - PODS_SHOWN} more"


def _well(pod: Object) -> bool:
    status = pod.get("status") or {}
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
    return ready or status.get("phase") == "Succeeded"


def _why(status: Object) -> str:
    """The first thing that the status gives as a reason, of its containers or its conditions."""
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        for state in ("waiting", "terminated"):
            found = (container.get("state") or {}).get(state)
            if found and found.get("reason") not in (None, "Completed", "PodInitializing"):
                text = found.get("message") or (f"exit code {found['exitCode']}" if "exitCode" in found else "")
                return f", {container['name']} {found['reason']}{f': {text}' if text else ''}"
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("message"):
            return f", {condition['message']}"
    return ""


def _events(cluster: Any) -> Iterator[str]:
    def when(event: Object) -> str:
        last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp")
        return last or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""

    events = sorted(cluster.client.list("events"), key=when)
    if len(events) > EVENTS_SHOWN:
        yield f"({len(events) - EVENTS_SHOWN} earlier ones left out)"
    for event in events[-EVENTS_SHOWN:]:
        about = event.get("involvedObject") or event.get("regarding") or {}
        times = f" (x{event['count']})" if event.get("count", 1) not in (None, 1) else ""
        what = f"{str(about.get('kind', '?')).lower()}/{about.get('name', '?')}"
        yield f"{when(event)} {event.get('type')} {event.get('reason')} {what}: {event.get('message')}{times}"


def _messages(tracer: Tracer | None) -> Iterator[str]:
    if tracer is None:
        return
    yield from _last(_told(reversed(tracer.records)), MESSAGES_SHOWN)


def _told(records: Iterable[Any]) -> Iterator[str]:
    for record in records:
        told = narrate(record)
        if told is not None:
            yield f"{record.time_s:.3f} {component(record.sender)}: {told}"


def _last(newest_first: Iterator[str], count: int) -> list[str]:
    found = [line for _, line in zip(range(count), newest_first, strict=False)]
    return found[::-1]
