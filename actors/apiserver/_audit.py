"""The audit log: who did what, as lines of JSON in a file.

Owns the policy (which requests are recorded, and how much of them) and the form of an event. A policy
is what Kubernetes calls `audit.k8s.io/v1` Policy; the first rule that matches decides. The file is
written by an actor on a thread of its own, so that a slow disk delays no request.

https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from actors.apiserver._authz import Attributes
from actors.kernel import Ref, ThreadActor, handles
from protocol.api import ApiRequest, UserInfo
from protocol.message import Message

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall, HttpReply

__all__ = ["AuditFile", "Auditor", "Policy", "PolicyError", "Trail"]

Object = dict[str, Any]
LEVELS = ("None", "Metadata", "Request", "RequestResponse")
_VERSION = "audit.k8s.io/v1"
_UNREAD = frozenset(("secrets", "configmaps", "tokenreviews"))
"""Bodies of these are recorded only when a rule names the resource itself: they hold secrets."""


class PolicyError(ValueError):
    """The policy is none; the text says what is wrong."""


class AuditLine(Message, frozen=True):
    """One event, already encoded."""

    line: bytes


class AuditFile(ThreadActor):
    """Appends events to a file; a new file is for its owner's eyes only."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file: IO[bytes]

    def on_start(self) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(0o600)
        self._file = self.path.open("ab")

    @handles(AuditLine)
    def write(self, message: AuditLine) -> None:
        """Append one line."""
        self._file.write(message.line)
        self._file.flush()

    def on_stop(self) -> None:
        """Close the file."""
        self._file.close()


