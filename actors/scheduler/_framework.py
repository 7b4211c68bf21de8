"""The scheduling framework: what a plugin is, and what it gets to work with.

A plugin is a class with a `name` that overrides the extension points it has something to say at.
`Plugin` looks at one node at a time, which is the easy way to write one. `ColumnPlugin` answers for
many rows of the node table at once, which is how the built-in ones are fast.

Extension points, in the order in which a pod meets them: `pre_enqueue`, `sort_key` (queueSort),
`pre_filter`, `filter`, `post_filter`, `pre_score`, `score`, `normalize`, `reserve`, `permit`,
`pre_bind`, `bind`, `post_bind`; `unreserve` when anything after `reserve` fails.
https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/

Everything up to `permit` runs without a pause, pod by pod; `pre_bind`, `bind` and `post_bind` are
coroutines and overlap with the placement of other pods. No plugin may block, read a clock of its
own, or change an API object.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from actors.scheduler._cache import Cache, NodeView
from actors.scheduler._events import EventHint
from actors.scheduler._nodes import Bools, Ints, NodeTable, Rows
from actors.scheduler._objects import Objects
from actors.scheduler._pods import PodClass, PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status

__all__ = [
    "MAX_NODE_SCORE",
    "ColumnPlugin",
    "Cycle",
    "Diagnosis",
    "Handle",
    "PermitResult",
    "Plugin",
    "PostFilterResult",
    "PreFilterResult",
    "StatusTable",
    "default_normalize",
]

MAX_NODE_SCORE = 100
Object = dict[str, Any]


class PreFilterResult(NamedTuple):
    """`nodes`: the only nodes that can take the pod; None: all may."""

    status: Status = SUCCESS
    nodes: frozenset[str] | None = None


class PostFilterResult(NamedTuple):
    """`nominated`: the node that will have room ("" clears an earlier nomination, None leaves
    it). `later`: the true answer takes a while; whoever asked awaits it beside other pods' cycles."""

    status: Status
    nominated: str | None = None
    later: Callable[[], Coroutine[Any, Any, PostFilterResult]] | None = None


class PermitResult(NamedTuple):
    """`timeout_s`: how long a pod with `Code.WAIT` is held before it is rejected."""

    status: Status = SUCCESS
    timeout_s: float = 0.0


class StatusTable:
    """Statuses as small numbers, for arrays. 0 is success."""

    def __init__(self) -> None:
        self.statuses: list[Status] = [SUCCESS]
        self._codes: dict[Status, int] = {SUCCESS: 0}

    def code(self, status: Status) -> int:
        found = self._codes.get(status)
        if found is None:
            found = self._codes[status] = len(self.statuses)
            self.statuses.append(status)
        return found

    def __getitem__(self, code: int) -> Status:
        return self.statuses[code]

    def __len__(self) -> int:
        return len(self.statuses)


class Waiting(Protocol):
    """A pod that a permit plugin holds."""

    pod: PodInfo

    def allow(self, plugin: str) -> None: ...

    def reject(self, plugin: str, message: str) -> None: ...


class ApiClient(Protocol):
    """What a plugin may ask of the API server, in its coroutines; `actors.client.Client` is one."""

    async def get(self, resource: str, name: str, namespace: str = ...) -> Object: ...


