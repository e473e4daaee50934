"""`jurat audit evidence`: the texts behind the digests of a veiled record, as files.

Rules upheld here: the record is signed by a trusted key, its disclosures are those that it commits to, and a text is
written only if it has the digest that they name; what is not kept is told. Not here: what is kept
(`jurat.streams.evidence`), whether the record's chain holds (`audit_verify.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from hashlib import sha256
from pathlib import Path

import click

from jurat import settings
from jurat.audit import dsse
from jurat.audit.disclosure import Disclosure, parse_any, unveil
from jurat.audit.disclosure_places import SUBJECT
from jurat.audit.keys import Trust
from jurat.audit.log import Fault
from jurat.audit.record import Statement
from jurat.audit.subject_keys import EvidenceKey
from jurat.cli.files import PRIVATE, writing
from jurat.cli.log_entries import Connect, log_entries
from jurat.cli.options import connect_options
from jurat.cli.trust_option import trust_options
from jurat.schemas.errors import AuditError, ConfigurationError, DisclosureInvalid
from jurat.streams.evidence_reading import Evidence, read_evidence


@click.command(name="evidence", short_help="Write what a record names by digests.")
@click.argument("decision_id", metavar="ID")
@connect_options
@trust_options
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Write them to this folder. They hold what is personal.",
)
def command(connect: Connect, decision_id: str, *, trusted: Callable[[], Trust], folder: Path) -> None:
    """Write what the record of the decision ID names by digests: inputs, prompts, responses, what tools said.

    Needs the master key of subjects. Exit code 1: the record is not in this log, or its evidence is gone.
    """
    master = settings.subject_keys()
    if master is None:
        raise ConfigurationError(
            f"got no master key of subjects, expected the path of its file in {settings.SUBJECT_KEYS}: it opens"
            " evidence"
        )

    async def run() -> None:
        statement = await _found(connect, trusted(), decision_id)
        evidence = await read_evidence(connect(), master, texts=True, only=decision_id)
        try:
            _write(folder, statement, evidence)
        finally:
            evidence.close()

    asyncio.run(run())


def opened(statement: Statement, evidence: Evidence) -> Iterator[tuple[Disclosure, bytes | None]]:
    """The digests of a veiled record, each with the text that has it; None where that is not kept.

    Raises:
        ConfigurationError: the evidence is gone.
        DisclosureInvalid: something that stands there is not what the record commits to.
        RecordInvalid: its disclosures make no record.
    """
    name = statement.predicate.decision_id
    disclosures = evidence.of(name)
    if disclosures is None:
        raise ConfigurationError(
            f"no evidence of {name} can be read: it was erased, or sealed under another master key"
        )
    unveil(statement, disclosures)
    for one in disclosures:
        if one.place != SUBJECT and not one.place.endswith("sha256"):
            continue
        text = evidence.content(EvidenceKey(name, one.commitment()))
        if text is not None and sha256(text).hexdigest() != one.value:
            raise DisclosureInvalid(
                f"the evidence of {one.place} has another digest than the record names", decision_id=name
            )
        yield one, text


async def _found(connect: Connect, trust: Trust, decision_id: str) -> Statement:
    async with aclosing(log_entries(None, connect)) as entries:  # it ends in the middle of the log
        async for entry in entries:
            if isinstance(entry, Fault):
                continue
            with suppress(AuditError):
                statement = parse_any(dsse.verify(entry.record, trust).payload)
                if statement.predicate.decision_id == decision_id:
                    if statement.is_veiled:
                        return statement
                    raise ConfigurationError(
                        f"the record of {decision_id} is not veiled: it has no evidence, only digests"
                    )
    raise ConfigurationError(
        f"there is no decision {decision_id[:100]!r} in this log whose record is signed by a trusted key;"
        " `jurat audit replay` lists the ids"
    )


def _write(folder: Path, statement: Statement, evidence: Evidence) -> None:
    found = list(opened(statement, evidence))  # all of it holds, or nothing is written
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder {folder} cannot be made: {error.strerror}") from error
    for one, text in found:
        click.echo(_written(folder, one, text))


def _written(folder: Path, one: Disclosure, text: bytes | None) -> str:
    name = one.place.removesuffix("/sha256").removesuffix("_sha256").replace("/", ".")
    if text is None:
        return f"{name}  SHA-256 {one.value}  not kept"
    with writing(folder / name, mode=PRIVATE) as file:
        file.write(text)
    return f"{name}  SHA-256 {one.value}  {len(text)} bytes"
