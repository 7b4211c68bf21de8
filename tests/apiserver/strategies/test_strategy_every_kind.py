"""What holds for every kind: defaults settle, tables fit, unchanged writes change nothing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from actors.apiserver.strategies import strategy_for
from protocol import kinds

POD: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE: dict[str, Any] = {"metadata": {"labels": {"app": "a"}}, "spec": POD}
SELECTED: dict[str, Any] = {"selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}
CLAIM: dict[str, Any] = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
}
DEVICES: dict[str, Any] = {
    "devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}
}
RULES: dict[str, Any] = {
    "resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    ]
}
HOOK: dict[str, Any] = {
    "name": "a.example.com",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"url": "https://hook.example.com"},
}
BODIES: dict[str, dict[str, Any]] = {
    "configmaps": {"data": {"k": "v"}},
    "secrets": {"stringData": {"k": "v"}},
    "pods": {"spec": POD},
    "podtemplates": {"template": TEMPLATE},
    "replicationcontrollers": {"spec": {"template": TEMPLATE}},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "persistentvolumeclaims": {"spec": CLAIM},
    "persistentvolumes": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/d"},
        }
    },
    "resourcequotas": {"spec": {"hard": {"pods": "1"}}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    "events": {"involvedObject": {"namespace": "default"}, "reason": "r"},
    "deployments": {"spec": SELECTED},
    "replicasets": {"spec": SELECTED},
    "statefulsets": {"spec": SELECTED},
    "daemonsets": {"spec": SELECTED},
    "controllerrevisions": {"data": {"spec": {}}, "revision": 1},
    "jobs": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
    "cronjobs": {
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {
                "spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}
            },
        }
    },
    "horizontalpodautoscalers": {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "maxReplicas": 2,
        }
    },
    "ingresses": {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
    "ingressclasses": {"spec": {"controller": "example.com/c"}},
    "networkpolicies": {"spec": {"podSelector": {}}},
    "servicecidrs": {"spec": {"cidrs": ["10.9.0.0/24"]}},
    "ipaddresses": {
        "metadata": {"name": "10.9.0.1"},
        "spec": {"parentRef": {"resource": "services", "name": "s"}},
    },
    "poddisruptionbudgets": {"spec": {"minAvailable": 1, "selector": {}}},
    "clusterroles": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "roles": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "rolebindings": {"roleRef": {"kind": "Role", "name": "r"}},
    "clusterrolebindings": {"roleRef": {"kind": "ClusterRole", "name": "r"}},
    "storageclasses": {"provisioner": "example.com/p"},
    "volumeattributesclasses": {"driverName": "d.example.com", "parameters": {"k": "v"}},
    "csinodes": {"spec": {"drivers": [{"name": "d.example.com", "nodeID": "n"}]}},
    "csistoragecapacities": {"storageClassName": "s"},
    "volumeattachments": {
        "spec": {
            "attacher": "d.example.com",
            "nodeName": "n",
            "source": {"persistentVolumeName": "pv"},
        }
    },
    "priorityclasses": {"value": 1},
    "runtimeclasses": {"handler": "h"},
    "endpointslices": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]},
    "certificatesigningrequests": {},
    "validatingwebhookconfigurations": {"webhooks": [HOOK]},
    "mutatingwebhookconfigurations": {"webhooks": [HOOK]},
    "validatingadmissionpolicies": {
        "spec": {"matchConstraints": RULES, "validations": [{"expression": "true"}]}
    },
    "mutatingadmissionpolicies": {
        "spec": {
            "matchConstraints": RULES,
            "reinvocationPolicy": "Never",
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
            ],
        }
    },
    "validatingadmissionpolicybindings": {
        "spec": {"policyName": "p", "validationActions": ["Deny"]}
    },
    "mutatingadmissionpolicybindings": {"spec": {"policyName": "p"}},
    "flowschemas": {"spec": {"priorityLevelConfiguration": {"name": "global-default"}}},
    "prioritylevelconfigurations": {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
    },
    "apiservices": {
        "metadata": {"name": "v1.example.com"},
        "spec": {
            "group": "example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
        },
    },
    "deviceclasses": {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
    "resourceclaims": {"spec": DEVICES},
    "resourceclaimtemplates": {"spec": {"spec": DEVICES}},
    "resourceslices": {
        "spec": {
            "driver": "d.example.com",
            "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
        }
    },
}
"""The smallest useful object of each kind; kinds without an entry need no more than a name."""
SPECIAL = {"certificatesigningrequests", "customresourcedefinitions"}
WORDS = sorted(
    kind.resource
    for kind in kinds.served()
    if kind.stored and (kind.group, kind.version) not in (("autoscaling", "v1"), ("events.k8s.io", "v1"))
)
CREATABLE = [word for word in WORDS if word not in SPECIAL]


def body_of(word: str) -> dict[str, Any]:
    """The object to create, with a name."""
    body = copy.deepcopy(BODIES.get(word, {}))
    body.setdefault("metadata", {}).setdefault("name", "a")
    return body


@pytest.mark.parametrize("word", CREATABLE)
def test_the_smallest_object_of_a_kind_is_valid(kit: Any, word: str) -> None:
    assert kit(word).wrong(body_of(word)) == []


@pytest.mark.parametrize("word", CREATABLE)
def test_defaults_of_a_stored_object_are_there_already(kit: Any, word: str) -> None:
    one = kit(word)
    stored = one.create(body_of(word))
    again = copy.deepcopy(stored)
    one.strategy.default(again)
    assert again == stored


@pytest.mark.parametrize("word", CREATABLE)
def test_an_unchanged_object_may_be_written_and_keeps_its_generation(kit: Any, word: str) -> None:
    one = kit(word)
    stored = one.create(body_of(word))
    written = one.update(stored, lambda obj: None)
    assert written["metadata"].get("generation") == stored["metadata"].get("generation")
    assert one.strategy.warnings(written, stored) == []


@pytest.mark.parametrize("word", CREATABLE)
def test_a_row_has_a_cell_for_each_column_that_json_can_carry(kit: Any, word: str) -> None:
    one = kit(word)
    cells = one.strategy.row(one.create(body_of(word)), 0.0)
    assert len(cells) >= len(one.strategy.columns())
    assert json.loads(json.dumps(cells)) == cells


@pytest.mark.parametrize("word", WORDS)
def test_an_empty_object_has_the_fields_that_selectors_may_name(kit: Any, word: str) -> None:
    one = kit(word)
    fields = one.strategy.fields({"metadata": {}})
    assert "metadata.name" in fields
    assert all(isinstance(value, str) for value in fields.values())


@pytest.mark.parametrize("word", CREATABLE)
def test_a_status_given_at_creation_is_dropped_where_it_is_a_subresource(kit: Any, word: str) -> None:
    one = kit(word)
    if not one.strategy.has_status or word == "servicecidrs":
        pytest.skip("no status, or one that users may set")
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    made = one.create({**body_of(word), "status": status})
    kept = (made.get("status") or {}).get("conditions") or []
    assert all(condition["type"] != "Ready" for condition in kept)


def test_a_generation_of_a_kind_that_counts_none_is_kept(kit: Any) -> None:
    made = kit("configmaps").create({"metadata": {"name": "a", "generation": 7}})
    assert made["metadata"]["generation"] == 7


@pytest.mark.parametrize("word", ["servicecidrs", "volumeattachments", "resourceclaims"])
def test_a_status_write_changes_no_labels_of_some_kinds(kit: Any, word: str) -> None:
    one = kit(word)
    stored = one.create(body_of(word))
    labelled = {**stored, "metadata": {**stored["metadata"], "labels": {"a": "b"}}}
    one.strategy.prepare_for_status_update(labelled, stored, one.context)
    assert "labels" not in labelled["metadata"]


def test_a_kind_has_one_strategy() -> None:
    kind = kinds.resource_for("pods")
    assert kind is not None
    assert strategy_for(kind) is strategy_for(kind)
