"""OpenAPI documents over HTTP. What they say is `actors.apiserver.openapi`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._messages import HttpReply

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall
    from actors.apiserver.openapi import Documents

__all__ = ["openapi"]


def _documents(core: Core) -> Documents:
    """The documents of what is served now; kept on the core until that changes."""
    from actors.apiserver.openapi import CustomDocument, Documents

    kept: tuple[int, Documents] | None = core.__dict__.get("_openapi")
    generation = core.resources.generation
    if kept is not None and kept[0] == generation:
        return kept[1]
    custom = [
        CustomDocument(served.kind, served.custom.published_schema)
        for served in core.resources
        if served.custom is not None
    ]
    documents = kept[1] if kept is not None else Documents(core.schema)
    documents.set_custom(custom)
    core.__dict__["_openapi"] = (generation, documents)
    return documents


def openapi(core: Core, call: HttpCall, path: str, options: dict[str, str]) -> HttpReply:
    """Answer a path under `/openapi`."""
    documents = _documents(core)
    headers: list[tuple[str, str]] = []
    body: bytes | None
    content_type = "application/json"
    rest = path.rstrip("/")
    if rest == "/openapi/v2":
        body = documents.v2()
    elif rest == "/openapi/v3":
        body, content_type = orjson.dumps(documents.index()), "text/plain; charset=utf-8"
    else:
        name = rest.removeprefix("/openapi/v3/")
        body = documents.v3(name) if rest.startswith("/openapi/v3/") else None
        if body is None:
            return HttpReply(404, "text/plain; charset=utf-8", b"")
        etag = f'"{documents.hash(name)}"'
        if call.headers.get("if-none-match") == etag:
            return HttpReply(304, content_type, b"", (("ETag", etag),))
        headers.append(("ETag", etag))
        wanted: Any = options.get("hash")
        if wanted:
            headers.append(("Cache-Control", "public, immutable"))
    return HttpReply(200, content_type, body, tuple(headers))
