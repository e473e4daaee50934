"""The topic of trust: statements read to a trust log, and written to it.

Rules upheld here: what breaks a rule of the log is passed over and told, so that nobody who may write can stop those
who read; what was written counts as written only when a reader takes it. Not here: the rules (`jurat.audit.trust_log`),
sessions of workers (`trust_session.py`).

Specified in `docs/spec/identity.md`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from jurat.audit.credential import digest_of
from jurat.audit.credential_issue import opened
from jurat.audit.subject_erasure import RECORD_KEY
from jurat.audit.trust_log import TrustLog
from jurat.schemas.errors import AuditError, StatementInvalid
from jurat.streams import topics
from jurat.streams.kafka import (
    Connection,
    KafkaRecord,
    TopicPartition,
    idempotent_producer,
    in_our_words,
    stop_quietly,
)
from jurat.streams.reading import partitions_of, read_to_end
from jurat.streams.topic_admin import ensure_topics

WRITE_S: Final = 30.0
"""How long a write may take: the client itself tries for ever."""

MAX_REFUSED_TOLD: Final = 20
"""Records that were passed over, as far as they are told one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is no part of the log, and why."""

    offset: int
    error: AuditError

    def __str__(self) -> str:
        return f"offset {self.offset}: {type(self.error).__name__}: {self.error}"


@dataclass(slots=True)
class TrustRead:
    """What stands on the topic.

    Attributes:
        log: the statements.
        lines: their envelopes, in the order of the log.
        refused: records that were passed over, the last of them.
        refusals: how many there are.
    """

    log: TrustLog
    lines: list[bytes] = field(default_factory=list)
    refused: deque[Refused] = field(default_factory=lambda: deque(maxlen=MAX_REFUSED_TOLD))
    refusals: int = 0

    def take(self, record: KafkaRecord) -> None:
        """Take the next record; one that states an erasure is another reader's."""
        if record.key == RECORD_KEY:
            return
        value = record.value or b""
        try:
            self.log.add(value)
        except AuditError as error:
            self.refusals += 1
            self.refused.append(Refused(record.offset, error))
        else:
            self.lines.append(value)


def trust_partition(connection: Connection) -> TopicPartition:
    """Where statements stand."""
    return TopicPartition(connection.topic(topics.TRUST.name), 0)


async def read_trust(connection: Connection, root: bytes) -> TrustRead:
    """Read the topic to its end.

    Args:
        connection: the cluster and namespace.
        root: the trusted root statement.

    Raises:
        StatementInvalid: that is no root.
        TopicMissing: there is no such topic.
        StreamError: Kafka refused.
    """
    where = trust_partition(connection)
    await partitions_of(connection, [where.topic])
    found = TrustRead(TrustLog(root))
    async with aclosing(read_to_end(connection, [where])) as records:
        async for record in records:
            found.take(record)
    return found


async def publish_statements(connection: Connection, root: bytes, statements: Iterable[bytes]) -> TrustRead:
    """Write statements that do not stand on the topic yet, in their order, and read them back.

    Args:
        connection: the cluster and namespace.
        root: the trusted root statement.
        statements: envelopes.

    Returns:
        The topic, with them.

    Raises:
        StatementInvalid: one was not taken; what a reader says against it is the message.
        StreamError: Kafka refused.
    """
    await ensure_topics(connection, [topics.TRUST])
    before = await read_trust(connection, root)
    wanted = [(digest_of(opened(line)[0]), line) for line in statements]
    new = [line for digest, line in wanted if not before.log.has(digest)]
    if not new:
        return before
    for line in new:
        before.log.add(line)  # as the next reader would: nothing is written that is refused
    await write_statements(connection, new)
    after = await read_trust(connection, root)
    missing = [digest for digest, _line in wanted if not after.log.has(digest)]
    if missing:
        told = "; ".join(map(str, list(after.refused)[-3:])) or "nothing was passed over"
        raise StatementInvalid(
            f"{len(missing)} of {len(wanted)} statements were written but are no part of the log, as others came"
            f" before them: {told}"
        )
    return after


async def write_statements(connection: Connection, statements: Iterable[bytes]) -> None:
    """Write statements to the end of the topic.

    Raises:
        StreamError: Kafka refused.
    """
    where = trust_partition(connection)
    producer = idempotent_producer(connection)
    try:
        with in_our_words(connection, topic=where.topic):
            await producer.start()
            async with asyncio.timeout(WRITE_S):
                for line in statements:
                    await producer.send_and_wait(where.topic, line, partition=where.partition)
    finally:
        await stop_quietly(producer)
