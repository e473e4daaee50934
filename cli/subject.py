"""`jurat subject`: the master key of data subjects, what is kept of one under it, and erasing them.

Rules upheld here: the master key is never printed, and never made twice; nothing is erased without a person's signature
who may; what is not erased, as it is not jurat's or not kept under keys, is told each time. Not here: what erasing does
(`jurat.streams.subject_desk`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from jurat import settings
from jurat.agents.catalogue import AGENTS
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.key_store import TRUST_FILE, load_approver, load_trust
from jurat.audit.keys import PemSigner
from jurat.audit.subject_file import init_master
from jurat.audit.subject_keys import MasterKey
from jurat.cli.options import connection_options, keys_option
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected, TopicMissing
from jurat.schemas.shown import printable
from jurat.streams import topics
from jurat.streams.forget_desk import ask_to_forget
from jurat.streams.kafka import Connection
from jurat.streams.subject_desk import Erased, Kept, erase, kept_of
from jurat.streams.subject_plain import in_plain as plain
from jurat.streams.subject_plain import written_by_jurat

MAX_SUBJECTS: Final = 1_000
"""Subjects in one command: as many as a shell's line takes."""

NOT_ERASED: Final = (
    "not erased by this: what your services publish; decision events (decisions.*), dead letters, timers and requests"
    " for approval, which are kept in plain; what agents keep as state. Where: jurat subject show ID --in-plain; see"
    " docs/erasure.md"
)


@click.group("subject")
def command() -> None:
    """Data subjects: their keys, what is kept of them, and erasing it."""


@command.command("init")
def init() -> None:
    """Make the master key in the file that JURAT_SUBJECT_KEYS names. Workers with it veil their records."""
    path = settings.subject_keys_file()
    if path is None:
        raise ConfigurationError(
            f"got no file for the master key, expected its path in {settings.SUBJECT_KEYS}, for example"
            " ~/.config/jurat/subjects.key"
        )
    init_master(path)
    click.echo(f"made   {path}  (mode 0600; keep a copy: without it, no evidence can be read)")


@command.command("show", short_help="Show what is sealed about a person.")
@click.argument("subject", metavar="ID")
@click.option("--in-plain", is_flag=True, help="Also look where the ID stands in plain: reads every topic.")
@connection_options
def show(connection: Connection, subject: str, *, in_plain: bool) -> None:
    """Show which decisions hold sealed evidence about ID, the key of its events.

    `jurat audit show` tells what one of them says.
    """
    _check_ids([subject])
    kept = asyncio.run(kept_of(connection, _master(), [as_sealed(subject)]))
    _print(kept)
    if not kept.decisions:
        click.echo(
            f"no evidence of {printable(subject)} can be read: none was sealed, or it was erased", err=True
        )
    if in_plain:
        for topic, count in asyncio.run(plain(connection, subject, written_by_jurat(AGENTS))).items():
            click.echo(f"{topic}  {count} records with the ID in plain")


@command.command("erase", short_help="Erase persons' data.")
@click.argument("subjects", metavar="ID...", nargs=-1, required=True)
@click.option("--as", "name", required=True, metavar="NAME", help="Who you are in the trust file.")
@keys_option
@connection_options
def erase_(connection: Connection, subjects: tuple[str, ...], name: str, keys: Path | None) -> None:
    """Erase what is sealed about each ID, the key of its events, for good; and have agents forget what they remember.

    Your key must be trusted with the role data-protection. It may be run again: what is erased already stays erased.
    """
    _check_ids(subjects)
    subjects = tuple([as_sealed(subject) for subject in subjects])
    master, signer = _master(), _signer(name, keys)
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        erased, asked = asyncio.run(_erase(connection, master, subjects, signer, registry))
    kept = erased.kept
    _print(kept)
    if erased.statements:
        many = "1 statement" if erased.statements == 1 else f"{erased.statements} statements"
        click.echo(
            f"erased {len(kept.keys)} keys and {len(kept.evidence)} pieces of evidence of {len(kept.decisions)}"
            f" decisions; {many} on {connection.topic(topics.TRUST.name)}, signed with {signer.keyid}"
        )
        hours = topics.ERASED_WITHIN_MS // 3_600_000
        click.echo(
            f"the bytes are gone when Kafka has compacted them: it begins within {hours} h, and at the next write to"
            " the partition at the earliest"
        )
    else:
        click.echo("nothing was left to erase; nothing was written")
        click.echo(
            "either it was erased before, or no such ID is the key of an event here: an order's events may be keyed by"
            " order, a customer's by customer (docs/erasure.md)",
            err=True,
        )
    for agent, record in asked:
        click.echo(f"asked {agent} to forget; what it makes of it: jurat audit show {record}")
    if asked:
        click.echo("erase again when that is done: the records of it name the subject, under its veil")
    click.echo(NOT_ERASED, err=True)


