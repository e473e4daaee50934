"""From a record of the log to the past decision that a backtest judges again.

Rules upheld here: a record that was read is a past decision or says why it is none; what it says is taken from it
alone. Signatures and chains are not looked at: `jurat audit verify` does that.

Not here: writing records (`recording.py`), judging (`jurat.policies.backtest`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from jurat.audit.coordinates import parse_uri
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.log import Fault, LogEntry
from jurat.audit.record import DecisionRecord, Outcome, concluded, is_unjudged
from jurat.audit.rows import chosen
from jurat.audit.selection import VERDICT_OF
from jurat.audit.usage import BudgetUsed
from jurat.policies.backtest_past import NotJudged, PastDecision, Took, Why
from jurat.policies.backtest_report import Said
from jurat.schemas.decision import decision_id_at
from jurat.schemas.errors import AuditError

WHY_NOT: Final = {
    Outcome.SKIPPED: Why.SKIPPED,
    Outcome.REJECTED: Why.REJECTED,
    Outcome.EXPIRED: Why.EXPIRED,
    Outcome.DUPLICATE: Why.DUPLICATE,
}


def read(entry: LogEntry | Fault, lifts: Unveiler) -> DecisionRecord | NotJudged:
    """The record of an entry, or why it cannot be read; `lifts` lifts its veil, if it can."""
    if isinstance(entry, Fault):
        return NotJudged(Why.UNREADABLE, entry.reason, place_of(entry))
    try:
        statement = lifts.lift(parse_any(entry.record.payload))
    except AuditError as error:
        return NotJudged(Why.UNREADABLE, str(error), place_of(entry))
    if statement.is_veiled:
        return NotJudged(Why.VEILED, f"it ended {statement.predicate.outcome.value}", place_of(entry))
    return statement.predicate


def past_decision(record: DecisionRecord, place: str) -> PastDecision | NotJudged:
    """What a record says of a decision, or why it says nothing of one.

    Args:
        record: the record.
        place: where it stands, in words.
    """
    verdict = VERDICT_OF.get(record.outcome)
    if verdict is None:
        told = record.rejection
        detail = f"{told.error}: {told.message}" if told else f"it ended {record.outcome.value}"
        return NotJudged(WHY_NOT[record.outcome], detail, place)
    proposal = chosen(record)
    if record.policy is None or proposal is None:
        return NotJudged(Why.UNREADABLE, "a decision without a proposal", place)
    if is_unjudged(record):
        return NotJudged(Why.UNJUDGED, f"it ended {record.outcome.value}", place)
    return PastDecision(
        decision_id=record.decision_id,
        place=place,
        time=record.time,
        agent=record.agent,
        action=proposal.action,
        digest=record.policy.digest,
        said=Said(verdict, proposal.policies, (*proposal.reasons, *proposal.errors)),
        normalised=record.policy.input,
        refused=len(record.proposals) - 1,
        chain=record.chain,
        seq=record.seq,
        partition=parse_uri(record.inputs[0].uri).partition,
        about=_about(record),
        effective=_is_effective(record),
        took=tuple([_took(used) for used in record.policy.budgets if used.taken]),
    )


def _about(record: DecisionRecord) -> str:
    """The decision that a record ends: that of the escalated input where people answered."""
    asked = concluded(record)
    if asked is None:
        return record.decision_id
    return decision_id_at(
        record.agent, asked.cluster_id, topic=asked.topic, partition=asked.partition, offset=asked.offset
    )


def _is_effective(record: DecisionRecord) -> bool:
    """Whether an allowed decision took of the budgets that count it; a record of anything else does not tell."""
    budgets = record.policy.budgets if record.policy is not None else ()
    return not budgets or record.outcome is not Outcome.DECIDED or any(used.taken for used in budgets)


def _took(used: BudgetUsed) -> Took:
    return Took(
        budget=used.budget,
        by=used.by,
        key=used.key,
        of=used.of,
        window=timedelta(seconds=used.window_s),
        amount=used.taken,
    )


def place_of(entry: LogEntry | Fault) -> str:
    """Where an entry stands: on its topic, the same in the topic and in an export of it; a fault where it can tell."""
    return str(replace(entry.place, line=None) if isinstance(entry, LogEntry) else entry.place)
