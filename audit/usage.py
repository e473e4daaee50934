"""Budgets in the log: what a record says was used of them, and whether the records before it say the same. Pure.

Rules upheld here: a record accounts for every budget that its policies were told of, and for no other; what was used
follows from the earlier records alone, nothing is taken on trust. Computed here in a way of its own, apart from the
worker's. Not here: the other checks of a log (`verifier.py`).

A budget's window belongs to one agent, one partition number (of its input topic and of its timers alike) and one key;
one that is declared anew with another path or length begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from jurat.schemas.errors import RecordInvalid, UsageWrong
from jurat.schemas.model import Count, Model
from jurat.schemas.moments import CLOCK_SLACK

MAX_BUDGETS: Final = 16
"""Budgets in one record: as many as a bundle has at most."""

Path = Annotated[str, Field(pattern=r"^(resource|context)(\.[A-Za-z_][A-Za-z0-9_]{0,63}){1,4}$")]
"""Where something stands in a normalised policy input; `resource` is the attributes of the first of `entities`."""


class BudgetUsed(Model):
    """What was used of one budget when a proposal was judged, and what the decision takes of it.

    Attributes:
        budget: its name; the policies read it as `context.usage.<name>`.
        by: the path of its key in the normalised input; None where it tells no keys apart.
        key: what stands there.
        of: the path of what is summed; None where actions are counted.
        window_s: how long an action counts.
        shares: partitions that it is cut for; None where one partition sees all of a key.
        used: what the earlier records of this agent, partition and key took within the window.
        taken: what this decision takes; 0 where it was not allowed, or has no effect.
    """

    budget: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    by: Path | None
    key: Annotated[str, Field(max_length=200)] | None
    of: Path | None
    window_s: Annotated[int, Field(ge=1)]
    shares: Annotated[int, Field(ge=2)] | None
    used: Count
    taken: Count


def check_stated(normalised: Mapping[str, Any], budgets: Sequence[BudgetUsed], *, decided: bool) -> None:
    """Check that a record's budgets are those that its policies were told of, as it says they were.

    Args:
        normalised: the record's normalised policy input.
        budgets: what it says of budgets.
        decided: whether the action was allowed.

    Raises:
        RecordInvalid: one is missing, or contradicts the input.
    """
    told = _read(normalised, ("context", "usage"))
    told = told if isinstance(told, dict) else {}
    if not told and not budgets:
        return
    named = [one.budget for one in budgets]
    if named != sorted(told):
        raise RecordInvalid(
            f"got budgets for {', '.join(named) or 'none'}, expected one each for what the policies were told of, in"
            f" order: {', '.join(sorted(told)) or 'none'}"
        )
    for one in budgets:
        key = None if one.by is None else value_at(normalised, one.by)
        amount = 1 if one.of is None else value_at(normalised, one.of)
        if one.key != key or type(amount) is not int:
            raise RecordInvalid(
                f"got the budget {one.budget} with another key or amount than the policy input has at {one.by} and"
                f" {one.of}"
            )
        amount = max(0, amount)
        shares = one.shares or 1
        if told[one.budget] != shares * one.used + (shares - 1) * amount:
            raise RecordInvalid(
                f"got {told[one.budget]} as context.usage.{one.budget}, expected"
                f" {shares * one.used + (shares - 1) * amount} from {one.used} used"
            )
        if one.taken not in ((0, amount) if decided else (0,)):
            raise RecordInvalid(
                f"got {one.taken} taken of the budget {one.budget}, expected"
                f" {f'0 or {amount}' if decided else '0: nothing was allowed'}"
            )


def value_at(normalised: Mapping[str, Any], path: str) -> object:
    """What stands at a path of a normalised policy input; None where nothing does."""
    root, *names = path.split(".")
    if root == "context":
        return _read(normalised, ("context", *names))
    entities = normalised.get("entities")
    first = entities[0] if isinstance(entities, list) and entities else None
    return _read(first, ("attrs", *names))


def _read(value: object, names: Iterable[str]) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class _Account(NamedTuple):
    """One budget of one partition, as it is declared."""

    agent: str
    partition: int
    budget: str
    by: str | None
    of: str | None
    window_s: int


@dataclass(slots=True)
class _Takes:
    """What was taken of an account: in the order of the log, and by key; and the latest moment of it.

    Attributes:
        window: for how long it counts.
        kept: for how long it is remembered.
    """

    window: timedelta
    kept: timedelta
    in_order: deque[tuple[datetime, str | None]] = field(default_factory=deque)
    by_key: dict[str | None, deque[tuple[datetime, int]]] = field(default_factory=dict)
    latest: datetime | None = None

    def add(self, one: BudgetUsed, at: datetime) -> None:
        self.in_order.append((at, one.key))
        of_key = self.by_key.get(one.key)
        if of_key is None:
            of_key = self.by_key[one.key] = deque()
        of_key.append((at, one.taken))
        if self.latest is None or at > self.latest:
            self.latest = at
        # Nearly in the order of time: what is older than what stands before it goes a little later.
        until = self.latest - self.kept
        while self.in_order[0][0] <= until:
            _at, key = self.in_order.popleft()
            self.by_key[key].popleft()
            if not self.by_key[key]:
                del self.by_key[key]


class UsageLedger:
    """Follows what the records of a log took of budgets, in memory bounded by what their windows hold."""

    def __init__(self) -> None:
        self._accounts: dict[_Account, _Takes] = {}
        self._broken: dict[tuple[str, int], datetime] = {}

    def broken(self, agent: str, partition: int, *, at: datetime) -> None:
        """A record of this agent and partition is missing, or not to be believed: what it took is not known."""
        known = self._broken.get((agent, partition))
        self._broken[agent, partition] = at if known is None else max(at, known)

    def add(
        self, budgets: Iterable[BudgetUsed], *, agent: str, partition: int, at: datetime, judged_last: bool
    ) -> None:
        """Check what a record says was used, then take what it takes.

        Args:
            budgets: what it says.
            agent: its agent.
            partition: the number of its input's partition.
            at: its time.
            judged_last: whether its proposal was judged when it ended. One that is denied was judged before the
                reasoner was asked again, and what ended meanwhile stands before it in the log.

        Raises:
            UsageWrong: the records before it say something else.
        """
        wrong: list[str] = []
        for one in budgets:
            account = _Account(agent, partition, one.budget, one.by, one.of, one.window_s)
            takes = self._accounts.get(account)
            if takes is None:
                window = timedelta(seconds=one.window_s)
                takes = self._accounts[account] = _Takes(window, window + CLOCK_SLACK)
            fault = self._fault(one, takes, account, at=at, judged_last=judged_last)
            if fault is not None:
                wrong.append(fault)
            if one.taken:
                takes.add(one, at)
        if wrong:
            self.broken(agent, partition, at=at)
            raise UsageWrong("; ".join(wrong))

    def _fault(
        self, one: BudgetUsed, takes: _Takes, account: _Account, *, at: datetime, judged_last: bool
    ) -> str | None:
        name, window = one.budget, takes.window
        if one.taken and one.shares is not None and account.partition >= one.shares:
            return (
                f"{one.taken} was taken of the budget {name} on partition {account.partition}, which has none of its"
                f" {one.shares} shares; expected a refusal"
            )
        if takes.latest is not None and at < takes.latest - CLOCK_SLACK:
            if not one.taken:
                return None  # it was denied, whatever it was told
            return (
                f"{one.taken} was taken of the budget {name} more than {CLOCK_SLACK} before the moment of an earlier"
                " record, expected a refusal: what its window held is not known"
            )
        broken = self._broken.get((account.agent, account.partition))
        if broken is not None and at - window <= broken:
            return None  # named already: one missing record is one fault
        since = at - window
        summed = sum([taken for moment, taken in takes.by_key.get(one.key, ()) if moment > since])
        if one.used == summed or (one.used < summed and not judged_last):
            return None
        return (
            f"the policies were told that {one.used} was used of the budget {name}, but the records before it took"
            f" {summed} within {window}"
        )
