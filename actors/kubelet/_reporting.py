"""Part of a pod's worker: what the API is told.

Owns the writes of a pod's status, one at a time, each with the newest there is to say; what
happens while a write is under way goes into the next one. A write that fails is repeated with a
growing wait, for as long as the pod is there. It never holds up the containers.
"""

from __future__ import annotations

from typing import Any

import orjson

from actors.kubelet._messages import Flush
from actors.kubelet._probing import Probing
from actors.kubelet._spec import is_deleting
from actors.kubelet._status import OWNED, RESIZES, merged, pod_status, status_patch
from protocol.api import StatusError

__all__ = ["Reporting"]

Object = dict[str, Any]
MIRROR = "kubernetes.io/config.mirror"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FIRST_REPORT_S = 0.6
"""A pod that is not up after this reports how far it is; one that is up sooner reports once."""


class Reporting(Probing):
    """See the module."""

    def hold_report(self) -> None:
        """Starting: wait a little, in case that it is over soon."""
        if not self.held:
            self.held = True
            self.after(FIRST_REPORT_S, Flush())

    def report_held(self) -> None:
        """The little while is over."""
        if self.held:
            self.held = False
            self.flush()

    def flush(self) -> None:
        """Report what is new, unless that is being waited for."""
        if self.held or self.writing or self.gone:
            return
        self.writing = True
        self.aside(self._write_mirror() if self.is_static else self._write())

    def current_status(self) -> Object:
        """The status as it is now."""
        self.note_devices()
        return pod_status(self.pod, self.members, self.facts, self.clock.now())

    def _said(self, new: Object) -> bool:
        """Whether the API has it already. What was sent counts as said, whatever form the server
        gave it; but a condition of ours that somebody changed is said anew."""
        if self.sent != fingerprint(new):
            return False
        theirs = {c["type"]: c.get("status") for c in (self.pod.get("status") or {}).get("conditions") or ()}
        return all(theirs.get(c["type"]) == c["status"] for c in new["conditions"] if c["type"] in OWNED)

    async def _write(self) -> None:
        failures = 0
        try:
            while not self.gone:
                new = self.current_status()
                if self._said(new):
                    break
                patch = status_patch(self.pod, new)
                if patch is None:
                    self.sent = fingerprint(new)
                    break
                try:
                    answer = await self._send(new, patch)
                except StatusError as error:
                    if await self._is_no_more(error):
                        break  # the watch will say
                    if error.code not in (429, 500, 503, 504):
                        self.log.warning("status_refused", pod=self.full_name(), error=error.message)
                    await self.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                    failures += 1
                    continue
                failures = 0
                self.sent = fingerprint(new)
                self.adopt(answer)
        finally:
            self.writing = False

    async def _write_mirror(self) -> None:
        """Show a static pod's status on its mirror pod, if there is one."""
        key, failures = (self.namespace, self.pod_name), 0
        try:
            while not self.gone:
                mirror = self.node.mirrors.get(key)
                if mirror is None or mirror["metadata"]["annotations"].get(MIRROR) != self.uid:
                    break  # the kubelet makes one, and says so
                new = pod_status(mirror, self.members, self.facts, self.clock.now())
                patch = status_patch(mirror, new)
                if patch is None:
                    break
                try:
                    answer = await self.client.patch(
                        "pods", key[1], key[0], patch, patch_type=STRATEGIC_PATCH, subresource="status"
                    )
                except StatusError as error:
                    if error.code in (404, 409):
                        break
                    await self.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                    failures += 1
                    continue
                known = self.node.mirrors.get(key)
                if (
                    known is not None
                    and known["metadata"]["uid"] == answer["metadata"]["uid"]
                    and _newer(answer, known)
                ):
                    self.node.mirrors[key] = answer
        finally:
            self.writing = False

    async def _send(self, new: Object, patch: Object) -> Object:
        """Replace the status of the pod as it was last seen, which costs the server least; if
        somebody wrote meanwhile, patch what is ours as the real kubelet does."""
        status = merged(self.pod.get("status") or {}, new)
        try:
            return await self.client.update_status("pods", {**self.pod, "status": status})
        except StatusError as error:
            if error.code != 409:
                raise
        return await self.client.patch(
            "pods", self.pod_name, self.namespace, patch, patch_type=STRATEGIC_PATCH, subresource="status"
        )

    async def _is_no_more(self, error: StatusError) -> bool:
        """Whether a write failed because the pod is gone. A conflict may mean that there is another
        one of this name now, or only that somebody wrote at the same time."""
        if error.code != 409:
            return error.code == 404
        try:
            present = await self.client.get("pods", self.pod_name, self.namespace)
        except StatusError as failure:
            return failure.code == 404
        return bool(present["metadata"].get("uid") != self.uid)

    def adopt(self, pod: Object) -> None:
        """Take an object that the API answered for what it is: the newest known."""
        if pod["metadata"].get("uid") != self.uid or not _newer(pod, self.pod):
            return
        before, self.pod = self.pod, pod
        if is_deleting(pod) and not is_deleting(before):
            self.kick()

    async def delete_pod(self) -> None:
        """Everything is over: the API may forget the pod."""
        failures = 0
        while not self.gone:
            try:
                answer = await self.client.delete("pods", self.pod_name, self.namespace, uid=self.uid, grace_period_s=0)
            except StatusError as error:
                if await self._is_no_more(error):
                    return
                await self.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
                continue
            if answer.get("kind") == "Pod" and answer["metadata"].get("finalizers"):
                self.adopt(answer)
                self.flush()
            return


def _newer(pod: Object, than: Object) -> bool:
    new, old = pod["metadata"].get("resourceVersion", ""), than["metadata"].get("resourceVersion", "")
    if new.isdigit() and old.isdigit():
        return int(new) >= int(old)
    return True


def fingerprint(status: Object) -> int:
    """Stands for all that a status says, but for transition times, which may be ours or the API's.
    A pod keeps this instead of a second copy of its status."""
    plain = [
        (c["type"], c["status"], c.get("reason"), c.get("message"), c.get("observedGeneration"))
        for c in status["conditions"]
        if c["type"] in OWNED or c["type"] in RESIZES or c["type"] == "DisruptionTarget"
    ]
    return hash(orjson.dumps([{**status, "conditions": None}, plain]))
