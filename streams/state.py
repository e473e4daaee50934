"""What one partition remembers: documents, timers, parked inputs, ids that it has seen, use of budgets, audit chains.

Rules upheld here: the changelog is the truth and everything else a copy; it is written in the transaction that commits
what changed it, so memory never runs ahead of Kafka for longer than a batch; a partition that is opened anew reads it
back. Entries are canonical JSON, None deletes; `docs/spec/changelog.md` has them in full. Keys:

===========================  ==========================================================
`state/<topic>/<key>`        the agent's state document of this event key
`timer/<topic>/<key>`        the timers of this event key
`memory/<topic>/<key>`       what the agent remembers of this event key
`approval/<topic>/<id>`      a decision that waits for people
`parked/<topic>/<offset>`    an input that is to be tried again, and how often it failed
`seen/<topic>/<batch>`       ids of events that were decided, to know a repeat
`usage/<budget>/<t>/<o>`     what the action about the input at topic t, offset o took of a budget
`chain/<topic>`              offsets, their map and the chain head after the last commit
===========================  ==========================================================

The topic is the one that the agent listens to, with its namespace; of `parked` and `chain` the one the input is on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from jurat.agents.memory import Memory
from jurat.audit.chain import ChainHead
from jurat.schemas import canonical
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import StreamError
from jurat.schemas.model import Count, Model
from jurat.streams.duplicates import SeenWindow
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.keyed_state import KeyedState
from jurat.streams.offsets import OffsetMap
from jurat.streams.parking import Parked, Parking
from jurat.streams.reading import read_to_end
from jurat.streams.timers import Due, Timers
from jurat.streams.usage import PartitionUsage
from jurat.streams.waiting import WaitingDecisions

log = logging.getLogger(__name__)

Entry = tuple[str, bytes | None]
"""A key and a value of the changelog."""

STATE: Final = "state/"
TIMER: Final = "timer/"
MEMORY: Final = "memory/"
PARKED: Final = "parked/"
SEEN: Final = "seen/"
CHAIN: Final = "chain/"
USAGE: Final = "usage/"


class _ChainEntry(Model):
    next_offset: Count
    next_seq: Count
    prev: str
    done: str = ""


@dataclass(slots=True)
class Source:
    """One partition that is read: its offsets and the chain of the records about it.

    Attributes:
        head: where the next audit record goes, as of the last commit.
    """

    partition: TopicPartition
    offsets: OffsetMap = field(default_factory=OffsetMap)
    head: ChainHead = field(default_factory=ChainHead)

    def entry(self, head: ChainHead) -> Entry:
        """The changelog's entry of this chain head and the offsets as they are now."""
        entry = _ChainEntry(
            next_offset=self.offsets.low,
            next_seq=head.next_seq,
            prev=head.prev,
            done=self.offsets.encode(),
        )
        return f"{CHAIN}{self.partition.topic}", canonical.dumps(entry.model_dump())


class PartitionState:
    """What the partition with this number of an agent remembers.

    Args:
        model: of the agent's state documents, None for a stateless agent.
        input_topic: full name of the topic that the agent listens to.
        timer_topic: full name of the topic of its fired timers.
        partition: the number, the same for both.
    """

    def __init__(
        self, model: type[Model] | None, *, input_topic: str, timer_topic: str, partition: int
    ) -> None:
        self.input_topic = input_topic
        self.partition = partition
        self.sources = {
            topic: Source(TopicPartition(topic, partition)) for topic in (input_topic, timer_topic)
        }
        self.documents = KeyedState(model)
        self.memories = KeyedState(Memory)
        self.timers = Timers()
        self.waiting = WaitingDecisions()
        self.parking = Parking(partition=partition)
        self.seen = SeenWindow()
        self.usage = PartitionUsage(partition=partition)
        self._collected: dict[str, Parked] = {}

    async def restore(
        self,
        connection: Connection,
        changelog: TopicPartition,
        *,
        now: datetime,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Read the changelog to its end.

        Args:
            connection: the cluster.
            changelog: the partition to read.
            now: parked inputs whose moment is over are due then.
            progress: told how many of how many offsets are read.

        Returns:
            How many entries it had.

        Raises:
            StreamError: an entry is not ours; deciding on would be guessing.
        """
        entries = 0
        async with aclosing(read_to_end(connection, [changelog], progress=progress)) as records:
            async for record in records:
                self._restore_one(record)
                entries += 1
        self.parking.restored(self._collected, now=now)
        self._collected.clear()
        return entries

    def ended(self, where: InputRef) -> bool:
        """Whether an input has its terminal record; one that is parked has none yet."""
        source = self.sources.get(where.topic)
        done = source is not None and source.offsets.is_done(where.offset)
        return done and (where.topic, where.offset) not in self.parking

    def take_due(self, now: datetime) -> list[Due]:
        """Take out the timers that are due, and the time-outs of what waits for people."""
        return [*self.timers.take_due(now), *self.waiting.take_due(now)]

    @property
    def next_due(self) -> datetime | None:
        """When the earliest of them is due."""
        return min(filter(None, (self.timers.next_due, self.waiting.next_due)), default=None)

    def close(self) -> None:
        """Give back what documents and memories take outside of memory."""
        self.documents.close()
        self.memories.close()

    def _restore_one(self, record: KafkaRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        kind, _, rest = key.partition("/")
        try:
            if kind == "chain" and rest in self.sources:
                self._restore_chain(rest, record.value)
            elif kind == "parked" and rest.rpartition("/")[0] in self.sources:
                self.parking.restore(rest, record.value, self._collected)
            elif kind == "usage":
                self.usage.restore(rest, record.value)
            elif rest.startswith(f"{self.input_topic}/"):
                name = rest.removeprefix(f"{self.input_topic}/")
                if kind == "state":
                    self.documents.restore(name, record.value)
                elif kind == "memory":
                    self.memories.restore(name, record.value)
                elif kind == "timer":
                    self.timers.restore(name, record.value)
                elif kind == "approval":
                    self.waiting.restore(name, record.value)
                elif kind == "seen":
                    self.seen.restore(name, record.value)
        except (StreamError, ValidationError, ValueError) as error:
            raise StreamError(
                f"the changelog {record.topic}, partition {record.partition}, offset {record.offset} holds an entry"
                " that this release cannot read; it was written by another release or by somebody else",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            ) from error

    def _restore_chain(self, topic: str, value: bytes | None) -> None:
        source = self.sources[topic]
        if value is None:
            source.offsets, source.head = OffsetMap(), ChainHead()
            return
        entry = _ChainEntry.model_validate_json(value)
        source.offsets = OffsetMap.decode(entry.next_offset, entry.done)
        source.head = ChainHead(entry.next_seq, entry.prev)
