"""When the context stream counts as idle: nothing came for a while, and everything is read and committed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from jurat.streams import context
from jurat.streams.kafka import Connection

CONNECTION = Connection("nowhere:1")


async def watched(monkeypatch: pytest.MonkeyPatch, lags: list[int]) -> list[int]:
    """Watch a stream to which nothing comes; returns the answers about its lag that were not asked for."""

    async def behind(_connection: Connection, group: str, names: list[str]) -> int:
        assert (group, names) == ("context", [topic.name for topic in context.SOURCES])
        return lags.pop(0)

    monkeypatch.setattr(context, "behind", behind)
    monkeypatch.setattr(context, "WATCH_S", 0.001)
    stream: Any = SimpleNamespace(app=SimpleNamespace(crashed=False), last_event_s=None)
    await asyncio.wait_for(context._watch(CONNECTION, stream, asyncio.Event(), 0.01), 60)
    return lags


async def test_what_is_not_read_or_not_committed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await watched(monkeypatch, [120, 7, 0, -1]) == [-1]


async def test_what_nobody_delivers_is_waited_for_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CATCH_UP_S", 0.05)
    assert await watched(monkeypatch, [1] * 10_000)
