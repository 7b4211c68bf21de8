"""CertificateSigningRequest and the other kinds of `certificates.k8s.io`.

Owns who a request is made for, its parsing, conditions and who may set them
(`pkg/apis/certificates/validation`, `pkg/registry/certificates`).
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, ClassVar

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from actors.apiserver.strategies._meta import NameRule
from actors.apiserver.strategies._time import age
from protocol.names import dns1123_subdomain, path_segment_name

__all__ = ["SigningRequestStrategy", "TrustBundleStrategy", "validate_signer_name"]

_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_FINAL = ("Approved", "Denied", "Failed")
_APPROVAL = ("Approved", "Denied")
_STATUSES = ("True", "False", "Unknown")
_PEM = re.compile(
    rb"-----BEGIN (?P<type>[^-\n]+)-----\r?\n(?P<body>.*?)-----END (?P=type)-----", re.DOTALL
)


def validate_signer_name(name: str, path: str) -> list[FieldError]:
    """`example.com/signer`: a domain and a path of DNS subdomains below it."""
    if not name:
        return [required(path)]
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        detail = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
        return [invalid(path, name, detail)]
    errors = [invalid(path, domain, message) for message in dns1123_subdomain(domain)]
    if "." not in domain:
        detail = "should be a domain with at least two segments separated by dots"
        errors.append(invalid(path, domain, detail))
    errors += [invalid(path, rest, message) for message in dns1123_subdomain(rest)]
    if len(name) > 571:
        errors.append(too_long(path, 571))
    return errors


def _blocks(data: bytes) -> list[tuple[str, bytes]]:
    return [(m["type"].decode(), m["body"]) for m in _PEM.finditer(data)]


def _check_request(text: str) -> str:
    """What is wrong with a PEM request, or nothing."""
    blocks = _blocks(base64.b64decode(text or ""))
    if not blocks or blocks[0][0] != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        from cryptography import x509

        x509.load_der_x509_csr(base64.b64decode(b"".join(blocks[0][1].split())))
    except (ValueError, TypeError) as error:
        return f"asn1: structure error: {error}"
    return ""


def _check_certificate(text: str) -> str:
    data = base64.b64decode(text)
    blocks = _blocks(data)
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    from cryptography import x509

    for kind, body in blocks:
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {json.dumps(kind)}"
        try:
            x509.load_der_x509_certificate(base64.b64decode(b"".join(body.split())))
        except ValueError as error:
            return str(error)
    return ""


class SigningRequestStrategy(Strategy):
    """CertificateSigningRequest."""

    name_rule: ClassVar[NameRule] = staticmethod(path_segment_name)
    has_status = True
    allow_unconditional_update = True

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        if old is not None:
            new["spec"] = old["spec"]
            return
        spec = new.setdefault("spec", {})
        for key in ("username", "uid", "groups", "extra"):
            spec.pop(key, None)
        user = ctx.user
        spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra.items()}

    def prepare_for_status_update(self, new: Object, old: Object, ctx: Context) -> None:
        super().prepare_for_status_update(new, old, ctx)
        _stamp_conditions(new, old, ctx)

    def prepare_for_subresource(self, name: str, new: Object, old: Object, ctx: Context) -> None:
        if name != "approval":
            super().prepare_for_subresource(name, new, old, ctx)
            return
        self._keep_generation(new, old)
        conditions = (new.get("status") or {}).get("conditions")
        status = {k: v for k, v in (old.get("status") or {}).items() if k != "conditions"}
        if conditions:
            status["conditions"] = conditions
        new["spec"], new["status"] = old["spec"], status
        _stamp_conditions(new, old, ctx)
        self._keep_metadata(new, old)

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = self.check_meta(obj)
        if problem := _check_request(spec.get("request", "")):
            errors.append(invalid("spec.request", spec.get("request"), problem))
        usages = spec.get("usages") or []
        if not usages:
            errors.append(required("spec.usages"))
        for index, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(not_supported(f"spec.usages[{index}]", usage, _USAGES))
        for index, usage in enumerate(usages):
            if usage in usages[:index]:
                errors.append(duplicate(f"spec.usages[{index}]", usage))
        name = spec.get("signerName", "")
        if name == "kubernetes.io/legacy-unknown":
            detail = "the legacy signerName is not allowed via this API version"
            errors.append(invalid("spec.signerName", name, detail))
        else:
            errors += validate_signer_name(name, "spec.signerName")
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            detail = "may not specify a duration less than 600 seconds (10 minutes)"
            errors.append(invalid("spec.expirationSeconds", seconds, detail))
        return errors + _check_status_fields(obj.get("status") or {})

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self._check_change(new, old, approval=False, certificate=False)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return self._check_change(new, old, approval=False, certificate=True)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        if name != "approval":
            return super().validate_subresource(name, new, old)
        found = self._check_change(new, old, approval=True, certificate=False)
        return self.common_update(new, old) + found

    def _check_change(
        self, new: Object, old: Object, approval: bool, certificate: bool
    ) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        at = "status.conditions"
        for kind in _FINAL:
            now, was = _of_type(new, kind), _of_type(old, kind)
            if len(now) < len(was):
                detail = f'updates may not remove a condition of type "{kind}"'
                errors.append(forbidden(at, detail))
            elif not approval and kind in _APPROVAL and now != was:
                verb = "add" if len(now) > len(was) else "modify"
                detail = f'updates may not {verb} a condition of type "{kind}"'
                errors.append(forbidden(at, detail))
        issued, before = ((o.get("status") or {}).get("certificate") or "" for o in (new, old))
        if issued != before and (before or not certificate):
            verb = "modify existing" if certificate else "set"
            detail = f"updates may not {verb} certificate content"
            errors.append(forbidden("status.certificate", detail))
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            AGE,
            Column("SignerName", "string", "", "Who is asked to sign."),
            Column("Requestor", "string", "", "Who asks."),
            Column("RequestedDuration", "string", "", "How long the certificate shall be valid."),
            Column("Condition", "string", "", "Whether it was approved and issued."),
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        seconds = spec.get("expirationSeconds")
        return [
            obj["metadata"].get("name", ""),
            self.age(obj, now),
            spec.get("signerName") or "<none>",
            spec.get("username", ""),
            "<none>" if seconds is None else age(seconds),
            _condition_text(obj.get("status") or {}),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        return {
            **super().fields(obj),
            "spec.signerName": (obj.get("spec") or {}).get("signerName", ""),
        }


def _of_type(request: Object, kind: str) -> list[Object]:
    conditions = (request.get("status") or {}).get("conditions") or ()
    return [condition for condition in conditions if condition.get("type") == kind]


def _stamp_conditions(new: Object, old: Object, ctx: Context) -> None:
    """Conditions get the times of their changes."""
    conditions = (new.get("status") or {}).get("conditions")
    if not conditions:
        return
    before = (old.get("status") or {}).get("conditions") or []
    stamped = []
    for given in conditions:
        condition = dict(given)
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = ctx.rfc3339
        if not condition.get("lastTransitionTime"):
            same = (
                c
                for c in before
                if c.get("type") == condition.get("type") and c.get("status") == condition.get("status")
            )
            known = next((c["lastTransitionTime"] for c in same if c.get("lastTransitionTime")), None)
            condition["lastTransitionTime"] = known or ctx.rfc3339
        stamped.append(condition)
    new["status"] = {**new["status"], "conditions": stamped}


def _check_status_fields(status: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(status.get("conditions") or ()):
        at = f"status.conditions[{index}]"
        kind, state = condition.get("type", ""), condition.get("status", "")
        if not kind:
            errors.append(required(at + ".type"))
        if not state:
            errors.append(required(at + ".status"))
        elif kind in _FINAL and state != "True":
            errors.append(not_supported(at + ".status", state, ("True",)))
        elif state not in _STATUSES:
            errors.append(not_supported(at + ".status", state, _STATUSES))
        if kind in _APPROVAL and seen & (set(_APPROVAL) - {kind}):
            detail = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid(at + ".type", kind, detail))
        if kind in seen:
            errors.append(duplicate(at + ".type", kind))
        seen.add(kind)
    certificate = status.get("certificate")
    if certificate and (problem := _check_certificate(certificate)):
        errors.append(invalid("status.certificate", "<certificate data>", problem))
    return errors


def _condition_text(status: Object) -> str:
    kinds = {condition.get("type") for condition in status.get("conditions") or ()}
    text = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        text += ",Failed"
    return text + ",Issued" if status.get("certificate") else text


class TrustBundleStrategy(Strategy):
    """ClusterTrustBundle."""

    name_rule: ClassVar[NameRule] = staticmethod(path_segment_name)

    def check(self, obj: Object) -> list[FieldError]:
        spec, errors = obj.get("spec") or {}, self.check_meta(obj)
        if spec.get("signerName"):
            errors += validate_signer_name(spec["signerName"], "spec.signerName")
        if not spec.get("trustBundle"):
            detail = "at least one trust anchor must be provided"
            errors.append(invalid("spec.trustBundle", "<value omitted>", detail))
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("SignerName", "string", "", "Signer whose anchors these are."))

    def row(self, obj: Object, now: float) -> list[Any]:
        name = (obj.get("spec") or {}).get("signerName")
        return [obj["metadata"].get("name", ""), name or "<none>"]

    def fields(self, obj: Object) -> dict[str, str]:
        return {
            **super().fields(obj),
            "spec.signerName": (obj.get("spec") or {}).get("signerName", ""),
        }
