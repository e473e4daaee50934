"""The case of a failed renewal: what happened in it so far, as the dunning agent's state.

Rules upheld here: a case is changed by events as they are read, by actions that were decided, and by asking people,
nothing else; all are pure. An event counts once, though it is looked at again when people answered. An account has one
case at a time; a second invoice that fails takes its place only where a person allowed that
(`policies/subscriptions/dunning.cedar`). Not here: what to do (`dunning.py`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from jurat.agents.agent import Situation
from jurat.schemas.model import Count, Event, Identifier, MinorUnits, Model, Timestamp
from jurat.schemas.subscriptions import CardUpdated, RenewalFailed, RenewalRecovered
from jurat.schemas.timers import TimerFired

RESULT: Final = "result"
"""The timer that fires where nobody said what became of a charge: it counts as one that failed."""

MAX_RECOVERED: Final = 8
"""Payments kept of invoices without a case: what is told of them late is told within days, and an account has one
renewal a month."""


class Ended(StrEnum):
    """How a case ended."""

    RECOVERED = "recovered"
    DOWNGRADED = "downgraded"
    CANCELLED = "cancelled"
    HANDED_OVER = "handed_over"


class DunningCase(Model):
    """One failed renewal of an account.

    Attributes:
        failures: charges of this invoice that failed, or of which nobody said what became of them.
        opened_at: when the first one failed.
        asks: how often the customer was asked for another card.
        grace_days: days of grace given so far.
        grace_until: until when nothing is taken away; None where no grace was given.
        new_card: whether the customer gave another card since the last charge.
        paid: whether the invoice was paid.
        paid_at: when; None where it was not.
        ended: None while the case is open.
        crowded: whether another invoice failed while this account's last one was still open.
        counted_at: when that failure happened about which people were last asked; None where they never were. Failures
            until then are counted.
    """

    invoice_id: Identifier
    amount_minor: MinorUnits
    currency: str
    failure_code: str
    failures: Count
    opened_at: Timestamp
    tenure_months: Count
    cheaper_plan: bool
    asks: Count = 0
    grace_days: Count = 0
    grace_until: Timestamp | None = None
    new_card: bool = False
    paid: bool = False
    paid_at: Timestamp | None = None
    ended: Ended | None = None
    crowded: bool = False
    counted_at: Timestamp | None = None

    @property
    def owed(self) -> bool:
        """Whether there is something to collect."""
        return not self.paid and self.ended is None


class Recovered(Model):
    """An invoice that was paid while it was not the account's case; its failure may be told later, or await people."""

    invoice_id: Identifier
    paid_at: Timestamp


class DunningDesk(Model):
    """The agent's state for one account; without a case where none of its renewals ever failed."""

    case: DunningCase | None = None
    recovered: Annotated[tuple[Recovered, ...], Field(max_length=MAX_RECOVERED)] = ()


def case_of(situation: Situation[Any]) -> DunningCase | None:
    """The case as it is with the present event; None where the account has none."""
    return desk_of(situation).case


def desk_of(situation: Situation[Any]) -> DunningDesk:
    """All that is known of the account with the present event."""
    return situation.once(_seen)


def asked(situation: Situation[Any]) -> DunningDesk:
    """All that is known of the account while people are asked about the present event.

    A second invoice does not take the place of the first before they agreed; that there is one is known.
    """
    before, desk = _before(situation), desk_of(situation)
    case, held = desk.case, before.case
    if case is None:
        return desk
    if case.crowded and held is not None and held.invoice_id != case.invoice_id:
        return desk.model_copy(update={"case": held.model_copy(update={"crowded": True})})
    if not _is_failure(situation.event):
        return desk
    counted = case.model_copy(update={"counted_at": _at(situation)})
    return desk.model_copy(update={"case": counted})


def _is_failure(event: Event) -> bool:
    """Whether an event counts as a failed charge."""
    return isinstance(event, RenewalFailed) or (isinstance(event, TimerFired) and event.name == RESULT)


def _seen(situation: Situation[Any]) -> DunningDesk:
    before, event, at = _before(situation), situation.event, _at(situation)
    case, recovered = before.case, before.recovered
    if isinstance(event, RenewalRecovered) and (case is None or case.invoice_id != event.invoice_id):
        others = [one for one in recovered if one.invoice_id != event.invoice_id]
        paid = Recovered(invoice_id=event.invoice_id, paid_at=at)
        return DunningDesk(case=case, recovered=(*others, paid)[-MAX_RECOVERED:])
    if isinstance(event, RenewalFailed) and any(
        one.invoice_id == event.invoice_id and at <= one.paid_at for one in recovered
    ):
        return before  # it was paid since
    return DunningDesk(case=after_event(case, event, at), recovered=recovered)


def _before(situation: Situation[Any]) -> DunningDesk:
    return situation.state if isinstance(situation.state, DunningDesk) else DunningDesk()


def _at(situation: Situation[Any]) -> datetime:
    return situation.occurred_at or situation.now


def after_event(case: DunningCase | None, event: Event, at: datetime) -> DunningCase | None:
    """The case after an event.

    Args:
        case: before it; None where the account has none.
        event: an event of the account.
        at: when it happened.
    """
    if isinstance(event, RenewalFailed):
        return _failed(case, event, at)
    if case is None:
        return None
    if isinstance(event, RenewalRecovered) and event.invoice_id == case.invoice_id:
        return case.model_copy(update={"paid": True, "paid_at": at})
    if isinstance(event, CardUpdated):
        return case.model_copy(update={"new_card": True})
    if _is_failure(event) and case.owed and not _counted(case, at):
        return case.model_copy(update={"failures": case.failures + 1})
    return case


def _failed(case: DunningCase | None, event: RenewalFailed, at: datetime) -> DunningCase:
    if case is not None and case.invoice_id == event.invoice_id and case.owed:
        if _counted(case, at):
            return case
        return case.model_copy(
            update={
                "amount_minor": event.amount.amount_minor,
                "currency": event.amount.currency,
                "failure_code": event.failure_code,
                "failures": case.failures + 1,
                "new_card": False,
            }
        )
    if case is not None and case.invoice_id == event.invoice_id and _over(case, at):
        return case
    return DunningCase(
        invoice_id=event.invoice_id,
        amount_minor=event.amount.amount_minor,
        currency=event.amount.currency,
        failure_code=event.failure_code,
        failures=1,
        opened_at=at,
        tenure_months=event.tenure_months,
        cheaper_plan=event.cheaper_plan,
        crowded=case is not None and case.owed,
    )


def _counted(case: DunningCase, failed_at: datetime) -> bool:
    """Whether a failure was counted when people were asked about it."""
    return case.counted_at is not None and failed_at <= case.counted_at


def _over(case: DunningCase, failed_at: datetime) -> bool:
    """Whether a failure opens a case no more: it was paid since, or the case went to a person or ended otherwise.

    A payment that fails after it was made, as a returned debit does, is owed again.
    """
    if case.ended not in (None, Ended.RECOVERED):
        return True
    return case.paid_at is not None and failed_at <= case.paid_at
