"""The upgrade adviser: when an account's usage earns a suggestion, and which.

Rules upheld here: a suggestion is scored by what it saves or costs the account, not by what it earns; one month alone
is a peak, what came back every year is a season, and neither is growth; who may be told at all, and how often, stands
in `policies/subscriptions/upgrades.cedar`. All of it is integer arithmetic over the report. Not here: what an account
pays (`upgrade_costs.py`), telling the account, and changing its plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.memory import Learned, Remembering
from jurat.agents.upgrade_costs import RECKON_OFFER, exact, saved_by_add_on, saved_by_plan
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Identifier, MinorUnits, Money
from jurat.schemas.subscriptions import SuggestionAnswered, UsageReported

CLOSE_PERCENT: Final = 80
"""From this part of its limit on a month counts as close to it: growth of a fifth would pass it."""

ALIKE_PERCENT: Final = 12
"""A quarter that differs by less than this from the one a year ago is taken to go on as that one did."""

STEADY_PERCENT: Final = 105
"""Up to this, in percent of the quarter before, usage counts as steady: months differ by as much for no reason."""

FULL_PERCENT: Final = 78
"""From so full a limit on, a larger one is worth hearing of."""

RECENT: Final = 3
"""Months that show where usage is now: fewer are chance, more hide a turn."""

YEAR: Final = 12
SEASON_PERCENT: Final = 85
"""A peak that reached this part of the present one a year ago, and fell again, is a season."""

FELL_PERCENT: Final = 80
"""A season is over when usage is below this part of its peak."""

AFTER_PEAK: Final = 5
"""Months within which a season ends: half a year of it would be a level."""

MAX_POINTS: Final = 30
"""Points that money may give or take: beside it, growth and seasons keep a say."""

MAX_GROWTH: Final = 130
"""Growth from quarter to quarter that is taken to go on, in percent: what grew faster has seldom done so for long."""

DECLINED: Final = "suggestion_declined"
PURPOSE: Final = "advice"
NEVER_DECLINED_DAYS: Final = 100_000
"""Stands for an account that never declined: policies compare numbers, and have no word for never."""


@dataclass(frozen=True, slots=True)
class Trend:
    """What the months say.

    Attributes:
        months_close: of the last three, how many are close to the plan's limit or above it.
        expected_units: what a month takes now: the median of the last three.
        units_ahead: what a month of the coming half year will take, on its mean.
        one_off: whether the last month alone stands out.
        seasonal: whether the same rise came a year ago and went.
    """

    months_close: int
    expected_units: int
    units_ahead: int
    one_off: bool
    seasonal: bool


class UsingAccount(Entity):
    """The account and its month, as policies see them."""

    entity_type: ClassVar[str] = "UsingAccount"

    account_id: Identifier
    plan_id: Identifier
    price_minor: MinorUnits
    currency: str
    limit_units: Count
    months_known: Count
    months_close: Count
    one_off: bool
    seasonal: bool
    open_incidents: Count
    past_due_invoices: Count
    suggestions_welcome: bool
    days_since_declined: Count


class PlanFacts(Facts):
    """The plan that would be suggested; all numbers are 0 where the account cannot have it."""

    plan_id: str
    offered: bool
    limit_units: Count
    price_minor: MinorUnits
    saves_minor: MinorUnits
    """What the account would pay less in a month like the last ones; below zero where it would pay more."""


class AddOnFacts(Facts):
    """The add-on that would be suggested; all numbers are 0 where the account cannot have it."""

    add_on_id: str
    offered: bool
    extra_units: Count
    price_minor: MinorUnits
    saves_minor: MinorUnits


class WaitFacts(Facts):
    """All that matters is the account itself."""


class SuggestUpgrade(Action):
    """Suggest another plan."""

    action_name: ClassVar[str] = "suggest_upgrade"
    title: ClassVar[str] = "Suggest a larger plan"
    resource: ClassVar[type[Entity]] = UsingAccount
    facts: ClassVar[type[Facts]] = PlanFacts

    plan_id: Identifier


class SuggestAddOn(Action):
    """Suggest something on top of the present plan."""

    action_name: ClassVar[str] = "suggest_add_on"
    title: ClassVar[str] = "Suggest an add-on to the present plan"
    resource: ClassVar[type[Entity]] = UsingAccount
    facts: ClassVar[type[Facts]] = AddOnFacts

    add_on_id: Identifier


class Wait(Action):
    """Suggest nothing this month."""

    action_name: ClassVar[str] = "wait"
    title: ClassVar[str] = "Suggest nothing this month"
    resource: ClassVar[type[Entity]] = UsingAccount
    facts: ClassVar[type[Facts]] = WaitFacts


def trend_of(report: UsageReported) -> Trend:
    """Read the months of a report."""
    months, limit = report.months, report.plan.limit_units
    recent = months[-RECENT:]
    last = months[-1]
    others = months[-(RECENT + 1) : -1]
    return Trend(
        months_close=sum(units * 100 >= limit * CLOSE_PERCENT for units in recent),
        expected_units=sorted(recent)[len(recent) // 2],
        units_ahead=_ahead(months),
        one_off=bool(others) and all(last * 100 > other * 130 for other in others),
        seasonal=_seasonal(months),
    )


def judged(situation: Situation[UsageReported], action: Action) -> Judged:
    """State the facts by which policies judge a suggestion."""
    report = situation.event
    account, now = _account(situation), situation.once(_trend).expected_units
    if isinstance(action, SuggestUpgrade):
        plan = next((one for one in report.plans if one.plan_id == action.plan_id), None)
        return Judged(
            account,
            PlanFacts(
                plan_id=action.plan_id,
                offered=plan is not None,
                limit_units=plan.limit_units if plan else 0,
                price_minor=plan.price.amount_minor if plan else 0,
                saves_minor=exact(saved_by_plan(report, plan, now)) if plan else 0,
            ),
        )
    if isinstance(action, SuggestAddOn):
        add_on = next((one for one in report.add_ons if one.add_on_id == action.add_on_id), None)
        return Judged(
            account,
            AddOnFacts(
                add_on_id=action.add_on_id,
                offered=add_on is not None,
                extra_units=add_on.extra_units if add_on else 0,
                price_minor=add_on.price.amount_minor if add_on else 0,
                saves_minor=exact(saved_by_add_on(report, add_on, now)) if add_on else 0,
            ),
        )
    if isinstance(action, Wait):
        return Judged(account, WaitFacts())
    raise ConfigurationError(
        f"upgrade-adviser got the action {type(action).__name__}, expected one of its own"
    )


def candidates(situation: Situation[UsageReported]) -> tuple[Candidate, ...]:
    """Score every larger plan, every add-on, and waiting."""
    report = situation.event
    trend = situation.once(_trend)
    need = (
        Signal("months close to the limit", 20 * trend.months_close - 25, "fits"),
        Signal("how full in the coming half year", _fullness(trend, report.plan.limit_units), "fits"),
        Signal("a single peak", -60 if trend.one_off else 0, "trust"),
        Signal("comes back every year", -50 if trend.seasonal else 0, "trust"),
    )
    plans = [
        Candidate(
            SuggestUpgrade(plan_id=plan.plan_id),
            (
                *need,
                _money(saved_by_plan(report, plan, trend.units_ahead), report.plan.price),
                _room(trend, plan.limit_units),
                Signal("a plan is for what lasts", -20 if trend.seasonal else 20, "fits"),
            ),
        )
        for plan in report.plans
        if plan.limit_units > report.plan.limit_units
    ]
    add_ons = [
        Candidate(
            SuggestAddOn(add_on_id=one.add_on_id),
            (
                *need,
                _money(saved_by_add_on(report, one, trend.units_ahead), report.plan.price),
                _room(trend, report.plan.limit_units + one.extra_units),
                Signal("an add-on is for what passes", 40 if trend.seasonal else 0, "fits"),
            ),
        )
        for one in report.add_ons
    ]
    rest = Candidate(Wait(), (Signal("not to bother anybody", 5, "trust"),))
    return (*plans, *add_ons, rest)


def fallback(_situation: Situation[UsageReported]) -> Action:
    """Wait: the next month is another chance."""
    return Wait()


def declined(event: SuggestionAnswered, at: datetime) -> tuple[Learned, ...]:
    """Learn a no; a yes ends the no that stood before."""
    return (Learned(DECLINED, None if event.accepted else True, at, PURPOSE),)


def _growth(months: tuple[int, ...]) -> int:
    """The last quarter in percent of the one before; 100 where there are fewer than six months."""
    recent, before = months[-RECENT:], months[-2 * RECENT : -RECENT]
    return sum(recent) * 100 // max(1, sum(before)) if len(before) == RECENT else 100


def _ahead(months: tuple[int, ...]) -> int:
    """Units of a month of the coming half year, on its mean."""
    growth, recent, year_ago = _growth(months), months[-RECENT:], months[:-YEAR]
    as_last_year = (
        len(year_ago) >= RECENT
        and abs(sum(recent) - sum(year_ago[-RECENT:])) * 100 <= sum(recent) * ALIKE_PERCENT
        and (growth <= STEADY_PERCENT or _growth(year_ago) > STEADY_PERCENT)
    )
    if as_last_year:
        return sum(months[-YEAR : -YEAR + 2 * RECENT]) // (2 * RECENT)
    if growth > STEADY_PERCENT:
        goes_on = min(MAX_GROWTH, growth)
        # The middle of the coming half year is one and a half quarters from that of the last three months.
        return sum(recent) * goes_on * (goes_on + 100) // (len(recent) * 20_000)
    half = months[-2 * RECENT :]
    return sum(half) // len(half)


def _seasonal(months: tuple[int, ...]) -> bool:
    """Tell whether the last month's height was reached a year ago too, and left again within `AFTER_PEAK` months."""
    if len(months) <= YEAR:
        return False
    last, year_ago = months[-1], months[-1 - YEAR]
    after = months[-YEAR : -YEAR + AFTER_PEAK]
    return year_ago * 100 >= last * SEASON_PERCENT and min(after) * 100 < year_ago * FELL_PERCENT


