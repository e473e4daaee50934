"""The chaos in short: a death at every numbered step, a few at none, a zombie; and the oracle is known to bite.

`make chaos` is the long form. Everything runs at once, as most of it is waiting for sessions to time out; the tests
below look at what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.broker_fixture import Kafka
from tests.chaos.arena import Arena, Manner
from tests.chaos.campaign import Battlefield, Outcome, Wanted, battlefield, fight
from tests.chaos.checks import Report
from tests.chaos.mutations import Mutation
from tests.chaos.orders import Orders
from tests.chaos.scenarios import crash_inside_a_transaction, sleep_inside_a_transaction
from tests.chaos.steps import STEPS, StepMissing, check_steps

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1_200)]

SEED = 20_261_122
SHORT = Wanted(
    seed=SEED,
    kills=60,
    within_s=600.0,  # two minutes on an idle machine
    arenas=4,
    manner=Manner(workers=(3, 4), wave_s=10.0, armed=0.95, frozen=0.02, events_per_s=8.0, patience=2),
)
COURSES: dict[tuple[str, Mutation], Callable[[Arena], Awaitable[None]]] = {
    ("crash", Mutation.NONE): crash_inside_a_transaction,
    ("crash", Mutation.NO_TRANSACTIONS): crash_inside_a_transaction,
    ("sleep", Mutation.NONE): sleep_inside_a_transaction,
    ("sleep", Mutation.ID_PER_PROCESS): sleep_inside_a_transaction,
}


@dataclass
class Short:
    """What came of everything."""

    outcome: Outcome
    courses: dict[tuple[str, Mutation], Report]


@pytest.fixture(scope="module")
def short(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Short:
    """Everything, run at once."""
    return asyncio.run(_everything(tmp_path_factory.mktemp("chaos"), kafka.bootstrap_servers))


async def _everything(folder: Path, bootstrap_servers: str) -> Short:
    async with battlefield(folder, bootstrap_servers, seed=SEED) as where, asyncio.TaskGroup() as group:
        fighting = group.create_task(fight(SHORT, where, Orders(Random(SEED))))
        courses = {
            (name, mutation): group.create_task(_course(where, name, mutation, course))
            for (name, mutation), course in COURSES.items()
        }
        reports = {named: await task for named, task in courses.items()}
        return Short(await fighting, reports)


async def _course(
    where: Battlefield, name: str, mutation: Mutation, course: Callable[[Arena], Awaitable[None]]
) -> Report:
    arena = await where.arena(
        f"{name}-{mutation.value}", orders=Orders(Random(SEED)), seed=name, mutation=mutation
    )
    async with arena.following():
        await course(arena)
    return await where.check(arena)


def test_every_step_has_its_deaths(short: Short) -> None:
    assert short.outcome.orders.missing == []
    assert short.outcome.orders.total >= SHORT.kills


def test_nothing_is_lost_repeated_or_bought_again(short: Short) -> None:
    assert not short.outcome.faults, "\n".join(short.outcome.faults)
    for report in short.outcome.reports.values():
        assert report.findings.inputs == len(report.findings.records) > 100
        assert report.calls > 100


def test_every_outcome_was_seen(short: Short) -> None:
    """What is never on the topics cannot be lost or repeated there."""
    seen = {outcome for report in short.outcome.reports.values() for outcome in report.findings.outcomes}
    assert seen >= {"decided", "denied", "escalated", "rejected", "duplicate"}
    assert any("timers." in place[0] for r in short.outcome.reports.values() for place in r.findings.records)


@pytest.mark.parametrize("course", ["crash", "sleep"])
def test_a_whole_runtime_passes(short: Short, course: str) -> None:
    assert short.courses[course, Mutation.NONE].faults == []


def test_the_oracle_sees_that_there_are_no_transactions(short: Short) -> None:
    faults = short.courses["crash", Mutation.NO_TRANSACTIONS].findings.faults
    assert any("appears 2 times" in fault for fault in faults), faults


def test_the_oracle_sees_that_nobody_is_fenced(short: Short) -> None:
    faults = short.courses["sleep", Mutation.ID_PER_PROCESS].findings.faults
    assert any("appears 2 times" in fault for fault in faults), faults


def test_a_step_that_was_renamed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from jurat.streams.committing import Transactions

    check_steps()
    monkeypatch.delattr(Transactions, "fence")
    with pytest.raises(StepMissing, match="1-fence"):
        check_steps()
    assert len({step.name for step in STEPS}) == len(STEPS)
