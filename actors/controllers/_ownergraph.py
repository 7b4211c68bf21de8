"""Who owns whom: the graph that the garbage collector acts on.

Owns nodes for all objects by uid, virtual nodes for owners that are spoken of but were never
seen, and the memory of owners known to be absent. It asks no server: it says, through two
callbacks, which nodes want looking at. Facts: kubernetes pkg/controller/garbagecollector.

    ReplicaSet r  <-owned by-  Pod p        r is deleted in the foreground:
    want_delete(p), want_delete(r)          p goes -> want_delete(r): no dependent blocks it now
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from protocol.objects import Object, metadata, owner_references

__all__ = ["FOREGROUND", "ORPHAN", "Coordinates", "GraphNode", "OwnerGraph"]

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
ABSENT_SIZE = 4096


class Coordinates(NamedTuple):
    """How an object is spoken of. The namespace is empty for a cluster-scoped object."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        """As upstream prints one in events."""
        return f"[{self.api_version}/{self.kind}, namespace: {self.namespace}, name: {self.name}, uid: {self.uid}]"


class GraphNode:
    """An object. `virtual`: known only from a reference, its coordinates are somebody's word."""

    __slots__ = ("being_deleted", "deleting_dependents", "dependents", "identity", "owners", "virtual")

    def __init__(self, identity: Coordinates, owners: Iterable[Object] = (), *, virtual: bool = False) -> None:
        self.identity = identity
        self.owners: dict[str, Object] = {ref.get("uid", ""): ref for ref in owners}
        self.dependents: dict[str, GraphNode] = {}
        self.being_deleted = False
        self.deleting_dependents = False
        self.virtual = virtual

    def blocking(self) -> list[GraphNode]:
        """Dependents that hold up this node's deletion in the foreground."""
        uid = self.identity.uid
        return [d for d in self.dependents.values() if d.owners.get(uid, {}).get("blockOwnerDeletion")]


class OwnerGraph:
    """`want_delete(uid)`: see whether this object must go. `want_orphan(uid)`: release its
    dependents. `misplaced(node, reference)`: an owner of another namespace is named."""

    def __init__(
        self,
        want_delete: Callable[[str], None],
        want_orphan: Callable[[str], None],
        misplaced: Callable[[GraphNode, Object], None],
    ) -> None:
        self.nodes: dict[str, GraphNode] = {}
        self._absent: OrderedDict[Coordinates, None] = OrderedDict()
        self._want_delete = want_delete
        self._want_orphan = want_orphan
        self._misplaced = misplaced

    # -- what is known to be absent ----------------------------------------------------------

    def is_absent(self, owner: Coordinates) -> bool:
        """Whether this owner was found not to exist; also if it is cluster-scoped."""
        return owner in self._absent or owner._replace(namespace="") in self._absent

    def mark_absent(self, owner: Coordinates) -> None:
        self._absent[owner] = None
        if len(self._absent) > ABSENT_SIZE:
            self._absent.popitem(last=False)

    # -- what was seen -----------------------------------------------------------------------

    def observe(self, old: Object | None, obj: Object) -> None:
        """An object was added or changed."""
        meta = obj["metadata"]
        uid = meta.get("uid", "")
        identity = _coordinates(obj)
        node = self.nodes.get(uid)
        if node is None:
            node = self.nodes[uid] = GraphNode(identity, owner_references(obj))
            self._link(node, node.owners.values())
        else:
            if node.virtual:
                self._unveil(node, identity)
            node.identity = identity
            self._relink(node, owner_references(obj))
        if meta.get("deletionTimestamp"):
            node.being_deleted = True
            self._transitions(old, obj, node)

    def forget(self, obj: Object) -> None:
        """An object is gone."""
        node = self.nodes.get(metadata(obj).get("uid", ""))
        if node is not None:
            self._remove(node, _coordinates(obj))

    def not_there(self, identity: Coordinates) -> None:
        """The server says that there is no object with these coordinates and this uid."""
        node = self.nodes.get(identity.uid)
        if node is None:
            return
        if node.virtual:
            agreeing, others = _partition(node, identity)
            if not others:
                self._remove(node, identity)
                return
            self._absent_for(identity, agreeing)
            if node.identity == identity:
                other = _alternative(others, identity)
                if other is not None:
                    node.identity = other
                    self._want_delete(identity.uid)
        elif node.identity == identity:
            self._remove(node, identity)
        else:
            self._absent_for(identity, _partition(node, identity)[0])

    def _absent_for(self, identity: Coordinates, dependents: list[GraphNode]) -> None:
        if dependents:
            self.mark_absent(identity)
            for dependent in dependents:
                self._want_delete(dependent.identity.uid)

    # -- links -------------------------------------------------------------------------------

    def _link(self, node: GraphNode, references: Iterable[Object]) -> None:
        unsure = False
        for ref in references:
            uid = ref.get("uid", "")
            owner = self.nodes.get(uid)
            if owner is None:
                spoken = Coordinates(
                    ref.get("apiVersion", ""), ref.get("kind", ""), node.identity.namespace, ref.get("name", ""), uid
                )
                owner = self.nodes[uid] = GraphNode(spoken, virtual=True)
                owner.dependents[node.identity.uid] = node
                self._want_delete(uid)
                continue
            owner.dependents[node.identity.uid] = node
            if not _agrees(ref, node.identity.namespace, owner.identity):
                if not owner.virtual and owner.identity.namespace not in ("", node.identity.namespace):
                    self._misplaced(node, ref)
                unsure = True
        if unsure:
            self._want_delete(node.identity.uid)

    def _relink(self, node: GraphNode, references: list[Object]) -> None:
        wanted = {ref.get("uid", ""): ref for ref in references}
        if wanted == node.owners:
            return
        before, node.owners = node.owners, wanted
        for uid, ref in before.items():
            still = wanted.get(uid)
            if ref.get("blockOwnerDeletion") and not (still and still.get("blockOwnerDeletion")) and uid in self.nodes:
                self._want_delete(uid)
            if still is None and uid in self.nodes:
                self.nodes[uid].dependents.pop(node.identity.uid, None)
        self._link(node, [ref for uid, ref in wanted.items() if uid not in before])

    def _unveil(self, node: GraphNode, identity: Coordinates) -> None:
        """A virtual node turns out to be real; dependents that spoke of it otherwise are suspect."""
        node.virtual = False
        if node.identity == identity:
            return
        for dependent in _partition(node, identity)[1]:
            if identity.namespace and dependent.identity.namespace != identity.namespace:
                self._misplaced(dependent, dependent.owners[identity.uid])
            self._want_delete(dependent.identity.uid)

    def _remove(self, node: GraphNode, identity: Coordinates) -> None:
        self.nodes.pop(node.identity.uid, None)
        if node.dependents:
            self.mark_absent(identity)
        for uid in node.owners:
            owner = self.nodes.get(uid)
            if owner is not None:
                owner.dependents.pop(node.identity.uid, None)
                if owner.deleting_dependents:
                    self._want_delete(uid)
        for uid in node.dependents:
            self._want_delete(uid)

    def _transitions(self, old: Object | None, obj: Object, node: GraphNode) -> None:
        """A deletion that begins to wait for orphaning or for its dependents."""
        if _starts(old, obj, ORPHAN):
            self._want_orphan(node.identity.uid)
        elif _starts(old, obj, FOREGROUND):
            node.deleting_dependents = True
            for uid in node.dependents:
                self._want_delete(uid)
            self._want_delete(node.identity.uid)


