"""etcd's API on the network: the real etcdctl, the JSON gateway, TLS, start and stop."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.etcd import EtcdConfig
from protocol.etcd import HashKV, LeaseGrant, Put, Range


def post(url: str, path: str, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{url}{path}", data, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


# etcdctl


@pytest.fixture
def ctl(serve: Any, etcdctl: Any) -> Callable[..., str]:
    """etcdctl against a fresh server; its output."""
    server = serve()

    def run(*arguments: str, stdin: str = "") -> str:
        done = etcdctl(server.url, *arguments, stdin=stdin)
        return str(done.stdout) if done.returncode == 0 else f"failed: {done.stderr.strip().splitlines()[-1]}"

    run.server = server  # type: ignore[attr-defined]
    return run


def test_etcdctl_puts_gets_and_deletes(ctl: Callable[..., str]) -> None:
    assert ctl("put", "foo", "bar") == "OK\n"
    assert ctl("put", "foo", "baz", "--prev-kv") == "OK\nfoo\nbar\n"
    assert ctl("get", "foo") == "foo\nbaz\n"
    assert ctl("get", "foo", "--rev", "2") == "foo\nbar\n"
    assert ctl("put", "fop", "1") == "OK\n"
    assert ctl("get", "fo", "--prefix", "--keys-only", "--sort-by=MODIFY", "--order=DESCEND") == "fop\n\nfoo\n\n"
    assert ctl("del", "fo", "--prefix") == "2\n"
    assert ctl("get", "foo") == ""
    assert "required revision is a future revision" in ctl("get", "foo", "--rev", "99")


def test_etcdctl_runs_transactions(ctl: Callable[..., str]) -> None:
    ctl("put", "k", "1")
    script = 'value("k") = "1"\n\nput k 2\nget k\n\nput k 3\n\n'
    assert "SUCCESS" in ctl("txn", "-i", stdin=script)
    assert ctl("get", "k") == "k\n2\n"
    assert "FAILURE" in ctl("txn", "-i", stdin=script)
    assert ctl("get", "k") == "k\n3\n"


def test_etcdctl_handles_leases(ctl: Callable[..., str]) -> None:
    granted = ctl("lease", "grant", "100")
    lease = granted.split()[1]
    ctl("put", "k", "v", f"--lease={lease}")
    assert "attached keys([k])" in ctl("lease", "timetolive", lease, "--keys")
    assert ctl("lease", "list").split()[-1] == lease
    assert "keepalived with TTL(100)" in ctl("lease", "keep-alive", "--once", lease)
    assert ctl("lease", "revoke", lease).strip() == f"lease {lease} revoked"
    assert ctl("get", "k") == ""
    assert "requested lease not found" in ctl("lease", "revoke", lease)


def test_etcdctl_compacts_and_maintains(ctl: Callable[..., str]) -> None:
    for n in range(5):
        ctl("put", "k", str(n))
    assert ctl("compaction", "4") == "compacted revision 4\n"
    assert "has been compacted" in ctl("get", "k", "--rev", "3")
    assert "Finished defragmenting" in ctl("defrag")
    status = json.loads(ctl("endpoint", "status", "-w", "json"))[0]["Status"]
    assert status["header"]["revision"] == 6
    assert status["leader"] == status["header"]["member_id"]
    members = json.loads(ctl("member", "list", "-w", "json"))["members"]
    assert [member["name"] for member in members] == ["default"]
    assert ctl("alarm", "list") == ""
    assert "unknown method MemberPromote" in ctl("member", "promote", "1")


def test_etcdctl_says_that_the_server_is_healthy(serve: Any, etcdctl: Any) -> None:
    server = serve()
    done = etcdctl(server.url, "endpoint", "health")
    assert "is healthy" in done.stdout + done.stderr


def test_etcdctl_watches(ctl: Any, etcdctl: Any, until: Any, tmp_path: Path) -> None:
    ctl("put", "a/1", "old")
    out = tmp_path / "out"
    with out.open("w") as file:
        command = [etcdctl.program, f"--endpoints={ctl.server.url}", "watch", "a/", "--prefix", "--rev=2", "--prev-kv"]
        watch = subprocess.Popen(command, stdout=file, env={"ETCDCTL_API": "3"})
        try:
            until(lambda: "old" in out.read_text(), "the event from the past")
            ctl("put", "a/1", "new")
            ctl("put", "b", "unseen")
            ctl("del", "a/1")
            until(lambda: "DELETE" in out.read_text(), "the event of the deletion")
        finally:
            watch.kill()
            watch.wait(10)
    assert out.read_text().split() == [
        "PUT",
        "a/1",
        "old",
        "PUT",
        "a/1",
        "old",
        "a/1",
        "new",
        "DELETE",
        "a/1",
        "new",
        "a/1",
    ]


def test_etcdctl_locks(ctl: Callable[..., str]) -> None:
    assert "locked" in ctl("lock", "mutex", "echo", "locked")


def test_a_real_etcd_restores_what_etcdctl_saved(
    ctl: Any, etcdctl: Any, real_etcd: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    etcd = ctl.server.etcd
    etcd.ask(LeaseGrant(600, 77))
    for n in range(300):
        etcd.ask(Put(b"k%d" % (n % 250), b"v" * (n * 20), lease=77 if n == 5 else 0))
    ctl("compaction", "100")
    saved = tmp_path / "saved.db"
    assert "saved" in ctl("snapshot", "save", str(saved))
    status = json.loads(etcdctl(ctl.server.url, "snapshot", "status", str(saved), "-w", "json").stdout)
    assert status["revision"] == 301
    real = real_etcd()
    real.stop()
    (real.directory / "m0").rename(tmp_path / "old")
    restore = [
        "snapshot", "restore", str(saved), "--data-dir", str(real.directory / "m0"), "--name", "m0",
        "--initial-cluster", real.commands[0][14], "--initial-advertise-peer-urls", real.commands[0][12],
    ]  # fmt: skip
    done = etcdctl(ctl.server.url, *restore)
    assert done.returncode == 0, done.stderr
    real.start(0)
    url = real.urls[0].removeprefix("http://")
    until(lambda: etcdctl(url, "get", "k0").returncode == 0, "the restored etcd")
    ours = etcd.ask(Range(b"\0", b"\0"))
    theirs = json.loads(etcdctl(url, "get", "", "--prefix", "-w", "json").stdout)
    assert theirs["count"] == ours.count == 250
    assert theirs["header"]["revision"] == ours.revision
    assert [kv["mod_revision"] for kv in theirs["kvs"]] == [kv.mod_revision for kv in ours.kvs]
    assert etcdctl(url, "lease", "list").stdout.split()[-1].lstrip("0") == f"{77:x}"
    hash_ = json.loads(etcdctl(url, "endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]["hash"]
    assert hash_ == etcd.ask(HashKV()).hash


# JSON gateway


def test_the_gateway_speaks_etcds_json(serve: Any) -> None:
    url = serve().url
    status, answer = post(url, "/v3/kv/put", {"key": "YQ==", "value": "MQ=="})
    assert (status, answer["header"]["revision"]) == (200, "2")
    status, answer = post(url, "/v3/kv/range", {"key": "YQ=="})
    assert answer["kvs"] == [
        {"key": "YQ==", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "MQ=="}
    ]
    assert answer["count"] == "1"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("/v3/kv/put", {}, 400, 3, "etcdserver: key is not provided"),
        ("/v3/kv/range", {"key": "YQ==", "revision": "9"}, 400, 11, "future revision"),
        ("/v3/lease/revoke", {"ID": "5"}, 404, 5, "requested lease not found"),
        ("/v3/kv/put", b"{nonsense", 400, 3, "invalid JSON"),
        ("/v3/kv/put", {"kee": "YQ=="}, 400, 3, "kee"),
        ("/v3/kv/put", [], 400, 3, "object"),
        ("/v3/nothing", {}, 404, 5, "Not Found"),
        ("/v3/kv/put", {"key": "YQ==", "value": "QUFB" * 524_300}, 400, 3, "etcdserver: request is too large"),
        ("/v3/kv/put", {"key": "YQ==", "value": "QUFB" * 700_000}, 429, 8, "received message larger than max"),
    ],
)
def test_the_gateway_refuses_with_etcds_codes(
    serve: Any, path: str, body: Any, status: int, code: int, message: str
) -> None:
    got, answer = post(serve().url, path, body)
    assert (got, answer["code"]) == (status, code)
    assert message in answer["message"]


def test_pages_beside_the_api(serve: Any) -> None:
    url = serve().url

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"http://{url}{path}", timeout=10) as answer:
            return bytes(answer.read())

    assert json.loads(get("/health")) == {"health": "true", "reason": ""}
    assert json.loads(get("/version"))["etcdserver"].startswith("3.6.")
    assert get("/readyz") == b"ok\n"
    assert b"etcd_mvcc_db_total_size_in_bytes" in get("/metrics")


def test_a_body_without_end_is_cut_off(serve: Any) -> None:
    import socket

    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            for _ in range(200):
                s.sendall(b" " * 100_000)
        except ConnectionError:
            pass
        try:
            assert s.recv(1000).startswith(b"HTTP/1.1 413")
        except ConnectionError:
            pass  # the server let go before its answer was read
    assert post(server.url, "/v3/kv/put", {"key": "YQ=="})[0] == 200


def test_a_watch_over_a_body_that_stays_open_is_answered_meanwhile(serve: Any) -> None:
    import socket

    server = serve()

    def chunk(value: Any) -> bytes:
        data = json.dumps(value).encode()
        return b"%x\r\n%b\r\n" % (len(data), data)

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        s.sendall(chunk({"create_request": {"key": "YQ=="}}))
        data = b""
        while b'"created":true' not in data:
            data += s.recv(65536)
        s.sendall(chunk({"create_request": {"key": "Yg=="}}))
        while data.count(b'"created":true') < 2:
            data += s.recv(65536)
        server.etcd.ask(Put(b"b", b"1"))
        while b'"mod_revision":"2"' not in data:
            data += s.recv(65536)


def test_many_requests_on_one_connection_are_answered_in_order(serve: Any) -> None:
    import socket

    server = serve()
    body = b'{"key":"YQ=="}'
    request = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(request * 20)
        data = b""
        while data.count(b'"revision"') < 20:
            data += s.recv(65536)
    revisions = [int(part.split(b'"')[0]) for part in data.split(b'"revision":"')[1:]]
    assert revisions == list(range(2, 22))


def test_bytes_that_are_no_http_close_the_connection(serve: Any) -> None:
    import socket

    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 400")
        assert s.recv(100) == b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\1\1\4\0\0\0\0\xff" * 3)
        while s.recv(1000):
            pass
    assert post(server.url, "/v3/kv/put", {"key": "YQ=="})[0] == 200


# Limits


def test_the_quota_raises_the_alarm_and_clearing_takes_compaction_defragmentation_and_disarming(
    serve: Any, etcdctl: Any
) -> None:
    server = serve(EtcdConfig(quota_bytes=100_000))

    def ctl(*arguments: str) -> str:
        done = etcdctl(server.url, *arguments)
        return str(done.stdout + done.stderr)

    for n in range(100):
        status, answer = post(server.url, "/v3/kv/put", {"key": "YQ==", "value": "QUFB" * 1000})
        if status != 200:
            break
    assert (status, answer["code"], answer["message"]) == (429, 8, "etcdserver: mvcc: database space exceeded")
    assert 20 < n < 40
    assert "alarm:NOSPACE" in ctl("alarm", "list")
    assert "NOSPACE" in post(server.url, "/v3/maintenance/status", {})[1]["errors"][0]
    assert post(server.url, "/v3/lease/grant", {"TTL": "60"})[1]["code"] == 8
    assert post(server.url, "/v3/kv/range", {"key": "YQ=="})[0] == 200
    assert post(server.url, "/v3/kv/deleterange", {"key": "Yg=="})[0] == 200
    ctl("compaction", str(n + 1))
    ctl("defrag")
    assert "database space exceeded" in ctl("put", "b", "1")  # the alarm still stands
    assert "alarm:NOSPACE" in ctl("alarm", "disarm")
    assert ctl("put", "b", "1") == "OK\n"


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "etcd")])
    start = datetime.datetime(2020, 1, 1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start.replace(year=2120))
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = builder.sign(key, hashes.SHA256())
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption()))
    return cert_file, key_file


def test_gateway_and_grpc_over_tls_with_client_certificates(
    etcd_process: Any, etcdctl: Any, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    process = etcd_process(
        "--listen-client-urls", "https://127.0.0.1:0", "--cert-file", cert, "--key-file", key, "--trusted-ca-file", cert
    )
    assert process.url.startswith("https://127.0.0.1:")
    done = etcdctl(process.url, "--cacert", cert, "--cert", cert, "--key", key, "put", "a", "1")
    assert done.stdout == "OK\n", done.stderr
    context = ssl.create_default_context(cafile=cert)
    context.load_cert_chain(cert, key)
    with urllib.request.urlopen(process.url + "/health", context=context, timeout=10) as answer:
        assert json.load(answer)["health"] == "true"
    with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
        urllib.request.urlopen(process.url + "/health", context=ssl.create_default_context(cafile=cert), timeout=10)


# The command


def test_a_second_server_on_the_same_directory_gets_one_clear_error(etcd_process: Any, tmp_path: Path) -> None:
    first = etcd_process("--data-dir", str(tmp_path / "d"))
    assert first.ready.startswith("ready: http://127.0.0.1:")
    second = etcd_process("--data-dir", str(tmp_path / "d"))
    assert second.ready == ""
    status, errors = second.end()
    assert status == 2
    said = [line for line in errors.splitlines() if line.startswith("etcd: ")]
    assert said == [f"etcd: data directory {tmp_path / 'd'} is in use by process {first.process.pid}"]


def test_a_server_stops_cleanly_while_clients_watch(
    etcd_process: Any, etcdctl: Any, until: Any, tmp_path: Path
) -> None:
    process = etcd_process("--data-dir", str(tmp_path / "d"))
    with (tmp_path / "out").open("w") as out:
        watch = subprocess.Popen([etcdctl.program, f"--endpoints={process.url}", "watch", "a"], stdout=out, stderr=out)
        try:
            etcdctl(process.url, "put", "a", "1")
            started = time.monotonic()
            status, errors = process.end(signal.SIGTERM)
        finally:
            watch.kill()
            watch.wait(10)
    assert status == 0
    assert "Traceback" not in errors
    assert "etcd: " not in errors
    assert time.monotonic() - started < 10
    again = etcd_process("--data-dir", str(tmp_path / "d"))
    assert etcdctl(again.url, "get", "a").stdout == "a\n1\n"


def test_a_second_signal_stops_at_once(etcd_process: Any, tmp_path: Path) -> None:
    import socket

    process = etcd_process("--data-dir", str(tmp_path / "d"))
    with socket.create_connection(("127.0.0.1", int(process.url.rpartition(":")[2])), timeout=10) as idle:
        process.process.send_signal(signal.SIGTERM)
        while idle.recv(100):  # the server has begun to stop
            pass
        started = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(20) in (0, 1)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen-client-urls", "nonsense"], "not a URL to listen on: 'nonsense'"),
        (["--listen-client-urls", "https://127.0.0.1:0"], "https needs --cert-file and --key-file"),
        (["--listen-client-urls", "https://127.0.0.1:0", "--cert-file", "/none", "--key-file", "/none"], "certificate"),
    ],
)
def test_options_that_make_no_sense_are_told_in_one_line(etcd_process: Any, arguments: list[str], message: str) -> None:
    process = etcd_process(*arguments)
    status, errors = process.end()
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
