"""Recordings of clusters, what they show of each moment, and clusters that begin from a dump."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli._main import main
from cluster import Cluster, SimulatedCluster
from protocol.recording import NotARecording, Recording, base_record, changes_record, header

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that came at 0 s, was scaled at about 60 s and deleted at about 120 s."""
    path = tmp_path_factory.mktemp("recording") / "web.rec"
    cluster = SimulatedCluster(nodes=2, record=path, debug=True)
    cluster.apply(DEPLOYMENT)
    cluster.sim.advance(60)
    cluster.apply(DEPLOYMENT.replace("replicas: 2", "replicas: 3"))
    cluster.sim.advance(60)
    cluster.client.delete("deployments", "web", "default", body={"propagationPolicy": "Background"})
    cluster.sim.advance(60)
    return path


@pytest.fixture
def replay(recorded: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, status: int = 0) -> str:
        assert main(["replay", str(recorded), *words]) == status
        out, err = capsys.readouterr()
        return err if status else out

    return run


def names(table: str) -> list[str]:
    return [line.split()[0].rpartition("-")[0] for line in table.splitlines()[1:]]


def test_get_shows_the_tables_of_then(replay: Callable[..., str]) -> None:
    early = replay("--at", "+50s", "get", "deploy")
    assert early.split()[:-1] == "NAME READY UP-TO-DATE AVAILABLE AGE web 2/2 2 2".split()
    assert len(names(replay("--at", "+100s", "get", "pods"))) == 3
    assert replay("get", "pods") == "No resources found in default namespace.\n"
    assert "node-0" in replay("--at", "+50s", "get", "pods", "-o", "wide", "-A")


def test_ages_are_those_of_then(replay: Callable[..., str]) -> None:
    later = replay("--at", "+110s", "get", "deploy").splitlines()[1].split()
    assert later[1] == "3/3"
    assert later[-1] in ("109s", "110s")


def test_objects_are_those_of_then(replay: Callable[..., str]) -> None:
    obj = yaml.safe_load(replay("--at", "+50s", "get", "deploy", "web", "-o", "yaml"))
    assert obj["spec"]["replicas"] == 2
    assert obj["metadata"]["resourceVersion"].isdecimal()
    assert replay("--at", "+50s", "get", "deploy", "-o", "name") == "deployment/web\n"


def test_a_log_tells_what_changed(replay: Callable[..., str]) -> None:
    told = replay("log", "deploy/web").splitlines()
    assert told[0].endswith("apps/deployments/default/web: created")
    assert told[-1].endswith("apps/deployments/default/web: deleted")
    assert any("spec.replicas: 2 -> 3" in line for line in told)


def test_moments_are_compared(replay: Callable[..., str]) -> None:
    told = replay("diff", "+50s", "+100s", "deploy")
    assert told.startswith("~~~ changed apps/deployments/default/web")
    assert "  -  replicas: 2\n  +  replicas: 3\n" in told
    assert "--- deleted apps/deployments/default/web" in replay("diff", "+100s", "end", "deploy")


