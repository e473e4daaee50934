"""What goes into which transaction."""

from __future__ import annotations

import asyncio
import json

import pytest

from jurat.streams import batching as batching_module
from jurat.streams.batching import Batches, Ended
from tests.partition_stage import INPUT, START, Stage, record, told, until


async def test_an_id_is_written_with_the_end_of_its_event_not_when_the_event_was_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parked input counts as done, though it may still end rejected.

    Were its id written before its end, and the worker died between, the replay of its dead letter would be a repeat.
    """
    monkeypatch.setattr(batching_module, "COMMIT_MAX_RECORDS", 1)
    stage = Stage(monkeypatch)
    state = stage.state(0)
    opened = await stage._open(0, stage.shared, check_ours=lambda: None)
    batches = Batches(opened, stage.shared, committed=lambda _records, _began: None)
    offsets = state.sources[INPUT].offsets
    for offset in (0, 1):
        offsets.admit(offset)
    state.parking.park(record(0, "parked"), attempt=1, due=START)
    offsets.finish(0)
    for offset in (0, 1):  # both are decided, and the end of the parked one is the second of two transactions
        state.seen.remember("/shop", f"e-{offset}", offset=offset, sha256="ab" * 32, timestamp_ms=0)
    state.parking.end(b"parked")
    batches.add(Ended(verdicted=told(record(1)), done=[record(1)]))
    batches.add(Ended(verdicted=told(record(0, "parked"))))
    running = asyncio.create_task(batches.run())
    try:
        await until(lambda: len(stage.transactions[0].log) == 2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    seen = [
        [
            row[1]
            for output in transaction.outputs
            if (output.key or b"").startswith(b"seen/")
            for row in json.loads(output.value or b"")["ids"]
        ]
        for transaction in stage.transactions[0].log
    ]
    assert seen == [[1], [0]]