def _trend(situation: Situation[UsageReported]) -> Trend:
    return trend_of(situation.event)


def _money(saves_minor: int, price: Money) -> Signal:
    """What an account saves in the coming half year, in half percents of what it pays for its plan."""
    percent = saves_minor * 50 // max(1, price.amount_minor)
    return Signal("what the account saves", max(-MAX_POINTS, min(MAX_POINTS, percent)), "saves")


def _fullness(trend: Trend, limit: int) -> int:
    """Speaks for a suggestion from `FULL_PERCENT` of the present limit on."""
    return max(-60, min(30, 3 * (trend.units_ahead * 100 // max(1, limit) - FULL_PERCENT)))


def _room(trend: Trend, limit: int) -> Signal:
    """Speaks for what leaves room to grow, and against what is far too large."""
    used = trend.units_ahead * 100 // max(1, limit)
    points = -30 if used > 100 else 10 if used >= 50 else 0 if used >= 25 else -30
    return Signal("room to grow", points, "fits")


def _account(situation: Situation[UsageReported]) -> UsingAccount:
    report, trend = situation.event, situation.once(_trend)
    no = situation.memory.known(DECLINED)
    return UsingAccount(
        id=report.account_id,
        account_id=report.account_id,
        plan_id=report.plan.plan_id,
        price_minor=report.plan.price.amount_minor,
        currency=report.plan.price.currency,
        limit_units=report.plan.limit_units,
        months_known=len(report.months),
        months_close=trend.months_close,
        one_off=trend.one_off,
        seasonal=trend.seasonal,
        open_incidents=report.open_incidents,
        past_due_invoices=report.past_due_invoices,
        suggestions_welcome=report.suggestions_welcome,
        days_since_declined=max(0, (situation.now - no.since).days) if no else NEVER_DECLINED_DAYS,
    )


UPGRADE_ADVISER: Agent[UsageReported] = Agent(
    name="upgrade-adviser",
    listens={"subscriptions.usage": (UsageReported,)},
    subject=lambda report: report.account_id,
    actions=(SuggestUpgrade, SuggestAddOn, Wait),
    bundle="subscriptions",
    judged=judged,
    candidates=candidates,
    fallback=fallback,
    tools=(RECKON_OFFER,),
    remembers=Remembering(from_events={SuggestionAnswered: declined}),
)
