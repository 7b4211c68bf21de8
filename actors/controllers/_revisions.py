"""ControllerRevisions: the history of a StatefulSet's or DaemonSet's template.

Owns how a revision is made, compared, numbered, adopted and forgotten. Which revision a pod is of,
and what follows from it, is its owner's business.
https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#updating-a-daemonset
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from actors.client import Client
from actors.controllers._ownership import Claimer
from actors.controllers._templates import fnv32a, safe_encode
from protocol.api import StatusError
from protocol.objects import (
    Object,
    Selector,
    is_controlled_by,
    labels,
    metadata,
    mutable,
    name,
    namespace,
    owner_reference,
    spec,
    uid,
)

__all__ = [
    "REVISION_HASH",
    "apply_revision",
    "by_number",
    "claim_revisions",
    "create_revision",
    "new_revision",
    "next_number",
    "renumber",
    "revision_name",
    "same_data",
    "template_patch",
    "truncate",
]

REVISION_HASH = "controller-revision-hash"
HASH_LABEL = "controller.kubernetes.io/hash"
NAME_PREFIX_MAX = 223


def template_patch(owner: Object) -> Object:
    """What a revision keeps: the template, as a strategic merge patch that replaces it."""
    template = dict(spec(owner).get("template") or {})
    template["$patch"] = "replace"
    return {"spec": {"template": template}}


def apply_revision(owner: Object, revision: Object) -> Object:
    """`owner` with the template that it had at `revision`."""
    template = dict(((revision.get("data") or {}).get("spec") or {}).get("template") or {})
    template.pop("$patch", None)
    return {**owner, "spec": {**spec(owner), "template": template}}


def revision_name(owner_name: str, code: str) -> str:
    """The name of a revision with this hash."""
    return f"{owner_name[:NAME_PREFIX_MAX]}-{code}"


def data_hash(data: Object, collision_count: int) -> str:
    """The hash of a revision's data, another one for each count of collisions."""
    text = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    if collision_count:
        text += str(collision_count).encode()
    return safe_encode(str(fnv32a(text)))


def new_revision(
    owner: Object, number: int, collision_count: int, hash_label: str = HASH_LABEL
) -> Object:
    """A revision of the owner's present template, not created yet."""
    data = template_patch(owner)
    code = data_hash(data, collision_count)
    template_labels = ((spec(owner).get("template") or {}).get("metadata") or {}).get("labels")
    meta: Object = {
        "name": revision_name(name(owner), code),
        "namespace": namespace(owner),
        "labels": {**(template_labels or {}), hash_label: code},
        "ownerReferences": [owner_reference(owner)],
    }
    if metadata(owner).get("annotations"):
        meta["annotations"] = dict(metadata(owner)["annotations"])
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": meta,
        "data": data,
        "revision": number,
    }


def same_data(one: Object, other: Object) -> bool:
    """Whether two revisions keep the same template."""
    return bool(one.get("data") == other.get("data"))


def by_number(revisions: Iterable[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(
        revisions,
        key=lambda r: (r.get("revision", 0), metadata(r).get("creationTimestamp") or "", name(r)),
    )


def next_number(revisions: list[Object]) -> int:
    """One more than the highest."""
    return max((r.get("revision", 0) for r in revisions), default=0) + 1


async def claim_revisions(
    client: Client,
    owner: Object,
    owner_resource: str,
    selector: Selector,
    candidates: Iterable[Object],
) -> list[Object]:
    """The owner's revisions, oldest first, after adopting orphans that match its selector."""
    claimer = Claimer(client, "controllerrevisions", owner, owner_resource, selector)
    return by_number(await claimer.claim(candidates))


async def create_revision(client: Client, owner: Object, revision: Object) -> Object | None:
    """Create a revision. None when its name is taken by another template's: count the collision
    and make a new one."""
    try:
        return await client.create("controllerrevisions", revision)
    except StatusError as error:
        if error.code != 409 or error.reason != "AlreadyExists":
            raise
    present = await client.get("controllerrevisions", name(revision), namespace(revision))
    if same_data(present, revision) and is_controlled_by(present, owner):
        return present
    return None


async def renumber(client: Client, revision: Object, number: int) -> Object:
    """Give a revision that is used again the highest number."""
    if revision.get("revision") == number:
        return revision
    changed = mutable(revision)
    changed["revision"] = number
    return await client.update("controllerrevisions", changed)


async def truncate(
    client: Client, revisions: list[Object], live: set[str], limit: int | None
) -> None:
    """Delete the oldest of those that no pod is of, beyond `limit` of them.

    `live` are names or hashes in use.
    """
    if limit is None:
        return
    spare = [
        r
        for r in by_number(revisions)
        if name(r) not in live and labels(r).get(REVISION_HASH, "") not in live
    ]
    for revision in spare[: max(0, len(spare) - limit)]:
        try:
            await client.delete(
                "controllerrevisions", name(revision), namespace(revision), uid=uid(revision)
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise
