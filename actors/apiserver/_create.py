"""create: from what a client sent to a new object in the store.

Owns names (given or generated), identity, and the order of the steps for something new: decode,
default, field managers, mutating admission, preparation, validation, validating admission, store.
What the steps mean for a kind is the strategy's.
"""

from __future__ import annotations

import re
from typing import Any

from actors.apiserver import _parts as parts
from actors.apiserver._authz import RBAC
from actors.apiserver._cache import Entry, encode
from actors.apiserver._core import Answer, Core
from actors.apiserver._escalation import check_grant
from actors.apiserver._memo import Memo, content
from actors.apiserver._options import check_write_options
from actors.apiserver._request import Request
from actors.apiserver._resources import Served
from actors.apiserver._store import Superseded
from actors.apiserver.admission import CREATE, Attributes
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._gates import drop_switched_off
from protocol import status
from protocol.api import StatusError

__all__ = ["create", "dedup_owners", "fit_namespace", "store_new", "ttl", "unstored"]

Object = dict[str, Any]
_NAME_CHARS = "bcdfghjklmnpqrstvwxz2456789"
_NAME_BASE_MAX = 58
_NAME_TRIES = 8


async def create(core: Core, request: Request) -> Answer:
    """POST of an object."""
    check_write_options("CreateOptions", request.options)
    served: Served = request.served
    obj = _received(core, request)
    metadata = obj["metadata"]
    if metadata.get("name") or not metadata.get("generateName"):
        entry = await store_new(core, request, obj)
    else:
        entry = await _create_named(core, request, obj)
    return Answer(served, entry, code=201)


def _received(core: Core, request: Request) -> Object:
    """The object that was sent: decoded, defaulted, owned, and private."""
    served: Served = request.served
    obj = parts.decode(core, request, request.body)
    fit_namespace(served, obj, request.namespace)
    served.strategy.default(obj)
    dedup_owners(request, obj)
    parts.own(core, request, obj, None)
    return obj


def fit_namespace(served: Served, obj: Object, namespace: str) -> None:
    metadata = obj["metadata"]
    if not served.kind.namespaced:
        if metadata.get("namespace"):
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        return
    found = metadata.get("namespace")
    if not found:
        metadata["namespace"] = namespace
    elif found != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


