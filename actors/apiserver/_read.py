"""get and list.

Owns the meaning of resourceVersion, resourceVersionMatch, limit, continue and the selectors for
reads. Objects come from the watch cache; the past comes from etcd.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from actors.apiserver._cache import Bucket, Entry, items
from actors.apiserver._core import Answer, Core
from actors.apiserver._gzip import gzip, gzip_list
from actors.apiserver._options import integer, resource_version
from actors.apiserver._request import Request
from actors.apiserver._resources import Served
from actors.apiserver._selection import selection
from actors.apiserver._store import Compacted
from actors.apiserver._watch import Selection
from actors.apiserver.strategies import FieldError
from protocol import status

__all__ = ["Listing", "get", "list_objects"]

Object = dict[str, Any]
_FUTURE_WAIT_S = 3.0
_MATCHES = ("Exact", "NotOlderThan")


class Listing:
    """The answer to a list: entries, and the list's own metadata."""

    __slots__ = ("bucket", "continue_token", "entries", "remaining", "revision", "served")

    def __init__(
        self,
        served: Served,
        entries: list[Entry],
        revision: int,
        continue_token: str = "",
        remaining: int | None = None,
        bucket: Bucket | None = None,
    ) -> None:
        self.served = served
        self.entries = entries
        self.revision = revision
        self.continue_token = continue_token
        self.remaining = remaining
        self.bucket = bucket
        """Set when the list is exactly this bucket's content now: its JSON may be reused."""

    def metadata(self) -> Object:
        """The list's metadata."""
        metadata: Object = {"resourceVersion": str(self.revision)}
        if self.continue_token or self.served.custom is not None:  # untyped lists always have the field
            metadata["continue"] = self.continue_token
        if self.remaining:
            metadata["remainingItemCount"] = self.remaining
        return metadata

    def json(self) -> bytes:
        """The list as JSON."""
        return b"".join(self.parts())

    def gzipped(self, at_least: int) -> bytes | None:
        """The list compressed; None when it is smaller than `at_least` bytes."""
        kind, served = self.served.kind, self.served
        head, content, tail = self.parts()
        if len(content) < at_least:
            return None
        if self.bucket is None:
            return gzip(head + content + tail)
        packed = self.bucket.packed(kind.api_version, served.from_storage, served.custom is None)
        return gzip_list(head, content, packed, tail)

    def parts(self) -> tuple[bytes, bytes, bytes]:
        """The list as JSON in pieces, made of the items' own encodings: a large list is not copied
        once more to be sent."""
        kind, served = self.served.kind, self.served
        if self.bucket is not None:
            content = self.bucket.joined(kind.api_version, served.from_storage, served.custom is None)
        else:
            content = items(self.entries, kind.api_version, served.from_storage, served.custom is None)
        head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
            kind.list_kind.encode(),
            kind.api_version.encode(),
            orjson.dumps(self.metadata()),
        )
        return head, content, b"]}"

    def object(self) -> Object:
        """The list as an object whose items are shared with the cache."""
        kind, convert = self.served.kind, self.served.from_storage
        return {
            "kind": kind.list_kind,
            "apiVersion": kind.api_version,
            "metadata": self.metadata(),
            "items": [e.view(kind.api_version, convert).object for e in self.entries],
        }


def _number(request: Request, on_error: Callable[[str], Exception]) -> int:
    try:
        return resource_version(request.options.get("resourceVersion", ""))
    except ValueError as error:
        raise on_error(str(error)) from None


async def get(core: Core, request: Request) -> Answer:
    """One object. Raises 404; 504 for a version that does not come."""
    served = request.served
    version = request.options.get("resourceVersion")
    if version:
        number = _number(request, status.unknown_error)
        if number > core.store.revision:
            await wait_for(core, number)
    else:
        await core.store.fresh()
    entry = served.cache.get(request.namespace if served.kind.namespaced else "", request.name)
    if entry is None:
        raise status.not_found(served.kind.group, served.kind.resource, request.name)
    return Answer(served, entry)


async def wait_for(core: Core, number: int) -> None:
    """Wait a little for a version in the future. Raises 504 when it does not come."""
    deadline = core.clock.monotonic() + _FUTURE_WAIT_S
    if not core.config.exclusive:
        while number > core.store.revision and core.clock.monotonic() < deadline:
            await core.actor.sleep(0.05)
    if number > core.store.revision:
        raise status.too_large_resource_version(number, core.store.revision)


