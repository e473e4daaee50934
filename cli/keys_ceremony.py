"""Statements of the trust log made in a key folder: what the commands of `jurat keys` about credentials share.

Rules upheld here: a statement goes into the trust log only if a reader takes it, and one that lacks signatures of the
root waits in a file of its own; nothing that stands in the log here is lost, whoever else writes it meanwhile; whoever
asks for a credential needs no key but their own. Not here: the rules of the log (`jurat.audit.trust_log`), what a
statement looks like (`jurat.audit.credential`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click
from pydantic import ValidationError

from jurat import settings
from jurat.audit.credential import (
    AgentCredential,
    Issuer,
    Revocation,
    Root,
    Statement,
    digest_of,
    print_payload,
    print_seconds,
)
from jurat.audit.credential_issue import (
    MAX_REQUEST_BYTES,
    KeyRequest,
    missing_signatures,
    opened,
    parse_request,
    request,
)
from jurat.audit.identity import TrustHead
from jurat.audit.key_files import locked, make_folder, read_bounded, replace_public
from jurat.audit.key_store import KeyKind, load_key, make_key, names_here, signers_here
from jurat.audit.keys import Signer
from jurat.audit.trust_file import (
    HEAD_FILE,
    LOG_FILE,
    ROOT_FILE,
    read_head,
    read_log,
    read_root,
    write_head,
    write_log,
    write_root,
)
from jurat.audit.trust_log import TrustLog
from jurat.schemas.errors import ConfigurationError, KeyNotFound, StatementInvalid
from jurat.schemas.model import Model
from jurat.schemas.moments import parse_moment
from jurat.schemas.shown import first_fault, printable

M = TypeVar("M", bound=Model)
F = TypeVar("F", bound=Callable[..., Any])

EARLIER: Final = timedelta(minutes=5)
"""A credential begins by so much before it is made: clocks differ."""


def days_option(kind: type[Issuer | AgentCredential], default: int) -> Callable[[F], F]:
    """The option `--days` of a command that issues a credential of a kind, which may last so long at most."""
    most = kind.most_days
    return click.option(
        "--days",
        type=click.IntRange(1, most),
        default=default,
        show_default=True,
        help=f"How long it lasts, {most} at most.",
    )


request_option = click.option(
    "--request",
    "asked",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What the key's holder asked for.",
)


@dataclass
class Ceremony:
    """The files of a key folder while statements are made."""

    folder: Path

    def __post_init__(self) -> None:
        self.secret = settings.keys_passphrase()
        self.now = datetime.now(UTC)

    def read(self) -> tuple[TrustLog, tuple[bytes, ...]]:
        """The log that stands here."""
        if not (self.folder / LOG_FILE).exists():
            raise ConfigurationError(
                f"there is no trust log in {self.folder}; begin one: jurat keys root, or get it: jurat keys fetch"
            )
        return read_log(self.folder / LOG_FILE, self.root())

    def root(self) -> bytes:
        """The root statement that is trusted here."""
        return settings.trust_root() or read_root(self.folder / ROOT_FILE)

    def roots_here(self, keyids: Iterable[str]) -> list[Signer]:
        """Those of the root keys that can sign here."""
        found = self.signers(KeyKind.ROOT)
        return [found[keyid] for keyid in keyids if keyid in found]

    def signers(self, kind: KeyKind) -> dict[str, Signer]:
        """The keys of a kind that can sign here, by id; which cannot is told."""
        found, unusable = signers_here(self.folder, kind, self.secret)
        for error in unusable:
            click.echo(f"jurat: passed over: {error}", err=True)
        return found

    def after(self, log: TrustLog) -> TrustHead:
        """The head to name in what is signed now: what stands on the topic, as others write there meanwhile."""
        published = read_head(self.folder / HEAD_FILE)
        return log.head if published is None or not log.had(published) else published

    def ask(self, kind: Literal["issuer", "agent"], name: str, parent: str) -> KeyRequest:
        """Ask for a credential with the key that stands here; one that is missing is made."""
        file = KeyKind.ISSUER if kind == "issuer" else KeyKind.AGENT
        keyid, made = make_key(self.folder, name, file, self.secret)
        click.echo(f"{'made  ' if made else 'kept  '} {name}  {keyid}", err=True)
        signer = load_key(self.folder, name, file, self.secret)
        return asyncio.run(request(kind, signer, name=name, parent=parent))

    def times(self, days: int, *, until: str | None = None) -> dict[str, object]:
        """From now on, for so many days, and not longer than this."""
        begins = self.now - EARLIER
        ends = begins + timedelta(days=days)
        if until is not None and until <= print_seconds(self.now):
            raise ConfigurationError(
                f"the credential of who issues this ended at {until}; expected one that holds: jurat keys issuer NAME"
            )
        return {
            "not_before": print_seconds(begins),
            "expiry": min(print_seconds(ends), until or print_seconds(ends)),
        }

    def add(self, line: bytes) -> None:
        """Put a statement into the log; one that lacks signatures of the root into a file of its own."""
        with locked(self.folder):
            log, lines = self.read()
            made = log.add(line)
            write_log(self.folder / LOG_FILE, (*lines, line))
        self.told(made.statement, made.digest)
        if isinstance(made.statement, Root):
            self.trusts(line)

    def trusts(self, root: bytes) -> None:
        """Write a root to be trusted from now on."""
        write_root(self.folder / ROOT_FILE, root)
        click.echo(f"trust       {self.folder / ROOT_FILE}  (public; give it to workers and auditors)")

    def take_over(self, found: TrustLog, lines: Iterable[bytes]) -> None:
        """Put what stands on the topic in place of the log here, which must hold nothing else.

        Raises:
            StatementInvalid: it does.
        """
        with locked(self.folder):
            if (self.folder / LOG_FILE).exists():
                log, _lines = self.read()
                mine = [one.statement for one in log.statements if not found.has(one.digest)]
                if mine:
                    raise StatementInvalid(
                        f"the trust log here has {len(mine)} statements that are not on the topic, first:"
                        f" {told(mine[0])}; publish them: jurat keys publish. To give them up, move"
                        f" {self.folder / LOG_FILE} away, then: jurat keys fetch"
                    )
            write_log(self.folder / LOG_FILE, lines)
            write_head(self.folder / HEAD_FILE, found.head)

    def settle(self, line: bytes, lacking: int) -> None:
        """Add a statement of the root, or let it wait for signatures."""
        waiting = self.folder / f"{digest_of(opened(line)[0])[:16]}.pending.json"
        if lacking:
            make_folder(self.folder)
            replace_public(waiting, line + b"\n")
            click.echo(f"{lacking} more signatures are needed: jurat keys sign {waiting}")
            return
        self.add(line)
        waiting.unlink(missing_ok=True)

    def told(self, statement: Statement, digest: str) -> None:
        """Tell what was made."""
        click.echo(f"{statement.type:10}  {told(statement)}  {digest}")


def told(statement: Statement) -> str:
    """A statement in one line."""
    if isinstance(statement, Root):
        return f"{statement.org} version {statement.version}, {statement.threshold} of {len(statement.keys)} keys"
    if isinstance(statement, Revocation):
        since = f", compromised since {statement.compromised_since}" if statement.compromised_since else ""
        return f"{statement.keyid} after {statement.effective}{since}"
    only = f" for {', '.join(statement.agents)}" if isinstance(statement, Issuer) and statement.agents else ""
    return f"{statement.name}{only}  {statement.keyid}  {statement.not_before} to {statement.expiry}"


def shown(statement: Statement) -> str:
    """All that a statement says, for who is about to sign it."""
    return printable(print_payload(statement).decode())


def checked(kind: type[M], fields: Mapping[str, object]) -> M:
    """A statement, or a part of one, of these members.

    Raises:
        ConfigurationError: one of them may not be so; the message names it.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError(first_fault(error)) from error


