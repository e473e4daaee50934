"""Judging: verdicts, reasons, escalation, and that everything that goes wrong denies."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from jurat.policies import Judgement, PolicyEngine, load_bundle
from jurat.schemas import canonical
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import PolicyInputError
from tests.fixtures.policies.refund_models import (
    NOW,
    REFUNDS,
    Customer,
    Order,
    RefundFacts,
    Tier,
    refund,
    retry,
)


@pytest.fixture(scope="module")
def engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(REFUNDS))


def engine_with(tmp_path: Path, text: str) -> PolicyEngine:
    folder = Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))
    (folder / "more.cedar").write_text(text)
    return PolicyEngine(load_bundle(folder))


def assert_denied(judgement: Judgement, *, error: str) -> None:
    assert judgement.verdict is Verdict.DENY
    assert any(error in found for found in judgement.errors), judgement.errors


def test_an_allow_names_its_permit(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(1_000))
    assert judgement.verdict is Verdict.ALLOW
    assert judgement.policies == ("refund.grant",)
    assert judgement.reasons == ("Refund agents may refund what the customer actually paid",)
    assert (judgement.approvers, judgement.errors) == ((), ())


def test_a_denial_names_every_forbid(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(30_000, tier=Tier.STANDARD, refunds_30d=4, labels=frozenset({"test"})))
    assert judgement.verdict is Verdict.DENY
    assert judgement.policies == ("common.agents-only", "refund.cap-200", "refund.three-per-30d")
    assert judgement.reasons[1] == "No refund over 200 EUR unless the customer is gold"


def test_without_a_permit_it_is_denied(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(1_000, agent="collector-1"))
    assert judgement.verdict is Verdict.DENY
    assert (judgement.policies, judgement.reasons) == ((), ("no policy permits this",))
    assert judgement.errors == ()


def test_an_escalation_names_who_may_lift_it(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(60_000, refunds_30d=3))
    assert judgement.verdict is Verdict.ESCALATE
    assert judgement.policies == ("refund.gold-over-500", "refund.three-per-30d")
    assert judgement.approvers == ("payments-lead", "risk")


def test_what_is_approved_in_part_waits_for_the_rest(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(60_000, refunds_30d=3, approvals=frozenset({"risk"})))
    assert (judgement.verdict, judgement.approvers) == (Verdict.ESCALATE, ("payments-lead",))


def test_what_is_approved_is_allowed(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(60_000, refunds_30d=3, approvals=frozenset({"risk", "payments-lead"})))
    assert (judgement.verdict, judgement.policies) == (Verdict.ALLOW, ("refund.grant",))


def test_an_approval_by_another_role_lifts_nothing(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(60_000, approvals=frozenset({"boss"})))
    assert judgement.verdict is Verdict.ESCALATE


def test_what_no_permit_covers_is_never_escalated(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(99_000))
    assert judgement.verdict is Verdict.DENY
    assert (judgement.policies, judgement.reasons) == ((), ("no policy permits this",))


def test_a_refusal_that_nobody_may_lift_is_not_escalated(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(60_000, tier=Tier.STANDARD))
    assert judgement.verdict is Verdict.DENY
    assert judgement.policies == ("refund.cap-200", "refund.gold-over-500")


def test_an_approval_that_would_not_be_enough_is_not_asked_for(tmp_path: Path) -> None:
    engine = engine_with(
        tmp_path,
        '@id("x") @title("T") @escalate("risk") forbid (principal, action == Jurat::Action::"refund", resource)'
        ' unless { context.approvals.contains("risk") && context.reason == "late" };',
    )
    assert engine.judge(refund(1_000, reason="late")).verdict is Verdict.ESCALATE
    judgement = engine.judge(refund(1_000, reason="other"))
    assert (judgement.verdict, judgement.policies) == (Verdict.DENY, ("x",))


def test_what_the_bundle_has_no_words_for_is_denied_and_was_not_evaluated(engine: PolicyEngine) -> None:
    request = refund(1_000)
    asked = engine.judge(request).normalised
    context = asked["context"]
    assert isinstance(context, dict)
    assert engine.judge(request).evaluated
    assert engine.judge(dataclasses.replace(request, agent="collector-1")).evaluated  # no permit is an answer
    for judgement in (
        engine.judge(dataclasses.replace(request, agent="nobody")),
        engine.judge(dataclasses.replace(request, action="fly")),
        engine.judge(dataclasses.replace(request, now=datetime(2026, 1, 1))),  # noqa: DTZ001  # that it has no zone
        engine.rejudge({**asked, "context": {**context, "more": 1}}),
        engine.rejudge({**asked, "entities": [{"uid": asked["resource"], "attrs": {}, "parents": []}]}),
    ):
        assert (judgement.verdict, judgement.evaluated) == (Verdict.DENY, False)
        assert judgement.errors


# The hazards, by their numbers in docs/adr/0003-cedar.md.


def test_hazard_1_a_forbid_that_errs_denies(tmp_path: Path) -> None:
    """Cedar skips a forbid whose condition overflows and answers Allow; the engine must not."""
    engine = engine_with(
        tmp_path,
        '@id("x") @title("T") forbid (principal, action == Jurat::Action::"refund", resource)'
        " when { resource.total_minor * resource.total_minor > 9000000000000000000 };",
    )
    judgement = engine.judge(refund(1_000, total_minor=2**50))
    assert_denied(judgement, error="integer overflow")
    assert judgement.evaluated
    assert judgement.policies == ("refund.grant",)  # what Cedar would have allowed by


def test_hazard_1_a_missing_fact_denies(engine: PolicyEngine) -> None:
    normalised = engine.judge(refund(1_000)).normalised
    context = {**normalised["context"]}  # type: ignore[dict-item]
    del context["frozen"]
    assert_denied(engine.rejudge({**normalised, "context": context}), error="frozen")


def test_hazard_1_a_missing_entity_denies(engine: PolicyEngine) -> None:
    normalised = engine.judge(refund(1_000)).normalised
    assert_denied(engine.rejudge({**normalised, "entities": []}), error="does not exist")


def test_hazard_1_an_attribute_of_the_wrong_type_denies(engine: PolicyEngine) -> None:
    order = Order.model_construct(
        id="o-1",
        total_minor="90000",
        refunded_minor=0,
        placed_at=NOW,
        customer=Customer(tier=Tier.GOLD, risk_score=1),
    )
    request = dataclasses.replace(refund(1_000), resource=order)
    assert_denied(engine.judge(request), error="entity")


def test_hazard_2_reasons_are_our_ids(engine: PolicyEngine) -> None:
    for request in (refund(1_000), refund(60_000), refund(30_000, tier=Tier.STANDARD), retry()):
        judgement = engine.judge(request)
        assert set(judgement.policies) <= set(engine.bundle.policies)
        assert judgement.policies


def test_hazard_3_a_contradiction_loads_and_permits_nothing(tmp_path: Path) -> None:
    """Cedar's validator finds no fault here; what the bundle's own cases are for."""
    engine = engine_with(
        tmp_path,
        '@id("x") @title("T") permit (principal in Jurat::Role::"collector", action == Jurat::Action::"refund",'
        " resource) when { context.amount_minor > 5 && context.amount_minor < 3 };",
    )
    assert engine.judge(refund(4, agent="collector-1")).reasons == ("no policy permits this",)


def test_hazard_4_a_float_denies(engine: PolicyEngine) -> None:
    facts = RefundFacts.model_construct(
        amount_minor=10.5, reason="late", refunds_30d=0, frozen=False, labels=frozenset()
    )
    assert_denied(engine.judge(dataclasses.replace(refund(1), facts=facts)), error="float in amount_minor")


def test_hazard_4_datetimes_and_durations_compare(engine: PolicyEngine) -> None:
    day = timedelta(hours=24)
    assert engine.judge(retry(last_attempt=NOW - day)).verdict is Verdict.ALLOW
    early = engine.judge(retry(last_attempt=NOW - day + timedelta(milliseconds=1)))
    assert (early.verdict, early.policies) == (Verdict.DENY, ("retry.cool-down-24h",))


def test_hazard_5_no_verdict_comes_from_partial_evaluation() -> None:
    source = (Path(__file__).parents[2] / "policies" / "cedar.py").read_text(encoding="utf-8")
    assert "is_authorized_partial" not in source


def test_hazard_6_the_version_is_the_pinned_one(engine: PolicyEngine) -> None:
    assert engine.version.startswith("cedarpy 4.12.")


# What data may contain.


def test_an_unknown_agent_is_denied(engine: PolicyEngine) -> None:
    assert_denied(engine.judge(refund(1_000, agent="nobody")), error="got the agent nobody")


def test_an_unknown_action_is_denied(engine: PolicyEngine) -> None:
    assert_denied(engine.judge(refund(1_000, action="ship")), error="got the action ship")


def test_an_action_on_another_kind_of_resource_is_denied(engine: PolicyEngine) -> None:
    request = dataclasses.replace(refund(1_000), resource=retry().resource)
    assert_denied(engine.judge(request), error="resource")


@pytest.mark.parametrize("amount", [2**53, -(2**53), 2**63, 2**64, 10**400])
def test_an_integer_that_cannot_be_recorded_is_denied(engine: PolicyEngine, amount: int) -> None:
    judgement = engine.judge(refund(amount))
    assert_denied(judgement, error="expected one below 2**53")
    assert canonical.dumps(judgement.normalised)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_string_that_is_not_unicode_is_denied(engine: PolicyEngine, text: str) -> None:
    for request in (
        refund(1_000, order_id="x").__class__(
            "refunder-1",
            "refund",
            Order.model_construct(
                id=text,
                total_minor=1,
                refunded_minor=0,
                placed_at=NOW,
                customer=Customer(tier=Tier.GOLD, risk_score=1),
            ),
            refund(1).facts,
            NOW,
        ),
        dataclasses.replace(refund(1_000), agent=text),
        dataclasses.replace(refund(1_000), action=text),
        dataclasses.replace(refund(1_000), approvals=frozenset({text})),
    ):
        judgement = engine.judge(request)
        assert judgement.verdict is Verdict.DENY
        assert judgement.errors
        assert canonical.dumps(judgement.normalised)
        assert engine.rejudge(judgement.normalised) == judgement


def test_nul_and_quotes_are_only_characters(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(1_000, order_id='o\0"::Agent', reason='\0"}, "frozen": false'))
    assert judgement.verdict is Verdict.ALLOW


def test_a_naive_moment_is_denied(engine: PolicyEngine) -> None:
    assert_denied(engine.judge(refund(1_000, now=datetime(2026, 1, 1))), error="without a zone")  # noqa: DTZ001


def test_a_moment_out_of_range_is_denied(engine: PolicyEngine) -> None:
    moment = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
    assert_denied(engine.judge(refund(1_000, now=moment)), error="years 1 to 9999")


def test_moments_are_normalised_to_utc(engine: PolicyEngine) -> None:
    moment = datetime(2026, 10, 14, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    context = engine.judge(refund(1_000, now=moment)).normalised["context"]
    assert isinstance(context, dict)
    assert context["now"] == {"__extn": {"fn": "datetime", "arg": "2026-10-14T10:00:00.123Z"}}
    assert moment.astimezone(UTC).hour == 10


def test_an_error_is_bounded(engine: PolicyEngine) -> None:
    judgement = engine.judge(refund(1_000, agent="x" * 10_000))
    assert all(len(error) < 1_000 for error in judgement.errors)


# What is recorded.


@pytest.mark.parametrize(
    "request_",
    [
        refund(1_000),
        refund(60_000),
        refund(60_000, approvals=frozenset({"risk"})),
        refund(99_000),
        refund(2**60),
        refund(1, agent="nobody"),
        retry(),
    ],
)
def test_rejudging_the_record_answers_the_same(engine: PolicyEngine, request_: object) -> None:
    judgement = engine.judge(request_)  # type: ignore[arg-type]
    recorded = canonical.loads_object(canonical.dumps(judgement.normalised))
    assert engine.rejudge(recorded) == judgement


def test_the_record_holds_what_was_judged(engine: PolicyEngine) -> None:
    assert engine.judge(retry(retries=2)).normalised == {
        "principal": {"type": "Jurat::Agent", "id": "collector-1"},
        "action": {"type": "Jurat::Action", "id": "retry_payment"},
        "resource": {"type": "Jurat::Payment", "id": "p-1"},
        "context": {
            "frozen": False,
            "labels": [],
            "now": {"__extn": {"fn": "datetime", "arg": "2026-10-14T10:00:00.000Z"}},
            "approvals": [],
        },
        "entities": [
            {"uid": {"type": "Jurat::Payment", "id": "p-1"}, "attrs": {"retries": 2}, "parents": []}
        ],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "Jurat::Agent"},
        {"principal": {"type": "Jurat::Agent"}},
        {"resource": {"type": "Jurat::Order", "id": 7}},
        {"context": []},
        {"entities": {}},
        {"more": 1},
        {"context": {"amount_minor": 1.5}},
    ],
)
def test_rejudging_refuses_another_shape(engine: PolicyEngine, change: dict[str, object]) -> None:
    normalised = engine.judge(refund(1_000)).normalised
    with pytest.raises(PolicyInputError):
        engine.rejudge({**normalised, **change})  # type: ignore[dict-item]


def test_rejudging_cannot_bring_roles_along(engine: PolicyEngine) -> None:
    """An input that gives an agent another role contradicts the bundle, and is denied."""
    normalised = engine.judge(refund(1_000, agent="collector-1")).normalised
    forged = {
        "uid": {"type": "Jurat::Agent", "id": "collector-1"},
        "attrs": {},
        "parents": [{"type": "Jurat::Role", "id": "refunder"}],
    }
    entities = [*normalised["entities"], forged]  # type: ignore[misc]
    assert_denied(engine.rejudge({**normalised, "entities": entities}), error="")
