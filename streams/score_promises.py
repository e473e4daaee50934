"""A world of delivery promises: a zone, three days of slots, customers who know what their time is worth.

Rules upheld here: who a customer is, which vans will break down and whose luck runs out is drawn before anything is
offered and never shown; a customer answers an offer, not the reason for it. Money, in cents: a fifth of what is
delivered and its fee, less what late and broken promises cost. Not here: running an agent (`score.py`).

The truth, chosen before any agent was run. A delivery by the wished time is worth 1.00 to 9.00 to a customer, and half
of them lose 5 to 15 cents with each hour after it, the others 20 to 60. They accept what is worth its fee. Where it is
not, but by 2.00 at most, seven in ten name another slot that they would rather take, once, else the fee that they would
pay; of those whose offer is then left to stand every third accepts it. All others decline. One in twelve never answers.
In a slot that is filled to 60 % or less 3 % of deliveries come late, and 0.9 % more for each percent above: a full van
has no slack. A late one costs 12.00, and twice that with a customer who was let down before, as they leave. Capacity is
reported each morning; on one day of three a van breaks down at noon, and that day's slots lose a quarter. A promise
that has no room then costs 20.00 a unit.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.promise_actions import ChangeNothing, CommitPromise, OfferPromise
from jurat.agents.promise_ledger import OFFER_STANDS, TIMER, Wanted, ZoneLedger
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR, fallback, wanted_of
from jurat.agents.promise_talks import open_to
from jurat.schemas.commerce_promises import (
    CapacityReported,
    DeliveryPromiseRequested,
    PromiseAnswer,
    PromiseAnswered,
    SlotCapacity,
    Tier,
)
from jurat.schemas.decision import InputRef
from jurat.schemas.model import Event, Money
from jurat.schemas.timers import TimerFired
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

START: Final = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
ZONE: Final = "z-1"
CURRENCY: Final = "EUR"
SLOTS: Final = ((2, 4, 690), (6, 4, 490), (10, 4, 590))
"""Of each day: hours after six, hours long, tariff."""

AHEAD_DAYS: Final = 3
REQUESTS_A_DAY: Final = 20
UNITS_A_SLOT: Final = 12
"""Twenty requests of some 1.6 units a day meet 36 units: enough on the whole, and too few where all want the same."""

LATE_MINOR: Final = 1_200
BROKEN_MINOR: Final = 2_000
MARGIN_PERCENT: Final = 20
EASY_PERCENT: Final = 60
EASY_LATE: Final = 30
LATE_PER_PERCENT: Final = 9
"""Of a thousand deliveries: how many come late in a slot with slack, and how many more for each percent above."""

COUNTERS_WITHIN_MINOR: Final = 200


@dataclass(frozen=True, slots=True)
class _Customer:
    """The truth about one customer."""

    event: DeliveryPromiseRequested
    worth_minor: int
    hour_minor: int
    silent: bool
    talks: bool
    gives_in: bool
    minutes: int

    def gains(self, slot: SlotCapacity, fee: int) -> int:
        """What a slot at a fee is worth to them."""
        hours = max(0, -((self.event.wished_by - slot.ends_at) // timedelta(hours=1)))
        return self.worth_minor - hours * self.hour_minor - fee


@dataclass(slots=True)
class _Talk:
    customer: _Customer
    offer: OfferPromise | None = None
    round: int = 0
    named_slot: bool = False


@dataclass(slots=True)
class _Zone:
    """What goes on: the slots as they are, the talks, what was promised."""

    slots: dict[str, SlotCapacity] = field(default_factory=dict)
    talks: dict[str, _Talk] = field(default_factory=dict)
    ends: dict[str, datetime] = field(default_factory=dict)
    promised: list[tuple[_Customer, str, int]] = field(default_factory=list)


def play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """As many requests as there are cases, over the days that they take."""
    zone, due, turn = _Zone(), list[tuple[datetime, int, Event]](), 0
    for at, event in (*_reports(seed, cases), *_requests(seed, cases, zone)):
        heapq.heappush(due, (at, turn, event))
        turn += 1
    while due:
        at, _turn, event = heapq.heappop(due)
        if isinstance(event, CapacityReported):
            zone.slots |= {slot.slot_id: slot for slot in event.slots}
        if isinstance(event, TimerFired) and at not in zone.ends.values():
            continue  # the offer was answered, or another took its place
        action = yield Step(event, at)
        for after, follows in _follows(zone, event, action, at):
            heapq.heappush(due, (after, turn, follows))
            turn += 1
    return _worth(seed, zone, cases)


def _follows(
    zone: _Zone, event: Event, action: Action | None, at: datetime
) -> tuple[tuple[datetime, Event], ...]:
    """What comes of a decision."""
    if isinstance(event, TimerFired):
        zone.ends = {name: end for name, end in zone.ends.items() if end > at}
    if not isinstance(event, DeliveryPromiseRequested | PromiseAnswered):
        return ()
    talk, name = zone.talks[event.request_id], event.request_id
    if isinstance(action, CommitPromise):
        zone.promised.append((talk.customer, action.slot_id, action.fee_minor))
    if isinstance(action, OfferPromise):
        talk.offer, talk.round, zone.ends[name] = action, talk.round + 1, at + OFFER_STANDS
        ended = TimerFired(
            agent=PROMISE_NEGOTIATOR.name,
            event_key=ZONE,
            name=TIMER,
            due_at=zone.ends[name],
            set_by=InputRef(topic=PROMISE_NEGOTIATOR.topic, partition=0, offset=0),
        )
        said = _answer(zone, talk)
        answered = () if said is None else ((at + timedelta(minutes=talk.customer.minutes), said),)
        return (*answered, (zone.ends[name], ended))
    if isinstance(action, ChangeNothing) and isinstance(event, PromiseAnswered):
        last = PromiseAnswer.ACCEPTED if talk.customer.gives_in else PromiseAnswer.DECLINED
        said = PromiseAnswered(zone_id=ZONE, request_id=name, answer=last, to_round=talk.round)
        return ((at + timedelta(minutes=1), said),) if event.answer is PromiseAnswer.COUNTERED else ()
    zone.ends.pop(name, None)
    return ()


def _answer(zone: _Zone, talk: _Talk) -> PromiseAnswered | None:
    customer, offer = talk.customer, talk.offer
    if customer.silent or offer is None:
        return None
    slot, name = zone.slots[offer.slot_id], customer.event.request_id
    gained = customer.gains(slot, offer.fee_minor)

    def said(answer: PromiseAnswer, slot_id: str | None = None, fee: int | None = None) -> PromiseAnswered:
        return PromiseAnswered(
            zone_id=ZONE, request_id=name, answer=answer, to_round=talk.round, slot_id=slot_id, fee_minor=fee
        )

    if gained >= 0:
        return said(PromiseAnswer.ACCEPTED)
    if gained < -COUNTERS_WITHIN_MINOR or not customer.talks:
        return said(PromiseAnswer.DECLINED)
    best = max(zone.slots.values(), key=lambda one: customer.gains(one, one.tariff_minor))
    if best.slot_id != offer.slot_id and customer.gains(best, best.tariff_minor) > 0 and not talk.named_slot:
        talk.named_slot = True
        return said(PromiseAnswer.COUNTERED, best.slot_id, best.tariff_minor)
    return said(PromiseAnswer.COUNTERED, fee=max(0, offer.fee_minor + gained))


def _worth(seed: int, zone: _Zone, cases: int) -> Tally:
    """What was promised, once it was delivered or was not."""
    value, kept, taken = 0, 0, dict[str, int]()
    for customer, slot_id, _fee in zone.promised:
        taken[slot_id] = taken.get(slot_id, 0) + customer.event.units
    for slot_id, units in taken.items():
        value -= BROKEN_MINOR * max(0, units - zone.slots[slot_id].capacity)
    for customer, slot_id, fee in zone.promised:
        full = taken[slot_id] * 100 // max(1, zone.slots[slot_id].capacity)
        roll = Draws(seed, f"late {customer.event.request_id}").below(1_000)
        late = roll < EASY_LATE + LATE_PER_PERCENT * max(0, full - EASY_PERCENT)
        value += customer.event.value.amount_minor * MARGIN_PERCENT // 100 + fee
        value -= LATE_MINOR * (2 if customer.event.late_before else 1) if late else 0
        kept += not late
    return Tally(value_minor=value, cases=cases, promises=len(zone.promised), kept=kept)


def _days(cases: int) -> int:
    return -(-cases // REQUESTS_A_DAY)


def _reports(seed: int, cases: int) -> list[tuple[datetime, Event]]:
    """The mornings' reports, and those of noons at which a van broke down."""
    found: list[tuple[datetime, Event]] = []
    for day in range(_days(cases) + AHEAD_DAYS):
        draws = Draws(seed, f"day {day}")
        load, breaks = draws.between(40, 95), draws.happens(333)
        morning = START + timedelta(days=day)
        ahead = [slot for later in range(AHEAD_DAYS) for slot in _slots(seed, day + later)]
        found.append((morning, _report(ahead, load)))
        if breaks:
            left = [
                slot.model_copy(update={"capacity": slot.capacity * 3 // 4})
                if slot.starts_at < morning + timedelta(days=1)
                else slot
                for slot in ahead
            ]
            found.append((morning + timedelta(hours=6), _report(left, load)))
    return found


def _report(slots: list[SlotCapacity], load: int) -> CapacityReported:
    return CapacityReported(zone_id=ZONE, currency=CURRENCY, load_percent=load, slots=tuple(slots))


def _slots(seed: int, day: int) -> list[SlotCapacity]:
    draws, morning = Draws(seed, f"slots {day}"), START + timedelta(days=day)
    return [
        SlotCapacity(
            slot_id=f"{morning:%m-%d}-{number}",
            starts_at=morning + timedelta(hours=hour),
            ends_at=morning + timedelta(hours=hour + long),
            capacity=draws.between(UNITS_A_SLOT - 3, UNITS_A_SLOT + 3),
            tariff_minor=tariff,
        )
        for number, (hour, long, tariff) in enumerate(SLOTS)
    ]


def _requests(seed: int, cases: int, zone: _Zone) -> list[tuple[datetime, Event]]:
    found: list[tuple[datetime, Event]] = []
    for number in range(cases):
        draws = Draws(seed, f"customer {number}")
        day, hour = number // REQUESTS_A_DAY, draws.between(1, 15)
        at = START + timedelta(days=day, hours=hour, minutes=draws.below(60), seconds=number % 60)
        event = DeliveryPromiseRequested(
            zone_id=ZONE,
            request_id=f"r-{number}",
            customer_id=f"c-{number}",
            order_id=f"o-{number}",
            value=Money(amount_minor=draws.between(2_500, 12_000), currency=CURRENCY),
            tier=Tier.PLUS if draws.happens(200) else Tier.STANDARD,
            units=draws.weighted(((1, 60), (2, 25), (3, 15))),
            wished_by=at + timedelta(hours=draws.weighted(((8, 20), (16, 30), (30, 30), (48, 20)))),
            late_before=draws.weighted(((0, 75), (1, 18), (2, 7))),
        )
        customer = _Customer(
            event=event,
            worth_minor=draws.between(100, 900),
            hour_minor=draws.between(5, 15) if draws.happens(500) else draws.between(20, 60),
            silent=draws.happens(83),
            talks=draws.happens(700),
            gives_in=draws.happens(333),
            minutes=draws.between(1, 20),
        )
        zone.talks[event.request_id] = _Talk(customer)
        found.append((at, event))
    return found


def rule(situation: Situation[Any]) -> Action | None:
    """The first slot by the wished time, else the first, at its tariff; counter-offers change nothing."""
    event, ledger = situation.event, situation.state
    if not isinstance(event, DeliveryPromiseRequested) or not isinstance(ledger, ZoneLedger):
        return fallback(situation)
    wanted: Wanted = wanted_of(event)
    slots = [slot for slot in ledger.slots if open_to(ledger, slot, wanted, situation.now)]
    if not slots or ledger.offer(event.request_id) is not None or event.request_id in ledger.ended:
        return fallback(situation)
    first = min(slots, key=lambda slot: (slot.ends_at > wanted.wished_by, slot.starts_at))
    return OfferPromise(slot_id=first.slot_id, fee_minor=first.tariff_minor, currency=ledger.currency)


PROMISING: Final = World(
    name="promises",
    agent=PROMISE_NEGOTIATOR,
    rule=rule,
    rule_title="the first slot by the wished time, at its tariff; no talks",
    currency=CURRENCY,
    play=play,
)
