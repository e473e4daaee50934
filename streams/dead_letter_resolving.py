"""Resolving dead letters: sending an input back to its topic, or noting that a person has dealt with it.

The protocol (the numbers come back in the code):

1. **Fence.** A producer with the transactional id `<agent>-dead-letters` starts: an operator who is at work on the same
   agent can commit nothing from now on, and what they left open is aborted.
2. **Read** letters and resolutions to the high watermark. Only we can add resolutions now, so what we read is all.
3. **Refuse** what cannot be: no such letter, resolved already, cut short, an origin that is not this agent's. Letters
   that were named are refused before anything is sent; of `all`, those are left out.
4. **Resolve** in batches. One transaction holds the originals, sent back to the partitions that they came from, and a
   resolution for each, which names where it stands now. A crash before the commit leaves everything as it was.

The recorded partition is used, and not a partitioner's: the publisher's own partitioner had put the input there (Kafka
clients differ in theirs), so only there does it stand with the other events of its key. Letters of one partition are
sent in their order. Of course they come after whatever of their key was published since.

The value, key and headers are the original ones, the CloudEvents id included; the worker does not take the replay for a
duplicate, as it remembers no input that ended rejected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from jurat.schemas.cloudevents import format_time
from jurat.schemas.errors import ConfigurationError, PartitionFenced, RecordTooLarge, StreamError
from jurat.schemas.shown import printable
from jurat.streams import dead_letters as names
from jurat.streams import topics
from jurat.streams.dead_letter_box import (
    Coordinates,
    How,
    Letter,
    Place,
    Resolution,
    Survey,
    Wanted,
    letters_at,
    no_letter,
    survey,
)
from jurat.streams.kafka import (
    AIOKafkaProducer,
    Connection,
    KafkaRecord,
    in_our_words,
    stop_quietly,
    transactional_producer,
)
from jurat.streams.reading import partitions_of

MAX_BATCH_LETTERS: Final = 100
MAX_BATCH_BYTES: Final = 512 * 1024
"""One transaction: short, as it holds up every reader of the topics that it writes to. The client may send all of it as
one batch, too, which must stay below Kafka's default limit of 1 MB; a larger letter goes alone."""