async def _erase(
    connection: Connection,
    master: MasterKey,
    subjects: tuple[str, ...],
    signer: PemSigner,
    ids: SchemaIds | None,
) -> tuple[Erased, list[tuple[str, str]]]:
    """Memories first: what an agent is asked to forget ends in a veiled record, which names the subject too."""
    at = datetime.now(UTC)
    asked: list[tuple[str, str]] = []
    for agent in sorted(AGENTS):
        for subject in subjects:
            with suppress(TopicMissing):  # an agent that never ran remembers nothing
                requests = await ask_to_forget(
                    connection,
                    agent,
                    subject,
                    input_topic=connection.topic(AGENTS[agent].topic),
                    signer=signer,
                    at=at,
                    ids=ids,
                )
                asked.extend((agent, one.record) for one in requests)
    return await erase(connection, master, subjects, signer=signer, at=at), asked


def _check_ids(subjects: Sequence[str]) -> None:
    if len(subjects) > MAX_SUBJECTS:
        raise click.UsageError(f"got {len(subjects)} subjects, expected at most {MAX_SUBJECTS} at once")
    if not all(subjects):
        raise click.UsageError("got an empty ID, expected the key of events")


def as_sealed(subject: str) -> str:
    """The ID as workers file it: of a key that is no UTF-8, which a shell hands over byte by byte, its text."""
    return subject.encode(errors="surrogateescape").decode(errors="replace")


def _print(kept: Kept) -> None:
    for decision in kept.decisions:
        pieces = sum(1 for key in kept.evidence if key.startswith(f"{decision}/"))
        click.echo(f"{decision}  {pieces} pieces of evidence")
    if kept.other_masters:
        click.echo(
            f"other master keys were in use here as well ({', '.join(kept.other_masters)}): what is sealed under them"
            f" is not seen; do the same with the file of each in {settings.SUBJECT_KEYS}"
        )


def _master() -> MasterKey:
    master = settings.subject_keys()
    if master is None:
        raise ConfigurationError(
            f"got no master key of subjects, expected the path of its file in {settings.SUBJECT_KEYS}; make it once:"
            " jurat subject init"
        )
    return master


def _signer(name: str, keys: Path | None) -> PemSigner:
    """The signer of a person who may erase: a statement of anybody else would count for nothing."""
    folder = settings.keys_dir(keys)
    signer = load_approver(folder, name, settings.keys_passphrase())
    try:
        person = load_trust(folder / TRUST_FILE).find_approver(signer.keyid)
    except KeyNotFound as error:
        raise KeyRejected(f"nothing was erased: {error}", keyid=signer.keyid) from error
    if DATA_PROTECTION not in person.roles:
        raise KeyRejected(
            f"nothing was erased: {name} has the roles {', '.join(person.roles)} in the trust file, expected"
            f" {DATA_PROTECTION} among them; give it: jurat keys trust --approver {name} --role {DATA_PROTECTION}"
            f" {signer.keyid}",
            keyid=signer.keyid,
        )
    return signer
