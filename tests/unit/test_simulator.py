"""The simulated marketplace: same seed, same bytes; sane proportions; a truth that does not leak."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.cli import simulate as simulate_command
from jurat.schemas.commerce import OrderPlaced, PaymentCaptured, PaymentFailed, PaymentRefunded
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import DisputeOpened, Party
from jurat.schemas.simulation import (
    DisputeCause,
    DisputeOutcome,
    FailureCause,
    FulfilmentOutcome,
    RetryOutcome,
    RetryWindow,
)
from jurat.streams import simulator
from jurat.streams.simulator import EVENT_TYPES, OUTCOME_TYPES, SimulatedEvent, simulate
from jurat.streams.simulator_draws import Draws
from jurat.streams.simulator_publish import LineSink, NullSink, json_line, send_simulation
from tests.golden.simulator.generate import GOLDEN, digests

START = datetime(2026, 1, 1, tzinfo=UTC)
SEEDS = range(20)


def run(seed: int, orders: int) -> list[SimulatedEvent]:
    return list(simulate(seed=seed, orders=orders, start=START))


@pytest.fixture(scope="module")
def marketplaces() -> dict[int, list[SimulatedEvent]]:
    """Twenty seeds of a demo's size."""
    return {seed: run(seed, 300) for seed in SEEDS}


def test_the_golden_bytes() -> None:
    assert digests() == GOLDEN.read_text(encoding="utf-8"), (
        "the simulation changed; if that was meant: python -m tests.golden.simulator.generate"
    )


def test_another_seed_is_another_marketplace() -> None:
    one, other = (
        {each.event_id for each in run(seed, 20) if "prod" not in each.event.key()} for seed in (1, 2)
    )
    assert not one & other
    orders = [[e.event.total for e in run(seed, 20) if isinstance(e.event, OrderPlaced)] for seed in (1, 2)]
    assert orders[0] != orders[1]


def test_another_start_moves_every_event() -> None:
    later = START + timedelta(days=1, microseconds=999)
    moved = simulate(seed=3, orders=30, start=later)
    gaps = {there.time - here.time for here, there in zip(run(3, 30), moved, strict=False)}
    assert gaps == {timedelta(days=1)}


@pytest.mark.parametrize("orders", [-1, simulator.MAX_ORDERS + 1])
def test_a_number_of_orders_out_of_bounds_is_refused_at_once(orders: int) -> None:
    with pytest.raises(ConfigurationError, match=f"got {orders} orders"):
        simulate(seed=1, orders=orders, start=START)


@pytest.mark.parametrize("start", [datetime(2026, 1, 1), datetime(2901, 1, 1, tzinfo=UTC)])  # noqa: DTZ001
def test_a_start_without_zone_or_out_of_bounds_is_refused_at_once(start: datetime) -> None:
    with pytest.raises(ConfigurationError, match="expected a time with a zone"):
        simulate(seed=1, orders=1, start=start)


