"""What the processes beside a verification do: read records and look at each alone.

Rules upheld here: little is imported, as every process pays for it before it begins; what is not looked at yet travels
as it was read, or not at all where it stands in a file. Not here: sending work and taking answers (`audit_jobs.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from jurat.audit import export
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry, Place
from jurat.audit.verifier_record import Examiner, Rejudge
from jurat.schemas.errors import AuditError

if TYPE_CHECKING:
    from jurat.schemas.codec import SchemaIds


class RawLine(NamedTuple):
    """A line of an export file, not looked at.

    Attributes:
        number: from 1.
        data: its bytes.
        within: the file, and how many bytes of it stand before, where others can read it too; None where they cannot.
    """

    number: int
    data: bytes
    within: tuple[Path, int] | None = None


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


class Stretch(NamedTuple):
    """Some lines of an export file, which a process reads by itself: to send them takes longer than to read them.

    Attributes:
        file: where it stands.
        start: bytes before it.
        number: of its first line.
        lines: the bytes of each, and its T.
    """

    file: Path
    start: int
    number: int
    lines: list[tuple[int, int | None]]


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
    number, line, _within = raw
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


def examine(sent: Sent | Stretch) -> list[Answer]:
    """Look at some records."""
    if _at_work is None:
        raise RuntimeError("got work before the process had begun")
    examiner, ids = _at_work
    answers: list[Answer] = []
    for raw, at in _lines(sent) if isinstance(sent, Stretch) else sent:
        entry = read_entry(raw, ids)
        if isinstance(entry, Fault):
            answers.append(entry)
        else:
            examined = examiner.examine(entry, witnessed_at=at)
            facts = None if examined.facts is None else tuple(examined.facts)
            answers.append((*examined[:-2], facts, examined.refused))
    return answers


def _lines(stretch: Stretch) -> Iterator[tuple[RawLine, int | None]]:
    try:
        with stretch.file.open("rb") as file:
            file.seek(stretch.start)
            data = file.read(sum(size for size, _at in stretch.lines))
    except OSError:
        data = b""  # every line is refused then, and looked at by who has read it
    end = 0
    for number, (size, at) in enumerate(stretch.lines, start=stretch.number):
        start, end = end, end + size
        yield RawLine(number, data[start:end]), at
