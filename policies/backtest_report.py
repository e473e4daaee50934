"""What a backtest found, as frozen values and as JSON.

Rules upheld here: money is a sum for each currency, in minor units, of the amounts that requests state; what states
none is counted beside it. Not here: judging (`backtest.py`), the words that people read (`jurat.cli`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from jurat.schemas.canonical import JsonObject
from jurat.schemas.decision import Verdict


class Usage(StrEnum):
    """Where what was used of budgets is taken from: the records, or each bundle's own decisions."""

    RECORDED = "recorded"
    SIMULATED = "simulated"


class Change(StrEnum):
    """What a new bundle does to a decision."""

    ALLOWED = "newlyAllowed"
    DENIED = "newlyDenied"
    ESCALATED = "newlyEscalated"


@dataclass(frozen=True, slots=True)
class Said:
    """What a bundle says of one input: the verdict, the determining policies and their titles."""

    verdict: Verdict
    policies: tuple[str, ...]
    reasons: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """As JSON types."""
        return {
            "verdict": self.verdict.value,
            "policies": list(self.policies),
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount that a request states, in the currency's minor unit."""

    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Example:
    """One decision, what was said of it and what is said now."""

    decision_id: str
    place: str
    time: str
    agent: str
    action: str
    was: Said
    now: Said
    amount: Amount | None

    def to_json(self) -> JsonObject:
        """As JSON types."""
        amount = self.amount
        return {
            "decisionId": self.decision_id,
            "place": self.place,
            "time": self.time,
            "agent": self.agent,
            "action": self.action,
            "was": self.was.to_json(),
            "now": self.now.to_json(),
            "amountMinor": amount.amount_minor if amount else None,
            "currency": amount.currency if amount else None,
        }


@dataclass(frozen=True, slots=True)
class Sum:
    """How many decisions, the amounts that they state by currency, and how many state none."""

    decisions: int
    money: Mapping[str, int]
    without_amount: int

    def to_json(self) -> JsonObject:
        """As JSON types."""
        return {
            "decisions": self.decisions,
            "moneyMinor": dict(sorted(self.money.items())),
            "withoutAmount": self.without_amount,
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """The decisions of one change: their sum, how many had which verdict before, and the earliest of them."""

    total: Sum
    was: Mapping[Verdict, int]
    examples: tuple[Example, ...]

    def to_json(self) -> JsonObject:
        """As JSON types."""
        return {
            **self.total.to_json(),
            "was": {verdict.value: self.was[verdict] for verdict in Verdict if self.was.get(verdict)},
            "examples": [example.to_json() for example in self.examples],
        }


@dataclass(frozen=True, slots=True)
class Counted:
    """How many records were not judged for one reason, and one of them: where it stands, and its own words."""

    records: int
    place: str
    detail: str

    def to_json(self) -> JsonObject:
        """As JSON types."""
        return {"records": self.records, "example": {"place": self.place, "detail": self.detail}}


Grouped: TypeAlias = Mapping[str, Mapping[Change, Sum]]
"""By name, what changed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestReport:
    """What a bundle would have done otherwise.

    Attributes:
        new: name and digest of the bundle that was tried.
        old: those of the bundle that it was compared with; None for the recorded verdicts.
        usage: where what was used of budgets is from.
        records: all that were read: `judged`, `outside` and `not_judged` together.
        outside: records that were not asked for.
        judged: decisions that were judged again.
        unchanged: those with the verdict of before.
        other_policies: those of the unchanged that other policies determine now.
        changes: the others.
        by_agent: changes by agent.
        by_action: changes by action.
        by_policy: changes by the policies that refuse now, or for what is newly allowed that refused before; a
            decision counts for each of its policies, so these sums may exceed the whole.
        titles: the titles of these policies.
        not_judged: records that could not be judged, by reason.
        not_reproduced: decisions of which the old bundle says something else than the record.
        mismatches: the earliest of these; `was` is what the record says.
        reconsidered: decisions of which other proposals were refused.
        refused: how many such proposals; they are not judged, as records do not keep their inputs.
        digests: decisions by the digest of the bundle that judged them then.
    """

    new: tuple[str, str]
    old: tuple[str, str] | None
    usage: Usage
    records: int
    outside: int
    judged: int
    unchanged: int
    other_policies: int
    changes: Mapping[Change, Changed]
    by_agent: Grouped
    by_action: Grouped
    by_policy: Grouped
    titles: Mapping[str, str]
    not_judged: Mapping[str, Counted]
    not_reproduced: int
    mismatches: tuple[Example, ...]
    reconsidered: int
    refused: int
    digests: Mapping[str, int]

    def to_json(self) -> JsonObject:
        """As JSON types; where usage is as recorded, the same for the same records in any order."""
        old = self.old
        return {
            "new": {"bundle": self.new[0], "digest": self.new[1]},
            "old": {"bundle": old[0], "digest": old[1]} if old else None,
            "usage": self.usage.value,
            "records": self.records,
            "outside": self.outside,
            "judged": self.judged,
            "unchanged": self.unchanged,
            "unchangedForOtherPolicies": self.other_policies,
            **{change.value: self.changes[change].to_json() for change in Change},
            "byAgent": _grouped(self.by_agent),
            "byAction": _grouped(self.by_action),
            "byPolicy": {
                name: {"title": self.titles[name], **_changes(changes)}
                for name, changes in sorted(self.by_policy.items())
            },
            "notJudged": {why: counted.to_json() for why, counted in sorted(self.not_judged.items())},
            "notReproduced": {
                "decisions": self.not_reproduced,
                "examples": [example.to_json() for example in self.mismatches],
            },
            "refusedProposals": {"decisions": self.reconsidered, "proposals": self.refused},
            "judgedThenBy": dict(sorted(self.digests.items())),
        }


def _grouped(groups: Grouped) -> JsonObject:
    return {name: _changes(changes) for name, changes in sorted(groups.items())}


def _changes(changes: Mapping[Change, Sum]) -> JsonObject:
    return {change.value: changes[change].to_json() for change in Change if change in changes}