def check_none_yet(ceremony: Ceremony) -> None:
    """Check that no root is trusted here yet.

    Raises:
        ConfigurationError: one is, and would be replaced by another organisation's.
    """
    named = settings.trust_root_file()
    there = [ceremony.folder / name for name in (ROOT_FILE, LOG_FILE) if (ceremony.folder / name).exists()]
    if named is not None or there:
        raise ConfigurationError(
            f"got the first version of a root, but {named or there[0]} is here: another root is trusted already. For"
            " the next version of that one get its log, jurat keys fetch; for another organisation take another"
            f" folder, and unset {settings.TRUST_ROOT}"
        )


def begin(ceremony: Ceremony, first: Root, line: bytes) -> None:
    """Begin a log with its first root, or let that wait for signatures."""
    lacking = missing_signatures(first, line)
    if not lacking:
        TrustLog(line).add(line)
        write_log(ceremony.folder / LOG_FILE, (line,))
        ceremony.told(first, digest_of(print_payload(first)))
        ceremony.trusts(line)
        return
    waiting = ceremony.folder / f"{digest_of(print_payload(first))[:16]}.pending.json"
    replace_public(waiting, line + b"\n")
    click.echo(f"{lacking} more signatures are needed: jurat keys sign {waiting}")


def asked_for(file: Path | None, kind: str, name: str, parent: str) -> KeyRequest | None:
    """Read what was asked for in a file, if one is named; it must be this."""
    if file is None:
        return None
    asked = parse_request(read_bounded(file, MAX_REQUEST_BYTES))
    if (asked.type, asked.name, asked.parent) != (kind, name, parent):
        raise StatementInvalid(
            f"got a request of {asked.name} for {asked.type} under {asked.parent[:16]}, expected one of {name} for"
            f" {kind} under {parent[:16]}"
        )
    return asked


