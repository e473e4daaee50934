"""What an account pays, on its plan and on what it could have: arithmetic over its report, and a tool that does it.

Rules upheld here: all of it is integers in minor units of the report's one currency, kept within what is exact
everywhere. The tool only reckons: models are bad at that, and what they reckon wrongly nobody would notice, as policies
judge the suggestion and not its reasons. Not here: whether anything is suggested (`upgrade_adviser.py`).
"""

from __future__ import annotations

from typing import Final

from jurat.agents.agent import Situation, Tool
from jurat.schemas import canonical
from jurat.schemas.errors import ProposalInvalid
from jurat.schemas.model import Count, Identifier, MinorUnits, Model
from jurat.schemas.subscriptions import AddOn, Plan, UsageReported


class OfferAsked(Model):
    """Which plan or add-on is looked at."""

    offer_id: Identifier


class OfferReckoned(Model):
    """The months of the report, as they were paid, and as they would have been with the offer.

    Attributes:
        months: how many there are.
        paid_minor: what they cost.
        would_have_paid_minor: what they would have cost.
        months_cheaper: in how many of them the account would have paid less.
        months_over: in how many of them it would still have passed the limit.
    """

    months: Count
    paid_minor: MinorUnits
    would_have_paid_minor: MinorUnits
    currency: str
    months_cheaper: Count
    months_over: Count


def saved_by_plan(report: UsageReported, plan: Plan, units: int) -> int:
    """What an account would pay less on a plan in a month that takes so many units; negative where it pays more."""
    return paid_now(report, units) - plan.price.amount_minor - _overage(report, units, plan.limit_units)


def saved_by_add_on(report: UsageReported, add_on: AddOn, units: int) -> int:
    """What an account would pay less with an add-on in a month that takes so many units."""
    limit = report.plan.limit_units + add_on.extra_units
    beside = report.plan.price.amount_minor + add_on.price.amount_minor
    return paid_now(report, units) - beside - _overage(report, units, limit)


def paid_now(report: UsageReported, units: int) -> int:
    """What an account pays in a month that takes so many units."""
    return report.plan.price.amount_minor + _overage(report, units, report.plan.limit_units)


def exact(amount_minor: int) -> int:
    """The amount, kept within what is exact everywhere: units times a price may be more."""
    return max(-canonical.MAX_INTEGER, min(canonical.MAX_INTEGER, amount_minor))


async def reckon(situation: Situation[UsageReported], asked: OfferAsked) -> OfferReckoned:
    """Reckon what the months of a report would have cost with an offer.

    Raises:
        ProposalInvalid: the account cannot have it.
    """
    report = situation.event
    plan = next((one for one in report.plans if one.plan_id == asked.offer_id), None)
    add_on = next((one for one in report.add_ons if one.add_on_id == asked.offer_id), None)
    if plan is not None:
        saved = [saved_by_plan(report, plan, units) for units in report.months]
        limit = plan.limit_units
    elif add_on is not None:
        saved = [saved_by_add_on(report, add_on, units) for units in report.months]
        limit = report.plan.limit_units + add_on.extra_units
    else:
        known = [*(one.plan_id for one in report.plans), *(one.add_on_id for one in report.add_ons)]
        raise ProposalInvalid(f"got no plan or add-on of this account, expected one of: {', '.join(known)}")
    paid = sum(paid_now(report, units) for units in report.months)
    return OfferReckoned(
        months=len(report.months),
        paid_minor=exact(paid),
        would_have_paid_minor=exact(paid - sum(saved)),
        currency=report.plan.price.currency,
        months_cheaper=sum(one > 0 for one in saved),
        months_over=sum(units > limit for units in report.months),
    )


def _overage(report: UsageReported, units: int, limit: int) -> int:
    return max(0, units - limit) * max(0, report.overage_per_thousand.amount_minor) // 1_000


RECKON_OFFER: Final = Tool(
    name="reckon_offer",
    title="What the reported months would have cost the account with a plan or an add-on, given by its id",
    arguments=OfferAsked,
    result=OfferReckoned,
    use=reckon,
)