def _coordinates(obj: Object) -> Coordinates:
    meta = obj["metadata"]
    return Coordinates(
        obj.get("apiVersion", ""), obj.get("kind", ""), meta.get("namespace", ""), meta["name"], meta.get("uid", "")
    )


def _agrees(ref: Object, namespace: str, owner: Coordinates) -> bool:
    """Whether a reference from `namespace` means `owner` by its coordinates too."""
    return (
        ref.get("kind") == owner.kind
        and ref.get("name") == owner.name
        and ref.get("apiVersion") == owner.api_version
        and owner.namespace in ("", namespace)
    )


def _partition(node: GraphNode, identity: Coordinates) -> tuple[list[GraphNode], list[GraphNode]]:
    """-> dependents whose reference means `identity`, and those whose reference does not."""
    agreeing: list[GraphNode] = []
    others: list[GraphNode] = []
    for dependent in node.dependents.values():
        ref = dependent.owners.get(identity.uid, {})
        (agreeing if _agrees(ref, dependent.identity.namespace, identity) else others).append(dependent)
    return agreeing, others


def _alternative(dependents: list[GraphNode], identity: Coordinates) -> Coordinates | None:
    """Other coordinates by which dependents speak of this uid: the next ones in order."""
    found = set()
    for dependent in dependents:
        ref = dependent.owners.get(identity.uid, {})
        spoken = (ref.get("apiVersion", ""), ref.get("kind", ""), dependent.identity.namespace, ref.get("name", ""))
        found.add(Coordinates(*spoken, identity.uid))
    found.discard(identity)
    ordered = sorted(found)
    return next((c for c in ordered if c > identity), ordered[0] if ordered else None)


def _starts(old: Object | None, obj: Object, finalizer: str) -> bool:
    def waiting(o: Object) -> bool:
        meta = metadata(o)
        return bool(meta.get("deletionTimestamp")) and finalizer in (meta.get("finalizers") or ())

    return waiting(obj) and (old is None or not waiting(old))