class Policy:
    """Rules in order, each a dict as in the policy file."""

    def __init__(self, document: Object | None = None) -> None:
        document = document or {"omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}
        self.rules: list[Object] = list(document.get("rules") or [])
        self.omitted = frozenset(document.get("omitStages") or ())
        for number, rule in enumerate(self.rules):
            if not isinstance(rule, dict) or rule.get("level") not in LEVELS:
                raise PolicyError(f"rules[{number}].level: one of {', '.join(LEVELS)} is expected")

    def level(self, user: UserInfo, wanted: Attributes) -> tuple[str, Object]:
        """How much of a request is recorded, and the rule that says so."""
        for rule in self.rules:
            if _matches(rule, user, wanted):
                return str(rule["level"]), rule
        return "None", {}


def _matches(rule: Object, user: UserInfo, wanted: Attributes) -> bool:
    if rule.get("users") and user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(user.groups):
        return False
    if rule.get("verbs") and wanted.verb not in rule["verbs"]:
        return False
    if wanted.path:
        if rule.get("resources") or rule.get("namespaces"):
            return False
        paths = rule.get("nonResourceURLs")
        return not paths or any(_path(pattern, wanted.path) for pattern in paths)
    if rule.get("nonResourceURLs"):
        return False
    if rule.get("namespaces") and wanted.namespace not in rule["namespaces"]:
        return False
    resources = rule.get("resources")
    return not resources or any(_resource(entry, wanted) for entry in resources)


def _path(pattern: str, path: str) -> bool:
    return path == pattern or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _resource(entry: Object, wanted: Attributes) -> bool:
    if entry.get("group", "") != wanted.group:
        return False
    full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    names = entry.get("resources") or []
    if names and not any(
        name in ("*", full) or (wanted.subresource and name in (f"{wanted.resource}/*", f"*/{wanted.subresource}"))
        for name in names
    ):
        return False
    return not entry.get("resourceNames") or wanted.name in entry["resourceNames"]


class Trail:
    """What becomes known of a request while it is answered."""

    __slots__ = (
        "acting", "annotations", "audit_id", "constraint", "flow", "reason", "seats", "user", "waited", "wanted",
    )  # fmt: skip

    def __init__(self) -> None:
        self.user: UserInfo | None = None
        """Who was authenticated."""
        self.acting: UserInfo | None = None
        """Who was impersonated."""
        self.constraint = ""
        """The verb of the mode that allowed it."""
        self.wanted: Attributes | None = None
        self.flow: Any = None
        """The flow that it belongs to (`actors.apiserver.flowcontrol`)."""
        self.seats = 0
        self.waited: Any = None
        self.annotations: dict[str, str] = {}
        """What admission noted."""
        self.reason: str | None = None
        """Why it was allowed; None when it was not."""
        self.audit_id = ""
        """What the answer's `Audit-Id` header says."""


class Auditor:
    """Writes the events of one API server."""

    def __init__(self, core: Core, policy: Policy, file: Ref) -> None:
        self.core = core
        self.policy = policy
        self.file = file

    def record(self, call: HttpCall, reply: HttpReply, trail: Trail, started: float) -> None:
        """One HTTP request has been answered. `started`: seconds since the epoch."""
        user, wanted = trail.user or UserInfo(""), trail.wanted or Attributes(call.method.lower(), path=call.path)
        stage = "ResponseStarted" if reply.streaming else "ResponseComplete"
        level, rule = self.policy.level(user, wanted)
        if level == "None":
            return
        uri = call.path + (f"?{call.query}" if call.query else "")
        event = self._begin(level, trail.audit_id, uri, wanted, user)
        event["sourceIPs"] = [call.peer_address] if call.peer_address else []
        event["userAgent"] = call.headers.get("user-agent", "")
        if not wanted.path:
            event["objectRef"] = _reference(wanted, call.path)
        if not self._received(event, rule, stage, started):
            return
        if trail.acting is not None:
            event["impersonatedUser"] = trail.acting.info()
            if trail.constraint:
                event["authenticationMetadata"] = {"impersonationConstraint": trail.constraint}
        event["responseStatus"] = _status(reply)
        if level in ("Request", "RequestResponse") and _readable(wanted, rule):
            _add_body(event, "requestObject", call.body)
            if level == "RequestResponse" and reply.status < 400:
                _add_body(event, "responseObject", reply.body if not reply.more else b"".join((reply.body, *reply.more)))
        self._finish(event, started, trail.reason, trail.annotations)

    def record_message(
        self, message: ApiRequest, code: int, failure: Object | None, answer: Object | None, started: float,
        annotations: dict[str, str],
    ) -> None:
        """One request of a client in this process has been answered."""
        what = message.resource
        wanted = Attributes(
            message.verb, what.group, what.resource, message.subresource, message.namespace, message.name
        )
        stage = "ResponseStarted" if message.verb == "watch" else "ResponseComplete"
        level, rule = self.policy.level(message.user, wanted)
        if level == "None":
            return
        path = _path_of(message)
        options = dict(message.options) | ({"watch": "true"} if message.verb == "watch" else {})
        uri = path + (f"?{urlencode(options)}" if options else "")
        event = self._begin(level, self.core.audit_id(), uri, wanted, message.user)
        event["sourceIPs"] = ["127.0.0.1"]
        event["userAgent"] = message.user_agent
        event["objectRef"] = _reference(wanted, path)
        if not self._received(event, rule, stage, started):
            return
        event["responseStatus"] = {"metadata": {}, "code": code}
        if failure is not None:
            event["responseStatus"] |= {key: failure[key] for key in ("status", "message", "reason") if failure.get(key)}
        if level in ("Request", "RequestResponse") and _readable(wanted, rule):
            if isinstance(message.body, dict):
                event["requestObject"] = message.body
            if level == "RequestResponse" and answer is not None:
                event["responseObject"] = answer
        allowed, reason = self.core.authorizer.decide(message.user, wanted)
        self._finish(event, started, reason if allowed else None, annotations)

    def _begin(self, level: str, audit_id: str, uri: str, wanted: Attributes, user: UserInfo) -> Object:
        return {
            "kind": "Event", "apiVersion": _VERSION, "level": level, "auditID": audit_id, "stage": "",
            "requestURI": uri, "verb": wanted.verb, "user": user.info(),
        }

    def _received(self, event: Object, rule: Object, stage: str, started: float) -> bool:
        """Write that the request came in, as far as the policy wants it; false when it wants nothing of `stage`."""
        omitted = self.policy.omitted | frozenset(rule.get("omitStages") or ())
        if "RequestReceived" not in omitted:
            event["stage"] = "RequestReceived"
            moment = _micro(started)
            self._write({**event, "requestReceivedTimestamp": moment, "stageTimestamp": moment})
        event["stage"] = stage
        return stage not in omitted

    def _finish(self, event: Object, started: float, reason: str | None, more: dict[str, str]) -> None:
        event["requestReceivedTimestamp"] = _micro(started)
        event["stageTimestamp"] = self.core.clock.rfc3339_micro()
        event["annotations"] = {"authorization.k8s.io/decision": "forbid" if reason is None else "allow",
                                "authorization.k8s.io/reason": reason or "", **more}
        self._write(event)

    def _write(self, event: Object) -> None:
        self.file.tell(AuditLine(orjson.dumps(event) + b"\n"))


def _micro(seconds: float) -> str:
    from actors.kernel import rfc3339_micro

    return rfc3339_micro(seconds)


def _path_of(message: ApiRequest) -> str:
    """The path that an HTTP client would have asked."""
    what = message.resource
    parts = ["apis", what.group, what.version] if what.group else ["api", what.version]
    if message.namespace and what.resource != "namespaces":
        parts += ["namespaces", message.namespace]
    parts += [what.resource, message.name, message.subresource]
    return "/" + "/".join(part for part in parts if part)


def _reference(wanted: Attributes, path: str) -> Object:
    parts = path.strip("/").split("/")
    version = parts[1] if parts[0] == "api" else parts[2] if len(parts) > 2 else ""
    reference = {
        "resource": wanted.resource, "namespace": wanted.namespace, "name": wanted.name, "apiGroup": wanted.group,
        "apiVersion": version, "subresource": wanted.subresource,
    }
    return {key: value for key, value in reference.items() if value}


def _status(reply: HttpReply) -> Object:
    found: Object = {"metadata": {}, "code": reply.status}
    if reply.status >= 400:
        try:
            body = orjson.loads(reply.body)
            found.update({key: body[key] for key in ("status", "message", "reason") if body.get(key)})
        except (ValueError, AttributeError):
            pass
    return found


def _readable(wanted: Attributes, rule: Object) -> bool:
    named = [name for entry in rule.get("resources") or () for name in entry.get("resources") or ()]
    return (wanted.resource not in _UNREAD and wanted.subresource != "token") or wanted.resource in named


def _add_body(event: Object, field: str, data: bytes) -> None:
    if data:
        try:
            event[field] = orjson.loads(data)
        except ValueError:
            return
