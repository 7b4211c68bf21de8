"""Ingress over TLS, and connections that change their protocol."""

from __future__ import annotations

import base64
import datetime
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.network.ingress._certificates import certificate_for, certificates, pair_of, self_signed
from cluster import Cluster

Object = dict[str, Any]


def certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem), private


def secret(name: str, about: str) -> Object:
    pair = certificate(about)
    data = {k: base64.b64encode(v).decode() for k, v in zip(("tls.crt", "tls.key"), pair, strict=True)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": data,
    }


def ingress(name: str, hosts: tuple[str, ...], tls: list[Object], **spec: Any) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rules = [{"host": h, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}} for h in hosts]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"rules": rules, "tls": tls, **spec},
    }


# -- which certificate -------------------------------------------------------------------------


def test_an_entry_without_hosts_is_for_the_rules_hosts_and_the_first_ingress_wins() -> None:
    secrets = {f"default/{name}": secret(name, name) for name in ("one", "two")}
    found = certificates(
        [
            ingress("a", ("A.example.com",), [{"secretName": "one"}]),
            ingress("b", ("x",), [{"hosts": ["a.example.com", "*.example.org"], "secretName": "two"}]),
        ],
        secrets,
    )
    assert found == {"a.example.com": pair_of(secrets["default/one"]), "*.example.org": pair_of(secrets["default/two"])}
    assert certificate_for("www.Example.org", found) == found["*.example.org"]
    assert certificate_for("a.b.example.org", found) is None, "a wildcard is one label"


def test_a_secret_that_cannot_be_used_is_none() -> None:
    good, other = secret("one", "one"), secret("two", "two")
    assert pair_of(None) is None
    assert pair_of({**good, "data": {}}) is None
    assert pair_of({**good, "data": {**good["data"], "tls.crt": "bm8="}}) is None
    assert pair_of({**good, "data": {**good["data"], "tls.key": other["data"]["tls.key"]}}) is None, "not its key"


def test_the_default_certificate_is_valid_now() -> None:
    made = x509.load_pem_x509_certificate(self_signed(1_700_000_000.0).certificate)
    assert made.not_valid_before_utc.timestamp() < 1_700_000_000.0 < made.not_valid_after_utc.timestamp()


# -- on real ports -----------------------------------------------------------------------------


