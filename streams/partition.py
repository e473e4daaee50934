"""One partition number of one agent: decided concurrently, in order for each key, committed exactly once.

What a partition is: the input topic's partition with this number, and that of `timers.<agent>`; one transactional
producer, one partition of the changelog and of the journal, all with the same number. Its inputs move one way::

    fed ──▶ waiting ──▶ admitted ──▶ in work ──▶ ended ──▶ committed
             (span)      (lanes)        │  ▲
                                        ▼  │ (due)
                                       parked ──▶ (attempts used up) ended, rejected

Offsets: *working* from admission on, *done* with the transaction that holds their results, *committed* after it
(`offsets.py`). An input ends once: decided, denied, escalated, rejected, skipped, expired or duplicate.

=============  =========================================  =======================  ============================
call           does                                       raises                   waits for
=============  =========================================  =======================  ============================
`open`         steps 1 and 2; says where to read          `StreamError`            Kafka
`feed`         step 3; takes records in offset order      nothing                  nothing
`run`          steps 3 to 5 until closed                  `PartitionFenced`,       everything below; nothing
                                                          `ReopenPartition`, what  waits for it
                                                          no retry mends
`full`         whether to pause reading; with `drained`   nothing                  nothing
               whether to resume
`close`        step 6; once                               nothing                  work in its last steps, at
                                                                                   most `CLOSE_GRACE_S`, then
                                                                                   as `abandon` does
`abandon`      stops without committing                   nothing                  the journal's last write and
                                                                                   the producer's end, bounded
=============  =========================================  =======================  ============================

The protocol (the numbers come back in the code):

1. **Fence.** A producer with the transactional id `<agent>-<topic>-<partition>` starts; whatever a predecessor left
   open is aborted, and whatever it still tries is refused. Only then is anything read.
2. **Restore.** Changelog and journal to their ends. The committed offset and its map, asked for first, must not be
   beyond the changelog's: both move in one transaction, so it would have lost records. (They may be behind: Kafka
   drops the offsets of a group that was idle for a week.)
3. **Intake.** What is done already is skipped. Inputs queue by key; at most `max_in_flight` of a worker are in work,
   and none further than `MAX_SPAN` above the lowest undone. Offsets only rise: a record from before the last one means
   that the topic is not what it was, and the partition is opened anew.
4. **Decide.** Each call of a reasoner is journalled, intent and result. A failure that may pass parks its key.
5. **Commit**, at most every `COMMIT_INTERVAL_S` unless `COMMIT_MAX_RECORDS` ended: decision events, audit records,
   dead letters, changelog, fired timers, journal tombstones, offsets and their maps in one transaction. Aborted:
   nothing moved, the same results are committed again. Unknown whether it committed: opened anew, which finds out.
6. **Close.** Intake stops, what is in work gets a bounded grace, what ended is committed, then the producer stops. A
   fenced partition drops its results without a word: the new owner has them.

Not here: groups and rebalances (`worker.py`), deciding (`deciding.py`), transactions (`committing.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from jurat.schemas.errors import PartitionFenced, ReopenPartition
from jurat.streams.batching import Batches, Ended
from jurat.streams.intake import Lanes, Work, size_of
from jurat.streams.kafka import KafkaRecord, TopicPartition
from jurat.streams.metrics import PartitionStatus
from jurat.streams.offsets import MAX_SPAN
from jurat.streams.opening import Opened, Shared, open_partition
from jurat.streams.working import Workbench

log = logging.getLogger(__name__)

DUE_POLL_S: Final = 1.0
"""How late a timer or a retry may be when the clock was moved."""

CLOSE_GRACE_S: Final = 4.0
"""How long work may go on when the partition is taken away: the group waits for it."""


class _Open:
    """What exists only while the partition is open."""

    def __init__(self, opened: Opened, shared: Shared, processor: PartitionProcessor) -> None:
        self.state = opened.state
        self.opened = opened
        self.lanes = Lanes()
        self.bench = Workbench(opened, shared, self.lanes)
        self.batches = Batches(opened, shared, committed=processor.committed)
        self.waiting: dict[str, deque[KafkaRecord]] = {topic: deque() for topic in opened.state.sources}


class PartitionProcessor:
    """Decides the records of one partition number of an agent.

    Args:
        number: the partition number.
        shared: what the worker's partitions have in common.
    """

    def __init__(self, number: int, shared: Shared) -> None:
        self.number = number
        self._shared = shared
        self._budget = shared.budget
        self._open: _Open | None = None
        self._held_records = 0
        self._held_bytes = 0
        self._last: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runnable = 0
        self._closing = False
        self._failure: BaseException | None = None
        self._due = asyncio.Event()
        self._moved = asyncio.Event()
        self._over = asyncio.Event()
        self._progress_at = 0.0
        self._doubted_at: float | None = None

    @property
    def committed_records(self) -> int:
        """Inputs that ended here and are committed."""
        return self._open.batches.committed_records if self._open else 0

    @property
    def full(self) -> bool:
        """Whether the worker must stop reading this partition."""
        waiting = self._open is not None and any(self._open.waiting.values())
        return waiting or self._budget.full(self._held_records, self._held_bytes)

    @property
    def drained(self) -> bool:
        """Whether a partition that is not read may be read again."""
        return (
            self._open is not None
            and not any(self._open.waiting.values())
            and not self._open.state.parking.full
            and self._span() <= MAX_SPAN // 2
            and self._budget.drained(self._held_records, self._held_bytes)
        )

    @property
    def busy(self) -> bool:
        """Whether anything is held, on its way or parked."""
        return bool(
            self._held_records or self._unfinished() or (self._open and len(self._open.state.parking))
        )

    def next_offset(self, topic: str) -> int:
        """The offset after the last record that was taken of this source; where reading began before the first."""
        if topic in self._last:
            return self._last[topic] + 1
        return self._open.state.sources[topic].offsets.low if self._open else 0

    def status(self, *, lag: int, now: float) -> PartitionStatus:
        """What the partition is doing, for metrics and health."""
        state = self._open.state if self._open else None
        in_work = self._open.bench.in_work if self._open else {}
        return PartitionStatus(
            topic=self._shared.connection.topic(self._shared.agent.topic),
            partition=self.number,
            open=state is not None,
            lag=lag,
            in_flight=len(in_work),
            oldest_in_flight_s=now - min((work.since for work in in_work.values()), default=now),
            held_records=self._held_records,
            held_bytes=self._held_bytes,
            parked=len(state.parking) if state else 0,
            timers=len(state.timers) if state else 0,
            span=self._span(),
            progress_at=self._progress_at if self._held_records else now,
        )

    async def open(self) -> dict[TopicPartition, int]:
        """Fence, restore, and say from where to read.

        Raises:
            StreamError: Kafka refused, or the changelog cannot be read.
        """
        opened = await open_partition(self.number, self._shared, check_ours=self._check_ours)  # 1, 2
        self._open = _Open(opened, self._shared, self)
        self._progress_at = asyncio.get_running_loop().time()
        return {source.partition: source.offsets.low for source in self._open.state.sources.values()}

    def feed(self, records: Sequence[KafkaRecord]) -> None:
        """Take records of one source, in the order of their offsets."""
        if self._closing or self._open is None:
            return
        if not self._held_records:
            self._progress_at = asyncio.get_running_loop().time()
        for record in records:  # 3
            last = self._last.get(record.topic, -1)
            if record.offset <= last:
                # Reading starts at the first undone record and only goes on: the topic is not what it was.
                self._fail(
                    ReopenPartition(
                        f"{record.topic}, partition {record.partition}, goes on at offset {record.offset} after {last}:"
                        " it was recreated, or lost its end"
                    )
                )
                return
            self._last[record.topic] = record.offset
            self._held_bytes += self._budget.hold(record)
            self._held_records += 1
            self._open.waiting[record.topic].append(record)
        self._admit(self._open)

    async def run(self) -> None:
        """Decide and commit until closed.

        Raises:
            PartitionFenced: another worker owns the partition.
            ReopenPartition: open it anew.
        """
        if self._open is None:
            return
        self._spawn(self._open.batches.run())
        self._spawn(self._bring_due(self._open))
        self._admit(self._open)
        try:
            await self._over.wait()
        finally:
            await self._end_tasks()
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Stop intake, let work end within the grace, commit it, stop."""
        self._closing = True  # 6
        if self._open is not None:
            self._open.lanes.clear()
            self._open.batches.hurry()
        loop = asyncio.get_running_loop()
        until = loop.time() + CLOSE_GRACE_S
        while self._unfinished() and self._tasks and not self._over.is_set():
            self._moved.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._moved.wait()
            except TimeoutError:
                log.warning(
                    "partition closed with work unfinished agent=%s partition=%d unfinished=%d",
                    self._shared.agent.name,
                    self.number,
                    self._unfinished(),
                )
                break
        await self.abandon()

    async def abandon(self) -> None:
        """Stop without committing anything more."""
        self._closing = True
        self._over.set()
        try:
            await self._end_tasks()
        finally:  # cancelled too: the producer must not stay open
            self._budget.forget(self._start_runner)
            self._budget.release(self._held_bytes)
            self._held_records = self._held_bytes = 0
            if self._open is not None:
                await self._open.opened.stop()

    def committed(self, records: Sequence[KafkaRecord], began: float) -> None:
        """These inputs' offsets are committed, by a commit that began then: there is room for others."""
        if self._doubted_at is not None and began > self._doubted_at:
            self._doubted_at = None  # nobody had fenced us
        self._drop(records)
        self._progress_at = asyncio.get_running_loop().time()
        self._moved.set()
        if self._open is not None and not self._closing:
            self._admit(self._open)

    def doubt(self) -> None:
        """The partition may be with another worker: buy nothing for it until a commit shows that it is not.

        What is decided already is committed all the same: a successor has fenced that commit. Dropping it would keep a
        worker whose decisions block the event loop from ever committing one.
        """
        self._doubted_at = asyncio.get_running_loop().time()

    def _check_ours(self) -> None:
        if not self._shared.awake():
            self.doubt()
        if self._doubted_at is not None or self._failure is not None:
            raise PartitionFenced(
                f"partition {self.number} of {self._shared.agent.name} is not served any more, or was left alone for"
                " longer than the session time-out; it may be with another worker by now"
            ) from self._failure

    def _unfinished(self) -> int:
        return len(self._open.bench.in_work) + self._open.batches.pending if self._open else 0

    def _span(self) -> int:
        sources = self._open.state.sources.values() if self._open else ()
        return max((source.offsets.next - source.offsets.low for source in sources), default=0)

    def _admit(self, opened: _Open) -> None:
        parking = opened.state.parking
        for topic, queue in opened.waiting.items():
            offsets = opened.state.sources[topic].offsets
            while queue and not parking.full and offsets.admits(queue[0].offset):
                record = queue.popleft()
                if not offsets.admit(record.offset):
                    self._drop([record])  # it was done before
                elif parking.holds(record.key):
                    opened.batches.add(opened.bench.park_behind(record))
                else:
                    opened.lanes.add(Work(record))
        self._start_runner()

    def _drop(self, records: Sequence[KafkaRecord]) -> None:
        size = sum(size_of(record) for record in records)
        self._budget.release(size)
        self._held_bytes -= size
        self._held_records -= len(records)

    def _start_runner(self) -> None:
        """Let one more run, if there is something for it and nobody who could take it."""
        if (
            self._closing
            or self._runnable
            or not self._tasks
            or self._open is None
            or not self._open.lanes.ready
        ):
            return
        if self._budget.start(self._start_runner):
            self._runnable += 1
            # The place is given back whatever becomes of the task, even if it is cancelled before its first step.
            self._spawn(self._run_one(self._open)).add_done_callback(lambda _: self._budget.end())

    def _one_waits(self, waited: list[bool]) -> None:
        waited.append(True)
        self._runnable -= 1
        self._start_runner()

    async def _run_one(self, opened: _Open) -> None:
        loop = asyncio.get_running_loop()
        slice_ends = loop.time() + self._budget.slice_s
        while not self._closing and not self._over.is_set() and (work := opened.lanes.take()) is not None:
            waited: list[bool] = []
            watch = loop.call_soon(
                self._one_waits, waited
            )  # comes about only if this decision waits for something
            ended = await opened.bench.decide(work)  # 4
            watch.cancel()
            self._runnable += len(waited)
            opened.batches.add(ended)
            self._moved.set()
            if ended.entries or self._shared.agent.timers is not None:
                self._due.set()  # parked inputs or timers may have changed
            if loop.time() >= slice_ends:
                await asyncio.sleep(0)  # a reasoner that never waits must not keep heartbeats waiting
                slice_ends = loop.time() + self._budget.slice_s
            await opened.batches.room()
            if self._budget.starved:
                break  # after one at least: two that only made room for each other would decide nothing
        self._runnable -= 1
        loop.call_soon(self._start_runner)  # when this one's place is free again

    async def _bring_due(self, opened: _Open) -> None:
        """Bring back what is due: parked inputs into work, timers onto their topic."""
        state = opened.state
        while not self._closing:
            now = self._shared.decider.clock()
            for parked in state.parking.take_due(now):
                opened.lanes.add(Work(parked.record, parked.attempt, parked=True))
            for due in state.take_due(now):
                fired = opened.opened.writer.fired(due, input_topic=state.input_topic, at=now)
                opened.batches.add(Ended(outputs=fired))
            self._start_runner()
            await opened.batches.room()
            wait_s = DUE_POLL_S
            for moment in (state.parking.next_due, state.next_due):
                if moment is not None:
                    wait_s = min(wait_s, max((moment - now).total_seconds(), 0.001))
            self._due.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._due.wait()
            except TimeoutError:
                continue

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._over.set()
        self._moved.set()

    async def _end_tasks(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
