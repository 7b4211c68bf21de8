"""The root CA publisher: every namespace has the cluster's CA in `kube-root-ca.crt`.

Owns those ConfigMaps. The bundle is the option `root_ca` (PEM text); without it nothing is written.
A second one, for serving certificates of Services, has the same content: the API access volume that
admission gives to pods, as measured on the release that is followed here, mounts both.
Facts: kubernetes pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata, status
from protocol.objects import annotations as annotations_of

__all__ = ["RootCACertificatePublisher"]

BUNDLES = {"kube-root-ca.crt": "ca.crt", "openshift-service-ca.crt": "service-ca.crt"}
"""ConfigMap -> its key."""
DESCRIPTION = "kubernetes.io/description"
_WHAT_FOR = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "
    "the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes clusters."
)


class RootCACertificatePublisher(Controller):
    """Writes the CA bundle into every active namespace. Keys: namespaces."""

    component: ClassVar[str] = "root-ca-cert-publisher"
    resources: ClassVar[tuple[str, ...]] = ("namespaces", "configmaps")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bundle = str(context.options.extra.get("root_ca", ""))
        self.on_change("namespaces", self._namespace_changed)
        self.on_change("configmaps", self._configmap_changed)

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or status(old).get("phase") != status(new).get("phase")):
            self.queue.add(metadata(new)["name"])

    def _configmap_changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old or {}
        if metadata(obj)["name"] in BUNDLES and old is not None:
            self.queue.add(metadata(obj)["namespace"])

    async def reconcile(self, key: str) -> None:
        namespace = self.store("namespaces").get(key)
        if not self.bundle or namespace is None or metadata(namespace).get("deletionTimestamp"):
            return
        for name, field in BUNDLES.items():
            await self._publish(key, name, {field: self.bundle})

    async def _publish(self, namespace: str, name: str, data: dict[str, str]) -> None:
        present = self.store("configmaps").named(namespace, name)
        try:
            if present is None:
                meta = {"name": name, "namespace": namespace, "annotations": {DESCRIPTION: _WHAT_FOR}}
                wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
                await self.client.create("configmaps", wanted, namespace)
            elif present.get("data") != data or DESCRIPTION not in annotations_of(present):
                notes = {**annotations_of(present), DESCRIPTION: _WHAT_FOR}
                meta = {**metadata(present), "annotations": notes}
                await self.client.update("configmaps", {**present, "metadata": meta, "data": data})
        except StatusError as error:
            if error.code == 409 and error.reason == "AlreadyExists":
                return
            if error.code != 404 and "is being terminated" not in error.message:
                raise
