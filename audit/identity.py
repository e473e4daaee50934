"""Under which credential a record was signed, and which trust log its worker knew: the member `identity` of a record.

Rules upheld here: a trust log's head commits to every statement before it and to their order; a record names both or
neither. Not here: the statements (`credential.py`), the log (`trust_log.py`), what a record is worth (`standing.py`).

Specified in `docs/spec/identity.md`.
"""

from __future__ import annotations

import hashlib
from typing import Final

from jurat.audit.reasoning import Sha256Hex
from jurat.schemas.model import Count, Model

NO_HEAD: Final = "0" * 64
"""The head of a trust log without statements."""

IDENTITY_BYTES: Final = 203
"""What the member adds to a record at most, with a size of 16 digits."""


class TrustHead(Model):
    """How far a trust log goes: its number of statements, and the digest of them all in their order."""

    sha256: Sha256Hex
    size: Count


class Identity(Model):
    """Who signed a record.

    Attributes:
        credential: digest of the session credential's payload.
        trust: the trust log as the worker knew it; never older than the credential.
    """

    credential: Sha256Hex
    trust: TrustHead


EMPTY_HEAD: Final = TrustHead(sha256=NO_HEAD, size=0)


def next_head(head: TrustHead, statement: bytes) -> TrustHead:
    """The head after one more statement: SHA-256 over the last head's 32 bytes and the statement's SHA-256."""
    chained = bytes.fromhex(head.sha256) + hashlib.sha256(statement).digest()
    return TrustHead(sha256=hashlib.sha256(chained).hexdigest(), size=head.size + 1)
