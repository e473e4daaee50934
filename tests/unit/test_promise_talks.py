"""What is offered and countered, in numbers; and that no proposal is spent on what the policies refuse."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jurat.agents.agent import Situation
from jurat.agents.promise_actions import CommitPromise, OfferPromise
from jurat.agents.promise_ledger import OFFER_STANDS, Offer, Slot, Wanted, ZoneLedger
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR, Input, candidates, judged, wanted_of
from jurat.agents.promise_talks import asked_fee, countered, first_offers
from jurat.policies.request import PolicyRequest
from jurat.schemas.commerce_promises import Tier
from jurat.schemas.decision import Verdict
from jurat.streams.usage import Counted, PartitionUsage
from tests.promises import COUNTERED, EVENING, MORNING, TOMORROW, engine, request, says
from tests.shop import euros

HOUR = timedelta(hours=1)


def held(promised: int = 0, *, hours: int = 12, tariff: int = 600) -> ZoneLedger:
    """A zone with one slot of twenty units, and with one for tomorrow."""
    starts = MORNING + hours * HOUR
    evening = Slot(
        slot_id=EVENING,
        starts_at=starts,
        ends_at=starts + 4 * HOUR,
        capacity=20,
        tariff_minor=tariff,
        promised=promised,
    )
    later = evening.model_copy(
        update={
            "slot_id": TOMORROW,
            "starts_at": starts + 24 * HOUR,
            "ends_at": starts + 28 * HOUR,
            "promised": 0,
        }
    )
    return ZoneLedger(slots=(evening, later), currency="EUR", reported_at=MORNING)


def offered(ledger: ZoneLedger, wanted: Wanted) -> set[str]:
    found = [one.action for one in first_offers(ledger, wanted, MORNING)]
    return {action.slot_id for action in found if isinstance(action, OfferPromise)}


def test_the_last_fifth_of_a_slot_is_offered_to_plus_customers_and_to_all_in_its_last_hours() -> None:
    standard, plus = wanted_of(request()), wanted_of(request(tier=Tier.PLUS))
    assert EVENING in offered(held(14), standard)
    assert EVENING not in offered(held(15), standard)
    assert EVENING in offered(held(15), plus)
    assert EVENING in offered(held(15, hours=5), standard)


def test_speed_costs_two_fifths_more_at_most_and_a_slot_that_fills_has_no_discount() -> None:
    wanted = wanted_of(request())
    late = wanted_of(request(wished_by=MORNING))
    evening = held(18).slots[0]
    assert asked_fee(held(18), evening, wanted) == 840, "it is full with this request"
    assert asked_fee(held(10), held(10).slots[0], wanted) == 600
    assert asked_fee(held(10), held(10).slots[0], late) == 600 - 16 * 12
    assert asked_fee(held(11), held(11).slots[0], late) == 600


@pytest.mark.parametrize(
    ("fee", "agreed", "again"),
    [
        (99, False, 349),
        (100, True, 350),
        (900, True, 750),
        (901, False, 750),
        (1_300, False, 900),
        (-900, False, 100),
    ],
)
def test_a_fee_that_is_named_is_taken_or_met_half_way_within_what_is_allowed(
    fee: int, *, agreed: bool, again: int
) -> None:
    ledger, wanted = held(), wanted_of(request())
    offer = Offer(wanted=wanted, slot_id=EVENING, fee_minor=600, round=1, expires_at=MORNING + OFFER_STANDS)
    found = [one.action for one in countered(ledger.put(offer), offer, says(COUNTERED, fee=fee), MORNING)]
    assert (CommitPromise(slot_id=EVENING, fee_minor=fee, currency="EUR") in found) is agreed
    assert [one.fee_minor for one in found if isinstance(one, OfferPromise)] == [again]


@pytest.mark.parametrize("promised", [0, 12, 15, 18])
@pytest.mark.parametrize("hours", [0, 1, 5, 6, 12, 40])
@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("value", [300, 8_000])
def test_what_is_thought_of_is_what_the_policies_allow(
    promised: int, hours: int, tier: Tier, value: int
) -> None:
    ledger = held(promised, hours=hours)
    asks = request(tier=tier, value=euros(value))
    events: list[tuple[ZoneLedger, Input]] = [(ledger, asks)]
    for one in first_offers(ledger, wanted_of(asks), MORNING):
        assert isinstance(one.action, OfferPromise)
        offer = Offer(
            wanted=wanted_of(asks),
            slot_id=one.action.slot_id,
            fee_minor=one.action.fee_minor,
            round=1,
            expires_at=MORNING + OFFER_STANDS,
        )
        answers = [says(COUNTERED, fee=fee) for fee in (-10, 0, 95, 100, 450, 900, 905, 2_000)]
        answers += [says(COUNTERED, slot_id=name) for name in (EVENING, TOMORROW)]
        answers += [says(COUNTERED, slot_id=TOMORROW, fee=fee) for fee in (0, 95, 100, 905)]
        events += [(ledger.put(offer), answer) for answer in answers]
    judge = Counted(engine(), PartitionUsage(partition=0), "z-1")
    for state, event in events:
        situation: Situation[Input] = Situation(event, MORNING, MORNING, state=state)
        for candidate in candidates(situation):
            seen = judged(situation, candidate.action)
            said = judge.judge(
                PolicyRequest(
                    agent=PROMISE_NEGOTIATOR.name,
                    action=candidate.action.action_name,
                    resource=seen.resource,
                    facts=seen.facts,
                    now=MORNING,
                )
            )
            assert said.verdict is not Verdict.DENY, (event, candidate.action, said.policies)
