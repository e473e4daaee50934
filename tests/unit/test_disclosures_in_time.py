"""What is sealed is asked for once the log's end is fixed: while workers write, the newest records are sealed too."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.log import Fault, LogEntry
from jurat.audit.selection import Selection
from jurat.cli import audit_replay, backtest_input
from tests.golden.audit import sample_log

LOG = sample_log.log(2)


class Seen:
    """In which order the log was begun and what is sealed was asked for."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.order: list[str] = []

        async def entries(*_given: Any) -> AsyncGenerator[LogEntry | Fault, None]:
            self.order.append("log")
            for entry in LOG:
                yield entry

        @asynccontextmanager
        async def unveiler(*_given: Any, **_named: Any) -> AsyncIterator[Unveiler]:
            self.order.append("sealed")
            yield Unveiler()

        monkeypatch.setattr(module, "log_entries", entries)
        monkeypatch.setattr(module, "unveiler", unveiler)


class Printed:
    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def add(self, entry: LogEntry, _record: Any) -> None:
        self.entries.append(entry)


def nowhere() -> Any:
    raise AssertionError("Kafka is not asked here")


async def test_a_backtest_begins_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(backtest_input, monkeypatch)
    async with backtest_input.past_log(None, nowhere, disclosures=None) as (entries, _lifts):
        assert [one async for one in entries] == list(LOG)
    assert seen.order == ["log", "sealed"]


async def test_a_replay_begins_with_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    seen, printed = Seen(audit_replay, monkeypatch), Printed()
    await audit_replay._replayed(None, nowhere, printed, Selection())  # type: ignore[arg-type]
    assert printed.entries == list(LOG)
    assert seen.order == ["log", "sealed"]
