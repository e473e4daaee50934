"""Budgets of one partition against a naive list: taken at once, kept with the commit, gone with a crash.

The worker's windows, the changelog's entries and the verifier each count in their own way; here all of them must agree
with the sum over a plain list, whatever the clock does and whenever the worker dies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jurat.audit.usage import UsageLedger
from jurat.policies.request import Budget, Charge, UsageUnknownError
from jurat.schemas.decision import InputRef
from jurat.schemas.moments import CLOCK_SLACK
from jurat.streams.recording import budget_used
from jurat.streams.usage import Counted, PartitionUsage

HOUR = Budget(
    name="hour",
    title="Within an hour",
    of="context.amount",
    actions=frozenset({"pay"}),
    by="resource.customer",
    window=timedelta(hours=1),
    shares=None,
)
DAY = replace(HOUR, name="day", by=None, window=timedelta(days=1), shares=3)
CAP = {"hour": 100, "day": 600}
PARTITION = 2
KEYS = st.sampled_from(["a", "b", "c"])
COUNTED = st.sampled_from([(DAY, HOUR), (DAY,), (HOUR,)])


@dataclass(frozen=True)
class Took:
    """What one action took, in the naive list; `offset` is that of its input."""

    offset: int
    at: datetime
    key: str | None
    charge: Charge


class Partition(RuleBasedStateMachine):
    """One partition: decisions in the order of their judgement, batches of them committed, crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.offset = 0
        self.usage = PartitionUsage(partition=PARTITION)
        self.took: list[Took] = []
        self.committed = 0
        self.pending: list[tuple[str, bytes | None]] = []
        self.changelog: dict[str, bytes] = {}

    def naive(self, budget: Budget, key: str | None) -> int:
        return sum(
            one.charge.amount
            for one in self.took
            if one.charge.budget is budget and one.key == key and one.at > self.now - budget.window
        )

    def known(self, budget: Budget) -> bool:
        """The clock went back by no more than its slack since something was taken of this very budget."""
        latest = max((one.at for one in self.took if one.charge.budget is budget), default=self.now)
        return self.now >= latest - CLOCK_SLACK

    @rule(minutes=st.one_of(st.integers(0, 90), st.integers(-50, 0), st.integers(0, 60 * 30)))
    def clock_moves(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(minutes=st.integers(61, 240))
    def clock_goes_back_too_far(self, minutes: int) -> None:
        self.now -= timedelta(minutes=minutes)

    @rule(minutes=st.integers(61, 60 * 72), key=KEYS, effective=st.booleans(), counted=COUNTED)
    def clock_jumps_ahead_and_is_set_right(
        self, minutes: int, key: str, *, effective: bool, counted: tuple[Budget, ...]
    ) -> None:
        """Something is decided meanwhile, and takes of some budgets, or of none."""
        self.now += timedelta(minutes=minutes)
        self.decide(key, 1, effective=effective, counted=counted)
        self.now -= timedelta(minutes=minutes)

    @rule(key=KEYS, amount=st.integers(0, 60), effective=st.booleans(), counted=COUNTED)
    def decide(self, key: str, amount: int, *, effective: bool, counted: tuple[Budget, ...]) -> None:
        """Measure, judge by the cap, take: in one turn, as a worker does; what has no effect takes nothing."""
        self.offset += 1
        source = Counted(None, self.usage, key)  # type: ignore[arg-type]  # nobody is asked to judge
        charges = []
        for budget in counted:
            name = None if budget.by is None else key
            try:
                used = source.used(budget, name, now=self.now)
            except UsageUnknownError:
                assert not self.known(budget)
                return
            assert self.known(budget)
            assert used == self.naive(budget, name)
            charges.append(Charge(budget, name, amount, used))
        if not effective or any(c.stated + c.amount > CAP[c.budget.name] for c in charges):
            return
        where = InputRef(topic="t", partition=PARTITION, offset=self.offset)
        self.pending += self.usage.take(charges, where=where, at=self.now)
        self.took += [Took(self.offset, self.now, c.key, c) for c in charges if amount]

    @rule()
    def commit(self) -> None:
        for name, value in self.pending:
            if value is None:
                del self.changelog[name]
            else:
                self.changelog[name] = value
        self.pending.clear()
        self.committed = len(self.took)

    @rule()
    def crash(self) -> None:
        """What was not committed is released; the rest comes back, whatever the order that compaction left."""
        del self.took[self.committed :]
        self.pending.clear()
        self.usage = PartitionUsage(partition=PARTITION)
        for name in sorted(self.changelog, reverse=True):
            self.usage.restore(name, self.changelog[name])

    @invariant()
    def no_cap_is_exceeded(self) -> None:
        """No window that ends at a decision holds more than the cap, or than this partition's share of it."""
        for last in [one for one in self.took[-2:] if one.offset == self.took[-1].offset]:
            budget = last.charge.budget
            total = sum(
                one.charge.amount
                for one in self.took
                if (one.charge.budget, one.key) == (budget, last.key) and one.at > last.at - budget.window
            )
            assert total <= CAP[budget.name] // (budget.shares or 1)

    @invariant()
    def the_verifier_agrees(self) -> None:
        ledger = UsageLedger()
        for one in self.took:
            ledger.add(
                [budget_used(one.charge, takes=True)],
                agent="x",
                partition=PARTITION,
                at=one.at,
                judged_last=True,
            )


TestPartition = Partition.TestCase
TestPartition.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_what_has_left_the_window_leaves_the_changelog() -> None:
    """Ten thousand actions of one minute each: never more than two windows' worth is kept."""
    usage, kept = PartitionUsage(partition=0), set[str]()
    most = 0
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for offset in range(10_000):
        now += timedelta(minutes=1)
        where = InputRef(topic="t", partition=0, offset=offset)
        for name, value in usage.take([Charge(HOUR, "a", 1, 0)], where=where, at=now):
            (kept.discard if value is None else kept.add)(name)
        most = max(most, len(kept))
        assert usage.used(HOUR, "a", now=now) == min(offset + 1, 60)
    assert most == 120
