"""Who makes a request: client certificates, bearer tokens, anonymous.

Owns the order of the ways to authenticate. It must never log a credential.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from protocol import status
from protocol.api import UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall

__all__ = ["ANONYMOUS", "TokenOpinion", "authenticate", "bearer_of", "token_opinion", "with_group"]

ANONYMOUS = UserInfo("system:anonymous", ("system:unauthenticated",))
_AUTHENTICATED = "system:authenticated"


def bearer_of(call: HttpCall) -> str:
    """The token that a request shows; empty when it shows none."""
    header = call.headers.get("authorization", "")
    return header[7:].strip() if header[:7].lower() == "bearer " else ""


def authenticate(core: Core, call: HttpCall) -> UserInfo:
    """The user behind a request. Raises 401 for credentials that name nobody."""
    header = call.headers.get("authorization", "")
    if header[:7].lower() == "bearer ":
        user = token_opinion(core, header[7:].strip(), core.config.api_audiences).user
        if user is not None:
            return user
        raise status.unauthorized()
    if call.peer is not None and not header:  # what a request says itself goes before its connection
        return with_group(call.peer)
    if core.config.anonymous and (not core.config.anonymous_paths or call.path in core.config.anonymous_paths):
        return ANONYMOUS
    raise status.unauthorized()


class TokenOpinion(NamedTuple):
    """Whom a token names, for which of the audiences; or why it names nobody."""

    user: UserInfo | None
    audiences: Sequence[str] = ()
    problem: str = "invalid bearer token"


def token_opinion(core: Core, token: str, audiences: Sequence[str]) -> TokenOpinion:
    """Whom a token names for one of the audiences. Static and bootstrap tokens are for the API server's own."""
    user = core.config.tokens.get(token) or bootstrap_user(core, token)
    if user is not None:
        granted = [audience for audience in audiences if audience in core.config.api_audiences]
        return TokenOpinion(with_group(user), granted) if granted else TokenOpinion(None)
    user, granted, problem = core.tokens.review(token, audiences)
    if user is None and not problem and core.issuers is not None:
        user, problem = core.issuers.user(token)
        granted = [audience for audience in audiences if audience in core.config.api_audiences]
        if user is not None and not granted:
            user, problem = None, ""
    if user is None:
        return TokenOpinion(None, (), f"[invalid bearer token, {problem}]" if problem else "invalid bearer token")
    return TokenOpinion(with_group(user), granted)


def bootstrap_user(core: Core, token: str) -> UserInfo | None:
    """Whom a bootstrap token (`id.secret`) names: it must be kept in kube-system, allowed for
    authentication, and not expired.

    https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
    """
    if not _BOOTSTRAP_TOKEN.fullmatch(token):
        return None
    name, _, secret = token.partition(".")
    found = core.get("", "secrets", "kube-system", f"bootstrap-token-{name}")
    if found is None or found.get("type") != "bootstrap.kubernetes.io/token" or "deletionTimestamp" in found["metadata"]:
        return None
    try:
        data = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
        expired = bool(data.get("expiration")) and _seconds(data["expiration"]) <= core.clock.now()
    except ValueError:
        return None
    right = data.get("token-id") == name and hmac.compare_digest(data.get("token-secret", ""), secret)
    if not right or expired or data.get("usage-bootstrap-authentication") != "true":
        return None
    more = [group.strip() for group in data.get("auth-extra-groups", "").split(",")]
    groups = ("system:bootstrappers", *(group for group in more if group.startswith("system:bootstrappers:")))
    return UserInfo(f"system:bootstrap:{name}", tuple(sorted(groups)))


_BOOTSTRAP_TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def with_group(user: UserInfo) -> UserInfo:
    """The user as a member of all authenticated users."""
    if _AUTHENTICATED in user.groups or user.name == "system:anonymous":
        return user
    return UserInfo(user.name, (*user.groups, _AUTHENTICATED), user.uid, user.extra)
