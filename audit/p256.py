"""ECDSA on P-256 with SHA-256, strictly: one key and one signature have one form each.

For keys that a service or a device holds and that sign statements of the trust log: most of them cannot do Ed25519.
Records are signed with Ed25519 alone.

Rules upheld here:

1. a public key is a compressed point, 33 bytes, on the curve (its order is prime, so no point is of small order);
2. a signature is r and s, 32 bytes each; r is in 1..n-1, s in 1..(n-1)/2: with s, n - s would verify too;
3. a check returns nothing or raises; it never returns a bool.

Source: FIPS 186-5, section 6; SEC 1, section 2.3.3; BIP 146 for the lower half of s.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from jurat.schemas.errors import KeyRejected, SignatureInvalid

PUBLIC_KEY_SIZE: Final = 33
SIGNATURE_SIZE: Final = 64

_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the group."""


def check_public_key(public_key: bytes) -> None:
    """Check a public key when it is admitted.

    Raises:
        KeyRejected: the key must not be used.
    """
    _point(public_key)


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check one signature.

    Args:
        public_key: 33 bytes.
        message: the exact bytes that were signed.
        signature: 64 bytes, r then s.

    Raises:
        KeyRejected: the public key must not be used by anyone.
        SignatureInvalid: this key did not sign this message.
    """
    point = _point(public_key)
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureInvalid(f"got a signature of {len(signature)} bytes, expected {SIGNATURE_SIZE}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < _N or not 0 < s <= _N // 2:
        raise SignatureInvalid("got a signature whose r or s is out of range, expected s in the lower half")
    try:
        point.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise SignatureInvalid(
            f"got a signature that the key {public_key.hex()} did not make over these bytes",
            public_key=public_key.hex(),
        ) from error


def from_der(signature: bytes) -> bytes:
    """Bring a signature as services return it into its one form.

    Raises:
        SignatureInvalid: it is none.
    """
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(32, "big") + min(s, _N - s).to_bytes(32, "big")
    except (ValueError, OverflowError) as error:
        raise SignatureInvalid("got what is no ECDSA signature in DER") from error


def public_pem(public_key: bytes) -> bytes:
    """Print a public key as SubjectPublicKeyInfo PEM.

    Raises:
        KeyRejected: the key must not be used.
    """
    return _point(public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _point(public_key: bytes) -> ec.EllipticCurvePublicKey:
    try:
        if len(public_key) == PUBLIC_KEY_SIZE:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        pass  # said below
    raise KeyRejected(
        f"got the P-256 public key {public_key.hex()}, expected 33 bytes of a compressed point on the curve",
        public_key=public_key.hex(),
    )
