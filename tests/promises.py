"""What the tests of delivery promises share: a zone, its events, and the agent in memory as a worker runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from jurat.agents.agent import Action, Situation
from jurat.agents.promise_actions import CommitPromise, OfferPromise
from jurat.agents.promise_ledger import OFFER_STANDS, TIMER, ZoneLedger
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR
from jurat.agents.reasoner import Reasoner
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.commerce_promises import (
    CapacityReported,
    DeliveryPromiseRequested,
    PromiseAnswer,
    PromiseAnswered,
    SlotCapacity,
    Tier,
)
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from jurat.streams.rehearsal import Rehearsal
from jurat.streams.usage import Counted, PartitionUsage
from jurat.testing import Stage, rehearse
from tests.shop import euros, run

MORNING = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
EVENING, TOMORROW = "mon-evening", "tue-noon"


@cache
def engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle("promises")))


def slot(name: str, hours: int, capacity: int = 20, tariff: int = 600) -> SlotCapacity:
    """Four hours that begin so many hours after the morning."""
    starts = MORNING + timedelta(hours=hours)
    return SlotCapacity(
        slot_id=name,
        starts_at=starts,
        ends_at=starts + timedelta(hours=4),
        capacity=capacity,
        tariff_minor=tariff,
    )


def report(*slots: SlotCapacity, load: int = 60, currency: str = "EUR") -> CapacityReported:
    return CapacityReported(zone_id="z-1", currency=currency, load_percent=load, slots=slots)


def request(name: str = "r-1", **changes: Any) -> DeliveryPromiseRequested:
    given: dict[str, Any] = {
        "zone_id": "z-1",
        "request_id": name,
        "customer_id": f"c-{name}",
        "order_id": f"o-{name}",
        "value": euros(8_000),
        "tier": Tier.STANDARD,
        "units": 2,
        "wished_by": MORNING + timedelta(hours=16),
        "late_before": 0,
    }
    return DeliveryPromiseRequested(**given | changes)


def says(
    answer: PromiseAnswer,
    name: str = "r-1",
    *,
    to: int = 1,
    slot_id: str | None = None,
    fee: int | None = None,
) -> PromiseAnswered:
    return PromiseAnswered(
        zone_id="z-1", request_id=name, answer=answer, to_round=to, slot_id=slot_id, fee_minor=fee
    )


def accepts(name: str = "r-1", *, to: int = 1) -> PromiseAnswered:
    return says(PromiseAnswer.ACCEPTED, name, to=to)


def fired(due: datetime = MORNING + OFFER_STANDS) -> TimerFired:
    return TimerFired(
        agent=PROMISE_NEGOTIATOR.name,
        event_key="z-1",
        name=TIMER,
        due_at=due,
        set_by=InputRef(topic=PROMISE_NEGOTIATOR.topic, partition=0, offset=0),
    )


def rehearsal(reasoner: Reasoner | None = None) -> Rehearsal:
    return Rehearsal(PROMISE_NEGOTIATOR, engine=engine(), at=MORNING, reasoner=reasoner)


def ledger_of(state: object) -> ZoneLedger:
    return state if isinstance(state, ZoneLedger) else ZoneLedger()


WIDE = report(slot(EVENING, 12), slot(TOMORROW, 30))
OFFERED = OfferPromise(slot_id=EVENING, fee_minor=600, currency="EUR")
PROMISED = CommitPromise(slot_id=EVENING, fee_minor=600, currency="EUR")
COUNTERED, DECLINED = PromiseAnswer.COUNTERED, PromiseAnswer.DECLINED


@contextmanager
def opened() -> Iterator[Stage]:
    """A zone in the morning, with its first report taken."""
    with rehearse(PROMISE_NEGOTIATOR, at=MORNING) as stage:
        stage.send(WIDE)
        yield stage


def does(stage: Stage, event: Event) -> Action | None:
    return stage.send(event).action


def ledger(stage: Stage) -> ZoneLedger:
    return ledger_of(stage.state("z-1"))


def proposed(stage: Stage, reasoner: Reasoner, event: Event) -> tuple[Action | None, tuple[str, ...]]:
    """What a reasoner gets done in the state of a stage, and the policies that judged its first proposal."""
    seen: Situation[Any] = Situation(event=event, now=stage.now, state=stage.state("z-1"))
    judge = Counted(engine(), PartitionUsage(partition=0), "z-1")
    decided = run(PROMISE_NEGOTIATOR, seen, reasoner=reasoner, judge=judge)
    last = decided.chosen
    done = last.proposal.action if last.judgement.verdict is Verdict.ALLOW else None
    return done, decided.proposals[0].judgement.policies
