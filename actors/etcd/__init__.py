"""The store of the control plane: MVCC keys, watches, leases, write-ahead log, the etcd v3 API.

`Etcd` is the actor; it takes the messages of `protocol.etcd`. Without a data directory it lives
in memory, which is what tests' clusters use.
"""

from actors.etcd._actor import Etcd
from actors.etcd._config import EtcdConfig
from actors.etcd._errors import DataDirError

__all__ = ["DataDirError", "Etcd", "EtcdConfig"]