async def _create_named(core: Core, request: Request, obj: Object) -> Entry:
    """Create under generated names until one is free."""
    base = obj["metadata"]["generateName"]
    for attempt in range(_NAME_TRIES):
        if attempt:
            # The first try has used the object up. That names collide is rare: it is read again.
            request.warnings.clear()
            obj = _received(core, request)
        name = obj["metadata"]["name"] = generated_name(core, base)
        try:
            return await store_new(core, request, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
    kind = request.served.kind
    raise status.generate_name_conflict(kind.group, kind.resource, name)


def generated_name(core: Core, base: str) -> str:
    """A name that starts with `base` and ends in five random characters."""
    choice = core.random.choice
    return base[:_NAME_BASE_MAX] + "".join([choice(_NAME_CHARS) for _ in range(5)])


async def store_new(core: Core, request: Request, obj: Object) -> Entry:
    """Admit, prepare, validate and store a new object (already defaulted and owned)."""
    served: Served = request.served
    kind = served.kind
    metadata = obj["metadata"]
    attributes = Attributes(
        CREATE, kind, request.namespace, metadata.get("name", ""), "", obj, None, request.user, core,
        request.dry_run, request.options,
    )
    attributes.report_to(request)
    reservation = core.allocators.reserve(request.dry_run)
    try:
        await core.chain.admit(attributes)
        obj = attributes.object or obj
        if kind.group == RBAC:
            check_grant(core, request, obj, None)
        _fill_metadata(core, served, obj)
        stored = served.stored(obj)
        strategy = served.storage_strategy
        ctx = core.context(request.user, request.dry_run, reservation)
        errors = strategy.begin_create(stored, ctx)
        if not errors:
            strategy.prepare_for_create(stored, ctx)
            drop_switched_off(served.cache.group, served.cache.resource, stored, None, ctx.minor)
            errors = _validate_new(served, request, stored)
        if errors:
            raise status.invalid(kind.group, kind.kind, metadata.get("name", ""), errors)
        strategy.canonicalize(stored)
        attributes.object = obj if served.to_storage is None else stored
        await core.chain.validate(attributes)
        entry = await _insert(core, request, stored)
    except BaseException:
        reservation.cancel()
        for undo in reversed(attributes.on_failure):
            undo()
        raise
    reservation.commit()
    return entry


_valid = Memo()
_TOKEN_VOLUME = re.compile(rb"(?<=kube-api-access-)[a-z0-9]{5}")
"""The random part of the volume that admission adds; every one is as valid as any other."""


def _validate_new(served: Served, request: Request, obj: Object) -> list[FieldError]:
    """The errors of a new object; its warnings go to the request. Pods with a valid twin are only
    asked for their names."""
    strategy = served.storage_strategy
    text = b""
    if served.kind.kind == "Pod" and served.kind.group == "":
        text = _TOKEN_VOLUME.sub(b"", content(obj))
    known = _valid.get(text) if text else None
    if known is not None:
        errors = strategy.check_meta(obj)
        request.warnings += known
        return errors
    errors = strategy.validate(obj)
    if not errors:
        warnings = strategy.warnings(obj, None)
        request.warnings += warnings
        if text:
            _valid.put(text, tuple(warnings))
    return errors


def _fill_metadata(core: Core, served: Served, obj: Object) -> None:
    metadata = obj["metadata"]
    metadata["uid"] = core.uid()
    metadata["creationTimestamp"] = core.clock.rfc3339()
    metadata.pop("deletionTimestamp", None)
    metadata.pop("deletionGracePeriodSeconds", None)
    metadata.pop("selfLink", None)
    if not served.kind.namespaced:
        metadata.pop("namespace", None)


async def _insert(core: Core, request: Request, obj: Object) -> Entry:
    served: Served = request.served
    metadata = obj["metadata"]
    key = served.key(metadata.get("namespace", ""), metadata["name"])
    version = metadata.get("resourceVersion") or "0"
    if request.dry_run:
        if key in served.cache.all.entries:
            raise _exists(served, metadata["name"], served.cache.all.entries[key])
        return unstored(served, key, obj, int(version) if version.isdigit() else 0)
    if version != "0":
        raise status.unknown_error("resourceVersion should not be set on objects to be created")
    obj = await served.finished(obj)
    try:
        return await core.store.create(served.cache, key, obj, ttl(core, served))
    except Superseded as lost:
        raise _exists(served, metadata["name"], lost.entry) from None


def _exists(served: Served, name: str, entry: Entry | None) -> StatusError:
    """409; says so when the name will be free soon."""
    error = status.already_exists(served.kind.group, served.kind.resource, name)
    if entry is not None and entry.object["metadata"].get("deletionTimestamp"):
        error.status["message"] = "object is being deleted: " + error.status["message"]
    return error


def ttl(core: Core, served: Served) -> int:
    """Seconds that objects of this kind live; 0: for ever."""
    return core.config.event_ttl if served.cache.resource == "events" and served.cache.group == "" else 0


def unstored(served: Served, key: str, obj: Object, revision: int = 0) -> Entry:
    """What a dry run answers: an entry that no cache knows."""
    metadata = obj["metadata"]
    metadata.pop("resourceVersion", None)
    value = encode(obj)
    if revision:
        return served.cache.entry(key, obj, value, revision)
    namespace, _, name = key.rpartition("/")
    entry = Entry(key, namespace, name, obj, value, 0)
    entry._wire = value
    return entry


def dedup_owners(request: Request, obj: Object) -> None:
    """Owner references that repeat are dropped with a warning, as upstream does."""
    owners = obj["metadata"].get("ownerReferences")
    if not owners or len(owners) < 2:
        return
    kept: list[Object] = []
    repeated: list[str] = []
    for owner in owners:
        if owner in kept:
            repeated.append(owner.get("uid", ""))
        else:
            kept.append(owner)
    if repeated:
        obj["metadata"]["ownerReferences"] = kept
        request.warnings.append(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
            "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
            + ", ".join(dict.fromkeys(repeated))
        )
