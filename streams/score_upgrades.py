"""A world for the upgrade adviser: accounts that grow, stay, have seasons or a single peak, and answer suggestions.

Rules upheld here: what an account will use is drawn before anything is suggested and never shown; whether it says yes
depends on whether the suggestion fits that future, whatever was read into the past. Money: what accounts pay over the
months played, and a year of what those that are left pay then. Not here: running an agent (`score.py`).

The truth, chosen before any agent was run: an account takes what it needs in 35 % of cases and what it does not need in
6 %; in a month 0.5 % leave anyway, 4 % more after a bill with an overage above a fifth of the price, 3 % more after a
suggestion that does not fit, 3 % more while they pay for a plan of which they use less than 40 %.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.upgrade_adviser import UPGRADE_ADVISER, SuggestAddOn, SuggestUpgrade, Wait
from jurat.schemas.model import Money
from jurat.schemas.subscriptions import AddOn, Plan, SuggestionAnswered, UsageReported
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MONTH: Final = timedelta(days=31)
HISTORY: Final = 18
PLAYED: Final = 6
AHEAD: Final = 6
"""Months that were before, that are played, and that say what an account will need."""

PLANS: Final = tuple(
    Plan(plan_id=name, limit_units=limit, price=Money(amount_minor=price, currency="EUR"))
    for name, limit, price in (
        ("team", 10_000, 10_000),
        ("business", 20_000, 17_000),
        ("company", 40_000, 30_000),
    )
)
EXTRA: Final = AddOn(add_on_id="extra", extra_units=4_000, price=Money(amount_minor=4_500, currency="EUR"))
OVERAGE: Final = Money(amount_minor=1_500, currency="EUR")
SEASON: Final = (100, 100, 100, 100, 100, 135, 165, 150, 110, 100, 100, 100)


class Kind(StrEnum):
    """How an account's usage goes on."""

    GROWING = "growing"
    FLAT = "flat"
    SEASONAL = "seasonal"
    PEAK = "peak"


@dataclass
class _Account:
    """The truth about one account."""

    name: str
    units: tuple[int, ...]
    incident: bool
    past_due: bool
    welcome: bool
    plan: int = 0
    extra: bool = False
    gone: bool = False
    quiet_until: int = 0
    suggestions: int = 0
    told_badly: set[int] = field(default_factory=set)

    @property
    def limit(self) -> int:
        return PLANS[self.plan].limit_units + (EXTRA.extra_units if self.extra else 0)

    @property
    def price(self) -> int:
        return PLANS[self.plan].price.amount_minor + (EXTRA.price.amount_minor if self.extra else 0)

    def needs_more(self, month: int) -> bool:
        """Whether the months to come are close to the limit, on their mean."""
        ahead = self.units[month + 1 : month + 1 + AHEAD]
        return sum(ahead) * 100 >= self.limit * 85 * len(ahead)

    def overage(self, month: int) -> int:
        return max(0, self.units[month] - self.limit) * OVERAGE.amount_minor // 1_000


def rule(situation: Situation[Any]) -> Action:
    """Suggest the next plan when the last month reached 80 % of the limit."""
    report = situation.event
    larger = [plan for plan in report.plans if plan.limit_units > report.plan.limit_units]
    if larger and report.months[-1] * 100 >= report.plan.limit_units * 80:
        return SuggestUpgrade(plan_id=min(larger, key=lambda plan: plan.limit_units).plan_id)
    return Wait()


def play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """Six months of as many accounts as there are cases."""
    accounts = [_drawn(seed, number) for number in range(cases)]
    value = decided = right = 0
    for month in range(HISTORY, HISTORY + PLAYED):
        for number, account in enumerate(accounts):
            if account.gone:
                continue
            at = START + MONTH * (month - HISTORY) + timedelta(seconds=2 * number)
            value += account.price + account.overage(month)
            action = yield Step(_report(account, month), at)
            suggested = isinstance(action, SuggestUpgrade | SuggestAddOn)
            needs = account.needs_more(month)
            if (
                month >= account.quiet_until
                and account.welcome
                and not (account.incident or account.past_due)
            ):
                decided += 1
                right += suggested == needs
            if suggested:
                answer = Draws(seed, f"answer {number} {account.suggestions}")
                accepted = answer.happens(350 if needs else 60)
                yield Step(
                    SuggestionAnswered(account_id=account.name, accepted=accepted), at + timedelta(seconds=1)
                )
                _answered(account, action, month, accepted=accepted, fits=needs)
            account.gone = Draws(seed, f"leaves {number} {month}").happens(_leaving(account, month))
    value += sum(12 * account.price for account in accounts if not account.gone)
    return Tally(value_minor=value, cases=decided, right=right)


def _answered(account: _Account, action: Action | None, month: int, *, accepted: bool, fits: bool) -> None:
    account.suggestions += 1
    account.quiet_until = month + 4
    if not fits:
        account.told_badly.add(month)
    if not accepted:
        return
    if isinstance(action, SuggestUpgrade):
        account.plan = next(number for number, plan in enumerate(PLANS) if plan.plan_id == action.plan_id)
    else:
        account.extra = True


def _leaving(account: _Account, month: int) -> int:
    """How many of a thousand such accounts leave this month."""
    return (
        5
        + (40 if account.overage(month) * 5 > account.price else 0)
        + (30 if month in account.told_badly else 0)
        + (30 if account.plan and account.units[month] * 100 < account.limit * 40 else 0)
    )


def _drawn(seed: int, number: int) -> _Account:
    draws = Draws(seed, f"account {number}")
    kind = draws.weighted(((Kind.GROWING, 30), (Kind.FLAT, 35), (Kind.SEASONAL, 20), (Kind.PEAK, 15)))
    level = draws.between(4_500, 9_000)
    growth = draws.between(20, 60) if kind is Kind.GROWING else 0
    phase, peak = draws.below(12), HISTORY + draws.below(PLAYED)
    units = []
    for month in range(HISTORY + PLAYED + AHEAD + 1):
        used = level * draws.between(92, 108) // 100
        if kind is Kind.SEASONAL:
            used = used * SEASON[(month + phase) % 12] // 100
        if kind is Kind.PEAK and month == peak:
            used = used * draws.between(160, 220) // 100
        if kind is Kind.GROWING and month >= HISTORY - 4:
            level = level * (1_000 + growth) // 1_000
        units.append(used)
    return _Account(
        name=f"a-{seed}-{number}",
        units=tuple(units),
        incident=draws.happens(60),
        past_due=draws.happens(40),
        welcome=draws.happens(950),
    )


def _report(account: _Account, month: int) -> UsageReported:
    plan = PLANS[account.plan]
    return UsageReported(
        account_id=account.name,
        plan=Plan(plan_id=plan.plan_id, limit_units=account.limit, price=plan.price),
        months=account.units[: month + 1],
        overage_per_thousand=OVERAGE,
        plans=tuple(one for one in PLANS if one is not plan),
        add_ons=() if account.extra else (EXTRA,),
        open_incidents=int(account.incident),
        past_due_invoices=int(account.past_due),
        suggestions_welcome=account.welcome,
    )


UPGRADES: Final = World(
    name="upgrades",
    agent=UPGRADE_ADVISER,
    rule=rule,
    rule_title="suggest the next plan when the last month reached 80 % of the limit",
    currency="EUR",
    play=play,
)
