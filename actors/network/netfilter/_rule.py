"""One iptables rule, from its text to a function of a packet.

Owns the parsing of matches and targets, and refuses by name what it does not model. It must never
look at another rule. Facts: iptables-extensions(8).
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from actors.network.netfilter._packet import Packet

__all__ = ["Rule", "State", "UnsupportedRule"]


class UnsupportedRule(ValueError):
    """A match, target or option that the simulated netfilter does not model; the text names it."""


class State(Protocol):
    """What a match may ask besides the packet's header."""

    ctstates: frozenset[str]

    def is_local(self, ip: str) -> bool: ...
    def chance(self) -> float: ...
    def recently(self, name: str, ip: str, seconds: int, reap: bool) -> bool: ...
    def remember(self, name: str, ip: str) -> None: ...


Test = Callable[[Packet, State], bool]
_ALIASES = {
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--protocol": "-p",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--jump": "-j",
    "--match": "-m",
    "--destination-port": "--dport",
    "--source-port": "--sport",
}
_FLAGS = frozenset(("--rcheck", "--set", "--reap", "--rsource", "--rdest", "--random-fully", "--update", "--remove"))
_MODULES = frozenset(
    ("comment", "tcp", "udp", "sctp", "icmp6", "mark", "addrtype", "statistic", "recent", "conntrack", "nfacct")
)


@lru_cache(maxsize=65536)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


@lru_cache(maxsize=65536)
def _within(ip: str, net: str) -> bool:
    return ipaddress.ip_address(ip) in _network(net)


class Rule:
    """`text` without `-A CHAIN`; `target` and its `arguments`; `matches(packet, state)`."""

    __slots__ = ("_tests", "arguments", "target", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.target = ""
        self.arguments: dict[str, str] = {}
        self._tests: list[Test] = []
        options = list(_options(shlex.split(text)))
        self._read(options)

    def matches(self, packet: Packet, state: State) -> bool:
        return all(test(packet, state) for test in self._tests)

    def _read(self, options: list[tuple[bool, str, str]]) -> None:
        recent: dict[str, str] = {}
        for negated, option, value in options:
            if self.target:
                self.arguments[option] = value
            elif option == "-j":
                self.target = value
            elif option == "-m":
                if value not in _MODULES:
                    raise UnsupportedRule(f"match {value!r} is not modelled: {self.text}")
            elif option in ("--rcheck", "--set", "--seconds", "--reap", "--name"):
                recent[option] = value
            elif option not in ("--comment", "--mask", "--rsource", "--mode", "--nfacct-name"):
                self._tests.append(_test(option, value, negated, self.text))
        if recent:
            self._tests.append(_recent(recent))


def _options(words: list[str]) -> Iterable[tuple[bool, str, str]]:
    """(negated, option, value) in order."""
    at, negated = 0, False
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
            continue
        option = _ALIASES.get(word, word)
        value = ""
        if option not in _FLAGS and at < len(words):
            value = words[at]
            at += 1
        yield negated, option, value
        negated = False


def _test(option: str, value: str, negated: bool, text: str) -> Test:
    make = _TESTS.get(option)
    if make is None:
        raise UnsupportedRule(f"option {option} is not modelled: {text}")
    test = make(value)
    return (lambda packet, state: not test(packet, state)) if negated else test


def _interface(pattern: str) -> Callable[[str], bool]:
    if pattern.endswith("+"):
        return lambda name: name.startswith(pattern[:-1])
    return lambda name: name == pattern


def _in(value: str) -> Test:
    fits = _interface(value)
    return lambda packet, state: fits(packet.in_interface)


def _out(value: str) -> Test:
    fits = _interface(value)
    return lambda packet, state: fits(packet.out_interface)


def _ports(value: str) -> tuple[int, int]:
    low, _, high = value.partition(":")
    return int(low), int(high or low)


def _dport(value: str) -> Test:
    low, high = _ports(value)
    return lambda packet, state: low <= packet.dport <= high


def _sport(value: str) -> Test:
    low, high = _ports(value)
    return lambda packet, state: low <= packet.sport <= high


def _mark(value: str) -> Test:
    wanted, _, mask = value.partition("/")
    number, bits = int(wanted, 0), int(mask, 0) if mask else 0xFFFFFFFF
    return lambda packet, state: packet.mark & bits == number


def _ctstate(value: str) -> Test:
    wanted = frozenset(value.split(","))
    return lambda packet, state: bool(wanted & state.ctstates)


def _local(which: str) -> Callable[[str], Test]:
    def make(value: str) -> Test:
        if value != "LOCAL":
            raise UnsupportedRule(f"address type {value} is not modelled")
        if which == "src":
            return lambda packet, state: state.is_local(packet.src)
        return lambda packet, state: state.is_local(packet.dst)

    return make


def _probability(value: str) -> Test:
    chance = float(value)
    return lambda packet, state: state.chance() < chance


_TESTS: dict[str, Callable[[str], Test]] = {
    "-s": lambda value: lambda packet, state: _within(packet.src, value),
    "-d": lambda value: lambda packet, state: _within(packet.dst, value),
    "-p": lambda value: lambda packet, state: packet.protocol == value.lower(),
    "-i": _in,
    "-o": _out,
    "--dport": _dport,
    "--sport": _sport,
    "--mark": _mark,
    "--ctstate": _ctstate,
    "--src-type": _local("src"),
    "--dst-type": _local("dst"),
    "--probability": _probability,
    # packets between neighbours, of certain kinds, are not simulated
    "--icmpv6-type": lambda value: lambda packet, state: False,
}


def _recent(options: dict[str, str]) -> Test:
    name, seconds = options.get("--name", "DEFAULT"), int(options.get("--seconds") or 0)
    if "--set" in options:

        def remember(packet: Packet, state: State) -> bool:
            state.remember(name, packet.src)
            return True

        return remember
    return lambda packet, state: state.recently(name, packet.src, seconds, "--reap" in options)
