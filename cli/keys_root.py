"""`jurat keys root|sign|issuer|revoke`: what an organisation's root and its issuers sign.

Not here: agents (`keys_agent.py`), what these commands share (`keys_ceremony.py`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import click

from jurat import settings
from jurat.audit import did_key, public_key
from jurat.audit.credential import Issuer, Revocation, Root, print_seconds
from jurat.audit.credential_issue import countersign, issue, missing_signatures
from jurat.audit.identity import EMPTY_HEAD
from jurat.audit.key_store import KeyKind, make_key
from jurat.audit.keys import check_agent
from jurat.audit.trust_file import LOG_FILE, read_statement
from jurat.cli.keys_ceremony import (
    Ceremony,
    asked_for,
    begin,
    check_none_yet,
    checked,
    days_option,
    issuer_of,
    key_of,
    members_of,
    moment_of,
    request_option,
    shown,
    told,
)
from jurat.cli.options import keys_option
from jurat.schemas.errors import ConfigurationError

ISSUER_DAYS: Final = 365


@click.command(name="root", short_help="Make the first root of an organisation, or its next version.")
@click.argument("holders", nargs=-1, required=True, metavar="NAME|KEYID...")
@click.option("--org", metavar="NAME", help="The organisation, for the first root.")
@click.option("--threshold", type=click.IntRange(1), required=True, help="How many of the keys must sign.")
@keys_option
def root(holders: tuple[str, ...], org: str | None, threshold: int, keys: Path | None) -> None:
    """Make a root of these keys: the first one, or the next version of it.

    A NAME is somebody whose key stands in this folder, and is made there if it is missing; a KEYID (did:key:...) is of
    somebody whose key stands elsewhere. The next version wants the signatures of the last one too.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    is_first = not (ceremony.folder / LOG_FILE).exists()
    if is_first:
        check_none_yet(ceremony)
        if org is None:
            raise click.UsageError("expected --org for the first root")
        check_agent(org, what="organisation")
    if threshold > len(set(holders)):  # before any key is made
        raise click.UsageError(f"got a threshold of {threshold} for {len(set(holders))} keys")
    keyids = tuple(sorted({_root_key(ceremony, holder) for holder in holders}))
    if not is_first:
        log, _lines = ceremony.read()
        last, _digest = log.root
        if org not in (None, last.org):
            raise click.UsageError(f"got the organisation {org}, but the root here is that of {last.org}")
        after = ceremony.after(log)
        if any(isinstance(one.statement, Root | Issuer) and one.place > after.size for one in log.statements):
            raise ConfigurationError(
                "got a root or an issuer here that is not on the topic, on which the next root has to build; first:"
                " jurat keys publish"
            )
        made = checked(
            Root,
            {
                "after": after,
                "keys": keyids,
                "org": last.org,
                "threshold": threshold,
                "version": last.version + 1,
            },
        )
        line = asyncio.run(issue(made, ceremony.roots_here(sorted({*keyids, *last.keys}))))
        ceremony.settle(line, max(missing_signatures(last, line), missing_signatures(made, line)))
        return
    first = checked(
        Root, {"after": EMPTY_HEAD, "keys": keyids, "org": org, "threshold": threshold, "version": 1}
    )
    line = asyncio.run(issue(first, ceremony.roots_here(keyids)))
    begin(ceremony, first, line)


def _root_key(ceremony: Ceremony, holder: str) -> str:
    if holder.startswith(did_key.PREFIX):
        public_key.decode(holder)
        return holder
    keyid, made = make_key(ceremony.folder, holder, KeyKind.ROOT, ceremony.secret)
    click.echo(f"{'made  ' if made else 'kept  '} {holder}  {keyid}", err=True)
    return keyid


@click.command(name="sign", short_help="Add signatures to a statement that waits for them.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@keys_option
def sign(file: Path, keys: Path | None) -> None:
    """Sign a statement that waits in FILE with the root keys that are here; with the last signature it is made.

    It is shown first what is signed, and asked.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    line, statement = read_statement(file)
    click.echo(f"{statement.type:10}  {told(statement)}\n{shown(statement)}", err=True)
    click.confirm("Sign this?", abort=True, err=True)
    if isinstance(statement, Root) and statement.version == 1:
        check_none_yet(ceremony)
        line = asyncio.run(countersign(line, ceremony.roots_here(statement.keys)))
        begin(ceremony, statement, line)
        if not missing_signatures(statement, line):
            file.unlink()
        return
    log, _lines = ceremony.read()
    last, _digest = log.root
    wanted = [last, *([statement] if isinstance(statement, Root) else [])]
    line = asyncio.run(
        countersign(line, ceremony.roots_here(sorted({keyid for one in wanted for keyid in one.keys})))
    )
    lacking = max(missing_signatures(one, line) for one in wanted)
    ceremony.settle(line, lacking)
    if not lacking:
        file.unlink(missing_ok=True)


@click.command(name="issuer", short_help="Let somebody issue credentials for agents.")
@click.argument("name")
@click.option(
    "--agent", "agents", multiple=True, metavar="NAME", help="Only for this agent, repeatable; else for any."
)
@days_option(Issuer, ISSUER_DAYS)
@request_option
@keys_option
def issuer(name: str, agents: tuple[str, ...], days: int, asked: Path | None, keys: Path | None) -> None:
    """Let NAME issue credentials for agents; the root signs.

    Without --request the issuer's key stands in this folder, and is made there if it is missing.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    log, _lines = ceremony.read()
    last, digest = log.root
    wanted = asked_for(asked, "issuer", name, digest) or ceremony.ask("issuer", name, digest)
    times = ceremony.times(days)
    narrowed = {"agents": tuple(sorted(set(agents))), "after": ceremony.after(log)}
    made = checked(Issuer, members_of(wanted) | times | narrowed)
    line = asyncio.run(issue(made, ceremony.roots_here(last.keys)))
    ceremony.settle(line, missing_signatures(last, line))


@click.command(name="revoke", short_help="Take a key back, and all that stands under it.")
@click.argument("keyid", metavar="KEYID")
@click.option("--reason", required=True, metavar="WHY", help="For people.")
@click.option("--effective", metavar="TIME", help="The last moment at which it counts, RFC 3339; else now.")
@click.option(
    "--since",
    metavar="TIME",
    help="From when somebody else may have had it.",
)
@click.option("--issuer", "by", metavar="NAME", help="The issuer that signs; without it, the root.")
@keys_option
def revoke(
    keyid: str, *, reason: str, effective: str | None, since: str | None, by: str | None, keys: Path | None
) -> None:
    """Revoke the key KEYID (did:key:...) of an issuer, an agent or a session, and all that stands under it.

    It is revoked once the statement is published: jurat keys publish.
    """
    ceremony = Ceremony(settings.keys_dir(keys))
    log, _lines = ceremony.read()
    fields = {
        "after": ceremony.after(log),
        "compromised_since": None if since is None else moment_of(since),
        "effective": print_seconds(ceremony.now) if effective is None else moment_of(effective),
        "keyid": keyid,
        "reason": reason,
    }
    made = checked(Revocation, fields)
    if by is None:
        last, _digest = log.root
        line = asyncio.run(issue(made, ceremony.roots_here(last.keys)))
        ceremony.settle(line, missing_signatures(last, line))
    else:
        issuing, _digest = issuer_of(log, by)
        ceremony.add(asyncio.run(issue(made, [key_of(ceremony, issuing)])))


COMMANDS: Final = (root, sign, issuer, revoke)
