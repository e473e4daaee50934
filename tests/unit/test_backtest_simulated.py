"""A changed bundle on past decisions, where what was used of budgets is what its own decisions would have used."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jurat.audit.approval import Answer
from jurat.policies import PolicyEngine, backtest_judging, load_bundle, shipped_bundle
from jurat.policies.backtest import Backtest
from jurat.policies.backtest_judging import AsRecorded, JudgingBy, Simulated
from jurat.policies.backtest_past import NotJudged, PastDecision, Why
from jurat.policies.backtest_report import BacktestReport, Change, Said, Usage
from jurat.schemas.decision import Verdict
from jurat.schemas.marketplace import DisputeOpened
from tests.past_log import BEGIN, PastLog, past_of
from tests.shop import shop_engine
from tests.unit.test_approving_budgets import Desk
from tests.unit.test_policies_backtest import ALONE, FullRefund, dispute

Edited = Callable[..., PolicyEngine]


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """The shop's bundle with other words in all of its files."""

    def edit(**words: str) -> PolicyEngine:
        folder = tmp_path / f"shop-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(shipped_bundle("shop"), folder)
        pairs = {EDITS[name]: EDITS[name].replace(OLD_WORD[name], new) for name, new in words.items()}
        found = dict.fromkeys(pairs, 0)
        for file in folder.rglob("*.*"):
            text = file.read_text()
            for old, new in pairs.items():
                found[old] += text.count(old)
                text = text.replace(old, new)
            file.write_text(text)
        assert all(found.values()), found
        return PolicyEngine(load_bundle(folder))

    return edit


EDITS = {
    "single": "context.amount_minor > 50000",
    "day": "context.usage.refunds_day + context.amount_minor > 100000",
    "name": "refunds_day",
    "scope": "scope: partition-key",
    "window": "window: 24h",
}
OLD_WORD = {
    "single": "50000",
    "day": "100000",
    "name": "refunds_day",
    "scope": "partition-key",
    "window": "24h",
}


def of_buyer(number: int, cents: int, buyer: str = "c-1") -> DisputeOpened:
    return dispute(number, cents).model_copy(update={"customer_id": buyer})


def pasts(log: PastLog) -> list[PastDecision]:
    found = [past_of(entry) for entry in log.entries]
    return [one for one in found if isinstance(one, PastDecision)]


def day(*cents: int) -> list[PastDecision]:
    """One buyer's refunds of one day, a second apart, as the shipped bundle decided them."""
    log = PastLog(ALONE, shop_engine(), FullRefund())
    return pasts(log.decide(of_buyer(number, one) for number, one in enumerate(cents)))


def report(
    engine: PolicyEngine,
    records: Iterable[PastDecision | NotJudged],
    *,
    judging: JudgingBy = Simulated,
    old: PolicyEngine | None = None,
    outside: Iterable[PastDecision] = (),
) -> BacktestReport:
    made = Backtest(engine, old=old, judging=judging)
    for one in outside:
        made.outside(one)
    for one in records:
        made.add(one)
    return made.report()


def changes(found: BacktestReport) -> dict[Change, dict[str, int]]:
    return {change: dict(each.total.money) for change, each in found.changes.items() if each.total.decisions}


def not_judged(found: BacktestReport) -> dict[str, int]:
    return {why: each.records for why, each in found.not_judged.items()}


def test_what_a_tighter_rule_holds_back_is_left_for_what_comes_later(edited: Edited) -> None:
    """400, 450, 300 and 150 of a day's 1000: the third was escalated, as 850 were used.

    Where 450 needs a person, only 400 are used when the third comes: 700 are within the day's 1000.
    """
    records = day(40_000, 45_000, 30_000, 15_000)
    assert [one.said.verdict for one in records] == [
        Verdict.ALLOW,
        Verdict.ALLOW,
        Verdict.ESCALATE,
        Verdict.ALLOW,
    ]
    tighter = edited(single="42000")
    recorded = report(tighter, records, judging=AsRecorded)
    assert changes(recorded) == {Change.ESCALATED: {"EUR": 45_000}}
    assert (recorded.unchanged, recorded.usage) == (3, Usage.RECORDED)
    simulated = report(tighter, records)
    assert changes(simulated) == {Change.ESCALATED: {"EUR": 45_000}, Change.ALLOWED: {"EUR": 30_000}}
    assert (simulated.unchanged, simulated.usage) == (2, Usage.SIMULATED)
    assert simulated.to_json()["usage"] == "simulated"


