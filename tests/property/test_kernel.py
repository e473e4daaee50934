"""Whatever a reasoner proposes: what is decided was allowed, and the loop ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.agents.agent import MAX_PROPOSALS, MAX_TOOL_CALLS, Action, Agent, Situation, Tool
from jurat.agents.dispute_actions import PartialRefund, RefundBuyer, ReleaseToSeller, RequestEvidence
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER, Backorder, ShipFrom, SplitShipment
from jurat.agents.kernel import RESOLUTION_OF, Answer, Decided, Resolution, Use, decide
from jurat.agents.payment_retrier import PAYMENT_RETRIER, AskForNewMethod, GiveUp, RetryCharge
from jurat.agents.reasoner import Proposal, RawArguments, ToolCall, ToolResult
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.commerce import (
    MAX_KM,
    OrderItem,
    OrderPlaced,
    PaymentFailed,
    ServiceLevel,
    WarehouseReported,
)
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ProposalInvalid, ReasonerError
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Evidence, Party, Statement
from jurat.schemas.model import Address, Money
from tests.shop import NOW, counted, euros, shop_engine, situation
from tests.tool_stage import Asked, Counted, counter, counting

HOME = Address(line1="Domkloster 4", city="Köln", region="west", postal_code="50667", country="Germany")

amounts = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.integers(-1, 120_000)
money = st.builds(Money, amount_minor=amounts, currency=st.sampled_from(["EUR", "USD", "JPY"]))
names = st.sampled_from(["wh-1", "wh-2", "wh-3"]) | st.text(min_size=1, max_size=200)
percents = st.integers(0, 100)
counts = st.integers(0, 5) | st.integers(0, MAX_INTEGER)
currencies = st.sampled_from(["EUR", "USD", "XXX"])
parties = st.sampled_from(Party)

warehouses = st.builds(
    WarehouseReported,
    warehouse_id=st.sampled_from(["wh-1", "wh-2", "wh-3"]),
    region=st.just("west"),
    x_km=st.integers(-500, 500) | st.integers(-MAX_KM, MAX_KM),
    y_km=st.integers(-500, 500),
    load_percent=percents,
    late_percent=percents,
    handling_cost=money,
    stock=st.dictionaries(st.sampled_from(["sku-1", "sku-2"]), st.integers(-3, 3)),
)
orders = st.builds(
    OrderPlaced,
    order_id=st.text(min_size=1, max_size=20),
    customer_id=st.just("c-1"),
    items=st.lists(
        st.builds(
            OrderItem,
            item_id=st.sampled_from(["sku-1", "sku-2"]),
            product_id=st.just("p-1"),
            name=st.text(max_size=5),
            price=money,
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
    total=money,
    ship_to=st.just(HOME),
    service_level=st.sampled_from(ServiceLevel),
    promised_by=st.none() | st.integers(-100, 100).map(lambda hours: NOW + timedelta(hours=hours)),
    payment_method_id=st.just("pm-1"),
)
payments = st.builds(
    PaymentFailed,
    payment_id=st.just("pay-1"),
    order_id=st.just("o-1"),
    customer_id=st.just("c-1"),
    payment_method_id=st.just("pm-1"),
    amount=money,
    failure_code=st.sampled_from(["insufficient_funds", "processor_timeout", "stolen_card", "moon_phase"]),
    attempt=st.integers(1, 1000),
    fraud_score=percents,
)
disputes = st.builds(
    DisputeOpened,
    dispute_id=st.text(min_size=1, max_size=20),
    order_id=st.just("o-1"),
    customer_id=st.just("c-1"),
    seller_id=st.text(min_size=1, max_size=20),
    amount=money,
    category=st.sampled_from(DisputeCategory),
    statements=st.lists(st.builds(Statement, party=parties, text=st.text(max_size=50)), max_size=2).map(
        tuple
    ),
    evidence=st.lists(
        st.builds(
            Evidence, party=parties, kind=st.sampled_from(["tracking_scan", "photo"]), supports=parties
        ),
        max_size=6,
    ).map(tuple),
    days_since_delivery=st.none() | counts,
    seller_dispute_rate_percent=percents,
    buyer_prior_disputes=counts,
)

ACTIONS: dict[str, st.SearchStrategy[Action]] = {
    "fulfilment-router": st.builds(ShipFrom, warehouse_id=names)
    | st.builds(SplitShipment, first_warehouse_id=names, second_warehouse_id=names)
    | st.just(Backorder()),
    "payment-retrier": st.builds(RetryCharge, after_minutes=counts)
    | st.sampled_from([AskForNewMethod(), GiveUp()]),
    "dispute-mediator": st.builds(RefundBuyer, amount_minor=amounts, currency=currencies)
    | st.builds(PartialRefund, amount_minor=amounts, currency=currencies)
    | st.just(ReleaseToSeller())
    | st.builds(RequestEvidence, from_party=parties),
}


def answers(agent: str) -> st.SearchStrategy[list[Answer]]:
    """Scripts of a reasoner: own actions, other agents' actions, silence, failures."""
    own = ACTIONS[agent].map(lambda action: Proposal(action=action, rationale="x"))
    foreign = st.one_of(*(a for name, a in ACTIONS.items() if name != agent)).map(
        lambda action: Proposal(action=action, rationale="x")
    )
    other: st.SearchStrategy[Answer] = st.sampled_from([None, ProposalInvalid("garbled")])
    return st.lists(own | own | own | foreign | other, min_size=MAX_PROPOSALS, max_size=MAX_PROPOSALS)


