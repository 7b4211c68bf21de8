"""Objects are stored anew when a migration says so, and not otherwise changed."""

from __future__ import annotations

from typing import Any

from protocol.etcd import Range

Object = dict[str, Any]
CONTROLLERS = "storage-version-migrator-controller"
MIGRATIONS = "storageversionmigrations.v1.storagemigration.k8s.io"
WIDGETS = {version: f"widgets.{version}.example.com" for version in ("v1", "v2")}


def definition(stored: str) -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": v, "served": True, "storage": v == stored, "schema": schema} for v in ("v1", "v2")]
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"}, "spec": spec}


def migration(group: str, resource: str) -> Object:
    spec = {"resource": {"group": group, "resource": resource}}
    return {"apiVersion": "storagemigration.k8s.io/v1", "kind": "StorageVersionMigration",
            "metadata": {"name": "m"}, "spec": spec}


def conditions(world: Any) -> dict[str, tuple[str, str]]:
    found = world.client.get(MIGRATIONS, "m").get("status") or {}
    return {c["type"]: (c["status"], c["reason"]) for c in found.get("conditions") or ()}


def stored(world: Any, name: str) -> bytes:
    key = f"/registry/example.com/widgets/default/{name}".encode()
    return bytes(world.sim.ask(world.etcd, Range(key)).kvs[0].value)


def test_custom_objects_are_stored_in_the_version_of_today(plane: Any) -> None:
    world = plane(CONTROLLERS, minor=37)
    world.client.create("customresourcedefinitions", definition("v1"))
    world.eventually(lambda: world.list(WIDGETS["v1"]) == [])
    for name in ("a", "b"):
        body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"n": 1}}
        world.client.create(WIDGETS["v1"], body, "default")
    was = world.client.get(WIDGETS["v1"], "a", "default")
    assert b"example.com/v1" in stored(world, "a")
    versions = definition("v2")["spec"]["versions"]
    world.client.patch("customresourcedefinitions", "widgets.example.com", "", {"spec": {"versions": versions}})
    world.sim.advance(2)
    assert b"example.com/v1" in stored(world, "a")
    world.client.create(MIGRATIONS, migration("example.com", "widgets"))
    world.eventually(lambda: conditions(world).get("Succeeded") == ("True", "StorageVersionMigrationSucceeded"))
    assert conditions(world)["Running"] == ("False", "StorageVersionMigrationInProgress")
    for name in ("a", "b"):
        assert b'"apiVersion":"example.com/v2"' in stored(world, name)
    now = world.client.get(WIDGETS["v1"], "a", "default")
    assert now["spec"] == was["spec"]
    assert now["metadata"]["uid"] == was["metadata"]["uid"]


def test_what_there_is_not_cannot_be_migrated(plane: Any) -> None:
    world = plane(CONTROLLERS, minor=37)
    world.client.create(MIGRATIONS, migration("example.com", "gadgets"))
    world.eventually(lambda: conditions(world).get("Failed") == ("True", "StorageVersionMigrationFailed"))
    told = world.client.get(MIGRATIONS, "m")["status"]["conditions"]
    assert [c["message"] for c in told] == ["resource does not exist in discovery"]


def test_where_the_api_is_not_served_the_controller_is_not_started(plane: Any) -> None:
    for minor, runs in ((36, False), (37, True)):
        world = plane(f"{CONTROLLERS},job-controller", minor=minor)
        world.sim.advance(5)
        assert world.sim.lookup("controller-manager/job-controller") is not None
        assert (world.sim.lookup(f"controller-manager/{CONTROLLERS}") is not None) == runs
