"""Cosignatures: a witness's word that it saw a checkpoint, and that it is consistent with all that it saw before.

Rules upheld here: the two signed messages are those of the specification, byte by byte; Ed25519 signs the whole text
with a line of time above it, ML-DSA-44 signs name, time, origin, size and root; a time is seconds since the Epoch and
never beyond 63 bits. Not here: whether the checkpoint is consistent (`merkle.py`), how many witnesses are enough
(`tlog_policy.py`).

Source: https://c2sp.org/tlog-cosignature
"""

from __future__ import annotations

import struct
from typing import Final

from jurat.audit import checkpoint, ed25519, mldsa, note
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.note import NoteSignature, Verifier
from jurat.schemas.errors import KeyRejected, NoteInvalid, SignatureInvalid

ED25519: Final = 0x04
MLDSA44: Final = 0x06
"""Signature types."""

MAX_TIME: Final = 2**63 - 1
MAX_NAME_BYTES: Final = 255
"""Names in an ML-DSA-44 message have a length of one byte."""

_TIME_SIZE: Final = 8
_LABEL: Final = b"subtree/v1\n\x00"


def cosign_ed25519(text: str, *, name: str, key: ed25519.SigningKey, time: int) -> NoteSignature:
    """Cosign the text of a checkpoint.

    Args:
        text: the text, its last newline included.
        name: the witness's name.
        key: its key.
        time: seconds since the Epoch.

    Raises:
        NoteInvalid: the text is no checkpoint's, or the time cannot be told.
    """
    checkpoint.parse(text)
    signed = key.sign(ed25519_message(text, time))
    return NoteSignature(name, note.key_id(name, ED25519, key.public_key), _timed(time, signed))


def cosign_mldsa(text: str, *, name: str, key: mldsa.SigningKey, time: int) -> NoteSignature:
    """Cosign the text of a checkpoint, like `cosign_ed25519`; extension lines are not signed."""
    signed = key.sign(mldsa_message(checkpoint.parse(text), name=name, time=time))
    return NoteSignature(name, note.key_id(name, MLDSA44, key.public_key), _timed(time, signed))


def ed25519_verifier(name: str, public_key: bytes) -> Verifier:
    """A witness's Ed25519 key.

    Raises:
        KeyRejected: the key must not be used.
        NoteInvalid: the name cannot be a key's.
    """
    note.check_name(name)
    ed25519.check_public_key(public_key)

    def check(text: str, signature: bytes) -> None:
        time, signed = timed(signature)
        ed25519.verify(public_key, ed25519_message(text, time), signed)

    return Verifier(name, ED25519, public_key, check)


def mldsa_verifier(name: str, public_key: bytes) -> Verifier:
    """A witness's ML-DSA-44 key; raises like `ed25519_verifier`."""
    note.check_name(name)
    mldsa.check_public_key(public_key)

    def check(text: str, signature: bytes) -> None:
        time, signed = timed(signature)
        mldsa.verify(public_key, mldsa_message(checkpoint.parse(text), name=name, time=time), signed)

    return Verifier(name, MLDSA44, public_key, check)


def verifier_of(vkey: str) -> Verifier:
    """The key of a verifier key: a log's or a witness's, by its signature type.

    Raises:
        KeyRejected: it is not of the form of one, or of a type that is not known.
    """
    name, kind, public_key = note.parse_vkey(vkey)
    makers = {
        note.ED25519: note.ed25519_verifier,
        ED25519: ed25519_verifier,
        MLDSA44: mldsa_verifier,
    }
    if kind not in makers:
        known = ", ".join(f"{one:#04x}" for one in makers)
        raise KeyRejected(f"got a key of the signature type {kind:#04x}, expected one of {known}")
    return makers[kind](name, public_key)


def timed(signature: bytes) -> tuple[int, bytes]:
    """A cosignature's time, and the signature behind it.

    Raises:
        SignatureInvalid: it is too short, or its time is beyond 63 bits.
    """
    if len(signature) <= _TIME_SIZE:
        raise SignatureInvalid(
            f"got a cosignature of {len(signature)} bytes, expected a time and a signature"
        )
    (time,) = struct.unpack(">Q", signature[:_TIME_SIZE])
    if time > MAX_TIME:
        raise SignatureInvalid(f"got the time {time} in a cosignature, expected at most {MAX_TIME}")
    return time, signature[_TIME_SIZE:]


def ed25519_message(text: str, time: int) -> bytes:
    """What an Ed25519 cosignature signs."""
    return f"cosignature/v1\ntime {_checked(time)}\n{text}".encode()


def mldsa_message(head: Checkpoint, *, name: str, time: int) -> bytes:
    """What an ML-DSA-44 cosignature of a checkpoint signs: `cosigned_message`, from leaf 0 to the tree's size."""
    return b"".join(
        (
            _LABEL,
            _sized(name),
            struct.pack(">Q", _checked(time)),
            _sized(head.origin),
            struct.pack(">QQ", 0, head.size),
            head.root,
        )
    )


def _timed(time: int, signed: bytes) -> bytes:
    return struct.pack(">Q", _checked(time)) + signed


def _checked(time: int) -> int:
    if not 0 <= time <= MAX_TIME:
        raise NoteInvalid(f"got the time {time}, expected seconds since the Epoch, at most {MAX_TIME}")
    return time


def _sized(text: str) -> bytes:
    raw = text.encode()
    if not 1 <= len(raw) <= MAX_NAME_BYTES:
        raise NoteInvalid(f"got a name of {len(raw)} bytes, expected 1 to {MAX_NAME_BYTES}")
    return bytes([len(raw)]) + raw
