"""Network clients of simulated containers: nslookup, dig, ping, nc, wget, curl.

Owns what they print and their exit codes, as busybox and curl have them. What is there they ask by the
effect `NetCall`, which the driver of the process answers from the cluster's network; where there is
none, they find whatever they look for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Generator, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from actors.runtime._files import FileError, normal
from actors.runtime._programs import command
from actors.runtime._shell import Forever, Io, Shell, Sleep, Steps, emit
from protocol.cri import PodSandboxConfig
from protocol.message import Message
from protocol.podnet import LOST, OPEN, Dial, Dialed, LookedUp, LookUp

__all__ = ["NetCall"]

CONNECT_TIMEOUT_S = 127.0  # what Linux takes to give up
DNS_TIMEOUT_S = 10.0
LOOPBACK = {"localhost": ("127.0.0.1",)}
Asked = Generator[Any, Any, Any]


class NetCall:
    """Ask the network; resumed with the answer, with `lost` when none comes, or with None where there is no
    network. `question` makes the message, given whose process it is and the addresses that it has."""

    __slots__ = ("lost", "question")

    def __init__(self, question: Callable[[PodSandboxConfig, tuple[str, ...]], Message], lost: Message) -> None:
        self.question, self.lost = question, lost


def options_of(
    words: Iterable[str], with_value: str, long_with_value: Iterable[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """-> options by name without dashes (`w`: "3", `spider`: "") and the other words. `with_value`: short
    options that take one."""
    given: dict[str, str] = {}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            if not equals and name in long_with_value and left:
                value = left.pop(0)
            given[name] = value
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                given[letter] = ""
                if letter in with_value:
                    given[letter] = letters or (left.pop(0) if left else "")
                    break
        else:
            rest.append(word)
    return given, rest


def seconds(text: str | None, otherwise: float) -> float:
    try:
        return float(text) if text else otherwise
    except ValueError:
        return otherwise


def _dial(address: str, port: int, protocol: str = "tcp") -> Asked:
    def question(pod: PodSandboxConfig, ips: tuple[str, ...]) -> Dial:
        return Dial(pod.namespace, pod.name, ips, address, port, protocol)

    answer: Dialed | None = yield NetCall(question, Dialed(LOST))
    return answer


def _look_up(shell: Shell, name: str, families: tuple[str, ...] = ("A", "AAAA")) -> Asked:
    """-> LookedUp, or None where there is no network. Addresses and /etc/hosts need no server; `localhost`
    needs no file either, so that the kubelet need not repeat a probe that asks nothing else."""
    try:
        return LookedUp(name, (str(ipaddress.ip_address(name.strip("[]"))),))
    except ValueError:
        pass
    found = LOOPBACK.get(name) or (yield from _in_hosts(shell, name))
    if found:
        return LookedUp(name, found)

    def question(pod: PodSandboxConfig, ips: tuple[str, ...]) -> LookUp:
        servers, search, options = tuple(pod.dns_servers), tuple(pod.dns_searches), tuple(pod.dns_options)
        return LookUp(pod.namespace, pod.name, ips, name, servers, search, options, families)

    answer: LookedUp | None = yield NetCall(question, LookedUp(name, code="LOST"))
    if answer is not None and answer.code == "LOST":
        yield Sleep(DNS_TIMEOUT_S)
    return answer


def _in_hosts(shell: Shell, name: str) -> Asked:
    try:
        text = (yield from shell.files.read("/etc/hosts")).decode(errors="replace")
    except FileError:
        return ()
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    return tuple(words[0] for words in lines if name in words[1:] and ":" not in words[0])


def _connect(shell: Shell, host: str, port: int, timeout_s: float, protocol: str = "tcp") -> Asked:
    """-> (what went wrong: "" | "name" | "refused" | "lost", address, Dialed). None as Dialed: no network."""
    found = yield from _look_up(shell, host)
    if found is None:
        return "", host, None
    if not found.addresses:
        return "name", "", None
    address = found.addresses[0]
    if address.startswith("127.") or address == "::1":
        return "", address, Dialed(OPEN, body=f"{shell.hostname}\n".encode())
    answer: Dialed | None = yield from _dial(address, port, protocol)
    if answer is None or answer.verdict == OPEN:
        return "", address, answer
    if answer.verdict == LOST:
        yield Sleep(timeout_s)
        return "lost", address, answer
    return "refused", address, answer


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@command("nslookup")
def _nslookup(shell: Shell, argv: list[str], io: Io) -> Steps:
    _, words = options_of(argv[1:], "")
    if not words:
        yield from emit(shell, io.stderr, "Usage: nslookup [-type=QUERY_TYPE] [-debug] HOST [DNS_SERVER]\n")
        return 1
    found = yield from _look_up(shell, words[0])
    if found is None:
        return 0
    server = words[1] if len(words) > 1 else (yield from _first_server(shell))
    head = f"Server:\t\t{server}\nAddress:\t{_place(server, 53)}\n\n"
    if found.code == "LOST":
        yield from emit(shell, io.stdout, ";; connection timed out; no servers could be reached\n\n")
        return 1
    if not found.addresses:
        told = "Can't find" if found.code == "NOERROR" else "server can't find"
        why = "No answer" if found.code == "NOERROR" else found.code
        yield from emit(shell, io.stdout, f"{head}** {told} {found.name.rstrip('.')}: {why}\n\n")
        return 1
    name = found.name.rstrip(".")
    yield from emit(
        shell, io.stdout, head + "".join(f"Name:\t{name}\nAddress: {ip}\n" for ip in found.addresses) + "\n"
    )
    return 0


def _first_server(shell: Shell) -> Asked:
    try:
        text = (yield from shell.files.read("/etc/resolv.conf")).decode(errors="replace")
    except FileError:
        return "127.0.0.1"
    servers = [w[1] for w in map(str.split, text.splitlines()) if w[:1] == ["nameserver"] and len(w) > 1]
    return servers[0] if servers else "127.0.0.1"


@command("dig")
def _dig(shell: Shell, argv: list[str], io: Io) -> Steps:
    words = [w for w in argv[1:] if w[0] not in "+@-"]
    kinds = tuple(w.upper() for w in words if w.upper() in ("A", "AAAA")) or ("A",)
    names = [w for w in words if w.upper() not in ("A", "AAAA", "IN")]
    for name in names[:1]:
        # dig asks for the name as it is: the search list is not its own
        found = yield from _look_up(shell, name if name.endswith(".") else f"{name}.", kinds)
        if found is not None and found.code == "LOST":
            yield from emit(shell, io.stdout, ";; connection timed out; no servers could be reached\n")
            return 9
        if found is not None:
            short = "+short" in argv
            lines = [ip if short else f"{found.name}\t30\tIN\t{_kind(ip)}\t{ip}" for ip in found.addresses]
            yield from emit(shell, io.stdout, "".join(line + "\n" for line in lines))
    return 0


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"


@command("ping", "ping6")
def _ping(shell: Shell, argv: list[str], io: Io) -> Steps:
    given, words = options_of(argv[1:], "cwWisIt")
    if not words:
        return 1
    wrong, address, answer = yield from _connect(shell, words[0], 1, 0.0, "icmp")  # no port: ICMP has none
    if wrong == "name":
        yield from emit(shell, io.stderr, f"ping: bad address '{words[0]}'\n")
        return 1
    if answer is None:
        return 0
    count = int(seconds(given.get("c"), 4))
    yield from emit(shell, io.stdout, f"PING {words[0]} ({address}): 56 data bytes\n")
    for number in range(count):
        if not wrong:
            yield from emit(shell, io.stdout, f"64 bytes from {address}: seq={number} ttl=62 time=0.100 ms\n")
        yield Sleep(1.0)
    lost = (
        f"{count} packets transmitted, {0 if wrong else count} packets received, {100 if wrong else 0}% packet loss\n"
    )
    yield from emit(shell, io.stdout, f"\n--- {words[0]} ping statistics ---\n{lost}")
    return 1 if wrong else 0


@command("nc")
def _nc(shell: Shell, argv: list[str], io: Io) -> Steps:
    given, words = options_of(argv[1:], "wpiqse")
    if "l" in given:
        yield Forever()
    if len(words) < 2 or not words[1].isdigit():
        yield from emit(shell, io.stderr, "Usage: nc [OPTIONS] HOST PORT\n")
        return 1
    host, port = words[0], int(words[1])
    protocol = "udp" if "u" in given else "tcp"
    wrong, address, answer = yield from _connect(
        shell, host, port, seconds(given.get("w"), CONNECT_TIMEOUT_S), protocol
    )
    where = f"{host} ({_place(address, port)})"
    if wrong == "name":
        yield from emit(shell, io.stderr, f"nc: bad address '{host}'\n")
    elif wrong and protocol == "tcp":
        text = "nc: timed out" if given.get("w") and wrong == "lost" else f"nc: {where}: {_WORDS[wrong]}"
        yield from emit(shell, io.stderr, text + "\n")
    elif answer is not None and "v" in given:
        yield from emit(shell, io.stderr, f"{where} open\n")
    return 1 if wrong == "name" or (wrong and protocol == "tcp") else 0


_WORDS = {"refused": "Connection refused", "lost": "Operation timed out"}


class _Url:
    """A URL's parts, as a client takes what a person writes."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        self.host = parts.hostname or ""
        try:
            self.port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            self.port = 80
        self.file = parts.path.rsplit("/", 1)[-1] or "index.html"


