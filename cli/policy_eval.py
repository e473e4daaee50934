"""`jurat policy eval`: Cedar requests in, verdicts out, one JSON object a line.

Rules upheld here: answers come in the order of the requests, each as soon as it is known; a bad line never stops the
others, and makes the exit code 1. What is answered: `jurat.policies.evaluating`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import orjson

from jurat.cli.bundles import bundle_folder
from jurat.cli.files import lines
from jurat.policies.bundle import load_bundle
from jurat.policies.cedar_requests import MAX_REQUEST_BYTES
from jurat.policies.engine import PolicyEngine
from jurat.policies.evaluating import Evaluator, JuratEvaluator, PlainEvaluator, answer_line
from jurat.policies.plain import is_plain, load_plain


@click.command(name="eval", short_help="Answer Cedar requests.")
@click.option(
    "--bundle",
    required=True,
    metavar="BUNDLE",
    help="A bundle's folder or name, or a folder of plain Cedar (without roles.yaml).",
)
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Requests, one JSON object a line; `-` for standard input.",
)
@click.pass_context
def command(ctx: click.Context, bundle: str, source: Path) -> None:
    """Answer Cedar requests: {principal, action, resource, context, entities} in, verdicts out, as JSON lines.

    Exit code 0: every line was answered; 1: a line was bad, or the bundle does not load.
    """
    evaluator = _evaluator(bundle_folder(bundle))
    bad = False
    output = click.get_binary_stream("stdout")
    for number, line in _whole_lines(source):
        if line.strip():
            answered = answer_line(evaluator, number, line)
            output.write(orjson.dumps(answered.value, option=orjson.OPT_APPEND_NEWLINE))
            output.flush()
            bad = bad or answered.bad
    ctx.exit(1 if bad else 0)


def _whole_lines(source: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; of one that is too long, its beginning, which is too long to be read as a request."""
    number, ended = 0, True
    for _piece, line in lines(source, at_most=MAX_REQUEST_BYTES):
        if ended:
            number += 1
            yield number, line
        ended = line.endswith(b"\n")


def _evaluator(folder: Path) -> Evaluator:
    if not is_plain(folder):
        return JuratEvaluator(PolicyEngine(load_bundle(folder)))
    click.echo(f"{folder} has no roles.yaml: plain Cedar, `decision` is Cedar's own", err=True)
    return PlainEvaluator(load_plain(folder))