def members_of(asked: KeyRequest) -> dict[str, object]:
    """What a credential takes over from a request."""
    return asked.model_dump(exclude={"type"})


def issuer_of(log: TrustLog, name: str | None) -> tuple[Issuer, str]:
    """The newest credential of an issuer whose key is not revoked."""
    found: dict[str, tuple[Issuer, str]] = {
        one.statement.name: (one.statement, one.digest)
        for one in log.statements
        if isinstance(one.statement, Issuer) and one.statement.keyid not in log.revoked
    }
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None or name not in found:
        known = ", ".join(sorted(found)) or "none; make one: jurat keys issuer NAME"
        raise KeyNotFound(f"got {name or 'no issuer'}, expected --issuer and one of: {known}")
    return found[name]


def holder_of(log: TrustLog, name: str, keyid: str) -> tuple[AgentCredential, str]:
    """The newest credential of an agent's key, which may pass on what it has."""
    for one in log.credentials_of(keyid):
        if isinstance(one.statement, AgentCredential) and one.statement.name == name:
            return one.statement, one.digest
    known = {
        one.statement.keyid
        for one in log.statements
        if isinstance(one.statement, AgentCredential) and one.statement.name == name
    }
    raise KeyNotFound(
        f"got {keyid}, which has no credential of {name} here, expected one of: {', '.join(sorted(known)) or 'none'}",
        keyid=keyid,
    )


def key_of(ceremony: Ceremony, above: Issuer | AgentCredential) -> Signer:
    """The key of who issues, which must stand here."""
    kind = KeyKind.ISSUER if isinstance(above, Issuer) else KeyKind.AGENT
    signer = ceremony.signers(kind).get(above.keyid)
    if signer is None:
        here = ", ".join(names_here(ceremony.folder, kind)) or "none"
        raise KeyNotFound(
            f"there is no key {above.keyid} of the {above.type} {above.name} in {ceremony.folder} that can be used;"
            f" keys of the kind here: {here}",
            keyid=above.keyid,
        )
    return signer


def moment_of(text: str) -> str:
    """A moment that somebody typed, as statements have it."""
    try:
        return print_seconds(parse_moment(text))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
