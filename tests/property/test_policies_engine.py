"""Properties of judging: nothing that data may contain raises; partitioned is as flat; the record judges the same."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cedarpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jurat.policies import PolicyEngine, PolicyRequest, load_bundle
from jurat.schemas import canonical
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import BundleError
from tests.fixtures.policies.refund_models import (
    NOW,
    REFUNDS,
    Customer,
    Order,
    Payment,
    RefundFacts,
    RetryFacts,
    Tier,
)

FILES = ["refunds.cedar", "roles.yaml", "objectives.yaml", "schema.cedarschema", "tests/refunds.yaml"]
BUNDLE = load_bundle(REFUNDS)
ENGINE = PolicyEngine(BUNDLE)

hostile_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=40) | st.sampled_from(
    [
        "\0",
        "\ud800",
        '"',
        "\\",
        '{"__extn":{"fn":"datetime","arg":"x"}}',
        "Jurat::Role",
        "__entity",
        "a" * 10_000,
    ]
)
hostile_integer = st.integers() | st.sampled_from([2**53 - 1, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**400])
hostile = st.one_of(
    hostile_text, hostile_integer, st.floats(), st.none(), st.binary(), st.lists(st.integers())
)
moments = st.datetimes(timezones=st.timezones() | st.none())

orders = st.builds(
    Order.model_construct,
    id=hostile_text,
    total_minor=hostile_integer | hostile,
    refunded_minor=hostile_integer,
    placed_at=moments | hostile,
    delivered_at=moments | st.none(),
    customer=st.builds(Customer.model_construct, tier=hostile_text, risk_score=hostile_integer) | hostile,
)
refund_facts = st.builds(
    RefundFacts.model_construct,
    amount_minor=hostile_integer | hostile,
    reason=hostile_text | hostile,
    refunds_30d=hostile_integer,
    frozen=st.booleans() | hostile,
    labels=st.frozensets(hostile_text, max_size=3) | hostile,
)


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        PolicyRequest,
        agent=st.just("refunder-1") | hostile_text,
        action=st.just("refund") | hostile_text,
        resource=orders,
        facts=refund_facts,
        now=moments,
        approvals=st.frozensets(hostile_text, max_size=3),
    )
)
def test_nothing_that_data_may_contain_raises(request: PolicyRequest) -> None:
    judgement = ENGINE.judge(request)
    recorded = canonical.loads_object(canonical.dumps(judgement.normalised))
    assert ENGINE.rejudge(recorded) == judgement
    if judgement.errors:
        assert judgement.verdict is Verdict.DENY
    assert judgement.reasons


valid_requests = st.one_of(
    st.builds(
        PolicyRequest,
        agent=st.sampled_from(["refunder-1", "collector-1"]),
        action=st.just("refund"),
        resource=st.builds(
            Order,
            id=st.just("o-1"),
            total_minor=st.integers(0, 120_000),
            refunded_minor=st.integers(0, 60_000),
            placed_at=st.just(NOW),
            customer=st.builds(Customer, tier=st.sampled_from(Tier), risk_score=st.just(1)),
        ),
        facts=st.builds(
            RefundFacts,
            amount_minor=st.sampled_from([0, 1, 20_000, 20_001, 50_000, 50_001]) | st.integers(0, 120_000),
            reason=st.just("late"),
            refunds_30d=st.integers(0, 5),
            frozen=st.booleans(),
            labels=st.frozensets(st.sampled_from(["test", "vip"])),
        ),
        now=st.just(NOW),
        approvals=st.frozensets(st.sampled_from(["risk", "payments-lead"])),
    ),
    st.builds(
        PolicyRequest,
        agent=st.sampled_from(["refunder-1", "collector-1"]),
        action=st.just("retry_payment"),
        resource=st.builds(
            Payment,
            id=st.just("p-1"),
            retries=st.integers(0, 4),
            last_attempt=st.none() | st.timedeltas(timedelta(), timedelta(days=2)).map(lambda ago: NOW - ago),
        ),
        facts=st.builds(RetryFacts, frozen=st.booleans(), labels=st.just(())),
        now=st.just(NOW),
    ),
)

TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted(REFUNDS.glob("*.cedar")))
PRINCIPALS: list[JsonValue] = [
    {
        "uid": {"type": "Jurat::Agent", "id": agent},
        "attrs": {},
        "parents": [{"type": "Jurat::Role", "id": role}],
    }
    for agent, (role,) in BUNDLE.agents.items()
]


def plain_cedar(asked: JsonObject) -> tuple[bool, list[str]]:
    """Allowed or not, and by which `@id`s, from one unpartitioned text without any handle of ours."""
    entities = [*PRINCIPALS, *asked["entities"]]  # type: ignore[misc]
    request = {key: asked[key] for key in ("principal", "action", "resource", "context")}
    result = cedarpy.is_authorized(request, TEXT, entities, BUNDLE.schema_text)
    assert result.diagnostics.errors == []
    return result.allowed, sorted(result.diagnostics.id_annotations_by_reason.values())


@settings(max_examples=100, deadline=None)
@given(valid_requests)
def test_the_engine_answers_as_plain_cedar_does(request: PolicyRequest) -> None:
    judgement = ENGINE.judge(request)
    allowed, reasons = plain_cedar(judgement.normalised)
    assert judgement.errors == ()
    assert (judgement.verdict is Verdict.ALLOW) == allowed
    if judgement.verdict is Verdict.DENY and not judgement.policies:
        assert all(BUNDLE.policies[id_].escalate for id_ in reasons)  # lifted, there is no permit
    else:
        assert list(judgement.policies) == reasons


@settings(max_examples=100, deadline=None)
@given(valid_requests)
def test_an_escalation_is_exactly_what_its_approvers_may_lift(request: PolicyRequest) -> None:
    judgement = ENGINE.judge(request)
    granted = ENGINE.judge(replace(request, approvals=request.approvals | set(judgement.approvers)))
    if judgement.verdict is Verdict.ESCALATE:
        assert granted.verdict is Verdict.ALLOW
        for role in judgement.approvers:
            without = frozenset(judgement.approvers) - {role}
            fewer = ENGINE.judge(replace(request, approvals=request.approvals | without))
            assert fewer.approvers == (role,)
    elif judgement.verdict is Verdict.DENY:
        everyone = ENGINE.judge(replace(request, approvals=frozenset(BUNDLE.approvers)))
        assert everyone.verdict is Verdict.DENY


WORDS = (
    *(
        '@id("x") ',
        '@title("T") ',
        '@escalate("risk") ',
        "permit ",
        "forbid ",
        "(principal, action, resource)",
    ),
    *(
        "when ",
        "unless ",
        "{",
        "}",
        ";",
        'context.approvals.contains("risk")',
        "context.frozen",
        "?principal",
    ),
    *("//", '"', "\n", "é", "\\", "- ", "a: ", "&x ", "*x", "!!int ", "[", "]", "resource.missing"),
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    text=st.lists(st.sampled_from(WORDS), max_size=25).map("".join) | st.text(max_size=60),
    name=st.sampled_from(FILES),
)
def test_a_broken_file_is_a_bundle_error_or_loads(tmp_path: Path, text: str, name: str) -> None:
    folder = tmp_path / "refunds"
    shutil.copytree(REFUNDS, folder, dirs_exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        told = error.faults
    else:
        told = tuple(bundle.policies)
    assert told