def test_what_a_looser_rule_lets_through_is_missing_later(edited: Edited) -> None:
    """600, 450 and 450: the first was escalated. Where it is allowed, neither of the others is within 1000."""
    records = day(60_000, 45_000, 45_000)
    looser = edited(single="80000")
    assert changes(report(looser, records, judging=AsRecorded)) == {Change.ALLOWED: {"EUR": 60_000}}
    found = report(looser, records)
    assert changes(found) == {Change.ALLOWED: {"EUR": 60_000}, Change.ESCALATED: {"EUR": 90_000}}
    # The old bundle has windows of its own, and says what the records say.
    compared = report(looser, records, old=shop_engine())
    assert (changes(compared), compared.not_reproduced) == (changes(found), 0)


def test_the_bundle_that_judged_says_all_of_it_again_while_windows_slide() -> None:
    rng = random.Random(3)
    log = PastLog(ALONE, shop_engine(), FullRefund())
    now = BEGIN
    log.decider = replace(log.decider, clock=lambda: now)
    for number in range(150):
        now += timedelta(minutes=rng.choice([-20, 1, 60, 300, 700]))
        log.decide([of_buyer(number, rng.choice([9_000, 30_000, 49_999, 60_000]), f"c-{rng.randrange(3)}")])
    found = report(shop_engine(), pasts(log), old=shop_engine())
    assert (found.judged, found.unchanged, found.not_reproduced, found.other_policies) == (150, 150, 0, 0)
    verdicts = {one.said.policies for one in pasts(log)}
    assert {("dispute.refund.grant",), ("dispute.refund.buyer-day",)} <= verdicts


def test_another_bundle_says_what_adding_up_by_hand_says(edited: Edited) -> None:
    """The windows against a sum over everything that was allowed before, for another limit of each kind."""
    rng = random.Random(5)
    log = PastLog(ALONE, shop_engine(), FullRefund())
    now = latest = BEGIN
    log.decider = replace(log.decider, clock=lambda: now)
    moments, asked = [], []
    for number in range(200):
        latest += timedelta(minutes=rng.choice([0, 20, 45, 300, 900]), microseconds=rng.randrange(3))
        now = latest - rng.choice([0, 30]) * timedelta(minutes=1)  # clocks go back, within their slack
        cents, buyer = rng.choice([9_000, 30_000, 41_999, 42_001, 60_000]), f"c-{rng.randrange(3)}"
        log.decide([of_buyer(number, cents, buyer)])
        moments.append(now)
        asked.append((buyer, cents))
    judging = Simulated(edited(single="42000", day="70000"))
    allowed: list[tuple[datetime, str, int]] = []
    told = set()
    for one, at, (buyer, cents) in zip(pasts(log), moments, asked, strict=True):
        used = sum(
            taken for when, whose, taken in allowed if whose == buyer and when > at - timedelta(hours=24)
        )
        expected = Verdict.ESCALATE if cents > 42_000 or used + cents > 70_000 else Verdict.ALLOW
        said = judging.judge(one, Why.NEW_CANNOT)
        assert isinstance(said, Said)
        assert said.verdict is expected, (at, buyer, cents, used)
        told.add((said.verdict, one.said.verdict))
        if expected is Verdict.ALLOW:
            allowed.append((at, buyer, cents))
    both = {Verdict.ALLOW, Verdict.ESCALATE}
    assert told == {(new, old) for new in both for old in both}


def test_a_budget_that_no_record_knows_is_counted_from_nothing(edited: Edited) -> None:
    records = day(40_000, 45_000, 30_000)
    other = edited(name="refunds_once")
    assert not_judged(report(other, records, judging=AsRecorded)) == {Why.NEW_CANNOT: 3}
    found = report(other, records)
    assert (found.judged, found.unchanged) == (3, 3)


def test_a_dry_run_takes_nothing() -> None:
    tried = replace(ALONE, dry_run=lambda event: event.dispute_id == "d-0")
    log = PastLog(tried, shop_engine(), FullRefund())
    records = pasts(log.decide(of_buyer(number, 45_000) for number in range(3)))
    assert [one.effective for one in records] == [False, True, True]
    found = report(shop_engine(), records, old=shop_engine())
    assert (found.unchanged, found.not_reproduced) == (3, 0)


