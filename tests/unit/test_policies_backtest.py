"""A changed bundle on past decisions: what flips is known beforehand, from the amounts alone."""

from __future__ import annotations

import random
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from jurat.agents.dispute_actions import RefundBuyer
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.audit.log import Fault, LogEntry, Place
from jurat.audit.record import Outcome
from jurat.policies import PolicyEngine, backtest, load_bundle, shipped_bundle
from jurat.policies.backtest import Backtest
from jurat.policies.backtest_past import NotJudged, PastDecision, Why, amount_of
from jurat.policies.backtest_report import Amount, BacktestReport, Change, Counted, Said
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Evidence, Party
from jurat.schemas.model import Money
from jurat.streams.past_decisions import VERDICT_OF, WHY_NOT
from tests.past_log import PastLog, past_of
from tests.shop import Insisting, shop_engine

CENTS = tuple(range(5_000, 100_000, 2_500))
LIMIT, LOWER, HIGHER = 50_000, 20_000, 80_000
OVER = "dispute.refund.over-500"


class FullRefund:
    """A reasoner that would give every buyer everything."""

    name = "full-refund"
    deterministic = True

    async def propose(self, request: ProposalRequest) -> Proposal:
        event: DisputeOpened = request.situation.event
        amount = event.amount
        action = RefundBuyer(amount_minor=amount.amount_minor, currency=amount.currency)
        return Proposal(action, "the customer is king")


ALONE = replace(DISPUTE_MEDIATOR, fallback=lambda _situation: None)


def dispute(number: int, cents: int, *, currency: str = "EUR") -> DisputeOpened:
    return DisputeOpened(
        dispute_id=f"d-{number}",
        order_id=f"o-{number}",
        customer_id=f"c-{number}",  # each their own, so that no budget ends
        seller_id="s-1",
        amount=Money(amount_minor=cents, currency=currency),
        category=DisputeCategory.DAMAGED,
        statements=(),
        evidence=(Evidence(party=Party.BUYER, kind="photo", supports=Party.BUYER),),
        days_since_delivery=3,
        seller_dispute_rate_percent=1,
        buyer_prior_disputes=0,
    )


@cache
def log() -> tuple[LogEntry, ...]:
    disputes = [
        dispute(number, cents, currency="EUR" if number % 3 else "USD") for number, cents in enumerate(CENTS)
    ]
    return tuple(PastLog(ALONE, shop_engine(), FullRefund()).decide(disputes).entries)


def pasts() -> list[PastDecision]:
    found = [past_of(entry) for entry in log()]
    assert len(found) == len(CENTS)
    return [one for one in found if isinstance(one, PastDecision)]


def report(
    engine: PolicyEngine, *records: PastDecision | NotJudged, old: PolicyEngine | None = None
) -> BacktestReport:
    made = Backtest(engine, old=old)
    for one in records:
        made.add(one)
    return made.report()


Changed = Callable[[str, str, str], PolicyEngine]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """The shop's bundle with something else in one of its files."""

    def change(file: str, old: str, new: str) -> PolicyEngine:
        folder = tmp_path / f"shop-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(shipped_bundle("shop"), folder)
        text = (folder / file).read_text()
        assert text.count(old) == 1
        (folder / file).write_text(text.replace(old, new))
        return PolicyEngine(load_bundle(folder))

    return change


def limit(changed: Changed, cents: int) -> PolicyEngine:
    return changed("disputes.cedar", f"context.amount_minor > {LIMIT}", f"context.amount_minor > {cents}")


def money(*, above: int, up_to: int) -> dict[str, int]:
    sums: dict[str, int] = {}
    for number, cents in enumerate(CENTS):
        if above < cents <= up_to:
            currency = "EUR" if number % 3 else "USD"
            sums[currency] = sums.get(currency, 0) + cents
    return sums


def test_the_bundle_that_judged_changes_nothing() -> None:
    found = report(shop_engine(), *pasts(), old=shop_engine())
    assert (found.records, found.judged, found.unchanged) == (len(CENTS),) * 3
    assert (found.other_policies, found.not_reproduced, found.by_policy) == (0, 0, {})
    assert found.digests == {shop_engine().digest: len(CENTS)}


def test_a_lower_limit_escalates_exactly_what_lies_between(changed: Changed) -> None:
    found = report(limit(changed, LOWER), *pasts())
    between = [cents for cents in CENTS if LOWER < cents <= LIMIT]
    one = found.changes[Change.ESCALATED]
    assert (one.total.decisions, one.was) == (len(between), {Verdict.ALLOW: len(between)})
    assert one.total.money == money(above=LOWER, up_to=LIMIT)
    assert set(one.total.money) == {"EUR", "USD"}
    assert one.total.without_amount == 0
    assert found.unchanged == len(CENTS) - len(between)
    assert found.changes[Change.ALLOWED].total.decisions == found.changes[Change.DENIED].total.decisions == 0
    assert found.by_policy == {OVER: {Change.ESCALATED: one.total}}
    assert found.by_agent == {"dispute-mediator": {Change.ESCALATED: one.total}}
    assert found.by_action == {"refund_buyer": {Change.ESCALATED: one.total}}
    assert [example.amount for example in one.examples] == [
        Amount(cents, "EUR" if CENTS.index(cents) % 3 else "USD") for cents in between[:3]
    ]
    first = one.examples[0]
    assert first.place == f"topic audit.decisions, partition 0, offset {CENTS.index(between[0])}"
    assert (first.was.policies, first.now.policies) == (("dispute.refund.grant",), (OVER,))
    assert first.now.reasons == ("Refunds above 500.00 need the payments lead",)


