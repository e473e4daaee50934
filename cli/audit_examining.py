"""What the processes beside a verification do: read records and look at each alone.

Rules upheld here: little is imported, as every process pays for it before it begins; what is not looked at yet travels
as it was read. Not here: sending work and taking answers (`audit_jobs.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from jurat.audit import export
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry, Place
from jurat.audit.verifier_record import Examiner, Rejudge
from jurat.schemas.errors import AuditError

if TYPE_CHECKING:
    from jurat.schemas.codec import SchemaIds


class RawLine(NamedTuple):
    """A line of an export file, not looked at."""

    number: int
    data: bytes


class RawRecord(NamedTuple):
    """A record of the audit topic, not looked at."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None


Raw: TypeAlias = RawLine | RawRecord
Sent: TypeAlias = list[tuple[Raw, int | None]]
"""Records, and the T of each as it is known before they are read."""

Answer: TypeAlias = Fault | tuple[Any, ...]
"""What is no record; or the fields of `Examined`, as plain tuples travel faster."""


def read_entry(raw: Raw, ids: SchemaIds | None) -> LogEntry | Fault:
    """Read what stands there; a `Fault` for what is no record.

    Args:
        raw: a line or a record.
        ids: the registry of schemas, for records.
    """
    if isinstance(raw, RawRecord):
        from jurat.streams.audit_entries import entry_of  # noqa: PLC0415 - half a second, which files do not need

        return entry_of(raw, ids)
    number, line = raw
    if not line.endswith(b"\n") and len(line) <= export.MAX_LINE_BYTES:
        return Fault(Place(line=number), f"line {number} is not ended by a line feed: the file was cut")
    try:
        return export.parse_entry(line, number)
    except AuditError as error:
        return Fault(Place(line=number), str(error))


def schema_ids(*, from_topic: bool) -> SchemaIds | None:
    """The registry of schemas, where records of a topic may need it."""
    if not from_topic:
        return None
    from jurat import settings  # noqa: PLC0415 - as above

    return settings.schema_registry()


_at_work: tuple[Examiner, SchemaIds | None] | None = None
"""What a process needs; set once, when it begins."""


def begin(trust: Trust, rejudge: Rejudge | None, *, from_topic: bool) -> None:
    """Make a process ready to look at records."""
    global _at_work  # noqa: PLW0603 - a process of a pool has no other place for it
    _at_work = (Examiner(trust, rejudge=rejudge), schema_ids(from_topic=from_topic))


def examine(sent: Sent) -> list[Answer]:
    """Look at some records."""
    if _at_work is None:
        raise RuntimeError("got work before the process had begun")
    examiner, ids = _at_work
    answers: list[Answer] = []
    for raw, at in sent:
        entry = read_entry(raw, ids)
        if isinstance(entry, Fault):
            answers.append(entry)
        else:
            examined = examiner.examine(entry, witnessed_at=at)
            facts = None if examined.facts is None else tuple(examined.facts)
            answers.append((*examined[:-2], facts, examined.refused))
    return answers
