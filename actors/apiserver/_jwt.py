"""Users whom other issuers name: JSON Web Tokens, and what their claims mean here.

Owns `AuthenticationConfiguration` (apiserver.config.k8s.io) and the `--oidc-*` options, which say the
same. Issuers' keys are fetched by an actor on a thread of its own (`_issuers`).

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from actors.apiserver._jose import ALGORITHMS, parts, signed
from actors.apiserver.patch._gotext import go_quote
from protocol.api import UserInfo

__all__ = ["JwtAuthenticator", "JwtRefused", "anonymous_of", "from_options", "issuers_of"]

Object = dict[str, Any]
GROUP = "apiserver.config.k8s.io"


class JwtRefused(Exception):
    """A token of an issuer that is known names nobody; the text says why."""


class _Rule:
    """A CEL expression of the configuration."""

    def __init__(self, text: str, variable: str, field: str) -> None:
        from protocol.cel import DYN, CelError, Environment

        try:
            self._program = Environment({variable: DYN}).compile(text)
        except CelError as error:
            raise ValueError(f"{field}: Invalid value: {go_quote(text)}: compilation failed: {error}") from None
        self.text = text
        self._variable = variable

    def value(self, given: Any) -> Any:
        """Raises `JwtRefused`."""
        from protocol.cel import CelError, to_json

        try:
            return to_json(self._program.run({self._variable: given}))
        except CelError as error:
            raise JwtRefused(f"expression '{self.text}' resulted in error: {error}") from None


def anonymous_of(document: Object) -> tuple[bool, tuple[str, ...]]:
    """Whether anonymous requests are taken, and for which paths only; none: for all. Raises ValueError."""
    found = document.get("anonymous")
    if found is None:
        return True, ()
    conditions = tuple(str(entry.get("path") or "") for entry in found.get("conditions") or ())
    if conditions and not found.get("enabled"):
        raise ValueError("anonymous.conditions: enabled should be set to true when conditions are defined")
    return bool(found.get("enabled")), conditions


def issuers_of(document: Object, own_issuer: str) -> list[JwtAuthenticator]:
    """The authenticators of an AuthenticationConfiguration. Raises ValueError with all that is wrong."""
    if document.get("kind") != "AuthenticationConfiguration" or not str(document.get("apiVersion")).startswith(GROUP):
        raise ValueError(f"no AuthenticationConfiguration of {GROUP}")
    found, seen = [], set()
    for number, entry in enumerate(document.get("jwt") or ()):
        made = JwtAuthenticator(entry, f"jwt[{number}]")
        if made.issuer == own_issuer:
            raise ValueError(f"jwt[{number}].issuer.url: URL must not overlap with disallowed issuers: [{own_issuer}]")
        if made.issuer in seen:
            raise ValueError(f"jwt[{number}].issuer.url: Duplicate value: {go_quote(made.issuer)}")
        seen.add(made.issuer)
        found.append(made)
    return found


def from_options(
    issuer: str, client_id: str, username_claim: str, username_prefix: str, groups_claim: str, groups_prefix: str,
    ca: str, required: dict[str, str], algorithms: tuple[str, ...],
) -> JwtAuthenticator:  # fmt: skip
    """What the `--oidc-*` options say. Raises ValueError."""
    prefix = username_prefix
    if not prefix and username_claim != "email":
        prefix = f"{issuer}#"
    mappings: Object = {"username": {"claim": username_claim, "prefix": "" if prefix == "-" else prefix}}
    if groups_claim:
        mappings["groups"] = {"claim": groups_claim, "prefix": groups_prefix}
    rules = [{"claim": claim, "requiredValue": value} for claim, value in required.items()]
    made = JwtAuthenticator(
        {
            "issuer": {"url": issuer, "audiences": [client_id], "certificateAuthority": ca},
            "claimMappings": mappings,
            "claimValidationRules": rules,
        },
        "oidc",
    )
    made.algorithms = algorithms
    return made


class JwtAuthenticator:
    """One issuer. `keys` are its public keys by `kid`; None until they have been fetched."""

    def __init__(self, entry: Object, field: str) -> None:
        """Raises ValueError for what is missing or contradicts itself."""
        issuer = entry.get("issuer") or {}
        self.issuer = str(issuer.get("url") or "")
        self.discovery_url = str(issuer.get("discoveryURL") or "")
        self.ca = str(issuer.get("certificateAuthority") or "")
        self.audiences = tuple(issuer.get("audiences") or ())
        self.algorithms: tuple[str, ...] = ALGORITHMS
        self.keys: dict[str, list[Any]] | None = None
        _check_url(self.issuer, f"{field}.issuer.url")
        if self.discovery_url:
            _check_url(self.discovery_url, f"{field}.issuer.discoveryURL")
            if self.discovery_url.rstrip("/") == self.issuer.rstrip("/"):
                raise ValueError(f"{field}.issuer.discoveryURL: discoveryURL must be different from URL")
        if not self.audiences:
            raise ValueError(f"{field}.issuer.audiences: Required value: at least one is required")
        if len(self.audiences) > 1 and issuer.get("audienceMatchPolicy") != "MatchAny":
            raise ValueError(f"{field}.issuer.audienceMatchPolicy: must be MatchAny for multiple audiences")
        self._read_mappings(entry.get("claimMappings") or {}, f"{field}.claimMappings")
        self._required: list[tuple[str, str]] = []
        self._claim_rules: list[tuple[_Rule, str]] = []
        for number, rule in enumerate(entry.get("claimValidationRules") or ()):
            here = f"{field}.claimValidationRules[{number}]"
            if bool(rule.get("claim")) == bool(rule.get("expression")):
                raise ValueError(f"{here}: claim or expression is required, and not both")
            if rule.get("claim"):
                self._required.append((rule["claim"], str(rule.get("requiredValue") or "")))
            else:
                made = _Rule(rule["expression"], "claims", f"{here}.expression")
                self._claim_rules.append((made, str(rule.get("message") or "")))
        self._user_rules = [
            (_Rule(rule["expression"], "user", f"{field}.userValidationRules[{number}].expression"), str(rule.get("message") or ""))
            for number, rule in enumerate(entry.get("userValidationRules") or ())
        ]

    def _read_mappings(self, mappings: Object, field: str) -> None:
        self._claims: dict[str, tuple[str, str]] = {}
        self._rules: dict[str, _Rule] = {}
        for name in ("username", "groups", "uid"):
            found = mappings.get(name) or {}
            claim, expression = found.get("claim"), found.get("expression")
            if claim and expression:
                raise ValueError(f"{field}.{name}: claim and expression can't both be set")
            if name == "username" and not claim and not expression:
                raise ValueError(f"{field}.username: Required value: claim or expression is required")
            if claim:
                if name != "uid" and found.get("prefix") is None:
                    raise ValueError(f"{field}.{name}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing")
                self._claims[name] = str(claim), str(found.get("prefix") or "")
            elif expression:
                self._rules[name] = _Rule(expression, "claims", f"{field}.{name}.expression")
        self._extra: list[tuple[str, _Rule]] = []
        for number, entry in enumerate(mappings.get("extra") or ()):
            here = f"{field}.extra[{number}]"
            key = str(entry.get("key") or "")
            if "/" not in key or key != key.lower():
                raise ValueError(f"{here}.key: Invalid value: {go_quote(key)}: must be a lowercase domain-prefixed path")
            self._extra.append((key, _Rule(str(entry.get("valueExpression") or ""), "claims", f"{here}.valueExpression")))

    # --- tokens -----------------------------------------------------------------------------

    def lacks(self, token: str) -> bool:
        """Whether the key of a token is not known yet."""
        found = parts(token)
        kid = str((found[0] if found else {}).get("kid") or "")
        return self.keys is None or bool(kid and kid not in self.keys)

    def user(self, token: str, now: float) -> UserInfo:
        """Whom a token of this issuer names. Raises `JwtRefused`."""
        if self.keys is None:
            raise JwtRefused("oidc: authenticator not initialized")
        claims = self._verified(token, now)
        name = self._name(claims)
        user = UserInfo(name, self._groups(claims), self._uid(claims), self._extras(claims))
        for claim, wanted in self._required:
            if claim not in claims:
                raise JwtRefused(f"oidc: required claim {claim} not present in ID token")
            if claims[claim] != wanted:
                raise JwtRefused(
                    f"oidc: required claim {claim} value does not match. Got = {claims[claim]}, want = {wanted}"
                )
        _hold(self._claim_rules, claims, "claim validation expression")
        shown = {"username": user.name, "uid": user.uid, "groups": list(user.groups),
                 "extra": {key: list(values) for key, values in user.extra.items()}}  # fmt: skip
        _hold(self._user_rules, shown, "user info validation rule")
        return user

    def _verified(self, token: str, now: float) -> Object:
        found = parts(token)
        if found is None or self.keys is None:
            raise JwtRefused("oidc: verify token: oidc: malformed jwt")
        head, claims = found
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not set(audiences) & set(self.audiences):
            wanted = " ".join(map(go_quote, self.audiences))
            shown = " ".join(go_quote(str(entry)) for entry in audiences)
            raise JwtRefused(f"oidc: verify token: oidc: expected audience in [{wanted}] got [{shown}]")
        expires = claims.get("exp")
        if not isinstance(expires, (int, float)) or expires < now:
            moment = datetime.fromtimestamp(float(expires or 0), UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
            raise JwtRefused(f"oidc: verify token: oidc: token is expired (Token Expiry: {moment})")
        if isinstance(claims.get("nbf"), (int, float)) and claims["nbf"] > now + 300:
            raise JwtRefused("oidc: verify token: oidc: current time before the nbf (not before) time")
        algorithm = str(head.get("alg") or "")
        if algorithm not in self.algorithms:
            wanted = " ".join(map(go_quote, self.algorithms))
            raise JwtRefused(
                f"oidc: verify token: oidc: id token signed with unsupported algorithm, expected [{wanted}] got {go_quote(algorithm)}"
            )
        kid = str(head.get("kid") or "")
        candidates = self.keys.get(kid, []) if kid else [key for keys in self.keys.values() for key in keys]
        if not any(signed(token, algorithm, key) for key in candidates):
            raise JwtRefused("oidc: verify token: failed to verify signature: failed to verify id token signature")
        return claims

    def _name(self, claims: Object) -> str:
        if "username" in self._rules:
            found = self._rules["username"].value(claims)
            if not isinstance(found, str):
                raise JwtRefused("oidc: error evaluating username claim expression: username claim expression must return a string")
            if not found:
                raise JwtRefused("oidc: empty username via CEL expression is not allowed")
            return found
        claim, prefix = self._claims["username"]
        if not isinstance(claims.get(claim), str):
            why = "claim not present" if claim not in claims else "json: cannot unmarshal into Go value of type string"
            raise JwtRefused(f"oidc: parse username claims {go_quote(claim)}: {why}")
        if claim == "email" and claims.get("email_verified", True) is not True:
            raise JwtRefused("oidc: email not verified")
        return prefix + str(claims[claim])

    def _groups(self, claims: Object) -> tuple[str, ...]:
        if "groups" in self._claims:
            claim, prefix = self._claims["groups"]
            found = claims.get(claim)
            if found is None:
                return ()
            values = [found] if isinstance(found, str) else found
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise JwtRefused(f"oidc: parse groups claim {go_quote(claim)}: json: cannot unmarshal into Go value of type string")
            return tuple(prefix + value for value in values)
        if "groups" not in self._rules:
            return ()
        return _strings(self._rules["groups"].value(claims), "oidc: error evaluating group claim expression")

    def _uid(self, claims: Object) -> str:
        if "uid" in self._claims:
            claim = self._claims["uid"][0]
            if not isinstance(claims.get(claim), str):
                raise JwtRefused(f"oidc: parse uid claim {go_quote(claim)}: claim not present")
            return str(claims[claim])
        if "uid" not in self._rules:
            return ""
        found = self._rules["uid"].value(claims)
        if not isinstance(found, str):
            raise JwtRefused("oidc: error evaluating uid claim expression: uid claim expression must return a string")
        return found

    def _extras(self, claims: Object) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        if isinstance(claims.get("jti"), str):
            found["authentication.kubernetes.io/credential-id"] = (f"JTI={claims['jti']}",)
        for key, rule in self._extra:
            values = _strings(rule.value(claims), f"oidc: error evaluating extra claim expression: {rule.text}")
            if values:
                found[key] = values
        return found


def _strings(value: Any, what: str) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(entry, str) for entry in values):
        raise JwtRefused(f"{what}: expression must return a string or a list of strings")
    return tuple(entry for entry in values if entry)


def _hold(rules: list[tuple[_Rule, str]], given: Any, what: str) -> None:
    for rule, message in rules:
        found = rule.value(given)
        if found is not True:
            why = f"validation expression '{rule.text}' failed: {message}"
            if found is not False:
                why = "validation expression must return a boolean"
            raise JwtRefused(f"oidc: error evaluating {what}: {why}")


def _check_url(url: str, field: str) -> None:
    found = urlsplit(url)
    if not url:
        raise ValueError(f"{field}: Required value")
    for wrong, why in (
        (found.scheme != "https", "URL scheme must be https"),
        ("@" in found.netloc, "URL must not contain a username or password"),
        (bool(found.query), "URL must not contain a query"),
        (bool(found.fragment), "URL must not contain a fragment"),
    ):
        if wrong:
            raise ValueError(f"{field}: Invalid value: {go_quote(url)}: {why}")
