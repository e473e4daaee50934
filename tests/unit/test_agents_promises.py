"""The promise negotiator: offers, answers, ends, reports, run in memory under the shipped policies as a worker does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jurat.agents.agent import Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.promise_actions import (
    ChangeNothing,
    CommitPromise,
    DeclinePromise,
    NoteCapacity,
    OfferPromise,
    PromiseRequest,
    ReleaseOffers,
    ReportShortage,
)
from jurat.agents.promise_ledger import (
    OFFER_STANDS,
    TIMER,
    Slot,
    ZoneLedger,
)
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR, wanted_of
from jurat.agents.promise_talks import asked_fee
from jurat.audit.record import Outcome
from jurat.schemas.commerce_promises import MAX_FEE_MINOR, PromiseAnswered, Tier
from jurat.schemas.decision import Verdict
from jurat.streams.usage import Counted, PartitionUsage
from jurat.testing import Stage, rehearse
from tests.promises import (
    COUNTERED,
    DECLINED,
    EVENING,
    MORNING,
    OFFERED,
    PROMISED,
    TOMORROW,
    WIDE,
    accepts,
    does,
    engine,
    fired,
    ledger,
    opened,
    proposed,
    report,
    request,
    says,
    slot,
)
from tests.shop import euros, run

HOUR = timedelta(hours=1)


@pytest.fixture
def zone() -> Iterator[Stage]:
    with opened() as stage:
        yield stage


# The talks


def test_an_offer_holds_its_units_and_an_acceptance_promises_them(zone: Stage) -> None:
    assert does(zone, request()) == OFFERED
    (offer,) = ledger(zone).offers
    assert (offer.round, offer.expires_at) == (1, MORNING + OFFER_STANDS)
    assert [(one.slot_id, one.promised) for one in ledger(zone).slots] == [(EVENING, 0), (TOMORROW, 0)]
    evening = ledger(zone).slots[0]
    assert ledger(zone).room(evening, beside="") == 18
    assert ledger(zone).room(evening, beside="r-1") == 20
    assert does(zone, accepts()) == PROMISED
    assert ledger(zone).slots[0].promised == 2
    assert (ledger(zone).offers, ledger(zone).ended) == ((), ("r-1",))
    assert zone.advance(MORNING + HOUR) == (), "no timer is left"


def test_an_offer_that_nobody_answers_runs_out_and_frees_its_units(zone: Stage) -> None:
    zone.send(request())
    (ended,) = zone.advance(MORNING + OFFER_STANDS)
    assert ended.action == ReleaseOffers(request_ids=("r-1",))
    assert ledger(zone).room(ledger(zone).slots[0], beside="") == 20
    assert does(zone, accepts()) == ChangeNothing(), "too late"
    assert ledger(zone).slots[0].promised == 0


def test_one_timer_ends_each_offer_in_its_turn(zone: Stage) -> None:
    zone.send(request())
    zone.advance(MORNING + timedelta(minutes=10))
    zone.send(request("r-2"))
    assert ledger(zone).timers() == {TIMER: MORNING + OFFER_STANDS}
    ended = zone.advance(MORNING + HOUR)
    assert [one.action for one in ended] == [
        ReleaseOffers(request_ids=("r-1",)),
        ReleaseOffers(request_ids=("r-2",)),
    ]


def test_an_acceptance_given_in_time_counts_however_late_it_is_read(zone: Stage) -> None:
    zone.send(request())
    seen: Situation[Any] = Situation(
        event=accepts(),
        now=MORNING + HOUR,
        occurred_at=MORNING + OFFER_STANDS,
        state=zone.state("z-1"),
    )
    judge = Counted(engine(), PartitionUsage(partition=0), "z-1")
    assert run(PROMISE_NEGOTIATOR, seen, judge=judge).chosen.proposal.action == PROMISED
    later = replace(seen, occurred_at=MORNING + OFFER_STANDS + timedelta(microseconds=1))
    assert run(PROMISE_NEGOTIATOR, later, judge=judge).chosen.proposal.action == ChangeNothing()


def test_a_refusal_ends_the_talks(zone: Stage) -> None:
    zone.send(request())
    assert does(zone, says(DECLINED)) == DeclinePromise()
    assert (ledger(zone).offers, ledger(zone).ended) == ((), ("r-1",))


def test_a_fee_close_to_what_was_asked_is_taken(zone: Stage) -> None:
    zone.send(request())
    agreed = CommitPromise(slot_id=EVENING, fee_minor=550, currency="EUR")
    assert does(zone, says(COUNTERED, fee=550)) == agreed
    assert ledger(zone).slots[0].promised == 2


def test_a_fee_far_below_is_met_half_way_and_an_answer_to_the_first_offer_is_none_to_the_second(
    zone: Stage,
) -> None:
    zone.send(request())
    assert does(zone, says(COUNTERED, fee=0)) == OFFERED.model_copy(update={"fee_minor": 300})
    assert does(zone, accepts(to=1)) == ChangeNothing()
    assert does(zone, says(COUNTERED, to=1, fee=400)) == ChangeNothing()
    assert does(zone, accepts(to=2)) == PROMISED.model_copy(update={"fee_minor": 300})


def test_a_slot_that_the_customer_names_is_offered(zone: Stage) -> None:
    zone.send(request())
    action = does(zone, says(COUNTERED, slot_id=TOMORROW))
    assert isinstance(action, OfferPromise)
    assert action.slot_id == TOMORROW
    assert action.fee_minor < 600, "who waits pays less"
    first, second = ledger(zone).slots
    assert ledger(zone).room(first, beside="") == 20
    assert ledger(zone).room(second, beside="") == 18


def test_a_slot_that_nobody_knows_is_answered_with_another_or_not_at_all(zone: Stage) -> None:
    zone.send(request())
    action = does(zone, says(COUNTERED, slot_id="moon"))
    assert isinstance(action, OfferPromise | ChangeNothing)
    assert ledger(zone).offer("r-1") is not None


def test_three_offers_are_made_and_no_fourth(zone: Stage) -> None:
    zone.send(request())
    for number in (1, 2):
        zone.send(says(COUNTERED, to=number, slot_id=(TOMORROW, EVENING)[number - 1]))
    offer = ledger(zone).offer("r-1")
    assert offer is not None
    assert offer.round == 3
    action = does(zone, says(COUNTERED, to=3, slot_id=TOMORROW))
    assert isinstance(action, DeclinePromise | ChangeNothing)


def test_a_request_twice_is_one(zone: Stage) -> None:
    zone.send(request())
    assert does(zone, request()) == ChangeNothing()
    zone.send(accepts())
    assert does(zone, request()) == ChangeNothing()
    assert does(zone, accepts()) == ChangeNothing()
    assert ledger(zone).slots[0].promised == 2


def test_where_all_is_full_the_customer_is_told(zone: Stage) -> None:
    zone.send(report(slot(EVENING, 12, capacity=1)))
    assert does(zone, request()) == DeclinePromise()
    assert ledger(zone).ended == ("r-1",)


def test_before_the_first_report_nothing_is_promised() -> None:
    with rehearse(PROMISE_NEGOTIATOR, at=MORNING) as stage:
        assert does(stage, request()) == DeclinePromise()


# Speed against load


def test_speed_costs_more_the_fuller_its_slot_is(zone: Stage) -> None:
    fees = []
    for number in range(7):
        action = does(zone, request(f"r-{number}", tier=Tier.PLUS))
        assert isinstance(action, OfferPromise)
        if action.slot_id == EVENING:
            fees.append(action.fee_minor)
    assert fees[0] == 600
    assert fees == sorted(fees)
    assert fees[-1] > 600
    assert len(ledger(zone).offers) == 7


def test_a_surcharge_on_the_highest_tariff_is_a_fee_that_can_be_said(zone: Stage) -> None:
    zone.send(report(slot(EVENING, 12, tariff=MAX_FEE_MINOR)))
    actions = [does(zone, request(f"r-{number}", tier=Tier.PLUS)) for number in range(9)]
    assert {action.fee_minor for action in actions if isinstance(action, OfferPromise)} == {MAX_FEE_MINOR}
    assert len(ledger(zone).offers) == 9


def test_who_was_let_down_is_led_to_the_slot_with_room() -> None:
    slots = (slot("full", 8, capacity=20), slot("free", 14, capacity=20))
    with rehearse(PROMISE_NEGOTIATOR, at=MORNING) as stage:
        stage.send(report(*slots))
        for number in range(7):
            wish = {"wished_by": MORNING + timedelta(hours=12), "units": 2}
            stage.send(request(f"r-{number}", tier=Tier.PLUS, **wish))
            stage.send(accepts(f"r-{number}"))
        later = {"wished_by": MORNING + timedelta(hours=12), "tier": Tier.PLUS}
        hurried, _ = proposed(stage, HeuristicReasoner(), request("a", **later))
        careful, _ = proposed(stage, HeuristicReasoner(), request("b", late_before=2, **later))
    assert isinstance(careful, OfferPromise)
    assert careful.slot_id == "free"
    assert isinstance(hurried, OfferPromise)


def test_nobody_is_paid_for_waiting_and_a_small_order_has_small_discounts() -> None:
    late = Slot(
        slot_id=TOMORROW,
        starts_at=MORNING + timedelta(days=3),
        ends_at=MORNING + timedelta(days=3, hours=4),
        capacity=20,
        tariff_minor=300,
    )
    large, small = wanted_of(request()), wanted_of(request(value=euros(1_000)))
    assert asked_fee(ZoneLedger(slots=(late,)), late, large) == 0
    assert asked_fee(ZoneLedger(slots=(late,)), late, small) == 200


# Capacity


def test_a_cut_withdraws_the_latest_offers_and_no_more_than_it_must(zone: Stage) -> None:
    for number in range(3):
        zone.send(request(f"r-{number}"))
        zone.advance(zone.now + timedelta(minutes=1))
    held = [offer.request_id for offer in ledger(zone).offers if offer.slot_id == EVENING]
    action = does(zone, report(slot(EVENING, 12, capacity=2), slot(TOMORROW, 30)))
    assert action == NoteCapacity(withdrawn=tuple(held[1:]))
    assert set(ledger(zone).ended) == set(held[1:])


def test_a_cut_below_what_is_promised_is_told_and_leaves_no_offer(zone: Stage) -> None:
    zone.send(request("r-1", units=10))
    zone.send(accepts("r-1"))
    zone.send(request("r-2"))
    action = does(zone, report(slot(EVENING, 12, capacity=4), slot(TOMORROW, 30)))
    assert isinstance(action, ReportShortage)
    evening = ledger(zone).slots[0]
    assert (evening.promised, evening.capacity, evening.short) == (10, 4, 6)
    assert ledger(zone).room(evening, beside="") == 0
    assert all(offer.slot_id != EVENING for offer in ledger(zone).offers)
    assert isinstance(does(zone, WIDE), NoteCapacity), "a report with room again is no shortage"
    assert ledger(zone).room(ledger(zone).slots[0], beside="") == 10


def test_a_slot_that_is_not_reported_any_more_is_closed_and_its_promises_are_in_danger(zone: Stage) -> None:
    zone.send(request())
    zone.send(accepts())
    assert isinstance(does(zone, report(slot(TOMORROW, 30))), ReportShortage)
    assert [(one.slot_id, one.capacity, one.short) for one in ledger(zone).slots] == [
        (TOMORROW, 20, 0),
        (EVENING, 0, 2),
    ]
    zone.advance(MORNING + timedelta(hours=17))
    assert isinstance(does(zone, report(slot(TOMORROW, 30))), NoteCapacity), "its time is over"
    assert [one.slot_id for one in ledger(zone).slots] == [TOMORROW]


def test_the_report_counts_for_tariffs_and_load(zone: Stage) -> None:
    zone.send(report(slot(EVENING, 12, tariff=450), load=77))
    assert (ledger(zone).load_percent, ledger(zone).slots[0].tariff_minor) == (77, 450)


# What people decide


@pytest.mark.parametrize(("hours", "age"), [(25, 1500), (24, 1440), (0, 0), (-3, 0)])
def test_a_report_is_as_old_as_it_says_however_late_it_is_read(zone: Stage, hours: int, age: int) -> None:
    seen: Situation[Any] = Situation(
        event=WIDE, now=MORNING, occurred_at=MORNING - timedelta(hours=hours), state=zone.state("z-1")
    )
    assert PROMISE_NEGOTIATOR.effect is not None
    after = PROMISE_NEGOTIATOR.effect(seen, NoteCapacity(withdrawn=()))
    asks: Situation[Any] = Situation(event=request(), now=MORNING, occurred_at=MORNING, state=after)
    stated = PROMISE_NEGOTIATOR.judged(asks, OFFERED).resource
    assert isinstance(stated, PromiseRequest)
    assert stated.report_age_minutes == age
    judge = Counted(engine(), PartitionUsage(partition=0), "z-1")
    done = run(PROMISE_NEGOTIATOR, asks, judge=judge).chosen.proposal.action
    assert isinstance(done, DeclinePromise) == (age > 1440)


def test_at_the_peak_the_dispatcher_lifts_a_promise_for_the_next_hours() -> None:
    with rehearse(PROMISE_NEGOTIATOR, at=MORNING) as stage:
        stage.send(report(slot("noon", 3), load=95))
        asked = stage.send(request())
        assert asked.decision is not None
        assert asked.decision.verdict is Verdict.ESCALATE
        assert asked.decision.approvers == ("dispatcher",)
        assert ledger(stage).offers == ()
        granted = stage.grant(asked, role="dispatcher")
        assert isinstance(granted.action, OfferPromise)
        assert len(ledger(stage).offers) == 1
        assert isinstance(does(stage, accepts()), CommitPromise), "what stands is not asked for again"


def test_an_offer_that_was_approved_too_late_is_not_made_twice() -> None:
    with rehearse(PROMISE_NEGOTIATOR, at=MORNING) as stage:
        stage.send(report(slot("noon", 3), load=95))
        first, second = stage.send(request()), stage.send(request())
        assert stage.grant(first, role="dispatcher").action is not None
        assert stage.grant(second, role="dispatcher").action is None
        assert len(ledger(stage).offers) == 1


def test_the_discounts_of_a_day_end() -> None:
    offered = []
    with rehearse(PROMISE_NEGOTIATOR, at=MORNING) as stage:
        stage.send(report(slot(TOMORROW, 48, capacity=5_000)))
        for number in range(80):
            action = does(stage, request(f"r-{number}"))
            offered.append(action)
            stage.send(says(DECLINED, f"r-{number}"))
    off = [600 - one.fee_minor for one in offered if isinstance(one, OfferPromise)]
    assert 0 < sum(off) <= 30_000
    assert isinstance(offered[-1], DeclinePromise), "the only slot is offered below its tariff, or not at all"


def test_what_is_no_event_of_the_agent_is_skipped(zone: Stage) -> None:
    assert zone.send(request()).outcome is Outcome.DECIDED
    assert not PROMISE_NEGOTIATOR.decides(fired().model_copy(update={"agent": "dunning"}))
    assert PROMISE_NEGOTIATOR.subject(fired()) == "z-1"
    assert isinstance(accepts(), PromiseAnswered)
    assert PROMISE_NEGOTIATOR.subject(accepts("r-9")) == "r-9"
