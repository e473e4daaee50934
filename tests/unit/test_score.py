"""Scoring: what a run counts, what the statistics say, what the command prints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean, stdev

import pytest
from click.testing import CliRunner

from jurat.agents.agent import Action
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER, AskForNewMethod, RetryCharge
from jurat.cli import score as cli
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.commerce import OrderCancelled, PaymentFailed
from jurat.schemas.model import Event
from jurat.streams.score import Engines, Rule, play
from jurat.streams.score_stats import differences, interval
from jurat.streams.score_world import Step, Tally, World
from tests.shop import NOW, Down, Insisting, euros


def failed(
    code: str = "insufficient_funds", *, fraud: int = 0, attempt: int = 1, cents: int = 5_000
) -> PaymentFailed:
    return PaymentFailed(
        payment_id="p-1",
        order_id="o-1",
        customer_id="c-1",
        payment_method_id="card-1",
        amount=euros(cents),
        failure_code=code,
        attempt=attempt,
        fraud_score=fraud,
    )


def world_of(*events: Event, seen: list[Action | None] | None = None) -> World:
    """A world in which these events happen, an hour apart; it is worth one for each action that was done."""

    def run(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
        done = 0
        for number, event in enumerate(events[:cases]):
            action = yield Step(event, NOW + timedelta(hours=number))
            done += action is not None
            if seen is not None:
                seen.append(action)
        return Tally(seed * done, cases)

    return World(
        name="test",
        agent=PAYMENT_RETRIER,
        rule=lambda _situation: RetryCharge(after_minutes=24 * 60),
        rule_title="a day later",
        currency="EUR",
        play=run,
    )


@pytest.fixture(scope="module")
def engines() -> Engines:
    bundle = load_bundle(shipped_bundle("shop"))
    return Engines(PolicyEngine(bundle), PolicyEngine(bundle))


def test_a_run_counts_what_came_of_each_input(engines: Engines) -> None:
    seen: list[Action | None] = []
    events = (
        failed(),
        OrderCancelled(order_id="o-1", customer_id="c-1", reason="r"),
        failed("lost_or_stolen"),
        failed(fraud=55, cents=30_000),
    )
    world = world_of(*events, seen=seen)
    run = asyncio.run(play(world, seed=7, cases=4, by=Rule(world.rule), engines=engines))
    assert (run.decided, run.escalated, run.denied, run.rejected) == (2, 1, 0, 0)
    assert run.tally == Tally(14, 4)
    assert seen == [RetryCharge(after_minutes=1_440), None, AskForNewMethod(), None]
    assert run.breaches == 0


def test_without_a_reasoner_the_agents_own_fallback_plays(engines: Engines) -> None:
    seen: list[Action | None] = []
    run = asyncio.run(play(world_of(failed(), seen=seen), seed=1, cases=1, by=Down(), engines=engines))
    assert seen == [AskForNewMethod()]
    assert run.decided == 1


def test_what_nobody_can_propose_for_is_rejected_and_counted(engines: Engines) -> None:
    mute = replace(PAYMENT_RETRIER, fallback=lambda _situation: None)
    world = replace(world_of(failed()), agent=mute)
    run = asyncio.run(play(world, seed=1, cases=1, by=Down(), engines=engines))
    assert (run.decided, run.rejected) == (0, 1)


def test_an_action_that_the_second_engine_does_not_allow_is_a_breach(
    tmp_path: Path, engines: Engines
) -> None:
    for path in shipped_bundle("shop").rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(shipped_bundle("shop"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(
                path.read_text().replace("context.after_minutes > 20160", "context.after_minutes > 60")
            )
    stricter = Engines(engines.judge, PolicyEngine(load_bundle(tmp_path)))
    insisting = Insisting(RetryCharge(after_minutes=1_440))
    run = asyncio.run(play(world_of(failed()), seed=1, cases=1, by=insisting, engines=stricter))
    assert (run.decided, run.breaches) == (1, 1)


def test_a_rule_has_no_second_thoughts(engines: Engines) -> None:
    world = world_of(failed(attempt=4))
    run = asyncio.run(play(world, seed=1, cases=1, by=Rule(world.rule), engines=engines))
    assert run.decided == 1, "the agent's fallback, once the rule is refused"
    assert Rule(world.rule).deterministic


def test_intervals_are_students() -> None:
    assert interval([3]).low is None
    values = [4, 8, 6, 10, 2]
    found = interval(values)
    assert found.mean == fmean(values) == 6
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(2.776 * stdev(values) / 5**0.5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert differences([5, 7], [4, 4]).mean == 2
    assert interval(list(range(200))).high is not None


def test_the_command_prints_what_was_played() -> None:
    words = ["retries", "--seeds", "2", "--first-seed", "40", "--cases", "5", "--json"]
    done = CliRunner().invoke(cli.command, words)
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.output)
    assert told["world"] == "retries"
    assert told["breaches"] == 0
    assert [len(told["runs"][who]) for who in ("agent", "rule")] == [2, 2]
    ours, theirs = ([run["value_minor"] for run in told["runs"][who]] for who in ("agent", "rule"))
    assert told["gained_minor"]["mean"] == fmean(a - b for a, b in zip(ours, theirs, strict=True))
    assert CliRunner().invoke(cli.command, words).output == done.output
    table = CliRunner().invoke(cli.command, words[:-1])
    assert "again after 1, 3 and 7 days" in table.output


def test_a_breach_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breached(*args: object, **kwargs: object) -> object:
        return replace(await play(*args, **kwargs), breaches=1)  # type: ignore[arg-type]

    monkeypatch.setattr(cli, "play", breached)
    done = CliRunner().invoke(cli.command, ["retries", "--seeds", "1", "--cases", "2"])
    assert done.exit_code == 1
    assert "do not allow" in done.output


def test_the_heuristic_is_asked_with_the_objectives_of_the_bundle(engines: Engines) -> None:
    asked = []

    class Watching(HeuristicReasoner):
        async def propose(self, request):  # type: ignore[no-untyped-def]
            asked.append(request.objectives)
            return await super().propose(request)

    asyncio.run(play(world_of(failed()), seed=1, cases=1, by=Watching(), engines=engines))
    assert asked == [engines.judge.bundle.objectives["payment-retrier"]]


def test_all_worlds_are_played_in_one_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = []

    class Connected(HeuristicReasoner):
        async def propose(self, request):  # type: ignore[no-untyped-def]
            loops.append(asyncio.get_running_loop())
            return await super().propose(request)

    monkeypatch.setattr(cli.models, "reasoner", lambda _name: nullcontext(Connected()))
    words = ["retries", "routing", "--seeds", "2", "--cases", "2", "--json"]
    done = CliRunner().invoke(cli.command, words)
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output)) == 2
    assert len(loops) > 2
    assert all(loop is loops[0] for loop in loops)


def test_a_model_that_decides_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:

    @asynccontextmanager
    async def down(_name: str) -> AsyncIterator[Down]:
        yield Down()

    monkeypatch.setattr(cli.models, "reasoner", down)
    done = CliRunner().invoke(cli.command, ["retries", "--seeds", "1", "--cases", "3", "--json"])
    assert done.exit_code == 1
    (told,) = json.loads(done.stdout)
    (run,) = told["runs"]["agent"]
    assert run["failed"] == run["decided"] + run["escalated"] + run["denied"] > 0
    assert told["runs"]["rule"][0]["failed"] == 0
    assert f"retries: the reasoner down failed in {run['failed']} of {run['failed']} cases" in done.stderr
    assert "is its server up?" in done.stderr
