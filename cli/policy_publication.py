"""`jurat policy publish|activate|active`: policies on the cluster's own topic, signed.

Rules upheld here: a bundle is named by its folder, by its name where it comes with jurat, or by the digest of one that
was published; the name under which it is activated follows from the agents in its `roles.yaml`, whatever its folder is
called; what is shown was verified. Not here: the protocol (`jurat.streams.policy_publishing`).
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from jurat import settings
from jurat.agents.agent import Agent
from jurat.audit.key_store import TRUST_FILE, load_signer, load_trust
from jurat.audit.keys import Purpose, check_agent
from jurat.cli.bundles import bundle_folder
from jurat.cli.options import connection_options, keys_option
from jurat.policies import load_bundle
from jurat.policies.bundle import Bundle, bundle_of
from jurat.policies.folder import digest_of, read_folder
from jurat.schemas.errors import BundleError, BundleUnfit, ConfigurationError, KeyNotFound
from jurat.schemas.shown import printable
from jurat.streams.kafka import Connection
from jurat.streams.policy_publishing import Mode, PolicyPublisher, Survey, survey

PUBLISHER: Final = "policy-publisher"
"""The key that signs unless another one is named."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

_as_option = click.option(
    "--as", "signs_as", metavar="KEYNAME", default=PUBLISHER, show_default=True, help="The key that signs."
)


@click.command(short_help="Publish a bundle, signed.")
@click.argument("bundle", metavar="BUNDLE")
@_as_option
@keys_option
@connection_options
def publish(connection: Connection, bundle: str, *, signs_as: str, keys: Path | None) -> None:
    """Publish BUNDLE, signed; nothing is activated by that, and one that is there stays as it is."""
    loaded, files = _read(bundle)
    written = asyncio.run(_publisher(connection, signs_as, keys).publish(files))
    click.echo(f"{'published' if written else 'published before'}: {printable(loaded.name)} {loaded.digest}")


@click.command(short_help="Activate a bundle that was published.")
@click.argument("bundle", metavar="BUNDLE|DIGEST")
@click.option(
    "--mode",
    type=click.Choice(list(map(str, Mode))),
    default=Mode.ENFORCE.value,
    show_default=True,
    help="Decide by it, or record beside each decision what it would say.",
)
@_as_option
@keys_option
@connection_options
def activate(connection: Connection, bundle: str, *, mode: str, signs_as: str, keys: Path | None) -> None:
    """Activate a bundle that was published; workers take it between two events.

    Enforcing ends a shadow. To roll back, activate the old digest.
    """
    publisher = _publisher(connection, signs_as, keys)
    asyncio.run(_activate(connection, publisher, bundle, mode=Mode(mode), keys=keys))


@click.command(short_help="Show what is active, since when and by whom.")
@keys_option
@connection_options
def active(connection: Connection, *, keys: Path | None) -> None:
    """Show what is active, since when and by whom; exit code 1 when the topic holds what does not verify."""
    found = asyncio.run(survey(connection, load_trust(settings.keys_dir(keys) / TRUST_FILE)))
    for line in _told(found):
        click.echo(line)
    if found.refusals:
        click.echo(f"{found.refusals} records are not to be obeyed:", err=True)
        for refused in found.refused:
            click.echo(f"  {printable(str(refused))}", err=True)
        sys.exit(1)


async def _activate(
    connection: Connection, publisher: PolicyPublisher, bundle: str, *, mode: Mode, keys: Path | None
) -> None:
    if _DIGEST.fullmatch(bundle):
        trust = load_trust(settings.keys_dir(keys) / TRUST_FILE)
        found = await survey(connection, trust, wanted=bundle)
        if found.wanted is None:
            raise BundleError(f"got {bundle}, which is not published; jurat policy publish BUNDLE")
        loaded = bundle_of(bundle[:12], found.wanted.files)
    else:
        loaded, _files = _read(bundle)
    agents = _agents_of(loaded)
    name = next(iter(agents.values())).bundle
    activation, written = await publisher.activate(
        name,
        loaded.digest,
        mode=mode,
        agents={agent: declared.actions for agent, declared in agents.items()},
        at=datetime.now(UTC),
    )
    click.echo(
        f"{'activated' if written else 'active before'}: {name} number {activation.seq},"
        f" enforce {activation.enforce or 'what comes with the worker'}, shadow {activation.shadow or 'none'}"
    )


def _agents_of(bundle: Bundle) -> Mapping[str, Agent[Any]]:
    """All agents that have their policies under the name under which this bundle's agents have theirs."""
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which the other commands need not

    names = {AGENTS[agent].bundle for agent in bundle.agents if agent in AGENTS}
    if len(names) != 1:
        raise BundleUnfit(
            f"got a bundle for {_listed(bundle.agents)}, expected agents whose policies stand under one name; known"
            f" are: {_listed(f'{name} ({agent.bundle})' for name, agent in AGENTS.items())}"
        )
    (name,) = names
    return {agent.name: agent for agent in AGENTS.values() if agent.bundle == name}


def _read(bundle: str) -> tuple[Bundle, dict[str, bytes]]:
    folder = bundle_folder(bundle)
    loaded = load_bundle(folder)
    files, _faults = read_folder(folder)
    if digest_of(files) != loaded.digest:
        raise ConfigurationError(f"the folder {folder} was changed while it was read; try again")
    return loaded, files


def _publisher(connection: Connection, signs_as: str, keys: Path | None) -> PolicyPublisher:
    folder = settings.keys_dir(keys)
    make = f"jurat keys init --agent {check_agent(signs_as)} --purpose {Purpose.POLICIES}"
    try:
        signer = load_signer(folder, signs_as, settings.keys_passphrase())
        return PolicyPublisher(connection, signer=signer, trust=load_trust(folder / TRUST_FILE))
    except KeyNotFound as error:
        raise KeyNotFound(
            f"{signs_as} has no key in {folder} that is trusted for policies; make one: {make}",
            agent=signs_as,
        ) from error


def _told(found: Survey) -> Iterable[str]:
    if not found.log.names:
        yield "nothing is active: workers judge by the bundles that come with them"
    for name in found.log.names:
        newest = found.log.newest(name)
        if newest is None:
            continue
        activation = newest.activation
        yield f"{name}: number {activation.seq}, since {activation.at}, by {newest.by} ({newest.keyid})"
        yield f"  enforce  {_where(activation.enforce, found) if activation.enforce else 'what comes with the worker'}"
        if activation.shadow is not None:
            yield f"  shadow   {_where(activation.shadow, found)}"
        if found.log.missing(name):
            yield f"  {found.log.missing(name)} earlier activations are not on the topic any more"


def _where(digest: str, found: Survey) -> str:
    return digest if digest in found.bundles else f"{digest}  NOT ON THE TOPIC: no worker can take it"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"
