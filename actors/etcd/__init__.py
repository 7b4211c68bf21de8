"""The store of the control plane: MVCC keys, watches, leases, write-ahead log, the etcd v3 API.

`Etcd` is the actor; it takes the messages of `protocol.etcd`. Without a data directory it lives
in memory, which is what tests' clusters use. `RemoteEtcd` takes the same messages and has a real
etcd carry them out. `actors.etcd.server` serves an `Etcd` to the world.
"""

from typing import TYPE_CHECKING, Any

from actors.etcd._actor import Etcd
from actors.etcd._config import EtcdConfig
from actors.etcd._errors import DataDirError

if TYPE_CHECKING:
    from actors.etcd.remote import RemoteConfig, RemoteEtcd, parse_servers

__all__ = ["DataDirError", "Etcd", "EtcdConfig", "RemoteConfig", "RemoteEtcd", "parse_servers"]


def __getattr__(name: str) -> Any:
    """What needs gRPC is imported when it is used, for that takes a while."""
    if name in ("RemoteConfig", "RemoteEtcd", "parse_servers"):
        from actors.etcd import remote

        return getattr(remote, name)
    raise AttributeError(name)
