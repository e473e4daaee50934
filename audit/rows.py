"""Records as flat rows, for tables, spreadsheets and data frames. A row proves nothing: it carries no signature.

Rules upheld here: every column has one type in every row; names and meaning of a column never change, new ones come at
the end; money stands in minor units beside its currency; a value that is not there is None.

Specified in `docs/spec/replay-rows.md`. Not here: the lines that verify (`export.py`), how files hold rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from jurat.audit.log import LogEntry
from jurat.audit.record import DecisionRecord, Outcome, PolicyUsed, ProposalJudged
from jurat.audit.selection import VERDICT_OF, resource
from jurat.schemas import canonical
from jurat.schemas.moments import print_moment

UNREADABLE: Final = "unreadable"
"""The outcome of a row whose payload is no record."""

BETWEEN: Final = "; "
"""Stands between the parts of a column that holds several."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What a column holds: text, integers of 64 bits, or moments as RFC 3339 in UTC with microseconds."""

    TEXT = "text"
    INTEGER = "integer"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name and type."""

    name: str
    kind: Kind = Kind.TEXT


_INTEGERS: Final = (
    "amount_minor",
    "proposals",
    "refused",
    "input_tokens",
    "output_tokens",
    "cost_micros",
    "seq",
    "partition",
    "offset",
)
_NAMES: Final = (
    "time",
    "decision_id",
    "agent",
    "outcome",
    "verdict",
    "action",
    "parameters",
    "resource_type",
    "resource_id",
    "amount_minor",
    "currency",
    "policies",
    "reasons",
    "bundle",
    "policy_digest",
    "proposals",
    "refused",
    "fallback",
    "reasoner",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_micros",
    "cost_currency",
    "approvals",
    "rejection",
    "event_type",
    "event_id",
    "input_uri",
    "code",
    "chain",
    "seq",
    "topic",
    "partition",
    "offset",
    "kafka_time",
    "keyid",
    "payload_sha256",
)
_KINDS: Final = dict.fromkeys(_INTEGERS, Kind.INTEGER) | dict.fromkeys(("time", "kafka_time"), Kind.TIME)

COLUMNS: Final = tuple(Column(name, _KINDS.get(name, Kind.TEXT)) for name in _NAMES)
"""The columns of a row, in order."""

Row = dict[str, str | int | None]
"""A row: a value for each column, by name, in their order."""


def row(entry: LogEntry, record: DecisionRecord | None) -> Row:
    """The row of an entry.

    Args:
        entry: the entry.
        record: what it says; None where its payload is no record.
    """
    made: Row = dict.fromkeys(_NAMES)
    if record is None:
        made["outcome"] = UNREADABLE
    else:
        made |= _ended(record) | _proposed(record) | _judged(record) | _reasoned(record)
    return made | {
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "kafka_time": print_moment(
            _EPOCH + timedelta(milliseconds=max(_MIN_MS, min(entry.timestamp_ms, _MAX_MS)))
        ),
        "chain": entry.record.chain,
        "keyid": entry.record.signatures[0].keyid,
        "payload_sha256": sha256(entry.record.payload).hexdigest(),
    }


_MIN_MS: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_MAX_MS: Final = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
"""Moments that a calendar has: Kafka's timestamps are whatever somebody wrote."""


def chosen(record: DecisionRecord) -> ProposalJudged | None:
    """The proposal that became the decision: the first where all were refused, else the last."""
    if not record.proposals:
        return None
    return record.proposals[0 if record.outcome is Outcome.DENIED else -1]


def _ended(record: DecisionRecord) -> Row:
    first = record.inputs[0]
    told = record.rejection
    return {
        "time": record.time,
        "decision_id": record.decision_id,
        "agent": record.agent,
        "outcome": record.outcome.value,
        "verdict": VERDICT_OF[record.outcome].value if record.outcome.has_decision else None,
        "approvals": _joined([f"{one.answer} by {one.approver} as {one.role}" for one in record.approvals]),
        "rejection": f"{told.error}: {told.message}" if told else None,
        "event_type": first.event_type,
        "event_id": first.event_id,
        "input_uri": first.uri,
        "code": record.code,
        "seq": record.seq,
    }


def _proposed(record: DecisionRecord) -> Row:
    counted: Row = {
        "proposals": len(record.proposals),
        "refused": sum(each.verdict == "deny" for each in record.proposals),
    }
    proposal = chosen(record)
    if proposal is None:
        return counted
    return counted | {
        "action": proposal.action,
        "parameters": canonical.dumps(proposal.parameters).decode(),
        "policies": _joined(proposal.policies),
        "reasons": _joined(proposal.reasons),
        "fallback": proposal.fallback or None,
    }


def _judged(record: DecisionRecord) -> Row:
    used = record.policy
    if used is None:
        return {}
    acted_on = resource(record)
    return _money(record, used) | {
        "resource_type": acted_on[0] if acted_on else None,
        "resource_id": acted_on[1] if acted_on else None,
        "bundle": used.bundle,
        "policy_digest": used.digest,
    }


def _money(record: DecisionRecord, used: PolicyUsed) -> Row:
    """The amount that policies were told, else that of the parameters; its currency from the same place alone."""
    proposal = chosen(record)
    for place in (used.input.get("context"), proposal.parameters if proposal else None):
        if isinstance(place, dict) and type(place.get("amount_minor")) is int:
            currency = place.get("currency")
            return {
                "amount_minor": place["amount_minor"],
                "currency": currency if isinstance(currency, str) else None,
            }
    return {}


def _reasoned(record: DecisionRecord) -> Row:
    asked = record.reasoner
    if asked is None:
        return {}
    took = asked.usage
    return {
        "reasoner": asked.name,
        "model": asked.model,
        "input_tokens": took.input_tokens if took else None,
        "output_tokens": took.output_tokens if took else None,
        "cost_micros": took.cost_micros if took else None,
        "cost_currency": took.currency if took else None,
    }


def _joined(parts: tuple[str, ...] | list[str]) -> str | None:
    return BETWEEN.join(parts) or None
