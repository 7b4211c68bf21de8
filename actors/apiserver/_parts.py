"""The pipeline's calls into the folders that know types: decoding, patches, field managers.

Owns nothing but the adaptation of a `Request` to those pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver.fieldvalidation import decode as _decode

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._request import Request

__all__ = ["apply", "decode", "own", "patch_document", "patched"]

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
        obj, warnings = served.custom.decode(served, body, directive, media or request.content_type)
    else:
        obj, warnings = _decode(
            core.schema, (kind.group, kind.version, kind.kind), body, directive, media or request.content_type
        )
    request.warnings += warnings
    return _metadata(obj)


def own(core: Core, request: Request, new: Object, old: Object | None) -> None:
    """Record in managedFields what this request's manager sets (not for apply)."""
    from actors.apiserver import managedfields

    served = request.served
    kind = served.kind
    type_, reset = _ownership(core, request)
    managedfields.update(
        type_,
        old,
        new,
        managedfields.manager_name(request.options.get("fieldManager", ""), request.user_agent),
        api_version=kind.api_version,
        now=core.clock.rfc3339(),
        subresource=request.subresource,
        reset=reset,
    )


def _ownership(core: Core, request: Request) -> tuple[Any, Any]:
    """The type by which fields are owned, and the filter of what this request cannot own."""
    from actors.apiserver.managedfields import reset_filter

    served = request.served
    kind = served.kind
    if served.custom is not None:
        return served.custom.type, served.custom.reset_filter(request.subresource)
    type_ = core.schema.by_gvk(kind.group, kind.version, kind.kind)
    return type_, reset_filter(kind.group, kind.resource, request.subresource)


def patched(core: Core, request: Request, old: Object) -> Object:
    """What the request's patch makes of an object: private, decoded and defaulted."""
    from actors.apiserver.patch import apply_patch

    served = request.served
    kind = served.kind
    directive = request.options.get("fieldValidation") or "Warn"
    if served.custom is not None:
        new, warnings = served.custom.patch(served, request.content_type, old, request.body, directive)
    else:
        type_ = core.schema.by_gvk(kind.group, kind.version, kind.kind)
        new, warnings = apply_patch(request.content_type, type_, old, request.body, directive)
    request.warnings += warnings
    _metadata(new)
    served.strategy.default(new)
    return new


def apply(core: Core, request: Request, old: Object | None) -> Object:
    """What an applied configuration makes of an object (or a new object of it)."""
    from actors.apiserver import managedfields

    served = request.served
    kind = served.kind
    config, warnings = managedfields.read_config(request.body, request.options.get("fieldValidation") or "Warn")
    request.warnings += warnings
    type_, reset = _ownership(core, request)
    new = managedfields.apply(
        type_,
        old,
        config,
        request.options.get("fieldManager", ""),
        force=request.options.get("force", "") in ("1", "true", "True", "TRUE", "t", "T"),
        api_version=kind.api_version,
        kind=kind.kind,
        now=core.clock.rfc3339(),
        subresource=request.subresource,
        reset=reset,
        typed=served.custom is None,
    )
    _metadata(new)
    if served.custom is not None:
        new = served.custom.settle(served, new)
    served.strategy.default(new)
    return new
