"""How everything below the API server speaks with it: client, informers, queues, events, leases.

The client is one interface with two transports: it sends `ApiRequest` to an address, behind which
is either the API server actor of the same process or an `HttpTransport` that speaks HTTPS to any
API server. Nothing here knows which, nor any kind beyond its metadata (events and leases apart).
"""

from actors.client._client import Client, ClientActor, resource
from actors.client._events import EventRecorder
from actors.client._expectations import Expectations, UidExpectations
from actors.client._informer import Informer
from actors.client._leader import LeaderElector
from actors.client._outside import OutsideClient, WaitTimeout
from actors.client._queue import Backoff, WorkQueue
from actors.client._shared import Changes, InformerActor, SharedInformer, SharedInformers, Subscribe
from actors.client._store import Store, by_controller, by_namespace
from protocol.api import Resource, StatusError, UserInfo

__all__ = [
    "Backoff",
    "Changes",
    "Client",
    "ClientActor",
    "EventRecorder",
    "Expectations",
    "Informer",
    "InformerActor",
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
    "by_controller",
    "by_namespace",
    "resource",
]
