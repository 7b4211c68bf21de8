"""The publisher of the API server's trust bundle: a ClusterTrustBundle of the signer
`kubernetes.io/kube-apiserver-serving` with the cluster's CA.

Owns the bundles of that signer: one of today's CA, no other. The CA is the option `root_ca` (PEM text);
without it nothing is written. The API is served by default from 1.37 on. Facts: kubernetes
pkg/controller/certificates/clustertrustbundlepublisher.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, metadata, spec

__all__ = ["TrustBundlePublisher"]

BUNDLES = "clustertrustbundles.v1.certificates.k8s.io"
SIGNER = "kubernetes.io/kube-apiserver-serving"


class TrustBundlePublisher(Controller):
    """Writes the bundle. Keys: the signer."""

    component: ClassVar[str] = "kube-apiserver-serving-clustertrustbundle-publisher"
    resources: ClassVar[tuple[str, ...]] = (BUNDLES,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bundle = str(context.options.extra.get("root_ca", ""))
        self.on_change(BUNDLES, self._changed)

    def synced(self) -> None:
        self.queue.add(SIGNER)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if spec(new or old or {}).get("signerName") == SIGNER:
            self.queue.add(SIGNER)

    async def reconcile(self, key: str) -> None:
        if not self.bundle:
            return
        digest = hashlib.sha256(self.bundle.encode()).hexdigest()[:24]
        name = f"{SIGNER.replace('/', ':')}:{digest}"
        present = self.store(BUNDLES).get(name)
        wanted = {"signerName": SIGNER, "trustBundle": self.bundle}
        if present is None:
            made = {"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": {"name": name}}
            await self.client.create(BUNDLES, {**made, "spec": wanted})
        elif spec(present).get("trustBundle") != self.bundle:
            await self.client.update(BUNDLES, {**present, "spec": wanted})
        for other in list(self.store(BUNDLES)):
            if spec(other).get("signerName") == SIGNER and metadata(other)["name"] != name:
                await self._remove(other)

    async def _remove(self, bundle: Object) -> None:
        try:
            await self.client.delete(BUNDLES, metadata(bundle)["name"], uid=metadata(bundle)["uid"])
        except StatusError as error:
            if error.code not in (404, 409):
                raise
