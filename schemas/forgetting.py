"""The event that asks an agent to forget a subject.

Specified in `docs/spec/forgetting.md`. Not here: the statement inside and its signature (`jurat.audit.forgetting`),
what an agent does with it (`jurat.streams.forgetting`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.approvals import MAX_STATEMENT_BYTES
from jurat.schemas.envelope import MAX_SIGNATURES, Signature
from jurat.schemas.model import Event, Identifier


class ForgetRequested(Event):
    """Somebody asks an agent to forget what it remembers of a subject.

    Attributes:
        agent: whose memory.
        event_key: the subject, the key of the agent's events.
        payload_type: the type of the statement, which is signed with it.
        payload: the statement's exact bytes.
        signatures: one, by the key of who asks.
    """

    namespace: ClassVar[str] = "memory"
    key_field: ClassVar[str] = "event_key"

    agent: Identifier
    event_key: Identifier
    payload_type: str
    payload: Annotated[bytes, Field(max_length=MAX_STATEMENT_BYTES)]
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=MAX_SIGNATURES)]
