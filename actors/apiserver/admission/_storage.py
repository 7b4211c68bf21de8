"""Plugins about volumes and ingresses: default classes, protection finalizers, resizing.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import status
from protocol.quantity import parse_quantity

__all__ = ["DefaultIngressClass", "DefaultStorageClass", "PersistentVolumeClaimResize", "StorageObjectInUseProtection"]

Object = dict[str, Any]
DEFAULT_STORAGE = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
INGRESS_ANNOTATION = "kubernetes.io/ingress.class"


def _annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _newest(classes: list[Object]) -> Object | None:
    """The newest of several defaults; the first by name when they are equally old."""
    if not classes:
        return None
    classes.sort(key=lambda c: str(c["metadata"]["name"]))
    return max(classes, key=lambda c: str(c["metadata"].get("creationTimestamp") or ""))


class DefaultStorageClass(Plugin):
    """A claim that names no class gets the default one."""

    name = "DefaultStorageClass"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New claims."""
        return operation == CREATE and group == "" and resource == "persistentvolumeclaims" and not subresource

    def admit(self, attributes: Attributes) -> None:
        """An empty name means no class, so only a missing one is filled."""
        claim = attributes.object or {}
        spec = claim.get("spec", {})
        if spec.get("storageClassName") is not None or BETA_CLASS in _annotations(claim):
            return
        classes = [
            c
            for c in attributes.lookup.list("storage.k8s.io", "storageclasses")
            if any(_annotations(c).get(key) == "true" for key in DEFAULT_STORAGE)
        ]
        found = _newest(classes)
        if found is not None:
            spec["storageClassName"] = found["metadata"]["name"]


class DefaultIngressClass(Plugin):
    """An ingress that names no class gets the default one."""

    name = "DefaultIngressClass"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New ingresses."""
        return operation == CREATE and group == "networking.k8s.io" and resource == "ingresses" and not subresource

    def admit(self, attributes: Attributes) -> None:
        """The old annotation counts as a name."""
        ingress = attributes.object or {}
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or INGRESS_ANNOTATION in _annotations(ingress):
            return
        classes = [
            c
            for c in attributes.lookup.list("networking.k8s.io", "ingressclasses")
            if _annotations(c).get(DEFAULT_INGRESS) == "true"
        ]
        found = _newest(classes)
        if found is not None:
            spec["ingressClassName"] = found["metadata"]["name"]


class StorageObjectInUseProtection(Plugin):
    """Claims and volumes cannot vanish while they are used."""

    name = "StorageObjectInUseProtection"
    finalizers = {
        ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
        ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    }

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New claims and volumes."""
        return operation == CREATE and (group, resource) in self.finalizers and not subresource

    def admit(self, attributes: Attributes) -> None:
        """Add the finalizer that the protection controllers remove."""
        meta = (attributes.object or {})["metadata"]
        finalizer = self.finalizers[attributes.group, attributes.resource]
        present = meta.get("finalizers") or []
        if finalizer not in present:
            meta["finalizers"] = [*present, finalizer]


class PersistentVolumeClaimResize(Plugin):
    """A claim may grow only when it is bound and its class allows it."""

    name = "PersistentVolumeClaimResize"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Changed claims."""
        return operation == UPDATE and group == "" and resource == "persistentvolumeclaims" and not subresource

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        new, old = attributes.object or {}, attributes.old_object or {}
        if _size(new) <= _size(old):
            return
        why = ""
        if (old.get("status") or {}).get("phase") != "Bound":
            why = "Only bound persistent volume claims can be expanded"
        elif not self._expandable(attributes, old):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
                " support resize"
            )
        if why:
            raise status.forbidden("", "persistentvolumeclaims", attributes.name, why)

    @staticmethod
    def _expandable(attributes: Attributes, claim: Object) -> bool:
        name = _annotations(claim).get(BETA_CLASS) or claim.get("spec", {}).get("storageClassName") or ""
        found = attributes.lookup.get("storage.k8s.io", "storageclasses", "", name) if name else None
        return bool(found and found.get("allowVolumeExpansion"))


def _size(claim: Object) -> Any:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse_quantity(requests.get("storage", "0"))
