"""The agent that the chaos runs, and the events that it is fed.

It is the payment retrier with everything on that a runtime can lose or repeat: a tally per key as state, timers, paid
model calls, keys whose failures park them. What a key is like stands in its name, so that worker, model server and
checks agree without speaking to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from random import Random
from typing import Any

from jurat.agents.agent import Action, Agent, Judged, Situation
from jurat.agents.payment_retrier import (
    PAYMENT_RETRIER,
    AskForNewMethod,
    FailedPayment,
    NoFacts,
    RetryCharge,
    RetryFacts,
)
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.model import Count, Event, Identifier, Model
from jurat.schemas.timers import TimerFired
from jurat.streams import topics
from jurat.streams.kafka import partition_of_key
from tests.model_server import Mishap

SLOW, PARKS, TIMED = "slow", "parks", "timed"
"""Kinds of keys: their calls take long; they fail twice and are parked; what is allowed about them sets a timer."""

KINDS = (SLOW, PARKS, PARKS, TIMED, TIMED, "plain", "plain")
PARTITIONS = topics.PAYMENTS.partitions

FOLLOW_UP = "follow-up"
FOLLOW_UP_AFTER = timedelta(milliseconds=500)
EXPIRES_AFTER = timedelta(seconds=60)
CODES = ("insufficient_funds", "processor_timeout", "card_declined", "card_expired", "suspected_fraud")


class Tally(Model):
    """The state of a key: how many of its decisions had an effect, and the last one's subject."""

    decided: Count
    last: Identifier


@cache
def customers(partition: int) -> tuple[str, ...]:
    """Keys of the events on a partition: of each kind some, so that every partition has everything."""
    found = []
    for number, kind in enumerate(KINDS):
        names = (f"c-{number}-{attempt}-{kind}" for attempt in count())
        wanted = (name for name in names if partition_of_key(name.encode(), PARTITIONS) == partition)
        found.append(next(wanted))
    return tuple(found)


def delay_s(key: str) -> float:
    """How long the model takes about a key."""
    return 1.5 if key.endswith(SLOW) else 0.02


def mishaps(key: str, attempt: int) -> Mapping[Mishap, float]:
    """How often the model fails about a key, in each way."""
    if key.endswith(PARKS):
        return {Mishap.BUSY: 0.2, Mishap.CUT: 0.8} if attempt < 2 else {Mishap.BUSY: 0.2}
    return {Mishap.BUSY: 0.03, Mishap.HANG: 0.003, Mishap.CUT: 0.01, Mishap.GARBAGE: 0.02}


def payment(number: int, key: str, draws: Random) -> PaymentFailed:
    """One event; of a key with timers one that may be charged again."""
    timed = key.endswith(TIMED)
    return PaymentFailed.model_validate(
        {
            "payment_id": f"pay-{number}",
            "order_id": f"o-{number}",
            "customer_id": key,
            "payment_method_id": "card-1",
            "amount": {"amount_minor": draws.choice([1_999, 25_000]), "currency": "EUR"},
            "failure_code": CODES[0] if timed else draws.choice(CODES),
            "attempt": 1 if timed else draws.randint(1, 4),
            "fraud_score": 3 if timed else draws.choice([3, 3, 3, 55, 85]),
        }
    )


def _judged(situation: Situation[Any], action: Action) -> Judged:
    if not isinstance(situation.event, TimerFired):
        return PAYMENT_RETRIER.judged(situation, action)
    fired = FailedPayment(
        id=_subject(situation.event),
        order_id="o-timer",
        customer_id=situation.event.event_key,
        amount_minor=1_999,
        currency="EUR",
        failure_code="insufficient_funds",
        attempt=1,
        fraud_score=0,
    )
    if isinstance(action, RetryCharge):
        return Judged(fired, RetryFacts(after_minutes=action.after_minutes))
    return Judged(fired, NoFacts())


def _subject(event: Event) -> str:
    if isinstance(event, TimerFired):
        return f"timer-of-{event.set_by.partition}-{event.set_by.offset}"
    assert isinstance(event, PaymentFailed)
    return event.payment_id


def _counted(situation: Situation[Any], _action: Action) -> Tally:
    before = situation.state
    decided = before.decided if isinstance(before, Tally) else 0
    return Tally(decided=decided + 1, last=_subject(situation.event))


def _timers(situation: Situation[Any], _action: Action) -> Mapping[str, datetime]:
    if isinstance(situation.event, TimerFired) or not situation.event.key().endswith(TIMED):
        return {}
    return {FOLLOW_UP: situation.now + FOLLOW_UP_AFTER}


def _fallback(situation: Situation[Any]) -> Action | None:
    return None if situation.event.key().endswith(PARKS) else AskForNewMethod()


AGENT: Agent[Any] = replace(
    PAYMENT_RETRIER,
    subject=_subject,
    judged=_judged,
    views=(),
    reads=lambda _event: (),
    state_model=Tally,
    effect=_counted,
    timers=_timers,
    expires_after=EXPIRES_AFTER,
    fallback=_fallback,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One record to publish: an event with its id, or bytes that are none."""

    key: str
    event: PaymentFailed | None
    event_id: str
    poison: bytes = b""


class Traffic:
    """An endless, seeded stream of events with repeats, poison and slow keys."""

    def __init__(self, draws: Random) -> None:
        self._draws = draws
        self._number = 0
        self._recent: list[Sent] = []

    def next(self) -> Sent:
        """The next record."""
        draw = self._draws.random()
        if draw < 0.06 and self._recent:
            return self._draws.choice(self._recent)
        self._number += 1
        keys = customers(self._draws.randrange(PARTITIONS))
        key = self._draws.choice(keys)
        if key.endswith(SLOW) and draw < 0.9:
            key = self._draws.choice(keys)  # or they would be slower than their events come
        if draw < 0.12:
            poison = self._draws.choice([b"", b"not an event", b"\xc3\x01" + b"\0" * 40])
            return Sent(key, None, f"poison-{self._number}", poison)
        sent = Sent(key, payment(self._number, key, self._draws), f"e-{self._number}")
        self._recent = [*self._recent[-40:], sent]
        return sent
