"""What a worker counts and shows.

Rules upheld here:

* counting happens in the event loop and costs less than a microsecond: plain numbers, no locks. `samples` may be read
  in another thread: each number is whole, and numbers of one reading may be a decision apart;
* gauges are computed from `Meters.status`, a frozen value that the worker replaces on each turn of its loop.

Not here: the metrics' names (`metric_names.py`), how they are printed (`exposition.py`), the server (`health.py`).
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from jurat.audit.record import Outcome
from jurat.streams.metric_names import (
    ABORTED,
    BROKER_SILENCE_SECONDS,
    COMMIT_SECONDS,
    DEAD_LETTERED,
    DECISION_SECONDS,
    HELD_BYTES,
    HELD_RECORDS,
    IN_FLIGHT,
    INPUTS_COMMITTED,
    INPUTS_FINISHED,
    JOINED,
    LAG,
    OLDEST_SECONDS,
    OPEN,
    PARKED,
    POLICY_BEHIND,
    POLICY_BUNDLE,
    POLICY_REFUSED,
    POSSIBLY_PAID_TWICE,
    PROGRESS_AGE_SECONDS,
    REOPENED,
    RESTORE_SECONDS,
    RESTORED,
    RETRIED,
    REUSED,
    SHADOW_JUDGED,
    SPAN,
    TIMERS,
    TURN_AGE_SECONDS,
    Metric,
)

MAX_REASONS: Final = 50
"""More different reasons than there are classes of errors; what comes after them is counted as `other`."""

DECISION_BOUNDS_S: Final = (
    *(0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""From a rule of thumb to a model that thinks for minutes."""

