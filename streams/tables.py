"""Tables: the views of a worker, folded from topics that are read to their end and then followed.

Rules upheld here: a view serves only after it has read everything that stood on its topics when it was opened; a
document knows the record that last changed it and its digest, so that a decision can say what it read; a record that
cannot be read or folded is skipped and counted, as one bad record must not blind every agent; memory is bounded,
however many documents there are (`documents.py`). A tombstone forgets the document of a context table.

A `GlobalTable` is read whole at the start. A `ContextTable` is read partition by partition: `open_partition` when the
worker is given the input's partition, `close_partition` when it is taken away. Both sides of that join must have the
same number of partitions and the same partitioner; the number is checked at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final

from jurat.agents.agent import ContextTable, View
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import StreamError
from jurat.streams.decoding import decode_record
from jurat.streams.documents import HOT_BYTES, VIEW_BYTES, Document, Documents, digest_of, keys_of
from jurat.streams.following import Follower
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.kafka_ending import to_its_end
from jurat.streams.reading import Progress, partitions_of, read_to_end
from jurat.streams.topic_checks import check_joined

__all__ = ["Document", "Tables", "digest_of"]

log = logging.getLogger(__name__)

REFRESH_S: Final = 5.0
"""How long a missing document may take to appear before its absence is believed."""


class Tables:
    """The views of one worker, kept up to date in the background.

    Args:
        connection: the cluster and namespace.
        views: the agent's.
        input_topic: the topic that the agent listens to, without namespace; context tables are joined with it.
        ids: a Schema Registry's ids, if one is configured.
        max_bytes: what a global table, or one partition of a context table, may take in memory before it spills.
        max_hot_bytes: what its documents used last may take ready to use.

    Attributes:
        unreadable: records that could not be read or folded.
        restoring: what is being read to its end now.
    """

    def __init__(
        self,
        connection: Connection,
        views: Sequence[View],
        *,
        input_topic: str,
        ids: SchemaIds | None = None,
        max_bytes: int = VIEW_BYTES,
        max_hot_bytes: int = HOT_BYTES,
    ) -> None:
        self._connection = connection
        self._input_topic = connection.topic(input_topic)
        self._ids = ids
        self._bounds = (max_bytes, max_hot_bytes)
        self._context = {view.name: view for view in views if isinstance(view, ContextTable)}
        self._global = {view.name: view for view in views if view.name not in self._context}
        self._documents: dict[tuple[str, int | None], Documents] = {}  # None: of all partitions
        names = ", ".join(view.name for view in views)
        self._everything = Follower(connection, self._fold_global, what=f"the views {names}")
        self._served = Follower(connection, self._fold_context, what=f"the views {names}")
        self._global_partitions: tuple[TopicPartition, ...] = ()
        self.restoring: dict[str, Progress] = {}
        self.unreadable = 0

    async def start(self) -> None:
        """Read the global tables to their present end, then follow them.

        Raises:
            TopicMissing: a topic of a view does not exist.
            TopicMismatch: a context table is not partitioned as the agent's input is.
            BrokerUnreachable: the first reading got nowhere.
        """
        try:
            if self._context:
                await self._check_partitions()
                await self._served.start()
            if self._global:
                self._global_partitions = await partitions_of(
                    self._connection, self._topics_of(self._global.values())
                )
                self._make(self._global.values(), None)
                await self._everything.start()
                await self._read(self._everything, self._global_partitions, self._fold_global)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop following and forget the documents."""
        await to_its_end(self._stop())

    async def _stop(self) -> None:
        await asyncio.gather(self._everything.stop(), self._served.stop())
        for documents in self._documents.values():
            documents.close()
        self._documents.clear()

    async def open_partition(self, partition: int) -> None:
        """Read this partition of the context tables to its present end, then follow it; once it is open, do nothing.

        Raises:
            BrokerUnreachable: the reading got nowhere.
        """
        if not self._context or self._is_open(partition):
            return
        self._make(self._context.values(), partition)
        try:
            await self._read(self._served, self._of_context(partition), self._fold_context)
        except BaseException:
            self.close_partition(partition)
            raise

    def close_partition(self, partition: int) -> None:
        """Stop following this partition of the context tables and forget its documents."""
        self._served.remove(self._of_context(partition))
        for name in self._context:
            documents = self._documents.pop((name, partition), None)
            if documents is not None:
                documents.close()

    def get(self, view: str, key: str, *, partition: int) -> Document | None:
        """The document of a view, as far as it has been read.

        Args:
            view: the view's name.
            key: the document's.
            partition: of the input that is decided; a global table holds the documents of all partitions.

        Raises:
            StreamError: this partition of the context tables is not open.
        """
        place = partition if view in self._context else None
        try:
            return self._documents[view, place].get(key)
        except KeyError:
            raise StreamError(
                f"got a look into the view {view}, which is not open for partition {partition}"
            ) from None

    async def caught_up(self, timeout_s: float = REFRESH_S, *, partition: int | None = None) -> bool:
        """Wait until everything that stands on the topics now has been read.

        Args:
            timeout_s: how long.
            partition: of the context tables, which is waited for beside the global ones; None for these alone.

        Returns:
            False when that took longer than `timeout_s`.

        Raises:
            StreamError: the topics are not followed any more.
        """
        waits = []
        if self._global:
            waits.append(self._everything.caught_up(self._global_partitions, timeout_s))
        if self._context and partition is not None:
            waits.append(self._served.caught_up(self._of_context(partition), timeout_s))
        return all(await asyncio.gather(*waits))

    @property
    def failure(self) -> BaseException | None:
        """What ended the following of the topics, None while it goes on."""
        return self._everything.failure or self._served.failure

    @property
    def bytes_in_memory(self) -> int:
        """What all documents take in memory, roughly."""
        return sum(documents.bytes_in_memory for documents in self._documents.values())

    def _is_open(self, partition: int) -> bool:
        return any((name, partition) in self._documents for name in self._context)

    def _make(self, views: Iterable[View], place: int | None) -> None:
        max_bytes, max_hot_bytes = self._bounds
        for view in views:
            self._documents[view.name, place] = Documents(
                view, max_bytes=max_bytes, max_hot_bytes=max_hot_bytes
            )

    def _topics_of(self, views: Iterable[View]) -> list[str]:
        return sorted({self._connection.topic(topic) for view in views for topic in view.topics})

    def _of_context(self, partition: int) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in self._topics_of(self._context.values())]

    async def _check_partitions(self) -> None:
        topics = self._topics_of(self._context.values())
        found = await partitions_of(self._connection, sorted({self._input_topic, *topics}))
        counts = Counter(partition.topic for partition in found)
        check_joined(self._input_topic, counts, views=self._context)

    async def _read(
        self,
        follower: Follower,
        partitions: Sequence[TopicPartition],
        fold: Callable[[KafkaRecord], None],
    ) -> None:
        """Fold what stands there, and follow from there on."""
        what = ", ".join(f"{one.topic}/{one.partition}" for one in partitions)
        progress = self.restoring[what] = Progress(what)
        starts = dict(await follower.ends(partitions))
        try:
            async with aclosing(read_to_end(self._connection, partitions, progress=progress)) as records:
                async for record in records:
                    fold(record)
                    where = TopicPartition(record.topic, record.partition)
                    starts[where] = max(starts[where], record.offset + 1)
        finally:
            del self.restoring[what]
        log.info("views read seconds=%.1f topics=%s", progress.elapsed_s, what)
        follower.add(starts)

    def _fold_global(self, record: KafkaRecord) -> None:
        self._fold(record, [view for view in self._global.values() if self._is_of(record, view)], None)

    def _fold_context(self, record: KafkaRecord) -> None:
        views = [view for view in self._context.values() if self._is_of(record, view)]
        if record.value is None and record.key is not None:
            # A tombstone: after compaction nothing of this key would be here, so nothing of it is here now.
            for view in views:
                self._documents[view.name, record.partition].delete(record.key.decode(errors="replace"))
        else:
            self._fold(record, views, record.partition)

    def _is_of(self, record: KafkaRecord, view: View) -> bool:
        return self._connection.plain(record.topic) in view.topics

    def _fold(self, record: KafkaRecord, views: Sequence[View], place: int | None) -> None:
        received = decode_record(record, ids=self._ids)
        if received.event is None:
            self._skip(record, type(received.error).__name__)
            return
        for view in views:
            documents = self._documents[view.name, place]
            try:
                documents.fold(received.event, keys_of(view, received.event), record)
            except StreamError:
                raise  # the disk's fault, not the record's
            except Exception as error:  # noqa: BLE001 - one odd record must not blind every agent; it is counted
                self._skip(record, type(error).__name__)

    def _skip(self, record: KafkaRecord, error: str) -> None:
        self.unreadable += 1
        log.warning(
            "table record skipped topic=%s partition=%d offset=%d error=%s",
            record.topic,
            record.partition,
            record.offset,
            error,
        )
