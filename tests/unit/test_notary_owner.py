"""A notary that was stopped for a while: what another signed in its place is no fork; what nobody else may sign is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from jurat.audit.checkpoint import Checkpoint
from jurat.audit.notary import Resume
from jurat.audit.tlog_policy import NONE, TlogPolicy
from jurat.schemas.errors import LogForked, PartitionFenced, ReopenPartition, StreamError
from jurat.streams.committing import Output, Transactions
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.metrics import Meters
from jurat.streams.notary_config import NotaryConfig
from jurat.streams.notary_partition import NotaryPartition
from tests.notary_stage import KEY, ORIGIN, TIME, signed_by


class EmptyPartition:
    """A consumer of a partition without records."""

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    beginning_offsets = end_offsets


@pytest.mark.parametrize(
    ("answer", "ends_in"),
    [
        (PartitionFenced("another has it"), PartitionFenced),
        (None, LogForked),
        (ReopenPartition("not known"), LogForked),
    ],
)
async def test_a_checkpoint_of_ones_own_key_is_a_fork_for_the_owner_of_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, answer: StreamError | None, ends_in: type[Exception]
) -> None:
    async def nothing(_self: object) -> None: ...

    async def commit(
        _self: object, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        assert outputs == []
        assert offsets == {log.source: (0, Resume().print(str(ORIGIN), KEY))}
        if answer is not None:
            raise answer

    async def none_committed(_self: object) -> tuple[Resume, bool]:
        return Resume(), False

    async def no_checkpoint(_self: object) -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(Transactions, "fence", nothing)
    monkeypatch.setattr(Transactions, "commit", commit)
    monkeypatch.setattr(NotaryPartition, "_committed", none_committed)
    monkeypatch.setattr(NotaryPartition, "_last_checkpoint", no_checkpoint)
    config = NotaryConfig(
        org=ORIGIN.org,
        key=KEY,
        policy=TlogPolicy((), {}, {}, NONE),
        clock=lambda: TIME,
        meters=Meters("notary"),
    )
    log = NotaryPartition(Connection("nowhere.invalid:9092"), config, ORIGIN)
    assert await log.open(EmptyPartition()) == 0
    foreign = signed_by(Checkpoint(str(ORIGIN), 3, bytes(32)))
    record = KafkaRecord(
        topic=log.latest.topic,
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=str(ORIGIN).encode(),
        value=foreign,
    )
    log.see(record)
    with pytest.raises(ends_in):
        await log.run()
