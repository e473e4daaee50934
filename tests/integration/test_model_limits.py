"""Limits on model calls on a real Kafka: counted at the server, over kills and several workers."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from datetime import UTC, datetime

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.record import parse
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.streams import topics
from tests.command import JURAT, Shell
from tests.llmock import Got, LLMock, Reply, completion, says
from tests.runtime_stage import Sent, failed, findings, prepare, publish, read, until

pytestmark = pytest.mark.integration

INPUTS = 120
PARTITIONS = 6
LIMIT = 31
SHARES = (6, 5, 5, 5, 5, 5)
IN_FLIGHT = 4
KILLS = (6, 14)
"""Calls at the server when a worker is killed."""

GOOD = Reply(completion(says("give_up")), delay_s=0.1)


def started(shell: Shell, base_url: str) -> subprocess.Popen[bytes]:
    """A worker with limits; the caller ends it."""
    settings = {
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "none",
        "JURAT_MODEL": "mock,heuristic",
        "JURAT_MODEL_LIMITS": f"requests/day={LIMIT}",
    }
    words = [JURAT, "worker", PAYMENT_RETRIER.name, "--reasoner", "openai", "--max-in-flight", str(IN_FLIGHT)]
    return subprocess.Popen(words, env={**shell.environment, **settings})


async def test_a_limit_holds_over_kills_and_several_workers_and_is_used_up(shell: Shell) -> None:
    name = PAYMENT_RETRIER.name
    await prepare(shell, partitions=PARTITIONS)
    await publish(shell, [Sent(failed(n, f"c-{n}"), f"e-{n}") for n in range(INPUTS // 2)])
    days: Counter[str] = Counter()

    def reply(number: int, _got: Got) -> Reply:
        days[f"{datetime.now(UTC):%Y-%m-%d}"] += 1
        return Reply(reset=True) if number % 5 == 4 else GOOD

    async with LLMock(reply) as server:
        workers = [started(shell, server.base_url)]
        try:
            for calls in KILLS:

                async def so_many(calls: int = calls) -> bool:
                    assert workers[-1].poll() is None, "the worker ended by itself"
                    return len(server.got) >= calls

                await until(so_many, within_s=60)
                workers[-1].kill()
                await asyncio.to_thread(workers[-1].wait)
                workers.append(started(shell, server.base_url))
            workers.append(started(shell, server.base_url))  # two at once from here on
            await publish(shell, [Sent(failed(n, f"c-{n}"), f"e-{n}") for n in range(INPUTS // 2, INPUTS)])

            async def all_decided() -> bool:
                assert all(worker.poll() is None for worker in workers[-2:]), "a worker ended by itself"
                return len(await read(shell, topics.decisions(name).name)) >= INPUTS

            await until(all_decided, within_s=120)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                await asyncio.to_thread(worker.wait, 30)
    inputs = Counter(record.partition for record in await read(shell, topics.PAYMENTS.name))
    assert all(inputs[partition] > 2 * share for partition, share in enumerate(SHARES)), (
        "enough for each share"
    )
    assert max(days.values()) <= LIMIT
    assert len(server.got) >= LIMIT - len(KILLS) * IN_FLIGHT, "only what was under way at a kill is lost"
    read_back = [decode(record.value) for record in await read(shell, topics.decisions(name).name)]
    by = Counter(one.reasoner for one in read_back if isinstance(one, Decision))
    assert by["heuristic"] >= INPUTS - LIMIT, "over the limit the next reasoner decides"
    assert not (await findings(shell, agent=PAYMENT_RETRIER)).faults
    signed = [decode(record.value) for record in await read(shell, topics.AUDIT.name)]
    used = [
        said.reasoner.usage.calls
        for said in (parse(one.payload).predicate for one in signed if isinstance(one, SignedRecord))
        if said.reasoner and said.reasoner.usage
    ]
    assert sum(used) <= len(server.got), "records tell calls that were made"
