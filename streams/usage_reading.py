"""What an agent's partitions took of budgets, read from its changelog: a copy, as of now.

Rules upheld here: read without a group and with `read_committed`, so that nobody's work is disturbed and nothing shows
that did not commit; counted as the worker counts. Not here: deciding by it (`usage.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from jurat.policies.limits import Limit
from jurat.policies.request import Budget, UsageUnknownError
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.reading import replay
from jurat.streams.state import USAGE
from jurat.streams.usage import Ledger, PartitionUsage


@dataclass(frozen=True, slots=True)
class Left:
    """What a limit leaves under one key; below zero where a person allowed more."""

    limit: Limit
    amount: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What was used of one budget under one key.

    Attributes:
        budget: the budget.
        key: the key; None for a budget over everything.
        partition: where.
        used: what was taken within the window; None where that cannot be told.
        left: what each limit leaves; for a budget in shares, of this partition's share.
        unknown: why it cannot be told.
    """

    budget: Budget
    key: str | None
    partition: int
    used: int | None
    left: tuple[Left, ...] = ()
    unknown: str | None = None


async def read_usage(connection: Connection, agent: str) -> dict[int, PartitionUsage]:
    """What every partition of an agent took, by number.

    Raises:
        StreamError: the changelog cannot be read.
    """
    found: dict[int, PartitionUsage] = {}
    async with aclosing(replay(connection, [connection.topic(topics.state(agent).name)])) as records:
        async for record in records:
            key = (record.key or b"").decode(errors="replace")
            if key.startswith(USAGE):
                usage = found.setdefault(record.partition, PartitionUsage(partition=record.partition))
                usage.restore(key.removeprefix(USAGE), record.value)
    return found


def standings(
    usage: dict[int, PartitionUsage], budgets: Iterable[Budget], limits: Iterable[Limit], *, now: datetime
) -> list[Standing]:
    """What was used of budgets, and what is left: the most used first within each budget.

    Args:
        usage: what was taken, by partition.
        budgets: as they are declared now; what was taken of others is left out.
        limits: what the policies allow of them.
        now: the present moment.
    """
    known = tuple(limits)
    found: list[Standing] = []
    for budget in budgets:
        own = [limit for limit in known if limit.budget == budget.name]
        rows = [
            _standing(budget, key, number, usage[number], own, now=now)
            for number in sorted(usage)
            if (window := usage[number].windows().get(Ledger.of_budget(budget))) is not None
            for key in window
        ]
        # What has left the window is kept for a while.
        found += sorted(
            [row for row in rows if row.used != 0], key=lambda row: (-(row.used or 0), row.key or "")
        )
    return found


def _standing(
    budget: Budget, key: str | None, number: int, usage: PartitionUsage, limits: list[Limit], *, now: datetime
) -> Standing:
    try:
        used = usage.used(budget, key, now=now)
    except UsageUnknownError as error:
        return Standing(budget, key, number, None, unknown=str(error))
    left = tuple([Left(limit, limit.most // (budget.shares or 1) - used) for limit in limits])
    return Standing(budget, key, number, used, left)
