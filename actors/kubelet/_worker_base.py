"""State and small helpers that the parts of a pod's worker share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from typing import Any

from actors.client import Client
from actors.kernel import Actor, Future
from actors.kubelet._backoff import Backoff
from actors.kubelet._context import NodeContext
from actors.kubelet._messages import GetObject, Kick, PodEvent
from actors.kubelet._plan import Member
from actors.kubelet._spec import INIT, MAIN, SIDECAR, container_kinds
from actors.kubelet._status import PodFacts
from protocol.api import ADMIN, UserInfo

__all__ = ["WorkerBase", "node_user"]

Object = dict[str, Any]
STATIC = "kubernetes.io/config.hash"


def node_user(node: NodeContext) -> UserInfo:
    """Who the kubelet is to the API server."""
    if node.config.admin:
        return ADMIN
    return UserInfo(f"system:node:{node.name}", ("system:nodes", "system:authenticated"))


class WorkerBase(Actor):
    """What `_pod.Pod` is made of; see there."""

    def __init__(self, node: NodeContext, uid: str, recover: bool, refusal: tuple[str, str] | None = None) -> None:
        super().__init__()
        self.node = node
        self.uid = uid
        self.recover = recover
        self.pod: Object = node.pods[uid]
        config = node.config
        self.client = Client(self, node.apiserver, user=node_user(node), user_agent=config.user_agent)
        self.backoff = Backoff(max_s=config.crash_loop_max_s)
        self.members: list[Member] = []
        self.facts = PodFacts(config.node_ips, node.prefix)
        self.sandbox_id = ""
        self.sandbox_attempt = 0
        self.old_sandboxes: list[str] = []
        self.previous_ids: dict[str, str] = {}
        # the loop that does the work
        self.working = False
        self.again = False
        self.wake: Any = None
        self.wake_at = 0.0
        self.sync_failures = 0
        self.mount_failures = 0
        self.gone = uid in node.removed
        self.ending = False
        self.grace_s = 0.0
        self.done = False
        # reporting
        self.sent: int | None = None
        self.writing = False
        self.held = False
        self.deadline_timer: Any = None
        self.noted = recover
        self.unsure: set[str] = set()  # containers of which nobody knows whether the runtime was told of a change
        self.probed: Counter[tuple[str, str, str]] | None = None  # (container, kind of probe, result)
        self._make_members()
        self.facts.level = self.pod["spec"].get("resources")
        if refusal is not None:  # the node does not take the pod: nothing of it is ever begun
            self.facts.rejected = True
            self.facts.reason, self.facts.message = refusal[0], f"Pod was rejected: {refusal[1]}"

    def _make_members(self) -> None:
        """Records for the containers of the spec that have none (ephemeral ones come later)."""
        known = {m.name for m in self.members}
        for index, (kind, spec) in enumerate(container_kinds(self.pod)):
            if spec["name"] not in known:
                self.members.append(Member(kind, index, spec))

    def aside(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Do something beside the loop; what goes wrong is logged, and the loop looks again."""
        self.background(coroutine).add_callback(self._aside_done)

    def _aside_done(self, future: Future[Any]) -> None:
        error = future.exception()
        if error is not None and not self.done:
            self.log.warning("pod_task_failed", pod=self.full_name(), error=repr(error))
            self.ref.tell(Kick())

    def member(self, name: str) -> Member | None:
        """The record of a container."""
        return next((m for m in self.members if m.name == name), None)

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return str(self.pod["metadata"].get("namespace", ""))

    @property
    def pod_name(self) -> str:
        """The pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def is_static(self) -> bool:
        """Whether the pod comes from a manifest on the machine."""
        return STATIC in (self.pod["metadata"].get("annotations") or {})

    def full_name(self) -> str:
        """As the kubelet prints pods: `web_default(uid)`."""
        return f"{self.pod_name}_{self.namespace}({self.uid})"

    def record(self, event_type: str, reason: str, message: str, member: Member | None = None) -> None:
        """Record an event about the pod or one of its containers."""
        if not self.node.config.events:
            return
        path = ""
        if member is not None:
            group = {INIT: "initContainers", SIDECAR: "initContainers", MAIN: "containers"}.get(
                member.kind, "ephemeralContainers"
            )
            path = f"spec.{group}{{{member.name}}}"
        self.node.kubelet.tell(PodEvent(self.pod, event_type, reason, message, path))

    async def objects(self, wanted: set[tuple[str, str]], fresh: bool = False) -> dict[tuple[str, str], Object | None]:
        """ConfigMaps and Secrets by (kind, name)."""
        found: dict[tuple[str, str], Object | None] = {}
        for kind, name in sorted(wanted):
            found[kind, name] = await self.ask(self.node.kubelet, GetObject(kind, self.namespace, name, fresh))
        return found
