"""The payment retrier: when, how and whether a failed charge is tried again.

Rules upheld here: the table below says what a failure code suggests, never what is allowed; which codes may
be tried again, how soon and how often stands in `policies/shop/retries.cedar`; an unknown code suggests
nothing. The customer's profile weighs in signals only. Not here: charging, and scheduling the charge (who
subscribes does both).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from jurat.agents.agent import Action, Agent, Candidate, Judged, Lookup, Signal, Situation
from jurat.agents.shop_views import CUSTOMERS, profile_of, standing_of
from jurat.policies.request import Entity, Facts
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Identifier, MinorUnits, Percent

LATER = 9
"""Points by which a longer wait gains with each attempt that failed: what did not pass in a day may pass in a week."""

HOUR = 60
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Advice:
    """What a failure code suggests, in points for each way to go on.

    Attributes:
        waits: minutes after which a retry is worth considering, the soonest first, with the points of each.
        retry: points for trying the same method again.
        new_method: points for asking the customer for another one.
        give_up: points for leaving it.
    """

    waits: tuple[tuple[int, int], ...]
    retry: int
    new_method: int
    give_up: int


TECHNICAL = Advice(
    waits=((1, -5), (15, 0), (2 * HOUR, -8), (12 * HOUR, -16)), retry=80, new_method=20, give_up=-40
)
FUNDS = Advice(
    waits=((4 * HOUR, -10), (DAY, 0), (3 * DAY, -8), (9 * DAY, -16)), retry=60, new_method=40, give_up=-10
)
REFUSED = Advice(
    waits=((2 * HOUR, -5), (12 * HOUR, 0), (2 * DAY, -4), (5 * DAY, -10)), retry=30, new_method=32, give_up=0
)
METHOD = Advice(waits=((DAY, 0),), retry=-60, new_method=80, give_up=-10)
FRAUD = Advice(waits=((DAY, 0),), retry=-80, new_method=10, give_up=30)
UNKNOWN = Advice(waits=((DAY, 0),), retry=10, new_method=30, give_up=0)

ADVICE = MappingProxyType(
    {
        "processor_timeout": TECHNICAL,
        "processor_unavailable": TECHNICAL,
        "issuer_unavailable": TECHNICAL,
        "network_error": TECHNICAL,
        "insufficient_funds": FUNDS,
        "limit_exceeded": FUNDS,
        "do_not_honor": REFUSED,
        "generic_decline": REFUSED,
        "card_declined": REFUSED,
        "card_expired": METHOD,
        "expired_card": METHOD,
        "invalid_cvc": METHOD,
        "incorrect_cvc": METHOD,
        "incorrect_number": METHOD,
        "authentication_required": METHOD,
        "suspected_fraud": FRAUD,
        "lost_or_stolen": FRAUD,
        "lost_card": FRAUD,
        "stolen_card": FRAUD,
        "pickup_card": FRAUD,
    }
)
"""The codes that the agent knows something about; all others count as `UNKNOWN`."""


COLLECTED, AVOIDED, SPARED = "collected", "fraud_avoided", "customer_spared"
"""The goals of the bundle's objectives; giving up by itself serves none, nor does a customer's standing."""


class FailedPayment(Entity):
    """The payment that failed."""

    entity_type: ClassVar[str] = "Payment"

    order_id: Identifier
    customer_id: Identifier
    amount_minor: MinorUnits
    currency: str
    failure_code: str
    attempt: Count
    fraud_score: Percent


class RetryFacts(Facts):
    """How long the retry waits."""

    after_minutes: Count


class NoFacts(Facts):
    """All that matters is the payment itself."""


class RetryCharge(Action):
    """Charge the same method again."""

    action_name: ClassVar[str] = "retry_charge"
    title: ClassVar[str] = "Charge the same method again later"
    resource: ClassVar[type[Entity]] = FailedPayment
    facts: ClassVar[type[Facts]] = RetryFacts

    after_minutes: Count


class AskForNewMethod(Action):
    """Ask the customer for another way to pay."""

    action_name: ClassVar[str] = "ask_for_new_method"
    title: ClassVar[str] = "Ask the customer for another payment method"
    resource: ClassVar[type[Entity]] = FailedPayment
    facts: ClassVar[type[Facts]] = NoFacts


class GiveUp(Action):
    """Stop trying."""

    action_name: ClassVar[str] = "give_up"
    title: ClassVar[str] = "Stop trying to collect this payment"
    resource: ClassVar[type[Entity]] = FailedPayment
    facts: ClassVar[type[Facts]] = NoFacts


def judged(situation: Situation[PaymentFailed], action: Action) -> Judged:
    """State the facts by which policies judge what to do about a failed charge."""
    if isinstance(action, RetryCharge):
        return Judged(_payment(situation.event), RetryFacts(after_minutes=action.after_minutes))
    if isinstance(action, AskForNewMethod | GiveUp):
        return Judged(_payment(situation.event), NoFacts())
    raise ConfigurationError(
        f"payment-retrier got the action {type(action).__name__}, expected one of its own"
    )


def candidates(situation: Situation[PaymentFailed]) -> tuple[Candidate, ...]:
    """Score a retry at each hopeful moment, asking for another method, and giving up."""
    payment = situation.event
    advice = ADVICE.get(payment.failure_code, UNKNOWN)
    standing = standing_of(profile_of(situation, payment.customer_id))
    tries = Signal("earlier attempts", -8 * min(payment.attempt - 1, 10), SPARED)
    fraud = Signal("fraud score", -payment.fraud_score // 2, AVOIDED)
    worth = Signal("amount", min(30, max(0, payment.amount.amount_minor) // 2_000), COLLECTED)
    known = Signal("customer standing", standing)
    retries = [
        Candidate(
            RetryCharge(after_minutes=minutes),
            (
                Signal(payment.failure_code, advice.retry, COLLECTED),
                Signal("moment", points + LATER * min(place, payment.attempt - 1), COLLECTED),
                Signal("loyal customer waits", max(0, standing) if minutes == advice.waits[0][0] else 0),
                tries,
                fraud,
                worth,
                known,
            ),
        )
        for place, (minutes, points) in enumerate(advice.waits)
    ]
    ask = Candidate(
        AskForNewMethod(),
        (
            Signal(payment.failure_code, advice.new_method, COLLECTED),
            Signal("bothers the customer", -10, SPARED),
            fraud,
            worth,
            known,
        ),
    )
    leave = Candidate(
        GiveUp(),
        (
            Signal(payment.failure_code, advice.give_up),
            Signal("fraud score", payment.fraud_score // 2, AVOIDED),
            Signal("amount", -worth.points, COLLECTED),
            Signal("customer standing", -standing),
        ),
    )
    return (*retries, ask, leave)


def fallback(_situation: Situation[PaymentFailed]) -> Action:
    """Ask the customer: it costs no charge and can be undone."""
    return AskForNewMethod()


def _payment(payment: PaymentFailed) -> FailedPayment:
    return FailedPayment(
        id=payment.payment_id,
        order_id=payment.order_id,
        customer_id=payment.customer_id,
        amount_minor=payment.amount.amount_minor,
        currency=payment.amount.currency,
        failure_code=payment.failure_code,
        attempt=payment.attempt,
        fraud_score=payment.fraud_score,
    )


PAYMENT_RETRIER: Agent[PaymentFailed] = Agent(
    name="payment-retrier",
    listens={"commerce.payments": (PaymentFailed,)},
    subject=lambda payment: payment.payment_id,
    actions=(RetryCharge, AskForNewMethod, GiveUp),
    bundle="shop",
    judged=judged,
    candidates=candidates,
    views=(CUSTOMERS,),
    reads=lambda payment: (Lookup(CUSTOMERS.name, payment.customer_id),),
    fallback=fallback,
)