class Pod:
    """An endpoint that tells of its request, and switches protocols if asked for `echo`."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.heads: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()
        except OSError:
            pass

    def _answer(self, peer: socket.socket) -> None:
        with peer:
            head = b""
            while b"\r\n\r\n" not in head:
                part = peer.recv(4096)
                if not part:
                    return
                head += part
            text = head.decode("latin-1")
            self.heads.append(text)
            if "upgrade: echo" not in text.lower():
                peer.sendall(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfour")
                return
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
            while part := peer.recv(65536):
                peer.sendall(part)
            peer.sendall(b" bye")

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def pod() -> Iterator[Pod]:
    made = Pod()
    yield made
    made.close()


@pytest.fixture
def cluster(pod: Pod) -> Iterator[Cluster]:
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.0.8"], "conditions": {"ready": True}}],
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    }
    with Cluster(nodes=0, ingress_port=0, ingress_tls_port=0, ingress_default_certificate="default/rest") as made:
        made.ingress.dial, made.ingress.network = lambda ip, port: pod.address, None
        made.apply([service, slices])
        yield made


def shown(address: tuple[str, int], host: str | None) -> str:
    """The common name of the certificate that a client is shown for a host."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, 5) as raw, context.wrap_socket(raw, server_hostname=host) as connection:
        der = connection.getpeercert(binary_form=True)
        assert der is not None
        (name,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(name.value)


def until(condition: Any, tries: int = 250) -> None:
    for _ in range(tries):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("not within 5 s")


def test_each_host_is_shown_its_certificate_and_a_new_one_when_it_changes(cluster: Cluster) -> None:
    at = cluster.ingress.tls_address
    assert shown(at, "www.example.com").startswith("Kubekka Ingress Controller default")
    tls = [{"hosts": ["www.example.com"], "secretName": "www"}, {"hosts": ["*.example.org"], "secretName": "org"}]
    cluster.apply([ingress("a", ("www.example.com",), tls), secret("www", "first"), secret("org", "wild")])
    until(lambda: shown(at, "www.example.com") == "first")
    until(lambda: shown(at, "any.example.org") == "wild")
    assert shown(at, "other").startswith("Kubekka Ingress")
    cluster.apply([secret("www", "second"), secret("rest", "mine")])
    until(lambda: shown(at, "www.example.com") == "second")
    until(lambda: shown(at, "other") == "mine")
    assert shown(at, None) == "mine", "clients that name no host"
    cluster.client.delete("ingresses", "a", "default")
    until(lambda: shown(at, "www.example.com") == "mine")


def test_requests_over_tls_reach_the_endpoint_and_say_so(cluster: Cluster, pod: Pod) -> None:
    cluster.apply([ingress("a", ("www.example.com",), [])])
    context = ssl._create_unverified_context()

    def status() -> int:
        connection = http.client.HTTPSConnection(*cluster.ingress.tls_address, timeout=5, context=context)
        connection.request("GET", "/x", headers={"Host": "www.example.com"})
        answer = connection.getresponse().status
        connection.close()
        return answer

    until(lambda: status() == 426)
    assert "x-forwarded-proto: https" in pod.heads[-1].lower()


@pytest.mark.parametrize("secure", [False, True])
def test_an_upgraded_connection_carries_bytes_both_ways(cluster: Cluster, pod: Pod, secure: bool) -> None:
    cluster.apply([ingress("a", ("www.example.com",), [])])
    until(lambda: upgraded(cluster, secure, "echo")[0] == 101)
    status, connection, rest = upgraded(cluster, secure, "echo")
    assert (status, rest) == (101, b"hello ")
    data = bytes(range(256)) * 4096  # one MiB
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    seen = b""
    while len(seen) < len(data):
        seen += connection.recv(1 << 20)
    sender.join()
    assert seen == data
    assert "connection: upgrade" in pod.heads[-1].lower()
    assert "x-forwarded-for: 127.0.0.1" in pod.heads[-1].lower()
    connection.close()


def test_an_endpoint_that_declines_an_upgrade_answers_itself(cluster: Cluster) -> None:
    cluster.apply([ingress("a", ("www.example.com",), [])])
    until(lambda: upgraded(cluster, False, "websocket")[0] == 426)
    _, connection, rest = upgraded(cluster, False, "websocket")
    assert rest == b"four"
    connection.close()


def upgraded(cluster: Cluster, secure: bool, protocol: str) -> tuple[int, socket.socket, bytes]:
    """Ask for an upgrade; -> status, the connection, and what came with the answer's head."""
    raw = socket.create_connection(cluster.ingress.tls_address if secure else cluster.ingress_address, 5)
    connection = ssl._create_unverified_context().wrap_socket(raw, server_hostname="www.example.com") if secure else raw
    lines = (
        "GET /chat?x=1 HTTP/1.1",
        "Host: www.example.com",
        "Connection: keep-alive, Upgrade",
        f"Upgrade: {protocol}",
    )
    connection.sendall("\r\n".join((*lines, "", "")).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    head, _, rest = head.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    wanted = {101: b"hello ", 426: b"four"}.get(status, b"")
    while len(rest) < len(wanted):
        rest += connection.recv(65536)
    return status, connection, rest


def test_a_class_that_names_this_controller_is_served_and_others_are_not(cluster: Cluster) -> None:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass"}
    ours = {**kind, "metadata": {"name": "ours"}, "spec": {"controller": "kubekka.dev/ingress"}}
    theirs = {**kind, "metadata": {"name": "theirs"}, "spec": {"controller": "example.com/other"}}
    cluster.apply(
        [
            ingress("b", ("b.example.com",), [], ingressClassName="theirs"),
            ingress("a", ("a.example.com",), [], ingressClassName="ours"),
            theirs,
            ours,
        ]
    )

    def status(host: str) -> int:
        connection = http.client.HTTPConnection(*cluster.ingress_address, timeout=5)
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse().status
        connection.close()
        return answer

    until(lambda: status("a.example.com") == 426)
    assert status("b.example.com") == 404
    cluster.wait("ingresses/a", lambda i: bool((i["status"].get("loadBalancer") or {}).get("ingress")))
    assert not (cluster.client.get("ingresses", "b", "default")["status"].get("loadBalancer") or {}).get("ingress")