def test_what_was_not_asked_for_took_what_it_took(edited: Edited) -> None:
    """600 would be allowed and taken by the looser rule; before the part that was asked for, they were not."""
    first, *later = day(60_000, 45_000, 45_000, 30_000)
    looser = edited(single="80000")
    found = report(looser, later, outside=[first])
    assert (found.outside, found.judged, found.unchanged) == (1, 3, 3)
    found = report(looser, later[2:], outside=[first, *later[:2]])
    assert [one.said.verdict for one in later] == [Verdict.ALLOW, Verdict.ALLOW, Verdict.ESCALATE]
    assert found.unchanged == 1, "900 were used before it"
    found = report(looser, later[2:], outside=[first, *later[:2]], old=shop_engine())
    assert (found.judged, found.not_reproduced) == (1, 0), "the old bundle begins with what was used as well"
    # A window of another length is another one, and begins with nothing, as it does at a worker.
    found = report(edited(window="12h"), later[2:], outside=[first, *later[:2]])
    assert changes(found) == {Change.ALLOWED: {"EUR": 30_000}}


async def test_an_answer_counts_once_and_only_where_it_would_have_been_asked(edited: Edited) -> None:
    """400 and 400 are allowed, people approve the third; a fourth refund of 50 is above the day's 1000 then."""
    desk = Desk()
    await desk.answer(await desk.escalate(), Answer.GRANT)
    await desk.take(of_buyer(9, 5_000))
    records = [past_of(entry) for entry in desk.log]
    assert [one.said.verdict.value for one in records if isinstance(one, PastDecision)] == [
        "allow",
        "allow",
        "escalate",
        "allow",
        "escalate",
    ]
    again = report(shop_engine(), records, old=shop_engine())
    assert (again.unchanged, again.not_reproduced) == (5, 0)
    looser = report(edited(day="125000"), records)
    assert changes(looser) == {Change.ALLOWED: {"EUR": 45_000}}, (
        "the third at once, and the fourth: 1250 in all"
    )
    assert not_judged(looser) == {Why.NOT_ASKED: 1}
    assert looser.records == 5
    exactly = report(edited(day="124999"), records)
    assert changes(exactly) == {Change.ALLOWED: {"EUR": 40_000}}, "it took once"


def test_what_cannot_be_told_is_counted(edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    records = day(40_000, 45_000, 30_000)
    shares = edited(scope="{allotment: 2}")
    elsewhere = [replace(one, partition=5) for one in records]
    found = report(shares, elsewhere)
    assert not_judged(found) == {Why.NO_USAGE: 3}
    assert "got partition 5, expected one below 2" in found.not_judged[Why.NO_USAGE].detail
    # Another clock: what lies before the window of what was taken is not kept.
    early = replace(records[2], time="2026-03-01T09:00:00.000000Z")
    assert not_judged(report(shop_engine(), [*records[:2], early])) == {Why.NO_USAGE: 1}
    assert not_judged(report(shop_engine(), [records[1], records[0], records[1]])) == {Why.OUT_OF_ORDER: 2}
    unfit = {name: records[0].normalised[name] for name in ("principal", "action", "resource")}
    strange = (
        replace(records[0], normalised={**unfit, "unfit": "got an integer of 70 bits"}),
        replace(records[1], normalised={"principal": "me"}),
        replace(
            records[2], normalised={**records[2].normalised, "action": {"type": "Jurat::Action", "id": "fly"}}
        ),
        NotJudged(Why.UNREADABLE, "not a signed record", "there"),
    )
    found = report(shop_engine(), strange, old=shop_engine())
    assert not_judged(found) == {Why.UNFIT: 1, Why.MALFORMED: 1, Why.NEW_CANNOT: 1, Why.UNREADABLE: 1}
    assert (found.records, found.judged) == (4, 0)
    monkeypatch.setattr(backtest_judging, "MAX_PARTITIONS", 1)
    assert not_judged(report(shop_engine(), [records[0], elsewhere[0], records[1]])) == {Why.NO_USAGE: 1}


def test_what_is_remembered_of_answers_has_a_bound(edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest_judging, "MAX_ENDED", 2)
    escalated = day(60_000)[0]
    looser = edited(single="80000", day="9000000")
    judging = Simulated(looser)
    for number in range(4):
        asked = replace(escalated, about=f"dec_{number}", chain=f"c/{number}/0")
        judging.judge(asked, Why.NEW_CANNOT)
    answers = [
        judging.judge(replace(escalated, about=f"dec_{number}", chain=f"a/{number}/0"), Why.NEW_CANNOT)
        for number in (3, 2, 0)
    ]
    assert [getattr(one, "why", None) for one in answers] == [Why.NOT_ASKED, Why.NOT_ASKED, None]
