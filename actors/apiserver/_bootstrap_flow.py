"""The default flow schemas and priority levels, as a table. Data only.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#defaults
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["flow_objects"]

Object = dict[str, Any]
_API = "flowcontrol.apiserver.k8s.io/v1"
_ANNOTATION = {"apf.kubernetes.io/autoupdate-spec": "true"}

_LEVELS: tuple[tuple[str, int, int, tuple[int, int, int] | None], ...] = (
    # name, shares, lendable percent, queues (count, hand, length)
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
)
_ANY = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
_ANY_PATH = {"verbs": ["*"], "nonResourceURLs": ["*"]}


def _group(name: str) -> Object:
    return {"kind": "Group", "group": {"name": name}}


def _user(name: str) -> Object:
    return {"kind": "User", "user": {"name": name}}


def _account(namespace: str, name: str) -> Object:
    return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}


def _resources(verbs: list[str], groups: list[str], resources: list[str], cluster: bool, namespaces: list[str]) -> Object:
    rule: Object = {"verbs": verbs, "apiGroups": groups, "resources": resources}
    if cluster:
        rule["clusterScope"] = True
    if namespaces:
        rule["namespaces"] = namespaces
    return rule


def _rule(subjects: list[Object], resources: list[Object], paths: list[Object]) -> Object:
    rule: Object = {"subjects": subjects}
    if resources:
        rule["resourceRules"] = resources
    if paths:
        rule["nonResourceRules"] = paths
    return rule


_EVERYBODY = [_group("system:unauthenticated"), _group("system:authenticated")]
_ELECTORS = [_user("system:kube-controller-manager"), _user("system:kube-scheduler"), _account("kube-system", "*")]
_SCHEMAS: tuple[tuple[str, int, str, str, list[Object]], ...] = (
    # name, precedence, level, distinguisher, rules
    ("exempt", 1, "exempt", "", [_rule([_group("system:masters")], [_ANY], [_ANY_PATH])]),
    ("probes", 2, "exempt", "",
     [_rule(_EVERYBODY, [], [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}])]),
    ("system-leader-election", 100, "leader-election", "ByUser",
     [_rule(_ELECTORS, [_resources(["get", "create", "update"], ["coordination.k8s.io"], ["leases"], False, ["*"])], [])]),
    ("endpoint-controller", 150, "workload-high", "ByUser",
     [_rule([_user("system:kube-controller-manager"), _account("kube-system", "endpoint-controller"),
             _account("kube-system", "endpointslicemirroring-controller")],
            [_resources(["get", "create", "update"], [""], ["endpoints"], False, ["*"])], [])]),
    ("workload-leader-election", 200, "leader-election", "ByUser",
     [_rule(_ELECTORS, [_resources(["get", "create", "update"], ["coordination.k8s.io"], ["leases"], False, ["*"])], [])]),
    ("system-node-high", 400, "node-high", "ByUser",
     [_rule([_group("system:nodes")],
            [_resources(["*"], [""], ["nodes", "nodes/status"], True, ["*"]),
             _resources(["*"], ["coordination.k8s.io"], ["leases"], False, ["*"])], [])]),
    ("system-nodes", 500, "system", "ByUser", [_rule([_group("system:nodes")], [_ANY], [_ANY_PATH])]),
    ("kube-controller-manager", 800, "workload-high", "ByNamespace",
     [_rule([_user("system:kube-controller-manager")], [_ANY], [_ANY_PATH])]),
    ("kube-scheduler", 800, "workload-high", "ByNamespace",
     [_rule([_user("system:kube-scheduler")], [_ANY], [_ANY_PATH])]),
    ("kube-system-service-accounts", 900, "workload-high", "ByNamespace",
     [_rule([_account("kube-system", "*")], [_ANY], [_ANY_PATH])]),
    ("service-accounts", 9000, "workload-low", "ByUser",
     [_rule([_group("system:serviceaccounts")], [_ANY], [_ANY_PATH])]),
    ("global-default", 9900, "global-default", "ByUser", [_rule(_EVERYBODY, [_ANY], [_ANY_PATH])]),
    ("catch-all", 10000, "catch-all", "ByUser", [_rule(_EVERYBODY, [_ANY], [_ANY_PATH])]),
)


def _meta(name: str) -> Object:
    return {"name": name, "generation": 1, "annotations": dict(_ANNOTATION)}


def flow_objects(now: str) -> Iterator[Object]:
    """All default levels and schemas. `now`: RFC 3339."""
    kind = "PriorityLevelConfiguration"
    yield {"kind": kind, "apiVersion": _API, "metadata": _meta("exempt"),
           "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}, "status": {}}
    yield {"kind": kind, "apiVersion": _API, "metadata": _meta("catch-all"),
           "spec": {"type": "Limited",
                    "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0}},
           "status": {}}
    for name, shares, lendable, queues in _LEVELS:
        assert queues is not None
        queuing = {"queues": queues[0], "handSize": queues[1], "queueLengthLimit": queues[2]}
        limited = {"nominalConcurrencyShares": shares, "limitResponse": {"type": "Queue", "queuing": queuing},
                   "lendablePercent": lendable}
        yield {"kind": kind, "apiVersion": _API, "metadata": _meta(name),
               "spec": {"type": "Limited", "limited": limited}, "status": {}}
    for name, precedence, level, distinguisher, rules in _SCHEMAS:
        spec: Object = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
        if distinguisher:
            spec["distinguisherMethod"] = {"type": distinguisher}
        spec["rules"] = rules
        message = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" and it exists'
        condition = {"type": "Dangling", "status": "False", "lastTransitionTime": now, "reason": "Found", "message": message}
        yield {"kind": "FlowSchema", "apiVersion": _API, "metadata": _meta(name), "spec": spec,
               "status": {"conditions": [condition]}}
