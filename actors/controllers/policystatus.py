"""The ValidatingAdmissionPolicy status controller: which generation has been looked at.

Owns `status.observedGeneration` and `status.typeChecking`. Expressions are not type-checked here:
the API server compiles them when a policy is written, and refuses what does not compile. Facts:
kubernetes pkg/controller/validatingadmissionpolicystatus.
"""

from __future__ import annotations

from typing import ClassVar

from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata, status

__all__ = ["PolicyStatusController"]

RESOURCE = "validatingadmissionpolicies"


class PolicyStatusController(Controller):
    """Notes that a policy was seen. Keys: policies."""

    component: ClassVar[str] = "validatingadmissionpolicy-status"
    resources: ClassVar[tuple[str, ...]] = (RESOURCE,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(RESOURCE, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(metadata(new)["name"])

    async def reconcile(self, key: str) -> None:
        policy = self.store(RESOURCE).get(key)
        if policy is None:
            return
        generation = metadata(policy).get("generation", 0)
        if status(policy).get("observedGeneration", 0) >= generation:
            return
        wanted = {**status(policy), "observedGeneration": generation, "typeChecking": {}}
        await self.client.update_status(RESOURCE, {**policy, "status": wanted})
