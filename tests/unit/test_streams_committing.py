"""Transactions without Kafka: what is written again after an abort, and the named way out of everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from jurat.schemas.errors import (
    NotAuthorized,
    PartitionFenced,
    RecordTooLarge,
    ReopenPartition,
    StreamError,
    TopicMissing,
)
from jurat.streams import committing as committing_module
from jurat.streams.committing import ATTEMPTS, BATCH_BYTES, Output, Transactions
from jurat.streams.kafka import Connection, OffsetAndMetadata, TopicPartition, partition_of_key
from jurat.streams.metrics import Meters

INPUT = TopicPartition("commerce.payments", 3)
OFFSETS = {INPUT: (7, "bAg")}
OUTPUTS = (
    Output("decisions", None, b"c-1", b"one", [("ce_id", b"1")]),
    Output("audit", 1, b"chain", b"two"),
    Output("decisions", None, b"c-1", b"three"),
    Output("state", 3, b"key", None),
)


@dataclass
class Builder:
    """A batch that is being filled."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def append(
        self, *, timestamp: object, key: object, value: bytes | None, headers: object
    ) -> object | None:
        if value is not None and len(value) > 2 * 1024 * 1024:
            return None
        self.rows.append((key, value, headers))
        return len(self.rows)


class FakeProducer:
    """The seam to the client: keeps what is sent, and raises in the steps that it is told to."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, BaseException]] = []
        self.steps: list[str] = []
        self.sent: list[tuple[str, int, tuple[Any, ...]]] = []
        self.committed: list[list[tuple[str, int, tuple[Any, ...]]]] = []
        self.offsets: list[Mapping[TopicPartition, OffsetAndMetadata]] = []
        self.groups: set[str] = set()
        self.hangs_in = ""

    def fail(self, step: str, error: BaseException, *, times: int = 1) -> None:
        self.faults += [(step, error)] * times

    def _step(self, name: str) -> None:
        self.steps.append(name)
        for fault in self.faults:
            if fault[0] == name:
                self.faults.remove(fault)
                raise fault[1]

    async def _hang(self, name: str) -> None:
        if self.hangs_in == name:
            await asyncio.Event().wait()

    async def start(self) -> None:
        self._step("start")

    async def stop(self) -> None:
        self._step("stop")

    async def begin_transaction(self) -> None:
        self.sent = []
        await self._hang("begin")
        self._step("begin")

    async def partitions_for(self, _topic: str) -> set[int]:
        return set(range(6))

    def create_batch(self) -> Builder:
        return Builder()

    async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.sent.append((topic, partition, tuple(builder.rows)))
        try:
            self._step("written")
        except KafkaError as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        await self._hang("send")
        self._step("send")
        return future

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: str
    ) -> None:
        await self._hang("offsets")
        self._step("offsets")
        self.offsets.append(offsets)
        self.groups.add(group)

    async def commit_transaction(self) -> None:
        await self._hang("commit")
        self._step("commit")
        self.committed.append(self.sent)

    async def abort_transaction(self) -> None:
        self._step("abort")


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    fake = FakeProducer()
    monkeypatch.setattr(committing_module, "transactional_producer", lambda *_, **__: fake)
    monkeypatch.setattr(committing_module, "BACKOFF_S", 0.001)
    return fake


async def started(meters: Meters | None = None) -> Transactions:
    one = Transactions(
        Connection("nowhere:1", "ns"),
        transactional_id="a-b-3",
        group="a",
        meters=meters or Meters("a"),
    )
    await one.fence()
    return one


async def test_everything_is_in_one_transaction_in_the_order_of_each_partition(
    producer: FakeProducer,
) -> None:
    one = await started()
    await one.commit(OUTPUTS, OFFSETS)
    assert producer.steps[:2] == ["start", "begin"]
    assert producer.steps[-2:] == ["offsets", "commit"]
    by_key = partition_of_key(b"c-1", 6)
    assert producer.committed == [
        [
            ("decisions", by_key, ((b"c-1", b"one", [("ce_id", b"1")]), (b"c-1", b"three", []))),
            ("audit", 1, ((b"chain", b"two", []),)),
            ("state", 3, ((b"key", None, []),)),
        ]
    ]
    assert producer.offsets == [{INPUT: OffsetAndMetadata(7, "bAg")}]
    assert producer.groups == {"ns.a"}


PASSING = [CoordinatorNotAvailableError(), NotLeaderForPartitionError(), KafkaConnectionError("gone")]


@pytest.mark.parametrize("step", ["begin", "send", "offsets"])
@pytest.mark.parametrize("error", PASSING)
async def test_after_an_abort_the_same_bytes_are_committed(
    producer: FakeProducer, step: str, error: KafkaError
) -> None:
    """Signed records name their place in the chain: a second signature over another place would be a fork."""
    meters = Meters("a")
    one = await started(meters)
    producer.fail(step, error, times=2)
    await one.commit(OUTPUTS, OFFSETS)
    assert producer.steps.count("abort") == 2
    assert len(producer.committed) == 1
    again = FakeProducer()
    again.committed, again.offsets = producer.committed, producer.offsets[-1:]
    fresh = FakeProducer()
    one._producer = fresh  # type: ignore[assignment]
    await one.commit(OUTPUTS, OFFSETS)
    assert fresh.committed == again.committed
    assert fresh.offsets == again.offsets
    assert sum(meters._aborted.values()) == 2


@pytest.mark.parametrize(
    ("step", "error", "way_out"),
    [
        ("begin", ProducerFenced(), PartitionFenced),
        ("offsets", ProducerFenced(), PartitionFenced),
        ("written", ProducerFenced(), PartitionFenced),
        ("commit", ProducerFenced(), PartitionFenced),
        ("commit", KafkaConnectionError("gone"), ReopenPartition),
        ("written", NotLeaderForPartitionError(), ReopenPartition),
        ("commit", CoordinatorNotAvailableError(), ReopenPartition),
        ("written", TopicAuthorizationFailedError("state"), NotAuthorized),
    ],
)
async def test_what_does_not_pass_has_a_named_way_out_and_is_not_tried_again(
    producer: FakeProducer, step: str, error: BaseException, way_out: type[StreamError]
) -> None:
    one = await started()
    producer.fail(step, error)
    with pytest.raises(way_out):
        await one.commit(OUTPUTS, OFFSETS)
    assert producer.steps.count("begin") == 1
    assert producer.committed == []


@pytest.mark.parametrize(
    ("error", "way_out"),
    [(MessageSizeTooLargeError(), RecordTooLarge), (UnknownTopicOrPartitionError(), TopicMissing)],
)
async def test_a_topic_that_refuses_records_is_named_whatever_was_answered_since(
    producer: FakeProducer, error: KafkaError, way_out: type[StreamError]
) -> None:
    one = await started()
    producer.fail("written", error)
    with pytest.raises(way_out, match=OUTPUTS[0].topic) as caught:
        await one.commit(OUTPUTS, OFFSETS)
    assert caught.value.details["topics"] == [OUTPUTS[0].topic]


async def test_an_abort_that_fails_opens_the_partition_anew(producer: FakeProducer) -> None:
    one = await started()
    producer.fail("offsets", CoordinatorNotAvailableError())
    producer.fail("abort", KafkaConnectionError("gone"))
    with pytest.raises(ReopenPartition, match="refused"):
        await one.commit(OUTPUTS, OFFSETS)


@pytest.mark.parametrize("step", ["begin", "send", "offsets", "commit"])
async def test_a_transaction_that_gets_nowhere_ends_within_its_bound(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The client tries for ever; its partition must not be silent for as long."""
    monkeypatch.setattr(committing_module, "TRANSACTION_S", 0.05)
    one = await started()
    producer.hangs_in = step
    with pytest.raises(ReopenPartition, match="within"):
        await asyncio.wait_for(one.commit(OUTPUTS, OFFSETS), 60)
    assert producer.committed == []


