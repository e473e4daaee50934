"""Budgets on a real Kafka: a cap is never exceeded and never left unused, however often its worker is killed."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jurat.agents.catalogue import AGENTS
from jurat.audit.record import DecisionRecord
from jurat.policies import generate, shipped_bundle, strict_yaml
from jurat.policies.budgets import read_budgets
from jurat.streams import topics
from jurat.streams.kafka import partition_of_key
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_agent_topics, ensure_topics
from tests.budget_stage import dispute
from tests.budget_worker import MEDIATOR
from tests.command import Shell
from tests.runtime_stage import findings, read, until
from tests.tree import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PARTITIONS = 3
BUYERS = {0: 4, 1: 4, 2: 8}
"""Buyers by partition: two partitions whose buyers reach their own caps, one that reaches its share before that."""

AMOUNT = 15_000
FIT_BUYER = 100_000 // AMOUNT
"""Refunds that fit into the 1000.00 of a buyer: dispute.refund.buyer-day of the shipped bundle."""

SHARE = 30
WAVES, PER_WAVE = 5, 2
"""Each wave ends with the worker killed; the last one is left alone."""

SHARED_BUDGET = f"""
refunds_all:
  title: All refunds within 24 hours
  measure: count
  actions: [refund_buyer]
  key: whole
  window: 24h
  scope: {{allotment: {PARTITIONS}}}
"""
SHARED_POLICY = f"""
@id("refund.all-day")
@title("Not more than {PARTITIONS * SHARE} refunds within 24 hours")
forbid (principal, action == Jurat::Action::"refund_buyer", resource)
when {{ context.usage.refunds_all + 1 > {PARTITIONS * SHARE} }};
"""


def bundle_with_a_shared_budget(folder: Path) -> Path:
    """The shipped bundle with one budget more, whose key is not the partition's: keys in flight share it."""
    shutil.copytree(shipped_bundle("shop"), folder)
    shutil.rmtree(folder / "tests")
    budgets = (folder / "budgets.yaml").read_text() + SHARED_BUDGET
    (folder / "budgets.yaml").write_text(budgets)
    (folder / "shared.cedar").write_text(SHARED_POLICY)
    actions = [action for agent in AGENTS.values() if agent.bundle == "shop" for action in agent.actions]
    schema = generate("Jurat", actions, usage=read_budgets(strict_yaml.load(budgets))[0].usage_fields())
    (folder / "schema.cedarschema").write_text(schema)
    return folder


def buyers() -> dict[int, list[str]]:
    """Names of buyers, by the partition that their events go to."""
    found: dict[int, list[str]] = {number: [] for number in BUYERS}
    for number in range(10_000):
        names = found[partition_of_key(f"c-{number}".encode(), PARTITIONS)]
        if len(names) < BUYERS[partition_of_key(f"c-{number}".encode(), PARTITIONS)]:
            names.append(f"c-{number}")
    return found


@contextmanager
def working(shell: Shell, bundle: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; killed at the end unless it ended."""
    at = (shell.connection.bootstrap_servers, shell.connection.namespace)
    words = [sys.executable, "-m", "tests.budget_worker", str(bundle), str(shell.keys), *at]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def publish_wave(shell: Shell, wave: int) -> None:
    events = [
        dispute(f"d-{wave}-{number}-{buyer}", buyer, AMOUNT)
        for number in range(PER_WAVE)
        for names in buyers().values()
        for buyer in names
    ]
    async with Publisher(shell.connection, source="/test") as publisher:
        for event in events:
            await publisher.publish(event, event_id=event.dispute_id)


async def decisions(shell: Shell) -> int:
    return len(await read(shell, topics.decisions(MEDIATOR.name).name))


async def run_waves(shell: Shell, bundle: Path) -> int:
    """Publish and kill, wave by wave; tells how many inputs were published."""
    inputs = 0
    for wave in range(WAVES):
        done = await decisions(shell) if wave else 0
        inputs += PER_WAVE * sum(BUYERS.values())
        await publish_wave(shell, wave)
        with working(shell, bundle) as process:
            last = wave == WAVES - 1
            enough = inputs if last else done + random.randint(1, 8)

            async def seen(enough: int = enough) -> bool:
                assert process.poll() is None, "the worker ended by itself"
                return await decisions(shell) >= enough

            await until(seen, within_s=60)
            if last:
                process.terminate()
                assert await asyncio.to_thread(process.wait, 30) == 0
            else:
                await asyncio.sleep(random.uniform(0, 0.15))
                assert process.poll() is None
    return inputs


def refunded(records: list[DecisionRecord]) -> list[DecisionRecord]:
    """The records of refunds that were decided."""
    return [
        record
        for record in records
        if record.outcome == "decided" and record.proposals[-1].action == "refund_buyer"
    ]


async def test_a_cap_is_neither_exceeded_nor_left_unused_by_killed_workers(
    shell: Shell, tmp_path: Path
) -> None:
    bundle = bundle_with_a_shared_budget(tmp_path / "capped")
    await ensure_topics(shell.connection, [replace(topics.DISPUTES, partitions=PARTITIONS)])
    await ensure_agent_topics(shell.connection, MEDIATOR)
    inputs = await run_waves(shell, bundle)
    found = await findings(shell, agent=MEDIATOR)
    assert found.faults == []
    assert found.inputs == len(found.records) == inputs
    refunds = refunded(list(found.records.values()))
    by_buyer = Counter(record.policy.budgets[1].key for record in refunds if record.policy)
    by_partition = Counter(int(record.chain.rsplit("/", 1)[1]) for record in refunds)
    names = buyers()
    assert {by_buyer[buyer] for partition in (0, 1) for buyer in names[partition]} == {FIT_BUYER}
    assert max(by_buyer.values()) == FIT_BUYER
    assert by_partition == {0: 4 * FIT_BUYER, 1: 4 * FIT_BUYER, 2: SHARE}
    assert FIT_BUYER * BUYERS[2] > SHARE, "the share of the third partition is what bounds it"

    trust = str(shell.keys / "trust.json")
    verified = await asyncio.to_thread(shell.run, "audit", "verify", "--trust", trust)
    assert b"VALID" in verified.stdout
    shown = await asyncio.to_thread(
        shell.run, "policy", "budgets", MEDIATOR.name, "--bundle", str(bundle), "--json"
    )
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {row["key"]: row["used"] for row in rows if row["budget"] == "refunds_day"} == {
        buyer: count * AMOUNT for buyer, count in by_buyer.items()
    }
    assert {
        row["partition"]: (row["used"], row["left"]) for row in rows if row["budget"] == "refunds_all"
    } == {partition: (count, {"refund.all-day": SHARE - count}) for partition, count in by_partition.items()}
    table = await asyncio.to_thread(
        shell.run, "policy", "budgets", MEDIATOR.name, "--bundle", str(bundle), "--key", names[0][0]
    )
    assert (
        f"at most {PARTITIONS * SHARE}, {SHARE} for each of {PARTITIONS} partitions: refund.all-day"
        in table.stdout.decode()
    )
    assert names[0][0] in table.stdout.decode()
