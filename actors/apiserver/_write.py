"""update and patch: from what a client sent to a changed object in the store.

Owns optimistic concurrency and the order of the steps for a change: transform, field managers,
mutating admission, preparation, validation, validating admission, store. What the steps mean for a
kind is the strategy's; the rules of patches and field managers live in folders of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.apiserver import _firstreport as firstreport
from actors.apiserver import _parts as parts
from actors.apiserver._authz import RBAC
from actors.apiserver._cache import Entry, Reshaped
from actors.apiserver._core import Answer, Core
from actors.apiserver._create import dedup_owners, fit_namespace, store_new, ttl, unstored
from actors.apiserver._escalation import check_grant
from actors.apiserver._options import APPLY, check_write_options, resource_version
from actors.apiserver._renewal import renew
from actors.apiserver._request import Request
from actors.apiserver._resources import Served
from actors.apiserver._store import Superseded
from actors.apiserver.admission import UPDATE, Attributes
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._gates import drop_switched_off
from protocol import status
from protocol.api import StatusError

__all__ = ["MODIFIED", "patch", "unchanged", "update", "update_loop"]

Object = dict[str, Any]
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY,
)


async def update(core: Core, request: Request) -> Answer:
    """PUT of an object or of its status (and the like)."""
    check_write_options("UpdateOptions", request.options)
    served: Served = request.served
    if served.qualified == "leases.coordination.k8s.io" and not request.subresource:
        renewed = await renew(core, request)
        if renewed is not None:
            return renewed
    lean = request.subresource == "status" and served.qualified == "pods" and isinstance(request.body, dict)
    report = firstreport.read(core, request) if lean else None
    if report is not None:
        answer = await firstreport.write(core, request, report)
        if answer is not None:
            return answer

    def read() -> Object:
        body = parts.decode(core, request, _lean(served, request) if lean else request.body)
        _fit_update(served, body, request)
        if not lean:
            served.strategy.default(body)
        return body

    bodies = [read()]
    replaced: list[Object | None] = []

    async def replace(old: Object | None) -> Object:
        replaced.append(old)
        body = bodies.pop() if bodies else read()  # read again: the first one was used up by a lost race
        if lean and old is not None and "spec" in old:
            body["spec"] = old["spec"]
        return body

    answer = await update_loop(core, request, replace, create=served.storage_strategy.allow_create_on_update)
    if report is not None and replaced == [report.entry.object] and answer.entry is not None:
        firstreport.learn(request, report, answer.entry)
    return answer


def _lean(served: Served, request: Request) -> Object:
    """A pod as a kubelet in this process sends it with a new status, without what such a write cannot
    change. Decoding the spec again, and the managedFields that came from here, would be most of the work."""
    body: Object = request.body
    sent = {key: value for key, value in body.items() if key != "spec"}
    metadata = body.get("metadata")
    entry = served.cache.get(request.namespace, request.name)
    if entry is None or not isinstance(metadata, dict):
        return sent
    managed = metadata.get("managedFields")
    if managed is not None and managed is entry.object["metadata"].get("managedFields"):
        sent["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
    return sent


def _fit_update(served: Served, body: Object, request: Request) -> None:
    metadata = body["metadata"]
    if not metadata.get("name"):
        raise status.bad_request(
            f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided"
        )
    if metadata["name"] != request.name:
        raise status.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})"
        )
    fit_namespace(served, body, request.namespace)


Transform = Callable[[Object | None], Awaitable[Object]]


async def update_loop(
    core: Core,
    request: Request,
    transform: Transform,
    create: bool = False,
    own: bool = True,
) -> Answer:
    """Read, transform, check and write back; again when somebody else wrote in between.

    `transform` gets the current object in the request's version (frozen; None: there is none, and
    `create` is allowed) and answers a private new one.
    """
    served: Served = request.served
    attempt = 0
    while True:
        attempt += 1
        namespace = request.namespace if served.kind.namespaced else ""
        await core.store.turn(served.cache, served.key(namespace, request.name))
        entry = served.cache.get(namespace, request.name)
        if entry is None:
            await core.store.fresh()
            entry = served.cache.get(namespace, request.name)
        if entry is None:
            if not create:
                raise status.not_found(served.kind.group, served.kind.resource, request.name)
            return await _create_instead(core, request, transform)
        try:
            return await _replace(core, request, entry, transform, own)
        except Superseded as lost:
            if lost.entry is None and attempt > 50:
                raise status.not_found(served.kind.group, served.kind.resource, request.name) from None


def conflict(served: Served, name: str) -> StatusError:
    """409: somebody else changed it."""
    return status.conflict(served.kind.group, served.kind.resource, name, MODIFIED)


async def _create_instead(core: Core, request: Request, transform: Transform) -> Answer:
    served: Served = request.served
    obj = await transform(None)
    if request.options.get("__apply__") is None:
        parts.own(core, request, obj, None)
    uid = obj["metadata"].get("uid")
    if uid and request.verb == "patch":
        kind = served.kind
        raise status.conflict(
            kind.group, kind.resource, request.name,
            f"uid mismatch: the provided object specified uid {uid}, and no existing object was found",
        )
    if uid:
        raise conflict_on_uid(served, request, uid, "")
    entry = await store_new(core, request, obj)
    return Answer(served, entry, code=201)


def conflict_on_uid(served: Served, request: Request, wanted: str, found: str) -> StatusError:
    """409: the object is another one under the same name, in the storage layer's words."""
    key = served.cache.prefix + served.key(request.namespace, request.name)
    return status.conflict(
        served.kind.group,
        served.kind.resource,
        request.name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
    )


