"""An open partition without Kafka: inputs that are tried again, what waits behind them, and timers."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from jurat.schemas.decision import InputRef
from jurat.schemas.errors import ReasonerUnavailable
from jurat.streams import parking as parking_module
from jurat.streams import partition as partition_module
from jurat.streams.batching import COMMIT_MAX_RECORDS, MAX_ENDED
from jurat.streams.kafka import KafkaRecord, TopicPartition
from jurat.streams.parking import MAX_RECORD_BYTES
from jurat.streams.retries import RetryPolicy
from jurat.streams.timers import MAX_DUE, Standing
from tests.partition_stage import INPUT, START, TIMERS, Stage, many, record, until

SOURCE = TopicPartition(INPUT, 0)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_a_failure_that_passes_parks_its_key_alone(stage: Stage) -> None:
    async def poison(one: KafkaRecord, attempt: int) -> None:
        if one.offset == 0 and attempt < 2:
            raise ReasonerUnavailable("got no answer")

    stage.decider.behaviour = poison
    async with stage.partition() as one:
        one.feed(many(range(40), 4))
        await until(lambda: len(stage.ends()) == 40)
        assert [at for _, at in stage.ends() if at % 4 == 0] == list(range(0, 40, 4))
        assert stage.ends().index((INPUT, 0)) >= 30, "the others waited"
        assert [attempt for _, at, attempt in stage.decider.began if at == 0] == [0, 1, 2]
        assert not [key for key in stage.changelog() if key.startswith("parked/")]
        assert stage.transactions[0].log[-1].offsets[SOURCE] == (40, "")


async def test_an_input_that_used_up_its_attempts_is_rejected_and_its_followers_are_decided(
    stage: Stage,
) -> None:
    async def poison(one: KafkaRecord, _attempt: int) -> None:
        if one.offset == 0:
            raise ReasonerUnavailable("got no answer")

    stage.decider.behaviour = poison
    async with stage.partition() as one:
        one.feed(many(range(5), 1))
        await until(lambda: len(stage.ends()) == 5)
        assert [at for _, at in stage.ends()] == [0, 1, 2, 3, 4]
        assert len([at for _, at, _ in stage.decider.began if at == 0]) == 3


async def test_what_is_fed_while_its_key_is_parked_waits_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, retry=RetryPolicy(attempts=3, base_s=0.3, cap_s=0.3))

    async def poison(one: KafkaRecord, attempt: int) -> None:
        if one.offset == 0 and attempt == 0:
            raise ReasonerUnavailable("got no answer")

    stage.decider.behaviour = poison
    async with stage.partition() as one:
        one.feed([record(0, "k-0"), record(1, "k-0")])
        await until(lambda: len(stage.state(0).parking) == 2)
        one.feed([record(2, "k-0"), record(3, "k-1")])
        await until(lambda: stage.ends() == [(INPUT, 3)])
        await until(lambda: stage.transactions[0].log[-1].offsets[SOURCE] == (4, ""))
        assert sorted(key for key in stage.changelog() if "parked" in key) == [
            f"parked/{INPUT}/{n}" for n in (0, 1, 2)
        ]
        assert not one._held_records, "parked inputs are counted as held"
        await until(lambda: len(stage.ends()) == 4)
        assert [at for _, at in stage.ends()] == [3, 0, 1, 2]


async def test_a_million_timers_that_are_due_are_written_a_batch_at_a_time(stage: Stage) -> None:
    count = 5_000
    setter = InputRef(topic=INPUT, partition=0, offset=3)
    stage.decider.skew = timedelta(hours=1)
    for number in range(count):
        stage.state(0).timers.replace(f"k-{number}", Standing(set_by=setter, timers={"t": START}))
    stage.transactions[0].gate.clear()
    async with stage.partition():
        await asyncio.sleep(0.3)
        assert len(stage.state(0).timers) >= count - MAX_ENDED - COMMIT_MAX_RECORDS - MAX_DUE
        stage.transactions[0].gate.set()
        await until(lambda: len(fired(stage)) == count)
        assert len(stage.state(0).timers) == 0
        assert sorted(fired(stage)) == sorted(f"k-{number}" for number in range(count))


def fired(stage: Stage) -> list[str]:
    outputs = [output for one in stage.transactions[0].log for output in one.outputs]
    return [
        (output.key or b"").decode() for output in outputs if output.topic == TIMERS and output.value == b"t"
    ]


async def test_a_timer_that_is_set_by_a_decision_fires_when_it_is_due(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "DUE_POLL_S", 3600.0)  # nobody waits for the next look at the clock
    setter, due = InputRef(topic=INPUT, partition=0, offset=0), list[datetime]()

    async def sets(one: KafkaRecord, _attempt: int) -> None:
        due.append(stage.decider.clock() + timedelta(seconds=0.1))
        stage.state(0).timers.replace("c-1", Standing(set_by=setter, timers={"t": due[0]}))

    stage.decider.behaviour = sets
    stage.decider.changes = ((f"timer/{INPUT}/c-1", b"{}"),)
    async with stage.partition() as one:
        one.feed([record(0)])
        await until(lambda: len(stage.ends()) == 1)
        await until(lambda: fired(stage) == ["c-1"])
        assert stage.decider.clock() >= due[0], "it fired too early"
        assert "timer/c-1" not in stage.changelog()


async def test_an_input_that_is_too_large_to_wait_is_not_tried_again(stage: Stage) -> None:
    async def down(one: KafkaRecord, _attempt: int) -> None:
        raise ReasonerUnavailable("got no answer")

    stage.decider.behaviour = down
    async with stage.partition() as one:
        one.feed([record(0, "large", size=MAX_RECORD_BYTES), record(1, "small")])
        await until(lambda: len(stage.ends()) == 2)
        assert [at for _, at, _ in stage.decider.began if at == 0] == [0]
        assert len([at for _, at, _ in stage.decider.began if at == 1]) == 3
        assert not [key for key in stage.changelog() if "parked" in key]


@pytest.mark.parametrize("already_parked", [True, False])
async def test_what_is_too_large_to_wait_behind_a_parked_input_is_rejected(
    stage: Stage, already_parked: bool
) -> None:
    """It fits neither into the changelog nor before what it came behind; the partition goes on."""

    async def poison(one: KafkaRecord, attempt: int) -> None:
        if one.offset == 0 and attempt == 0:
            await asyncio.sleep(0.01)
            raise ReasonerUnavailable("got no answer")

    stage.decider.behaviour = poison
    followers = [
        record(1, size=MAX_RECORD_BYTES),
        replace(record(2), headers=(("x", b""),) * 1_001),
        record(3),
    ]
    async with stage.partition() as one:
        one.feed([record(0)])
        if already_parked:
            await until(lambda: len(stage.state(0).parking) == 1)
        one.feed(followers)
        await until(lambda: len(stage.ends()) == 4)
        assert [at for _, at in stage.ends()] == [1, 2, 0, 3]
        assert [at for _, at, _ in stage.decider.began] == [0, 0, 3]
        await until(lambda: stage.transactions[0].log[-1].offsets[SOURCE] == (4, ""))
    assert stage.budget.bytes == 0


async def test_a_full_parking_stops_the_intake_and_rejects_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of the reasoner for more keys than may be parked must not become rejections after one try."""
    monkeypatch.setattr(parking_module, "MAX_PARKED_RECORDS", 20)
    up = asyncio.Event()

    async def down(one: KafkaRecord, attempt: int) -> None:
        await asyncio.sleep(0.001)
        if attempt == 0 and not up.is_set():
            raise ReasonerUnavailable("got no answer")

    stage.decider.behaviour = down
    async with stage.partition() as one:
        one.feed(many(range(100), 100))
        one.feed(many(range(100, 200), 100))
        await until(lambda: len(stage.ends()) > 50)
        up.set()
        await until(lambda: len(stage.ends()) == 200)
        assert stage.decider.given == 0, "inputs were given up that had been tried once"
        assert Counter(stage.ends()).most_common(1)[0][1] == 1