def test_time_never_goes_back(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    for events in marketplaces.values():
        assert all(one.time <= two.time for one, two in pairwise(events))


def test_only_the_named_types_occur_and_each_does(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    for events in marketplaces.values():
        assert {type(each.event) for each in events} == {*EVENT_TYPES, *OUTCOME_TYPES}


def test_proportions(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    failed, disputed, refunded, again = [], [], [], 0
    for events in marketplaces.values():
        failed.append(sum(isinstance(e.event, RetryOutcome) for e in events))
        disputed.append(sum(isinstance(e.event, DisputeOpened) for e in events))
        refunded.append(sum(isinstance(e.event, PaymentRefunded) for e in events))
        again += sum(isinstance(e.event, PaymentFailed) and e.event.attempt > 1 for e in events)
        assert 280 <= sum(isinstance(e.event, PaymentCaptured) for e in events) + failed[-1] <= 300
    # Of 300 orders: some 8 % failed charges, 4 % to 5 % disputes, 4 % refunds; every seed has some of each.
    assert 20 <= statistics.mean(failed) <= 29
    assert min(failed) >= 10
    assert max(failed) <= 45
    assert 11 <= statistics.mean(disputed) <= 17
    assert min(disputed) >= 5
    assert max(disputed) <= 28
    assert 8 <= statistics.mean(refunded) <= 16
    assert 0.15 <= again / sum(failed) <= 0.40


def failures(events: Iterable[SimulatedEvent]) -> dict[str, list[tuple[datetime, PaymentFailed]]]:
    by_payment = defaultdict(list)
    for each in events:
        if isinstance(each.event, PaymentFailed):
            by_payment[each.event.payment_id].append((each.time, each.event))
    return by_payment


def test_every_failed_payment_has_one_outcome_that_its_attempts_bear_out(
    marketplaces: dict[int, list[SimulatedEvent]],
) -> None:
    for events in marketplaces.values():
        truth = [e.event for e in events if isinstance(e.event, RetryOutcome)]
        failed = failures(events)
        assert sorted(each.payment_id for each in truth) == sorted(failed)
        for outcome in truth:
            attempts = failed[outcome.payment_id]
            assert [event.attempt for _, event in attempts] == list(range(1, len(attempts) + 1))
            assert not any(outcome.succeeds_at(when) for when, _ in attempts)
            assert all(window.opens_at > attempts[0][0] for window in outcome.windows)
            for one, two in pairwise(outcome.windows):
                assert one.closes_at is not None
                assert one.closes_at < two.opens_at


def test_every_dispute_and_order_has_one_outcome(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    for events in marketplaces.values():
        disputes = {e.event.dispute_id: e.event for e in events if isinstance(e.event, DisputeOpened)}
        rulings = [e.event for e in events if isinstance(e.event, DisputeOutcome)]
        assert sorted(each.dispute_id for each in rulings) == sorted(disputes)
        for ruling in rulings:
            amount_minor = disputes[ruling.dispute_id].amount.amount_minor
            assert ruling.right in (Party.BUYER, Party.SELLER)
            assert (ruling.fair_refund_minor > 0) == (ruling.right is Party.BUYER)
            assert ruling.fair_refund_minor <= amount_minor
        orders = [e.event.order_id for e in events if isinstance(e.event, OrderPlaced)]
        assert sorted(orders) == sorted(
            e.event.order_id for e in events if isinstance(e.event, FulfilmentOutcome)
        )
        assert len(orders) == 300


def test_codes_do_not_give_the_cause_away(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    ever: dict[str, set[bool]] = defaultdict(set)
    scores: dict[bool, list[int]] = {True: [], False: []}
    for events in marketplaces.values():
        failed = failures(events)
        for outcome in (e.event for e in events if isinstance(e.event, RetryOutcome)):
            first = failed[outcome.payment_id][0][1]
            ever[first.failure_code].add(outcome.ever)
            scores[outcome.fraudulent].append(first.fraud_score)
    for code in ("insufficient_funds", "do_not_honor", "card_expired", "suspected_fraud", "invalid_cvc"):
        assert ever[code] == {True, False}, code
    assert {"processor_timeout", "lost_or_stolen"} <= set(ever)
    assert statistics.mean(scores[True]) > statistics.mean(scores[False]) + 25
    assert min(scores[True]) < max(scores[False]), "the fraud score tells fraud apart without error"


def test_evidence_is_right_more_often_than_not_and_not_always(
    marketplaces: dict[int, list[SimulatedEvent]],
) -> None:
    agrees: Counter[bool] = Counter()
    right: Counter[Party] = Counter()
    for events in marketplaces.values():
        truth = {e.event.dispute_id: e.event.right for e in events if isinstance(e.event, DisputeOutcome)}
        right.update(truth.values())
        for event in (e.event for e in events if isinstance(e.event, DisputeOpened)):
            agrees.update(piece.supports is truth[event.dispute_id] for piece in event.evidence)
    assert 0.65 <= agrees[True] / agrees.total() <= 0.90
    assert 0.5 <= right[Party.BUYER] / right.total() <= 0.8


def test_some_statements_try_to_give_orders_and_most_differ(
    marketplaces: dict[int, list[SimulatedEvent]],
) -> None:
    opened = [e.event for es in marketplaces.values() for e in es if isinstance(e.event, DisputeOpened)]
    texts = [statement.text for event in opened for statement in event.statements]
    assert 0.02 <= sum(len(event.statements) > 2 for event in opened) / len(opened) <= 0.12
    assert any("Ignore your instructions" in text for text in texts)
    assert len(set(texts)) > len(texts) // 3
    assert not any(f"{{{slot}}}" in text for text in texts for slot in ("item", "days", "amount", "order"))


def test_the_truth_stays_out_of_the_events(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    hidden = {field for each in OUTCOME_TYPES for field in each.model_fields} - {
        "order_id",
        "payment_id",
        "dispute_id",
    }
    hidden |= {cause.value for kind in (DisputeCause, FailureCause) for cause in kind}
    for events in marketplaces.values():
        visible = [each for each in events if not each.is_outcome]
        for number, each in enumerate(visible, start=1):
            # A gap in the ids would show where an outcome was taken out.
            assert each.event_id.endswith(f"-{number:07d}")
            words = set(json_line(each).decode().replace('"', " ").replace(":", " ").split())
            assert not words & hidden
        ids = [e.event.dispute_id for e in visible if isinstance(e.event, DisputeOpened)]
        assert [int(each[-5:]) for each in ids] == list(range(1, len(ids) + 1))


def test_ids_are_unique(marketplaces: dict[int, list[SimulatedEvent]]) -> None:
    for events in marketplaces.values():
        assert len({each.event_id for each in events}) == len(events)


def test_a_window_counts_its_beginning_and_not_its_end() -> None:
    closes_at = START + timedelta(hours=1)
    outcome = RetryOutcome(
        payment_id="p",
        cause=FailureCause.AWAITING_FUNDS,
        windows=(
            RetryWindow(opens_at=START, closes_at=closes_at),
            RetryWindow(opens_at=closes_at + timedelta(days=1)),
        ),
        fraudulent=False,
        already_charged=False,
    )
    second = timedelta(seconds=1)
    moments = (START - second, START, closes_at - second, closes_at, START + timedelta(days=400))
    assert [outcome.succeeds_at(moment) for moment in moments] == [False, True, True, False, True]
    assert outcome.ever


@pytest.mark.parametrize(
    "cause", [FailureCause.NO_FUNDS, FailureCause.CUSTOMER_GONE, FailureCause.ISSUER_HARD_DECLINE]
)
def test_a_hopeless_cause_never_succeeds(
    cause: FailureCause, marketplaces: dict[int, list[SimulatedEvent]]
) -> None:
    outcomes = [e.event for es in marketplaces.values() for e in es if isinstance(e.event, RetryOutcome)]
    found = [each for each in outcomes if each.cause is cause]
    assert found
    assert not any(each.ever for each in found)


def test_a_million_orders_begin_at_once_and_stay_small() -> None:
    began_s = time.perf_counter()
    market = simulator._Marketplace(7, 1_000_000, 0)
    events = market.run()
    next(events)
    assert time.perf_counter() - began_s < 5  # all of them take a minute
    most = 0
    for _ in islice(events, 40_000):
        most = max(most, len(market._agenda))
    assert most < 6_000
    assert len(market._customers._active) <= 10_000


def test_draws_follow_their_label_and_bounds() -> None:
    first, same, other = Draws(7, "a"), Draws(7, "a"), Draws(7, "b")
    sequence = [first.below(1000) for _ in range(200)]
    assert sequence == [same.below(1000) for _ in range(200)]
    assert sequence != [other.below(1000) for _ in range(200)]
    assert {first.between(3, 5) for _ in range(200)} == {3, 4, 5}
    assert {first.weighted((("x", 1), ("never", 0), ("y", 1))) for _ in range(200)} == {"x", "y"}
    waits = [first.wait(600) for _ in range(5000)]
    assert math.isclose(statistics.mean(waits), 600, rel_tol=0.1)
    assert max(waits) < 5 * 600


async def test_pace_is_kept_and_made_up_for() -> None:
    now_s, slept, sent_at = 0.0, [], []

    async def sleep(wait_s: float) -> None:
        nonlocal now_s
        slept.append(wait_s)
        now_s += wait_s

    def write(_line: bytes) -> None:
        nonlocal now_s
        sent_at.append(now_s)
        if len(sent_at) == 10:
            now_s += 1.0  # a second in which nothing could be sent

    sent = await send_simulation(
        simulate(seed=1, orders=20, start=START),
        events=LineSink(write),
        outcomes=NullSink(),
        rate_per_s=10,
        clock=lambda: now_s,
        sleep=sleep,
    )
    assert sent.total == len(sent_at)
    assert sent_at[9] == pytest.approx(0.9)
    assert sent_at[11] == pytest.approx(1.9)
    assert sent_at[-1] == pytest.approx((len(sent_at) - 1) / 10)
    assert all(wait_s > 0 for wait_s in slept)


async def test_a_rate_out_of_bounds_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got a rate of -1"):
        await send_simulation([], events=NullSink(), outcomes=NullSink(), rate_per_s=-1)


def invoke(*arguments: str) -> tuple[int, bytes]:
    result = CliRunner().invoke(simulate_command.command, ["--rate", "0", "--orders", "200", *arguments])
    return result.exit_code, result.stdout_bytes


def test_the_command_prints_the_golden_lines_without_kafka(tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes.jsonl"
    code, printed = invoke("--output", "-", "--outcomes", str(outcomes))
    assert code == 0
    everything = run(7, 200)
    assert printed == b"".join(json_line(each) for each in everything if not each.is_outcome)
    assert outcomes.read_bytes() == b"".join(json_line(each) for each in everything if each.is_outcome)
    line = json.loads(printed.splitlines()[0])
    assert list(line) == ["topic", "key", "id", "type", "time", "data"]
    assert line["time"] == "2026-01-01T00:00:00Z"


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    code, printed = invoke("--output", str(output), "--seed", "3")
    assert code == 0
    assert printed == b""
    assert output.read_bytes() == b"".join(json_line(each) for each in run(3, 200) if not each.is_outcome)


def test_the_command_refuses_one_file_for_both(tmp_path: Path) -> None:
    both = str(tmp_path / "both.jsonl")
    result = CliRunner().invoke(simulate_command.command, ["--output", both, "--outcomes", both])
    assert isinstance(result.exception, ConfigurationError)


def test_the_command_refuses_a_start_that_is_no_time() -> None:
    result = CliRunner().invoke(simulate_command.command, ["--output", "-", "--start", "soon"])
    assert result.exit_code == 2
    assert "expected a time like" in result.stderr
