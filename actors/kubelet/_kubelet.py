"""The kubelet: the agent of one node.

Owns which pods the node has: it watches the pods bound to it, has a worker (`_pod.Pod`) for each,
passes on what the runtime says of their containers, and reads for them what only the API knows. It
never runs a container itself and never decides where a pod goes.

After a crash it is made anew: it lists its pods, asks the runtime what runs, and the workers take
that up; no container is restarted for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from actors.client import Client, EventRecorder, Informer
from actors.kernel import Child, Future, Ref, handles
from actors.kubelet._admission import Admission, allocated, resources_by_name
from actors.kubelet._config import KubeletConfig
from actors.kubelet._context import NodeContext
from actors.kubelet._devicing import Devicing
from actors.kubelet._heartbeat import Tick
from actors.kubelet._messages import (
    ConsiderResize,
    Evict,
    GetObject,
    GetServices,
    GetToken,
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
MAX_QUEUED_EVENTS = 1000
MAX_CACHED = 1000
EVENTS_REST_S = 2.0
EVENTS_PERIOD_S = 0.5
SERVICES_TTL_S = 2.0
STALE_AFTER_S = 1.0
TOKEN_REFRESH = 0.8
NODE_TTL_S = 10.0
"""How old what is known of the Node may be for pods that no scheduler bound."""
PREEMPTED = "Preempted in order to admit critical pod"
PREEMPTED_FOR = "Pod was preempted by Kubelet to accommodate a critical pod."


class Begin(Message, frozen=True):
    """The runtime is known: join the cluster."""


class MoreEvents(Message, frozen=True):
    """Events wait, and may be recorded again."""


class Kubelet(Devicing):
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
        self.node_informer = Informer(
            self.client,
            "nodes",
            field_selector=f"metadata.name={node_name}",
            on_add=lambda node: self._node_seen(node),
            on_update=lambda _, node: self._node_seen(node),
        )
        self.admission = Admission(self.config)
        self.deferred: dict[str, int] = {}  # uid -> priority of pods whose resize waits for room
        self.preempting: dict[str, set[str]] = {}  # uid of a critical pod -> pods that make room for it
        self.node_read_at = 0.0
        self.found_sandboxes: set[str] = set()
        self.objects: dict[tuple[str, str, str], tuple[float, Object | None]] = {}
        self.fetching: dict[tuple[str, str, str], Future[Any]] = {}
        self.services: dict[str, tuple[float, list[Object]]] = {}
        self.tokens: dict[GetToken, tuple[float, str]] = {}
        self.event_queue: deque[PodEvent] = deque()
        self.event_tokens = float(self.config.event_burst)
        self.event_tokens_at = 0.0
        self.events_due = False
        self.events_dropped = 0
        self.begin_heartbeat()
        self.begin_static()
        self.begin_relief()
        self.begin_tidying()
        self.begin_devices()

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
            self.node_informer.start()
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

    # -- what workers ask of the API

    @handles(GetObject)
    def get_object(self, message: GetObject) -> Any:
        """From the cache, or as soon as one request for it has been answered."""
        key = (message.kind, message.namespace, message.name)
        known = self.objects.get(key)
        if known is not None and not message.fresh and self.clock.monotonic() - known[0] < self.config.object_ttl_s:
            return known[1]
        return self._shared(key, lambda: self._fetch(key), None if known is None else known[1])

    def _shared(self, key: tuple[str, str, str], fetch: Callable[[], Any], stale: Any) -> Any:
        """One request for all that ask at the same time. What was known before is good enough when
        the API server does not answer soon: pods must go on without it."""
        under_way = self.fetching.get(key)
        if under_way is None:
            under_way = self.background(fetch())
            if not under_way.done:
                self.fetching[key] = under_way
                under_way.add_callback(lambda _: self.fetching.pop(key, None))
        return under_way if stale is None else self.background(self._or_stale(under_way, stale))

    async def _or_stale(self, under_way: Future[Any], stale: Any) -> Any:
        answer: Future[Any] = Future()

        def first(value: Any) -> None:
            if not answer.done:
                answer.resolve(value)

        under_way.add_callback(lambda f: first(stale if f.exception() else f.result()))
        timer = self.system.after(STALE_AFTER_S, lambda: first(stale))
        found = await answer
        timer.cancel()
        return found

    def _remember(self, cache: dict[Any, Any], key: Any, value: Any) -> None:
        """Keep what was read, with the time; of very many the one that was read first is forgotten."""
        cache.pop(key, None)
        if len(cache) >= MAX_CACHED:
            del cache[next(iter(cache))]
        cache[key] = (self.clock.monotonic(), value)

    async def _fetch(self, key: tuple[str, str, str]) -> Object | None:
        kind, namespace, name = key
        try:
            obj: Object | None = await self.client.get(
                "configmaps" if kind == "ConfigMap" else "secrets", name, namespace
            )
        except StatusError as error:
            # A node may see only what its pods use: 403 until the API server knows of the binding.
            if error.code not in (403, 404):
                raise
            obj = None
        if obj is not None:
            self._remember(self.objects, key, obj)
        else:
            self.objects.pop(key, None)
        return obj

    @handles(GetServices)
    def get_services(self, message: GetServices) -> Any:
        known = self.services.get(message.namespace)
        if known is not None and self.clock.monotonic() - known[0] < SERVICES_TTL_S:
            return known[1]
        namespace = message.namespace
        return self._shared(
            ("Service", namespace, ""), lambda: self._fetch_services(namespace), None if known is None else known[1]
        )

    async def _fetch_services(self, namespace: str) -> list[Object]:
        found: list[Object] = []
        try:
            found = list((await self.client.list("services", namespace, resourceVersion="0")).get("items") or ())
            if namespace != "default":
                found.append(await self.client.get("services", "kubernetes", "default"))
        except StatusError as error:
            self.log.debug("services_unknown", error=error.message)
        self._remember(self.services, namespace, found)
        return found

    @handles(GetToken, serial=lambda m: m)
    async def get_token(self, message: GetToken) -> str:
        now = self.clock.monotonic()
        known = self.tokens.get(message)
        if known is not None and now < known[0]:
            return known[1]
        spec: Object = {
            "expirationSeconds": message.seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": message.pod_name, "uid": message.pod_uid},
        }
        if message.audience:
            spec["audiences"] = [message.audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.client.create(
            "serviceaccounts", body, message.namespace, name=message.service_account, subresource="token"
        )
        token = str(answer["status"]["token"])
        self.tokens[message] = (now + message.seconds * TOKEN_REFRESH, token)
        return token

    # -- events, within the rate that a kubelet allows itself

    @handles(PodEvent)
    def pod_event(self, message: PodEvent) -> None:
        """The first few at once; of a flood the rest a little later, so that the statuses of many
        pods that start together reach the API before the story of how they did."""
        now = self.clock.monotonic()
        qps, burst = self.config.event_qps, float(self.config.event_burst)
        self.event_tokens = min(burst, self.event_tokens + (now - self.event_tokens_at) * qps)
        self.event_tokens_at = now
        if self.event_tokens >= 1.0 and not self.events_due:
            self.event_tokens -= 1.0
            self._record(message)
        elif len(self.event_queue) >= MAX_QUEUED_EVENTS:
            self.events_dropped += 1
        else:
            self.event_queue.append(message)
            if not self.events_due:
                self.events_due = True
                self.after(EVENTS_REST_S, MoreEvents())

    @handles(MoreEvents)
    def more_events(self, message: MoreEvents) -> None:
        for _ in range(min(len(self.event_queue), max(1, int(self.config.event_qps * EVENTS_PERIOD_S)))):
            self._record(self.event_queue.popleft())
        self.event_tokens_at = self.clock.monotonic()
        self.events_due = bool(self.event_queue)
        if self.events_due:
            self.after(EVENTS_PERIOD_S, MoreEvents())

    def _record(self, event: PodEvent) -> None:
        self.recorder.event(_typed(event.pod), event.type, event.reason, event.message, field_path=event.field_path)

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


def _typed(pod: Object) -> Object:
    return pod if "kind" in pod else {"apiVersion": "v1", "kind": "Pod", **pod}
