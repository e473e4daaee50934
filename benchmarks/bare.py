"""The measure: a bare aiokafka loop that consumes, produces in transactions and decides nothing.

Rules upheld here: it does on Kafka exactly what the worker does (one transactional producer per input partition, as
many records of the same sizes, as many inputs in a transaction, offsets in the transaction, the same settings of the
clients), and nothing else; it imports nothing of jurat, so that its start-up is a bare one. Run as a process of its
own, `python -m benchmarks.bare PLAN`, it goes on until SIGTERM and then prints when it began.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

POLL_MS = 100
ASSIGNED_POLL_S = 0.005


class Loop:
    """The loop.

    Args:
        plan: `bootstrap_servers`, `group`, `input` (a topic), `batch` (inputs in a transaction), `consumer` and
            `producer` (settings), `each` and `last`: lists of outputs per input and per transaction, of the form
            `{"topic", "key", "value_bytes", "headers", "same_partition"}`; a null key means the input's own.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._each = [_Output(output) for output in plan["each"]]
        self._last = [_Output(output) for output in plan["last"]]
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}
        self._stopping = asyncio.Event()
        self.began: float | None = None
        self.inputs = 0

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume and produce until stopped."""
        plan = self._plan
        consumer = AIOKafkaConsumer(
            plan["input"],
            bootstrap_servers=plan["bootstrap_servers"],
            group_id=plan["group"],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            **plan["consumer"],
        )
        await consumer.start()
        try:
            while not consumer.assignment():  # noqa: ASYNC110 - the client has no such event
                await asyncio.sleep(ASSIGNED_POLL_S)
            await asyncio.gather(*(self._open(partition) for partition in consumer.assignment()))
            while not self._stopping.is_set():
                taken = await consumer.getmany(timeout_ms=POLL_MS)
                if taken and self.began is None:
                    self.began = time.time()
                await asyncio.gather(
                    *(self._copy(partition, records) for partition, records in taken.items())
                )
        finally:
            await asyncio.gather(*(producer.stop() for producer in self._producers.values()))
            await consumer.stop()

    async def _open(self, partition: TopicPartition) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._plan["bootstrap_servers"],
            acks="all",
            transactional_id=f"{self._plan['group']}-{partition.partition}",
            **self._plan["producer"],
        )
        await producer.start()
        self._producers[partition] = producer

    async def _copy(self, partition: TopicPartition, records: list[Any]) -> None:
        producer, size = self._producers[partition], self._plan["batch"]
        for start in range(0, len(records), size):
            batch = records[start : start + size]
            async with producer.transaction():
                sent = [await output.send(producer, record) for record in batch for output in self._each]
                sent += [await output.send(producer, batch[-1]) for output in self._last]
                await producer.send_offsets_to_transaction(
                    {partition: batch[-1].offset + 1}, self._plan["group"]
                )
                await asyncio.gather(*sent)
            self.inputs += len(batch)


class _Output:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._topic = plan["topic"]
        self._key = None if plan["key"] is None else plan["key"].encode()
        self._value = bytes(plan["value_bytes"])
        self._headers = [(name, value.encode()) for name, value in plan["headers"]]
        self._same_partition = plan["same_partition"]

    async def send(self, producer: AIOKafkaProducer, record: Any) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = await producer.send(
            self._topic,
            self._value,
            key=record.key if self._key is None else self._key,
            partition=record.partition if self._same_partition else None,
            headers=self._headers,
        )
        return sent


async def main() -> None:
    """Run the plan of the command line until SIGTERM."""
    loop = Loop(json.loads(sys.argv[1]))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop)
    await loop.run()
    print(json.dumps({"began": loop.began, "inputs": loop.inputs}))


if __name__ == "__main__":
    asyncio.run(main())
