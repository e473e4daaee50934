"""The audit log as commands read it: from its topic, or from an export file with no Kafka at all.

Rules upheld here: what is no record is told, never left out; nothing is verified. Not here: what commands make of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurat.audit.log import Fault, LogEntry
from jurat.cli.audit_examining import Raw, RawLine, RawRecord, read_entry, schema_ids
from jurat.cli.files import lines
from jurat.streams import topics
from jurat.streams.replay import replay

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

EXIT_COULD_NOT_TELL = 2
"""What commands about the log end with when they could not find out."""

LOG_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""An export file; `-` is standard input."""

Connect = Callable[[], "Connection"]
"""Says how to reach Kafka."""


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


async def log_entries(source: Path | None, connect: Connect) -> AsyncGenerator[LogEntry | Fault, None]:
    """Yield the audit log from its beginning to its present end; a `Fault` for what is no record.

    Args:
        source: an export file (`-`: standard input); None for the audit topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: the file cannot be read.
        StreamError: the topic cannot be read.
    """
    ids = schema_ids(from_topic=source is None)
    async with aclosing(raw_entries(source, connect)) as raws:
        async for raw in raws:
            yield read_entry(raw, ids)
