"""Dunning when nobody says anything: a silent charge counts as failed, and every case comes to an end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jurat.agents.agent import Situation
from jurat.agents.dunning import DUNNING
from jurat.agents.dunning_case import DunningCase, DunningDesk, Ended, asked, case_of, desk_of
from jurat.schemas.model import Event
from jurat.schemas.subscriptions import CardUpdated, CareNeedDeclared
from jurat.testing import Stage, rehearse
from tests.subscriptions import NOW
from tests.unit.test_agents_dunning import failed, recovered

LATER = NOW + timedelta(days=3)


def charges(stage_actions: list[str]) -> int:
    return stage_actions.count("retry_renewal")


def test_a_case_of_which_nobody_says_anything_ends_within_the_bounds() -> None:
    done = []
    with rehearse(DUNNING, at=NOW) as stage:
        first = stage.send(failed())
        done.append(first.decision.action if first.decision else "")
        for day in range(1, 201):
            done += [one.decision.action for one in stage.advance(NOW + timedelta(days=day)) if one.decision]
        desk = stage.state("a-1")
    assert isinstance(desk, DunningDesk)
    assert desk.case is not None
    assert desk.case.ended is not None, done
    assert 1 <= charges(done) <= 8, done


def test_a_new_card_is_charged_once_before_its_result_is_known() -> None:
    with rehearse(DUNNING, at=NOW) as stage:
        stage.send(failed("stolen_card"))
        done = [stage.send(CardUpdated(account_id="a-1"), at=NOW + timedelta(hours=1))]
        done += stage.advance(NOW + timedelta(days=20))
    actions = [one.decision.action for one in done if one.decision]
    assert charges(actions) == 1, actions


def case_on(stage: Stage) -> DunningCase:
    desk = stage.state("a-1")
    assert isinstance(desk, DunningDesk)
    assert desk.case is not None
    return desk.case


def needing_care(stage: Stage) -> None:
    stage.send(CareNeedDeclared(account_id="a-1", needs_care=True))


@pytest.mark.parametrize("answered", [True, False], ids=["refused", "unanswered"])
def test_where_people_do_not_agree_a_person_takes_the_case_on(answered: bool) -> None:
    with rehearse(DUNNING, at=NOW) as stage:
        needing_care(stage)
        sent = stage.send(failed())
        asked = sent.decision
        assert asked is not None
        assert (asked.verdict, asked.action) == ("escalate", "pause_collection")
        assert case_on(stage).failures == 1, "the failure counts whatever people say"
        if answered:
            stage.refuse(sent, role="care-team")
        ended = [one.decision for one in stage.advance(LATER) if one.decision]
        assert [(one.action, one.verdict) for one in ended][-1] == ("hand_over", "allow")
        assert case_on(stage).ended is Ended.HANDED_OVER
        assert stage.advance(LATER + timedelta(days=60)) == ()


def test_where_people_agree_the_failure_counts_once_and_the_steps_own_timer_stands() -> None:
    with rehearse(DUNNING, at=NOW) as stage:
        needing_care(stage)
        sent = stage.send(failed())
        asked = sent.decision
        assert asked is not None
        granted = stage.grant(sent, role="care-team").decision
        assert granted is not None
        assert granted.verdict == "allow"
        assert case_on(stage).failures == 1
        again = stage.send(failed("do_not_honor"), at=NOW + timedelta(days=1))
        assert again.decision is not None
        assert case_on(stage).failures == 2, "another one counts"
        assert stage.advance(NOW + timedelta(days=90)), "its timers fire"


def test_what_was_paid_while_people_were_asked_is_not_collected() -> None:
    with rehearse(DUNNING, at=NOW) as stage:
        stage.send(failed())
        sent = stage.send(failed(invoice="inv-2"), at=NOW + timedelta(hours=1))
        asked = sent.decision
        assert asked is not None
        assert (asked.verdict, asked.policies) == ("escalate", ("renewal.second-invoice",))
        assert case_on(stage).invoice_id == "inv-1", "the first keeps its place until they agree"
        assert case_on(stage).crowded
        stage.send(recovered("inv-2"), at=NOW + timedelta(hours=2))
        granted = stage.grant(sent, role="finance-lead")
        assert granted.decision is None
        assert granted.rejection is not None
        assert "would now act on Jurat::Renewal:inv-1" in granted.rejection.message
        ended = [(one.decision.action, one.decision.verdict) for one in stage.advance(LATER) if one.decision]
        assert ("hand_over", "allow") in ended, ended
        assert "retry_renewal" not in [action for action, verdict in ended if verdict == "allow"]


def test_a_payment_that_is_told_before_its_failure_leaves_nothing_to_collect() -> None:
    with rehearse(DUNNING, at=NOW) as stage:
        stage.send(recovered())
        late = stage.send(failed()).decision
    assert late is not None
    assert late.action == "close_case"


def test_a_failure_that_is_told_late_counts_where_people_were_asked_about_something_else() -> None:
    def after(event: Event, hours: int, desk: DunningDesk | None) -> Situation[Event]:
        return Situation(event, now=LATER, occurred_at=NOW + timedelta(hours=hours), state=desk)

    opened = desk_of(after(failed(), 0, None))
    about_the_card = asked(after(CardUpdated(account_id="a-1"), 5, opened))
    assert about_the_card.case is not None
    assert (about_the_card.case.counted_at, about_the_card.case.new_card) == (None, True)
    late = case_of(after(failed(), 3, about_the_card))
    assert late is not None
    assert late.failures == 2
    about_the_failure = asked(after(failed(), 5, opened))
    again = case_of(after(failed(), 5, about_the_failure))
    assert again is not None
    assert again.failures == 2


def test_what_is_kept_of_payments_is_bounded() -> None:
    with rehearse(DUNNING, at=NOW) as stage:
        for number in range(20):
            stage.send(recovered(f"inv-{number}"))
        desk = stage.state("a-1")
    assert isinstance(desk, DunningDesk)
    assert [one.invoice_id for one in desk.recovered] == [f"inv-{number}" for number in range(12, 20)]
