"""Where a subject's id stands in plain on the topics that jurat writes: what an erasure does not reach.

Rules upheld here: every topic that jurat writes is read to its end, also those that should never hold an id; what is
counted is records with the id's bytes in key, value or headers, so what says the same in other bytes is not found. Not
here: erasing (`subject_desk.py`), topics that services write.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from jurat.schemas.errors import TopicMissing
from jurat.streams import topics
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.replay import replay


def written_by_jurat(agents: Iterable[str]) -> tuple[str, ...]:
    """The names of the topics that jurat writes, without namespace."""
    shared = (*topics.OF_ALL_AGENTS, *topics.OF_THE_NOTARY, *topics.OF_VEILED_RECORDS, topics.TRUST)
    own = [topic for agent in agents for topic in topics.of_agent(agent)]
    return tuple(dict.fromkeys(topic.name for topic in (*shared, *own)))


async def in_plain(connection: Connection, subject: str, names: Iterable[str]) -> dict[str, int]:
    """Count the records that hold a subject's id, by topic; a topic that does not exist is left out.

    Args:
        connection: the cluster and namespace.
        subject: the id, at least one character; bytes that are no UTF-8 as a shell hands them over.
        names: topics, without namespace.

    Raises:
        StreamError: Kafka refused.
    """
    wanted, found = subject.encode(errors="surrogateescape"), dict[str, int]()
    for name in names:
        try:
            async with aclosing(replay(connection, [connection.topic(name)])) as records:
                found[name] = 0
                async for record in records:
                    found[name] += holds(record, wanted)
        except TopicMissing:
            found.pop(name, None)
    return found


def holds(record: KafkaRecord, wanted: bytes) -> bool:
    """Whether a record has these bytes in its key, its value or a header."""
    parts = (record.key, record.value, *(value for _name, value in record.headers))
    return any(wanted in part for part in parts if part)
