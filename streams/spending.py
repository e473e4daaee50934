"""What one partition spends on calls of models: sums of this minute and this day of UTC, kept in its journal.

Rules upheld here:
1. what a request may take at most is added to the sums, and these are acknowledged by all in-sync replicas, before it
   is sent; so whatever becomes of the worker, what was sent counts;
2. every opening of the partition writes sums of its own under a name of its own, and adds those of the others to them,
   so that nobody replaces what another one wrote;
3. a partition has an equal share of each limit, and the first ones the units that are left over, so that all shares
   together are the limit;
4. minutes only go on: a clock that goes back goes on in the last minute, and what was spent in it stays counted.

What is settled is in the sums at once, and written when the answer is. Specified in `docs/spec/journal.md`. Not here:
limits (`jurat.agents.model_limits`), what a request takes (`jurat.agents.reasoner_limited`).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError

from jurat.agents.model_limits import Limit, Per, Settle
from jurat.agents.reasoner import Spent
from jurat.audit.record import Time
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, LimitReached, StreamError
from jurat.schemas.model import Count, Model
from jurat.schemas.moments import parse_moment, print_moment

log = logging.getLogger(__name__)

PREFIX: Final = b"spent/"
MAX_CURRENCIES: Final = 16
"""Currencies of one day: as many as there are models to ask, in a few settings after each other."""

MAX_SPENT_BYTES: Final = 4_096
"""Far more than sums take."""

_KEY: Final = re.compile(rb"spent/[0-9a-f]{8}")
_Micros = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Count], Field(max_length=MAX_CURRENCIES)
]


class Sums(Model):
    """What was spent; `micros` are millionths of each currency, `tokens` those of prompts and answers."""

    requests: Count = 0
    tokens: Count = 0
    micros: _Micros = Field(default_factory=dict)

    def plus(self, other: Self) -> Self:
        """Both together."""
        return self._sum(other, 1)

    def minus(self, other: Self) -> Self:
        """Without the other; never below nothing."""
        return self._sum(other, -1)

    def _sum(self, other: Self, sign: int) -> Self:
        micros = {
            name: _bounded(self.micros.get(name, 0) + sign * other.micros.get(name, 0))
            for name in sorted({*self.micros, *other.micros})[:MAX_CURRENCIES]
        }
        return self.model_copy(
            update={
                "requests": _bounded(self.requests + sign * other.requests),
                "tokens": _bounded(self.tokens + sign * other.tokens),
                "micros": {name: amount for name, amount in micros.items() if amount},
            }
        )

    def of(self, limit: Limit) -> int:
        """How much of a limit these take."""
        if limit.unit in ("requests", "tokens"):
            return self.requests if limit.unit == "requests" else self.tokens
        return self.micros.get(limit.unit, 0)


class SpentEntry(Model):
    """The sums of one opening of the partition, in the minute that they were last written for and in its day."""

    minute: Time
    in_minute: Sums
    in_day: Sums


def print_spent(entry: SpentEntry) -> bytes:
    """Print an entry's one form."""
    return canonical.dumps(entry.model_dump(mode="json"))


def parse_spent(value: bytes) -> SpentEntry:
    """Read an entry, refusing everything that is not printed here.

    Raises:
        StreamError: too large, or another form or field.
    """
    if len(value) > MAX_SPENT_BYTES:
        raise StreamError(f"got {len(value)} bytes of what was spent, expected at most {MAX_SPENT_BYTES}")
    try:
        entry = SpentEntry.model_validate_json(value)
        whole = print_spent(entry) == value and Per.MINUTE.begin(_begun(entry)) == _begun(entry)
    except (ValidationError, CanonicalError, ValueError) as error:
        raise StreamError("got a record of what was spent that breaks its schema") from error
    if not whole:
        raise StreamError(
            "got a record of what was spent in another form than the one of docs/spec/journal.md"
        )
    return entry


