"""Admission webhooks: services of users that are asked about writes.

Owns which webhooks are asked, the AdmissionReview that they get and how their answers count
(k8s.io/apiserver/pkg/admission/plugin/webhook). How they are reached is `_webhook_call`'s.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from actors.apiserver.admission._base import Attributes, Lookup, Plugin, Reinvocation, same
from actors.apiserver.admission._matching import (
    EXEMPT,
    Match,
    Problem,
    converted,
    find_match,
    matches_selectors,
    settled,
)
from actors.apiserver.admission._policies import GROUP
from actors.apiserver.admission._policy_terms import (
    Condition,
    Inputs,
    conditions_met,
    operation_options,
)
from actors.apiserver.patch import go_quote
from protocol import status
from protocol.api import StatusError
from protocol.cel import CelError
from protocol.cel.policies import environment
from protocol.objects import mutable

__all__ = ["MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"]

Object = dict[str, Any]
_DEFAULT_TIMEOUT_S = 10
_HTTP_ERROR = 400
_MAX_KNOWN = 1024
_VERSIONS = ("v1", "v1beta1")


class _Unanswered(Exception):
    """A webhook could not be asked, or answered nonsense: its failure policy decides."""


class _Hook(NamedTuple):
    """One webhook of one configuration."""

    config: str
    place: int
    spec: Object
    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        return str(self.spec["name"])


class _Hooks:
    """The webhooks of one sort, with their conditions compiled once per revision."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._known: dict[str, tuple[str, list[_Hook]]] = {}

    def all(self, lookup: Lookup) -> Iterator[_Hook]:
        """Every webhook, by configuration."""
        for config in lookup.list(GROUP, self._resource):
            metadata = config["metadata"]
            name, revision = metadata["name"], str(metadata.get("resourceVersion"))
            known = self._known.get(name)
            if known is None or known[0] != revision:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                known = self._known[name] = (revision, list(_compiled(name, config)))
            yield from known[1]


def _compiled(name: str, config: Object) -> Iterator[_Hook]:
    for index, spec in enumerate(config.get("webhooks") or ()):
        conditions = tuple(Condition(c["name"], c["expression"], environment()) for c in spec.get("matchConditions") or ())
        yield _Hook(name, index, spec, conditions)


async def _concerned(hook: _Hook, attributes: Attributes) -> Match | None:
    """In which version a webhook wants a write; None: not at all. Raises `StatusError`."""
    match = _wanted(hook, attributes)
    if match is None or not hook.conditions:
        return match
    lookup, spec = attributes.lookup, hook.spec
    new = await converted(lookup, attributes.object, match.kind)
    inputs = Inputs(attributes, match, new, await converted(lookup, attributes.old_object, match.kind))
    try:
        return match if conditions_met(hook.conditions, inputs) else None
    except CelError as error:
        if spec.get("failurePolicy") == "Ignore":
            return None
        raise status.forbidden(attributes.group, attributes.resource, attributes.name, str(error)) from None


def _wanted(hook: _Hook, attributes: Attributes) -> Match | None:
    """What rules and selectors say. Raises `StatusError`."""
    spec = hook.spec
    pending: Problem | None = None
    try:
        if not matches_selectors(spec, attributes):
            return None
    except Problem as problem:
        pending = problem
    match = find_match(spec.get("rules"), spec.get("matchPolicy"), attributes)
    if match is not None and pending is not None:
        raise status.internal_error(str(pending))
    return match


# --- asking -----------------------------------------------------------------------------------


async def _review(hook: _Hook, attributes: Attributes, match: Match, uid: str, version: str) -> Object:
    lookup, subresource = attributes.lookup, attributes.subresource
    own = Match(attributes.kind)
    request: Object = {"uid": uid, "kind": match.gvk(subresource), "resource": match.gvr()}
    if subresource:
        request["subResource"] = subresource
    request |= {"requestKind": own.gvk(subresource), "requestResource": own.gvr()}
    if subresource:
        request["requestSubResource"] = subresource
    namespace = attributes.namespace
    if attributes.kind.kind == "Namespace" and attributes.kind.group == "":
        namespace = attributes.name
    if attributes.name:
        request["name"] = attributes.name
    if namespace:
        request["namespace"] = namespace
    request |= {
        "operation": attributes.operation,
        "userInfo": attributes.user.info(),
        "object": await converted(lookup, attributes.object, match.kind),
        "oldObject": await converted(lookup, attributes.old_object, match.kind),
        "dryRun": attributes.dry_run,
        "options": operation_options(attributes) or None,
    }
    return {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "request": request}


