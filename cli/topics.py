"""`jurat topics`: create the declared topics, or show how the cluster differs."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat.agents.catalogue import AGENTS
from jurat.audit.story import printable
from jurat.cli.options import connection_options
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.topic_admin import ChangeKind, apply_topics, diff_topics


@click.group("topics")
def command() -> None:
    """The topics that jurat declares."""


def declared() -> tuple[topics.Topic, ...]:
    """Every topic of this release: the shared ones and those of each agent."""
    own = [topic for agent in AGENTS for topic in topics.of_agent(agent)]
    return tuple(dict.fromkeys((*topics.shared(), *own)))


@command.command("apply")
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


@command.command("diff")
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
