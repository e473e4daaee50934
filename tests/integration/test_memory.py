"""Memory on a real Kafka: killed workers forget nothing but what they are asked to, and records prove it."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jurat.agents.memory import Memory, as_of
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.key_store import init_approver, trust_approver
from jurat.audit.keys import TrustedApprover
from jurat.audit.record import FORGOTTEN, DecisionRecord, Outcome
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

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BUYERS = ("c-1", "c-2", "c-3")
WAVES, PER_WAVE = 3, 4
DECISIONS = topics.decisions(MEDIATOR.name).name


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


async def work(shell: Shell, *, until_done: int, kill: bool, topic: str = DECISIONS) -> None:
    """Run a worker until so many records stand on a topic; then kill -9, or stop it."""
    process = started(shell)
    try:

        async def seen() -> bool:
            assert process.poll() is None, "the worker ended by itself"
            return len(await read(shell, topic)) >= until_done

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


def forget(shell: Shell, name: str, people: Path) -> str:
    """Have the first buyer forgotten; what the command says on both outputs."""
    words = ("memory", "forget", BUYERS[0], "--agent", MEDIATOR.name, "--as", name, "--keys", str(people))
    done = shell.run(*words)
    return (done.stdout + done.stderr).decode()


def forgotten(record: DecisionRecord) -> list[str | None]:
    return [one.sha256 for one in record.context if one.name == FORGOTTEN]


async def test_a_subject_is_forgotten_once_by_who_may_and_a_kill_changes_nothing(
    shell: Shell, tmp_path: Path
) -> None:
    for name, role in (("dora", DATA_PROTECTION), ("mallory", "risk")):
        keyid, _ = init_approver(tmp_path, name)
        trust_approver(shell.keys, TrustedApprover(approver=name, keyid=keyid, roles=(role,)))
    await ensure_topics(shell.connection, [replace(topics.DISPUTES, partitions=2)])
    await ensure_agent_topics(shell.connection, MEDIATOR)
    await publish_wave(shell, 0)
    inputs = PER_WAVE * len(BUYERS)
    await work(shell, until_done=inputs, kill=False)
    before = {buyer: await shown(shell, buyer) for buyer in BUYERS}

    for name in ("mallory", "dora", "dora"):  # sent while no worker runs; the third finds nothing left
        said = await asyncio.to_thread(forget, shell, name, tmp_path)
        assert f"asked {MEDIATOR.name} to forget" in said
    for ended in (1, 3):
        await work(shell, until_done=inputs + ended, kill=True, topic=topics.AUDIT.name)
    said = await asyncio.to_thread(forget, shell, "dora", tmp_path)
    assert f"nothing is remembered of {BUYERS[0]}; nothing was sent" in said
    assert (await shown(shell, BUYERS[0]))["memory"] == {"facts": [], "trimmed_at": None}

    await publish_wave(shell, 1)
    await work(shell, until_done=2 * inputs, kill=False)
    found = await findings(shell, agent=MEDIATOR)
    assert found.faults == []
    asked = sorted(
        (one for one in found.records.values() if ".timers." in one.chain), key=lambda one: one.seq
    )
    assert [(one.outcome, forgotten(one)) for one in asked] == [
        (Outcome.REJECTED, []),
        (Outcome.SKIPPED, [before[BUYERS[0]]["sha256"]]),
        (Outcome.SKIPPED, [None]),
    ]
    for buyer in BUYERS:
        memory = Memory.model_validate_json(json.dumps((await shown(shell, buyer))["memory"]))
        waves = {str(fact.value)[:3] for fact in memory.facts if fact.name == "last_dispute"}
        assert waves == ({"d-1"} if buyer == BUYERS[0] else {"d-0", "d-1"})
    verified = await asyncio.to_thread(shell.run, "audit", "verify")
    assert b"INVALID" not in verified.stdout
    told = await asyncio.to_thread(shell.run, "audit", "show", asked[1].decision_id)
    assert f"What was remembered of {BUYERS[0]} was forgotten" in told.stdout.decode()
