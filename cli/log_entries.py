"""The audit log as commands read it: from its topic, or from an export file with no Kafka at all.

Rules upheld here: what is no record is told, never left out; nothing is verified. Not here: what commands make of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurat import settings
from jurat.audit import export
from jurat.audit.log import Fault, LogEntry, Place
from jurat.cli.files import lines
from jurat.schemas.codec import SchemaIds, decode, encode
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import AuditError, SchemaError
from jurat.streams import topics
from jurat.streams.replay import KafkaRecord, replay

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

EXIT_COULD_NOT_TELL = 2
"""What commands about the log end with when they could not find out."""

LOG_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""An export file; `-` is standard input."""

Connect = Callable[[], "Connection"]
"""Says how to reach Kafka."""


async def log_entries(source: Path | None, connect: Connect) -> AsyncGenerator[LogEntry | Fault, None]:
    """Yield the audit log from its beginning to its present end; a `Fault` for what is no record.

    Args:
        source: an export file (`-`: standard input); None for the audit topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: the file cannot be read.
        StreamError: the topic cannot be read.
    """
    if source is not None:
        for number, line in lines(source):
            if not line.endswith(b"\n") and len(line) <= export.MAX_LINE_BYTES:
                yield Fault(
                    Place(line=number), f"line {number} is not ended by a line feed: the file was cut"
                )
                continue
            try:
                yield export.parse_entry(line, number)
            except AuditError as error:
                yield Fault(Place(line=number), str(error))
        return
    connection = connect()
    ids = settings.schema_registry()
    async with aclosing(replay(connection, [connection.topic(topics.AUDIT.name)])) as records:
        async for record in records:
            yield _entry_of(record, ids)


def _entry_of(record: KafkaRecord, ids: SchemaIds | None) -> LogEntry | Fault:
    place = Place(record.topic, record.partition, record.offset)
    try:
        event = decode(record.value, expected=SignedRecord, ids=ids)
    except SchemaError as error:
        return Fault(place, f"not a signed record: {error}")
    if not isinstance(event, SignedRecord):
        return Fault(place, f"not a signed record but a {event.event_type()}")
    if ids is None and encode(event) != record.value:
        return Fault(place, "a signed record, but not in the bytes that a worker writes")
    return LogEntry(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        record=event,
    )
