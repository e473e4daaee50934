"""The verifier at work, in this process or with others beside it.

Rules upheld here: what one record alone can tell is found out anywhere, what needs the records before it here, in the
order of the log; so the report is the same, however many processes there are. What is on its way is bounded. What a
process refuses is looked at here again, in the bytes that were read here: processes read files by themselves, and one
that is replaced meanwhile is no fault of the log.

Not here: the checks (`jurat.audit.verifier`), what the processes do (`audit_examining.py`).
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from jurat.audit.keys import Trust
from jurat.audit.log import Fault
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_record import Examined, Facts, Rejudge
from jurat.cli.audit_examining import (
    Answer,
    Raw,
    RawLine,
    RawRecord,
    Sent,
    Stretch,
    begin,
    examine,
    read_entry,
    schema_ids,
)
from jurat.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from jurat.schemas.codec import SchemaIds

PIECE: Final = 512
"""Records that are sent at once: some 60 ms of work and two megabytes; with fewer, sending takes longer."""

AHEAD: Final = 3
"""Pieces on their way for each process: one at work, one waiting, one whose answer waits."""

MAX_JOBS: Final = 64

TELL_BYTES: Final = 1_000_000
"""A progress bar is told after so many bytes, some 300 records: being told takes it some microseconds."""

_PARTITION: Final = b'"partition":'
"""Before the number of the partition in a line; no text of a line holds it, as quotes in texts are escaped."""


async def verify_all(
    raws: AsyncGenerator[Raw, None],
    verifier: Verifier,
    *,
    jobs: int,
    trust: Trust,
    rejudge: Rejudge | None,
    from_topic: bool,
    told: Callable[[int], None],
) -> None:
    """Give a log to a verifier.

    Args:
        raws: the log.
        verifier: of the same trust and policies.
        jobs: how many processes look at records; with one, it is this one.
        trust: the trusted keys.
        rejudge: evaluates policies again.
        from_topic: whether the log is read from its topic, with its registry of schemas.
        told: is told the bytes of everything that was checked.

    Raises:
        ConfigurationError: a process died.
    """
    ids = schema_ids(from_topic=from_topic)
    if jobs == 1:
        async with aclosing(raws):
            taken = 0
            async for raw in raws:
                _take_here(raw, verifier, ids)
                taken += _size(raw)
                if taken >= TELL_BYTES:
                    told(taken)
                    taken = 0
        return
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=partial(begin, trust, rejudge, from_topic=from_topic),
    ) as pool:
        shared = Shared(pool, verifier, ids, most=jobs * AHEAD, told=told)
        try:
            async with aclosing(raws):
                async for raw in raws:
                    await shared.add(raw)
            await shared.finish()
        except BrokenProcessPool as error:
            raise ConfigurationError(
                f"a process that verified ended by itself ({error}); is there enough memory for {jobs} of them?"
            ) from error


class Pool(Protocol):
    """Processes that work."""

    def submit(
        self, work: Callable[[Sent | Stretch], list[Answer]], sent: Sent | Stretch, /
    ) -> Future[list[Answer]]:
        """Have this done."""
        ...


class Shared:
    """Sends pieces of the log to other processes, and takes their answers in order.

    Args:
        pool: the processes; each had its `begin`.
        verifier: is given what they answer.
        ids: the registry of schemas.
        most: pieces on their way.
        piece: records that are sent at once.
        told: is told the bytes of everything that was checked.
    """

    def __init__(
        self,
        pool: Pool,
        verifier: Verifier,
        ids: SchemaIds | None,
        *,
        most: int,
        piece: int = PIECE,
        told: Callable[[int], None],
    ) -> None:
        self._pool = pool
        self._verifier = verifier
        self._ids = ids
        self._most = most
        self._size = piece
        self._told = told
        self._piece: Sent = []
        self._on_way: deque[tuple[Sent, Future[list[Answer]]]] = deque()
        self._ahead: Counter[int] = Counter()

    async def add(self, raw: Raw) -> None:
        """The next of the log."""
        at = None
        if self._verifier.is_witnessed:
            partition = _partition(raw)
            at = self._verifier.witnessed_at(partition, ahead=self._ahead[partition])
            self._ahead[partition] += 1
        self._piece.append((raw, at))
        if len(self._piece) >= self._size:
            self._send()
            if len(self._on_way) > self._most:
                await self._take()

    async def finish(self) -> None:
        """Take what is on its way."""
        self._send()
        while self._on_way:
            await self._take()

    def _send(self) -> None:
        if self._piece:
            first = self._piece[0][0]
            sent: Sent | Stretch = self._piece
            if isinstance(first, RawLine) and first.within is not None:
                sent = Stretch(*first.within, first.number, [(_size(raw), at) for raw, at in self._piece])
            self._on_way.append((self._piece, self._pool.submit(examine, sent)))
            self._piece = []

    async def _take(self) -> None:
        sent, future = self._on_way.popleft()
        answers: list[Answer] = await asyncio.wrap_future(future)
        for (raw, _at), answer in zip(sent, answers, strict=True):
            if self._verifier.is_witnessed:
                self._ahead[_partition(raw)] -= 1
            examined = _examined(answer)
            if examined is not None and examined.witnessed_at == self._verifier.witnessed_at(
                examined.partition
            ):
                self._verifier.take(examined)
            else:  # it is refused; or something before it was no record, so that it stands elsewhere in the tree
                _take_here(raw, self._verifier, self._ids)
        self._told(sum(_size(raw) for raw, _at in sent))


def _examined(answer: Answer) -> Examined | None:
    """What a process found, as the verifier takes it; None for what it refuses."""
    if isinstance(answer, Fault):
        return None
    *where, facts, refused = answer
    return None if facts is None else Examined._make((*where, Facts._make(facts), refused))


def _take_here(raw: Raw, verifier: Verifier, ids: SchemaIds | None) -> None:
    entry = read_entry(raw, ids)
    if isinstance(entry, Fault):
        verifier.fault(entry.place, entry.reason)
    else:
        verifier.add(entry)


def _partition(raw: Raw) -> int:
    """The partition as far as it can be seen at once; whoever reads the record finds out whether it is right."""
    if isinstance(raw, RawRecord):
        return raw.partition
    begin = raw.data.find(_PARTITION) + len(_PARTITION)
    digits = raw.data[begin : begin + 10].split(b",", 1)[0]
    return int(digits) if digits.isdigit() else -1


def _size(raw: Raw) -> int:
    return len((raw.value or b"") if isinstance(raw, RawRecord) else raw.data)
