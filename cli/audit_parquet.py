"""Flat rows as a Parquet file.

Rules upheld here: pyarrow is imported here alone, and only when it is asked for; at most one group of rows is held in
memory. Not here: what a row holds (`jurat.audit.rows`).
"""

from __future__ import annotations

from datetime import datetime
from typing import IO, Any, Final

from jurat.audit.log import LogEntry
from jurat.audit.record import DecisionRecord
from jurat.audit.rows import COLUMNS, Kind, Row, row
from jurat.schemas.errors import ConfigurationError

GROUP_ROWS: Final = 2_000
"""Rows of a group, all of which are held: a row is at most 64 KiB of parameters and little else, most are 1 KiB."""


class Parquet:
    """Writes rows in groups, with typed columns: text, 64-bit integers, timestamps in UTC with microseconds.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
            import pyarrow.parquet as pq  # noqa: PLC0415 - the same
        except ImportError as error:
            raise ConfigurationError(
                "got --format parquet, which needs pyarrow: python -m pip install 'jurat[parquet]'"
            ) from error
        kinds = {Kind.TEXT: pa.string(), Kind.INTEGER: pa.int64(), Kind.TIME: pa.timestamp("us", tz="UTC")}
        self._table: Any = pa.Table
        self._schema = pa.schema([(column.name, kinds[column.kind]) for column in COLUMNS])
        self._writer = pq.ParquetWriter(file, self._schema)
        self._rows: list[Row] = []

    def add(self, entry: LogEntry, record: DecisionRecord | None) -> None:
        """Take the entry's row in."""
        self._rows.append(row(entry, record))
        if len(self._rows) >= GROUP_ROWS:
            self._write()

    def close(self) -> None:
        """Write the last group and the footer."""
        if self._rows:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        columns = {
            column.name: [_value(each[column.name], column.kind) for each in self._rows] for column in COLUMNS
        }
        self._writer.write_table(self._table.from_pydict(columns, schema=self._schema))
        self._rows.clear()


def _value(value: str | int | None, kind: Kind) -> str | int | datetime | None:
    return datetime.fromisoformat(value) if kind is Kind.TIME and isinstance(value, str) else value
