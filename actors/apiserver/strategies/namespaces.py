"""Namespace.

Owns its finalizers in the spec, the phase, and the label that carries its name.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import FieldError, invalid
from actors.apiserver.strategies._meta import NameRule
from protocol.names import dns_label_name, qualified_name

__all__ = ["NamespaceStrategy"]

_STANDARD = ("kubernetes", "orphan", "foregroundDeletion")
_NOT_STANDARD = "name is neither a standard finalizer name nor is it fully qualified"


def _finalizer(name: str, path: str) -> list[FieldError]:
    errors = [invalid(path, name, message) for message in qualified_name(name)]
    if "/" not in name and name not in _STANDARD:
        errors.append(invalid(path, name, _NOT_STANDARD))
    return errors


class NamespaceStrategy(Strategy):
    """Namespace."""

    name_rule: ClassVar[NameRule] = staticmethod(dns_label_name)
    has_status = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        meta = obj["metadata"]
        if meta.get("name"):
            meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta["name"]
        obj.setdefault("spec", {})
        obj.setdefault("status", {}).setdefault("phase", "Active")

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"phase": "Active"}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        spec = new.setdefault("spec", {})
        if old is None:
            finalizers = spec.setdefault("finalizers", [])
            if "kubernetes" not in finalizers:
                finalizers.append("kubernetes")
        elif (finalizers := (old.get("spec") or {}).get("finalizers")) is not None:
            spec["finalizers"] = finalizers
        else:
            spec.pop("finalizers", None)

    def canonicalize(self, obj: Object) -> None:
        """The name label cannot be lost, also where the name was generated."""
        meta = obj["metadata"]
        meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta.get("name", "")

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        for name in (obj.get("spec") or {}).get("finalizers") or ():
            errors += _finalizer(name, "spec.finalizers")
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new) + self.check_meta_update(new, old)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        phase = (new.get("status") or {}).get("phase", "")
        if not new["metadata"].get("deletionTimestamp"):
            if phase != "Active":
                detail = "may only be 'Active' if `deletionTimestamp` is empty"
                errors.append(invalid("status.Phase", phase, detail))
        elif phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            errors.append(invalid("status.Phase", phase, detail))
        return errors

    def prepare_for_subresource(self, name: str, new: Object, old: Object, ctx: Context) -> None:
        if name != "finalize":
            super().prepare_for_subresource(name, new, old, ctx)
            return
        self._keep_generation(new, old)
        self.keep_status(new, old)
        self._keep_metadata(new, old)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        if name != "finalize":
            return super().validate_subresource(name, new, old)
        errors = self.common_update(new, old) + self.check_meta_update(new, old)
        for index, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ()):
            errors += _finalizer(finalizer, f"spec.finalizers[{index}]")
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Status", "string", "", "The status of the namespace"), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        phase = (obj.get("status") or {}).get("phase", "")
        return [obj["metadata"].get("name", ""), phase, self.age(obj, now)]

    def fields(self, obj: Object) -> dict[str, str]:
        out = super().fields(obj)
        out["status.phase"] = (obj.get("status") or {}).get("phase", "")
        out["name"] = out["metadata.name"]
        return out

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        return []
