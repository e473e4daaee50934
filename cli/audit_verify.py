"""`jurat audit verify`: does the log hold?

Exit codes: 0 valid, 1 invalid, 2 could not tell. Not here: the checks (`jurat.audit.verifier`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from jurat import settings
from jurat.audit import export, story
from jurat.audit.disclosure_reader import Unveiler, VeilCounts
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.audit.keys import Trust
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Fault, LogEntry, Place, TreeHead, parse_tree_head
from jurat.audit.verifier import LogVerdict, Report, Verifier
from jurat.cli.disclosed import disclosures_option, unveiler
from jurat.cli.files import lines
from jurat.cli.log_entries import EXIT_COULD_NOT_TELL, LOG_FILE, Connect, log_entries
from jurat.cli.options import connect_options
from jurat.schemas.errors import AuditError, JuratError, TopicMissing
from jurat.streams import topics
from jurat.streams.replay import replay

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

EXIT_CODES = {LogVerdict.VALID: 0, LogVerdict.INVALID: 1, LogVerdict.UNPROVEN: EXIT_COULD_NOT_TELL}


@click.command(name="verify")
@click.argument("file", type=LOG_FILE, required=False)
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
@click.option("--decisions", type=LOG_FILE, help="Check decision events too, from this file.")
@click.option("--with-decisions", is_flag=True, help="Check decision events too, from Kafka.")
@disclosures_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path | None,
    connect: Connect,
    trust: Path | None,
    heads: tuple[str, ...],
    decisions: Path | None,
    disclosures: Path | None,
    *,
    with_decisions: bool,
    as_json: bool,
) -> None:
    """Verify the audit topic, or an export FILE (`-`: standard input).

    Exit code: 0 valid, 1 invalid, 2 could not tell.
    """
    if decisions is not None and with_decisions:
        raise click.UsageError("got --decisions and --with-decisions, expected one of them")
    if [str(file), str(decisions), str(disclosures)].count("-") > 1:
        raise click.UsageError(
            "got standard input for two of log, decisions and disclosures, expected it for one"
        )
    try:
        trusted = load_trust(trust or settings.keys_dir() / TRUST_FILE)
        noted = tuple(parse_tree_head(head) for head in heads)
        live = connect() if with_decisions else None

        async def run() -> Report:
            async with unveiler(file, connect, given=disclosures, trust=trusted) as lifts:
                return await _verify(log_entries(file, connect), trusted, noted, (decisions, live), lifts)

        report = asyncio.run(run())
    except JuratError as error:
        click.echo(f"jurat: could not tell: {error}", err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    if as_json:
        click.echo(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print_report(report)
    ctx.exit(EXIT_CODES[report.verdict])


async def _verify(
    entries: AsyncIterator[LogEntry | Fault],
    trust: Trust,
    heads: tuple[TreeHead, ...],
    decisions: tuple[Path | None, Connection | None],
    lifts: Unveiler,
) -> Report:
    file, live = decisions
    ledger = None if file is None and live is None else DecisionLedger()
    verifier = Verifier(trust, tree_heads=heads, ledger=ledger, unveiler=lifts)
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
    if report.veiled.veiled:
        click.echo(f"  {_veiled(report.veiled)}")
    for head in report.tree_heads:
        click.echo(f"  tree head: {head}")
    if report.tree_heads:
        click.echo(
            "  Note the tree heads: given back as --tree-head, they show if the log is cut or rewritten"
            " later."
        )


def _veiled(counts: VeilCounts) -> str:
    said = f"veiled records: {counts.veiled}, of which {counts.disclosed} were read by their disclosures"
    if counts.erased:
        said += f"; {counts.erased} were erased, as a signed statement says"
    if counts.withheld:
        said += f"; {counts.withheld} WERE NOT DISCLOSED: what is in them was not checked"
    return said