class PartitionSpending:
    """What one partition spends; satisfies `jurat.agents.model_limits.Purse`.

    Of others it holds what they spent today: a hundred bytes for each time that the partition was opened.

    Args:
        partition: its number.
        partitions: how many the agent's topic has now.
        name: of this opening, 8 hex digits.
        write: writes a record; returns when all in-sync replicas have it.
        clock: the present moment.
        check_ours: raises when the partition may be somebody else's by now.
    """

    def __init__(
        self,
        *,
        partition: int,
        partitions: Callable[[], int],
        name: str,
        write: Callable[[bytes, bytes], Awaitable[None]],
        clock: Callable[[], datetime],
        check_ours: Callable[[], None],
    ) -> None:
        self._partition, self._partitions = partition, partitions
        self._key = PREFIX + name.encode()
        self._write, self._clock, self._check_ours = write, clock, check_ours
        self._others: dict[bytes, SpentEntry] = {}
        self._minute = datetime.min.replace(tzinfo=UTC)
        self._mine: Mapping[Per, Sums] = {per: Sums() for per in Per}
        self._theirs: Mapping[Per, Sums] = {per: Sums() for per in Per}
        self._written: bytes | None = None

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take over a record of another opening; None forgets it.

        Raises:
            StreamError: it is none.
        """
        if not _KEY.fullmatch(key):
            raise StreamError("got a key that is not spent/<writer>")
        self._others.pop(key, None)
        if value is not None:
            self._others[key] = parse_spent(value)

    def restored(self) -> None:
        """Add up what others spent, once all is read: their minutes do not go on any more."""
        self._minute = max([self._minute, *map(_begun, self._others.values())])
        sums = {per: Sums() for per in Per}
        for entry in self._others.values():
            if _begun(entry) == self._minute:
                sums[Per.MINUTE] = sums[Per.MINUTE].plus(entry.in_minute)
            if Per.DAY.begin(_begun(entry)) == Per.DAY.begin(self._minute):
                sums[Per.DAY] = sums[Per.DAY].plus(entry.in_day)
        self._theirs = sums

    def stale(self) -> list[bytes]:
        """The keys of what others spent before today, to be tombstoned with the next commit."""
        today = Per.DAY.begin(max(self._minute, Per.MINUTE.begin(self._clock())))
        gone = [key for key, entry in self._others.items() if Per.DAY.begin(_begun(entry)) < today]
        for key in gone:
            del self._others[key]
        return gone

    async def reserve(self, most: Spent, limits: Sequence[Limit]) -> Settle:
        """Set aside what one request may take at most; returns when no crash forgets it.

        Raises:
            LimitReached: it would go over this partition's share; nothing was set aside.
            PartitionFenced: the partition may be somebody else's by now.
            StreamError: it could not be written, and counts all the same.
        """
        self._go_on()
        shares = self._partitions()
        for limit in limits:
            self._check(limit, most, shares)
        minute, taken = self._minute, _sums_of(most)
        self._mine = {per: sums.plus(taken) for per, sums in self._mine.items()}

        def settle(spent: Spent) -> None:
            really = _sums_of(spent)
            self._mine = {
                per: sums.minus(taken).plus(really) if per.begin(minute) == per.begin(self._minute) else sums
                for per, sums in self._mine.items()
            }

        self._check_ours()
        await self._put()  # 1
        self._check_ours()
        return settle

    async def settled(self) -> None:
        """Write the sums if they changed; a failure is left to the next writing, and counts what was set aside."""
        if self._written is None or self._written == self._printed():
            return
        try:
            await self._put()
        except StreamError as error:
            log.warning("what calls really took was not written, the most counts: %s", error)

    def _go_on(self) -> None:
        """Begin the minute and the day that it is by now, if they are not the last ones."""
        now = max(self._minute, Per.MINUTE.begin(self._clock()))
        begins = [per for per in Per if per.begin(now) != per.begin(self._minute)]
        self._minute = now
        if begins:
            self._mine = {per: Sums() if per in begins else sums for per, sums in self._mine.items()}
            self._theirs = {per: Sums() if per in begins else sums for per, sums in self._theirs.items()}

    def _check(self, limit: Limit, most: Spent, shares: int) -> None:
        share = limit.amount // shares + (self._partition < limit.amount % shares)
        used = self._mine[limit.per].of(limit) + self._theirs[limit.per].of(limit)
        if used + limit.of(most) <= share:
            return
        ends = limit.per.begin(self._minute) + limit.per.length
        never = limit.of(most) > share
        raise LimitReached(
            f"got {used} of {limit} used in partition {self._partition}, and up to {limit.of(most)} to be taken,"
            f" expected at most {share} together, its share among {shares}"
            + ("; no such call ever fits: set a larger limit" if never else ""),
            retry_after_s=max(1, math.ceil((ends - self._clock()) / timedelta(seconds=1))),
        )

    async def _put(self) -> None:
        value = self._written = self._printed()
        try:
            await self._write(self._key, value)
        except BaseException:
            self._written = b""  # whether it is there is not known: the next writing is due
            raise

    def _printed(self) -> bytes:
        mine = self._mine
        return print_spent(
            SpentEntry(minute=print_moment(self._minute), in_minute=mine[Per.MINUTE], in_day=mine[Per.DAY])
        )


def _begun(entry: SpentEntry) -> datetime:
    return parse_moment(entry.minute)


def _sums_of(spent: Spent) -> Sums:
    micros = {spent.currency: spent.cost_micros} if spent.currency and spent.cost_micros else {}
    return Sums(
        requests=spent.calls, tokens=_bounded(spent.input_tokens + spent.output_tokens), micros=micros
    )


def _bounded(amount: int) -> int:
    return min(max(0, amount), canonical.MAX_INTEGER)
