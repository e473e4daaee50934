"""`jurat approvals`: what agents ask of people, and the answers, each signed with the approver's own key.

What is signed is the digest of what was shown: it is computed from the request's own fields, and a request that names
another one is refused. The agent checks everything again; what it made of an answer stands in the audit log.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import settings
from jurat.audit.approval import MAX_WHY_CHARS, Answer, answer_to, requested_digest
from jurat.audit.key_store import TRUST_FILE, load_approver, load_trust
from jurat.audit.keys import Trust
from jurat.cli.approvals_text import as_json, lines, span
from jurat.cli.keys import PIPE_WIDTH
from jurat.cli.options import connection_options, keys_option
from jurat.cli.trust_hint import hint
from jurat.schemas.approvals import ApprovalRequested
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.shown import printable
from jurat.streams.approval_desk import Desk, send, waiting
from jurat.streams.kafka import Connection

MAX_TABLE_ROWS: Final = 1_000
"""A longer table helps nobody; `--json` has no bound."""

_AS = click.option("--as", "name", required=True, metavar="NAME", help="Who you are in the trust file.")
_ROLE = click.option(
    "--role", metavar="ROLE", help="The role that you speak for; needed where you have several."
)


@click.group("approvals")
def command() -> None:
    """Decisions that wait for people.

    A decision is addressed by its id (dec_...), as `list` shows it.
    """


@command.command("list")
@click.option("--agent", metavar="NAME", help="Only those of this agent.")
@click.option("--role", metavar="ROLE", help="Only those that this role is asked for.")
@click.option("--json", "json_lines", is_flag=True, help="Print JSON lines.")
@connection_options
def list_(connection: Connection, agent: str | None, role: str | None, *, json_lines: bool) -> None:
    """List the decisions that wait, the oldest first."""
    desk, now = _desk(connection), datetime.now(UTC)
    wanted = [
        one
        for one in desk.requests.values()
        if (agent is None or one.agent == agent) and (role is None or role in one.roles)
    ]
    if json_lines:
        for one in wanted:
            click.echo(as_json(one, now=now))
    elif wanted:
        _print_table(wanted[:MAX_TABLE_ROWS], now)
        if len(wanted) > MAX_TABLE_ROWS:
            click.echo(f"the table ends after {MAX_TABLE_ROWS} of {len(wanted)}; --json prints all", err=True)
    if not wanted:
        click.echo("nothing waits for an approval", err=True)


@command.command("show")
@click.argument("decision_id", metavar="ID")
@click.option("--json", "json_lines", is_flag=True, help="Print the request as JSON.")
@keys_option
@connection_options
def show(connection: Connection, decision_id: str, keys: Path | None, *, json_lines: bool) -> None:
    """Show what is asked, and who may approve it."""
    request, now = _desk(connection).request(decision_id), datetime.now(UTC)
    requested_digest(request)
    if json_lines:
        click.echo(as_json(request, now=now))
        return
    for line in lines(request, now=now, trust=_trust(keys)):
        click.echo(line)


@command.command("grant")
@click.argument("decision_id", metavar="ID")
@_AS
@_ROLE
@click.option("--why", default="", metavar="TEXT", help=f"Your reason, at most {MAX_WHY_CHARS} characters.")
@keys_option
@connection_options
def grant(
    connection: Connection, decision_id: str, name: str, role: str | None, why: str, keys: Path | None
) -> None:
    """Approve exactly what `show` shows. The agent then decides again, under its policies as they are then."""
    _answer(connection, decision_id, Answer.GRANT, name=name, role=role, why=why, keys=keys)


@command.command("refuse")
@click.argument("decision_id", metavar="ID")
@_AS
@_ROLE
@click.option(
    "--why", required=True, metavar="TEXT", help=f"Your reason, at most {MAX_WHY_CHARS} characters."
)
@keys_option
@connection_options
def refuse(
    connection: Connection, decision_id: str, name: str, role: str | None, why: str, keys: Path | None
) -> None:
    """Refuse what `show` shows: the decision is denied at once."""
    _answer(connection, decision_id, Answer.REFUSE, name=name, role=role, why=why, keys=keys)


def _answer(
    connection: Connection,
    decision_id: str,
    answer: Answer,
    *,
    name: str,
    role: str | None,
    why: str,
    keys: Path | None,
) -> None:
    if len(why) > MAX_WHY_CHARS or (answer is Answer.REFUSE and not why.strip()):
        raise click.UsageError(
            f"got a reason of {len(why)} characters, expected 1 to {MAX_WHY_CHARS} (--why)"
        )
    signer = load_approver(settings.keys_dir(keys), name, settings.keys_passphrase())
    with ExitStack() as stack:
        ids = _registry(stack)
        desk, now = asyncio.run(waiting(connection, ids=ids)), datetime.now(UTC)
        request = desk.request(decision_id)
        if now > request.due_at:
            raise ConfigurationError(
                f"{decision_id} could be answered until {request.due_at.isoformat()}; its time is over, and the agent"
                " denies it"
            )
        spoken = role or _role(request, signer.keyid, _trust(keys))

        async def run() -> str:
            signed = await answer_to(
                request, answer, approver=name, role=spoken, why=why, at=now, signer=signer
            )
            return await send(connection, request, signed, at=now, ids=ids)

        record = asyncio.run(run())
    done = "granted" if answer is Answer.GRANT else "refused"
    click.echo(f"{done} {decision_id} as {spoken}, signed with {signer.keyid}")
    click.echo(f"what the agent makes of it: jurat audit show {record}", err=True)
    hint(keys, signer.keyid, name=name, role=spoken)


def _role(request: ApprovalRequested, keyid: str, trust: Trust | None) -> str:
    """The one role that this person can speak for here.

    Raises:
        ConfigurationError: there is none, or more than one.
    """
    held = next((one.roles for one in (trust.approvers if trust else ()) if one.keyid == keyid), None)
    possible = [role for role in request.roles if held is None or role in held]
    if len(possible) == 1:
        return possible[0]
    if not possible:
        raise ConfigurationError(
            f"this is asked of {', '.join(request.roles)}, but the trust file gives this key {', '.join(held or ())}"
        )
    raise ConfigurationError(
        f"this is asked of {', '.join(request.roles)}: say for which you speak, such as --role {possible[0]}"
    )


def _desk(connection: Connection) -> Desk:
    with ExitStack() as stack:
        desk = asyncio.run(waiting(connection, ids=_registry(stack)))
    if desk.foreign:
        click.echo(f"{desk.foreign} records of approvals.requests are no requests", err=True)
    return desk


def _registry(stack: ExitStack) -> SchemaIds | None:
    registry = settings.schema_registry()
    if registry is not None:
        stack.callback(registry.close)
    return registry


def _trust(keys: Path | None) -> Trust | None:
    """Who is trusted on this machine; an approver's own may not know."""
    path = settings.keys_dir(keys) / TRUST_FILE
    return load_trust(path) if path.exists() else None


def _print_table(requests: list[ApprovalRequested], now: datetime) -> None:
    table = Table(box=None)
    for name in ("decision", "agent", "about", "action", "roles", "age", "left"):
        table.add_column(name, no_wrap=name in ("decision", "age", "left"), overflow="fold")
    for one in requests:
        cells = (
            one.decision_id,
            one.agent,
            one.subject,
            one.action,
            ", ".join(one.roles),
            span(now - one.requested_at),
            span(one.due_at - now),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
