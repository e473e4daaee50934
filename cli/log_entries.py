"""The audit log as commands read it: from its topic, or from an export file with no Kafka at all.

Rules upheld here: what is no record is told, never left out; nothing is verified. Not here: what commands make of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import click

from jurat import settings
from jurat.audit import export, history
from jurat.audit.log import Fault, LogEntry, Place
from jurat.cli.files import lines
from jurat.schemas.errors import AuditError
from jurat.streams import notary_reading, topics
from jurat.streams.audit_entries import entry_of
from jurat.streams.replay import replay

if TYPE_CHECKING:
    from jurat.schemas.codec import SchemaIds
    from jurat.streams.kafka import Connection

EXIT_COULD_NOT_TELL = 2
"""What commands about the log end with when they could not find out."""

LOG_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""An export file; `-` is standard input."""

Connect = Callable[[], "Connection"]
"""Says how to reach Kafka."""


class RawLine(NamedTuple):
    """A line of an export file, not looked at."""

    number: int
    data: bytes


class RawRecord(NamedTuple):
    """A record of the audit topic, not looked at."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None


Raw: TypeAlias = RawLine | RawRecord


async def raw_entries(source: Path | None, connect: Connect) -> AsyncGenerator[Raw, None]:
    """Yield what the audit log is made of, from its beginning to its present end, without looking at it.

    Args:
        source: an export file (`-`: standard input); None for the audit topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: the file cannot be read.
        StreamError: the topic cannot be read.
    """
    if source is not None:
        for number, line in lines(source):
            yield RawLine(number, line)
        return
    connection = connect()
    async with aclosing(replay(connection, [connection.topic(topics.AUDIT.name)])) as records:
        async for record in records:
            yield RawRecord(record.topic, record.partition, record.offset, record.timestamp_ms, record.value)


def read_entry(raw: Raw, ids: SchemaIds | None) -> LogEntry | Fault:
    """Read what stands there; a `Fault` for what is no record.

    Args:
        raw: a line or a record.
        ids: the registry of schemas, for records.
    """
    return _entry_of_line(raw) if isinstance(raw, RawLine) else entry_of(raw, ids)


async def log_entries(source: Path | None, connect: Connect) -> AsyncGenerator[LogEntry | Fault, None]:
    """Yield the audit log from its beginning to its present end; a `Fault` for what is no record.

    Args:
        source: an export file (`-`: standard input); None for the audit topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: the file cannot be read.
        StreamError: the topic cannot be read.
    """
    ids = settings.schema_registry() if source is None else None
    async with aclosing(raw_entries(source, connect)) as raws:
        async for raw in raws:
            yield read_entry(raw, ids)


def _entry_of_line(raw: RawLine) -> LogEntry | Fault:
    number, line = raw
    if not line.endswith(b"\n") and len(line) <= export.MAX_LINE_BYTES:
        return Fault(Place(line=number), f"line {number} is not ended by a line feed: the file was cut")
    try:
        return export.parse_entry(line, number)
    except AuditError as error:
        return Fault(Place(line=number), str(error))


async def checkpoints_of(source: Path | None, connect: Connect) -> AsyncGenerator[bytes, None]:
    """Yield the checkpoints of the log in the order in which they were published; nothing of them is verified.

    Args:
        source: a history file (`jurat notary history`); None for the topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: the file cannot be read.
        NoteInvalid: a line of it is no checkpoint.
        StreamError: the topic cannot be read.
    """
    if source is not None:
        for number, line in lines(source, at_most=history.MAX_LINE_BYTES):
            yield history.parse_line(line, number)
        return
    async with aclosing(notary_reading.history(connect())) as notes:
        async for one in notes:
            yield one
