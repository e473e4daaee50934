"""`jurat keys`: the signing keys of agents and of the people who approve.

The passphrase comes from the environment alone: a flag would stay in the shell's history and in the process
list.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat import settings
from jurat.audit import did_key, public_key
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.key_store import (
    TRUST_FILE,
    KeyKind,
    init_approver,
    init_keys,
    load_trust,
    make_key,
    trust_approver,
)
from jurat.audit.keys import Purpose, Trust, TrustedApprover
from jurat.audit.pem import public_pem
from jurat.audit.trust_file import LOG_FILE
from jurat.cli import keys_agent, keys_root
from jurat.cli.keys_ceremony import Ceremony
from jurat.cli.keys_table import ANOTHER, private_key, trust_log_table
from jurat.cli.options import keys_option
from jurat.schemas.errors import BundleError, ConfigurationError, KeyNotFound

PIPE_WIDTH = 200
"""Columns of a table that does not go to a terminal: wide enough that nothing is folded."""


@click.group(name="keys")
def command() -> None:
    """Make, trust, credit, revoke and list signing keys."""


for _one in (*keys_root.COMMANDS, *keys_agent.COMMANDS):
    command.add_command(_one)


@command.command(name="init", short_help="Make the keys that are missing, pinned in trust.json.")
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
@click.option(
    "--root", "holder", metavar="NAME", help="Instead: a holder of a root key; see `jurat keys root`."
)
@keys_option
def init(
    agents: tuple[str, ...], *, purpose: str, approver: str | None, holder: str | None, keys: Path | None
) -> None:
    """Make the keys that are missing; keys that are there stay as they are.

    With JURAT_KEYS_PASSPHRASE set, new keys are encrypted under it.
    """
    secret = settings.keys_passphrase()
    if [bool(agents) or purpose != Purpose.DECISIONS, approver is not None, holder is not None].count(
        True
    ) > 1:
        raise click.UsageError("expected one of --agent, with its --purpose, --approver and --root")
    if holder is not None:
        keyid, made = make_key(settings.keys_dir(keys), holder, KeyKind.ROOT, secret)
        click.echo(f"{'made  ' if made else 'kept  '} {holder}  {keyid}")
        return
    if approver is not None:
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


@command.command(name="trust", short_help="Trust the key of a person to approve.")
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
    folder = settings.keys_dir(keys)
    added = TrustedApprover(approver=approver, keyid=keyid, roles=roles)
    if private_key(folder, approver, KeyKind.APPROVER, keyid, settings.keys_passphrase()) == ANOTHER:
        click.echo(
            f"jurat: the key of {approver} in {folder} has another id than {keyid}; this does not trust what it signs",
            err=True,
        )
    before = _roles_of(folder, keyid)
    path = trust_approver(folder, added)
    click.echo(f"trusted  {approver}  {', '.join(added.roles)}  {keyid}  in {path}")
    if before not in ((), added.roles):
        click.echo(f"in place of the roles that this key had: {', '.join(before)}", err=True)
    asked = _roles_asked()
    unknown = sorted(set(added.roles) - asked)
    if unknown:
        click.echo(
            f"jurat: no policies here ask for the role {', '.join(unknown)}; known are"
            f" {', '.join(sorted(asked))}. Was it misspelt? It is right where other bundles ask for it",
            err=True,
        )


def _roles_of(folder: Path, keyid: str) -> tuple[str, ...]:
    """The roles that a key has in the trust file; none where there is no such key or file."""
    path = folder / TRUST_FILE
    approvers = load_trust(path).approvers if path.exists() else ()
    return next((person.roles for person in approvers if person.keyid == keyid), ())


def _roles_asked() -> frozenset[str]:
    """The roles that the bundles of this process's agents may ask for, and the one that erases."""
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which the other commands need not
    from jurat.policies import known_bundle, load_bundle  # noqa: PLC0415  # the same

    asked = {DATA_PROTECTION}
    for name in sorted({agent.bundle for agent in AGENTS.values()}):
        with suppress(BundleError, ConfigurationError):  # what is wrong with a bundle is told by who uses it
            asked.update(load_bundle(known_bundle(name)).approvers)
    return frozenset(asked)


@command.command(name="show", short_help="Print public keys as PEM.")
@click.argument("agent", metavar="AGENT|KEYID")
@keys_option
def show(agent: str, keys: Path | None) -> None:
    """Print the public keys of an AGENT, or of a KEYID (did:key:...), as PEM, the form that openssl reads."""
    if agent.startswith(did_key.PREFIX):
        click.echo(public_key.public_pem(agent), nl=False)
        return
    trust = load_trust(settings.keys_dir(keys) / TRUST_FILE)
    found = [key for key in trust.keys if key.agent == agent]
    if not found:
        known = ", ".join(sorted({key.agent for key in trust.keys})) or "none"
        raise KeyNotFound(
            f"the trust file names no key of the agent {agent!r}; it knows: {known}", agent=agent
        )
    for key in found:
        click.echo(public_pem(key.public_key), nl=False)


@command.command(name="list", short_help="List who is trusted, until when, and which private keys are here.")
@keys_option
def list_(keys: Path | None) -> None:
    """List the trusted keys: pinned ones and those of the trust log, and whether this machine can sign with them."""
    folder = settings.keys_dir(keys)
    has_log = (folder / LOG_FILE).exists()
    pinned = Trust(()) if has_log and not (folder / TRUST_FILE).exists() else load_trust(folder / TRUST_FILE)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if pinned.keys or pinned.approvers:
        console.print(_pinned(folder, pinned))
    elif not has_log:
        raise ConfigurationError(f"the trust file in {folder} names no key; make some: jurat keys init")
    if has_log:
        ceremony = Ceremony(folder)
        log, _lines = ceremony.read()
        console.print(trust_log_table(folder, log, now=ceremony.now, secret=ceremony.secret))
        console.print(Text(f"trust head  {log.head.size}:{log.head.sha256}"))


def _pinned(folder: Path, trust: Trust) -> Table:
    secret = settings.keys_passphrase()
    table = Table(title=Text(str(folder)), box=None)
    table.add_column("name", no_wrap=True)
    table.add_column("signs", no_wrap=True)
    table.add_column("key id", no_wrap=True, overflow="fold")
    table.add_column("private key", no_wrap=True)
    for key in trust.keys:
        where = private_key(folder, key.agent, KeyKind.AGENT, key.keyid, secret)
        table.add_row(Text(key.agent), Text(key.purpose), Text(key.keyid), Text(where))
    for person in trust.approvers:
        where = private_key(folder, person.approver, KeyKind.APPROVER, person.keyid, secret)
        roles = f"approvals as {', '.join(person.roles)}"
        table.add_row(Text(person.approver), Text(roles), Text(person.keyid), Text(where))
    return table
