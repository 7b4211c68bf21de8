"""The pods' network: addresses, configurations, plugins as the CNI specification has them, real interfaces."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actors.kernel import Child, Simulation
from actors.network.cni import AddressPool, Bridge, Cni, PluginNetwork, find_config
from actors.network.cni._config import parse_config
from protocol.cni import (
    AddPod,
    CheckPod,
    CniError,
    CollectGarbage,
    DelPod,
    GetNetworkStatus,
    PortMapping,
    SetPodCidr,
)

DEBIAN_PLUGINS = Path("/usr/lib/cni")
CONFLIST = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {"type": "first", "capabilities": {"ipRanges": True}, "colour": "red"},
        {"type": "second", "capabilities": {"portMappings": True}},
    ],
}
RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "br"}, {"name": "eth0", "sandbox": "/ns"}],
    "ips": [{"address": "10.1.0.1/24", "interface": 0}, {"address": "10.1.0.7/24", "interface": 1}],
}
PLUGIN = """#!/bin/sh
# notes what it was given; answers what lies beside it
name=$(basename "$0"); folder=$(dirname "$0")
echo "$CNI_COMMAND $name $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME" >> "$folder/calls"
cat > "$folder/$name.$CNI_COMMAND.stdin"
test -f "$folder/$name.$CNI_COMMAND.fails" && { cat "$folder/$name.$CNI_COMMAND.fails"; exit 1; }
test "$CNI_COMMAND" = ADD && cat "$folder/result"
test "$CNI_COMMAND" = VERSION && echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'
exit 0
"""


# --- addresses ------------------------------------------------------------------------------------


def test_addresses_are_given_in_turn_and_rest_after_use() -> None:
    pool = AddressPool("10.244.1.0/29")
    assert [pool.allocate(c) for c in "abc"] == ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    assert pool.free("a") == "10.244.1.2"
    assert pool.allocate("d") == "10.244.1.5"
    assert pool.allocate("e") == "10.244.1.6"
    assert pool.allocate("f") == "10.244.1.2"
    with pytest.raises(CniError, match="no IP addresses available in range set"):
        pool.allocate("g")


def test_whoever_has_an_address_keeps_it() -> None:
    pool = AddressPool("10.244.1.0/24")
    assert pool.allocate("a") == pool.allocate("a")


def test_addresses_outlive_the_process(tmp_path: Path) -> None:
    first = AddressPool("10.244.1.0/24", tmp_path)
    first.allocate("a")
    first.allocate("b")
    first.free("a")
    again = AddressPool("10.244.1.0/24", tmp_path)
    assert again.of("b") == "10.244.1.3"
    assert again.allocate("c") == "10.244.1.4"
    assert again.keep_only(["c"]) == ["b"]


# --- configurations -------------------------------------------------------------------------------


def test_the_first_usable_file_counts(tmp_path: Path) -> None:
    (tmp_path / "05-broken.conflist").write_text("{")
    (tmp_path / "10-pods.conflist").write_text(json.dumps(CONFLIST))
    (tmp_path / "20-other.conf").write_text(json.dumps({"name": "other", "type": "x"}))
    (tmp_path / "00-readme.txt").write_text("no configuration")
    config = find_config(tmp_path)
    assert config is not None
    assert (config.name, [p["type"] for p in config.plugins]) == ("pods", ["first", "second"])


def test_only_unusable_files_are_an_error_and_none_are_not(tmp_path: Path) -> None:
    assert find_config(tmp_path) is None
    assert find_config(tmp_path / "nowhere") is None
    (tmp_path / "05-broken.conflist").write_text("{")
    with pytest.raises(CniError, match=r"05-broken.conflist.*not JSON"):
        find_config(tmp_path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"plugins": [{"type": "x"}]}, "no name"),
        ({"name": "n", "plugins": [{}]}, "each needs a type"),
        ({"name": "n", "plugins": []}, "each needs a type"),
        ({"name": "n", "type": "x", "cniVersion": "9.9.9"}, "none of the versions 9.9.9 is known"),
        ({"name": "n", "type": "x", "disableCheck": "perhaps"}, "no boolean"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(raw: Any, message: str) -> None:
    with pytest.raises(CniError, match=message):
        parse_config(json.dumps(raw))


def test_the_newest_version_that_both_know_is_spoken() -> None:
    raw = {"name": "n", "type": "x", "cniVersion": "0.4.0", "cniVersions": ["1.0.0", "1.1.0", "2.0.0"]}
    config = parse_config(json.dumps(raw))
    assert config.version == "1.1.0"
    assert config.knows("GC")
    assert not parse_config(json.dumps({"name": "n", "type": "x", "cniVersion": "0.3.1"})).knows("CHECK")


# --- plugins, by programs that note what they are given -------------------------------------------


class Plugins:
    """A folder with two plugins."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        for name in ("first", "second"):
            (self.folder / name).write_text(PLUGIN)
            (self.folder / name).chmod(0o755)
        (self.folder / "result").write_text(json.dumps(RESULT))
        config = parse_config(json.dumps({**CONFLIST, **settings}))
        self.network = PluginNetwork(config, [self.folder], cache=folder / "results")

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def stdin(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


POD = AddPod("c1", "/ns", "default", "web", port_mappings=(PortMapping(8080, 80),))


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    return Plugins(tmp_path)


def test_plugins_run_in_order_each_with_the_result_of_the_one_before(plugins: Plugins) -> None:
    plugins.network.set_pod_cidr("10.1.0.0/24")
    answer = plugins.network.add(POD)
    assert answer.addresses == ("10.1.0.7",), "the address of the interface in the sandbox"
    assert plugins.calls() == ["ADD first c1 /ns eth0", "ADD second c1 /ns eth0"]
    first, second = plugins.stdin("first.ADD.stdin"), plugins.stdin("second.ADD.stdin")
    assert (first["name"], first["cniVersion"], first["colour"]) == ("pods", "1.0.0", "red")
    assert "prevResult" not in first
    assert first["runtimeConfig"] == {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}
    assert second["prevResult"] == RESULT
    assert second["runtimeConfig"]["portMappings"][0]["hostPort"] == 8080
    assert "capabilities" not in second


def test_deleting_runs_backwards_with_the_result_that_adding_had(plugins: Plugins) -> None:
    plugins.network.add(POD)
    plugins.network.delete(DelPod("c1", "/ns"))
    assert plugins.calls()[2:] == ["DEL second c1 /ns eth0", "DEL first c1 /ns eth0"]
    assert plugins.stdin("first.DEL.stdin")["prevResult"] == RESULT


def test_a_plugin_that_fails_is_undone_and_its_words_are_told(plugins: Plugins) -> None:
    (plugins.folder / "second.ADD.fails").write_text('{"code": 11, "msg": "try later", "details": "busy"}')
    with pytest.raises(CniError, match="plugin second: try later: busy") as caught:
        plugins.network.add(POD)
    assert caught.value.code == 11
    assert [c.split()[0] for c in plugins.calls()] == ["ADD", "ADD", "DEL", "DEL"]


def test_checking_has_the_result_and_can_be_forbidden(tmp_path: Path, plugins: Plugins) -> None:
    plugins.network.add(POD)
    plugins.network.check(CheckPod("c1", "/ns"))
    assert plugins.stdin("second.CHECK.stdin")["prevResult"] == RESULT
    with pytest.raises(CniError, match="has no result of ADD"):
        plugins.network.check(CheckPod("unknown", "/ns"))
    (tmp_path / "more").mkdir()
    silent = Plugins(tmp_path / "more", disableCheck=True)
    silent.network.check(CheckPod("unknown", "/ns"))


def test_garbage_is_deleted_and_plugins_that_collect_are_told_what_is_valid(tmp_path: Path) -> None:
    plugins = Plugins(tmp_path, cniVersion="1.1.0")
    plugins.network.add(POD)
    plugins.network.add(AddPod("c2", "/ns2"))
    plugins.network.collect((("c2", "eth0"),))
    assert [c for c in plugins.calls() if c.startswith("DEL")] == ["DEL second c1  eth0", "DEL first c1  eth0"]
    assert plugins.stdin("first.GC.stdin")["cni.dev/valid-attachments"] == [{"containerID": "c2", "ifname": "eth0"}]
    assert plugins.network.status() == ""


def test_a_plugin_that_is_not_installed_is_named(plugins: Plugins) -> None:
    (plugins.folder / "second").unlink()
    assert "failed to find plugin 'second' in path" in plugins.network.status()
    assert plugins.network.versions("first") == ["0.4.0", "1.0.0"]


def test_the_actor_takes_a_configuration_that_comes_later(sim: Simulation, tmp_path: Path, plugins: Plugins) -> None:
    conf = tmp_path / "net.d"
    conf.mkdir()
    actor = sim.spawn(Child("cni", lambda: Cni(Bridge(), conf_dir=conf, path=[plugins.folder], cache=tmp_path / "r")))
    waiting = sim.ask(actor, GetNetworkStatus())
    assert (waiting.ready, waiting.message) == (False, "the node has no range of pod addresses yet")
    (conf / "10-pods.conflist").write_text(json.dumps(CONFLIST))
    assert sim.ask(actor, GetNetworkStatus()).ready
    sim.ask(actor, SetPodCidr("10.1.0.0/24"))
    assert sim.ask(actor, POD).addresses == ("10.1.0.7",)
    sim.ask(actor, DelPod("c1", "/ns"))
    sim.ask(actor, CollectGarbage())
    (conf / "10-pods.conflist").write_text("{")
    assert not sim.ask(actor, GetNetworkStatus()).ready


# --- real interfaces ------------------------------------------------------------------------------


def test_the_bridge_does_what_it_is_asked_once_and_undoes_it(lab: Any) -> None:
    namespace = lab.add_pod("extra")
    request = AddPod("extra", namespace.path, "default", "extra")
    again = lab.bridge.add(request)
    assert again.addresses == (lab.ips["extra"],)
    lab.bridge.check(CheckPod("extra", namespace.path))
    namespace.serve("extra", 8080)
    assert lab.pods["pod-0"].ask(lab.ips["extra"], 8080) == f"extra {lab.ips['pod-0']}"
    lab.bridge.delete(DelPod("extra", namespace.path))
    lab.bridge.delete(DelPod("extra", namespace.path))
    with pytest.raises(CniError):
        lab.bridge.check(CheckPod("extra", namespace.path))
    del lab.pods["extra"]
    namespace.close()


def test_host_ports_lead_to_the_pod_and_end_with_it(lab: Any) -> None:
    namespace = lab.add_pod("ported")
    lab.bridge.delete(DelPod("ported", namespace.path))
    mappings = (PortMapping(18080, 8080),)
    lab.bridge.add(AddPod("ported", namespace.path, port_mappings=mappings))
    namespace.serve("ported", 8080)
    assert lab.outside.ask("192.168.77.2", 18080).startswith("ported ")
    lab.bridge.delete(DelPod("ported", namespace.path, port_mappings=mappings))
    assert "18080" not in lab.node.run("iptables-save", "-t", "nat")
    del lab.pods["ported"]
    namespace.close()


@pytest.mark.skipif(not os.access(DEBIAN_PLUGINS / "bridge", os.X_OK), reason="needs containernetworking-plugins")
def test_real_plugins_make_a_network(lab: Any, tmp_path: Path) -> None:
    plugins = [
        {
            "type": "bridge",
            "bridge": "cni9",
            "isDefaultGateway": True,
            "ipam": {"type": "host-local", "dataDir": str(tmp_path / "ipam")},
            "capabilities": {"ipRanges": True},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    config = parse_config(json.dumps({"cniVersion": "1.0.0", "name": "real", "plugins": plugins}))
    network = PluginNetwork(config, [DEBIAN_PLUGINS], cache=tmp_path / "results", netns=lab.node.path)
    network.set_pod_cidr("10.244.9.0/24")
    assert network.status() == ""
    assert "1.0.0" in network.versions("bridge")
    pods = [type(lab.node)() for _ in range(2)]
    mappings = (PortMapping(19090, 8080),)
    found = [
        network.add(AddPod(f"real-{i}", pod.path, "default", f"p{i}", port_mappings=mappings if i == 0 else ()))
        for i, pod in enumerate(pods)
    ]
    pods[0].serve("real-0", 8080)
    assert pods[1].ask(found[0].addresses[0], 8080).split()[0] == "real-0"
    assert lab.outside.ask("192.168.77.2", 19090).split()[0] == "real-0"
    network.check(CheckPod("real-0", pods[0].path))
    for i, pod in enumerate(pods):
        network.delete(DelPod(f"real-{i}", pod.path, port_mappings=mappings if i == 0 else ()))
        pod.close()
    assert [p.name for p in (tmp_path / "ipam" / "real").iterdir() if p.name[0].isdigit()] == []
    lab.node.run("ip", "link", "del", "cni9")
