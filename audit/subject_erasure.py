"""The statement that subjects were erased: of which decisions the disclosures were destroyed, and by whom. Pure.

Rules upheld here: it names decisions, never whom they were about; it is bound to the cluster and to the audit topic; it
has one spelling (parse then print is identity) and is handed out after its signature was verified, never before.

One check, step by step (the numbers come back in the code): 1. the envelope and the statement are in their one form;
2. the key is a trusted person's, who signed exactly this; 3. this person has the role.

Specified in `docs/spec/disclosure.md`. Not here: destroying keys and evidence (`jurat.streams.subject_desk`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final

from pydantic import Field

from jurat.audit import dsse
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.keys import Signer, Trust
from jurat.audit.record import Time, format_time
from jurat.audit.statement import print_statement, read_statement, require_role, signed_by
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import RecordInvalid
from jurat.schemas.model import Identifier, Model

PAYLOAD_TYPE: Final = "application/vnd.jurat.erasure.v1+json"
"""Signed with the statement: a signature for this is none for a request to forget, nor the other way round."""

RECORD_KEY: Final = b"erasure"
"""The record key of statements of erasures on `audit.trust`, where statements of other kinds stand too."""

MAX_DECISIONS: Final = 1_000
"""Decisions in one statement; one subject may have several. Some 40 KB, and as many tombstones in one transaction."""

MAX_ENVELOPE_BYTES: Final = 128 * 1024
"""A statement of `MAX_DECISIONS` in base64, and its signature."""

_WHAT: Final = "the statement of an erasure"
_SPECIFIED: Final = "docs/spec/disclosure.md"

DecisionId = Annotated[str, Field(pattern=r"^dec_[0-9a-f]{32}$")]


class ErasureStatement(Model):
    """Of which decisions the disclosures were destroyed.

    Attributes:
        cluster: the Kafka cluster's id.
        decisions: their ids, sorted, each once.
        erased_at: when, by the clock of who erased.
        topic: full name of the audit topic.
    """

    cluster: Identifier
    decisions: Annotated[tuple[DecisionId, ...], Field(min_length=1, max_length=MAX_DECISIONS)]
    erased_at: Time
    topic: Identifier


@dataclass(frozen=True, slots=True)
class VerifiedErasure:
    """A statement whose signature holds, by somebody who has the role.

    Attributes:
        erased_by: their name in the trust file.
        sha256: digest of the statement.
    """

    said: ErasureStatement
    erased_by: str
    sha256: str


def statement_of(*, cluster: str, topic: str, decisions: Iterable[str], at: datetime) -> bytes:
    """Print the statement; the arguments are those of `ErasureStatement`.

    Raises:
        RecordInvalid: one of them is outside its bounds.
    """
    said = {
        "cluster": cluster,
        "decisions": sorted(set(decisions)),
        "erased_at": format_time(at),
        "topic": topic,
    }
    payload = print_statement(said, what=_WHAT)
    parse_statement(payload)
    return payload


def parse_statement(payload: bytes) -> ErasureStatement:
    """Read a statement, refusing every spelling but its one.

    Raises:
        RecordInvalid: not canonical, a missing or unknown field, or out of bounds.
    """
    statement = read_statement(
        ErasureStatement, payload, what=_WHAT, specified=_SPECIFIED, max_bytes=MAX_ENVELOPE_BYTES
    )
    if list(statement.decisions) != sorted(set(statement.decisions)):
        raise RecordInvalid(
            f"{_WHAT} is not in its one form; expected its decisions sorted, each once, as in {_SPECIFIED}"
        )
    return statement


async def state_erasure(payload: bytes, signer: Signer) -> bytes:
    """Sign a statement; returns its envelope, as it stands on `audit.trust`."""
    return await dsse.seal(payload, signer, payload_type=PAYLOAD_TYPE)


def check_form(envelope: bytes) -> tuple[ErasureStatement, bytes, Signature]:
    """Read the envelope of a statement; whose it is, is not looked at.

    Returns:
        The statement, its bytes, and the signature.

    Raises:
        RecordInvalid: the envelope or the statement is not in its one form.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise RecordInvalid(
            f"got an envelope of {len(envelope)} bytes, expected at most {MAX_ENVELOPE_BYTES}"
        )
    payload, (signature,) = dsse.parse_envelope(envelope, payload_type=PAYLOAD_TYPE, signatures=1)
    return parse_statement(payload), payload, signature


def verify_erasure(envelope: bytes, trust: Trust) -> VerifiedErasure:
    """Check a statement and hand out what it says.

    Raises:
        RecordInvalid: the envelope or the statement is not in its one form.
        SignatureInvalid: the key is no trusted person's, did not sign this, or has not the role.
    """
    said, payload, signature = check_form(envelope)  # 1
    person = signed_by(PAYLOAD_TYPE, payload, signature, trust)  # 2
    require_role(person, DATA_PROTECTION, what=_WHAT)  # 3
    return VerifiedErasure(said, person.approver, sha256(payload).hexdigest())
