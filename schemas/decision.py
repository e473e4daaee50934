"""The decision event: what services subscribe to.

One event for every input that was judged, allowed or not: who reads it must look at `verdict` before acting on
`action`. The proof of it is the audit record whose subject is the digest of this event's bytes.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.model import Count, Event, FreeJson, Identifier, Model, Percent, Text, Timestamp

DECISION_ID_PREFIX = "dec_"


class Verdict(StrEnum):
    """What the policies say of an action."""

    ALLOW = "allow"
    DENY = "deny"
    ESCALATE = "escalate"


class InputRef(Model):
    """Where an input stands in Kafka; the topic is its full name, namespace included."""

    topic: Identifier
    partition: Count
    offset: Count


class Decision(Event):
    """A decision of an agent about one input event.

    Attributes:
        id: derived from agent and input coordinates; the same input never gets two.
        request_id: the id that the asking service gave its request, else the CloudEvents id of the input.
        subject: what the decision is about (order, payment, dispute, customer).
        action: the action's name.
        parameters: the action's parameters.
        policies: ids of the determining policies.
        reasons: their titles, in the same order, in plain words.
        approvers: roles that may lift an escalation; empty for other verdicts.
        effective: false for a dry run: judged and recorded, nothing may be done about it.
        concludes: the escalated decision that this one decides again, after an approval, a refusal or a time-out.
        alternatives: names of the actions that the reasoner considered and did not choose, each once.
    """

    namespace: ClassVar[str] = "decisions"
    key_field: ClassVar[str] = "subject"
    added_fields: ClassVar[int] = 1

    id: Identifier
    request_id: Identifier
    agent: Identifier
    subject: Identifier
    verdict: Verdict
    action: Identifier
    parameters: FreeJson
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    approvers: tuple[str, ...] = ()
    rationale: Text
    confidence: Percent | None = None
    reasoner: Identifier
    attempts: Annotated[int, Field(ge=0, le=100)]
    effective: bool = True
    input: InputRef
    policy_digest: str
    decided_at: Timestamp
    concludes: Identifier | None = None
    alternatives: tuple[str, ...] = ()


def decision_id(agent: str, where: InputRef, *, cluster_id: str) -> str:
    """Derive a decision's id from the agent's name and the coordinates of its input.

    Returns:
        `dec_` and 32 hex digits of SHA-256 over the parts, each followed by a line feed.
    """
    return decision_id_at(
        agent, cluster_id, topic=where.topic, partition=where.partition, offset=where.offset
    )


def decision_id_at(agent: str, cluster_id: str, *, topic: str, partition: int, offset: int) -> str:
    """Derive a decision's id, like `decision_id`, from coordinates that stand alone."""
    parts = f"{agent}\n{cluster_id}\n{topic}\n{partition}\n{offset}\n"
    return DECISION_ID_PREFIX + hashlib.sha256(parts.encode()).hexdigest()[:32]
