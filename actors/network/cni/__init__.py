"""The pods' network on one node: addresses and interfaces.

`Cni` answers the messages of `protocol.cni`: with a bridge of its own, or, where a configuration in
the manner of /etc/cni/net.d is there, by running the plugins that it names.
"""

from actors.network.cni._actor import Cni
from actors.network.cni._bridge import Bridge
from actors.network.cni._config import NetworkConfig, find_config
from actors.network.cni._ipam import AddressPool
from actors.network.cni._plugins import PluginNetwork

__all__ = ["AddressPool", "Bridge", "Cni", "NetworkConfig", "PluginNetwork", "find_config"]
