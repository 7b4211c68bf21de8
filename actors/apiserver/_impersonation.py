"""Impersonation: acting as somebody else, for those who may.

Owns the headers that ask for it, the modes in which it is allowed and the words of refusals. Since
1.36 it can be granted narrowly (KEP-5284): `impersonate:<mode>` on whom to act as, together with
`impersonate-on:<mode>:<verb>` on what to do as that user. The old verb `impersonate` allows all.

https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from actors.apiserver._authz import Attributes
from actors.apiserver.patch._gotext import go_quote
from protocol import status
from protocol.api import StatusError, UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall

__all__ = ["Acting", "impersonate"]

CONSTRAINED_SINCE = 36
NODE_EXTRA = "authentication.kubernetes.io/node-name"
_AUTHENTICATION = "authentication.k8s.io"
_ACCOUNT = "system:serviceaccount:"
_NODE = "system:node:"
_MANY = 4
"""From so many checks on, one for all of them is tried first."""
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_NODE_NAME = re.compile(rf"{_NODE}({_SUBDOMAIN})")
_ACCOUNT_NAME = re.compile(rf"{_ACCOUNT}({_LABEL}):({_SUBDOMAIN})")
_PREFIXED_PATH = re.compile(rf"{_SUBDOMAIN}/.+")


class Acting(NamedTuple):
    """Whom a request acts as, and the mode's verb that allowed it; empty for the old verb."""

    user: UserInfo
    constraint: str = ""


def impersonate(core: Core, call: HttpCall, user: UserInfo, wanted: Attributes) -> Acting | None:
    """The user to act as; None when the request asks for nobody. Raises 400 and 403 as upstream does."""
    asked = _asked(call)
    if asked is None:
        return None
    first: StatusError | None = None
    for mode in _MODES if core.config.minor >= CONSTRAINED_SINCE else ():
        if not _applies(mode, asked, user):
            continue
        try:
            return _constrained(core, mode, asked, user, wanted)
        except StatusError as error:
            first = first or error
    try:
        for attributes in _checks("impersonate", asked, ""):
            core.authorizer.require(user, attributes)
    except StatusError as error:
        raise first or error from None
    return Acting(_completed(asked, False))


def _asked(call: HttpCall) -> UserInfo | None:
    headers, lists = call.headers, call.lists or {}
    name, uid = headers.get("impersonate-user", ""), headers.get("impersonate-uid", "")
    groups = tuple(lists.get("impersonate-group") or ())
    extra: dict[str, tuple[str, ...]] = {}
    for key, values in lists.items():
        if key.startswith("impersonate-extra-"):
            field = unquote(key[len("impersonate-extra-") :])
            extra[field] = (*extra.get(field, ()), *values)
    if name:
        return UserInfo(name, groups, uid, extra)
    if not (groups or uid or extra):
        return None
    shown = "map[string][]string(nil)"
    if extra:
        pairs = ", ".join(f"{go_quote(key)}:{_go_strings(values)}" for key, values in sorted(extra.items()))
        shown = f"map[string][]string{{{pairs}}}"
    raise status.bad_request(
        f'requested &user.DefaultInfo{{Name:"", UID:{go_quote(uid)}, Groups:{_go_strings(groups)}, Extra:{shown}}}'
        " without impersonating a user name"
    )


def _go_strings(values: tuple[str, ...]) -> str:
    return "[]string{" + ", ".join(map(go_quote, values)) + "}" if values else "[]string(nil)"


# --- modes --------------------------------------------------------------------------------------

_MODES = ("associated-node", "arbitrary-node", "serviceaccount", "user-info")


def _applies(mode: str, asked: UserInfo, user: UserInfo) -> bool:
    """Whether a mode is for such users. Nodes and accounts are impersonated by their names alone."""
    node, account = _NODE_NAME.fullmatch(asked.name), _ACCOUNT_NAME.fullmatch(asked.name)
    if mode == "user-info":
        return node is None and account is None
    if asked.groups or asked.uid or asked.extra:
        return False
    if mode == "serviceaccount":
        return account is not None
    if mode == "arbitrary-node" or node is None:
        return node is not None
    return _ACCOUNT_NAME.fullmatch(user.name) is not None and tuple(user.extra.get(NODE_EXTRA, ())) == (node[1],)


