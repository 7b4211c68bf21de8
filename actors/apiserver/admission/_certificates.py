"""Plugins about certificate signing requests: who may approve, who may sign, what may be asked for.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import status

__all__ = ["CertificateApproval", "CertificateSigning", "CertificateSubjectRestriction", "ClusterTrustBundleAttest"]

Object = dict[str, Any]
GROUP, RESOURCE = "certificates.k8s.io", "certificatesigningrequests"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def _may(attributes: Attributes, verb: str, signer: str) -> bool:
    """Whether the user may do this for the signer, or for all of its domain."""
    allowed = attributes.lookup.allowed
    domain = signer.partition("/")[0]
    return allowed(attributes.user, verb, GROUP, "signers", "", signer) or allowed(
        attributes.user, verb, GROUP, "signers", "", f"{domain}/*"
    )


def _signer(obj: Object | None) -> str:
    return str(((obj or {}).get("spec") or {}).get("signerName") or "")


class CertificateApproval(Plugin):
    """Approving needs the verb `approve` on the signer."""

    name = "CertificateApproval"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """The approval subresource."""
        return operation == UPDATE and (group, resource, subresource) == (GROUP, RESOURCE, "approval")

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        signer = _signer(attributes.old_object)
        if not _may(attributes, "approve", signer):
            why = f'user not permitted to approve requests with signerName "{signer}"'
            raise status.forbidden(GROUP, RESOURCE, attributes.name, why)


class CertificateSigning(Plugin):
    """Writing a certificate or a failure needs the verb `sign` on the signer."""

    name = "CertificateSigning"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """The status subresource."""
        return operation == UPDATE and (group, resource, subresource) == (GROUP, RESOURCE, "status")

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        new = (attributes.object or {}).get("status") or {}
        old = (attributes.old_object or {}).get("status") or {}
        if new.get("certificate") == old.get("certificate") and new.get("conditions") == old.get("conditions"):
            return
        signer = _signer(attributes.old_object)
        if not _may(attributes, "sign", signer):
            why = f'user not permitted to sign requests with signerName "{signer}"'
            raise status.forbidden(GROUP, RESOURCE, attributes.name, why)


class CertificateSubjectRestriction(Plugin):
    """Nobody becomes a system:masters by asking."""

    name = "CertificateSubjectRestriction"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New requests."""
        return operation == CREATE and (group, resource) == (GROUP, RESOURCE) and not subresource

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        if _signer(attributes.object) != CLIENT_SIGNER:
            return
        if "system:masters" in _organizations((attributes.object or {}).get("spec", {}).get("request", "")):
            why = f"use of {CLIENT_SIGNER} signer with system:masters group is not allowed"
            raise status.forbidden(GROUP, RESOURCE, attributes.name, why)


class ClusterTrustBundleAttest(Plugin):
    """Bundles of a signer are written by those who may attest for it."""

    name = "ClusterTrustBundleAttest"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New and changed bundles."""
        return operation in (CREATE, UPDATE) and (group, resource) == (GROUP, "clustertrustbundles")

    def validate(self, attributes: Attributes) -> None:
        """Raise 403."""
        new, old = attributes.object or {}, attributes.old_object or {}
        signer = _signer(new)
        if attributes.operation == UPDATE and _without_owners(new) == _without_owners(old):
            return  # deletion must go on, whoever helps it
        if signer and not _may(attributes, "attest", signer):
            why = f'user not permitted to attest for signerName "{signer}"'
            raise status.forbidden(GROUP, "clustertrustbundles", attributes.name, why)


_FOR_DELETION = ("finalizers", "managedFields", "ownerReferences", "resourceVersion")


def _without_owners(obj: Object) -> Object:
    """An object without what garbage collection writes."""
    return {**obj, "metadata": {k: v for k, v in obj.get("metadata", {}).items() if k not in _FOR_DELETION}}


def _parsed(request: str) -> Any:
    """A PEM request; None when it cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_csr(base64.b64decode(request))
    except (ValueError, binascii.Error):
        return None


def common_name(request: str) -> str | None:
    """The common name of a PEM request, in Base64; None when it cannot be read."""
    from cryptography.x509.oid import NameOID

    parsed = _parsed(request)
    if parsed is None:
        return None
    names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _organizations(request: str) -> list[str]:
    """The organizations of a PEM request; none when it cannot be read (validation says so)."""
    from cryptography.x509.oid import NameOID

    parsed = _parsed(request)
    if parsed is None:
        return []
    return [str(name.value) for name in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
