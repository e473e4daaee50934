"""Ed25519, strictly: keys and signatures that the field disagrees about are refused.

Rules upheld here:

1. a public key is 32 bytes, canonical (y below p, no negative zero) and not one of the eight points of small
   order: under such a key one constant signature verifies every message;
2. the same holds for R, the first half of a signature;
3. S is below the group order, and the equation is checked without the cofactor (both by the library
   underneath);
4. a check returns nothing or raises; it never returns a bool.

Not here: keys in files (`key_store`), PEM (`pem`), which key is trusted for what (`keys`).

Source: RFC 8032, section 5.1; "Taming the many EdDSAs", section 3; C2SP CCTV, ed25519.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jurat.schemas.errors import KeyRejected, SignatureInvalid

PUBLIC_KEY_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64

KNOWN_KEYS = 1_024
"""Public keys that are known once checked: a log has some hundred, and each signs many records."""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_Y_MASK = 2**255 - 1
_LOW_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y coordinates of the points of order 1, 2, 4 and 8; y = 1 and y = -1 also hold the two spellings of
negative zero."""


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check one signature.

    Args:
        public_key: 32 bytes.
        message: the exact bytes that were signed.
        signature: 64 bytes, R then S.

    Raises:
        KeyRejected: the public key must not be used by anyone.
        SignatureInvalid: this key did not sign this message.
    """
    key = _loaded(public_key)
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureInvalid(f"got a signature of {len(signature)} bytes, expected {SIGNATURE_SIZE}")
    if not _is_strict_point(signature[:32]):
        raise SignatureInvalid(
            "got a signature whose R is not canonical or of small order, expected a strict one"
        )
    try:
        key.verify(signature, message)
    except InvalidSignature as error:
        raise SignatureInvalid(
            f"got a signature that the key {public_key.hex()} did not make over these bytes",
            public_key=public_key.hex(),
        ) from error


@lru_cache(maxsize=KNOWN_KEYS)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    if not _is_strict_point(public_key):
        raise KeyRejected(_KEY_MESSAGE.format(public_key.hex()), public_key=public_key.hex())
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise KeyRejected(_KEY_MESSAGE.format(public_key.hex()), public_key=public_key.hex()) from error


def check_public_key(public_key: bytes) -> None:
    """Check a public key when it is admitted: rule 1, and that it lies on the curve.

    Raises:
        KeyRejected: the key must not be used.
    """
    if not _is_strict_point(public_key) or not _is_on_curve(public_key):
        raise KeyRejected(_KEY_MESSAGE.format(public_key.hex()), public_key=public_key.hex())


_KEY_MESSAGE = (
    "got the Ed25519 public key {}, expected 32 bytes of a canonical point that is not of small order"
)


def _is_strict_point(encoded: bytes) -> bool:
    if len(encoded) != PUBLIC_KEY_SIZE:
        return False
    y = int.from_bytes(encoded, "little") & _Y_MASK
    return y < _P and y not in _LOW_ORDER_Y


def _is_on_curve(encoded: bytes) -> bool:
    y = int.from_bytes(encoded, "little") & _Y_MASK
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x_squared = u * pow(v, -1, _P) % _P
    return pow(x_squared, (_P - 1) // 2, _P) == 1


class SigningKey:
    """A private key in memory; it has no `repr` of its secret."""

    __slots__ = ("_key", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Make the key of a seed.

        Args:
            seed: 32 secret bytes, RFC 8032's private key.
        """
        if len(seed) != SEED_SIZE:
            raise KeyRejected(f"got an Ed25519 seed of {len(seed)} bytes, expected {SEED_SIZE}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign the bytes; the same key and bytes always give the same 64 bytes."""
        return self._key.sign(message)

    def seed(self) -> bytes:
        """The secret, for writing it to a key file."""
        return self._key.private_bytes_raw()
