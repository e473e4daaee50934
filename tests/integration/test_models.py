"""A worker that asks a model on a real Kafka: neither a server that fails nor a death loses or repeats anything."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.record import parse
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.envelope import SignedRecord
from jurat.streams import topics
from tests.command import JURAT, Shell
from tests.llmock import Got, LLMock, Reply, completion, says
from tests.runtime_stage import Sent, failed, findings, prepare, publish, read, until

pytestmark = pytest.mark.integration

INPUTS = 24
IN_FLIGHT = 4
GOOD = Reply(completion(says("give_up")))
WAYS = (
    GOOD,
    Reply(completion(says("retry_charge", after_minutes=1))),  # lies: too soon, so the policies refuse it
    Reply(reset=True),
    Reply(completion(says("give_up")), cut_at=30),
    Reply(completion(None, refusal="no")),
    Reply(flood=True),
    Reply(b"<html>"),
    Reply(status=503),
)


def started(shell: Shell, base_url: str) -> subprocess.Popen[bytes]:
    """A worker that asks the server; the caller ends it."""
    settings = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "none", "JURAT_MODEL": "mock"}
    words = [JURAT, "worker", PAYMENT_RETRIER.name, "--reasoner", "openai", "--max-in-flight", str(IN_FLIGHT)]
    return subprocess.Popen(words, env={**shell.environment, **settings})


async def test_nothing_is_lost_or_bought_twice_whatever_the_model_does(shell: Shell) -> None:
    await prepare(shell)
    await publish(shell, [Sent(failed(n, f"c-{n}"), f"e-{n}") for n in range(INPUTS)])
    whole: Counter[str] = Counter()

    def reply(number: int, got: Got) -> Reply:
        way = WAYS[number % len(WAYS)]
        if way is GOOD:
            whole[got.headers["idempotency-key"]] += 1
        return way

    name = PAYMENT_RETRIER.name
    async with LLMock(reply) as server:
        process = started(shell, server.base_url)

        async def some() -> bool:
            assert process.poll() is None, "the worker ended by itself"
            return len(server.got) >= INPUTS // 3

        await until(some, within_s=60)
        process.kill()
        await asyncio.to_thread(process.wait)
        bought = len(server.got)
        process = started(shell, server.base_url)

        async def all_decided() -> bool:
            assert process.poll() is None, "the worker ended by itself"
            return len(await read(shell, topics.decisions(name).name)) >= INPUTS

        try:
            await until(all_decided, within_s=120)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)
    assert len(server.got) > bought, "the second worker asked as well"
    decisions = [
        one
        for one in [decode(record.value) for record in await read(shell, topics.decisions(name).name)]
        if isinstance(one, Decision)
    ]
    assert len(decisions) == INPUTS
    assert {decision.verdict for decision in decisions} == {Verdict.ALLOW}
    assert not [
        one for one in decisions if one.action == "retry_charge" and one.parameters["after_minutes"] == 1
    ]
    found = await findings(shell, agent=PAYMENT_RETRIER)
    assert not found.faults
    signed = [decode(record.value) for record in await read(shell, topics.AUDIT.name)]
    said = [parse(one.payload).predicate for one in signed if isinstance(one, SignedRecord)]
    assert any(one.reasoner and one.reasoner.usage for one in said), "what calls took is in the records"
    assert whole
    again = [key for key, times in whole.items() if times > 1]
    assert len(again) <= IN_FLIGHT, "only what was under way at the death is bought again"
