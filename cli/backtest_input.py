"""What a backtest reads: the audit topic, an export of it, or an auditor's bundle.

Rules upheld here: what is no record is told, never left out; a bundle discloses what it holds disclosures of, unless
others are given. Nothing is verified: `jurat audit verify` does that.

Not here: what a bundle holds (`jurat.audit.bundle`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jurat.audit import bundle, dsse
from jurat.audit.bundle import Bundle, Listed
from jurat.audit.bundle_zip import MAX_FILE_BYTES
from jurat.audit.disclosure import Disclosure, parse_any, parse_disclosures
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry, Place
from jurat.cli.audit_bundle import is_bundle
from jurat.cli.disclosed import unveiler
from jurat.cli.files import read_whole
from jurat.cli.log_entries import Connect, begun, log_entries
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import AuditError

Entries = AsyncGenerator[LogEntry | Fault, None]


@asynccontextmanager
async def past_log(
    source: Path | None, connect: Connect, *, disclosures: Path | None
) -> AsyncIterator[tuple[Entries, Unveiler]]:
    """The log's entries, and who lifts their veils.

    Args:
        source: an export file (`-`: standard input) or an auditor's bundle; None for the audit topic.
        connect: says how to reach Kafka, and is called for the topic only.
        disclosures: a file of disclosures.

    Raises:
        BundleInvalid: a bundle is not of its form.
        ConfigurationError: a file cannot be read.
        StreamError: Kafka refused.
    """
    held = None
    if source is not None and is_bundle(source):
        held = bundle.read(read_whole(source, at_most=MAX_FILE_BYTES))
    given = log_entries(source, connect) if held is None else _entries(held)
    lifting = unveiler(source, connect, given=disclosures, trust=Trust(()))
    async with begun(given) as entries, lifting as lifts:
        yield entries, lifts if held is None or disclosures else Unveiler(_Disclosed(held))


async def _entries(held: Bundle) -> Entries:
    """The records of a bundle, those of a partition in the log's order."""
    for listed in held.records:
        place = Place(held.topic, listed.partition, listed.offset)
        try:
            payload, signatures = dsse.parse_envelope(
                held.files[bundle.envelope_file(listed.name)], payload_type=dsse.PAYLOAD_TYPE, signatures=1
            )
            chain = parse_any(payload).predicate.chain
        except AuditError as error:
            yield Fault(place, str(error))
            continue
        record = SignedRecord(
            chain=chain, payload_type=dsse.PAYLOAD_TYPE, payload=payload, signatures=signatures
        )
        yield LogEntry(held.topic, listed.partition, listed.offset, 0, record)


class _Disclosed:
    """The disclosures of a bundle; satisfies `Disclosed`."""

    def __init__(self, held: Bundle) -> None:
        self._files = held.files
        self._named: dict[str, Listed] = {one.name.split("-", 2)[2]: one for one in held.records}

    def of(self, decision_id: str) -> tuple[Disclosure, ...] | None:
        """As `Disclosed`."""
        listed = self._named.get(decision_id)
        data = None if listed is None else self._files.get(bundle.disclosures_file(listed.name))
        return None if data is None else parse_disclosures(data)
