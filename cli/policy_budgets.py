"""`jurat policy budgets`: what an agent used of its budgets, and what is left, by key.

Rules upheld here: it reads, joins no group and changes nothing; limits are those of the bundle that is active, and it
says so where that cannot be known; keys come from events, so they are escaped before they are printed, and JSON lines
are ASCII.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import settings
from jurat.agents.catalogue import AGENTS
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.cli.keys import PIPE_WIDTH
from jurat.cli.options import connection_options, keys_option
from jurat.policies import Bundle, known_bundle, load_bundle
from jurat.policies.bundle import bundle_of
from jurat.policies.request import Budget
from jurat.schemas.errors import TopicMissing
from jurat.schemas.shown import printable
from jurat.streams.kafka import Connection
from jurat.streams.policy_publishing import enforced
from jurat.streams.usage_reading import Standing, read_usage, standings

MAX_TABLE_ROWS: Final = 200
"""Keys that a table shows, those of which most was used; `--json` has no bound."""


@click.command("budgets", short_help="Show what is used and left of budgets.")
@click.argument("agent", type=click.Choice(sorted(AGENTS)), metavar="AGENT")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="The folder of a bundle whose limits count; else those of the active one.",
)
@click.option("--key", metavar="KEY", help="Only this key, a customer's id for example.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@keys_option
@connection_options
def budgets(
    connection: Connection,
    agent: str,
    bundle: Path | None,
    key: str | None,
    keys: Path | None,
    *,
    as_json: bool,
) -> None:
    """Show what AGENT used of its budgets within their windows, and what is left.

    A budget in shares has a line for each partition, with what is left of that partition's share. A key of which
    nothing was used has no line.
    """
    declared = load_bundle(bundle) if bundle else asyncio.run(_active(connection, AGENTS[agent].bundle, keys))
    actions = {action.action_name for action in AGENTS[agent].actions}
    own = [budget for budget in declared.budgets.by_name.values() if budget.actions & actions]
    if not own:
        click.echo(f"{declared.name} has no budget that counts what {agent} does", err=True)
        return
    usage = asyncio.run(read_usage(connection, agent))
    rows = standings(usage, own, declared.limits, now=datetime.now(UTC))
    if key is not None:
        rows = [row for row in rows if row.key == key]
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    for budget in own:
        _print(declared, budget, [row for row in rows if row.budget is budget])


async def _active(connection: Connection, name: str, keys: Path | None) -> Bundle:
    """The bundle that workers judge by, as far as that can be known; says which one it is."""
    trust = settings.keys_dir(keys) / TRUST_FILE
    own = load_bundle(known_bundle(name))
    if not trust.exists():
        click.echo(
            f"limits: {name} as it comes with jurat; there is no {trust} to tell what is active", err=True
        )
        return own
    try:
        published, refusals = await enforced(connection, load_trust(trust), name)
    except TopicMissing:
        published, refusals = None, 0
    if refusals:
        click.echo(
            f"limits: {refusals} records on the topic of policies do not verify under {trust}, so another bundle may be"
            " active: `jurat policy active` says why, --bundle names the one whose limits count",
            err=True,
        )
    if published is None:
        return own
    click.echo(f"limits: {name} {published.digest}, which is active", err=True)
    return bundle_of(name, published.files)


def json_line(row: Standing) -> str:
    """One key as a line of JSON."""
    return json.dumps(
        {
            "budget": row.budget.name,
            "key": row.key,
            "partition": row.partition,
            "shares": row.budget.shares,
            "windowS": row.budget.window // timedelta(seconds=1),
            "used": row.used,
            "left": {left.limit.policy: left.amount for left in row.left},
            "unknown": row.unknown,
        }
    )


def _print(bundle: Bundle, budget: Budget, rows: list[Standing]) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(Text(f"{budget.name}: {printable(budget.title)}", style="bold"))
    limits = [limit for limit in bundle.limits if limit.budget == budget.name]
    if not limits:
        console.print(Text("  no policy sets a fixed limit to it"))
    for limit in limits:
        policy = bundle.policies[limit.policy]
        share = (
            f", {limit.most // budget.shares} for each of {budget.shares} partitions" if budget.shares else ""
        )
        lifted = f" (lifted by {policy.escalate})" if policy.escalate else ""
        console.print(Text(f"  at most {limit.most}{share}: {policy.id}{lifted}"))
    if not rows:
        console.print(Text("  nothing was used"))
        return
    table = Table("key", "partition", "used", "left")
    for row in rows[:MAX_TABLE_ROWS]:
        left = ", ".join(str(left.amount) for left in row.left) or "-"
        shown = "(all)" if row.key is None else printable(row.key)
        used = "unknown" if row.used is None else str(row.used)
        table.add_row(Text(shown), str(row.partition), used, Text(row.unknown or left))
    console.print(table)
    if len(rows) > MAX_TABLE_ROWS:
        console.print(Text(f"and {len(rows) - MAX_TABLE_ROWS} more keys; --json lists them all"))
