"""What commands about the log know of veiled records: disclosures and erasures, from a file or from Kafka.

Rules upheld here: Kafka's are read only where the log is Kafka's; without the master key, nothing is disclosed from
there, and that is no error. Not here: what a disclosure proves (`jurat.audit.disclosure`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from jurat import settings
from jurat.audit.disclosure import Disclosure, parse_disclosures, print_disclosures
from jurat.audit.disclosure_file import MAX_LINE_BYTES, parse_line, print_line
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.keys import Trust
from jurat.audit.record import Statement
from jurat.audit.subject_erasure import check_form, verify_erasure
from jurat.cli.files import lines
from jurat.cli.log_entries import LOG_FILE, Connect
from jurat.schemas.errors import AuditError, ConfigurationError, DisclosureInvalid

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

VEILED: Final = (
    "It is veiled, and not disclosed here: what may be personal shows as `veiled:` and a commitment, and what is called"
    " a SHA-256 may be one."
)
"""What is said of a record that is shown so."""

ERASED: Final = "It was erased, as a signed statement says: what it hides cannot be read any more."
"""What is said beside, where that is so."""

disclosures_option = click.option(
    "--disclosures",
    type=LOG_FILE,
    help="Disclosures of veiled records, from this file (`jurat audit replay --disclosures`).",
)


class Hidden:
    """Veiled records of which a filter by subject cannot tell.

    Attributes:
        withheld: those that disclosures would tell of.
    """

    def __init__(self) -> None:
        self.withheld = 0
        self._erased = 0

    def add(self, statement: Statement, lifts: Unveiler) -> None:
        """Count a record."""
        if statement.predicate.decision_id in lifts.erased:
            self._erased += 1
        else:
            self.withheld += 1

    def tell(self) -> None:
        """Say how many there are, on standard error."""
        if self._erased:
            click.echo(
                f"jurat: {self._erased} records were erased: whom they are about nobody can tell any more",
                err=True,
            )
        if self.withheld:
            click.echo(
                f"jurat: {self.withheld} records are veiled and not disclosed, so that --subject cannot tell: set"
                f" {settings.SUBJECT_KEYS} to the file of the master key, or name disclosures",
                err=True,
            )


@asynccontextmanager
async def unveiler(
    source: Path | None, connect: Connect, *, given: Path | None, trust: Trust, only: str | None = None
) -> AsyncIterator[Unveiler]:
    """Who lifts the veils of a log; ask once its end is fixed, as what is sealed is committed with its record.

    Args:
        source: the export file that the log is read from; None for the audit topic.
        connect: says how to reach Kafka, and is called for the topic only.
        given: a file of disclosures.
        trust: who may state an erasure.
        only: the decision that it is about; None for all.

    Raises:
        ConfigurationError: a file cannot be read, the master key's among them.
        StreamError: Kafka refused.
    """
    if given is not None:
        file = _File(given, trust)
        try:
            yield Unveiler(file, erased=file.erased, erasures=_statements(file.erased))
        finally:
            file.close()
        return
    if source is not None:
        yield Unveiler()
        return
    from jurat.streams.evidence_reading import read_erased, read_evidence  # noqa: PLC0415 - Kafka, which files do not need

    connection, master = connect(), settings.subject_keys()
    evidence = None if master is None else await read_evidence(connection, master, only=only)
    try:
        # After the evidence: what was erased until then is stated by now. Where nobody may state it, nothing counts.
        erased = await read_erased(connection, trust) if trust.approvers else {}
        yield Unveiler(evidence, erased=erased, erasures=_statements(erased))
    finally:
        if evidence is not None:
            evidence.close()


async def export_disclosures(connection: Connection, decisions: Iterable[str], file: IO[bytes]) -> None:
    """Write the disclosures of these decisions, as far as they stand, and the statements of erasures.

    Statements are written as they stand, whoever signed them: who reads the file verifies them. What stands in their
    place and is none is left out, or nobody could read the file.

    Raises:
        ConfigurationError: the master key is not known or cannot be used.
        StreamError: Kafka refused.
        DisclosureInvalid: something that stands there does not open.
    """
    from jurat.streams.evidence_reading import read_evidence, read_statements  # noqa: PLC0415 - Kafka, which files do not need

    master = settings.subject_keys()
    if master is None:
        raise ConfigurationError(
            f"got --disclosures and no master key, expected its file in {settings.SUBJECT_KEYS}: it opens them"
        )
    evidence = await read_evidence(connection, master)
    try:
        for name in decisions:
            found = evidence.of(name)
            if found is not None:
                file.write(print_line(name, found) + b"\n")
    finally:
        evidence.close()
    async for envelope in read_statements(connection):
        with suppress(AuditError):
            check_form(envelope)
            file.write(envelope + b"\n")


class _File:
    """A file of disclosures."""

    def __init__(self, source: Path, trust: Trust) -> None:
        from jurat.streams.evidence_reading import HELD_BYTES  # noqa: PLC0415 - Kafka, which few files need
        from jurat.streams.store import SpillingStore  # noqa: PLC0415 - as above

        self._held = SpillingStore(max_bytes=HELD_BYTES)
        self.erased: dict[str, bytes] = {}
        try:
            for number, line in lines(source, at_most=MAX_LINE_BYTES):
                read = parse_line(line, number)
                if isinstance(read, bytes):
                    self.erased.update(dict.fromkeys(_verified(read, trust, number), read))
                else:
                    name, disclosures = read
                    self._held.put(name, print_disclosures(disclosures))
        except BaseException:
            self.close()
            raise

    def of(self, decision_id: str) -> tuple[Disclosure, ...] | None:
        """As `Disclosed`."""
        held = self._held.get(decision_id)
        return None if held is None else parse_disclosures(held)

    def close(self) -> None:
        """Let go of what was spilled."""
        self._held.close()


def _statements(erased: Mapping[str, bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(erased.values()))


def _verified(envelope: bytes, trust: Trust, number: int) -> tuple[str, ...]:
    try:
        return verify_erasure(envelope, trust).said.decisions
    except AuditError as error:
        raise DisclosureInvalid(
            f"line {number} states an erasure that does not hold: {error}", line=number
        ) from error