async def _replace(core: Core, request: Request, entry: Entry, transform: Transform, own: bool) -> Answer:
    served: Served = request.served
    kind = served.kind
    await served.prepare([entry])
    old = entry.view(kind.api_version, served.from_storage).object
    new = await transform(old)
    dedup_owners(request, new)
    if own:
        parts.own(core, request, new, old)
    attributes = Attributes(
        UPDATE, kind, request.namespace, request.name, request.subresource, new, old, request.user, core,
        request.dry_run, request.options,
    )
    attributes.report_to(request)
    reservation = core.allocators.reserve(request.dry_run)
    try:
        await core.chain.admit(attributes)
        new = attributes.object or new
        if kind.group == RBAC:
            check_grant(core, request, new, old)
        _check_preconditions(served, request, new, old)
        stored = served.stored(new)
        stored = _prepare(core, request, stored, entry.object if served.webhook is None else old, reservation)
        attributes.object = new if served.to_storage is None else stored
        await core.chain.validate(attributes)
        result = await _write_back(core, request, entry, stored)
    except BaseException:
        reservation.cancel()
        for undo in reversed(attributes.on_failure):
            undo()
        raise
    reservation.commit()
    return Answer(served, result)


def _check_preconditions(served: Served, request: Request, new: Object, old: Object) -> None:
    """The version and the uid that the client expects, if it says so."""
    metadata = new["metadata"]
    text = metadata.get("resourceVersion", "")
    try:
        expected = resource_version(text)
    except ValueError as error:
        raise status.unknown_error(str(error)) from None
    if not expected and not served.storage_strategy.allow_unconditional_update and not request.subresource:
        wrong = FieldError(
            "FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update"
        )
        raise status.invalid(served.kind.group, served.kind.resource, request.name, [wrong])
    if expected and str(expected) != old["metadata"]["resourceVersion"]:
        raise conflict(served, request.name)
    metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    uid = metadata.get("uid")
    if uid and uid != old["metadata"].get("uid") and request.verb == "update":
        raise conflict_on_uid(served, request, uid, old["metadata"].get("uid", ""))


