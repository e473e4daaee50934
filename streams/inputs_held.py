"""Which inputs stand before an agent, read from Kafka for the omission check.

Rules upheld here: what an agent committed is asked for before the log is read, so that every input below it has its
record in the log; only offsets that a `read_committed` reader sees count, so that markers, what was aborted and what
compaction took are no inputs; where Kafka deleted inputs, a partition begins later, and nothing is guessed of them.

Not here: comparing with records (`jurat.audit.verifier`), the file (`jurat.audit.input_manifest`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from jurat.audit.input_manifest import InputsHeld, stretches
from jurat.streams.kafka import Connection, TopicPartition, admin_client, in_our_words, stop_quietly
from jurat.streams.reading import read_to_end, start_reader

PIECE: Final = 100_000
"""Offsets of a partition that are held before they are handed on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How far an agent ended its inputs: below `end`, all of them have a record."""

    agent: str
    partition: TopicPartition
    end: int


async def ended_inputs(connection: Connection, agents: Iterable[str]) -> list[Ended]:
    """What the groups of agents have committed, whichever topics they read; ask before the log is read.

    Raises:
        StreamError: Kafka does not tell.
    """
    found: list[Ended] = []
    async with admin_client(connection) as client:
        for agent in sorted(set(agents)):
            with in_our_words(connection):
                offsets = await client.list_consumer_group_offsets(connection.group(agent))
            # -1 is Kafka's "none committed".
            found += [Ended(agent, at, told.offset) for at, told in offsets.items() if told.offset >= 0]
    return sorted(found, key=lambda one: (one.agent, one.partition.topic, one.partition.partition))


async def inputs_held(connection: Connection, ended: Iterable[Ended]) -> AsyncGenerator[InputsHeld, None]:
    """The inputs that agents have ended with, partition by partition.

    Raises:
        StreamError: a topic cannot be read.
    """
    for one in ended:
        async with aclosing(_of_partition(connection, one)) as found:
            async for held in found:
                yield held


async def _of_partition(connection: Connection, one: Ended) -> AsyncGenerator[InputsHeld, None]:
    at = one.partition
    first = min(await _begin(connection, at), one.end)
    offsets: list[int] = []
    async with aclosing(read_to_end(connection, [at])) as records:
        async for record in records:
            if record.offset >= one.end:
                break
            offsets.append(record.offset)
            if len(offsets) >= PIECE:
                for held in _cut(offsets, one, first, record.offset + 1):
                    yield held
                first, offsets = record.offset + 1, []
    for held in _cut(offsets, one, first, one.end):
        yield held


def _cut(offsets: list[int], one: Ended, first: int, end: int) -> list[InputsHeld]:
    at = one.partition
    return [
        *stretches(offsets, agent=one.agent, topic=at.topic, partition=at.partition, first=first, end=end)
    ]


async def _begin(connection: Connection, at: TopicPartition) -> int:
    consumer = await start_reader(connection, [at])
    try:
        with in_our_words(connection):
            return int((await consumer.beginning_offsets([at]))[at])
    finally:
        await stop_quietly(consumer)
