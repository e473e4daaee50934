"""Reading to the end: who asked is told how far it is, and what gets nowhere ends."""

from __future__ import annotations

import logging

import pytest

from jurat.schemas.errors import BrokerUnreachable
from jurat.streams import reading as reading_module
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.reading import Progress, read_to_end
from tests.fake_consumer import FakeConsumer

ONE, TWO, EMPTY = TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("t", 2)
CONNECTION = Connection("nowhere:1")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    made = FakeConsumer()
    made.serve(monkeypatch)
    for partition, count in ((0, 3), (1, 2)):
        for _ in range(count):
            made.write(KafkaRecord("t", partition, 0, 0, b"k", b"v"))
    made.logs[ONE].append(None)  # a control record counts as passed, not as a record
    return made


async def test_a_reading_tells_how_far_it_is(cluster: FakeConsumer) -> None:
    told: list[tuple[int, int]] = []
    read = read_to_end(CONNECTION, [ONE, TWO, EMPTY], progress=lambda *said: told.append(said))
    assert len([record async for record in read]) == 5
    assert told[-1] == (6, 6)
    assert all(total == 6 for _passed, total in told)


async def test_an_empty_reading_is_over_at_once(cluster: FakeConsumer) -> None:
    told: list[tuple[int, int]] = []
    read = read_to_end(CONNECTION, [EMPTY], progress=lambda *said: told.append(said))
    assert [record async for record in read] == []
    assert told == [(0, 0)]
    assert cluster.stopped == 1


async def test_a_reading_that_gets_nowhere_ends(
    cluster: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def further(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 9)

    monkeypatch.setattr(reading_module, "STALL_S", 0.02)
    monkeypatch.setattr(cluster, "end_offsets", further)
    with pytest.raises(BrokerUnreachable, match="nothing more of t for"):
        [record async for record in read_to_end(CONNECTION, [ONE])]
    assert cluster.stopped == 1


def test_a_long_reading_is_logged_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(reading_module.time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    progress = Progress("state.x/3")
    for second in range(13):
        now = 100.0 + second
        progress(second * 10, 130)
    assert (progress.passed, progress.total, progress.elapsed_s) == (120, 130, 12.0)
    assert [record.getMessage() for record in caplog.records] == [
        "reading state.x/3: offset 50 of 130 after 5 s",
        "reading state.x/3: offset 100 of 130 after 10 s",
    ]
