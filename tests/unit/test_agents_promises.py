"""The promise negotiator: offers, answers, ends, reports, run in memory under the shipped policies as a worker does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from jurat.agents.agent import Action, Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.promise_actions import (
    ChangeNothing,
    CommitPromise,
    DeclinePromise,
    NoteCapacity,
    OfferPromise,
    ReleaseOffers,
    ReportShortage,
)
from jurat.agents.promise_ledger import (
    MAX_ENDED,
    MAX_OFFERS,
    OFFER_STANDS,
    TIMER,
    Offer,
    Slot,
    ZoneLedger,
    needless,
    over,
    to_withdraw,
)
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR, wanted_of
from jurat.agents.promise_talks import asked_fee
from jurat.agents.reasoner import Reasoner
from jurat.audit.record import Outcome
from jurat.schemas.commerce_promises import PromiseAnswer, PromiseAnswered, SlotCapacity, Tier
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Event
from jurat.streams.usage import Counted, PartitionUsage
from jurat.testing import Stage, rehearse
from tests.promises import (
    EVENING,
    MORNING,
    TOMORROW,
    accepts,
    engine,
    fired,
    ledger_of,
    report,
    request,
    says,
    slot,
)
from tests.shop import Down, Insisting, euros, run

WIDE = report(slot(EVENING, 12), slot(TOMORROW, 30))
HOUR = timedelta(hours=1)
OFFERED = OfferPromise(slot_id=EVENING, fee_minor=600, currency="EUR")
PROMISED = CommitPromise(slot_id=EVENING, fee_minor=600, currency="EUR")
COUNTERED, DECLINED = PromiseAnswer.COUNTERED, PromiseAnswer.DECLINED


@pytest.fixture
def zone() -> Iterator[Stage]:
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
            WIDE.model_copy(update={"slots": WIDE.slots[:1]}), now=MORNING, withdrawn=()
        )


# What people decide


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


# A reasoner that wants what it may not


@pytest.mark.parametrize(
    ("proposal", "policy"),
    [
        (OFFERED.model_copy(update={"slot_id": "moon"}), "promise.slot.unknown"),
        (OFFERED.model_copy(update={"fee_minor": 901}), "promise.fee.above"),
        (OFFERED.model_copy(update={"fee_minor": -1}), "promise.fee.negative"),
        (OFFERED.model_copy(update={"currency": "USD"}), "promise.currency"),
        (PROMISED, "promise.commit.agreed"),
        (ChangeNothing(), "ledger.nothing.owed"),
        (ReleaseOffers(request_ids=("r-1",)), "ledger.release.not-due"),
        (ReleaseOffers(request_ids=()), "ledger.release.all"),
        (NoteCapacity(withdrawn=()), "ledger.capacity.no-report"),
        (ReportShortage(withdrawn=("r-1",)), "ledger.capacity.no-report"),
    ],
)
def test_a_request_leads_to_nothing_else(zone: Stage, proposal: Action, policy: str) -> None:
    done, policies = proposed(zone, Insisting(proposal), request())
    assert policy in policies
    assert done == DeclinePromise(), "the fallback"


@pytest.mark.parametrize(
    "proposal",
    [
        PROMISED.model_copy(update={"fee_minor": 599}),
        PROMISED.model_copy(update={"slot_id": TOMORROW}),
        DeclinePromise(),
        OFFERED,
        ChangeNothing(),
    ],
)
def test_what_was_accepted_is_promised_whatever_a_reasoner_wants(zone: Stage, proposal: Action) -> None:
    zone.send(request())
    assert proposed(zone, Insisting(proposal), accepts())[0] == PROMISED
    assert proposed(zone, Down(), accepts())[0] == PROMISED


def test_a_counter_offer_is_promised_as_it_was_named_or_not_at_all(zone: Stage) -> None:
    zone.send(request())
    named = says(COUNTERED, slot_id=TOMORROW, fee=300)
    exactly = CommitPromise(slot_id=TOMORROW, fee_minor=300, currency="EUR")
    assert proposed(zone, Insisting(exactly), named)[0] == exactly
    for other in (exactly.model_copy(update={"fee_minor": 301}), PROMISED):
        assert proposed(zone, Insisting(other), named)[0] == ChangeNothing()
    without_fee = says(COUNTERED, slot_id=TOMORROW)
    assert proposed(zone, Insisting(exactly), without_fee)[0] == ChangeNothing(), "no fee was agreed to"


def test_a_counter_offer_gets_nobody_past_the_limits(zone: Stage) -> None:
    zone.send(request())
    for fee, policy in ((-500, "promise.fee.negative"), (50, "promise.discount.over-5")):
        named = says(COUNTERED, fee=fee)
        wish = PROMISED.model_copy(update={"fee_minor": fee})
        done, policies = proposed(zone, Insisting(wish), named)
        assert policy in policies
        assert done in (None, ChangeNothing())


@pytest.mark.parametrize(
    ("withdrawn", "policy"),
    [
        ((), "ledger.capacity.over"),
        (("r-1", "r-2"), "ledger.capacity.needless"),
        (("r-1", "r-1"), "ledger.capacity.needless"),
        (("r-1", "nobody"), "ledger.capacity.needless"),
    ],
)
def test_a_cut_withdraws_what_it_must_and_only_that(
    zone: Stage, withdrawn: tuple[str, ...], policy: str
) -> None:
    zone.send(request("r-1"))
    zone.send(request("r-2"))
    held = [offer for offer in ledger(zone).offers if offer.slot_id == EVENING]
    assert len(held) == 2
    cut = report(slot(EVENING, 12, capacity=3))
    done, policies = proposed(zone, Insisting(NoteCapacity(withdrawn=withdrawn)), cut)
    assert policies == (policy,)
    assert isinstance(done, NoteCapacity)
    assert len(done.withdrawn) == 1
    mine = NoteCapacity(withdrawn=("r-1",))
    assert proposed(zone, Insisting(mine), cut)[0] == mine, "which one is the reasoner's choice"


def test_a_timer_that_nothing_is_due_for_changes_nothing(zone: Stage) -> None:
    zone.send(request())
    assert proposed(zone, HeuristicReasoner(), fired())[0] == ChangeNothing()
    early = Insisting(ReleaseOffers(request_ids=("r-1",)))
    assert proposed(zone, early, fired())[0] == ChangeNothing()


def test_an_answer_about_nothing_is_answered_and_opens_nothing(zone: Stage) -> None:
    for proposal in (OFFERED, PROMISED, DeclinePromise()):
        done, policies = proposed(zone, Insisting(proposal), accepts("nobody"))
        assert "promise.not-open" in policies
        assert done == ChangeNothing()


# The ledger by itself


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


# Events


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


def test_what_is_no_event_of_the_agent_is_skipped(zone: Stage) -> None:
    assert zone.send(request()).outcome is Outcome.DECIDED
    assert not PROMISE_NEGOTIATOR.decides(fired().model_copy(update={"agent": "dunning"}))
    assert PROMISE_NEGOTIATOR.subject(fired()) == "z-1"
    assert isinstance(accepts(), PromiseAnswered)
    assert PROMISE_NEGOTIATOR.subject(accepts("r-9")) == "r-9"