def _prepare(core: Core, request: Request, new: Object, old: Object, reservation: Any) -> Object:
    served: Served = request.served
    strategy = served.storage_strategy
    ctx = core.context(request.user, request.dry_run, reservation)
    sub = request.subresource
    if sub == "binding":  # assigned past the pod's update rules (pkg/registry/core/pod/storage)
        return new
    errors: list[FieldError] = []
    if not sub:
        errors = strategy.begin_update(new, old, ctx)
        if not errors:
            strategy.prepare_for_update(new, old, ctx)
    elif sub == "status":
        strategy.prepare_for_status_update(new, old, ctx)
    else:
        strategy.prepare_for_subresource(sub, new, old, ctx)
    drop_switched_off(served.cache.group, served.cache.resource, new, old, ctx.minor)
    if not errors:
        if not sub:
            errors = strategy.validate_update(new, old)
        elif sub == "status":
            errors = strategy.validate_status_update(new, old)
        else:
            errors = strategy.validate_subresource(sub, new, old)
    if errors:
        raise status.invalid(served.kind.group, served.kind.kind, request.name, errors)
    found = strategy.warnings(new, old) if not sub else strategy.status_warnings(new, old) if sub == "status" else []
    request.warnings += [w for w in found if w not in request.warnings]
    strategy.canonicalize(new)
    return new


def unchanged(new: Object, old: Object) -> bool:
    """Whether nothing but the times in managedFields differs (the versions are ignored)."""
    if len(new) != len(old):
        return False
    now, was = new["metadata"], old["metadata"]
    for key, value in new.items():
        if key != "metadata" and (key not in old or old[key] != value):
            return False
    ignored = ("resourceVersion", "managedFields")
    if {k: v for k, v in now.items() if k not in ignored} != {k: v for k, v in was.items() if k not in ignored}:
        return False
    return _timeless(now.get("managedFields")) == _timeless(was.get("managedFields"))


def _timeless(managers: list[Object] | None) -> list[Object]:
    return [{k: v for k, v in entry.items() if k != "time"} for entry in managers or ()]


async def _write_back(core: Core, request: Request, entry: Entry, new: Object) -> Entry:
    served: Served = request.served
    old = entry.object
    if _may_vanish(served, new):
        return await _delete_instead(core, request, entry, new)
    if request.dry_run and served.webhook is not None:
        return unstored(served, entry.key, new, entry.revision)
    new = await served.finished(new)
    if unchanged(new, old) and not isinstance(entry, Reshaped) and not (request.verb == "update" and served.qualified in _ALWAYS_WRITTEN):
        return entry
    if request.dry_run:
        return unstored(served, entry.key, new, entry.revision)
    return await core.store.update(served.cache, entry, new, ttl(core, served))


_ALWAYS_WRITTEN = ("persistentvolumeclaims",)
"""A PUT of these is a new version even when nothing differs."""


def _may_vanish(served: Served, new: Object) -> bool:
    """An object that is being deleted goes when its last finalizer does."""
    metadata = new["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if served.kind.kind == "Namespace" and served.kind.group == "":
        return not new.get("spec", {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


async def _delete_instead(core: Core, request: Request, entry: Entry, new: Object) -> Entry:
    served: Served = request.served
    if not request.dry_run:
        await core.store.delete(served.cache, entry)
    return unstored(served, entry.key, new, entry.revision)


# --- patch ------------------------------------------------------------------------------------


async def patch(core: Core, request: Request) -> Answer:
    """PATCH with any of the four patch types."""
    media = request.content_type
    if media not in PATCHES:
        raise status.failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    options = dict(request.options)
    check_write_options("PatchOptions", options, media)
    applying = media == APPLY
    kept = len(request.warnings)

    async def transform(old: Object | None) -> Object:
        del request.warnings[kept:]
        if applying:
            applied = parts.apply(core, request, old)
            _keep_identity(request, applied, old)
            return applied
        assert old is not None
        new = parts.patched(core, request, old)
        _keep_identity(request, new, old)
        return new

    if applying:
        request.options = {**request.options, "__apply__": "1"}
    return await update_loop(core, request, transform, create=applying, own=not applying)


def _keep_identity(request: Request, new: Object, old: Object | None) -> None:
    """A patch may not rename."""
    metadata = new["metadata"]
    if metadata.get("name") != request.name:
        if not metadata.get("name"):
            metadata["name"] = ""
            raise status.bad_request(
                f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided"
            )
        raise status.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})"
        )
    home = request.namespace if request.served.kind.namespaced else ""
    if metadata.get("namespace", "") != home:
        if not metadata.get("namespace"):
            metadata["namespace"] = request.namespace
            return
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
