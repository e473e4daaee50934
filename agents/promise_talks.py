"""What to offer a customer, and what to make of the offer that comes back: speed traded against load.

Rules upheld here: a slot by the wished time costs its tariff, and more the fuller it is; a later one costs less the
longer the customer waits, where it has room; a customer who was let down before is led to slots with room; a fee that
the customer names is taken where it is not far below what was asked, else the next offer lies between both; three
offers are made at most. All of it is integer arithmetic. Not here: the ledger (`promise_ledger.py`), what is allowed
(`policies/promises`); `open_to` says the same as they do, so that no proposal is spent on what they refuse.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from jurat.agents.agent import Candidate, Signal
from jurat.agents.promise_actions import ChangeNothing, CommitPromise, DeclinePromise, OfferPromise
from jurat.agents.promise_ledger import Offer, Slot, Wanted, ZoneLedger
from jurat.schemas.commerce_promises import MAX_FEE_MINOR, PromiseAnswered, Tier

MAX_ROUNDS: Final = 3
"""Offers for one request; the policies say the same."""

CUT_OFF: Final = timedelta(minutes=60)
"""A slot that starts sooner cannot be loaded any more; the policies say the same."""

RESERVE_PERCENT: Final = 20
RESERVED_UNTIL: Final = timedelta(hours=6)
"""This part of a slot is for plus customers until so long before it starts; the policies say the same."""

MAX_DISCOUNT_MINOR: Final = 500
MAX_DISCOUNT_OF_VALUE: Final = 10
"""The most that a fee may be below the tariff: 5.00, and a tenth of the order; the policies say the same."""

BUSY_PERCENT: Final = 60
"""From this part of a slot on speed costs more: beyond it deliveries begin to come late."""

MAX_SURCHARGE_PERCENT: Final = 40
"""What speed costs more at most, in percent of the tariff; the policies allow half."""

DISCOUNT_PER_HOUR_MINOR: Final = 12
"""What an hour beyond the wished time is worth: some three euros a day."""

FULL: Final = 100
HOUR: Final = timedelta(hours=1)
SPEED, KEPT, MARGIN = "speed", "kept", "margin"


def open_to(ledger: ZoneLedger, slot: Slot, wanted: Wanted, now: datetime) -> bool:
    """Tell whether a slot may be offered for a request: in time, with room, and not from the reserve."""
    free = ledger.room(slot, beside=wanted.request_id) - wanted.units
    if free < 0 or slot.starts_at - now < CUT_OFF:
        return False
    open_reserve = wanted.tier is Tier.PLUS or slot.starts_at - now < RESERVED_UNTIL
    return open_reserve or free * FULL >= slot.capacity * RESERVE_PERCENT


def asked_fee(ledger: ZoneLedger, slot: Slot, wanted: Wanted) -> int:
    """What a slot is offered at, in minor units."""
    tariff, full, hours = slot.tariff_minor, _fill(ledger, slot, wanted), _hours_late(slot, wanted)
    if hours == 0:
        surcharge = min(MAX_SURCHARGE_PERCENT, max(0, full - BUSY_PERCENT))
        return min(MAX_FEE_MINOR, tariff * (FULL + surcharge) // FULL)
    if full > BUSY_PERCENT:
        return tariff
    return tariff - min(_most_off(tariff, wanted), hours * DISCOUNT_PER_HOUR_MINOR)


def first_offers(ledger: ZoneLedger, wanted: Wanted, now: datetime) -> tuple[Candidate, ...]:
    """Every slot that may be offered, scored; none where all are full."""
    return tuple(
        [
            Candidate(
                OfferPromise(slot_id=slot.slot_id, fee_minor=fee, currency=ledger.currency),
                (*_signals(ledger, slot, wanted), _gained(fee, slot)),
            )
            for slot in ledger.slots
            if open_to(ledger, slot, wanted, now)
            for fee in (asked_fee(ledger, slot, wanted),)
        ]
    )


def countered(
    ledger: ZoneLedger, offer: Offer, answer: PromiseAnswered, now: datetime
) -> tuple[Candidate, ...]:
    """What may follow a counter-offer: to agree, to meet half way, to let the offer stand.

    Args:
        ledger: as it stands.
        offer: the offer that was answered.
        answer: the counter-offer, to this offer.
        now: the moment.
    """
    wanted, stays = offer.wanted, Candidate(ChangeNothing(), (Signal("the offer stands", -20, MARGIN),))
    slot = ledger.slot(answer.slot_id or offer.slot_id)
    same = slot is not None and slot.slot_id == offer.slot_id
    if slot is None or not (same or open_to(ledger, slot, wanted, now)):
        return (*(_others(ledger, offer, now) if offer.round < MAX_ROUNDS else ()), stays)
    ask = offer.fee_minor if same else asked_fee(ledger, slot, wanted)
    floor = min(ask, slot.tariff_minor - _most_off(slot.tariff_minor, wanted))
    found = [stays]
    if answer.fee_minor is not None and floor <= answer.fee_minor <= ceiling(slot):
        agreed = CommitPromise(slot_id=slot.slot_id, fee_minor=answer.fee_minor, currency=ledger.currency)
        gained = Signal("what it costs less than asked", -2 * _percent(ask - answer.fee_minor, slot), MARGIN)
        found.append(Candidate(agreed, (Signal("the customer has said yes to it", 60, SPEED), gained)))
    if offer.round < MAX_ROUNDS:
        named = ask if answer.fee_minor is None else max(floor, (ask + answer.fee_minor) // 2)
        fee = min(named, ceiling(slot))
        if not same or fee != offer.fee_minor:
            again = OfferPromise(slot_id=slot.slot_id, fee_minor=fee, currency=ledger.currency)
            gained = Signal("what it costs less than asked", -_percent(ask - fee, slot) // 2, MARGIN)
            found.append(Candidate(again, (Signal("talks go on", 20 - 10 * offer.round, SPEED), gained)))
    else:
        found.append(Candidate(DeclinePromise(), (Signal("no offer is left", -10, SPEED),)))
    return tuple(found)


def ceiling(slot: Slot) -> int:
    """The highest fee of a slot: half above its tariff; the policies say the same."""
    return slot.tariff_minor * 3 // 2


def _others(ledger: ZoneLedger, offer: Offer, now: datetime) -> tuple[Candidate, ...]:
    return tuple(one for one in first_offers(ledger, offer.wanted, now) if not _as_offered(one.action, offer))


def _as_offered(action: object, offer: Offer) -> bool:
    return isinstance(action, OfferPromise) and action.slot_id == offer.slot_id


def _signals(ledger: ZoneLedger, slot: Slot, wanted: Wanted) -> tuple[Signal, ...]:
    hours, full = _hours_late(slot, wanted), _fill(ledger, slot, wanted)
    crowded = max(0, full - BUSY_PERCENT)
    return (
        Signal(
            "by the wished time" if hours == 0 else "after the wished time", 40 - min(90, 3 * hours), SPEED
        ),
        Signal("how full the slot gets", -crowded, KEPT),
        Signal("let down before", -crowded * min(2, wanted.late_before) // 2, KEPT),
    )


def _gained(fee: int, slot: Slot) -> Signal:
    return Signal(
        "fee beside the tariff", max(-20, min(20, _percent(fee - slot.tariff_minor, slot) // 4)), MARGIN
    )


def _percent(minor: int, slot: Slot) -> int:
    return minor * FULL // max(FULL, slot.tariff_minor)


def _most_off(tariff_minor: int, wanted: Wanted) -> int:
    """The most that a fee may be below the tariff for an order; nobody is paid for taking a slot."""
    return max(0, min(tariff_minor, MAX_DISCOUNT_MINOR, wanted.value_minor // MAX_DISCOUNT_OF_VALUE))


def _fill(ledger: ZoneLedger, slot: Slot, wanted: Wanted) -> int:
    """How full a slot is with the request in it, in percent."""
    free = ledger.room(slot, beside=wanted.request_id) - wanted.units
    return FULL - free * FULL // max(1, slot.capacity)


def _hours_late(slot: Slot, wanted: Wanted) -> int:
    """Hours, rounded up, by which a slot ends after the wished time."""
    return max(0, -((wanted.wished_by - slot.ends_at) // HOUR))
