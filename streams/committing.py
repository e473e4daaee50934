"""Kafka transactions of one partition: fence, commit, and a named way out of everything that can go wrong.

Rules upheld here: one transaction at a time; it holds everything about its inputs, their offsets included; nothing slow
happens inside it. What ends a commit, and what that means:

=========================  ==================================================================================
`PartitionFenced`          another producer has our transactional id, or the broker ended a transaction that
                           took longer than its time-out: what we hold is void, the new owner has it
`NotAuthorized`            an ACL is missing; trying again does not help
`NotAuthenticated`         the broker does not take us for who we say we are any more
`RecordTooLarge`           a topic accepts smaller records than we must write
`TopicMissing`             a topic of ours was deleted
`BrokerRefused`            a setting of the brokers or of this machine is in the way
`ReopenPartition`          all else that this producer cannot go on after: not known whether it committed, a record
                           that was refused (the client has counted it, the broker has not), an unknown producer
                           id, a transaction that got nowhere within `TRANSACTION_S`: a new one finds out
aborted, then again        what may pass, where nothing that was written was refused
=========================  ==================================================================================

Bounds: the client tries for ever after most errors. A transaction has `TRANSACTION_S`, its abort `ABORT_S`; the error
names what the broker last answered.

Not here: what is written (`outputs.py`), when (`partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jurat.schemas.errors import (
    BrokerRefused,
    NotAuthenticated,
    NotAuthorized,
    PartitionFenced,
    RecordTooLarge,
    ReopenPartition,
    Retryable,
    StreamError,
    TopicMismatch,
    TopicMissing,
)
from jurat.streams.kafka import (
    AIOKafkaProducer,
    Connection,
    OffsetAndMetadata,
    TopicPartition,
    in_our_words,
    partition_of_key,
    stop_quietly,
    transactional_producer,
)
from jurat.streams.kafka_errors import words_for
from jurat.streams.kafka_producer import refusal
from jurat.streams.metrics import Meters

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 900_000
"""Records are written in batches of at most this size: below Kafka's default limit for one (`message.max.bytes`,
1,048,588). A record that is larger by itself has a batch of its own, and a topic that takes it."""

ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.2
"""Doubled with each abort: six seconds in all, longer than a leader's election takes."""

TRANSACTION_S: Final = 20.0
"""How long a transaction may take. The broker ends one after `TRANSACTION_TIMEOUT_MS`, looking every ten seconds: what
takes longer cannot be committed any more. Longer than a leader's election, with a broker that was killed (9 s)."""

ABORT_S: Final = 5.0
"""How long ending it may take; whoever opens the partition next does it otherwise."""

FENCE_S: Final = 30.0
"""How long becoming the owner may take: a predecessor's transaction is ended first, and the client waits for ever."""

