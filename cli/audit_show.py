"""`jurat audit show`: the story of one decision, in plain words.

Exit codes: 0 it was verified, 1 something does not hold or is suspect, 2 not found, unproven, or could not tell. What a
record is worth is what `jurat audit verify` says of it. Not here: the story itself
(`jurat.audit.story`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import click

from jurat.audit import standing as standings
from jurat.audit import story
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.keys import TrustedKey
from jurat.audit.log import Fault, LogEntry, WitnessedHead
from jurat.audit.merkle import Frontier
from jurat.audit.record import Statement
from jurat.audit.standing import Standing
from jurat.audit.verifier import Verifier
from jurat.cli.audit_witnessed import Witnessed, witnessed_heads
from jurat.cli.disclosed import ERASED, VEILED, disclosures_option, unveiler
from jurat.cli.log_entries import EXIT_COULD_NOT_TELL, LOG_FILE, Connect, begun, log_entries
from jurat.cli.options import connect_options, moment_of
from jurat.cli.trust_option import Trusted, trust_options
from jurat.schemas.errors import AuditError, ConfigurationError, JuratError, LogForked, ProofInvalid
from jurat.schemas.shown import printable

_PLAIN_FILE = click.Path(path_type=Path, dir_okay=False)
_HOLDS = "the signature, the record's form, and its chain up to here hold"


@dataclass(frozen=True, slots=True)
class _Found:
    """The record.

    Attributes:
        index: its leaf's index.
        fault: what does not hold.
        witnessed_at: T, by which its key is judged.
        key: the trusted key that signed it.
        head: the first checkpoint that witnesses saw with it.
    """

    entry: LogEntry
    statement: Statement
    index: int
    fault: Fault | None
    witnessed_at: int | None
    key: TrustedKey | None = None
    standing: Standing = Standing.GOOD
    head: WitnessedHead | None = None
    is_erased: bool = False


@click.command(name="show", short_help="Tell the story of one decision.")
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
    trusted: Trusted,
    witness_policy: Path | None,
    checkpoints: Path | None,
    disclosures: Path | None,
) -> None:
    """Tell the story of the decision ID in plain words, and whether it holds.

    Exit code: 0 it was verified, 1 something does not hold or is SUSPECT, 2 not found, UNPROVEN, or could not tell. A
    record under a credential is UNPROVEN without --witness-policy: nothing else tells when it was signed.
    """
    if checkpoints is not None and witness_policy is None:
        raise click.UsageError("got --history without --witness-policy, which says whose checkpoints count")
    if witness_policy is not None and str(source) == "-":
        raise click.UsageError("got --input - and --witness-policy, expected a file: it is read twice")
    try:
        seen = None
        if witness_policy is not None:
            seen = asyncio.run(_seen(witness_policy, checkpoints, connect))
        found = asyncio.run(
            _sought(decision_id, source, connect, trusted, seen=seen, disclosures=disclosures)
        )
        if found.head is not None:
            asyncio.run(_check_head(log_entries(source, connect), found.head))
    except (LogForked, ProofInvalid) as error:
        click.echo(printable(f"jurat: DO NOT RELY ON THIS LOG: {error}"), err=True)
        ctx.exit(1)
    except JuratError as error:
        click.echo(printable(f"jurat: {error}"), err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    standing, code = _worth(found, is_witnessed=seen is not None)
    if found.statement.is_veiled:
        click.echo(VEILED)
        if found.is_erased:
            click.echo(ERASED)
    told = story.tell(
        found.entry,
        found.statement,
        standing=standing,
        index=found.index,
        under=None if seen is None else _told(found.head),
        authority=_authority(found.key),
    )
    click.echo(told, nl=False)
    ctx.exit(code)


async def _seen(policy: Path, checkpoints: Path | None, connect: Connect) -> Witnessed:
    """What witnesses saw.

    Raises:
        ProofInvalid: a checkpoint does not hold.
    """
    seen = await witnessed_heads(policy, checkpoints, connect)
    if seen.faults:
        raise ProofInvalid(seen.faults[0].reason)
    return seen


async def _sought(
    decision_id: str,
    source: Path | None,
    connect: Connect,
    trusted: Trusted,
    *,
    seen: Witnessed | None,
    disclosures: Path | None,
) -> _Found:
    async with begun(log_entries(source, connect)) as entries:
        keys = trusted.under(await trusted.beside(source, connect))
        async with unveiler(source, connect, given=disclosures, trust=keys, only=decision_id) as lifts:
            verifier = Verifier(keys, unveiler=lifts, witnessed=None if seen is None else seen.heads)
            found = await _find(entries, verifier, lifts, decision_id)
            place, key = found.entry.partition, keys.by_keyid.get(found.entry.record.signatures[0].keyid)
            standing = Standing.GOOD
            if found.fault is None and key is not None:
                record = found.statement.predicate
                standing = standings.standing(key, record, witnessed_at=found.witnessed_at)
            heads = () if seen is None else seen.heads
            covering = (one for one in heads if one.partition == place and one.size > found.index)
            return replace(
                found,
                key=key,
                standing=standing,
                head=next(covering, None),
                is_erased=decision_id in lifts.erased,
            )


def _worth(found: _Found, *, is_witnessed: bool) -> tuple[str, int]:
    """What the record is worth, in words, and the exit code; the verdict is that of `jurat audit verify`."""
    if found.fault is not None:
        return f"DO NOT RELY ON THIS RECORD: {found.fault.reason}", 1
    if found.standing is Standing.SUSPECT:
        return f"SUSPECT: {_HOLDS}; but somebody else may have had a key behind it when witnesses saw it.", 1
    if is_witnessed and found.head is None:
        return f"UNPROVEN: {_HOLDS}; but no witnessed checkpoint covers it yet.", EXIT_COULD_NOT_TELL
    if found.standing is Standing.UNPROVEN:
        ask = "" if is_witnessed else " Name the witnesses: --witness-policy FILE."
        return (
            f"UNPROVEN: {_HOLDS}; but no witness tells when it was signed, so nobody knows whether its key held.{ask}",
            EXIT_COULD_NOT_TELL,
        )
    return "Verified now: the signature, the record's form, and its chain up to here.", 0


async def _find(
    entries: AsyncIterator[LogEntry | Fault], verifier: Verifier, lifts: Unveiler, decision_id: str
) -> _Found:
    broken: dict[str, Fault] = {}
    leaves: dict[int, int] = {}
    async for entry in entries:
        if isinstance(entry, Fault):
            continue  # no record, and no leaf
        index = leaves.get(entry.partition, 0)
        leaves[entry.partition] = index + 1
        at = verifier.witnessed_at(entry.partition)
        fault = verifier.add(entry)
        if fault is not None:
            broken.setdefault(entry.record.chain, fault)
        try:
            statement = parse_any(entry.record.payload)
        except AuditError:
            continue  # it has a fault, and no id
        if statement.predicate.decision_id != decision_id:
            continue
        if fault is not None:
            return _Found(entry, statement, index, fault, at)
        if (earlier := broken.get(entry.record.chain)) is not None:
            reason = f"its signature and form hold, but its chain is broken before it ({earlier})"
            fault = Fault(entry.place, reason)
        return _Found(entry, lifts.lift(statement), index, fault, at)
    raise ConfigurationError(
        f"there is no decision {decision_id[:100]!r} in this log; `jurat audit replay` lists the ids"
    )


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


def _authority(key: TrustedKey | None) -> list[str]:
    """The credentials behind the key that signed, the session's first, with their times."""
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
