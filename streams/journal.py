"""The journal of model calls and uses of tools of one partition: no answer that was paid for is bought again.

The protocol of one call (the numbers come back in the code):

1. **Look.** A finished call for the same input and question is used again. One that was under way when a worker ended
   is counted and told: it may now be paid twice.
2. **Intent.** What is about to be asked is written, and acknowledged by all in-sync replicas, before it is asked.
3. **Ask** the reasoner, with an idempotency key that is the same after a restart; or use the tool.
4. **Answer.** It is written and acknowledged before it is used. A cancelled worker still tries to write what it has.
5. **Use** what was written, read back: the first use and one after a crash see the same.

The entries of an input are tombstoned in the transaction that commits its end, by whoever commits. Deterministic
reasoners are not journalled, tools always are. Specified in `docs/spec/journal.md`. Not here: that transaction
(`committing.py`), the bytes (`journal_entry.py`), which call answers a question (`journal_held.py`), what was spent
(`spending.py`), Kafka's producer (`journal_writer.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from jurat.agents.agent import Agent
from jurat.agents.kernel import Use
from jurat.agents.proposals import checked
from jurat.agents.reasoner import (
    Proposal,
    ProposalRequest,
    Reasoner,
    Spent,
    ToolCall,
    ToolResult,
    request_digest,
)
from jurat.agents.reasoner_spending import NOTHING, spent_by, together, with_before, with_spent
from jurat.agents.tools import raw
from jurat.audit.record import format_time
from jurat.schemas import canonical
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import (
    CanonicalError,
    ConfigurationError,
    InputRejected,
    JuratError,
    ProposalInvalid,
    ReasonerError,
    Retryable,
    StreamError,
)
from jurat.streams import topics
from jurat.streams.asking import used
from jurat.streams.journal_entry import (
    CallKey,
    Entry,
    Kind,
    answer_of,
    answered,
    entry_of_use,
    failed,
    parse_entry,
    parse_key,
    print_entry,
    result_of,
    use_intent,
    where_of,
)
from jurat.streams.journal_held import Held, finished_call, tell_unanswered, wasted
from jurat.streams.journal_writer import EntryWriter, JournalWriter
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.reading import Progress, read_to_end
from jurat.streams.spending import PREFIX, PartitionSpending

__all__ = ["CallMeters", "EntryWriter", "Journal", "JournalWriter"]

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_WRITE_S: Final = 2.0
"""How long a cancelled worker goes on writing an answer that it has. A closing partition cancels what is in work when
its grace is over, so that this comes on top of the grace."""


class CallMeters(Protocol):
    """Counts what became of calls."""

    def reused_call(self) -> None:
        """A finished call was used again."""
        ...

    def possibly_paid_twice(self) -> None:
        """A call is made again of which nobody knows whether it was paid for."""
        ...


class Journal:
    """The calls made for the inputs in work of one partition.

    Args:
        connection: the cluster and namespace.
        agent: the agent whose calls these are.
        partition: the partition's number.
        writer: who writes; running.
        clock: the present moment.
        meters: who counts.
        partitions: how many the agent's topic has now, to share limits among.
        check_ours: raises when the partition may be somebody else's by now, so that nothing is bought for it.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        agent: Agent[Any],
        partition: int,
        writer: EntryWriter,
        clock: Callable[[], datetime],
        meters: CallMeters,
        partitions: Callable[[], int],
        check_ours: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._check_ours = check_ours
        self._agent = agent
        self._partition = partition
        self._writer = writer
        self._clock = clock
        self._meters = meters
        self._name = secrets.token_hex(4)
        self._inputs: dict[tuple[str, int], dict[CallKey, Held]] = {}
        self._spending = PartitionSpending(
            partition=partition,
            partitions=partitions,
            name=self._name,
            write=partial(writer.write, partition),
            clock=clock,
            check_ours=check_ours,
        )

    def __len__(self) -> int:
        """How many calls are held."""
        return sum(len(calls) for calls in self._inputs.values())

    async def restore(self) -> int:
        """Read the journal of this partition to its end; the partition must be fenced before.

        Returns:
            How many records were read.

        Raises:
            StreamError: Kafka refused, or a record is not ours; deciding on would be guessing what was paid for.
        """
        topic = self._connection.topic(topics.journal(self._agent.name).name)
        progress = Progress(f"the journal {topic}, partition {self._partition}")
        count = 0
        where = [TopicPartition(topic, self._partition)]
        async with aclosing(read_to_end(self._connection, where, progress=progress)) as records:
            async for record in records:
                self._restore_one(record)
                count += 1
        self._spending.restored()
        return count

    def stale(self, done: Callable[[InputRef], bool]) -> list[bytes]:
        """Drop the calls of inputs that have ended, written late by a worker that had lost the partition.

        Args:
            done: whether an input has its terminal record; not so for one that waits for another attempt.

        Returns:
            Their keys, and those of what was spent before today, to be tombstoned with the next commit. If that is
            never made, the next restore finds them again.
        """
        ended = [
            (place, calls)
            for place, calls in self._inputs.items()
            if done(where_of(next(iter(calls)), self._partition))
        ]
        for place, _calls in ended:
            del self._inputs[place]
        return [*self._spending.stale(), *[key.encode() for _place, calls in ended for key in calls]]

    def tombstones(self, where: InputRef) -> list[bytes]:
        """The keys of an input's entries, to be tombstoned in the transaction that commits its end."""
        return [key.encode() for key in self._inputs.get((where.topic, where.offset), ())]

    def forget(self, where: InputRef) -> None:
        """Drop the calls of an input whose end is committed."""
        self._inputs.pop((where.topic, where.offset), None)

    async def propose(
        self,
        reasoner: Reasoner,
        request: ProposalRequest,
        *,
        where: InputRef,
        decision_id: str,
        attempt: int,
        ask: int,
    ) -> Proposal | ToolCall | None:
        """Ask a reasoner, or use what it answered before.

        Args:
            reasoner: who proposes.
            request: what to ask.
            where: the input.
            decision_id: the id of its decision.
            attempt: which try at deciding this input; rises only when one has failed.
            ask: which question of this try, counted from 0.

        Raises:
            ReasonerError: the reasoner's, now or when it was asked first.
            InputRejected: likewise.
            StreamError: the journal could not be written; where that is `Retryable`, an answer that has arrived is kept
                and used by the next attempt.
            CanonicalError: a document or the state has no canonical form.
        """
        if reasoner.deterministic:
            return await reasoner.propose(request)
        intent = Entry(
            kind=Kind.INTENT,
            call_id=f"{decision_id}/{attempt}/{ask}",
            request=request_digest(request),
            event=canonical.digest(request.situation.event.model_dump(mode="json")),
            asked_at=format_time(self._clock()),
        )
        asked = replace(request, call_id=intent.call_id, purse=self._spending)
        before = wasted(self._inputs.get((where.topic, where.offset), {}), ask=ask)
        asking = partial(self._ask, reasoner, asked, before)
        reading = partial(answer_of, agent=self._agent)
        return await self._once(intent, asking, reading, where=where, attempt=attempt, ask=ask)

    async def use(self, use: Use, *, where: InputRef, decision_id: str, attempt: int, ask: int) -> ToolResult:
        """Use a tool, or what it answered before to the same arguments; the names are those of `propose`.

        Raises:
            StreamError: as for `propose`.
            CanonicalError: the event has no canonical form.
        """
        intent = use_intent(
            use,
            call_id=f"{decision_id}/{attempt}/{ask}",
            event=canonical.digest(use.situation.event.model_dump(mode="json")),
            at=format_time(self._clock()),
        )
        using, reading = partial(self._use, use), partial(result_of, use=use)
        return await self._once(intent, using, reading, where=where, attempt=attempt, ask=ask)

    async def _once(
        self,
        intent: Entry,
        make: Callable[[Held], Awaitable[T | JuratError]],
        read: Callable[[Entry], T],
        *,
        where: InputRef,
        attempt: int,
        ask: int,
    ) -> T:
        """The protocol; `make` makes the call and holds what came of it, `read` reads an entry's answer."""
        calls = self._inputs.setdefault((where.topic, where.offset), {})
        finished = finished_call(calls, intent, ask=ask)  # 1
        if finished is not None:
            return read(await self._again(*finished, intent))
        if tell_unanswered(calls, intent, ask=ask):
            self._meters.possibly_paid_twice()
        self._check_ours()
        key = CallKey(where.topic, where.offset, attempt, ask, self._name)
        # Held before it is written: its key must be tombstoned even if the acknowledgement gets lost.
        held = calls[key] = Held(intent)
        await self._writer.write(self._partition, key.encode(), print_entry(intent))  # 2
        self._check_ours()
        held.made = True
        answer = await make(held)  # 3
        await self._write_answer(key, held)  # 4
        await self._spending.settled()
        if isinstance(answer, JuratError):
            raise answer
        return answer  # 5

    async def _use(self, use: Use, held: Held) -> ToolResult:
        """Use a tool, and hold what came of it; returns the result as it is read back."""
        result = await used(use)
        held.entry = entry_of_use(held.entry, result, format_time(self._clock()))
        held.unwritten = print_entry(held.entry)
        return result_of(held.entry, use)

    async def _ask(
        self, reasoner: Reasoner, request: ProposalRequest, before: Spent, held: Held
    ) -> Proposal | ToolCall | JuratError | None:
        """Ask, and hold what came of it; returns the answer as it is read back, or the failure.

        What attempts before this one took (`before`) goes with either.
        """
        intent = held.entry
        failure: JuratError
        given, took = None, NOTHING
        try:
            given = await reasoner.propose(request)
            if isinstance(given, Proposal | ToolCall):
                given = with_before(given, before)
            held.entry, held.unwritten, answer = self._read_back(intent, given)
        except InputRejected as error:
            kind, failure = Kind.REJECTED, error
        except (ReasonerError, ConfigurationError) as error:
            again = isinstance(error, Retryable | ConfigurationError)  # settings are mended
            kind, took = Kind.UNAVAILABLE if again else Kind.INVALID, spent_by(error, given)
            in_all = took if given is not None else together(before, took)
            failure = with_spent(error, in_all)
            took = took if kind is Kind.UNAVAILABLE else in_all
        else:
            return answer
        held.entry = failed(intent, kind, str(failure), format_time(self._clock()), spent=took)
        held.unwritten = print_entry(held.entry)
        return failure

    def _read_back(
        self, intent: Entry, given: Proposal | ToolCall | None
    ) -> tuple[Entry, bytes, Proposal | ToolCall | None]:
        """An answer as it is journalled and used; what could not be used after a crash is refused now."""
        sure: Proposal | ToolCall | None = None
        if isinstance(given, ToolCall):
            sure = raw(given)
        elif given is not None:
            sure = checked(self._agent, given)
        try:
            entry = answered(intent, sure, format_time(self._clock()))
            value = print_entry(entry)
        except (CanonicalError, StreamError) as error:
            raise ProposalInvalid(f"got a proposal that cannot be journalled: {error}") from error
        return entry, value, answer_of(entry, self._agent)

    async def _write_answer(self, key: CallKey, held: Held) -> None:
        value = held.unwritten
        if value is None:
            return
        writing = asyncio.ensure_future(self._writer.write(self._partition, key.encode(), value))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            try:
                await asyncio.wait([writing], timeout=LAST_WRITE_S)
            finally:
                written = writing.done() and not writing.cancelled() and writing.exception() is None
                writing.cancel()
                log.info("cancelled with an answer at hand call=%s written=%s", held.entry.call_id, written)
                if written:
                    held.unwritten = None
            raise
        held.unwritten = None

    async def _again(self, key: CallKey, held: Held, intent: Entry) -> Entry:
        """A finished call that is used again."""
        await self._write_answer(key, held)  # an attempt before this one may have failed at that
        self._meters.reused_call()
        entry = held.entry
        if entry.request != intent.request:
            log.info(
                "reusing the answer to call=%s for call=%s, though what is asked differs by now asked=%s asks=%s",
                entry.call_id,
                intent.call_id,
                entry.request,
                intent.request,
            )
        if entry.kind is Kind.REJECTED:
            raise InputRejected(entry.message or "", call_id=entry.call_id)
        if entry.kind is Kind.INVALID:
            spent = entry.spent.spent if entry.spent is not None else NOTHING
            raise ProposalInvalid(entry.message or "", call_id=entry.call_id, spent=spent)
        return entry

    def _restore_one(self, record: KafkaRecord) -> None:
        try:
            if (record.key or b"").startswith(PREFIX):
                self._spending.restore(record.key or b"", record.value)
                return
            key = parse_key(record.key or b"")
            entry = None if record.value is None else parse_entry(record.value)
        except StreamError as error:
            raise StreamError(
                f"the journal {record.topic}, partition {record.partition}, offset {record.offset} holds a record that"
                f" this release cannot read ({error}); it was written by another release or by somebody else",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            ) from error
        place = key.topic, key.offset
        calls = self._inputs.setdefault(place, {})
        calls.pop(key, None)  # so that the order is that of the last records
        if entry is not None:
            calls[key] = Held(entry, made=True)
        elif not calls:
            del self._inputs[place]
