"""What was used of budgets: measured for one request, and kept in a sliding window.

Rules upheld here:
1. what a request takes is read from its normalised input, so that a record of that input tells it again;
2. what cannot be told is not guessed: the usage is left out, which denies, and the reason is told;
3. an action counts while the moment of its decision lies within the window before now, or after now: a clock that goes
   back forgets nothing. It may go back by `CLOCK_SLACK`, for so long is kept what has left the window; further back,
   what was used cannot be told. How far the clock went is told by what was taken alone: a moment at which nothing was
   taken leaves no trace, so nothing may be forgotten because of it;
4. what is kept is bounded: `MAX_TAKES` for each budget and partition, after which nothing more is taken.

Not here: where it is kept beyond memory (`streams/usage.py`).
"""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jurat.policies.request import Budget, Charge, UsageSource, UsageUnknownError
from jurat.schemas.canonical import MAX_INTEGER, JsonObject, JsonValue
from jurat.schemas.moments import CLOCK_SLACK, print_moment

MAX_TAKES: Final = 50_000
"""Actions that one window of a partition holds, some 25 MB: at 20 microseconds each they are read back in a second."""

MAX_KEY_CHARS: Final = 200
"""Characters of a key: as many as an identifier has."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was used of the budgets that count a request.

    Attributes:
        values: `context.usage`, without the budgets that could not be told.
        charges: what the request takes of each of these.
        faults: why others could not be told.
    """

    values: JsonObject
    charges: tuple[Charge, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assumed:
    """A source that says what it was given, whoever asks, and nothing used of budgets that it was given nothing for.

    Attributes:
        used_of: what was used, by the budget's name.
    """

    used_of: Mapping[str, int]

    def used(self, budget: Budget, key: str | None, *, now: datetime) -> int:  # noqa: ARG002  # the protocol has them
        """What was given for a budget."""
        return self.used_of.get(budget.name, 0)


def measure(
    budgets: Iterable[Budget],
    source: UsageSource | None,
    *,
    attributes: JsonObject,
    context: JsonObject,
    now: datetime,
) -> Measured:
    """Tell what was used of some budgets, and what a request takes of them.

    Args:
        budgets: those that count the request's action.
        source: who knows what was used.
        attributes: the resource's attributes, normalised.
        context: the facts, normalised.
        now: the moment of the decision.
    """
    values: JsonObject = {}
    charges: list[Charge] = []
    faults: list[str] = []
    for budget in budgets:
        try:
            charge = _charge(budget, source, {"resource": attributes, "context": context}, now=now)
        except UsageUnknownError as error:
            faults.append(f"budget {budget.name}: {error}")
        else:
            charges.append(charge)
            values[budget.name] = charge.stated
    return Measured(values, tuple(charges), tuple(faults))


def _charge(budget: Budget, source: UsageSource | None, request: JsonObject, *, now: datetime) -> Charge:
    if source is None:
        raise UsageUnknownError("got nobody who knows what was used, expected a window")
    key = None
    if budget.by is not None:
        found = _read(request, budget.by)
        if not isinstance(found, str) or len(found) > MAX_KEY_CHARS:
            raise UsageUnknownError(
                f"got no key at {budget.by}, expected a string of at most {MAX_KEY_CHARS} characters"
            )
        key = found
    amount = 1
    if budget.of is not None:
        summed = _read(request, budget.of)
        if type(summed) is not int:
            raise UsageUnknownError(f"got no integer at {budget.of}, expected an amount to be taken")
        amount = max(0, summed)  # whatever the policies allow, nothing is ever given back
    charge = Charge(budget, key, amount, source.used(budget, key, now=now))
    if charge.stated > MAX_INTEGER:
        raise UsageUnknownError(f"got more than {MAX_INTEGER} used, expected a sum that can be recorded")
    return charge


def _read(request: JsonObject, path: str) -> JsonValue:
    found: JsonValue = request
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


class Window:
    """What was taken of one budget in one partition.

    Args:
        length: how long an action counts.
    """

    def __init__(self, length: timedelta) -> None:
        self._length = length
        self._takes: dict[str, tuple[datetime, str | None, int]] = {}
        self._by_key: dict[str | None, list[tuple[datetime, str]]] = {}
        self._totals: dict[str | None, int] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._latest: datetime | None = None

    def __len__(self) -> int:
        return len(self._takes)

    def __iter__(self) -> Iterator[str | None]:
        """The keys under which something was taken."""
        return iter(self._by_key)

    def used(self, key: str | None, *, now: datetime) -> int:
        """What was taken under a key within the window that ends now.

        Raises:
            UsageUnknownError: the clock went back too far, or the window is full.
        """
        if self._latest is not None and now < self._latest - CLOCK_SLACK:
            raise UsageUnknownError(
                f"got the moment {print_moment(now)}, expected none before"
                f" {print_moment(self._latest - CLOCK_SLACK)}: what was taken before its window is not kept. The clock"
                " went back, or was ahead before"
            )
        in_window = len(self._takes)
        if in_window >= MAX_TAKES and not self.gives_way(now):
            raise UsageUnknownError(
                f"got {in_window} actions in one partition's window, expected fewer than {MAX_TAKES}"
            )
        takes = self._by_key.get(key, ())
        left = bisect_right(takes, now - self._length, key=lambda take: take[0])
        return self._totals.get(key, 0) - sum([self._takes[name][2] for _at, name in takes[:left]])

    def take(self, name: str, *, key: str | None, amount: int, at: datetime) -> None:
        """Take from the budget.

        Args:
            name: of the action, unique in this window; taking twice under one name takes once.
            key: the key.
            amount: how much.
            at: the moment of its decision.
        """
        self.drop(name)
        self._takes[name] = (at, key, amount)
        insort(self._by_key.setdefault(key, []), (at, name))
        self._totals[key] = self._totals.get(key, 0) + amount
        heapq.heappush(self._heap, (at, name))
        self._latest = at if self._latest is None else max(at, self._latest)

    def drop(self, name: str) -> None:
        """Forget an action, if it is known."""
        at, key, amount = self._takes.pop(name, (None, None, 0))
        if at is None:
            return
        takes = self._by_key[key]
        del takes[bisect_right(takes, (at, name)) - 1]
        self._totals[key] -= amount
        if not takes:
            del self._by_key[key], self._totals[key]

    def expire(self, *, most: int) -> list[str]:
        """Forget what no window will reach after the latest action, whatever the clock does within its slack.

        The latest action itself stays: it tells when the clock went back.

        Args:
            most: how many at once, the earliest first.

        Returns:
            The names of what was forgotten.
        """
        gone: list[str] = []
        while self._latest is not None and len(gone) < most and self.gives_way(self._latest):
            _at, name = heapq.heappop(self._heap)
            self.drop(name)
            gone.append(name)
        return gone

    def gives_way(self, now: datetime) -> bool:
        """Whether no window will reach the earliest action any more, once something is taken at this moment."""
        while self._heap and self._takes.get(self._heap[0][1], (None,))[0] != self._heap[0][0]:
            heapq.heappop(self._heap)  # it was dropped, or taken anew
        return bool(self._heap) and self._heap[0][0] <= now - self._length - CLOCK_SLACK
