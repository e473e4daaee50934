"""The trust scorer under the shipped policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jurat.agents.payment_retrier import GiveUp
from jurat.agents.trust_scorer import (
    BORNE,
    PRIOR,
    TRUST_SCORER,
    AskForReview,
    EvidenceKind,
    KeepTrust,
    SellerTrust,
    SetTrust,
    effect,
    synthesis,
)
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import SellerActivityReported
from jurat.streams.usage import Counted, PartitionUsage
from tests.market import activity, asked, market_engine, market_judge
from tests.shop import NOW, Down, Insisting, run, told

CLEAN = (EvidenceKind.CLEAN_RECORD,)


def insisted(
    event: SellerActivityReported, action: SetTrust, state: SellerTrust | None = None
) -> tuple[str, tuple[str, ...]]:
    decided = run(TRUST_SCORER, asked(event, state), reasoner=Insisting(action), judge=market_judge())
    _name, verdict, policies = told(decided)[0]
    return verdict, policies


@pytest.mark.parametrize(
    ("event", "score", "evidence", "before", "verdict", "policies"),
    [
        (activity(), 75, CLEAN, None, "allow", ("trust.set.grant",)),
        (activity(), 76, CLEAN, None, "escalate", ("trust.moved-day",)),
        (activity(), 45, CLEAN, None, "allow", ("trust.set.grant",)),
        (activity(), 44, CLEAN, None, "escalate", ("trust.moved-day",)),
        (activity(), 60, (), None, "deny", ("trust.no-evidence",)),
        (activity(), 65, (EvidenceKind.CHARGEBACKS,), None, "deny", ("trust.evidence-not-borne",)),
        (
            activity(days_active=364),
            65,
            (EvidenceKind.YEARS_ACTIVE,),
            None,
            "deny",
            ("trust.evidence-not-borne",),
        ),
        (activity(days_active=365), 65, (EvidenceKind.YEARS_ACTIVE,), None, "allow", ("trust.set.grant",)),
        (activity(orders=9, reviews=3), 62, CLEAN, None, "deny", ("trust.too-little",)),
        (activity(identity_verified=False), 81, CLEAN, 70, "deny", ("trust.unverified-high",)),
        (activity(), 19, CLEAN, 30, "escalate", ("trust.very-low",)),
        (activity(), 0, CLEAN, 41, "deny", ("trust.leap", "trust.moved-day", "trust.very-low")),
    ],
)
def test_what_the_policies_say_of_a_score(
    event: SellerActivityReported,
    score: int,
    evidence: tuple[EvidenceKind, ...],
    before: int | None,
    verdict: str,
    policies: tuple[str, ...],
) -> None:
    state = None if before is None else SellerTrust(score=before)
    assert insisted(event, SetTrust(score=score, evidence=evidence), state) == (verdict, policies)


def test_the_same_evidence_twice_is_one_piece() -> None:
    facts = TRUST_SCORER.judged(asked(activity()), SetTrust(score=62, evidence=CLEAN * 3)).facts
    assert facts.model_dump() == {"score": 62, "move": 2, "evidence": 1, "evidence_not_borne": 0}


def test_moves_of_one_day_add_up() -> None:
    usage = PartitionUsage(partition=0)
    verdicts = []
    for number, score in enumerate((68, 60, 61)):
        seen = asked(activity(), SellerTrust(score=60 if number == 0 else 68))
        decided = run(
            TRUST_SCORER,
            seen,
            reasoner=Insisting(SetTrust(score=score, evidence=CLEAN)),
            judge=Counted(market_engine(), usage, "s-1"),
        )
        verdicts.append(decided.chosen.judgement.verdict)
        if verdicts[-1] is Verdict.ALLOW:
            where = InputRef(topic="marketplace.sellers", partition=0, offset=number)
            usage.take(decided.chosen.judgement.charges, where=where, at=NOW)
    # 8 up; 8 down would be 16; 7 down is 15.
    assert verdicts == [Verdict.ALLOW, Verdict.ESCALATE, Verdict.ALLOW]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"chargebacks": 1}),
        ({}, {"disputes": 5, "disputes_lost": 5}),
        ({}, {"cancelled": 20}),
        ({}, {"late": 40}),
        ({"rating": 95}, {"rating": 20}),
        ({}, {"identity_verified": False}),
        ({"days_active": 2_000}, {"days_active": 10}),
    ],
)
def test_the_synthesis_goes_the_right_way(better: dict[str, Any], worse: dict[str, Any]) -> None:
    assert synthesis(activity(**better)) > synthesis(activity(**worse))


def test_few_orders_say_little() -> None:
    none = {"late": 0, "cancelled": 0, "disputes": 0, "chargebacks": 0, "reviews": 0}
    assert synthesis(activity(orders=0, **none)) == PRIOR
    one = synthesis(activity(orders=1, **none | {"chargebacks": 1, "disputes": 1, "disputes_lost": 1}))
    many = synthesis(
        activity(orders=100, **none | {"chargebacks": 100, "disputes": 100, "disputes_lost": 100})
    )
    assert many < one < PRIOR


def test_a_good_seller_rises_step_by_step() -> None:
    state = SellerTrust(score=PRIOR)
    scores = []
    for _ in range(4):
        seen = asked(activity(orders=300), state)
        decided = run(TRUST_SCORER, seen, judge=market_judge())
        assert decided.chosen.judgement.verdict is Verdict.ALLOW
        after = effect(seen, decided.chosen.proposal.action)
        assert isinstance(after, SellerTrust)
        state = after
        scores.append(state.score)
    assert scores[0] == PRIOR + 15
    assert scores == sorted(scores)
    assert scores[-1] == synthesis(activity(orders=300))


def test_a_wave_of_chargebacks_is_seen_by_a_person_or_lowers_the_score() -> None:
    stealing = activity(chargebacks=20, disputes=45, disputes_lost=45, rating=30)
    decided = run(TRUST_SCORER, asked(stealing, SellerTrust(score=85)), judge=market_judge())
    action = decided.chosen.proposal.action
    assert isinstance(action, AskForReview) or (isinstance(action, SetTrust) and action.score < 85)


def test_the_state_after_each_action() -> None:
    seen = asked(activity())
    assert effect(seen, KeepTrust()) == effect(seen, AskForReview()) == SellerTrust(score=PRIOR)
    assert effect(seen, SetTrust(score=70, evidence=CLEAN * 2)) == SellerTrust(score=70, evidence=CLEAN)
    assert effect(asked(activity(), SellerTrust(score=33)), KeepTrust()) == SellerTrust(score=33)


def test_without_a_reasoner_a_person_is_asked() -> None:
    decided = run(TRUST_SCORER, asked(activity()), reasoner=Down(), judge=market_judge())
    assert decided.chosen.proposal.action == AskForReview()


def test_counts_that_contradict_each_other_are_no_event() -> None:
    with pytest.raises(ValidationError, match="larger than what they are counted of"):
        activity(orders=5)
    with pytest.raises(ValidationError, match="larger than what they are counted of"):
        activity(disputes=1, disputes_lost=2)


def test_an_action_of_another_agent_is_a_defect() -> None:
    with pytest.raises(ConfigurationError, match="GiveUp"):
        TRUST_SCORER.judged(asked(activity()), GiveUp())


def test_nothing_of_the_person_is_known() -> None:
    known = set(SellerActivityReported.model_fields)
    assert known.isdisjoint(
        {"name", "country", "nationality", "age", "gender", "language", "address", "religion"}
    )


@st.composite
def activities(draw: st.DrawFn) -> SellerActivityReported:
    orders = draw(st.integers(0, 500))
    part = st.integers(0, orders)
    disputes = draw(part)
    return activity(
        orders=orders,
        late=draw(part),
        cancelled=draw(part),
        disputes=disputes,
        disputes_lost=draw(st.integers(0, disputes)),
        chargebacks=draw(part),
        reviews=draw(part),
        rating=draw(st.integers(0, 100)),
        days_active=draw(st.integers(0, 9_000)),
        identity_verified=draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None)
@given(activities(), st.none() | st.integers(0, 100))
def test_every_report_ends_and_no_score_moves_far_alone(
    event: SellerActivityReported, before: int | None
) -> None:
    state = None if before is None else SellerTrust(score=before)
    assert 0 <= synthesis(event) <= 100
    decided = run(TRUST_SCORER, asked(event, state), judge=market_judge())
    action, verdict = decided.chosen.proposal.action, decided.chosen.judgement.verdict
    assert verdict is not Verdict.DENY
    if isinstance(action, SetTrust):
        assert all(BORNE[kind](event) for kind in action.evidence)
        if verdict is Verdict.ALLOW:
            assert abs(action.score - (PRIOR if before is None else before)) <= 15
            assert action.score >= 20
