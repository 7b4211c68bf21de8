"""Messages that the scheduler receives besides what its watches tell it."""

from __future__ import annotations

from protocol.message import Message

__all__ = ["ExplainPod", "SchedulerStatistics"]


class ExplainPod(Message, frozen=True):
    """Ask why a pod is where it is, or why it is nowhere.

    Answered by a JSON-like dict: `pod`, `scheduler`, `outcome` (a sentence), `node` (where it is or
    would go now, else empty), `message` (as in the FailedScheduling event, else empty), `weights`
    per plugin, and `nodes`: for each its `name`, `feasible`, `rejected` (plugin -> reasons; the
    first one is what counted), `scores` (plugin -> raw, normalized, weighted) and `total`.

    A pod that has a node is judged as if it had none, by the cluster as it is now. Raises
    `StatusError` (404) for a pod that is not known, (400) for one of another scheduler.
    """

    namespace: str
    name: str


class SchedulerStatistics(Message, frozen=True):
    """Ask for counters. Answered by a dict: `scheduled`, `attempts`, `failed`, `errors`,
    `preempted`, `queue` (pods per place), `binding` (under way), `nodes`, `pods`, and
    `attempt_seconds` (`p50`, `p90`, `p99` of the latest attempts, placement only; left out when
    `latencies` is false, which makes the question cheap)."""

    latencies: bool = True
