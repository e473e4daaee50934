"""Forgetting what is remembered of a key, as somebody asked who may.

Rules upheld here: a request counts only on the agent's own topic, for this agent, topic, cluster and key; it ends in
one record, which names who asked and the digest of what is gone, never what it said; the tombstone is written with that
record, in one transaction; nothing else of the state changes. What was learned after a request was made is not what it
asks for, so that an old one sent again forgets nothing new.

The numbers in the code are those of `docs/spec/forgetting.md`. Not here: the statement and its signature
(`jurat.audit.forgetting`), sending one (`forget_desk.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jurat.agents.memory import Memory
from jurat.audit.forgetting import VerifiedForget, verify_forget
from jurat.audit.record import FORGET_ASKED_BY, FORGOTTEN, ContextRead, Outcome, Rejection
from jurat.schemas.errors import AuditError, InputRejected
from jurat.schemas.forgetting import ForgetRequested
from jurat.schemas.model import Event
from jurat.streams.documents import digest_of
from jurat.streams.state import MEMORY

if TYPE_CHECKING:
    from jurat.audit.keys import Trust
    from jurat.streams.deciding import Deciding
    from jurat.streams.verdicted import Verdicted


def requested(case: Deciding, event: Event) -> Verdicted | None:
    """How a request to forget ends; None for every other input."""
    state = case.state
    if case.decoded.record.topic == state.input_topic or not isinstance(event, ForgetRequested):
        return None  # only the agent's own topic brings them
    trust = case.by.trust()  # a trust file that cannot be read is no fault of the request: it ends the worker
    try:
        verified = _verified(case, event, trust)
    except (AuditError, InputRejected) as error:
        return case.ended(Outcome.REJECTED, rejection=Rejection.of(error))
    held = state.memories.get(event.event_key)
    until = verified.said.until
    if isinstance(held, Memory) and any(fact.learned_at <= until for fact in held.facts):
        verdicted = _ended(case, event, verified, digest_of(held))  # 5
        state.memories.delete(event.event_key)
        tombstone = (f"{MEMORY}{state.input_topic}/{event.event_key}", None)
        return replace(verdicted, changelog=(tombstone,))
    return _ended(case, event, verified, None)  # 6


def _verified(case: Deciding, event: ForgetRequested, trust: Trust) -> VerifiedForget:
    """Rules 1 to 4.

    Raises:
        AuditError: it is not what was signed, or not by whom it may be.
        InputRejected: it is about something else.
    """
    verified = verify_forget(event, trust)  # 1, 2, 3
    said = verified.said
    got = (said.agent, said.cluster, said.topic, said.event_key)
    here = (case.by.agent.name, case.by.cluster_id, case.state.input_topic, event.event_key)
    if got != here or event.agent != said.agent:  # 4
        raise InputRejected(
            f"got a request to forget of {verified.asked_by} that was signed for the agent {said.agent}, topic"
            f" {said.topic}, cluster {said.cluster} or another key; expected {', '.join(here[:3])} and the record's key"
        )
    return verified


def _ended(case: Deciding, event: ForgetRequested, verified: VerifiedForget, gone: str | None) -> Verdicted:
    asked_by = ContextRead(name=FORGET_ASKED_BY, key=verified.asked_by, uri=None, sha256=verified.sha256)
    forgotten = ContextRead(name=FORGOTTEN, key=event.event_key, uri=None, sha256=gone)
    return case.ended(Outcome.SKIPPED, context=(asked_by, forgotten))
