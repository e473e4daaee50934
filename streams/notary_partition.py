"""One log at work: the records of one partition in, its checkpoints out.

The protocol, numbered as in the code:

1. **Fence.** A producer with the transactional id `notary-<topic>-<partition>` starts: whoever else was at this log can
   publish nothing from now on.
2. **Read back**: the group's offset with the edge of the tree before it, and the last checkpoint on `audit.checkpoints`
   that this log's key signed. Records are read from that offset on.
3. **Restore.** The leaves are taken in; nothing is signed before the tree has the size of the last checkpoint, and then
   it must have that one's root.
4. **Sign** what is due, ask the witnesses, and
5. **publish** in one transaction: the latest checkpoint, the history's, and the group's offset. That offset is behind
   the leaves that every witness has seen, so that after a restart each can be given a proof from where it is.

Rules upheld here: what the log's key signed on a topic of checkpoints and this tree contradicts ends the log; so does a
partition that ends, or begins, elsewhere than it did. Memory: 64 bytes for each of at most `MAX_KEPT_LEAVES` leaves; a
witness that is further behind is no longer waited for, but led on beside.

Not here: the group (`notary.py`), what is signed (`jurat.audit.notary`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Final

from jurat.audit.checkpoint import Checkpoint
from jurat.audit.log import Fault
from jurat.audit.notary import Notary, Resume, own_checkpoint, parse_resume, verifiers
from jurat.audit.origin import Origin
from jurat.audit.tlog_policy import Party
from jurat.schemas.errors import AuditError, LogForked, NoteInvalid, Retryable, SignatureInvalid
from jurat.streams import topics
from jurat.streams.audit_entries import entry_of
from jurat.streams.committing import Output, Transactions
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    KafkaRecord,
    TopicPartition,
    admin_client,
    in_our_words,
)
from jurat.streams.kafka_ending import end_tasks
from jurat.streams.metrics import PartitionStatus
from jurat.streams.notary_config import NotaryConfig
from jurat.streams.notary_cosigning import Cosigning
from jurat.streams.notary_leading import lead
from jurat.streams.reading import Progress, read_to_end

log = logging.getLogger(__name__)

GROUP: Final = "notary"
"""The consumer group, and how transactional ids begin."""

TICK_S: Final = 0.05
"""How often is looked whether a checkpoint is due: a twentieth of the shortest time between two."""

MAX_KEPT_LEAVES: Final = 1_000_000
"""64 MB of hashes for each log that has a witness behind it."""

MAX_UNPUBLISHED: Final = 100_000
"""Leaves beyond the last checkpoint at which reading waits for publishing: what is read again after a kill."""

LEAD_EVERY_S: Final = 1.0


class NotaryPartition:
    """The log of one partition of the audit topic.

    Args:
        connection: the cluster and namespace.
        config: what all logs have in common.
        origin: the log.
    """

    def __init__(self, connection: Connection, config: NotaryConfig, origin: Origin) -> None:
        self._connection = connection
        self._config = config
        self._key = str(origin).encode()
        self._origin = origin
        self._policy = replace(
            config.policy, logs=tuple([Party(key, None) for key in verifiers(config.key, origin)])
        )
        self.source = TopicPartition(origin.topic, origin.partition)
        number = origin.partition
        self.latest = TopicPartition(connection.topic(topics.CHECKPOINTS.name), number)
        self.history = TopicPartition(connection.topic(topics.CHECKPOINT_HISTORY.name), number)
        self._transactions = Transactions(
            connection,
            transactional_id=f"{GROUP}-{origin.topic}-{number}",
            group=GROUP,
            meters=config.meters,
        )
        self._notary: Notary | None = None
        self._cosigning: Cosigning | None = None
        self._failure: AuditError | None = None
        self._witnessed = False
        self._next = self._end = 0
        self._base = Resume()
        self._offsets: dict[int, int] = {}
        self._progress_at = 0.0
        self.published = 0

    @property
    def is_busy(self) -> bool:
        """Whether it has leaves that no checkpoint covers."""
        notary = self._notary
        return notary is None or not notary.is_restored or notary.tree.size > notary.published

    @property
    def is_restoring(self) -> bool:
        """Whether it is still to be given leaves that it signed before."""
        return self._notary is not None and not self._notary.is_restored

    @property
    def is_full(self) -> bool:
        """Whether it should be given no more records for now."""
        notary = self._notary
        return notary is not None and notary.tree.size - notary.published > MAX_UNPUBLISHED

    async def open(self, consumer: AIOKafkaConsumer) -> int:
        """Fence and restore.

        Returns:
            The offset from which on records are to be given to it.

        Raises:
            LogForked: the log or its checkpoints are not what they were.
            StreamError: Kafka refused.
        """
        await self._transactions.fence()  # 1
        resume, was_signed = await self._committed()  # 2
        start = resume.offset
        last, signed = await self._last_checkpoint()
        if was_signed and last is None:
            raise self._forked(
                "the group's offset is of this log, but no checkpoint that its key signed is there: checkpoints were"
                " removed from the topic, or this is another key"
            )
        with in_our_words(self._connection):
            self._end = (await consumer.end_offsets([self.source]))[self.source]
            begin = (await consumer.beginning_offsets([self.source]))[self.source]
        if not begin <= start <= self._end:
            raise self._forked(
                f"{resume.size} leaves stand before the offset {start}, but the partition has {begin} to {self._end}"
            )
        notary = self._notary = Notary(self._origin, self._config.key, resume=resume, last=last)
        self._cosigning = Cosigning(notary.origin, notary.tree, self._config.witnesses)
        self._base, self._next, self._offsets = resume, start, {resume.size: start}
        self._witnessed = signed is not None and self._is_witnessed(signed)
        self._progress_at = asyncio.get_running_loop().time()
        log.info(
            "log open origin=%s offset=%d leaves=%d published=%d",
            notary.origin,
            start,
            resume.size,
            notary.published,
        )
        return start

    def feed(self, records: Sequence[KafkaRecord]) -> None:
        """Take records in, in the order of the partition."""
        notary = self._notary
        if notary is None or self._failure is not None:
            return
        try:
            for record in records:
                if record.offset < self._next:
                    raise self._forked(
                        f"got the offset {record.offset} after {self._next - 1}: the partition was cut"
                    )
                self._next = record.offset + 1
                entry = entry_of(record, self._config.ids)
                if isinstance(entry, Fault):
                    log.error("no leaf origin=%s: %s", notary.origin, entry)
                else:
                    notary.append(entry.leaf())
        except LogForked as error:
            self._failure = error

    def reached(self, position: int) -> None:
        """Hear that everything before this offset was given to it."""
        notary = self._notary
        if notary is not None and not notary.is_restored and position >= self._end and not self._failure:
            self._failure = self._forked(
                f"the partition ends after {notary.tree.size} leaves, but {notary.published} were signed: its end"
                " was cut"
            )

    def see(self, record: KafkaRecord) -> None:
        """Look at a record of a topic of checkpoints."""
        notary = self._notary
        if notary is None or record.key != self._key or record.value is None:
            return
        try:
            notary.check_seen(record.value)
        except LogForked as error:
            self._failure = self._failure or error
        except (NoteInvalid, SignatureInvalid) as error:
            log.warning("checkpoint of nobody's topic=%s offset=%d: %s", record.topic, record.offset, error)

    async def run(self) -> None:
        """Publish what is due, until cancelled.

        Raises:
            LogForked: the log or its checkpoints are not what they were.
            PartitionFenced: another notary has this log.
            StreamError: Kafka refused.
        """
        notary, loop = self._notary, asyncio.get_running_loop()
        leading = asyncio.create_task(self._lead())
        try:
            while notary is not None:
                if self._failure is not None:
                    await self._check_owner()
                    raise self._failure
                if leading.done():
                    leading.result()  # a defect: what may happen is told where it happens
                if notary.is_due(loop.time()):
                    await self._publish(notary)
                await asyncio.sleep(TICK_S)
        finally:
            await end_tasks([leading])

    async def _check_owner(self) -> None:
        """Raise `PartitionFenced` where this one was stopped for a while, and another one has signed in its place."""
        with suppress(Retryable):  # not known: then what was seen counts
            await self._transactions.commit([], {self.source: self._place(self._base)})

    async def _lead(self) -> None:
        """Look now and then whether a witness is too far behind, and lead it on."""
        notary, cosigning = self._notary, self._cosigning
        while notary is not None and cosigning is not None:
            await cosigning.lead(
                partial(
                    lead,
                    self._connection,
                    origin=self._origin,
                    key=self._config.key,
                    ids=self._config.ids,
                    until=lambda: notary.published,
                )
            )
            await asyncio.sleep(LEAD_EVERY_S)

    async def close(self) -> None:
        """Stop the producer; a transaction in work is left to the next owner, who aborts it."""
        await self._transactions.stop()

    def status(self, *, lag: int, now: float) -> PartitionStatus:
        """What it does at this moment: leaves that no checkpoint covers are what it holds."""
        notary = self._notary
        unpublished = 0 if notary is None else max(notary.tree.size - notary.published, 0)
        return PartitionStatus(
            topic=self.source.topic,
            partition=self.source.partition,
            open=True,
            lag=lag,
            in_flight=0,
            oldest_in_flight_s=0.0,
            held_records=unpublished,
            held_bytes=0,
            parked=0,
            timers=0,
            span=0,
            progress_at=self._progress_at if unpublished else now,
        )

    @property
    def next_offset(self) -> int:
        """The offset behind the last record that it was given."""
        return self._next

    async def _publish(self, notary: Notary) -> None:
        size, offset = notary.tree.size, self._next
        is_larger = size > notary.published
        made = notary.sign(self._config.clock())  # 4
        note = made if self._cosigning is None else await self._cosigning.ask(made, size)
        if self._failure is not None:
            return
        signed = note.print()
        is_witnessed = self._is_witnessed(signed)
        if not is_larger and self._witnessed and not is_witnessed:
            # What stands there proves more than this would.
            notary.publishing(size, asyncio.get_running_loop().time())
            return
        self._offsets[size] = offset
        base = self._new_base(notary, size)
        outputs = [self._output(self.latest, signed)]
        if is_larger or (is_witnessed and not self._witnessed):
            outputs.append(self._output(self.history, signed))
        began = asyncio.get_running_loop().time()
        await self._transactions.commit(outputs, {self.source: self._place(base)})  # 5
        now = asyncio.get_running_loop().time()
        self._config.meters.committed(size - notary.published, now - began)
        self.published += 1
        notary.publishing(size, now)
        notary.tree.forget(base.size)
        self._base, self._witnessed, self._progress_at = base, is_witnessed, now
        kept = {base.size, size, *(() if self._cosigning is None else self._cosigning.sizes)}
        self._offsets = {one: at for one, at in self._offsets.items() if one in kept}

    def _new_base(self, notary: Notary, size: int) -> Resume:
        """The most leaves that every witness has seen; all of them where one is too far behind."""
        seen = () if self._cosigning is None else self._cosigning.sizes
        least = min(seen, default=size)
        if least < self._base.size or least not in self._offsets:
            least = self._base.size
        if size - least > MAX_KEPT_LEAVES:
            log.warning(
                "witness too far behind origin=%s: proofs begin at %d leaves now", notary.origin, size
            )
            least = size
        return Resume(least, notary.tree.edge(least), self._offsets[least])

    def _is_witnessed(self, signed: bytes) -> bool:
        try:
            self._policy.check(signed)
        except SignatureInvalid:
            return False
        return True

    def _place(self, base: Resume) -> tuple[int, str]:
        return base.offset, base.print(str(self._origin), self._config.key)

    def _output(self, where: TopicPartition, signed: bytes) -> Output:
        return Output(where.topic, where.partition, self._key, signed)

    async def _committed(self) -> tuple[Resume, bool]:
        """Where the last notary was, and whether it was one of this log."""
        async with admin_client(self._connection) as client:
            with in_our_words(self._connection):
                found = await client.list_consumer_group_offsets(
                    self._connection.group(GROUP), partitions=[self.source]
                )
        at = found.get(self.source)
        if at is None or at.offset < 0:  # -1 is Kafka's "none committed"
            return Resume(), False
        text, name = at.metadata or "", str(self._origin)
        try:
            named, resume = parse_resume(text, offset=at.offset, key=self._config.key)
        except NoteInvalid as error:
            # Somebody moved the offset: the log is read from its beginning, which needs nothing from beside it.
            log.warning("offset moved by others origin=%s offset=%d: %s", name, at.offset, error)
            return Resume(), text.startswith(f"{name} ")
        if named != name:
            log.warning(
                "another log begins origin=%s: these records were signed as %s so far; was that meant?",
                name,
                named,
            )
            return Resume(), False
        return resume, True

    async def _last_checkpoint(self) -> tuple[Checkpoint | None, bytes | None]:
        """The largest checkpoint of this log that its key signed."""
        last, signed = None, None
        known = verifiers(self._config.key, self._origin)
        progress = Progress(f"{self.latest.topic}, partition {self.latest.partition}")
        async with aclosing(read_to_end(self._connection, [self.latest], progress=progress)) as records:
            async for record in records:
                if record.key != self._key or record.value is None:
                    continue
                try:
                    head = own_checkpoint(record.value, known, str(self._origin))
                except (NoteInvalid, SignatureInvalid) as error:
                    log.warning(
                        "checkpoint of nobody's topic=%s offset=%d: %s", record.topic, record.offset, error
                    )
                    continue
                if last is not None and head.size == last.size and head.root != last.root:
                    raise self._forked(f"its key signed two roots for {head.size} leaves")
                if last is None or head.size >= last.size:
                    last, signed = head, record.value
        return last, signed

    def _forked(self, why: str) -> LogForked:
        return LogForked(
            f"{self._origin}: {why}. Nothing more is signed under this name; see docs/notary.md, When a notary refuses",
            origin=str(self._origin),
        )