LASTING: Final = (
    PartitionFenced,
    NotAuthorized,
    NotAuthenticated,
    RecordTooLarge,
    TopicMissing,
    TopicMismatch,
    BrokerRefused,
)
"""What the same records would end in again, in another producer too."""


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be written; the partition follows from the key where it is None."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Transactions:
    """The transactional producer of one partition.

    Args:
        connection: the cluster and namespace.
        transactional_id: without namespace; whoever starts with it last is the owner.
        group: the consumer group, without namespace.
        meters: counts aborts.

    Attributes:
        transactional_id: as given.
    """

    def __init__(self, connection: Connection, *, transactional_id: str, group: str, meters: Meters) -> None:
        self._connection = connection
        self.transactional_id = transactional_id
        self._group = connection.group(group)
        self._meters = meters
        self._producer: AIOKafkaProducer | None = None

    async def fence(self) -> None:
        """Become the owner: abort what a predecessor left open, refuse whatever it still tries.

        Raises:
            StreamError: Kafka refused.
        """
        producer = self._producer = transactional_producer(
            self._connection, transactional_id=self.transactional_id
        )
        try:
            async with asyncio.timeout(FENCE_S):
                with in_our_words(self._connection):
                    await producer.start()
        except TimeoutError as error:
            raise self._stalled(
                producer, f"{self.transactional_id} did not become the owner of its partition", FENCE_S
            ) from error

    async def stop(self) -> None:
        """Stop the producer; an open transaction is left to the next owner."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_quietly(producer)

    async def commit(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        """Write everything and move the offsets, or nothing.

        Args:
            outputs: the records, in the order of each partition.
            offsets: per input partition the lowest offset not done, and its map.

        Raises:
            PartitionFenced: see the table above; the same holds for the others.
            ReopenPartition: as above.
            NotAuthorized: as above.
            NotAuthenticated: as above.
            RecordTooLarge: as above.
            TopicMissing: as above.
            TopicMismatch: a topic of ours was made anew, with fewer partitions.
            BrokerRefused: as above.
        """
        last: StreamError | None = None
        for attempt in range(ATTEMPTS):
            try:
                await self._transaction(outputs, offsets)
            except (ReopenPartition, *LASTING):
                raise
            except StreamError as error:
                if not isinstance(error, Retryable):
                    # Not a fault that goes away in this producer: a new one fences, and finds out where we are.
                    raise ReopenPartition(
                        f"a transaction of {self.transactional_id} was refused: {error}"
                    ) from error
                self._meters.aborted(type(error).__name__)
                log.warning(
                    "transaction aborted id=%s attempt=%d: %s", self.transactional_id, attempt + 1, error
                )
                await asyncio.sleep(BACKOFF_S * 2**attempt)
                last = error
            else:
                return
        raise ReopenPartition(
            f"the transaction of {self.transactional_id} was aborted {ATTEMPTS} times, the last time because {last}"
        )

    async def _transaction(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        producer = self._producer
        if producer is None:
            raise PartitionFenced(f"{self.transactional_id} was closed while a batch was in work")
        until = asyncio.get_running_loop().time() + TRANSACTION_S
        written: dict[asyncio.Future[object], str] = {}
        try:
            async with asyncio.timeout_at(until):
                with in_our_words(self._connection):
                    await self._begin(producer)
                    await self._write(producer, outputs, written)
                    await self._move_offsets(producer, offsets)
                    await asyncio.gather(*written)
        except TimeoutError as error:
            raise self._stalled(
                producer, f"a transaction of {self.transactional_id} got nowhere", TRANSACTION_S
            ) from error
        except PartitionFenced:
            raise
        except StreamError as error:
            named = self._named(producer, error, _failures(written))  # before an abort is answered, too
            aborted = await self._abort(producer)
            if isinstance(error, LASTING):
                raise named from error
            if aborted and not _failures(written):
                raise
            raise ReopenPartition(f"a transaction of {self.transactional_id} was refused: {error}") from error
        try:
            async with asyncio.timeout_at(until):
                with in_our_words(self._connection):
                    await self._end(producer)
        except TimeoutError as error:
            raise self._stalled(
                producer, f"the commit of {self.transactional_id} was not confirmed", TRANSACTION_S
            ) from error
        except PartitionFenced:
            raise
        except StreamError as error:
            raise ReopenPartition(
                f"the commit of {self.transactional_id} was not confirmed: {error}"
            ) from error

    def _named(
        self,
        producer: AIOKafkaProducer,
        error: StreamError,
        failures: Mapping[BaseException, str],
    ) -> StreamError:
        """The error with the topic that it is about: we know it of records, else only the answer itself tells."""
        if error.details.get("topics") != []:
            return error
        if error.__cause__ is not None and error.__cause__ in failures:
            return words_for(self._connection, error.__cause__, topic=failures[error.__cause__])
        said = getattr(producer, "said", None)
        if said is None:
            return error
        better = words_for(self._connection, said)
        return better if type(better) is type(error) else error

    def _stalled(self, producer: AIOKafkaProducer, what: str, bound_s: float) -> StreamError:
        """The error for a wait that reached its bound, from what the broker answered last."""
        said = getattr(producer, "said", None)
        if said is not None:
            error = words_for(self._connection, said)
            if isinstance(error, LASTING):
                return error
        return ReopenPartition(
            f"{what} within {bound_s:.0f} s; the last answer was {refusal(said)}",
            transactional_id=self.transactional_id,
        )

    async def _begin(self, producer: AIOKafkaProducer) -> None:
        await producer.begin_transaction()

    async def _move_offsets(
        self, producer: AIOKafkaProducer, offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        moved = {partition: OffsetAndMetadata(*place) for partition, place in offsets.items()}
        await producer.send_offsets_to_transaction(moved, self._group)

    async def _end(self, producer: AIOKafkaProducer) -> None:
        await producer.commit_transaction()

    async def _abort(self, producer: AIOKafkaProducer) -> bool:
        """End the transaction; tell whether it is over, and the producer fit for another one."""
        try:
            async with asyncio.timeout(ABORT_S):
                with in_our_words(self._connection):
                    await producer.abort_transaction()
        except (StreamError, TimeoutError) as error:
            log.info("transaction left open id=%s: %s", self.transactional_id, error)
            return False
        return True

    async def _write(
        self,
        producer: AIOKafkaProducer,
        outputs: Sequence[Output],
        written: dict[asyncio.Future[object], str],
    ) -> None:
        """Hand the records to the client, a batch at a time: one future each costs more than writing them."""
        by_partition: dict[tuple[str, int], list[Output]] = {}
        counts: dict[str, int] = {}
        for output in outputs:
            number = output.partition
            if number is None:
                if output.topic not in counts:
                    counts[output.topic] = len(await producer.partitions_for(output.topic))
                number = partition_of_key(output.key, counts[output.topic])
            by_partition.setdefault((output.topic, number), []).append(output)
        for (topic, number), records in by_partition.items():
            known = await producer.partitions_for(topic)
            if number not in known:
                raise TopicMismatch(
                    f"got {len(known)} partitions of {topic}, expected one with number {number}, as its input has: it"
                    " was recreated. Delete it and run `jurat topics apply`, if what stands on it may go",
                    topic=topic,
                )
            for batch in _batches(records):
                builder = producer.create_batch()
                for one in batch:
                    if (
                        builder.append(
                            timestamp=None, key=one.key, value=one.value, headers=list(one.headers)
                        )
                        is None
                    ):
                        raise RecordTooLarge(
                            f"got a record of {_size(one)} bytes for {topic}, which is more than this client writes",
                            topic=topic,
                        )
                future = await producer.send_batch(builder, topic, partition=number)
                # Its error is looked at here too: when an earlier step fails, nobody else does.
                future.add_done_callback(lambda done: done.cancelled() or done.exception())
                written[future] = topic


def _failures(written: Mapping[asyncio.Future[object], str]) -> dict[BaseException, str]:
    """What became of records that were not taken, and their topics."""
    ended = {one: topic for one, topic in written.items() if one.done() and not one.cancelled()}
    return {error: topic for one, topic in ended.items() if (error := one.exception()) is not None}


def _batches(records: Sequence[Output]) -> list[list[Output]]:
    batches: list[list[Output]] = []
    room = 0
    for one in records:
        size = _size(one)
        if size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(one)
        room -= size
    return batches


def _size(one: Output) -> int:
    """Bytes of a record in a batch, from above: what the framing takes is at most some tens of bytes."""
    headers = sum(len(name) + len(value) + 10 for name, value in one.headers)
    return len(one.key or b"") + len(one.value or b"") + headers + 70
