"""The token controller: secrets of type `kubernetes.io/service-account-token`.

Owns their content, their end when the account goes, and the mention of a deleted secret in its
account. It makes no secret of its own accord. The options `service_account_key` (PEM) and `root_ca`
say what to sign with and which CA to put in; without a key nothing is filled in. Facts: kubernetes
pkg/controller/serviceaccount/tokens_controller.go.
"""

from __future__ import annotations

import base64
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._legacytoken import sign
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, key, metadata, mutable, split_key, uid
from protocol.objects import annotations as annotations_of

__all__ = ["ServiceAccountTokenController"]

TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


class ServiceAccountTokenController(Controller):
    """Fills and removes token secrets. Keys: `secret/NS/NAME`, `gone/NS/NAME` (a deleted secret)."""

    component: ClassVar[str] = "tokens-controller"
    resources: ClassVar[tuple[str, ...]] = ("serviceaccounts", "secrets")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        key_pem = context.options.extra.get("service_account_key", b"")
        self.key = key_pem.encode() if isinstance(key_pem, str) else bytes(key_pem)
        self.ca = str(context.options.extra.get("root_ca", ""))
        self.on_change("secrets", self._secret_changed)
        self.on_change("serviceaccounts", self._account_changed)
        self.store("secrets").add_index("token-account", _account_key)

    def _secret_changed(self, old: Object | None, new: Object | None) -> None:
        secret = new or old or {}
        if secret.get("type") == TYPE:
            self.queue.add(f"{'secret' if new else 'gone'}/{key(secret)}")

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        account = new or old or {}
        if new is None or old is None or uid(old) != uid(new):
            for secret in self.store("secrets").by("token-account", key(account)):
                self.queue.add(f"secret/{key(secret)}")

    async def reconcile(self, key: str) -> None:
        what, _, secret_key = key.partition("/")
        if what == "gone":
            await self._forget_mention(secret_key)
            return
        secret = self.store("secrets").get(secret_key)
        if secret is None or secret.get("type") != TYPE:
            return
        account = await self._account(secret)
        wanted_uid = annotations_of(secret).get(UID)
        if account is None or (wanted_uid and wanted_uid != uid(account)):
            await self._delete(secret)
        else:
            await self._fill(secret, account)

    async def _account(self, secret: Object) -> Object | None:
        """The secret's account; asked for anew before its absence is believed."""
        namespace = metadata(secret)["namespace"]
        name = annotations_of(secret).get(NAME, "")
        found = self.store("serviceaccounts").named(namespace, name)
        if found is not None:
            return found
        try:
            return await self.client.get("serviceaccounts", name, namespace) if name else None
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def _delete(self, secret: Object) -> None:
        namespace, name = split_key(key(secret))
        try:
            await self.client.delete("secrets", name, namespace, uid=uid(secret))
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _fill(self, secret: Object, account: Object) -> None:
        namespace, name = split_key(key(secret))
        data = dict(secret.get("data") or {})
        wanted = {"namespace": namespace.encode()}
        if self.ca:
            wanted["ca.crt"] = self.ca.encode()
        if not data.get("token"):
            if not self.key:
                return
            wanted["token"] = sign(self.key, namespace, metadata(account)["name"], uid(account), name).encode()
        data.update({k: base64.b64encode(v).decode() for k, v in wanted.items()})
        notes = {**annotations_of(secret), NAME: metadata(account)["name"], UID: uid(account)}
        if data == secret.get("data") and notes == annotations_of(secret):
            return
        changed = mutable(secret)
        changed["data"] = data
        changed["metadata"]["annotations"] = notes
        await self.client.update("secrets", changed)

    async def _forget_mention(self, secret_key: str) -> None:
        """Take a deleted secret off the list of its account."""
        namespace, name = split_key(secret_key)
        if self.store("secrets").get(secret_key) is not None:
            return
        for account in list(self.store("serviceaccounts").in_namespace(namespace)):
            mentioned = account.get("secrets") or []
            kept = [ref for ref in mentioned if ref.get("name") != name]
            if len(kept) != len(mentioned):
                changed = mutable(account)
                changed["secrets"] = kept
                await self.client.update("serviceaccounts", changed)


def _account_key(secret: Object) -> tuple[str, ...]:
    """Index function: the account that a token secret belongs to."""
    if secret.get("type") != TYPE:
        return ("",)
    return (f"{metadata(secret).get('namespace', '')}/{annotations_of(secret).get(NAME, '')}",)