@command("wget")
def _wget(shell: Shell, argv: list[str], io: Io) -> Steps:
    given, words = options_of(argv[1:], "OTPUotYe", ("timeout", "output-document", "header", "post-data", "tries"))
    if not words:
        yield from emit(shell, io.stderr, "wget: missing URL\n")
        return 1
    url = _Url(words[0])
    timeout_s = seconds(given.get("T") or given.get("timeout"), CONNECT_TIMEOUT_S)
    wrong, address, answer = yield from _connect(shell, url.host, url.port, timeout_s)
    if wrong == "name":
        yield from emit(shell, io.stderr, f"wget: bad address '{url.host}'\n")
        return 1
    if answer is None:
        return 0
    talk = io.stderr if "q" not in given else None
    yield from emit(shell, talk, f"Connecting to {url.host} ({_place(address, url.port)})\n")
    if wrong:
        timed = wrong == "lost" and timeout_s != CONNECT_TIMEOUT_S
        text = "download timed out" if timed else f"can't connect to remote host ({address}): {_WORDS[wrong]}"
        yield from emit(shell, io.stderr, f"wget: {text}\n")
        return 1
    if answer.status >= 400:
        yield from emit(shell, io.stderr, f"wget: server returned error: HTTP/1.1 {_status(answer.status)}\n")
        return 1
    if "spider" in given:
        yield from emit(shell, talk, "remote file exists\n")
        return 0
    name = given.get("O") or given.get("output-document") or url.file
    if name == "-":
        yield from emit(shell, io.stdout, answer.body)
        return 0
    yield from shell.files.write(normal(name, shell.cwd), answer.body)
    yield from emit(shell, talk, f"saving to '{name}'\n'{name}' saved\n")
    return 0


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


