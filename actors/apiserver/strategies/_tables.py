"""Cells that tables of several kinds have in common.

Owns the columns of workloads (containers, images, selector) and small formats. Knows no kind.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import Column

__all__ = ["CONTAINERS", "IMAGES", "SELECTOR", "container_cells", "more", "truth"]

Object = dict[str, Any]

CONTAINERS = Column("Containers", "string", "", "Names of each container in the template.", 1)
IMAGES = Column("Images", "string", "", "Images referenced by each container in the template.", 1)
SELECTOR = Column("Selector", "string", "", "Labels of the pods that belong to it.", 1)


def container_cells(spec: Object | None) -> tuple[str, str]:
    """Names and images of the containers of a PodSpec, each separated by commas."""
    containers = (spec or {}).get("containers") or ()
    names = ",".join(container.get("name", "") for container in containers)
    return names, ",".join(container.get("image", "") for container in containers)


def more(items: list[str], limit: int, nothing: str) -> str:
    """At most `limit` items and how many more there are."""
    if not items:
        return nothing
    text = ",".join(items[:limit])
    return text if len(items) <= limit else f"{text} + {len(items) - limit} more..."


def truth(value: bool | None) -> str:
    """`True`, `False` or `<unset>`."""
    return "<unset>" if value is None else str(value)
