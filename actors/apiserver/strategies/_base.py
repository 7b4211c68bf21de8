"""What the API server asks of each kind: the `Strategy`.

Owns the generic behaviour that all kinds share (`k8s.io/apiserver/pkg/registry/rest`); the modules
beside it fill in what is particular. A strategy is a stateless object: pure functions over plain
dicts. It must never read storage, a clock or a random number but through the `Context`.

Objects arrive in Go's form (`fieldvalidation.decode`): no empty optional values, quantities and
times canonical. In order, the API server calls

    create: default, to_storage, begin_create, prepare_for_create, validate, warnings, canonicalize
    update: default, to_storage, prepare (main resource: begin_update, prepare_for_update),
            validate_update, warnings, canonicalize
    status: prepare_for_status_update, validate_status_update, status_warnings
    other subresources: prepare_for_subresource, validate_subresource

`default` works on the version of the request, everything after `to_storage` on the stored form
(they differ for horizontal pod autoscalers v1 and `events.k8s.io` only); `from_storage` brings an
object back to the version asked for.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from actors.apiserver.strategies._context import Context
from actors.apiserver.strategies._errors import FieldError, invalid
from actors.apiserver.strategies._meta import (
    NameRule,
    validate_common,
    validate_meta,
    validate_meta_update,
)
from actors.apiserver.strategies._time import age, parse_time
from protocol.kinds import Kind
from protocol.names import dns_subdomain_name

__all__ = ["AGE", "NAME", "Column", "Context", "FieldError", "Object", "Strategy"]

Object = dict[str, Any]


class Column(NamedTuple):
    """A column of the server-side Table. `priority` 1 is shown by `-o wide` only."""

    name: str
    type: str
    format: str
    description: str
    priority: int = 0


NAME = Column(
    "Name",
    "string",
    "name",
    "Name must be unique within a namespace. Is required when creating resources, although some "
    "resources may allow a client to request the generation of an appropriate name automatically. "
    "Name is primarily intended for creation idempotence and configuration definition. Cannot be "
    "updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
)
CREATED = Column(
    "Created At",
    "date",
    "",
    "CreationTimestamp is a timestamp representing the server time when this object was created. "
    "It is not guaranteed to be set in happens-before order across separate operations. Clients may "
    "not set this value. It is represented in RFC3339 form and is in UTC.",
)
AGE = Column("Age", "string", "", CREATED.description)


class Strategy:
    """The behaviour of one kind in one served version. Subclasses override what differs.

    `validate` and `validate_update` add the checks that hold for every object; a kind's own are in
    `check`, `check_update` and `check_status`.
    """

    name_rule: ClassVar[NameRule] = staticmethod(dns_subdomain_name)
    has_status: ClassVar[bool] = False
    """The status belongs to the status subresource: creation drops it, updates keep the old one."""
    has_generation: ClassVar[bool] = False
    """Starts at 1 and grows with each change of the spec."""
    allow_create_on_update: ClassVar[bool] = False
    """PUT of a name that is not there creates it."""
    allow_unconditional_update: ClassVar[bool] = True
    """PUT without resourceVersion replaces whatever is there."""
    grace_deletion: ClassVar[bool] = False
    """Deleting first marks the object and waits; see `default_grace_s`."""
    status_keeps_metadata: ClassVar[bool] = False
    """A write to the status cannot change labels, annotations, finalizers and owners."""
    rules_of_request: ClassVar[bool] = False
    """Objects are checked by the rules of the version asked for, though in the stored form."""
    standard_finalizers_only: ClassVar[bool] = False
    """Check the legacy rule that a finalizer without a slash is one of Kubernetes' own."""

    minor: int = 36
    """The minor version of Kubernetes whose behaviour this is."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    @property
    def namespaced(self) -> bool:
        """Whether objects live in namespaces."""
        return self.kind.namespaced

    # --- versions -------------------------------------------------------------------------------

    def default(self, obj: Object) -> None:
        """Fill in the defaults of the request's version, in place."""

    def to_storage(self, obj: Object) -> Object:
        """The object in the form in which it is stored; the same object where forms agree."""
        return obj

    def from_storage(self, obj: Object) -> Object:
        """A stored object in this version; the stored one itself where forms agree."""
        return obj

    # --- create ---------------------------------------------------------------------------------

    def begin_create(self, obj: Object, ctx: Context) -> list[FieldError]:
        """Allocate what the object needs of the cluster, before it is prepared."""
        return []

    def prepare_for_create(self, obj: Object, ctx: Context) -> None:
        """Drop what users may not set, in place."""
        if self.has_generation:
            obj["metadata"]["generation"] = 1
        elif not obj["metadata"].get("generation"):
            obj["metadata"].pop("generation", None)
        if self.has_status:
            self.reset_status(obj)
        self.prepare_spec(obj, None, ctx)

    def reset_status(self, obj: Object) -> None:
        """The status of a new object: in Go's form an empty struct."""
        obj["status"] = {}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """A kind's own preparation, on create (`old` is None) and update."""

    def validate(self, obj: Object) -> list[FieldError]:
        """All errors of an object to be created, in Kubernetes' order."""
        return self.check(obj) or validate_common(obj["metadata"], self.kind.namespaced)

    def check(self, obj: Object) -> list[FieldError]:
        """A kind's own validation; the generic part is the metadata with the kind's name rule."""
        return self.check_meta(obj)

    def check_meta(self, obj: Object) -> list[FieldError]:
        """The metadata with the kind's rule for names."""
        errors = validate_meta(obj["metadata"], self.kind.namespaced, type(self).name_rule)
        finalizers = obj["metadata"].get("finalizers")
        return errors + self._check_finalizers(finalizers) if finalizers else errors

    def _check_finalizers(self, finalizers: list[str]) -> list[FieldError]:
        if not self.standard_finalizers_only:
            return []
        return [
            invalid(
                f"metadata.finalizers[{index}]",
                name,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
            for index, name in enumerate(finalizers)
            if "/" not in name and name not in ("kubernetes", "orphan", "foregroundDeletion")
        ]

    # --- update ---------------------------------------------------------------------------------

    def begin_update(self, new: Object, old: Object, ctx: Context) -> list[FieldError]:
        """Allocate and release what the change needs of the cluster, before it is prepared."""
        return []

    def prepare_for_update(self, new: Object, old: Object, ctx: Context) -> None:
        """Bring back what users may not change, in place; count the generation."""
        self._keep_generation(new, old)
        if self.has_status:
            self.keep_status(new, old)
        self.prepare_spec(new, old, ctx)
        if self.has_generation and self.bumps_generation(new, old):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        self._keep_metadata(new, old)

    def keep_status(self, new: Object, old: Object) -> None:
        """Give the new object the old one's status."""
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)

    def bumps_generation(self, new: Object, old: Object) -> bool:
        """Whether a change is one of the desired state."""
        return bool(new.get("spec") != old.get("spec"))

    def _keep_generation(self, new: Object, old: Object) -> None:
        generation = old["metadata"].get("generation")
        if generation is None:
            new["metadata"].pop("generation", None)
        else:
            new["metadata"]["generation"] = generation

    def _keep_metadata(self, new: Object, old: Object) -> None:
        """What an update can never change, and need not repeat."""
        now, was = new["metadata"], old["metadata"]
        if not now.get("uid") and was.get("uid"):
            now["uid"] = was["uid"]
        if was.get("creationTimestamp"):
            now["creationTimestamp"] = was["creationTimestamp"]
        if was.get("deletionTimestamp"):
            now["deletionTimestamp"] = was["deletionTimestamp"]
        grace = was.get("deletionGracePeriodSeconds")
        if grace is not None and now.get("deletionGracePeriodSeconds") is None:
            now["deletionGracePeriodSeconds"] = grace

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """All errors of a change of the main resource."""
        return self.common_update(new, old) + self.check_update(new, old)

    def common_update(self, new: Object, old: Object) -> list[FieldError]:
        """What holds for every change of every object."""
        errors = validate_common(new["metadata"], self.kind.namespaced)
        return errors + validate_meta_update(new["metadata"], old["metadata"])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        """A kind's own rules for a change; the generic part is a metadata update and `check`."""
        return self.check_meta_update(new, old) + self.check(new)

    def check_meta_update(self, new: Object, old: Object) -> list[FieldError]:
        """The metadata's rules for a change, which most kinds apply a second time."""
        errors = validate_meta_update(new["metadata"], old["metadata"])
        finalizers = new["metadata"].get("finalizers")
        return errors + self._check_finalizers(finalizers) if finalizers else errors

    # --- subresources ---------------------------------------------------------------------------

    def prepare_for_status_update(self, new: Object, old: Object, ctx: Context) -> None:
        """A write to `status` changes nothing else, in place."""
        self._keep_generation(new, old)
        self.reset_for_status(new, old)
        self._keep_metadata(new, old)

    def reset_for_status(self, new: Object, old: Object) -> None:
        """Bring back what a write to the status must not change."""
        for key in list(new):
            if key not in old and key not in ("status", "metadata"):
                del new[key]
        for key, value in old.items():
            if key not in ("status", "metadata"):
                new[key] = value
        if "status" in new:  # last, whatever was sent: a text must not depend on the way by which it came about
            new["status"] = new.pop("status")
        if self.status_keeps_metadata:
            _keep_users_metadata(new["metadata"], old["metadata"])

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        """All errors of a write to `status`."""
        return self.common_update(new, old) + self.check_status(new, old)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        """A kind's own rules for its status."""
        return self.check_meta_update(new, old)

    def prepare_for_subresource(self, name: str, new: Object, old: Object, ctx: Context) -> None:
        """A write to another subresource that carries the object itself (`resize`,
        `ephemeralcontainers`, `approval`, `finalize`)."""
        if name == "status":
            self.prepare_for_status_update(new, old, ctx)
        else:
            self.prepare_for_update(new, old, ctx)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        """All errors of a write to such a subresource."""
        if name == "status":
            return self.validate_status_update(new, old)
        return self.validate_update(new, old)

    # --- the rest -------------------------------------------------------------------------------

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        """Warnings of a write to the main resource, in order."""
        return []

    def status_warnings(self, new: Object, old: Object) -> list[str]:
        """Warnings of a write to the status."""
        return []

    def canonicalize(self, obj: Object) -> None:
        """The last touch before an object is stored, in place."""

    def default_grace_s(self, obj: Object, requested_s: int | None) -> int:
        """Seconds between the request to delete and the end, for kinds with `grace_deletion`;
        0 deletes at once."""
        return 0

    def columns(self) -> tuple[Column, ...]:
        """The columns of a Table."""
        return (NAME, CREATED)

    def row(self, obj: Object, now: float) -> list[Any]:
        """The cells of a stored object, one for each column."""
        meta = obj["metadata"]
        return [meta.get("name", ""), meta.get("creationTimestamp")]

    def table_order(self, rows: list[tuple[Object, Object | None]]) -> list[tuple[Object, Object | None]]:
        """A list's objects, each with its stored form or None, in the order in which a Table shows them."""
        return rows

    def internal_metadata(self, obj: Object) -> Object:
        """The metadata that tables and PartialObjectMetadata show of a stored object."""
        meta: Object = obj["metadata"]
        return meta

    def fields(self, obj: Object) -> dict[str, str]:
        """Selectable fields and their values."""
        meta = obj["metadata"]
        if self.kind.namespaced:
            return {"metadata.name": meta.get("name", ""), "metadata.namespace": meta.get("namespace", "")}
        return {"metadata.name": meta.get("name", "")}

    def age(self, obj: Object, now: float) -> str:
        """The Age cell."""
        created = obj["metadata"].get("creationTimestamp")
        return age(now - parse_time(created)) if created else "<unknown>"


def _keep_users_metadata(now: Object, was: Object) -> None:
    """Bring back what users may set in metadata, which is not part of a status."""
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if key in was:
            now[key] = was[key]
        else:
            now.pop(key, None)
