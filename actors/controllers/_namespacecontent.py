"""What is said about the content of a namespace that is going.

Owns the five conditions and their texts, and the estimate of how long what remains needs. It
deletes nothing. Facts: kubernetes pkg/controller/namespace/deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol.api import Resource
from protocol.objects import Object, metadata, spec, status

__all__ = ["Remaining", "conditions", "merged"]

FINALIZER_ESTIMATE_S = 15
_FINE = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
)


class Remaining:
    """What is left in a namespace after everything in it was told to go."""

    def __init__(self) -> None:
        self.by_resource: dict[Resource, int] = {}
        self.by_finalizer: dict[str, int] = {}
        self.errors: list[str] = []
        self.estimate_s = 0

    def count(self, what: Resource, items: list[Object], waited_s: float, namespace: str) -> None:
        """Note the objects of one resource that are still there, `waited_s` seconds after the
        namespace was told to go."""
        if not items:
            return
        self.by_resource[what] = len(items)
        finalizers = [f for item in items for f in metadata(item).get("finalizers") or ()]
        for name in finalizers:
            self.by_finalizer[name] = self.by_finalizer.get(name, 0) + 1
        grace_s = _grace_s(items) if (what.group, what.resource) == ("", "pods") else 0
        if waited_s >= grace_s:
            grace_s = 0
        if grace_s or finalizers:
            self.estimate_s = max(self.estimate_s, grace_s or FINALIZER_ESTIMATE_S)
        else:
            named = f"{what.group}/{what.version}, Resource={what.resource}"
            self.errors.append(f"unexpected items still remain in namespace: {namespace} for gvr: {named}")

    @property
    def anything(self) -> bool:
        return bool(self.by_resource or self.errors)


def _grace_s(pods: Iterable[Object]) -> int:
    """The longest grace period of pods that have not ended."""
    alive = [p for p in pods if status(p).get("phase") not in ("Succeeded", "Failed")]
    return max((spec(p).get("terminationGracePeriodSeconds") or 0 for p in alive), default=0)


def conditions(remaining: Remaining) -> list[Object]:
    """The five conditions, without times."""
    bad: dict[str, tuple[str, str]] = {}
    if remaining.errors:
        text = f"Failed to delete all resource types, {len(remaining.errors)} remaining: "
        bad["NamespaceDeletionContentFailure"] = ("ContentDeletionFailed", text + ", ".join(sorted(remaining.errors)))
    if remaining.by_resource:
        counts = [f"{r.resource}.{r.group} has {n} resource instances" for r, n in remaining.by_resource.items()]
        text = "Some resources are remaining: " + ", ".join(sorted(counts))
        bad["NamespaceContentRemaining"] = ("SomeResourcesRemain", text)
    if remaining.by_finalizer:
        counts = [f"{f} in {n} resource instances" for f, n in remaining.by_finalizer.items()]
        text = "Some content in the namespace has finalizers remaining: " + ", ".join(sorted(counts))
        bad["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", text)
    found = []
    for kind, reason, message in _FINE:
        if kind in bad:
            reason, message = bad[kind]
        found.append({"type": kind, "status": "True" if kind in bad else "False", "reason": reason, "message": message})
    return found


def merged(present: Iterable[Object], wanted: Iterable[Object], now: str) -> list[Object] | None:
    """`present` with the wanted conditions in it, or None if they are there already."""
    found = [dict(c) for c in present]
    changed = False
    for entry in wanted:
        old: Mapping[str, str] | None = next((c for c in found if c.get("type") == entry["type"]), None)
        if old is None:
            found.append({**entry, "lastTransitionTime": now})
            changed = True
        elif any(old.get(f) != entry[f] for f in ("status", "reason", "message")):
            since = old.get("lastTransitionTime", now) if old.get("status") == entry["status"] else now
            found[found.index(dict(old))] = {**entry, "lastTransitionTime": since}
            changed = True
    return found if changed else None
