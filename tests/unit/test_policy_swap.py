"""The swap: what is in work keeps who it began with, and after a crash answers are used again, verdicts are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.audit.chain import ChainHead
from jurat.audit.record import DecisionRecord, Outcome, parse
from jurat.policies import PolicyEngine
from jurat.policies.folder import digest_of
from jurat.policies.publication import PublishedBundle
from jurat.policies.trial import try_bundle
from jurat.streams import journal as journal_module
from jurat.streams.deciding import Decider
from jurat.streams.journal import Journal
from jurat.streams.kafka import KafkaRecord
from tests.deciding_stage import STATEFUL, decider, failed, fresh_state, record_of
from tests.journal_stage import PARTITION, MemoryWriter, Meters, opened
from tests.partition_stage import INPUT, FakeDecider, Stage, record, until
from tests.policy_stage import shop_that_denies
from tests.shop import shop_engine


async def test_what_is_in_work_keeps_who_it_began_with_and_what_comes_after_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    gate = asyncio.Event()

    async def held(one: KafkaRecord, _attempt: int) -> None:
        if one.key == b"slow":
            await gate.wait()

    old, new = stage.decider, FakeDecider()
    old.behaviour = held
    async with stage.partition() as one:
        one.feed([record(0, "slow"), record(1, "quick"), record(2, "slow")])
        await until(lambda: stage.ends() == [(INPUT, 1)])
        stage.shared.decider = cast("Decider", new)
        one.feed([record(3, "quick"), record(4, "other")])
        await until(lambda: sorted(at for _, at in stage.ends()) == [1, 3, 4])
        gate.set()
        await until(lambda: sorted(at for _, at in stage.ends()) == [0, 1, 2, 3, 4])
    assert [at for _, at, _ in old.began] == [0, 1]
    assert sorted(at for _, at, _ in new.began) == [2, 3, 4]  # the next of a slow key changes over too
    assert [at for _, at in stage.ends() if at in (0, 2)] == [0, 2]


class Bought(HeuristicReasoner):
    """A reasoner that is paid by the call."""

    name = "bought"
    deterministic = False

    def __init__(self) -> None:
        self.calls = 0

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        self.calls += 1
        return await super().propose(request)


def denying() -> PolicyEngine:
    files = shop_that_denies()
    agents = {STATEFUL.name: STATEFUL.actions}
    return try_bundle(
        "shop", PublishedBundle(files, digest_of(files)), digest=digest_of(files), agents=agents
    )


async def decided(engine: PolicyEngine, reasoner: Bought, journal: Journal) -> DecisionRecord:
    one = decider(reasoner=reasoner, engine=engine)
    verdicted = await one.decide(record_of(failed()), fresh_state(), calls=journal)
    assert verdicted.decision is not None
    assert verdicted.decision.policy_digest == engine.digest
    return parse(verdicted.draft.finish(ChainHead())).predicate


@pytest.mark.parametrize("denied_first", [False, True], ids=["then-denied", "denied-then-allowed"])
async def test_after_a_crash_bought_answers_are_judged_by_what_is_active_then(
    monkeypatch: pytest.MonkeyPatch, *, denied_first: bool
) -> None:
    before, after = (denying(), shop_engine()) if denied_first else (shop_engine(), denying())
    writer, reasoner = MemoryWriter(), Bought()
    first = await decided(before, reasoner, opened(writer, agent=STATEFUL))
    bought = reasoner.calls
    assert first.outcome is (Outcome.DENIED if denied_first else Outcome.DECIDED)

    async def read(
        _connection: object, _partitions: object, *, progress: object
    ) -> AsyncGenerator[KafkaRecord, None]:
        for offset, (key, value) in enumerate(list(writer.log)):
            yield KafkaRecord("ns.journal.payment-retrier", PARTITION, offset, 0, key, value)

    monkeypatch.setattr(journal_module, "read_to_end", read)
    meters = Meters()
    journal = opened(writer, agent=STATEFUL, meters=meters)
    await journal.restore()
    second = await decided(after, reasoner, journal)
    assert second.outcome is (Outcome.DECIDED if denied_first else Outcome.DENIED)
    assert (
        second.proposals[0].action == first.proposals[0].action
    )  # the answer is the same, the verdict is not
    assert second.proposals[0].verdict is not first.proposals[0].verdict
    assert second.policy is not None
    assert second.policy.digest == after.digest
    assert meters.both == (1, 0)
    if denied_first:
        assert reasoner.calls == bought  # nothing more needs to be asked
    else:
        assert (bought, reasoner.calls > 1) == (1, True)  # what was never asked before is
