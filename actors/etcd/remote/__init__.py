"""A real etcd, or a cluster of them, behind the messages that the `Etcd` actor takes.

`RemoteEtcd` is put in `Etcd`'s place when the API server is given `--etcd-servers`; nobody who
asks it can tell. Needs a `LiveSystem`, for it speaks gRPC.
"""

from actors.etcd.remote._actor import RemoteEtcd
from actors.etcd.remote._endpoints import RemoteConfig, parse_servers

__all__ = ["RemoteConfig", "RemoteEtcd", "parse_servers"]
