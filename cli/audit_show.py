"""`jurat audit show`: the story of one decision, in plain words.

Exit codes: 0 it was verified, 1 something does not hold, 2 not found or could not tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path

import click

from jurat import settings
from jurat.audit import story
from jurat.audit.disclosure import parse_any
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.audit.log import Fault, LogEntry
from jurat.audit.record import Statement
from jurat.audit.verifier import Verifier
from jurat.cli.disclosed import VEILED, disclosures_option, unveiler
from jurat.cli.log_entries import EXIT_COULD_NOT_TELL, LOG_FILE, Connect, log_entries
from jurat.cli.options import connect_options
from jurat.schemas.errors import AuditError, ConfigurationError, JuratError


@click.command(name="show")
@click.argument("decision_id", metavar="ID")
@connect_options
@click.option("--input", "source", type=LOG_FILE, help="Read an export file instead of Kafka.")
@click.option(
    "--trust", type=click.Path(path_type=Path, dir_okay=False), help="Trust file; else the key folder's."
)
@disclosures_option
@click.pass_context
def command(
    ctx: click.Context,
    decision_id: str,
    connect: Connect,
    source: Path | None,
    trust: Path | None,
    disclosures: Path | None,
) -> None:
    """Tell the story of the decision ID in plain words, and whether it holds.

    Exit code: 0 it was verified, 1 something does not hold, 2 not found or could not tell.
    """
    try:
        trusted = load_trust(trust or settings.keys_dir() / TRUST_FILE)

        async def run() -> tuple[LogEntry, Statement, Fault | None]:
            async with unveiler(source, connect, given=disclosures, trust=trusted, only=decision_id) as lifts:
                return await _find(
                    log_entries(source, connect), Verifier(trusted, unveiler=lifts), decision_id
                )

        found = asyncio.run(run())
    except JuratError as error:
        click.echo(f"jurat: {error}", err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    entry, statement, fault = found
    if fault is None:
        standing = "Verified now: the signature, the record's form, and its chain up to here."
    else:
        standing = f"DO NOT RELY ON THIS RECORD: {fault.reason}"
    if statement.is_veiled:
        click.echo(VEILED)
    click.echo(story.tell(entry, statement, standing=standing), nl=False)
    ctx.exit(0 if fault is None else 1)


async def _find(
    entries: AsyncGenerator[LogEntry | Fault, None], verifier: Verifier, decision_id: str
) -> tuple[LogEntry, Statement, Fault | None]:
    broken: dict[str, Fault] = {}
    async with aclosing(entries):  # it ends in the middle of the log
        async for entry in entries:
            if isinstance(entry, Fault):
                continue
            outcome = verifier.check(entry)
            if isinstance(outcome, Fault):
                broken.setdefault(entry.record.chain, outcome)
                with suppress(AuditError):
                    statement = parse_any(entry.record.payload)
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
