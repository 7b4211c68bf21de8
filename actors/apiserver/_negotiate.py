"""Content negotiation: which representation a client gets.

Owns the reading of Accept headers (k8s.io/apiserver/pkg/endpoints/handlers/negotiation).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from protocol import status
from protocol.api import StatusError

__all__ = ["Form", "clauses", "negotiate", "unacceptable"]

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_MEDIA = (JSON, YAML, PROTOBUF)
_SHAPES = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


class Form(NamedTuple):
    """The chosen representation. `shape` is empty, `Table` or `PartialObjectMetadata(List)`, in the
    version `meta`."""

    media: str
    shape: str = ""
    content_type: str = JSON
    meta: str = "meta.k8s.io/v1"


@lru_cache(1024)
def clauses(accept: str) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """An Accept header's media ranges and their parameters, in order of preference."""
    found = []
    for position, clause in enumerate(accept.split(",")):
        words = [word.strip() for word in clause.split(";")]
        if not words[0]:
            continue
        parameters, quality = [], 1.0
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
            else:
                parameters.append((key, value.strip('"')))
        found.append((-quality, position, words[0], tuple(parameters)))
    found.sort(key=lambda item: item[:2])
    return tuple((media, parameters) for _, _, media, parameters in found)


@lru_cache(1024)
def negotiate(accept: str, watching: bool = False) -> Form | None:
    """The best representation that is served, or None. Clients that take protobuf and JSON get JSON,
    which is encoded once per revision; protobuf is for those that take nothing else."""
    shaped_but_wrong = binary = False
    for media, parameters in clauses(accept or "*/*"):
        if media == "*/*":
            media = JSON
        if media == PROTOBUF and not parameters:
            binary = True
        if media not in (JSON, YAML):
            continue
        found = dict(parameters)
        shape = found.get("as", "")
        if shape:
            if shape not in _SHAPES or found.get("g") != "meta.k8s.io" or found.get("v") not in ("v1", "v1beta1"):
                shaped_but_wrong = True
                continue
        return Form(media, shape, media, f"meta.k8s.io/{found['v']}") if shape else Form(media, "", media)
    if binary:
        return Form(PROTOBUF, "", PROTOBUF)
    if shaped_but_wrong:
        return _WRONG_SHAPE
    return None


_WRONG_SHAPE = Form("", "wrong")


def choose(accept: str, watching: bool = False) -> Form:
    """Like `negotiate`, raising 406."""
    form = negotiate(accept, watching)
    if form is None:
        raise unacceptable(watching)
    if form.shape == "wrong":
        raise status.not_acceptable(_MEDIA)
    return form


def unacceptable(watching: bool = False) -> StatusError:
    """406: none of the media types that the client takes."""
    kinds = list(_MEDIA)
    if watching:
        kinds += [JSON + ";stream=watch", PROTOBUF + ";stream=watch"]
    message = "406: Not Acceptable\n\nAvailable representations: " + ", ".join(kinds)
    return status.failure(406, "NotAcceptable", message, {})
