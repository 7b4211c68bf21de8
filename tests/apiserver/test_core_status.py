"""Status errors say what Kubernetes says."""

from __future__ import annotations

import pytest

from actors.apiserver.strategies import FieldError
from protocol import status
from protocol.api import StatusError


def test_a_missing_object_is_named_with_its_resource_and_group() -> None:
    error = status.not_found("apps", "deployments", "web")
    assert error.message == 'deployments.apps "web" not found'
    assert error.status["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    assert (error.code, error.reason) == (404, "NotFound")


def test_details_leave_out_what_is_empty() -> None:
    assert status.not_found("", "pods", "p").status["details"] == {"name": "p", "kind": "pods"}


def test_one_field_error_is_named_and_several_are_listed_once_each() -> None:
    one = FieldError("FieldValueRequired", "spec.x", "Required value")
    two = FieldError("FieldValueInvalid", "spec.y", 'Invalid value: "b": no')
    assert status.invalid("", "Pod", "p", [one]).message == 'Pod "p" is invalid: spec.x: Required value'
    both = status.invalid("apps", "Deployment", "d", [one, two, one])
    assert both.message == 'Deployment.apps "d" is invalid: [spec.x: Required value, spec.y: Invalid value: "b": no]'
    assert [cause["field"] for cause in both.status["details"]["causes"]] == ["spec.x", "spec.y", "spec.x"]


@pytest.mark.parametrize(
    ("error", "code", "reason", "text"),
    [
        (status.already_exists("", "pods", "p"), 409, "AlreadyExists", 'pods "p" already exists'),
        (status.conflict("", "pods", "p", "why"), 409, "Conflict", 'Operation cannot be fulfilled on pods "p": why'),
        (status.forbidden("", "pods", "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (status.forbidden("", "", "", "no"), 403, "Forbidden", "forbidden: no"),
        (status.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (status.internal_error("x"), 500, "InternalError", "Internal error occurred: x"),
        (status.expired("old"), 410, "Expired", "old"),
        (status.timeout("slow"), 504, "Timeout", "Timeout: slow"),
        (status.page_not_found(), 404, "NotFound", "the server could not find the requested resource"),
    ],
)
def test_every_failure_has_its_code_reason_and_text(error: StatusError, code: int, reason: str, text: str) -> None:
    assert (error.code, error.reason, error.message) == (code, reason, text)
