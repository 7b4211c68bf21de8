"""A dump of a cluster (`kubectl get -o yaml`) as what a store holds, so that a cluster can begin there.

Pure: objects in, keys and values out. What belongs to the processes of the other cluster and would
only lie here is left out: leases, events, and webhooks, which nobody here would answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.apiserver._cache import encode
from actors.apiserver._conversion import converter
from protocol.kinds import by_kind, by_store
from protocol.objects import mutable

__all__ = ["Imported", "import_objects"]

Object = dict[str, Any]
LEFT_OUT = {
    ("", "Event"): "events",
    ("events.k8s.io", "Event"): "events",
    ("coordination.k8s.io", "Lease"): "leases",
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): "webhook configurations",
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): "webhook configurations",
}


@dataclass
class Imported:
    """`pairs` of key and value for the store; `nodes` are the Node objects among them; `left_out`
    counts what was not taken, by what it is."""

    pairs: list[tuple[bytes, bytes]] = field(default_factory=list)
    nodes: list[Object] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def import_objects(objects: Iterable[Object], minor: int) -> Imported:
    """What the store of a cluster that is Kubernetes 1.`minor` holds for these objects.

    Raises: ValueError for an object without kind, apiVersion or name.
    """
    found = list(objects)
    custom = _definitions(found)
    result = Imported()
    for obj in found:
        _import(obj, minor, custom, result)
    return result


def _definitions(objects: list[Object]) -> dict[tuple[str, str], tuple[str, bool]]:
    """Plural name and whether it has namespaces, by group and kind of the definitions in the dump."""
    known = {}
    for obj in objects:
        if obj.get("kind") == "CustomResourceDefinition":
            spec = obj["spec"]
            known[spec["group"], spec["names"]["kind"]] = (spec["names"]["plural"], spec["scope"] == "Namespaced")
    return known


def _import(
    obj: Object, minor: int, custom: Mapping[tuple[str, str], tuple[str, bool]], result: Imported
) -> None:
    name = (obj.get("metadata") or {}).get("name")
    if not name or not obj.get("kind") or not obj.get("apiVersion"):
        raise ValueError(f"an object without apiVersion, kind or name: {str(obj)[:80]}")
    group, _, version = str(obj["apiVersion"]).rpartition("/")
    why = LEFT_OUT.get((group, obj["kind"]))
    if why is not None:
        result.left_out[why] += 1
        return
    new = mutable(obj)
    new["metadata"].pop("resourceVersion", None)
    kind = by_kind(group, version, obj["kind"], minor)
    if kind is not None:
        stored = by_store(kind.storage_group, kind.resource, minor) or kind
        convert = converter(kind.group, kind.kind, kind.api_version, stored.api_version)
        new = convert(new) if convert else new
        group, resource, namespaced = kind.storage_group, kind.resource, kind.namespaced
    elif (group, obj["kind"]) in custom:
        resource, namespaced = custom[group, obj["kind"]]
    else:
        result.left_out[f"{obj['kind']} ({obj['apiVersion']}, of no known definition)"] += 1
        return
    if namespaced:
        new["metadata"].setdefault("namespace", "default")
    place = f"{new['metadata']['namespace']}/{name}" if namespaced else name
    root = f"/registry/{group}/{resource}" if group else f"/registry/{resource}"
    if resource == "nodes" and not group:
        result.nodes.append(new)
    result.pairs.append((f"{root}/{place}".encode(), encode(new)))
