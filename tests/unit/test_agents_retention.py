"""The retention agent: offers that rest on what was learned months before, and what may be no ground."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.agents.agent import Action
from jurat.agents.memory import Fact
from jurat.agents.retention import (
    CAUSES,
    LEFT,
    OFFERED,
    ONBOARDING,
    PROMOTED,
    REGULATED,
    RETENTION,
    CallBy,
    LeaveAlone,
    LetGo,
    OfferCall,
    OfferDiscount,
    OfferTraining,
    contact,
    industry,
    offered,
    onboarding,
)
from jurat.agents.upgrade_adviser import Wait
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Event
from jurat.schemas.subscriptions import (
    AccountStanding,
    CancellationRequested,
    CancelReason,
    ContactChange,
    ContactChanged,
    IndustryDeclared,
    OnboardingTicketRaised,
    Purpose,
    RenewalApproaching,
    UsageDropped,
)
from jurat.streams.usage import PartitionUsage
from tests.shop import Down, Insisting, told
from tests.subscriptions import NOW, decide, euros, fact, situation, took

OFFERS: tuple[Action, ...] = (
    OfferCall(role=CallBy.ACCOUNT_MANAGER),
    OfferTraining(),
    OfferDiscount(percent=10),
)


def standing(yearly: int = 1_200_000, **changes: Any) -> AccountStanding:
    return AccountStanding(yearly=euros(yearly), **({"seats_active": 70} | changes))


def dropped(drop: int = 60, **changes: Any) -> UsageDropped:
    return UsageDropped(account_id="a-1", standing=standing(**changes), drop_percent=drop)


def renewal(days: int = 30, **changes: Any) -> RenewalApproaching:
    return RenewalApproaching(account_id="a-1", standing=standing(**changes), days_to_renewal=days)


def cancelled(
    reason: CancelReason = CancelReason.UNSAID, *, final: bool = False, **changes: Any
) -> CancellationRequested:
    return CancellationRequested(account_id="a-1", standing=standing(**changes), reason=reason, final=final)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        (ONBOARDING, OfferCall(role=CallBy.ONBOARDING_SPECIALIST, grounds=(ONBOARDING,))),
        (REGULATED, OfferCall(role=CallBy.COMPLIANCE_OFFICER, grounds=(REGULATED,))),
        (PROMOTED, OfferCall(role=CallBy.EXECUTIVE_SPONSOR, grounds=(PROMOTED,))),
        (LEFT, OfferCall(role=CallBy.ACCOUNT_MANAGER, grounds=(LEFT,))),
    ],
)
@pytest.mark.parametrize("event", [dropped(), renewal()], ids=["dropped", "renewal"])
def test_a_fact_of_half_a_year_ago_turns_the_decision(name: str, action: Action, event: Event) -> None:
    without = decide(RETENTION, situation(event)).chosen.proposal.action
    decided = decide(RETENTION, situation(event, fact(name)))
    assert decided.chosen.proposal.action == action != without
    assert told(decided) == (("offer_call", "allow", ("retention.grant",)),)


@pytest.mark.parametrize("purpose", ["support", "compliance"])
@pytest.mark.parametrize("name", CAUSES)
def test_a_fact_of_another_purpose_scores_nothing(name: str, purpose: str) -> None:
    stranger, known = situation(dropped()), situation(dropped(), fact(name, purpose=purpose))
    assert RETENTION.candidates(stranger) == RETENTION.candidates(known)


@pytest.mark.parametrize(
    ("given_", "policy"),
    [
        (fact(ONBOARDING, purpose="support"), "retention.grounds.purpose"),
        (fact(LEFT), "retention.grounds.unknown"),
        (fact(ONBOARDING, days=731), "retention.grounds.old"),
    ],
)
@pytest.mark.parametrize(
    "action",
    [
        OfferCall(role=CallBy.ONBOARDING_SPECIALIST, grounds=(ONBOARDING,)),
        OfferTraining(grounds=(ONBOARDING,)),
        OfferDiscount(percent=10, grounds=(ONBOARDING,)),
    ],
)
def test_what_no_reasoner_may_rest_on(given_: Fact, policy: str, action: Action) -> None:
    decided = decide(RETENTION, situation(renewal(), given_), by=Insisting(action))
    assert told(decided)[0] == (action.action_name, "deny", (policy,))
    assert decided.chosen.proposal.action == LeaveAlone()


def test_a_fact_that_has_ended_is_no_ground() -> None:
    ended = fact(LEFT).model_copy(update={"ended_at": NOW})
    action = OfferCall(role=CallBy.ACCOUNT_MANAGER, grounds=(LEFT,))
    decided = decide(RETENTION, situation(dropped(), ended), by=Insisting(action))
    assert told(decided)[0][2] == ("retention.grounds.unknown",)


@pytest.mark.parametrize(("days", "turns"), [(730, True), (731, False)])
def test_facts_count_for_two_years(days: int, turns: bool) -> None:
    decided = decide(RETENTION, situation(dropped(), fact(PROMOTED, days=days)))
    assert (
        decided.chosen.proposal.action == OfferCall(role=CallBy.EXECUTIVE_SPONSOR, grounds=(PROMOTED,))
    ) == turns


@pytest.mark.parametrize("action", OFFERS)
def test_who_wants_no_contact_gets_none(action: Action) -> None:
    event = renewal(contact_allowed=False)
    decided = decide(RETENTION, situation(event), by=Insisting(action))
    assert told(decided)[0] == (action.action_name, "deny", ("retention.unwelcome",))


@pytest.mark.parametrize("action", [*OFFERS, LeaveAlone()])
def test_whose_word_is_final_is_let_go(action: Action) -> None:
    seen = situation(cancelled(final=True, yearly=9_000_000), fact(ONBOARDING))
    decided = decide(RETENTION, seen, by=Insisting(action))
    assert "retention.final" in told(decided)[0][2]
    assert decided.chosen.proposal.action == LetGo()
    assert decide(RETENTION, seen).chosen.proposal.action == LetGo()


def test_a_large_account_is_let_go_by_a_person() -> None:
    for yearly, verdict in ((5_000_000, "allow"), (5_000_001, "escalate")):
        decided = decide(RETENTION, situation(cancelled(yearly=yearly)), by=Insisting(LetGo()))
        assert told(decided)[0][1] == verdict


def test_nobody_is_ended_unasked() -> None:
    decided = decide(RETENTION, situation(dropped()), by=Insisting(LetGo()))
    assert told(decided)[0] == ("let_go", "deny", ("retention.let-go.unasked",))


def test_a_price_that_is_too_high_is_met_with_a_discount() -> None:
    decided = decide(RETENTION, situation(cancelled(CancelReason.PRICE)))
    assert decided.chosen.proposal.action == OfferDiscount(percent=10)


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [
        (0, "deny"),
        (4, "deny"),
        (5, "allow"),
        (15, "allow"),
        (16, "escalate"),
        (30, "escalate"),
        (31, "deny"),
        (100, "deny"),
    ],
)
def test_a_discount_has_bounds(percent: int, verdict: str) -> None:
    decided = decide(RETENTION, situation(cancelled()), by=Insisting(OfferDiscount(percent=percent)))
    assert told(decided)[0][1] == verdict


@pytest.mark.parametrize(("days", "verdict"), [(90, "allow"), (91, "deny")])
def test_a_discount_is_for_the_end_of_a_term(days: int, verdict: str) -> None:
    decided = decide(RETENTION, situation(renewal(days)), by=Insisting(OfferDiscount(percent=10)))
    assert told(decided)[0][1] == verdict


def test_the_quarters_discounts_are_capped_over_all_partitions() -> None:
    # Each of six partitions is told what six like it would give: 10,000.00 of 60,000.00 are its own.
    usage = PartitionUsage(partition=0)
    insisting = Insisting(OfferDiscount(percent=10))
    verdicts = []
    for number in range(6):
        event = CancellationRequested(
            account_id=f"a-{number}", standing=standing(2_000_000), reason=CancelReason.UNSAID
        )
        decided = decide(RETENTION, situation(event), by=insisting, usage=usage)
        verdicts.append(told(decided)[0][1])
        if verdicts[-1] == "allow":
            took(usage, decided, number=number)
    assert verdicts == ["allow"] * 5 + ["escalate"]


def test_an_account_gets_one_discount_a_year_and_two_offers_a_quarter() -> None:
    usage = PartitionUsage(partition=0)
    seen = situation(renewal())
    took(usage, decide(RETENTION, seen, by=Insisting(OFFERS[2]), usage=usage), number=1)
    again = decide(RETENTION, seen, by=Insisting(OFFERS[2]), usage=usage)
    assert told(again)[0] == ("offer_discount", "deny", ("retention.discount.once-a-year",))
    took(usage, decide(RETENTION, seen, by=Insisting(OFFERS[1]), usage=usage), number=2)
    third = decide(RETENTION, seen, by=Insisting(OFFERS[0]), usage=usage)
    assert told(third)[0] == ("offer_call", "deny", ("retention.twice-a-quarter",))


@pytest.mark.parametrize(
    ("grounds", "facts", "verdict"),
    [
        ((), (), "deny"),
        ((REGULATED,), (), "deny"),
        ((REGULATED,), (fact(REGULATED, purpose="compliance"),), "deny"),
        ((REGULATED,), (fact(REGULATED),), "allow"),
    ],
)
def test_the_compliance_officer_speaks_with_regulated_accounts(
    grounds: tuple[str, ...], facts: tuple[Fact, ...], verdict: str
) -> None:
    action = OfferCall(role=CallBy.COMPLIANCE_OFFICER, grounds=grounds)
    assert told(decide(RETENTION, situation(dropped(), *facts), by=Insisting(action)))[0][1] == verdict


def ticket(severity: int) -> OnboardingTicketRaised:
    return OnboardingTicketRaised(account_id="a-1", severity=severity, purpose=Purpose.SUPPORT)


def moved(change: ContactChange, *, champion: bool = True) -> ContactChanged:
    return ContactChanged(
        account_id="a-1", contact_id="p-1", champion=champion, change=change, purpose=Purpose.RETENTION
    )


@pytest.mark.parametrize(
    ("learned", "expected"),
    [
        (onboarding(ticket(1), NOW), []),
        (onboarding(ticket(2), NOW), [(ONBOARDING, 2, "support")]),
        (contact(moved(ContactChange.PROMOTED), NOW), [(PROMOTED, "p-1", "retention")]),
        (
            contact(moved(ContactChange.LEFT), NOW),
            [(LEFT, "p-1", "retention"), (PROMOTED, None, "retention")],
        ),
        (contact(moved(ContactChange.JOINED), NOW), [(LEFT, None, "retention")]),
        (contact(moved(ContactChange.LEFT, champion=False), NOW), []),
    ],
)
def test_what_events_teach(learned: Any, expected: list[Any]) -> None:
    assert [(one.name, one.value, one.purpose) for one in learned] == expected
    assert all(one.since == NOW for one in learned)


@pytest.mark.parametrize(("regulated", "value"), [(True, "banking"), (False, None)])
def test_an_industry_teaches_whether_it_is_supervised(regulated: bool, value: str | None) -> None:
    event = IndustryDeclared(
        account_id="a-1", industry="banking", regulated=regulated, purpose=Purpose.RETENTION
    )
    assert [(one.name, one.value) for one in industry(event, NOW)] == [(REGULATED, value)]
    assert not RETENTION.decides(event)


def test_what_was_offered_is_remembered_and_not_offered_again() -> None:
    seen = situation(dropped(), fact(ONBOARDING))
    first = decide(RETENTION, seen).chosen.proposal.action
    (learned,) = offered(seen, first)
    assert (learned.name, learned.value) == (OFFERED, "onboarding_specialist")
    last = fact(OFFERED, "onboarding_specialist", days=60)
    second = decide(RETENTION, situation(dropped(), fact(ONBOARDING), last)).chosen.proposal.action
    assert second != first
    assert offered(seen, LeaveAlone()) == ()


def test_every_learned_type_is_on_the_topic_and_not_decided() -> None:
    assert RETENTION.remembers is not None
    assert set(RETENTION.remembers.from_events) == {OnboardingTicketRaised, ContactChanged, IndustryDeclared}


@pytest.mark.parametrize(("event", "action"), [(dropped(), LeaveAlone()), (cancelled(), LetGo())])
def test_a_reasoner_that_is_down_offers_nothing(event: Event, action: Action) -> None:
    assert decide(RETENTION, situation(event), by=Down()).chosen.proposal.action == action


def test_an_action_of_another_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got the action Wait"):
        RETENTION.judged(situation(dropped()), Wait())


names = st.sampled_from([*CAUSES, OFFERED, "shoe_size"])
proposed = st.one_of(
    st.builds(OfferCall, role=st.sampled_from(CallBy), grounds=st.lists(names, max_size=5).map(tuple)),
    st.builds(OfferDiscount, percent=st.integers(0, 100), grounds=st.lists(names, max_size=5).map(tuple)),
    st.builds(OfferTraining, grounds=st.lists(names, max_size=5).map(tuple)),
)
facts = st.builds(
    fact,
    names,
    st.just(True),
    days=st.integers(0, 1_000),
    purpose=st.sampled_from(["retention", "support", "compliance"]),
)


@given(
    action=proposed,
    known=st.lists(facts, max_size=6, unique_by=lambda one: one.name),
    event=st.sampled_from([dropped(), renewal(), cancelled(), cancelled(final=True)]),
)
def test_an_offer_that_is_allowed_rests_on_nothing_forbidden(
    action: Action, known: list[Fact], event: Event
) -> None:
    decided = decide(RETENTION, situation(event, *known), by=Insisting(action))
    done = decided.chosen.proposal.action
    if decided.resolution == "decided" and isinstance(done, OfferCall | OfferDiscount | OfferTraining):
        by_name = {one.name: one for one in known}
        assert all(by_name[ground].purpose == "retention" for ground in done.grounds)
        assert all((NOW - by_name[ground].since).days <= 730 for ground in done.grounds)
        assert not (isinstance(event, CancellationRequested) and event.final)
        assert not isinstance(done, OfferDiscount) or 5 <= done.percent <= 15
