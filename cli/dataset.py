"""`jurat dataset`: publish a data set that was made elsewhere as events.

Rules upheld here: the shop is published and acknowledged before the first request about it; event ids follow from the
data, so publishing a file twice repeats events and invents none; a bad request line is named by its number. The formats
are read in jurat.streams.retail_dataset.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jurat import settings
from jurat.cli.options import connection_options
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.publisher import Publisher
from jurat.streams.retail_dataset import BadLine, DatasetEvent, read_requests, read_retail
from jurat.streams.topic_admin import ensure_topics

SOURCE: Final = "/jurat/dataset/retail"
"""The CloudEvents source of everything that comes from the retail data set."""

TOPICS: Final = (
    topics.CUSTOMERS,
    topics.PRODUCTS,
    topics.ORDERS,
    topics.PAYMENTS,
    topics.DELIVERIES,
    topics.AFTER_SALES_REQUESTS,
)


@click.group("dataset")
def command() -> None:
    """Publish a data set as events."""


@command.command("retail", short_help="Publish a retail data set.")
@click.argument("db", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--requests",
    type=click.File("rb"),
    help='After-sales requests, JSON lines {"id","key","action","args","dry_run"}; - for standard input.',
)
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="skip",
    show_default=True,
    help="What a bad request line does: stop before it, or be reported and left out.",
)
@connection_options
@click.pass_context
def retail(
    ctx: click.Context, connection: Connection, db: Path, requests: IO[bytes] | None, on_error: str
) -> None:
    """Publish the shop in DB (a db.json) as customers, products, orders, payments and deliveries.

    With --requests, requests about it follow. Exit code 1 when a request line was bad.
    """
    shop = list(read_retail(db))
    counts, bad = asyncio.run(_publish(connection, shop, requests or (), stop=on_error == "stop"))
    for line in bad:
        click.echo(f"line {line.number}: {line.error}", err=True)
    for topic in TOPICS:
        if counts[topic.name]:
            click.echo(f"{counts[topic.name]:>7} {connection.topic(topic.name)}")
    click.echo(f"{counts.total():>7} events published, {len(bad)} bad lines")
    ctx.exit(1 if bad else 0)


async def _publish(
    connection: Connection, shop: list[DatasetEvent], lines: Iterable[bytes], *, stop: bool
) -> tuple[Counter[str], list[BadLine]]:
    await ensure_topics(connection, TOPICS)
    counts: Counter[str] = Counter()
    bad: list[BadLine] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        async with _publisher(connection) as publisher:
            task = bar.add_task("shop", total=len(shop))
            for one in shop:
                await _send(publisher, one, counts)
                bar.advance(task)
            # A request must not overtake the order that it is about.
            await publisher.flush()
            task = bar.add_task("requests", total=None)
            for request in read_requests(lines):
                if isinstance(request, DatasetEvent):
                    await _send(publisher, request, counts)
                    bar.advance(task)
                    continue
                bad.append(request)
                if stop:
                    break
            await publisher.flush()
    return counts, bad


@contextlib.asynccontextmanager
async def _publisher(connection: Connection) -> AsyncIterator[Publisher]:
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        async with Publisher(connection, source=SOURCE, ids=registry) as publisher:
            yield publisher


async def _send(publisher: Publisher, one: DatasetEvent, counts: Counter[str]) -> None:
    await publisher.publish(one.event, event_id=one.event_id)
    counts[topics.of_event(type(one.event)).name] += 1
