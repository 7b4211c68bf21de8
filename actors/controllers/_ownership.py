"""Adoption and release: which objects belong to a controller object.

Owns the claim rules of upstream's `ControllerRefManager`: what is owned and matches the selector is
kept, what is owned and matches no more is released, what is owned by nobody and matches is adopted.
Before it adopts anything it asks the API server whether the owner is still there and not going.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.client import Client, Store
from actors.client._client import STRATEGIC_PATCH
from protocol.api import StatusError
from protocol.objects import (
    Object,
    Selector,
    controller_of,
    deleting,
    labels,
    name,
    namespace,
    owner_reference,
    uid,
)

__all__ = ["Claimer", "owner_of"]


def owner_of(obj: Object, kind: str, owners: Store) -> Object | None:
    """The controller of `obj` if it is a `kind` that `owners` knows under the same uid."""
    reference = controller_of(obj)
    if reference is None or reference.get("kind") != kind:
        return None
    owner = owners.named(namespace(obj), reference.get("name", ""))
    return owner if owner is not None and uid(owner) == reference.get("uid") else None


class Claimer:
    """Claims objects of `resource` for `owner` (whose own resource is `owner_resource`).

    `finalizers` are added to what is adopted and taken from what is released.
    """

    def __init__(
        self,
        client: Client,
        resource: str,
        owner: Object,
        owner_resource: str,
        selector: Selector,
        *,
        finalizer: str = "",
    ) -> None:
        self.client = client
        self.resource = resource
        self.owner = owner
        self.owner_resource = owner_resource
        self.selector = selector
        self.finalizer = finalizer
        self._may_adopt: bool | None = None

    async def claim(self, objects: Iterable[Object]) -> list[Object]:
        """Those of `objects` that belong to the owner, after adopting and releasing.

        Raises `StatusError` when one could not be adopted or released.
        """
        owner_uid = uid(self.owner)
        claimed = []
        for obj in list(objects):
            reference = controller_of(obj)
            if reference is not None:
                if reference.get("uid") != owner_uid:
                    continue
                if self.selector.matches(labels(obj)):
                    claimed.append(obj)
                elif not deleting(self.owner):
                    await self.release(obj)
            elif self._wants(obj) and await self.adopt(obj):
                claimed.append(obj)
        return claimed

    def _wants(self, orphan: Object) -> bool:
        return (
            not deleting(self.owner)
            and not deleting(orphan)
            and namespace(orphan) == namespace(self.owner)
            and self.selector.matches(labels(orphan))
        )

    async def adopt(self, obj: Object) -> bool:
        """Make the owner the controller of `obj`; False when it is gone meanwhile."""
        if not await self._check_owner():
            return False
        meta: Object = {"ownerReferences": [owner_reference(self.owner)], "uid": uid(obj)}
        if self.finalizer:
            meta["finalizers"] = [self.finalizer]
        return await self._patch(obj, {"metadata": meta}, gone=(404,))

    async def release(self, obj: Object) -> bool:
        """Let `obj` go; False when it is gone or another's meanwhile."""
        meta: Object = {
            "ownerReferences": [{"$patch": "delete", "uid": uid(self.owner)}],
            "uid": uid(obj),
        }
        if self.finalizer:
            meta["$deleteFromPrimitiveList/finalizers"] = [self.finalizer]
        return await self._patch(obj, {"metadata": meta}, gone=(404, 422))

    async def _patch(self, obj: Object, body: Object, gone: tuple[int, ...]) -> bool:
        try:
            await self.client.patch(
                self.resource, name(obj), namespace(obj), body, patch_type=STRATEGIC_PATCH
            )
        except StatusError as error:
            if error.code in gone:
                return False
            raise
        return True

    async def _check_owner(self) -> bool:
        """Whether the owner is still the one that was read, and stays (asked once)."""
        if self._may_adopt is None:
            try:
                fresh = await self.client.get(
                    self.owner_resource, name(self.owner), namespace(self.owner)
                )
                self._may_adopt = uid(fresh) == uid(self.owner) and not deleting(fresh)
            except StatusError as error:
                if error.code != 404:
                    raise
                self._may_adopt = False
        return self._may_adopt
