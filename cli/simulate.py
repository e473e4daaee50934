"""`jurat simulate`: a seeded marketplace, published to Kafka or printed as JSON lines.

Rules upheld here: the outcomes go to their own topic or to their own file, never among the events; without
Kafka (`--output`) they are dropped unless a file is named. What happens in the marketplace stands in
jurat.streams.simulator, the pace in jurat.streams.simulator_publish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurat import settings
from jurat.cli.options import connect_options
from jurat.schemas.errors import ConfigurationError
from jurat.streams import topics
from jurat.streams.publisher import Publisher
from jurat.streams.simulator import EVENT_TYPES, OUTCOME_TYPES, SimulatedEvent, simulate
from jurat.streams.simulator_publish import (
    MAX_RATE,
    SOURCE,
    KafkaSink,
    LineSink,
    NullSink,
    Sent,
    Sink,
    send_simulation,
)
from jurat.streams.topic_admin import ensure_topics

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

DEFAULT_START = "2026-01-01T00:00:00Z"


def _parse_start(_context: click.Context, _parameter: click.Parameter, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"got {text!r}, expected a time like {DEFAULT_START}") from error


@click.command("simulate")
@connect_options
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed is another marketplace.")
@click.option("--orders", type=int, default=1000, show_default=True, help="How many orders are placed.")
@click.option(
    "--rate",
    type=click.IntRange(0, MAX_RATE),
    default=200,
    show_default=True,
    help="Events per second; 0 is as fast as possible.",
)
@click.option(
    "--start",
    callback=_parse_start,
    default=DEFAULT_START,
    show_default=True,
    help="When it begins, in the events' own time.",
)
@click.option(
    "--outcomes",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what really happened to this file instead of the topic.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write JSON lines to this file (`-`: standard output) instead of Kafka.",
)
def command(
    connect: Callable[[], Connection],
    seed: int,
    orders: int,
    rate: int,
    start: datetime,
    outcomes: Path | None,
    output: str | None,
) -> None:
    """Publish what a marketplace would: orders, payments, deliveries, disputes.

    The same seed, orders and start give the same events. The truth (would a retry have succeeded, who was
    right) goes to the topic simulation.outcomes, or to a file.
    """
    if output is not None and outcomes is not None and Path(output).absolute() == outcomes.absolute():
        raise ConfigurationError(f"got {output} for both --output and --outcomes, expected two files")
    simulation = simulate(seed=seed, orders=orders, start=start)
    began_s = time.monotonic()
    with ExitStack() as files:
        truth = _line_sink(files, str(outcomes)) if outcomes is not None else None
        if output is None:
            sent = asyncio.run(_publish(connect(), simulation, truth=truth, rate_per_s=rate))
        else:
            lines = _line_sink(files, output)
            sending = send_simulation(simulation, events=lines, outcomes=truth or NullSink(), rate_per_s=rate)
            sent = asyncio.run(sending)
    _tell(sent, time.monotonic() - began_s)


async def _publish(
    connection: Connection, simulation: Iterator[SimulatedEvent], *, truth: Sink | None, rate_per_s: int
) -> Sent:
    types = (*EVENT_TYPES, *OUTCOME_TYPES)
    await ensure_topics(connection, tuple(dict.fromkeys(topics.of_event(event) for event in types)))
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        async with Publisher(connection, source=SOURCE, ids=registry) as publisher:
            kafka = KafkaSink(publisher)
            return await send_simulation(
                simulation, events=kafka, outcomes=truth or kafka, rate_per_s=rate_per_s
            )


def _line_sink(files: ExitStack, name: str) -> LineSink:
    try:
        stream = files.enter_context(click.open_file(name, "wb"))
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}; name another file") from error
    return LineSink(stream.write)


def _tell(sent: Sent, took_s: float) -> None:
    rate = f"{sent.total / took_s:.0f} events/s" if took_s else "at once"
    click.echo(
        f"{sent.total} events in {took_s:.1f} s ({rate}), {sum(sent.outcomes.values())} outcomes", err=True
    )
    for name, count in sorted(sent.events.items()):
        click.echo(f"  {count:>8}  {name.removeprefix('jurat.')}", err=True)
