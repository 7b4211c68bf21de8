"""Bodies with anything in them are refused or stored, never more; what was stored can be listed in every form."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from actors.apiserver._messages import HttpCall
from protocol.api import UserInfo

Object = dict[str, Any]
JUNK: list[Any] = [
    None, 0, -1, 1.5, 65536, 2**31, 2**63, 10**30, "", "x", "😀", True, [], {}, [None], [{}], [1], [""], ["x", "x"],
    [[]], {"a": None}, {"": ""}, {"kind": 1}, "9" * 30, "-1", "1e999", "2020-13-45T99:99:99Z", "%", "{{", "$(x", "*",
    "10.0.0.0/33", "::/0", "1Gi", "0.5m", "a/b/c", "..", "/../x", "-", "A_", "a" * 300,
]
TEMPLATE: Object = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {
        "nodeSelector": {"a": "b"}, "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["h"]}],
        "containers": [{
            "name": "c", "image": "i", "command": ["x"], "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
            "env": [{"name": "A", "value": "b"}, {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 3},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}], "securityContext": {"runAsUser": 1},
        }],
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "k", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}
        ]}},
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}],
    },
}
BODIES: dict[str, Object] = {
    "api/v1/pods": TEMPLATE,
    "api/v1/services": {"spec": {
        "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http", "nodePort": 30100}], "type": "NodePort",
    }},
    "api/v1/secrets": {"type": "Opaque", "data": {"k": "dg=="}, "stringData": {"s": "t"}},
    "api/v1/persistentvolumeclaims": {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "selector": {"matchLabels": {"a": "b"}},
    }},
    "api/v1/resourcequotas": {"spec": {"hard": {"pods": "1000"}, "scopes": ["BestEffort"]}},
    "apis/apps/v1/deployments": {"spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE,
        "strategy": {"rollingUpdate": {"maxSurge": "25%"}},
    }},
    "apis/batch/v1/cronjobs": {"spec": {
        "schedule": "* * * * *", "timeZone": "Etc/UTC", "jobTemplate": {"spec": {
            "template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}, "completions": 1,
        }},
    }},
    "apis/networking.k8s.io/v1/ingresses": {"spec": {
        "tls": [{"hosts": ["h"]}],
        "rules": [{"host": "h", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 1}}}}
        ]}}],
    }},
    "apis/networking.k8s.io/v1/networkpolicies": {"spec": {
        "podSelector": {}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 1, "endPort": 2}]}],
    }},
    "apis/autoscaling/v2/horizontalpodautoscalers": {"spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}}],
    }},
    "apis/rbac.authorization.k8s.io/v1/roles": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "apis/policy/v1/poddisruptionbudgets": {"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}},
    "apis/coordination.k8s.io/v1/leases": {"spec": {"holderIdentity": "h", "renewTime": "2026-01-01T00:00:00.000000Z"}},
}
FORMS = (
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a value."""
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def spoil(rng: random.Random, body: Object) -> Object:
    """A copy with some values taken away, replaced or added."""
    body = copy.deepcopy(body)
    for _ in range(rng.choice((1, 1, 2, 3))):
        *path, last = rng.choice([place for place in places(body) if place[0] != "metadata"])
        holder: Any = body
        for key in path:
            holder = holder[key]
        alike = [value for value in JUNK if type(value) is type(holder[last])]
        if rng.random() < 0.15 and isinstance(holder, dict):
            del holder[last]
        elif rng.random() < 0.1 and isinstance(holder, dict):
            holder[f"{last}x"] = copy.deepcopy(rng.choice(JUNK))
        else:
            holder[last] = copy.deepcopy(rng.choice(alike if alike and rng.random() < 0.7 else JUNK))
        if not any(place[0] != "metadata" for place in places(body)):
            break
    return body


@pytest.mark.parametrize("where", BODIES)
def test_no_body_breaks_the_server(make_api: Any, where: str) -> None:
    api = make_api(tokens={"t": UserInfo("admin", ("system:masters",))})
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    rng = random.Random(where)
    root, _, plural = where.rpartition("/")
    path = f"/{root}/namespaces/default/{plural}"

    def call(method: str, where: str, data: bytes = b"", accept: str = FORMS[0], kind: str = FORMS[0]) -> Any:
        headers = {"authorization": "Bearer t", "accept": accept, "content-type": kind}
        return api.sim.ask(api.server, HttpCall(method, where, "", headers, data))

    good = {**BODIES[where], "metadata": {"name": "good"}}
    assert call("POST", path, json.dumps(good).encode()).status == 201
    for _ in range(100):
        body = spoil(rng, BODIES[where])
        body["metadata"] = {"generateName": "g-"}
        reply = call("POST", path, json.dumps(body).encode())
        assert reply.status < 500, (body, reply.body)
        body["metadata"] = {"name": "good"}
        reply = call("PUT", f"{path}/good", json.dumps(body).encode())
        assert reply.status < 500, (body, reply.body)
        body.pop("metadata")
        reply = call("PATCH", f"{path}/good", json.dumps(body).encode(), kind="application/merge-patch+json")
        assert reply.status < 500, (body, reply.body)
    for form in FORMS:
        assert call("GET", path, accept=form).status == 200
