"""What agents work out from a situation is worked out once for each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jurat.agents.agent import Situation
from tests.examples import EXAMPLES

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_work_is_done_once_for_each_situation_and_question() -> None:
    asked: list[tuple[str, datetime]] = []

    def first(situation: Situation[Any]) -> str:
        asked.append(("first", situation.now))
        return "one"

    def second(situation: Situation[Any]) -> None:
        asked.append(("second", situation.now))

    here = Situation(EXAMPLES[0], NOW)
    assert (here.once(first), here.once(first), here.once(second), here.once(second)) == (
        "one",
        "one",
        None,
        None,
    )
    assert asked == [("first", NOW), ("second", NOW)]
    later = Situation(EXAMPLES[0], NOW.replace(year=2027))
    assert later.once(first) == "one"
    assert asked[-1] == ("first", later.now)


def test_what_was_worked_out_makes_no_other_situation_of_it() -> None:
    here, there = Situation(EXAMPLES[0], NOW), Situation(EXAMPLES[0], NOW)
    here.once(lambda situation: situation.now)
    assert here == there
    assert repr(here) == repr(there)