async def test_aborts_without_end_open_the_partition_anew(producer: FakeProducer) -> None:
    one = await started()
    producer.fail("offsets", CoordinatorNotAvailableError(), times=ATTEMPTS)
    with pytest.raises(ReopenPartition, match=f"aborted {ATTEMPTS} times"):
        await one.commit(OUTPUTS, OFFSETS)
    assert producer.steps.count("abort") == ATTEMPTS


async def test_a_record_that_the_client_does_not_write_is_named(producer: FakeProducer) -> None:
    one = await started()
    with pytest.raises(RecordTooLarge, match="for state"):
        await one.commit([Output("state", 3, b"k", b"x" * (3 * 1024 * 1024))], OFFSETS)
    assert producer.committed == []


async def test_records_go_in_batches_below_the_brokers_limit_and_large_ones_alone(
    producer: FakeProducer,
) -> None:
    one = await started()
    sizes = (BATCH_BYTES // 2 - 100, BATCH_BYTES // 2 - 100, 500, BATCH_BYTES + 5, 10)
    await one.commit([Output("t", 0, b"k", b"x" * size) for size in sizes], OFFSETS)
    rows: Sequence[Sequence[int]] = [
        [len(row[1]) for row in batch] for _t, _p, batch in producer.committed[0]
    ]
    assert rows == [[sizes[0], sizes[1]], [500], [BATCH_BYTES + 5], [10]]


async def test_a_batch_after_the_producer_was_stopped_is_void(producer: FakeProducer) -> None:
    one = await started()
    await one.stop()
    with pytest.raises(PartitionFenced):
        await one.commit(OUTPUTS, OFFSETS)
    await one.stop()
    assert producer.steps.count("stop") == 1
