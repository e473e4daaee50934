"""`jurat subscribe`: the events of a topic, as a table for people or JSON lines for programs."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from itertools import zip_longest
from typing import Final

import click
import orjson

from jurat import settings
from jurat.cli.options import DURATION, connection_options
from jurat.schemas.decision import Decision
from jurat.schemas.model import Event
from jurat.streams.decoding import Decoded
from jurat.streams.kafka import Connection
from jurat.streams.subscriber import subscribe

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
VERDICT_COLOURS: Final = {"allow": "green", "deny": "red", "escalate": "yellow"}


@click.command("subscribe")
@click.argument("topic")
@click.option("--from-beginning", is_flag=True, help="Start with the oldest event.")
@click.option(
    "--until-idle", "until_idle_s", type=DURATION, help="End when nothing came for this long, e.g. 5s."
)
@click.option("--format", "layout", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    connection: Connection,
    topic: str,
    *,
    from_beginning: bool,
    until_idle_s: float | None,
    layout: str,
) -> None:
    """Print the events of TOPIC as they come; records that cannot be read go to standard error.

    Exit code 1 when there were such records.
    """
    with suppress(KeyboardInterrupt):
        unreadable = asyncio.run(
            _print_all(
                connection, topic, from_beginning=from_beginning, until_idle_s=until_idle_s, layout=layout
            )
        )
        ctx.exit(1 if unreadable else 0)


async def _print_all(
    connection: Connection, topic: str, *, from_beginning: bool, until_idle_s: float | None, layout: str
) -> int:
    unreadable = 0
    out = click.get_binary_stream("stdout")
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        received = subscribe(
            connection, topic, from_beginning=from_beginning, until_idle_s=until_idle_s, ids=registry
        )
        async for one in received:
            if one.event is None:
                unreadable += 1
                record = one.record
                click.echo(f"{record.topic} {record.partition}/{record.offset}: {one.error}", err=True)
            elif layout == "jsonl":
                out.write(as_json_line(one, one.event))
                out.flush()
            else:
                click.echo(as_row(one, one.event))
    return unreadable


def as_json_line(one: Decoded, event: Event) -> bytes:
    """One event as a JSON line: its fields, and for events that are no decisions an envelope around them."""
    data = event.model_dump(mode="json")
    if isinstance(event, Decision):
        return orjson.dumps(data) + b"\n"
    record, attributes = one.record, one.attributes
    where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    named = {"id": attributes.id, "type": attributes.type, "source": attributes.source} if attributes else {}
    time = {"time": attributes.time.isoformat()} if attributes and attributes.time else {}
    return orjson.dumps({**where, **named, **time, "data": data}) + b"\n"


def explained(decision: Decision) -> list[str]:
    """The reasons of a decision, each behind the policy that gives it; a plain sentence where no policy applied."""
    if not decision.policies:
        return list(decision.reasons)
    paired = zip_longest(decision.policies, decision.reasons, fillvalue="-")  # somebody else's may not match
    return [f"{policy}: {reason}" for policy, reason in paired]


def as_row(one: Decoded, event: Event) -> str:
    """One event as a line for people."""
    if isinstance(event, Decision):
        verdict = click.style(f"{event.verdict:<8}", fg=VERDICT_COLOURS[event.verdict])
        dry = "" if event.effective else " (dry run)"
        said = "; ".join(explained(event))
        what = printable(f"{event.agent:<18} {event.action:<30} {event.subject:<24} {said}{dry}")
        return f"{verdict} {what}"
    record = one.record
    return f"{record.partition}/{record.offset:<8} {event.event_type():<36} {printable(event.key())}"


def printable(text: str) -> str:
    """Text of whoever publishes, without line breaks and terminal commands: it must not paint over what we print."""
    return "".join(character if character.isprintable() else REPLACEMENT for character in text)
