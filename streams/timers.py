"""The timers of one partition: waits as state, never as futures.

Rules upheld here: what is due and what for stands in the changelog; the timers of a key are replaced as a whole by
each decision that has a say in them; a timer leaves the state in the transaction that writes its `TimerFired`, so it
fires once. A timer that fires while a decision about its key is in work is not taken back by that decision.

Not here: the topic of fired timers, deciding them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from jurat.schemas import canonical
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Identifier, Model, Timestamp
from jurat.schemas.timers import TimerFired

MAX_TIMERS: Final = 16
"""Timers of one key: a decision that waits for more than that waits for nothing in particular."""

MAX_DUE: Final = 500
"""Timers taken out at once: each is printed and written, and a million may be due after a long stop."""

GARBAGE: Final = 1_024
"""Replaced timers that may be left on the heap, beside as many as stand, before it is built anew."""

TimerName = Annotated[str, Field(pattern=r"^[ -~]{1,100}$")]
"""Printable ASCII, short enough that an event id made of it stays one."""

OURS: Final = "jurat:"
"""Begins the names of timers that no agent sets."""


class Standing(Model):
    """The timers of one key, by name, and the input whose decision set them."""

    set_by: InputRef
    timers: Annotated[dict[TimerName, Timestamp], Field(min_length=1, max_length=MAX_TIMERS)]


@dataclass(frozen=True, slots=True)
class Due:
    """A timer that is due, taken out of the state.

    Attributes:
        entry: its key in the changelog, below the prefix and the topic.
        value: what the changelog says there now.
        prefix: the prefix of that entry.
    """

    key: Identifier
    name: str
    due_at: datetime
    set_by: InputRef
    entry: str
    value: bytes | None
    prefix: str = "timer/"

    def event(self, agent: str) -> TimerFired:
        """What this agent is told of it."""
        return TimerFired(
            agent=agent, event_key=self.key, name=self.name, due_at=self.due_at, set_by=self.set_by
        )


def standing_timers(timers: Mapping[str, datetime], *, set_by: InputRef) -> Standing | None:
    """Check the timers that a decision sets; None for none.

    Raises:
        InputRejected: too many of them, a name that is no printable ASCII, a moment without zone, or one that no
            calendar has in UTC.
    """
    if not timers:
        return None
    own = sorted(name for name in timers if name.startswith(OURS))
    if own:
        raise InputRejected(
            f"got the timer {own[0]!r} from the agent, expected a name that does not begin with {OURS}"
        )
    try:
        standing = Standing(set_by=set_by, timers=dict(timers))
        # As they are written, so that what was set is what comes back.
        in_utc = {name: moment.astimezone(UTC) for name, moment in standing.timers.items()}
        return Standing(set_by=set_by, timers=in_utc)
    except (ValueError, OverflowError) as error:
        raise InputRejected(
            f"got {len(timers)} timers from the agent, expected at most {MAX_TIMERS}, with names of printable ASCII"
            " and moments with a zone, in the years 1 to 9999"
        ) from error


class Timers:
    """Timers by event key, with the earliest at hand."""

    def __init__(self) -> None:
        self._standing: dict[str, Standing] = {}
        self._heap: list[tuple[datetime, str, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def replace(self, key: str, standing: Standing | None) -> bytes | None:
        """Set the timers of a key; returns the changelog's value, None when none is left."""
        value = None if standing is None else _printed(standing)
        self._set(key, standing)
        return value

    def take_due(self, now: datetime) -> list[Due]:
        """Take out what is due, the earliest first, at most `MAX_DUE`."""
        due: list[Due] = []
        while len(due) < MAX_DUE and (first := self._first()) is not None and first[0] <= now:
            at, key, name = heapq.heappop(self._heap)
            standing = self._standing.pop(key)
            self._count -= 1
            left = {other: moment for other, moment in standing.timers.items() if other != name}
            value: bytes | None = None
            if left:
                rest = Standing(set_by=standing.set_by, timers=left)
                self._standing[key] = rest
                value = _printed(rest)
            due.append(Due(key, name, at, standing.set_by, key, value))
        return due

    @property
    def next_due(self) -> datetime | None:
        """When the earliest is due."""
        first = self._first()
        return None if first is None else first[0]

    def restore(self, key: str, value: bytes | None) -> None:
        """Take over an entry of the changelog.

        Raises:
            ValidationError: it is not one of ours.
        """
        self._set(key, None if value is None else Standing.model_validate_json(value))

    def _set(self, key: str, standing: Standing | None) -> None:
        before = self._standing.pop(key, None)
        if before is not None:
            self._count -= len(before.timers)
        if standing is None:
            return
        self._standing[key] = standing
        self._count += len(standing.timers)
        for name, due_at in standing.timers.items():
            heapq.heappush(self._heap, (due_at, key, name))
        if len(self._heap) > 2 * self._count + GARBAGE:
            self._heap = [
                (due_at, key, name)
                for key, standing in self._standing.items()
                for name, due_at in standing.timers.items()
            ]
            heapq.heapify(self._heap)

    def _first(self) -> tuple[datetime, str, str] | None:
        # What was replaced or taken back is still on the heap.
        while self._heap:
            at, key, name = self._heap[0]
            standing = self._standing.get(key)
            if standing is not None and standing.timers.get(name) == at:
                return self._heap[0]
            heapq.heappop(self._heap)
        return None


def _printed(standing: Standing) -> bytes:
    return canonical.dumps(standing.model_dump(mode="json"))
