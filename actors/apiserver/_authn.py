"""Who makes a request: client certificates, bearer tokens, anonymous; and impersonation.

Owns the order of the ways to authenticate. It must never log a credential.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import base64
import hmac
import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from actors.apiserver._authz import Attributes
from protocol import status
from protocol.api import UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall

__all__ = ["ANONYMOUS", "authenticate", "impersonate"]

ANONYMOUS = UserInfo("system:anonymous", ("system:unauthenticated",))
_AUTHENTICATED = "system:authenticated"
_ACCOUNT = "system:serviceaccount:"


def authenticate(core: Core, call: HttpCall) -> UserInfo:
    """The user behind a request. Raises 401 for credentials that name nobody."""
    header = call.headers.get("authorization", "")
    if header[:7].lower() == "bearer ":
        token = header[7:].strip()
        user = core.config.tokens.get(token) or bootstrap_user(core, token)
        if user is None:
            user = core.token_user(token)
        if user is not None:
            return with_group(user)
        raise status.unauthorized()
    if call.peer is not None:
        return with_group(call.peer)
    if core.config.anonymous:
        return ANONYMOUS
    raise status.unauthorized()


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


def _go_strings(values: tuple[str, ...]) -> str:
    if not values:
        return "[]string(nil)"
    return "[]string{" + ", ".join(f'"{value}"' for value in values) + "}"


def impersonate(core: Core, call: HttpCall, user: UserInfo, wanted: Attributes) -> UserInfo:
    """The user to act as. Raises 400 and 403 as upstream does."""
    headers = call.headers
    name = headers.get("impersonate-user", "")
    groups = tuple((call.lists or {}).get("impersonate-group") or ())
    uid = headers.get("impersonate-uid", "")
    extra = {
        unquote(key[len("impersonate-extra-") :]): tuple(values)
        for key, values in (call.lists or {}).items()
        if key.startswith("impersonate-extra-")
    }
    if not (name or groups or uid or extra):
        return user
    if not name:
        shown = "map[string][]string(nil)"
        if extra:
            shown = "map[string][]string{" + ", ".join(f'"{k}":{_go_strings(v)}' for k, v in sorted(extra.items())) + "}"
        raise status.bad_request(
            f'requested &user.DefaultInfo{{Name:"{name}", UID:"{uid}", Groups:{_go_strings(groups)}, '
            f"Extra:{shown}}} without impersonating a user name"
        )
    if not _may_impersonate(core, user, name, groups, uid, extra):
        verb = "impersonate-on:user-info:" + wanted.verb
        raise core.authorizer.refusal(user, wanted._replace(verb=verb))
    return _acting_as(name, groups, uid, extra)


def _acting_as(name: str, groups: tuple[str, ...], uid: str, extra: dict[str, tuple[str, ...]]) -> UserInfo:
    if not groups and name.startswith(_ACCOUNT):
        namespace = name[len(_ACCOUNT) :].partition(":")[0]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    if name == "system:anonymous":
        if "system:unauthenticated" not in groups:
            groups = (*groups, "system:unauthenticated")
    elif _AUTHENTICATED not in groups and "system:unauthenticated" not in groups:
        groups = (*groups, _AUTHENTICATED)
    return UserInfo(name, groups, uid, extra)


def _may_impersonate(
    core: Core, user: UserInfo, name: str, groups: tuple[str, ...], uid: str, extra: dict[str, tuple[str, ...]]
) -> bool:
    decide = core.authorizer.decide
    if name.startswith(_ACCOUNT) and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        wanted = [Attributes("impersonate", "", "serviceaccounts", "", namespace, account)]
    else:
        wanted = [Attributes("impersonate", "", "users", "", "", name)]
    wanted += [Attributes("impersonate", "", "groups", "", "", group) for group in groups]
    if uid:
        wanted.append(Attributes("impersonate", "authentication.k8s.io", "uids", "", "", uid))
    for key, values in extra.items():
        wanted += [Attributes("impersonate", "authentication.k8s.io", "userextras", key, "", v) for v in values]
    return all(decide(user, attributes)[0] for attributes in wanted)
