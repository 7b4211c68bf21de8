"""Label and field selectors of a request.

Owns which fields of a kind can be selected, which selectors an index answers, and the words for
those that are wrong.

https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from actors.apiserver._request import Request
from actors.apiserver._resources import Served
from actors.apiserver._watch import Selection
from protocol import status
from protocol.fieldselectors import FieldSelector, parse_field_selector
from protocol.selectors import SelectorError, parse_selector

__all__ = ["selection"]

Object = dict[str, Any]

_parse_labels = lru_cache(2048)(parse_selector)
_parse_fields = lru_cache(8192)(parse_field_selector)


def selection(request: Request) -> Selection:
    """What the request's selectors select. Raises 400 for selectors that do not parse."""
    options, served = request.options, request.served
    labels = None
    text = options.get("labelSelector")
    if text:
        try:
            selector = _parse_labels(text)
        except SelectorError as error:
            raise status.bad_request(str(error)) from None
        labels = None if selector.empty else selector.matches
    chosen = Selection(request.namespace, request.name, labels=labels)
    text = options.get("fieldSelector")
    if text:
        try:
            terms = _parse_fields(text)
        except SelectorError as error:
            raise status.bad_request(str(error)) from None
        _narrow(chosen, served, terms)
    if served.webhook is not None and (chosen.labels is not None or chosen.fields is not None):
        # A webhook may change fields and labels: the version that is asked for is what counts.
        chosen.view = lambda entry: entry.view(served.kind.api_version, served.from_storage).object
    return chosen


def _narrow(chosen: Selection, served: Served, terms: FieldSelector) -> None:
    """Turn field terms into index keys where there is an index, else into a test."""
    known = _field_names(served)
    rest: list[tuple[str, str, str]] = []
    for field, operator, value in terms.terms:
        if not field and not value:
            continue
        if served.qualified == "pods":
            field = _OLD_LABELS.get(field, field)
        if field not in known:
            raise status.bad_request(_unknown_field(served, field))
        if field == "metadata.name" and operator == "=" and (not chosen.name or chosen.name == value):
            chosen.name = value
            if not value:
                rest.append((field, operator, value))
        elif field == "metadata.namespace" and operator == "=" and chosen.namespace in ("", value) and value:
            chosen.namespace = value
        else:
            if field == "spec.nodeName" and operator == "=":
                chosen.node = value
            rest.append((field, operator, value))
    if rest:
        chosen.fields = _field_test(served, FieldSelector(tuple(rest)))


def _field_test(served: Served, selector: FieldSelector) -> Callable[[Object], bool]:
    if len(selector.terms) == 1 and selector.terms[0][0] == "spec.nodeName":
        _, operator, value = selector.terms[0]
        if operator == "=":
            return lambda obj: (obj.get("spec", {}).get("nodeName") or "") == value
    fields = served.storage_strategy.fields
    return lambda obj: selector.matches(fields(obj))


_GENERIC = ("metadata.name", "metadata.namespace")


def _field_names(served: Served) -> tuple[str, ...]:
    """The fields that can be selected."""
    kind = served.kind
    if served.custom is None and (kind.group, kind.resource) not in (*_OWN_LABELS, *_OTHER_LABELS):
        return _GENERIC
    key = (kind.group, kind.version, kind.resource)
    names = _FIELD_NAMES.get(key)
    if names is None or served.custom is not None:
        found = served.strategy.fields(_Blank({"metadata": _Blank()}))
        names = tuple(name for name in found if name != "name")
        if served.custom is None:
            _FIELD_NAMES[key] = names
    return names


_FIELD_NAMES: dict[tuple[str, str, str], tuple[str, ...]] = {}


class _Blank(dict[str, Any]):
    """An object without content, for asking a strategy which fields it knows."""


def _unknown_field(served: Served, field: str) -> str:
    """What the kind's own conversion of field labels says, or the generic one's words."""
    kind = served.kind
    place = (kind.group, kind.resource)
    if place in _OWN_LABELS or served.custom is not None:
        return f"field label not supported: {field}"
    if place == ("batch", "jobs"):
        return f'field label "{field}" not supported for batchv1.Job'
    if place == ("resource.k8s.io", "resourceslices"):
        return f"field label not supported for {kind.group}/{kind.version}, Kind={kind.kind}: {field}"
    words = ", ".join(f'"{name}"' for name in _GENERIC)
    return f'"{field}" is not a known field selector: only {words}'


_OWN_LABELS = {
    *(("", name) for name in ("pods", "nodes", "replicationcontrollers", "events", "namespaces", "secrets", "services")),
    *(("certificates.k8s.io", name)
      for name in ("certificatesigningrequests", "clustertrustbundles", "podcertificaterequests")),
    ("events.k8s.io", "events"),
}
"""Kinds whose selectable fields have a conversion of their own."""
_OTHER_LABELS = (("batch", "jobs"), ("resource.k8s.io", "resourceslices"))
_OLD_LABELS = {"spec.host": "spec.nodeName"}
