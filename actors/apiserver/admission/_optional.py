"""Plugins that upstream has and switches off by default (`--enable-admission-plugins`).

Owns what each does; `OPTIONAL` says after which of the default plugins it runs.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.apiserver._authz import Attributes as Wanted
from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import kinds, status
from protocol.api import StatusError

__all__ = ["OPTIONAL"]

Object = dict[str, Any]
HOSTNAME = "kubernetes.io/hostname"
SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def _refuse(attributes: Attributes, why: str) -> StatusError:
    return status.forbidden(attributes.group, attributes.resource, attributes.name, why)


def _containers(obj: Object | None) -> Iterator[Object]:
    spec = (obj or {}).get("spec") or {}
    for field in _CONTAINERS:
        yield from spec.get(field) or ()


class _ForPods(Plugin):
    """A plugin about new and changed pods."""

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Pods themselves, not their subresources."""
        return operation in (CREATE, UPDATE) and (group, resource, subresource) == ("", "pods", "")


class AlwaysPullImages(_ForPods):
    """Images are pulled anew, so that a node's images are nobody's without the right to pull them."""

    name = "AlwaysPullImages"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New pods, and pods that get new images."""
        if (operation, group, resource, subresource) == (UPDATE, "", "pods", "ephemeralcontainers"):
            return True
        return super().handles(operation, group, resource, subresource)

    def admit(self, attributes: Attributes) -> None:
        """Set the policy of containers, and of volumes that are images."""
        known = {container.get("image") for container in _containers(attributes.old_object)}
        if attributes.operation == UPDATE and all(c.get("image") in known for c in _containers(attributes.object)):
            return
        for container in _containers(attributes.object):
            container["imagePullPolicy"] = "Always"
        for volume in ((attributes.object or {}).get("spec") or {}).get("volumes") or ():
            if volume.get("image") is not None:
                volume["image"]["pullPolicy"] = "Always"


class DenyServiceExternalIPs(Plugin):
    """Nobody brings traffic for any address to a Service."""

    name = "DenyServiceExternalIPs"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New and changed services."""
        return operation in (CREATE, UPDATE) and (group, resource, subresource) == ("", "services", "")

    def validate(self, attributes: Attributes) -> None:
        """Raise 403 for addresses that were not there before."""
        new, old = (
            set(((obj or {}).get("spec") or {}).get("externalIPs") or ())
            for obj in (attributes.object, attributes.old_object)
        )
        if new - old:
            raise _refuse(attributes, "Use of external IPs is denied by admission control.")


class ExtendedResourceToleration(_ForPods):
    """Pods that ask for special devices tolerate the taints that keep others off."""

    name = "ExtendedResourceToleration"

    def admit(self, attributes: Attributes) -> None:
        """Add a toleration for each extended resource."""
        spec = ((attributes.object or {}).get("spec")) or {}
        names: set[str] = set()
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                names.update((container.get("resources") or {}).get("requests") or {})
        tolerations = list(spec.get("tolerations") or ())
        for name in sorted(filter(_extended, names)):
            wanted = {"key": name, "operator": "Exists", "effect": "NoSchedule"}
            if wanted not in tolerations:
                tolerations.append(wanted)
        if tolerations:
            spec["tolerations"] = tolerations


def _extended(name: str) -> bool:
    prefix, slash, _ = name.partition("/")
    return bool(slash) and "kubernetes.io" not in prefix and not name.startswith("requests.")


class LimitPodHardAntiAffinityTopology(_ForPods):
    """Pods keep others off a node at most, not off a zone."""

    name = "LimitPodHardAntiAffinityTopology"

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        affinity = (((attributes.object or {}).get("spec") or {}).get("affinity") or {}).get("podAntiAffinity") or {}
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            if term.get("topologyKey") != HOSTNAME:
                raise _refuse(
                    attributes,
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey"
                    f" {term.get('topologyKey', '')} but only key {HOSTNAME} is allowed",
                )


