"""`jurat audit`: replay the log, verify it, tell the story of one decision.

The log is read from its Kafka topic, or from an export file with no Kafka at all. Exit codes of `verify`: 0
valid, 1 invalid, 2 could not tell.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import settings
from jurat.audit import export, story
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.audit.keys import Trust
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Fault, LogEntry, Place, TreeHead, parse_tree_head
from jurat.audit.record import DecisionRecord, Outcome, Statement, parse
from jurat.audit.verifier import LogVerdict, Report, Verifier
from jurat.cli.files import lines, writing
from jurat.cli.keys import PIPE_WIDTH
from jurat.cli.log_entries import log_entries
from jurat.cli.options import connect_options
from jurat.schemas.errors import AuditError, ConfigurationError, JuratError, TopicMissing
from jurat.streams import topics
from jurat.streams.replay import replay

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

EXIT_CODES = {LogVerdict.VALID: 0, LogVerdict.INVALID: 1, LogVerdict.UNPROVEN: 2}
EXIT_COULD_NOT_TELL = 2

MAX_TABLE_ROWS = 10_000
"""A longer table helps nobody and would be held in memory; `--format jsonl` has no bound."""

Connect = Callable[[], "Connection"]

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.group(name="audit")
def command() -> None:
    """Replay, verify and explain the audit log."""


@command.command(name="replay")
@connect_options
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option(
    "--format", "layout", type=click.Choice(["table", "jsonl"]), help="Default: table; jsonl with --output."
)
@click.option("--agent", help="Only this agent's records.")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Only this outcome.")
@click.option("--input", "source", type=_FILE, help="Read an export file instead of Kafka.")
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the decision events to this file.",
)
def replay_(
    connect: Connect,
    output: Path | None,
    layout: str | None,
    agent: str | None,
    outcome: str | None,
    source: Path | None,
    decisions: Path | None,
) -> None:
    """Read the audit log from its beginning to its present end.

    As jsonl it is an export file: one line per record, which `jurat audit verify FILE` verifies with no
    Kafka. A filtered export leaves out records, so it does not verify as a whole.
    """

    def wanted(record: DecisionRecord | None) -> bool:
        if record is None:
            return agent is None and outcome is None
        return agent in (None, record.agent) and outcome in (None, record.outcome.value)

    if output is not None and decisions is not None and output.resolve() == decisions.resolve():
        raise click.UsageError("got the same file for --output and --decisions, expected two")
    chosen = layout or ("jsonl" if output else "table")
    with writing(output) as file:
        printer = _LinePrinter(file) if chosen == "jsonl" else _TablePrinter(file)
        agents, left_out = asyncio.run(_replay(log_entries(source, connect), printer, wanted))
        printer.close()
    if decisions is not None:
        with writing(decisions) as file:
            asyncio.run(_export_decisions(connect(), agents, file))
    if left_out:
        raise AuditError(
            f"{left_out} records could not be read and were left out, so this is not the whole log: verify the topic"
            " itself"
        )


@command.command(name="verify")
@click.argument("file", type=_FILE, required=False)
@connect_options
@click.option(
    "--trust", type=click.Path(path_type=Path, dir_okay=False), help="Trust file; else the key folder's."
)
@click.option(
    "--tree-head",
    "heads",
    multiple=True,
    metavar="PARTITION:SIZE:ROOT",
    help="A head noted earlier; repeatable.",
)
@click.option("--decisions", type=_FILE, help="Check decision events too, from this file.")
@click.option("--with-decisions", is_flag=True, help="Check decision events too, from Kafka.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def verify(
    ctx: click.Context,
    file: Path | None,
    connect: Connect,
    trust: Path | None,
    heads: tuple[str, ...],
    decisions: Path | None,
    *,
    with_decisions: bool,
    as_json: bool,
) -> None:
    """Verify the audit topic, or an export FILE (`-`: standard input).

    Exit code: 0 valid, 1 invalid, 2 could not tell.
    """
    if decisions is not None and with_decisions:
        raise click.UsageError("got --decisions and --with-decisions, expected one of them")
    if decisions is not None and str(decisions) == str(file) == "-":
        raise click.UsageError("got standard input for the log and for the decisions, expected it for one")
    try:
        trusted = load_trust(trust or settings.keys_dir() / TRUST_FILE)
        noted = tuple(parse_tree_head(head) for head in heads)
        live = connect() if with_decisions else None
        report = asyncio.run(_verify(log_entries(file, connect), trusted, noted, (decisions, live)))
    except JuratError as error:
        click.echo(f"jurat: could not tell: {error}", err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    if as_json:
        click.echo(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print_report(report)
    ctx.exit(EXIT_CODES[report.verdict])


@command.command(name="show")
@click.argument("decision_id", metavar="ID")
@connect_options
@click.option("--input", "source", type=_FILE, help="Read an export file instead of Kafka.")
@click.option(
    "--trust", type=click.Path(path_type=Path, dir_okay=False), help="Trust file; else the key folder's."
)
@click.pass_context
def show(
    ctx: click.Context, decision_id: str, connect: Connect, source: Path | None, trust: Path | None
) -> None:
    """Tell the story of the decision ID in plain words, and whether it holds.

    Exit code: 0 it was verified, 1 something does not hold, 2 not found or could not tell.
    """
    try:
        trusted = load_trust(trust or settings.keys_dir() / TRUST_FILE)
        found = asyncio.run(_find(log_entries(source, connect), trusted, decision_id))
    except JuratError as error:
        click.echo(f"jurat: {error}", err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    entry, statement, fault = found
    if fault is None:
        standing = "Verified now: the signature, the record's form, and its chain up to here."
    else:
        standing = f"DO NOT RELY ON THIS RECORD: {fault.reason}"
    click.echo(story.tell(entry, statement, standing=standing), nl=False)
    ctx.exit(0 if fault is None else 1)


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
) -> tuple[tuple[str, ...], int]:
    agents: set[str] = set()
    left_out = 0
    async for entry in entries:
        if isinstance(entry, Fault):
            click.echo(f"jurat: left out: {entry}", err=True)
            left_out += 1
            continue
        record: DecisionRecord | None = None
        with suppress(AuditError):  # replay shows what is there; verifying is another command
            record = parse(entry.record.payload).predicate
            agents.add(record.agent)
        if wanted(record):
            printer.add(entry, record)
    return tuple(sorted(agents)), left_out


async def _export_decisions(connection: Connection, agents: tuple[str, ...], file: IO[bytes]) -> None:
    names = [connection.topic(topics.decisions(agent).name) for agent in agents]
    async for record in replay(connection, names):
        value = record.value or b""
        file.write(export.print_decision(record.topic, record.partition, record.offset, value=value) + b"\n")


async def _verify(
    entries: AsyncIterator[LogEntry | Fault],
    trust: Trust,
    heads: tuple[TreeHead, ...],
    decisions: tuple[Path | None, Connection | None],
) -> Report:
    file, live = decisions
    ledger = None if file is None and live is None else DecisionLedger()
    verifier = Verifier(trust, tree_heads=heads, ledger=ledger)
    if ledger is not None and file is not None:
        for number, line in lines(file):
            try:
                topic, partition, offset, value = export.parse_decision(line, number)
            except AuditError as error:
                verifier.fault(Place(line=number), f"decision export: {error}")
                continue
            ledger.add_event(Place(topic, partition, offset, number), value)
    if ledger is not None and live is not None:
        for agent in sorted({key.agent for key in trust.keys}):
            # An agent that never ran has no topic; records whose decision events are missing are faults below.
            with suppress(TopicMissing):
                async for record in replay(live, [live.topic(topics.decisions(agent).name)]):
                    ledger.add_event(
                        Place(record.topic, record.partition, record.offset), record.value or b""
                    )
    async for entry in entries:
        if isinstance(entry, Fault):
            verifier.fault(entry.place, entry.reason)
        else:
            verifier.add(entry)
    return verifier.report()


async def _find(
    entries: AsyncGenerator[LogEntry | Fault, None], trust: Trust, decision_id: str
) -> tuple[LogEntry, Statement, Fault | None]:
    verifier = Verifier(trust)
    broken: dict[str, Fault] = {}
    async with aclosing(entries):  # it ends in the middle of the log
        async for entry in entries:
            if isinstance(entry, Fault):
                continue
            outcome = verifier.check(entry)
            if isinstance(outcome, Fault):
                broken.setdefault(entry.record.chain, outcome)
                with suppress(AuditError):
                    statement = parse(entry.record.payload)
                    if statement.predicate.decision_id == decision_id:
                        return entry, statement, outcome
            elif outcome.predicate.decision_id == decision_id:
                earlier = broken.get(entry.record.chain)
                if earlier is not None:
                    reason = f"its signature and form hold, but its chain is broken before it ({earlier})"
                    return entry, outcome, Fault(entry.place, reason)
                return entry, outcome, None
    raise ConfigurationError(
        f"there is no decision {decision_id[:100]!r} in this log; `jurat audit replay` lists the ids"
    )


def _print_report(report: Report) -> None:
    click.echo(f"{report.verdict.value}: {report.records} records")
    if report.first_fault is not None:
        click.echo(f"  first fault: {story.printable(str(report.first_fault))}")
        click.echo(f"  faults: {report.faults}")
    if report.verdict is LogVerdict.UNPROVEN:
        click.echo("  the log is empty: there is nothing to prove")
    for name, counts in (("outcomes", report.outcomes), ("agents", report.agents)):
        if counts:
            click.echo(f"  {name}: " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    if report.decisions is not None:
        click.echo(f"  decision events checked: {report.decisions}")
    for head in report.tree_heads:
        click.echo(f"  tree head: {head}")
    if report.tree_heads:
        click.echo(
            "  Note the tree heads: given back as --tree-head, they show if the log is cut or rewritten"
            " later."
        )
