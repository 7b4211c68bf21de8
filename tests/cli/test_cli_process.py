"""The command line as its own process: what it prints, how it ends, what it survives."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from cli._errors import UsageError
from cli.kubectl import find_kubectl

CLUSTER = str(Path(__file__).resolve().parents[2] / "cluster.py")
PATIENCE_S = 60


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A verb that serves, and its `ready:` line; it is killed at the end if it still runs."""
    command = [sys.executable, CLUSTER, *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert running.stderr is not None
        line = running.stdout.readline()
        assert line.startswith("ready: "), running.stderr.read()
        yield running, line.strip()
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def interrupt(running: subprocess.Popen[str]) -> int:
    running.send_signal(signal.SIGINT)
    return running.wait(PATIENCE_S)


def once(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, CLUSTER, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    try:
        command = [find_kubectl(), f"--kubeconfig={kubeconfig}", *arguments]
    except UsageError as missing:
        pytest.skip(str(missing))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_up_prints_one_line_serves_and_ends_cleanly_on_interrupt(tmp_path: Path) -> None:
    with process("up", "--port", "0", "--data-dir", str(tmp_path)) as (running, line):
        match = re.fullmatch(r"ready: https://127\.0\.0\.1:(\d+) kubeconfig: (.+)", line)
        assert match is not None
        assert Path(match[2]) == tmp_path / "kubeconfig"
        assert oct(os.stat(match[2]).st_mode & 0o777) == "0o600"
        assert "kube-system" in kubectl(Path(match[2]), "get", "namespaces")
        assert interrupt(running) == 0
        assert running.stderr is not None
        assert running.stderr.read() == ""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(match[1]))) != 0


def test_a_cluster_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    arguments = ("up", "--port", "0", "--data-dir", str(tmp_path))
    config = tmp_path / "kubeconfig"
    with process(*arguments) as (running, _):
        kubectl(config, "create", "deployment", "web", "--image=nginx", "--replicas=2")
        kubectl(config, "rollout", "status", "deploy/web", "--timeout=30s")
        uid = kubectl(config, "get", "deploy", "web", "-o", "jsonpath={.metadata.uid}")
        running.kill()
        running.wait()
    with process(*arguments) as (running, _):
        assert kubectl(config, "get", "deploy", "web", "-o", "jsonpath={.metadata.uid}") == uid
        kubectl(config, "scale", "deploy/web", "--replicas=3")
        kubectl(config, "rollout", "status", "deploy/web", "--timeout=30s")
        assert interrupt(running) == 0


