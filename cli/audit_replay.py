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

from jurat.agents.catalogue import AGENTS
from jurat.audit import export
from jurat.audit.input_manifest import print_inputs
from jurat.audit.log import Fault, LogEntry
from jurat.audit.record import DecisionRecord, parse
from jurat.audit.selection import Selection
from jurat.cli.audit_parquet import Parquet
from jurat.cli.audit_printers import Csv, Printer, RowLines, SignedLines, TablePrinter
from jurat.cli.audit_selection import selection_options
from jurat.cli.files import writing
from jurat.cli.log_entries import LOG_FILE, Connect, log_entries
from jurat.cli.options import connect_options
from jurat.schemas.errors import AuditError
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
def command(
    connect: Connect,
    output: Path | None,
    layout: str | None,
    wanted: Selection,
    source: Path | None,
    decisions: Path | None,
    inputs: Path | None,
) -> None:
    """Read the audit log from its beginning to its present end.

    As jsonl it is an export file: one line per record, which `jurat audit verify FILE` verifies with no
    Kafka. A filtered export leaves out records, so it does not verify as a whole. The other formats are for reading and
    counting: table, and flat rows as JSON lines (rows), csv and parquet.
    """
    files = [one.resolve() for one in (output, decisions, inputs) if one is not None]
    if len(set(files)) != len(files):
        raise click.UsageError(
            "got the same file for two of --output, --decisions and --inputs, expected two"
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
        agents, left_out = asyncio.run(_replay(log_entries(source, connect), printer, wanted))
        printer.close()
    if decisions is not None:
        with writing(decisions) as file:
            asyncio.run(_export_decisions(connect(), agents, file))
    if inputs is not None:
        with writing(inputs) as file:
            asyncio.run(_export_inputs(connect(), ended, file))
    if left_out:
        raise AuditError(
            f"{left_out} records could not be read and were left out, so this is not the whole log: verify the topic"
            " itself"
        )


async def _replay(
    entries: AsyncIterator[LogEntry | Fault], printer: Printer, wanted: Selection
) -> tuple[tuple[str, ...], int]:
    """Print what is wanted; gives the agents whose records were seen, and how many entries were left out unread."""
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
        if record is None:
            if not wanted.is_everything:
                click.echo(f"jurat: left out: {entry.place}: no record, so that no filter can tell", err=True)
                left_out += 1
                continue
            click.echo(f"jurat: unreadable: {entry.place}: its payload is no record", err=True)
        if record is None or wanted(record):
            printer.add(entry, record)
    return tuple(sorted(agents)), left_out


async def _export_inputs(connection: Connection, ended: list[Ended], file: IO[bytes]) -> None:
    async with aclosing(inputs_held(connection, ended)) as found:
        async for held in found:
            file.write(print_inputs(held) + b"\n")


async def _export_decisions(connection: Connection, agents: tuple[str, ...], file: IO[bytes]) -> None:
    names = [connection.topic(topics.decisions(agent).name) for agent in agents]
    async for record in replay(connection, names):
        value = record.value or b""
        file.write(export.print_decision(record.topic, record.partition, record.offset, value=value) + b"\n")
