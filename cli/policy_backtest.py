"""`jurat policy backtest`: what a changed bundle would have said of the decisions in the log.

Rules upheld here: every record that was read is counted in the report; money stands in minor units beside its
currency; text of records cannot steer the terminal. Not here: judging (`jurat.policies.backtest`), verifying the log
(`jurat audit verify`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import orjson

from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.log import Fault, LogEntry
from jurat.audit.selection import Selection
from jurat.cli.backtest_input import past_log
from jurat.cli.bundles import bundle_folder, say
from jurat.cli.disclosed import disclosures_option
from jurat.cli.options import MOMENT, connect_options
from jurat.policies import PolicyEngine, load_bundle
from jurat.policies.backtest import DEFAULT_EXAMPLES, MAX_EXAMPLES, Backtest
from jurat.policies.backtest_judging import AsRecorded, Simulated
from jurat.policies.backtest_past import NotJudged
from jurat.policies.backtest_report import BacktestReport, Change, Changed, Example, Grouped, Said, Sum, Usage
from jurat.schemas.decision import Verdict
from jurat.schemas.shown import printable
from jurat.streams.past_decisions import past_decision, place_of, read

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

MAX_ROWS: Final = 20
"""Agents, actions or policies that the text names, the most affected first; `--json` names all."""

_HEADINGS: Final = {
    Change.ALLOWED: "newly allowed",
    Change.DENIED: "newly denied",
    Change.ESCALATED: "newly escalated",
}
_VERDICTS: Final = {Verdict.ALLOW: "allowed", Verdict.DENY: "denied", Verdict.ESCALATE: "escalated"}


@click.command(short_help="Judge past decisions by another bundle.")
@click.argument("new", metavar="NEW_BUNDLE")
@connect_options
@click.option("--old", metavar="BUNDLE", help="Compare with this bundle instead of the recorded verdicts.")
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Read an export file (`jurat audit replay --output`) or an auditor's bundle instead of Kafka.",
)
@disclosures_option
@click.option("--agent", help="Only this agent's decisions.")
@click.option("--from", "since", type=MOMENT, help="Only what was decided then or later: a date or RFC 3339.")
@click.option("--to", "until", type=MOMENT, help="Only what was decided before then.")
@click.option(
    "--examples",
    type=click.IntRange(0, MAX_EXAMPLES),
    default=DEFAULT_EXAMPLES,
    show_default=True,
    help="Decisions to show for each change, the earliest.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Work out anew what was used of budgets, from each bundle's own decisions; as recorded without it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def backtest(
    new: str,
    connect: Callable[[], Connection],
    old: str | None,
    source: Path | None,
    agent: str | None,
    since: str | None,
    until: str | None,
    examples: int,
    *,
    disclosures: Path | None,
    simulate: bool,
    as_json: bool,
) -> None:
    """Judge the decisions in the audit log again, by NEW_BUNDLE.

    Tells what would have been newly allowed, denied or escalated, and the money at stake. Nothing is decided anew and
    nothing is written. Signatures are not looked at: `jurat audit verify` does that.
    """
    if since is not None and until is not None and since >= until:
        raise click.UsageError(f"got --from {since} and --to {until}, expected --from before --to")
    compared = None if old is None else PolicyEngine(load_bundle(bundle_folder(old)))
    judging = PolicyEngine(load_bundle(bundle_folder(new)))
    by = Simulated if simulate else AsRecorded
    made = Backtest(judging, old=compared, judging=by, examples=examples)
    wanted = Selection(agent=agent, since=since, until=until)

    async def run() -> None:
        async with past_log(source, connect, disclosures=disclosures) as (entries, lifts):
            await judge_log(entries, made, wanted, lifts)

    asyncio.run(run())
    report = made.report()
    known = {name for engine in (judging, compared) if engine is not None for name in engine.bundle.agents}
    if agent is not None and agent not in known and not report.judged:
        raise click.UsageError(
            f"got --agent {agent!r}, of which no decision was judged, expected one in the log or of roles.yaml:"
            f" {', '.join(sorted(known))}"
        )
    if as_json:
        click.echo(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        say("\n".join(map(printable, _told(report))))  # a line feed in a record makes no line of its own


async def judge_log(
    entries: AsyncGenerator[LogEntry | Fault, None], made: Backtest, wanted: Selection, lifts: Unveiler
) -> None:
    """Judge the decisions of a log again, and count everything else in it."""
    async with aclosing(entries):
        async for entry in entries:
            record = read(entry, lifts)
            if isinstance(record, NotJudged):
                made.add(record)
            else:
                (made.add if wanted(record) else made.outside)(past_decision(record, place_of(entry)))


def _told(report: BacktestReport) -> Iterator[str]:
    yield f"new bundle: {report.new[0]}, sha256 {report.new[1]}"
    if report.old is None:
        yield "compared with: the recorded verdicts"
    else:
        yield f"compared with: {report.old[0]}, sha256 {report.old[1]}"
    if report.usage is Usage.SIMULATED:
        yield "used of budgets: simulated, from each bundle's own decisions"
    not_judged = sum(counted.records for counted in report.not_judged.values())
    yield (
        f"records: {report.records:,}, of which {report.judged:,} judged, {not_judged:,} not judged,"
        f" {report.outside:,} not asked for"
    )
    yield ""
    yield from _overview(report)
    for change in Change:
        if report.changes[change].examples:
            yield ""
            yield from _examples(change, report.changes[change])
    for heading, groups in (
        ("agent", report.by_agent),
        ("action", report.by_action),
        ("policy", report.by_policy),
    ):
        if groups:
            yield ""
            yield f"By {heading}:"
            yield from _groups(groups, report.titles if heading == "policy" else {})
    yield from _remarks(report)


def _overview(report: BacktestReport) -> Iterator[str]:
    other = f", {report.other_policies:,} of them by other policies" if report.other_policies else ""
    yield f"{'unchanged':<16} {report.unchanged:>9,}{other}"
    for change, heading in _HEADINGS.items():
        changed = report.changes[change]
        was = ", ".join(f"{changed.was[v]:,} were {_VERDICTS[v]}" for v in Verdict if changed.was.get(v))
        yield f"{heading:<16} {changed.total.decisions:>9,}" + (
            f"  {was}; {_money(changed.total)}" if was else ""
        )


def _money(total: Sum) -> str:
    stated = [f"{currency} {amount:,} minor units" for currency, amount in sorted(total.money.items())]
    if total.without_amount:
        stated.append(f"{total.without_amount:,} without an amount")
    return ", ".join(stated)


def _examples(change: Change, changed: Changed) -> Iterator[str]:
    shown, heading = len(changed.examples), _HEADINGS[change].capitalize()
    yield f"{heading}, the earliest {shown:,} of {changed.total.decisions:,}:"
    for example in changed.examples:
        yield from _example(example)


def _example(example: Example) -> Iterator[str]:
    amount = example.amount
    stake = f", {amount.currency} {amount.amount_minor:,} minor units" if amount else ""
    yield f"  {example.decision_id}: {example.agent}, {example.action}{stake}"
    yield f"    at {example.place}, decided {example.time}"
    yield from _said("was", example.was)
    yield from _said("now", example.now)


def _said(when: str, said: Said) -> Iterator[str]:
    yield f"    {when} {_VERDICTS[said.verdict]}: {', '.join(said.policies) or 'by no policy'}"
    for reason in said.reasons:
        yield f"        {reason}"


def _groups(groups: Grouped, titles: Mapping[str, str]) -> Iterator[str]:
    def weight(name: str) -> tuple[int, str]:
        return (-sum(each.decisions for each in groups[name].values()), name)

    names = sorted(groups, key=weight)
    for name in names[:MAX_ROWS]:
        title = titles.get(name)
        yield f"  {name}" + (f": {title}" if title else "")
        for change in Change:
            if change in groups[name]:
                total = groups[name][change]
                yield f"    {_HEADINGS[change]} {total.decisions:,}: {_money(total)}"
    if len(names) > MAX_ROWS:
        yield f"  and {len(names) - MAX_ROWS:,} more; --json names them all"


def _remarks(report: BacktestReport) -> Iterator[str]:
    if report.not_judged:
        yield ""
        yield "Not judged:"
        for why, counted in sorted(report.not_judged.items()):
            yield f"  {counted.records:,}: {why}"
            yield f"    for example {counted.place}: {counted.detail}"
    if report.not_reproduced:
        yield ""
        yield f"NOT REPRODUCED: of {report.not_reproduced:,} decisions the old bundle says what the record does not."
        for example in report.mismatches:
            yield from _example(example)
    if report.refused:
        yield ""
        yield (
            f"Other proposals: {report.refused:,} in {report.reconsidered:,} of the judged decisions, all refused then."
            " What they were judged on is not recorded, so they are not judged again."
        )
    if not report.judged:
        yield ""
        yield "No decision was judged: this says nothing about the new bundle."
