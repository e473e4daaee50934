"""Every shipped agent with a real model on a real Kafka: it decides, it records, and the log verifies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jurat.agents.catalogue import SHIPPED
from jurat.audit.key_store import init_keys
from jurat.audit.record import DecisionRecord, parse
from jurat.schemas.codec import decode
from jurat.schemas.envelope import SignedRecord
from jurat.streams import topics
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_topics
from tests.command import Shell
from tests.every_agent import cases
from tests.runtime_stage import SOURCE, read
from tests.small_model import needs_small_model, small_model

pytestmark = [needs_small_model, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1_500)]

ONE_CALL = "requests/day=6"
"""One for each partition of an agent: a model this small takes its time, and what it proposes is often refused."""

WORKER_S = 600
"""One call takes ten seconds on an idle core."""

PATIENT = """
from jurat.agents import openai_reasoner
openai_reasoner.WITHIN_S = 500.0  # what a call took that came too late is in no record
from jurat.cli.main import main
main()
"""


async def test_every_shipped_agent_decides_with_a_real_model_and_the_log_verifies(
    shell: Shell, tmp_path: Path
) -> None:
    every = Shell(shell.connection, tmp_path / "every")
    init_keys(every.keys, sorted(SHIPPED))
    found = cases(datetime.now(UTC))
    await ensure_topics(every.connection, topics.shared())
    async with Publisher(every.connection, source=SOURCE) as publisher:
        for name, case in found.items():
            for number, event in enumerate((*case.known, case.event)):
                await publisher.publish(event, event_id=f"{name}-{number}")
    with small_model() as base_url:
        settings = {
            "OPENAI_BASE_URL": base_url,
            "OPENAI_API_KEY": "none",
            "JURAT_MODEL": "smollm2,heuristic",
            "JURAT_MODEL_LIMITS": ONE_CALL,
        }
        for name in sorted(found):
            done = await asyncio.to_thread(
                subprocess.run,
                [
                    sys.executable,
                    "-c",
                    PATIENT,
                    "worker",
                    name,
                    "--reasoner",
                    "openai",
                    "--until-idle",
                    "200ms",
                ],
                env={**every.environment, **settings},
                capture_output=True,
                timeout=WORKER_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()
    signed = [decode(record.value) for record in await read(every, topics.AUDIT.name)]
    said = [parse(one.payload).predicate for one in signed if isinstance(one, SignedRecord)]
    judged: dict[str, DecisionRecord] = {one.agent: one for one in said if one.policy is not None}
    assert sorted(judged) == sorted(SHIPPED)
    asked = {
        name: one.reasoner.usage.calls
        for name, one in judged.items()
        if one.reasoner is not None and one.reasoner.usage is not None
    }
    assert asked == dict.fromkeys(SHIPPED, 1), "the model was asked once by each"
    assert b"VALID" in every.run("audit", "verify").stdout
