"""OpenAPI documents over HTTP. What they say is `actors.apiserver.openapi`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._messages import HttpReply
from actors.apiserver._negotiate import JSON
from protocol import status

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
        return _document(core, call, "v2", made.v2(), "")
    if path.startswith("/openapi/v3/"):
        name = path[len("/openapi/v3/") :]
        data = made.v3(name)
        if data is None:
            return HttpReply(404, "")
        return _document(core, call, name, data, made.hash(name))
    raise status.page_not_found()


def _document(core: Core, call: HttpCall, name: str, data: bytes, tag: str) -> HttpReply:
    headers: tuple[tuple[str, str], ...] = (("ETag", f'"{tag}"'),) if tag else ()
    if tag and call.headers.get("if-none-match", "").strip('"') == tag:
        return HttpReply(304, JSON, b"", headers)
    if len(data) > _GZIP_FROM_BYTES and "gzip" in call.headers.get("accept-encoding", ""):
        packed = core.openapi_packed.get(name)
        if packed is None or packed[0] is not data:
            from actors.apiserver._gzip import gzip

            packed = core.openapi_packed[name] = (data, gzip(data))
        return HttpReply(200, JSON, packed[1], (*headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")))
    return HttpReply(200, JSON, data, headers)
