"""What a person signs who has an agent forget a subject. Pure.

Rules upheld here: the statement is bound to the cluster, the agent, its input topic and the event key, and to what had
been learned when it was made, so that it cannot be used again for what is learned later; it has one spelling (parse
then print is identity); it is handed out after its signature was verified, never before.

One check, step by step (the numbers come back in the code): 1. the payload type is this one's, there is one signature,
and the statement is in its one form; 2. the key is a trusted person's, who signed exactly this; 3. this person has the
role. They are the first three of the specification.

Specified in `docs/spec/forgetting.md`. Not here: what is forgotten (`jurat.streams.forgetting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from jurat.audit import dsse
from jurat.audit.keys import Signer, Trust
from jurat.audit.record import Time, format_time
from jurat.audit.statement import print_statement, read_statement, require_role, signed_by
from jurat.schemas.approvals import MAX_STATEMENT_BYTES
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import RecordInvalid
from jurat.schemas.forgetting import ForgetRequested
from jurat.schemas.model import Identifier, Model

PAYLOAD_TYPE: Final = "application/vnd.jurat.forget.v1+json"
"""Signed with the statement: a signature for this is none for an approval, nor the other way round."""

DATA_PROTECTION: Final = "data-protection"
"""The role of the trust file that may have subjects forgotten."""

_WHAT: Final = "the request to forget"
_SPECIFIED: Final = "docs/spec/forgetting.md"


class ForgetStatement(Model):
    """Whose memory of what is to be forgotten.

    Attributes:
        cluster: the Kafka cluster's id.
        learned_until: when the last fact was learned that the one who asks knew of, by the worker's clock.
        topic: the agent's input topic, its full name.
    """

    agent: Identifier
    cluster: Identifier
    event_key: Identifier
    learned_until: Time
    topic: Identifier

    @property
    def until(self) -> datetime:
        """`learned_until` as a moment."""
        return datetime.fromisoformat(self.learned_until)


@dataclass(frozen=True, slots=True)
class VerifiedForget:
    """A statement whose signature holds, by somebody who has the role.

    Attributes:
        asked_by: their name in the trust file.
        sha256: digest of the statement.
    """

    said: ForgetStatement
    asked_by: str
    sha256: str


def statement_of(*, agent: str, cluster: str, event_key: str, learned_until: datetime, topic: str) -> bytes:
    """Print the statement; the arguments are those of `ForgetStatement`.

    Raises:
        RecordInvalid: one of them is outside its bounds.
    """
    said = {
        "agent": agent,
        "cluster": cluster,
        "event_key": event_key,
        "learned_until": format_time(learned_until),
        "topic": topic,
    }
    payload = print_statement(said, what=_WHAT)
    parse_statement(payload)
    return payload


async def request_to_forget(payload: bytes, signer: Signer) -> ForgetRequested:
    """Sign a statement.

    Raises:
        RecordInvalid: it is none.
    """
    said = parse_statement(payload)
    signature = await signer.sign(dsse.pae(PAYLOAD_TYPE, payload))
    return ForgetRequested(
        agent=said.agent,
        event_key=said.event_key,
        payload_type=PAYLOAD_TYPE,
        payload=payload,
        signatures=(Signature(keyid=signer.keyid, sig=signature),),
    )


def parse_statement(payload: bytes) -> ForgetStatement:
    """Read a statement, refusing every spelling but its one.

    Raises:
        RecordInvalid: not canonical, a missing or unknown field, or out of bounds.
    """
    return read_statement(
        ForgetStatement, payload, what=_WHAT, specified=_SPECIFIED, max_bytes=MAX_STATEMENT_BYTES
    )


def verify_forget(request: ForgetRequested, trust: Trust) -> VerifiedForget:
    """Check a request and hand out what it says.

    Raises:
        RecordInvalid: another payload type or number of signatures, or a statement that is not in its one form.
        SignatureInvalid: the key is no trusted person's, did not sign this, or has not the role.
    """
    if request.payload_type != PAYLOAD_TYPE:  # 1
        raise RecordInvalid(f"got the payload type {request.payload_type[:100]!r}, expected {PAYLOAD_TYPE!r}")
    if len(request.signatures) != 1:
        raise RecordInvalid(f"got {len(request.signatures)} signatures, expected one")
    said = parse_statement(request.payload)
    person = signed_by(request.payload_type, request.payload, request.signatures[0], trust)  # 2
    require_role(person, DATA_PROTECTION, what="a request to forget")  # 3
    return VerifiedForget(said, person.approver, sha256(request.payload).hexdigest())
