"""ML-DSA-44: signatures that a quantum computer does not forge, for checkpoints.

Rules upheld here: keys and signatures have their one size; the context string is empty, as the cosignatures that use it
prescribe; a check returns nothing or raises. Not here: what is signed (`cosignature.py`).

Source: FIPS 204.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from jurat.schemas.errors import KeyRejected, SignatureInvalid

PUBLIC_KEY_SIZE = 1_312
SIGNATURE_SIZE = 2_420
SEED_SIZE = 32


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check one signature.

    Args:
        public_key: 1,312 bytes.
        message: the exact bytes that were signed.
        signature: 2,420 bytes.

    Raises:
        KeyRejected: that is no public key.
        SignatureInvalid: this key did not sign this message.
    """
    check_public_key(public_key)
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureInvalid(f"got a signature of {len(signature)} bytes, expected {SIGNATURE_SIZE}")
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(
            "got an ML-DSA-44 signature that this key did not make over these bytes"
        ) from error


def check_public_key(public_key: bytes) -> None:
    """Check a public key when it is admitted; every value of its size is one.

    Raises:
        KeyRejected: it has another size.
    """
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise KeyRejected(
            f"got an ML-DSA-44 public key of {len(public_key)} bytes, expected {PUBLIC_KEY_SIZE}"
        )


class SigningKey:
    """A private key in memory; it has no `repr` of its secret."""

    __slots__ = ("_key", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Make the key of a seed.

        Args:
            seed: 32 secret bytes, FIPS 204's xi.
        """
        if len(seed) != SEED_SIZE:
            raise KeyRejected(f"got an ML-DSA seed of {len(seed)} bytes, expected {SEED_SIZE}")
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign the bytes; each signature is another one, as it is drawn anew."""
        return self._key.sign(message)

    def seed(self) -> bytes:
        """The secret, for writing it to a key file."""
        return self._key.private_bytes_raw()