def check_list_options(options: Mapping[str, str], watching: bool) -> None:
    """Refuse combinations that mean nothing. Raises 422."""
    match = options.get("resourceVersionMatch", "")
    version = options.get("resourceVersion", "")
    initial = options.get("sendInitialEvents")
    errors: list[FieldError] = []

    def forbid(field: str, text: str) -> None:
        errors.append(FieldError("FieldValueForbidden", field, "Forbidden: " + text))

    if initial is not None and not watching:
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")
    elif watching and initial is not None:
        if match != "NotOlderThan":
            forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if options.get("allowWatchBookmarks", "").lower() not in ("true", "1") and initial.lower() in ("true", "1", ""):
            pass
        if options.get("continue"):
            forbid("continue", "continue is forbidden for watch")
    elif match:
        if watching:
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        elif not version:
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if options.get("continue"):
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        if match not in _MATCHES or (watching and match != "NotOlderThan"):
            supported = ('"NotOlderThan"',) if watching else ('"Exact"', '"NotOlderThan"', '""')
            errors.append(
                FieldError(
                    "FieldValueNotSupported",
                    "resourceVersionMatch",
                    f'Unsupported value: "{match}": supported values: ' + ", ".join(supported),
                )
            )
        if not watching and match == "Exact" and version == "0":
            forbid("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if errors:
        raise status.invalid("meta.k8s.io", "ListOptions", "", errors)


async def list_objects(core: Core, request: Request) -> Answer:
    """A list, or a page of one."""
    options = request.options
    served: Served = request.served
    chosen = selection(request)
    check_list_options(options, False)
    limit = integer(options["limit"]) if options.get("limit") else 0
    if options.get("continue"):
        return await _continued(core, served, chosen, options, max(limit, 0))
    number = _number(
        request,
        lambda text: status.bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{options["resourceVersion"]}": {text}'
        ),
    )
    version, match = options.get("resourceVersion", ""), options.get("resourceVersionMatch", "")
    if number > core.store.revision:
        await wait_for(core, number)
    elif not version:
        await core.store.fresh()
    if number and (match == "Exact" or (limit > 0 and not match)) and number < core.store.revision:
        return await _past(core, served, chosen, number, limit, "")
    await _judgeable(served, chosen)
    revision = core.store.revision
    unpaged = limit <= 0 or (version == "0" and match != "Exact")
    if unpaged:
        whole = served.cache.bucket(chosen.namespace) if chosen.everything else None
        if whole is not None:
            return Answer(items=Listing(served, whole.ordered(), revision, bucket=whole))
        return Answer(items=Listing(served, chosen.candidates(served.cache), revision))
    return Answer(items=_page(served, chosen.candidates(served.cache), revision, limit, _selective(options)))


async def _judgeable(served: Served, chosen: Selection) -> None:
    """Have everything at hand that a selection judges by its converted form."""
    while chosen.view is not None:
        missing = [e for e in chosen.indexed(served.cache) if not e.has(served.kind.api_version)]
        if not missing:
            return
        await served.prepare(missing)


def _selective(options: Mapping[str, str]) -> bool:
    return bool(options.get("labelSelector") or options.get("fieldSelector"))


def _page(served: Served, entries: list[Entry], revision: int, limit: int, selective: bool) -> Listing:
    if len(entries) <= limit:
        return Listing(served, entries, revision)
    page = entries[:limit]
    token = base64.urlsafe_b64encode(
        orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": page[-1].key + "\0"})
    ).decode().rstrip("=")
    return Listing(served, page, revision, token, None if selective else len(entries) - limit)


def _decode_token(token: str) -> tuple[int, str]:
    from actors.apiserver.fieldvalidation import DecodeFailure, parse_json

    why = ""
    try:
        found, _ = parse_json(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        version, revision, start = found.get("v"), found.get("rv"), found.get("start")
        if version != "meta.k8s.io/v1":
            why = f"server does not recognize this encoded version {version or ''}"
        elif not revision or not isinstance(revision, int):
            why = f"incorrect encoded start resourceVersion (version {version})"
        elif not start or not isinstance(start, str):
            why = f"encoded start key empty (version {version})"
        elif posixpath.normpath("/" + start.lstrip("/")) != "/" + start.removeprefix("/"):
            why = start  # a start outside of what is listed
        else:
            return revision, start
    except binascii.Error:
        valid = re.match(r"[A-Za-z0-9_-]*", token)
        why = f"illegal base64 data at input byte {len(valid[0]) if valid else 0}"
    except (DecodeFailure, AttributeError) as error:
        why = str(error)
    raise status.bad_request(f"invalid continue token: continue key is not valid: {why}")


async def _continued(
    core: Core, served: Served, chosen: Selection, options: Mapping[str, str], limit: int
) -> Answer:
    if options.get("resourceVersion") and options["resourceVersion"] != "0":
        raise status.bad_request("specifying resource version is not allowed when using continue")
    revision, start = _decode_token(options["continue"])
    if revision <= 0:  # the rest, as it is now
        await _judgeable(served, chosen)
        entries = [e for e in chosen.candidates(served.cache) if e.key >= start]
        limit = limit or len(entries)
        return Answer(items=_page(served, entries, core.store.revision, limit, _selective(options)))
    return await _past(core, served, chosen, revision, limit, start, _selective(options))


async def _past(
    core: Core, served: Served, chosen: Selection, revision: int, limit: int, start: str, selective: bool = False
) -> Answer:
    try:
        entries = await core.store.at(served.cache, chosen.namespace, revision)
    except Compacted:
        raise _expired(revision, start) from None
    if chosen.view is not None:
        await served.prepare(entries)
    found = [entry for entry in entries if entry.key >= start and chosen.matches(entry)]
    if limit <= 0:
        return Answer(items=Listing(served, found, revision))
    return Answer(items=_page(served, found, revision, limit, selective))


def _expired(revision: int, start: str) -> Exception:
    if not start:
        return status.expired("The resourceVersion for the provided list is too old.")
    error = status.expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the continue parameter, or use the continue token in this response to retrieve the "
        "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
        "that were created, modified, or deleted between the time the first chunk was returned and now may show "
        "up in the list."
    )
    token = orjson.dumps({"v": "meta.k8s.io/v1", "rv": -1, "start": start})
    error.status["metadata"] = {"continue": base64.urlsafe_b64encode(token).decode().rstrip("=")}
    return error
