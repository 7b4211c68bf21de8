"""The plain pages that etcd serves beside its API: version, health, metrics."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import orjson

from actors.etcd.server._calls import Services
from protocol.etcd import Range, Status, StatusResponse

__all__ = ["PAGES"]


class Respond(Protocol):
    """Answers with a status, a body and its type."""

    def __call__(self, status: int, body: bytes, content_type: str = ..., /) -> None: ...


def _ask(services: Services, message: Any, then: Callable[[Any, BaseException | None], None]) -> None:
    def answered(future: Any) -> None:
        error = future.exception()
        then(None if error else future.result(), error)

    asked: Any = services.etcd.ask(message, block=False)
    asked.add_callback(answered)


def version(services: Services, respond: Respond) -> None:
    """`/version`: of the server, the cluster and the storage."""

    def then(status: StatusResponse | None, error: BaseException | None) -> None:
        if status is None:
            respond(503, str(error).encode(), "text/plain")
            return
        body = {
            "etcdserver": status.version,
            "etcdcluster": ".".join([*status.version.split(".")[:2], "0"]),
            "storage": status.storage_version,
        }
        respond(200, orjson.dumps(body))

    _ask(services, Status(), then)


def health(services: Services, respond: Respond) -> None:
    """`/health`: whether a linearizable read works and no alarm stands."""

    def read(_: Any, error: BaseException | None) -> None:
        if error is not None:
            reason = f"RANGE ERROR:{error}"
            respond(503, orjson.dumps({"health": "false", "reason": reason}))
        else:
            _ask(services, Status(), alarms)

    def alarms(status: StatusResponse | None, _: BaseException | None) -> None:
        if status is not None and status.errors:
            reason = "ALARM " + status.errors[0].rpartition("alarm:")[2].strip()
            respond(503, orjson.dumps({"health": "false", "reason": reason}))
        else:
            respond(200, orjson.dumps({"health": "true", "reason": ""}))

    _ask(services, Range(b"health"), read)


def ready(services: Services, respond: Respond) -> None:
    """`/livez` and `/readyz`: a line of text."""

    def then(_: Any, error: BaseException | None) -> None:
        if error is None:
            respond(200, b"ok\n", "text/plain")
        else:
            respond(503, f"{error}\n".encode(), "text/plain")

    _ask(services, Range(b"health"), then)


def metrics(services: Services, respond: Respond) -> None:
    """`/metrics`: the sizes of the store, in the text form of Prometheus."""

    def then(status: StatusResponse | None, error: BaseException | None) -> None:
        if status is None:
            respond(503, str(error).encode(), "text/plain")
            return
        values = {
            "etcd_server_has_leader": 1,
            "etcd_debugging_mvcc_current_revision": status.revision,
            "etcd_mvcc_db_total_size_in_bytes": status.db_size,
            "etcd_mvcc_db_total_size_in_use_in_bytes": status.db_size_in_use,
            "etcd_server_quota_backend_bytes": status.db_size_quota,
            "process_resident_memory_bytes": _resident_bytes(),
        }
        lines = [f"# TYPE {name} gauge\n{name} {value}\n" for name, value in values.items()]
        respond(200, "".join(lines).encode(), "text/plain; version=0.0.4")

    _ask(services, Status(), then)


def _resident_bytes() -> int:
    """What this process takes of memory, as far as the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


PAGES: dict[str, Callable[[Services, Respond], None]] = {
    "/version": version,
    "/health": health,
    "/livez": ready,
    "/readyz": ready,
    "/metrics": metrics,
}