class OwnerReferencesPermissionEnforcement(Plugin):
    """Owner references are set by those who may delete; blocking the owner's end by those who may edit its
    finalizers."""

    name = "OwnerReferencesPermissionEnforcement"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Everything that is created or changed."""
        return operation in (CREATE, UPDATE) and not subresource

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        new, old = (
            ((obj or {}).get("metadata") or {}).get("ownerReferences") or []
            for obj in (attributes.object, attributes.old_object)
        )
        if new == old:
            return
        decide, user = attributes.lookup.authorizer.decide, attributes.user
        if attributes.operation == UPDATE or new:
            own = Wanted("delete", attributes.group, attributes.resource, "", attributes.namespace, attributes.name)
            allowed, reason = decide(user, own)
            if not allowed:
                raise _refuse(attributes, f"cannot set an ownerRef on a resource you can't delete: {reason}, <nil>")
        before = {owner.get("uid") for owner in old if owner.get("blockOwnerDeletion")}
        for owner in new:
            if owner.get("blockOwnerDeletion") and owner.get("uid") not in before:
                self._may_block(attributes, owner)

    @staticmethod
    def _may_block(attributes: Attributes, owner: Object) -> None:
        group, _, version = str(owner.get("apiVersion", "")).rpartition("/")
        kind = kinds.by_kind(group, version, str(owner.get("kind", "")))
        resource = kind.resource if kind is not None else f"{str(owner.get('kind', '')).lower()}s"
        namespace = attributes.namespace if kind is None or kind.namespaced else ""
        wanted = Wanted("update", group, resource, "finalizers", namespace, str(owner.get("name", "")))
        allowed, reason = attributes.lookup.authorizer.decide(attributes.user, wanted)
        if not allowed:
            raise _refuse(
                attributes,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on:"
                f" {reason}, <nil>",
            )


class PodNodeSelector(_ForPods):
    """A namespace's annotation says on which nodes its pods run."""

    name = "PodNodeSelector"

    def __init__(self, configuration: Object | None = None) -> None:
        """`configuration`: `podNodeSelectorPluginConfig` with `clusterDefaultNodeSelector` and, by namespace,
        the selectors that pods may have."""
        self.configuration: Object = (configuration or {}).get("podNodeSelectorPluginConfig") or {}


    def _wanted(self, attributes: Attributes) -> dict[str, str]:
        namespace = attributes.lookup.get("", "namespaces", "", attributes.namespace) or {}
        text = ((namespace.get("metadata") or {}).get("annotations") or {}).get(SELECTOR)
        return _labels(self.configuration.get("clusterDefaultNodeSelector") or "" if text is None else text)

    def admit(self, attributes: Attributes) -> None:
        """Merge the namespace's selector into the pod's. Raises 403 when they differ."""
        if attributes.operation != CREATE or attributes.object is None:
            return
        spec, wanted = attributes.object.setdefault("spec", {}), self._wanted(attributes)
        own = spec.get("nodeSelector") or {}
        if any(own.get(key, value) != value for key, value in wanted.items()):
            raise _refuse(attributes, "pod node label selector conflicts with its namespace node label selector")
        if wanted:
            spec["nodeSelector"] = {**wanted, **own}

    def validate(self, attributes: Attributes) -> None:
        """The pod's selector must be one that the namespace may have."""
        allowed = _labels(self.configuration.get(attributes.namespace) or "")
        own = (((attributes.object or {}).get("spec")) or {}).get("nodeSelector") or {}
        if allowed and any(allowed.get(key) != value for key, value in own.items()):
            raise _refuse(attributes, "pod node label selector labels conflict with its namespace whitelist")


def _labels(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}


class AlwaysDeny(Plugin):
    """Refuses everything."""

    name = "AlwaysDeny"

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        raise _refuse(attributes, "admission control is denying all modifications")


OPTIONAL: tuple[tuple[str, type[Plugin]], ...] = (
    ("NamespaceLifecycle", LimitPodHardAntiAffinityTopology),
    ("TaintNodesByCondition", AlwaysPullImages),
    ("PodSecurity", PodNodeSelector),
    ("DefaultTolerationSeconds", ExtendedResourceToleration),
    ("StorageObjectInUseProtection", OwnerReferencesPermissionEnforcement),
    ("DefaultIngressClass", DenyServiceExternalIPs),
    ("ResourceQuota", AlwaysDeny),
)
"""The name of the plugin before it, and the plugin."""