def test_a_higher_limit_allows_exactly_what_lies_between(changed: Changed) -> None:
    found = report(limit(changed, HIGHER), *pasts())
    between = [cents for cents in CENTS if LIMIT < cents <= HIGHER]
    one = found.changes[Change.ALLOWED]
    assert (one.total.decisions, one.was) == (len(between), {Verdict.ESCALATE: len(between)})
    assert one.total.money == money(above=LIMIT, up_to=HIGHER)
    # It is the policy that let go that counts, not the permit that was there all along.
    assert found.by_policy == {OVER: {Change.ALLOWED: one.total}}
    assert found.titles == {OVER: "Refunds above 500.00 need the payments lead"}


def test_without_its_permit_everything_is_newly_denied_by_no_policy(changed: Changed) -> None:
    engine = changed(
        "disputes.cedar",
        'action in [Jurat::Action::"refund_buyer", Jurat::Action::"partial_refund"],\n  resource is',
        'action in [Jurat::Action::"partial_refund"],\n  resource is',
    )
    found = report(engine, *pasts())
    below = sum(cents <= LIMIT for cents in CENTS)
    one = found.changes[Change.DENIED]
    assert one.was == {Verdict.ALLOW: below, Verdict.ESCALATE: len(CENTS) - below}
    assert found.by_policy == {backtest.NO_POLICY: {Change.DENIED: one.total}}
    assert found.titles == {backtest.NO_POLICY: ""}
    assert one.examples[0].now.reasons == ("no policy permits this",)


def test_a_policy_that_cannot_be_evaluated_denies_and_says_so(changed: Changed) -> None:
    """It would in production: this is no record that cannot be judged."""
    overflows = "context.amount_minor * 9000000000000000 > 1"
    found = report(changed("disputes.cedar", f"context.amount_minor > {LIMIT}", overflows), *pasts())
    assert (found.judged, found.not_judged) == (len(CENTS), {})
    one = found.changes[Change.DENIED]
    assert one.total.decisions == len(CENTS)
    assert any("overflow" in reason for reason in one.examples[0].now.reasons)


def test_another_reason_for_the_same_verdict_is_unchanged_and_counted(changed: Changed) -> None:
    engine = changed("disputes.cedar", f'@id("{OVER}")', '@id("dispute.refund.large")')
    found = report(engine, *pasts())
    assert found.unchanged == len(CENTS)
    assert found.other_policies == sum(cents > LIMIT for cents in CENTS)


def test_an_old_bundle_is_compared_with_and_held_against_the_records(changed: Changed) -> None:
    lower, higher = limit(changed, LOWER), limit(changed, HIGHER)
    found = report(higher, *pasts(), old=lower)
    assert found.changes[Change.ALLOWED].total.decisions == sum(LOWER < cents <= HIGHER for cents in CENTS)
    assert found.not_reproduced == sum(LOWER < cents <= LIMIT for cents in CENTS)
    first = found.mismatches[0]
    assert (first.was.verdict, first.now.verdict) == (Verdict.ALLOW, Verdict.ESCALATE)


def test_a_record_that_says_what_its_bundle_does_not_is_reported() -> None:
    forged = replace(pasts()[0], said=Said(Verdict.DENY, ("x",), ("X",)))
    found = report(shop_engine(), forged, old=shop_engine())
    assert (found.not_reproduced, found.unchanged) == (1, 1)
    assert found.mismatches[0].was.policies == ("x",)


def test_what_cannot_be_judged_is_counted_with_its_reason() -> None:
    one = pasts()[0]
    context = one.normalised["context"]
    assert isinstance(context, dict)
    other_schema = {name: value for name, value in context.items() if name != "currency"}
    unfit = {name: one.normalised[name] for name in ("principal", "action", "resource")}
    after_sales = PolicyEngine(load_bundle(shipped_bundle("after_sales")))
    records = (
        one,
        replace(one, normalised={**one.normalised, "context": other_schema}),
        replace(one, normalised={**one.normalised, "action": {"type": "Jurat::Action", "id": "fly"}}),
        replace(one, normalised={**unfit, "unfit": "got an integer of 70 bits"}),
        replace(one, normalised={"principal": "me"}),
        past_of(Fault(Place("audit.decisions", 0, 7), "not a signed record")),
        past_of(replace(log()[0], record=log()[0].record.model_copy(update={"payload": b"{}"}))),
        NotJudged(Why.REJECTED, "it ended rejected", "there"),
    )
    found = report(shop_engine(), *records)
    assert {why: each.records for why, each in found.not_judged.items()} == {
        Why.NEW_CANNOT: 2,
        Why.UNFIT: 1,
        Why.MALFORMED: 1,
        Why.UNREADABLE: 2,
        Why.REJECTED: 1,
    }
    assert (
        "currency" in found.not_judged[Why.NEW_CANNOT].detail
        or "fly" in found.not_judged[Why.NEW_CANNOT].detail
    )
    assert (found.records, found.judged) == (len(records), 1)
    elsewhere = report(after_sales, one)
    assert "got the agent dispute-mediator" in elsewhere.not_judged[Why.NEW_CANNOT].detail
    compared = report(shop_engine(), one, old=after_sales)
    assert (compared.judged, compared.not_judged[Why.OLD_CANNOT].records) == (0, 1)


