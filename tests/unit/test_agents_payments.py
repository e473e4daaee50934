"""The payment retrier on realistic failures, under the shipped policies."""

from __future__ import annotations

from typing import Any

import pytest

from jurat.agents.agent import Action, Situation
from jurat.agents.fulfilment_router import Backorder
from jurat.agents.payment_retrier import ADVICE, PAYMENT_RETRIER, AskForNewMethod, GiveUp, RetryCharge
from jurat.schemas.commerce import PaymentCaptured, PaymentFailed, PaymentRefunded
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Event
from tests.shop import Down, Insisting, euros, profile, run, shop_engine, situation, told


def failed(
    code: str = "insufficient_funds", *, amount: int = 12_900, attempt: int = 1, fraud: int = 10
) -> PaymentFailed:
    return PaymentFailed(
        payment_id="pay-1",
        order_id="o-1",
        customer_id="c-1",
        payment_method_id="pm-1",
        amount=euros(amount),
        failure_code=code,
        attempt=attempt,
        fraud_score=fraud,
    )


def ask(event: PaymentFailed, *known: Event) -> Situation[PaymentFailed]:
    return situation(PAYMENT_RETRIER, event, *known)


@pytest.mark.parametrize(
    ("event", "action", "policies"),
    [
        (failed("insufficient_funds"), RetryCharge(after_minutes=1440), ("retry.grant",)),
        (failed("processor_timeout"), RetryCharge(after_minutes=15), ("retry.grant",)),
        (failed("do_not_honor"), RetryCharge(after_minutes=720), ("retry.grant",)),
        (failed("do_not_honor", attempt=3), RetryCharge(after_minutes=2_880), ("retry.grant",)),
        (failed("card_expired"), AskForNewMethod(), ("method.grant",)),
        (failed("moon_phase"), AskForNewMethod(), ("method.grant",)),
        (failed("suspected_fraud", fraud=40), GiveUp(), ("give-up.grant",)),
    ],
)
def test_the_usual_failures(event: PaymentFailed, action: Action, policies: tuple[str, ...]) -> None:
    decided = run(PAYMENT_RETRIER, ask(event))
    assert told(decided) == ((action.action_name, "allow", policies),)
    assert decided.chosen.proposal.action == action


def test_a_loyal_customer_is_tried_too_soon_and_then_in_time() -> None:
    decided = run(PAYMENT_RETRIER, ask(failed("insufficient_funds"), profile(orders=18)))
    assert told(decided) == (
        ("retry_charge", "deny", ("retry.cool-down-funds",)),
        ("retry_charge", "allow", ("retry.grant",)),
    )
    assert [judged.proposal.action for judged in decided.proposals] == [
        RetryCharge(after_minutes=240),
        RetryCharge(after_minutes=1440),
    ]


def test_the_fifth_charge_is_refused_and_the_customer_asked() -> None:
    decided = run(PAYMENT_RETRIER, ask(failed("processor_timeout", attempt=4)))
    assert told(decided)[0] == ("retry_charge", "deny", ("retry.at-most-four",))
    assert told(decided)[-1] == ("ask_for_new_method", "allow", ("method.grant",))


def test_a_large_suspicious_retry_is_for_the_fraud_desk() -> None:
    decided = run(PAYMENT_RETRIER, ask(failed("processor_timeout", amount=40_000, fraud=55)))
    assert told(decided) == (("retry_charge", "escalate", ("retry.large-and-suspicious",)),)
    assert decided.chosen.judgement.approvers == ("fraud-desk",)


def test_giving_up_a_fortune_is_for_the_payments_lead() -> None:
    decided = run(
        PAYMENT_RETRIER,
        ask(failed("suspected_fraud", amount=120_000, fraud=70)),
        reasoner=Insisting(GiveUp()),
    )
    assert told(decided) == (("give_up", "escalate", ("give-up.large",)),)


def test_a_frozen_payment_is_denied_to_the_end() -> None:
    decided = run(PAYMENT_RETRIER, ask(failed("processor_timeout", fraud=92)))
    assert decided.resolution == "denied"
    assert all("payment.frozen" in judged.judgement.policies for judged in decided.proposals)
    assert all(verdict == "deny" for _, verdict, _ in told(decided))


@pytest.mark.parametrize(
    "code", ["suspected_fraud", "lost_or_stolen", "lost_card", "stolen_card", "pickup_card"]
)
def test_no_reasoner_charges_a_stolen_card(code: str) -> None:
    decided = run(
        PAYMENT_RETRIER, ask(failed(code, fraud=0)), reasoner=Insisting(RetryCharge(after_minutes=2_000))
    )
    assert told(decided)[0] == ("retry_charge", "deny", ("retry.never-after-fraud",))
    assert decided.chosen.proposal.action == AskForNewMethod()


def test_a_retry_of_an_unknown_code_has_no_permit() -> None:
    decided = run(
        PAYMENT_RETRIER, ask(failed("moon_phase")), reasoner=Insisting(RetryCharge(after_minutes=2_000))
    )
    assert told(decided)[0] == ("retry_charge", "deny", ())


@pytest.mark.parametrize("minutes", [20_161, 2**53 - 1])
def test_a_retry_in_the_far_future_is_refused(minutes: int) -> None:
    decided = run(PAYMENT_RETRIER, ask(failed()), reasoner=Insisting(RetryCharge(after_minutes=minutes)))
    assert told(decided)[0] == ("retry_charge", "deny", ("retry.within-two-weeks",))


def test_a_reasoner_that_is_down_leaves_the_question_to_the_customer() -> None:
    decided = run(PAYMENT_RETRIER, ask(failed()), reasoner=Down())
    assert told(decided) == (("ask_for_new_method", "allow", ("method.grant",)),)


def test_every_known_code_is_met_by_a_policy() -> None:
    # A code that signals know and policies do not would be denied without a reason that helps.
    for code in ADVICE:
        decided = run(
            PAYMENT_RETRIER, ask(failed(code)), reasoner=Insisting(RetryCharge(after_minutes=2_000))
        )
        assert told(decided)[0][2], code


def test_the_profile_weighs_in_signals_and_never_in_facts() -> None:
    stranger, loyal = ask(failed()), ask(failed(), profile(orders=20))
    for action in (RetryCharge(after_minutes=1440), AskForNewMethod(), GiveUp()):
        assert PAYMENT_RETRIER.judged(stranger, action) == PAYMENT_RETRIER.judged(loyal, action)
    scores: list[dict[Any, int]] = [
        {candidate.action: candidate.score for candidate in PAYMENT_RETRIER.candidates(seen)}
        for seen in (stranger, loyal)
    ]
    assert scores[1][RetryCharge(after_minutes=1440)] == scores[0][RetryCharge(after_minutes=1440)] + 20
    assert scores[1][GiveUp()] == scores[0][GiveUp()] - 20


def test_money_that_came_or_went_back_is_not_its_business() -> None:
    values: dict[str, Any] = failed().model_dump(exclude={"failure_code", "attempt", "fraud_score", "amount"})
    assert PAYMENT_RETRIER.decides(failed())
    assert not PAYMENT_RETRIER.decides(PaymentCaptured(**values, amount=euros(1)))
    assert not PAYMENT_RETRIER.decides(PaymentRefunded(**values, amount=euros(1)))


def test_an_action_of_another_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got the action Backorder"):
        PAYMENT_RETRIER.judged(ask(failed()), Backorder())


def test_every_action_is_declared_in_the_bundle() -> None:
    assert {action.action_name for action in PAYMENT_RETRIER.actions} <= set(shop_engine().bundle.actions)
