"""What one does with a cluster from outside, live or simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from actors.client import OutsideClient
from assembly.manifest import ManifestError, read_manifest
from protocol.api import Resource
from protocol.objects import Object

__all__ = ["Commands", "predicate"]


class Commands:
    """What one does with a cluster from outside."""

    client: OutsideClient

    def apply(self, manifest: str | Path | Object | Iterable[Object], namespace: str = "default") -> list[Object]:
        """Server-side apply of every object of a manifest, in order; answers them.

        Raises: ManifestError, StatusError.
        """
        return [self._apply_one(obj, namespace) for obj in read_manifest(manifest)]

    def _apply_one(self, obj: Object, namespace: str) -> Object:
        from protocol.kinds import by_kind

        group, _, version = str(obj["apiVersion"]).rpartition("/")
        kind = by_kind(group, version, obj["kind"])
        plural, namespaced = (kind.resource, kind.namespaced) if kind else self._custom_kind(obj, group, version)
        meta = dict(obj.get("metadata") or {})
        if namespaced:
            meta.setdefault("namespace", namespace)
        return self.client.apply(Resource(group, version, plural), {**obj, "metadata": meta})

    def _custom_kind(self, obj: Object, group: str, version: str) -> tuple[str, bool]:
        """The plural name of a custom kind, and whether it has namespaces. Raises: ManifestError."""
        for definition in self.client.list("customresourcedefinitions"):
            spec = definition["spec"]
            served = [v["name"] for v in spec["versions"] if v.get("served")]
            if spec["group"] == group and spec["names"]["kind"] == obj["kind"] and version in served:
                return spec["names"]["plural"], spec["scope"] == "Namespaced"
        raise ManifestError(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')

    def wait(
        self,
        what: str,
        until: Callable[[Any], bool] | str = "exists",
        *,
        namespace: str = "default",
        label_selector: str = "",
        timeout_s: float = 30.0,
    ) -> Any:
        """Wait for `what`: one object (`"deployments/web"`) or all of a kind (`"pods"`).

        `until` is a predicate of the object (or of the list of objects), or `"exists"`,
        `"deleted"`, or the name of a condition that must be True (`"Available"`, `"Ready"`).
        Answers the object or the list. Raises: WaitTimeout.
        """
        from protocol.kinds import resource_for

        word, _, name = what.partition("/")
        condition = predicate(until)
        kind = resource_for(word)
        if kind is not None and not kind.namespaced:
            namespace = ""
        if not name:
            return self.client.wait(
                word,
                lambda objects: condition(objects),
                namespace=namespace,
                label_selector=label_selector,
                timeout_s=timeout_s,
            )
        if until == "deleted":
            self.client.wait(
                word,
                lambda found: not found,
                namespace=namespace,
                field_selector=f"metadata.name={name}",
                timeout_s=timeout_s,
            )
            return None
        found = self.client.wait(
            word,
            lambda objects: bool(objects) and condition(objects[0]),
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            timeout_s=timeout_s,
        )
        return found[0]


def predicate(until: Callable[[Any], bool] | str) -> Callable[[Any], bool]:
    if callable(until):
        return until
    if until == "exists":
        return bool
    if until == "deleted":
        return lambda found: not found

    def holds(obj: Any) -> bool:
        if isinstance(obj, list):
            return bool(obj) and all(map(holds, obj))
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c.get("type") == until and c.get("status") == "True" for c in conditions)

    return holds
