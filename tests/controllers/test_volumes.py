"""Claims and volumes: binding, provisioning, reclaiming, protection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
CONTROLLERS = ",".join(
    (
        "persistentvolume-binder-controller",
        "persistentvolume-expander-controller",
        "persistentvolumeclaim-protection-controller",
        "persistentvolume-protection-controller",
        "ephemeral-volume-controller",
        "garbage-collector-controller",
    )
)
LOCAL = "kubekka.dev/local"


class Storage:
    """Short verbs for claims and volumes."""

    def __init__(self, plane: Callable[..., Any]) -> None:
        self.plane = plane(CONTROLLERS)
        self.plane.create("nodes", {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}})

    def volume(self, name: str, size: str = "1Gi", **spec: Any) -> None:
        base: Object = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/tmp/{name}"},
            "persistentVolumeReclaimPolicy": "Retain",
        }
        self.plane.create("persistentvolumes", {"metadata": {"name": name}, "spec": {**base, **spec}})

    def claim(self, name: str = "c", size: str = "1Gi", **spec: Any) -> None:
        base: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        base.setdefault("storageClassName", "")
        body = {"metadata": {"name": name}, "spec": {**base, **spec}}
        body["spec"] = {k: v for k, v in body["spec"].items() if v is not None}
        self.plane.create("persistentvolumeclaims", body)

    def storage_class(self, name: str = "fast", provisioner: str = LOCAL, **fields: Any) -> None:
        meta: Object = {"name": name}
        if fields.pop("default", False):
            meta["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        self.plane.create("storageclasses", {"metadata": meta, "provisioner": provisioner, **fields})

    def pod(self, claim: str = "c", node: str = "n1") -> None:
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
        spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
        if node:
            spec["nodeName"] = node
        self.plane.create("pods", {"metadata": {"name": "p"}, "spec": spec})

    def claimed(self, name: str = "c") -> tuple[str, str]:
        """The claim's phase and volume."""
        found = self.plane.get("persistentvolumeclaims", name)
        return found["status"].get("phase", ""), found["spec"].get("volumeName", "")

    def phase(self, volume: str) -> str:
        found = self.plane.get("persistentvolumes", volume)
        return found["status"].get("phase", "") if found else "gone"

    def settle(self, seconds: float = 2.0) -> None:
        self.plane.sim.advance(seconds)


@pytest.fixture
def storage(plane: Callable[..., Any]) -> Storage:
    return Storage(plane)


def test_a_claim_takes_the_smallest_volume_that_fits(storage: Storage) -> None:
    for name, size in (("tiny", "100Mi"), ("large", "10Gi"), ("right", "2Gi")):
        storage.volume(name, size)
    storage.claim()
    storage.settle()
    assert storage.claimed() == ("Bound", "right")
    assert storage.phase("right") == "Bound"
    assert storage.phase("large") == "Available"
    claim = storage.plane.get("persistentvolumeclaims", "c")
    assert claim["status"]["capacity"] == {"storage": "2Gi"}
    assert claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
    volume = storage.plane.get("persistentvolumes", "right")
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]


def test_two_claims_never_share_a_volume(storage: Storage) -> None:
    storage.volume("only")
    storage.claim("a")
    storage.claim("b")
    storage.settle()
    assert sorted(storage.claimed(n)[0] for n in ("a", "b")) == ["Bound", "Pending"]
    storage.volume("second")
    storage.settle()
    assert {storage.claimed(n)[1] for n in ("a", "b")} == {"only", "second"}


def test_a_claim_without_class_or_volume_says_why_it_waits(storage: Storage) -> None:
    storage.claim()
    storage.settle()
    assert storage.claimed() == ("Pending", "")
    assert storage.plane.events("FailedBinding") == [
        "Normal FailedBinding PersistentVolumeClaim/c: no persistent volumes available for this claim and no storage "
        "class is set"
    ]


def test_modes_classes_and_selectors_must_fit(storage: Storage) -> None:
    storage.volume("other-class", storageClassName="slow")
    storage.volume("other-mode", accessModes=["ReadOnlyMany"])
    storage.claim("a")
    storage.claim("b", selector={"matchLabels": {"tier": "gold"}})
    storage.settle()
    assert storage.claimed("a")[0] == storage.claimed("b")[0] == "Pending"


def test_the_local_provisioner_makes_a_volume_and_deletes_it(storage: Storage) -> None:
    storage.storage_class()
    storage.claim(storageClassName="fast")
    storage.settle()
    phase, name = storage.claimed()
    assert phase == "Bound"
    assert storage.plane.get("persistentvolumes", name)["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert storage.plane.events("ProvisioningSucceeded") == [
        f"Normal ProvisioningSucceeded PersistentVolumeClaim/c: Successfully provisioned volume {name} using {LOCAL}"
    ]
    storage.plane.delete("persistentvolumeclaims", "c")
    storage.settle()
    assert storage.plane.get("persistentvolumeclaims", "c") is None
    assert storage.phase(name) == "gone"


