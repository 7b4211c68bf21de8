"""Service account tokens: signed JWTs, their check, and what OpenID clients need to check them.

Owns the signing key of one API server, TokenRequests and the discovery of keys. A token is valid as
long as its signature, times, account and the object it is bound to are.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver import pki
from actors.apiserver._core import Answer
from actors.apiserver.patch._gotext import go_quote
from actors.apiserver.strategies import FieldError
from protocol import status
from protocol.api import UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._request import Request

__all__ = ["Tokens", "token_request"]

Object = dict[str, Any]
_KNOWN_BOUND = 10_000
_DEFAULT_TTL_S = 3600
_MIN_TTL_S, _MAX_TTL_S = 600, 1 << 32
_WARN_AFTER_S = 3607
_EXTENDED_TTL_S = 365 * 24 * 3600
_LEEWAY_S = 60
"""What clocks may differ; so long also a token lives on whose account or pod is being deleted."""
_COORDINATE_BYTES = 32
_BOUND = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _issuer(token: str) -> str:
    """Who a token says it is from, unchecked; empty for what is no token."""
    try:
        claims = orjson.loads(_unb64(token.split(".")[1]))
    except ValueError:
        return ""
    return str(claims.get("iss") or "") if isinstance(claims, dict) else ""


def _deleted(obj: Object, now: float) -> bool:
    """Whether an object has been waiting for its end for longer than clocks may differ."""
    since = obj["metadata"].get("deletionTimestamp")
    return since is not None and datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() < now - _LEEWAY_S


class Tokens:
    """Signs and checks the tokens of one API server."""

    def __init__(self, core: Core) -> None:
        from cryptography.hazmat.primitives import serialization

        self.core = core
        self.issuer = core.config.service_account_issuer
        self._key: Any = serialization.load_pem_private_key(core.config.service_account_key or pki.new_key(), None)
        public: Any = self._key.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.kid = _b64(hashlib.sha256(der).digest())
        self._public: Any = public
        self._checked: dict[str, Object] = {}

    # --- making -----------------------------------------------------------------------------

    def sign(self, claims: Object) -> str:
        """A JWT of some claims."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        head = _b64(orjson.dumps({"alg": "ES256", "kid": self.kid}))
        text = f"{head}.{_b64(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(_COORDINATE_BYTES, 'big') + s.to_bytes(_COORDINATE_BYTES, 'big'))}"

    def issue(self, account: Object, audiences: list[str], ttl_s: int, bound: Object | None = None) -> tuple[str, int]:
        """A token for a service account, and when it is to be renewed (seconds since the epoch).

        The tokens that pods get by default live on for a year: clients that do not read theirs again
        are warned of, not cut off.
        """
        now = int(self.core.clock.now())
        warned = bound is not None and bound["kind"] == "Pod" and ttl_s == _WARN_AFTER_S
        warned = warned and set(audiences) <= set(self.core.config.api_audiences)
        metadata = account["metadata"]
        private: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            private[bound["kind"].lower()] = {"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]}
            node = (bound.get("spec") or {}).get("nodeName") if bound["kind"] == "Pod" else None
            if node:
                known = self.core.get("", "nodes", "", node)
                private["node"] = {"name": node, **({"uid": known["metadata"]["uid"]} if known else {})}
        if warned:
            private["warnafter"] = now + ttl_s
        claims = {
            "aud": audiences,
            "exp": now + (_EXTENDED_TTL_S if warned else ttl_s),
            "iat": now,
            "iss": self.issuer,
            "jti": self.core.uid(),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        return self.sign(claims), now + ttl_s

    # --- checking ---------------------------------------------------------------------------

    def _claims(self, token: str) -> Object | None:
        """The claims of a token whose signature is ours."""
        known = self._checked.get(token)
        if known is not None:
            return known
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        try:
            text, _, signature = token.rpartition(".")
            head, _, body = text.partition(".")
            raw = _unb64(signature)
            if orjson.loads(_unb64(head)).get("alg") != "ES256" or len(raw) != 2 * _COORDINATE_BYTES:
                return None
            if _b64(raw) != signature:
                return None
            pair = encode_dss_signature(
                int.from_bytes(raw[:_COORDINATE_BYTES], "big"), int.from_bytes(raw[_COORDINATE_BYTES:], "big")
            )
            self._public.verify(pair, text.encode(), ec.ECDSA(hashes.SHA256()))
            claims = orjson.loads(_unb64(body))
        except (ValueError, InvalidSignature, AttributeError):
            return None
        if not isinstance(claims, dict):
            return None
        if len(self._checked) > _KNOWN_BOUND:
            self._checked.clear()
        self._checked[token] = claims
        return claims

    def review(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo | None, list[str], str]:
        """Whom a token names, for which of the audiences, and why it names nobody: empty when it is not
        one of ours at all."""
        if token.count(".") != 2 or _issuer(token) != self.issuer:
            return None, [], ""
        claims = self._claims(token)
        if claims is None:
            return None, [], "go-jose/go-jose: error in cryptographic primitive"
        made_for = claims.get("aud") or []
        granted = [audience for audience in made_for if audience in audiences]
        if not granted:
            shown, wanted = (" ".join(map(go_quote, found)) for found in (made_for, audiences))
            return None, [], f"token audiences [{shown}] is invalid for the target audiences [{wanted}]"
        now = self.core.clock.now()
        if now > claims.get("exp", 0) + _LEEWAY_S:
            return None, [], "service account token has expired"
        if now < claims.get("nbf", 0) - _LEEWAY_S:
            return None, [], "service account token is not valid yet"
        problem = self._invalidated(claims, now)
        return (None, [], problem) if problem else (self._named(claims), granted, "")

    def _invalidated(self, claims: Object, now: float) -> str:
        """Why account or bound object are no longer the ones that the token was made for; empty: they are."""
        private = claims.get("kubernetes.io") or {}
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        name = account.get("name", "")
        found = self.core.get("", "serviceaccounts", namespace, name)
        if found is None:
            return f'serviceaccounts "{name}" not found'
        if _deleted(found, now):
            return f"service account {namespace}/{name} has been deleted"
        uid = found["metadata"]["uid"]
        if uid != account.get("uid"):
            return f"service account UID ({uid}) does not match claim ({account.get('uid', '')})"
        for word, resource in (("secret", "secrets"), ("pod", "pods"), ("node", "nodes")):
            bound = private.get(word)
            if not bound or (word == "node" and private.get("pod")):  # of a pod's token it only tells where the pod was
                continue
            obj = self.core.get("", resource, "" if word == "node" else namespace, bound["name"])
            if obj is None or _deleted(obj, now):
                return "service account token has been invalidated"
            uid = obj["metadata"]["uid"]
            if uid != bound.get("uid"):
                return f"{word} UID ({uid}) does not match service account {word} ref claim ({bound.get('uid', '')})"
        return ""

    def _named(self, claims: Object) -> UserInfo:
        private = claims["kubernetes.io"]
        namespace = private["namespace"]
        extra: dict[str, tuple[str, ...]] = {}
        if claims.get("jti"):
            extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims['jti']}",)
        if private.get("node"):
            extra["authentication.kubernetes.io/node-name"] = (private["node"]["name"],)
            if private["node"].get("uid"):
                extra["authentication.kubernetes.io/node-uid"] = (private["node"]["uid"],)
        if private.get("pod"):
            extra["authentication.kubernetes.io/pod-name"] = (private["pod"]["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (private["pod"]["uid"],)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return UserInfo(claims["sub"], groups, private["serviceaccount"]["uid"], extra)

    # --- OpenID -----------------------------------------------------------------------------

    def configuration(self) -> Object:
        """The OpenID discovery document."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"https://{self.core.config.advertise_address}:{self.core.config.advertise_port}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def keys(self) -> Object:
        """The public key as a JSON Web Key Set."""
        numbers = self._public.public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "EC",
                    "kid": self.kid,
                    "crv": "P-256",
                    "alg": "ES256",
                    "x": _b64(numbers.x.to_bytes(_COORDINATE_BYTES, "big")),
                    "y": _b64(numbers.y.to_bytes(_COORDINATE_BYTES, "big")),
                }
            ]
        }


# --- the token subresource --------------------------------------------------------------------


async def token_request(core: Core, request: Request) -> Answer:
    """POST of a TokenRequest for a service account."""
    from actors.apiserver import managedfields
    from actors.apiserver.admission import CREATE, Attributes
    from actors.apiserver.fieldvalidation import decode

    gvk = ("authentication.k8s.io", "v1", "TokenRequest")
    obj, warnings = decode(
        core.schema, gvk, request.body, request.options.get("fieldValidation") or "Warn", request.content_type
    )
    request.warnings += warnings
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    if metadata.get("name") and metadata["name"] != request.name:
        problem = f'Invalid value: "{metadata["name"]}": must match the service account name if specified'
        error = FieldError("FieldValueInvalid", "metadata.name", problem)
        raise status.invalid("authentication.k8s.io", "TokenRequest", request.name, [error])
    if metadata.get("namespace") and metadata["namespace"] != request.namespace:
        raise status.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    spec = obj.setdefault("spec", {})
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = _DEFAULT_TTL_S
    type_ = core.schema.by_gvk(*gvk)
    assert type_ is not None
    managedfields.update(
        type_, None, obj, request.manager, api_version="authentication.k8s.io/v1",
        now=core.clock.rfc3339(), subresource="token", reset=managedfields.reset_filter("", "serviceaccounts", "token"),
    )
    attributes = Attributes(
        CREATE, request.served.kind, request.namespace, request.name, "token", obj, None, request.user, core,
        request.dry_run, request.options,
    )
    attributes.report_to(request)
    await core.chain.admit(attributes)
    account = core.get("", "serviceaccounts", request.namespace, request.name)
    if account is None:
        raise status.not_found("", "serviceaccounts", request.name)
    metadata = obj["metadata"]
    metadata["name"], metadata["namespace"] = request.name, request.namespace
    metadata["uid"], metadata["creationTimestamp"] = core.uid(), core.clock.rfc3339()
    if not spec.get("audiences"):
        spec["audiences"] = list(core.config.api_audiences)
    _check_ttl(spec["expirationSeconds"])
    await core.chain.validate(attributes)
    bound = _bound_object(core, request, account, spec.get("boundObjectRef"))
    spec.setdefault("boundObjectRef", None)
    if request.dry_run:
        obj["status"] = {"token": "", "expirationTimestamp": None}
        return Answer(obj=obj, code=201)
    token, expires = core.tokens.issue(account, spec["audiences"], spec["expirationSeconds"], bound)
    from actors.apiserver.strategies._context import rfc3339

    obj["status"] = {"token": token, "expirationTimestamp": rfc3339(expires)}
    return Answer(obj=obj, code=201)


def _check_ttl(ttl_s: int) -> None:
    """The error names no object: a token request is nobody's name."""
    problem = ""
    if ttl_s < _MIN_TTL_S:
        problem = "may not specify a duration less than 10 minutes"
    elif ttl_s > _MAX_TTL_S:
        problem = "may not specify a duration larger than 2^32 seconds"
    if problem:
        error = FieldError("FieldValueInvalid", "spec.expirationSeconds", f"Invalid value: {ttl_s}: {problem}")
        raise status.invalid("authentication.k8s.io", "TokenRequest", "", [error])


def _bound_object(core: Core, request: Request, account: Object, ref: Object | None) -> Object | None:
    if not ref:
        return None
    api_version, kind, name = ref.get("apiVersion", ""), ref.get("kind", ""), ref.get("name", "")
    resource = _BOUND.get((api_version, kind))
    if resource is None:
        raise status.bad_request(f"cannot bind token to object of type {api_version}, Kind={kind}".replace("of type v1", "of type /v1"))
    namespace = "" if resource == "nodes" else request.namespace
    found = core.get("", resource, namespace, name)
    if found is None:
        raise status.not_found("", resource, name)
    if ref.get("uid") and ref["uid"] != found["metadata"]["uid"]:
        raise status.conflict(
            "", kind, name,
            f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object "
            "might have been deleted and then recreated",
        )
    if resource == "pods":
        used = (found.get("spec") or {}).get("serviceAccountName") or "default"
        if used != account["metadata"]["name"]:
            raise status.bad_request(
                f'cannot bind token for serviceaccount "{account["metadata"]["name"]}" to pod running with '
                f'different serviceaccount name.'
            )
    return {**found, "kind": kind}
