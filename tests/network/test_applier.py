"""Rules in the kernel, with programs that note what they are told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from actors.kernel import Child, Simulation
from actors.network._config import ProxyConfig
from actors.network._conntrack import Front, StaleFlow, strays
from actors.network._ruleset import JUMPS, RuleSet
from actors.network.applier import Apply, ApplyError, Check, CleanUp, Install, IptablesApplier
from actors.network.netfilter import Tables

CONFIG = ProxyConfig(node_name="n", node_ip="192.168.0.2", local_match=("-s", "10.244.0.0/16"))


class Kernel:
    """iptables, iptables-save and iptables-restore over simulated tables."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.forgotten: list[list[str]] = []
        self.broken = ""

    def run(self, arguments: Sequence[str], stdin: str) -> tuple[int, str]:
        program = arguments[0]
        if program == self.broken:
            return 4, "resource temporarily unavailable"
        if program == "conntrack":
            self.forgotten.append(list(arguments[2:]))
            return 1, "0 flow entries have been deleted."
        if program == "iptables-restore":
            self.tables.restore(stdin, noflush=True)
            return 0, ""
        if program == "iptables-save":
            return 0, "\n".join(line + " [0:0]" if line[0] == ":" else line for line in self.tables.save(arguments[2]))
        return self.iptables(list(arguments[3:]))

    def iptables(self, arguments: list[str]) -> tuple[int, str]:
        table, verb, chain, *rest = arguments[1], arguments[2], arguments[3], *arguments[4:]
        chains = self.tables.chains[table]
        if verb == "-N":
            chains[chain] = []
            return 0, ""
        if verb == "-S":
            lines = [f"-A {chain} {rule.text}" for rule in chains.get(chain, ())]
            return (0, "\n".join(lines)) if chain in chains else (1, "no chain")
        words = [w.strip('"') for w in rest]
        at = [i for i, rule in enumerate(chains[chain]) if _words(rule.text) == words]
        if verb == "-C":
            return (0, "") if at else (1, "no rule")
        if verb == "-I":
            quoted = " ".join(f'"{w}"' if " " in w else w for w in rest)
            self.tables.restore(f"*{table}\n-I {chain} {quoted}\nCOMMIT\n", noflush=True)
        elif verb == "-D":
            del chains[chain][at[0]]
        return 0, ""

    def flush(self) -> None:
        self.tables = Tables()

    def rules(self) -> list[str]:
        return [line for table in ("nat", "filter") for line in self.tables.save(table)]


def _words(text: str) -> list[str]:
    import shlex

    return shlex.split(text)


