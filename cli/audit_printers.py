"""How `jurat audit replay` prints what it read: signed lines, a table, or flat rows as JSON lines and CSV.

Rules upheld here: memory does not grow with the log; text of records cannot steer a terminal, or become a formula or a
line of its own in a spreadsheet. Not here: Parquet (`audit_parquet.py`), what a row holds (`jurat.audit.rows`).
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from typing import IO, Final, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat.audit import export
from jurat.audit.log import LogEntry
from jurat.audit.record import DecisionRecord
from jurat.audit.rows import COLUMNS, row
from jurat.cli.keys import PIPE_WIDTH
from jurat.schemas import canonical
from jurat.schemas.shown import printable

MAX_TABLE_ROWS: Final = 10_000
"""A longer table helps nobody and would be held in memory; the other formats have no bound."""

FORMULA: Final = re.compile(r"(^|;)( *)(?=[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])")
"""What spreadsheets take for a formula, even within quotes (OWASP, CSV injection): at the start of a cell, and behind a
semicolon, at which they begin a cell in places where the comma is in numbers; also as wide as Chinese characters are.
Control characters are escaped."""

_TABLE: Final = ("time", "agent", "outcome", "action", "policies", "decision_id")


class Printer(Protocol):
    """Prints what was read, entry by entry."""

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        """Print an entry; `record` is None where its payload is no record."""
        ...

    def close(self) -> None:
        """Print what is held, and end."""
        ...


class SignedLines:
    """The export file, which verifies."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        """Print the entry's line."""
        self._file.write(export.print_entry(entry) + b"\n")

    def close(self) -> None:
        """Flush."""
        self._file.flush()


class RowLines:
    """Flat rows as canonical JSON, one a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        """Print the entry's row."""
        self._file.write(canonical.dumps(row(entry, record)) + b"\n")

    def close(self) -> None:
        """Flush."""
        self._file.flush()


class Csv:
    """Flat rows as CSV (RFC 4180) in UTF-8, with a line of names above."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._line = io.StringIO(newline="")
        self._writer = csv.writer(self._line)
        self._write([column.name for column in COLUMNS])

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        """Print the entry's row."""
        self._write([_cell(value) for value in row(entry, record).values()])

    def close(self) -> None:
        """Flush."""
        self._file.flush()

    def _write(self, cells: Sequence[str | int]) -> None:
        self._writer.writerow(cells)
        self._file.write(self._line.getvalue().encode())
        self._line.seek(0)
        self._line.truncate()


class TablePrinter:
    """A table for the eye, printed at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left_out = 0
        self._table = Table(box=None)
        for name in (*_TABLE[:-1], "decision", "at"):
            self._table.add_column(name, no_wrap=name in ("time", "decision"))

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        """Take an entry in, as far as there is room."""
        if self._table.row_count >= MAX_TABLE_ROWS:
            self._left_out += 1
            return
        at = f"{entry.partition}:{entry.offset}"
        cells = {name: value or "" for name, value in row(entry, record).items()}
        cells["time"] = str(cells["time"])[:19].replace("T", " ")
        self._table.add_row(*(Text(printable(str(cell))) for cell in (*(cells[name] for name in _TABLE), at)))

    def close(self) -> None:
        """Print it."""
        text = io.StringIO()
        console = Console(file=text, width=None if sys.stdout.isatty() else PIPE_WIDTH)
        console.print(self._table)
        if self._left_out:
            console.print(f"and {self._left_out} more; the other formats print them all")
        self._file.write(text.getvalue().encode())
        self._file.flush()


def _cell(value: str | int | None) -> str | int:
    """A value as a cell of a spreadsheet."""
    if value is None:
        return ""
    if isinstance(value, int):
        return value
    return FORMULA.sub(r"\1\2'", printable(value))
