"""A changed policy on past decisions: what a bundle says of the inputs that were judged before.

Rules upheld here:
1. what is judged is the normalised input that stands in the record, by the engine that decides; nothing is looked up
   or worked out again, but what was used of budgets where that is asked for (`backtest_judging.py`);
2. every record is counted exactly once: judged, outside of what was asked for, or not judged, with the reason;
3. what is kept while the records come does not grow with their number; judged as recorded, their order does not matter;
4. what states no amount is counted beside the amounts.

What counts of a decision is the proposal that became it. Its other proposals, all refused, were judged on inputs that
no record keeps: they are counted, not judged.

One past decision, step by step (the numbers come back in the code):

1. **Judge** its input by the new bundle and, where one is given, by the old one. What a bundle has no words for (an
   agent, an action, another schema) is not judged.
2. The **verdict of before** is the old bundle's where one is given, else the recorded one. An old bundle that says
   something else than the record is reported.
3. The same verdict is **unchanged**. Another one is **newly** allowed, denied or escalated, and its amount is added up:
   by agent, by action, and by policy.

Not here: reading records (`jurat.streams.past_decisions`), what they hold (`backtest_past.py`), windows as they would
have been under the new decisions (`backtest_judging.py`).
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from jurat.policies.backtest_judging import AsRecorded, JudgingBy
from jurat.policies.backtest_past import NotJudged, PastDecision, Why, amount_of
from jurat.policies.backtest_report import (
    Amount,
    BacktestReport,
    Change,
    Changed,
    Counted,
    Example,
    Grouped,
    Said,
    Sum,
)
from jurat.policies.engine import PolicyEngine
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError

DEFAULT_EXAMPLES: Final = 3
MAX_EXAMPLES: Final = 100
"""Examples of each change: they are held in memory, and people read them."""

MAX_NAMES: Final = 1_000
"""Agents, actions, policies, currencies or digests told apart: a shop has a few dozen, a hostile log any number."""

OTHERS: Final = "(others)"
"""Stands for the names beyond `MAX_NAMES`."""

NO_POLICY: Final = "(no policy)"
"""Stands for what no policy determines: nothing permits it, or the policies could not be evaluated."""

CHANGE_TO: Final = {
    Verdict.ALLOW: Change.ALLOWED,
    Verdict.DENY: Change.DENIED,
    Verdict.ESCALATE: Change.ESCALATED,
}


class Backtest:
    """Judges past decisions by a bundle, one at a time, and adds up what would have been otherwise.

    Args:
        new: the bundle to try.
        old: the bundle to compare with; the recorded verdicts where there is none.
        judging: how both judge.
        examples: how many examples of each change are kept, the earliest; at most `MAX_EXAMPLES`.
    """

    def __init__(
        self,
        new: PolicyEngine,
        *,
        old: PolicyEngine | None = None,
        judging: JudgingBy = AsRecorded,
        examples: int = DEFAULT_EXAMPLES,
    ) -> None:
        if not 0 <= examples <= MAX_EXAMPLES:
            raise ConfigurationError(f"got {examples} examples, expected 0 to {MAX_EXAMPLES}")
        self._new, self._old = new, old
        self._by_new, self._by_old = judging(new), None if old is None else judging(old)
        self._counts = _Counts()
        self._changes = {change: _Changes(_Earliest(examples)) for change in Change}
        self._by_agent, self._by_action, self._by_policy = _Groups(), _Groups(), _Groups()
        self._titles: dict[str, str] = {}
        self._not_judged: dict[Why, tuple[int, str, str]] = {}
        self._mismatches = _Earliest(examples)
        self._digests: Counter[str] = Counter()

    def outside(self, record: PastDecision | NotJudged) -> None:
        """Count a record that was not asked for."""
        self._counts.outside += 1
        if isinstance(record, PastDecision):
            self._by_new.pass_by(record)
            if self._by_old is not None:
                self._by_old.pass_by(record)

    def add(self, record: PastDecision | NotJudged) -> None:
        """Judge a past decision again, or count a record of nothing that can be judged."""
        if isinstance(record, NotJudged):
            self._pass_over(record)
            return
        now, was = self._by_new.judge(record, Why.NEW_CANNOT), record.said  # 1
        if self._by_old is not None:
            before = self._by_old.judge(record, Why.OLD_CANNOT)
            if isinstance(before, Said) and isinstance(now, Said):
                self._compare(record, before)
                was = before  # 2
            elif isinstance(before, NotJudged) and isinstance(now, Said):
                now = before
        if isinstance(now, NotJudged):
            self._pass_over(now)
            return
        self._counts.judged += 1
        self._counts.reconsidered += record.refused > 0
        self._counts.refused += record.refused
        self._digests[_bounded(record.digest, self._digests)] += 1
        if now.verdict is not was.verdict:  # 3
            self._change(record, was=was, now=now)
            return
        self._counts.unchanged += 1
        self._counts.other_policies += now.policies != was.policies

    def report(self) -> BacktestReport:
        """What was found so far."""
        counts, old = self._counts, self._old
        not_judged = {why.value: Counted(*counted) for why, counted in self._not_judged.items()}
        return BacktestReport(
            new=(self._new.bundle.name, self._new.digest),
            old=None if old is None else (old.bundle.name, old.digest),
            usage=self._by_new.usage,
            records=counts.judged + counts.outside + sum(each.records for each in not_judged.values()),
            outside=counts.outside,
            judged=counts.judged,
            unchanged=counts.unchanged,
            other_policies=counts.other_policies,
            changes={change: each.frozen() for change, each in self._changes.items()},
            by_agent=self._by_agent.frozen(),
            by_action=self._by_action.frozen(),
            by_policy=self._by_policy.frozen(),
            titles=dict(self._titles),
            not_judged=not_judged,
            not_reproduced=counts.not_reproduced,
            mismatches=tuple(self._mismatches.kept),
            reconsidered=counts.reconsidered,
            refused=counts.refused,
            digests=dict(self._digests),
        )

    def _pass_over(self, record: NotJudged) -> None:
        count, *first = self._not_judged.get(record.why, (0, record.place, record.detail))
        place, detail = min(tuple(first), (record.place, record.detail))
        self._not_judged[record.why] = (count + 1, place, detail)

    def _compare(self, record: PastDecision, before: Said) -> None:
        said = record.said
        if (before.verdict, before.policies) != (said.verdict, said.policies):
            self._counts.not_reproduced += 1
            self._mismatches.add(_example(record, was=said, now=before))

    def _change(self, record: PastDecision, *, was: Said, now: Said) -> None:
        change = CHANGE_TO[now.verdict]
        example = _example(record, was=was, now=now)
        self._changes[change].add(example)
        self._by_agent.add(record.agent, change, example.amount)
        self._by_action.add(record.action, change, example.amount)
        # What refused before is what let go of it: the permit that is left grants far more than what is newly allowed.
        by = was if change is Change.ALLOWED else now
        for name, title in zip(by.policies or (NO_POLICY,), by.reasons or ("",), strict=False):
            known = self._by_policy.add(name, change, example.amount)
            self._titles[known] = self._title(known, title)

    def _title(self, name: str, recorded: str) -> str:
        for engine in (self._new, self._old):
            if engine is not None and name in engine.bundle.policies:
                return engine.bundle.policies[name].title
        return "" if name in (OTHERS, NO_POLICY) else min(self._titles.get(name, recorded), recorded)


@dataclass(slots=True)
class _Counts:
    """What is counted one by one; the names are those of the report."""

    outside: int = 0
    judged: int = 0
    unchanged: int = 0
    other_policies: int = 0
    not_reproduced: int = 0
    reconsidered: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Earliest:
    """The earliest examples of all that were seen, in order."""

    most: int
    kept: list[Example] = field(default_factory=list)

    def add(self, example: Example) -> None:
        insort(self.kept, example, key=_order)
        del self.kept[self.most :]


@dataclass(slots=True)
class _Sum:
    """A `Sum` that grows."""

    decisions: int = 0
    without_amount: int = 0
    money: Counter[str] = field(default_factory=Counter)

    def add(self, amount: Amount | None) -> None:
        self.decisions += 1
        if amount is None:
            self.without_amount += 1
        else:
            self.money[_bounded(amount.currency, self.money)] += amount.amount_minor

    def frozen(self) -> Sum:
        return Sum(self.decisions, dict(self.money), self.without_amount)


@dataclass(slots=True)
class _Changes:
    """A `Changed` that grows."""

    examples: _Earliest
    total: _Sum = field(default_factory=_Sum)
    was: Counter[Verdict] = field(default_factory=Counter)

    def add(self, example: Example) -> None:
        self.total.add(example.amount)
        self.was[example.was.verdict] += 1
        self.examples.add(example)

    def frozen(self) -> Changed:
        return Changed(self.total.frozen(), dict(self.was), tuple(self.examples.kept))


@dataclass(slots=True)
class _Groups:
    """Sums by name and change."""

    sums: dict[str, dict[Change, _Sum]] = field(default_factory=dict)

    def add(self, name: str, change: Change, amount: Amount | None) -> str:
        """Add to a name's sum; answer the name that it went under."""
        known = _bounded(name, self.sums)
        self.sums.setdefault(known, {}).setdefault(change, _Sum()).add(amount)
        return known

    def frozen(self) -> Grouped:
        return {
            name: {change: each.frozen() for change, each in changes.items()}
            for name, changes in self.sums.items()
        }


def _bounded(name: str, known: Collection[str]) -> str:
    return name if name in known or len(known) < MAX_NAMES else OTHERS


def _order(example: Example) -> tuple[str, str, str]:
    return (example.time, example.decision_id, example.place)


def _example(record: PastDecision, *, was: Said, now: Said) -> Example:
    return Example(
        decision_id=record.decision_id,
        place=record.place,
        time=record.time,
        agent=record.agent,
        action=record.action,
        was=was,
        now=now,
        amount=amount_of(record.normalised),
    )
