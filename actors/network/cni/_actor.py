"""The actor of a node's pod network.

Owns the choice between the built-in bridge and plugins, and does one verb at a time, on a thread of
its own since all of them block. It decides nothing about pods.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from actors.kernel import ThreadActor, handles
from actors.network.cni._bridge import Bridge
from actors.network.cni._config import find_config
from actors.network.cni._plugins import PluginNetwork
from protocol import cni

__all__ = ["Cni"]

PLUGIN_FOLDERS = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))
RESULTS = Path("/var/lib/cni/results")


class Cni(ThreadActor):
    """`conf_dir`: where network configurations are looked for (/etc/cni/net.d by custom); None, or a
    folder without any, means the built-in `bridge`. `path`: folders with plugins."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        conf_dir: Path | None = None,
        path: Sequence[Path] = (),
        cache: Path = RESULTS,
        netns: str = "",
    ) -> None:
        super().__init__()
        self.bridge, self.conf_dir, self.cache, self.netns = bridge, conf_dir, cache, netns
        given = [Path(p) for p in os.environ.get("CNI_PATH", "").split(os.pathsep) if p]
        self.path = tuple(path) or tuple(given) or PLUGIN_FOLDERS
        self.pod_cidr = ""
        self._plugins: PluginNetwork | None = None

    def _network(self) -> Bridge | PluginNetwork:
        """What is configured now: a configuration may come while the node runs, as when a network's
        DaemonSet writes it."""
        config = find_config(self.conf_dir) if self.conf_dir is not None else None
        if config is None:
            return self.bridge
        if self._plugins is None or self._plugins.config != config:
            self.log.info("network_configured", network=config.name, plugins=[p["type"] for p in config.plugins])
            self._plugins = PluginNetwork(config, self.path, cache=self.cache, netns=self.netns)
            self._plugins.set_pod_cidr(self.pod_cidr)
        return self._plugins

    @handles(cni.SetPodCidr)
    def set_pod_cidr(self, message: cni.SetPodCidr) -> None:
        self.pod_cidr = message.cidr
        self._network().set_pod_cidr(message.cidr)

    @handles(cni.AddPod)
    def add_pod(self, message: cni.AddPod) -> cni.PodNetwork:
        return self._network().add(message)

    @handles(cni.DelPod)
    def del_pod(self, message: cni.DelPod) -> None:
        self._network().delete(message)

    @handles(cni.CheckPod)
    def check_pod(self, message: cni.CheckPod) -> None:
        self._network().check(message)

    @handles(cni.CollectGarbage)
    def collect_garbage(self, message: cni.CollectGarbage) -> None:
        self._network().collect(message.valid)

    @handles(cni.GetNetworkStatus)
    def get_network_status(self, message: cni.GetNetworkStatus) -> cni.NetworkStatus:
        try:
            network = self._network()
            problem = network.status()
        except cni.CniError as error:
            return cni.NetworkStatus(False, "NetworkPluginNotReady", str(error))
        plugin = "bridge (built-in)" if network is self.bridge else "cni"
        return cni.NetworkStatus(not problem, "NetworkPluginNotReady" if problem else "", problem, plugin)
