"""Which records are asked for."""

from __future__ import annotations

import pytest

from jurat.audit.record import ContextRead, Outcome, parse
from jurat.audit.selection import EVERYTHING, Selection, subjects
from jurat.schemas.decision import Verdict
from tests.golden.audit import sample_log

RECORD = parse(sample_log.log(1)[0].record.payload).predicate
REJECTED = sample_log.record("after-sales", offset=3, outcome=Outcome.REJECTED)
assert RECORD.policy is not None
ORDER = RECORD.policy.model_copy(update={"input": {"resource": {"type": "Jurat::Order", "id": "o-1"}}})
ACTED_ON = RECORD.model_copy(update={"policy": ORDER})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Selection(), True),
        (Selection(since="2026-01-02T03:04:05.000678Z"), True),
        (Selection(since="2026-01-02T03:04:05.000679Z"), False),
        (Selection(until="2026-01-02T03:04:05.000678Z"), False),
        (Selection(until="2026-01-02T03:04:05.000679Z"), True),
        (Selection(agent="after-sales"), True),
        (Selection(agent="after"), False),
        (Selection(outcome=Outcome.DECIDED), True),
        (Selection(outcome=Outcome.DENIED), False),
        (Selection(verdict=Verdict.ALLOW), True),
        (Selection(verdict=Verdict.DENY), False),
        (Selection(subject="o-1"), True),
        (Selection(subject="#W100"), True),
        (Selection(subject="o"), False),
        (Selection(policy="return.delivered-only"), True),
        (Selection(policy="return"), False),
        (Selection(policy="after_sales"), True),
        (Selection(policy="5f" * 32), True),
        (Selection(policy="5f" * 4), True),
        (Selection(policy="5f" * 3), False),
        (Selection(policy="5F" * 4), False),
        (Selection(agent="after-sales", outcome=Outcome.DENIED), False),
    ],
)
def test_what_is_asked_for(wanted: Selection, expected: bool) -> None:
    assert wanted(ACTED_ON) is expected


def test_a_record_without_a_decision_has_no_verdict_and_no_policy() -> None:
    assert Selection(outcome=Outcome.REJECTED)(REJECTED)
    assert not any(Selection(verdict=one)(REJECTED) for one in Verdict)
    assert not Selection(policy="after_sales")(REJECTED)
    assert subjects(REJECTED) == ()


def test_a_policy_that_only_refused_an_earlier_proposal_counts() -> None:
    refused = RECORD.proposals[0].model_copy(update={"policies": ("return.once",), "verdict": Verdict.DENY})
    assert Selection(policy="return.once")(
        RECORD.model_copy(update={"proposals": (refused, *RECORD.proposals)})
    )


def test_what_a_record_is_about() -> None:
    read = ContextRead(name="customers", key="c-7", uri=None, sha256=None)
    assert subjects(ACTED_ON.model_copy(update={"context": (read,)})) == ("o-1", "c-7")
    for odd in ({}, {"resource": 'Jurat::Order::"o"'}, {"resource": {"type": "T", "id": 1}}):
        policy = ORDER.model_copy(update={"input": odd})
        assert subjects(ACTED_ON.model_copy(update={"policy": policy})) == ("#W100",)


def test_everything_is_everything() -> None:
    assert EVERYTHING.is_everything
    assert not Selection(agent="a").is_everything
