"""What becomes of an input in work: it ends, or it is parked with everything of its key behind it.

Rules upheld here: whatever an input raises that may pass, its key alone waits; one that was tried often enough, or that
is too large to wait as state, ends rejected. Not here: who is taken into work when (`partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from jurat.audit.record import Outcome
from jurat.schemas.errors import RecordTooLarge, ReopenPartition, Retryable
from jurat.streams.batching import Ended
from jurat.streams.intake import Lanes, Work
from jurat.streams.kafka import KafkaRecord
from jurat.streams.opening import Opened, Shared
from jurat.streams.parking import MAX_ENTRY_BYTES, MAX_HEADERS, MAX_RECORD_BYTES, Parked, fits
from jurat.streams.state import PARKED
from jurat.streams.turns import InTurns
from jurat.streams.verdicted import Verdicted

log = logging.getLogger(__name__)


class Workbench:
    """Decides the inputs of one open partition, one call each.

    Attributes:
        in_work: what is being decided now.
    """

    def __init__(self, opened: Opened, shared: Shared, lanes: Lanes) -> None:
        self._opened = opened
        self._shared = shared
        self._lanes = lanes
        self._calls = InTurns(opened.journal, shared.turns)
        self.in_work: dict[int, Work] = {}

    async def decide(self, work: Work) -> Ended:
        """Decide an input; its key is free afterwards.

        Raises:
            ReopenPartition: open the partition anew.
            JuratError: a fault that is not the input's and does not pass.
        """
        shared = self._shared
        loop = asyncio.get_running_loop()
        work.since = loop.time()
        self.in_work[id(work)] = work
        try:
            verdicted = await shared.decider.decide(
                work.record, self._opened.state, calls=self._calls, attempt=work.attempt
            )
        except ReopenPartition:
            raise
        except Retryable as error:
            ended = self._failed(work, error)
        else:
            shared.meters.finished(verdicted.outcome.value, loop.time() - work.since)
            ended = self._finished(work, verdicted)
        finally:
            del self.in_work[id(work)]
        self._lanes.release(work.lane)
        return ended

    def park_behind(self, record: KafkaRecord) -> Ended:
        """An input whose key is parked waits behind it."""
        if not fits(record):
            return self._too_large(record)
        return _parked([self._opened.state.parking.park(record)])

    def _finished(self, work: Work, verdicted: Verdicted) -> Ended:
        if verdicted.outcome is Outcome.REJECTED:
            self._shared.meters.dead_lettered()
        if not work.parked:
            return Ended(verdicted=verdicted, done=[work.record])
        parking = self._opened.state.parking
        was = parking.end(work.lane)
        following = parking.take_next(work.lane)
        if following is not None:
            self._lanes.add(Work(following.record, following.attempt, parked=True))
        return Ended(verdicted=verdicted, entries=[(f"{PARKED}{was.suffix}", None)])

    def _failed(self, work: Work, error: Retryable) -> Ended:
        shared, record, parking = self._shared, work.record, self._opened.state.parking
        attempts = work.attempt + 1
        delay_s = shared.retry.next_delay_s(attempts, draw=shared.draw())
        if delay_s is None or not fits(record):
            verdicted = shared.decider.given_up(record, error, self._opened.state, attempts=attempts)
            shared.meters.finished(verdicted.outcome.value, 0.0)
            return self._finished(work, verdicted)
        shared.meters.retried()
        log.warning(
            "input parked agent=%s topic=%s partition=%d offset=%d attempt=%d delay_s=%.2f error=%s",
            shared.agent.name,
            record.topic,
            record.partition,
            record.offset,
            attempts,
            delay_s,
            type(error).__name__,
        )
        due = shared.decider.clock() + timedelta(seconds=delay_s)
        if work.parked:
            again = parking.again(work.lane, attempt=attempts, due=due)
            return Ended(entries=[(f"{PARKED}{again.suffix}", again.printed())])
        parked = [parking.park(record, attempt=attempts, due=due)]
        ended = [self.park_behind(behind.record) for behind in self._lanes.drain(work.lane)]
        return replace(_parked(parked), also=ended)

    def _too_large(self, record: KafkaRecord) -> Ended:
        """An input that can neither wait as state nor overtake what waits before it."""
        error = RecordTooLarge(
            f"got an input behind one of its key that is tried again, of {record.size} bytes and {len(record.headers)}"
            f" headers, expected at most {MAX_RECORD_BYTES} bytes, headers included, {MAX_HEADERS} headers, and"
            f" {MAX_ENTRY_BYTES} bytes when printed: a larger one cannot wait"
        )
        verdicted = self._shared.decider.given_up(record, error, self._opened.state, attempts=0)
        self._shared.meters.finished(verdicted.outcome.value, 0.0)
        self._shared.meters.dead_lettered()
        return Ended(verdicted=verdicted, done=[record])


def _parked(parked: Sequence[Parked]) -> Ended:
    return Ended(
        done=[one.record for one in parked],
        entries=[(f"{PARKED}{one.suffix}", one.printed()) for one in parked],
    )
