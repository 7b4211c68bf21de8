"""Volumes that the built-in local provisioner makes: a directory on the node, made when mounted.

Owns the shape of such a PersistentVolume. It writes nothing, neither to the API nor to a disk.
"""

from __future__ import annotations

from actors.controllers._volumes import BOUND_BY_CONTROLLER, PROVISIONED_BY, claim_reference
from protocol.objects import Object, key, labels, metadata, spec, split_key

__all__ = ["LOCAL_PROVISIONER", "LOCAL_ROOT", "local_volume"]

LOCAL_PROVISIONER = "kubekka.dev/local"
LOCAL_ROOT = "/var/lib/kubekka/volumes"
HOSTNAME = "kubernetes.io/hostname"


def local_volume(name: str, claim: Object, storage_class: Object, root: str, node: Object | None) -> Object:
    """The volume for a claim, reserved for it, under `root`; bound to `node` if one was chosen."""
    space, claim_name = split_key(key(claim))
    requests = (spec(claim).get("resources") or {}).get("requests") or {}
    wanted: Object = {
        "capacity": {"storage": requests.get("storage", "0")},
        "accessModes": spec(claim).get("accessModes") or [],
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": metadata(storage_class)["name"],
        "volumeMode": spec(claim).get("volumeMode") or "Filesystem",
        "hostPath": {"path": f"{root}/{name}_{space}_{claim_name}", "type": "DirectoryOrCreate"},
        "claimRef": claim_reference(claim),
    }
    if storage_class.get("mountOptions"):
        wanted["mountOptions"] = storage_class["mountOptions"]
    if node is not None:
        host = labels(node).get(HOSTNAME, metadata(node)["name"])
        term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [host]}]}
        wanted["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    notes = {PROVISIONED_BY: storage_class["provisioner"], BOUND_BY_CONTROLLER: "yes"}
    meta = {"name": name, "annotations": notes}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": wanted}
