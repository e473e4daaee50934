"""Events of a subscription business: usage, renewals that fail, and what happens in an account.

Rules upheld here: every event is keyed by its account, so that one partition sees all of it; what people wrote is not
in these events, they carry numbers, kinds and flags. Not here: what is decided about them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from jurat.schemas.model import Count, Event, Identifier, Model, Money, Percent

MAX_MONTHS = 36
"""Months of usage in one report: three years show every season; what is older speaks of another product."""

MAX_OFFERS = 10
"""Plans and add-ons that one account can move to: a price list is not longer."""

Units = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
"""Units of usage, whatever the product counts; bounded so that a hundred times as many stay an exact integer."""

Code = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class SubscriptionEvent(Event):
    """Base of this module's events."""

    namespace: ClassVar[str] = "subscriptions"
    key_field: ClassVar[str] = "account_id"

    account_id: Identifier


class Plan(Model):
    """A plan that the account could have.

    Attributes:
        limit_units: what a month includes.
        price: of a month.
    """

    plan_id: Identifier
    limit_units: Units
    price: Money


class AddOn(Model):
    """Something that the account could have on top of its plan.

    Attributes:
        extra_units: what it adds to a month.
        price: of a month.
    """

    add_on_id: Identifier
    extra_units: Units
    price: Money


class UsageReported(SubscriptionEvent):
    """A month has ended for an account.

    Attributes:
        plan: the account's present plan.
        months: units of each month, the oldest first, the one that ended last.
        overage_per_thousand: what 1,000 units above the plan's limit cost.
        plans: other plans that it could have.
        add_ons: add-ons that it could have.
        open_incidents: support incidents of the account that are open.
        past_due_invoices: invoices that are due and not paid.
        suggestions_welcome: whether the account agreed to be told of offers.
    """

    plan: Plan
    months: Annotated[tuple[Units, ...], Field(min_length=1, max_length=MAX_MONTHS)]
    overage_per_thousand: Money
    plans: Annotated[tuple[Plan, ...], Field(max_length=MAX_OFFERS)] = ()
    add_ons: Annotated[tuple[AddOn, ...], Field(max_length=MAX_OFFERS)] = ()
    open_incidents: Count = 0
    past_due_invoices: Count = 0
    suggestions_welcome: bool = True

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        prices = (
            self.plan.price,
            self.overage_per_thousand,
            *(one.price for one in self.plans + self.add_ons),
        )
        if len({price.currency for price in prices}) != 1:
            raise ValueError("got prices in several currencies, expected the account's one")
        return self


class SuggestionAnswered(SubscriptionEvent):
    """Somebody of the account answered a suggestion."""

    accepted: bool


class RenewalFailed(SubscriptionEvent):
    """The charge for a renewal was refused, or did not complete.

    Attributes:
        failure_code: the processor's.
        tenure_months: how long the account has been a customer.
        cheaper_plan: whether there is a plan that it could be moved down to.
    """

    invoice_id: Identifier
    amount: Money
    failure_code: Code
    tenure_months: Count
    cheaper_plan: bool = False


class RenewalRecovered(SubscriptionEvent):
    """The renewal was paid after all, whoever brought that about."""

    invoice_id: Identifier
    amount: Money


class CardUpdated(SubscriptionEvent):
    """The account has given another card, or another way to pay."""


class CareNeedDeclared(SubscriptionEvent):
    """The customer, or somebody for them, told that they need care: illness, hardship, bereavement; or no longer."""

    needs_care: bool


class Purpose(StrEnum):
    """For which purpose a fact was given, and may be used."""

    RETENTION = "retention"
    SUPPORT = "support"
    COMPLIANCE = "compliance"


class OnboardingTicketRaised(SubscriptionEvent):
    """The account had trouble while it was being set up.

    Attributes:
        severity: 1 is a question, 4 is "nothing works".
        purpose: what the customer agreed that it may be used for.
    """

    severity: Annotated[int, Field(ge=1, le=4)]
    purpose: Purpose


class ContactChange(StrEnum):
    """What happened to a contact of the account."""

    JOINED = "joined"
    PROMOTED = "promoted"
    LEFT = "left"


class ContactChanged(SubscriptionEvent):
    """A person who matters in the account came, rose or left.

    Attributes:
        champion: whether it is who speaks for the product there.
    """

    contact_id: Identifier
    champion: bool
    change: ContactChange
    purpose: Purpose


class IndustryDeclared(SubscriptionEvent):
    """What the account does, as it said itself."""

    industry: Code
    regulated: bool
    purpose: Purpose


class AccountStanding(Model):
    """What an account is worth, and whether it may be spoken to.

    Attributes:
        yearly: what it pays in a year.
        seats_active: of its seats, how many were used within 30 days, in percent.
        open_incidents: support incidents that are open.
        contact_allowed: whether it agreed to be contacted about offers.
    """

    yearly: Money
    seats_active: Percent
    open_incidents: Count = 0
    contact_allowed: bool = True


class UsageDropped(SubscriptionEvent):
    """The account uses the product much less than it did.

    Attributes:
        drop_percent: against the mean of the three months before.
    """

    standing: AccountStanding
    drop_percent: Percent


class RenewalApproaching(SubscriptionEvent):
    """The account's term ends soon."""

    standing: AccountStanding
    days_to_renewal: Count


class CancelReason(StrEnum):
    """What the account gave as its reason."""

    PRICE = "price"
    MISSING_FEATURE = "missing_feature"
    TOO_HARD = "too_hard"
    SWITCHING = "switching"
    CLOSING = "closing"
    UNSAID = "unsaid"


class CancellationRequested(SubscriptionEvent):
    """The account asked to end its subscription.

    Attributes:
        final: whether it said that it wants to hear of no offers, or has refused one already.
    """

    standing: AccountStanding
    reason: CancelReason
    final: bool = False
