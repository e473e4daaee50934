"""Step 5 of the protocol: what ended goes into one transaction, and the next.

Rules upheld here: the order of the ends is the order of the outputs; one transaction at a time. Chain heads, seen ids
and the journal's entries move on only when Kafka has the transaction. Offsets are done in memory as soon as the
transaction is put together: one that is aborted is sent again as it is, and when it cannot be, the partition is opened
anew from what Kafka has. Not here: the transaction itself (`committing.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from jurat.streams.committing import Output
from jurat.streams.kafka import KafkaRecord, TopicPartition
from jurat.streams.opening import Opened, Shared
from jurat.streams.state import SEEN, Entry
from jurat.streams.verdicted import Verdicted

COMMIT_INTERVAL_S: Final = 0.1
"""Between the beginnings of two commits of a partition, unless many inputs ended: a lone input is committed at once,
and a stream of them costs at most ten transactions a second. Kafka Streams has the same with exactly-once."""

COMMIT_MAX_RECORDS: Final = 300
"""Inputs in one transaction: the transaction's own cost is spread thin, and readers wait for some 100 ms of work."""

MAX_ENDED: Final = COMMIT_MAX_RECORDS
"""Ends that wait behind the batch in its transaction before no more work is taken."""


@dataclass(slots=True)
class Ended:
    """What the end of some work adds to the next transaction.

    Attributes:
        verdicted: how an input ended.
        done: the inputs whose offsets are done with it.
        entries: what of the changelog changes.
        outputs: other records.
        also: what ended with it, to be committed after it.
    """

    verdicted: Verdicted | None = None
    done: list[KafkaRecord] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    also: list[Ended] = field(default_factory=list)


class Batches:
    """Commits what ended in one partition.

    Args:
        opened: the partition.
        shared: what the worker's partitions have in common.
        committed: told of the inputs whose offsets are committed, and when that commit began.
    """

    def __init__(
        self, opened: Opened, shared: Shared, *, committed: Callable[[Sequence[KafkaRecord], float], None]
    ) -> None:
        self._opened = opened
        self._meters = shared.meters
        self._tracing = shared.tracing
        self._budget = shared.budget
        self._committed = committed
        self._ended: deque[Ended] = deque()
        self._in_commit = 0
        self._added = asyncio.Event()
        self._moved = asyncio.Event()
        self._hurry = False
        self._pacing = False
        self.committed_records = 0

    @property
    def pending(self) -> int:
        """Ends that are not committed yet."""
        return len(self._ended) + self._in_commit

    def add(self, ended: Ended) -> None:
        """Something ended."""
        self._ended.append(ended)
        self._ended.extend(ended.also)
        if not self._pacing or len(self._ended) >= COMMIT_MAX_RECORDS:
            self._added.set()  # otherwise the next commit waits for its moment, not for one more end

    async def room(self) -> None:
        """Wait until more may end."""
        while len(self._ended) >= MAX_ENDED:
            self._moved.clear()
            await self._moved.wait()

    def hurry(self) -> None:
        """Commit without waiting for more from now on."""
        self._hurry = True
        self._added.set()

    async def run(self) -> None:
        """Commit until cancelled.

        Raises:
            StreamError: what ends a commit; see `committing.py`.
        """
        loop = asyncio.get_running_loop()
        began = 0.0
        while True:
            while not self._ended:
                self._added.clear()
                await self._added.wait()
            await self._pace(began + COMMIT_INTERVAL_S)
            began = loop.time()
            batch = [self._ended.popleft() for _ in range(min(len(self._ended), COMMIT_MAX_RECORDS))]
            self._in_commit = len(batch)
            await self._commit(batch)
            self._in_commit = 0
            self._moved.set()
            self._meters.committed(sum(1 for ended in batch if ended.verdicted), loop.time() - began)
            self._committed([record for ended in batch for record in ended.done], began)

    async def _pace(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._pacing = True
        try:
            while len(self._ended) < COMMIT_MAX_RECORDS and not self._hurry and loop.time() < until:
                self._added.clear()
                async with asyncio.timeout_at(until):
                    await self._added.wait()
        except TimeoutError:
            return
        finally:
            self._pacing = False

    async def _commit(self, batch: Sequence[Ended]) -> None:
        opened = self._opened
        state = opened.state
        verdicted = [ended.verdicted for ended in batch if ended.verdicted is not None]
        heads = {topic: source.head for topic, source in state.sources.items()}
        outputs: list[Output] = []
        loop = asyncio.get_running_loop()
        slice_ends = loop.time() + self._budget.slice_s
        for ended in batch:
            if loop.time() >= slice_ends:
                await asyncio.sleep(0)
                slice_ends = loop.time() + self._budget.slice_s
            if ended.verdicted is not None:
                topic = ended.verdicted.decoded.record.topic
                about, heads[topic] = await opened.writer.about(ended.verdicted, heads[topic])
                outputs += about
            outputs += [opened.writer.entry(entry) for entry in ended.entries]
            outputs += ended.outputs
            for record in ended.done:
                state.sources[record.topic].offsets.finish(record.offset)
        outputs += self._bookkeeping(verdicted)
        offsets: dict[TopicPartition, tuple[int, str]] = {}
        for topic, source in state.sources.items():
            outputs.append(opened.writer.entry(source.entry(heads[topic])))
            offsets[source.partition] = (source.offsets.low, source.offsets.encode())
        traces = [one.traceparent for one in verdicted]
        with self._tracing.commit(traces, where=opened.transactions.transactional_id):
            await opened.transactions.commit(outputs, offsets)
        for topic, source in state.sources.items():
            source.head = heads[topic]
        state.seen.committed()
        opened.stale.clear()
        for one in verdicted:
            opened.journal.forget(one.decoded.where)
        self.committed_records += len(verdicted)

    def _bookkeeping(self, verdicted: Sequence[Verdicted]) -> list[Output]:
        opened = self._opened
        finished = [key for one in verdicted for key in opened.journal.tombstones(one.decoded.where)]
        topic = opened.state.input_topic
        # An input that was parked counts as done, though its own end may come with a later transaction only.
        ends = {one.decoded.record.offset for one in verdicted if one.decoded.record.topic == topic}
        seen = opened.state.seen.flush(ends.__contains__)
        return [
            *opened.stale,
            *(opened.writer.tombstone(key) for key in finished),
            *(opened.writer.entry((f"{SEEN}{topic}/{name}", value)) for name, value in seen),
        ]