def test_one_steps_forth_and_back(replay: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("goto start\nnext 3\nback 1\nhelp\nquit\n"))
    told = replay("--at", "end").splitlines()
    assert told[0].startswith("revision 1 ")
    assert sum("created" in line for line in told) >= 3
    assert any("undoes" in line for line in told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fly",), "there is no command 'fly'; `help` lists them"),
        (("get", "gardens"), 'the server did not have a resource type "gardens"'),
        (("get",), "get takes a kind"),
        (("get", "pods", "-o", "xml"), "-o takes wide, yaml, json or name, not 'xml'"),
        (("goto", "yesterday"), "'yesterday' is no moment"),
        (("next", "x"), "'x' is no number of revisions"),
        (("get", "pods", "--watch"), "unrecognized arguments: --watch"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(replay: Callable[..., str], words: tuple[str, ...], said: str) -> None:
    told = replay(*words, status=2)
    assert said in told
    assert told.count("\n") == 1


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    for content, said in (
        (b"", "is no recording"),
        (b"hello", "is no recording"),
        (header(36), "ends before the first state"),
        (header(36) + base_record(1.0, 1, []) + b"\xc1", "damaged after byte"),
        (header(36).replace(b"\x01", b"\x07", 1), "format 7"),
    ):
        path = tmp_path / "x"
        path.write_bytes(content)
        with pytest.raises(NotARecording, match=said):
            Recording.read(path)


Changes = st.lists(
    st.tuples(st.sampled_from([b"/a", b"/b", b"/c"]), st.one_of(st.none(), st.binary(max_size=3))), max_size=20
)


@given(start=st.dictionaries(st.sampled_from([b"/a", b"/b"]), st.binary(max_size=3)), changes=Changes, cut=st.integers(0, 9))
def test_every_moment_is_what_the_changes_before_it_made(
    tmp_path_factory: pytest.TempPathFactory, start: dict[bytes, bytes], changes: Any, cut: int
) -> None:
    path = tmp_path_factory.mktemp("model") / "rec"
    states = {5: dict(start)}
    data = header(36) + base_record(100.0, 5, start.items())
    for number, (key, value) in enumerate(changes, 6):
        data += changes_record(100.0 + number, [(number, key, value)])
        state = dict(states[number - 1])
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
        states[number] = state
    tail = changes_record(999.0, [(999, b"/a", b"lost")])
    path.write_bytes(data + tail[: min(cut, len(tail) - 1)])
    recording = Recording.read(path)
    assert recording.revisions == list(states)
    assert recording.cut == (cut > 0)
    for revision, state in states.items():
        assert recording.state(revision) == {key.decode(): value for key, value in state.items()}
    assert recording.step(5, len(changes)) == max(states)
    assert recording.step(max(states), -len(changes)) == 5


def test_a_recording_goes_on_after_the_store_crashed(tmp_path: Path) -> None:
    path = tmp_path / "rec"
    cluster = SimulatedCluster(nodes=1, record=path)
    cluster.sim.crash(cluster.sim.lookup("recorder"), restart_after_s=1)
    cluster.sim.advance(30)
    cluster.apply(DEPLOYMENT)
    cluster.sim.advance(30)
    recording = Recording.read(path)
    last = recording.state(recording.revisions[-1])
    assert orjson.loads(last["/registry/apps/deployments/default/web"])["status"]["readyReplicas"] == 2


# -- A cluster that begins where another one was --------------------------------------------------


def test_an_exported_moment_is_the_beginning_of_another_cluster(replay: Callable[..., str]) -> None:
    objects = yaml.safe_load(replay("--at", "+50s", "export"))["items"]
    cluster = SimulatedCluster(nodes=0, state=objects, debug=True)
    before = {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in objects if obj["kind"] == "Pod"}
    assert {node["metadata"]["name"] for node in cluster.client.list("nodes")} == {"node-0", "node-1"}
    cluster.wait("deployments/web", "Available")
    cluster.sim.advance(30)
    assert {p["metadata"]["name"]: p["metadata"]["uid"] for p in cluster.client.list("pods", "default")} == before
    cluster.client.delete("pods", next(iter(before)), "default")
    cluster.sim.advance(60)
    cluster.wait("deployments/web", lambda web: web["status"].get("readyReplicas") == 2)


def test_custom_objects_come_along_and_what_would_lie_is_left_out() -> None:
    from actors.apiserver.importing import import_objects

    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gardens.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Garden", "plural": "gardens"},
            "versions": [{"name": "v1", "served": True, "storage": True}],
        },
    }
    garden = {"apiVersion": "example.com/v1", "kind": "Garden", "metadata": {"name": "mine", "resourceVersion": "7"}}
    stranger = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x", "namespace": "y"}}
    autoscaler = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
    imported = import_objects([garden, definition, stranger, lease, autoscaler], 36)
    stored = dict(imported.pairs)
    assert orjson.loads(stored[b"/registry/example.com/gardens/default/mine"])["metadata"] == {
        "name": "mine",
        "namespace": "default",
    }
    assert orjson.loads(stored[b"/registry/autoscaling/horizontalpodautoscalers/default/h"])["apiVersion"] == "autoscaling/v2"
    assert dict(imported.left_out) == {"leases": 1, "Thing (example.org/v1, of no known definition)": 1}


def test_a_state_is_only_the_beginning_of_a_new_cluster(tmp_path: Path) -> None:
    state = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}}]
    with Cluster(nodes=0, data_dir=tmp_path, state=state) as cluster:
        cluster.wait("namespaces/theirs", lambda found: found.get("status", {}).get("phase", "Active") == "Active")
    with pytest.raises(ValueError, match="holds a cluster already"):
        Cluster(nodes=0, data_dir=tmp_path, state=state).start()


def test_a_live_cluster_is_dumped_read_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = tmp_path / "dump.json"
    with Cluster(nodes=1, record=tmp_path / "rec") as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}})
        revision = cluster.client.get("secrets", "s", "default")["metadata"]["resourceVersion"]
        assert main(["snapshot", "--kubeconfig", str(cluster.kubeconfig), "-o", str(dump)]) == 0
    objects = orjson.loads(dump.read_bytes())["items"]
    assert {("Node", "node-0"), ("Secret", "s"), ("Namespace", "kube-system")} <= {(o["kind"], o["metadata"]["name"]) for o in objects}
    assert next(o for o in objects if o["metadata"]["name"] == "s")["data"] == {"a": ""}
    recording = Recording.read(tmp_path / "rec")
    assert recording.value("/registry/secrets/default/s", int(revision)) is not None
    assert "objects in" in capsys.readouterr().err