def test_refused_proposals_are_counted_and_not_judged(changed: Changed) -> None:
    strict = changed("disputes.cedar", "resource.evidence_for_buyer == 0", "resource.evidence_for_buyer < 9")
    made = PastLog(DISPUTE_MEDIATOR, strict, FullRefund()).decide([dispute(1, 1_000)])
    found = report(shop_engine(), *map(past_of, made.entries))
    assert (found.reconsidered, found.refused, found.judged, found.unchanged) == (1, 3, 1, 1)


def test_the_report_is_the_same_in_any_order(changed: Changed) -> None:
    engine = limit(changed, LOWER)
    records = [
        *pasts(),
        *(NotJudged(Why.REJECTED, f"because of {end}", f"there {end}") for end in "ba"),
        *(replace(one, normalised={**one.normalised, "context": {}}) for one in pasts()[:9]),
    ]
    expected = report(engine, *records).to_json()
    for seed in range(5):
        shuffled = random.Random(seed).sample(records, len(records))
        assert report(engine, *shuffled).to_json() == expected


def test_what_is_kept_has_bounds(changed: Changed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "MAX_NAMES", 2)
    records = [
        replace(one, agent=f"a-{number}", digest=f"{number:064}") for number, one in enumerate(pasts())
    ]
    found = report(limit(changed, 0), *records)
    flipped = sum(cents <= LIMIT for cents in CENTS)
    assert set(found.by_agent) == {"a-0", "a-1", backtest.OTHERS}
    assert found.by_agent[backtest.OTHERS][Change.ESCALATED].decisions == flipped - 2
    assert len(found.digests) == 3
    assert sum(found.digests.values()) == len(CENTS)
    assert len(found.changes[Change.ESCALATED].examples) == backtest.DEFAULT_EXAMPLES
    for number in (-1, backtest.MAX_EXAMPLES + 1):
        with pytest.raises(ConfigurationError, match="expected 0 to 100"):
            Backtest(shop_engine(), examples=number)


def test_an_input_that_no_policy_was_asked_about_says_how_it_ended() -> None:
    made = PastLog(ALONE, shop_engine(), Insisting(RefundBuyer.model_construct(amount_minor="all")))
    made.decide([dispute(1, 1_000)])
    made.decide([dispute(2, 1_000)])
    first, second = (past_of(entry) for entry in made.entries)
    assert isinstance(first, NotJudged)
    assert (first.why, first.place) == (Why.REJECTED, "topic audit.decisions, partition 0, offset 0")
    assert "ProposalInvalid: got a malformed proposal of refund_buyer" in first.detail
    found = report(shop_engine(), first, second)
    assert found.not_judged == {Why.REJECTED.value: Counted(2, first.place, first.detail)}
    assert {why for outcome, why in WHY_NOT.items()} < set(Why)
    assert set(WHY_NOT) | set(VERDICT_OF) == set(Outcome)


def test_memory_does_not_grow_with_the_log(changed: Changed) -> None:
    engine, first = limit(changed, 0), pasts()[0]

    def peak(count: int) -> int:
        made = Backtest(engine)
        tracemalloc.start()
        for number in range(count):
            made.add(replace(first, decision_id=f"dec_{number:05}", time=f"{number:05}"))
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return kept

    peak(10)  # what is made once
    assert peak(1_000) < peak(100) + 2_000


def test_an_amount_is_what_the_request_states() -> None:
    resource = {"type": "Jurat::Order", "id": "o"}
    held = {"amount_minor": 7, "currency": "EUR"}
    entity = {"uid": resource, "attrs": held, "parents": []}
    other = {"uid": {"type": "Jurat::Order", "id": "p"}, "attrs": {**held, "amount_minor": 9}, "parents": []}
    said = {"amount_minor": 5, "currency": "USD"}
    base = {"resource": resource, "entities": [other, entity]}
    assert amount_of({**base, "context": {**said}}) == Amount(5, "USD")
    assert amount_of({**base, "context": {}}) == Amount(7, "EUR")
    assert amount_of({**base, "context": {"amount_minor": 5}}) == Amount(7, "EUR")
    assert amount_of({**base, "context": {**said, "amount_minor": True}}) == Amount(7, "EUR")
    assert amount_of({**base, "entities": [other], "context": {}}) is None
    assert amount_of({"principal": {}, "unfit": "x"}) is None
