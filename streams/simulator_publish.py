"""Sending a simulation somewhere: at a pace, to Kafka or as JSON lines, with the outcomes kept apart.

Rules upheld here: an outcome never goes to where events go; the pace is that of the wall clock, measured from
the beginning, so that a slow moment is made up for. Not here: what happens in the marketplace.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import orjson

from jurat.schemas.errors import ConfigurationError
from jurat.streams import topics
from jurat.streams.simulator import SimulatedEvent

if TYPE_CHECKING:
    from jurat.streams.publisher import Publisher

SOURCE = "/jurat/simulator"
"""CloudEvents source of simulated events."""

MAX_RATE = 1_000_000
"""Events per second; more than any one publisher sends, so a typing error."""

YIELD_EVERY = 100
"""Events after which an unpaced run lets the publisher's own tasks run."""


class Sink(Protocol):
    """Where events or outcomes go."""

    async def send(self, simulated: SimulatedEvent) -> None:
        """Take one event."""
        ...


class KafkaSink:
    """Publishes to each event type's topic."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def send(self, simulated: SimulatedEvent) -> None:
        """Publish with the virtual time as the CloudEvents time."""
        await self._publisher.publish(simulated.event, event_id=simulated.event_id, time=simulated.time)


class LineSink:
    """Writes JSON lines.

    Args:
        write: takes the bytes of a line, line feed included.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    async def send(self, simulated: SimulatedEvent) -> None:
        """Write one line."""
        self._write(json_line(simulated))


class NullSink:
    """Drops what it is given: outcomes that nobody asked for."""

    async def send(self, simulated: SimulatedEvent) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Sent:
    """What was sent, by event type."""

    events: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of events, outcomes not counted."""
        return sum(self.events.values())


async def send_simulation(
    simulation: Iterable[SimulatedEvent],
    *,
    events: Sink,
    outcomes: Sink,
    rate_per_s: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Sent:
    """Send a simulation.

    Args:
        simulation: what happens, in order of time.
        events: where visible events go.
        outcomes: where the truth goes.
        rate_per_s: visible events per second of the wall clock; 0 sends as fast as `events` takes them.
        clock: seconds that only go forwards.
        sleep: waits that many seconds.

    Returns:
        How many of each type were sent.

    Raises:
        ConfigurationError: a rate out of bounds.
    """
    if not 0 <= rate_per_s <= MAX_RATE:
        raise ConfigurationError(f"got a rate of {rate_per_s} events per second, expected 0 to {MAX_RATE}")
    sent = Sent()
    began_s = clock()
    count = 0
    for simulated in simulation:
        name = simulated.event.event_type()
        if simulated.is_outcome:
            await outcomes.send(simulated)
            sent.outcomes[name] = sent.outcomes.get(name, 0) + 1
            continue
        if rate_per_s:
            ahead_s = began_s + count / rate_per_s - clock()
            if ahead_s > 0:
                await sleep(ahead_s)
        elif count % YIELD_EVERY == 0:
            await sleep(0)
        await events.send(simulated)
        count += 1
        sent.events[name] = sent.events.get(name, 0) + 1
    return sent


def json_line(simulated: SimulatedEvent) -> bytes:
    """Print an event as one line of JSON: topic (without namespace), key, id, type, time, data."""
    event = simulated.event
    line = {
        "topic": topics.of_event(type(event)).name,
        "key": event.key(),
        "id": simulated.event_id,
        "type": event.event_type(),
        "time": simulated.time.isoformat().replace("+00:00", "Z"),
        "data": event.model_dump(mode="json"),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