def test_waiting_for_the_first_consumer_binds_on_the_chosen_node(storage: Storage) -> None:
    storage.storage_class(volumeBindingMode="WaitForFirstConsumer")
    storage.claim(storageClassName="fast")
    storage.settle()
    assert storage.claimed() == ("Pending", "")
    assert storage.plane.events("WaitForFirstConsumer") == [
        "Normal WaitForFirstConsumer PersistentVolumeClaim/c: waiting for first consumer to be created before binding"
    ]
    notes = {"volume.kubernetes.io/selected-node": "n1"}
    storage.plane.patch("persistentvolumeclaims", "c", {"metadata": {"annotations": notes}})
    storage.settle()
    phase, name = storage.claimed()
    assert phase == "Bound"
    affinity = storage.plane.get("persistentvolumes", name)["spec"]["nodeAffinity"]["required"]
    assert affinity["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["n1"]


def test_an_external_provisioner_is_named_and_waited_for(storage: Storage) -> None:
    storage.storage_class(provisioner="example.com/disk")
    storage.claim(storageClassName="fast")
    storage.settle()
    notes = storage.plane.get("persistentvolumeclaims", "c")["metadata"]["annotations"]
    assert notes["volume.kubernetes.io/storage-provisioner"] == "example.com/disk"
    assert "external provisioner 'example.com/disk'" in storage.plane.events("ExternalProvisioning")[0]


def test_a_class_that_is_not_there_is_said_to_be_missing(storage: Storage) -> None:
    storage.claim(storageClassName="nope")
    storage.settle()
    assert storage.plane.events("ProvisioningFailed") == [
        'Warning ProvisioningFailed PersistentVolumeClaim/c: storageclass.storage.k8s.io "nope" not found'
    ]


def test_a_retained_volume_is_released_and_not_bound_again(storage: Storage) -> None:
    storage.volume("v")
    storage.claim("a")
    storage.settle()
    storage.plane.delete("persistentvolumeclaims", "a")
    storage.settle()
    assert storage.phase("v") == "Released"
    storage.claim("b")
    storage.settle()
    assert storage.claimed("b") == ("Pending", "")


@pytest.mark.parametrize(("path", "phase"), [("/tmp/data", "gone"), ("/srv/data", "Failed")])
def test_a_static_volume_is_deleted_only_below_tmp(storage: Storage, path: str, phase: str) -> None:
    storage.volume("v", hostPath={"path": path}, persistentVolumeReclaimPolicy="Delete")
    storage.claim("a")
    storage.settle()
    storage.plane.delete("persistentvolumeclaims", "a")
    storage.settle()
    assert storage.phase("v") == phase
    if phase == "Failed":
        assert storage.plane.events("VolumeFailedDelete") == [
            f"Warning VolumeFailedDelete PersistentVolume/v: host_path deleter only supports /tmp/.+ but received provided {path}"
        ]


def test_a_claim_whose_volume_vanishes_is_lost(storage: Storage) -> None:
    storage.volume("v")
    storage.claim()
    storage.settle()
    storage.plane.patch("persistentvolumes", "v", {"metadata": {"finalizers": None}})
    storage.plane.delete("persistentvolumes", "v")
    storage.plane.patch("persistentvolumes", "v", {"metadata": {"finalizers": None}}) if storage.phase(
        "v"
    ) != "gone" else None
    storage.settle()
    assert storage.claimed()[0] == "Lost"
    assert "Data on the volume is lost!" in storage.plane.events("ClaimLost")[0]


def test_a_claim_in_use_goes_only_when_its_pod_has_gone(storage: Storage) -> None:
    storage.volume("v")
    storage.claim()
    storage.settle()
    storage.pod()
    storage.plane.delete("persistentvolumeclaims", "c")
    storage.settle()
    assert storage.plane.get("persistentvolumeclaims", "c")["metadata"]["deletionTimestamp"]
    storage.plane.delete("pods", "p", grace_period_s=0)
    storage.settle()
    assert storage.plane.get("persistentvolumeclaims", "c") is None


def test_a_bound_volume_is_protected(storage: Storage) -> None:
    storage.volume("v")
    storage.claim()
    storage.settle()
    storage.plane.delete("persistentvolumes", "v")
    storage.settle()
    assert storage.phase("v") == "Bound"
    storage.plane.delete("persistentvolumeclaims", "c")
    storage.settle()
    assert storage.phase("v") == "gone"


def test_a_local_volume_grows_with_its_claim(storage: Storage) -> None:
    storage.storage_class(allowVolumeExpansion=True)
    storage.claim(storageClassName="fast")
    storage.settle()
    _, name = storage.claimed()
    storage.plane.patch("persistentvolumeclaims", "c", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}})
    storage.settle()
    assert storage.plane.get("persistentvolumeclaims", "c")["status"]["capacity"] == {"storage": "3Gi"}
    assert storage.plane.get("persistentvolumes", name)["spec"]["capacity"] == {"storage": "3Gi"}


def test_the_default_class_is_taken_when_none_is_named(storage: Storage) -> None:
    storage.claim(storageClassName=None)
    storage.settle()
    assert storage.claimed()[0] == "Pending"
    storage.storage_class("standard", default=True)
    storage.settle()
    assert storage.claimed()[0] == "Bound"
    assert storage.plane.get("persistentvolumeclaims", "c")["spec"]["storageClassName"] == "standard"


def test_an_ephemeral_volume_has_a_claim_that_goes_with_its_pod(storage: Storage) -> None:
    storage.storage_class()
    template = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
        }
    }
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    storage.plane.create(
        "pods",
        {
            "metadata": {"name": "p"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": volumes},
        },
    )
    storage.settle()
    claim = storage.plane.get("persistentvolumeclaims", "p-scratch")
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    assert storage.claimed("p-scratch")[0] == "Bound"
    storage.plane.delete("pods", "p", grace_period_s=0)
    storage.settle()
    assert storage.plane.get("persistentvolumeclaims", "p-scratch") is None
