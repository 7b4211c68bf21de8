"""CSI volumes are attached where pods need them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
DRIVER = "csi.example.com"


class Attachments:
    """Two nodes, one bound CSI volume; the test plays the attacher and the kubelet."""

    def __init__(self, plane: Callable[..., Any]) -> None:
        self.plane = plane("persistentvolume-attach-detach-controller")
        notes = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
        for node in ("n1", "n2"):
            self.plane.create("nodes", {"metadata": {"name": node, "annotations": notes}})
        spec: Object = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
        csi = {"driver": DRIVER, "volumeHandle": "h1"}
        claim_ref = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "c"}
        self.plane.create(
            "persistentvolumes", {"metadata": {"name": "v"}, "spec": {**spec, "csi": csi, "claimRef": claim_ref}}
        )
        size = {"requests": {"storage": "1Gi"}}
        claim = {"accessModes": ["ReadWriteOnce"], "resources": size, "volumeName": "v", "storageClassName": ""}
        self.plane.create("persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": claim})
        self.plane.set_status("persistentvolumeclaims", "c", {"phase": "Bound"})

    def pod(self, name: str, node: str) -> None:
        volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}], "volumes": volumes}
        self.plane.create("pods", {"metadata": {"name": name}, "spec": spec})

    def all(self) -> list[Object]:
        found: list[Object] = self.plane.list("volumeattachments")
        return found

    def attached(self, node: str) -> list[str]:
        return [v["name"] for v in self.plane.get("nodes", node)["status"].get("volumesAttached") or ()]

    def attach(self) -> str:
        """The attacher answers the only attachment there is."""
        (attachment,) = self.plane.eventually(self.all)
        self.plane.set_status("volumeattachments", attachment["metadata"]["name"], {"attached": True})
        return str(attachment["spec"]["nodeName"])


@pytest.fixture
def attachments(plane: Callable[..., Any]) -> Attachments:
    return Attachments(plane)


def test_a_pod_has_its_volume_attached_and_hears_of_it(attachments: Attachments) -> None:
    attachments.pod("p", "n1")
    assert attachments.attach() == "n1"
    attachments.plane.eventually(lambda: attachments.attached("n1") == [f"kubernetes.io/csi/{DRIVER}^h1"])
    (event,) = attachments.plane.eventually(lambda: attachments.plane.events("SuccessfulAttachVolume"))
    assert event == 'Normal SuccessfulAttachVolume Pod/p: AttachVolume.Attach succeeded for volume "v" '


def test_a_driver_that_needs_no_attachment_gets_none(attachments: Attachments) -> None:
    attachments.plane.create("csidrivers", {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False}})
    attachments.plane.sim.advance(1.0)
    attachments.pod("p", "n1")
    attachments.plane.sim.advance(5.0)
    assert attachments.all() == []


def test_a_volume_is_detached_when_no_pod_needs_it_and_the_node_has_let_go(attachments: Attachments) -> None:
    attachments.pod("p", "n1")
    attachments.attach()
    attachments.plane.set_status("nodes", "n1", {"volumesInUse": [f"kubernetes.io/csi/{DRIVER}^h1"]})
    attachments.plane.delete("pods", "p", grace_period_s=0)
    attachments.plane.sim.advance(60.0)
    assert attachments.all(), "the node still has it mounted"
    attachments.plane.set_status("nodes", "n1", {"volumesInUse": None})
    attachments.plane.eventually(lambda: not attachments.all())
    assert attachments.attached("n1") == []


def test_a_node_that_never_lets_go_is_waited_for_six_minutes(attachments: Attachments) -> None:
    attachments.pod("p", "n1")
    attachments.attach()
    attachments.plane.set_status("nodes", "n1", {"volumesInUse": [f"kubernetes.io/csi/{DRIVER}^h1"]})
    attachments.plane.delete("pods", "p", grace_period_s=0)
    attachments.plane.sim.advance(350.0)
    assert attachments.all()
    attachments.plane.sim.advance(20.0)
    assert not attachments.all()


def test_a_volume_of_one_node_is_refused_to_another(attachments: Attachments) -> None:
    attachments.pod("p", "n1")
    attachments.attach()
    attachments.pod("q", "n2")
    (event,) = attachments.plane.eventually(lambda: attachments.plane.events("FailedAttachVolume"))
    assert event.endswith('Pod/q: Multi-Attach error for volume "v" Volume is already used by pod(s) p')
    assert [a["spec"]["nodeName"] for a in attachments.all()] == ["n1"]
    attachments.plane.delete("pods", "p", grace_period_s=0)
    attachments.plane.eventually(lambda: [a["spec"]["nodeName"] for a in attachments.all()] == ["n2"])
