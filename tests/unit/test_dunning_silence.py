"""Dunning when nobody says anything: a silent charge counts as failed, and every case comes to an end."""

from __future__ import annotations

from datetime import timedelta

from jurat.agents.dunning import DUNNING
from jurat.agents.dunning_case import DunningDesk
from jurat.schemas.subscriptions import CardUpdated
from jurat.testing import rehearse
from tests.subscriptions import NOW
from tests.unit.test_agents_dunning import failed


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
