"""A small log with every outcome, always the same bytes; the keys are made for tests and guard nothing.

`python -m tests.golden.audit.sample_log` writes the golden files anew; the diff is then to be explained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from jurat.audit import dsse, export
from jurat.audit.chain import ChainHead
from jurat.audit.coordinates import Coordinates, chain_name
from jurat.audit.ed25519 import SigningKey
from jurat.audit.keys import PemSigner, Trust, TrustedKey, print_trust
from jurat.audit.log import LogEntry
from jurat.audit.reasoning import ReasonerUsed
from jurat.audit.record import (
    ContextRead,
    DecisionRecord,
    Input,
    Outcome,
    PolicyUsed,
    ProposalJudged,
    Rejection,
    build,
    format_time,
)
from jurat.audit.shadow_verdict import ShadowVerdict
from jurat.schemas.decision import InputRef, Verdict, decision_id

FOLDER = Path(__file__).parent
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
AUDIT_TOPIC = "audit.decisions"
INPUT_TOPIC = "commerce.after-sales-requests"
AGENTS = ("after-sales", "payment-retrier")
START = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
OUTCOMES = (Outcome.DECIDED, Outcome.DENIED, Outcome.ESCALATED, Outcome.REJECTED, Outcome.SKIPPED)

SHADOW = ShadowVerdict(digest="60" * 32, verdict=Verdict.DENY, policies=("return.within-30-days",), errors=())
"""Beside the escalated one; beside the others there is none."""

_VERDICTS = {
    Outcome.DECIDED: Verdict.ALLOW,
    Outcome.DENIED: Verdict.DENY,
    Outcome.ESCALATED: Verdict.ESCALATE,
}


def signer(agent: str) -> PemSigner:
    return PemSigner(SigningKey(sha256(f"test key of {agent}".encode()).digest()))


def trust() -> Trust:
    return Trust(tuple(TrustedKey(agent=agent, keyid=signer(agent).keyid) for agent in AGENTS))


def decision_value(agent: str, offset: int) -> bytes:
    """Stands for the bytes of a decision event."""
    return f"decision of {agent} about {offset}".encode()


def record(
    agent: str, *, offset: int, outcome: Outcome, head: ChainHead | None = None, partition: int = 0
) -> DecisionRecord:
    head = head or ChainHead()
    at = Coordinates(CLUSTER, INPUT_TOPIC, partition, offset)
    where = InputRef(topic=at.topic, partition=at.partition, offset=at.offset)
    verdict = _VERDICTS.get(outcome)
    rejected = (
        Rejection(error="DecodeError", message="got bytes that are no Avro")
        if outcome is Outcome.REJECTED
        else None
    )
    return DecisionRecord(
        decision_id=decision_id(agent, where, cluster_id=CLUSTER),
        agent=agent,
        outcome=outcome,
        chain=chain_name(agent, INPUT_TOPIC, partition),
        seq=head.next_seq,
        prev=head.prev,
        time=format_time(START + timedelta(seconds=offset)),
        attempts=1 if verdict else 0,
        trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        inputs=(
            Input(
                uri=at.uri(),
                event_id=f"request-{offset}",
                event_type="jurat.commerce.AfterSalesRequested",
                sha256=sha256(f"input {offset}".encode()).hexdigest(),
                schema_id="avro:c3f1a0b2d4e5f607",
            ),
        ),
        context=(ContextRead(name="orders", key="#W100", uri=None, sha256=None),) if verdict else (),
        reasoner=ReasonerUsed(name="requested", deterministic=True) if verdict else None,
        proposals=(
            ProposalJudged(
                action="return",
                parameters={"item_ids": ["1008292230"], "order_id": "#W100", "note": "größer, «αβγ» 漢"},
                verdict=verdict,
                policies=("return.delivered-only",),
                reasons=("Only delivered orders can be returned.",),
                errors=(),
            ),
        )
        if verdict
        else (),
        policy=PolicyUsed(
            bundle="after_sales",
            digest="5f" * 32,
            engine="cedarpy 4.12.2",
            input={"context": {"amount_minor": 12_345}, "principal": 'Agent::"after-sales"'},
            shadow=SHADOW if outcome is Outcome.ESCALATED else None,
        )
        if verdict
        else None,
        approvals=(),
        code="jurat 0.1.0",
        rejection=rejected,
    )


def subject_of(made: DecisionRecord, offset: int) -> tuple[str, str]:
    if made.outcome.has_decision:
        return made.decision_id, sha256(decision_value(made.agent, offset)).hexdigest()
    return made.inputs[0].uri, made.inputs[0].sha256


def sign(made: DecisionRecord, payload: bytes, *, by: PemSigner, at: tuple[int, int]) -> LogEntry:
    """Sign a payload and place it at a partition and offset of the audit topic."""
    envelope = asyncio.run(dsse.sign(payload, by, chain=made.chain))
    partition, offset = at
    return LogEntry(AUDIT_TOPIC, partition, offset, 1_767_323_045_000 + offset, envelope)


def log(records: int = 10, *, outcomes: Sequence[Outcome] = OUTCOMES) -> list[LogEntry]:
    """A log of two agents, each with a chain of its own in an audit partition of its own."""
    entries: list[LogEntry] = []
    heads = dict.fromkeys(AGENTS, ChainHead())
    for number in range(records):
        agent, offset = AGENTS[number % len(AGENTS)], number // len(AGENTS)
        made = record(agent, offset=offset, outcome=outcomes[offset % len(outcomes)], head=heads[agent])
        payload = build(made, *subject_of(made, offset))
        heads[agent] = heads[agent].extend(payload)
        # Offsets of the audit topic have gaps: Kafka writes a marker at the end of each transaction.
        entries.append(sign(made, payload, by=signer(agent), at=(AGENTS.index(agent), 2 * offset)))
    return entries


def lines(entries: Sequence[LogEntry]) -> bytes:
    return b"".join(export.print_entry(entry) + b"\n" for entry in entries)


def decision_lines(entries: Sequence[LogEntry]) -> bytes:
    found = b""
    for number, entry in enumerate(entries):
        offset = number // len(AGENTS)
        if OUTCOMES[offset % len(OUTCOMES)].has_decision:
            agent = AGENTS[number % len(AGENTS)]
            value = decision_value(agent, offset)
            found += export.print_decision(f"decisions.{agent}", 0, entry.offset, value=value) + b"\n"
    return found


def golden_files() -> dict[str, bytes]:
    entries = log()
    return {
        "log.jsonl": lines(entries),
        "decisions.jsonl": decision_lines(entries),
        "trust.json": print_trust(trust()),
        "payload.json": entries[0].record.payload,
    }


if __name__ == "__main__":
    for name, data in golden_files().items():
        (FOLDER / name).write_bytes(data)
