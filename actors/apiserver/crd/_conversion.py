"""Conversion webhooks: services of users that turn custom objects of one version into another.

Owns the ConversionReview that they get, the checks of what they answer
(apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go) and that one revision of an
object is converted to a version once. How they are reached is `admission._webhook_call`'s. It must
never keep anybody waiting but those who need the converted object.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver.admission._webhook_call import Callers, CallFailure, Post, endpoint_of
from actors.apiserver.patch import go_quote
from actors.kernel import Future
from protocol import status
from protocol.api import StatusError
from protocol.objects import mutable

if TYPE_CHECKING:
    from actors.apiserver._cache import Entry
    from actors.apiserver._core import Core
    from actors.apiserver._resources import Served
    from actors.apiserver.crd._custom import Custom

__all__ = ["WebhookConversion", "checked", "with_metadata_of"]

Object = dict[str, Any]
_TIMEOUT_S = 30
_BATCH = 500
_REVIEW_GROUP = "apiextensions.k8s.io"
_PATHS = {"labels": "metadata.labels", "annotations": "metadata.annotation"}
_VERSIONS = ("v1", "v1beta1")
_GO_TYPES = {str: "string", bool: "bool", int: "int64", float: "float64", list: "[]interface {}", type(None): "<nil>"}


class WebhookConversion:
    """The conversion between the versions of one definition. Lives inside the API server actor."""

    def __init__(self, core: Core, definition: Object, customs: Iterable[Custom]) -> None:
        webhook = definition["spec"]["conversion"]["webhook"]
        self.core = core
        self.customs = {custom.kind.api_version: custom for custom in customs}
        self.storage_api = next(c.kind.api_version for c in self.customs.values() if c.version.get("storage"))
        self._client: Object = webhook.get("clientConfig") or {}
        self._review_versions: list[str] = webhook.get("conversionReviewVersions") or []
        self._flights: dict[tuple[str, str, int], Future[Object]] = {}

    async def prepare(self, served: Served, entries: Iterable[Entry]) -> None:
        """Have entries in a served version at hand: afterwards their `view` answers at once.

        Each revision is asked about once, however many want it at a time. Raises `StatusError` (500).
        """
        api_version = served.kind.api_version
        missing = [entry for entry in entries if not entry.has(api_version)]
        others = [entry for entry in missing if self._place(entry, api_version) in self._flights]
        own = [entry for entry in missing if self._place(entry, api_version) not in self._flights]
        for start in range(0, len(own), _BATCH):
            await self._fly(own[start : start + _BATCH], api_version)
        for entry in others:
            await self._join(entry, api_version)

    def _place(self, entry: Entry, api_version: str) -> tuple[str, str, int]:
        return api_version, entry.key, entry.revision

    async def _fly(self, entries: list[Entry], api_version: str) -> None:
        """Convert some entries; whoever wants the same meanwhile waits for this call."""
        flights: dict[tuple[str, str, int], Future[Object]] = {self._place(e, api_version): Future() for e in entries}
        self._flights.update(flights)
        try:
            found = await self.convert([entry.object for entry in entries], api_version)
        except BaseException as error:
            failure = error if isinstance(error, StatusError) else status.unknown_error(str(error))
            for place, flight in flights.items():
                self._flights.pop(place, None)
                flight.fail(failure)
            raise
        for entry, obj in zip(entries, found, strict=True):
            place = self._place(entry, api_version)
            self._flights.pop(place, None)
            entry.adopt(api_version, obj)
            flights[place].resolve(obj)

    async def _join(self, entry: Entry, api_version: str) -> None:
        flight = self._flights.get(self._place(entry, api_version))
        if flight is not None:
            try:
                entry.adopt(api_version, await flight)
                return
            except StatusError:
                pass  # another object of that call may be to blame: ask about this one alone
        if not entry.has(api_version):
            await self._fly([entry], api_version)

    async def stored(self, obj: Object) -> Object:
        """An object of any version as it is stored; private to the caller. Raises `StatusError` (500)."""
        return await self.in_version(obj, self.storage_api)

    async def in_version(self, obj: Object, api_version: str) -> Object:
        """An object in a version; itself when it has that already. Raises `StatusError` (500)."""
        if obj["apiVersion"] == api_version:
            return obj
        return (await self.convert([obj], api_version))[0]

    async def convert(self, objects: list[Object], api_version: str) -> list[Object]:
        """Objects of other versions in `api_version`, in their order. Raises `StatusError` (500)."""
        about = f"conversion webhook for {objects[0]['apiVersion']}, Kind={objects[0]['kind']}"
        version = next((v for v in self._review_versions if v in _VERSIONS), "")
        if not version:
            raise status.unknown_error("no supported conversion review versions")
        uid = self.core.uid()
        request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
        review = {"kind": "ConversionReview", "apiVersion": f"{_REVIEW_GROUP}/{version}", "request": request}
        try:
            endpoint = endpoint_of(self.core, self._client, _TIMEOUT_S)
            post = Post(endpoint, orjson.dumps(review), float(_TIMEOUT_S))
            found = _answered(await self._callers().post(self.core, post), uid, version)
        except (CallFailure, ValueError) as failure:
            raise status.unknown_error(f"{about} failed: {failure}") from None
        try:
            converted = checked(objects, found, api_version)
        except ValueError as problem:
            raise status.unknown_error(f"{about} returned {problem}") from None
        custom = self.customs[api_version]
        return [custom.clean(None, obj, "Ignore")[0] for obj in converted]

    def _callers(self) -> Callers:
        callers: Callers | None = self.core.definitions.callers
        if callers is None:
            callers = self.core.definitions.callers = Callers("conversion")
        return callers


def _answered(body: bytes, uid: str, version: str) -> list[Any]:
    """The objects in a review. Raises `ValueError` with upstream's words."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError:
        first = go_quote(chr(body[0]))[1:-1] if body else ""
        why = f"invalid character '{first}' looking for beginning of value" if body else "unexpected end of JSON input"
        raise ValueError(f"couldn't get version/kind; json parse error: {why}") from None
    if not isinstance(review, dict):
        raise ValueError("couldn't get version/kind; json parse error: json: cannot unmarshal into Go value")
    wanted = f"{_REVIEW_GROUP}/{version}, Kind=ConversionReview"
    got = f"{review.get('apiVersion') or '/'}, Kind={review.get('kind') or ''}"
    if version == "v1" and got != wanted:
        raise ValueError(f"expected webhook response of {wanted}, got {got}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise ValueError("no response provided")
    if version == "v1" and response.get("uid") != uid:
        raise ValueError(f'expected response.uid="{uid}", got {go_quote(str(response.get("uid") or ""))}')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        message = result.get("message")
        raise ValueError(message or f"response.result.status was '{result.get('status') or ''}', not 'Success'")
    found = response.get("convertedObjects")
    return found if isinstance(found, list) else []


def checked(objects: list[Object], found: list[Any], api_version: str) -> list[Object]:
    """What a webhook made of some objects, with the metadata that it may not change as it was.

    Raises `ValueError` with what follows "conversion webhook for ... returned".
    """
    if len(found) != len(objects):
        raise ValueError(f"{len(found)} objects, expected {len(objects)}")
    out: list[Object] = []
    for index, (before, after) in enumerate(zip(objects, found, strict=True)):
        single = len(objects) == 1
        what = "invalid object" if single else f"invalid converted object at index {index}"
        where = f"{what} at index 0" if single else what
        if not isinstance(after, dict):
            raise ValueError(f"{where}: Object 'Kind' is missing in '{orjson.dumps(after).decode()}'")
        got, kind = after.get("apiVersion") or "", after.get("kind") or ""
        if got != api_version:
            raise ValueError(f"{where}: invalid groupVersion (expected {api_version}, received {got or '/'})")
        if kind != before["kind"]:
            raise ValueError(f"{where}: invalid kind (expected {before['kind']}, received {kind})")
        try:
            _same_identity(before, after)
        except ValueError as problem:
            raise ValueError(f"{what}: {problem}") from None
        try:
            out.append(with_metadata_of(before, after))
        except ValueError as problem:
            suffix = "" if single else f" in object at index {index}"
            raise ValueError(f"invalid metadata{suffix}: {problem}") from None
    return out


def _same_identity(before: Object, after: Object) -> None:
    old, new = before["metadata"], after.get("metadata")
    new = new if isinstance(new, dict) else {}
    for field, word in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        was, now = old.get(field) or "", new.get(field) or ""
        if was != now:
            raise ValueError(f"must have the same {word}: {was} != {now}")


def with_metadata_of(before: Object, after: Object) -> Object:
    """A converted object with the metadata of the original, but its own labels and annotations.

    Raises `ValueError`.
    """
    from actors.apiserver.strategies._meta import validate_annotations, validate_labels

    if "metadata" not in after:
        raise ValueError("missing metadata in converted object")
    found = after["metadata"]
    if not isinstance(found, dict):
        raise ValueError(f"invalid metadata of type {_go_type(found)} in converted object")
    metadata = mutable(before["metadata"])
    for field, check in (("labels", validate_labels), ("annotations", validate_annotations)):
        value = found.get(field)
        if value is None:
            metadata.pop(field, None)
            continue
        if not isinstance(value, dict):
            raise ValueError(f"invalid metadata.{field} of type {_go_type(value)} in converted object")
        for key, item in value.items():
            if not isinstance(item, str):
                raise ValueError(
                    f"metadata.{field}[{key}] must be a string, but is {_go_type(item)} in converted object"
                )
        if value != metadata.get(field):
            errors = check(value, _PATHS[field])
            if errors:
                texts = [f"{error.field}: {error.message}" for error in errors]
                raise ValueError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
        metadata[field] = value
    return {**after, "metadata": metadata}


def _go_type(value: Any) -> str:
    return _GO_TYPES.get(type(value), "map[string]interface {}")
