"""Kinds that 1.37 serves by default: what they refuse, and what they keep."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient, StatusError
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Simulation

Object = dict[str, Any]
RULES = "devicetaintrules.v1.resource.k8s.io"
MIGRATIONS = "storageversionmigrations.v1.storagemigration.k8s.io"


@pytest.fixture
def client() -> OutsideClient:
    sim = Simulation(seed=0)
    etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())), host="etcd")
    config = ApiServerConfig(minor=37, debug=True)
    return OutsideClient(sim, sim.spawn(Child("apiserver", lambda: ApiServer(config, etcd)), host="apiserver"))


def rule(**taint: str) -> Object:
    meta = {"name": "r"}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule", "metadata": meta, "spec": {"taint": taint}}


def migration(resource: str) -> Object:
    spec = {"resource": {"group": "", "resource": resource}}
    meta = {"name": "m"}
    return {"apiVersion": "storagemigration.k8s.io/v1", "kind": "StorageVersionMigration", "metadata": meta, "spec": spec}


def test_a_device_taint_rule_notes_since_when_and_counts_its_changes(client: OutsideClient) -> None:
    made = client.create(RULES, {**rule(key="a", effect="None"), "status": {"conditions": []}})
    assert made["spec"]["taint"]["timeAdded"]
    assert made["metadata"]["generation"] == 1
    assert "status" not in made or made["status"] == {}
    changed = client.patch(RULES, "r", "", {"spec": {"taint": {"effect": "NoExecute"}}})
    assert changed["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("taint", "text"),
    [
        ({"key": "a"}, "spec.taint.effect: Required value"),
        ({"key": "a", "effect": "Never"}, 'spec.taint.effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "None"'),
        ({"key": "", "effect": "None"}, "spec.taint.key: Invalid value"),
    ],
)
def test_a_device_taint_rule_needs_a_key_and_an_effect(client: OutsideClient, taint: dict[str, str], text: str) -> None:
    with pytest.raises(StatusError) as refused:
        client.create(RULES, rule(**taint))
    assert text in refused.value.message


def test_what_a_migration_migrates_is_said_once(client: OutsideClient) -> None:
    with pytest.raises(StatusError, match=r"spec\.resource\.resource: Required value"):
        client.create(MIGRATIONS, migration(""))
    client.create(MIGRATIONS, migration("configmaps"))
    with pytest.raises(StatusError, match=r"spec: Invalid value: .*field is immutable"):
        client.patch(MIGRATIONS, "m", "", {"spec": {"resource": {"resource": "secrets"}}})
