"""`jurat keys request|issue|rotate|publish|fetch`: credentials of agents, and the trust log on its topic.

Not here: the root and issuers (`keys_root.py`), what these commands share (`keys_ceremony.py`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from jurat import settings
from jurat.audit.credential import AgentCredential, Issuer
from jurat.audit.credential_issue import issue, print_request
from jurat.audit.credential_scope import Limit, Scope
from jurat.audit.key_store import KeyKind, load_key, make_key, reference_file, retire_key
from jurat.audit.trust_log import TrustLog
from jurat.cli.keys_ceremony import (
    Ceremony,
    asked_for,
    checked,
    days_option,
    holder_of,
    issuer_of,
    key_of,
    members_of,
    request_option,
)
from jurat.cli.options import connection_options, keys_option
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.shown import printable
from jurat.streams.kafka import Connection
from jurat.streams.trust_topic import publish_statements, read_trust

AGENT_DAYS: Final = 90

LIMIT_DIGITS: Final = 16
"""A canonical integer has no more."""

DIGEST_DIGITS: Final = 64
"""SHA-256 in hex."""


@click.command(name="request", short_help="Ask for a credential for a key that stands here.")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["agent", "issuer"]), default="agent", show_default=True, help="What NAME is."
)
@click.option("--issuer", "by", metavar="NAME", help="Who shall issue an agent's; else the only issuer.")
@click.option(
    "--under", metavar="KEYID", help="Instead of an issuer: a key of the agent, which passes on what it has."
)
@keys_option
def request_(name: str, kind: str, *, by: str | None, under: str | None, keys: Path | None) -> None:
    """Ask for a credential for NAME, whose key stands in this folder, and is made there if it is missing.

    The request is printed, for `jurat keys issue --request` where the issuer's key is, or for `jurat keys issuer
    --request` where those of the root are.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    log, _lines = ceremony.read()
    if under is not None and (kind == "issuer" or by is not None):
        raise click.UsageError(
            "got --under with --issuer or --kind issuer, expected it alone: an agent's key issues"
        )
    if kind == "issuer":
        asked = ceremony.ask("issuer", name, log.root[1])
    else:
        above = issuer_of(log, by) if under is None else holder_of(log, name, under)
        asked = ceremony.ask("agent", name, above[1])
    click.echo(print_request(asked), nl=False)


@click.command(name="issue", short_help="Issue a credential for an agent.")
@click.argument("agent")
@click.option("--issuer", "by", metavar="NAME", help="Who issues it; else the only issuer.")
@click.option(
    "--under",
    metavar="KEYID",
    help="Instead of an issuer: a key of AGENT that stands here, passing on what it has.",
)
@click.option("--owner", required=True, metavar="WHO", help="Who answers for the agent.")
@click.option(
    "--action", "actions", multiple=True, metavar="NAME", help="Only these; default: all of the agent."
)
@click.option(
    "--policy", "policies", multiple=True, metavar="DIGEST", help="Only these bundles; default: any."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="PATH=MOST", help="For example context.amount_minor=50000."
)
@click.option("--namespace", metavar="NAME", help=f"Of its topics; else {settings.NAMESPACE}.")
@days_option(AgentCredential, AGENT_DAYS)
@request_option
@keys_option
def issue_(
    agent: str,
    *,
    by: str | None,
    under: str | None,
    owner: str,
    namespace: str | None,
    days: int,
    keys: Path | None,
    asked: Path | None,
    **scoped: Any,
) -> None:
    """Issue a credential for AGENT: what it may do, for at most 90 days.

    Without --request the agent's key stands in this folder, and is made there if it is missing. With --under, a key of
    the agent passes on to another one what it has or less, and no longer: a delegation.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    log, _lines = ceremony.read()
    above: Issuer | AgentCredential
    if under is None:
        above, digest = issuer_of(log, by)
        above.check_issues_for(agent)  # before a key is made
        whole = _needed(agent, namespace)
    else:
        if by is not None or namespace is not None or asked is None:
            raise click.UsageError(
                "got --under with --issuer or --namespace, or without --request; expected the request of the other key"
                f" alone: jurat keys request {agent} --under {under}"
            )
        above, digest = holder_of(log, agent, under)
        whole = above.scope
    scope = _narrowed(agent, whole, **scoped)
    signer = key_of(ceremony, above)
    wanted = asked_for(asked, "agent", agent, digest) or ceremony.ask("agent", agent, digest)
    made = checked(
        AgentCredential,
        members_of(wanted)
        | ceremony.times(days, until=above.expiry)
        | {"after": ceremony.after(log), "owner": owner, "scope": scope},
    )
    ceremony.add(asyncio.run(issue(made, [signer])))


def _needed(name: str, namespace: str | None) -> Scope:
    """All that an agent does."""
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which the other commands need not
    from jurat.streams.trust_session import needs  # noqa: PLC0415  # as above

    if name not in AGENTS:
        raise ConfigurationError(f"got the agent {name!r}, expected one of {', '.join(sorted(AGENTS))}")
    return needs(AGENTS[name], Connection("", settings.namespace_of(namespace)))


def _narrowed(
    name: str, whole: Scope, *, actions: tuple[str, ...], policies: tuple[str, ...], limits: tuple[str, ...]
) -> Scope:
    """A scope, but for what the options leave out; a limit that is not told stays as it is."""
    for digest in policies:
        if len(digest) != DIGEST_DIGITS or not set(digest) <= set("0123456789abcdef"):
            raise click.UsageError(
                f"got the policies {digest!r}, expected the digest of a bundle, 64 hex digits: jurat policy check"
                " BUNDLE prints it"
            )
    told = [_limit(text) for text in limits]
    kept = [one for one in whole.limits if one.of not in {limit.of for limit in told}]
    foreign = sorted(set(actions) - set(whole.actions))
    if foreign:
        raise ConfigurationError(
            f"got the actions {', '.join(foreign)}, expected some of {name}: {', '.join(whole.actions)}"
        )
    return checked(
        Scope,
        whole.model_dump()
        | {
            "actions": tuple(sorted(set(actions) or whole.actions)),
            "limits": tuple(sorted([*told, *kept], key=lambda limit: limit.of)),
            "policies": tuple(sorted(set(policies) or whole.policies)),
        },
    )


def _limit(text: str) -> Limit:
    path, _equals, most = text.partition("=")
    is_number = most.isascii() and most.isdecimal() and len(most) <= LIMIT_DIGITS
    with suppress(ValidationError):
        if is_number:
            return Limit(most=int(most), of=path)
    raise click.UsageError(
        f"got the limit {text!r}, expected one such as context.amount_minor=50000: a path of the policy input, below"
        " resource or context, and the largest number"
    )


@click.command(name="rotate", short_help="Make a new key for an agent.")
@click.argument("agent")
@keys_option
def rotate(agent: str, keys: Path | None) -> None:
    """Make a new key for AGENT, and put the old one aside; it needs a credential of its own then.

    The order without a gap: rotate, issue, publish, restart the workers, revoke the old key, publish.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    reference = reference_file(ceremony.folder, agent, KeyKind.AGENT)
    if reference.exists():
        raise ConfigurationError(
            f"the key of {agent} is in a service or device, as {reference} says: make the new one there, and write its"
            " id and URI into that file"
        )
    old = load_key(ceremony.folder, agent, KeyKind.AGENT, ceremony.secret).keyid
    aside = retire_key(ceremony.folder, agent, KeyKind.AGENT, ceremony.secret)
    keyid, _made = make_key(ceremony.folder, agent, KeyKind.AGENT, ceremony.secret)
    click.echo(f"made    {agent}  {keyid}")
    click.echo(f"aside   {aside}")
    click.echo(
        f"next: jurat keys issue {agent} --owner WHO, jurat keys publish, and restart its workers; once witnesses have"
        f" seen all that the old key stands for: jurat keys revoke {old} --reason rotated --issuer NAME",
        err=True,
    )


@click.command(name="publish", short_help="Write the trust log here to Kafka.")
@keys_option
@connection_options
def publish(connection: Connection, keys: Path | None) -> None:
    """Write the statements of this folder's trust log to the topic audit.trust; what stands there stays as it is.

    The file then holds what the topic holds, sessions of workers included.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    _log, lines = ceremony.read()
    found = asyncio.run(publish_statements(connection, ceremony.root(), lines))
    ceremony.take_over(found.log, found.lines)
    _told_head(found.log)


@click.command(name="fetch", short_help="Read the trust log from Kafka.")
@keys_option
@connection_options
def fetch(connection: Connection, keys: Path | None) -> None:
    """Read the topic audit.trust into this folder's trust log, under the root that is trusted here.

    A file that holds statements which the topic does not is left as it is: publish them first.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    found = asyncio.run(read_trust(connection, ceremony.root()))
    found.log.check_met()
    ceremony.take_over(found.log, found.lines)
    for refused in found.refused:
        click.echo(f"passed over {printable(str(refused))}", err=True)
    if found.refusals > len(found.refused):
        click.echo(f"passed over {found.refusals} in all; these are the last", err=True)
    _told_head(found.log)


def _told_head(log: TrustLog) -> None:
    click.echo(f"trust head  {log.head.size}:{log.head.sha256}")


COMMANDS: Final = (request_, issue_, rotate, publish, fetch)
