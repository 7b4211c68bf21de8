"""A node with pods in network namespaces of its own, for packets that a real kernel carries.

A namespace lives as long as somebody holds it open: nothing has a name, so nothing is left behind,
however a test ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pytest

from actors.network.cni import Bridge
from protocol.cni import AddPod

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
TIMEOUT_S = 1.0
NODE_IP, OUTSIDE_IP = "192.168.77.2", "192.168.77.100"
POD_CIDR, CLUSTER_CIDR = "10.244.1.0/24", "10.244.0.0/16"
KINDS: dict[str, tuple[int, ...]] = {
    "tcp": (socket.SOCK_STREAM,),
    "udp": (socket.SOCK_DGRAM,),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
_libc = ctypes.CDLL(None, use_errno=True)


def why_no_packets(*programs: str) -> str:
    """What keeps this machine from namespaces with rules; empty if nothing does."""
    if not os.path.exists("/proc/self/ns/net") or os.geteuid() != 0:
        return "needs Linux and root"
    for program in ("ip", "nsenter", "unshare", *programs):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "network namespaces are not allowed here"


class Namespace:
    """A network namespace. `path` leads to it, for `nsenter` and the like."""

    def __init__(self) -> None:
        self.fd = _on_thread(self._new)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.sockets: list[socket.socket] = []
        self.run("ip", "link", "set", "lo", "up")

    @staticmethod
    def _new() -> int:
        if _libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def inside(self, function: Callable[[], T]) -> T:
        """Call a function in the namespace. Sockets that it makes stay there."""

        def enter() -> T:
            if _libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            return function()

        return _on_thread(enter)

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a program in the namespace; -> what it printed."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *arguments], capture_output=True, text=True, check=False, timeout=20
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def serve(self, name: str, port: int, protocol: str = "tcp") -> None:
        """Answer whoever comes with `name` and the address that the packet came from."""

        def listen() -> socket.socket:
            made = socket.socket(socket.AF_INET6, *KINDS[protocol])
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::", port))
            if protocol != "udp":
                made.listen(64)
            return made

        server = self.inside(listen)
        self.sockets.append(server)
        target = self._datagrams if protocol == "udp" else self._accept
        threading.Thread(target=target, args=(server, name), daemon=True).start()

    def _accept(self, server: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, (ip, *_) = server.accept()
                self.sockets.append(peer)
                answer = f"{name} {ip.removeprefix('::ffff:')}"
                threading.Thread(target=self._converse, args=(peer, answer), daemon=True).start()

    def _converse(self, peer: socket.socket, answer: str) -> None:
        with contextlib.suppress(OSError):
            while peer.recv(1024):
                peer.sendall(answer.encode())
        peer.close()

    def _datagrams(self, server: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, address = server.recvfrom(1024)
                if address is None:  # the socket was shut down
                    return
                server.sendto(f"{name} {address[0].removeprefix('::ffff:')}".encode(), address)

    def connect(self, ip: str, port: int, protocol: str = "tcp", timeout_s: float = TIMEOUT_S) -> Talk:
        """A connection from here. Raises OSError (ConnectionRefusedError, TimeoutError)."""
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        made = self.inside(lambda: socket.socket(family, *KINDS[protocol]))
        self.sockets.append(made)
        made.settimeout(timeout_s)
        try:
            made.connect((ip, port))
        except OSError:
            made.close()
            raise
        return Talk(made)

    def ask(self, ip: str, port: int, protocol: str = "tcp", timeout_s: float = TIMEOUT_S) -> str:
        """Who answers there, and whom it takes us for; `refused` or `lost`."""
        try:
            talk = self.connect(ip, port, protocol, timeout_s)
            try:
                return talk.ask()
            finally:
                talk.close()
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "lost"

    def who(self, ip: str, port: int, times: int, protocol: str = "tcp") -> Counter[str]:
        """Who answers how often."""
        return Counter(self.ask(ip, port, protocol).split()[0] for _ in range(times))

    def close(self) -> None:
        for made in self.sockets:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in accept
            made.close()
        os.close(self.fd)


class Talk:
    """One connection."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made

    def ask(self) -> str:
        self.socket.sendall(b"?")
        return self.socket.recv(1024).decode()

    def close(self) -> None:
        self.socket.close()


