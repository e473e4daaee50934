"""`jurat audit show`: the story of one decision, in plain words.

Exit codes: 0 it was verified, 1 something does not hold, 2 not found or could not tell. Not here: the story itself
(`jurat.audit.story`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from jurat.audit import story, tlog_policy
from jurat.audit.disclosure import parse_any
from jurat.audit.history import History
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry, WitnessedHead
from jurat.audit.merkle import Frontier
from jurat.audit.record import Statement
from jurat.audit.verifier import Verifier
from jurat.cli.disclosed import ERASED, VEILED, disclosures_option, unveiler
from jurat.cli.files import read_whole
from jurat.cli.log_entries import EXIT_COULD_NOT_TELL, LOG_FILE, Connect, checkpoints_of, log_entries
from jurat.cli.options import connect_options, moment_of
from jurat.cli.trust_option import trust_options
from jurat.schemas.errors import AuditError, ConfigurationError, JuratError, LogForked, ProofInvalid
from jurat.schemas.shown import printable

_PLAIN_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """The record, its leaf's index, and what does not hold."""

    entry: LogEntry
    statement: Statement
    index: int
    fault: Fault | None


@click.command(name="show")
@click.argument("decision_id", metavar="ID")
@connect_options
@click.option("--input", "source", type=LOG_FILE, help="Read an export file instead of Kafka.")
@trust_options
@click.option(
    "--witness-policy", type=_PLAIN_FILE, help="Logs and witnesses: tell the checkpoint that holds it."
)
@click.option(
    "--history", "checkpoints", type=_PLAIN_FILE, help="Checkpoints from this file instead of Kafka."
)
@disclosures_option
@click.pass_context
def command(
    ctx: click.Context,
    decision_id: str,
    connect: Connect,
    source: Path | None,
    *,
    trusted: Callable[[], Trust],
    witness_policy: Path | None,
    checkpoints: Path | None,
    disclosures: Path | None,
) -> None:
    """Tell the story of the decision ID in plain words, and whether it holds.

    Exit code: 0 it was verified, 1 something does not hold, 2 not found or could not tell.
    """
    if checkpoints is not None and witness_policy is None:
        raise click.UsageError("got --history without --witness-policy, which says whose checkpoints count")
    if witness_policy is not None and str(source) == "-":
        raise click.UsageError("got --input - and --witness-policy, expected a file: it is read twice")
    under: str | None = None
    try:
        keys = trusted()

        async def run() -> tuple[_Found, bool]:
            async with unveiler(source, connect, given=disclosures, trust=keys, only=decision_id) as lifts:
                verifier = Verifier(keys, unveiler=lifts)
                found = await _find(log_entries(source, connect), verifier, decision_id)
                return found, decision_id in lifts.erased

        found, is_erased = asyncio.run(run())
        if witness_policy is not None:
            history = History(
                tlog_policy.parse(read_whole(witness_policy, at_most=tlog_policy.MAX_POLICY_BYTES))
            )
            head = asyncio.run(_witnessed(checkpoints_of(checkpoints, connect), history, found))
            if head is not None:
                asyncio.run(_check_head(log_entries(source, connect), head))
            under = _told(head)
    except (LogForked, ProofInvalid) as error:
        click.echo(printable(f"jurat: DO NOT RELY ON THIS LOG: {error}"), err=True)
        ctx.exit(1)
    except JuratError as error:
        click.echo(printable(f"jurat: {error}"), err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    if found.fault is None:
        standing = "Verified now: the signature, the record's form, and its chain up to here."
    else:
        standing = f"DO NOT RELY ON THIS RECORD: {found.fault.reason}"
    if found.statement.is_veiled:
        click.echo(VEILED)
        if is_erased:
            click.echo(ERASED)
    told = story.tell(
        found.entry,
        found.statement,
        standing=standing,
        index=found.index,
        under=under,
        authority=_authority(keys, found.entry),
    )
    click.echo(told, nl=False)
    ctx.exit(0 if found.fault is None else 1)


async def _find(
    entries: AsyncGenerator[LogEntry | Fault, None], verifier: Verifier, decision_id: str
) -> _Found:
    broken: dict[str, Fault] = {}
    leaves: dict[int, int] = {}
    async with aclosing(entries):  # it ends in the middle of the log
        async for entry in entries:
            if isinstance(entry, Fault):
                continue  # no record, and no leaf
            index = leaves.get(entry.partition, 0)
            leaves[entry.partition] = index + 1
            outcome = verifier.check(entry)
            if isinstance(outcome, Fault):
                broken.setdefault(entry.record.chain, outcome)
                with suppress(AuditError):
                    statement = parse_any(entry.record.payload)
                    if statement.predicate.decision_id == decision_id:
                        return _Found(entry, statement, index, outcome)
            elif outcome.predicate.decision_id == decision_id:
                earlier = broken.get(entry.record.chain)
                if earlier is not None:
                    reason = f"its signature and form hold, but its chain is broken before it ({earlier})"
                    return _Found(entry, outcome, index, Fault(entry.place, reason))
                return _Found(entry, outcome, index, None)
    raise ConfigurationError(
        f"there is no decision {decision_id[:100]!r} in this log; `jurat audit replay` lists the ids"
    )


async def _witnessed(
    notes: AsyncGenerator[bytes, None], history: History, found: _Found
) -> WitnessedHead | None:
    """The first checkpoint that witnesses saw with the record in it."""
    async with aclosing(notes):
        async for one in notes:
            head = history.add(one)
            if head is not None and head.partition == found.entry.partition and head.size > found.index:
                return head
    return None


async def _check_head(entries: AsyncGenerator[LogEntry | Fault, None], head: WitnessedHead) -> None:
    """Check that the log has the checkpoint's root.

    Raises:
        ProofInvalid: it has another, or fewer records.
    """
    tree = Frontier()
    async with aclosing(entries):
        async for entry in entries:
            if isinstance(entry, LogEntry) and entry.partition == head.partition and tree.size < head.size:
                tree.append(entry.leaf())
    if (tree.size, tree.root()) != (head.size, head.root):
        raise ProofInvalid(
            f"partition {head.partition} does not have the root of the checkpoint of {head.size} records that witnesses"
            " saw: it was cut or rewritten"
        )


def _authority(keys: Trust, entry: LogEntry) -> list[str]:
    """The credentials behind the key that signed, the session's first, with their times."""
    key = keys.by_keyid.get(entry.record.signatures[0].keyid)
    if key is None or key.grant is None:
        return []
    told: list[str] = []
    for link in key.grant.links:
        line = f"{link.what}, from {moment_of(link.not_before)} to {moment_of(link.expiry)}"
        if link.effective is not None:
            line += f", REVOKED from {moment_of(link.effective)}"
        if link.compromised_since is not None:
            line += f", perhaps stolen since {moment_of(link.compromised_since)}"
        told.append(line)
    return told


def _told(head: WitnessedHead | None) -> str:
    if head is None:
        return "No checkpoint that witnesses saw holds it yet."
    at = ""
    if head.time is not None:
        at = f", which enough witnesses had seen at {moment_of(head.time)}"
    return f"It stands under the checkpoint of {head.size} records with the root {head.root.hex()}{at}."
