"""What a reasoner hands over, made sure of: an action of the agent with the values of its fields, or no proposal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.after_sales_actions import CancelPendingOrder, parse
from jurat.agents.dispute_actions import RefundBuyer, RequestEvidence
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.proposals import checked
from jurat.agents.reasoner import Proposal
from jurat.schemas.commerce import AfterSalesRequested
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ProposalInvalid
from tests.shop import Insisting, run, situation
from tests.unit.test_after_sales import ENGINE, order, shop
from tests.unit.test_policies_backtest import dispute

REFUND = RefundBuyer(amount_minor=1_000, currency="EUR")
FINE = Proposal(REFUND, "because", 80, ("release_to_seller",))


class Better(RefundBuyer):
    """The same with more trust in itself."""


def smuggling(**fields: object) -> RefundBuyer:
    made = RefundBuyer.model_construct(**REFUND.__dict__)
    made.__dict__.update(fields)
    return made


def test_a_well_formed_proposal_is_made_anew() -> None:
    class Text(str):
        __slots__ = ()

    given = Proposal(
        RefundBuyer.model_construct(amount_minor=1_000, currency=Text("EUR")), Text("because"), 80
    )
    found = checked(DISPUTE_MEDIATOR, given)
    assert found == replace(FINE, alternatives=())
    assert found.action is not given.action
    assert isinstance(found.action, RefundBuyer)
    assert type(found.action.currency) is type(found.rationale) is str


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("refund everything", "got a str, expected a Proposal"),
        (REFUND, "got a RefundBuyer, expected a Proposal"),
        (
            replace(FINE, action=None),
            "got a proposal of type NoneType, expected an action of dispute-mediator",
        ),  # type: ignore[arg-type]
        (replace(FINE, action=Better(amount_minor=1, currency="EUR")), "of type Better"),
        (replace(FINE, action=CancelPendingOrder(order_id="o", reason="x")), "of type CancelPendingOrder"),
        (
            replace(FINE, action=RefundBuyer.model_construct(currency="EUR")),
            "amount_minor is refused: Field required",
        ),
        (
            replace(FINE, action=smuggling(amount_minor=2**63)),
            "amount_minor is refused: Input should be less than",
        ),
        (
            replace(FINE, action=smuggling(amount_minor=10.0)),
            "amount_minor is refused: Input should be a valid integer",
        ),
        (
            replace(FINE, action=smuggling(amount_minor=True)),
            "amount_minor is refused: Input should be a valid integer",
        ),
        (replace(FINE, action=smuggling(currency="EU\uff32")), "currency is refused: String should match"),
        (replace(FINE, action=smuggling(currency="EUR\n")), "currency is refused: String should match"),
        (replace(FINE, action=smuggling(approvals=["risk"])), "approvals is refused: Extra inputs"),
        (
            replace(FINE, action=smuggling(action_name="request_evidence")),
            "action_name is refused: Extra inputs",
        ),
        (replace(FINE, rationale=None), "rationale is refused: Input should be a valid string"),  # type: ignore[arg-type]
        (replace(FINE, rationale="\ud800"), "rationale is refused: .*surrogates not allowed"),
        (replace(FINE, confidence=101), "confidence is refused: Input should be less than or equal to 100"),
        (replace(FINE, confidence=True), "confidence is refused: Input should be a valid integer"),
        (replace(FINE, alternatives=None), "alternatives is refused: Input should be a valid tuple"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_proposal_says_why_and_quotes_nothing(given: Any, said: str) -> None:
    with pytest.raises(ProposalInvalid, match=said) as caught:
        checked(DISPUTE_MEDIATOR, given)
    assert "9223372036854775808" not in str(caught.value)


def test_a_malformed_proposal_leads_to_the_fallback_and_not_to_a_rejected_input() -> None:
    hostile = Insisting(smuggling(amount_minor=2**63, approved=True))
    decided = run(DISPUTE_MEDIATOR, situation(DISPUTE_MEDIATOR, dispute(1, 1_000)), reasoner=hostile)
    assert isinstance(decided.chosen.proposal.action, RequestEvidence)
    assert decided.chosen.judgement.verdict is Verdict.ALLOW
    assert "malformed proposal of refund_buyer" in decided.chosen.proposal.rationale


def test_a_failure_that_quotes_what_is_no_unicode_leads_to_a_fallback_that_can_be_written() -> None:
    class Broken:
        name = "broken"
        deterministic = True

        async def propose(self, _request: object) -> Proposal:
            raise ProposalInvalid("got \ud800")

    decided = run(DISPUTE_MEDIATOR, situation(DISPUTE_MEDIATOR, dispute(1, 1_000)), reasoner=Broken())
    assert decided.chosen.proposal.rationale == "fallback: got \\ud800"


def test_nothing_is_proposed_in_place_of_what_a_customer_asks_for() -> None:
    """It would be theirs to ask for, so that no policy refuses it: but they did not."""
    driver = shop(order("W1"))
    args = {"order_id": "W1", "reason": "no longer needed"}
    event = AfterSalesRequested(request_id="r", customer_id="ann", action="cancel_pending_order", args=args)
    asked = parse(event)
    assert ENGINE.bundle.name == AFTER_SALES.bundle
    for action in (asked.model_copy(update={"reason": "ordered by mistake"}), parse(_return())):
        driver.reasoner = Insisting(action)
        with pytest.raises(
            ProposalInvalid, match="expected the cancel_pending_order that the customer asks for"
        ):
            driver.decide(event)
    driver.reasoner = Insisting(asked)
    assert driver.decide(event).chosen.judgement.policies == ("cancel.permit",)


def _return() -> AfterSalesRequested:
    args = {"order_id": "W1", "item_ids": ["red"], "payment_method_id": "card_ann"}
    return AfterSalesRequested(
        request_id="r", customer_id="ann", action="return_delivered_order_items", args=args
    )
