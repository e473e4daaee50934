"""`jurat audit replay`: what the log holds, as a table or as an export file.

Rules upheld here: what cannot be read is told and never passed off as whole. Not here: verifying (`audit_verify`).
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat.audit import export, story
from jurat.audit.disclosure import parse_any
from jurat.audit.log import Fault, LogEntry
from jurat.audit.record import DecisionRecord, Outcome, Statement
from jurat.cli.disclosed import export_disclosures
from jurat.cli.files import writing
from jurat.cli.keys import PIPE_WIDTH
from jurat.cli.log_entries import LOG_FILE, Connect, log_entries
from jurat.cli.options import connect_options
from jurat.schemas.errors import AuditError
from jurat.streams import topics
from jurat.streams.replay import replay

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

MAX_TABLE_ROWS = 10_000
"""A longer table helps nobody and would be held in memory; `--format jsonl` has no bound."""


@click.command(name="replay")
@connect_options
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option(
    "--format", "layout", type=click.Choice(["table", "jsonl"]), help="Default: table; jsonl with --output."
)
@click.option("--agent", help="Only this agent's records.")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Only this outcome.")
@click.option("--input", "source", type=LOG_FILE, help="Read an export file instead of Kafka.")
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the decision events to this file.",
)
@click.option(
    "--disclosures",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the disclosures of veiled records, and erasures, to this file: it holds what is personal.",
)
def command(
    connect: Connect,
    output: Path | None,
    layout: str | None,
    agent: str | None,
    outcome: str | None,
    source: Path | None,
    decisions: Path | None,
    disclosures: Path | None,
) -> None:
    """Read the audit log from its beginning to its present end.

    As jsonl it is an export file: one line per record, which `jurat audit verify FILE` verifies with no
    Kafka. A filtered export leaves out records, so it does not verify as a whole.
    """

    def wanted(record: DecisionRecord | None) -> bool:
        if record is None:
            return agent is None and outcome is None
        return agent in (None, record.agent) and outcome in (None, record.outcome.value)

    written = [path.resolve() for path in (output, decisions, disclosures) if path is not None]
    if len(set(written)) != len(written):
        raise click.UsageError(
            "got one file for two of --output, --decisions and --disclosures, expected one for each"
        )
    chosen = layout or ("jsonl" if output else "table")
    with writing(output) as file:
        printer = _LinePrinter(file) if chosen == "jsonl" else _TablePrinter(file)
        read = asyncio.run(_replay(log_entries(source, connect), printer, wanted))
        printer.close()
    if decisions is not None:
        with writing(decisions) as file:
            asyncio.run(_export_decisions(connect(), read.agents, file))
    if disclosures is not None:
        with writing(disclosures) as file:
            asyncio.run(export_disclosures(connect(), read.veiled, file))
    if read.left_out:
        raise AuditError(
            f"{read.left_out} records could not be read and were left out, so this is not the whole log: verify the"
            " topic itself"
        )


class _Read:
    """What a replay met: names of agents, veiled records (their number is bounded by the log), and faults."""

    def __init__(self) -> None:
        self._agents: set[str] = set()
        self.veiled: list[str] = []
        self.left_out = 0

    @property
    def agents(self) -> tuple[str, ...]:
        return tuple(sorted(self._agents))

    def note(self, statement: Statement) -> None:
        self._agents.add(statement.predicate.agent)
        if statement.is_veiled:
            self.veiled.append(statement.predicate.decision_id)


class _LinePrinter:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, entry: LogEntry, _record: DecisionRecord | None) -> None:
        self._file.write(export.print_entry(entry) + b"\n")

    def close(self) -> None:
        self._file.flush()


class _TablePrinter:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left_out = 0
        self._table = Table(box=None)
        for name in ("time", "agent", "outcome", "action", "policies", "decision", "at"):
            self._table.add_column(name, no_wrap=name in ("time", "decision"))

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        if self._table.row_count >= MAX_TABLE_ROWS:
            self._left_out += 1
            return
        at = f"{entry.partition}:{entry.offset}"
        if record is None:
            cells = ("", "", "unreadable", "", "", "", at)
        else:
            last = record.proposals[-1] if record.proposals else None
            action, policies = (last.action, ", ".join(last.policies)) if last else ("", "")
            time = record.time[:19].replace("T", " ")
            cells = (time, record.agent, record.outcome.value, action, policies, record.decision_id, at)
        self._table.add_row(*(Text(story.printable(cell)) for cell in cells))

    def close(self) -> None:
        text = io.StringIO()
        console = Console(file=text, width=None if sys.stdout.isatty() else PIPE_WIDTH)
        console.print(self._table)
        if self._left_out:
            console.print(f"and {self._left_out} more; --format jsonl prints them all")
        self._file.write(text.getvalue().encode())
        self._file.flush()


async def _replay(
    entries: AsyncIterator[LogEntry | Fault],
    printer: _LinePrinter | _TablePrinter,
    wanted: Callable[[DecisionRecord | None], bool],
) -> _Read:
    read = _Read()
    async for entry in entries:
        if isinstance(entry, Fault):
            click.echo(f"jurat: left out: {entry}", err=True)
            read.left_out += 1
            continue
        record: DecisionRecord | None = None
        with suppress(AuditError):  # replay shows what is there; verifying is another command
            statement = parse_any(entry.record.payload)
            record = statement.predicate
            read.note(statement)
        if wanted(record):
            printer.add(entry, record)
    return read


async def _export_decisions(connection: Connection, agents: tuple[str, ...], file: IO[bytes]) -> None:
    names = [connection.topic(topics.decisions(agent).name) for agent in agents]
    async for record in replay(connection, names):
        value = record.value or b""
        file.write(export.print_decision(record.topic, record.partition, record.offset, value=value) + b"\n")
