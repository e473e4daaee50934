"""A tool on a real Kafka: what it answered before its worker was killed is what the decision rests on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jurat.audit.record import parse
from jurat.schemas import canonical
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.streams import topics
from tests.command import Shell
from tests.runtime_stage import PLAIN, Sent, failed, findings, prepare, publish, read, until
from tests.tool_stage import Asked, called
from tests.tree import ROOT

pytestmark = pytest.mark.integration

INPUTS = 3


@contextmanager
def working(shell: Shell, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; killed at the end unless it ended."""
    at = (shell.connection.bootstrap_servers, shell.connection.namespace)
    words = [sys.executable, "-m", "tests.tool_worker", str(folder), str(shell.keys), *at]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def noted(file: Path) -> Counter[str]:
    return Counter(file.read_text(encoding="utf-8").splitlines() if file.exists() else [])


async def test_a_tool_that_answered_before_its_worker_was_killed_is_used_once(
    shell: Shell, tmp_path: Path
) -> None:
    await prepare(shell, partitions=1)
    await publish(shell, [Sent(failed(n, f"c-{n}"), f"e-{n}") for n in range(INPUTS)])
    names = [f"pay-{n}" for n in range(INPUTS)]
    (tmp_path / "hang").touch()
    with working(shell, tmp_path) as process:

        async def asked_again() -> bool:
            assert process.poll() is None, "the worker ended by itself"
            return all(noted(tmp_path / "reasoner")[f"{name} 1"] for name in names)

        await until(asked_again, within_s=60)  # the tools have answered, nothing is decided
        process.kill()
    assert await read(shell, topics.decisions(PLAIN.name).name) == []
    assert noted(tmp_path / "tool") == Counter(names)
    order = (tmp_path / "tool").read_text(encoding="utf-8").splitlines()
    (tmp_path / "hang").unlink()
    with working(shell, tmp_path) as process:

        async def decided() -> bool:
            assert process.poll() is None, "the worker ended by itself"
            return len(await read(shell, topics.decisions(PLAIN.name).name)) == INPUTS

        await until(decided, within_s=60)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert noted(tmp_path / "tool") == Counter(names), "no tool was used twice"
    asked = Counter({f"{name} 0": 1 for name in names}) + Counter({f"{name} 1": 2 for name in names})
    assert noted(tmp_path / "reasoner") == asked, "a finished call is never bought again, one under way is"
    found = await findings(shell)
    assert not found.faults
    for record in await read(shell, topics.decisions(PLAIN.name).name):
        decision = decode(record.value)
        assert isinstance(decision, Decision)
        payment = decision.subject.replace("c-", "pay-")
        assert decision.rationale == f"counted {order.index(payment) + 1}"
    for record in await read(shell, topics.AUDIT.name):
        signed = decode(record.value)
        assert isinstance(signed, SignedRecord)
        said = parse(signed.payload).predicate
        assert said.reasoner is not None
        (tool,) = said.reasoner.tools
        about = said.proposals[0]
        assert about.call is not None
        assert tool.call is not None
        assert (tool.call.prompt_sha256, about.call.prompt_sha256) == (
            called(1).prompt_sha256,
            called(2).prompt_sha256,
        )
        results = [canonical.digest({"count": number}) for number in range(1, INPUTS + 1)]
        asked_for = [canonical.digest(Asked(thing=name).model_dump(mode="json")) for name in order]
        assert dict(zip(asked_for, results, strict=True))[tool.arguments_sha256] == tool.result_sha256
