"""The bootstrap signer: who holds a bootstrap token can tell that `cluster-info` is genuine.

Owns the keys `jws-kubeconfig-ID` of the ConfigMap `cluster-info` in kube-public: a detached JWS
(HS256, RFC 7515 appendix F) of its `kubeconfig` with each token that may sign. Off unless asked for.
Facts: kubernetes pkg/controller/bootstrap/bootstrapsigner.go.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, deleting, metadata

__all__ = ["BootstrapSigner", "detached_signature"]

CLUSTER_INFO = "kube-public/cluster-info"
TOKENS_NAMESPACE, TOKEN_TYPE, NAME_PREFIX = "kube-system", "bootstrap.kubernetes.io/token", "bootstrap-token-"
CONTENT, SIGNATURE = "kubeconfig", "jws-kubeconfig-"


class BootstrapSigner(Controller):
    """Signs the ConfigMap. Keys: that one."""

    component: ClassVar[str] = "bootstrap-signer"
    resources: ClassVar[tuple[str, ...]] = ("configmaps", "secrets")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change("configmaps", self._info_changed)
        self.on_change("secrets", self._secret_changed)

    def _info_changed(self, old: Object | None, new: Object | None) -> None:
        meta = metadata(new or old or {})
        if new is not None and f"{meta.get('namespace')}/{meta.get('name')}" == CLUSTER_INFO:
            self.queue.add(CLUSTER_INFO)

    def _secret_changed(self, old: Object | None, new: Object | None) -> None:
        if _is_token(new or old or {}):
            self.queue.add(CLUSTER_INFO)

    async def reconcile(self, key: str) -> None:
        info = self.store("configmaps").get(key)
        data = (info or {}).get("data") or {}
        if info is None or CONTENT not in data:
            return
        wanted = {name: text for name, text in data.items() if not name.startswith(SIGNATURE)}
        for token, secret in self._tokens().items():
            wanted[SIGNATURE + token] = detached_signature(data[CONTENT], token, secret)
        if wanted == data:
            return
        try:
            await self.client.update("configmaps", {**info, "data": wanted})
        except StatusError as error:
            if error.code != 404:
                raise

    def _tokens(self) -> dict[str, str]:
        """Id -> secret of the tokens that may sign now; those that end are looked at again then."""
        found: dict[str, str] = {}
        now = self.clock.now()
        for secret in self.store("secrets").in_namespace(TOKENS_NAMESPACE):
            if not _is_token(secret) or deleting(secret):
                continue
            data = {name: _decoded(value) for name, value in (secret.get("data") or {}).items()}
            token, text = data.get("token-id", ""), data.get("token-secret", "")
            if not token or not text or metadata(secret)["name"] != NAME_PREFIX + token:
                continue
            if data.get("usage-bootstrap-signing") != "true":
                continue
            left_s = _left_s(data.get("expiration", ""), now)
            if left_s <= 0:
                continue
            if left_s != float("inf"):
                self.queue.add_after(CLUSTER_INFO, left_s)
            found.setdefault(token, text)
        return found


def detached_signature(content: str, token: str, secret: str) -> str:
    """`content` signed with a token's secret, without the content."""
    header = _base64(json.dumps({"alg": "HS256", "kid": token}, separators=(",", ":")).encode())
    signed = f"{header}.{_base64(content.encode())}".encode()
    return f"{header}..{_base64(hmac.new(secret.encode(), signed, hashlib.sha256).digest())}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except (ValueError, binascii.Error):
        return ""


def _left_s(expiration: str, now: float) -> float:
    """Seconds that a token is good for; a time that is none is over."""
    if not expiration:
        return float("inf")
    try:
        return epoch(expiration) - now
    except ValueError:
        return 0.0


def _is_token(secret: Object) -> bool:
    return secret.get("type") == TOKEN_TYPE and metadata(secret).get("namespace") == TOKENS_NAMESPACE
