"""The issuers of JSON Web Tokens that are trusted besides this server itself, and their keys.

Owns when keys are fetched: at the start, and when a token names one that is not known. Fetching blocks, so
an actor on a thread of its own does it, and only requests with tokens of that issuer wait for it.
"""

from __future__ import annotations

import ssl
import urllib.request
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._jose import load_keys, parts
from actors.apiserver._jwt import JwtAuthenticator, JwtRefused
from actors.kernel import ActorDead, AskTimeout, Child, Future, ThreadActor, handles
from protocol.api import UserInfo
from protocol.message import Message

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["Issuers"]

_FETCH_TIMEOUT_S = 10.0
_AGAIN_S = 10.0
"""So long nobody asks an issuer again, whatever tokens come."""
_MAX_BYTES = 1024 * 1024
_DISCOVERY = "/.well-known/openid-configuration"


class FetchKeys(Message, frozen=True):
    """Ask an issuer for its keys: answered by the key set. Raises OSError, ValueError."""

    issuer: str
    discovery_url: str
    ca: str


class KeyFetcher(ThreadActor):
    """Talks to issuers."""

    @handles(FetchKeys)
    def fetch(self, message: FetchKeys) -> dict[str, Any]:
        """The discovery document names the place of the keys."""
        context = ssl.create_default_context(cadata=message.ca or None)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        url = message.discovery_url or message.issuer.rstrip("/") + _DISCOVERY
        document = self._json(opener, url)
        if document.get("issuer") != message.issuer:
            raise ValueError(f"issuer did not match: expected {message.issuer}, got {document.get('issuer')}")
        return self._json(opener, str(document.get("jwks_uri")))

    @staticmethod
    def _json(opener: urllib.request.OpenerDirector, url: str) -> dict[str, Any]:
        if not url.startswith("https://"):
            raise ValueError(f"{url} is no https URL")
        with opener.open(url, timeout=_FETCH_TIMEOUT_S) as answer:
            found = orjson.loads(answer.read(_MAX_BYTES))
        if not isinstance(found, dict):
            raise ValueError(f"{url} gave no JSON object")
        return found


class Issuers:
    """What one API server knows of other issuers."""

    def __init__(self, server: ApiServer, authenticators: list[JwtAuthenticator]) -> None:
        self.server = server
        self._by_issuer = {authenticator.issuer: authenticator for authenticator in authenticators}
        self._fetcher = server.spawn(Child("key-fetcher", KeyFetcher))
        self._asked: dict[str, float] = {}
        self._waiting: dict[str, Future[None]] = {}
        for authenticator in authenticators:
            server.background(self._fetch(authenticator))

    def of(self, token: str) -> JwtAuthenticator | None:
        """The authenticator of the issuer that a token says it is from, unchecked."""
        found = parts(token) if token.count(".") == 2 else None
        return self._by_issuer.get(str(found[1].get("iss") or "")) if found is not None else None

    def user(self, token: str) -> tuple[UserInfo | None, str]:
        """Whom a token names, or why it names nobody; no reason: it is of no issuer that is known."""
        authenticator = self.of(token)
        if authenticator is None:
            return None, ""
        try:
            return authenticator.user(token, self.server.clock.now()), ""
        except JwtRefused as refused:
            return None, str(refused)

    async def prepare(self, token: str) -> None:
        """Have the key of a token at hand, if its issuer can be asked."""
        authenticator = self.of(token)
        if authenticator is None or not authenticator.lacks(token):
            return
        now = self.server.clock.monotonic()
        waiting = self._waiting.get(authenticator.issuer)
        if waiting is not None:
            await waiting
        elif now - self._asked.get(authenticator.issuer, -_AGAIN_S) >= _AGAIN_S:
            await self._fetch(authenticator)

    async def _fetch(self, authenticator: JwtAuthenticator) -> None:
        issuer = authenticator.issuer
        done: Future[None] = Future()
        self._waiting[issuer] = done
        self._asked[issuer] = self.server.clock.monotonic()
        try:
            message = FetchKeys(issuer, authenticator.discovery_url, authenticator.ca)
            authenticator.keys = load_keys(await self.server.ask(self._fetcher, message, timeout=3 * _FETCH_TIMEOUT_S))
        except (ActorDead, AskTimeout, OSError, ValueError) as error:
            self.server.log.warning("issuer_unreachable", issuer=issuer, error=str(error))
        finally:
            del self._waiting[issuer]
            done.set(None)
