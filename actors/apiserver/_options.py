"""Options of requests: parsing, and refusing wrong ones in upstream's words.

Owns CreateOptions, UpdateOptions, PatchOptions, DeleteOptions and ListOptions
(k8s.io/apimachinery/pkg/apis/meta/v1/validation, .../internalversion/validation).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from actors.apiserver.strategies import FieldError
from protocol import status

__all__ = ["APPLY", "DeleteOptions", "check_write_options", "delete_options", "integer", "resource_version"]

APPLY = "application/apply-patch+yaml"
Object = dict[str, Any]
_MANAGER_BYTES = 128
_INT_TEXT = 'strconv.ParseInt: parsing "{0}": invalid syntax'


def _unsupported(field: str, value: str, supported: tuple[str, ...]) -> FieldError:
    words = ", ".join(f'"{word}"' for word in supported)
    return FieldError("FieldValueNotSupported", field, f"Unsupported value: {value}: supported values: {words}")


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if not values or values == ["All"]:
        return []
    return [_unsupported("dryRun", orjson.dumps(values).decode(), ("All",))]


def _manager_errors(manager: str) -> list[FieldError]:
    errors = []
    if len(manager.encode()) > _MANAGER_BYTES:
        errors.append(
            FieldError("FieldValueTooLong", "fieldManager", f"Too long: may not be more than {_MANAGER_BYTES} bytes")
        )
    for index, char in enumerate(manager):
        if not char.isprintable():
            text = orjson.dumps(manager).decode()
            errors.append(
                FieldError(
                    "FieldValueInvalid",
                    "fieldManager",
                    f"Invalid value: {text}: invalid character {char!r} (at position {index})",
                )
            )
    return errors


def check_write_options(kind: str, options: dict[str, str], patch_type: str = "") -> None:
    """Refuse wrong options of a create, update or patch. Raises 422."""
    errors: list[FieldError] = []
    if patch_type:
        if patch_type == APPLY:
            if not options.get("fieldManager"):
                errors.append(
                    FieldError("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
                )
        elif options.get("force"):
            errors.append(
                FieldError("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch")
            )
    if len(options) > len(errors):
        if options.get("fieldManager"):
            errors += _manager_errors(options["fieldManager"])
        if options.get("dryRun"):
            errors += _dry_run_errors([options["dryRun"]])
        directive = options.get("fieldValidation")
        if directive and directive not in ("Ignore", "Warn", "Strict"):
            errors.append(
                _unsupported("fieldValidation", f'"{directive}"', ("", "Ignore", "Strict", "Warn"))
            )
    if errors:
        raise status.invalid("meta.k8s.io", kind, "", errors)


class DeleteOptions(NamedTuple):
    """What a delete may ask for."""

    grace_s: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    orphan: bool | None = None
    policy: str | None = None
    dry_run: bool = False


_DELETE_FIELDS = {
    "gracePeriodSeconds": int,
    "orphanDependents": bool,
    "propagationPolicy": str,
    "preconditions": dict,
    "dryRun": list,
    "ignoreStoreReadErrorWithClusterBreakingPotential": bool,
}
_GO_TYPES = {"gracePeriodSeconds": "int64", "orphanDependents": "bool", "propagationPolicy": "v1.DeletionPropagation",
             "preconditions": "v1.Preconditions", "dryRun": "[]string"}
_SCHEME = 'in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'


def delete_options(body: Any, options: dict[str, str]) -> DeleteOptions:
    """DeleteOptions from a body (bytes, object or nothing), else from query parameters.

    Raises 400 for a body that is none, 422 for values that are not allowed.
    """
    found = _parse_body(body)
    if not found:
        found = _from_query(options)
    values = list(found.get("dryRun") or ())
    policy, orphan = found.get("propagationPolicy"), found.get("orphanDependents")
    errors: list[FieldError] = []
    if policy is not None and orphan is not None:
        errors.append(
            FieldError(
                "FieldValueInvalid",
                "propagationPolicy",
                f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set',
            )
        )
    if policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        errors.append(
            _unsupported("propagationPolicy", f'"{policy}"', ("Foreground", "Background", "Orphan", "nil"))
        )
    errors += _dry_run_errors(values)
    if errors:
        raise status.invalid("meta.k8s.io", "DeleteOptions", "", errors)
    grace = found.get("gracePeriodSeconds")
    preconditions = found.get("preconditions") or {}
    return DeleteOptions(
        grace_s=1 if grace is not None and grace < 0 else grace,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        orphan=orphan,
        policy=policy,
        dry_run=bool(values),
    )


def _parse_body(body: Any) -> Object:
    if body is None or body == b"":
        return {}
    if isinstance(body, bytes):
        from actors.apiserver.fieldvalidation import DecodeFailure, decode_kind, parse_body

        try:
            body = parse_body(body).value
            decode_kind(body)
        except DecodeFailure as failure:
            words = str(failure)
            if "couldn't get version/kind" not in words:
                words = f"couldn't get version/kind; json parse error: {words}"
            raise status.bad_request(words) from None
    if body is None:  # a bare `null`
        return {}
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if kind and kind != "DeleteOptions":
        raise status.bad_request(f'no kind "{kind}" is registered for version "{api_version or "v1"}" {_SCHEME}')
    for name, kind_of in _DELETE_FIELDS.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kind_of) or (kind_of is int and isinstance(value, bool))):
            words = {bool: "bool", str: "string", dict: "object", list: "array"}.get(type(value), "number")
            raise status.bad_request(
                f"json: cannot unmarshal {words} into Go struct field DeleteOptions.{name} of type "
                f"{_GO_TYPES.get(name, 'bool')}"
            )
    found: Object = body
    return found


def _from_query(options: dict[str, str]) -> Object:
    found: Object = {}
    if options.get("gracePeriodSeconds"):
        found["gracePeriodSeconds"] = integer(options["gracePeriodSeconds"])
    if options.get("propagationPolicy"):
        found["propagationPolicy"] = options["propagationPolicy"]
    if options.get("orphanDependents"):
        found["orphanDependents"] = options["orphanDependents"].lower() not in ("false", "0")
    if options.get("dryRun"):
        found["dryRun"] = [options["dryRun"]]
    return found


def integer(text: str) -> int:
    """A query parameter as a 64-bit integer. Raises 400 in Go's words."""
    try:
        if not text.lstrip("+-").isdigit() or not text.isascii():
            raise ValueError
        return int(text)
    except ValueError:
        raise status.bad_request(_INT_TEXT.format(text)) from None


def resource_version(text: str) -> int:
    """A resourceVersion as a number. Raises ValueError with Go's words."""
    if not text or text == "0":
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)
