"""Limits on calls of models: what is set aside, what is settled, and what other openings of a partition spent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from jurat.agents.model_limits import Limit, Per
from jurat.agents.reasoner import Proposal, ProposalRequest, Spent
from jurat.schemas.errors import (
    LimitReached,
    PartitionFenced,
    StreamError,
)
from jurat.streams.spending import PartitionSpending, SpentEntry, parse_spent, print_spent
from tests.journal_stage import MemoryWriter, Paid, Restoring, ask, opened, proposal
from tests.tree import ROOT

NOON = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MOST = Spent(calls=1, input_tokens=900, output_tokens=100, cost_micros=5_000, currency="EUR")
REALLY = Spent(calls=1, input_tokens=90, output_tokens=10, cost_micros=500, currency="EUR")


@dataclass
class Partition:
    """The log of one partition, and openings of it."""

    partition: int = 0
    partitions: int = 1
    now: datetime = NOON
    log: list[tuple[bytes, bytes]] = field(default_factory=list)
    fails: bool = False
    ours: bool = True
    openings: int = 0

    def open(self) -> PartitionSpending:
        self.openings += 1
        spending = PartitionSpending(
            partition=self.partition,
            partitions=lambda: self.partitions,
            name=f"{self.openings:08x}",
            write=self._write,
            clock=lambda: self.now,
            check_ours=self._check_ours,
        )
        for key, value in self.log:
            spending.restore(key, value)
        spending.restored()
        return spending

    async def _write(self, key: bytes, value: bytes) -> None:
        if self.fails:
            raise StreamError("no")
        self.log.append((key, value))

    def _check_ours(self) -> None:
        if not self.ours:
            raise PartitionFenced("somebody else's")

    @property
    def last(self) -> SpentEntry:
        return parse_spent(self.log[-1][1])


def requests(amount: int, per: Per = Per.MINUTE) -> list[Limit]:
    return [Limit("requests", per, amount)]


async def room(spending: PartitionSpending, limits: list[Limit], most: Spent = MOST) -> int:
    """How many requests there is room for."""
    count = 0
    while count < 1_000:
        try:
            await spending.reserve(most, limits)
        except LimitReached:
            return count
        count += 1
    return count


async def test_a_minute_has_its_requests_and_the_next_one_as_many() -> None:
    partition = Partition()
    spending = partition.open()
    assert await room(spending, requests(5)) == 5
    with pytest.raises(LimitReached, match="got 5 of requests/min=5 used in partition 0") as caught:
        await spending.reserve(MOST, requests(5))
    assert caught.value.details == {"retry_after_s": 30}
    partition.now += timedelta(seconds=30)
    assert await room(spending, requests(5)) == 5
    assert await room(spending, requests(12, Per.DAY)) == 2
    partition.now += timedelta(days=1)
    assert await room(spending, requests(12, Per.DAY)) == 12


@pytest.mark.parametrize(("partitions", "shares"), [(1, [10]), (4, [3, 3, 2, 2]), (12, [1] * 10 + [0, 0])])
async def test_shares_are_the_limit_together(partitions: int, shares: list[int]) -> None:
    got = [
        await room(Partition(partition=number, partitions=partitions).open(), requests(10))
        for number in range(partitions)
    ]
    assert got == shares


async def test_a_share_into_which_no_call_fits_says_so() -> None:
    spending = Partition(partition=1, partitions=2).open()
    with pytest.raises(LimitReached, match=r"its share among 2; no such call ever fits: set a larger limit"):
        await spending.reserve(MOST, requests(1))
    await spending.reserve(MOST, requests(2))
    with pytest.raises(LimitReached, match=r"its share among 2$"):
        await spending.reserve(MOST, requests(2))


async def test_who_opens_the_partition_next_knows_what_was_sent_and_what_is_left() -> None:
    partition = Partition()
    first = partition.open()
    assert await room(first, requests(3, Per.DAY)) == 3
    second = partition.open()
    assert await room(second, requests(5, Per.DAY)) == 2
    third = partition.open()
    assert await room(third, requests(6, Per.DAY)) == 1
    assert await room(partition.open(), requests(6, Per.DAY)) == 0
    assert third.stale() == []
    partition.now += timedelta(days=1)
    fourth = partition.open()
    assert await room(fourth, requests(6, Per.DAY)) == 6
    assert fourth.stale() == [b"spent/0000000%d" % n for n in (1, 2, 3)]
    assert fourth.stale() == []


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        (Limit("tokens", Per.DAY, 10_000), 10),
        (Limit("EUR", Per.DAY, 10_000), 2),
        (Limit("USD", Per.DAY, 1), 1_000),
        (Limit("tokens", Per.MINUTE, 999), 0),
    ],
)
async def test_tokens_and_money_count_as_the_most_until_it_is_known_what_was_taken(
    limit: Limit, fits: int
) -> None:
    assert await room(Partition().open(), [limit]) == fits


async def test_what_is_settled_makes_room_and_is_known_after_a_restart() -> None:
    partition = Partition()
    spending = partition.open()
    settle = await spending.reserve(MOST, [])
    await spending.reserve(MOST, [])
    settle(REALLY)
    assert partition.last.in_day.tokens == 2_000, "not written yet: a crash leaves the most"
    await spending.settled()
    written = len(partition.log)
    await spending.settled()
    assert len(partition.log) == written, "nothing changed"
    assert (partition.last.in_day.requests, partition.last.in_day.tokens) == (2, 1_100)
    assert partition.last.in_minute == partition.last.in_day
    assert partition.last.in_day.micros == {"EUR": 5_500}
    assert await room(partition.open(), [Limit("tokens", Per.DAY, 3_100)]) == 2


async def test_an_answer_after_the_minute_settles_the_day_alone() -> None:
    partition = Partition()
    spending = partition.open()
    settle = await spending.reserve(MOST, [])
    partition.now += timedelta(minutes=1)
    await spending.reserve(MOST, [])
    settle(REALLY)
    await spending.settled()
    assert (partition.last.in_minute.tokens, partition.last.in_day.tokens) == (1_000, 1_100)


async def test_a_day_is_that_of_utc_and_its_limit_ends_with_it() -> None:
    partition = Partition(now=NOON.replace(hour=0))
    spending = partition.open()
    assert await room(spending, requests(3, Per.DAY)) == 3
    for hour in (1, 12, 23):
        partition.now = NOON.replace(hour=hour)
        assert await room(spending, requests(3, Per.DAY)) == 0
        with pytest.raises(LimitReached) as caught:
            await partition.open().reserve(MOST, requests(3, Per.DAY))
        assert caught.value.details == {"retry_after_s": (24 - hour) * 3_600 - 30}
    partition.now = NOON + timedelta(hours=12)
    assert await room(spending, requests(3, Per.DAY)) == 3


async def test_of_the_minutes_of_others_only_the_last_counts() -> None:
    partition = Partition()
    assert await room(partition.open(), requests(3)) == 3
    partition.now += timedelta(minutes=1)
    second = partition.open()
    assert await room(second, requests(5)) == 5
    third = partition.open()
    assert await room(third, requests(7)) == 2, "five of this minute, three of the one before"
    assert await room(third, requests(12, Per.DAY)) == 2


async def test_a_record_is_read_within_its_bounds_and_a_tombstone_forgets_it() -> None:
    partition = Partition()
    assert await room(partition.open(), requests(3)) == 3
    key, value = partition.log[-1]
    reader = partition.open()
    reader.restore(key, None)
    reader.restored()
    assert await room(reader, requests(3)) == 3
    with pytest.raises(StreamError, match="expected at most 4096"):
        reader.restore(key, value + b" " * 4_096)


async def test_a_clock_that_goes_back_forgets_nothing() -> None:
    partition = Partition()
    assert await room(partition.open(), requests(5)) == 5
    partition.now -= timedelta(hours=30)
    again = partition.open()
    assert await room(again, requests(5)) == 0
    assert await room(again, requests(7, Per.DAY)) == 2


async def test_what_could_not_be_written_is_not_sent_and_counts() -> None:
    partition = Partition(fails=True)
    spending = partition.open()
    with pytest.raises(StreamError):
        await spending.reserve(MOST, requests(5))
    partition.fails = False
    assert await room(spending, requests(5)) == 4


async def test_settling_that_cannot_be_written_is_written_next_time() -> None:
    partition = Partition()
    spending = partition.open()
    (await spending.reserve(MOST, []))(REALLY)
    partition.fails = True
    await spending.settled()
    partition.fails = False
    await spending.settled()
    assert partition.last.in_day.tokens == 100


async def test_nothing_is_sent_for_a_partition_that_may_be_somebody_elses() -> None:
    partition = Partition(ours=False)
    with pytest.raises(PartitionFenced):
        await partition.open().reserve(MOST, [])
    assert partition.log == []


async def test_nothing_is_sent_for_a_partition_that_went_while_it_was_written() -> None:
    partition = Partition()
    spending = partition.open()

    async def lost(key: bytes, value: bytes) -> None:
        await Partition._write(partition, key, value)
        partition.ours = False

    spending._write = lost
    with pytest.raises(PartitionFenced):
        await spending.reserve(MOST, requests(3))
    assert partition.last.in_day.requests == 1, "and it counts all the same"


async def test_what_others_spent_on_another_day_is_of_that_day() -> None:
    partition = Partition()
    assert await room(partition.open(), requests(3, Per.DAY)) == 3
    partition.now += timedelta(days=1)
    assert await room(partition.open(), requests(2, Per.DAY)) == 2
    assert await room(partition.open(), requests(3, Per.DAY)) == 1


def test_the_example_of_the_specification_is_a_record() -> None:
    spec = (ROOT / "docs/spec/journal.md").read_text(encoding="utf-8")
    (key,), (value,) = (re.findall(rf"^{name} +(\S+)$", spec, re.MULTILINE) for name in ("spent", "sums"))
    assert print_spent(parse_spent(value.encode())) == value.encode()
    Partition().open().restore(key.encode(), value.encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b":30", b":31") + b" ",
        lambda text: text.replace(b"12:00:00", b"12:00:01"),
        lambda text: text.replace(b'"requests":1', b'"requests":-1'),
        lambda text: text.replace(b'"EUR"', b'"euro"'),
        lambda text: text[:-1] + b',"z":1}',
        lambda text: text + b" " * 5_000,
        lambda _text: b"",
    ],
)
async def test_another_form_is_refused(change: Callable[[bytes], bytes]) -> None:
    partition = Partition()
    await partition.open().reserve(MOST, [])
    key, value = partition.log[0]
    assert change(value) != value
    with pytest.raises(StreamError):
        partition.open().restore(key, change(value))
    with pytest.raises(StreamError):
        partition.open().restore(b"spent/x", value)


async def test_the_journal_keeps_it_beside_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Buys(Paid):
        async def propose(self, request: ProposalRequest) -> Proposal | None:
            await request.purse.reserve(MOST, requests(2, Per.DAY))
            return await super().propose(request)

    writer, reasoner = MemoryWriter(), Buys(proposal(1))
    journal = opened(writer, partitions=1 + 2)
    with pytest.raises(LimitReached):  # two among three, and partition 2 has none
        await ask(journal, reasoner)
    journal = opened(writer, partitions=1)
    await ask(journal, reasoner, attempt=2)
    again = await Restoring(monkeypatch)(writer.log)
    assert len(again) == 2, "what was spent is no call"
    assert again.stale(lambda _where: False) == []
    assert [key for key, _value in writer.log if key.startswith(b"spent/")]
