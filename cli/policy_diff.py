"""`jurat policy diff`: what does a change of policies allow or deny that was not so before?

Rules upheld here: an example is one that both engines confirm; what is not compared is said. Exit code 0 means that
both bundles are proved to judge alike, and that nothing was left out; 1 means anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jurat.cli.bundles import bundle_folder, say
from jurat.policies import load_bundle
from jurat.schemas.decision import Verdict

if TYPE_CHECKING:
    from jurat.policies.analysis_diff import ActionDifference

_NEWLY = {Verdict.ALLOW: "newly allowed", Verdict.ESCALATE: "newly escalated", Verdict.DENY: "newly denied"}
_STYLE = {Verdict.ALLOW: "red", Verdict.ESCALATE: "yellow", Verdict.DENY: "yellow"}


@click.command(short_help="Prove where two bundles differ.")
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str) -> None:
    """Compare two bundles: for every action a proof that they judge alike, or an example of each difference."""
    from jurat.policies.analysis_diff import compare  # noqa: PLC0415  # loads z3, which the other commands need not

    difference = compare(load_bundle(bundle_folder(old)), load_bundle(bundle_folder(new)))
    for note in difference.notes:
        say(f"not compared: {note}", style="yellow")
    for action in difference.actions:
        _show(action)
    if difference.notes or not all(action.equivalent and not action.notes for action in difference.actions):
        raise click.exceptions.Exit(1)


def _show(found: ActionDifference) -> None:
    # These load z3, which the other commands need not.
    from jurat.cli.policy_outcome import as_lines, judged, unanswered  # noqa: PLC0415
    from jurat.policies.analysis import Example, Proved  # noqa: PLC0415

    name = f"{found.action} on {found.resource}"
    if not found.newly:
        say(f"{name}: cannot be compared: {'; '.join(found.notes)}", style="yellow")
        return
    for note in found.notes:
        say(f"{name}: {note}", style="yellow")
    if found.equivalent:
        say(f"{name}: equivalent (proved)", style="green")
        return
    for verdict, outcome in found.newly.items():
        match outcome:
            case Proved():
                continue
            case Example(requests=(_, request), judgements=(before, after)):
                told = f"{name}: {_NEWLY[verdict]}, for example (was {judged(before)}; is {judged(after)}):"
                say(told, style=_STYLE[verdict])
                say(as_lines(request))
            case _:
                say(f"{name}: {_NEWLY[verdict]}: {unanswered(outcome)}", style="red")
