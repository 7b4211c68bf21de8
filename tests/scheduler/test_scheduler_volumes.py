"""Volumes: where they can be reached, and which one a claim gets."""

from __future__ import annotations

from typing import Any

from scheduler_api import World

Object = dict[str, Any]
ZONE = "topology.kubernetes.io/zone"
BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def storage_class(name: str = "local", provisioner: str = "kubernetes.io/no-provisioner", **more: Any) -> Object:
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer", **more}


def claim(name: str = "data", volume: str = "", size: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), of: str = "local") -> Object:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": BOUND if volume else {}},
        "spec": {"storageClassName": of, "accessModes": list(modes), "resources": {"requests": {"storage": size}}, **({"volumeName": volume} if volume else {})},
        "status": {"phase": "Bound" if volume else "Pending"},
    }


def volume(name: str, node: str = "", size: str = "1Gi", labels: dict[str, str] | None = None, of: str = "local", **spec: Any) -> Object:
    fields: Object = {}
    if node:
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
        fields["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"storageClassName": of, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, **fields, **spec},
        "status": {"phase": "Available"},
    }


def uses(name: str = "data") -> list[Object]:
    return [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]


def world() -> World:
    made = World()
    for name, zone in (("a", "z1"), ("b", "z2")):
        made.node(name, labels={ZONE: zone})
    made.state.put("storageclasses", storage_class(), "ADDED")
    return made


def controller(made: World) -> None:
    """What the volume controller does: bind what the scheduler set aside, make what it asked for."""
    for found in list(made.state.of("persistentvolumes").values()):
        ref = found["spec"].get("claimRef")
        key = f"{ref['namespace']}/{ref['name']}" if ref else ""
        waiting = made.state.of("persistentvolumeclaims").get(key)
        if waiting is not None and not waiting["spec"].get("volumeName"):
            finish(made, waiting, found["metadata"]["name"])
    for waiting in list(made.state.of("persistentvolumeclaims").values()):
        node = (waiting["metadata"].get("annotations") or {}).get("volume.kubernetes.io/selected-node")
        if node and not waiting["spec"].get("volumeName"):
            made.state.put("persistentvolumes", volume(f"made-{waiting['metadata']['name']}", node, of="fast"), "ADDED")
            finish(made, waiting, f"made-{waiting['metadata']['name']}")


def finish(made: World, waiting: Object, name: str) -> None:
    meta = {**waiting["metadata"], "annotations": {**(waiting["metadata"].get("annotations") or {}), **BOUND}}
    made.state.put("persistentvolumeclaims", {**waiting, "metadata": meta, "spec": {**waiting["spec"], "volumeName": name}})


def test_a_bound_volume_draws_its_pod_to_where_it_can_be_reached() -> None:
    made = world()
    made.state.put("persistentvolumes", volume("v1", "b"), "ADDED")
    made.state.put("persistentvolumeclaims", claim(volume="v1"), "ADDED")
    made.pod("db", volumes=uses())
    made.settle(2)
    assert made.where("db") == ["b"]


def test_a_volume_that_no_node_reaches_is_said_to_be_so() -> None:
    made = world()
    made.state.put("persistentvolumes", volume("v1", "gone"), "ADDED")
    made.state.put("persistentvolumeclaims", claim(volume="v1"), "ADDED")
    made.pod("db", volumes=uses())
    made.settle(2)
    assert made.scheduled("db")["message"].startswith("0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.")


def test_a_claim_that_waits_for_its_pod_gets_the_smallest_volume_that_fits() -> None:
    made = world()
    for name, size in (("huge", "9Gi"), ("right", "2Gi"), ("small", "1Gi")):
        made.state.put("persistentvolumes", volume(name, "b", size), "ADDED")
    made.state.put("persistentvolumeclaims", claim(size="2Gi"), "ADDED")
    made.pod("db", volumes=uses())
    made.settle(1)
    assert made.where("db") == [None]
    ref = made.state.of("persistentvolumes")["right"]["spec"]["claimRef"]
    assert (ref["namespace"], ref["name"], ref["uid"]) == ("default", "data", "uid-data")
    controller(made)
    made.settle(2)
    assert made.where("db") == ["b"]


