"""The TTL controller: how long a kubelet may cache secrets and config maps, by cluster size.

Owns the annotation `node.alpha.kubernetes.io/ttl`. Facts: kubernetes pkg/controller/ttl.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client._client import STRATEGIC_PATCH
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata
from protocol.objects import annotations as annotations_of

__all__ = ["NodeTTLController"]

ANNOTATION = "node.alpha.kubernetes.io/ttl"
# (nodes from, nodes up to, seconds): the ranges overlap so that the value does not flutter
STEPS = (
    (0, 100, 0),
    (90, 500, 15),
    (450, 1000, 30),
    (900, 2000, 60),
    (1800, 10000, 300),
    (9000, 1 << 62, 600),
)


class NodeTTLController(Controller):
    """Annotates nodes. Keys: nodes."""

    component: ClassVar[str] = "ttl-controller"
    resources: ClassVar[tuple[str, ...]] = ("nodes",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.count = 0
        self.step = 0
        self.on_change("nodes", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if old is None:
            self.count += 1
            if self.step + 1 < len(STEPS) and self.count > STEPS[self.step][1]:
                self.step += 1
        elif new is None:
            self.count -= 1
            if self.step > 0 and self.count < STEPS[self.step][0]:
                self.step -= 1
        if new is not None and annotations_of(new).get(ANNOTATION) != str(STEPS[self.step][2]):
            self.queue.add(metadata(new)["name"])

    async def reconcile(self, key: str) -> None:
        node = self.store("nodes").get(key)
        wanted = str(STEPS[self.step][2])
        if node is not None and annotations_of(node).get(ANNOTATION) != wanted:
            body = {"metadata": {"annotations": {ANNOTATION: wanted}}}
            await self.client.patch("nodes", key, "", body, patch_type=STRATEGIC_PATCH)
