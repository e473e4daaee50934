"""What `jurat audit verify` found, in words.

Rules upheld here: the verdict stands first; what was not checked is said; text from the log is escaped. Not here: the
report itself and its JSON (`jurat.audit.verifier_report`).
"""

from __future__ import annotations

import click

from jurat.audit.disclosure_reader import VeilCounts
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.cli.options import moment_of
from jurat.schemas.shown import printable


def print_report(report: Report) -> None:
    """Print the verdict, what was found and what was not checked."""
    click.echo(f"{report.verdict.value}: {report.records} records")
    for found in report.findings:
        if found.verdict is LogVerdict.INVALID:
            click.echo(f"  first fault: {printable(str(found.first))}")
            click.echo(f"  faults: {found.count}")
        else:
            click.echo(f"  {found.verdict.value}: {found.count}, the first: {printable(str(found.first))}")
    for name, counts in (("outcomes", report.outcomes), ("agents", report.agents)):
        if counts:
            click.echo(f"  {name}: " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    if report.decisions is not None:
        click.echo(f"  decision events checked: {report.decisions}")
    if report.witnessed is not None:
        click.echo(f"  records under a witnessed checkpoint: {report.witnessed}")
    if report.witnessed_until is not None:
        click.echo(
            f"  the latest checkpoint of each log: witnessed at {moment_of(report.witnessed_until)} or later"
        )
    _print_evaluated(report)
    _print_inputs(report)
    if report.veiled.veiled:
        click.echo(f"  {_veiled(report.veiled)}")
    for head in report.tree_heads:
        click.echo(f"  tree head: {head}")
    if report.not_run:
        click.echo(f"  not checked: {'; '.join(dict.fromkeys(report.not_run.values()))}")
    if report.tree_heads:
        click.echo(
            "  Note the tree heads: given back as --tree-head, they show if the log is cut or rewritten"
            " later."
        )


def _print_evaluated(report: Report) -> None:
    evaluated = report.evaluated
    if evaluated is not None:
        click.echo(f"  policies evaluated again, with the same verdict: {evaluated.same}")
        for why, count in evaluated.not_evaluated.items():
            click.echo(f"  policies not evaluated again: {count}, as {printable(why)}")


def _print_inputs(report: Report) -> None:
    inputs = report.inputs
    if inputs is not None:
        click.echo(
            f"  inputs checked: {inputs.inputs} in {inputs.partitions} partitions, {inputs.missing} without a record"
        )
        if inputs.deleted:
            click.echo(f"  offsets that Kafka deleted: {inputs.deleted}; whether they had one cannot be told")
        if inputs.open:
            click.echo(f"  handed to people and not concluded: {inputs.open}, which wait or were dry runs")


def _veiled(counts: VeilCounts) -> str:
    said = f"veiled records: {counts.veiled}, of which {counts.disclosed} were read by their disclosures"
    if counts.erased:
        said += f"; {counts.erased} were erased, as a signed statement says"
    if counts.withheld:
        said += f"; {counts.withheld} WERE NOT DISCLOSED: what is in them was not checked"
    return said
