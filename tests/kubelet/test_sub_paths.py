"""subPath and subPathExpr: which part of a volume a container sees."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kubelet._env import ConfigError, sub_path

World = Any


def test_an_expression_is_filled_in_from_the_containers_variables() -> None:
    assert sub_path({"subPathExpr": "logs/$(POD)/$(N)"}, {"POD": "web", "N": "1"}) == "logs/web/1"
    assert sub_path({"subPathExpr": "$$(POD)"}, {}) == "$(POD)"
    assert sub_path({"subPath": "$(POD)"}, {"POD": "web"}) == "$(POD)"


@pytest.mark.parametrize(
    ("expression", "values", "said"),
    [
        ("$(NONE)/x", {}, 'missing value for "NONE"'),
        ("$(A)", {"A": "/etc"}, "error SubPath `/etc` must not be an absolute path"),
        ("$(A)/x", {"A": ".."}, "unable to provision SubPath `../x`: must not contain '..'"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(expression: str, values: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sub_path({"subPathExpr": expression}, values)
    assert str(caught.value) == said


def test_pods_that_share_a_volume_keep_apart_by_expression(world: World) -> None:
    env = [{"name": "WHO", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}]
    volumes = [{"name": "d", "emptyDir": {}}]
    inside = {"name": "d", "mountPath": "/mine", "subPathExpr": "of-$(WHO)"}
    whole = {"name": "d", "mountPath": "/all"}
    command = ("sh", "-c", "echo hello > /mine/f; cat /all/of-web/f && exit 0; exit 9")
    container = {"env": env, "volumeMounts": [inside, whole]}
    world.pod("web", *command, container=container, volumes=volumes, restartPolicy="Never")
    world.until(lambda: world.phase() in ("Succeeded", "Failed"))
    assert world.phase() == "Succeeded"


def test_a_pod_whose_expression_has_no_value_waits_with_the_reason(world: World) -> None:
    container = {"volumeMounts": [{"name": "d", "mountPath": "/d", "subPathExpr": "$(NONE)"}]}
    world.pod(container=container, volumes=[{"name": "d", "emptyDir": {}}])
    world.until(lambda: "containerStatuses" in world.status())
    world.until(lambda: world.container()["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError")
    assert world.container()["state"]["waiting"]["message"] == 'missing value for "NONE"'
