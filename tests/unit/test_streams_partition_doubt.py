"""An open partition that may be with another worker by now: it buys nothing until a commit shows whose it is."""

from __future__ import annotations

import asyncio

import pytest

from jurat.schemas.errors import PartitionFenced
from jurat.streams.partition import PartitionProcessor
from tests.partition_stage import Stage, many, until


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_a_partition_that_may_be_with_another_worker_buys_nothing_until_a_commit_went_through(
    stage: Stage,
) -> None:
    async with stage.partition() as one:
        one._check_ours()
        one.doubt()
        with pytest.raises(PartitionFenced):
            one._check_ours()
        one.feed(many(range(10), 10))
        await until(lambda: len(stage.ends()) == 10)
        one._check_ours()


async def test_a_commit_that_began_before_the_doubt_does_not_lift_it(stage: Stage) -> None:
    stage.transactions[0].gate.clear()
    async with stage.partition() as one:
        one.feed(many(range(10), 10))
        await until(lambda: len(stage.decider.ended) == 10)
        await asyncio.sleep(0.05)
        one.doubt()
        stage.transactions[0].gate.set()
        await until(lambda: one.committed_records == 10)
        with pytest.raises(PartitionFenced):
            one._check_ours()


async def test_a_worker_that_slept_too_long_fences_nobody(stage: Stage) -> None:
    stage.awake = False
    with pytest.raises(PartitionFenced):
        await PartitionProcessor(0, stage.shared).open()
