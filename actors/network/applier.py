"""Rules in the real kernel: iptables-restore, jumps, conntrack, and the way back.

Owns the calls of the iptables programs, on a thread of its own since they block. It decides
nothing about rules: it is given text. Programs that are missing or fail are reported with their own
words and tried again by whoever asked. Facts: kubernetes pkg/util/iptables, pkg/proxy/iptables.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence

from actors.kernel import ThreadActor, handles
from actors.network._conntrack import Front, StaleFlow, strays
from actors.network._portrules import MARK_MASQ
from actors.network._ruleset import RuleSet
from actors.network.nftables import TABLE as NFT_TABLE
from protocol.message import Message

__all__ = [
    "Applied",
    "Apply",
    "ApplyError",
    "Check",
    "CleanUp",
    "Install",
    "IptablesApplier",
    "NftApplier",
    "PolicyApplier",
    "all_jumps",
]

LOCK_WAIT_S = 5
RUN_TIMEOUT_S = 60.0
CANARY = "KUBE-PROXY-CANARY"
TABLES = ("nat", "filter", "mangle")
_OWN_CHAIN = re.compile(r"^:(KUBE-(?:SVC|SVL|SEP|FW|EXT)-\S+) ", re.MULTILINE)
_ANY_CHAIN = re.compile(r"^:(KUBE-(?!KUBELET|NETPOL)\S+) ", re.MULTILINE)
_POLICY_CHAIN = re.compile(r"^:(KUBE-NETPOL\S*) ", re.MULTILINE)
POLICIES = "KUBE-NETPOL"


class ApplyError(Exception):
    """A program failed; the text has its name, exit status and what it wrote."""


class Install(Message, frozen=True):
    """Write all rules: `text` as `RuleSet.restore_text` gives it, `jumps` as `RuleSet.jumps`.
    `sysctls`: kernel settings that the rules need. `udp`: what conntrack knows of these places and
    leads elsewhere is forgotten. Answered by None."""

    text: str
    jumps: tuple[tuple[str, str, str], ...]
    sysctls: tuple[tuple[str, str], ...] = ()
    udp: tuple[Front, ...] = ()


class Apply(Message, frozen=True):
    """Write changes, then forget stale connections. Answered by None."""

    text: str
    stale: tuple[StaleFlow, ...] = ()


class Check(Message, frozen=True):
    """Are the rules still there? Answered by a bool: somebody may flush the tables, with the chains
    (then the canaries are gone) or without (then the jumps are)."""


class CleanUp(Message, frozen=True):
    """Remove everything of ours. `jumps` as for `Install`. Answered by None."""

    jumps: tuple[tuple[str, str, str], ...]


class Applied(Message, frozen=True):
    """Told to whoever applied in the background: how it went; `error` is empty when well."""

    error: str = ""


def all_jumps() -> tuple[tuple[str, str, str], ...]:
    """The jumps from built-in chains, whatever Services there are."""
    return tuple(RuleSet.jumps())


def _target(rule: str) -> str:
    """What follows `-j` in a rule; empty if nothing does."""
    return (rule.partition(" -j ")[2] if not rule.startswith("-j ") else rule[3:]).split(" ")[0]


Run = Callable[[Sequence[str], str], tuple[int, str]]


def run_program(arguments: Sequence[str], stdin: str) -> tuple[int, str]:
    """Run a program; -> exit status and what it wrote. Raises ApplyError when it cannot be run."""
    if shutil.which(arguments[0]) is None:
        raise ApplyError(f"{arguments[0]}: no such program")
    try:
        done = subprocess.run(
            arguments, input=stdin, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplyError(f"{arguments[0]}: {error}") from error
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr.strip() or done.stdout.strip()


class IptablesApplier(ThreadActor):
    """Applies in this process's network namespace, or in that of `netns` (a path). `backend`: which
    of the programs, `legacy` or `nft`; empty takes what the machine calls `iptables`."""

    def __init__(self, family: str = "IPv4", *, netns: str = "", backend: str = "", run: Run = run_program) -> None:
        super().__init__()
        self.family = family
        self.program = "iptables" if family == "IPv4" else "ip6tables"
        self.program += f"-{backend}" if backend else ""
        self.prefix = ("nsenter", f"--net={netns}") if netns else ()
        self._run = run

    def _call(self, *arguments: str, stdin: str = "") -> str:
        status, output = self._run([*self.prefix, *arguments], stdin)
        if status:
            raise ApplyError(f"{' '.join(arguments[:4])}: exit status {status}: {output}")
        return output

    def _succeeds(self, *arguments: str) -> bool:
        return self._run([*self.prefix, *arguments], "")[0] == 0

    def _iptables(self, table: str, *arguments: str) -> tuple[str, ...]:
        return (self.program, "-w", str(LOCK_WAIT_S), "-t", table, *arguments)

    def _restore(self, text: str) -> None:
        if text:
            self._call(f"{self.program}-restore", "-w", str(LOCK_WAIT_S), "--noflush", "--counters", stdin=text)

    @handles(Install)
    def install(self, message: Install) -> None:
        """Chains first, then the jumps to them, then chains of ours that nothing needs any more."""
        for name, value in message.sysctls:
            file = "/proc/sys/" + name.replace(".", "/")
            self._succeeds("sh", "-c", f"echo {value} > {file}")  # rules without it are better than none
        self._restore(message.text)
        self._insert(message.jumps)
        for table in TABLES:
            if not self._succeeds(*self._iptables(table, "-S", CANARY)):
                self._call(*self._iptables(table, "-N", CANARY))
        self._delete_stale("nat", _OWN_CHAIN, message.text)
        self._forget_strays(message.udp)

    def _insert(self, jumps: Sequence[tuple[str, str, str]]) -> None:
        for table, chain, rule in reversed(jumps):
            arguments = shlex.split(rule)
            if not self._succeeds(*self._iptables(table, "-C", chain, *arguments)):
                self._call(*self._iptables(table, "-I", chain, *arguments))

    def _remove(self, jumps: Sequence[tuple[str, str, str]]) -> None:
        for table, chain, rule in jumps:
            arguments = shlex.split(rule)
            while self._succeeds(*self._iptables(table, "-C", chain, *arguments)):
                self._call(*self._iptables(table, "-D", chain, *arguments))

    def _delete_stale(self, table: str, ours: re.Pattern[str], text: str) -> None:
        """Delete chains of ours, from a former life, that the text does not declare."""
        wanted = set(ours.findall(text))
        self._delete_chains(table, [c for c in ours.findall(self._save(table)) if c not in wanted])

    def _save(self, table: str) -> str:
        return self._call(f"{self.program}-save", "-t", table)

    def _delete_chains(self, table: str, chains: Sequence[str]) -> None:
        if chains:
            lines = [f"*{table}", *(f":{c} - [0:0]" for c in chains), *(f"-X {c}" for c in chains), "COMMIT"]
            self._restore("".join(line + "\n" for line in lines))

    @handles(Apply)
    def apply(self, message: Apply) -> None:
        self._restore(message.text)
        for flow in message.stale:
            self._forget(flow)

    def _conntrack(self, command: str, *arguments: str) -> str:
        """Run conntrack on UDP; -> what it printed. It exits with 1 when there is nothing, which is well;
        a machine without it has its connections time out."""
        if shutil.which("conntrack") is None and self._run is run_program:
            return ""
        family = "ipv4" if self.family == "IPv4" else "ipv6"
        status, output = self._run([*self.prefix, "conntrack", command, "-f", family, "-p", "udp", *arguments], "")
        return output if status == 0 else ""

    def _forget(self, flow: StaleFlow) -> None:
        arguments = ["--orig-dst", flow.destination] if flow.destination else []
        arguments += ["--orig-port-dst", str(flow.port)]
        self._conntrack("-D", *arguments, *(("--reply-src", flow.endpoint) if flow.endpoint else ()))

    def _forget_strays(self, wanted: Sequence[Front]) -> None:
        for flow in strays(self._conntrack("-L"), wanted) if wanted else ():
            self._forget(flow)

    @handles(Check)
    def check(self, message: Check) -> bool:
        if not all(self._succeeds(*self._iptables(table, "-S", CANARY)) for table in TABLES):
            return False
        wanted: dict[tuple[str, str], set[str]] = {("nat", MARK_MASQ): {"MARK"}}
        for table, chain, rule in all_jumps():
            wanted.setdefault((table, chain), set()).add(_target(rule))
        return all(targets <= self._targets(table, chain) for (table, chain), targets in wanted.items())

    def _targets(self, table: str, chain: str) -> set[str]:
        """Where the rules of a chain lead."""
        status, output = self._run([*self.prefix, *self._iptables(table, "-S", chain)], "")
        return {_target(line) for line in output.splitlines()} if status == 0 else set()

    @handles(CleanUp)
    def clean_up(self, message: CleanUp) -> None:
        self._remove(message.jumps)
        for table in TABLES:
            self._delete_chains(table, _ANY_CHAIN.findall(self._save(table)))


class PolicyApplier(IptablesApplier):
    """The same for NetworkPolicies: chains of the mangle table."""

    @handles(Install)
    def install(self, message: Install) -> None:
        self._restore(message.text)
        self._insert(message.jumps)
        self._delete_stale("mangle", _POLICY_CHAIN, message.text)

    @handles(Check)
    def check(self, message: Check) -> bool:
        return POLICIES in self._targets("mangle", "FORWARD") and "RETURN" in self._targets("mangle", POLICIES)

    @handles(CleanUp)
    def clean_up(self, message: CleanUp) -> None:
        self._remove(message.jumps)
        self._delete_chains("mangle", _POLICY_CHAIN.findall(self._save("mangle")))


class NftApplier(IptablesApplier):
    """The same for nftables: one table of our own, so no jumps."""

    def __init__(self, family: str = "IPv4", *, netns: str = "", run: Run = run_program) -> None:
        super().__init__(family, netns=netns, run=run)
        self.table = ("ip" if family == "IPv4" else "ip6", NFT_TABLE)
        self._unneeded: list[str] = []  # `delete chain` lines that are still to be done

    def _restore(self, text: str) -> None:
        if text:
            self._call("nft", "-f", "-", stdin=text)

    @handles(Apply)
    def apply(self, message: Apply) -> None:
        """Before Linux 6.2 a chain is still in use for a moment after the last element that led to it
        has gone, and the whole transaction fails: such chains are emptied now and go with a later change."""
        if self._unneeded:
            left = [line for line in self._unneeded if line.replace("delete", "add", 1) not in message.text]
            with contextlib.suppress(ApplyError):  # not that they did harm
                self._restore("".join(left))
            self._unneeded = []
        try:
            self._restore(message.text)
        except ApplyError as error:
            lines = message.text.splitlines(keepends=True)
            gone = [line for line in lines if line.startswith("delete chain ")]
            if not gone or "busy" not in str(error):
                raise
            self._restore("".join(line.replace("delete", "flush", 1) if line in gone else line for line in lines))
            self._unneeded = gone
        for flow in message.stale:
            self._forget(flow)

    @handles(Install)
    def install(self, message: Install) -> None:
        self._unneeded = []
        self._restore(message.text)
        self._forget_strays(message.udp)

    @handles(Check)
    def check(self, message: Check) -> bool:
        """Present, and not emptied by `nft flush ruleset` or `nft flush table`."""
        found = (
            self._run([*self.prefix, "nft", "list", "chain", *self.table, c], "") for c in ("services", "nat-output")
        )
        return all(
            status == 0 and wanted in text for (status, text), wanted in zip(found, ("@service-ips", "jump services"))
        )

    @handles(CleanUp)
    def clean_up(self, message: CleanUp) -> None:
        if self._succeeds("nft", "list", "table", *self.table):
            self._call("nft", "delete", "table", *self.table)
