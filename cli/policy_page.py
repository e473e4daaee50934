"""`jurat policy page`: a bundle as a page for people.

Rules upheld here: the page of a bundle that comes with jurat names its actions as the agents do. What is on it:
`jurat.policies.page`.
"""

from __future__ import annotations

import click

from jurat.cli.bundles import bundle_folder
from jurat.policies.bundle import load_bundle
from jurat.policies.page import page


@click.command(name="page", short_help="Print a bundle for people.")
@click.argument("bundle")
@click.option(
    "--source",
    metavar="URL",
    help="Where the bundle's files are, for links; else as from docs/policies/.",
)
def command(bundle: str, source: str | None) -> None:
    """Print a bundle as Markdown for people: every rule by action, who may lift it, what the agents aim for."""
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which other commands need not

    loaded = load_bundle(bundle_folder(bundle))
    titles = {
        action.action_name: action.title
        for agent in AGENTS.values()
        if agent.bundle == loaded.name
        for action in agent.actions
    }
    click.echo(page(loaded, titles=titles, source=source or f"../../policies/{loaded.name}"), nl=False)
