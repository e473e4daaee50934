"""`jurat audit verify`: does the log hold?

Exit codes: 0 `VALID`; 1 something was found that is wrong: `INVALID`, `SUSPECT`, `INCOMPLETE`; 2 could not tell:
`UNPROVEN`, or an error. Not here: the checks (`jurat.audit.verifier`), sharing them among processes (`audit_jobs.py`),
the report in words (`audit_report.py`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import orjson

from jurat.audit import export
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.input_manifest import MAX_LINE_BYTES, InputsHeld, parse_inputs
from jurat.audit.keys import Trust
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Fault, Place, TreeHead, parse_tree_head
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_record import Rejudge
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.cli.audit_bundle import is_bundle, print_bundle_report, verified_bundle
from jurat.cli.audit_jobs import MAX_JOBS, verify_all
from jurat.cli.audit_report import print_report
from jurat.cli.audit_tiles import verified_tiles
from jurat.cli.audit_witnessed import Witnessed, witnessed_heads
from jurat.cli.bundles import bundle_folder
from jurat.cli.disclosed import disclosures_option, unveiler
from jurat.cli.files import lines
from jurat.cli.log_entries import EXIT_COULD_NOT_TELL, LOG_FILE, Connect, begun, export_lines, raw_entries
from jurat.cli.options import connect_options
from jurat.cli.trust_option import Trusted, trust_options
from jurat.schemas.errors import AuditError, ConfigurationError, JuratError, TopicMissing
from jurat.schemas.shown import printable

if TYPE_CHECKING:
    from jurat.streams.inputs_held import Ended
    from jurat.streams.kafka import Connection

EXIT_CODES: Final = {
    LogVerdict.VALID: 0,
    LogVerdict.INVALID: 1,
    LogVerdict.SUSPECT: 1,
    LogVerdict.INCOMPLETE: 1,
    LogVerdict.UNPROVEN: EXIT_COULD_NOT_TELL,
}
_PLAIN_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What is checked beside the log: files, or the topics."""

    decisions: Path | None
    inputs: Path | None
    live_decisions: Connection | None
    live_inputs: Connection | None


