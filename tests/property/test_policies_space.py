"""Properties of action spaces: what they say is what the engine says, and nothing that it allows is hidden."""

from __future__ import annotations

from datetime import timedelta

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jurat.agents.action_axes import parameters_of
from jurat.agents.action_schema import action_schema
from jurat.agents.action_space import ActionSpace, action_space, decision_space
from jurat.agents.agent import Action, Agent, Situation
from jurat.agents.dispute_actions import PartialRefund, RefundBuyer
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER, Backorder, ShipFrom, SplitShipment
from jurat.agents.payment_retrier import ADVICE, PAYMENT_RETRIER, AskForNewMethod, GiveUp, RetryCharge
from jurat.policies import Judgement, PolicyEngine, PolicyRequest
from jurat.policies.space import Kind
from jurat.schemas.decision import Verdict
from jurat.schemas.marketplace import DisputeCategory
from tests.shop import NOTHING_USED, euros, shop_engine
from tests.shop import situation as shop_situation
from tests.spending import (
    GRANT,
    NOW,
    Channel,
    Pay,
    Spend,
    engine,
    forbid,
    situation,
    spender,
)
from tests.unit.test_agents_disputes import dispute
from tests.unit.test_agents_fulfilment import order, warehouse
from tests.unit.test_agents_payments import failed

THRESHOLDS = (-3, 0, 1, 7, 24, 500, 50_000, 69_999, 90_000, 2_000_000)
GRANT_WHEN = GRANT.replace(
    "action, resource);", 'action == Jurat::Action::"spend", resource)\nwhen {{ {} }};'
)
NAMES = ("c-1", "o-1", "acme", "zorro", "something-else")


def ask(agent: Agent, judge: PolicyEngine, seen: Situation, action: Action) -> Judgement:  # type: ignore[type-arg]
    facts = agent.judged(seen, action)
    return judge.judge(
        PolicyRequest(
            agent.name, action.action_name, facts.resource, facts.facts, now=seen.now, usage=NOTHING_USED
        )
    )


def check_at(space: ActionSpace, action: Action, got: Judgement, *, moved: str) -> None:
    """What the space says of the base with one parameter moved is what the engine said of exactly that."""
    for parameter, spans in zip(parameters_of(space.action), space.parameters, strict=True):
        if parameter.name != moved or spans.kind is Kind.OPEN:
            continue
        value = parameter.on_axis(getattr(action, moved))
        span = spans.span_of(value)  # type: ignore[arg-type]
        assert span is not None, (moved, value)
        if span.firm:
            assert got.verdict is Verdict.DENY
        if span.verdict is not None:
            assert (span.verdict, span.approvers) == (got.verdict, got.approvers), (moved, value, spans)
            assert set(span.policies) <= set(got.policies)
            if not spans.opaque:
                assert span.policies == got.policies


def check_offer(space: ActionSpace, takes: Draft202012Validator, action: Action, got: Judgement) -> None:
    """What is allowed, or may be with an approval, is offered, and the schema takes it."""
    if got.verdict is Verdict.DENY:
        return
    assert space.is_offered
    for parameter, spans in zip(parameters_of(space.action), space.parameters, strict=True):
        if spans.kind is not Kind.OPEN:
            span = spans.span_of(parameter.on_axis(getattr(action, parameter.name)))  # type: ignore[arg-type]
            assert span is not None
            assert not span.firm, (parameter.name, span)
    takes.validate(action.model_dump(mode="json"))


