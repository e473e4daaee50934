"""`jurat topics`: create the declared topics, show how the cluster differs, or what a topic carries."""

from __future__ import annotations

import asyncio

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import app, settings
from jurat.agents.catalogue import AGENTS
from jurat.cli.options import connection_options
from jurat.schemas import avro
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.model import Event
from jurat.schemas.shown import printable
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.topic_admin import ChangeKind, apply_topics, diff_topics


@click.group("topics")
def command() -> None:
    """The topics that jurat declares."""


def declared() -> tuple[topics.Topic, ...]:
    """Every topic that is needed: the shared ones, those that agents read, and those of each agent.

    Of a project's, those of jurat's own agents only where its agents read them.
    """
    own = [topic for agent in AGENTS for topic in topics.of_agent(agent)]
    shared = topics.shared()
    mine = app.in_use()
    if mine is not None:
        read = {
            topic
            for agent in mine.agents
            for topic in (agent.topic, *(name for view in agent.views for name in view.topics))
        }
        needed = {*mine.events, *topics.OF_ALL_AGENTS, *topics.OF_THE_NOTARY, topics.POLICIES}
        if settings.subject_keys_file() is not None:
            needed |= {*topics.OF_VEILED_RECORDS, topics.TRUST}
        shared = tuple(topic for topic in shared if topic.name in read or topic in needed)
    return tuple(dict.fromkeys((*shared, *own)))


@command.command("apply", short_help="Create missing topics, correct settings.")
@connection_options
def apply(connection: Connection) -> None:
    """Create missing topics and correct settings; nothing is ever deleted, no replica is moved."""
    for change in asyncio.run(apply_topics(connection, declared())):
        if change.kind is ChangeKind.MISSING:
            click.echo(f"created {change.topic} with {change.wanted} partitions")
        elif change.kind is ChangeKind.REPLICATION:
            click.echo(
                f"left {change.topic} with {change.found} of {change.wanted} possible replicas: apply does not change"
                " replicas; kafka-reassign-partitions does"
            )
        else:
            click.echo(
                f"set {change.topic} {change.setting}={change.wanted} (was {change.found or 'not set'})"
            )
    click.echo(f"{len(declared())} topics are as declared")


@command.command("schema", short_help="Print the Avro schemas of a topic.")
@click.argument("topic")
def schema(topic: str) -> None:
    """Print the Avro schema of each event that TOPIC carries, one JSON document a line.

    For readers that are not jurat.
    """
    for event in carried_by(topic):
        click.echo(orjson.dumps(avro.schema_of(event)))


def carried_by(topic: str) -> list[type[Event]]:
    """The event types that services publish to a topic.

    Raises:
        UsageError: none is.
    """
    # Signed records are written by workers, in the transaction of the decision, and by nobody else.
    published = {event: its.name for event, its in topics.TOPIC_OF_EVENT.items() if event is not SignedRecord}
    carried = [event for event, name in published.items() if name == topic]
    if not carried:
        known = ", ".join(sorted(set(published.values())))
        raise click.UsageError(f"got the topic {topic!r}, expected one of: {known}")
    return carried


@command.command("diff", short_help="Show what `apply` would do.")
@connection_options
@click.pass_context
def diff(ctx: click.Context, connection: Connection) -> None:
    """Show what `apply` would do; exit code 1 when there is something.

    Topics with fewer replicas than the cluster could hold are shown too, but are no reason for exit code 1: `apply`
    leaves them as they are.
    """
    changes = asyncio.run(diff_topics(connection, declared()))
    if not changes:
        click.echo(f"{len(declared())} topics are as declared")
        return
    table = Table("topic", "difference", "found", "declared")
    for change in changes:
        cells = (change.topic, f"{change.kind}: {change.setting}", change.found or "-", change.wanted)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)
    ctx.exit(0 if all(change.kind is ChangeKind.REPLICATION for change in changes) else 1)
