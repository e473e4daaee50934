"""Why simulated charges fail, and when another attempt would succeed.

Rules upheld here: the cause is drawn first and the code follows from it, as it does from an issuer: one code
may have several causes. Whether an attempt succeeds is a function of its time alone (the windows), so that
any moment that an agent may choose can be scored. A later attempt that the shop makes itself is only ever one
that fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jurat.schemas.commerce import PaymentMethod, PaymentMethodKind
from jurat.schemas.simulation import FailureCause, RetryOutcome, RetryWindow
from jurat.streams.simulator_customers import Customer, Honesty
from jurat.streams.simulator_draws import Draws

PAYDAYS = 3
"""Paydays that a window is given for: after three months the charge is written off."""

MAX_SHOP_ATTEMPTS = 3
"""Attempts that the shop makes itself before it leaves a charge to others."""

_CARD_CODES = (
    ("insufficient_funds", 34),
    ("do_not_honor", 18),
    ("card_expired", 14),
    ("processor_timeout", 13),
    ("invalid_cvc", 9),
    ("suspected_fraud", 8),
    ("lost_or_stolen", 4),
)
_ACCOUNT_CODES = (
    ("insufficient_funds", 45),
    ("do_not_honor", 20),
    ("processor_timeout", 25),
    ("suspected_fraud", 10),
)
_BALANCE_CODES = (("processor_timeout", 1),)
_CODES = {
    PaymentMethodKind.CREDIT_CARD: _CARD_CODES,
    PaymentMethodKind.PAYPAL: _ACCOUNT_CODES,
    PaymentMethodKind.GIFT_CARD: _BALANCE_CODES,
}
_THIEF_CODES = (
    ("suspected_fraud", 36),
    ("do_not_honor", 26),
    ("lost_or_stolen", 18),
    ("invalid_cvc", 14),
    ("insufficient_funds", 6),
)

_FAILS_PER_MILLE = 58
_FAILS_TIGHT_PER_MILLE = 135
_FAILS_THIEF_PER_MILLE = 420


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed charge and the truth about it.

    Attributes:
        code: what the processor says.
        later_attempts: the times of the shop's own further attempts, all of which fail.
    """

    code: str
    cause: FailureCause
    windows: tuple[RetryWindow, ...]
    already_charged: bool
    later_attempts: tuple[datetime, ...]

    def outcome(self, payment_id: str) -> RetryOutcome:
        """The truth as an event."""
        return RetryOutcome(
            payment_id=payment_id,
            cause=self.cause,
            windows=self.windows,
            fraudulent=self.cause is FailureCause.FRAUD,
            already_charged=self.already_charged,
        )


class Payments:
    """Draws what becomes of charges.

    Args:
        seed: the simulation's seed.
    """

    def __init__(self, seed: int) -> None:
        self._draws = Draws(seed, "payments")
        self._scores = Draws(seed, "fraud-scores")

    def choose_method(self, customer: Customer, total_minor: int) -> PaymentMethod:
        """Choose how a customer pays; a gift card pays whole orders only, and its balance goes down."""
        method = self._draws.pick(customer.methods)
        if method.kind is PaymentMethodKind.GIFT_CARD:
            if customer.gift_minor < total_minor:
                return customer.methods[0]
            customer.gift_minor -= total_minor
        return method

    def fraud_score(self, customer: Customer) -> int:
        """Score a charge as a risk engine would: mostly right, with false alarms and careful thieves."""
        draws = self._scores
        if customer.honesty is Honesty.THIEF:
            return (
                draws.between(8, 40) if draws.happens(180) else draws.between(38, 68) + draws.between(0, 30)
            )
        return draws.between(42, 82) if draws.happens(55) else draws.between(0, 18) + draws.between(0, 18)

    def charge(self, customer: Customer, method: PaymentMethod, at: datetime) -> Failure | None:
        """Charge at a time.

        Returns:
            None when the money came, else what went wrong.
        """
        draws = self._draws
        thief = customer.honesty is Honesty.THIEF and method.kind is not PaymentMethodKind.GIFT_CARD
        fails = _FAILS_PER_MILLE
        if thief:
            fails = _FAILS_THIEF_PER_MILLE
        elif customer.tight:
            fails = _FAILS_TIGHT_PER_MILLE
        if not draws.happens(fails):
            return None
        code = draws.weighted(_THIEF_CODES if thief else _CODES[method.kind])
        cause = FailureCause.FRAUD if thief else _draw_cause(draws, code, customer)
        windows = _draw_windows(draws, cause, customer.payday, at)
        charged = cause is FailureCause.PROCESSOR_OUTAGE and draws.happens(120)
        return Failure(code, cause, windows, charged, _draw_attempts(draws, windows, at))


