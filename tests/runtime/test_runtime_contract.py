"""What every runtime of real containers has to do, whichever does it. As root on Linux, or skipped."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from protocol import cri
from protocol.node import StreamClosed, StreamData

# Typed as Any, since tests import nothing from conftest: see `RuntimeWorld` there.
World = Any


def test_output_goes_to_the_log_and_the_exit_code_to_whoever_waits(node: World) -> None:
    ident = node.start(node.sandbox(), "sh", "-c", "echo out; echo err >&2; printf unfinished; exit 3")
    status = node.end_of(ident)
    assert (status.state, status.exit_code, status.reason) == (cri.CONTAINER_EXITED, 3, "Error")
    assert status.created_at <= status.started_at
    assert status.started_at <= status.finished_at + 1.0  # daemons note a start late, after a quick end
    assert sorted(node.log(ident).splitlines()) == [b"err", b"out", b"unfinished"]
    stamped = node.log(ident, timestamps=True, tail_lines=1)
    assert re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", stamped)


def test_a_container_has_its_image_environment_user_and_directory(node: World) -> None:
    script = "id -u; id -g; pwd; echo $FROM_IMAGE $OWN $HOSTNAME; hostname; touch /nope 2>/dev/null || echo readonly"
    ident = node.start(
        node.sandbox("web-0"), "sh", "-c", script,
        run_as_user=1000, working_dir="/tmp", envs=(("OWN", "2"),), readonly_rootfs=True,
    )  # fmt: skip
    assert node.end_of(ident).reason == "Completed"
    assert node.log(ident).decode().split() == ["1000", "1000", "/tmp", "yes", "2", "web-0", "web-0", "readonly"]


def test_volumes_are_shared_by_the_pod_and_the_kubelets_are_filled(node: World) -> None:
    sandbox = node.sandbox()
    base = f"/var/lib/kubelet/pods/{node.ask(cri.GetPodSandboxStatus(sandbox)).uid}/volumes"
    conf = cri.Mount("/conf", f"{base}/kubernetes.io~configmap/conf", "conf", readonly=True, source=node.listener)
    data = cri.Mount("/data", f"{base}/kubernetes.io~empty-dir/data", "data")
    writer = node.start(
        sandbox, "sh", "-c", "cat /conf/key > /data/copy; touch /conf/x 2>/dev/null || echo no", mounts=(conf, data)
    )
    node.end_of(writer)
    assert b"no" in node.log(writer).split()
    reader = node.start(sandbox, "cat", "/data/copy", name="reader", mounts=(data,))
    node.end_of(reader)
    assert node.log(reader).strip() == b"content"


def test_containers_of_a_pod_share_network_ipc_and_uts_and_nothing_else(node: World) -> None:
    sandbox, other = node.sandbox("one"), node.sandbox("two")
    a, b = node.start(sandbox, "sleep", "60", name="a"), node.start(sandbox, "sleep", "60", name="b")
    c = node.start(other, "sleep", "60")

    def spaces(ident: str) -> dict[str, str]:
        script = "for k in net ipc uts pid mnt; do echo $k $(readlink /proc/self/ns/$k); done"
        return dict(line.split() for line in node.output(ident, "sh", "-c", script).splitlines())

    for kind in ("net", "ipc") if node.kind == "docker" else ("net", "ipc", "uts"):  # Docker shares no UTS
        assert spaces(a)[kind] == spaces(b)[kind] != spaces(c)[kind]
    for kind in ("pid", "mnt"):
        assert spaces(a)[kind] != spaces(b)[kind]


def test_pause_is_number_one_of_a_shared_pid_namespace_and_reaps_orphans(node: World) -> None:
    sandbox = node.sandbox(shared_pid=True)
    ident = node.start(sandbox, "sleep", "60")
    assert node.output(ident, "cat", "/proc/1/comm") == "pause"
    node.output(ident, "sh", "-c", "(sleep 0.05 &) ; true")
    node.until(lambda: "sleep 0.05" not in node.output(ident, "ps") and "[" not in node.output(ident, "ps"))


def test_a_container_that_restarts_keeps_the_pods_address(node: World) -> None:
    sandbox = node.sandbox()
    (address,) = node.ask(cri.GetPodSandboxStatus(sandbox)).ips
    assert node.end_of(node.start(sandbox, "false")).exit_code == 1
    again = node.start(sandbox, "sleep", "60", attempt=1)
    assert f"inet addr:{address}" in node.output(again, "ifconfig", "eth0")
    assert address in node.output(again, "cat", "/etc/hosts") or node.kind == "docker"


def test_ports_are_probed_at_the_pods_address_and_forwarded_to_its_loopback(node: World) -> None:
    sandbox = node.sandbox()
    ident = node.start(sandbox, "sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 8080 -h /tmp", ports=(8080,))
    node.until(lambda: node.ask(cri.Probe(ident, "http", 8080, detail="/index.html")).ok)
    assert not node.ask(cri.Probe(ident, "tcp", 8081)).ok
    stream = node.stream()
    opened = node.ask(cri.PortForward(sandbox, (8080,), node.listener, stream))
    opened.address.tell(StreamData(stream, 0, b"GET /index.html HTTP/1.0\r\n\r\n"))
    node.until(lambda: b"hello" in node.heard.data.get(stream, b""))
    opened.address.tell(StreamClosed(stream))


def test_exec_answers_code_and_output_and_its_time_is_bounded(node: World) -> None:
    ident = node.start(node.sandbox(), "sleep", "60")
    answer = node.ask(cri.ExecSync(ident, ("sh", "-c", "echo a; echo b >&2; exit 4")))
    assert (answer.exit_code, answer.stdout, answer.stderr) == (4, b"a\n", b"b\n")
    with pytest.raises(cri.CriError) as refused:
        node.ask(cri.ExecSync(ident, ("sleep", "30"), 1.0))
    assert refused.value.code == "DeadlineExceeded"
    node.until(lambda: "sleep 30" not in node.output(ident, "ps"))


def test_exec_streams_both_ways_and_says_how_it_ended(node: World) -> None:
    ident = node.start(node.sandbox(), "sleep", "60")
    stream = node.stream()
    opened = node.ask(cri.Exec(ident, ("sh", "-c", "head -n 1; exit 7"), node.listener, stream, stdin=True))
    opened.address.tell(StreamData(stream, 0, b"hello\n"))
    node.until(lambda: stream in node.heard.closed)
    assert node.heard.data[stream] == b"hello\n"
    assert node.heard.closed[stream]["details"]["causes"][0]["message"] == "7"


def test_a_terminal_has_the_size_it_is_told(node: World) -> None:
    ident = node.start(node.sandbox(), "sleep", "60")
    stream = node.stream()
    opened = node.ask(cri.Exec(ident, ("sh",), node.listener, stream, stdin=True, tty=True))
    opened.address.tell(StreamData(stream, 4, b'{"Width": 91, "Height": 33}'))

    def sized() -> bool:
        opened.address.tell(StreamData(stream, 0, b"stty size\n"))
        time.sleep(0.1)
        return b"33 91" in node.heard.data.get(stream, b"")

    node.until(sized)
    opened.address.tell(StreamData(stream, 0, b"exit 0\n"))
    node.until(lambda: stream in node.heard.closed)
    assert node.heard.closed[stream]["status"] == "Success"


def test_attach_joins_the_main_process(node: World) -> None:
    ident = node.start(node.sandbox(), "sh", "-c", "while read line; do echo got $line; done", stdin=True)
    stream = node.stream()
    opened = node.ask(cri.Attach(ident, node.listener, stream, stdin=True))
    opened.address.tell(StreamData(stream, 0, b"word\n"))
    node.until(lambda: b"got word" in node.heard.data.get(stream, b""))
    node.until(lambda: b"got word" in node.log(ident))
    opened.address.tell(StreamClosed(stream))
    assert node.status(ident).state == cri.CONTAINER_RUNNING


def test_a_log_is_followed_to_its_end(node: World) -> None:
    ident = node.start(node.sandbox(), "sh", "-c", "echo first; sleep 0.6; echo second")
    stream = node.stream()
    begun = node.log(ident, peer=node.listener, stream_id=stream)
    node.until(lambda: stream in node.heard.closed)
    assert (begun + node.heard.data.get(stream, b"")).splitlines() == [b"first", b"second"]


def test_stop_sends_term_first_and_kills_after_the_grace(node: World) -> None:
    sandbox = node.sandbox()
    polite = node.start(sandbox, "sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done", name="a")
    deaf = node.start(sandbox, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", name="b")
    for ident in (polite, deaf):
        node.until(lambda i=ident: node.log(i) == b"up\n")
    node.ask(cri.StopContainer(polite, 10))
    node.ask(cri.StopContainer(deaf, 1.0))
    assert node.end_of(polite).exit_code == 0
    assert node.end_of(deaf).exit_code == 137


def test_a_command_or_an_image_that_is_not_there_is_refused(node: World) -> None:
    sandbox = node.sandbox()
    with pytest.raises(cri.CriError, match="no-such-program"):
        node.start(sandbox, "no-such-program")
    assert node.ask(cri.ImageStatus("localhost/nowhere:1")) is None
    with pytest.raises(cri.CriError) as refused:
        node.ask(cri.PullImage("localhost/nowhere:1"))
    assert refused.value.reason == "ErrImagePull"
    assert node.ask(cri.ImageStatus(node.image)).size_bytes > 0


def test_a_cpu_limit_throttles_and_the_figures_show_it(node: World) -> None:
    limits = cri.ContainerResources(102, 10_000, 100_000, 64 << 20)
    ident = node.start(node.sandbox(), "sh", "-c", "while :; do :; done", resources=limits)
    node.until(lambda: node.ask(cri.GetContainerStats(ident)).cpu_usage_core_ns > 50_000_000)
    node.until(lambda: node.ask(cri.GetContainerStats(ident)).throttled_periods >= 3)
    (stats,) = node.ask(cri.ListContainerStats())
    assert stats.container_id == ident
    assert stats.memory_usage_bytes > 0
    assert stats.throttled_time_ns > 0
    assert stats.pids == 1


def test_who_exceeds_its_memory_is_killed_and_says_so(node: World) -> None:
    limits = cri.ContainerResources(102, None, None, 32 << 20)  # runc itself has to fit
    ident = node.start(node.sandbox(), "sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done", resources=limits)
    status = node.end_of(ident)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_the_termination_message_is_what_the_container_wrote(node: World) -> None:
    sandbox = node.sandbox()
    written = node.start(sandbox, "sh", "-c", "echo -n because > /dev/termination-log; exit 1", name="a")
    assert node.end_of(written).message == "because"
    fallback = node.start(
        sandbox, "sh", "-c", "echo last words; exit 1", name="b", termination_message_policy="FallbackToLogsOnError"
    )
    assert node.end_of(fallback).message == "last words\n"


def test_what_is_removed_is_gone_and_removing_again_is_no_error(node: World) -> None:
    sandbox = node.sandbox()
    ident = node.start(sandbox, "sleep", "60")
    assert [c.id for c in node.ask(cri.ListContainers())] == [ident]
    node.ask(cri.StopPodSandbox(sandbox))
    node.until(lambda: node.status(ident).state == cri.CONTAINER_EXITED)
    assert not node.ask(cri.GetPodSandboxStatus(sandbox)).ready
    for _ in range(2):
        node.ask(cri.RemoveContainer(ident))
        node.ask(cri.RemovePodSandbox(sandbox))
    assert node.ask(cri.ListContainers()) == () == node.ask(cri.ListPodSandbox())
