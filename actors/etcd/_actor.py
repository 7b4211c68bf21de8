"""The etcd actor: one store, its leases and watchers, answering the messages of `protocol.etcd`.

In memory every request is answered in its handler. With a data directory a change is applied to
the store first and then journalled; nobody sees it, by reply, read or watch, before it is on
disk. If the disk fails the actor crashes, and its next incarnation recovers what was acknowledged.

It never reads another component's state and knows no Kubernetes kind.
"""

from __future__ import annotations

from actors.etcd._key_requests import KeyRequests
from actors.etcd._lease_requests import LeaseRequests
from actors.etcd._maintenance_requests import MaintenanceRequests
from actors.etcd._watch_requests import WatchRequests

__all__ = ["Etcd"]


class Etcd(KeyRequests, LeaseRequests, WatchRequests, MaintenanceRequests):
    """A whole etcd. Errors are raised at the asker as `EtcdError`; when the data directory cannot
    be used, every request raises the `DataDirError` that says why.

    Watchers are told `WatchResponse`s at their address; one whose mailbox refuses
    (`MailboxFull`) is offered the same response again later and reads on from history.
    """
