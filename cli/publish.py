"""`jurat publish`: JSON lines in, events on Kafka out; a bad line is named by its number."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import click

from jurat import settings
from jurat.cli.options import connection_options
from jurat.cli.topics import carried_by
from jurat.schemas import avro, catalogue
from jurat.schemas.cloudevents import MAX_ATTRIBUTE_CHARS
from jurat.schemas.codec import decode_json
from jurat.schemas.errors import DecodeError, RecordTooLarge, SchemaError, UnknownSchema
from jurat.schemas.model import Event
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_topics


@dataclass(frozen=True, slots=True)
class _BadLine:
    number: int
    reason: str


@click.command("publish")
@click.argument("topic")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--type", "type_name", help="Event type, where the topic carries several.")
@click.option("--source", default="/jurat/publish", show_default=True, help="CloudEvents source.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="skip",
    show_default=True,
    help="What a bad line does: stop before it, or be reported and left out.",
)
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    connection: Connection,
    topic: str,
    file: IO[bytes],
    type_name: str | None,
    source: str,
    on_error: str,
) -> None:
    """Publish JSON lines from FILE (default: standard input) to TOPIC.

    Each line is one event's data; its fields are checked against the topic's event type. Exit code 1 when a line was
    bad.
    """
    if not 0 < len(source) <= MAX_ATTRIBUTE_CHARS:
        raise click.UsageError(
            f"got a --source of {len(source)} characters, expected 1 to {MAX_ATTRIBUTE_CHARS}: readers refuse others"
        )
    event_type = _event_type(topic, type_name)
    published, bad = asyncio.run(_publish(connection, event_type, file, source, stop=on_error == "stop"))
    for line in bad:
        click.echo(f"line {line.number}: {line.reason}", err=True)
    click.echo(f"{published} published to {connection.topic(topic)}, {len(bad)} bad", err=True)
    ctx.exit(1 if bad else 0)


def _event_type(topic: str, type_name: str | None) -> type[Event]:
    carried = carried_by(topic)
    if type_name is not None:
        full = type_name if "." in type_name else f"jurat.{carried[0].namespace}.{type_name}"
        try:
            event = catalogue.by_name(full)
        except UnknownSchema as error:
            raise click.UsageError(str(error)) from error
        if event not in carried:
            raise click.UsageError(f"got the type {full}, which is not published to {topic}")
        return event
    if len(carried) > 1:
        names = ", ".join(event.__name__ for event in carried)
        raise click.UsageError(f"{topic} carries several event types: name one with --type ({names})")
    return carried[0]


async def _publish(
    connection: Connection, event_type: type[Event], lines: Iterable[bytes], source: str, *, stop: bool
) -> tuple[int, list[_BadLine]]:
    bad: list[_BadLine] = []
    published = 0
    await ensure_topics(connection, [topics.of_event(event_type)])
    run = uuid.uuid4().hex
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        async with Publisher(connection, source=source, ids=registry) as publisher:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    event = _parse(event_type, line)
                    await publisher.publish(event, event_id=f"{run}-{number}")
                except (SchemaError, RecordTooLarge) as error:
                    bad.append(_BadLine(number, str(error)))
                    if stop:
                        break
                else:
                    published += 1
    return published, bad


def _parse(event_type: type[Event], line: bytes) -> Event:
    event = decode_json(line, event_type)
    try:
        avro.write(event)  # what the model accepts but Avro does not shows here
    except SchemaError as error:
        raise DecodeError(f"got JSON that cannot be written as Avro: {error}") from error
    return event
