"""The ledger of a zone by itself, and the events that it is fed with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from jurat.agents.promise_ledger import (
    MAX_ENDED,
    MAX_OFFERS,
    Offer,
    Slot,
    ZoneLedger,
    needless,
    over,
    to_withdraw,
)
from jurat.agents.promise_negotiator import wanted_of
from jurat.schemas.commerce_promises import SlotCapacity, Tier
from jurat.schemas.errors import InputRejected
from tests.promises import (
    COUNTERED,
    DECLINED,
    EVENING,
    MORNING,
    WIDE,
    report,
    request,
    says,
    slot,
)

HOUR = timedelta(hours=1)


def test_more_slots_than_a_ledger_holds_are_refused() -> None:
    many = tuple(
        Slot(
            slot_id=f"s-{number}",
            starts_at=MORNING,
            ends_at=MORNING + HOUR,
            capacity=1,
            tariff_minor=0,
            promised=1,
        )
        for number in range(64)
    )
    with pytest.raises(InputRejected, match="65 slots"):
        ZoneLedger(slots=many).reported(
            WIDE.model_copy(update={"slots": WIDE.slots[:1]}), now=MORNING, made_at=MORNING, withdrawn=()
        )


def test_a_report_that_leaves_offers_without_room_is_refused_by_the_ledger_itself() -> None:
    held = ZoneLedger(slots=(evening(4),)).put(offer("r-1", units=3))
    cut = report(slot(EVENING, 12, capacity=1))
    with pytest.raises(InputRejected, match="2 units on offer without room"):
        held.reported(cut, now=MORNING, made_at=MORNING, withdrawn=())
    assert held.reported(cut, now=MORNING, made_at=MORNING, withdrawn=("r-1",)).offers == ()


def test_a_slot_that_is_not_reported_any_more_is_kept_for_its_promises_until_it_ends() -> None:
    to_come = {"starts_at": MORNING, "ends_at": MORNING + HOUR}
    slots = tuple(
        evening(promised=units).model_copy(update={"slot_id": name, **to_come})
        for name, units in (("promised", 1), ("free", 0))
    )
    for minutes, left in ((59, ["promised"]), (60, [])):
        now = MORNING + timedelta(minutes=minutes)
        after = ZoneLedger(slots=slots).reported(report(), now=now, made_at=now, withdrawn=())
        assert [one.slot_id for one in after.slots] == left


def offer(name: str, units: int = 2, slot_id: str = EVENING, minutes: int = 30, **changes: Any) -> Offer:
    return Offer(
        wanted=wanted_of(request(name, units=units, **changes)),
        slot_id=slot_id,
        fee_minor=600,
        round=1,
        expires_at=MORNING + timedelta(minutes=minutes),
    )


def evening(capacity: int = 10, promised: int = 0) -> Slot:
    return Slot(
        slot_id=EVENING,
        starts_at=MORNING,
        ends_at=MORNING + HOUR,
        capacity=capacity,
        tariff_minor=600,
        promised=promised,
    )


def test_a_ledger_that_holds_more_than_it_can_take_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match="expected what it has room for"):
        ZoneLedger(slots=(evening(10, promised=9),), offers=(offer("r-1"),))
    with pytest.raises(ValidationError, match="expected what it has room for"):
        ZoneLedger(offers=(offer("r-1"),))
    with pytest.raises(ValidationError, match="twice"):
        ZoneLedger(slots=(evening(),), offers=(offer("r-1"), offer("r-1")))
    with pytest.raises(ValidationError, match="has ended"):
        ZoneLedger(slots=(evening(),), offers=(offer("r-1"),), ended=("r-1",))


def test_an_offer_without_room_is_refused_by_the_ledger_itself() -> None:
    held = ZoneLedger(slots=(evening(4),)).put(offer("r-1", units=3))
    with pytest.raises(InputRejected, match="at most 1 units"):
        held.put(offer("r-2", units=2))
    assert held.put(offer("r-1", units=4)).offers == (offer("r-1", units=4),), "its own units are room"
    with pytest.raises(InputRejected, match="at most 0 units"):
        held.promise(offer("r-3", slot_id="moon"))


def test_offers_and_ends_are_bounded() -> None:
    full = ZoneLedger(slots=(evening(1_000),))
    for number in range(MAX_OFFERS):
        full = full.put(offer(f"r-{number}"))
    with pytest.raises(InputRejected, match="64 others"):
        full.put(offer("one-more"))
    ended = full.end(f"old-{number}" for number in range(MAX_ENDED + 5))
    assert len(ended.ended) == MAX_ENDED
    assert ended.ended[-1] == f"old-{MAX_ENDED + 4}"


def test_the_latest_offers_go_first_and_those_of_plus_customers_last() -> None:
    early, late = offer("early", minutes=10), offer("late", minutes=20)
    plus = offer("plus", minutes=30, tier=Tier.PLUS)
    held = (plus, early, late)
    assert to_withdraw((evening(10),), held) == ()
    assert to_withdraw((evening(5),), held) == ("late",)
    assert to_withdraw((evening(3),), held) == ("early", "late")
    assert to_withdraw((evening(1),), held) == ("plus", "early", "late")


def test_what_a_large_offer_leaves_goes_back_to_smaller_ones() -> None:
    small, large = offer("small", units=1, minutes=30), offer("large", units=8, minutes=20)
    slots = (evening(8),)
    gone = to_withdraw(slots, (small, large))
    assert gone == ("small",)
    slots = (evening(2),)
    gone = to_withdraw(slots, (small, large))
    assert gone == ("large",), "without the large one the small one fits again"
    assert needless(slots, (small, large), gone) == 0
    assert over(slots, (small,)) == {}


def test_an_answer_names_a_slot_or_a_fee_where_it_counters_and_nowhere_else() -> None:
    with pytest.raises(ValidationError, match="go together"):
        says(COUNTERED)
    with pytest.raises(ValidationError, match="go together"):
        says(DECLINED, fee=1)


def test_slots_go_forward_and_stand_once_in_a_report() -> None:
    with pytest.raises(ValidationError, match="ends before"):
        SlotCapacity(slot_id="s", starts_at=MORNING, ends_at=MORNING, capacity=1, tariff_minor=1)
    with pytest.raises(ValidationError, match="twice"):
        report(slot("s", 1), slot("s", 2))
