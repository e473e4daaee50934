"""How long a worker waits for what may pass, and what it says meanwhile."""

from __future__ import annotations

import logging

import pytest

from jurat.schemas.errors import (
    BrokerUnreachable,
    NotAuthorized,
    PartitionFenced,
    ReopenPartition,
    StreamError,
    TopicMissing,
)
from jurat.streams.patience import (
    MAX_BACKOFF_S,
    MAX_REOPENS,
    TELL_EVERY_S,
    UNREACHABLE_PAUSE_S,
    UNREACHABLE_S,
    Patience,
    Silence,
)

AWAY = BrokerUnreachable("no answer")


def after(
    patience: Patience,
    error: BaseException,
    *,
    now: float = 0.0,
    opened: bool = True,
    committed: bool = False,
) -> float | None:
    return patience.after(error, opened=opened, committed=committed, now=now)


@pytest.mark.parametrize("error", [ReopenPartition("x"), PartitionFenced("x")])
def test_pauses_grow_until_the_worker_gives_up(error: StreamError) -> None:
    patience = Patience()
    pauses = [after(patience, error) for _ in range(MAX_REOPENS)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, MAX_BACKOFF_S, None]
    ended = patience.given_up(error, topic="commerce.payments", partition=3)
    assert type(ended) is StreamError
    assert f"commerce.payments, partition 3, failed {MAX_REOPENS} times in a row" in str(ended)
    assert ended.__cause__ is error


def test_a_commit_between_makes_it_patient_again() -> None:
    patience = Patience()
    for _ in range(3 * MAX_REOPENS):
        assert after(patience, ReopenPartition("x"), committed=True) == 2.0


@pytest.mark.parametrize("error", [TopicMissing("gone"), NotAuthorized("no"), ValueError("a defect")])
def test_what_does_not_pass_ends_the_worker_as_it_is(error: Exception) -> None:
    patience = Patience()
    assert after(patience, error) is None
    assert patience.given_up(error, topic="t", partition=0) is error


def test_a_broker_that_is_away_is_waited_for_longer_and_told_once_a_minute() -> None:
    patience = Patience()
    assert after(patience, ReopenPartition("the commit was not confirmed")) == 2.0
    told = []
    for second in range(0, int(UNREACHABLE_S), int(UNREACHABLE_PAUSE_S)):
        assert after(patience, AWAY, now=float(second), opened=False) == UNREACHABLE_PAUSE_S
        if patience.level == logging.WARNING:
            told.append(second)
    assert told == list(range(0, int(UNREACHABLE_S), int(TELL_EVERY_S)))
    assert after(patience, AWAY, now=UNREACHABLE_S, opened=False) is None
    assert "for 15 minutes" in str(patience.given_up(AWAY, topic="t", partition=0))


def test_the_time_begins_anew_when_the_partition_was_open_between() -> None:
    patience = Patience()
    assert after(patience, AWAY, now=0.0, opened=False)
    assert after(patience, AWAY, now=UNREACHABLE_S, opened=True)


def test_silence_is_told_while_it_lasts_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    silence = Silence("doer", "kafka.example:9092")
    for silent_s in (0.1, 3.0, 14.9, 0.2):
        silence.see(silent_s)
    assert caplog.messages == []
    for silent_s in (15.1, 16.0, 0.0, 74.0, 76.0, 80.0, 0.0, 81.0, 0.05, 0.1):
        silence.see(silent_s)
    assert [message.split(" agent=")[0] for message in caplog.messages] == [
        "no broker answers",
        "no broker answers",
        "brokers answer again",
    ]
    assert caplog.messages[-1].endswith("silence_s=81")
