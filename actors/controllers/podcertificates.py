"""The cleaner of PodCertificateRequests: whoever asked has long had the answer, or is gone.

Owns their deletion half an hour after they were made. The API is served by default from 1.37 on.
Facts: kubernetes pkg/controller/certificates/cleaner/pcrcleaner.go.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, key, metadata, split_key

__all__ = ["PodCertificateRequestCleaner"]

REQUESTS = "podcertificaterequests.v1.certificates.k8s.io"
KEPT_S = 30 * 60.0


class PodCertificateRequestCleaner(Controller):
    """Deletes old requests. Keys: requests."""

    component: ClassVar[str] = "podcertificaterequestcleaner"
    resources: ClassVar[tuple[str, ...]] = (REQUESTS,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(REQUESTS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and old is None:
            self.queue.add(key(new))

    async def reconcile(self, key: str) -> None:
        request = self.store(REQUESTS).get(key)
        if request is None:
            return
        left_s = epoch(metadata(request)["creationTimestamp"]) + KEPT_S - self.clock.now()
        if left_s > 0:
            self.queue.add_after(key, left_s)
            return
        namespace, name = split_key(key)
        try:
            await self.client.delete(REQUESTS, name, namespace, uid=metadata(request)["uid"])
        except StatusError as error:
            if error.code not in (404, 409):
                raise
