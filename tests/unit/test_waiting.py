"""What waits for people, as state: bounded, written whole, its time-outs given out once and in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected
from jurat.streams import waiting as module
from jurat.streams.kafka import KafkaRecord
from jurat.streams.parking import MAX_HEADERS, MAX_RECORD_BYTES
from jurat.streams.waiting import APPROVAL, TIME_OUT, KeptInput, Waiting, WaitingDecisions
from tests.examples import DECISION, REQUEST, WHEN
from tests.partition_stage import INPUT, START, Stage, until

RECORD = KafkaRecord(
    "marketplace.disputes", 4, 2, 1_790_000_000_000, b"c-1", b"\xff\x00", (("ce_id", b"\xfe"),)
)


def waits(number: int, *, hours: int = 24, record: KafkaRecord = RECORD) -> Waiting:
    decision = DECISION.model_copy(
        update={"id": f"dec_{number}", "verdict": Verdict.ESCALATE, "approvers": ("fraud-desk",)}
    )
    return Waiting(
        decision=decision,
        title="Refund the buyer",
        resource_type=REQUEST.resource_type,
        resource_id=REQUEST.resource_id,
        action_sha256=REQUEST.action_sha256,
        policy_input={"resource": {"id": "d-1", "type": "Jurat::Dispute"}},
        engine="fake",
        granted=(),
        input=KeptInput.of(record),
        due_at=WHEN + timedelta(hours=hours),
        timed_out=False,
    )


def test_what_is_written_is_what_comes_back() -> None:
    held, restored = WaitingDecisions(), WaitingDecisions()
    one = waits(1)
    restored.restore("dec_1", held.put(one))
    assert restored.get("dec_1") == held.get("dec_1") == one
    assert one.input.record(4) == RECORD
    assert one.event_key == "c-1"
    restored.restore("dec_1", None)
    assert (len(restored), restored.get("dec_1"), restored.next_due) == (0, None, None)
    with pytest.raises(ValidationError):
        restored.restore("dec_1", b'{"of":"another release"}')


def test_a_record_without_key_and_value_comes_back() -> None:
    bare = replace(RECORD, key=None, value=None, headers=())
    assert KeptInput.of(bare).record(4) == bare


def test_time_outs_come_once_and_in_order() -> None:
    held = WaitingDecisions()
    for number, hours in ((1, 3), (2, 1), (3, 2), (4, 1)):
        held.put(waits(number, hours=hours))
    held.end("dec_3")
    held.put(waits(1, hours=3).model_copy(update={"title": "changed"}))
    assert held.take_due(WHEN) == []
    assert held.next_due == WHEN + timedelta(hours=1)
    due = held.take_due(WHEN + timedelta(hours=9))
    assert [one.entry for one in due] == ["dec_2", "dec_4", "dec_1"]
    assert {(one.name, one.prefix, one.key) for one in due} == {(TIME_OUT, APPROVAL, "c-1")}
    assert held.take_due(WHEN + timedelta(hours=99)) == []
    assert len(held) == 3
    again = WaitingDecisions()
    for one in due:
        again.restore(one.entry, one.value)
    assert again.next_due is None


def test_a_time_out_is_in_the_changelog_though_the_entry_came_twice() -> None:
    held = WaitingDecisions()
    value = held.put(waits(1))
    restored = WaitingDecisions()
    restored.restore("dec_1", value)
    restored.restore("dec_1", value)
    assert len(restored.take_due(WHEN + timedelta(hours=24))) == 1


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    held = WaitingDecisions()
    held.check_room(RECORD)
    held.put(waits(1))
    for name in ("MAX_WAITING", "MAX_WAITING_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 1)
            with pytest.raises(InputRejected, match="1 wait for them in this partition"):
                held.check_room(RECORD)
    held.check_room(RECORD)
    for large in (
        replace(RECORD, value=bytes(MAX_RECORD_BYTES + 1)),
        replace(RECORD, headers=(("h", b""),) * (MAX_HEADERS + 1)),
    ):
        with pytest.raises(InputRejected, match="too large to wait"):
            held.check_room(large)
    monkeypatch.setattr(module, "MAX_ENTRY_BYTES", 100)
    with pytest.raises(InputRejected, match="expected at most 100"):
        held.put(waits(2))
    assert len(held) == 1
    held.end("dec_1")
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 1)
    held.check_room(RECORD)


async def test_a_partition_writes_the_time_out_and_the_state_in_one_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    waiting = waits(1).model_copy(update={"due_at": START + timedelta(days=36_500)})
    stage.state(0).waiting.put(waiting)
    async with stage.partition():
        stage.decider.skew = timedelta(days=36_501)
        await until(lambda: bool(stage.transactions[0].log), why="no time-out was written")
        (transaction,) = stage.transactions[0].log
        written = [(one.topic, one.key, one.value) for one in transaction.outputs]
        assert ("timers.payment-retrier", b"c-1", TIME_OUT.encode()) in written
        state = {one.key: one.value for one in transaction.outputs if one.topic == "state"}
        assert b'"timed_out":true' in (state[b"approval/" + INPUT.encode() + b"/dec_1"] or b"")
