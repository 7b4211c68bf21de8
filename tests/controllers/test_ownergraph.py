"""The graph of owners: what it asks to be looked at."""

from __future__ import annotations

from typing import Any

from actors.controllers._ownergraph import FOREGROUND, ORPHAN, Coordinates, OwnerGraph

Object = dict[str, Any]


def obj(name: str, *owners: str, uid: str = "", namespace: str = "d", block: bool = False, **meta: Any) -> Object:
    refs = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": o, "uid": f"uid-{o}", "blockOwnerDeletion": block}
        for o in owners
    ]
    base: Object = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}"}
    if refs:
        base["ownerReferences"] = refs
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**base, **meta}}


class Asked:
    """A graph that notes what it asks for."""

    def __init__(self) -> None:
        self.delete: list[str] = []
        self.orphan: list[str] = []
        self.misplaced: list[str] = []
        self.graph = OwnerGraph(
            self.delete.append, self.orphan.append, lambda node, ref: self.misplaced.append(node.identity.name)
        )

    def see(self, new: Object, old: Object | None = None) -> None:
        self.graph.observe(old, new)


def test_an_owner_never_seen_is_to_be_verified() -> None:
    asked = Asked()
    asked.see(obj("child", "ghost"))
    assert asked.delete == ["uid-ghost"]
    assert asked.graph.nodes["uid-ghost"].virtual


def test_a_verified_absence_puts_the_dependents_up_for_deletion() -> None:
    asked = Asked()
    asked.see(obj("child", "ghost"))
    asked.graph.not_there(asked.graph.nodes["uid-ghost"].identity)
    assert asked.delete == ["uid-ghost", "uid-child"]
    assert asked.graph.is_absent(Coordinates("v1", "ConfigMap", "d", "ghost", "uid-ghost"))


def test_an_owner_that_goes_puts_its_dependents_up_for_deletion() -> None:
    asked = Asked()
    owner = obj("owner")
    asked.see(owner)
    asked.see(obj("child", "owner"))
    assert asked.delete == []
    asked.graph.forget(owner)
    assert asked.delete == ["uid-child"]


def test_foreground_deletion_asks_for_dependents_and_then_for_the_owner() -> None:
    asked = Asked()
    asked.see(obj("owner"))
    child = obj("child", "owner", block=True)
    asked.see(child)
    going = obj("owner", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[FOREGROUND])
    asked.see(going, obj("owner"))
    assert asked.delete == ["uid-child", "uid-owner"]
    assert [d.identity.name for d in asked.graph.nodes["uid-owner"].blocking()] == ["child"]
    asked.graph.forget(child)
    assert asked.delete[2:] == ["uid-owner"]
    assert not asked.graph.nodes["uid-owner"].blocking()


def test_a_reference_that_blocks_no_more_asks_for_the_owner() -> None:
    asked = Asked()
    asked.see(obj("owner"))
    before = obj("child", "owner", block=True)
    asked.see(before)
    asked.see(obj("child", "owner", block=False), before)
    assert asked.delete == ["uid-owner"]


def test_orphaning_asks_once() -> None:
    asked = Asked()
    asked.see(obj("owner"))
    going = obj("owner", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[ORPHAN])
    asked.see(going, obj("owner"))
    asked.see(going, going)
    assert asked.orphan == ["uid-owner"]


def test_a_child_in_another_namespace_is_reported_and_looked_at() -> None:
    asked = Asked()
    asked.see(obj("owner", namespace="here"))
    asked.see(obj("child", "owner", namespace="there"))
    assert asked.misplaced == ["child"]
    assert asked.delete == ["uid-child"]


def test_two_children_that_disagree_about_an_owner_are_both_settled() -> None:
    asked = Asked()
    asked.see(obj("right", "owner", namespace="a"))
    asked.see(obj("wrong", "owner", namespace="b"))
    node = asked.graph.nodes["uid-owner"]
    asked.delete.clear()
    asked.graph.not_there(node.identity)  # not in namespace a
    assert "uid-right" in asked.delete
    assert asked.graph.nodes["uid-owner"].identity.namespace == "b"
    asked.graph.not_there(asked.graph.nodes["uid-owner"].identity)
    assert "uid-wrong" in asked.delete
