"""OpenAPI documents over HTTP. What they say is `actors.apiserver.openapi`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from actors.apiserver._messages import HttpReply
from actors.apiserver._negotiate import JSON, clauses

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall

__all__ = ["documents", "openapi"]

_GZIP_FROM_BYTES = 16 * 1024


def documents(core: Core) -> Any:
    """The documents of an API server, with the custom resources that it serves now."""
    if core.openapi is None:
        from actors.apiserver.openapi import Documents

        core.openapi = Documents(core.schema)
        core.openapi_generation = 0
    if core.openapi_generation != core.resources.generation:
        core.openapi_generation = core.resources.generation
        custom = [document for served in core.resources if served.custom is not None
                  for document in served.custom.openapi(served)]
        core.openapi.set_custom(custom)
    return core.openapi


def openapi(core: Core, call: HttpCall, path: str, options: dict[str, str]) -> HttpReply:
    """Answer a path under `/openapi`."""
    made = documents(core)
    if path == "/openapi/v3":
        return HttpReply(200, "text/plain; charset=utf-8", orjson.dumps(made.index()))
    if path == "/openapi/v2":
        media = _accepted(call, _V2)
        if media is None:
            return HttpReply(406, "", b"", _VARY)
        data = made.v2() if media == JSON else made.v2_protobuf()
        return _document(core, call, _Served("v2" if media == JSON else "v2.protobuf", data, media, made.v2_hash(), _VARY))
    if path.startswith("/openapi/v3/"):
        name = path[len("/openapi/v3/") :]
        media = _accepted(call, _V3)
        if media is None:
            return HttpReply(406, "", b"", _VARY)
        document = made.v3(name) if media == JSON else made.v3_protobuf(name)
        if document is None:
            return HttpReply(404, "")
        tag = made.hash(name)
        headers: tuple[tuple[str, str], ...] = _VARY
        wanted = options.get("hash", "")
        if wanted and wanted != tag:
            return HttpReply(301, "text/html; charset=utf-8", b"", (*_VARY, ("Location", f"{path}?hash={tag}")))
        if wanted:
            headers = (*_VARY, ("Cache-Control", "public, immutable"))
        key = name if media == JSON else f"{name}.protobuf"
        return _document(core, call, _Served(key, document, media, tag, headers))
    return HttpReply(404, "text/plain; charset=utf-8", b"404 page not found\n")


class _Served(NamedTuple):
    """A document ready to be sent; `name` is its key among the packed ones."""

    name: str
    data: bytes
    media: str
    tag: str
    headers: tuple[tuple[str, str], ...]


_VARY = (("Vary", "Accept"),)


def _offered(version: str) -> dict[str, str]:
    """By what a client may ask for: the media type that it gets. The form with an `@` is the older one."""
    protobuf = f"application/com.github.proto-openapi.spec.{version}.v1.0+protobuf"
    return {JSON: JSON, protobuf: protobuf, protobuf.replace(f"{version}.", f"{version}@"): protobuf}


_V2, _V3 = _offered("v2"), _offered("v3")


def _accepted(call: HttpCall, offered: dict[str, str]) -> str | None:
    """The media type to answer with: of what the client takes, in its order, the first one offered."""
    for media, _ in clauses(call.headers.get("accept") or "*/*"):
        if media in ("*/*", "application/*"):
            return JSON
        if media in offered:
            return offered[media]
    return None


def _document(core: Core, call: HttpCall, served: _Served) -> HttpReply:
    headers = (*served.headers, ("ETag", f'"{served.tag}"'))
    if call.headers.get("if-none-match", "").strip('"') == served.tag:
        return HttpReply(304, served.media, b"", headers)
    if len(served.data) > _GZIP_FROM_BYTES and "gzip" in call.headers.get("accept-encoding", ""):
        packed = core.openapi_packed.get(served.name)
        if packed is None or packed[0] is not served.data:
            from actors.apiserver._gzip import gzip

            packed = core.openapi_packed[served.name] = (served.data, gzip(served.data))
        headers = (*headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
        return HttpReply(200, served.media, packed[1], headers)
    return HttpReply(200, served.media, served.data, headers)
