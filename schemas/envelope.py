"""The signed record as it stands on the audit topic: a DSSE envelope as an Avro value.

Source: DSSE v1.0.2, https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.model import Event, Identifier, Model

MAX_SIGNATURES = 8
"""More signatures than this on one record are not ours."""


class Signature(Model):
    """One signature; `keyid` is a hint for finding the key and proves nothing."""

    keyid: str
    sig: bytes


class SignedRecord(Event):
    """An audit record: the exact bytes that were signed, and by which key."""

    namespace: ClassVar[str] = "audit"
    key_field: ClassVar[str] = "chain"

    chain: Identifier
    payload_type: str
    payload: bytes
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=MAX_SIGNATURES)]
