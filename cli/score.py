"""`jurat score`: agents in simulated worlds, beside the static rules that services would have instead.

Rules upheld here: agent and rule meet the same worlds, seed by seed; what is printed is what was played; exit code 1
where an action was done that a second policy engine does not allow. All of it is `jurat.streams.score`.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any, Final

import click
import orjson
from rich.console import Console
from rich.table import Table

from jurat import models
from jurat.agents.reasoner import Reasoner
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.streams.score import Engines, Played, Rule, play
from jurat.streams.score_stats import Interval, differences, interval
from jurat.streams.score_world import World
from jurat.streams.score_worlds import WORLDS

SEEDS: Final = 20
CASES: Final = 100
MAX_SEEDS: Final = 1_000
MAX_CASES: Final = 100_000
MINOR: Final = 100


@dataclass(frozen=True, slots=True)
class Scored:
    """What the runs of one world say, over its seeds."""

    world: World
    reasoner: str
    agent: list[Played]
    rule: list[Played]

    @property
    def gained(self) -> Interval:
        """What the agent gained over the rule, a run."""
        return differences(_values(self.agent), _values(self.rule))

    @property
    def breaches(self) -> int:
        """Actions beyond policy, of both."""
        return sum(run.breaches for run in (*self.agent, *self.rule))

    @property
    def failed(self) -> int:
        """Cases in which the agent's reasoner failed."""
        return sum(run.failed for run in self.agent)

    @property
    def asked(self) -> int:
        """Cases in which it was asked."""
        return sum(run.decided + run.escalated + run.denied + run.rejected for run in self.agent)


@click.command("score")
@click.argument("worlds", nargs=-1, type=click.Choice(sorted(WORLDS)), metavar="[WORLD]...")
@click.option("--seeds", type=click.IntRange(1, MAX_SEEDS), default=SEEDS, show_default=True, metavar="N")
@click.option(
    "--first-seed", type=int, default=1, show_default=True, metavar="N", help="Seeds count up from here."
)
@click.option(
    "--cases",
    type=click.IntRange(1, MAX_CASES),
    default=CASES,
    show_default=True,
    metavar="N",
    help="In each run.",
)
@click.option("--reasoner", type=click.Choice(models.NAMES), default="heuristic", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    worlds: tuple[str, ...], *, seeds: int, first_seed: int, cases: int, reasoner: str, as_json: bool
) -> None:
    """Score agents in simulated WORLDs, beside static rules; without a name, in all of them.

    Agent and rule play the same worlds under the same policies. The difference is per run, with its 95 % interval over
    the seeds. A world is made up: its figures compare, they promise nothing.
    """
    seeded = range(first_seed, first_seed + seeds)
    chosen = [WORLDS[name] for name in worlds or sorted(WORLDS)]
    scored = asyncio.run(_all(chosen, reasoner, seeded, cases))
    if as_json:
        click.echo(orjson.dumps([_plain(one) for one in scored], option=orjson.OPT_INDENT_2))
    else:
        _print(scored, cases=cases, seeds=seeds)
    if any(one.breaches for one in scored):
        click.echo("jurat: actions were done that the policies do not allow", err=True)
        sys.exit(1)
    if _told_of_failures(scored):
        sys.exit(1)


async def _all(worlds: list[World], reasoner: str, seeds: range, cases: int) -> list[Scored]:
    """All in one event loop: a reasoner keeps its connections from world to world."""
    async with models.reasoner(reasoner) as asked:
        return [await _scored(world, asked, seeds, cases) for world in worlds]


async def _scored(world: World, asked: Reasoner, seeds: range, cases: int) -> Scored:
    engines = Engines(*(PolicyEngine(load_bundle(shipped_bundle(world.agent.bundle))) for _ in range(2)))
    runs: tuple[list[Played], list[Played]] = ([], [])
    for seed in seeds:
        for who, by in zip(runs, (asked, Rule(world.rule)), strict=True):
            who.append(await play(world, seed=seed, cases=cases, by=by, engines=engines))
    return Scored(world, asked.name, *runs)


def _told_of_failures(scored: list[Scored]) -> bool:
    """Say where the reasoner failed; true where it did in every case of a world."""
    failed = [one for one in scored if one.failed]
    for one in failed:
        click.echo(
            f"jurat: {one.world.name}: the reasoner {one.reasoner} failed in {one.failed} of {one.asked} cases; what is"
            " scored of them is the agent's own fallback",
            err=True,
        )
    silent = any(one.failed == one.asked for one in failed)
    if silent:
        click.echo("jurat: where it failed in all, nothing of it was scored; is its server up?", err=True)
    return silent


def _print(scored: list[Scored], *, cases: int, seeds: int) -> None:
    table = Table(title=f"{cases} cases a run, {seeds} seeds", title_justify="left")
    for column in ("world", "", "gained over the rule", "right", "kept", "escalated", "denied", "breaches"):
        table.add_column(column, justify="left" if column in ("world", "") else "right")
    for one in scored:
        for who, runs in ((one.reasoner, one.agent), ("rule", one.rule)):
            first = runs is one.agent
            table.add_row(
                one.world.name if first else "",
                who,
                _money(one.gained, one.world.currency) if first else one.world.rule_title,
                _share(runs, "right"),
                _share(runs, "kept"),
                str(sum(run.escalated for run in runs)),
                str(sum(run.denied + run.rejected for run in runs)),
                str(sum(run.breaches for run in runs)),
                end_section=not first,
            )
    Console(width=None if sys.stdout.isatty() else 140, emoji=False, markup=False).print(table)


def _money(found: Interval, currency: str) -> str:
    if found.low is None or found.high is None:
        return f"{currency} {found.mean / MINOR:+,.2f}"
    return f"{currency} {found.mean / MINOR:+,.2f} ({found.low / MINOR:+,.2f} to {found.high / MINOR:+,.2f})"


def _share(runs: list[Played], what: str) -> str:
    tallies = [run.tally for run in runs]
    pairs = [(one.right, one.cases) if what == "right" else (one.kept, one.promises) for one in tallies]
    whole = sum(of or 0 for _count, of in pairs)
    if not whole or any(count is None for count, _of in pairs):
        return ""
    return f"{100 * sum(count or 0 for count, _of in pairs) / whole:.1f} %"


def _values(runs: list[Played]) -> list[int]:
    return [run.tally.value_minor for run in runs]


def _plain(one: Scored) -> dict[str, Any]:
    return {
        "world": one.world.name,
        "agent": one.world.agent.name,
        "reasoner": one.reasoner,
        "rule": one.world.rule_title,
        "currency": one.world.currency,
        "gained_minor": _told(one.gained),
        "runs": {
            who: [_run(run) for run in runs] for who, runs in (("agent", one.agent), ("rule", one.rule))
        },
        "value_minor": {
            "agent": _told(interval(_values(one.agent))),
            "rule": _told(interval(_values(one.rule))),
        },
        "breaches": one.breaches,
    }


def _told(found: Interval) -> dict[str, float | None]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _run(run: Played) -> dict[str, int | None]:
    tally = run.tally
    return {
        "value_minor": tally.value_minor,
        "cases": tally.cases,
        "right": tally.right,
        "promises": tally.promises,
        "kept": tally.kept,
        "decided": run.decided,
        "escalated": run.escalated,
        "denied": run.denied,
        "rejected": run.rejected,
        "failed": run.failed,
        "breaches": run.breaches,
    }
