"""Dunning cases: events that come late, in another order or after the end, and days of grace that add up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jurat.agents.agent import Situation
from jurat.agents.dunning import (
    GrantGrace,
    effect,
)
from jurat.agents.dunning_case import DunningDesk, Ended, after_event, case_of
from tests.subscriptions import NOW
from tests.unit.test_agents_dunning import desk, failed, fired, recovered


def test_a_failure_that_is_told_after_the_payment_is_not_owed_again() -> None:
    paid = after_event(desk().case, recovered(), NOW)
    assert paid is not None
    assert after_event(paid, failed(), NOW - timedelta(hours=1)) == paid
    assert after_event(paid, failed(), NOW) == paid
    returned = after_event(paid, failed(), NOW + timedelta(days=2))
    assert returned is not None
    assert returned.owed


def test_what_is_read_late_happened_when_it_says() -> None:
    early = NOW - timedelta(hours=5)
    seen = Situation(event=failed(), now=NOW, occurred_at=early)
    case = case_of(seen)
    assert case is not None
    assert case.opened_at == early
    assert case_of(Situation(event=failed(), now=NOW)) == case.model_copy(update={"opened_at": NOW})


def test_days_of_grace_add_up() -> None:
    state = desk(grace_days=7)
    seen = Situation(event=fired(), now=NOW, state=state)
    after = effect(seen, GrantGrace(days=7))
    assert isinstance(after, DunningDesk)
    assert after.case is not None
    assert (after.case.grace_days, after.case.grace_until) == (14, NOW + timedelta(days=7))


def test_the_new_card_failed_too() -> None:
    case = after_event(desk(new_card=True).case, failed(), NOW)
    assert case is not None
    assert (case.failures, case.new_card) == (2, False)


@pytest.mark.parametrize("how", [Ended.HANDED_OVER, Ended.CANCELLED, Ended.DOWNGRADED])
def test_a_case_that_went_to_a_person_or_ended_is_not_taken_back(how: Ended) -> None:
    case = desk(ended=how).case
    assert after_event(case, failed(), NOW + timedelta(days=1)) == case
