"""The kubelet: the agent of one node.

Owns which pods the node has: it watches the pods bound to it, has a worker (`_pod.Pod`) for each,
passes on what the runtime says of their containers, and reads for them what only the API knows. It
never runs a container itself and never decides where a pod goes.

After a crash it is made anew: it lists its pods, asks the runtime what runs, and the workers take
that up; no container is restarted for it.
"""

from __future__ import annotations

from typing import Any

from actors.client import Client, EventRecorder, Informer
from actors.kernel import Child, Ref, handles
from actors.kubelet._admission import Admission, allocated, resources_by_name
from actors.kubelet._config import KubeletConfig
from actors.kubelet._context import NodeContext
from actors.kubelet._heartbeat import Tick
from actors.kubelet._lookups import Lookups
from actors.kubelet._messages import (
    ConsiderResize,
    Evict,
    PodEvent,
    PodRemoved,
    PodUpdated,
    Resize,
    WorkerGone,
)
from actors.kubelet._pod import Pod
from actors.kubelet._spec import is_static, is_terminal
from actors.kubelet._static import is_mirror
from actors.kubelet._worker_base import node_user
from protocol.api import StatusError
from protocol.cri import (
    ContainerEvent,
    GetContainerEvents,
    ListPodSandbox,
    ProcessEntry,
    RemovePodSandbox,
)
from protocol.message import Message
from protocol.node import (
    NodeAnswer,
    NodeCall,
    NodeDisconnected,
    NodeGet,
    NodeResponse,
    PodAttach,
    PodCgroups,
    PodExec,
    PodLogs,
    PodPortForward,
    PodProcesses,
    PodRun,
    StreamOpened,
)

__all__ = ["Kubelet"]

Object = dict[str, Any]
NODE_TTL_S = 10.0
"""How old what is known of the Node may be for pods that no scheduler bound."""
PREEMPTED = "Preempted in order to admit critical pod"
PREEMPTED_FOR = "Pod was preempted by Kubelet to accommodate a critical pod."


class Begin(Message, frozen=True):
    """The runtime is known: join the cluster."""


