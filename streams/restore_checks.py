"""Whether what a partition remembers still fits what stands in Kafka.

Rules upheld here: inputs are never decided, signed or passed over on the strength of a topic that lost records or was
made anew. The committed offsets are asked for before the changelog is read, as whoever owns the partition meanwhile
moves both on. Not here: whether topics exist (`topic_checks.py`), reading the changelog (`state.py`).

What is compared, once the changelog is read (the numbers come back in the code):

1. the group's offsets and maps: not beyond the changelog's;
2. the audit log: not shorter than the chains that the changelog goes on with;
3. the input that was remembered last: its value still stands at its offset. One that Kafka deleted says nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jurat.schemas.errors import TopicMismatch
from jurat.streams import topics
from jurat.streams.kafka import Connection, TopicPartition, admin_client, in_our_words, stop_quietly
from jurat.streams.offsets import OffsetMap
from jurat.streams.reading import record_at, start_reader
from jurat.streams.state import PartitionState, Source

OPEN_TRANSACTION_S: Final = 30.0
"""Records of ours stand behind another agent's open transaction for so long at most: a broker ends an abandoned one
after 15 s, looking every ten."""

ASK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group committed of one source: the lowest offset not done, and the map as text."""

    source: Source
    offset: int
    text: str


async def committed_of(connection: Connection, agent: str, sources: Sequence[Source]) -> list[Committed]:
    """What the agent's group committed, of each source of which it committed anything."""
    async with admin_client(connection) as client:
        with in_our_words(connection):
            found = await client.list_consumer_group_offsets(
                connection.group(agent), partitions=[source.partition for source in sources]
            )
    # -1 is Kafka's "none committed".
    return [
        Committed(source, at.offset, at.metadata or "")
        for source in sources
        if (at := found.get(source.partition)) is not None and at.offset >= 0
    ]


async def check_restored(
    connection: Connection, agent: str, state: PartitionState, committed: Sequence[Committed]
) -> None:
    """Compare what was restored with Kafka.

    Raises:
        TopicMismatch: a topic lost records or was made anew; the message names it.
        BrokerUnreachable: a leader does not answer.
    """
    for one in committed:
        check_committed(one, agent)  # 1
    await _check_log(connection, agent, state)  # 2
    await _check_input(connection, state)  # 3


def check_committed(committed: Committed, agent: str) -> None:
    """Check that the changelog knows of everything that the group committed of a source.

    Raises:
        TopicMismatch: it does not.
    """
    known, place = committed.source.offsets, committed.source.partition
    if committed.offset < known.low:
        return  # older, or moved back by a tool that writes metadata of its own
    told = OffsetMap.decode(committed.offset, committed.text)
    if known.covers(told):
        return
    raise TopicMismatch(
        f"inputs of {place.topic}, partition {place.partition}, are committed up to offset {committed.offset} and"
        f" {len(told)} above it, but the changelog of {agent} knows of {known.low} and {len(known)}: it lost records,"
        " or the group's offsets were moved forward. Deciding on would start the audit chain anew and forget state."
        " Restore the changelog. Only where somebody moved the offsets forward by hand, move them back to"
        f" {known.low}: with a changelog that lost records, everything from there on would be decided a second time",
        topic=place.topic,
        partition=place.partition,
    )


async def _check_log(connection: Connection, agent: str, state: PartitionState) -> None:
    expected = sum(source.head.next_seq for source in state.sources.values())
    if not expected:
        return
    place = TopicPartition(connection.topic(topics.AUDIT.name), topics.audit_partition(state.partition))
    consumer = await start_reader(connection, [place])
    until = asyncio.get_running_loop().time() + OPEN_TRANSACTION_S
    try:
        with in_our_words(connection):
            while (end := (await consumer.end_offsets([place]))[place]) < expected:
                if asyncio.get_running_loop().time() >= until:
                    break
                await asyncio.sleep(ASK_EVERY_S)
    finally:
        await stop_quietly(consumer)
    if end < expected:
        raise TopicMismatch(
            f"{place.topic}, partition {place.partition}, ends at offset {end}, but {agent} has written {expected}"
            " records there: it was made anew, or lost its end. Restore it: records that go on where nothing stands"
            " prove nothing",
            topic=place.topic,
            partition=place.partition,
        )


async def _check_input(connection: Connection, state: PartitionState) -> None:
    place, last = state.sources[state.input_topic].partition, state.seen.last
    if last is None:
        return
    record = await record_at(connection, place, last.offset)
    if record is not None and hashlib.sha256(record.value or b"").hexdigest() != last.sha256:
        raise TopicMismatch(
            f"{place.topic}, partition {place.partition}, holds another event at offset {last.offset} than the one that"
            " was decided: the topic was made anew. Use another namespace for the new one, so that no event of it is"
            " taken for an old one",
            topic=place.topic,
            partition=place.partition,
        )
