"""What a partition took of budgets: in flight, in the changelog, after a restart; and what it never takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jurat.agents.dispute_actions import RefundBuyer, RequestEvidence
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.audit.chain import ChainHead
from jurat.audit.record import DecisionRecord, Outcome, parse
from jurat.policies.request import Budget, Charge, UsageUnknownError
from jurat.policies.usage import MAX_TAKES, Window
from jurat.schemas import canonical
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import InputRejected, StreamError
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Party
from jurat.schemas.moments import CLOCK_SLACK
from jurat.streams import state as state_module
from jurat.streams.deciding import Decider, Verdicted
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.state import USAGE, PartitionState
from jurat.streams.usage import Counted, PartitionUsage
from jurat.streams.usage_reading import standings
from tests.budget_stage import dispute
from tests.deciding_stage import Asked, FakeTables, decider
from tests.shop import shop_engine

TOPIC = "marketplace.disputes"
PARTITION = 2
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = shop_engine().bundle.budgets.by_name["refunds_day"]
SHARED = replace(DAY, name="shared", by=None, of=None, window=timedelta(hours=1), shares=3)


def disputed(number: int) -> DisputeOpened:
    return dispute(f"d-{number}", "c-1", 40_000)


def record_of(event: DisputeOpened, offset: int) -> KafkaRecord:
    headers = tuple(headers_for(event, event_id=f"e-{offset}", source="/test"))
    return KafkaRecord(TOPIC, PARTITION, offset, 0, event.key().encode(), encode(event), headers)


def fresh() -> PartitionState:
    return PartitionState(
        DISPUTE_MEDIATOR.state_model,
        input_topic=TOPIC,
        timer_topic="timers.dispute-mediator",
        partition=PARTITION,
    )


class Refunds:
    """A reasoner that waits until it is told to go on, then refunds all; evidence it asks for when refused."""

    name = "refunds"
    deterministic = True

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    async def propose(self, request: ProposalRequest) -> Proposal:
        self.asked.put_nowait(request.situation.event.dispute_id)
        await self.go.wait()
        if request.refused:
            return Proposal(action=RequestEvidence(from_party=Party.SELLER), rationale="refused")
        amount = request.situation.event.amount
        refund = RefundBuyer(amount_minor=amount.amount_minor, currency=amount.currency)
        return Proposal(action=refund, rationale="all of it")


def mediator(reasoner: Refunds, **changes: object) -> Decider:
    agent = replace(DISPUTE_MEDIATOR, views=(), reads=lambda _event: (), **changes)  # type: ignore[arg-type]
    return decider(agent, reasoner=reasoner, tables=FakeTables())


def told(one: Verdicted) -> DecisionRecord:
    return parse(one.draft.finish(ChainHead())).predicate


def taken(one: Verdicted) -> list[str]:
    return [name for name, value in one.changelog if name.startswith(USAGE) and value is not None]


async def test_decisions_in_flight_count() -> None:
    """Four refunds of 400.00 are thought about at once; only two fit into 1000.00, whoever answers first."""
    reasoner, state = Refunds(), fresh()
    one = mediator(reasoner)
    deciding = [
        asyncio.create_task(one.decide(record_of(disputed(number), number), state, calls=Asked()))
        for number in range(4)
    ]
    for _one in deciding:
        await reasoner.asked.get()
    reasoner.go.set()
    ended = [told(await task) for task in deciding]
    assert [record.outcome for record in ended] == [
        Outcome.DECIDED,
        Outcome.DECIDED,
        Outcome.ESCALATED,
        Outcome.ESCALATED,
    ]
    budgets = [record.policy.budgets[0] for record in ended if record.policy is not None]
    assert [(budget.used, budget.taken) for budget in budgets] == [
        (0, 40_000),
        (40_000, 40_000),
        (80_000, 0),
        (80_000, 0),
    ]
    assert {(budget.budget, budget.key, budget.by) for budget in budgets} == {
        ("refunds_day", "c-1", "resource.customer_id")
    }


async def test_what_is_taken_is_an_entry_beside_the_decision_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasoner, state = Refunds(), fresh()
    reasoner.go.set()
    first = await mediator(reasoner).decide(record_of(disputed(1), 41), state, calls=Asked())
    entries = dict(first.changelog)
    (name,) = taken(first)
    assert name == f"usage/refunds_day/{TOPIC}/41"
    assert canonical.loads(entries[name] or b"") == {
        "at": "2026-03-02T09:00:00.000000Z",
        "by": "resource.customer_id",
        "key": "c-1",
        "of": "context.amount_minor",
        "taken": 40_000,
        "window_s": 86_400,
    }
    restored = await after_restart(monkeypatch, entries)
    assert restored.usage.used(DAY, "c-1", now=NOW) == 40_000
    assert restored.usage.used(DAY, "c-2", now=NOW) == 0
    assert restored.usage.used(DAY, "c-1", now=NOW + timedelta(days=1)) == 0
    assert restored.usage.used(replace(DAY, window=timedelta(days=2)), "c-1", now=NOW) == 0, "declared anew"
    assert restored.usage.used(replace(DAY, title="x", actions=frozenset({"y"})), "c-1", now=NOW) == 40_000
    restored = await after_restart(monkeypatch, {**entries, name: None})
    assert restored.usage.used(DAY, "c-1", now=NOW) == 0


async def after_restart(monkeypatch: pytest.MonkeyPatch, entries: dict[str, bytes | None]) -> PartitionState:
    async def read(_connection: Connection, partitions: list[TopicPartition], *, progress: object):  # type: ignore[no-untyped-def]
        for offset, (key, value) in enumerate(entries.items()):
            yield KafkaRecord(partitions[0].topic, PARTITION, offset, 0, key.encode(), value)

    monkeypatch.setattr(state_module, "read_to_end", read)
    state = fresh()
    await state.restore(Connection("nowhere:1"), TopicPartition("state.dispute-mediator", PARTITION), now=NOW)
    return state


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b'{"at":"2026-03-02T09:00:00Z","by":null,"key":null,"of":null,"taken":-1,"window_s":60}',
        b'{"at":"2026-03-02T09:00:00Z","by":null,"key":null,"of":null,"taken":1,"window_s":0}',
        b'{"at":"2026-03-02T09:00:00Z","by":"x","key":null,"of":null,"taken":1,"window_s":60}',
    ],
)
async def test_an_entry_that_cannot_be_read_ends_the_opening(
    monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    with pytest.raises(StreamError, match="holds an entry that this release cannot read"):
        await after_restart(monkeypatch, {f"usage/refunds_day/{TOPIC}/41": value})


async def test_a_dry_run_is_told_the_usage_and_takes_nothing() -> None:
    reasoner, state = Refunds(), fresh()
    reasoner.go.set()
    one = mediator(reasoner, dry_run=lambda _event: True)
    got = await one.decide(record_of(disputed(1), 1), state, calls=Asked())
    record = told(got)
    assert (record.outcome, taken(got)) == (Outcome.DECIDED, [])
    assert record.policy is not None
    assert (record.policy.budgets[0].used, record.policy.budgets[0].taken) == (0, 0)
    assert state.usage.used(DAY, "c-1", now=NOW) == 0


async def test_an_input_that_ends_rejected_after_its_judgement_takes_nothing() -> None:
    def fails(_situation: object, _action: object) -> None:
        raise InputRejected("no such effect")

    reasoner, state = Refunds(), fresh()
    reasoner.go.set()
    got = await mediator(reasoner, effect=fails).decide(record_of(disputed(1), 1), state, calls=Asked())
    assert (told(got).outcome, taken(got)) == (Outcome.REJECTED, [])
    assert state.usage.used(DAY, "c-1", now=NOW) == 0


async def test_an_action_that_no_budget_counts_says_nothing_of_any() -> None:
    reasoner, state = Refunds(), fresh()
    reasoner.go.set()
    unsupported = disputed(1).model_copy(
        update={"evidence": (), "category": DisputeCategory.NOT_AS_DESCRIBED}
    )
    got = await mediator(reasoner).decide(record_of(unsupported, 1), state, calls=Asked())
    record = told(got)
    assert [one.action for one in record.proposals] == ["refund_buyer", "request_evidence"]
    assert (record.outcome, taken(got)) == (Outcome.DECIDED, [])
    assert record.policy is not None
    assert record.policy.budgets == ()
    assert b'"budgets"' not in got.draft.finish(ChainHead())


def where(offset: int) -> InputRef:
    return InputRef(topic=TOPIC, partition=PARTITION, offset=offset)


def took(usage: PartitionUsage, budget: Budget, offset: int, *, at: datetime, amount: int = 1) -> list[str]:
    """Take; returns the names of what leaves the changelog."""
    entries = usage.take([Charge(budget, None, amount, 0)], where=where(offset), at=at)
    return [name for name, value in entries if value is None]


def test_a_budget_by_the_partitions_key_is_told_for_that_key_alone() -> None:
    source = Counted(shop_engine(), PartitionUsage(partition=PARTITION), "c-1")
    assert source.used(DAY, "c-1", now=NOW) == 0
    with pytest.raises(UsageUnknownError, match=r"not the event's, expected the same"):
        source.used(DAY, "c-2", now=NOW)


def test_a_partition_without_a_share_is_told_nothing() -> None:
    assert PartitionUsage(partition=2).used(SHARED, None, now=NOW) == 0
    with pytest.raises(UsageUnknownError, match="got partition 3, expected one below 3"):
        PartitionUsage(partition=3).used(SHARED, None, now=NOW)


def test_the_clock_may_go_back_by_its_slack() -> None:
    usage = PartitionUsage(partition=0)
    took(usage, SHARED, 1, at=NOW - timedelta(minutes=59))
    took(usage, SHARED, 2, at=NOW)
    assert usage.used(SHARED, None, now=NOW) == 2
    assert usage.used(SHARED, None, now=NOW - CLOCK_SLACK) == 2, "what lies ahead counts"
    with pytest.raises(UsageUnknownError, match="The clock went back"):
        usage.used(SHARED, None, now=NOW - CLOCK_SLACK - timedelta(microseconds=1))


def test_the_latest_action_stays_so_that_a_restart_still_knows_when_the_clock_went_back() -> None:
    usage, later = PartitionUsage(partition=0), NOW + SHARED.window + CLOCK_SLACK
    took(usage, SHARED, 1, at=NOW)
    assert took(usage, SHARED, 2, at=later) == [f"shared/{TOPIC}/1"]
    usage.restore(f"shared/{TOPIC}/1", None)
    with pytest.raises(UsageUnknownError):
        usage.used(SHARED, None, now=NOW)


def test_a_clock_that_was_ahead_forgets_nothing_where_nothing_was_taken() -> None:
    """Another budget is used three days ahead; then the clock is set right, and the worker restarts or not."""
    usage, later = PartitionUsage(partition=0), NOW + timedelta(days=3)
    took(usage, SHARED, 1, at=NOW - timedelta(seconds=1))
    took(usage, SHARED, 2, at=NOW)
    assert usage.used(SHARED, None, now=later) == 0
    assert took(usage, DAY, 3, at=later) == []
    assert usage.used(SHARED, None, now=NOW) == 2
    with pytest.raises(UsageUnknownError):
        usage.used(SHARED, None, now=NOW - CLOCK_SLACK - timedelta(seconds=1))


def test_a_full_window_takes_no_more_until_something_has_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jurat.policies.usage.MAX_TAKES", 3)
    usage = PartitionUsage(partition=0)
    for offset in range(3):
        took(usage, SHARED, offset, at=NOW)
    with pytest.raises(
        UsageUnknownError, match="got 3 actions in one partition's window, expected fewer than 3"
    ):
        usage.used(SHARED, None, now=NOW + timedelta(minutes=59))
    later = NOW + SHARED.window + CLOCK_SLACK
    assert usage.used(SHARED, None, now=later) == 0
    assert sorted(took(usage, SHARED, 3, at=later)) == [f"shared/{TOPIC}/{number}" for number in range(3)]
    assert MAX_TAKES == 50_000


def test_one_input_takes_once() -> None:
    usage = PartitionUsage(partition=0)
    took(usage, SHARED, 1, at=NOW, amount=5)
    took(usage, SHARED, 1, at=NOW, amount=5)
    assert usage.used(SHARED, None, now=NOW) == 5


def test_nothing_taken_is_no_entry() -> None:
    usage = PartitionUsage(partition=0)
    assert usage.take([Charge(SHARED, None, 0, 7)], where=where(1), at=NOW) == []
    assert usage.windows() == {}


def test_a_window_forgets_by_name() -> None:
    window = Window(timedelta(hours=1))
    for name, at in (("b", NOW), ("a", NOW), ("c", NOW - timedelta(minutes=1))):
        window.take(name, key="k", amount=2, at=at)
    window.drop("a")
    window.drop("a")
    assert (window.used("k", now=NOW), len(window), list(window)) == (4, 2, ["k"])
    window.drop("b")
    window.drop("c")
    assert (window.used("k", now=NOW), list(window)) == (0, [])


def test_what_is_left_is_told_by_key_the_most_used_first() -> None:
    limits = shop_engine().bundle.limits
    usage = {2: PartitionUsage(partition=2), 3: PartitionUsage(partition=3)}
    for partition, key, offset, amount, at in (
        (2, "c-1", 1, 60_000, NOW),
        (2, "c-1", 2, 15_000, NOW),
        (3, "c-2", 1, 99_000, NOW),
        (3, "c-3", 2, 5, NOW - timedelta(days=2)),
    ):
        usage[partition].take([Charge(DAY, key, amount, 0)], where=where(offset), at=at)
    rows = standings(usage, [DAY], limits, now=NOW)
    assert [(row.key, row.partition, row.used, [left.amount for left in row.left]) for row in rows] == [
        ("c-2", 3, 99_000, [1_000]),
        ("c-1", 2, 75_000, [25_000]),
    ]
    (row,) = standings({2: usage[2]}, [DAY], limits, now=NOW - timedelta(hours=2))
    assert (row.used, row.left) == (None, ())
    assert "The clock went back" in (row.unknown or "")


def test_what_is_left_of_a_share() -> None:
    usage = PartitionUsage(partition=1)
    took(usage, SHARED, 1, at=NOW, amount=2)
    limit = replace(shop_engine().bundle.limits[0], budget="shared", most=10)
    (row,) = standings({1: usage}, [SHARED], [limit], now=NOW)
    assert [left.amount for left in row.left] == [10 // 3 - 2]
