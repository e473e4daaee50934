"""Reading what a notary published: the latest checkpoints, their history, and the entries that they cover.

Rules upheld here: a checkpoint stands under the name of its log; nothing of it is verified but that the entries have
its root, as whoever mirrors a log need not know its keys. Not here: files (`jurat.cli.notary`), signing (`notary.py`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from jurat.audit import checkpoint, note, origin, tiles
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.log import Fault
from jurat.audit.merkle import Frontier, leaf_hash
from jurat.audit.origin import Origin
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import LogForked, NoteInvalid, ProofInvalid
from jurat.streams import topics
from jurat.streams.audit_entries import entry_of
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.reading import partitions_of, read_to_end, replay

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint as it stands on a topic."""

    origin: Origin
    head: Checkpoint
    signed: bytes


async def latest_checkpoints(connection: Connection) -> tuple[Published, ...]:
    """The latest checkpoint of each log, by name; what is none, or stands under another name, is told and left out.

    Raises:
        TopicMissing: there is no topic of checkpoints.
    """
    latest: dict[str, Published] = {}
    async with aclosing(replay(connection, [connection.topic(topics.CHECKPOINTS.name)])) as records:
        async for record in records:
            try:
                one = _published(record)
            except NoteInvalid as error:
                log.warning("no checkpoint: %s", error)
            else:
                latest[str(one.origin)] = one
    return tuple([latest[name] for name in sorted(latest)])


async def history(connection: Connection) -> AsyncGenerator[bytes, None]:
    """Every checkpoint that was published, those of each log in their order; nothing of them is verified.

    Raises:
        NoteInvalid: what stands there is no note.
        TopicMissing: there is no topic of checkpoints.
    """
    async with aclosing(replay(connection, [connection.topic(topics.CHECKPOINT_HISTORY.name)])) as records:
        async for record in records:
            yield record.value or b""


async def tile_files(
    connection: Connection, of: Published, *, ids: SchemaIds | None, before: Checkpoint | None = None
) -> AsyncGenerator[tuple[str, bytes], None]:
    """The files of a log, the checkpoint last.

    Args:
        connection: the cluster.
        of: the checkpoint.
        ids: a Schema Registry's ids, if one is configured.
        before: an earlier checkpoint of this log that somebody kept.

    Yields:
        Path and bytes of each file.

    Raises:
        LogForked: the log does not begin as it did at the earlier checkpoint.
        ProofInvalid: the entries do not have the checkpoint's root.
    """
    await partitions_of(connection, [of.origin.topic])
    tiling, frontier = tiles.Tiling(), Frontier()
    _check_before(of, before, frontier)
    source = TopicPartition(of.origin.topic, of.origin.partition)
    async with aclosing(read_to_end(connection, [source])) as records:
        async for record in records:
            entry = entry_of(record, ids)
            if isinstance(entry, Fault):
                continue
            if frontier.size == of.head.size:
                break
            raw = entry.leaf_entry()
            frontier.append(leaf_hash(raw))
            _check_before(of, before, frontier)
            for file in tiling.add(raw):
                yield file
    if (frontier.size, frontier.root()) != (of.head.size, of.head.root):
        raise ProofInvalid(
            f"{of.origin}: the topic's first {frontier.size} records have the root {frontier.root().hex()}, but the"
            f" checkpoint says {of.head.size} and {of.head.root.hex()}: the log is not the one that was signed"
        )
    for file in _last(tiling, of):
        yield file


def _last(tiling: tiles.Tiling, of: Published) -> Iterator[tuple[str, bytes]]:
    yield from tiling.partial()
    yield tiles.CHECKPOINT, of.signed


def _check_before(of: Published, before: Checkpoint | None, frontier: Frontier) -> None:
    if before is None:
        return
    is_there = frontier.size == before.size
    if before.size > of.head.size or (is_there and frontier.root() != before.root):
        raise LogForked(
            f"{of.origin}: got a log of {of.head.size} entries that does not begin with the {before.size} of the"
            " checkpoint that was kept: it was cut or rewritten since",
            origin=str(of.origin),
        )


def _published(record: KafkaRecord) -> Published:
    try:
        head = checkpoint.parse(note.parse(record.value or b"").text)
        named = origin.parse(head.origin)
    except NoteInvalid as error:
        raise NoteInvalid(
            f"{record.topic}, partition {record.partition}, offset {record.offset}: {error}",
            offset=record.offset,
        ) from error
    if head.origin.encode() != record.key:
        raise NoteInvalid(
            f"{record.topic}, partition {record.partition}, offset {record.offset}: got a checkpoint of"
            f" {head.origin} under another name",
            offset=record.offset,
        )
    return Published(named, head, record.value or b"")
