"""Service accounts' own credentials: what is asked in the name of one is sent under a token of its own.

Stands between clients and an `HttpTransport`. Owns one further transport per account, and the tokens,
which it asks for (TokenRequest) with the main credentials and renews before they end. Watches, and what
is not asked by a service account of kube-system, go by the main transport. Facts: kubernetes
staging/src/k8s.io/controller-manager/pkg/clientbuilder.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any, NamedTuple

from actors.client._kubeconfig import KubeConfig
from actors.client._transport import HttpTransport
from actors.kernel import Actor, Child, Future, Ref, handles
from protocol.api import ApiRequest, CancelWatch, Hold, Resource, StatusError

__all__ = ["AccountTransports"]

NAMESPACE = "kube-system"
PREFIX = f"system:serviceaccount:{NAMESPACE}:"
LIFETIME_S = 3600
RENEW_SHARE = 0.8
LAST_REQUESTS_S = 90.0
ACCOUNTS = Resource("", "v1", "serviceaccounts")


class _Way(NamedTuple):
    """An account's transport, and until when (monotonic seconds) its token is used."""

    transport: Ref
    until: float


class AccountTransports(Actor):
    """Passes requests on. `main` is the transport of the kubeconfig's own user."""

    def __init__(self, main: Ref, config: KubeConfig) -> None:
        super().__init__()
        self.main = main
        self.config = config._replace(tls=_without_certificate(config.tls), authorization="")
        self.ways: dict[str, Future[_Way]] = {}
        self._made = 0

    @handles(ApiRequest)
    async def request(self, message: ApiRequest) -> Any:
        """One request; raises `StatusError` at the asker."""
        if not message.user.name.startswith(PREFIX) or message.verb == "watch":
            return await self.ask(self.main, message, timeout=None)
        account = message.user.name.removeprefix(PREFIX)
        way = await self._way(account)
        try:
            return await self.ask(way.transport, message, timeout=None)
        except StatusError as error:
            if error.code != 401:
                raise
        self._drop(account, way)  # the account is another by now: its tokens have ended
        return await self.ask((await self._way(account)).transport, message, timeout=None)

    @handles(CancelWatch)
    def cancel_watch(self, message: CancelWatch) -> None:
        self.main.tell(message)

    @handles(Hold)
    async def hold(self, message: Hold) -> None:
        """Never answered, unless the main transport ends."""
        await self.ask(self.main, message, timeout=None)

    async def _way(self, account: str) -> _Way:
        """The account's transport; many that ask at the same time wait for one token."""
        present = self.ways.get(account)
        if present is not None:
            way = await present
            if self.clock.monotonic() < way.until or self.ways.get(account) is not present:
                return way
            self._drop(account, way)
        made: Future[_Way] = Future()
        self.ways[account] = made
        try:
            made.resolve(await self._make(account))
        except StatusError as error:
            del self.ways[account]
            made.fail(error)
        return await made

    def _drop(self, account: str, way: _Way) -> None:
        self.ways.pop(account, None)
        self.background(self._stop_later(way.transport))

    async def _stop_later(self, transport: Ref) -> None:
        """Requests may be under way on it."""
        await self.sleep(LAST_REQUESTS_S)
        transport.stop(block=False)

    async def _make(self, account: str) -> _Way:
        began = self.clock.monotonic()
        spec = {"expirationSeconds": LIFETIME_S}
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        ask = ApiRequest("create", ACCOUNTS, NAMESPACE, account, "token", body=wanted)
        try:
            answer = await self.ask(self.main, ask, timeout=None)
        except StatusError as error:
            if error.code != 404:
                raise
            meta = {"name": account, "namespace": NAMESPACE}
            body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
            try:
                await self.ask(self.main, ApiRequest("create", ACCOUNTS, NAMESPACE, body=body), timeout=None)
            except StatusError as taken:
                if taken.code != 409:
                    raise
            answer = await self.ask(self.main, ask, timeout=None)
        config = self.config._replace(authorization=f"Bearer {answer['status']['token']}")
        lifetime_s = float((answer.get("spec") or {}).get("expirationSeconds") or LIFETIME_S)
        self._made += 1
        transport = self.spawn(Child(f"{account}-{self._made}", partial(HttpTransport, config)))
        return _Way(transport, began + RENEW_SHARE * lifetime_s)


def _without_certificate(tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """The same trust, but no client certificate, which would say who asks whatever the token says."""
    if tls is None:
        return None
    trusted = "".join(ssl.DER_cert_to_PEM_cert(der) for der in tls.get_ca_certs(binary_form=True))
    plain = ssl.create_default_context(cadata=trusted or None)
    plain.check_hostname = tls.check_hostname
    plain.verify_mode = tls.verify_mode
    return plain
