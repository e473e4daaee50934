"""The dunning agent: its plan over events and timers, and what no reasoner may do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.agents.agent import Action
from jurat.agents.dunning import (
    DUNNING,
    NEEDS_CARE,
    AskForNewCard,
    CancelSubscription,
    CloseCase,
    Downgrade,
    GrantGrace,
    HandOver,
    PauseCollection,
    RetryRenewal,
    declared,
    effect,
    timers,
)
from jurat.agents.dunning_case import DunningCase, DunningDesk, Ended, after_event, case_of
from jurat.agents.upgrade_adviser import Wait
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Event
from jurat.schemas.subscriptions import CardUpdated, CareNeedDeclared, RenewalFailed, RenewalRecovered
from jurat.schemas.timers import TimerFired
from jurat.streams.usage import PartitionUsage
from tests.shop import Down, Insisting, told
from tests.subscriptions import NOW, decide, euros, fact, situation, took

CARE = fact(NEEDS_CARE, purpose="care")
DEAD = (
    "card_expired",
    "expired_card",
    "invalid_cvc",
    "incorrect_cvc",
    "incorrect_number",
    "authentication_required",
)
STOLEN = ("suspected_fraud", "lost_or_stolen", "lost_card", "stolen_card", "pickup_card")
STEPS: tuple[Action, ...] = (
    RetryRenewal(after_hours=48),
    AskForNewCard(),
    GrantGrace(days=7),
    PauseCollection(days=30),
    Downgrade(),
    CancelSubscription(),
    HandOver(),
    CloseCase(),
)


def failed(code: str = "insufficient_funds", *, invoice: str = "inv-1", amount: int = 4_900) -> RenewalFailed:
    return RenewalFailed(
        account_id="a-1",
        invoice_id=invoice,
        amount=euros(amount),
        failure_code=code,
        tenure_months=12,
        cheaper_plan=True,
    )


def recovered(invoice: str = "inv-1") -> RenewalRecovered:
    return RenewalRecovered(account_id="a-1", invoice_id=invoice, amount=euros(4_900))


def fired(name: str = "answer") -> TimerFired:
    set_by = InputRef(topic="subscriptions.billing", partition=0, offset=3)
    return TimerFired(agent="dunning", event_key="a-1", name=name, due_at=NOW, set_by=set_by)


def desk(**changes: Any) -> DunningDesk:
    case = after_event(None, failed(changes.pop("code", "insufficient_funds")), NOW - timedelta(days=12))
    assert case is not None
    return DunningDesk(case=DunningCase.model_validate(dict(case) | changes))


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("processor_timeout", RetryRenewal(after_hours=1)),
        ("card_expired", AskForNewCard()),
        ("stolen_card", AskForNewCard()),
        ("do_not_honor", AskForNewCard()),
        ("moon_phase", AskForNewCard()),
    ],
)
def test_the_first_step_follows_the_code(code: str, action: Action) -> None:
    assert decide(DUNNING, situation(failed(code))).chosen.proposal.action == action


def test_a_lack_of_funds_is_tried_after_the_next_payday() -> None:
    seen = situation(failed(), now=datetime(2026, 7, 13, 9, tzinfo=NOW.tzinfo))
    assert decide(DUNNING, seen).chosen.proposal.action == RetryRenewal(after_hours=72)


def test_a_plan_from_failure_to_recovery() -> None:
    state: DunningDesk | None = None
    steps: list[str] = []
    usage = PartitionUsage(partition=0)
    now = NOW
    story: list[Event] = [failed("card_expired"), fired(), CardUpdated(account_id="a-1"), recovered()]
    for number, event in enumerate(story):
        seen = situation(event, state=state, now=now)
        decided = decide(DUNNING, seen, usage=usage)
        took(usage, decided, number=number, at=now)
        action = decided.chosen.proposal.action
        steps.append(action.action_name)
        made = effect(seen, action)
        assert isinstance(made, DunningDesk)
        state = made
        now += timedelta(hours=72)
    assert steps == ["ask_for_new_card", "ask_for_new_card", "retry_renewal", "close_case"]
    assert state is not None
    assert state.case is not None
    assert (state.case.paid, state.case.ended, state.case.asks) == (True, Ended.RECOVERED, 2)


def test_a_customer_who_never_answers_is_moved_down_after_grace() -> None:
    state: DunningDesk | None = None
    usage = PartitionUsage(partition=0)
    now, event, steps = NOW, failed("card_expired"), []
    seen = situation(event, now=now)
    for number in range(10):
        decided = decide(DUNNING, seen, usage=usage)
        took(usage, decided, number=number, at=now)
        action = decided.chosen.proposal.action
        steps.append(action.action_name)
        made = effect(seen, action)
        assert isinstance(made, DunningDesk)
        state = made
        due = timers(seen, action)
        if not due:
            break
        ((name, now),) = due.items()
        seen = situation(fired(name), state=state, now=now)
    assert state is not None
    assert state.case is not None
    assert state.case.ended is not None
    assert steps[0] == "ask_for_new_card"
    assert "grant_grace" in steps
    assert steps[-1] == "downgrade"


@pytest.mark.parametrize("code", STOLEN)
def test_no_reasoner_charges_a_stolen_card(code: str) -> None:
    decided = decide(DUNNING, situation(failed(code)), by=Insisting(RetryRenewal(after_hours=48)))
    assert told(decided)[0] == ("retry_renewal", "deny", ("renewal.retry.stolen",))
    assert decided.chosen.proposal.action == HandOver()


@pytest.mark.parametrize("code", DEAD)
def test_no_reasoner_charges_a_dead_card(code: str) -> None:
    decided = decide(DUNNING, situation(failed(code)), by=Insisting(RetryRenewal(after_hours=48)))
    assert told(decided)[0] == ("retry_renewal", "deny", ("renewal.retry.dead-card",))


@pytest.mark.parametrize("code", [*STOLEN, *DEAD, "moon_phase"])
def test_a_new_card_is_another_card(code: str) -> None:
    seen = situation(CardUpdated(account_id="a-1"), state=desk(code=code))
    decided = decide(DUNNING, seen)
    assert told(decided) == (("retry_renewal", "allow", ("renewal.retry.grant",)),)


@pytest.mark.parametrize(
    ("hours", "verdict"),
    [(0, "deny"), (23, "deny"), (24, "allow"), (504, "allow"), (505, "deny"), (8_784, "deny")],
)
def test_a_retry_has_bounds(hours: int, verdict: str) -> None:
    decided = decide(DUNNING, situation(failed()), by=Insisting(RetryRenewal(after_hours=hours)))
    assert told(decided)[0][1] == verdict


def test_the_fifth_retry_within_thirty_days_is_refused() -> None:
    usage = PartitionUsage(partition=0)
    insisting = Insisting(RetryRenewal(after_hours=24))
    verdicts = []
    for number in range(6):
        at = NOW + timedelta(days=5 * number)
        decided = decide(DUNNING, situation(failed(), state=desk(), now=at), by=insisting, usage=usage)
        verdicts.append(told(decided)[0][1])
        if decided.chosen.proposal.action == insisting.action:
            took(usage, decided, number=number, at=at)
    assert verdicts == ["allow"] * 4 + ["deny"] * 2
    month_later = situation(failed(), state=desk(), now=NOW + timedelta(days=31))
    assert told(decide(DUNNING, month_later, by=insisting, usage=usage))[0][1] == "allow"


@pytest.mark.parametrize(
    ("days", "given", "verdict"),
    [(2, 0, "deny"), (3, 0, "allow"), (14, 0, "allow"), (15, 0, "deny"), (7, 14, "allow"), (8, 14, "deny")],
)
def test_grace_has_bounds(days: int, given: int, verdict: str) -> None:
    seen = situation(fired(), state=desk(grace_days=given))
    assert told(decide(DUNNING, seen, by=Insisting(GrantGrace(days=days))))[0][1] == verdict


@pytest.mark.parametrize("action", [Downgrade(), CancelSubscription()])
@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({"asks": 0}, "renewal.end.unasked"),
        ({"opened_at": NOW - timedelta(days=9, hours=23)}, "renewal.end.too-early"),
        ({"grace_until": NOW + timedelta(seconds=1)}, "renewal.end.in-grace"),
    ],
)
def test_nothing_is_taken_away_too_soon(action: Action, changes: dict[str, Any], policy: str) -> None:
    seen = situation(fired(), state=desk(**({"asks": 1} | changes)))
    assert told(decide(DUNNING, seen, by=Insisting(action)))[0] == (action.action_name, "deny", (policy,))
    due = situation(fired(), state=desk(asks=1, grace_until=NOW))
    assert told(decide(DUNNING, due, by=Insisting(action)))[0][1] == "allow"


def test_who_needs_care_is_paused_by_the_care_team() -> None:
    decided = decide(DUNNING, situation(failed(), CARE))
    assert told(decided) == (("pause_collection", "escalate", ("renewal.pause.by-care-team",)),)
    assert decided.chosen.judgement.approvers == ("care-team",)


@pytest.mark.parametrize(
    "action", [RetryRenewal(after_hours=48), AskForNewCard(), Downgrade(), CancelSubscription()]
)
def test_nothing_is_collected_from_who_needs_care(action: Action) -> None:
    seen = situation(fired(), CARE, state=desk(asks=1))
    decided = decide(DUNNING, seen, by=Insisting(action))
    assert told(decided)[0][1:] == ("escalate", ("renewal.care.pressure",))


def test_a_pause_is_for_who_needs_care_alone() -> None:
    decided = decide(DUNNING, situation(failed()), by=Insisting(PauseCollection(days=30)))
    assert told(decided)[0] == ("pause_collection", "deny", ("renewal.pause.without-need",))


def test_a_second_invoice_is_for_the_finance_lead() -> None:
    seen = situation(failed(invoice="inv-2"), state=desk())
    decided = decide(DUNNING, seen)
    assert decided.resolution == "escalated"
    assert decided.chosen.judgement.policies == ("renewal.second-invoice",)


@pytest.mark.parametrize("action", STEPS)
@pytest.mark.parametrize(
    "event", [CardUpdated(account_id="a-1"), recovered(), fired("result")], ids=lambda e: type(e).__name__
)
def test_without_a_case_there_is_nothing_to_do_but_close(action: Action, event: Event) -> None:
    decided = decide(DUNNING, situation(event), by=Insisting(action))
    assert decided.chosen.proposal.action == CloseCase()
    after = effect(situation(event), CloseCase())
    assert isinstance(after, DunningDesk)
    assert after.case is None


@pytest.mark.parametrize("action", STEPS[:-1])
def test_after_the_end_nothing_is_done(action: Action) -> None:
    seen = situation(fired(), state=desk(ended=Ended.CANCELLED, asks=1))
    assert decide(DUNNING, seen, by=Insisting(action)).chosen.proposal.action == CloseCase()
    kept = effect(seen, CloseCase())
    assert isinstance(kept, DunningDesk)
    assert kept.case is not None
    assert kept.case.ended is Ended.CANCELLED


def test_a_case_is_not_closed_while_money_is_owed() -> None:
    decided = decide(DUNNING, situation(failed()), by=Insisting(CloseCase()))
    assert told(decided)[0] == ("close_case", "deny", ("renewal.close.unpaid",))


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (failed("do_not_honor"), {"failures": 2, "failure_code": "do_not_honor", "new_card": False}),
        (failed(amount=990_000), {"failures": 2, "amount_minor": 990_000}),
        (CardUpdated(account_id="a-1"), {"new_card": True}),
        (recovered(), {"paid": True, "paid_at": NOW}),
        (recovered("inv-9"), {}),
        (fired(), {}),
    ],
)
def test_what_an_event_changes(event: Event, changes: dict[str, Any]) -> None:
    before = desk().case
    assert before is not None
    assert after_event(before, event, NOW) == before.model_copy(update=changes)


def test_a_failure_after_the_end_opens_a_new_case() -> None:
    case = after_event(desk(paid=True, asks=3).case, failed(invoice="inv-2"), NOW)
    assert case is not None
    assert (case.invoice_id, case.failures, case.asks, case.crowded) == ("inv-2", 1, 0, False)


@pytest.mark.parametrize(
    ("action", "due"),
    [
        (RetryRenewal(after_hours=24), {"result": NOW + timedelta(hours=72)}),
        (AskForNewCard(), {"answer": NOW + timedelta(hours=72)}),
        (GrantGrace(days=7), {"grace": NOW + timedelta(days=7)}),
        (PauseCollection(days=30), {"pause": NOW + timedelta(days=30)}),
        (Downgrade(), {}),
        (CancelSubscription(), {}),
        (HandOver(), {}),
        (CloseCase(), {}),
    ],
)
def test_an_open_case_has_a_timer(action: Action, due: dict[str, datetime]) -> None:
    assert timers(situation(failed()), action) == due


def test_care_is_learned_and_forgotten() -> None:
    for needs, value in ((True, True), (False, None)):
        event = CareNeedDeclared(account_id="a-1", needs_care=needs)
        assert not DUNNING.decides(event)
        assert [(one.name, one.value, one.purpose) for one in declared(event, NOW)] == [
            (NEEDS_CARE, value, "care")
        ]


def test_a_reasoner_that_is_down_hands_over() -> None:
    assert decide(DUNNING, situation(failed()), by=Down()).chosen.proposal.action == HandOver()


def test_an_action_of_another_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got the action Wait"):
        DUNNING.judged(situation(failed()), Wait())


events = st.sampled_from(
    [
        *(
            failed(code)
            for code in ("insufficient_funds", "stolen_card", "card_expired", "processor_timeout", "odd")
        ),
        failed(invoice="inv-2"),
        recovered(),
        CardUpdated(account_id="a-1"),
        fired(),
    ]
)


@given(
    story=st.lists(st.tuples(events, st.sampled_from(STEPS), st.integers(1, 400)), max_size=12),
    care=st.booleans(),
)
def test_whatever_happens_and_is_proposed_the_bounds_hold(
    story: list[tuple[Event, Action, int]], care: bool
) -> None:
    state: DunningDesk | None = None
    usage = PartitionUsage(partition=0)
    now, retries = NOW, []
    for number, (event, proposed, hours) in enumerate(story):
        now += timedelta(hours=hours)
        seen = situation(event, *([CARE] if care else []), state=state, now=now)
        decided = decide(DUNNING, seen, by=Insisting(proposed), usage=usage)
        if decided.resolution != "decided":
            continue
        case, action = case_of(seen), decided.chosen.proposal.action
        if isinstance(action, RetryRenewal):
            retries.append(now)
            assert case is not None
            assert case.new_card or case.failure_code not in STOLEN
            assert not care
        if isinstance(action, Downgrade | CancelSubscription):
            assert case is not None
            assert case.asks
            assert now - case.opened_at >= timedelta(days=10)
            assert case.grace_until is None or case.grace_until <= now
        took(usage, decided, number=number, at=now)
        made = effect(seen, action)
        assert isinstance(made, DunningDesk)
        state = made
        assert state.case is None or state.case.grace_days <= 21
        # An open case never falls silent.
        assert bool(timers(seen, action)) == (state.case is not None and state.case.owed)
    for first in retries:
        assert sum(first <= other < first + timedelta(days=30) for other in retries) <= 4
