"""Tables: views held in memory, folded from topics that are read whole and then followed.

Rules upheld here: a table serves only after it has read everything that stood on its topics when it started; a
document knows the record that last changed it and its digest, so that a decision can say what it read; a record that
cannot be read is skipped and counted, as one bad record must not blind every agent. Not here: bounded memory for
large views (they are reference data of a shop's size).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jurat.agents.agent import View
from jurat.schemas import canonical
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import JuratError, StreamError
from jurat.schemas.model import Event, Model
from jurat.streams.decoding import decode_record
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    KafkaRecord,
    TopicPartition,
    in_our_words,
    record_of,
    stop_quietly,
)
from jurat.streams.reading import MAX_POLL_RECORDS, POLL_MS, partitions_of, positions_reached, start_reader

log = logging.getLogger(__name__)

CATCH_UP_S: Final = 60.0
"""How long to wait for the tables' first full reading before giving up."""

REFRESH_S: Final = 5.0
"""How long a missing document may take to appear before its absence is believed."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a view and the record that last changed it.

    Attributes:
        sha256: digest of the document's canonical form.
    """

    model: Model
    topic: str
    partition: int
    offset: int
    sha256: str


def digest_of(model: Model) -> str:
    """Digest of a model's canonical JSON form."""
    return hashlib.sha256(canonical.dumps(model.model_dump(mode="json"))).hexdigest()


class Tables:
    """The views of one worker, kept up to date in the background."""

    def __init__(
        self, connection: Connection, views: Sequence[View], *, ids: SchemaIds | None = None
    ) -> None:
        self._connection = connection
        self._views = tuple(views)
        self._ids = ids
        self._documents: dict[str, dict[str, Document]] = {view.name: {} for view in views}
        self._views_of: dict[str, list[View]] = {}
        for view in views:
            for topic in view.topics:
                self._views_of.setdefault(connection.topic(topic), []).append(view)
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: tuple[TopicPartition, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.unreadable = 0

    async def start(self) -> None:
        """Read the topics to their present end, then follow them.

        Raises:
            TopicMissing: a topic of a view does not exist.
            StreamError: the first reading did not end in time.
        """
        if not self._views:
            return
        self._partitions = await partitions_of(self._connection, sorted(self._views_of))
        self._consumer = await start_reader(self._connection, self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        self._task = asyncio.create_task(self._follow(self._consumer), name="tables")
        try:
            read = await self.caught_up(CATCH_UP_S)
        except BaseException:
            await self.stop()
            raise
        if not read:
            await self.stop()
            raise StreamError(
                f"the views {', '.join(self._documents)} were not read within {CATCH_UP_S:.0f} s"
            )

    async def stop(self) -> None:
        """Stop following; the documents stay readable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._consumer is not None:
            await stop_quietly(self._consumer)
            self._consumer = None

    def get(self, view: str, key: str) -> Document | None:
        """The document of a view, as far as it has been read."""
        return self._documents[view].get(key)

    async def caught_up(self, timeout_s: float = REFRESH_S) -> bool:
        """Wait until everything that stands on the topics now has been read.

        Returns:
            False when that took longer than `timeout_s`.

        Raises:
            StreamError: the topics are not followed any more.
        """
        if self._consumer is None or self._task is None:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                with in_our_words(self._connection):
                    ends = await self._consumer.end_offsets(list(self._partitions))
                while not await positions_reached(self._consumer, ends):
                    self._raise_failure()
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        self._raise_failure()
        return True

    @property
    def failure(self) -> BaseException | None:
        """What ended the following of the topics, None while it goes on."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def _raise_failure(self) -> None:
        failure = self.failure
        if isinstance(failure, JuratError):
            raise failure
        if failure is not None:
            raise StreamError(
                f"the views {', '.join(self._documents)} cannot be followed: folding failed with"
                f" {type(failure).__name__}"
            ) from failure

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                with in_our_words(self._connection):
                    taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
                for records in taken.values():
                    for record in records:
                        self._fold(record_of(record))
                self._moved.set()
        finally:
            # Who waits hears of the end too; one turn later, when the task is done.
            asyncio.get_running_loop().call_soon(self._moved.set)

    def _fold(self, record: KafkaRecord) -> None:
        received = decode_record(record, ids=self._ids)
        if received.event is None:
            self._skip(record, type(received.error).__name__)
            return
        for view in self._views_of[record.topic]:
            documents = self._documents[view.name]
            try:
                folded = {
                    key: self._folded(view, received.event, key, record) for key in view.keys(received.event)
                }
            except Exception as error:  # noqa: BLE001 - one odd record must not blind every agent; it is counted
                self._skip(record, type(error).__name__)
            else:
                documents.update(folded)

    def _folded(self, view: View, event: Event, key: str, record: KafkaRecord) -> Document:
        known = self._documents[view.name].get(key)
        model = view.fold(known.model if known else None, event, key)
        return Document(model, record.topic, record.partition, record.offset, digest_of(model))

    def _skip(self, record: KafkaRecord, error: str) -> None:
        self.unreadable += 1
        log.warning(
            "table record skipped topic=%s partition=%d offset=%d error=%s",
            record.topic,
            record.partition,
            record.offset,
            error,
        )