_CURL_VALUES = ("max-time", "connect-timeout", "output", "write-out", "request", "header", "data", "user", "retry")


@command("curl")
def _curl(shell: Shell, argv: list[str], io: Io) -> Steps:
    given, words = options_of(argv[1:], "mowXHduAeTFbcEx", _CURL_VALUES)
    if not words:
        yield from emit(shell, io.stderr, "curl: no URL specified!\n")
        return 2
    url = _Url(words[0])
    wanted = given.get("connect-timeout") or given.get("m") or given.get("max-time")
    timeout_s = seconds(wanted, CONNECT_TIMEOUT_S)
    wrong, _, answer = yield from _connect(shell, url.host, url.port, timeout_s)
    if answer is None and not wrong:
        return 0
    status = answer.status if answer is not None and not wrong else 0
    code, text = 0, ""
    if wrong == "name":
        code, text = 6, f"Could not resolve host: {url.host}"
    elif wrong == "refused":
        code, text = 7, f"Failed to connect to {url.host} port {url.port} after 0 ms: Couldn't connect to server"
    elif wrong:
        code, text = 28, f"Connection timed out after {round(timeout_s * 1000)} milliseconds"
    elif status >= 400 and ("f" in given or "fail" in given):
        code, text = 22, f"The requested URL returned error: {status}"
    quiet = ("s" in given or "silent" in given) and "S" not in given and "show-error" not in given
    if text and not quiet:
        yield from emit(shell, io.stderr, f"curl: ({code}) {text}\n")
    if answer is not None and not wrong and code == 0:
        yield from _curled(shell, given, answer, io)
    form = given.get("w") or given.get("write-out") or ""
    form = form.replace("%{http_code}", f"{status:03d}").replace("%{response_code}", f"{status:03d}")
    yield from emit(shell, io.stdout, form.replace("\\n", "\n"))
    return code


def _curled(shell: Shell, given: dict[str, str], answer: Dialed, io: Io) -> Asked:
    head = f"HTTP/1.1 {_status(answer.status)}\r\nContent-Length: {len(answer.body)}\r\n\r\n".encode()
    only_head = "I" in given or "head" in given
    content = (head if only_head or "i" in given else b"") + (b"" if only_head else answer.body)
    name = given.get("o") or given.get("output") or ("index.html" if "O" in given else "")
    if name == "/dev/null":
        return
    if name:
        yield from shell.files.write(normal(name, shell.cwd), content)
    else:
        yield from emit(shell, io.stdout, content)
