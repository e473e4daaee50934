"""The seam to Kafka for readers without a group: logs in memory, read by partition from where was sought."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import pytest

from jurat.streams import following as following_module
from jurat.streams import reading as reading_module
from jurat.streams.kafka import KafkaRecord, TopicPartition


class FakeConsumer:
    """A client of a cluster that holds `logs`; a None in a log is a control record.

    Attributes:
        polled: set when something was fetched and is not handed out yet.
        go_on: cleared to hold back what was fetched.
    """

    def __init__(self) -> None:
        self.logs: dict[TopicPartition, list[KafkaRecord | None]] = defaultdict(list)
        self.positions: dict[TopicPartition, int] = {}
        self.polled = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: Exception | None = None
        self.started = 0
        self.stopped = 0

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be what `start_reader` gives; each reader is another client of the same cluster."""

        async def start(_connection: object, partitions: Iterable[TopicPartition]) -> FakeConsumer:
            self.started += 1
            reader = _Reader(self)
            reader.assign(list(partitions))
            return reader

        for module in (following_module, reading_module):
            monkeypatch.setattr(module, "start_reader", start)
            monkeypatch.setattr(module, "record_of", lambda record: record)

    def write(self, record: KafkaRecord) -> None:
        """Append a record; its offset is where it lands."""
        log = self.logs[TopicPartition(record.topic, record.partition)]
        log.append(replace(record, offset=len(log)))

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(partitions, -1)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self.positions
        self.positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.logs[partition]) for partition in partitions}

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[KafkaRecord]]:
        if self.failure is not None:
            raise self.failure
        taken = {}
        for partition, at in self.positions.items():
            found = self.logs[partition][at:]
            self.positions[partition] = len(self.logs[partition])
            taken[partition] = [record for record in found if record is not None]
        self.polled.set()
        await self.go_on.wait()
        await asyncio.sleep(0.001)
        return taken

    async def stop(self) -> None:
        self.stopped += 1


class _Reader(FakeConsumer):
    def __init__(self, cluster: FakeConsumer) -> None:
        super().__init__()
        self._cluster = cluster
        self.logs = cluster.logs
        self.polled = cluster.polled
        self.go_on = cluster.go_on

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._cluster.end_offsets(partitions)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[KafkaRecord]]:
        self.failure = self._cluster.failure
        return await super().getmany(timeout_ms=timeout_ms, max_records=max_records)

    async def stop(self) -> None:
        await self._cluster.stop()
