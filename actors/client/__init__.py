"""How everything below the API server speaks with it: client, informers, queues, events, leases.

The client is one interface with two transports: it sends `ApiRequest` to an address, behind which
is either the API server actor of the same process or an `HttpTransport` that speaks HTTPS to any
API server. Nothing here knows which, nor any kind beyond its metadata (events and leases apart).
"""

from typing import TYPE_CHECKING, Any

from actors.client._accounts import AccountTransports
from actors.client._client import Client, ClientActor, resource
from actors.client._events import EventRecorder
from actors.client._expectations import EXPIRY_S, Expectations, UidExpectations
from actors.client._informer import Informer
from actors.client._leader import LeaderElector
from actors.client._outside import OutsideClient, WaitTimeout
from actors.client._queue import Backoff, WorkQueue
from actors.client._shared import Changes, InformerActor, SharedInformer, SharedInformers, Subscribe
from actors.client._store import Store, by_controller, by_namespace
from protocol.api import Resource, StatusError, UserInfo

if TYPE_CHECKING:
    from actors.client._kubeconfig import KubeConfig, authority_of, load_kubeconfig
    from actors.client._transport import HttpTransport

__all__ = [
    "EXPIRY_S",
    "AccountTransports",
    "Backoff",
    "Changes",
    "Client",
    "ClientActor",
    "EventRecorder",
    "Expectations",
    "HttpTransport",
    "Informer",
    "InformerActor",
    "KubeConfig",
    "LeaderElector",
    "OutsideClient",
    "Resource",
    "SharedInformer",
    "SharedInformers",
    "StatusError",
    "Store",
    "Subscribe",
    "UidExpectations",
    "UserInfo",
    "WaitTimeout",
    "WorkQueue",
    "authority_of",
    "by_controller",
    "by_namespace",
    "load_kubeconfig",
    "resource",
]


def __getattr__(name: str) -> Any:
    """Load the HTTPS side on first use: a cluster within one process never needs it."""
    if name == "HttpTransport":
        from actors.client._transport import HttpTransport

        return HttpTransport
    if name in ("KubeConfig", "authority_of", "load_kubeconfig"):
        from actors.client import _kubeconfig

        return getattr(_kubeconfig, name)
    raise AttributeError(name)