def play(agent: Agent[Any], seen: Situation[Any], script: Sequence[Answer]) -> Decided:
    steps = decide(agent, counted(seen), seen)
    next(steps)
    for answer in script:
        try:
            steps.send(answer)
        except StopIteration as stop:
            result: Decided = stop.value
            return result
    raise AssertionError(f"the kernel asks for more than {MAX_PROPOSALS} proposals")


def check(agent: Agent[Any], seen: Situation[Any], script: Sequence[Answer]) -> Decided:
    decided = play(agent, seen, script)
    verdict = decided.chosen.judgement.verdict
    assert decided.resolution is RESOLUTION_OF[verdict]
    assert (decided.resolution is Resolution.DECIDED) == (verdict is Verdict.ALLOW)
    assert decided.chosen in decided.proposals
    assert 1 <= len(decided.proposals) <= MAX_PROPOSALS + 1
    assert all(type(judged.proposal.action) in agent.actions for judged in decided.proposals)
    assert sum(judged.judgement.verdict is Verdict.ALLOW for judged in decided.proposals) <= 1
    for judged in decided.proposals:
        assert judged.judgement.verdict is not Verdict.ALLOW or not judged.judgement.errors
        assert shop_engine().rejudge(judged.judgement.normalised).verdict is judged.judgement.verdict
    return decided


@settings(max_examples=60, deadline=None)
@given(order=orders, reports=st.lists(warehouses, max_size=3), script=answers("fulfilment-router"))
def test_an_order_leaves_only_from_where_it_lies(
    order: OrderPlaced, reports: list[WarehouseReported], script: list[Answer]
) -> None:
    decided = check(FULFILMENT_ROUTER, situation(FULFILMENT_ROUTER, order, *reports), script)
    action = decided.chosen.proposal.action
    if decided.resolution is Resolution.DECIDED and isinstance(action, ShipFrom):
        report = {report.warehouse_id: report for report in reports}[action.warehouse_id]
        assert report.load_percent < 90
        for item in order.items:
            assert report.stock[item.item_id] >= sum(item.item_id == other.item_id for other in order.items)


@settings(max_examples=60, deadline=None)
@given(payment=payments, script=answers("payment-retrier"))
def test_a_charge_is_repeated_only_within_bounds(payment: PaymentFailed, script: list[Answer]) -> None:
    decided = check(PAYMENT_RETRIER, situation(PAYMENT_RETRIER, payment), script)
    action = decided.chosen.proposal.action
    if decided.resolution is Resolution.DECIDED and isinstance(action, RetryCharge):
        assert payment.failure_code in {"insufficient_funds", "processor_timeout"}
        assert payment.attempt < 4
        assert 5 <= action.after_minutes <= 20_160


