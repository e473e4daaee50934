"""A changed rule of the shop on the retail data: exactly the requests flip that the data say must.

What must flip is worked out from the raw data alone, by the oracle of `retail_oracle.py` with and without the rule.
"""

from __future__ import annotations

import functools
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.requested import RequestedReasoner
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.policies.backtest import MAX_EXAMPLES, Backtest
from jurat.policies.backtest_report import BacktestReport, Change, Changed
from jurat.schemas.commerce import AfterSalesRequested
from jurat.schemas.decision import Verdict
from jurat.streams.retail_dataset import read_retail
from tests.kernel_driver import Documents, folded
from tests.past_log import PastLog, past_of
from tests.retail_data import DB, db, needs_retail_data
from tests.retail_negatives import MODIFY, Ask, Cases, all_cases, changed
from tests.retail_oracle import Raw, Shop
from tests.retail_random import random_ask

pytestmark = needs_retail_data

SEED = 11
RANDOM_REQUESTS = 500
RULE = "modify.different-item"


class WithoutTheRule(Shop):
    """The shop as it would be if a modification could name the same item."""

    def _modify(self, order: Raw, args: Raw, user: Raw) -> bool:
        return order["status"] == "pending" and self._replaceable(order, args, user)


@functools.cache
def documents() -> Documents:
    return folded(AFTER_SALES, (one.event for one in read_retail(DB)))


@functools.cache
def strict() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle(AFTER_SALES.bundle)))


@pytest.fixture
def lenient(tmp_path: Path) -> PolicyEngine:
    """The shop's bundle without the rule."""
    folder = Path(shutil.copytree(shipped_bundle(AFTER_SALES.bundle), tmp_path / "after_sales-lenient"))
    rules = folder / "modify.cedar"
    text, count = re.subn(rf'@id\("{RULE}"\).*?;\n', "", rules.read_text(), flags=re.DOTALL)
    assert count == 1
    rules.write_text(text)
    return PolicyEngine(load_bundle(folder))


def requests() -> list[Ask]:
    """Requests of every kind, and modifications to the same item: whole orders, single pieces, other faults beside."""
    rng = random.Random(SEED)
    asks = [case.ask for case in all_cases(db())[::20] if not case.before]
    asks += [random_ask(rng, db()) for _ in range(RANDOM_REQUESTS)]
    asks += list(_to_the_same_item())
    rng.shuffle(asks)
    return asks


def _to_the_same_item() -> Iterator[Ask]:
    cases = Cases(db())
    for number, (order, ask) in enumerate(cases.fine_orders(MODIFY)):
        if number % 3:
            continue
        pieces = [item["item_id"] for item in order["items"]]
        yield changed(ask, item_ids=pieces, new_item_ids=pieces)
        yield changed(ask, item_ids=pieces[:1], new_item_ids=pieces[:1], payment_method_id="nobody's")
        yield changed(ask, item_ids=[*pieces[:1], *ask.args["item_ids"]], new_item_ids=[pieces[0], pieces[0]])


def decide(engine: PolicyEngine, asks: list[Ask]) -> PastLog:
    """Have the worker's own decider decide all of it, each with its effect on what comes after."""
    log = PastLog(AFTER_SALES, engine, RequestedReasoner(), documents())
    return log.decide(
        AfterSalesRequested(request_id=f"r-{number}", customer_id=ask.key, action=ask.action, args=ask.args)
        for number, ask in enumerate(asks)
    )


def flips(asks: list[Ask], *, recorded: type[Shop], tried: type[Shop]) -> dict[str, Ask]:
    """The requests of which two shops say something else, while the first one does what it allows."""
    shop = recorded(db())
    other = tried(db())
    other._orders, other._users = shop._orders, shop._users  # one shop, two minds
    found: dict[str, Ask] = {}
    for number, ask in enumerate(asks):
        allowed = shop.allows(ask.key, ask.action, ask.args)
        if allowed != other.allows(ask.key, ask.action, ask.args):
            found[f"r-{number}"] = ask
        if allowed:
            shop.apply(ask.key, ask.action, ask.args)
    return found


def difference_minor(ask: Ask) -> int:
    """What a modification of an order that nobody changed before moves, from the raw data."""
    shop = Shop(db())
    return abs(int(100 * shop.difference(db()["orders"][ask.args["order_id"]], ask.args)))


def judged(log: PastLog, engine: PolicyEngine) -> BacktestReport:
    made = Backtest(engine, old=log.engine, examples=MAX_EXAMPLES)
    for entry in log.entries:
        made.add(past_of(entry))
    return made.report()


def flipped(log: PastLog, change: Changed) -> set[str]:
    """The requests behind the examples, which must be all of the change."""
    request_of: dict[str, Any] = {
        one.decision.id: one.decision.request_id for one in log.made if one.decision is not None
    }
    assert len(change.examples) == change.total.decisions < MAX_EXAMPLES
    return {request_of[example.decision_id] for example in change.examples}


def test_forbidding_the_same_item_denies_exactly_those_requests(lenient: PolicyEngine) -> None:
    asks = requests()
    log = decide(lenient, asks)
    report = judged(log, strict())
    expected = flips(asks, recorded=WithoutTheRule, tried=Shop)
    denied = report.changes[Change.DENIED]
    assert flipped(log, denied) == set(expected)
    assert len(expected) > 20
    assert {ask.action for ask in expected.values()} == {MODIFY}
    assert denied.was == {Verdict.ALLOW: len(expected)}
    moved = sum(map(difference_minor, expected.values()))
    assert (denied.total.money, denied.total.without_amount) == ({"USD": moved}, 0)
    assert moved > 0
    assert (
        report.changes[Change.ALLOWED].total.decisions
        == report.changes[Change.ESCALATED].total.decisions
        == 0
    )
    assert set(report.by_policy) == {RULE}
    assert report.titles == {RULE: "A modification replaces an item by a different one"}
    # Others break the rule too, and break another one beside it: they were denied, and still are.
    assert report.other_policies > 10
    assert report.not_reproduced == 0
    assert report.records == len(asks) == report.judged


def test_allowing_the_same_item_allows_exactly_those_requests(lenient: PolicyEngine) -> None:
    asks = requests()
    log = decide(strict(), asks)
    report = judged(log, lenient)
    expected = flips(asks, recorded=Shop, tried=WithoutTheRule)
    allowed = report.changes[Change.ALLOWED]
    assert flipped(log, allowed) == set(expected)
    assert len(expected) > 20
    assert allowed.was == {Verdict.DENY: len(expected)}
    assert report.changes[Change.DENIED].total.decisions == 0
    assert set(report.by_policy) == {RULE}
    assert report.not_reproduced == 0


def test_every_rule_of_the_shop_decides_some_case_of_the_data() -> None:
    """The data's rules are covered whole: each policy of the bundle is met by a case that only it decides.

    One is not in the data, whose prices have no currency; `test_after_sales.py` meets it.
    """
    alone = {case.policies[0] for case in all_cases(db()) if len(case.policies) == 1}
    assert set(strict().bundle.policies) - alone == {"items.one-currency"}
