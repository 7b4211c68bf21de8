"""OpenAPI documents over HTTP. What they say is `actors.apiserver.openapi`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.apiserver._messages import HttpReply
from protocol import status

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall

__all__ = ["openapi"]


def openapi(core: Core, call: HttpCall, path: str, options: dict[str, str]) -> HttpReply:
    """Answer a path under `/openapi`."""
    raise status.page_not_found()
