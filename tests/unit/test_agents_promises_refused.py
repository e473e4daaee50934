"""A reasoner that proposes what it may not, in the talks and about a zone's ledger: refused by name, and what then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from jurat.agents.agent import Action, Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.promise_actions import (
    ChangeNothing,
    CommitPromise,
    DeclinePromise,
    NoteCapacity,
    OfferFacts,
    ReleaseOffers,
    ReportShortage,
)
from jurat.agents.promise_ledger import MAX_OFFERS, OFFER_STANDS
from jurat.agents.promise_negotiator import judged
from jurat.testing import Stage
from tests.promises import (
    COUNTERED,
    DECLINED,
    EVENING,
    OFFERED,
    PROMISED,
    TOMORROW,
    accepts,
    fired,
    ledger,
    opened,
    proposed,
    report,
    request,
    says,
    slot,
)
from tests.shop import Down, Insisting


@pytest.fixture
def zone() -> Iterator[Stage]:
    with opened() as stage:
        yield stage


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
    before = fired(zone.now + OFFER_STANDS - timedelta(microseconds=1))
    assert proposed(zone, HeuristicReasoner(), before)[0] == ChangeNothing()
    early = Insisting(ReleaseOffers(request_ids=("r-1",)))
    assert proposed(zone, early, before)[0] == ChangeNothing()
    ahead = fired(zone.now + OFFER_STANDS)
    assert proposed(zone, HeuristicReasoner(), ahead)[0] == ReleaseOffers(request_ids=("r-1",)), (
        "another clock"
    )


def test_no_word_that_is_none_to_what_stands_ends_the_talks(zone: Stage) -> None:
    zone.send(request())
    for event in (request(), accepts(to=2), says(DECLINED, to=2)):
        done, policies = proposed(zone, Insisting(DeclinePromise()), event)
        assert policies == ("promise.decline.unspoken",)
        assert done == ChangeNothing()
    for event in (says(COUNTERED, fee=1), says(DECLINED)):
        assert proposed(zone, Insisting(DeclinePromise()), event)[0] == DeclinePromise()


def test_every_offer_that_has_run_out_is_ended(zone: Stage) -> None:
    zone.send(request("r-1"))
    zone.send(request("r-2"))
    some = Insisting(ReleaseOffers(request_ids=("r-1",)))
    done, policies = proposed(zone, some, fired(zone.now + OFFER_STANDS))
    assert policies == ("ledger.release.all",)
    assert done == ReleaseOffers(request_ids=("r-1", "r-2"))


def test_a_zone_has_as_many_offers_as_its_ledger_holds(zone: Stage) -> None:
    zone.send(report(slot(EVENING, 12, capacity=500)))
    for number in range(MAX_OFFERS):
        zone.send(request(f"r-{number}"))
    done, policies = proposed(zone, Insisting(OFFERED), request("one-more"))
    assert policies == ("promise.offer.many",)
    assert done == DeclinePromise()
    answered = says(COUNTERED, f"r-{MAX_OFFERS - 1}", fee=550)
    assert proposed(zone, HeuristicReasoner(), answered)[0] == PROMISED.model_copy(update={"fee_minor": 550})


def test_another_offer_takes_of_the_discounts_only_what_it_adds(zone: Stage) -> None:
    zone.send(request())
    offer = ledger(zone).offers[0].model_copy(update={"fee_minor": 500})
    seen = Situation(event=says(COUNTERED, fee=400), now=zone.now, state=ledger(zone).put(offer))
    for fee, adds in ((600, 0), (500, 0), (450, 50)):
        facts = judged(seen, OFFERED.model_copy(update={"fee_minor": fee})).facts
        assert isinstance(facts, OfferFacts)
        assert (facts.discount_minor, facts.adds_discount_minor) == (600 - fee, adds)


def test_an_answer_about_nothing_is_answered_and_opens_nothing(zone: Stage) -> None:
    for proposal in (OFFERED, PROMISED, DeclinePromise()):
        done, policies = proposed(zone, Insisting(proposal), accepts("nobody"))
        assert "promise.not-open" in policies
        assert done == ChangeNothing()
