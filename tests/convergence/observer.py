"""What an unbiased onlooker sees of a simulated cluster, and the rules that must hold at every
moment.

The observer is a client like any other, on a host of its own that no fault touches. It notes each
broken rule with the moment; tests assert that there are none.
"""

from __future__ import annotations

import math
from typing import Any

from actors.client import Client, ClientActor, Informer
from actors.kernel import Future, Ref
from protocol.api import StatusError, WatchEvents
from protocol.objects import Object

WATCHED = ("pods", "deployments", "replicasets", "endpointslices")


def percent(value: Any, total: int, up: bool) -> int:
    """An int-or-percentage of `total`."""
    if isinstance(value, str):
        exact = int(value.rstrip("%")) * total / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(value)


def is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


class Stream:
    """A bare watch: every revision comes once and in order, over as many watches as it takes."""

    def __init__(self, observer: Observer, what: str) -> None:
        self.observer = observer
        self.what = what
        self.last = 0
        self.next_seq = 0
        self.watch_id = 0
        observer.background(self.run())

    async def run(self) -> None:
        client = self.observer.client
        while True:
            try:
                if not self.last:
                    self.last = int((await client.list(self.what))["metadata"]["resourceVersion"])
                self.next_seq = 0
                self.ended: Future[None] = Future()
                self.watch_id = await client.watch(self.what, self, resourceVersion=str(self.last))
                await self.ended
            except StatusError as error:
                if error.code == 410:
                    self.last = 0
            await self.observer.sleep(0.5)

    def watch_events(self, message: WatchEvents) -> None:
        if message.seq != self.next_seq:
            self.observer.client.cancel_watch(self.watch_id)
            self.ended.resolve()
            return
        self.next_seq += 1
        for event in message.events:
            if event.type == "ERROR":
                self.last = 0
                self.ended.resolve()
                return
            version = int(event.object["metadata"]["resourceVersion"])
            if event.type == "BOOKMARK":
                continue
            if version <= self.last:
                self.observer.say(f"the watch of {self.what} gave revision {version} after {self.last}")
            self.last = version

    def watch_closed(self, reason: str) -> None:
        self.ended.resolve()


class Observer(ClientActor):
    """Watches everything; `broken` is the list of broken rules."""

    def __init__(self, apiserver: Ref, broken: list[str], disturbed: list[bool]) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent="observer")
        self.broken = broken
        self.disturbed = disturbed
        self.informers: dict[str, Informer] = {}
        self.bound: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.was_available = False

    def on_start(self) -> None:
        for what in WATCHED:
            self.informers[what] = Informer(
                self.client, what, on_update=self._updated, on_add=self._added, on_batch=self._check
            )
            self.informers[what].start()
        self.streams = [Stream(self, "pods"), Stream(self, "replicasets")]

    def say(self, text: str) -> None:
        self.broken.append(f"t={self.clock.monotonic():.3f} {text}")

    def _added(self, obj: Object) -> None:
        self._version(obj)
        self._binding(obj)

    def _updated(self, old: Object, new: Object) -> None:
        self._version(new)
        self._binding(new)
        if old["metadata"]["uid"] != new["metadata"]["uid"]:
            return
        was, now = old.get("spec", {}).get("nodeName"), new.get("spec", {}).get("nodeName")
        if was and was != now:
            self.say(f"pod {new['metadata']['name']} moved from {was} to {now}")

    def _binding(self, obj: Object) -> None:
        if obj.get("kind") != "Pod":
            return
        uid, node = obj["metadata"]["uid"], obj["spec"].get("nodeName")
        if node and self.bound.setdefault(uid, node) != node:
            self.say(f"pod {obj['metadata']['name']} was bound to {self.bound[uid]} and to {node}")

    def _version(self, obj: Object) -> None:
        """No object goes back to an older revision (a new list may show the same one again)."""
        uid, version = obj["metadata"]["uid"], int(obj["metadata"]["resourceVersion"])
        if self.versions.get(uid, 0) > version:
            self.say(f"{obj.get('kind')} {obj['metadata']['name']} went from {self.versions[uid]} to {version}")
        self.versions[uid] = version

    def _check(self, _: Any) -> None:
        if not all(i.has_synced for i in self.informers.values()) or len(self.informers) < len(WATCHED):
            return
        for deployment in self.informers["deployments"].store:
            self._check_surge(deployment)
        self._check_available()

    def _check_surge(self, deployment: Object) -> None:
        spec = deployment["spec"]
        rolling = spec["strategy"].get("rollingUpdate")
        if rolling is None:
            return
        owned = [
            r for r in self.informers["replicasets"].store
            if any(o["uid"] == deployment["metadata"]["uid"] for o in r["metadata"].get("ownerReferences", ()))
        ]  # fmt: skip
        wanted = sum(r["spec"]["replicas"] for r in owned)
        # A scale-down of the Deployment reaches its ReplicaSets a moment later.
        allowed = max(spec["replicas"], *(self._annotated(r) for r in owned), 0)
        allowed += percent(rolling["maxSurge"], allowed, up=True)
        if wanted > allowed:
            self.say(f"replica sets want {wanted} pods where {allowed} are allowed")

    @staticmethod
    def _annotated(replicaset: Object) -> int:
        notes = replicaset["metadata"].get("annotations") or {}
        return int(notes.get("deployment.kubernetes.io/desired-replicas", 0))

    def _check_available(self) -> None:
        """As long as nothing but the control plane was disturbed, a rollout keeps enough pods."""
        for deployment in self.informers["deployments"].store:
            spec = deployment["spec"]
            rolling = spec["strategy"].get("rollingUpdate")
            pods = [p for p in self.informers["pods"].store if not p["metadata"].get("deletionTimestamp")]
            ready = sum(map(is_ready, pods))
            if ready >= spec["replicas"]:
                self.was_available = True
            elif self.was_available and not self.disturbed and rolling is not None:
                least = spec["replicas"] - percent(rolling["maxUnavailable"], spec["replicas"], up=False)
                if ready < least and self._generation_is_seen(deployment):
                    self.say(f"{ready} pods are ready where a rollout keeps {least}")

    def _generation_is_seen(self, deployment: Object) -> bool:
        """A scale-up asks for more than there is until its pods have come."""
        replicas = sum(r["spec"]["replicas"] for r in self.informers["replicasets"].store)
        running = [p for p in self.informers["pods"].store if is_ready(p) and not p["metadata"].get("deletionTimestamp")]
        notes = [self._annotated(r) for r in self.informers["replicasets"].store]
        return bool(notes) and max(notes) == deployment["spec"]["replicas"] and len(running) >= replicas
