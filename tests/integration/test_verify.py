"""The verifier on a real log: every input has its record, policies say the same again, and what is missing is named."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from jurat.audit.verifier_report import Check
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaConsumer, TopicPartition
from tests.command import Shell

pytestmark = pytest.mark.integration

AGENTS = ("payment-retrier", "dispute-mediator")
WITH_EVERYTHING = ("--policies", "shop", "--json", "--jobs", "2")


def verified(shell: Shell, *words: str, expect: int = 0) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(
        shell.run("audit", "verify", *WITH_EVERYTHING, *words, expect=expect).stdout
    )
    return report


def test_a_log_is_compared_with_inputs_and_policies(shell: Shell, tmp_path: Path) -> None:
    shell.run("simulate", "--seed", "7", "--orders", "60", "--rate", "0")
    for agent in AGENTS:
        shell.run("worker", agent, "--until-idle", "200ms")
    log, inputs = tmp_path / "log.jsonl", tmp_path / "inputs.jsonl"
    live = verified(shell, "--with-inputs")
    assert (live["verdict"], live["findings"]) == ("VALID", [])
    shell.run("audit", "replay", "--output", str(log), "--inputs", str(inputs))
    offline = verified(shell, str(log), "--inputs", str(inputs))
    assert offline == live
    # Everything that the agents read has its record: also what they do not decide, and their timers.
    assert live["inputs"]["inputs"] == live["records"] > 40
    assert (live["inputs"]["missing"], live["inputs"]["deleted"]) == (0, 0)
    judged = sum(live["outcomes"].get(outcome, 0) for outcome in ("decided", "denied", "escalated"))
    assert live["evaluatedAgain"] == {"same": judged, "notEvaluated": {}}
    assert judged > 5

    # Without the records of one partition, the end of another and one in the middle: each input is named.
    lines = log.read_bytes().splitlines(keepends=True)
    chains = [json.loads(line)["chain"] for line in lines]
    hidden = chains[0]
    (tmp_path / "hidden.jsonl").write_bytes(
        b"".join(line for line, chain in zip(lines, chains, strict=True) if chain != hidden)
    )
    report = verified(shell, str(tmp_path / "hidden.jsonl"), "--inputs", str(inputs), expect=1)
    assert (report["verdict"], report["inputs"]["missing"]) == ("INCOMPLETE", chains.count(hidden))
    assert hidden.split("/")[1] == report["findings"][0]["first"]["topic"]
    last = max(number for number, chain in enumerate(chains) if chain == hidden)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:last] + lines[last + 1 :]))
    report = verified(shell, str(tmp_path / "cut.jsonl"), "--inputs", str(inputs), expect=1)
    assert (report["verdict"], report["inputs"]["missing"]) == ("INCOMPLETE", 1)

    # An agent that skips an input commits what it never recorded, as only it can, and whoever has its credentials.
    agent, topic = AGENTS[0], shell.connection.topic(topics.PAYMENTS.name)
    shell.run("simulate", "--seed", "8", "--orders", "20", "--rate", "0")
    skipped = asyncio.run(commit_the_end(shell, agent, topic))
    report = verified(shell, "--with-inputs", expect=1)
    found = report["findings"][0]
    assert (report["verdict"], found["check"]) == ("INCOMPLETE", Check.INPUTS.value)
    assert found["count"] == report["inputs"]["missing"] == sum(skipped.values()) > 0
    assert found["first"]["topic"] == topic
    assert skipped[found["first"]["partition"]] > 0


async def commit_the_end(shell: Shell, agent: str, topic: str) -> dict[int, int]:
    """Commit everything of a topic for an agent; how many inputs of each partition it so passes over."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=shell.connection.bootstrap_servers,
        group_id=shell.connection.group(agent),
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(topics.PAYMENTS.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        skipped = {}
        for one in partitions:
            begin, end = await consumer.committed(one) or 0, ends[one]
            consumer.seek(one, begin)
            skipped[one.partition] = 0
            while await consumer.position(one) < end:
                found = await consumer.getmany(one, timeout_ms=1_000)
                skipped[one.partition] += sum(map(len, found.values()))
        await consumer.commit(ends)
    finally:
        await consumer.stop()
    return skipped
