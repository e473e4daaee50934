"""From a record of the log to the past decision that a backtest judges again.

Rules upheld here: a record that was read is a past decision or says why it is none; what it says is taken from it
alone. Signatures and chains are not looked at: `jurat audit verify` does that.

Not here: writing records (`recording.py`), judging (`jurat.policies.backtest`).
"""

from __future__ import annotations

from typing import Final

from jurat.audit.log import Fault, LogEntry
from jurat.audit.record import DecisionRecord, Outcome, parse
from jurat.policies.backtest import NotJudged, PastDecision, Why
from jurat.policies.backtest_report import Said
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import RecordInvalid

VERDICT_OF: Final = {
    Outcome.DECIDED: Verdict.ALLOW,
    Outcome.DENIED: Verdict.DENY,
    Outcome.ESCALATED: Verdict.ESCALATE,
}


def read(entry: LogEntry | Fault) -> DecisionRecord | NotJudged:
    """The record of an entry, or why it cannot be read."""
    if isinstance(entry, Fault):
        return NotJudged(Why.UNREADABLE, entry.reason, str(entry.place))
    try:
        return parse(entry.record.payload).predicate
    except RecordInvalid as error:
        return NotJudged(Why.UNREADABLE, str(error), place_of(entry))


def past_decision(record: DecisionRecord, place: str) -> PastDecision | NotJudged:
    """What a record says of a decision, or why it says nothing of one.

    Args:
        record: the record.
        place: where it stands, in words.
    """
    verdict = VERDICT_OF.get(record.outcome)
    if verdict is None or record.policy is None or not record.proposals:
        return NotJudged(Why.UNASKED, f"it ended {record.outcome.value}", place)
    # The kernel ends with the proposal that was not denied, or where all were, for the reasons that met the first.
    chosen = record.proposals[0 if verdict is Verdict.DENY else -1]
    return PastDecision(
        decision_id=record.decision_id,
        place=place,
        time=record.time,
        agent=record.agent,
        action=chosen.action,
        digest=record.policy.digest,
        said=Said(verdict, chosen.policies, (*chosen.reasons, *chosen.errors)),
        normalised=record.policy.input,
        refused=len(record.proposals) - 1,
    )


def place_of(entry: LogEntry) -> str:
    """Where an entry stands on its topic: the same in the topic and in an export of it."""
    return f"{entry.topic}, partition {entry.partition}, offset {entry.offset}"