def test_two_pods_are_not_promised_one_volume() -> None:
    made = world()
    made.state.put("persistentvolumes", volume("only", "a"), "ADDED")
    for name in ("one", "two"):
        made.state.put("persistentvolumeclaims", claim(name), "ADDED")
        made.pod(name, volumes=uses(name))
    made.settle(1)
    controller(made)
    made.settle(2)
    nodes = made.where("one", "two")
    assert sorted(n or "" for n in nodes) == ["", "a"]
    waiting = ("one", "two")[nodes.index(None)]
    text = "2 node(s) didn't find available persistent volumes to bind."
    assert text in made.scheduled(waiting)["message"]


def test_a_volume_is_asked_for_on_the_chosen_node_within_the_allowed_topology() -> None:
    made = world()
    topology = [{"matchLabelExpressions": [{"key": ZONE, "values": ["z2"]}]}]
    made.state.put("storageclasses", storage_class("fast", "example.com/disk", allowedTopologies=topology), "ADDED")
    made.state.put("persistentvolumeclaims", claim(of="fast"), "ADDED")
    made.pod("db", volumes=uses())
    made.settle(1)
    found = made.state.of("persistentvolumeclaims")["default/data"]
    assert found["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "b"
    controller(made)
    made.settle(2)
    assert made.where("db") == ["b"]


def test_an_unbound_claim_of_an_immediate_class_rejects_the_pod_until_it_is_bound() -> None:
    made = world()
    made.state.put("storageclasses", {**storage_class("now"), "volumeBindingMode": "Immediate"}, "ADDED")
    made.state.put("persistentvolumeclaims", claim(of="now"), "ADDED")
    made.pod("db", volumes=uses())
    made.settle(1)
    assert made.scheduled("db")["message"] == "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
    made.state.put("persistentvolumes", volume("v1", "a", of="now"), "ADDED")
    finish(made, made.state.of("persistentvolumeclaims")["default/data"], "v1")
    made.settle(5)
    assert made.where("db") == ["a"]


def test_a_volume_label_of_a_zone_keeps_its_pod_in_the_zone() -> None:
    made = world()
    made.state.put("persistentvolumes", volume("v1", labels={ZONE: "z1"}), "ADDED")
    made.state.put("persistentvolumeclaims", claim(volume="v1"), "ADDED")
    made.pod("db", volumes=uses())
    made.pod("other", volumes=uses(), nodeSelector={ZONE: "z2"})
    made.settle(2)
    assert made.where("db") == ["a"]
    assert "1 node(s) had no available volume zone" in made.scheduled("other")["message"]


def test_a_claim_for_one_pod_only_is_not_shared() -> None:
    made = world()
    made.state.put("persistentvolumes", volume("v1", "a"), "ADDED")
    made.state.put("persistentvolumeclaims", claim(volume="v1", modes=("ReadWriteOncePod",)), "ADDED")
    made.pod("one", volumes=uses())
    made.settle(1)
    made.pod("two", volumes=uses())
    made.settle(1)
    assert made.where("one", "two") == ["a", None]
    assert "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode" in made.scheduled("two")["message"]
    made.state.remove("pods", "default/one")
    made.settle(5)
    assert made.where("two") == ["a"]


def test_a_node_attaches_as_many_volumes_of_a_driver_as_it_says() -> None:
    made = world()
    for node in ("a", "b"):
        drivers = [{"name": "example.com/disk", "allocatable": {"count": 1}}]
        made.state.put("csinodes", {"metadata": {"name": node}, "spec": {"drivers": drivers}}, "ADDED")
    for i in range(3):
        csi = {"csi": {"driver": "example.com/disk", "volumeHandle": f"h{i}"}}
        made.state.put("persistentvolumes", volume(f"v{i}", **csi), "ADDED")
        made.state.put("persistentvolumeclaims", claim(f"c{i}", volume=f"v{i}"), "ADDED")
        made.pod(f"p{i}", volumes=uses(f"c{i}"))
    made.settle(2)
    assert sorted(n or "" for n in made.where("p0", "p1", "p2")) == ["", "a", "b"]
    waiting = f"p{made.where('p0', 'p1', 'p2').index(None)}"
    assert "2 node(s) exceed max volume count" in made.scheduled(waiting)["message"]


def test_a_read_only_disk_is_shared_and_a_written_one_is_not() -> None:
    made = world()
    disk = {"name": "d", "gcePersistentDisk": {"pdName": "disk"}}
    made.pod("writer", volumes=[disk], nodeSelector={ZONE: "z1"})
    made.settle(1)
    made.pod("second", volumes=[disk], nodeSelector={ZONE: "z1"})
    made.settle(1)
    assert "1 node(s) had no available disk" in made.scheduled("second")["message"]