def _constrained(core: Core, mode: str, asked: UserInfo, user: UserInfo, wanted: Attributes) -> Acting:
    require, verb = core.authorizer.require, f"impersonate:{mode}"
    require(user, wanted._replace(verb=f"impersonate-on:{mode}:{wanted.verb}"))
    who, *_ = _checks(verb, asked, _AUTHENTICATION)
    require(user, who._replace(name="*") if mode == "associated-node" else who)
    if asked.uid:
        require(user, Attributes(verb, _AUTHENTICATION, "uids", name=asked.uid))
    _require_groups(core, verb, asked, user)
    _require_extra(core, verb, asked, user)
    return Acting(_completed(asked, True), verb)


def _require_groups(core: Core, verb: str, asked: UserInfo, user: UserInfo) -> None:
    groups = Attributes(verb, _AUTHENTICATION, "groups")
    if "" in asked.groups:
        raise core.authorizer.refusal(user, groups, "impersonating the empty string group is not allowed")
    if "system:masters" in asked.groups:
        why = "impersonating the system:masters group is not allowed"
        raise core.authorizer.refusal(user, groups._replace(name="system:masters"), why)
    if len(asked.groups) >= _MANY and core.authorizer.decide(user, groups._replace(name="*"))[0]:
        return
    for group in asked.groups:
        core.authorizer.require(user, groups._replace(name=group))


def _require_extra(core: Core, verb: str, asked: UserInfo, user: UserInfo) -> None:
    extras = Attributes(verb, _AUTHENTICATION, "userextras")
    for key, values in asked.extra.items():
        why = _wrong_extra(key, values)
        if why:
            raise core.authorizer.refusal(user, extras, why)
    if sum(max(len(values), 1) for values in asked.extra.values()) >= _MANY:
        if core.authorizer.decide(user, extras._replace(subresource="*", name="*"))[0]:
            return
    for attributes in _extra_checks(verb, asked):
        core.authorizer.require(user, attributes)


def _wrong_extra(key: str, values: tuple[str, ...]) -> str:
    if not key:
        return "impersonating the empty string key in extra is not allowed"
    if not _PREFIXED_PATH.fullmatch(key):
        return (
            f"impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {go_quote(key)}: must be"
            ' a domain-prefixed path (such as "acme.io/foo")'
        )
    if key != key.lower():
        return f"impersonating a non-lowercase key in extra is not allowed: {go_quote(key)}"
    if not values:
        return "impersonating empty values in extra is not allowed"
    return "impersonating the empty string value in extra is not allowed" if "" in values else ""


# --- what is checked ----------------------------------------------------------------------------


def _checks(verb: str, asked: UserInfo, group: str) -> Iterator[Attributes]:
    """One check per thing that is impersonated: the name, then uid, groups and extras. `group`: the API
    group of users and groups."""
    account, node = _ACCOUNT_NAME.fullmatch(asked.name), _NODE_NAME.fullmatch(asked.name) if group else None
    if account is not None:
        yield Attributes(verb, group, "serviceaccounts", "", account[1], account[2])
    elif node is not None:
        yield Attributes(verb, group, "nodes", name=node[1])
    else:
        yield Attributes(verb, group, "users", name=asked.name)
    if asked.uid:
        yield Attributes(verb, _AUTHENTICATION, "uids", name=asked.uid)
    for member in asked.groups:
        yield Attributes(verb, group, "groups", name=member)
    yield from _extra_checks(verb, asked)


def _extra_checks(verb: str, asked: UserInfo) -> Iterator[Attributes]:
    for key, values in asked.extra.items():
        for value in values:
            yield Attributes(verb, _AUTHENTICATION, "userextras", key, "", value)


def _completed(asked: UserInfo, constrained: bool) -> UserInfo:
    """The impersonated user with the groups that such a user always has."""
    groups = asked.groups
    account = _ACCOUNT_NAME.fullmatch(asked.name)
    if constrained and _NODE_NAME.fullmatch(asked.name):
        groups = ("system:nodes",)
    if not groups and account is not None:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account[1]}")
    more = "system:authenticated"
    if asked.name == "system:anonymous" or "system:unauthenticated" in groups:
        more = "system:unauthenticated"
    if more not in groups:
        groups = (*groups, more)
    return UserInfo(asked.name, groups, asked.uid, asked.extra)
