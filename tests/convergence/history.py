"""Every revision of a simulated cluster's store, one after the other, none left out.

A client of etcd's on a host that no fault touches: it sees what was committed, in the order in which it
was, whatever the API server and its watches tell others. After each revision the rules of `safety` are
asked whether the cluster may look like that.
"""

from __future__ import annotations

import json
from typing import Any

from safety import World

from actors.kernel import Actor, ActorDead, AskTimeout, Ref, Terminated, handles
from protocol.etcd import EtcdError, Watch, WatchProgress, WatchResponse
from protocol.message import Message

FIRST, END = b"/registry/", b"/registry0"
UNINTERESTING = (b"/registry/events/", b"/registry/events.k8s.io/", b"/registry/leases/", b"/registry/coordination.k8s.io/")
ALIVE_S = 1.0


class _Look(Message, frozen=True):
    """Told to itself: is the watch still there?"""


class History(Actor):
    """Feeds `world`; `etcd` may crash, the watch is then taken up where it was."""

    def __init__(self, etcd: Ref, world: World) -> None:
        super().__init__()
        self.etcd = etcd
        self.world = world
        self.watch_id = 0
        self.heard_at = 0.0
        self.opening = False

    def on_start(self) -> None:
        self.background(self.open())
        self.every(ALIVE_S, _Look())

    async def open(self) -> None:
        if self.opening:
            return
        self.opening = True
        self.watch_id += 1
        watch = Watch(self.ref, self.watch_id, FIRST, END, self.world.revision + 1)
        try:
            await self.ask(self.etcd, watch, timeout=5.0)
            self.heard_at = self.clock.monotonic()
        except (ActorDead, AskTimeout, EtcdError):
            self.heard_at = 0.0
        finally:
            self.opening = False

    @handles(_Look)
    def look(self, _: _Look) -> None:
        if self.clock.monotonic() - self.heard_at > 2.5 * ALIVE_S:
            self.background(self.open())
        else:
            self.etcd.tell(WatchProgress(self.ref))

    @handles(Terminated)
    def terminated(self, _: Terminated) -> None:
        self.heard_at = 0.0

    @handles(WatchResponse)
    def heard(self, message: WatchResponse) -> None:
        if message.watch_id not in (self.watch_id, -1):
            return
        if message.canceled:
            assert not message.compact_revision, "history was forgotten that had not been looked at"
            self.heard_at = 0.0
            return
        self.heard_at = self.clock.monotonic()
        for event in message.events:
            revision = event.kv.mod_revision
            if revision <= self.world.revision and revision != self.world.present:
                continue
            self.world.present = revision
            key = event.kv.key
            if not key.startswith(UNINTERESTING):
                new: Any = json.loads(event.kv.value) if event.type == "PUT" else None
                self.world.changed(key.decode(), new, revision, self.clock.monotonic(), self.clock.now())
        if message.events:
            self.world.revision = self.world.present