numbers = st.sampled_from(THRESHOLDS) | st.integers(-1_000, 2_000_000)
longs = st.one_of(
    st.just("context.amount"),
    st.sampled_from(THRESHOLDS).map(str),
    st.sampled_from(
        ["resource.total", "context.at.durationSince(context.now).toHours()", "context.wait.toMinutes()"]
    ),
    st.builds("context.amount * {}".format, st.sampled_from([-2, 3, 100, 10**13])),
    st.builds("(resource.total - context.amount) * {}".format, st.sampled_from([-1, 7])),
    st.builds(
        "(if context.urgent then {} else {})".format, st.sampled_from(THRESHOLDS), st.sampled_from(THRESHOLDS)
    ),
    st.just("context.amount * context.amount"),
)
atoms = st.one_of(
    st.builds("{} {} {}".format, longs, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), longs),
    st.builds('context.payee {} "{}"'.format, st.sampled_from(["==", "!="]), st.sampled_from(NAMES)),
    st.sampled_from(
        [
            "context.urgent",
            "context.dear",
            "context.payee_known",
            "context.payee == resource.owner",
            '["acme", "zorro"].contains(context.payee)',
            'context.payee like "a*"',
            'context.channel == "cash"',
            "context has tip",
            "context has tip && context.tip > 7",
            "(if context has tip then context.tip * 2 <= context.amount else context.urgent)",
            "[1, 2, 500].contains(context.amount)",
            "context.notes.isEmpty()",
            'context.notes.contains("gift")',
            'context.at > datetime("2026-03-03")',
            'context.at.offset(duration("-1d")) <= context.now',
            'context.at.toTime() < duration("8h")',
            'context.at.toDate() == datetime("2026-03-02")',
            'context.wait >= duration("1d12h")',
            "context.wait.toHours() == 0",
        ]
    ),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("(if {} then {} else {})".format, inner, inner, inner),
        st.builds("(({}) == ({}))".format, inner, inner),
    ),
    max_leaves=4,
)
rules = st.lists(st.tuples(conditions, st.sampled_from(["", "", "lead", "risk"])), min_size=1, max_size=4)
grants = st.just(GRANT) | conditions.map(GRANT_WHEN.format)
spends = st.builds(
    Spend,
    amount=numbers,
    tip=st.none() | st.integers(0, 20) | st.just(100_000),
    at=st.builds(
        lambda hours, ms: NOW + timedelta(hours=hours, milliseconds=ms),
        st.integers(-40, 40) | st.integers(-(10**5), 10**5),
        st.integers(-2, 2),
    ),
    wait=st.builds(
        lambda hours, ms: timedelta(hours=hours, milliseconds=ms), st.integers(-3, 40), st.integers(-2, 2)
    ),
    channel=st.sampled_from(Channel),
    urgent=st.booleans(),
    payee=st.sampled_from(NAMES) | st.text("abc", min_size=1, max_size=3),
    notes=st.sampled_from([(), ("gift",), ("x", "gift"), ("y",)]),
)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bundle_of(grant: str, refusals: list[tuple[str, str]], action: str = "spend") -> PolicyEngine:
    text = [forbid(f"r{n}", when, escalate=role, action=action) for n, (when, role) in enumerate(refusals)]
    return engine("".join([grant, *text]))


@SLOW
@given(grants, rules, spends, st.booleans(), st.lists(spends, min_size=8, max_size=8))
def test_a_space_says_what_the_engine_says_and_hides_nothing(
    grant: str, refusals: list[tuple[str, str]], base: Spend, invented: bool, others: list[Spend]
) -> None:
    """Each example: eight random actions, and the base moved to each of their parameters."""
    judge = bundle_of(grant, refusals)
    agent, seen = spender() if invented else spender(base), situation()
    space = action_space(agent, seen, judge, Spend)
    assert space.base is not None
    start, takes = (
        Spend.model_validate_json(orjson.dumps(space.base)),
        Draft202012Validator(action_schema(space)),
    )
    for other in others:
        check_offer(space, takes, other, ask(agent, judge, seen, other))
        for name in Spend.model_fields:
            moved = start.model_copy(update={name: getattr(other, name)})
            got = ask(agent, judge, seen, moved)
            check_at(space, moved, got, moved=name)
            check_offer(space, takes, moved, got)


amounts = st.sampled_from(
    ["context.amount", "context.amount * 3", "resource.total - context.amount", "50000", "-7"]
)
comparisons = st.builds("{} {} {}".format, amounts, st.sampled_from(["<", ">=", "==", "!="]), amounts)
linear = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner), st.builds("({} || {})".format, inner, inner)
    ),
    max_leaves=4,
)


@SLOW
@given(
    st.lists(st.tuples(linear, st.sampled_from(["", "lead"])), min_size=1, max_size=4),
    st.lists(st.integers(-100_000, 100_000) | st.integers(-(2**53) + 1, 2**53 - 1), min_size=30, max_size=30),
)
def test_one_linear_parameter_leaves_nothing_open(refusals: list[tuple[str, str]], tried: list[int]) -> None:
    """The offer is then exactly what the engine does not deny."""
    judge = bundle_of(GRANT, refusals, action="pay")
    agent, seen = spender(), situation()
    space = action_space(agent, seen, judge, Pay)
    (amount,) = space.parameters
    assert amount.opaque == ()
    assert all(span.verdict is not None for span in amount.spans)
    for value in tried:
        got = ask(agent, judge, seen, Pay(amount=value))
        span = amount.span_of(value)
        assert span is not None
        assert (span.verdict, span.policies, span.approvers) == (got.verdict, got.policies, got.approvers)
        assert (span in amount.offered) == (got.verdict is not Verdict.DENY)
    assert space.is_offered == any(span.verdict is not Verdict.DENY for span in amount.spans)