def test_two_clusters_on_one_data_directory_are_refused(tmp_path: Path) -> None:
    with process("up", "--port", "0", "--nodes", "0", "--data-dir", str(tmp_path)):
        second = once("up", "--port", "0", "--data-dir", str(tmp_path))
        assert second.returncode == 2
        assert re.fullmatch(r"kubekka up: data directory .* is in use by process \d+\n", second.stderr)


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = once("up", "--port", port, "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"kubekka up: port {port} on 127\.0\.0\.1 is in use; .*\n", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("up", "--port", "70000"), "is no port"),
        (("up", "--nodes", "-1"), "--nodes"),
        (("up", "--kubernetes-version", "1.20"), "1.31 to 1.37"),
        (("up", "--data-dir", "/proc/nowhere"), "cannot write to the state directory"),
        (("up", "--kubeconfig", "/nowhere/at/all"), "cannot write the kubeconfig"),
        (("up", "--manage-nodes-with-annotation-selector", "x"), "KEY=VALUE"),
        (("up", "--controllers", "*,-no-such-controller"), "no-such-controller"),
        (("up", "--node-monitor-grace-period", "soon"), "is no duration"),
        (("up", "--record", "/nowhere/file"), "cannot write the recording /nowhere/file"),
        (("up", "--stages", "/nowhere"), "--stages: cannot read /nowhere"),
        (("up", "--clock", "virtual", "--runtime", "process"), "time cannot stand still"),
        (("up", "--etcd-servers", "https://127.0.0.1:1", "--etcd-cafile", "/nowhere"), "cannot read /nowhere"),
        (("demo", "--svg", "/nowhere/picture"), "cannot write /nowhere/picture"),
        (("fly",), "unknown verb"),
        (("iptables", "-f", "/nowhere.yaml"), "cannot read"),
        (("kubectl", "--data-dir", "/nowhere", "get", "pods"), "no kubeconfig"),
        (("kubelet", "--kubeconfig", "/nowhere"), "no kubeconfig"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    if arguments[0] == "up" and "--data-dir" not in arguments:
        arguments = (
            *arguments,
            "--data-dir",
            str(tmp_path / "state"),
            *(() if "--port" in arguments else ("--port", "0")),
        )
    done = once(*arguments)
    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pki/ca.key", "pki/ca.crt and ca.key are no certificate and its key"),
        ("pki/sa.key", "pki/sa.key is no private key"),
        ("etcd/wal-0000000000000001.log", "is damaged"),
    ],
)
def test_a_state_directory_with_a_spoiled_file_is_refused_by_its_name(file: str, text: str, tmp_path: Path) -> None:
    up = ("up", "--port", "0", "--nodes", "0", "--data-dir", str(tmp_path / "state"))
    with process(*up) as (running, _):
        assert interrupt(running) == 0
    spoiled = tmp_path / "state" / file
    whole = spoiled.read_bytes()
    spoiled.write_bytes(whole[: len(whole) // 3] + b"?" * 40 + whole[len(whole) // 3 + 40 :])
    done = once(*up)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert text in done.stderr
    assert "back" in done.stderr  # what to do
    spoiled.write_bytes(whole)
    with process(*up) as (running, _):
        assert interrupt(running) == 0


def test_an_etcd_that_does_not_answer_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = once("up", "--port", "0", "--data-dir", str(tmp_path / "state"), "--etcd-servers", url)
    assert done.returncode == 1
    assert f"is an etcd running at {url}?" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_verbs_name_what_is_wrong_with_a_kubeconfig_or_what_they_are_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    with process("up", "--port", "0", "--nodes", "0", "--data-dir", str(tmp_path / "a"), "--kubeconfig", str(config)) as (
        running,
        _,
    ):
        good = yaml.safe_load(config.read_text())
        for number, (part, changes, status, text) in enumerate((
            ("user", {"client-certificate-data": "aGVsbG8="}, 2, "bad certificate or key"),
            ("user", {"client-certificate-data": "%"}, 2, "is not base64"),
            ("cluster", {"server": "https://127.0.0.1:1"}, 1, "is the cluster of"),
            ("cluster", {"server": "nonsense"}, 2, "is not the URL of a server"),
        )):  # fmt: skip
            changed = json.loads(json.dumps(good))
            changed[f"{part}s"][0][part].update(changes)
            file = tmp_path / str(number)
            file.write_text(json.dumps(changed))
            done = once("snapshot", "--kubeconfig", str(file))
            assert (done.returncode, len(done.stderr.splitlines())) == (status, 1), done.stderr
            assert text in done.stderr
            assert done.stderr.count(str(file)) == 1
        for arguments, status, text in (
            (("explain-schedule", "nobody"), 1, 'pods "nobody" not found'),
            (("scheduler", "--config", "/nowhere"), 2, "cannot read /nowhere"),
            (("kubelet", "--node-name", "No Name"), 2, "is no name of a node"),
        ):
            done = once(*arguments, "--kubeconfig", str(config))
            assert (done.returncode, len(done.stderr.splitlines())) == (status, 1), done.stderr
            assert text in done.stderr
        assert interrupt(running) == 0


def test_iptables_of_a_file_names_a_broken_manifest(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2\nb: 3\n")
    done = once("iptables", "-f", str(broken), "--node", "n")
    assert done.returncode == 2
    assert "is no YAML" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_verb_has_help() -> None:
    from cli._main import VERBS

    assert once("--help").returncode == 0
    for verb in VERBS:
        done = once(verb, "--help")
        assert done.returncode == 0, (verb, done.stderr)
        assert "usage: kubekka" in done.stdout


def test_json_logs_are_one_object_a_line(tmp_path: Path) -> None:
    with process(
        "up", "--port", "0", "--nodes", "0", "--data-dir", str(tmp_path), "--log-format", "json", "--log-level", "info"
    ) as (running, _):
        assert interrupt(running) == 0
        assert running.stderr is not None
        events = [json.loads(line) for line in running.stderr.read().splitlines()]
    assert any(event["event"] == "apiserver_ready" for event in events)


def test_the_demonstration_tells_the_whole_way_and_exits_by_itself() -> None:
    done = once("demo")
    assert done.returncode == 0, done.stderr
    for text in (
        "applies deployment web",
        "creates replicaset web-",
        "creates pod web-",
        "binds pod web-",
        "starts the pause container",
        "starts the container",
        "cpu.cfs_quota_us=50000",
        "KUBE-SVC-LOLE4ISW44XBNF3G",
        "A pod dies",
        "A node dies",
        "NotReady and tainted unreachable",
    ):
        assert text in done.stdout, text


def test_components_run_as_processes_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    with process("apiserver", "--port", "0", "--data-dir", str(tmp_path)):
        speak = ("--kubeconfig", str(config))
        with (
            process("controllers", *speak),
            process("scheduler", *speak),
            process("kubelet", *speak, "--node-name", "far"),
        ):
            kubectl(config, "create", "deployment", "web", "--image=nginx", "--replicas=2")
            kubectl(config, "rollout", "status", "deploy/web", "--timeout=50s")
            nodes = kubectl(config, "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}")
            assert nodes.split() == ["far", "far"]


def test_inspecting_verbs_speak_with_a_running_cluster(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    with process("up", "--port", "0", "--data-dir", str(tmp_path)):
        kubectl(config, "create", "deployment", "web", "--image=nginx", "--replicas=1")
        kubectl(config, "expose", "deployment", "web", "--port=80")
        kubectl(config, "rollout", "status", "deploy/web", "--timeout=30s")
        pod = kubectl(config, "get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
        kubectl(config, "wait", "endpoints/web", "--for=jsonpath={.subsets}", "--timeout=20s")
        rules = once("iptables", "--data-dir", str(tmp_path), "--node", "node-1")
        assert "-j KUBE-SVC-LOLE4ISW44XBNF3G" in rules.stdout
        assert "KUBE-POSTROUTING" in rules.stdout
        groups = once("cgroups", pod, "--data-dir", str(tmp_path))
        assert "/kubepods/besteffort/pod" in groups.stdout
        assert re.search(r"cpu\.shares\s+2\n", groups.stdout)
        account = once("explain-schedule", pod, "--data-dir", str(tmp_path))
        assert "nodes that fit" in account.stdout, account.stderr
        assert once("cgroups", "nobody", "--data-dir", str(tmp_path)).returncode == 1
        assert once("kubectl", "--data-dir", str(tmp_path), "get", "nodes").returncode == 0