TRANSACTION_BOUNDS_S: Final = (0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
"""Up to the transaction time-out."""

RESTORE_BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """A partition that is assigned to the worker, at one moment.

    Attributes:
        topic: the input topic, with its namespace.
        partition: its number.
        open: whether it is served; False while it is being opened, or waits to be.
        lag: records not taken in yet.
        in_flight: inputs in work.
        oldest_in_flight_s: how long the oldest of them has been, 0 without one.
        held_records: inputs taken in and not finished, in work or waiting; without the parked ones.
        held_bytes: their keys, values and headers, and `RECORD_OVERHEAD_BYTES` (`intake.py`) for each.
        parked: inputs that wait for another attempt, or behind one that does.
        timers: timers set and not due.
        span: offsets from the lowest one not done to the last one taken in.
        progress_at: when inputs were last committed, when the first one came to a partition that held none, or when it
            was opened, whichever was last; now where none is held. Monotonic seconds.
    """

    topic: str
    partition: int
    open: bool
    lag: int
    in_flight: int
    oldest_in_flight_s: float
    held_records: int
    held_bytes: int
    parked: int
    timers: int
    span: int
    progress_at: float

    @classmethod
    def closed(cls, topic: str, partition: int, now: float) -> PartitionStatus:
        """One that is not served."""
        return cls(
            topic=topic,
            partition=partition,
            open=False,
            lag=0,
            in_flight=0,
            oldest_in_flight_s=0.0,
            held_records=0,
            held_bytes=0,
            parked=0,
            timers=0,
            span=0,
            progress_at=now,
        )


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker at one moment.

    Attributes:
        at: the moment, in monotonic seconds.
        joined: whether it belongs to its group.
        partitions: every partition that is assigned to it.
        heard_at: when a broker last answered a fetch; None where that is not known. `at` where nothing is fetched, as
            every partition is paused or being opened.
    """

    at: float
    joined: bool
    partitions: tuple[PartitionStatus, ...] = ()
    heard_at: float | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Durations by bucket.

    Attributes:
        buckets: upper bounds in seconds and how many were at most as long as each; cumulative, up to infinity.
        sum_s: all of them added up.
    """

    buckets: tuple[tuple[float, int], ...]
    sum_s: float


class _Durations:
    """How many durations fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def read(self) -> Distribution:
        bounds = (*self._bounds, math.inf)
        return Distribution(tuple(zip(bounds, accumulate(tuple(self._counts)), strict=True)), self._sum_s)


@dataclass(frozen=True, slots=True)
class Sample:
    """A number, or durations, of one metric; the labels are in the metric's order, without `agent`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Distribution


class Meters:
    """What one worker counts. To be called from its event loop; `samples` from any thread.

    Args:
        agent: the agent's name, a label of every metric.
        clock: the clock of `WorkerStatus.at`, in seconds.

    Attributes:
        status: the worker's latest status, None before its first turn.
    """

    def __init__(self, agent: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.agent = agent
        self.status: WorkerStatus | None = None
        self._clock = clock
        self._finished = {outcome.value: 0 for outcome in Outcome}
        self._aborted: dict[str, int] = {}
        self._reopened: dict[str, int] = {}
        self._policy_refused: dict[str, int] = {}
        self._shadow_judged: dict[str, int] = {}
        self._judges: tuple[tuple[str, str], ...] = ()
        self._behind = False
        self._inputs_committed = 0
        self._retried = 0
        self._dead_lettered = 0
        self._reused = 0
        self._possibly_paid_twice = 0
        self._restored = 0
        self._decisions = _Durations(DECISION_BOUNDS_S)
        self._commits = _Durations(TRANSACTION_BOUNDS_S)
        self._restores = _Durations(RESTORE_BOUNDS_S)

    def finished(self, outcome: str, seconds: float) -> None:
        """An input ended so long after it was taken into work."""
        _add(self._finished, outcome)
        self._decisions.add(seconds)

    def committed(self, inputs: int, seconds: float) -> None:
        """A transaction about so many inputs was committed, and took so long."""
        self._inputs_committed += inputs
        self._commits.add(seconds)

    def aborted(self, why: str) -> None:
        """A transaction was aborted; `why` is the class of the error."""
        _add(self._aborted, why)

    def retried(self) -> None:
        """An input failed in a way that may pass, and is parked."""
        self._retried += 1

    def dead_lettered(self) -> None:
        """An input became a dead letter."""
        self._dead_lettered += 1

    def reused_call(self) -> None:
        """A reasoner call was answered from the journal."""
        self._reused += 1

    def possibly_paid_twice(self) -> None:
        """A reasoner call is made again of which nobody knows whether it was answered."""
        self._possibly_paid_twice += 1

    def reopened(self, why: str) -> None:
        """A partition failed and is opened anew; `why` is the class of the error."""
        _add(self._reopened, why)

    def policy_refused(self, why: str) -> None:
        """A record of the topic of policies, or an activation, was not obeyed; `why` is the class of the error."""
        _add(self._policy_refused, why)

    def policy_judges(self, *, enforce: str, shadow: str | None, behind: bool) -> None:
        """These bundles judge from now on; `behind` when a newer activation could not be taken."""
        beside = () if shadow is None else (("shadow", shadow),)
        self._judges = (("enforce", enforce), *beside)
        self._behind = behind

    def shadow_judged(self, compared: str) -> None:
        """A shadow judged beside a decision."""
        _add(self._shadow_judged, compared)

    def restored(self, records: int, seconds: float) -> None:
        """So many records were read to open a partition, in so long."""
        self._restored += records
        self._restores.add(seconds)

    def samples(self) -> Iterator[Sample]:
        """Everything that is known now."""
        for metric, counts in (
            (INPUTS_FINISHED, self._finished),
            (ABORTED, self._aborted),
            (REOPENED, self._reopened),
            (POLICY_REFUSED, self._policy_refused),
            (SHADOW_JUDGED, self._shadow_judged),
        ):
            for label, count in counts.copy().items():
                yield Sample(metric, (label,), count)
        yield Sample(INPUTS_COMMITTED, (), self._inputs_committed)
        yield Sample(RETRIED, (), self._retried)
        yield Sample(DEAD_LETTERED, (), self._dead_lettered)
        yield Sample(REUSED, (), self._reused)
        yield Sample(POSSIBLY_PAID_TWICE, (), self._possibly_paid_twice)
        yield Sample(RESTORED, (), self._restored)
        yield Sample(DECISION_SECONDS, (), self._decisions.read())
        yield Sample(COMMIT_SECONDS, (), self._commits.read())
        yield Sample(RESTORE_SECONDS, (), self._restores.read())
        yield Sample(POLICY_BEHIND, (), float(self._behind))
        for judge in self._judges:
            yield Sample(POLICY_BUNDLE, judge, 1.0)
        status = self.status
        yield Sample(JOINED, (), float(status is not None and status.joined))
        if status is not None:
            yield from self._gauges(status)

    def _gauges(self, status: WorkerStatus) -> Iterator[Sample]:
        now = self._clock()
        yield Sample(TURN_AGE_SECONDS, (), max(0.0, now - status.at))
        if status.heard_at is not None:
            yield Sample(BROKER_SILENCE_SECONDS, (), max(0.0, now - status.heard_at))
        for one in status.partitions:
            labels = (one.topic, str(one.partition))
            yield Sample(OPEN, labels, float(one.open))
            yield Sample(LAG, labels, one.lag)
            yield Sample(IN_FLIGHT, labels, one.in_flight)
            yield Sample(OLDEST_SECONDS, labels, one.oldest_in_flight_s)
            yield Sample(HELD_RECORDS, labels, one.held_records)
            yield Sample(HELD_BYTES, labels, one.held_bytes)
            yield Sample(PARKED, labels, one.parked)
            yield Sample(TIMERS, labels, one.timers)
            yield Sample(SPAN, labels, one.span)
            yield Sample(PROGRESS_AGE_SECONDS, labels, max(0.0, now - one.progress_at))


def _add(counts: dict[str, int], name: str) -> None:
    if name in counts:
        counts[name] += 1
        return
    kept = name if len(counts) < MAX_REASONS else "other"
    counts[kept] = counts.get(kept, 0) + 1
