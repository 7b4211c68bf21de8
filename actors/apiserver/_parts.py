"""The pipeline's calls into the folders that know types: decoding, patches, field managers.

Owns nothing but the adaptation of a `Request` to those pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver import managedfields
from actors.apiserver._conversion import converter
from actors.apiserver._memo import Memo, content
from actors.apiserver._request import truthy
from actors.apiserver.fieldvalidation import DecodeFailure, measured
from actors.apiserver.fieldvalidation import decode as _decode
from protocol import status
from protocol.api import StatusError

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._request import Request

__all__ = ["apply", "decode", "own", "patched", "type_of"]

Object = dict[str, Any]


def _metadata(obj: Object) -> Object:
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    return obj


def decode(core: Core, request: Request, body: Any, media: str = "") -> Object:
    """The object that a body means, private to the request; warnings go to the request."""
    served = request.served
    kind = served.kind
    directive = request.options.get("fieldValidation") or "Warn"
    if served.custom is not None:
        try:
            obj, warnings = served.custom.decode(served, body, directive, media or request.content_type)
        except StatusError as error:
            request.warnings += getattr(error, "warnings", ())
            raise
    else:
        obj, warnings = _decode(
            core.schema, (kind.group, kind.version, kind.kind), body, directive, media or request.content_type
        )
    request.warnings += warnings
    return _metadata(obj)


def own(core: Core, request: Request, new: Object, old: Object | None) -> None:
    """Record in managedFields what this request's manager sets (not for apply)."""
    served = request.served
    kind = served.kind
    type_ = type_of(core, served)
    if type_ is None:
        return
    key: Any = None
    if old is None and served.custom is None and "managedFields" not in new["metadata"]:
        text = content(new)
        if text:
            key = (id(type_), request.manager, request.subresource, text)
            known = _owned.get(key)
            if known is not None:
                _adopt(core, new, known)
                return
    managedfields.update(
        type_,
        old,
        new,
        request.manager,
        api_version=kind.api_version,
        now=core.clock.rfc3339(),
        subresource=request.subresource,
        reset=_reset(served, request.subresource),
        look=_look(core, served),
    )
    if key is not None:
        entries = new["metadata"].get("managedFields") or []
        _owned.put(key, (type_, orjson.dumps(entries)))


_owned = Memo()


def _adopt(core: Core, new: Object, known: tuple[Any, bytes]) -> None:
    """Give an object the managedFields of its twin."""
    entries = orjson.loads(known[1])
    now = core.clock.rfc3339()
    for entry in entries:
        entry["time"] = now
    if entries:
        new["metadata"]["managedFields"] = entries


def type_of(core: Core, served: Any) -> Any:
    """The schema type of a served resource; None when it has none."""
    if served.custom is not None:
        return served.custom.type(served)
    kind = served.kind
    return core.schema.by_gvk(kind.group, kind.version, kind.kind)


def _look(core: Core, served: Any) -> Any:
    """How objects of a built-in kind look in its other versions; custom ones are compared as they are."""
    if served.custom is not None:
        return None
    own = served.kind

    def look(obj: Object, api_version: str) -> tuple[Any, Object] | None:
        group, _, version = api_version.rpartition("/")
        type_ = core.schema.by_gvk(group, version, own.kind)
        if type_ is None:
            return None
        convert = converter(own.group, own.kind, obj["apiVersion"], api_version)
        return type_, obj if convert is None else convert(obj)

    return look


def _reset(served: Any, subresource: str) -> Any:
    if served.custom is not None:
        return served.custom.reset(served, subresource)
    return managedfields.reset_filter(served.cache.group, served.cache.resource, subresource)


def patched(core: Core, request: Request, old: Object) -> Object:
    """What the request's patch makes of an object: private, decoded and defaulted."""
    from actors.apiserver.patch import apply_patch

    served = request.served
    kind = served.kind
    directive = request.options.get("fieldValidation") or "Warn"
    if served.custom is not None:
        new, warnings = served.custom.patch(served, request.content_type, old, request.body, directive)
        _check_depth(new)
    else:
        type_ = core.schema.by_gvk(kind.group, kind.version, kind.kind)
        new, warnings = apply_patch(request.content_type, type_, old, request.body, directive)
    request.warnings += warnings
    _metadata(new)
    served.strategy.default(new)
    return new


def _check_depth(obj: Object) -> None:
    """Patches may nest deeper what was well. Raises 400."""
    try:
        measured(obj)
    except DecodeFailure as failure:
        raise status.bad_request(f"the object is nested too deeply: {failure}") from None


def apply(core: Core, request: Request, old: Object | None) -> Object:
    """What an applied configuration makes of an object (or a new object of it)."""
    served = request.served
    kind = served.kind
    directive = request.options.get("fieldValidation") or "Warn"
    config, warnings = managedfields.read_config(request.body, directive)
    request.warnings += warnings
    new = managedfields.apply(
        type_of(core, served),
        old,
        config,
        request.options["fieldManager"],
        force=truthy(request.options.get("force")),
        api_version=kind.api_version,
        kind=kind.kind,
        now=core.clock.rfc3339(),
        subresource=request.subresource,
        reset=_reset(served, request.subresource),
        look=_look(core, served),
        typed=served.custom is None,
    )
    if served.custom is not None:
        new, warnings = served.custom.clean(served, new, directive)
        _check_depth(new)
        request.warnings += warnings
    _metadata(new)
    asked = (config.get("metadata") or {}) if isinstance(config, dict) else {}
    for field in ("resourceVersion", "uid"):
        if asked.get(field):
            new["metadata"][field] = asked[field]
    if old is None:
        new["metadata"].setdefault("name", request.name)
        if kind.namespaced:
            new["metadata"].setdefault("namespace", request.namespace)
    served.strategy.default(new)
    return new