def _on_thread(function: Callable[[], T]) -> T:
    """Call a function on a thread that ends with it: entering a namespace is a thread's own affair."""
    results: list[Any] = []

    def call() -> None:
        try:
            results.append((function(), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    value, error = results[0]
    if error is not None:
        raise error
    result: T = value
    return result


class Plan(NamedTuple):
    """The addresses of a lab. `cluster`: where all pods are; `services`: a route to the node for these."""

    node: str = NODE_IP
    outside: str = OUTSIDE_IP
    bits: int = 24
    pods: str = POD_CIDR
    cluster: str = CLUSTER_CIDR
    services: str = "10.0.0.0/8"
    gateway: str = "10.244.1.1"


IPV6 = Plan("fd00:77::2", "fd00:77::100", 64, "fd00:244:0:1::/64", "fd00:244::/48", "fd00::/16", "fd00:244:0:1::1")


class Lab:
    """A node, pods on its bridge, and a host outside.

    outside 192.168.77.100 ---- 192.168.77.2 node (bridge 10.244.1.1) ---- pods 10.244.1.2, .3, .4
    """

    def __init__(self, plan: Plan = Plan(), pods: int = 3) -> None:
        self.plan = plan
        self.node, self.outside = Namespace(), Namespace()
        self.pods: dict[str, Namespace] = {}
        self.ips: dict[str, str] = {}
        six = ":" in plan.node
        self.node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside.path)
        for namespace, address in ((self.node, plan.node), (self.outside, plan.outside)):
            quick = ("nodad",) if six else ()
            namespace.run("ip", "addr", "add", f"{address}/{plan.bits}", "dev", "eth0", *quick)
            namespace.run("ip", "link", "set", "eth0", "up")
        # each refusal is told, however many there are
        self.node.run("sysctl", "-qw", "net.ipv6.icmp.ratelimit=0" if six else "net.ipv4.icmp_ratelimit=0")
        self.outside.run("ip", "route", "add", plan.services, "via", plan.node)
        self.node.run("ip", "route", "add", "::/0" if six else "default", "via", plan.outside)
        self.bridge = Bridge(netns=self.node.path, cluster_cidr="")
        self.bridge.set_pod_cidr(plan.pods)
        for number in range(pods):
            self.add_pod(f"pod-{number}")

    def add_pod(self, name: str) -> Namespace:
        namespace = Namespace()
        answer = self.bridge.add(AddPod(name, namespace.path, "default", name))
        self.pods[name], self.ips[name] = namespace, answer.addresses[0]
        return namespace

    def wait_until_up(self) -> None:
        """Over IPv6 it takes some seconds until neighbours find each other."""
        for name, ip in self.ips.items():
            for end in (self.outside, *(pod for other, pod in self.pods.items() if other != name)):
                assert any(end.ask(ip, 8080, "udp") != "lost" for _ in range(10)), f"{name} is not reached"

    def close(self) -> None:
        for namespace in (*self.pods.values(), self.outside, self.node):
            namespace.close()


@contextlib.contextmanager
def _served(plan: Plan) -> Iterator[Lab]:
    made = Lab(plan)
    try:
        for name, namespace in made.pods.items():
            for protocol in KINDS:
                with contextlib.suppress(OSError):  # not every kernel has SCTP
                    namespace.serve(name, 8080, protocol)
        made.wait_until_up()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A node with three pods that serve TCP, UDP and SCTP on port 8080, each telling its name."""
    missing = why_no_packets("iptables-restore")
    if missing:
        pytest.skip(missing)
    with _served(Plan()) as made:
        yield made


@pytest.fixture(scope="module")
def lab6() -> Iterator[Lab]:
    """The same over IPv6."""
    missing = why_no_packets("ip6tables-restore")
    if missing or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip(missing or "this kernel has no IPv6")
    with _served(IPV6) as made:
        yield made
