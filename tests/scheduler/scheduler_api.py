"""An API server for the scheduler's tests, small enough to be told to misbehave.

It stores, watches, binds (once), patches and deletes; `faults` are functions that see each request
first and may raise, delay or swallow it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.kernel import Actor, Child, Ref, Simulation, handles
from actors.scheduler import Scheduler, SchedulerConfig
from protocol import status
from protocol.api import ApiRequest, CancelWatch, Hold, WatchEvent, WatchEvents
from protocol.objects import mutable
from protocol.scheduler import SchedulerStatistics

Object = dict[str, Any]


class Drop(Exception):
    """Raised by a fault: carry the request out, but never answer."""


class Late(Exception):
    """Raised by a fault: carry the request out after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class FakeApi(Actor):
    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state

    @handles(Hold)
    async def hold(self, message: Hold) -> None:
        await self.sleep(1e9)

    @handles(CancelWatch)
    def cancel(self, message: CancelWatch) -> None:
        self.state.watches.pop((message.watcher.actor_urn, message.watch_id), None)

    @handles(ApiRequest)
    async def request(self, message: ApiRequest) -> Any:
        lose = False
        for fault in list(self.state.faults):
            try:
                fault(message)
            except Drop:
                lose = True
            except Late as late:
                await self.sleep(late.seconds)
        answer = self.state.serve(message)
        if lose:
            await self.sleep(1e9)
        return answer


class State:
    """What is stored; outlives a crash of the actor."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {}
        self.version = 0
        self.watches: dict[tuple[str, int], list[Any]] = {}
        self.faults: list[Callable[[ApiRequest], None]] = []
        self.bindings: list[tuple[str, str]] = []

    def of(self, resource: str) -> dict[str, Object]:
        return self.objects.setdefault(resource, {})

    def put(self, resource: str, obj: Object, kind: str = "MODIFIED") -> Object:
        self.version += 1
        meta = {**obj["metadata"], "resourceVersion": str(self.version)}
        meta.setdefault("uid", f"uid-{meta['name']}-{self.version}")
        obj = {**obj, "metadata": meta}
        self.of(resource)[self.key(obj)] = obj
        self.tell(resource, kind, obj)
        return obj

    def remove(self, resource: str, key: str) -> None:
        self.version += 1
        self.tell(resource, "DELETED", self.of(resource).pop(key))

    def tell(self, resource: str, kind: str, obj: Object) -> None:
        for (_, number), watch in self.watches.items():
            if watch[0] == resource:
                watch[1].tell(WatchEvents(number, watch[2], (WatchEvent(kind, obj),)))
                watch[2] += 1

    @staticmethod
    def key(obj: Object) -> str:
        meta = obj["metadata"]
        return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]

    def serve(self, message: ApiRequest) -> Any:
        resource = message.resource.resource
        key = f"{message.namespace}/{message.name}" if message.namespace else message.name
        if message.verb == "list":
            return {"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": list(self.of(resource).values())}
        if message.verb == "watch":
            assert message.watcher is not None
            self.watches[(message.watcher.actor_urn, message.watch_id)] = [resource, message.watcher, 0]
            return None
        if message.verb == "create" and message.subresource == "binding":
            return self.bind(key, message.body)
        if message.verb == "create":
            return self.put(resource, message.body, "ADDED")
        old = self.of(resource).get(key)
        if old is None:
            raise status.not_found(message.resource.group, resource, message.name)
        if message.verb == "get":
            return old
        if message.verb == "delete":
            self.remove(resource, key)
            return old
        if message.verb == "update":
            return self.put(resource, message.body)
        return self.put(resource, self.patched(old, message.body))

    @staticmethod
    def patched(old: Object, patch: Object) -> Object:
        """As far as the scheduler patches: conditions by type, other status fields, annotations."""
        new = mutable(old)
        for name, value in (patch.get("status") or {}).items():
            if name == "conditions":
                kept = {c["type"]: c for c in new.setdefault("status", {}).get("conditions", [])}
                kept.update({c["type"]: {k: v for k, v in c.items() if v is not None} for c in value})
                new["status"]["conditions"] = list(kept.values())
            elif value is None:
                new.setdefault("status", {}).pop(name, None)
            else:
                new.setdefault("status", {})[name] = value
        for name, value in ((patch.get("metadata") or {}).get("annotations") or {}).items():
            new["metadata"].setdefault("annotations", {})[name] = value
        return new

    def bind(self, key: str, binding: Object) -> Object:
        pod = self.of("pods").get(key)
        if pod is None:
            raise status.not_found("", "pods", key)
        if pod["spec"].get("nodeName"):
            raise status.conflict("", "pods/binding", key, f"pod {key} is already assigned to node")
        node = binding["target"]["name"]
        self.bindings.append((key, node))
        conditions = [c for c in (pod.get("status") or {}).get("conditions", []) if c["type"] != "PodScheduled"]
        conditions.append({"type": "PodScheduled", "status": "True"})
        self.put("pods", {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": {**(pod.get("status") or {}), "conditions": conditions}})
        return {"kind": "Status", "status": "Success"}


class World:
    """A simulation with this API server and a scheduler."""

    def __init__(self, config: SchedulerConfig | None = None, seed: int = 0) -> None:
        self.sim = Simulation(seed=seed)
        self.state = State()
        self.state.put("namespaces", {"metadata": {"name": "default", "labels": {}}}, "ADDED")
        self.api: Ref = self.sim.spawn(Child("api", lambda: FakeApi(self.state)))
        self.scheduler: Ref = self.sim.spawn(Child("scheduler", lambda: Scheduler(self.api, config)))
        self.sim.advance(1)

    def node(self, name: str, cpu: str = "2", memory: str = "4Gi", pods: str = "10", labels: dict[str, str] | None = None, taints: list[Object] | None = None) -> None:
        self.state.put(
            "nodes",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
                "spec": {"taints": taints} if taints else {},
                "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}},
            },
            "ADDED",
        )

    def pod(self, name: str, cpu: str = "", labels: dict[str, str] | None = None, priority: int = 0, **spec: Any) -> Object:
        resources = {"requests": {"cpu": cpu}} if cpu else {}
        return self.state.put(
            "pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
                "spec": {"schedulerName": "default-scheduler", "priority": priority, "containers": [{"name": "c", "image": "nginx", "resources": resources}], **spec},
                "status": {},
            },
            "ADDED",
        )

    def seen(self, name: str) -> Object:
        return self.state.of("pods")[f"default/{name}"]

    def where(self, *names: str) -> list[str | None]:
        return [self.seen(n)["spec"].get("nodeName") for n in names]

    def scheduled(self, name: str) -> Object:
        """The PodScheduled condition."""
        conditions = (self.seen(name).get("status") or {}).get("conditions") or []
        return next((c for c in conditions if c["type"] == "PodScheduled"), {})

    def events(self) -> list[tuple[str, str, str, str]]:
        return [(e["type"], e["reason"], e["regarding"]["name"], e["note"]) for e in self.state.of("events").values()]

    def statistics(self) -> Object:
        found: Object = self.sim.ask(self.scheduler, SchedulerStatistics())
        return found

    def settle(self, seconds: float = 1.0) -> None:
        self.sim.advance(seconds)
