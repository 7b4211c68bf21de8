"""Reviews: whether somebody may do something, what one may do, who a token names, who one is.

Owns their validation and answers; nothing of them is stored.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from typing import Any

import orjson

from actors.apiserver._authn import token_opinion
from actors.apiserver._authz import Attributes
from actors.apiserver._core import Core
from actors.apiserver._nodeauthz import node_name_of
from actors.apiserver._request import Request
from actors.apiserver.patch._gotext import go_quote
from actors.apiserver.strategies import FieldError
from protocol import status
from protocol.api import UserInfo

__all__ = ["review"]

Object = dict[str, Any]
SELECTORS_SINCE = 32
_META_ORDER = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
    "managedFields",
)  # fmt: skip


async def review(core: Core, request: Request, kind: str, obj: Object) -> Object:
    """The review with its answer. Raises 400 and 422."""
    if kind == "TokenReview":
        return await _token_review(core, obj)
    return _REVIEWS[kind](core, request, obj)


# --- access -------------------------------------------------------------------------------------


def _asked(core: Core, spec: Object) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None:
        fields = _field_selector(resource.get("fieldSelector")) if core.config.minor >= SELECTORS_SINCE else ""
        return Attributes(
            resource.get("verb", ""), resource.get("group", ""), resource.get("resource", ""),
            resource.get("subresource", ""), resource.get("namespace", ""), resource.get("name", ""), fields=fields,
        )
    return Attributes((path or {}).get("verb", ""), path=(path or {}).get("path", ""))


def _field_selector(selector: Object | None) -> str:
    """The text of a review's field selector; what it cannot say is left out, which narrows less."""
    if not selector:
        return ""
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    terms = []
    for term in selector.get("requirements") or ():
        values = term.get("values") or []
        if len(values) == 1 and term.get("operator") in ("In", "NotIn"):
            terms.append(f"{term.get('key', '')}{'=' if term['operator'] == 'In' else '!='}{values[0]}")
    return ",".join(terms)


def _invalid(field: str, shown: str, why: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, f"Invalid value: {shown}: {why}")


def _path_shown(path: Object) -> str:
    return orjson.dumps({"Path": path.get("path", ""), "Verb": path.get("verb", "")}).decode()


def _check_spec(core: Core, obj: Object, with_user: bool, local: bool = False) -> None:
    """Raise 422 for a review that asks for nothing, or for too much."""
    spec = obj.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    errors = []
    if resource is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        errors.append(_invalid("spec.nonResourceAttributes", _path_shown(path), why))
    if resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errors.append(_invalid("spec.resourceAttributes", "null", why))
    if with_user and not spec.get("user") and not spec.get("groups"):
        errors.append(_invalid("spec.user", '""', "at least one of user or group must be specified"))
    if resource is not None and core.config.minor >= SELECTORS_SINCE:
        for name in ("fieldSelector", "labelSelector"):
            errors += _selector_errors(resource.get(name), f"spec.resourceAttributes.{name}")
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields" and not (local and k == "namespace")}
    if metadata:
        shown = {key: obj["metadata"][key] for key in _META_ORDER if key in obj["metadata"]}
        why = "must be empty except for namespace" if local else "must be empty"
        errors.append(_invalid("metadata", orjson.dumps(shown).decode(), why))
    if local:
        errors += _local_errors(obj)
    if errors:
        raise status.invalid("authorization.k8s.io", "", "", errors)


def _selector_errors(selector: Object | None, field: str) -> list[FieldError]:
    if selector is None:
        return []
    errors = []
    raw, terms = selector.get("rawSelector"), selector.get("requirements") or []
    if raw and terms:
        why = "may not specified at the same time as requirements"
        errors.append(_invalid(f"{field}.rawSelector", go_quote(raw), why))
    if not raw and not terms:
        why = f"Required value: when {field} is specified, requirements or rawSelector is required"
        errors.append(FieldError("FieldValueRequired", f"{field}.requirements", why))
    for number, term in enumerate(terms):
        here = f"{field}.requirements[{number}]"
        operator, values = term.get("operator"), term.get("values") or []
        if operator in ("In", "NotIn") and not values:
            why = "Required value: must be specified when `operator` is 'In' or 'NotIn'"
            errors.append(FieldError("FieldValueRequired", f"{here}.values", why))
        if operator in ("Exists", "DoesNotExist") and values:
            why = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(FieldError("FieldValueForbidden", f"{here}.values", why))
        if not term.get("key"):
            errors.append(FieldError("FieldValueRequired", f"{here}.key", "Required value: must be specified"))
    return errors


def _local_errors(obj: Object) -> list[FieldError]:
    """What holds for reviews in a namespace only."""
    spec, home = obj.get("spec") or {}, obj["metadata"].get("namespace", "")
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    errors = []
    if resource is not None and resource.get("namespace", "") != home:
        shown = go_quote(resource.get("namespace", ""))
        errors.append(_invalid("spec.resourceAttributes.namespace", shown, "must match metadata.namespace"))
    if path is not None:
        errors.append(_invalid("spec.nonResourceAttributes", _path_shown(path), "disallowed on this kind of request"))
    return errors


def _decided(core: Core, obj: Object, user: UserInfo) -> Object:
    allowed, reason = core.authorizer.decide(user, _asked(core, obj["spec"]))
    found: Object = {"allowed": allowed}
    if reason:
        found["reason"] = reason
    obj["status"] = found
    return obj


def _self_access(core: Core, request: Request, obj: Object) -> Object:
    _check_spec(core, obj, False)
    return _decided(core, obj, request.user)


def _user_of(spec: Object) -> UserInfo:
    return UserInfo(
        spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""),
        {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()},
    )


def _access(core: Core, request: Request, obj: Object) -> Object:
    _check_spec(core, obj, True)
    return _decided(core, obj, _user_of(obj["spec"]))


def _local_access(core: Core, request: Request, obj: Object) -> Object:
    _check_spec(core, obj, True, local=True)
    return _decided(core, obj, _user_of(obj["spec"]))


def _self_rules(core: Core, request: Request, obj: Object) -> Object:
    namespace = (obj.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise status.bad_request("no namespace on request")
    resources, paths = [], []
    problems = []
    if node_name_of(request.user.name, request.user.groups) is not None:
        problems.append("node authorizer does not support user rule resolution")
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
        "status": {"userInfo": request.user.info()},
    }


_REVIEWS = {
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _self_rules,
    "SelfSubjectReview": _self_subject,
}


# --- tokens -------------------------------------------------------------------------------------


async def _token_review(core: Core, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    if not spec.get("token"):
        raise status.bad_request("token is required for TokenReview in authentication")
    audiences = list(spec.get("audiences") or core.config.api_audiences)
    if core.issuers is not None:
        await core.issuers.prepare(spec["token"])
    opinion = token_opinion(core, spec["token"], audiences)
    if opinion.user is None:
        obj["status"] = {"user": {}, "error": opinion.problem}
    else:
        obj["status"] = {
            "authenticated": True, "user": opinion.user.info(), "audiences": list(opinion.audiences)
        }
    return obj
