"""Status errors: one constructor per way in which an API request can fail.

Owns the texts, codes, reasons and details that Kubernetes answers
(`k8s.io/apimachinery/pkg/api/errors`). It must never know how a request is processed: a
constructor takes names and words and returns a `StatusError` ready to be raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from protocol.api import StatusError

__all__ = [
    "aggregate",
    "already_exists",
    "apply_conflict",
    "bad_request",
    "conflict",
    "expired",
    "failure",
    "forbidden",
    "generate_name_conflict",
    "gone",
    "internal_error",
    "invalid",
    "method_not_allowed",
    "method_not_supported",
    "not_acceptable",
    "not_found",
    "page_not_found",
    "qualified",
    "request_entity_too_large",
    "server_timeout",
    "service_unavailable",
    "success",
    "timeout",
    "too_large_resource_version",
    "too_many_requests",
    "unauthorized",
    "unknown_error",
    "unprocessable",
    "unsupported_media_type",
]

Cause = dict[str, str]


class FieldErrorLike(Protocol):
    """What `invalid` needs of a field error; `strategies.FieldError` has these three."""

    @property
    def type(self) -> str:
        """The cause's reason, e.g. `FieldValueRequired`."""

    @property
    def field(self) -> str:
        """The path of the field, e.g. `spec.containers[0].name`."""

    @property
    def message(self) -> str:
        """The text without the field, e.g. `Required value`."""


def failure(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> StatusError:
    """Any failure: `reason` and `details` are left out when empty, as Go's `omitempty` does."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
    }
    if reason:
        status["reason"] = reason
    if details is not None:
        status["details"] = {key: value for key, value in details.items() if value}
    status["code"] = code
    return StatusError(status)


def success(details: dict[str, Any] | None = None, code: int = 0, message: str = "") -> dict[str, Any]:
    """The Status of something done, as DELETE and some subresources answer."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if message:
        status["message"] = message
    if details is not None:
        status["details"] = {key: value for key, value in details.items() if value}
    if code:
        status["code"] = code
    return status


def qualified(group: str, resource: str) -> str:
    """`deployments.apps`, or `pods` in the core group."""
    return f"{resource}.{group}" if group else resource


def aggregate(messages: Iterable[str]) -> str:
    """Several errors as one text, each text once: `a`, or `[a, b]`."""
    unique = list(dict.fromkeys(messages))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def not_found(group: str, resource: str, name: str) -> StatusError:
    """404: no object of this name."""
    message = f'{qualified(group, resource)} "{name}" not found'
    return failure(404, "NotFound", message, {"name": name, "group": group, "kind": resource})


def page_not_found() -> StatusError:
    """404: the version or resource is not served (a Status, unlike unknown groups)."""
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, resource: str, name: str) -> StatusError:
    """409: create under a name that is taken."""
    message = f'{qualified(group, resource)} "{name}" already exists'
    return failure(409, "AlreadyExists", message, {"name": name, "group": group, "kind": resource})


def generate_name_conflict(group: str, resource: str, name: str, retry_after_s: int = 1) -> StatusError:
    """409: every generated name tried was taken."""
    message = (
        f'{qualified(group, resource)} "{name}" already exists, '
        "the server was not able to generate a unique name for the object"
    )
    details = {"name": name, "group": group, "kind": resource, "retryAfterSeconds": retry_after_s}
    return failure(409, "AlreadyExists", message, details)


def conflict(group: str, resource: str, name: str, why: str) -> StatusError:
    """409: the object is not in the state that the request expects."""
    message = f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {why}'
    return failure(409, "Conflict", message, {"name": name, "group": group, "kind": resource})


def apply_conflict(causes: Sequence[Cause], message: str) -> StatusError:
    """409: server-side apply found fields that other managers own."""
    return failure(409, "Conflict", message, {"causes": list(causes)})


def unauthorized(message: str = "Unauthorized") -> StatusError:
    """401: the credentials name nobody."""
    return failure(401, "Unauthorized", message)