@settings(max_examples=60, deadline=None)
@given(dispute=disputes, script=answers("dispute-mediator"))
def test_a_refund_is_never_more_than_was_disputed(dispute: DisputeOpened, script: list[Answer]) -> None:
    decided = check(DISPUTE_MEDIATOR, situation(DISPUTE_MEDIATOR, dispute), script)
    action = decided.chosen.proposal.action
    if decided.resolution is not Resolution.DENIED and isinstance(action, RefundBuyer | PartialRefund):
        assert 0 < action.amount_minor <= dispute.amount.amount_minor
        assert action.currency == dispute.amount.currency
        if decided.resolution is Resolution.DECIDED:
            assert action.amount_minor <= 50_000


TOOLS = (counter(), Tool("other", "Never answers", Asked, Counted, counting))
wishes = st.builds(
    ToolCall,
    tool=st.sampled_from(["count", "other", "none", ""]),
    arguments=st.builds(Asked, thing=st.text(max_size=3))
    | st.builds(
        RawArguments,
        given=st.dictionaries(st.sampled_from(["thing", "x"]), st.integers(-9, 9) | st.text(max_size=3)),
    ),
)
tool_answers = st.sampled_from(
    [
        ToolResult("count", Asked(thing="a"), Counted(count=1)),
        ToolResult("none", Asked(thing="a"), failed="gone"),
        ToolResult("count", Asked(thing="a"), Counted.model_construct(count="1")),  # type: ignore[arg-type]
        None,
    ]
)


@settings(max_examples=200, deadline=None)
@given(payment=payments, data=st.data())
def test_with_tools_it_ends_within_its_bounds_and_decides_only_what_was_judged(
    payment: PaymentFailed, data: st.DataObject
) -> None:
    agent = replace(PAYMENT_RETRIER, tools=TOOLS, fallback=lambda _situation: AskForNewMethod())
    seen = situation(PAYMENT_RETRIER, payment)
    own = ACTIONS["payment-retrier"].map(
        lambda action: Proposal(action, "x", data.draw(st.none() | percents))
    )
    given_ = st.one_of(own, own, wishes, wishes, st.sampled_from([None, ProposalInvalid("x"), "nonsense"]))
    steps = decide(agent, counted(seen), seen)
    asks = uses = 0
    try:
        step = next(steps)
        while True:
            if isinstance(step, Use):
                uses += 1
                assert step.tool in TOOLS
                assert type(step.arguments) is step.tool.arguments
                step = steps.send(data.draw(tool_answers))
            else:
                asks += 1
                assert len(step.request.tools) <= MAX_TOOL_CALLS
                for result in step.request.tools:
                    assert (result.result is None) == (result.failed is not None)
                step = steps.send(data.draw(given_))
    except StopIteration as stop:
        decided: Decided = stop.value
    assert asks <= MAX_PROPOSALS + MAX_TOOL_CALLS
    assert uses <= len(decided.tools) <= MAX_TOOL_CALLS
    assert 1 <= len(decided.proposals) <= MAX_PROPOSALS + 1
    assert decided.chosen in decided.proposals
    assert decided.resolution is RESOLUTION_OF[decided.chosen.judgement.verdict]
    assert all(
        shop_engine().rejudge(one.judgement.normalised).verdict is one.judgement.verdict
        for one in decided.proposals
    )


def test_the_scripts_hold_what_a_reasoner_may_do() -> None:
    """The properties mean something: an insisting reasoner does get its allowed action through."""
    payment = PaymentFailed(
        payment_id="pay-1",
        order_id="o-1",
        customer_id="c-1",
        payment_method_id="pm-1",
        amount=euros(100),
        failure_code="insufficient_funds",
        attempt=1,
        fraud_score=0,
    )
    script: list[Answer] = [Proposal(action=RetryCharge(after_minutes=1440), rationale="x")]
    decided = check(PAYMENT_RETRIER, situation(PAYMENT_RETRIER, payment), script)
    assert decided.resolution is Resolution.DECIDED
    assert issubclass(ProposalInvalid, ReasonerError)
