"""`jurat worker`: run an agent until it is stopped, or until nothing comes any more."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any, Final

import click

from jurat import models, settings
from jurat.agents.agent import Agent
from jurat.agents.catalogue import AGENTS
from jurat.cli.main import LOG_FORMAT
from jurat.cli.options import DURATION, connection_options, metrics_options
from jurat.running import run_agent
from jurat.schemas.errors import JuratError
from jurat.streams import logs
from jurat.streams.intake import MAX_IN_FLIGHT
from jurat.streams.kafka import Connection

log = logging.getLogger(__name__)

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""New objects before a look at the youngest, and how many such looks before one at the older ones."""


@click.command("worker")
@click.argument("agent", type=click.Choice(sorted(AGENTS)), metavar="AGENT")
@click.option("--reasoner", type=click.Choice(models.NAMES), default="heuristic", show_default=True)
@click.option(
    "--until-idle", "until_idle_s", type=DURATION, help="End when nothing came for this long, e.g. 10s."
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    metavar="N",
    default=MAX_IN_FLIGHT,
    show_default=True,
    help="Decisions in work at once.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Key folder; else JURAT_KEYS_DIR, else the user's.",
)
@metrics_options
@click.option(
    "--log-format",
    type=click.Choice(list(map(str, logs.LogFormat))),
    help=f"How log lines look; else {settings.LOG_FORMAT}, else text.",
)
@click.option(
    "--log-level",
    type=click.Choice(list(map(str, logs.LogLevel))),
    help=f"How much is logged; else {settings.LOG_LEVEL}, else warnings (see jurat -v).",
)
@connection_options
def command(
    connection: Connection,
    agent: str,
    reasoner: str,
    *,
    until_idle_s: float | None,
    max_in_flight: int,
    keys: Path | None,
    metrics_at: tuple[str, int] | None,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Run AGENT: it decides the events of its topic, inside its policies, and signs every decision.

    Without AGENT it says which there are. SIGTERM and Ctrl-C stop it after the decisions in work.
    """
    lines = settings.log_format(log_format)
    logs.configure(lines, level=settings.log_level(log_level), text=LOG_FORMAT)
    _collect_seldom()
    try:
        decided = asyncio.run(
            _run(
                AGENTS[agent],
                connection,
                reasoner,
                keys=keys,
                until_idle_s=until_idle_s,
                max_in_flight=max_in_flight,
                metrics_at=metrics_at,
            )
        )
    except JuratError as error:
        if lines is logs.LogFormat.TEXT:
            raise
        # Who reads JSON reads nothing else.
        log.error("worker failed agent=%s error=%s: %s", agent, type(error).__name__, error)  # noqa: TRY400
        raise SystemExit(1) from error
    if lines is logs.LogFormat.TEXT:
        click.echo(f"{agent}: {decided} inputs committed", err=True)
    else:
        log.info("worker ended agent=%s inputs=%d", agent, decided)


async def _run(
    agent: Agent[Any],
    connection: Connection,
    reasoner: str,
    *,
    keys: Path | None,
    until_idle_s: float | None,
    max_in_flight: int,
    metrics_at: tuple[str, int] | None,
) -> int:
    async with models.reasoner(reasoner) as asked:
        return await run_agent(
            agent,
            connection=connection,
            reasoner=asked,
            keys=keys,
            until_idle_s=until_idle_s,
            max_in_flight=max_in_flight,
            metrics_at=metrics_at,
        )


def _collect_seldom() -> None:
    """Let Python look for garbage seldom: what is imported never is, and what decisions leave has few cycles.

    With ten thousand calls in flight a third of a worker's time went into looking (docs/benchmarks.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
