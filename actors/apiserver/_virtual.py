"""Resources that are computed, not stored: access reviews, token reviews, bindings, component
statuses.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from typing import Any

import orjson

from actors.apiserver import _parts as parts
from actors.apiserver._authn import with_group
from actors.apiserver._authz import Attributes
from actors.apiserver._core import Answer, Core
from actors.apiserver._front import whoami
from actors.apiserver._options import check_write_options
from actors.apiserver._request import Request
from actors.apiserver.strategies import FieldError
from protocol import status
from protocol.api import UserInfo

__all__ = ["virtual"]

Object = dict[str, Any]
_COMPONENTS = (("scheduler", "ok"), ("controller-manager", "ok"), ("etcd-0", "ok"))


async def virtual(core: Core, request: Request) -> Answer:
    """Answer a request for something that is computed."""
    kind = request.served.kind
    if kind.kind == "ComponentStatus":
        return _component_statuses(request)
    if kind.kind == "Binding":
        from actors.apiserver._subresources import bind

        return await bind(core, request)
    check_write_options("CreateOptions", request.options)
    obj = parts.decode(core, request, request.body)
    if kind.namespaced:
        found = obj["metadata"].get("namespace")
        if found and found != request.namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        obj["metadata"]["namespace"] = request.namespace
    parts.own(core, request, obj, None)
    return Answer(request.served, obj=_REVIEWS[kind.kind](core, request, obj), code=201)


def _component_statuses(request: Request) -> Answer:
    items = [_component(name, message) for name, message in _COMPONENTS]
    if request.verb == "get":
        for item in items:
            if item["metadata"]["name"] == request.name:
                return Answer(request.served, obj=item)
        raise status.not_found("", "componentstatus", request.name)
    bare = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
    obj = {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": bare}
    return Answer(obj=obj)


def _component(name: str, message: str) -> Object:
    condition = {"type": "Healthy", "status": "True", "message": message}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}


# --- access reviews ---------------------------------------------------------------------------


def _asked(spec: Object) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None:
        return Attributes(
            resource.get("verb", ""), resource.get("group", ""), resource.get("resource", ""),
            resource.get("subresource", ""), resource.get("namespace", ""), resource.get("name", ""),
        )
    return Attributes((path or {}).get("verb", ""), path=(path or {}).get("path", ""))


def _check_spec(obj: Object, with_user: bool, local: bool = False) -> None:
    """Raise 422 for a review that asks for nothing, or for too much."""
    spec = obj.get("spec") or {}
    errors = []
    both = spec.get("resourceAttributes") is not None and spec.get("nonResourceAttributes") is not None
    if both:
        shown = {"Path": "", "Verb": "", **{k.capitalize(): v for k, v in spec["nonResourceAttributes"].items()}}
        errors.append(
            FieldError(
                "FieldValueInvalid", "spec.nonResourceAttributes",
                f"Invalid value: {orjson.dumps(shown).decode()}: cannot be specified in combination with "
                "resourceAttributes",
            )
        )
    if spec.get("resourceAttributes") is None and spec.get("nonResourceAttributes") is None:
        errors.append(
            FieldError(
                "FieldValueInvalid", "spec.resourceAttributes",
                "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )
        )
    if with_user and not spec.get("user") and not spec.get("groups"):
        errors.append(
            FieldError(
                "FieldValueInvalid", "spec.user", 'Invalid value: "": at least one of user or group must be specified'
            )
        )
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields" and not (local and k == "namespace")}
    if metadata:
        errors.append(FieldError("FieldValueInvalid", "metadata", "Invalid value: must be empty"))
    if local and not errors:
        errors += _check_local(obj)
    if errors:
        raise status.invalid("authorization.k8s.io", "", "", errors)


def _check_local(obj: Object) -> list[FieldError]:
    """What holds for reviews in a namespace only."""
    spec, home = obj["spec"], obj["metadata"].get("namespace", "")
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    errors = []
    if resource is not None and resource.get("namespace", "") != home:
        errors.append(
            FieldError(
                "FieldValueInvalid", "spec.resourceAttributes.namespace",
                f'Invalid value: "{resource.get("namespace", "")}": must match metadata.namespace',
            )
        )
    if path is not None:
        shown = {"Path": path.get("path", ""), "Verb": path.get("verb", "")}
        errors.append(
            FieldError(
                "FieldValueInvalid", "spec.nonResourceAttributes",
                f"Invalid value: {orjson.dumps(shown).decode()}: disallowed on this kind of request",
            )
        )
    return errors


def _decided(core: Core, obj: Object, user: UserInfo) -> Object:
    allowed, reason = core.authorizer.decide(user, _asked(obj["spec"]))
    found: Object = {"allowed": allowed}
    if reason:
        found["reason"] = reason
    obj["status"] = found
    return obj


def _self_access(core: Core, request: Request, obj: Object) -> Object:
    _check_spec(obj, False)
    return _decided(core, obj, request.user)


def _user_of(spec: Object) -> UserInfo:
    return UserInfo(
        spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""),
        {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()},
    )


def _access(core: Core, request: Request, obj: Object) -> Object:
    _check_spec(obj, True)
    return _decided(core, obj, _user_of(obj["spec"]))


def _local_access(core: Core, request: Request, obj: Object) -> Object:
    _check_spec(obj, True, local=True)
    return _decided(core, obj, _user_of(obj["spec"]))


def _self_rules(core: Core, request: Request, obj: Object) -> Object:
    namespace = (obj.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise status.bad_request("no namespace on request")
    resources, paths = [], []
    problems = []
    for grant in core.authorizer.grants(request.user, namespace):
        rule = grant.rule
        if grant.missing:
            problems.append(grant.missing)
        if rule.get("resources"):
            resources.append({k: rule[k] for k in ("verbs", "apiGroups", "resources", "resourceNames") if rule.get(k)})
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": rule.get("verbs") or [], "nonResourceURLs": rule["nonResourceURLs"]})
    obj["status"] = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": bool(problems)}
    if problems:
        obj["status"]["evaluationError"] = status.aggregate(problems)
    return obj


def _self_subject(core: Core, request: Request, obj: Object) -> Object:
    return {
        "kind": "SelfSubjectReview",
        "apiVersion": obj["apiVersion"],
        "metadata": {"creationTimestamp": core.clock.rfc3339()},
        "status": {"userInfo": whoami(request.user)},
    }


def _token_review(core: Core, request: Request, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    token = spec.get("token", "")
    if not token:
        raise status.bad_request("token is required for TokenReview in authentication")
    user = core.config.tokens.get(token)
    audiences = list(spec.get("audiences") or ())
    granted: list[str] = []
    if user is not None:
        granted = audiences
    else:
        user, granted = core.tokens.review(token, audiences)
    if user is None:
        obj["status"] = {"user": {}, "error": "invalid bearer token"}
    else:
        obj["status"] = {"authenticated": True, "user": whoami(with_group(user))}
        if granted:
            obj["status"]["audiences"] = granted
    return obj


_REVIEWS = {
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _self_rules,
    "SelfSubjectReview": _self_subject,
    "TokenReview": _token_review,
}

