"""NamespaceLifecycle: no new objects in a namespace that is missing or going away, and no deletion
of the namespaces that the cluster itself needs.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle
"""

from __future__ import annotations

from actors.apiserver.admission._base import CREATE, DELETE, Attributes, Plugin
from protocol import status

__all__ = ["NamespaceLifecycle"]

_IMMORTAL = ("default", "kube-system", "kube-public")
_REVIEWS = ("localsubjectaccessreviews",)


class NamespaceLifecycle(Plugin):
    """Runs as a mutating plugin (it must come first), though it changes nothing."""

    name = "NamespaceLifecycle"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Creates of anything namespaced, deletes of namespaces. Updates go on in a terminating
        namespace so that finalizers can be removed."""
        if operation == DELETE:
            return group == "" and resource == "namespaces"
        return operation == CREATE and resource not in _REVIEWS

    def admit(self, attributes: Attributes) -> None:
        """Raise 403 or 404 as upstream does."""
        if attributes.operation == DELETE:
            if attributes.name in _IMMORTAL:
                raise status.forbidden("", "namespaces", attributes.name, "this namespace may not be deleted")
            return
        if not attributes.kind.namespaced or not attributes.namespace:
            return
        namespace = attributes.lookup.get("", "namespaces", "", attributes.namespace)
        if namespace is None:
            raise status.not_found("", "namespaces", attributes.namespace)
        if namespace.get("status", {}).get("phase") != "Terminating" and not namespace["metadata"].get(
            "deletionTimestamp"
        ):
            return
        error = status.forbidden(
            attributes.group,
            attributes.resource,
            attributes.name,
            f"unable to create new content in namespace {attributes.namespace} because it is being terminated",
        )
        error.status["details"]["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {attributes.namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise error
