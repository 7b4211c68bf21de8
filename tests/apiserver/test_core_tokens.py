"""TokenRequest: what its metadata may say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocol.api import StatusError


@pytest.mark.parametrize(
    ("metadata", "code", "text"),
    [
        ({"name": "other"}, 422, 'TokenRequest.authentication.k8s.io "robot" is invalid: metadata.name: Invalid value: '
         '"other": must match the service account name if specified'),
        ({"namespace": "other"}, 400, "the namespace of the provided object does not match the namespace sent on the request"),
    ],
)
def test_a_token_request_names_its_account_or_nobody(
    api: Any, refused: Callable[..., StatusError], metadata: dict[str, str], code: int, text: str
) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "robot"}})
    body = {"metadata": metadata, "spec": {}}
    error = refused(api.create, "serviceaccounts", "default", body, name="robot", sub="token")
    assert (error.status["code"], error.status["message"]) == (code, text)


def test_a_token_request_may_repeat_its_account(api: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "robot"}})
    body = {"metadata": {"name": "robot", "namespace": "default"}, "spec": {}}
    assert api.create("serviceaccounts", "default", body, name="robot", sub="token")["status"]["token"]