def _draw_cause(draws: Draws, code: str, customer: Customer) -> FailureCause:
    soft, hard = FailureCause.ISSUER_SOFT_DECLINE, FailureCause.ISSUER_HARD_DECLINE
    answers, gone = FailureCause.AWAITING_CUSTOMER, FailureCause.CUSTOMER_GONE
    match code:
        case "insufficient_funds":
            arrives = 760 if customer.tight else 860
            return FailureCause.AWAITING_FUNDS if draws.happens(arrives) else FailureCause.NO_FUNDS
        case "processor_timeout":
            return FailureCause.PROCESSOR_OUTAGE if draws.happens(930) else soft
        case "do_not_honor":
            return soft if draws.happens(550) else hard
        case "suspected_fraud":
            return answers if draws.happens(640) else gone
        case "card_expired":
            return answers if draws.happens(380) else gone
        case "invalid_cvc":
            return answers if draws.happens(300) else gone
        case _:
            return hard


def _draw_windows(draws: Draws, cause: FailureCause, payday: int, at: datetime) -> tuple[RetryWindow, ...]:
    match cause:
        case FailureCause.AWAITING_FUNDS:
            return _draw_payday_windows(draws, payday, at)
        case FailureCause.ISSUER_SOFT_DECLINE:
            opens_at = at + timedelta(hours=draws.between(6, 72))
            return (
                RetryWindow(opens_at=opens_at, closes_at=opens_at + timedelta(days=draws.between(4, 20))),
            )
        case FailureCause.AWAITING_CUSTOMER:
            return (RetryWindow(opens_at=at + timedelta(minutes=30 + draws.wait(2400))),)
        case FailureCause.PROCESSOR_OUTAGE:
            return (RetryWindow(opens_at=at + timedelta(minutes=1 + draws.wait(35))),)
        case FailureCause.FRAUD if draws.happens(150):
            opens_at = at + timedelta(minutes=draws.between(1, 10))
            return (
                RetryWindow(opens_at=opens_at, closes_at=opens_at + timedelta(hours=draws.between(2, 48))),
            )
        case _:
            return ()


def _draw_payday_windows(draws: Draws, payday: int, at: datetime) -> tuple[RetryWindow, ...]:
    windows: list[RetryWindow] = []
    day = at.replace(day=payday, hour=5, minute=0, second=0, microsecond=0)
    while len(windows) < PAYDAYS:
        if day > at:
            opens_at = day + timedelta(minutes=draws.between(0, 240))
            windows.append(
                RetryWindow(opens_at=opens_at, closes_at=opens_at + timedelta(days=draws.between(3, 9)))
            )
        day = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
    return tuple(windows)


def _draw_attempts(draws: Draws, windows: tuple[RetryWindow, ...], at: datetime) -> tuple[datetime, ...]:
    attempts: list[datetime] = []
    while len(attempts) < MAX_SHOP_ATTEMPTS - 1 and draws.happens(280):
        at += timedelta(hours=draws.between(4, 48), minutes=draws.below(60))
        if any(w.opens_at <= at and (w.closes_at is None or at < w.closes_at) for w in windows):
            break
        attempts.append(at)
    return tuple(attempts)