class Node:
    """A rule set and an applier."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.kernel, self.rules = sim, Kernel(), RuleSet(CONFIG)
        self.applier = sim.spawn(Child("applier", lambda: IptablesApplier(run=self.kernel.run)))

    def do(self, message: Any) -> Any:
        return self.sim.ask(self.applier, message)

    def install(self) -> None:
        self.do(Install(self.rules.restore_text(), tuple(self.rules.jumps())))

    def service(self, protocol: str = "UDP") -> Any:
        spec = {"clusterIP": "10.96.0.10", "ports": [{"name": "dns", "port": 53, "protocol": protocol}]}
        return self.rules.set_service({"metadata": {"namespace": "d", "name": "dns"}, "spec": spec})

    def endpoints(self, *ips: str, protocol: str = "UDP", draining: tuple[str, Any] | None = None) -> Any:
        found = [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips]
        found += [{"addresses": [draining[0]], "conditions": draining[1]}] if draining else []
        return self.rules.set_slice(
            {
                "metadata": {"namespace": "d", "name": "dns-1", "labels": {"kubernetes.io/service-name": "dns"}},
                "ports": [{"name": "dns", "port": 53, "protocol": protocol}],
                "endpoints": found,
            }
        )


@pytest.fixture
def node(sim: Simulation) -> Node:
    return Node(sim)


def expected(rules: RuleSet) -> list[str]:
    tables = Tables()
    tables.restore(rules.text())
    return [line for table in ("nat", "filter") for line in tables.save(table)]


def test_installing_gives_the_whole_text_with_the_jumps_in_order(node: Node) -> None:
    node.service()
    node.endpoints("10.244.0.5")
    node.install()
    assert sorted(node.kernel.rules()) == sorted(expected(node.rules))
    inputs = [r.text for r in node.kernel.tables.chains["filter"]["INPUT"]]
    assert inputs == list(JUMPS["filter"]["INPUT"])


def test_installing_twice_adds_nothing(node: Node) -> None:
    node.install()
    before = node.kernel.rules()
    node.install()
    assert node.kernel.rules() == before


def test_installing_removes_chains_of_services_that_have_gone(node: Node) -> None:
    node.service()
    node.endpoints("10.244.0.5")
    node.install()
    node.rules = RuleSet(CONFIG)
    node.install()
    assert sorted(node.kernel.rules()) == sorted(expected(node.rules))


def test_changes_are_applied_and_gone_udp_endpoints_forgotten(node: Node) -> None:
    node.service()
    node.endpoints("10.244.0.5", "10.244.0.6")
    node.install()
    delta = node.endpoints("10.244.0.6")
    node.do(Apply(delta.restore_text(), tuple(delta.stale)))
    place = ["--orig-dst", "10.96.0.10", "--orig-port-dst", "53"]
    assert node.kernel.forgotten == [["-f", "ipv4", "-p", "udp", *place, "--reply-src", "10.244.0.5"]]
    assert not any("10.244.0.5" in line for line in node.kernel.rules())


def test_a_udp_service_that_gets_its_first_endpoint_forgets_what_was_rejected(node: Node) -> None:
    node.service()
    assert node.endpoints("10.244.0.5").stale == [StaleFlow("10.96.0.10", 53, "")]


def test_an_endpoint_that_drains_keeps_its_udp_clients(node: Node) -> None:
    node.service()
    node.endpoints("10.244.0.5", "10.244.0.6")
    draining = {"ready": False, "serving": True, "terminating": True}
    assert node.endpoints("10.244.0.6", draining=("10.244.0.5", draining)).stale == []
    assert node.endpoints("10.244.0.6").stale == [StaleFlow("10.96.0.10", 53, "10.244.0.5")]


def test_a_udp_service_that_goes_takes_its_connections_along(node: Node) -> None:
    node.service()
    node.endpoints("10.244.0.5")
    assert node.rules.delete_service("d", "dns").stale == [StaleFlow("10.96.0.10", 53, "10.244.0.5")]


def test_connections_from_before_the_proxy_started_are_looked_through() -> None:
    listing = (
        "udp      17 29 src=10.244.0.9 dst=10.96.0.10 sport=4000 dport=53 src=10.244.0.5 dst=10.244.0.9 sport=53 dport=4000 mark=0\n"
        "udp      17 29 src=10.244.0.8 dst=10.96.0.10 sport=4001 dport=53 src=10.244.0.6 dst=10.244.0.8 sport=53 dport=4001\n"
        "udp      17 9 src=10.244.0.8 dst=192.168.0.2 sport=4 dport=30053 [UNREPLIED] src=192.168.0.2 dst=10.244.0.8 sport=30053 dport=4\n"
        "udp      17 9 src=10.244.0.8 dst=9.9.9.9 sport=5 dport=53 src=9.9.9.9 dst=10.244.0.8 sport=53 dport=5\n"
    )
    wanted = (Front("10.96.0.10", 53, ("10.244.0.6",)), Front("", 30053, ("10.244.0.6",)))
    assert strays(listing, wanted) == [StaleFlow("10.96.0.10", 53, "10.244.0.5"), StaleFlow("", 30053, "192.168.0.2")]


def test_tcp_connections_are_left_alone(node: Node) -> None:
    node.service("TCP")
    node.endpoints("10.244.0.5", protocol="TCP")
    assert node.endpoints("10.244.0.6", protocol="TCP").stale == []


def test_flushed_tables_are_noticed(node: Node) -> None:
    node.install()
    assert node.do(Check()) is True
    node.kernel.flush()
    assert node.do(Check()) is False


def test_tables_emptied_with_their_chains_left_are_noticed(node: Node) -> None:
    node.install()
    for chain in ("PREROUTING", "OUTPUT", "POSTROUTING"):
        node.kernel.tables.restore(f"*nat\n-F {chain}\nCOMMIT\n", noflush=True)
    assert node.do(Check()) is False


def test_cleaning_up_leaves_nothing(node: Node) -> None:
    clean = node.kernel.rules()
    node.service()
    node.endpoints("10.244.0.5")
    node.install()
    node.do(CleanUp(tuple(node.rules.jumps())))
    assert node.kernel.rules() == clean


def test_a_program_that_fails_is_reported_with_its_words(node: Node) -> None:
    node.kernel.broken = "iptables-restore"
    with pytest.raises(ApplyError, match="iptables-restore.* exit status 4: resource temporarily unavailable"):
        node.install()


def test_a_program_that_is_not_there_is_named(sim: Simulation) -> None:
    applier = sim.spawn(Child("applier", lambda: IptablesApplier("IPv4", netns="/nowhere")))
    if shutil.which("iptables-restore") is None:
        with pytest.raises(ApplyError):
            sim.ask(applier, Apply("*nat\nCOMMIT\n"))


@pytest.mark.skipif(
    shutil.which("iptables-restore") is None or shutil.which("unshare") is None, reason="needs iptables and root"
)
def test_the_real_kernel_takes_the_rules() -> None:
    rules = RuleSet(CONFIG)
    done = subprocess.run(
        ["unshare", "-n", "iptables-restore", "--noflush"], input=rules.restore_text(), text=True, check=False
    )
    assert done.returncode == 0
