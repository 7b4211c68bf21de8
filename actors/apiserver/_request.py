"""What a request asks for: from a URL path to verb, resource, namespace, name and subresource.

Owns the grammar of the API's paths (k8s.io/apiserver/pkg/endpoints/request) and of the options
that every verb shares. It must never touch the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from protocol.api import UserInfo
from protocol.fieldselectors import parse_field_selector
from protocol.selectors import SelectorError

__all__ = ["Path", "Request", "named_by", "parse_path", "parse_query", "truthy"]

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class Path(NamedTuple):
    """A path of the API. `resource` is empty for discovery paths of a group version."""

    group: str
    version: str
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource (proxies)."""
    deprecated_watch: bool = False


@lru_cache(8192)
def parse_path(path: str) -> Path | None:
    """The meaning of `/api/...` and `/apis/...` paths; None for all others."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = bool(rest) and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    if not rest:
        return Path(group, version)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    resource, tail = rest[0], rest[1:]
    name = tail[0] if tail else ""
    subresource = tail[1] if len(tail) > 1 else ""
    return Path(group, version, resource, namespace, name, subresource, "/".join(tail[2:]), watch)


@lru_cache(4096)
def _parse_query(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query, keep_blank_values=True))


def parse_query(query: str) -> dict[str, str]:
    """The first value of every parameter."""
    out: dict[str, str] = {}
    for key, value in _parse_query(query) if query else ():
        out.setdefault(key, value)
    return out


def query_values(query: str, name: str) -> list[str]:
    """All values of a parameter that may repeat, such as exec's `command`."""
    return [value for key, value in (_parse_query(query) if query else ()) if key == name]


def truthy(value: str | None) -> bool:
    """A boolean parameter as Go's conversion reads it: present and not 0 or false."""
    return value is not None and value.lower() not in ("0", "false")


def named_by(options: Mapping[str, str]) -> str:
    """The one name that a list's or watch's field selector leaves over; empty when it does not."""
    text = options.get("fieldSelector", "")
    if "metadata.name" not in text:
        return ""
    try:
        name = parse_field_selector(text).required("metadata.name") or ""
    except SelectorError:
        return ""
    return "" if name in (".", "..") or "/" in name or "%" in name else name


def verb_of(method: str, path: Path, options: dict[str, str]) -> str:
    """The API verb of an HTTP request; empty when the method has none."""
    verb = _VERBS.get(method, "")
    if verb == "get" and path.deprecated_watch:
        return "watch"
    if path.name:
        return verb
    if verb == "get":
        return "watch" if truthy(options.get("watch")) else "list"
    return "deletecollection" if verb == "delete" else verb


class Request:
    """One API request on its way through the pipeline.

    `body` is bytes when it came over HTTP and an object from a client in this process.
    """

    __slots__ = (
        "annotations", "body", "content_type", "custom", "name", "namespace", "options", "query", "served", "subresource",
        "user", "user_agent", "verb", "warnings",
    )

    def __init__(
        self,
        verb: str,
        served: Any,
        namespace: str,
        name: str,
        subresource: str,
        options: dict[str, str],
        body: Any,
        content_type: str,
        user: UserInfo,
        user_agent: str,
        query: str = "",
    ) -> None:
        self.verb = verb
        self.served = served
        self.namespace = namespace
        self.name = name
        self.subresource = subresource
        self.options = options
        self.body = body
        self.content_type = content_type
        self.user = user
        self.user_agent = user_agent
        self.query = query
        self.warnings: list[str] = []
        self.annotations: dict[str, str] = {}
        """What admission has to say to the audit log."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return bool(self.options.get("dryRun"))

    @property
    def manager(self) -> str:
        """The field manager: named, or the program in the user agent."""
        named = self.options.get("fieldManager")
        if named:
            return named
        program = self.user_agent.split("/", 1)[0][:128]
        return "".join(c for c in program if c.isprintable()) or "unknown"
