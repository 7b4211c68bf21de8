"""Pods that share a volume with different SELinux labels are warned, and no others."""

from __future__ import annotations

from typing import Any

import pytest

Object = dict[str, Any]
DRIVER = "disks.example.com"


class World:
    """A plane with a volume that pods of one namespace share."""

    def __init__(self, plane: Any) -> None:
        self.plane = plane("selinux-warning-controller")

    def driver(self, mounts: bool) -> None:
        self.plane.create("csidrivers", {"metadata": {"name": DRIVER}, "spec": {"seLinuxMount": mounts}})

    def volume(self) -> None:
        ref = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "c"}
        both = {"accessModes": ["ReadWriteMany"], "storageClassName": "x"}
        spec = {**both, "capacity": {"storage": "1Gi"}, "csi": {"driver": DRIVER, "volumeHandle": "h"}, "claimRef": ref}
        self.plane.create("persistentvolumes", {"metadata": {"name": "v"}, "spec": spec})
        claim = {**both, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v"}
        self.plane.create("persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": claim})

    def pod(self, name: str, level: str, policy: str = "") -> None:
        context: Object = {"seLinuxOptions": {"level": level}} if level else {}
        if policy:
            context["seLinuxChangePolicy"] = policy
        mounts = [{"name": "d", "mountPath": "/d"}]
        spec = {
            "securityContext": context,
            "containers": [{"name": "c", "image": "i", "volumeMounts": mounts}],
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}],
        }
        self.plane.create("pods", {"metadata": {"name": name}, "spec": spec})

    def warnings(self) -> list[str]:
        self.plane.sim.advance(2)
        found: list[str] = self.plane.events()
        return found


@pytest.fixture
def world(plane: Any) -> World:
    return World(plane)


def test_both_pods_are_told_of_labels_that_differ(world: World) -> None:
    world.driver(True)
    world.volume()
    world.pod("a", "s0:c1,c2")
    assert world.warnings() == []
    world.pod("b", "s0:c3,c4")
    one, other = '":::s0:c1,c2"', '":::s0:c3,c4"'
    after = "If both pods land on the same node, only one of them may access the volume."
    assert world.warnings() == [
        f"Normal SELinuxLabelConflict Pod/a: SELinuxLabel {one} conflicts with pod b that uses the same volume as this "
        f"pod with SELinuxLabel {other}. {after}",
        f"Normal SELinuxLabelConflict Pod/b: SELinuxLabel {other} conflicts with pod a that uses the same volume as this "
        f"pod with SELinuxLabel {one}. {after}",
    ]


def test_the_same_label_or_one_that_is_not_mounted_with_is_no_conflict(world: World) -> None:
    world.driver(False)
    world.volume()
    world.pod("a", "s0:c1,c2")
    world.pod("b", "s0:c3,c4")
    assert world.warnings() == []


def test_policies_that_differ_are_told_too(world: World) -> None:
    world.driver(True)
    world.volume()
    world.pod("a", "s0:c1,c2")
    world.pod("b", "s0:c1,c2", "Recursive")
    assert [text.split(":")[0] for text in world.warnings()] == [
        "Normal SELinuxChangePolicyConflict Pod/a", "Normal SELinuxChangePolicyConflict Pod/b",
    ]
