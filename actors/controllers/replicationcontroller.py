"""The ReplicationController controller: the ReplicaSet's elder, with a plain map as selector.

https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/ . The algorithm is
in `_replicas`.
"""

from __future__ import annotations

from actors.controllers._replicas import ReplicaController
from actors.controllers._selectors import cached_selector
from protocol.objects import NOTHING, Object, Selector, spec

__all__ = ["ReplicationController"]


class ReplicationController(ReplicaController):
    """See the module."""

    component = "replication-controller"
    resources = ("replicationcontrollers", "pods")
    kind = "ReplicationController"
    resource_name = "replicationcontrollers"

    def selector(self, replica_set: Object) -> Selector:
        labels = spec(replica_set).get("selector")
        return cached_selector({"matchLabels": labels}) if labels else NOTHING