@click.command(name="verify", short_help="Verify the topic, an export, a bundle or tiles.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@connect_options
@trust_options
@click.option(
    "--tree-head",
    "heads",
    multiple=True,
    metavar="PARTITION:SIZE:ROOT",
    help="A head noted earlier; repeatable.",
)
@click.option(
    "--witness-policy",
    type=_PLAIN_FILE,
    help="Logs and witnesses (c2sp.org/tlog-policy): check against the checkpoints that they saw.",
)
@click.option("--history", "checkpoints", type=LOG_FILE, help="Checkpoints from this file instead of Kafka.")
@click.option("--decisions", type=LOG_FILE, help="Check decision events too, from this file.")
@click.option("--with-decisions", is_flag=True, help="Check decision events too, from Kafka.")
@disclosures_option
@click.option("--inputs", type=LOG_FILE, help="Check that every input of this manifest has a record.")
@click.option(
    "--with-inputs", is_flag=True, help="Check that every input on the agents' topics has a record."
)
@click.option(
    "--policies",
    "folders",
    multiple=True,
    metavar="BUNDLE",
    help="Evaluate the policies again: a bundle, or a folder of bundles; repeatable.",
)
@click.option(
    "--with-policies",
    is_flag=True,
    help="Evaluate again by the bundles on the topic of policies, and those that come with jurat.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    default=1,
    show_default=True,
    help="Processes that look at records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path | None,
    connect: Connect,
    *,
    trusted: Trusted,
    heads: tuple[str, ...],
    witness_policy: Path | None,
    checkpoints: Path | None,
    decisions: Path | None,
    inputs: Path | None,
    disclosures: Path | None,
    folders: tuple[str, ...],
    jobs: int,
    with_decisions: bool,
    with_inputs: bool,
    with_policies: bool,
    as_json: bool,
) -> None:
    """Verify the audit topic, an export FILE (`-`: standard input), an auditor's bundle, or a folder of tiles.

    Exit code: 0 valid; 1 something is wrong: invalid, suspect, incomplete; 2 could not tell.
    """
    _check_pairs(decisions=(decisions, with_decisions), inputs=(inputs, with_inputs))
    if [str(one) for one in (file, decisions, inputs, disclosures, checkpoints)].count("-") > 1:
        raise click.UsageError("got standard input for two files, expected it for one")
    if checkpoints is not None and witness_policy is None:
        raise click.UsageError("got --history without --witness-policy, which says whose checkpoints count")
    asks_kafka = with_decisions or with_inputs or with_policies
    of_records = (decisions, inputs, disclosures, folders, asks_kafka)
    try:
        if file is not None and is_bundle(file):
            _check_alone(
                "a bundle", "it holds its own checkpoints and policies", heads, checkpoints, *of_records
            )
            found = verified_bundle(file, trusted, witness_policy)
            print_bundle_report(found, as_json=as_json)
            ctx.exit(EXIT_CODES[found.verdict])
        keys = trusted.under(asyncio.run(trusted.beside(file, connect)))
        noted = tuple(parse_tree_head(head) for head in heads)
        if file is not None and file.is_dir():
            _check_alone(
                "tiles", "they hold checkpoints, and of records only digests", checkpoints, *of_records
            )
            _finish(ctx, verified_tiles(file, keys, witness_policy, noted), as_json=as_json)
        live = connect() if asks_kafka else None
        witnessed = None
        if witness_policy is not None:
            witnessed = asyncio.run(witnessed_heads(witness_policy, checkpoints, connect))
        beside = _Beside(decisions, inputs, live if with_decisions else None, live if with_inputs else None)
        rejudge = _policies(folders, live if with_policies else None, keys)
        with _bar(file) as told:
            lifting = unveiler(file, connect, given=disclosures, trust=keys)
            report = asyncio.run(
                _verify(
                    file,
                    connect,
                    (trusted, keys),
                    (noted, witnessed),
                    beside=beside,
                    rejudge=rejudge,
                    lifting=lifting,
                    jobs=jobs,
                    told=told,
                )
            )
    except JuratError as error:
        click.echo(printable(f"jurat: could not tell: {error}"), err=True)
        ctx.exit(EXIT_COULD_NOT_TELL)
    _finish(ctx, report, as_json=as_json)


def _finish(ctx: click.Context, report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        print_report(report)
    ctx.exit(EXIT_CODES[report.verdict])


def _check_pairs(**given: tuple[Path | None, bool]) -> None:
    for name, (file, is_live) in given.items():
        if file is not None and is_live:
            raise click.UsageError(f"got --{name} and --with-{name}, expected one of them")


def _check_alone(what: str, why: str, *given: object) -> None:
    """Refuse what is for a log of records only, rather than leave it out in silence."""
    if any(given):
        raise ConfigurationError(
            f"got options for a log of records with {what}, expected only those about trust, --witness-policy and"
            f" --json: {why}"
        )


def _policies(folders: Iterable[str], live: Connection | None, trust: Trust) -> Rejudge | None:
    if not folders and live is None:
        return None
    from jurat.policies.folder import shipped_bundle, shipped_bundles  # noqa: PLC0415 - as below
    from jurat.streams.rejudging import (  # noqa: PLC0415 - the policy engine, which few verifications need
        Rejudging,
        bundles_in,
        bundles_published,
    )

    found = bundles_in(bundle_folder(name) for name in folders)
    if live is not None:
        # Agents judge by the bundles that come with jurat until others are published: these are on no topic.
        found |= bundles_in(map(shipped_bundle, shipped_bundles()))
        with suppress(TopicMissing):
            found |= asyncio.run(bundles_published(live, trust))
    return Rejudging(found)


async def _verify(
    file: Path | None,
    connect: Connect,
    trust: tuple[Trusted, Trust],
    heads: tuple[tuple[TreeHead, ...], Witnessed | None],
    *,
    beside: _Beside,
    rejudge: Rejudge | None,
    lifting: AbstractAsyncContextManager[Unveiler],
    jobs: int,
    told: Callable[[int], None],
) -> Report:
    trusted, keys = trust
    agents = sorted({key.agent for key in keys.keys})
    # Before the log: what was committed by now has its record in what is read from here on.
    live = beside.live_inputs
    ended: list[Ended] = []
    if live is not None:
        from jurat.streams.inputs_held import ended_inputs  # noqa: PLC0415 - Kafka, which files do not need

        ended = await ended_inputs(live, agents)
    checks_decisions = beside.decisions is not None or beside.live_decisions is not None
    noted, seen = heads
    ledger = DecisionLedger() if checks_decisions else None
    faults = [] if seen is None else list(seen.faults)
    if ledger is not None:
        faults += await _add_decisions(ledger, beside, agents)
    async with begun(raw_entries(file, connect)) as entries, lifting as lifts:
        if file is None:  # again: records up to the end that is fixed now may know of more statements
            keys = trusted.under(await trusted.beside(file, connect))
        verifier = Verifier(
            keys,
            tree_heads=noted,
            ledger=ledger,
            witnessed=None if seen is None else seen.heads,
            rejudge=rejudge,
            unveiler=lifts,
            with_inputs=live is not None or beside.inputs is not None,
        )
        if seen is not None:
            verifier.add_history(seen.history)
        for fault in faults:
            verifier.fault(fault.place, fault.reason, fault.check)
        await verify_all(
            entries,
            verifier,
            jobs=jobs if lifts.disclosed is None else 1,  # disclosures do not travel to other processes
            trust=keys,
            rejudge=rejudge,
            from_topic=file is None,
            told=told,
        )
    async with aclosing(_held(beside, ended)) as stretches:
        async for held in stretches:
            verifier.add_inputs(held)
    return verifier.report()


async def _add_decisions(ledger: DecisionLedger, beside: _Beside, agents: Iterable[str]) -> list[Fault]:
    """Remember the decision events; what is none comes back."""
    faults: list[Fault] = []
    if beside.decisions is not None:
        for number, line in export_lines(beside.decisions, export.DECISIONS):
            try:
                topic, partition, offset, value = export.parse_decision(line, number)
            except AuditError as error:
                faults.append(Fault(Place(line=number), f"decision export: {error}"))
                continue
            ledger.add_event(Place(topic, partition, offset, number), value)
    if beside.live_decisions is not None:
        from jurat.streams import topics  # noqa: PLC0415 - Kafka, which files do not need
        from jurat.streams.replay import replay  # noqa: PLC0415 - as above

        live = beside.live_decisions
        for agent in agents:
            # An agent that never ran has no topic; records whose decision events are missing are faults below.
            with suppress(TopicMissing):
                async for record in replay(live, [live.topic(topics.decisions(agent).name)]):
                    ledger.add_event(
                        Place(record.topic, record.partition, record.offset), record.value or b""
                    )
    return faults


async def _held(beside: _Beside, ended: Iterable[Ended]) -> AsyncGenerator[InputsHeld, None]:
    if beside.inputs is not None:
        for number, line in lines(beside.inputs, at_most=MAX_LINE_BYTES):
            try:
                yield parse_inputs(line, number)
            except AuditError as error:
                raise ConfigurationError(
                    f"the input manifest {beside.inputs} cannot be read: {error}"
                ) from error
    if beside.live_inputs is not None:
        from jurat.streams.inputs_held import inputs_held  # noqa: PLC0415 - Kafka, which files do not need

        async with aclosing(inputs_held(beside.live_inputs, ended)) as found:
            async for held in found:
                yield held


@contextmanager
def _bar(file: Path | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _size: None
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second, which only terminals need
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    is_known = file is not None and file.is_file()
    columns = (TextColumn("verifying"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verifying", total=file.stat().st_size if file is not None and is_known else None)
        yield lambda size: bar.advance(task, size)
