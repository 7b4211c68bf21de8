"""What programs in simulated pods reach, by which names, and what NetworkPolicies keep from them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.town import Town


@pytest.fixture(scope="module")
def shared() -> Town:
    return Town()


@pytest.fixture
def town(shared: Town) -> Iterator[Town]:
    """The town without policies."""
    yield shared
    for policy in shared.cluster.client.list("networkpolicies", "default"):
        shared.cluster.client.delete("networkpolicies", policy["metadata"]["name"], "default")
    shared.settle()


def test_a_service_is_reached_by_its_name(town: Town) -> None:
    assert town.run("wget -qO- http://web") == ("web\n", pytest.approx(0.0, abs=0.1))
    assert town.run("curl -s http://web.default.svc.cluster.local/ -w '%{http_code}'")[0] == "web\n200"
    assert town.run("nc -zv web 80")[0] == f"web ({town.cluster_ip('web')}:80) open\n"
    assert town.run(f"wget -qO- {town.ip('web')}:8080")[0] == "web\n"


def test_a_name_is_resolved_by_the_pods_own_search_list(town: Town) -> None:
    out = town.run("nslookup web")[0]
    assert out == (
        "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n"
        f"Name:\tweb.default.svc.cluster.local\nAddress: {town.cluster_ip('web')}\n\n"
    )
    assert town.run("dig +short web.default.svc.cluster.local")[0] == town.cluster_ip("web") + "\n"


def test_names_that_are_not_there_fail_as_clients_say_it(town: Town) -> None:
    assert town.run("wget -qO- http://nothing; echo $?")[0] == "wget: bad address 'nothing'\n1\n"
    assert town.run("curl -sS nothing.default.svc.cluster.local; echo $?")[0].endswith(
        "Could not resolve host: nothing.default.svc.cluster.local\n6\n"
    )
    assert "** server can't find nothing: NXDOMAIN" in town.run("nslookup nothing")[0]


def test_a_service_without_endpoints_refuses_at_once(town: Town) -> None:
    town.service("empty", selector={"app": "nobody"}, ports=[{"port": 80}])
    town.settle()
    out, took = town.run("curl -sS http://empty; echo $?")
    assert out.endswith("Couldn't connect to server\n7\n")
    assert took < 1.0
    assert town.run("nc -zv empty 80")[0] == f"nc: empty ({town.cluster_ip('empty')}:80): Connection refused\n"


def test_a_port_that_a_service_does_not_have_is_lost_on_the_way(town: Town) -> None:
    out, took = town.run("wget -T 3 -qO- http://web:81; echo $?")
    assert out == "wget: download timed out\n1\n"
    assert took == pytest.approx(3.0, abs=0.2)


def test_addresses_of_the_service_range_that_nobody_has_are_lost(town: Town) -> None:
    assert town.run("nc -w 2 -z 10.96.200.200 80; echo $?")[0] == "nc: timed out\n1\n"


def test_what_is_outside_is_taken_to_be_there(town: Town) -> None:
    assert town.run("wget -q -O /dev/null https://example.com/a; echo $?")[0] == "0\n"
    assert town.run("nc -z 8.8.8.8 53; echo $?")[0] == "0\n"


def test_a_pod_reaches_itself(town: Town) -> None:
    assert town.run("wget -qO- localhost:1234", "web")[0] == "web\n"
    assert town.run("wget -qO- http://web", "web")[0] == "web\n"


def test_ingress_rules_keep_others_out_and_probes_and_answers_in(town: Town) -> None:
    town.policy("deny", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"])
    town.settle()
    out, took = town.run("wget -T 5 -qO- http://web; echo $?")
    assert (out, round(took)) == ("wget: download timed out\n1\n", 5)
    assert town.run("wget -qO- http://client:80; wget -qO- localhost", "web")[0].endswith("web\n"), "it may send"
    assert town.run("wget -qO- http://web", "web")[0] == "web\n", "a pod may always talk to itself"
    town.cluster.sim.advance(60.0)
    ready = town.cluster.client.get("pods", "web", "default")["status"]["conditions"]
    assert {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in ready}.items()


def test_ingress_rules_allow_by_label_and_by_the_name_of_a_port(town: Town) -> None:
    town.pod(
        "named",
        {
            "containers": [
                {
                    "name": "c",
                    "image": "busybox",
                    "command": ["sleep", "9999"],
                    "ports": [{"name": "web", "containerPort": 8080}],
                }
            ]
        },
        labels={"app": "named"},
    )
    town.service(
        "named",
        selector={"app": "named"},
        ports=[{"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 90, "targetPort": 9090}],
    )
    town.cluster.wait("pods/named", "Ready")
    peers = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    town.policy(
        "named", podSelector={"matchLabels": {"app": "named"}}, ingress=[{"from": peers, "ports": [{"port": "web"}]}]
    )
    town.settle()
    assert town.run("wget -T 1 -qO- http://named")[0] == "named\n"
    assert town.run("wget -T 1 -qO- http://named:90; echo $?")[0].endswith("timed out\n1\n")
    assert town.run("wget -T 1 -qO- http://named; echo $?", "web")[0].endswith("timed out\n1\n")


def test_egress_rules_stop_names_as_well_unless_they_allow_dns(town: Town) -> None:
    only_web = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    selected = {"matchLabels": {"role": "client"}}
    town.policy("egress", podSelector=selected, policyTypes=["Egress"], egress=[only_web])
    town.settle()
    out, took = town.run("nslookup web; echo $?")
    assert (out, round(took)) == (";; connection timed out; no servers could be reached\n\n1\n", 10)
    assert town.run(f"wget -T 1 -qO- http://{town.ip('web')}:8080")[0] == "web\n"
    assert town.run("nc -w 1 -z 8.8.8.8 443; echo $?")[0] == "nc: timed out\n1\n"
    dns = {"ports": [{"protocol": "UDP", "port": 53}]}
    block = {
        "to": [{"ipBlock": {"cidr": "8.8.0.0/16", "except": ["8.8.4.0/24"]}}],
        "ports": [{"port": 400, "endPort": 500}],
    }
    town.policy("egress", podSelector=selected, policyTypes=["Egress"], egress=[only_web, dns, block])
    town.settle()
    assert town.run("wget -T 1 -qO- http://web")[0] == "web\n"
    assert (
        town.run("for a in 8.8.8.8 8.8.4.4; do for p in 443 80; do nc -w 1 -z $a $p; echo $?; done; done")[0]
        .split("\n")[::1]
        .count("0")
        == 1
    )


def test_affinity_lasts_from_connection_to_connection(town: Town) -> None:
    for number in range(3):
        town.pod(f"many-{number}", labels={"app": "many"})
    town.service("many", selector={"app": "many"}, sessionAffinity="ClientIP", ports=[{"port": 80}])
    town.service("fickle", selector={"app": "many"}, ports=[{"port": 80}])
    for number in range(3):
        town.cluster.wait(f"pods/many-{number}", "Ready")
    town.settle()
    ask = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- http://{}; done"
    assert len(set(town.run(ask.format("many"))[0].split())) == 1
    assert len(set(town.run(ask.format("fickle"))[0].split())) == 3


def test_what_a_pod_is_told_to_answer_its_clients_hear(town: Town) -> None:
    town.pod("sick", labels={"app": "sick"}, annotations={"kubekka.dev/probe": "503"})
    town.cluster.wait("pods/sick", "Ready")
    town.settle()
    assert town.run(f"curl -s -o /dev/null -w '%{{http_code}}' http://{town.ip('sick')}")[0] == "503"
    assert (
        town.run(f"wget -qO- http://{town.ip('sick')}; echo $?")[0]
        == "wget: server returned error: HTTP/1.1 503 Service Unavailable\n1\n"
    )


def test_a_pod_that_is_gone_does_not_answer(town: Town) -> None:
    town.pod("brief", labels={"app": "brief"})
    town.cluster.wait("pods/brief", "Ready")
    town.settle()
    ip = town.ip("brief")
    assert town.run(f"nc -z {ip} 80; echo $?")[0] == "0\n"
    town.cluster.client.delete("pods", "brief", "default", grace_period_seconds=0)
    town.settle()
    assert town.run(f"nc -w 1 -z {ip} 80; echo $?")[0] == "nc: timed out\n1\n"


def test_ping_reaches_pods_and_no_services(town: Town) -> None:
    assert "2 packets transmitted, 2 packets received, 0% packet loss" in town.run(f"ping -c 2 {town.ip('web')}")[0]
    assert "100% packet loss" in town.run("ping -c 1 web")[0]


def test_a_program_that_starts_at_once_has_a_network(town: Town) -> None:
    town.pod(
        "job",
        {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "c",
                    "image": "busybox",
                    "command": ["sh", "-c", "wget -qO- http://web.default && nc -z web 80"],
                }
            ],
        },
    )
    town.cluster.wait("pods/job", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    assert town.cluster.client.get("pods", "job", "default")["status"]["phase"] == "Succeeded"


def test_a_probe_of_the_loopback_asks_nobody_and_touches_nothing() -> None:
    from actors.runtime._commands import COMMANDS
    from actors.runtime._files import Files
    from actors.runtime._shell import Shell

    shell = Shell({}, Files({}, [], {}, {}), COMMANDS, None, hostname="web-1")
    for line in ("wget -q -O - http://localhost:8080/health >/dev/null", "nc -z localhost 80", "nc -z 127.0.0.1 80"):
        with pytest.raises(StopIteration) as end:
            next(shell.main(("sh", "-c", line)))
        assert end.value.value == 0, line
    assert not shell.files.used


def test_where_no_network_is_clients_find_what_they_look_for() -> None:
    from actors.runtime._commands import COMMANDS
    from actors.runtime._commands_network import NetCall
    from actors.runtime._files import Files
    from actors.runtime._shell import Shell

    shell = Shell({}, Files({}, [], {}, {}), COMMANDS, None)
    for line in ("wget http://web", "curl web", "nc web 1", "nslookup web", "dig web", "ping -c 1 web"):
        steps = shell.main(("sh", "-c", line))
        assert isinstance(next(steps), NetCall), line
        with pytest.raises(StopIteration) as end:
            steps.send(None)
        assert end.value.value == 0, line


def test_a_pod_with_its_nodes_resolver_knows_no_services(town: Town) -> None:
    town.pod("plain", {"dnsPolicy": "Default"})
    town.cluster.wait("pods/plain", "Ready")
    town.settle()
    assert town.run("cat /etc/resolv.conf", "plain")[0] == "nameserver 172.18.0.1\n"
    assert town.run("wget -qO- http://web; echo $?", "plain")[0] == "wget: bad address 'web'\n1\n"
    assert town.run("wget -q --spider http://example.com; echo $?", "plain")[0] == "0\n"


def test_a_partition_keeps_packets_and_names_from_passing(town: Town) -> None:
    pods = town.cluster.client.list("pods", "default")
    hosts = {p["metadata"]["name"]: p["spec"]["nodeName"] for p in pods}
    other = next(node for node in ("node-0", "node-1") if node != hosts["client"])
    town.pod("far", {"nodeName": other})
    town.cluster.wait("pods/far", "Ready")
    town.settle()
    sim, ask = town.cluster.sim, f"nc -w 2 -z {town.ip('far')} 80; echo $?"
    assert town.run(ask)[0] == "0\n"
    sim.partition(hosts["client"], other)
    assert town.run(ask)[0] == "nc: timed out\n1\n"
    assert town.run("wget -qO- localhost")[0] == "client\n"
    sim.heal()
    sim.partition(hosts["client"], "dns")
    assert ";; connection timed out" in town.run("nslookup web")[0]
    sim.heal()
    sim.partition(hosts["client"], "network")
    assert town.run(ask)[0].endswith("1\n"), "a machine that is cut off reaches nobody"
    assert town.run("wget -qO- localhost")[0] == "client\n"
    sim.heal()
    assert town.run(ask)[0] == "0\n"
