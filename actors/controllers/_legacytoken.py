"""Legacy service account tokens: a JWT that names its secret and never expires.

Owns the claims and the signing. Facts: kubernetes pkg/serviceaccount/legacy.go, jwt.go.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

import orjson

__all__ = ["sign"]

ISSUER = "kubernetes/serviceaccount"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@lru_cache(maxsize=4)
def _key(pem: bytes) -> tuple[Any, str, str]:
    """The private key, its JWS algorithm, and its id: the hash of the public part."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    key = load_pem_private_key(pem, None)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    return key, algorithm, _encoded(hashlib.sha256(public).digest())


def sign(pem: bytes, namespace: str, account: str, uid: str, secret: str) -> str:
    """The token of a secret for an account. `pem`: the private key, RSA or P-256."""
    key, algorithm, key_id = _key(pem)
    claims = {
        "iss": ISSUER,
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }
    head = _encoded(orjson.dumps({"alg": algorithm, "kid": key_id}))
    signed = f"{head}.{_encoded(orjson.dumps(claims))}"
    return f"{signed}.{_encoded(_signature(key, algorithm, signed.encode()))}"


def _signature(key: Any, algorithm: str, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    if algorithm == "RS256":
        return bytes(key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
