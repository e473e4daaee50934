"""One input partition of one agent: decided in order, committed in Kafka transactions, exactly once.

The protocol (the numbers come back in the code):

1. **Fence.** A producer with the transactional id `<agent>-<topic>-<partition>` starts; whatever a predecessor left
   open is aborted, and whatever it still tries is refused. Only then is anything read.
2. **Restore.** State documents, chain head and next offset from the changelog. The committed offset must not be
   beyond it: both move in one transaction, so the changelog would have lost records. (It may be behind: Kafka drops
   the offsets of a group that was idle for a week.)
3. **Intake.** Offsets only rise: a record from before the start, or from before the last one, means that the topic is
   not what it was, and the partition is opened anew. The queue is bounded by records and bytes; above the bounds the
   worker pauses the partition.
4. *(place of the journal of model calls)*
5. **Commit.** One transaction holds: decision events, audit records (signed here, as `seq` and `prev` are known only
   now), dead letters, state changelog, chain head, input offset. Aborted: nothing moved, the same results are
   committed again. Unknown whether it committed: the partition is opened anew, which finds out.
6. **Close.** Intake stops, what is in work gets a bounded grace, then the producer stops. A fenced partition drops its
   results without a word: the new owner has them.

Not here: groups and rebalances (`worker.py`), deciding (`deciding.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jurat.audit import dsse
from jurat.audit.chain import ChainHead
from jurat.audit.keys import Signer
from jurat.audit.record import chain_name
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.errors import (
    NotAuthorized,
    PartitionFenced,
    RecordTooLarge,
    ReopenPartition,
    Retryable,
    StreamError,
    TopicMismatch,
)
from jurat.streams import topics
from jurat.streams.dead_letters import dead_letter
from jurat.streams.deciding import Decider, Verdicted
from jurat.streams.kafka import (
    AIOKafkaProducer,
    Connection,
    KafkaRecord,
    OffsetAndMetadata,
    TopicPartition,
    admin_client,
    in_our_words,
    stop_quietly,
    transactional_producer,
)
from jurat.streams.state import PartitionState

log = logging.getLogger(__name__)

MAX_QUEUED_RECORDS: Final = 2_000
MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""What one partition may hold in memory; above either the worker pauses it."""

LOW_WATER: Final = 0.5
"""Resume when the queue has drained to this share: often enough to keep busy, seldom enough not to flap."""

COMMIT_MAX_RECORDS: Final = 200
"""Inputs in one transaction: at 3,000 decisions a second some 70 ms of work, which is what readers wait at most."""

YIELD_EVERY: Final = 20
"""Decisions between two turns of the event loop: some 30 ms at most, with all partitions of a worker busy."""

COMMIT_ATTEMPTS: Final = 5
COMMIT_BACKOFF_S: Final = 0.2
CLOSE_GRACE_S: Final = 5.0
"""How long a batch in work may go on when the partition is taken away; below the session time-out."""


