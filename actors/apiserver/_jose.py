"""JSON Web Keys and the signatures made with them.

Owns which algorithms are known. It must never look at claims.

https://www.rfc-editor.org/rfc/rfc7518
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

__all__ = ["ALGORITHMS", "load_keys", "parts", "signed"]

Object = dict[str, Any]
_CURVES = {"P-256": ("SECP256R1", 32), "P-384": ("SECP384R1", 48), "P-521": ("SECP521R1", 66)}
_EC_BYTES = {"ES256": 32, "ES384": 48, "ES512": 66}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")


def unpadded(text: str) -> bytes:
    """Base64 as JOSE writes it. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def parts(token: str) -> tuple[Object, Object] | None:
    """Head and claims of what may be a token, unchecked; None for what is none."""
    try:
        head, body, _ = token.split(".")
        found = orjson.loads(unpadded(head)), orjson.loads(unpadded(body))
    except ValueError:
        return None
    return found if all(isinstance(part, dict) for part in found) else None


def load_keys(document: Object) -> dict[str, list[Any]]:
    """The public keys of a key set by their `kid`. Keys that are unknown or not for signing are left out."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    def number(text: str) -> int:
        return int.from_bytes(unpadded(text), "big")

    keys: dict[str, list[Any]] = {}
    for entry in document.get("keys") or ():
        if entry.get("use") not in (None, "", "sig"):
            continue
        try:
            if entry.get("kty") == "RSA":
                key: Any = rsa.RSAPublicNumbers(number(entry["e"]), number(entry["n"])).public_key()
            elif entry.get("kty") == "EC" and entry.get("crv") in _CURVES:
                curve = getattr(ec, _CURVES[entry["crv"]][0])()
                key = ec.EllipticCurvePublicNumbers(number(entry["x"]), number(entry["y"]), curve).public_key()
            else:
                continue
        except (KeyError, ValueError, TypeError):
            continue
        keys.setdefault(str(entry.get("kid") or ""), []).append(key)
    return keys


def signed(token: str, algorithm: str, key: Any) -> bool:
    """Whether the token's signature was made with the key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    text, _, signature = token.rpartition(".")
    digest: Any = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    try:
        raw = unpadded(signature)
        if algorithm.startswith("ES"):
            size = _EC_BYTES[algorithm]
            if not isinstance(key, ec.EllipticCurvePublicKey) or len(raw) != 2 * size or (key.key_size + 7) // 8 != size:
                return False
            pair = utils.encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))
            key.verify(pair, text.encode(), ec.ECDSA(digest))
            return True
        if not isinstance(key, rsa.RSAPublicKey):
            return False
        pad: Any = padding.PKCS1v15()
        if algorithm.startswith("PS"):
            pad = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        key.verify(raw, text.encode(), pad, digest)
    except (InvalidSignature, ValueError):
        return False
    return True