class Kubelet(Lookups):
    """See the module."""

    def __init__(
        self,
        node_name: str,
        apiserver: Ref,
        runtime: Ref,
        config: KubeletConfig | None = None,
        files: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.files = {} if files is None else files
        self.config = config or KubeletConfig()
        self.node = NodeContext(node_name, apiserver, runtime, self.ref, self.config)
        self.client = Client(self, apiserver, user=node_user(self.node), user_agent=self.config.user_agent)
        self.recorder = EventRecorder(self.client, "kubelet", node_name)
        self.informer = Informer(
            self.client,
            "pods",
            field_selector=f"spec.nodeName={node_name}",
            on_add=self._added,
            on_update=self._changed,
            on_delete=self._deleted,
        )
        self.admission = Admission(self.config)
        self.deferred: dict[str, int] = {}  # uid -> priority of pods whose resize waits for room
        self.preempting: dict[str, set[str]] = {}  # uid of a critical pod -> pods that make room for it
        self.node_read_at = 0.0
        self.found_sandboxes: set[str] = set()
        self.begin_heartbeat()
        self.begin_static()
        self.begin_relief()
        self.begin_tidying()
        self.begin_devices()
        self.begin_lookups()

    async def on_start(self) -> None:  # type: ignore[override]
        """Runtime first, so that no end of a container is missed; then the API, in the background."""
        await self.learn_runtime()
        await self.ask(self.node.runtime, GetContainerEvents(self.ref))
        found = await self.ask(self.node.runtime, ListPodSandbox())
        self.found_sandboxes = {s.uid for s in found}
        await self.start_devices()
        await self.start_static()
        self.ref.tell(Begin())

    @handles(Begin)
    async def begin(self, message: Begin) -> None:
        """Join the cluster. What goes wrong here crashes this actor, and it starts anew."""
        await self.register()
        if self.config.watch_node:
            watched = Informer(
                self.client,
                "nodes",
                field_selector=f"metadata.name={self.node.name}",
                on_add=lambda node: self._node_seen(node),
                on_update=lambda _, node: self._node_seen(node),
            )
            watched.start()
        self.tell_begin()
        period_s = self.config.lease_renew_s
        if self.config.pods:
            self.informer.start()
            await self.informer.synced()
            self.informer_ready = True
            self.give_back_of_the_lost()
            self.mirror()
        for sandbox in await self.ask(self.node.runtime, ListPodSandbox()):
            if sandbox.uid not in self.node.pods:
                self.ask(self.node.runtime, RemovePodSandbox(sandbox.id))
        await self.sleep(period_s * self.random.random())  # heartbeats of many nodes spread out
        self.every(period_s, Tick())
        await self.beat()

    def on_stop(self) -> None:
        self.node.apiserver.tell(NodeDisconnected(self.node.name, self.ref))

    @handles(Tick)
    async def tick(self, message: Tick) -> None:
        await self.beat()
        self.forget_old_devices()
        await self.relieve()
        await self.tidy()

    def _node_seen(self, node: Object) -> None:
        self.node_object = node
        self.node_read_at = self.clock.monotonic()
        self.node_seen(node)

    # -- pods

    def _added(self, pod: Object) -> None:
        if is_mirror(pod):
            self.mirror_seen(pod)
            return
        uid = pod["metadata"]["uid"]
        if uid in self.node.workers:
            self._changed(pod, pod)
            return
        if not self.admission.selects(pod, self.node_object) or (not _was_scheduled(pod) and self._node_is_old()):
            if uid not in self.node.pods:  # the Node may have got labels and taints since it was read
                self.node.pods[uid] = pod
                self.background(self._look_at_node_then_add(uid))
            return
        if self.asks_plugins(pod) and uid not in self.found_sandboxes and not is_terminal(pod):
            if uid not in self.node.pods:
                self.node.pods[uid] = pod
                self.background(self._reserve_then_take(uid))
            return
        self._take(pod)

    async def _reserve_then_take(self, uid: str) -> None:
        refusal = await self.reserve_from_plugins(self.node.pods[uid])
        pod = self.node.pods.get(uid)
        if pod is None:
            self.give_back(uid)
        elif uid not in self.node.workers:
            self._take(pod, refusal)

    def _node_is_old(self) -> bool:
        """Whether so much time has passed since the Node was read that its taints may be others."""
        return self.clock.monotonic() - max(self.status_at, self.node_read_at) > NODE_TTL_S

    async def _look_at_node_then_add(self, uid: str) -> None:
        self.node_read_at = self.clock.monotonic()
        try:
            self.node_object = await self.client.get("nodes", self.node.name)
        except StatusError as error:
            self.log.info("node_not_read", error=error.message)
        pod = self.node.pods.get(uid)
        if pod is not None and uid not in self.node.workers:
            self._take(pod)

    def _take(self, pod: Object, refusal: tuple[str, str] | None = None) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self.preempting:
            self.node.pods[uid] = pod
            return
        recovering = uid in self.found_sandboxes or uid in self.node.allocations
        self.found_sandboxes.discard(uid)
        if is_terminal(pod) and not recovering and not pod["metadata"].get("deletionTimestamp"):
            self.node.pods[uid] = pod
            recovering = True
        self.node.pods[uid] = pod
        if not recovering:
            refusal = refusal or self.reserve(pod)
        if not recovering and refusal is None:
            refusal = self.admission.admit(pod, self.node_object, self.pressures, is_static(pod), self.node.features)
            if refusal is not None:
                self.give_back(uid)
            if refusal is not None and self._make_room(pod):
                self.node.tallies.preemptions[refusal[0].removeprefix("OutOf")] += 1
                return
            elif refusal is None:
                resources = resources_by_name(pod)
                if any(resources.values()):
                    self.allocate(uid, resources)
        elif recovering and not is_terminal(pod):
            self.admission.hold(allocated(pod, self.node.allocations.get(uid)))
        fresh = [not recovering and not (pod.get("status") or {}).get("startTime")]

        def make() -> Pod:
            recover = not fresh[0]
            fresh[0] = False
            return Pod(self.node, uid, recover, refusal)

        meta = pod["metadata"]
        name = f"{meta.get('namespace', '')}.{meta['name']}.{uid[:8]}"
        self.node.workers[uid] = self.spawn(Child(name, make, intensity=100))
        if refusal is not None:
            self.node.tallies.rejections[refusal[0]] += 1
            if self.config.events:
                self.pod_event(PodEvent(pod, "Warning", *refusal))

    def _make_room(self, pod: Object) -> bool:
        """Whether others are being sent away for a critical pod, which is looked at again after that."""
        victims = set(self.admission.room(pod, self.node.pods)) & set(self.node.workers)
        if not victims:
            return False
        uid = pod["metadata"]["uid"]
        self.preempting[uid] = victims
        for victim in sorted(victims):
            self.node.workers[victim].tell(Evict("Preempting", PREEMPTED, 0, PREEMPTED_FOR))
        return True

    def _changed(self, old: Object, pod: Object) -> None:
        if is_mirror(pod):
            self.mirror_seen(pod)
            return
        uid = pod["metadata"]["uid"]
        worker = self.node.workers.get(uid)
        if worker is None:
            if uid in self.node.pods:
                self.node.pods[uid] = pod
            else:
                self._added(pod)
            return
        self.node.pods[uid] = pod
        if is_terminal(pod):
            self._room(uid)
        worker.tell(PodUpdated(pod))

    def _deleted(self, pod: Object) -> None:
        if is_mirror(pod):
            self.mirror_gone(pod)
            return
        self.preempting.pop(pod["metadata"]["uid"], None)
        worker = self.node.workers.get(pod["metadata"]["uid"])
        if worker is not None:
            self.node.removed.add(pod["metadata"]["uid"])
            worker.tell(PodRemoved())
        else:
            self.node.pods.forget(pod["metadata"]["uid"])

    def _room(self, uid: str) -> None:
        """A pod needs no room any more: resizes that wait for some look again."""
        self.admission.release(uid)
        self.give_back(uid)
        self.deferred.pop(uid, None)
        self._look_again()
        for critical in [c for c, victims in self.preempting.items() if uid in victims]:
            self.preempting[critical].discard(uid)
            pod = self.node.pods.get(critical)
            if not self.preempting[critical]:
                del self.preempting[critical]
                if pod is not None:
                    self._take(pod)

    def _look_again(self) -> None:
        for waiting, _ in sorted(self.deferred.items(), key=lambda item: -item[1]):
            worker = self.node.workers.get(waiting)
            if worker is not None:
                worker.tell(ConsiderResize())

    @handles(Resize)
    def resize(self, message: Resize) -> tuple[str, str] | None:
        """Whether there is room; less than before makes room for others."""
        refusal = self.admission.resize(message.pod)
        self.deferred.pop(message.uid, None)
        if refusal is None:
            self._look_again()
        elif refusal[0] == "Deferred":
            self.deferred[message.uid] = int(message.pod["spec"].get("priority") or 0)
        return refusal

    @handles(WorkerGone)
    def worker_gone(self, message: WorkerGone) -> None:
        self.node.workers.pop(message.uid, None)
        pod = self.node.pods.forget(message.uid)
        self.node.claims.pop(message.uid, None)
        self.allocate(message.uid, None)
        self.node.removed.discard(message.uid)
        self.evicted.discard(message.uid)
        self._room(message.uid)
        for request in [r for r in self.tokens if r.pod_uid == message.uid]:
            del self.tokens[request]
        self.static_gone(message.uid, pod)

    @handles(ContainerEvent)
    def container_event(self, message: ContainerEvent) -> None:
        worker = self.node.workers.get(message.status.pod_uid)
        if worker is not None:
            worker.tell(message)

    # -- what the API server asks

    @handles(PodLogs)
    async def pod_logs(self, message: PodLogs) -> Any:
        return await self.logs(message)

    @handles(PodExec)
    async def pod_exec(self, message: PodExec) -> StreamOpened:
        return await self.exec_in(message)

    @handles(PodAttach)
    async def pod_attach(self, message: PodAttach) -> StreamOpened:
        return await self.attach_to(message)

    @handles(PodPortForward)
    async def pod_port_forward(self, message: PodPortForward) -> StreamOpened:
        return await self.forward(message)

    @handles(NodeGet)
    async def node_get(self, message: NodeGet) -> NodeResponse:
        return await self.api_path(message)

    @handles(NodeCall)
    async def node_call(self, message: NodeCall) -> NodeAnswer:
        """A request for this kubelet's own API that the API server has allowed."""
        return await self.api_call(message.call)

    @handles(PodCgroups)
    def pod_cgroups(self, message: PodCgroups) -> dict[str, dict[str, dict[str, str]]]:
        return self.cgroups(message)

    @handles(PodRun)
    async def pod_run(self, message: PodRun) -> bytes:
        return await self.run_in(message)

    @handles(PodProcesses)
    async def pod_processes(self, message: PodProcesses) -> tuple[ProcessEntry, ...]:
        return await self.processes(message)


def _was_scheduled(pod: Object) -> bool:
    """Whether a scheduler bound it, who knows the Node, and not its maker."""
    return any(c["type"] == "PodScheduled" for c in (pod.get("status") or {}).get("conditions") or ())
