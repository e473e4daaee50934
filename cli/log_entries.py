"""The audit log as commands read it: from its topic, or from an export file with no Kafka at all.

Rules upheld here: what is no record is told, never left out; nothing is verified. Not here: what commands make of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from jurat.audit import export, history
from jurat.audit.log import Fault, LogEntry
from jurat.cli.audit_examining import Raw, RawLine, RawRecord, read_entry, schema_ids
from jurat.cli.files import is_regular, lines
from jurat.schemas.errors import BrokerUnreachable, ConfigurationError, NoteInvalid

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

EXIT_COULD_NOT_TELL = 2
"""What commands about the log end with when they could not find out."""

LOG_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""An export file; `-` is standard input."""

T = TypeVar("T")

Connect = Callable[[], "Connection"]
"""Says how to reach Kafka."""


def export_lines(source: Path, kind: export.Kind) -> Iterator[tuple[int, bytes]]:
    """The lines of an export file with their numbers from 1; nothing of them is looked at but what the file is.

    Args:
        source: the file (`-`: standard input).
        kind: what it should be; a broken line of that is the verifier's.

    Raises:
        ConfigurationError: the file cannot be read, or is something else.
    """
    for number, line in lines(source):
        if number == 1 and not line.startswith(kind.start) and kind.member not in line:
            name = "standard input" if str(source) == "-" else source
            raise ConfigurationError(
                f"{name} is not {kind.what}: its first line begins with {line[:20]!r}, expected {kind.start!r}"
            )
        yield number, line


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
        others_can, start = is_regular(source), 0
        for number, line in export_lines(source, export.ENTRIES):
            yield RawLine(number, line, (source, start) if others_can else None)
            start += len(line)
        return
    from jurat.streams import topics  # noqa: PLC0415 - Kafka, which files do not need
    from jurat.streams.replay import replay  # noqa: PLC0415 - as above

    connection = connect()
    async with aclosing(replay(connection, [connection.topic(topics.AUDIT.name)])) as records:
        async for record in records:
            yield RawRecord(record.topic, record.partition, record.offset, record.timestamp_ms, record.value)


@asynccontextmanager
async def begun(entries: AsyncGenerator[T, None]) -> AsyncIterator[AsyncGenerator[T, None]]:
    """The same entries; where they come from the topic, its end is fixed from here on."""
    async with aclosing(entries):
        first = await anext(entries, None)

        async def whole() -> AsyncGenerator[T, None]:
            if first is not None:
                yield first
            async for one in entries:
                yield one

        yield whole()


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


async def checkpoints_of(source: Path | None, connect: Connect) -> AsyncGenerator[bytes, None]:
    """Yield the checkpoints of the log in the order in which they were published; nothing of them is verified.

    Args:
        source: a history file (`jurat notary history`); None for the topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: the file cannot be read, or Kafka cannot be reached.
        NoteInvalid: a line of it is no checkpoint; the message names the file.
        StreamError: the topic cannot be read.
    """
    if source is not None:
        for number, line in lines(source, at_most=history.MAX_LINE_BYTES):
            try:
                yield history.parse_line(line, number)
            except NoteInvalid as error:
                raise NoteInvalid(f"{source}: {error}", line=number) from error
        return
    from jurat.streams import notary_reading  # noqa: PLC0415 - Kafka, which files do not need

    try:
        async with aclosing(notary_reading.history(connect())) as notes:
            async for one in notes:
                yield one
    except (BrokerUnreachable, ConfigurationError) as error:
        raise ConfigurationError(
            f"the checkpoints cannot be read from Kafka: {error}; without Kafka, give them in a file: --history FILE,"
            " which `jurat notary history --output FILE` writes"
        ) from error
