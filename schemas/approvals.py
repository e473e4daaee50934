"""The events of an approval: what an agent asks of people, and what one of them answered.

Specified in `docs/spec/approval.md`. Not here: the statement inside an answer and its signature
(`jurat.audit.approval`), deciding again.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.decision import InputRef
from jurat.schemas.envelope import MAX_SIGNATURES, Signature
from jurat.schemas.model import Event, FreeJson, Identifier, Text, Timestamp

MAX_STATEMENT_BYTES = 8_192
"""An answer's statement: some 600 bytes, and a sentence of the approver."""


class ApprovalRequested(Event):
    """A decision that waits for people.

    Attributes:
        decision_id: the escalated decision.
        subject: what it is about.
        title: the action in plain words.
        resource_type: what it is done to, as policies name it; `resource_id` says which.
        policies: those that want an approval; `reasons` are their titles, in the same order.
        roles: each of them must approve; one that has is not listed any more.
        granted: `role by approver`, for each approval that counts already.
        rationale: why the reasoner proposed it.
        action_sha256: digest of the exact action, see `jurat.audit.approval.action_digest`.
        policy_digest: of the bundle that asked.
        input: the input that was escalated.
        event_key: its record key.
        requested_at: when it was asked first.
        due_at: until when an answer counts.
    """

    namespace: ClassVar[str] = "approvals"
    key_field: ClassVar[str] = "decision_id"

    decision_id: Identifier
    agent: Identifier
    subject: Identifier
    action: Identifier
    title: Text
    parameters: FreeJson
    resource_type: Identifier
    resource_id: Identifier
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    roles: tuple[str, ...]
    granted: tuple[str, ...] = ()
    rationale: Text
    action_sha256: str
    policy_digest: str
    input: InputRef
    event_key: Identifier
    requested_at: Timestamp
    due_at: Timestamp


class ApprovalAnswered(Event):
    """A person's answer: a signed statement, and where it belongs.

    Attributes:
        agent: the agent that asked.
        event_key: the record key of the escalated input.
        decision_id: the escalated decision.
        payload_type: the type of the statement, which is signed with it.
        payload: the statement's exact bytes.
        signatures: one, by the approver's key.
    """

    namespace: ClassVar[str] = "approvals"
    key_field: ClassVar[str] = "event_key"

    agent: Identifier
    event_key: Identifier
    decision_id: Identifier
    payload_type: str
    payload: Annotated[bytes, Field(max_length=MAX_STATEMENT_BYTES)]
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=MAX_SIGNATURES)]
