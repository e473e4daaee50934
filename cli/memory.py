"""`jurat memory`: what an agent remembers of a subject, now or as of a moment; and having it forgotten.

Rules upheld here: `show` reads, joins no group and changes nothing; what facts say comes from events, so it is escaped
before it is printed, and JSON is ASCII. The digest is that which audit records of decisions name. `forget` asks, with a
signature: what the agent made of it stands in the audit log.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import settings
from jurat.agents.catalogue import AGENTS
from jurat.agents.memory import Memory, as_of
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.key_store import load_approver
from jurat.cli.keys import PIPE_WIDTH
from jurat.cli.options import connection_options, keys_option
from jurat.cli.trust_hint import hint
from jurat.schemas.moments import parse_moment, print_moment
from jurat.schemas.shown import printable
from jurat.streams.documents import digest_of
from jurat.streams.forget_desk import Asked, ask_to_forget
from jurat.streams.kafka import Connection
from jurat.streams.memory_reading import read_memory

TRIMMED: Final = (
    "facts were left out for want of room at {at}, after that moment: this is not all that was known, and the digest is"
    " not the record's"
)


FORGOTTEN: Final = (
    "nothing of it was learned by then; more may have been, and forgotten since: a record says so"
)


class Moment(click.ParamType):
    """A moment as people type it: RFC 3339."""

    name = "moment"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse it; a bad one ends the command with its usage."""
        try:
            return parse_moment(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _who_remember() -> list[str]:
    return [name for name, one in sorted(AGENTS.items()) if one.remembers]


def _whose(agent: str | None) -> str:
    """The agent that is named, or the only one that remembers anything."""
    known = _who_remember()
    if agent is None and len(known) != 1:
        raise click.UsageError(
            f"got no --agent, expected whose memory; these remember: {', '.join(known) or 'none'}"
        )
    return agent or known[0]


def _say_who_remembers(agent: str) -> None:
    """Where nothing was found: whether this agent would remember anything at all."""
    if AGENTS[agent].remembers is None:
        known = ", ".join(_who_remember()) or "none"
        click.echo(f"the agent {agent} as it is now remembers nothing; these do: {known}", err=True)


@click.group("memory")
def command() -> None:
    """What agents remember of their subjects."""


@command.command("show")
@click.argument("subject", metavar="SUBJECT")
@click.option(
    "--agent",
    type=click.Choice(sorted(AGENTS)),
    metavar="NAME",
    help="Whose memory; may be left out where one agent alone remembers.",
)
@click.option(
    "--as-of",
    "moment",
    type=Moment(),
    metavar="T",
    help="What it knew then: the time of a record, for example 2026-01-31T12:00:00Z.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connection_options
def show(
    connection: Connection, subject: str, agent: str | None, moment: datetime | None, *, as_json: bool
) -> None:
    """Show what an agent remembers of SUBJECT, the key of its events."""
    agent = _whose(agent)
    topic = connection.topic(AGENTS[agent].topic)
    memory = asyncio.run(read_memory(connection, agent, topic, subject))
    if as_json:
        click.echo(json_of(memory, moment))
    else:
        _print(memory, moment)
    if not memory.facts:
        _say_who_remembers(agent)


@command.command("forget", short_help="Have an agent forget a subject.")
@click.argument("subject", metavar="SUBJECT")
@click.option(
    "--agent", required=True, type=click.Choice(sorted(AGENTS)), metavar="NAME", help="Whose memory."
)
@click.option("--as", "name", required=True, metavar="NAME", help="Who you are in the trust file.")
@keys_option
@connection_options
def forget(connection: Connection, subject: str, agent: str, name: str, keys: Path | None) -> None:
    """Have an agent forget what it remembers of SUBJECT, the key of its events.

    Your key must be trusted where the worker's keys are, with the role data-protection.
    """
    signer = load_approver(settings.keys_dir(keys), name, settings.keys_passphrase())
    topic = connection.topic(AGENTS[agent].topic)
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)

        async def run() -> tuple[Asked, ...]:
            return await ask_to_forget(
                connection,
                agent,
                subject,
                input_topic=topic,
                signer=signer,
                at=datetime.now(UTC),
                ids=registry,
            )

        asked = asyncio.run(run())
    if not asked:
        click.echo(f"nothing is remembered of {printable(subject)}; nothing was sent")
        _say_who_remembers(agent)
    for one in asked:
        facts = "1 fact" if one.facts == 1 else f"{one.facts} facts"
        click.echo(f"asked {agent} to forget {facts} of {printable(subject)}, signed with {signer.keyid}")
        click.echo(f"what the agent makes of it: jurat audit show {one.record}", err=True)
    if asked:
        hint(keys, signer.keyid, name=name, role=DATA_PROTECTION)


def json_of(memory: Memory, moment: datetime | None) -> str:
    """The memory, now or as of a moment, as one line of JSON."""
    shown = memory if moment is None else as_of(memory, moment)
    return json.dumps(
        {
            "as_of": None if moment is None else print_moment(moment),
            "whole": _is_whole(memory, moment),
            "sha256": digest_of(shown),
            "memory": shown.model_dump(mode="json"),
        }
    )


def _is_whole(memory: Memory, moment: datetime | None) -> bool:
    """Whether this is certainly all; where nothing was learned by a moment, it may have been forgotten since."""
    return moment is None or (memory.whole_at(moment) and bool(as_of(memory, moment).facts))


def _print(memory: Memory, moment: datetime | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    shown = memory if moment is None else as_of(memory, moment)
    if shown.facts:
        table = Table("fact", "value", "since", "learned at", "from", "purpose", "ended at")
        for fact in shown.facts:
            value = printable(fact.value) if isinstance(fact.value, str) else json.dumps(fact.value)
            where = f"{fact.source.topic}/{fact.source.partition}/{fact.source.offset}"
            ended = "" if fact.ended_at is None else print_moment(fact.ended_at)
            row = (printable(fact.name), value, print_moment(fact.since), print_moment(fact.learned_at))
            table.add_row(*[Text(cell) for cell in (*row, where, printable(fact.purpose), ended)])
        console.print(table)
    else:
        console.print(Text("nothing is remembered"))
    console.print(Text(f"sha256 {digest_of(shown)}"))
    if memory.trimmed_at is not None and moment is not None and not memory.whole_at(moment):
        click.echo(TRIMMED.format(at=print_moment(memory.trimmed_at)), err=True)
    elif not _is_whole(memory, moment):
        click.echo(FORGOTTEN, err=True)
