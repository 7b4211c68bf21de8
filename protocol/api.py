"""Messages that the API server receives from its clients, and what it answers.

One request type for all verbs, as Kubernetes' own request attributes have it. The in-process
client sends these to the API server actor; the HTTP transport actor takes the very same messages
and speaks HTTPS to any API server.

An API object is a plain JSON-like `dict` and is frozen by agreement: nobody changes one that was
sent, received or read from a cache; copy what you want to change (`protocol.objects.mutable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.message import Address, Message

__all__ = [
    "ADMIN",
    "ApiRequest",
    "CancelWatch",
    "Hold",
    "Resource",
    "ServeGroup",
    "StatusError",
    "UserInfo",
    "WatchClosed",
    "WatchEvent",
    "WatchEvents",
]

Object = dict[str, Any]


class Resource(Message, frozen=True):
    """A group, version and plural resource name, e.g. `Resource("apps", "v1", "deployments")`;
    the core group is the empty string."""

    group: str
    version: str
    resource: str

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


class UserInfo(Message, frozen=True):
    """Who makes a request, after authentication."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}

    def info(self) -> dict[str, Any]:
        """As reviews, webhooks and the audit log show it: authentication.k8s.io/v1's UserInfo."""
        shown: dict[str, Any] = {"username": self.name}
        if self.uid:
            shown["uid"] = self.uid
        if self.groups:
            shown["groups"] = list(self.groups)
        if self.extra:
            shown["extra"] = {key: list(values) for key, values in self.extra.items()}
        return shown


ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))


class ApiRequest(Message, frozen=True):
    """Ask the API server for one thing.

    `verb`: get, list, watch, create, update, patch, delete, deletecollection.
    `body`: the object (create, update), the patch document (patch), DeleteOptions (delete).
    `patch_type`: the patch's media type, e.g. `application/merge-patch+json`.
    `options`: query parameters under Kubernetes' own names, all text: labelSelector,
    fieldSelector, resourceVersion, resourceVersionMatch, limit, continue, allowWatchBookmarks,
    sendInitialEvents, timeoutSeconds, dryRun, fieldManager, fieldValidation, force, ...

    Answered by the object (a list's answer is the List object); a refusal raises `StatusError` at
    the asker. A watch is answered by None once it stands; then `watcher` is told `WatchEvents`
    that carry `watch_id` (chosen by the watcher, unique for it) and at its end `WatchClosed`.
    """

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: Any = None
    patch_type: str = ""
    options: Mapping[str, str] = {}
    user: UserInfo = ADMIN
    user_agent: str = "kubekka"
    watcher: Address | None = None
    watch_id: int = 0


class WatchEvent(Message, frozen=True):
    """`type`: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (then `object` is a Status)."""

    type: str
    object: Object


class WatchEvents(Message, frozen=True):
    """Told to a watcher: changes in order of their revisions. `seq` counts the messages of one
    watch from 0 without gaps; a receiver that sees a gap must watch again."""

    watch_id: int
    seq: int
    events: tuple[WatchEvent, ...]


class WatchClosed(Message, frozen=True):
    """Told to a watcher: this watch has ended (timeout, overflow, server shutdown)."""

    watch_id: int
    reason: str = ""


class CancelWatch(Message, frozen=True):
    """The watcher wants no more of this watch. Not answered."""

    watcher: Address
    watch_id: int


class ServeGroup(Message, frozen=True):
    """Told to the API server by an actor that answers for a group version, as an extension API server
    does: while an APIService names `service` for it, requests (`ApiRequest` get and list; with the
    option `as=Table` a Table is wanted) are asked of `address`. `resources`: the entries of its
    APIResourceList. A later message for the same group version replaces the earlier one."""

    group: str
    version: str
    resources: tuple[Object, ...]
    address: Address
    service: tuple[str, str]
    """(namespace, name)"""


class StatusError(Exception):
    """A failed API request, carrying the `Status` object that Kubernetes answers.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    """

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return int(self.status.get("code", 500))

    @property
    def reason(self) -> str:
        """The machine-readable reason: NotFound, AlreadyExists, Conflict, Invalid, ..."""
        return str(self.status.get("reason", ""))

    @property
    def message(self) -> str:
        """The text a person reads."""
        return str(self.status.get("message", ""))


class Hold(Message, frozen=True):
    """Ask to learn of the server's end. It is never answered: the ask fails (`ActorDead`) when
    the server stops or starts anew, and then all of the asker's watches are gone with it."""
