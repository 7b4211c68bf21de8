"""What the API server must know about a kind before it looks at any object.

This module owns the shape of an entry in the table of kinds and names derived from it. It holds no
entry, and knows nothing of HTTP, storage or validation.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec

__all__ = ["ALL_VERBS", "Kind", "Subresource"]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
FIRST_MINOR = 31
LAST_MINOR = 37


class Subresource(msgspec.Struct, frozen=True):
    """A subresource such as `pods/eviction`, with the kind that its requests and answers carry."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]
    group_in_discovery: bool = False
    """Discovery names group and version only where they differ from the parent's."""


class Kind(msgspec.Struct, frozen=True):
    """One kind in one served version: an entry of the table."""

    group: str
    """The API group; empty for the core group."""
    version: str
    kind: str
    resource: str
    """Plural, as in URLs: `configmaps`."""
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    storage_group: str = ""
    """Group whose store keeps the objects: events of both groups share the core group's."""
    storage_version: str = "v1"
    """Version in which Kubernetes itself stores it; discovery's hash is made from it."""
    stored: bool = True
    """False for reviews, bindings and component statuses, which are computed, never kept."""
    since: int = FIRST_MINOR
    """First minor version of Kubernetes that serves it by default."""
    until: int = LAST_MINOR
    """Last minor version that serves it."""

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """Kind of a list's answer: `ConfigMapList`."""
        return self.kind + "List"

    @property
    def store(self) -> tuple[str, str]:
        """Group and resource under which objects are stored: equal for kinds that share a store."""
        return (self.storage_group, self.resource)

    @property
    def qualified_resource(self) -> str:
        """`deployments.apps`, or `pods` in the core group, as error texts name resources."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def storage_version_hash(self) -> str:
        """Discovery's `storageVersionHash`; empty for kinds that are not stored."""
        if not self.stored:
            return ""
        text = f"{self.storage_group}/{self.storage_version}/{self.kind}"
        return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()

    def subresource(self, name: str) -> Subresource | None:
        """The subresource called `name`, or None."""
        for candidate in self.subresources:
            if candidate.name == name:
                return candidate
        return None

    def served_by(self, minor: int) -> bool:
        """Whether Kubernetes 1.`minor` serves this kind by default."""
        return self.since <= minor <= self.until
