"""Keys that sign statements of the trust log, by their did:key names: Ed25519, and P-256 for services and devices.

Rules upheld here: the algorithm comes from the key's name, never from an envelope; one key has one name. Not here: keys
of records and approvals, which are Ed25519 alone (`did_key.py`, `ed25519.py`).

Source: The did:key Method v0.9, sections 2.1 and 3.1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from jurat.audit import did_key, ed25519, p256, pem

ALG_ED25519: Final = "ed25519"
ALG_P256: Final = "ecdsa-p256"

MAX_CACHED: Final = 1_024
"""Names that are kept decoded: those above the sessions that are read, and a session's own while it is."""


def algorithm_of(keyid: str) -> str:
    """The algorithm of a key.

    Raises:
        KeyRejected: it is not the name of a key that may be used.
    """
    return decode(keyid)[0]


@lru_cache(maxsize=MAX_CACHED)
def decode(keyid: str) -> tuple[str, bytes]:
    """Read algorithm and public key out of a name.

    Raises:
        KeyRejected: it is not the name of a key that may be used, or not its only spelling.
    """
    if keyid.startswith(did_key.P256_START):
        return ALG_P256, did_key.decode_p256(keyid)
    return ALG_ED25519, did_key.decode(keyid)


def verify(keyid: str, message: bytes, signature: bytes) -> None:
    """Check one signature; it has 64 bytes under either algorithm.

    Raises:
        KeyRejected: the key must not be used by anyone.
        SignatureInvalid: this key did not sign this message.
    """
    algorithm, public_key = decode(keyid)
    if algorithm == ALG_P256:
        p256.verify(public_key, message, signature)
    else:
        ed25519.verify(public_key, message, signature)


def public_pem(keyid: str) -> bytes:
    """Print the public key as SubjectPublicKeyInfo PEM, the form that openssl reads.

    Raises:
        KeyRejected: it is not the name of a key that may be used.
    """
    algorithm, public_key = decode(keyid)
    return p256.public_pem(public_key) if algorithm == ALG_P256 else pem.public_pem(public_key)
