"""Messages between a kubelet and its pod workers. Private to this component."""

from __future__ import annotations

from typing import Any

from actors.kubelet._tallies import ProbeCount
from protocol.message import Message

Object = dict[str, Any]


class PodUpdated(Message, frozen=True):
    """The API's pod is now this."""

    pod: Object


class PodRemoved(Message, frozen=True):
    """The API has no such pod any more."""


class MirrorChanged(Message, frozen=True):
    """The pod is a static one, and the API's mirror of it has changed."""


class AllocationChanged(Message, frozen=True):
    """The pod and its containers have these resources now (`NodeContext.allocations`)."""

    uid: str
    resources: Object


class CpusChanged(Message, frozen=True):
    """The cores that containers without cores of their own share are others now."""


class ConsiderResize(Message, frozen=True):
    """The resources that the spec asks for may differ from those that are allocated, or there may be room now."""


class Resize(Message, frozen=True):
    """Asked of the kubelet: may the pod have what its spec asks for? None, and it is accounted for;
    or (Deferred or Infeasible, message)."""

    uid: str
    pod: Object


class Kick(Message, frozen=True):
    """Look whether there is something to do."""


class Flush(Message, frozen=True):
    """Report the status now, finished or not."""


class ProbeDue(Message, frozen=True):
    """Time for a probe, unless the token is outdated."""

    container: str
    kind: str
    token: int


class ActiveDeadline(Message, frozen=True):
    """The pod's activeDeadlineSeconds are over."""


class ImageBackOff(Message, frozen=True):
    """A pull that failed has been backing off for a while; `until` tells which one."""

    container: str
    until: float
    message: str
    image: str
    of_volume: bool = False


class GetObject(Message, frozen=True):
    """Asked of the kubelet: a ConfigMap or Secret, None if there is none. Raises StatusError when
    the API cannot tell. `fresh` does not take a cached one."""

    kind: str
    namespace: str
    name: str
    fresh: bool = False


class GetServices(Message, frozen=True):
    """Asked of the kubelet: the Services that pods of a namespace may see."""

    namespace: str


class GetToken(Message, frozen=True):
    """Asked of the kubelet: a service account token bound to a pod."""

    namespace: str
    service_account: str
    audience: str
    seconds: int
    pod_name: str
    pod_uid: str


class PodEvent(Message, frozen=True):
    """Record an event about a pod, or about one container of it (`field_path`)."""

    pod: Object
    type: str
    reason: str
    message: str
    field_path: str = ""


class WorkerGone(Message, frozen=True):
    """A pod's worker has finished: nothing of the pod is left on the node."""

    uid: str


class Evict(Message, frozen=True):
    """End a pod: phase Failed with this reason and message, and a condition that says `condition`, or
    the message too."""

    reason: str
    message: str
    grace_s: int = 0
    condition: str = ""


class Describe(Message, frozen=True):
    """Asked of a pod's worker: {container name: (container id, previous id, state, waiting reason)},
    the sandbox id, and what its probes have said how often."""


class Described(Message, frozen=True):
    sandbox_id: str
    containers: dict[str, tuple[str, str, str, str]]
    pod: Object
    probes: tuple[ProbeCount, ...] = ()
    sandbox_ready: bool = False