def forbidden(group: str, resource: str, name: str, why: str) -> StatusError:
    """403: `why` follows `... is forbidden: `; without a resource only `forbidden: why`."""
    if not resource:
        message = f"forbidden: {why}"
    elif not name:
        message = f"{qualified(group, resource)} is forbidden: {why}"
    else:
        message = f'{qualified(group, resource)} "{name}" is forbidden: {why}'
    return failure(403, "Forbidden", message, {"name": name, "group": group, "kind": resource})


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldErrorLike]) -> StatusError:
    """422: the object breaks rules; one cause per error, in order."""
    causes = [{"reason": e.type, "message": e.message, "field": e.field} for e in errors]
    message = f'{qualified(group, kind)} "{name}" is invalid'
    if causes:
        message += ": " + aggregate(f"{e.field}: {e.message}" for e in errors)
    return failure(422, "Invalid", message, {"name": name, "group": group, "kind": kind, "causes": causes})


def unprocessable(message: str, details: dict[str, Any] | None = None) -> StatusError:
    """422 with a free text, e.g. a JSON patch that fails to apply."""
    return failure(422, "Invalid", message, details if details is not None else {})


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return failure(400, "BadRequest", message)


def too_many_requests(message: str, retry_after_s: int = 0, causes: Sequence[Cause] = ()) -> StatusError:
    """429: try again later; `retry_after_s` 0 leaves the hint out."""
    return failure(
        429, "TooManyRequests", message, {"causes": list(causes), "retryAfterSeconds": retry_after_s}
    )


def service_unavailable(message: str) -> StatusError:
    """503: a part that is needed is not there."""
    return failure(503, "ServiceUnavailable", message)


def method_not_supported(group: str, resource: str, action: str) -> StatusError:
    """405: the resource does not have this verb."""
    message = f'{action} is not supported on resources of kind "{qualified(group, resource)}"'
    return failure(405, "MethodNotAllowed", message, {"group": group, "kind": resource})


def method_not_allowed() -> StatusError:
    """405 for an HTTP method that the path does not route."""
    return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def server_timeout(group: str, resource: str, operation: str, retry_after_s: int = 0) -> StatusError:
    """500 ServerTimeout: the operation did not finish and may be tried again."""
    message = (
        f"The {operation} operation against {qualified(group, resource)} "
        "could not be completed at this time, please try again."
    )
    details = {"group": group, "kind": resource, "retryAfterSeconds": retry_after_s}
    return failure(500, "ServerTimeout", message, details)


def internal_error(message: str) -> StatusError:
    """500 with `Internal error occurred: ` before the text."""
    return failure(
        500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]}
    )


def unknown_error(message: str) -> StatusError:
    """500 without a reason: an error that is no API error upstream either."""
    return failure(500, "", message)


def timeout(message: str, retry_after_s: int = 0) -> StatusError:
    """504: a deadline of the request passed."""
    return failure(504, "Timeout", f"Timeout: {message}", {"retryAfterSeconds": retry_after_s})


def too_large_resource_version(requested: int, current: int, retry_after_s: int = 1) -> StatusError:
    """504: the version asked for is in the future and did not come in time."""
    message = f"Too large resource version: {requested}, current: {current}"
    return failure(
        504,
        "Timeout",
        f"Timeout: {message}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": retry_after_s,
        },
    )


def gone(message: str) -> StatusError:
    """410 Gone."""
    return failure(410, "Gone", message)


def expired(message: str) -> StatusError:
    """410 Expired: the version or continue token is older than what is kept."""
    return failure(410, "Expired", message)


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406: no media type that the client takes."""
    return failure(
        406, "NotAcceptable", "only the following media types are accepted: " + ", ".join(accepted)
    )


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: a body in a media type that is not understood."""
    message = "the body of the request was in an unknown format - accepted media types include: "
    return failure(415, "UnsupportedMediaType", message + ", ".join(accepted))


def request_entity_too_large(message: str) -> StatusError:
    """413: body above the limit."""
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: {message}")
