"""The dead letters of one agent as a person sees them: which there are, what became of each, and one in full.

A topic only grows, so what became of a letter is a later record on the letter's own partition, its *resolution*:
replayed or dropped, by whom, when. Letters without one are waiting.

Rules upheld here:

- Reading goes to the high watermark of each partition, not to the last stable offset: a resolution may stand behind a
  worker's open transaction, and must not be overlooked. It waits for that transaction to end.
- Memory is bounded: a survey keeps a summary of at most `MAX_HELD` letters, the oldest, and no values.
- Whoever may write to the topic may write anything: what is neither letter nor resolution is counted and left out.

Not here: replaying and dropping (`dead_letter_resolving.py`), printing (`cli/dead_letters.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from jurat.schemas.errors import BrokerUnreachable, ConfigurationError
from jurat.schemas.moments import parse_moment
from jurat.streams import dead_letters as names
from jurat.streams import topics
from jurat.streams.kafka import (
    Connection,
    KafkaRecord,
    TopicPartition,
    in_our_words,
    record_of,
    stop_quietly,
)
from jurat.streams.reading import (
    MAX_POLL_RECORDS,
    POLL_MS,
    STALL_S,
    partitions_of,
    positions_reached,
    start_reader,
)

MAX_HELD: Final = 50_000
"""Letters in one survey, at about 1 KB each; the oldest come first, and resolving them makes room for the others."""

MAX_REASON_HELD: Final = 500
"""Characters of a reason in a survey: what a list shows is shorter, and `show` reads the letter itself."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Place(NamedTuple):
    """Where a letter stands on the dead-letter topic; written `partition/offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read `partition/offset`.

        Raises:
            ValueError: it is something else.
        """
        partition, slash, offset = text.partition("/")
        if not slash:
            raise ValueError(
                f"got {text!r}, expected the address of a letter: partition/offset, such as 2/17"
            )
        try:
            return cls(_number(partition), _number(offset))
        except ValueError as error:
            raise ValueError(
                f"got {text!r}, expected the address of a letter: partition/offset, such as 2/17"
            ) from error


class Coordinates(NamedTuple):
    """Where an input stands: full topic name, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic} {self.partition}/{self.offset}"


class How(StrEnum):
    """What became of a letter."""

    REPLAYED = "replayed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of a letter.

    Attributes:
        letter: which one.
        how: sent back, or dealt with by a person.
        by: who said so, in their own words: a claim.
        at: when, by their clock.
        now_at: where the input stands now, if it was sent back.
    """

    letter: Place
    how: How
    by: str
    at: datetime
    now_at: Coordinates | None = None

    def __str__(self) -> str:
        where = f" as {self.now_at}" if self.now_at else ""
        return f"{self.how.value} by {self.by} at {self.at:%Y-%m-%dT%H:%M:%SZ}{where}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter without its contents.

    Attributes:
        place: its address.
        written_ms: when it was written, by Kafka's timestamp.
        origin: the input.
        error: class of the error.
        reason: the beginning of the reason.
        size: bytes of the original that are here: key, value and headers.
        truncated: bytes of the whole original, where only the beginning is here.
        resolution: what became of it; None while it waits.
    """

    place: Place
    written_ms: int
    origin: Coordinates
    error: str
    reason: str
    size: int
    truncated: int | None
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters a survey is about.

    Attributes:
        places: only these, whatever became of them; None for all.
        error: only those of this error class.
        also_resolved: also those that wait no longer.
    """

    places: frozenset[Place] | None = None
    error: str | None = None
    also_resolved: bool = False

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        if self.places is not None:
            return letter.place in self.places
        return self.error in (None, letter.error)


@dataclass(slots=True)
class Survey:
    """What stands on a dead-letter topic.

    Attributes:
        letters: by address, the oldest of a partition first.
        not_held: letters beyond `MAX_HELD`.
        foreign: records that are neither letters nor resolutions.
        first_foreign: the first of them.
    """

    letters: dict[Place, Letter] = field(default_factory=dict)
    not_held: int = 0
    foreign: int = 0
    first_foreign: Place | None = None

    def add(self, record: KafkaRecord, wanted: Wanted) -> None:
        """Take a record of the topic."""
        found = parse(record)
        if found is None:
            self.foreign += 1
            self.first_foreign = self.first_foreign or Place(record.partition, record.offset)
        elif isinstance(found, Letter):
            if not wanted.takes(found):
                return
            if len(self.letters) >= MAX_HELD:
                self.not_held += 1
            else:
                self.letters[found.place] = found
        elif found.letter in self.letters and self.letters[found.letter].resolution is None:
            if wanted.also_resolved or wanted.places is not None:
                self.letters[found.letter] = replace(self.letters[found.letter], resolution=found)
            else:
                del self.letters[found.letter]