MAX_BY_CHARS: Final = 200
_REFUSED: Final = "these letters cannot be resolved, and nothing was done for the others:"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A letter that still waits, and why."""

    letter: Place
    reason: str


F = TypeVar("F", bound="asyncio.Future[Any]")

Outcome = Resolution | LeftOut
Item = tuple[Letter, KafkaRecord | None]
"""A letter and, to be replayed, its record."""


class _LetterTooLarge(RecordTooLarge):
    def __init__(self, message: str, place: Place, *, alone: bool) -> None:
        super().__init__(message)
        self.place = place
        self.alone = alone


class Resolver:
    """One operator at work on the dead letters of one agent.

    Args:
        connection: the cluster and namespace.
        agent: whose letters.
        inputs: full names of the topics that the agent reads; nothing is sent elsewhere.
        by: who the operator is, in their own words.
        clock: the present moment.

    Attributes:
        not_held: letters that were too many for one time.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        agent: str,
        inputs: Collection[str],
        by: str,
        clock: Callable[[], datetime],
    ) -> None:
        if not 0 < len(by) <= MAX_BY_CHARS:
            raise ConfigurationError(
                f"got an operator's name of {len(by)} characters, expected 1 to {MAX_BY_CHARS}"
            )
        self._connection = connection
        self._agent = agent
        self._topic = connection.topic(topics.dead_letters(agent).name)
        self._inputs = frozenset(inputs)
        self._by = by
        self._clock = clock
        self.not_held = 0

    async def resolve(self, how: How, wanted: Wanted) -> AsyncGenerator[Outcome, None]:
        """Resolve the letters that are wanted; yields what is committed as it goes.

        Raises:
            ConfigurationError: a letter that was named cannot be resolved; nothing was done.
            PartitionFenced: another operator started; what was yielded is done, they go on.
            StreamError: Kafka refused; what was yielded is done.
        """
        reported: set[Place] = set()
        at_once = MAX_BATCH_LETTERS
        while True:
            try:
                async with aclosing(self._round(how, wanted, reported, at_once)) as outcomes:
                    async for one in outcomes:
                        reported.add(one.letter)
                        yield one
            except _LetterTooLarge as error:
                # The client's sequence numbers are off after a refusal: begin anew, and read anew what is resolved.
                if error.alone:
                    reported.add(error.place)
                    yield LeftOut(error.place, f"{error.place} cannot be replayed: {error}")
                at_once = 1  # the client sends several as one, and which of them it was shows by itself
            else:
                return

    async def _round(
        self, how: How, wanted: Wanted, reported: Collection[Place], at_once: int
    ) -> AsyncGenerator[Outcome, None]:
        producer = transactional_producer(self._connection, transactional_id=f"{self._agent}-dead-letters")
        try:
            with in_our_words(self._connection):
                await producer.start()  # 1
            if wanted.places is not None:
                wanted = replace(wanted, places=wanted.places - frozenset(reported))
            found = await survey(self._connection, self._agent, wanted=wanted)  # 2
            self.not_held = found.not_held
            items, left_out = await self._resolvable(how, wanted, found)  # 3
            for one in left_out:
                if one.letter not in reported:
                    yield one
            waiting = {place: letter for place, letter in items.items() if place not in reported}
            async with aclosing(self._batches(how, dict(waiting), at_once)) as batches:
                async for batch in batches:
                    for done in await self._transaction(producer, how, batch):  # 4
                        yield done
                        del waiting[done.letter]
            for place in waiting:
                yield LeftOut(place, f"{place} is not on the topic any more")
        except PartitionFenced as error:
            raise PartitionFenced(
                f"another operator began to resolve letters of {self._agent}, and goes on; what is not reported here"
                f" was not done here. `jurat dead-letters list {self._agent}` shows what is left"
            ) from error
        except AssertionError as error:
            # The client asserts its own states: after a fatal error it can neither abort nor begin.
            raise StreamError(
                f"the client gave up its transaction; `jurat dead-letters list {self._agent}` shows what is left"
            ) from error
        finally:
            await stop_quietly(producer)

    async def _resolvable(
        self, how: How, wanted: Wanted, found: Survey
    ) -> tuple[dict[Place, Letter], list[LeftOut]]:
        refused = [
            LeftOut(place, no_letter(self._agent, place))
            for place in sorted(wanted.places or ())
            if place not in found.letters
        ]
        origins = {letter.origin.topic for letter in found.letters.values()} & self._inputs
        partitions: set[tuple[str, int]] = set()
        if how is How.REPLAYED and origins:
            there = await partitions_of(self._connection, sorted(origins))
            partitions = {(each.topic, each.partition) for each in there}
        items: dict[Place, Letter] = {}
        for place, letter in found.letters.items():
            why = self._refusal(how, letter, partitions)
            if why is None:
                items[place] = letter
            else:
                refused.append(LeftOut(place, why))
        if wanted.places is not None and refused:
            raise ConfigurationError("\n".join([_REFUSED, *(f"  {one.reason}" for one in refused)]))
        return items, refused

    def _refusal(self, how: How, letter: Letter, partitions: Collection[tuple[str, int]]) -> str | None:
        place, origin = letter.place, letter.origin
        if letter.resolution is not None:
            return f"{place} was {printable(str(letter.resolution))}"
        if how is How.DROPPED:
            return None
        if letter.truncated is not None:
            return (
                f"{place} cannot be replayed: only the first {letter.size} of its {letter.truncated} bytes are kept."
                " Publish the event again from where it came from, and drop the letter"
            )
        if origin.topic not in self._inputs:
            return (
                f"{place} cannot be replayed: it says that it came from {printable(origin.topic[:200])}, and"
                f" {self._agent} reads {', '.join(sorted(self._inputs)) or 'nothing that may be replayed to'}"
            )
        if (origin.topic, origin.partition) not in partitions:
            return f"{place} cannot be replayed: {origin.topic} has no partition {origin.partition} any more"
        return None

    async def _batches(
        self, how: How, items: dict[Place, Letter], at_once: int
    ) -> AsyncGenerator[list[Item], None]:
        batch: list[Item] = []
        if how is How.DROPPED:
            letters = list(items.values())
            for start in range(0, len(letters), at_once):
                yield [(letter, None) for letter in letters[start : start + at_once]]
            return
        in_bytes = 0
        async with aclosing(letters_at(self._connection, self._agent, list(items))) as records:
            async for record in records:
                letter = items[Place(record.partition, record.offset)]
                if len(batch) >= at_once or in_bytes + letter.size > MAX_BATCH_BYTES:
                    if batch:
                        yield batch
                    batch, in_bytes = [], 0
                batch.append((letter, record))
                in_bytes += letter.size
        if batch:
            yield batch

    async def _transaction(
        self, producer: AIOKafkaProducer, how: How, batch: Sequence[Item]
    ) -> list[Resolution]:
        with in_our_words(self._connection):
            await producer.begin_transaction()
        try:
            with in_our_words(self._connection):
                done = await self._write(producer, how, batch)
        except PartitionFenced:
            raise
        except (
            BaseException
        ):  # cancelled too: an open transaction would hold up every reader until its time-out
            with in_our_words(self._connection):
                await producer.abort_transaction()
            raise
        try:
            with in_our_words(self._connection):
                await producer.commit_transaction()
        except PartitionFenced:
            raise
        except StreamError as error:
            raise StreamError(
                f"it is not known whether {done[0].letter} and {len(done) - 1} more were {how.value}: {error}."
                f" `jurat dead-letters list {self._agent}` shows it"
            ) from error
        return done

    async def _write(self, producer: AIOKafkaProducer, how: How, batch: Sequence[Item]) -> list[Resolution]:
        sent = [
            (letter, await _send_back(producer, letter, record))
            for letter, record in batch
            if record is not None
        ]
        now_at = {
            letter.place: await self._acknowledged(letter, future, len(sent)) for letter, future in sent
        }
        done = [
            Resolution(
                letter=letter.place,
                how=how,
                by=self._by,
                at=self._clock(),
                now_at=now_at.get(letter.place),
            )
            for letter, _ in batch
        ]
        noted = [await _note(producer, self._topic, one) for one in done]
        await asyncio.gather(*noted)
        return done

    async def _acknowledged(
        self, letter: Letter, sent: asyncio.Future[Coordinates], together: int
    ) -> Coordinates:
        try:
            with in_our_words(self._connection, topic=letter.origin.topic):
                return await sent
        except RecordTooLarge as error:
            raise _LetterTooLarge(str(error), letter.place, alone=together == 1) from error


