"""What the group committed against what the changelog knows: less is fine, more means that records were lost."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.streams import opening, restore_checks
from jurat.streams.kafka import Connection, OffsetAndMetadata, TopicPartition
from jurat.streams.offsets import OffsetMap
from jurat.streams.opening import Opened, open_partition
from jurat.streams.restore_checks import Committed, check_committed
from jurat.streams.state import PartitionState, Source
from tests.partition_stage import Stage
from tests.tree import ROOT


def known(low: int, *done: int) -> Source:
    return Source(TopicPartition("commerce.payments", 3), OffsetMap(low, done))


def check(source: Source, offset: int, text: str) -> None:
    check_committed(Committed(source, offset, text), "payment-retrier")


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (10, OffsetMap(10, {12, 14}).encode()),
        (10, OffsetMap(10, {14}).encode()),
        (10, ""),
        (3, OffsetMap(3, {5, 12}).encode()),
        (3, OffsetMap(3, {5, 99}).encode()),
        (3, "of another program"),
        (0, ""),
    ],
)
def test_a_group_that_knows_no_more_than_the_changelog_is_believed(offset: int, text: str) -> None:
    check(known(10, 12, 14), offset, text)


@pytest.mark.parametrize(
    ("offset", "text"),
    [(11, ""), (10, OffsetMap(10, {13}).encode()), (10, OffsetMap(10, {12, 14, 99}).encode()), (10**9, "")],
)
def test_a_group_that_knows_more_than_the_changelog_stops_the_partition(offset: int, text: str) -> None:
    with pytest.raises(TopicMismatch, match="lost records"):
        check(known(10, 12, 14), offset, text)


def test_metadata_of_another_program_stop_the_partition() -> None:
    with pytest.raises(StreamError, match="another program"):
        check(known(10, 12), 10, "{}")


@pytest.mark.parametrize("level", [0, 1, 9])
def test_maps_are_compared_by_what_they_say(level: int) -> None:
    """The library that compresses may be another one after an upgrade; the same maps must not stop a worker."""
    bits = bytearray(200)
    done = range(11, 10 + 8 * 200, 3)
    for offset in done:
        bits[(offset - 10) >> 3] |= 1 << ((offset - 10) & 7)
    text = (
        "z" + base64.urlsafe_b64encode(zlib.compress(bytes(bits).rstrip(b"\0"), level)).rstrip(b"=").decode()
    )
    check(known(10, *done), 10, text)


class Hanging:
    """Transactions that cannot begin, and a producer that does not end."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def fence(self) -> None:
        raise StreamError("refused")

    async def stop(self) -> None:
        self.stopping.set()
        await asyncio.Event().wait()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[PartitionState]:
    states: list[PartitionState] = []

    def close(state: PartitionState) -> None:
        states.append(state)

    monkeypatch.setattr(PartitionState, "close", close)
    return states


async def test_an_opening_that_fails_and_is_cancelled_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, closed: list[PartitionState]
) -> None:
    hanging = Hanging()
    monkeypatch.setattr(opening, "Transactions", lambda *_, **__: hanging)
    task = asyncio.create_task(open_partition(0, Stage(monkeypatch).shared, check_ours=lambda: None))
    await hanging.stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(closed) == 1


async def test_a_partition_whose_end_is_cancelled_leaves_no_folder(closed: list[PartitionState]) -> None:
    hanging = Hanging()
    state = PartitionState(None, input_topic="i", timer_topic="t", partition=0)
    nothing = cast("Any", SimpleNamespace())
    task = asyncio.create_task(Opened(cast("Any", hanging), state, nothing, nothing, []).stop())
    await hanging.stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [state]


class Moving:
    """A group and a changelog that another worker moves on: it has the partition while we open it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 10
        for name in ("fence", "stop"):
            monkeypatch.setattr(f"jurat.streams.opening.Transactions.{name}", self.nothing)
        monkeypatch.setattr(restore_checks, "admin_client", self.client)
        monkeypatch.setattr(opening, "_restore", self.restore)

    async def nothing(self, *_rest: object) -> None:
        return None

    @asynccontextmanager
    async def client(self, _connection: Connection) -> AsyncIterator[Moving]:
        yield self

    async def list_consumer_group_offsets(
        self, _group: str, *, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        self.offset += 10
        return {partition: OffsetAndMetadata(self.offset, "") for partition in partitions}

    async def restore(self, _number: int, _shared: object, state: PartitionState, _check: object) -> Any:
        self.offset += 10
        for source in state.sources.values():
            source.offsets = OffsetMap(self.offset)
        return SimpleNamespace(stale=lambda _ended: [])


async def test_what_another_worker_commits_meanwhile_is_not_taken_for_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Moving(monkeypatch)
    stage = Stage(monkeypatch)
    opened = await open_partition(0, stage.shared, check_ours=lambda: None)
    assert {source.offsets.low for source in opened.state.sources.values()} == {30}


def test_the_line_that_the_documentation_shows_is_the_one_that_is_logged() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (shown,) = (json.loads(line) for line in text.splitlines() if line.startswith('{"ts"'))
    assert shown.pop("logger") == opening.log.name
    told = re.search(r'"(partition open [^"]+)"', inspect.getsource(opening))
    assert told is not None
    names = re.findall(r"(\w+)=", told[1])
    assert re.findall(r"(\w+)=", shown["message"]) == names
    assert list(shown) == ["ts", "level", "message", *names]
    assert shown["message"] == "partition open " + " ".join(f"{name}={shown[name]}" for name in names)
