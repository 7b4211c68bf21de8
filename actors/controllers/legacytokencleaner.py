"""The legacy token cleaner: token Secrets that nobody has used for a year.

Owns the label `kubernetes.io/legacy-token-invalid-since` and the end of Secrets that bear it for
another period. Only Secrets that their ServiceAccount mentions (made automatically, once) and that no
pod mounts are touched, and none before use has been tracked for the whole period. Facts: kubernetes
pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go; KEP-2799.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from actors.controllers.serviceaccounttoken import NAME, TYPE, UID
from protocol.objects import Object, deleting, labels, metadata, resource_version, spec, uid
from protocol.objects import annotations as annotations_of

__all__ = ["LegacyTokenCleaner"]

LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
SYNC_S = 24 * 3600.0
_DATE = re.compile(r"\d{4}-\d\d-\d\d$")


class LegacyTokenCleaner(Controller):
    """Looks at all token Secrets once a day. The only key: `all`."""

    component: ClassVar[str] = "legacy-service-account-token-cleaner"
    resources: ClassVar[tuple[str, ...]] = ("serviceaccounts", "secrets", "pods")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.period = timedelta(seconds=context.options.legacy_service_account_token_clean_up_period)

    def synced(self) -> None:
        self.queue.add("all")

    async def reconcile(self, key: str) -> None:
        self.queue.add_after(key, SYNC_S)
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        since = await self._tracked_since()
        if since is None or now < since + self.period:
            return
        oldest = now - self.period
        unused = [s for s in self.store("secrets") if self._is_unused(s, oldest)]
        for secret in unused:
            if not self._is_automatic(secret) or self._is_mounted(secret):
                continue
            await self._invalidate_or_delete(secret, now, oldest)

    async def _tracked_since(self) -> datetime | None:
        """Midnight after the day on which the API server began to note uses."""
        try:
            found = await self.client.get("configmaps", TRACKING, "kube-system")
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        text = (found.get("data") or {}).get("since", "")
        return _day(text) + timedelta(days=1) if _DATE.match(text) else None

    def _is_unused(self, secret: Object, oldest: datetime) -> bool:
        if secret.get("type") != TYPE or deleting(secret):
            return False
        if epoch(metadata(secret)["creationTimestamp"]) >= oldest.timestamp():
            return False
        used = labels(secret).get(LAST_USED)
        return used is None or (bool(_DATE.match(used)) and used < f"{oldest:%Y-%m-%d}")

    def _is_automatic(self, secret: Object) -> bool:
        notes = annotations_of(secret)
        account = self.store("serviceaccounts").named(metadata(secret)["namespace"], notes.get(NAME, ""))
        if account is None or (notes.get(UID) and notes[UID] != uid(account)):
            return False
        return any(ref.get("name") == metadata(secret)["name"] for ref in account.get("secrets") or ())

    def _is_mounted(self, secret: Object) -> bool:
        name = metadata(secret)["name"]
        return any(name in _secrets_of(pod) for pod in self.store("pods").in_namespace(metadata(secret)["namespace"]))

    async def _invalidate_or_delete(self, secret: Object, now: datetime, oldest: datetime) -> None:
        name, namespace = metadata(secret)["name"], metadata(secret)["namespace"]
        since = labels(secret).get(INVALID_SINCE, "")
        try:
            if not _DATE.match(since):
                meta = {"uid": uid(secret), "labels": {INVALID_SINCE: f"{now:%Y-%m-%d}"}}
                await self.client.patch("secrets", name, namespace, {"metadata": meta})
            elif since < f"{oldest:%Y-%m-%d}":
                await self.client.delete("secrets", name, namespace, resource_version=resource_version(secret))
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def _secrets_of(pod: Object) -> set[str]:
    """The Secrets that a pod names, in volumes, environments and for pulling images."""
    found = {ref.get("name", "") for ref in spec(pod).get("imagePullSecrets") or ()}
    for volume in spec(pod).get("volumes") or ():
        found.add((volume.get("secret") or {}).get("secretName", ""))
        for source in (volume.get("projected") or {}).get("sources") or ():
            found.add((source.get("secret") or {}).get("name", ""))
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec(pod).get(group) or ():
            found |= {(e.get("secretRef") or {}).get("name", "") for e in container.get("envFrom") or ()}
            for variable in container.get("env") or ():
                found.add(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", ""))
    return found
