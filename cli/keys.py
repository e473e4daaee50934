"""`jurat keys`: the signing keys of agents and of the people who approve.

The passphrase comes from the environment alone: a flag would stay in the shell's history and in the process
list.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import settings
from jurat.audit.key_store import (
    TRUST_FILE,
    approver_path,
    init_approver,
    init_keys,
    key_path,
    load_trust,
    trust_approver,
)
from jurat.audit.keys import Purpose, TrustedApprover
from jurat.audit.pem import public_pem
from jurat.schemas.errors import ConfigurationError, KeyNotFound

PIPE_WIDTH = 200
"""Columns of a table that does not go to a terminal: wide enough that nothing is folded."""

keys_option = click.option(
    "--keys",
    "keys",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Key folder; else {settings.KEYS_DIR}, else the user's configuration folder.",
)


@click.group(name="keys")
def command() -> None:
    """Make, trust and list signing keys."""


@command.command(name="init")
@click.option(
    "--agent",
    "agents",
    multiple=True,
    metavar="NAME",
    help="Whose key; repeatable. Default: the project's agents, or those that come with jurat.",
)
@click.option(
    "--purpose",
    type=click.Choice(list(map(str, Purpose))),
    default=Purpose.DECISIONS.value,
    show_default=True,
    help="What they sign; with policies, NAME is who publishes and activates them.",
)
@click.option(
    "--approver", metavar="NAME", help="Instead: a person who approves. Their key is trusted nowhere yet."
)
@keys_option
def init(agents: tuple[str, ...], purpose: str, approver: str | None, keys: Path | None) -> None:
    """Make the keys that are missing; keys that are there stay as they are.

    With JURAT_KEYS_PASSPHRASE set, new keys are encrypted under it.
    """
    secret = settings.keys_passphrase()
    if approver is not None:
        if agents or purpose != Purpose.DECISIONS:
            raise click.UsageError("expected either --approver or --agent, with its --purpose")
        keyid, made = init_approver(settings.keys_dir(keys), approver, secret)
        click.echo(f"{'made  ' if made else 'kept  '} {approver}  {keyid}")
        click.echo(
            f"to trust it, where the workers' keys are: jurat keys trust --approver {approver} --role ROLE {keyid}",
            err=True,
        )
        return
    if not agents and purpose != Purpose.DECISIONS:
        raise click.UsageError(f"got no name for a key that signs {purpose}, expected --agent NAME")
    if not agents:
        from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which the other commands need not

        agents = tuple(AGENTS)
    result = init_keys(settings.keys_dir(keys), agents, secret, purpose=Purpose(purpose))
    for key in result.created:
        guard = (
            "encrypted"
            if secret
            else f"NOT encrypted, mode 0600; set {settings.KEYS_PASSPHRASE} before making keys to encrypt"
        )
        click.echo(f"made   {key.agent}  {key.keyid}  ({guard})")
    for key in result.kept:
        click.echo(f"kept   {key.agent}  {key.keyid}")
    click.echo(f"trust  {result.trust_path}  (public; give it to whoever verifies)")


@command.command(name="trust")
@click.argument("keyid", metavar="KEYID")
@click.option("--approver", required=True, metavar="NAME", help="Whose key it is.")
@click.option(
    "--role", "roles", multiple=True, required=True, metavar="ROLE", help="What they may approve; repeatable."
)
@keys_option
def trust(keyid: str, approver: str, roles: tuple[str, ...], keys: Path | None) -> None:
    """Trust the key KEYID (did:key:...) of a person to approve for these roles, and for no others from now on.

    Get the key id from the person, not from Kafka. Workers look at the trust file at every answer.
    """
    added = TrustedApprover(approver=approver, keyid=keyid, roles=roles)
    path = trust_approver(settings.keys_dir(keys), added)
    click.echo(f"trusted  {approver}  {', '.join(added.roles)}  {keyid}  in {path}")


@command.command(name="show")
@click.argument("agent")
@keys_option
def show(agent: str, keys: Path | None) -> None:
    """Print the public keys of an AGENT as PEM, the form that openssl reads."""
    trust = load_trust(settings.keys_dir(keys) / TRUST_FILE)
    found = [key for key in trust.keys if key.agent == agent]
    if not found:
        known = ", ".join(sorted({key.agent for key in trust.keys})) or "none"
        raise KeyNotFound(
            f"the trust file names no key of the agent {agent!r}; it knows: {known}", agent=agent
        )
    for key in found:
        click.echo(public_pem(key.public_key), nl=False)


@command.command(name="list")
@keys_option
def list_(keys: Path | None) -> None:
    """List the trusted keys, and whether this machine can sign with them."""
    folder = settings.keys_dir(keys)
    trust = load_trust(folder / TRUST_FILE)
    if not trust.keys and not trust.approvers:
        raise ConfigurationError(f"the trust file in {folder} names no key; make some: jurat keys init")
    table = Table(title=Text(str(folder)), box=None)
    table.add_column("name", no_wrap=True)
    table.add_column("signs", no_wrap=True)
    table.add_column("key id", no_wrap=True, overflow="fold")
    table.add_column("private key", no_wrap=True)
    for key in trust.keys:
        has_private = key_path(folder, key.agent).exists()
        table.add_row(
            Text(key.agent), Text(key.purpose), Text(key.keyid), Text("here" if has_private else "not here")
        )
    for person in trust.approvers:
        has_private = approver_path(folder, person.approver).exists()
        table.add_row(
            Text(person.approver),
            Text(f"approvals as {', '.join(person.roles)}"),
            Text(person.keyid),
            Text("here" if has_private else "not here"),
        )
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
