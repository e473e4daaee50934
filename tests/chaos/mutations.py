"""Two ways to break the runtime, so that the oracle is known to see it. They exist in worker processes of tests only.

`NO_TRANSACTIONS`: a plain producer, and offsets committed by the consumer. What was written before a crash is written
again after it.

`ID_PER_PROCESS`: each process has transactional ids of its own instead of one per input partition. Nobody fences the
process that was asleep, and what it commits on waking stands beside what its successor committed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from jurat.streams import kafka

LONG_MS = 120_000


class Mutation(StrEnum):
    """What is broken."""

    NONE = "none"
    NO_TRANSACTIONS = "no-transactions"
    ID_PER_PROCESS = "id-per-process"


class NothingToMutate(Exception):
    """The runtime makes its producers in another way by now: break that one."""


class PlainProducer:
    """What a transactional producer offers, without the transaction: each record is there for good when it is sent."""

    consumer: kafka.AIOKafkaConsumer | None = None

    def __init__(self, inner: kafka.AIOKafkaProducer) -> None:
        self._inner = inner
        self._offsets: dict[kafka.TopicPartition, kafka.OffsetAndMetadata] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def begin_transaction(self) -> None:
        """Nothing begins."""

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Write a batch now."""
        sent = await self._inner.send_batch(batch, topic, partition=partition)
        await self._inner.flush()
        return sent

    async def send_offsets_to_transaction(
        self, offsets: dict[kafka.TopicPartition, kafka.OffsetAndMetadata], _group: str
    ) -> None:
        """Keep them for the consumer."""
        self._offsets = dict(offsets)

    async def commit_transaction(self) -> None:
        """Only the offsets are left to do."""
        assert self.consumer is not None
        await self.consumer.commit(self._offsets)

    async def abort_transaction(self) -> None:
        """What was written stays."""


def mutate(wanted: Mutation) -> None:
    """Break the runtime of this process.

    Raises:
        NothingToMutate: what is to be broken is not there.
    """
    if wanted is Mutation.NO_TRANSACTIONS:
        _replace("transactional_producer", _plain)
        _replace("group_consumer", _remembered)
    elif wanted is Mutation.ID_PER_PROCESS:
        _replace("transactional_producer", _own_id)
        # Nobody but the sleeper must end its transaction, however slow the machine is.
        kafka.TRANSACTION_TIMEOUT_MS = LONG_MS  # type: ignore[misc]


def _plain(connection: kafka.Connection, *, transactional_id: str) -> PlainProducer:
    del transactional_id
    return PlainProducer(kafka.idempotent_producer(connection))


_CONSUMER, _PRODUCER = kafka.group_consumer, kafka.transactional_producer


def _remembered(connection: kafka.Connection, **kwargs: Any) -> kafka.AIOKafkaConsumer:
    PlainProducer.consumer = _CONSUMER(connection, **kwargs)
    return PlainProducer.consumer


def _own_id(connection: kafka.Connection, *, transactional_id: str) -> kafka.AIOKafkaProducer:
    return _PRODUCER(connection, transactional_id=f"{transactional_id}-{os.getpid()}")


def _replace(name: str, mutant: Callable[..., Any]) -> None:
    """Put the mutant wherever a module of the runtime has the original."""
    original = getattr(kafka, name)
    users = [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("jurat.streams.")
        and module is not kafka
        and getattr(module, name, None) is original
    ]
    if not users:
        raise NothingToMutate(f"no module of the runtime uses kafka.{name}")
    for module in users:
        setattr(module, name, mutant)
