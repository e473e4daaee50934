"""Memory on a real Kafka: workers that are killed forget nothing, and what a decision knew is proved by its record."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from jurat.agents.memory import Memory, as_of
from jurat.audit.record import DecisionRecord
from jurat.policies import shipped_bundle
from jurat.schemas.moments import parse_moment
from jurat.streams import topics
from jurat.streams.documents import digest_of
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_agent_topics, ensure_topics
from tests.budget_stage import dispute
from tests.budget_worker import MEDIATOR
from tests.command import Shell
from tests.runtime_stage import findings, read, until
from tests.tree import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

BUYERS = ("c-1", "c-2", "c-3")
WAVES, PER_WAVE = 3, 4


async def publish_wave(shell: Shell, wave: int) -> None:
    async with Publisher(shell.connection, source="/test") as publisher:
        for number in range(PER_WAVE):
            for buyer in BUYERS:
                event = dispute(f"d-{wave}-{number}-{buyer}", buyer, 1_000)
                await publisher.publish(event, event_id=event.dispute_id)


def started(shell: Shell) -> subprocess.Popen[bytes]:
    words = ["-m", "tests.budget_worker", str(shipped_bundle("shop")), str(shell.keys)]
    at = (shell.connection.bootstrap_servers, shell.connection.namespace)
    return subprocess.Popen([sys.executable, *words, *at], cwd=ROOT)


async def work(shell: Shell, *, until_done: int, kill: bool) -> None:
    """Run a worker until so many decisions are there; then kill -9, or stop it."""
    process = started(shell)
    try:

        async def seen() -> bool:
            assert process.poll() is None, "the worker ended by itself"
            return len(await read(shell, topics.decisions(MEDIATOR.name).name)) >= until_done

        await until(seen, within_s=60)
        if not kill:
            process.terminate()
            assert await asyncio.to_thread(process.wait, 30) == 0
    finally:
        process.kill()
        process.wait()


async def shown(shell: Shell, buyer: str, *options: str) -> dict[str, object]:
    words = ("memory", "show", buyer, "--agent", MEDIATOR.name, "--json", *options)
    done = await asyncio.to_thread(shell.run, *words)
    said: dict[str, object] = json.loads(done.stdout)
    return said


def of_memory(record: DecisionRecord) -> tuple[str, str | None]:
    (read_,) = [one for one in record.context if one.name == "memory"]
    return read_.key, read_.sha256


async def test_killed_workers_forget_nothing_and_records_prove_what_was_known(shell: Shell) -> None:
    await ensure_topics(shell.connection, [replace(topics.DISPUTES, partitions=2)])
    await ensure_agent_topics(shell.connection, MEDIATOR)
    inputs = 0
    for wave in range(WAVES):
        await publish_wave(shell, wave)
        before, inputs = inputs, inputs + PER_WAVE * len(BUYERS)
        last = wave == WAVES - 1
        enough = inputs if last else before + random.randint(1, PER_WAVE)
        await work(shell, until_done=enough, kill=not last)
    found = await findings(shell, agent=MEDIATOR)
    assert found.faults == []
    assert len(found.records) == inputs
    memories = {}
    for buyer in BUYERS:
        said = await shown(shell, buyer)
        memories[buyer] = Memory.model_validate_json(json.dumps(said["memory"]))
        assert said["sha256"] == digest_of(memories[buyer])
        taught = [fact.value for fact in memories[buyer].facts if fact.name == "last_dispute"]
        assert taught == [f"d-{wave}-{n}-{buyer}" for wave in range(WAVES) for n in range(PER_WAVE)]
    for record in found.records.values():
        buyer, sha256 = of_memory(record)
        assert digest_of(as_of(memories[buyer], parse_moment(record.time))) == sha256
    one = next(iter(found.records.values()))
    buyer, sha256 = of_memory(one)
    then = await shown(shell, buyer, "--as-of", one.time)
    assert (then["sha256"], then["whole"]) == (sha256, True)
