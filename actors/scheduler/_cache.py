"""The cluster as the scheduler believes it to be: nodes, the pods on them, and its own bets.

A pod that was given a node but is not yet seen bound is *assumed*: it takes its room at once, so
that the next pod is placed as if it were there. An assumed pod is confirmed when the watch shows it
bound, and forgotten when its binding fails. When, long after a binding that was reported done, the
watch still has not shown it, it is overdue: the API is asked, since to forget a pod that is there
would give its room away twice. The states of one pod:

    absent --assume--> assumed --put_pod (bound)--> confirmed --remove_pod--> absent
                          |--forget--> absent

Owns the truth about who is where; it decides nothing and reads no clock (times are passed in).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actors.scheduler._nodes import NodeTable
from actors.scheduler._pods import PodClasses, PodInfo
from actors.scheduler._resources import ResourceNames
from actors.scheduler._tallies import Tallies

__all__ = ["Cache", "NodeView"]

Object = dict[str, Any]
ANY_IP = "0.0.0.0"


@dataclass(slots=True)
class _Placed:
    info: PodInfo
    row: int
    assumed: bool
    deadline: float | None = None


class NodeView:
    """One node, for plugins that look at nodes one by one."""

    __slots__ = ("_cache", "row")

    def __init__(self, cache: Cache, row: int) -> None:
        self._cache = cache
        self.row = row

    @property
    def name(self) -> str:
        return self._cache.table.names[self.row] or ""

    @property
    def object(self) -> Object:
        """The API object."""
        return self._cache.table.objects[self.row] or {}

    @property
    def labels(self) -> dict[str, str]:
        return dict(self._cache.table.labels[self.row])

    @property
    def pods(self) -> list[PodInfo]:
        """Pods on it, assumed ones included."""
        return list(self._cache.pods_on(self.row).values())

    @property
    def allocatable(self) -> dict[str, int]:
        """What it offers, cpu in thousandths."""
        table = self._cache.table
        return {n: int(table.allocatable[i, self.row]) for i, n in enumerate(table.resources.names)}

    @property
    def requested(self) -> dict[str, int]:
        """What its pods ask for together, cpu in thousandths."""
        table = self._cache.table
        table.ensure_resources()
        return {n: int(table.requested[i, self.row]) for i, n in enumerate(table.resources.names)}


class Cache:
    """See the module. One instance per scheduler; not shared between threads."""

    def __init__(self) -> None:
        self.resources = ResourceNames()
        self.table = NodeTable(self.resources)
        self.classes = PodClasses(self.resources)
        self.tallies = Tallies()
        self._placed: dict[str, _Placed] = {}
        self._on_row: dict[int, dict[str, PodInfo]] = {}
        self._assumed: dict[str, None] = {}
        self.ports: dict[tuple[str, int], dict[str, dict[int, int]]] = {}
        """(protocol, port) -> host IP -> row -> number of pods."""
        self.claim_users: dict[str, dict[str, int]] = {}
        """namespace/claim -> uid of a pod that uses it -> row."""

    # --- nodes -----------------------------------------------------------------------------

    def put_node(self, node: Object) -> bool:
        """Add or replace a node. Whether anything changed that placement depends on."""
        return self.table.put(node) is not None

    def remove_node(self, name: str) -> None:
        """A node is gone. Its pods stay known until they are removed."""
        row = self.table.kill(name)
        if row is not None and not self._on_row.get(row):
            self.table.drop(row)

    def view(self, row: int) -> NodeView:
        return NodeView(self, row)

    # --- pods ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._placed)

    def pods_on(self, row: int) -> dict[str, PodInfo]:
        """Pods on a row by uid, in the order in which they came. Not to be changed."""
        return self._on_row.get(row, {})

    def placed(self, uid: str) -> PodInfo | None:
        found = self._placed.get(uid)
        return found.info if found else None

    def node_of(self, uid: str) -> str:
        """The name of the node a pod is on or assumed to be on; empty if neither."""
        found = self._placed.get(uid)
        return (self.table.names[found.row] or "") if found else ""

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def put_pod(self, info: PodInfo) -> None:
        """A bound pod as the API shows it: confirms an assumed one, replaces an older version."""
        old = self._placed.get(info.uid)
        if old is not None:
            there = old.info
            same = (
                self.table.names[old.row] == info.node_name
                and there.cls is info.cls
                and there.terminating == info.terminating
            )
            if same:
                old.info = info
                old.assumed, old.deadline = False, None
                self._assumed.pop(info.uid, None)
                self._on_row[old.row][info.uid] = info
                if there.start_time != info.start_time or there.priority != info.priority:
                    # What preemption keeps about the row depends on these.
                    self.table.log.append(old.row)
                return
            self._leave(old)
        self._enter(info, self.table.row(info.node_name), assumed=False)

    def remove_pod(self, uid: str) -> PodInfo | None:
        """A pod is gone or has ended. Answers what was known of it."""
        found = self._placed.get(uid)
        if found is None:
            return None
        self._leave(found)
        return found.info

    def assume(self, info: PodInfo, row: int) -> None:
        """Count a pod on a node that it was given. Raises `ValueError` if it is on one already."""
        if info.uid in self._placed:
            raise ValueError(f"pod {info.key} is already on a node")
        self._enter(info, row, assumed=True)

    def binding_done(self, uid: str, deadline: float) -> None:
        """The API server took the binding; the watch should show it before `deadline`."""
        found = self._placed.get(uid)
        if found is not None and found.assumed:
            found.deadline = deadline

    def forget(self, uid: str) -> PodInfo | None:
        """Take back an assumption. Does nothing to a confirmed pod."""
        found = self._placed.get(uid)
        if found is None or not found.assumed:
            return None
        self._leave(found)
        return found.info

    def overdue(self, now: float) -> list[PodInfo]:
        """Assumed pods whose binding was reported done, but which the watch has not shown for too
        long. Each is answered once; it stays assumed until somebody finds out."""
        late = [
            placed
            for uid in self._assumed
            if (placed := self._placed[uid]).deadline is not None and placed.deadline <= now
        ]
        for placed in late:
            placed.deadline = None
        return [placed.info for placed in late]

    @property
    def assumed_count(self) -> int:
        """Pods that were given a node and are not seen bound yet."""
        return len(self._assumed)

    # --- accounting ------------------------------------------------------------------------

    def _enter(self, info: PodInfo, row: int, assumed: bool) -> None:
        self._placed[info.uid] = _Placed(info, row, assumed)
        if assumed:
            self._assumed[info.uid] = None
        self.account(info, row, 1)

    def _leave(self, placed: _Placed) -> None:
        uid, row = placed.info.uid, placed.row
        del self._placed[uid]
        self._assumed.pop(uid, None)
        self.account(placed.info, row, -1)
        if not self._on_row.get(row) and not self.table.alive[row]:
            self.table.drop(row)

    def account(self, info: PodInfo, row: int, sign: int) -> None:
        """Book a pod in (1) or out (-1) of a row, without changing who is known to be where."""
        cls = info.cls
        self.table.take(row, cls.requests, cls.scoring_cpu, cls.scoring_memory, sign)
        self.tallies.add(cls, info.terminating, row, sign, self.table.capacity)
        pods = self._on_row.get(row)
        if sign > 0:
            if pods is None:
                pods = self._on_row[row] = {}
            pods[info.uid] = info
        elif pods is not None:
            pods.pop(info.uid, None)
            if not pods:
                del self._on_row[row]
        if cls.ports:
            self._account_ports(cls.ports, row, sign)
        if cls.volumes:
            self._account_claims(info, row, sign)

    def _account_ports(self, ports: tuple[tuple[str, str, int], ...], row: int, sign: int) -> None:
        for ip, protocol, port in ports:
            rows = self.ports.setdefault((protocol, port), {}).setdefault(ip, {})
            number = rows.get(row, 0) + sign
            if number > 0:
                rows[row] = number
            else:
                rows.pop(row, None)

    def _account_claims(self, info: PodInfo, row: int, sign: int) -> None:
        for name in claim_names(info):
            users = self.claim_users.setdefault(f"{info.namespace}/{name}", {})
            if sign > 0:
                users[info.uid] = row
            else:
                users.pop(info.uid, None)

    def suppose(self, row: int) -> Supposition:
        """Begin to suppose things of a row; `undo` ends it."""
        return Supposition(self, row)

    @contextmanager
    def supposing(
        self, row: int, without: list[PodInfo] | None = None, with_: list[PodInfo] | None = None
    ) -> Iterator[Supposition]:
        """Within the block the row lacks and has the given pods; afterwards all is as before."""
        supposition = Supposition(self, row)
        for info in without or ():
            supposition.take_out(info)
        for info in with_ or ():
            supposition.put_in(info)
        try:
            yield supposition
        finally:
            supposition.undo()


class Supposition:
    """Changes to one row that will be undone."""

    def __init__(self, cache: Cache, row: int) -> None:
        self.cache = cache
        self.row = row
        self._order = list(cache.pods_on(row).values())
        self._out: dict[str, PodInfo] = {}
        self._in: dict[str, PodInfo] = {}

    def take_out(self, info: PodInfo) -> None:
        """Suppose a pod of the row were not there."""
        self.cache.account(info, self.row, -1)
        self._out[info.uid] = info

    def put_back(self, info: PodInfo) -> None:
        """A pod that was taken out is there after all."""
        self.cache.account(info, self.row, 1)
        del self._out[info.uid]

    def put_in(self, info: PodInfo) -> None:
        """Suppose another pod were on the row."""
        self.cache.account(info, self.row, 1)
        self._in[info.uid] = info

    def undo(self) -> None:
        for info in self._in.values():
            self.cache.account(info, self.row, -1)
        for info in self._out.values():
            self.cache.account(info, self.row, 1)
        if self._out:
            pods = self.cache._on_row[self.row]
            for info in self._order:
                pods[info.uid] = pods.pop(info.uid)


def claim_names(info: PodInfo) -> list[str]:
    """Names of the volume claims a pod uses, generic ephemeral volumes included."""
    found = []
    for volume in info.cls.volumes:
        claim = volume.get("persistentVolumeClaim")
        if claim:
            found.append(claim.get("claimName") or "")
        elif "ephemeral" in volume:
            found.append(f"{info.name}-{volume.get('name', '')}")
    return found
