"""The upgrade adviser on realistic months, under the shipped policies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.agents.dunning import CloseCase
from jurat.agents.kernel import Use
from jurat.agents.reasoner import RawArguments, ToolCall
from jurat.agents.upgrade_adviser import (
    DECLINED,
    UPGRADE_ADVISER,
    SuggestAddOn,
    SuggestUpgrade,
    Wait,
    declined,
    trend_of,
)
from jurat.agents.upgrade_costs import (
    RECKON_OFFER,
    OfferAsked,
    OfferReckoned,
    reckon,
    saved_by_add_on,
    saved_by_plan,
)
from jurat.schemas.canonical import MAX_INTEGER, digest
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Money
from jurat.schemas.subscriptions import AddOn, Plan, SuggestionAnswered, UsageReported
from jurat.streams.asking import used
from jurat.streams.usage import PartitionUsage
from jurat.testing import Scripted, rehearse
from tests.shop import Down, Insisting, told
from tests.subscriptions import NOW, decide, euros, fact, situation, took

TEAM = Plan(plan_id="team", limit_units=10_000, price=euros(10_000))
BUSINESS = Plan(plan_id="business", limit_units=20_000, price=euros(17_000))
GIANT = Plan(plan_id="giant", limit_units=90_000, price=euros(50_000))
EXTRA = AddOn(add_on_id="extra", extra_units=4_000, price=euros(4_500))

GROWING = (6_000, 6_300, 6_700, 7_200, 7_800, 8_400, 9_000, 9_700, 10_400)
FLAT = (5_000,) * 9
PEAK = (5_000, 5_100, 4_900, 5_000, 5_000, 5_100, 5_000, 5_000, 14_000)
SEASON = (
    7_000,
    9_800,
    11_500,
    10_500,
    7_000,
    6_900,
    6_900,
    7_000,
    7_000,
    6_900,
    7_000,
    7_000,
    7_000,
    9_900,
    11_600,
)


def report(months: tuple[int, ...] = GROWING, **changes: Any) -> UsageReported:
    fields = {
        "account_id": "a-1",
        "plan": TEAM,
        "months": months,
        "overage_per_thousand": euros(1_500),
        "plans": (BUSINESS, GIANT),
        "add_ons": (EXTRA,),
    }
    return UsageReported.model_validate(fields | changes)


def test_growth_earns_the_next_plan() -> None:
    decided = decide(UPGRADE_ADVISER, situation(report()))
    assert decided.chosen.proposal.action == SuggestUpgrade(plan_id="business")
    assert told(decided)[-1] == ("suggest_upgrade", "allow", ("upgrade.grant",))


@pytest.mark.parametrize("months", [FLAT, PEAK, (4_000,), (9_000, 9_500)])
def test_what_is_no_growth_earns_nothing(months: tuple[int, ...]) -> None:
    assert decide(UPGRADE_ADVISER, situation(report(months))).chosen.proposal.action == Wait()


def test_a_season_never_earns_a_plan() -> None:
    seen = situation(report(SEASON))
    assert trend_of(seen.event).seasonal
    assert not isinstance(decide(UPGRADE_ADVISER, seen).chosen.proposal.action, SuggestUpgrade)
    forced = decide(UPGRADE_ADVISER, seen, by=Insisting(SuggestUpgrade(plan_id="business")))
    assert told(forced)[0] == ("suggest_upgrade", "deny", ("upgrade.seasonal",))


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({"open_incidents": 1}, "suggest.open-incident"),
        ({"past_due_invoices": 1}, "suggest.past-due"),
        ({"suggestions_welcome": False}, "suggest.unwelcome"),
        ({"months": (9_000, 9_500)}, "suggest.short-history"),
        ({"months": (5_000, 5_000, 5_000, 14_000)}, "suggest.one-peak"),
        ({"months": (5_000, 5_000, 8_000)}, "suggest.not-close"),
    ],
)
def test_whom_no_reasoner_sells_to(changes: dict[str, Any], policy: str) -> None:
    for action in (SuggestUpgrade(plan_id="business"), SuggestAddOn(add_on_id="extra")):
        decided = decide(UPGRADE_ADVISER, situation(report(**changes)), by=Insisting(action))
        assert told(decided)[0][1] == "deny"
        assert policy in told(decided)[0][2]
        assert decided.chosen.proposal.action == Wait()


@pytest.mark.parametrize(
    ("action", "policy"),
    [
        (SuggestUpgrade(plan_id="moon"), "upgrade.not-offered"),
        (SuggestUpgrade(plan_id="tiny"), "upgrade.not-larger"),
        (SuggestAddOn(add_on_id="moon"), "add-on.not-offered"),
        (SuggestAddOn(add_on_id="gold"), "add-on.too-dear"),
    ],
)
def test_what_no_reasoner_sells(action: SuggestUpgrade | SuggestAddOn, policy: str) -> None:
    tiny = Plan(plan_id="tiny", limit_units=10_000, price=euros(1))
    gold = AddOn(add_on_id="gold", extra_units=1, price=euros(10_001))
    event = report(plans=(BUSINESS, tiny), add_ons=(gold,))
    decided = decide(UPGRADE_ADVISER, situation(event), by=Insisting(action))
    assert told(decided)[0] == (action.action_name, "deny", (policy,))


def test_a_plan_of_five_times_the_price_is_for_a_person() -> None:
    decided = decide(UPGRADE_ADVISER, situation(report()), by=Insisting(SuggestUpgrade(plan_id="giant")))
    assert told(decided) == (("suggest_upgrade", "escalate", ("upgrade.too-dear",)),)


def test_one_suggestion_in_thirty_days() -> None:
    usage = PartitionUsage(partition=0)
    first = decide(UPGRADE_ADVISER, situation(report()), usage=usage)
    took(usage, first, number=1)
    day_29 = situation(report(), now=NOW + timedelta(days=29))
    again = decide(UPGRADE_ADVISER, day_29, usage=usage)
    assert "suggest.once-a-month" in told(again)[0][2]
    assert again.chosen.proposal.action == Wait()
    later = decide(UPGRADE_ADVISER, situation(report(), now=NOW + timedelta(days=31)), usage=usage)
    assert isinstance(later.chosen.proposal.action, SuggestUpgrade)


@pytest.mark.parametrize(("days", "verdict"), [(0, "deny"), (89, "deny"), (90, "allow"), (400, "allow")])
def test_after_a_no_there_is_silence_for_ninety_days(days: int, verdict: str) -> None:
    seen = situation(report(), fact(DECLINED, days=days, purpose="advice"))
    assert (
        told(decide(UPGRADE_ADVISER, seen, by=Insisting(SuggestUpgrade(plan_id="business"))))[0][1] == verdict
    )


def test_a_yes_ends_the_no_that_stood() -> None:
    no = SuggestionAnswered(account_id="a-1", accepted=False)
    yes = SuggestionAnswered(account_id="a-1", accepted=True)
    assert [one.value for one in declined(no, NOW)] == [True]
    assert [one.value for one in declined(yes, NOW)] == [None]
    assert not UPGRADE_ADVISER.decides(no)


def test_what_is_saved_is_reckoned_to_the_cent() -> None:
    event = report()
    assert saved_by_plan(event, BUSINESS, 10_000) == -7_000
    assert saved_by_plan(event, BUSINESS, 16_000) == 9_000 - 7_000
    assert saved_by_add_on(event, EXTRA, 14_000) == 6_000 - 4_500
    assert saved_by_add_on(event, EXTRA, 20_000) == 6_000 - 4_500


def test_a_model_may_have_it_reckoned_what_the_months_would_have_cost() -> None:
    wish = ToolCall("reckon_offer", RawArguments(given={"offer_id": "business"}))
    scripted = Scripted(wish, SuggestUpgrade(plan_id="business"))
    with rehearse(UPGRADE_ADVISER, reasoner=scripted, at=NOW) as stage:
        ended = stage.send(report())
    reckoned = OfferReckoned(
        months=9,
        paid_minor=9 * 10_000 + 400 * 1_500 // 1_000,
        would_have_paid_minor=9 * 17_000,
        currency="EUR",
        months_cheaper=0,
        months_over=0,
    )
    [told] = scripted.requests[1].tools
    assert told.result == reckoned
    assert ended.record.reasoner is not None
    [used] = ended.record.reasoner.tools
    assert (used.name, used.result_sha256) == ("reckon_offer", digest(reckoned.model_dump(mode="json")))


@pytest.mark.parametrize(
    ("offer", "cheaper", "over", "saves"),
    [("extra", 1, 1, 6_000 - 4_500 - 8 * 4_500), ("business", 1, 0, 15_000 - 9 * 7_000)],
)
async def test_an_offer_is_reckoned_month_by_month(offer: str, cheaper: int, over: int, saves: int) -> None:
    seen = situation(report((5_000,) * 8 + (20_000,)))
    got = await reckon(seen, OfferAsked(offer_id=offer))
    assert (got.months_cheaper, got.months_over) == (cheaper, over)
    assert got.paid_minor - got.would_have_paid_minor == saves


async def test_an_offer_that_is_none_is_told_to_the_model_and_ends_nothing() -> None:
    use = Use(RECKON_OFFER, OfferAsked(offer_id="team"), situation(report()))
    result = await used(use)
    assert result.failed is not None
    assert "expected one of: business, giant, extra" in result.failed


async def test_amounts_beyond_what_is_exact_stay_within_it() -> None:
    units = (10**12,) * 24
    dear = Plan(plan_id="dear", limit_units=1, price=euros(MAX_INTEGER))
    seen = situation(report(units, plans=(dear,), overage_per_thousand=euros(MAX_INTEGER)))
    got = await reckon(seen, OfferAsked(offer_id="dear"))
    assert (got.paid_minor, got.would_have_paid_minor) == (MAX_INTEGER, MAX_INTEGER)


def test_a_reasoner_that_is_down_waits() -> None:
    assert decide(UPGRADE_ADVISER, situation(report()), by=Down()).chosen.proposal.action == Wait()


def test_prices_in_two_currencies_are_no_report() -> None:
    with pytest.raises(ValueError, match="several currencies"):
        report(overage_per_thousand=Money(amount_minor=1, currency="USD"))


def test_an_action_of_another_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got the action CloseCase"):
        UPGRADE_ADVISER.judged(situation(report()), CloseCase())


@given(
    months=st.lists(st.integers(0, 10**12), min_size=1, max_size=36).map(tuple), limit=st.integers(0, 10**12)
)
def test_whatever_the_months_are_the_agent_decides(months: tuple[int, ...], limit: int) -> None:
    plan = TEAM.model_copy(update={"limit_units": limit})
    decided = decide(UPGRADE_ADVISER, situation(report(months, plan=plan)))
    assert decided.resolution in ("decided", "escalated")
    if isinstance(decided.chosen.proposal.action, SuggestUpgrade):
        assert sum(units * 100 >= limit * 80 for units in months[-3:]) >= 2
        assert len(months) >= 3


@pytest.mark.parametrize("action", [SuggestUpgrade(plan_id="business"), SuggestAddOn(add_on_id="extra")])
def test_a_saving_beyond_what_is_exact_is_judged_as_the_largest(
    action: SuggestUpgrade | SuggestAddOn,
) -> None:
    most = Money(amount_minor=MAX_INTEGER, currency="EUR")
    seen = report((1_000_000_000_000,) * 9, overage_per_thousand=most)
    judged = UPGRADE_ADVISER.judged(situation(seen), action)
    assert judged.facts.model_dump()["saves_minor"] == MAX_INTEGER
