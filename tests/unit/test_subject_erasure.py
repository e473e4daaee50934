"""The statement of an erasure: who may make it, what it says, and in which form."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from jurat.audit import dsse
from jurat.audit.ed25519 import SigningKey
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.keys import PemSigner, Trust, TrustedApprover
from jurat.audit.subject_erasure import (
    MAX_DECISIONS,
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    parse_statement,
    state_erasure,
    statement_of,
    verify_erasure,
)
from jurat.schemas.errors import RecordInvalid, SignatureInvalid

AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
DORA, EVE = (PemSigner(SigningKey(sha256(name).digest())) for name in (b"dora", b"eve"))
TRUST = Trust(
    (),
    (
        TrustedApprover("dora", DORA.keyid, (DATA_PROTECTION,)),
        TrustedApprover("eve", EVE.keyid, ("support",)),
    ),
)
IDS = [f"dec_{number:032x}" for number in range(MAX_DECISIONS)]


def stated(payload: bytes, signer: PemSigner = DORA) -> bytes:
    return asyncio.run(state_erasure(payload, signer))


def made(*decisions: str) -> bytes:
    return statement_of(cluster="c", topic="audit.decisions", decisions=decisions, at=AT)


def test_a_statement_is_signed_by_who_may() -> None:
    payload = made(IDS[1], IDS[0], IDS[1])
    verified = verify_erasure(stated(payload), TRUST)
    assert verified.said.decisions == (IDS[0], IDS[1])
    assert (verified.erased_by, verified.sha256) == ("dora", sha256(payload).hexdigest())
    with pytest.raises(SignatureInvalid, match="data-protection"):
        verify_erasure(stated(payload, EVE), TRUST)
    with pytest.raises(SignatureInvalid, match="unknown key"):
        verify_erasure(stated(payload), Trust(()))


def test_no_flipped_bit_is_accepted() -> None:
    envelope = stated(made(IDS[0]))
    for bit in range(8 * len(envelope)):
        changed = bytearray(envelope)
        changed[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises((RecordInvalid, SignatureInvalid)):
            verify_erasure(bytes(changed), TRUST)


def test_it_has_one_form_and_bounds() -> None:
    assert len(stated(made(*IDS))) < MAX_ENVELOPE_BYTES
    with pytest.raises(RecordInvalid):
        made()
    with pytest.raises(RecordInvalid):
        made("dec_1")
    with pytest.raises(RecordInvalid):
        made(*IDS, "dec_" + "f" * 32)
    unsorted = made(IDS[0], IDS[1]).replace(IDS[0].encode(), IDS[2].encode())
    for wrong in (unsorted, b"{}", made(IDS[0]) + b" "):
        with pytest.raises(RecordInvalid):
            parse_statement(wrong)
    with pytest.raises(RecordInvalid, match="expected at most"):
        verify_erasure(b"x" * (MAX_ENVELOPE_BYTES + 1), TRUST)


def test_a_signature_for_something_else_is_none() -> None:
    payload = made(IDS[0])
    other = asyncio.run(dsse.seal(payload, DORA, payload_type="application/vnd.jurat.forget.v1+json"))
    with pytest.raises(RecordInvalid, match="payload type"):
        verify_erasure(other, TRUST)
    renamed = other.replace(b"application/vnd.jurat.forget.v1+json", PAYLOAD_TYPE.encode())
    with pytest.raises(SignatureInvalid):
        verify_erasure(renamed, TRUST)