@dataclass(eq=False)
class Handle:
    """What every plugin gets: the cluster, the other objects, and a way to act."""

    cache: Cache
    objects: Objects
    random: random.Random
    scheduler_name: str = "default-scheduler"
    minor: int = 36
    """Refusals are worded as Kubernetes 1.`minor` words them."""
    client: Any = None
    """The API client of the scheduler actor; None where a plugin runs without one."""
    sleep: Any = None
    """`await handle.sleep(seconds)`, by the system's clock."""
    now: Any = None
    """`handle.now()`: seconds since the epoch, by the system's clock."""
    rfc3339: Any = None
    """`handle.rfc3339()`: the time as the API writes it."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """Pods held by permit plugins, by uid."""
    nominated: dict[str, dict[str, PodInfo]] = field(default_factory=dict)
    """Node name -> uid -> pod that is to get the room being made there."""
    pending: dict[str, PodInfo] = field(default_factory=dict)
    """Pods whose preemption is under way: they wait for it, by uid."""
    act: Any = None
    """`handle.act(coroutine)`: run it beside the scheduling of pods."""
    event: Any = None
    """`handle.event(obj, type, reason, message, action=..., related=...)`: report an Event."""
    left_out: frozenset[str] = frozenset()
    """Resources that an extender looks after alone."""

    @property
    def table(self) -> NodeTable:
        return self.cache.table


class Cycle:
    """One attempt to place one pod. `data`: what plugins hand from one point to the next."""

    __slots__ = ("cache", "cls", "data", "pod", "skip_filter", "skip_score", "statuses", "table")

    def __init__(self, pod: PodInfo, cache: Cache, statuses: StatusTable) -> None:
        self.pod = pod
        self.cls: PodClass = pod.cls
        self.cache = cache
        self.table = cache.table
        self.statuses = statuses
        self.data: dict[str, Any] = {}
        self.skip_filter: set[str] = set()
        self.skip_score: set[str] = set()


@dataclass(slots=True)
class Diagnosis:
    """Why no node took a pod. `codes` per row (0: it would have), `absent` for nodes that were
    not looked at."""

    statuses: StatusTable
    codes: Ints
    absent: Status
    pre_filter_message: str = ""
    plugins: set[str] = field(default_factory=set)
    """Plugins that rejected at least one node."""
    pending_plugins: set[str] = field(default_factory=set)

    def status(self, row: int) -> Status:
        """The verdict about a node."""
        code = int(self.codes[row])
        return self.absent if code < 0 else self.statuses[code]


class Plugin:
    """Base of all plugins: override what you need. `args` is the plugin's part of the profile's
    `pluginConfig`, or an empty mapping."""

    name: ClassVar[str] = ""

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        self.args = args
        self.handle = handle

    # Whether the plugin speaks at an extension point is whether its class overrides the method.

    def pre_enqueue(self, pod: PodInfo) -> Status:
        """Whether the pod may be tried at all."""
        return SUCCESS

    def sort_key(self, pod: PodInfo, queued_at: float) -> Any:
        """Pods with smaller keys go first."""
        raise NotImplementedError

    def events(self) -> tuple[EventHint, ...]:
        """Which events may help pods that this plugin rejected. The default is: all."""
        return (EventHint("*", frozenset({"*"})),)

    def pre_filter(self, cycle: Cycle) -> Status | PreFilterResult:
        """Prepare, reject the pod outright, narrow the nodes, or `SKIP` this plugin's filter."""
        return SUCCESS

    def filter(self, cycle: Cycle, node: NodeView) -> Status:
        """Whether this node can take the pod."""
        return SUCCESS

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> PostFilterResult:
        """No node can: try to make room somewhere."""
        return PostFilterResult(Status(Code.UNSCHEDULABLE))

    def pre_score(self, cycle: Cycle, rows: Ints) -> Status:
        """Prepare, or `SKIP` this plugin's score. `rows`: the nodes that can take the pod."""
        return SUCCESS

    def score(self, cycle: Cycle, node: NodeView) -> int:
        """How good this node is, 0 to 100 after `normalize`."""
        return 0

    def normalize(self, cycle: Cycle, scores: Ints) -> Ints:
        """Bring the scores of all nodes into 0 to 100."""
        return scores

    def reserve(self, cycle: Cycle, node_name: str) -> Status:
        """The pod goes there: keep what it needs for it."""
        return SUCCESS

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        """It does not go there after all. Must not fail; may be called without `reserve`."""

    def permit(self, cycle: Cycle, node_name: str) -> PermitResult:
        """Let it go, reject it, or hold it (`Code.WAIT`)."""
        return PermitResult()

    def has_pre_bind_work(self, cycle: Cycle) -> bool:
        """Whether `pre_bind` will take more than a moment for this pod."""
        return True

    async def pre_bind(self, cycle: Cycle, node_name: str) -> Status:
        """What must be done before the pod is bound."""
        return SUCCESS

    async def bind(self, cycle: Cycle, node_name: str) -> Status:
        """Bind it; `SKIP` leaves that to the next plugin."""
        return SKIP

    async def post_bind(self, cycle: Cycle, node_name: str) -> None:
        """It is bound."""

    @classmethod
    def overrides(cls, method: str) -> bool:
        """Whether this plugin speaks at an extension point."""
        return any(method in base.__dict__ for base in cls.__mro__ if base not in (Plugin, ColumnPlugin, object))


class ColumnPlugin(Plugin):
    """A plugin that answers for many nodes at once.

    `filter_scope` and `score_scope` say what an answer about a node depends on besides the pod's
    class: "row" - only this node and what is on it; "node" - only the node's own object;
    "cluster" - anything. Answers that depend on less are kept and shared between equal pods. A
    plugin of scope "row" must not depend on pod labels, namespace, owner or priority.
    """

    filter_scope: ClassVar[str] = "cluster"
    score_scope: ClassVar[str] = "cluster"

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        """A status number (`cycle.statuses`) per row, 0 where the node can take the pod; None
        when all can. Nodes that are not alive may be among the rows; what is said of them is
        ignored."""
        return None

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        """A score per row; None when it is 0 for all."""
        return None

    def filter_one(self, cycle: Cycle, row: int) -> int:
        """`filter_rows` for one row. Override it where arrays of one are too slow."""
        said = self.filter_rows(cycle, np.array([row]))
        return 0 if said is None else int(said[0])

    def score_one(self, cycle: Cycle, row: int) -> int:
        """`score_rows` for one row."""
        said = self.score_rows(cycle, np.array([row]))
        return 0 if said is None else int(said[0])

    def may_score(self, cycle: Cycle) -> bool:
        """Whether this plugin's scores could differ between nodes for this pod; a cheap question
        that may be answered yes in doubt."""
        return True


def default_normalize(scores: Ints, reverse: bool) -> Ints:
    """Scale so that the largest becomes 100 (or, reversed, 0)."""
    highest = int(scores.max(initial=0))
    if highest == 0:
        return np.full_like(scores, MAX_NODE_SCORE) if reverse else scores
    scaled: Ints = scores * MAX_NODE_SCORE // highest
    return MAX_NODE_SCORE - scaled if reverse else scaled


def true_codes(mask: Bools, code: int) -> Ints:
    """`code` where the mask holds, else 0."""
    return np.where(mask, np.int64(code), np.int64(0))
