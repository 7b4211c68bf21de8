"""What a simulated pod's programs ask of the network: names and connections, as values.

Owns the messages between the simulated runtime and the network. Must never know how a name comes about
or which rule let a packet pass.
"""

from __future__ import annotations

from protocol.message import Message

__all__ = ["LOST", "OPEN", "REFUSED", "Dial", "Dialed", "LookUp", "LookedUp"]

OPEN, REFUSED, LOST = "open", "refused", "lost"


class LookUp(Message, frozen=True):
    """Resolve a name as the pod's resolver does, by its name servers, search list and options. `families`:
    `A`, `AAAA` or both; `ips`: as for `Dial`. Answered by `LookedUp`."""

    namespace: str
    pod: str
    ips: tuple[str, ...]
    name: str
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    families: tuple[str, ...] = ("A", "AAAA")


class LookedUp(Message, frozen=True):
    """`name`: the whole name that there is, with its final dot. `code`: NOERROR, NXDOMAIN, SERVFAIL,
    REFUSED, or LOST where no name server answered."""

    name: str
    addresses: tuple[str, ...] = ()
    code: str = "NOERROR"


class Dial(Message, frozen=True):
    """Connect (or, over UDP, send) from a pod to an address. `ips`: the pod's own, which its status may not
    tell yet; with an empty `pod`, those of somebody who is no pod. Answered by `Dialed`."""

    namespace: str
    pod: str
    ips: tuple[str, ...]
    address: str
    port: int
    protocol: str = "tcp"


class Dialed(Message, frozen=True):
    """`verdict`: `open`, `refused` (at once), or `lost` (nobody answers, ever). `who` is there, as
    `namespace/name` of a pod, a node's name, or nothing; `status` and `body` are what it says to a GET."""

    verdict: str
    who: str = ""
    status: int = 200
    body: bytes = b""