limits = st.sampled_from([0, 1, 2, 49_999, 50_000, 50_001, 90_000])


@SLOW
@given(
    st.sampled_from(DisputeCategory),
    limits.filter(bool) | st.integers(1, 200_000),
    st.integers(0, 4),
    st.sampled_from([RefundBuyer, PartialRefund]),
    st.lists(
        st.tuples(limits | st.integers(-10, 200_000), st.sampled_from(["EUR", "USD"])),
        min_size=20,
        max_size=20,
    ),
    st.integers(-1, 1),
)
def test_the_shipped_disputes_are_offered_exactly(
    category: DisputeCategory,
    total: int,
    prior: int,
    action: type[RefundBuyer | PartialRefund],
    tried: list[tuple[int, str]],
    near: int,
) -> None:
    """Amount and currency are bounded apart, so the schema takes what the engine does not deny, and nothing else."""
    seen = shop_situation(DISPUTE_MEDIATOR, dispute(category, amount=euros(total), prior=prior))
    space = action_space(DISPUTE_MEDIATOR, seen, shop_engine(), action, usage=NOTHING_USED)
    takes = Draft202012Validator(action_schema(space))
    for amount_minor, currency in [*tried, (total + near, "EUR")]:
        proposed = action(amount_minor=amount_minor, currency=currency)
        got = ask(DISPUTE_MEDIATOR, shop_engine(), seen, proposed)
        is_taken = space.is_offered and takes.is_valid(proposed.model_dump(mode="json"))
        assert is_taken == (got.verdict is not Verdict.DENY), (space, proposed, got)


@SLOW
@given(
    st.sampled_from([*ADVICE, "unheard_of"]),
    st.sampled_from([100, 20_000, 20_001, 100_001]),
    st.integers(1, 5),
    st.sampled_from([0, 49, 50, 64, 65, 80]),
    st.lists(
        st.sampled_from([0, 4, 5, 359, 360, 1_439, 1_440, 20_160, 20_161]) | st.integers(0, 10**6),
        max_size=20,
    ),
)
def test_the_shipped_retries_are_offered_exactly(
    code: str, amount: int, attempt: int, fraud: int, waits: list[int]
) -> None:
    seen = shop_situation(PAYMENT_RETRIER, failed(code, amount=amount, attempt=attempt, fraud=fraud))
    space = decision_space(PAYMENT_RETRIER, seen, shop_engine())
    (after,) = space.actions[0].parameters
    for minutes in waits:
        got = ask(PAYMENT_RETRIER, shop_engine(), seen, RetryCharge(after_minutes=minutes))
        span = after.span_of(minutes)
        assert span is not None
        assert (span.verdict, span.policies, span.approvers) == (got.verdict, got.policies, got.approvers)
    for one, action in zip(space.actions[1:], (AskForNewMethod(), GiveUp()), strict=True):
        got = ask(PAYMENT_RETRIER, shop_engine(), seen, action)
        assert one.is_offered == (got.verdict is not Verdict.DENY)


@SLOW
@given(
    st.lists(
        st.builds(
            lambda load, late, x_km, stock: {"load": load, "late": late, "x_km": x_km, "sku_1": stock},
            st.sampled_from([10, 89, 90]),
            st.sampled_from([0, 15]),
            st.sampled_from([-140, 1_000, 9_000]),
            st.integers(0, 2),
        ),
        max_size=4,
    ),
    st.sampled_from([12_900, 60_000]),
    st.booleans(),
)
def test_no_warehouse_that_the_policies_allow_is_hidden(
    network: list[dict[str, int]], total: int, express: bool
) -> None:
    known = [warehouse(f"WH-{number}", **numbers) for number, numbers in enumerate(network)]
    placed = order("sku-1", "sku-1", total=total, express=express, promised_h=30)
    seen = shop_situation(FULFILMENT_ROUTER, placed, *known)
    space = decision_space(FULFILMENT_ROUTER, seen, shop_engine())
    names = [f"WH-{number}" for number in range(len(known) + 1)]
    tried: list[Action] = [Backorder(), *(ShipFrom(warehouse_id=name) for name in names)]
    tried += [SplitShipment(first_warehouse_id=a, second_warehouse_id=b) for a in names for b in names]
    for action in tried:
        (one,) = (one for one in space.actions if one.action is type(action))
        got = ask(FULFILMENT_ROUTER, shop_engine(), seen, action)
        check_offer(one, Draft202012Validator(action_schema(one)), action, got)
        if isinstance(action, ShipFrom):
            check_at(one, action, got, moved="warehouse_id")
