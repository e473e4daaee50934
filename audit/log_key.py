"""The secret of a notary or a witness, and the keys that it signs with.

Rules upheld here: one secret of 32 bytes, and for every name that it signs under a key of its own, Ed25519 and
ML-DSA-44, as no two logs of a trust policy may have the same key; whoever holds one of these keys, or breaks one,
learns nothing of the others. The secret itself signs nothing. It has no `repr`.

Not here: its file (`log_key_store.py`), what is signed (`note.py`, `cosignature.py`).

Source: HKDF, RFC 5869; the format of names and verifier keys, https://c2sp.org/signed-note
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jurat.audit import cosignature, ed25519, mldsa, note
from jurat.schemas.errors import KeyRejected, NoteInvalid

SECRET_SIZE: Final = 32
_ED25519: Final = b"ed25519"
_MLDSA44: Final = b"ml-dsa-44"
_HMAC: Final = b"hmac-sha-256"


class LogKey:
    """A secret in memory; keys are made of it when they are asked for."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Take a secret of 32 random bytes.

        Raises:
            KeyRejected: it has another size.
        """
        if len(secret) != SECRET_SIZE:
            raise KeyRejected(f"got a secret of {len(secret)} bytes, expected {SECRET_SIZE}")
        self._secret = secret

    def ed25519(self, name: str) -> ed25519.SigningKey:
        """The Ed25519 key of a log or a witness.

        Args:
            name: the log's origin, or the witness's name.

        Raises:
            NoteInvalid: the name cannot be a key's.
        """
        return ed25519.SigningKey(self._seed(_ED25519, name))

    def mldsa(self, name: str) -> mldsa.SigningKey:
        """The ML-DSA-44 key of a log or a witness, like `ed25519`; what it signs has room for names of 255 bytes."""
        if len(name.encode(errors="replace")) > cosignature.MAX_NAME_BYTES:
            raise NoteInvalid(
                f"got the key name {name[:50]!r}... of more than {cosignature.MAX_NAME_BYTES} bytes, expected a shorter"
                " one"
            )
        return mldsa.SigningKey(self._seed(_MLDSA44, name))

    def mac(self, origin: str, message: bytes) -> bytes:
        """HMAC-SHA-256 of what a log's notary keeps where others can write, under a key for nothing else.

        Raises:
            NoteInvalid: the name cannot be a key's.
        """
        return hmac.digest(self._seed(_HMAC, origin), message, "sha256")

    def log_vkeys(self, origin: str) -> tuple[str, str]:
        """The verifier keys of a log: of its signatures, and of its ML-DSA-44 cosignatures."""
        return (
            note.print_vkey(origin, note.ED25519, self.ed25519(origin).public_key),
            note.print_vkey(origin, cosignature.MLDSA44, self.mldsa(origin).public_key),
        )

    def witness_vkeys(self, name: str) -> tuple[str, str]:
        """The verifier keys of a witness: Ed25519 and ML-DSA-44 cosignatures."""
        return (
            note.print_vkey(name, cosignature.ED25519, self.ed25519(name).public_key),
            note.print_vkey(name, cosignature.MLDSA44, self.mldsa(name).public_key),
        )

    def _seed(self, kind: bytes, name: str) -> bytes:
        note.check_name(name)
        info = b"jurat log key v1\n" + kind + b"\n" + name.encode()
        return HKDF(SHA256(), SECRET_SIZE, salt=None, info=info).derive(self._secret)
