"""`jurat worker`: run an agent until it is stopped, or until nothing comes any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from jurat.agents.catalogue import AGENTS, REASONERS
from jurat.cli.options import DURATION, connection_options
from jurat.running import run_agent
from jurat.streams.kafka import Connection


@click.command("worker")
@click.argument("agent", type=click.Choice(sorted(AGENTS)))
@click.option("--reasoner", type=click.Choice(sorted(REASONERS)), default="heuristic", show_default=True)
@click.option(
    "--until-idle", "until_idle_s", type=DURATION, help="End when nothing came for this long, e.g. 10s."
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Key folder; else JURAT_KEYS_DIR, else the user's.",
)
@connection_options
def command(
    connection: Connection, agent: str, reasoner: str, *, until_idle_s: float | None, keys: Path | None
) -> None:
    """Run AGENT: it decides the events of its topic, inside its policies, and signs every decision.

    SIGTERM and Ctrl-C stop it after the batch in work.
    """
    decided = asyncio.run(
        run_agent(
            AGENTS[agent],
            connection=connection,
            reasoner=REASONERS[reasoner](),
            keys=keys,
            until_idle_s=until_idle_s,
        )
    )
    click.echo(f"{agent}: {decided} inputs committed", err=True)
