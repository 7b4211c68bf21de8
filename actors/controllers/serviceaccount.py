"""The service account controller: every namespace has a ServiceAccount called `default`.

Owns that one account's existence, nothing of its content. Facts: kubernetes
pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata, status

__all__ = ["ServiceAccountController"]

NAME = "default"


class ServiceAccountController(Controller):
    """Makes `default` in active namespaces, again if somebody deletes it. Keys: namespaces."""

    component: ClassVar[str] = "service-account-controller"
    resources: ClassVar[tuple[str, ...]] = ("namespaces", "serviceaccounts")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change("namespaces", self._namespace_changed)
        self.on_change("serviceaccounts", self._account_changed)

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(metadata(new)["name"])

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None and metadata(old)["name"] == NAME:
            self.queue.add(metadata(old)["namespace"])

    async def reconcile(self, key: str) -> None:
        namespace = self.store("namespaces").get(key)
        if (
            namespace is None
            or status(namespace).get("phase") == "Terminating"
            or metadata(namespace).get("deletionTimestamp")
        ):
            return
        if self.store("serviceaccounts").named(key, NAME) is not None:
            return
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": key}}
        try:
            await self.client.create("serviceaccounts", account, key)
        except StatusError as error:
            # 409: it is there already; 404 and 403 with this text: the namespace is going
            if error.code not in (404, 409) and "is being terminated" not in error.message:
                raise