def _uid(lookup: Lookup) -> str:
    bits = lookup.random.getrandbits(128)
    text = f"{bits & ~(0xF000 << 64) & ~(0xC000 << 48) | (4 << 76) | (8 << 60):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Asker(Plugin):
    """What both sorts of webhook plugin do."""

    resource = ""
    mutating = False

    def __init__(self) -> None:
        self._hooks = _Hooks(self.resource)
        self._callers: Any = None

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """All but what configures admission itself."""
        return not (group == GROUP and resource in EXEMPT)

    async def ask(self, hook: _Hook, attributes: Attributes, match: Match) -> Object:
        """The response of a webhook that allows the write. Raises `StatusError` when it does not,
        `_Unanswered` when it cannot be asked."""
        spec = hook.spec
        if attributes.dry_run and spec.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise status.bad_request(f"admission webhook {go_quote(hook.name)} does not support dry run")
        version = next((v for v in spec.get("admissionReviewVersions") or () if v in _VERSIONS), "")
        if not version:
            words = "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
            raise _Unanswered(f"could not create admission objects: {words}")
        uid = _uid(attributes.lookup)
        review = await _review(hook, attributes, match, uid, version)
        body = await self._post(attributes.lookup, spec, orjson.dumps(review))
        try:
            response = self._verified(body, uid, version)
        except ValueError as problem:
            raise _Unanswered(f"received invalid webhook response: {problem}") from None
        for key, value in (response.get("auditAnnotations") or {}).items():
            attributes.audit_annotations[f"{hook.name}/{key}"] = value
        attributes.warnings += response.get("warnings") or ()
        if not response.get("allowed"):
            raise _rejected(hook.name, response.get("status"))
        return response

    async def _post(self, lookup: Lookup, spec: Object, body: bytes) -> bytes:
        from actors.apiserver.admission._webhook_call import Callers, CallFailure, Post, endpoint_of

        if self._callers is None:
            self._callers = Callers("mutating" if self.mutating else "validating")
        timeout_s = spec.get("timeoutSeconds") or _DEFAULT_TIMEOUT_S
        try:
            endpoint = endpoint_of(lookup, spec.get("clientConfig") or {}, timeout_s)
            answer: bytes = await self._callers.post(lookup, Post(endpoint, body, float(timeout_s)))
        except CallFailure as failure:
            raise _Unanswered(f"failed to call webhook: {failure}") from None
        return answer

    def _verified(self, body: bytes, uid: str, version: str) -> Object:
        """The response in a review. Raises `ValueError`."""
        try:
            review = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise _Unanswered(
                "failed to call webhook: couldn't get version/kind; json parse error: invalid character"
                f" {chr(body[0]) if body else 'EOF'!r} looking for beginning of value"
            ) from None
        response = review.get("response") if isinstance(review, dict) else None
        if not isinstance(response, dict):
            raise ValueError("webhook response was absent")
        if version == "v1":
            if response.get("uid") != uid:
                raise ValueError(f'expected response.uid="{uid}", got {go_quote(str(response.get("uid") or ""))}')
            found = f"{review.get('apiVersion', '')}, Kind={review.get('kind', '')}"
            if found != "admission.k8s.io/v1, Kind=AdmissionReview":
                raise ValueError(f"expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {found}")
            self._check_patch(response)
        elif response.get("patch"):
            response["patchType"] = "JSONPatch"
        return response

    def _check_patch(self, response: Object) -> None:
        patch, kind = response.get("patch"), response.get("patchType")
        if not self.mutating:
            if patch:
                raise ValueError("validating webhook may not return response.patch")
            if kind is not None:
                raise ValueError("validating webhook may not return response.patchType")
        elif patch and kind is None:
            raise ValueError("webhook returned response.patch but not response.patchType")
        elif not patch and kind is not None:
            raise ValueError("webhook returned response.patchType but not response.patch")
        elif kind == "":
            raise ValueError('webhook returned invalid response.patchType of ""')

    def failed(self, hook: _Hook, attributes: Attributes, failure: _Unanswered, note: str) -> None:
        """What a failure policy makes of a failure. Raises `StatusError` unless it is ignored."""
        if hook.spec.get("failurePolicy") == "Ignore":
            attributes.audit_annotations[f"failed-open.{note}"] = hook.name
            return
        raise status.internal_error(f"failed calling webhook {go_quote(hook.name)}: {failure}")


