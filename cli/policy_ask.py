"""`jurat policy ask`: can an agent ever do this?

Rules upheld here: an example is one that the engine allows; what is not known is said to be unknown. Exit code 0 means
that it is never allowed, and that this is proved; 1 means anything else, so that a script may rely on 0.
"""

from __future__ import annotations

import click

from jurat.cli.bundles import bundle_folder, say
from jurat.policies import load_bundle


@click.command(short_help="Prove that something is never allowed.")
@click.argument("bundle")
@click.argument("question")
def ask(bundle: str, question: str) -> None:
    """Prove that something is never allowed, or show a request for which it is.

    A QUESTION reads `ACTION [where CONDITION] [without approval]`; the condition is Cedar, as in a policy's `when`:

    jurat policy ask shop "refund_buyer where context.amount_minor > 50000 without approval"
    """
    # These load z3, which the other commands need not.
    from jurat.cli.policy_outcome import as_lines, judged, unanswered  # noqa: PLC0415
    from jurat.policies import analysis, analysis_ask  # noqa: PLC0415

    loaded = load_bundle(bundle_folder(bundle))
    outcome = analysis_ask.answer(loaded, analysis_ask.parse(loaded, question))
    match outcome:
        case analysis.Proved():
            say(f"never allowed (proved): {question}", style="green")
            return
        case analysis.Example(requests=(request,), judgements=(judgement,)):
            say(f"allowed, for example ({judged(judgement)}):", style="yellow")
            say(as_lines(request))
        case _:
            say(unanswered(outcome), style="red")
    raise click.exceptions.Exit(1)
