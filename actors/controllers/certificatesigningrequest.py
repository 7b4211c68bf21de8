"""The controllers of CertificateSigningRequests: approving, signing, cleaning up.

Owns what Kubernetes does of its own accord: kubelets' client certificates are approved when their
user may ask for them, approved requests to the four `kubernetes.io/` signers are signed, and old
requests are removed. The options `cluster_signing_certificate` and `cluster_signing_key` (PEM) name
the authority; without it nothing is signed. Facts: kubernetes pkg/controller/certificates.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from actors.client import StatusError
from actors.controllers._certificates import SIGNERS, Authority, is_node_client, read, refusal
from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from actors.kernel import handles
from protocol.message import Message
from protocol.objects import Object, condition, metadata, mutable, spec, status

__all__ = ["CertificateApprover", "CertificateCleaner", "CertificateSigner"]

RESOURCE = "certificatesigningrequests"
APPROVED_KEPT_S, DENIED_KEPT_S, PENDING_KEPT_S = 3600.0, 3600.0, 24 * 3600.0
SELF_TEXT = "Auto approving self kubelet client certificate after SubjectAccessReview."
NODE_TEXT = "Auto approving kubelet client certificate after SubjectAccessReview."


class _RequestController(Controller):
    """What the controllers have in common: every change of a request is looked at."""

    resources: ClassVar[tuple[str, ...]] = (RESOURCE,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(RESOURCE, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(metadata(new)["name"])

    async def set_condition(self, csr: Object, subresource: str, kind: str, reason: str, message: str) -> None:
        """Add a condition that is True from now on."""
        now = self.clock.rfc3339()
        entry = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
        changed = mutable(csr)
        changed.setdefault("status", {}).setdefault("conditions", []).append(entry)
        await self.client.update(RESOURCE, changed, subresource=subresource)


class CertificateApprover(_RequestController):
    """Approves kubelets' client certificates."""

    component: ClassVar[str] = "csrapproving"

    async def reconcile(self, key: str) -> None:
        csr = self.store(RESOURCE).get(key)
        if csr is None or status(csr).get("certificate") or _decided(csr):
            return
        try:
            request = read(csr)
        except ValueError:
            return
        if not is_node_client(csr, request):
            return
        from cryptography.x509.oid import NameOID

        common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        attempts = [("nodeclient", NODE_TEXT)]
        if spec(csr).get("username") == common:
            attempts.insert(0, ("selfnodeclient", SELF_TEXT))
        for subresource, text in attempts:
            if await self._allowed(csr, subresource):
                await self.set_condition(csr, "approval", "Approved", "AutoApproved", text)
                return
        self.log.info("csr_not_approved", csr=key, user=spec(csr).get("username"))

    async def _allowed(self, csr: Object, subresource: str) -> bool:
        wanted = spec(csr)
        review: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": wanted.get("username", ""),
                "uid": wanted.get("uid", ""),
                "groups": wanted.get("groups") or [],
                "extra": wanted.get("extra") or {},
                "resourceAttributes": {
                    "group": "certificates.k8s.io",
                    "resource": RESOURCE,
                    "verb": "create",
                    "subresource": subresource,
                    "version": "*",
                },
            },
        }
        answer = await self.client.create("subjectaccessreviews", review)
        return bool(status(answer).get("allowed"))


class CertificateSigner(_RequestController):
    """Signs approved requests."""

    component: ClassVar[str] = "csrsigning"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pems = _signing_pems(context.options.extra)
        self.longest_s = context.options.cluster_signing_duration
        self._authorities: dict[str, Authority] = {}

    async def reconcile(self, key: str) -> None:
        csr = self.store(RESOURCE).get(key)
        signer = spec(csr).get("signerName", "") if csr is not None else ""
        if csr is None or signer not in self.pems:
            return
        if status(csr).get("certificate") or condition(csr, "Approved") is None or condition(csr, "Failed"):
            return
        try:
            request = read(csr)
        except ValueError as error:
            await self._fail(csr, f"unable to parse csr: {error}")
            return
        why = refusal(csr, request)
        if why:
            await self._fail(csr, why)
            return
        authority = self._authorities.get(signer)
        if authority is None:
            authority = self._authorities[signer] = Authority(*self.pems[signer])
        serial = self.random.getrandbits(127) | 1
        changed = mutable(csr)
        pem = authority.sign(csr, request, self.clock.now(), serial, self.longest_s)
        changed.setdefault("status", {})["certificate"] = base64.b64encode(pem).decode()
        await self.client.update_status(RESOURCE, changed)

    async def _fail(self, csr: Object, why: str) -> None:
        await self.set_condition(csr, "status", "Failed", "SignerValidationFailure", why)


class _Sweep(Message, frozen=True):
    """Look at all requests."""


class CertificateCleaner(_RequestController):
    """Removes requests that were decided, or never were, some time ago, and those whose
    certificate has expired."""

    component: ClassVar[str] = "csrcleaner"

    def synced(self) -> None:
        self.every(3600.0, _Sweep())

    def _changed(self, old: Object | None, new: Object | None) -> None:
        """Only the hourly round looks at requests."""

    @handles(_Sweep)
    async def sweep(self, message: _Sweep) -> None:
        now = self.clock.now()
        for csr in list(self.store(RESOURCE)):
            if _outlived(csr, now):
                try:
                    await self.client.delete(RESOURCE, metadata(csr)["name"], uid=metadata(csr)["uid"])
                except StatusError as error:
                    self.log.info("csr_cleaning_failed", csr=metadata(csr)["name"], error=error.message)


def _decided(csr: Object) -> bool:
    return condition(csr, "Approved") is not None or condition(csr, "Denied") is not None


def _signing_pems(extra: Mapping[str, Any]) -> dict[str, tuple[bytes, bytes]]:
    """Signer -> certificate and key. `cluster_signing_SIGNER_certificate` and `_key` are those of one;
    where any signer has its own, the general ones are nobody's."""
    named = {
        signer: (
            _bytes(extra.get(f"cluster_signing_{signer.rpartition('/')[2]}_certificate")),
            _bytes(extra.get(f"cluster_signing_{signer.rpartition('/')[2]}_key")),
        )
        for signer in SIGNERS
    }
    if not any(any(pair) for pair in named.values()):
        pair = (_bytes(extra.get("cluster_signing_certificate")), _bytes(extra.get("cluster_signing_key")))
        named = dict.fromkeys(SIGNERS, pair)
    return {signer: pair for signer, pair in named.items() if all(pair)}


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value or b"")


def _outlived(csr: Object, now: float) -> bool:
    for kind, kept_s in (("Approved", APPROVED_KEPT_S), ("Denied", DENIED_KEPT_S), ("Failed", DENIED_KEPT_S)):
        entry = condition(csr, kind)
        if entry is not None and now - epoch(entry["lastUpdateTime"]) > kept_s:
            return True
    if not _decided(csr) and now - epoch(metadata(csr)["creationTimestamp"]) > PENDING_KEPT_S:
        return True
    return _expired(status(csr).get("certificate"), now)


def _expired(encoded: str | None, now: float) -> bool:
    if not encoded:
        return False
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    except ValueError:
        return False
    return certificate.not_valid_after_utc.timestamp() < now
