"""A traced cluster's messages as a story: who did what, in order, about the objects that matter.

It follows the objects whose names it is given and, of the pods, only the first ones, since the
others do the same; it knows the runtime's ids of the pods that it follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.kernel import TraceRecord
from cli._narrate import component, narrate
from protocol import cri
from protocol.api import ApiRequest
from protocol.etcd import Txn

__all__ = ["Line", "Story"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: seconds since the epoch, who, and what they did."""

    time_s: float
    who: str
    what: str


@dataclass
class Story:
    """Hears trace records and keeps the lines about `names` (object names) until `take()`.

    `pods`: how many pods to follow from their binding on. `on_line` hears each line at once.
    """

    names: set[str]
    pods: int = 1
    on_line: Callable[[Line], None] | None = None
    lines: list[Line] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    _ids: dict[str, str] = field(default_factory=dict)
    _asked: dict[int, str] = field(default_factory=dict)
    _said: set[tuple[str, str]] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def hear(self, record: TraceRecord) -> None:
        """Take one record of the tracer."""
        who = component(record.sender)
        self.counts[who] = self.counts.get(who, 0) + 1
        if record.kind == "reply":
            self._learn(record)
            return
        what = narrate(record)
        if what is None or not self._concerns(record):
            return
        if (who, what) in self._said:
            return
        self._said.add((who, what))
        line = Line(record.time_s, who, what)
        self.lines.append(line)
        if self.on_line is not None:
            self.on_line(line)

    def take(self) -> list[Line]:
        """The lines so far; the next call gives what came after."""
        lines, self.lines = self.lines, []
        self._said.clear()
        return lines

    def follow(self, pod: str) -> None:
        """This pod matters too."""
        if pod not in self.followed:
            self.followed.append(pod)

    def _concerns(self, record: TraceRecord) -> bool:
        message = record.message
        if isinstance(message, ApiRequest):
            return self._request_concerns(message)
        if isinstance(message, Txn):
            key = getattr(message.success[0], "key", b"").decode(errors="replace").rpartition("/")[2]
            return self._known(key)
        pod = self._pod_of(message)
        if pod in self.followed and "/runtime/" not in record.receiver:
            self._asked[record.id] = pod
            return True
        return False

    def _request_concerns(self, request: ApiRequest) -> bool:
        name = request.name
        meta = request.body.get("metadata") if isinstance(request.body, dict) else None
        if not name and meta:
            name = str(meta.get("name") or meta.get("generateName") or "")
        if request.resource.resource == "pods":
            if request.verb == "create" and not request.subresource:
                return any(name.startswith(known) for known in self.names)
            if request.subresource == "binding" and len(self.followed) < self.pods and self._known(name, prefix=True):
                self.follow(name)
            return name in self.followed
        return self._known(name, prefix=request.resource.resource in ("replicasets", "endpointslices"))

    def _known(self, name: str, prefix: bool = False) -> bool:
        if name in self.names or name in self.followed:
            return True
        return prefix and any(name.startswith(f"{known}-") for known in self.names)

    def _pod_of(self, message: Any) -> str:
        if isinstance(message, cri.RunPodSandbox):
            return message.config.name
        if isinstance(message, cri.PullImage):
            return getattr(getattr(message, "sandbox_config", None), "name", "")
        for attribute in ("pod_sandbox_id", "container_id"):
            identity = getattr(message, attribute, "")
            if identity in self._ids:
                return self._ids[identity]
        return ""

    def _learn(self, record: TraceRecord) -> None:
        """A runtime's answer tells an id of a pod that is followed."""
        pod = self._asked.get(record.cause)
        message = record.message
        if pod is None:
            return
        if isinstance(message, cri.RunPodSandboxResponse):
            self._ids[message.pod_sandbox_id] = pod
        elif isinstance(message, cri.CreateContainerResponse):
            self._ids[message.container_id] = pod
