"""What one partition took of budgets: sliding windows in memory, each action an entry of the changelog.

Rules upheld here:
1. an action is taken in the turn of the event loop in which it was judged, so that decisions in flight see each other;
   its entry commits with its decision, in one transaction;
2. what is not decided, or has no effect, takes nothing, so nothing has to be given back;
3. a budget whose key is the event's is told for that key alone, as only this partition sees all of it; one in shares
   only to the partitions that have one;
4. a budget that is declared anew with another path or window begins anew; one whose title, actions or shares change
   goes on.

Not here: the windows themselves (`policies/usage.py`), the record of what was taken (`recording.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from jurat.agents.kernel import Judge
from jurat.policies.budgets import MAX_WINDOW
from jurat.policies.request import Budget, Charge, Judgement, PolicyRequest, UsageUnknownError
from jurat.policies.usage import MAX_KEY_CHARS, Window
from jurat.schemas import canonical
from jurat.schemas.decision import InputRef
from jurat.schemas.model import Count, Model, Timestamp
from jurat.schemas.moments import print_moment

MAX_EXPIRED: Final = 500
"""Entries of one budget that a decision ends at most, beside the one that it adds: after a long stop there may be
many."""

_Path = Annotated[str, Field(pattern=r"^(resource|context)(\.[A-Za-z_][A-Za-z0-9_]*)+$")]


class Taken(Model):
    """An entry of the changelog: what one action took."""

    at: Timestamp
    by: _Path | None
    key: Annotated[str, Field(max_length=MAX_KEY_CHARS)] | None
    of: _Path | None
    taken: Count
    window_s: Annotated[int, Field(ge=1, le=MAX_WINDOW // timedelta(seconds=1))]

    def printed(self) -> bytes:
        """Its value in the changelog."""
        return canonical.dumps({**self.model_dump(mode="json"), "at": print_moment(self.at)})


@dataclass(frozen=True, slots=True)
class Ledger:
    """What identifies the window of a budget."""

    name: str
    by: str | None
    of: str | None
    window: timedelta

    @classmethod
    def of_budget(cls, budget: Budget) -> Ledger:
        """The window of a budget as it is declared now."""
        return cls(budget.name, budget.by, budget.of, budget.window)


class PartitionUsage:
    """What the partition with this number took.

    Args:
        partition: the number.
    """

    def __init__(self, *, partition: int) -> None:
        self._partition = partition
        self._windows: dict[Ledger, Window] = {}
        self._ledger_of: dict[str, Ledger] = {}

    def used(self, budget: Budget, key: str | None, *, now: datetime) -> int:
        """What was taken of a budget here.

        Raises:
            UsageUnknownError: it cannot be told, or this partition has no share.
        """
        if budget.shares is not None and self._partition >= budget.shares:
            raise UsageUnknownError(
                f"got partition {self._partition}, expected one below {budget.shares}: the budget is cut into that many"
                " shares; set `scope` to the number of partitions of the agent's topic"
            )
        window = self._windows.get(Ledger.of_budget(budget))
        if window is None:
            return 0
        return window.used(key, now=now)

    def take(
        self, charges: Iterable[Charge], *, where: InputRef, at: datetime
    ) -> list[tuple[str, bytes | None]]:
        """Take what a decided action takes.

        Args:
            charges: of its judgement.
            where: the input that was decided; it takes once.
            at: the moment of the decision.

        Returns:
            The changelog's entries (below the prefix) that must commit with the decision.
        """
        entries: list[tuple[str, bytes | None]] = []
        for charge in charges:
            if not charge.amount:
                continue
            budget = charge.budget
            name = f"{budget.name}/{where.topic}/{where.offset}"
            entry = Taken(
                at=at,
                by=budget.by,
                key=charge.key,
                of=budget.of,
                taken=charge.amount,
                window_s=budget.window // timedelta(seconds=1),
            )
            self._put(name, entry)
            entries.append((name, entry.printed()))
        if entries:
            for window in self._windows.values():
                entries += [(name, None) for name in self._expire(window)]
        return entries

    def restore(self, name: str, value: bytes | None) -> None:
        """Take over an entry of the changelog; None forgets it.

        Raises:
            ValidationError: it is not one of ours.
        """
        ledger = self._ledger_of.pop(name, None)
        if ledger is not None:
            self._windows[ledger].drop(name)
        if value is not None:
            self._put(name, Taken.model_validate_json(value))

    def windows(self) -> dict[Ledger, Window]:
        """Every window in which something was taken."""
        return dict(self._windows)

    def _put(self, name: str, entry: Taken) -> None:
        ledger = Ledger(name.partition("/")[0], entry.by, entry.of, timedelta(seconds=entry.window_s))
        window = self._windows.get(ledger)
        if window is None:
            window = self._windows[ledger] = Window(ledger.window)
        window.take(name, key=entry.key, amount=entry.taken, at=entry.at)
        self._ledger_of[name] = ledger

    def _expire(self, window: Window) -> list[str]:
        gone = window.expire(most=MAX_EXPIRED)
        for name in gone:
            del self._ledger_of[name]
        return gone


@dataclass(frozen=True, slots=True)
class Counted:
    """A judge that tells the policies what was used of budgets; satisfies `jurat.agents.kernel.Judge`.

    Attributes:
        inner: who judges.
        usage: what the partition took.
        key: the key of the event that is decided.
    """

    inner: Judge
    usage: PartitionUsage
    key: str

    def judge(self, request: PolicyRequest) -> Judgement:
        """Judge one request."""
        return self.inner.judge(replace(request, usage=self))

    def used(self, budget: Budget, key: str | None, *, now: datetime) -> int:
        """What was taken of a budget, where this partition can tell it.

        Raises:
            UsageUnknownError: it cannot.
        """
        if budget.shares is None and key != self.key:
            raise UsageUnknownError(
                f"got a key at {budget.by} that is not the event's, expected the same: with `scope: partition-key` a"
                " partition sees all of a key's budget only if they are; give it `scope: {allotment: N}`"
            )
        return self.usage.used(budget, key, now=now)
