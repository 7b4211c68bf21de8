"""The dashboard's HTTP server: one page, and JSON for it. Loopback only unless told otherwise.

Whoever knows the address with its token may look (and steer a simulation); without the token
nothing is answered, so that other pages in the same browser learn nothing.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cli._actors import Look, Twig, tree
from cli.dashboard._stage import Stage

__all__ = ["Dashboard"]

MOST_BODY_BYTES = 1 << 20
EVENTS_SHOWN = 30
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Dashboard:
    """Serves a stage at `url` until closed. Raises: OSError when the port is taken."""

    def __init__(self, stage: Stage, host: str = "127.0.0.1", port: int = 0) -> None:
        self.stage = stage
        self.token = secrets.token_urlsafe(12)
        self._look: Look | None = None
        self._server = ThreadingHTTPServer((host, port), _handler(self))
        self._server.daemon_threads = True
        bound = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}/?token={self.token}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="dashboard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
        self.stage.close()

    # -- What the page asks for ------------------------------------------------------------------

    def state(self, _: dict[str, str]) -> Any:
        """Time, nodes with their pods, rollouts, events and actors."""
        stage = self.stage
        events = sorted(stage.list("events"), key=_when)[-EVENTS_SHOWN:]
        return {
            **stage.status(),
            "nodes": [_node(node) for node in stage.list("nodes")],
            "pods": [_pod(pod) for pod in stage.list("pods")],
            "rollouts": [_rollout(found) for kind in _ROLLED_OUT for found in stage.list(kind)],
            "events": [_event(event) for event in reversed(events)],
            "actors": self._actors(),
        }

    def _actors(self) -> Any:
        now = self.stage.look()
        before, self._look = self._look, now
        return [_twig(child) for child in tree(now, before).children.values()]

    def messages(self, given: dict[str, str]) -> Any:
        """What was said since."""
        after = given.get("after", "0")
        return self.stage.story.after(int(after) if after.isdecimal() else 0)

    def pod(self, given: dict[str, str]) -> Any:
        """Why a pod is where it is: its conditions, its events, the messages about it, and each
        node's part in the scheduler's choice. Raises: LookupError."""
        namespace, name = given.get("namespace", ""), given.get("name", "")
        pods = [p for p in self.stage.list("pods") if (p["metadata"]["namespace"], p["metadata"]["name"]) == (namespace, name)]
        if not pods:
            raise LookupError(f"there is no pod {namespace}/{name}")
        uid = pods[0]["metadata"]["uid"]
        events = [e for e in self.stage.list("events") if (e.get("involvedObject") or {}).get("uid") == uid]
        status = pods[0].get("status") or {}
        return {
            "pod": _pod(pods[0]),
            "conditions": status.get("conditions") or [],
            "containers": status.get("containerStatuses") or [],
            "events": [_event(event) for event in sorted(events, key=_when)],
            "messages": self.stage.story.about(f"pods/{name}"),
            "schedule": self._schedule(namespace, name),
        }

    def _schedule(self, namespace: str, name: str) -> Any:
        from protocol.scheduler import ExplainPod

        scheduler = self.stage.cluster.parts.scheduler
        with self.stage.hold():
            try:
                return scheduler.ask(ExplainPod(namespace, name), timeout=5.0)
            except Exception as error:  # a scheduler that is down is part of what there is to see
                return {"error": str(error) or type(error).__name__}

    def steer(self, body: dict[str, Any]) -> Any:
        """Let time pass, or not. Raises: ValueError."""
        try:
            seconds = float(body.get("seconds") or 0.0)
        except (TypeError, ValueError):
            raise ValueError("seconds is a number") from None
        self.stage.steer(str(body.get("command")), seconds)
        return self.stage.status()


_ROLLED_OUT = ("deployments", "statefulsets", "daemonsets", "jobs")


def _when(event: dict[str, Any]) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""


def _node(node: dict[str, Any]) -> dict[str, Any]:
    ready: dict[str, Any] = next((c for c in node.get("status", {}).get("conditions") or () if c["type"] == "Ready"), {})
    spec = node.get("spec") or {}
    return {
        "name": node["metadata"]["name"],
        "ready": ready.get("status") == "True",
        "why": ready.get("message", ""),
        "taints": [f"{t['key']}:{t['effect']}" for t in spec.get("taints") or ()],
        "capacity": node.get("status", {}).get("allocatable") or {},
    }


def _pod(pod: dict[str, Any]) -> dict[str, Any]:
    meta, status, spec = pod["metadata"], pod.get("status") or {}, pod.get("spec") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    waiting = [c["state"]["waiting"].get("reason") for c in status.get("containerStatuses") or () if "waiting" in (c.get("state") or {})]
    phase = "Terminating" if meta.get("deletionTimestamp") else waiting[0] if waiting else status.get("phase", "Pending")
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "node": spec.get("nodeName", ""),
        "phase": status.get("reason") or phase,
        "ready": ready,
        "restarts": sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or ()),
    }


def _rollout(obj: dict[str, Any]) -> dict[str, Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", spec.get("replicas", spec.get("completions", 1)))
    done = status.get("numberReady", status.get("readyReplicas", status.get("succeeded", 0)))
    fresh = status.get("updatedNumberScheduled", status.get("updatedReplicas", done))
    meta = obj["metadata"]
    return {
        "kind": obj.get("kind", ""),
        "namespace": meta["namespace"],
        "name": meta["name"],
        "wanted": wanted or 0,
        "ready": done or 0,
        "updated": fresh or 0,
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    about = event.get("involvedObject") or {}
    return {
        "time": _when(event),
        "type": event.get("type", ""),
        "reason": event.get("reason", ""),
        "about": f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        "message": event.get("message", ""),
        "count": event.get("count") or 1,
    }


def _twig(twig: Twig) -> dict[str, Any]:
    return {
        "name": twig.name,
        "kind": twig.kind,
        "rate": round(twig.rate, 1),
        "mailbox": twig.mailbox,
        "handled": twig.handled,
        "restarts": twig.restarts,
        "children": [_twig(child) for child in twig.children.values()],
    }


def _handler(dashboard: Dashboard) -> type[BaseHTTPRequestHandler]:
    reads: dict[str, Callable[[dict[str, str]], Any]] = {
        "/state": dashboard.state,
        "/messages": dashboard.messages,
        "/pod": dashboard.pod,
    }

    class Handler(BaseHTTPRequestHandler):
        """One request. Not logged: the page asks every second."""

        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            given = {key: values[-1] for key, values in parse_qs(url.query).items()}
            if not self._may(given.get("token", "")):
                return
            if url.path == "/":
                self._send(HTTPStatus.OK, (files("cli.dashboard") / "page.html").read_bytes(), "text/html; charset=utf-8")
            elif url.path in reads:
                self._answer(lambda: reads[url.path](given))
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

        def do_POST(self) -> None:
            if not self._may(""):
                return
            size = self.headers.get("Content-Length", "")
            if not size.isdecimal() or int(size) > MOST_BODY_BYTES:
                self.close_connection = True
                self._refuse(HTTPStatus.BAD_REQUEST, "a body of known and reasonable length is needed")
                return
            body = self.rfile.read(int(size))
            if urlsplit(self.path).path != "/steer":
                self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
                return
            self._answer(lambda: dashboard.steer(_object(body)))

        def _may(self, token: str) -> bool:
            """Whether the client knows the token: in a header, or in the page's address."""
            given = self.headers.get("X-Token", token)
            if hmac.compare_digest(given.encode(), dashboard.token.encode()):
                return True
            self.close_connection = True
            self._refuse(HTTPStatus.FORBIDDEN, "open the address with its token, as it was printed")
            return False

        def _answer(self, make: Callable[[], Any]) -> None:
            try:
                answer = make()
            except ValueError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            except LookupError as error:
                self._refuse(HTTPStatus.NOT_FOUND, str(error.args[0]))
            except Exception as error:  # the API server may be down: that is what one wants to see
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{type(error).__name__}: {error}")
            else:
                self._send(HTTPStatus.OK, json.dumps(answer, default=str).encode(), "application/json")

        def _refuse(self, code: HTTPStatus, why: str) -> None:
            self._send(code, json.dumps({"error": why}).encode(), "application/json")

        def _send(self, code: HTTPStatus, body: bytes, media: str) -> None:
            try:
                self.send_response(code)
                for name, value in {**SECURITY, "Content-Type": media, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        raise ValueError("the body is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("the body is no JSON object")
    return found
