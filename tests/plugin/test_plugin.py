"""The pytest plugin, as the tests of somebody else's project use it."""

from __future__ import annotations

import re

import pytest

pytest_plugins = ["pytester"]

DEPLOYMENT = '''
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
"""
'''


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_theirs=DEPLOYMENT % 2 + source)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_a_cluster_per_test_is_ready_for_any_client(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import pytest

@pytest.mark.parametrize("turn", [1, 2])
def test_apply_and_wait(kubekka, turn):
    assert kubekka.client.list("deployments") == []      # nobody else's things
    kubekka.apply(DEPLOYMENT)
    kubekka.wait("deployments/web", "Available")
    assert len(kubekka.client.list("pods")) == 2

def test_a_client_that_logs_in_by_default_meets_this_cluster(kubekka):
    kubernetes = pytest.importorskip("kubernetes")
    kubernetes.config.load_kube_config()
    nodes = kubernetes.client.CoreV1Api().list_node().items
    assert [n.metadata.name for n in nodes] == ["node-0", "node-1", "node-2"]

@pytest.mark.kubekka(nodes=1, minor=34)
def test_a_mark_says_what_is_needed(kubekka):
    nodes = kubekka.client.list("nodes")
    assert [n["status"]["nodeInfo"]["kubeletVersion"] for n in nodes] == ["v1.34.2"]
""",
    )
    result.assert_outcomes(passed=4)


def test_the_session_has_one_cluster_and_tests_have_namespaces(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import os
seen = set()

def use(cluster, namespace):
    assert len(cluster.client.list("nodes")) == 2
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "same"}}, namespace)
    assert os.environ["KUBECONFIG"] == str(cluster.kubeconfig)
    seen.add((cluster.url, namespace))

def test_one(kubekka_session, kubekka_namespace):
    use(kubekka_session, kubekka_namespace)

def test_another(kubekka_session, kubekka_namespace):
    use(kubekka_session, kubekka_namespace)

def test_both_met_the_same_cluster_which_is_clean_again(kubekka_session):
    assert len({url for url, _ in seen}) == 1 and len(seen) == 2
    assert not {n["metadata"]["name"] for n in kubekka_session.client.list("namespaces")} & {name for _, name in seen}
""",
        "--kubekka-nodes=2",
    )
    result.assert_outcomes(passed=3)


FAILING = """
import pytest

def test_that_fails(kubekka):
    kubekka.apply(DEPLOYMENT.replace("containers: [{", "containers: [{resources: {requests: {cpu: 900}}, "))
    kubekka.wait("pods", lambda pods: len(pods) == 2 and all(p["status"].get("conditions") for p in pods))
    kubekka.wait("events", lambda events: any(e.get("reason") == "FailedScheduling" for e in events))
    assert False

def test_that_fails_in_virtual_time(kubekka_simulation):
    kubekka_simulation.apply(DEPLOYMENT)
    kubekka_simulation.wait("deployments/web", "Available")
    pytest.fail("digest " + str(kubekka_simulation.sim.digest()))
"""


def test_a_failure_shows_the_cluster_and_the_line_that_repeats_it(pytester: pytest.Pytester) -> None:
    result = run(pytester, FAILING, "--kubekka-seed=random", "--kubekka-nodes=1")
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    seed = re.search(r"kubekka: seed (\d+)", text)
    assert seed
    pending = r"default/web-\S+ on no node: Pending, 0/1 nodes are available: 1 Insufficient cpu"
    assert re.search(pending, text)
    assert re.search(r"Warning FailedScheduling pod/web-\S+: 0/1 nodes are available", text)
    assert re.search(r"\d deployment controller: creates replicaset web-", text)
    again = [line.split("again: pytest ")[1] for line in result.outlines if "again: " in line]
    assert again == [
        f"test_theirs.py::{name} --kubekka-seed={seed[1]} --kubekka-nodes=1"
        for name in ("test_that_fails", "test_that_fails_in_virtual_time")
    ]
    repeated = pytester.runpytest_subprocess("-p", "no:cacheprovider", *again[1].split())
    digest = re.search("digest [0-9a-f]+", text)
    assert digest
    assert digest[0] in repeated.stdout.str()


def test_workers_of_xdist_run_side_by_side_with_the_seed_of_the_run(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    result = run(
        pytester,
        """
import pytest
@pytest.mark.parametrize("n", range(2))
def test_each(kubekka, n, pytestconfig):
    kubekka.apply(DEPLOYMENT)
    kubekka.wait("deployments/web", "Available")
    assert pytestconfig.workerinput["kubekka_seed"] == 77
""",
        "-n2",
        "--kubekka-seed=77",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--kubekka-nodes=many", "--kubekka-nodes takes a number of nodes, not 'many'"),
        ("--kubekka-version=1.12", "--kubekka-version takes 1.31 to 1.37, not '1.12'"),
        ("--kubekka-seed=x", "--kubekka-seed takes a number or `random`, not 'x'"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(pytester: pytest.Pytester, option: str, said: str) -> None:
    result = run(pytester, "def test_nothing(): pass\n", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {said}" in result.stderr.str()


def test_a_wrong_mark_names_what_is_known(pytester: pytest.Pytester) -> None:
    result = run(pytester, "import pytest\n@pytest.mark.kubekka(knots=1)\ndef test_it(kubekka): pass\n")
    result.assert_outcomes(errors=1)
    assert "the mark kubekka knows no knots; it takes" in result.stdout.str()
