"""The ReplicaSet controller: keeps `spec.replicas` pods of its template.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/ , upstream's
`pkg/controller/replicaset`. The algorithm is in `_replicas`.
"""

from __future__ import annotations

from actors.controllers._replicas import ReplicaController
from actors.controllers._selectors import cached_selector
from protocol.objects import Object, Selector, controller_uid, namespace, spec, uid

__all__ = ["ReplicaSetController"]


class ReplicaSetController(ReplicaController):
    """See the module."""

    component = "replicaset-controller"
    resources = ("replicasets", "pods")
    kind = "ReplicaSet"
    resource_name = "replicasets"
    counts_terminating = True

    def selector(self, replica_set: Object) -> Selector:
        return cached_selector(spec(replica_set).get("selector"))

    def related_pods(self, replica_set: Object) -> list[Object]:
        """The pods of all ReplicaSets of the same Deployment."""
        owner = controller_uid(replica_set)
        if not owner:
            return super().related_pods(replica_set)
        return [
            pod
            for other in self.sets.in_namespace(namespace(replica_set))
            if controller_uid(other) == owner
            for pod in self.pods.by("owner", uid(other))
        ]
