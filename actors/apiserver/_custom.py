"""What a custom resource must be able to do for the pipeline.

Owns the interface between the pipeline and `actors.apiserver.crd`, which implements it. A served
version of a custom resource is a `Served` in the table of resources (`Resources.add`, `.remove`)
whose `custom` is such an object; its `strategy` is given to `Served`, and `to_storage` /
`from_storage` convert between versions.

`crd.attach(core)` is called once, when the store has been read and before the first request: it
registers what is stored already and listens (`core.store.cache("apiextensions.k8s.io",
"customresourcedefinitions").listeners`) for changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from actors.apiserver._resources import Served
    from actors.apiserver.openapi import CustomDocument

__all__ = ["CustomResource"]

Object = dict[str, Any]


class CustomResource(Protocol):
    """One served version of a custom resource. Methods raise `StatusError`."""

    def decode(self, served: Served, body: Any, directive: str, media_type: str) -> tuple[Object, list[str]]:
        """The object that a body (bytes, or a parsed object) means, pruned; and warnings."""

    def patch(
        self, served: Served, media_type: str, current: Object, body: Any, directive: str
    ) -> tuple[Object, list[str]]:
        """`current` (frozen) after a JSON or merge patch, pruned; and warnings."""

    def clean(self, served: Served, obj: Object, directive: str) -> tuple[Object, list[str]]:
        """The result of server-side apply, pruned; and warnings."""

    def type(self, served: Served) -> Any:
        """The `protocol.schema.Type` for field managers; None when fields are not tracked."""

    def reset(self, served: Served, subresource: str) -> Any:
        """The `managedfields` filter of fields that a request to `subresource` cannot own."""

    def scale(self, served: Served) -> tuple[str, str, str]:
        """The JSON paths of the scale subresource: spec replicas, status replicas, label selector."""

    def deprecation(self, served: Served) -> list[str]:
        """The warning that every answer of a deprecated version carries; empty when it is not."""

    def openapi(self, served: Served) -> list[CustomDocument]:
        """What the OpenAPI documents say of it."""