async def _send_back(
    producer: AIOKafkaProducer, letter: Letter, record: KafkaRecord
) -> asyncio.Future[Coordinates]:
    origin = letter.origin
    sent = await producer.send(
        origin.topic,
        record.value,
        key=record.key,
        partition=origin.partition,
        headers=names.original_headers(record),
    )

    async def acknowledged() -> Coordinates:
        there = await sent
        return Coordinates(there.topic, there.partition, there.offset)

    return _looked_at(asyncio.create_task(acknowledged()))


async def _note(producer: AIOKafkaProducer, topic: str, one: Resolution) -> asyncio.Future[object]:
    headers = resolution_headers(one)
    return _looked_at(await producer.send(topic, b"", partition=one.letter.partition, headers=headers))


def _looked_at(sent: F) -> F:
    # When an earlier one fails, nobody awaits this one any more.
    sent.add_done_callback(lambda future: future.cancelled() or future.exception())
    return sent


def resolution_headers(one: Resolution) -> list[tuple[str, bytes]]:
    """A resolution as it is written; the record has no key and an empty value."""
    said = {
        names.RESOLVED: one.how.value,
        names.LETTER: str(one.letter),
        names.BY: one.by,
        names.AT: format_time(one.at),
    }
    if one.now_at is not None:
        said[names.TOPIC] = one.now_at.topic
        said[names.PARTITION] = str(one.now_at.partition)
        said[names.OFFSET] = str(one.now_at.offset)
    return [(name, text.encode()) for name, text in said.items()]