def parse(record: KafkaRecord) -> Letter | Resolution | None:
    """Read a record of a dead-letter topic; None where it is neither a letter nor a resolution."""
    said = {name: value.decode(errors="replace") for name, value in record.headers if name in names.OURS}
    place = Place(record.partition, record.offset)
    try:
        # A letter has an error, a resolution has none: whatever else an original brought, it stays a letter.
        if names.ERROR in said:
            whole = said.get(names.TRUNCATED)
            return Letter(
                place=place,
                written_ms=record.timestamp_ms,
                origin=_coordinates(said),
                error=said[names.ERROR],
                reason=said[names.REASON][:MAX_REASON_HELD],
                size=_size(record),
                truncated=None if whole is None else _number(whole),
            )
        how = How(said[names.RESOLVED])
        letter = Place.parse(said[names.LETTER])
        if letter.partition != place.partition or letter.offset >= place.offset:
            return None
        return Resolution(
            letter=letter,
            how=how,
            by=said[names.BY],
            at=parse_moment(said[names.AT]),
            now_at=_coordinates(said) if how is How.REPLAYED else None,
        )
    except (KeyError, ValueError):
        return None


async def survey(connection: Connection, agent: str, *, wanted: Wanted) -> Survey:
    """Read an agent's dead-letter topic to its present end.

    Raises:
        TopicMissing: there is no such topic; the agent never ran here.
    """
    topic = connection.topic(topics.dead_letters(agent).name)
    found = Survey()
    starts = dict.fromkeys(await partitions_of(connection, [topic]), 0)
    async with aclosing(read_from(connection, starts)) as records:
        async for record in records:
            found.add(record, wanted)
    found.letters = dict(sorted(found.letters.items()))
    return found


async def letters_at(
    connection: Connection, agent: str, places: Collection[Place]
) -> AsyncGenerator[KafkaRecord, None]:
    """The records at these addresses, those of one partition in their order; what is gone is left out."""
    topic = connection.topic(topics.dead_letters(agent).name)
    wanted = frozenset(places)
    starts: dict[TopicPartition, int] = {}
    ends: dict[TopicPartition, int] = {}
    for place in sorted(wanted):
        partition = TopicPartition(topic, place.partition)
        starts.setdefault(partition, place.offset)
        ends[partition] = place.offset + 1
    async with aclosing(read_from(connection, starts, ends)) as records:
        async for record in records:
            if Place(record.partition, record.offset) in wanted:
                yield record


async def one_letter(connection: Connection, agent: str, place: Place) -> tuple[Letter, KafkaRecord]:
    """A letter, what became of it, and its record.

    Raises:
        ConfigurationError: there is no letter at that address.
    """
    found = await survey(connection, agent, wanted=Wanted(places=frozenset((place,))))
    if place in found.letters:
        async with aclosing(letters_at(connection, agent, [place])) as records:
            async for record in records:
                return found.letters[place], record
    raise ConfigurationError(no_letter(agent, place))


def no_letter(agent: str, place: Place) -> str:
    """What to say about an address at which no letter stands."""
    return f"there is no letter of {agent} at {place}; `jurat dead-letters list {agent}` shows the addresses"


async def read_from(
    connection: Connection,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int] | None = None,
) -> AsyncGenerator[KafkaRecord, None]:
    """Yield the records from these offsets on.

    Args:
        connection: the cluster.
        starts: where to begin in each partition; where less is kept, with what is.
        ends: where to stop; by default at the high watermarks that the partitions have now.
    """
    if not starts:
        return
    consumer = await start_reader(connection, list(starts))
    try:
        with in_our_words(connection):
            begins = await consumer.beginning_offsets(list(starts))
            for partition, start in starts.items():
                consumer.seek(partition, max(start, begins[partition]))
            stops = {} if ends is None else dict(ends)
            clock = asyncio.get_running_loop().time
            progress, reached = clock(), -1
            while len(stops) < len(starts) or not await positions_reached(consumer, stops):
                taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
                for partition in starts:
                    high = consumer.highwater(partition)  # None before the first answer
                    if high is not None:
                        stops.setdefault(partition, high)
                total = sum([await consumer.position(partition) for partition in starts])
                if total != reached:
                    reached, progress = total, clock()
                elif clock() - progress > STALL_S:
                    raise BrokerUnreachable(
                        f"got nothing more of {', '.join(sorted({p.topic for p in starts}))} for {STALL_S:.0f} s,"
                        " though it does not end here; a partition may be without a leader, or a transaction open",
                        bootstrap_servers=connection.bootstrap_servers,
                    )
                for partition, records in taken.items():
                    for record in records:
                        if record.offset < stops[partition]:
                            yield record_of(record)
    finally:
        await stop_quietly(consumer)


def _coordinates(said: Mapping[str, str]) -> Coordinates:
    return Coordinates(said[names.TOPIC], _number(said[names.PARTITION]), _number(said[names.OFFSET]))


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("expected a number in decimal")
    return int(text)


def _size(record: KafkaRecord) -> int:
    return replace(record, headers=tuple(names.original_headers(record))).size