def _rejected(name: str, result: Object | None) -> StatusError:
    """The Status of a webhook, made to say that it is a rejection and whose."""
    found: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **(result or {})}
    if (found.get("code") or 0) < _HTTP_ERROR:
        found["code"] = _HTTP_ERROR
    if found.get("status") in (None, "", "Success"):
        found["status"] = "Failure"
    denied = f"admission webhook {go_quote(name)} denied the request"
    why = found.get("message") or found.get("reason")
    found["message"] = f"{denied}: {why}" if why else f"{denied} without explanation"
    order = ("kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code")
    return StatusError({key: found[key] for key in order if key in found})


# --- the two plugins --------------------------------------------------------------------------


class MutatingAdmissionWebhook(_Asker):
    """Webhooks that may change an object, one after the other."""

    name = "MutatingAdmissionWebhook"
    resource = "mutatingwebhookconfigurations"
    mutating = True

    def admit(self, attributes: Attributes) -> Any:
        """Ask each in turn; there is nothing to wait for when none is configured."""
        hooks = list(self._hooks.all(attributes.lookup))
        return self._admit(attributes, hooks) if hooks else None

    async def _admit(self, attributes: Attributes, hooks: list[_Hook]) -> None:
        turn = Reinvocation.of(attributes, self.name)
        for hook in hooks:
            match = await _concerned(hook, attributes)
            key = (hook.config, hook.place, hook.name)
            if match is None or not turn.wants(key):
                continue
            place = f"round_{int(turn.second)}_index_{hook.place}"
            changed = False
            try:
                response = await self.ask(hook, attributes, match)
                changed = await _change(hook, attributes, match, response)
            except _Unanswered as failure:
                self.failed(hook, attributes, failure, f"mutation.webhook.admission.k8s.io/{place}")
            mutated = {"configuration": hook.config, "webhook": hook.name, "mutated": changed}
            attributes.audit_annotations[f"mutation.webhook.admission.k8s.io/{place}"] = orjson.dumps(mutated).decode()
            turn.ran(attributes, key, hook.spec.get("reinvocationPolicy") == "IfNeeded", changed)
        turn.done(attributes)


async def _change(hook: _Hook, attributes: Attributes, match: Match, response: Object) -> bool:
    """Apply the patch of a response; whether the object differs after it."""
    from actors.apiserver.fieldvalidation import DecodeFailure
    from actors.apiserver.patch import PatchProblem, apply_operations

    if not response.get("patch"):
        return False
    try:
        operations = orjson.loads(base64.b64decode(response["patch"]))
        if not isinstance(operations, list):
            raise ValueError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    except (ValueError, binascii.Error) as problem:
        raise _Unanswered(f"received undecodable patch in webhook response: {problem}") from None
    if not operations:
        return False
    lookup, before = attributes.lookup, attributes.object
    if before is None:
        raise status.internal_error(
            f"admission webhook {go_quote(hook.name)} attempted to modify the object, which is not supported for this"
            " operation"
        )
    if response.get("patchType") != "JSONPatch":
        raise _Unanswered(f"unsupported patch type {go_quote(str(response.get('patchType')))}")
    try:
        patched = apply_operations(mutable(await converted(lookup, before, match.kind) or {}), operations)
        after = mutable(await converted(lookup, settled(lookup, patched), attributes.kind) or {})
    except (PatchProblem, DecodeFailure) as problem:
        raise status.internal_error(str(problem)) from None
    attributes.object = after
    return not same(before, after)


class ValidatingAdmissionWebhook(_Asker):
    """Webhooks that may refuse an object, all at once."""

    name = "ValidatingAdmissionWebhook"
    resource = "validatingwebhookconfigurations"

    def validate(self, attributes: Attributes) -> Any:
        """Ask all that are concerned; there is nothing to wait for when none is."""
        hooks = [hook for hook in self._hooks.all(attributes.lookup) if _wanted(hook, attributes) is not None]
        return self._validate(attributes, hooks) if hooks else None

    async def _validate(self, attributes: Attributes, hooks: list[_Hook]) -> None:
        actor = attributes.lookup.actor
        found = [(hook, await _concerned(hook, attributes)) for hook in hooks]
        concerned = [(hook, match) for hook, match in found if match is not None]
        calls = [self._one(attributes, hook, match, i) for i, (hook, match) in enumerate(concerned)]
        await actor.gather(*calls)

    async def _one(self, attributes: Attributes, hook: _Hook, match: Match, index: int) -> None:
        try:
            await self.ask(hook, attributes, match)
        except _Unanswered as failure:
            self.failed(hook, attributes, failure, f"validating.webhook.admission.k8s.io/round_0_index_{index}")