@dataclass(frozen=True, slots=True)
class _Output:
    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class PartitionProcessor:
    """Decides the records of one input partition, one after the other.

    Args:
        connection: the cluster and namespace.
        partition: the input partition (full topic name).
        decider: who decides.
        signer: the agent's signing identity.
    """

    def __init__(
        self,
        connection: Connection,
        partition: TopicPartition,
        *,
        decider: Decider,
        signer: Signer,
    ) -> None:
        self._connection = connection
        self.partition = partition
        self._decider = decider
        self._agent = decider.agent.name
        self._signer = signer
        self._chain = chain_name(self._agent, partition.topic, partition.partition)
        self._state = PartitionState(decider.agent.state_model, input_topic=partition.topic)
        self._producer: AIOKafkaProducer | None = None
        self._queue: deque[KafkaRecord] = deque()
        self._queued_bytes = 0
        self._next = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._went_back_to: int | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.committed_records = 0

    @property
    def full(self) -> bool:
        """Whether the worker must pause this partition."""
        return len(self._queue) >= MAX_QUEUED_RECORDS or self._queued_bytes >= MAX_QUEUED_BYTES

    @property
    def drained(self) -> bool:
        """Whether a paused partition may be resumed."""
        return (
            len(self._queue) <= MAX_QUEUED_RECORDS * LOW_WATER
            and self._queued_bytes <= MAX_QUEUED_BYTES * LOW_WATER
        )

    @property
    def busy(self) -> bool:
        """Whether anything is queued or in work."""
        return bool(self._queue) or not self._idle.is_set()

    async def open(self) -> int:
        """Fence, restore and say from which offset to read.

        Raises:
            StreamError: Kafka refused, or the changelog cannot be read.
        """
        with in_our_words(self._connection):
            self._producer = transactional_producer(
                self._connection,
                transactional_id=f"{self._agent}-{self.partition.topic}-{self.partition.partition}",
            )
            await self._producer.start()  # 1
            changelog = self._connection.topic(topics.state(self._agent).name)
            await self._state.restore(  # 2
                self._connection, TopicPartition(changelog, self.partition.partition)
            )
            committed = await self._committed_offset()
        if committed > self._state.next_offset:
            raise TopicMismatch(
                f"inputs of {self.partition.topic}, partition {self.partition.partition}, are committed up to offset"
                f" {committed}, but the changelog {changelog} knows of {self._state.next_offset} only: it lost records,"
                " or the group's offsets were moved forward. Deciding on would start the audit chain anew and forget"
                " state; restore the changelog, or move the group's offsets back",
                topic=self.partition.topic,
                partition=self.partition.partition,
            )
        self._next = self._state.next_offset
        log.info(
            "partition open agent=%s topic=%s partition=%d offset=%d seq=%d",
            self._agent,
            self.partition.topic,
            self.partition.partition,
            self._next,
            self._state.head.next_seq,
        )
        return self._next

    def feed(self, records: Sequence[KafkaRecord]) -> None:
        """Take records in the order of their offsets; one from before the last makes the partition open anew."""
        for record in records:  # 3
            if record.offset < self._next:
                self._went_back_to = record.offset
            if record.offset < self._next or self._closing:
                continue
            self._next = record.offset + 1
            self._queue.append(record)
            self._queued_bytes += record.size
        self._arrived.set()

    async def run(self) -> None:
        """Decide and commit until closed.

        Raises:
            PartitionFenced: another worker owns the partition.
            ReopenPartition: open it anew.
        """
        try:
            await self._work()
        finally:
            self._idle.set()  # after a failure too: closing must not wait for work that has ended

    async def _work(self) -> None:
        while not self._closing:
            if self._went_back_to is not None:
                # Reading starts at the first undecided record and only goes on: the topic is not what it was.
                raise ReopenPartition(
                    f"{self.partition} goes on at offset {self._went_back_to} after {self._next - 1}: it was"
                    " recreated, or lost its end",
                    agent=self._agent,
                )
            batch = self._take()
            if not batch:
                self._idle.set()
                self._arrived.clear()
                await self._arrived.wait()
                continue
            self._idle.clear()
            decided: list[Verdicted] = []
            for number, record in enumerate(batch, start=1):
                decided.append(await self._decider.decide(record, self._state))
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)  # a reasoner that never waits must not keep heartbeats waiting
            await self._commit(decided)

    async def close(self) -> None:
        """Stop intake, let the batch in work finish within the grace, stop the producer."""
        self._closing = True  # 6
        self._queue.clear()
        self._queued_bytes = 0
        self._arrived.set()
        try:
            await asyncio.wait_for(self._idle.wait(), CLOSE_GRACE_S)
        except TimeoutError:
            log.warning("partition closed with work unfinished agent=%s %s", self._agent, self.partition)
        await self.abandon()

    async def abandon(self) -> None:
        """Stop the producer without committing anything more."""
        self._closing = True
        self._arrived.set()
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_quietly(producer)

    def _take(self) -> list[KafkaRecord]:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), COMMIT_MAX_RECORDS))]
        self._queued_bytes -= sum(record.size for record in batch)
        return batch

    async def _committed_offset(self) -> int:
        group = self._connection.group(self._agent)
        async with admin_client(self._connection) as client:
            found = await client.list_consumer_group_offsets(group, partitions=[self.partition])
        offset = found[self.partition].offset if self.partition in found else -1
        return max(offset, 0)  # -1 is Kafka's "none committed"

    async def _commit(self, decided: Sequence[Verdicted]) -> None:
        outputs, head = await self._outputs(decided)
        next_offset = decided[-1].decoded.record.offset + 1
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                await self._transaction(outputs, next_offset)
            except AssertionError as error:
                # The client asserts its own states: after a fatal error it can neither abort nor begin.
                raise ReopenPartition(f"the client gave up its transaction for {self.partition}") from error
            except (PartitionFenced, ReopenPartition, NotAuthorized, RecordTooLarge):
                raise
            except StreamError as error:
                if not isinstance(error, Retryable):
                    # Not a fault that goes away in this producer: a new one fences, and finds out where we are.
                    raise ReopenPartition(
                        f"a transaction for {self.partition} was refused: {error}"
                    ) from error
                log.warning("transaction aborted agent=%s %s: %s", self._agent, self.partition, error)
                await asyncio.sleep(COMMIT_BACKOFF_S * 2**attempt)
            else:
                self._state.committed(head, next_offset)
                self.committed_records += len(decided)
                return
        raise ReopenPartition(
            f"the transaction for {self.partition} was aborted {COMMIT_ATTEMPTS} times", agent=self._agent
        )

    async def _transaction(self, outputs: Sequence[_Output], next_offset: int) -> None:
        producer = self._producer
        if producer is None:
            raise PartitionFenced(f"the partition {self.partition} was closed while a batch was in work")
        with in_our_words(self._connection):
            await producer.begin_transaction()
        try:
            with in_our_words(self._connection):
                sent = [await self._send(producer, output) for output in outputs]
                await producer.send_offsets_to_transaction(
                    {self.partition: OffsetAndMetadata(next_offset, "")}, self._connection.group(self._agent)
                )
                await asyncio.gather(*sent)
        except PartitionFenced:
            raise
        except StreamError:
            await self._abort(producer)
            raise
        try:
            with in_our_words(self._connection):
                await producer.commit_transaction()
        except PartitionFenced:
            raise
        except StreamError as error:
            raise ReopenPartition(f"the commit for {self.partition} was not confirmed: {error}") from error

    async def _send(self, producer: AIOKafkaProducer, output: _Output) -> asyncio.Future[object]:
        sent: asyncio.Future[object] = await producer.send(
            output.topic,
            output.value,
            key=output.key,
            partition=output.partition,
            headers=output.headers,
        )
        # Its error is looked at here too: when an earlier step fails, nobody else does.
        sent.add_done_callback(lambda future: future.cancelled() or future.exception())
        return sent

    async def _abort(self, producer: AIOKafkaProducer) -> None:
        try:
            with in_our_words(self._connection):
                await producer.abort_transaction()
        except PartitionFenced:
            raise
        except StreamError as error:
            raise ReopenPartition(
                f"the transaction for {self.partition} could not be aborted: {error}"
            ) from error

    async def _outputs(self, decided: Sequence[Verdicted]) -> tuple[list[_Output], ChainHead]:
        outputs: list[_Output] = []
        head = self._state.head
        audit_topic = self._connection.topic(topics.AUDIT.name)
        audit_partition = self.partition.partition % topics.AUDIT.partitions
        changelog = self._connection.topic(topics.state(self._agent).name)
        for number, one in enumerate(decided, start=1):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            payload = one.draft.finish(head)  # 5
            signed = await dsse.sign(payload, self._signer, chain=self._chain)
            head = head.extend(payload)
            outputs += self._announced(one)
            outputs.append(
                _Output(
                    audit_topic,
                    audit_partition,
                    self._chain.encode(),
                    encode(signed, ids=self._decider.ids),
                    headers_for(
                        signed,
                        event_id=one.draft.decision_id,
                        source=f"/agents/{self._agent}",
                        time=one.at,
                        subject=self._chain,
                        traceparent=one.traceparent,
                    ),
                )
            )
            if one.changelog is not None:
                outputs.append(_Output(changelog, self.partition.partition, *one.changelog, []))
        entry = self._state.chain_entry(head, decided[-1].decoded.record.offset + 1)
        outputs.append(_Output(changelog, self.partition.partition, *entry, []))
        return outputs, head

    def _announced(self, one: Verdicted) -> list[_Output]:
        record = one.decoded.record
        if one.decision is not None and one.decision_value is not None:
            headers = headers_for(
                one.decision,
                event_id=one.decision.id,
                source=f"/agents/{self._agent}",
                time=one.at,
                subject=one.decision.subject,
                traceparent=one.traceparent,
            )
            topic = self._connection.topic(topics.decisions(self._agent).name)
            return [_Output(topic, None, one.decision.key().encode(), one.decision_value, headers)]
        if one.rejection is not None:
            letter = dead_letter(record, error=one.rejection.error, reason=one.rejection.message)
            topic = self._connection.topic(topics.dead_letters(self._agent).name)
            return [_Output(topic, self.partition.partition, letter.key, letter.value, letter.headers)]
        return []
