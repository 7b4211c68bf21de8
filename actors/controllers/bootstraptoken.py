"""The bootstrap token cleaner: tokens for joining nodes end when their time has come.

Owns the deletion of expired secrets of type `bootstrap.kubernetes.io/token` in kube-system. Facts:
kubernetes pkg/controller/bootstrap/tokencleaner.go.
"""

from __future__ import annotations

import base64
import binascii
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, key, metadata, split_key

__all__ = ["BootstrapTokenCleaner"]

NAMESPACE, TYPE = "kube-system", "bootstrap.kubernetes.io/token"


class BootstrapTokenCleaner(Controller):
    """Deletes expired bootstrap tokens. Keys: secrets."""

    component: ClassVar[str] = "token-cleaner"
    resources: ClassVar[tuple[str, ...]] = ("secrets",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change("secrets", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new.get("type") == TYPE and metadata(new).get("namespace") == NAMESPACE:
            self.queue.add(key(new))

    async def reconcile(self, key: str) -> None:
        secret = self.store("secrets").get(key)
        if secret is None:
            return
        expires_at = _expiration(secret)
        if expires_at is None:
            return
        left_s = expires_at - self.clock.now()
        if left_s > 0:
            self.queue.add_after(key, left_s)
            return
        namespace, name = split_key(key)
        try:
            await self.client.delete("secrets", name, namespace, uid=metadata(secret)["uid"])
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _expiration(secret: Object) -> float | None:
    """When the token expires, in seconds since the epoch; what is no time has expired already."""
    raw = (secret.get("data") or {}).get("expiration")
    if not raw:
        return None
    try:
        return epoch(base64.b64decode(raw).decode())
    except (ValueError, binascii.Error):
        return 0.0
