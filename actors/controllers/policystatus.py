"""The ValidatingAdmissionPolicy status controller: do a policy's expressions fit what it is about?

Owns `status.observedGeneration` and `status.typeChecking`. A policy is checked once per generation; its
warnings never change what it does.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking
Source: kubernetes pkg/controller/validatingadmissionpolicystatus
"""

from __future__ import annotations

from typing import ClassVar

from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata, status

__all__ = ["PolicyStatusController"]

RESOURCE = "validatingadmissionpolicies"
DEFINITIONS = "customresourcedefinitions"
MANAGER = "validatingadmissionpolicy-status"
APPLY_PATCH = "application/apply-patch+yaml"


class PolicyStatusController(Controller):
    """Checks the types in policies. Keys: policies."""

    component: ClassVar[str] = MANAGER
    resources: ClassVar[tuple[str, ...]] = (RESOURCE, DEFINITIONS)

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
        from actors.controllers._policytypes import expression_warnings

        checked: Object = {}
        warnings = expression_warnings(policy, self.store(DEFINITIONS))
        if warnings:
            checked["expressionWarnings"] = warnings
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": key},
            "status": {"observedGeneration": generation, "typeChecking": checked},
        }
        await self.client.patch(
            RESOURCE, key, "", body, patch_type=APPLY_PATCH, subresource="status", fieldManager=MANAGER, force="true"
        )
