"""Owners and dependents, through the API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
NOBODY = "11111111-2222-3333-4444-555555555555"


class Owned:
    """ConfigMaps that own each other."""

    def __init__(self, plane: Callable[..., Any], **options: Any) -> None:
        self.plane = plane("garbage-collector-controller,namespace-controller", **options)

    def make(self, name: str, *owners: Object, block: bool = True, **meta: Any) -> Object:
        refs = [
            {
                "apiVersion": "v1",
                "kind": o.get("kind", "ConfigMap"),
                "name": o["metadata"]["name"],
                "uid": o["metadata"]["uid"],
                "blockOwnerDeletion": block,
            }
            for o in owners
        ]
        body = {"metadata": {"name": name, "ownerReferences": refs, **meta}}
        made: Object = self.plane.create("configmaps", body)
        self.plane.sim.advance(0.1)
        return made

    def names(self) -> list[str]:
        return sorted(
            c["metadata"]["name"]
            for c in self.plane.list("configmaps", "default")
            if not c["metadata"]["name"].startswith("kube-")
        )

    def delete(self, name: str, propagation: str = "Background") -> None:
        self.plane.delete("configmaps", name, propagation=propagation)

    def settle(self, seconds: float = 3.0) -> None:
        self.plane.sim.advance(seconds)


@pytest.fixture
def owned(plane: Callable[..., Any]) -> Owned:
    return Owned(plane)


def ghost(name: str = "never", kind: str = "ConfigMap") -> Object:
    return {"kind": kind, "metadata": {"name": name, "uid": NOBODY}}


def test_background_deletion_takes_dependents_of_dependents(owned: Owned) -> None:
    top = owned.make("top")
    middle = owned.make("middle", top)
    owned.make("leaf", middle)
    owned.delete("top")
    owned.settle()
    assert owned.names() == []


def test_a_dependent_stays_while_one_of_its_owners_is_there(owned: Owned) -> None:
    one, two = owned.make("one"), owned.make("two")
    owned.make("child", one, two)
    owned.delete("one")
    owned.settle()
    assert owned.names() == ["child", "two"]
    refs = owned.plane.get("configmaps", "child")["metadata"]["ownerReferences"]
    assert [r["name"] for r in refs] == ["two"]
    owned.delete("two")
    owned.settle()
    assert owned.names() == []


def test_foreground_deletion_removes_dependents_before_the_owner(owned: Owned) -> None:
    top = owned.make("top")
    owned.make("child", top, finalizers=["example.com/hold"])
    owned.delete("top", "Foreground")
    owned.settle()
    assert owned.names() == ["child", "top"]
    assert owned.plane.get("configmaps", "top")["metadata"]["finalizers"] == ["foregroundDeletion"]
    owned.plane.patch("configmaps", "child", {"metadata": {"finalizers": None}})
    owned.settle()
    assert owned.names() == []


def test_foreground_deletion_does_not_wait_for_dependents_that_do_not_block(owned: Owned) -> None:
    top = owned.make("top")
    owned.make("child", top, block=False, finalizers=["example.com/hold"])
    owned.delete("top", "Foreground")
    owned.settle()
    assert owned.names() == ["child"]


def test_orphans_lose_their_owner_and_stay(owned: Owned) -> None:
    top = owned.make("top")
    owned.make("child", top)
    owned.delete("top", "Orphan")
    owned.settle()
    assert owned.names() == ["child"]
    assert "ownerReferences" not in owned.plane.get("configmaps", "child")["metadata"]


def test_a_child_of_an_owner_that_never_was_goes(owned: Owned) -> None:
    owned.make("child", ghost())
    owned.settle()
    assert owned.names() == []


def test_a_child_of_a_cluster_scoped_owner_that_never_was_goes(owned: Owned) -> None:
    owned.plane.create("nodes", {"metadata": {"name": "n"}})
    owned.make("child", ghost("n", kind="Node"))
    owned.settle()
    assert owned.names() == []


def test_a_child_of_an_unknown_kind_is_left_alone(owned: Owned) -> None:
    owned.make("child", ghost(kind="Nonesuch"))
    owned.settle(30.0)
    assert owned.names() == ["child"]


def test_an_owner_in_another_namespace_is_no_owner(owned: Owned) -> None:
    owned.plane.create("namespaces", {"metadata": {"name": "other"}})
    owner = owned.plane.create("configmaps", {"metadata": {"name": "owner"}}, "other")
    owned.settle(0.5)
    owned.make("child", owner)
    owned.settle()
    assert owned.names() == []
    assert any("does not exist in namespace" in e for e in owned.plane.events("OwnerRefInvalidNamespace"))


def test_a_circle_in_the_foreground_does_not_hang(owned: Owned) -> None:
    first = owned.make("first")
    second = owned.make("second", first)
    ref = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "second",
        "uid": second["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    owned.plane.patch("configmaps", "first", {"metadata": {"ownerReferences": [ref]}})
    owned.settle()
    owned.delete("first", "Foreground")
    owned.settle(10.0)
    assert owned.names() == []


def test_collection_goes_on_after_a_crash_of_the_controllers(owned: Owned) -> None:
    top = owned.make("top")
    owned.make("child", top)
    owned.plane.sim.crash(owned.plane.manager, restart_after_s=5.0)
    owned.delete("top")
    owned.settle(15.0)
    assert owned.names() == []


@pytest.mark.parametrize("minor", [31, 34, 37])
def test_collection_does_not_wait_for_kinds_that_another_version_has(plane: Callable[..., Any], minor: int) -> None:
    owned = Owned(plane, minor=minor)
    top = owned.make("top")
    owned.make("child", top)
    owned.delete("top")
    owned.settle()
    assert owned.names() == []


def test_a_terminating_namespace_is_emptied_and_goes(owned: Owned) -> None:
    owned.plane.create("namespaces", {"metadata": {"name": "n"}})
    for name in ("a", "b"):
        owned.plane.create("configmaps", {"metadata": {"name": name}}, "n")
    owned.settle(0.5)
    owned.plane.create("pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}, "n")
    owned.settle(0.5)
    owned.plane.delete("namespaces", "n")
    owned.settle(10.0)
    assert owned.plane.get("namespaces", "n") is None
    assert owned.plane.list("configmaps", "n") == []


def test_a_namespace_says_what_it_waits_for(owned: Owned) -> None:
    owned.plane.create("namespaces", {"metadata": {"name": "n"}})
    meta = {"name": "held", "finalizers": ["example.com/hold"]}
    owned.plane.create("configmaps", {"metadata": meta}, "n")
    owned.settle(0.5)
    owned.plane.delete("namespaces", "n")
    owned.settle(5.0)
    status = owned.plane.get("namespaces", "n")["status"]
    assert status["phase"] == "Terminating"
    assert {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]} == {
        "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps. has 1 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        ),
    }
    owned.plane.patch("configmaps", "held", {"metadata": {"finalizers": None}}, "n")
    owned.settle(10.0)
    assert owned.plane.get("namespaces", "n") is None


def test_pods_go_before_anything_else_in_a_namespace(owned: Owned) -> None:
    owned.plane.create("namespaces", {"metadata": {"name": "n"}})
    owned.plane.create("configmaps", {"metadata": {"name": "c"}}, "n")
    owned.settle(0.5)
    meta = {"name": "p", "finalizers": ["example.com/hold"]}
    owned.plane.create("pods", {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "i"}]}}, "n")
    owned.plane.delete("namespaces", "n")
    owned.settle(10.0)
    assert owned.plane.get("configmaps", "c", "n") is not None
    owned.plane.patch("pods", "p", {"metadata": {"finalizers": None}}, "n")
    owned.settle(10.0)
    assert owned.plane.get("namespaces", "n") is None


WIDGETS = "widgets.v1.example.com"
DEFINITION = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def widget(name: str, *owners: Object) -> Object:
    refs = [
        {"apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}
        for o in owners
    ]
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name, "ownerReferences": refs}}


@pytest.fixture
def widgets(owned: Owned) -> Owned:
    owned.plane.create("customresourcedefinitions", DEFINITION)
    owned.settle(1.0)
    return owned


def test_custom_kinds_own_and_are_owned(widgets: Owned) -> None:
    top = widgets.plane.create("configmaps", {"metadata": {"name": "top"}})
    middle = widgets.plane.create(WIDGETS, widget("middle", {"apiVersion": "v1", "kind": "ConfigMap", **top}))
    ref = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "middle", "uid": middle["metadata"]["uid"]}
    widgets.plane.create("configmaps", {"metadata": {"name": "leaf", "ownerReferences": [ref]}})
    widgets.settle()
    assert widgets.names() == ["leaf", "top"]
    widgets.delete("top")
    widgets.settle()
    assert widgets.names() == []
    assert widgets.plane.list(WIDGETS, "default") == []


def test_custom_objects_go_with_their_namespace(widgets: Owned) -> None:
    widgets.plane.create("namespaces", {"metadata": {"name": "n"}})
    widgets.plane.create(WIDGETS, widget("w"), "n")
    widgets.settle(0.5)
    widgets.plane.delete("namespaces", "n")
    widgets.settle(10.0)
    assert widgets.plane.get("namespaces", "n") is None


def test_dependents_of_custom_objects_go_with_their_definition(widgets: Owned) -> None:
    owner = widgets.plane.create(WIDGETS, widget("w"))
    ref = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": owner["metadata"]["uid"]}
    widgets.plane.create("configmaps", {"metadata": {"name": "leaf", "ownerReferences": [ref]}})
    widgets.settle()
    widgets.plane.delete("customresourcedefinitions", "widgets.example.com")
    widgets.settle(10.0)
    assert widgets.names() == [] or widgets.plane.get("customresourcedefinitions", "widgets.example.com") is None
