"""`jurat audit replay`: the log as signed lines that verify, or as rows to look at and count.

Rules upheld here: every record is told by its own time, never by Kafka's, which is not signed; what cannot be read as a
record is counted and said, never skipped silently; half a file never stands under the name that was asked for.

Not here: verifying (`audit_verify.py`), formats (`audit_printers.py`, `audit_parquet.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from jurat import settings
from jurat.agents.catalogue import AGENTS
from jurat.audit import export
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.input_manifest import print_inputs
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry
from jurat.audit.record import Statement
from jurat.audit.selection import Selection
from jurat.cli.audit_parquet import Parquet
from jurat.cli.audit_printers import Csv, Printer, RowLines, SignedLines, TablePrinter
from jurat.cli.audit_selection import selection_options
from jurat.cli.disclosed import Hidden, export_disclosures, unveiler
from jurat.cli.files import PRIVATE, writing
from jurat.cli.log_entries import LOG_FILE, Connect, begun, log_entries
from jurat.cli.options import connect_options
from jurat.schemas.errors import AuditError
from jurat.schemas.shown import printable
from jurat.streams import topics
from jurat.streams.inputs_held import Ended, ended_inputs, inputs_held
from jurat.streams.replay import replay

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

FORMATS: Final[Mapping[str, Callable[[IO[bytes]], Printer]]] = {
    "table": TablePrinter,
    "jsonl": SignedLines,
    "rows": RowLines,
    "csv": Csv,
    "parquet": Parquet,
}
"""`jsonl` is the export that verifies; all others are rows, which prove nothing."""

_ROW_SUFFIXES: Final = (".csv", ".parquet")


@click.command(name="replay")
@connect_options
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option(
    "--format", "layout", type=click.Choice([*FORMATS]), help="Default: table; jsonl with --output."
)
@selection_options
@click.option("--input", "source", type=LOG_FILE, help="Read an export file instead of Kafka.")
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the decision events to this file.",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write to this file which inputs the agents have ended with.",
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
    wanted: Selection,
    source: Path | None,
    decisions: Path | None,
    inputs: Path | None,
    *,
    disclosures: Path | None,
) -> None:
    """Read the audit log from its beginning to its present end.

    As jsonl it is an export file: one line per record, which `jurat audit verify FILE` verifies with no
    Kafka. A filtered export leaves out records, so it does not verify as a whole. The other formats are for reading and
    counting: table, and flat rows as JSON lines (rows), csv and parquet.
    """
    files = [one.resolve() for one in (output, decisions, inputs, disclosures) if one is not None]
    if len(set(files)) != len(files):
        raise click.UsageError(
            "got the same file for two of --output, --decisions, --inputs and --disclosures, expected two"
        )
    if layout is None and output is not None and output.suffix in _ROW_SUFFIXES:
        raise click.UsageError(
            f"got --output {output} without --format, expected --format {output.suffix[1:]}; jsonl, the export that"
            " verifies, is what is written without"
        )
    if layout == "parquet" and output is None:
        raise click.UsageError("got --format parquet without --output, expected a file: it is not text")
    # Before the log: what was committed by now has its record in what is read from here on.
    ended = [] if inputs is None else asyncio.run(ended_inputs(connect(), AGENTS))
    with writing(output) as file:
        printer = FORMATS[layout or ("jsonl" if output else "table")](file)
        read = asyncio.run(_replayed(source, connect, printer, wanted))
        printer.close()
    if decisions is not None:
        with writing(decisions) as file:
            asyncio.run(_export_decisions(connect(), read.agents, file))
    if inputs is not None:
        with writing(inputs) as file:
            asyncio.run(_export_inputs(connect(), ended, file))
    if disclosures is not None:
        with writing(disclosures, mode=PRIVATE) as file:
            asyncio.run(export_disclosures(connect(), read.veiled, file))
    read.hidden.tell()
    if read.left_out:
        raise AuditError(
            f"{read.left_out} records could not be read and were left out, so this is not the whole log: verify the"
            " topic itself"
        )
    if read.hidden.withheld:
        raise AuditError("this is not all that was asked for: of some records nobody here can tell")


class _Read:
    """What a replay met.

    Attributes:
        veiled: decisions whose records are veiled.
        hidden: of them, those that a filter by subject cannot tell of.
        left_out: how many entries were left out.
    """

    def __init__(self) -> None:
        self._agents: set[str] = set()
        self.veiled: list[str] = []
        self.hidden = Hidden()
        self.left_out = 0

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents whose records were seen."""
        return tuple(sorted(self._agents))

    def note(self, statement: Statement) -> None:
        """A record was seen."""
        self._agents.add(statement.predicate.agent)
        if statement.is_veiled:
            self.veiled.append(statement.predicate.decision_id)

    def leave_out(self, place: object, why: str) -> None:
        """An entry cannot be printed, or a filter cannot tell."""
        click.echo(printable(f"jurat: left out: {place}: {why}"), err=True)
        self.left_out += 1


async def _replayed(source: Path | None, connect: Connect, printer: Printer, wanted: Selection) -> _Read:
    path = settings.keys_dir() / TRUST_FILE  # says who may state an erasure
    trust = load_trust(path) if path.exists() else Trust(())
    lifting = unveiler(source, connect, given=None, trust=trust)
    async with begun(log_entries(source, connect)) as entries, lifting as lifts:
        return await _replay(entries, printer, wanted, lifts)


async def _replay(
    entries: AsyncIterator[LogEntry | Fault], printer: Printer, wanted: Selection, lifts: Unveiler
) -> _Read:
    """Print what is wanted, with values in place of veils where they are at hand."""
    read = _Read()
    async for entry in entries:
        if isinstance(entry, Fault):
            read.leave_out(entry.place, entry.reason)
            continue
        statement: Statement | None = None
        with suppress(AuditError):  # replay shows what is there; verifying is another command
            statement = parse_any(entry.record.payload)
            read.note(statement)
            statement = lifts.lift(statement)
        if statement is None:
            if not wanted.is_everything:
                read.leave_out(entry.place, "no record, so that no filter can tell")
                continue
            click.echo(printable(f"jurat: unreadable: {entry.place}: its payload is no record"), err=True)
        elif statement.is_veiled and wanted.subject is not None:
            read.hidden.add(statement, lifts)
            continue
        record = None if statement is None else statement.predicate
        if record is None or wanted(record):
            printer.add(entry, record)
    return read


async def _export_inputs(connection: Connection, ended: list[Ended], file: IO[bytes]) -> None:
    async with aclosing(inputs_held(connection, ended)) as found:
        async for held in found:
            file.write(print_inputs(held) + b"\n")


async def _export_decisions(connection: Connection, agents: tuple[str, ...], file: IO[bytes]) -> None:
    names = [connection.topic(topics.decisions(agent).name) for agent in agents]
    async for record in replay(connection, names):
        value = record.value or b""
        file.write(export.print_decision(record.topic, record.partition, record.offset, value=value) + b"\n")
