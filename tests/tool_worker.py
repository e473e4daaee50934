"""A worker process that is killed after its agent's tool has answered: the payment retrier, which gives up.

`python -m tests.tool_worker FOLDER KEYS BOOTSTRAP_SERVERS NAMESPACE`; it runs until it is stopped or killed. In FOLDER,
`tool` and `reasoner` get a line for each use and question, before it is answered; while `hang` is there, the reasoner
does not answer once a tool has.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jurat.agents.agent import Agent, Situation, Tool
from jurat.agents.payment_retrier import GiveUp
from jurat.agents.reasoner import Proposal, ProposalRequest, RawArguments, ToolCall
from jurat.audit.key_store import load_signer
from jurat.streams.kafka import Connection
from jurat.streams.worker import Worker, WorkerConfig
from tests.runtime_stage import ALLOWS, EAGER, PLAIN
from tests.tool_stage import Asked, Counted, called


def _note(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(f"{line}\n")
        out.flush()
        os.fsync(out.fileno())


class Wishing:
    """A reasoner that is paid: wishes for the tool first, and gives up with what that answered."""

    name = "wishing"
    deterministic = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall:
        """Ask for the tool, then propose."""
        about = request.situation.event.payment_id
        _note(self._folder / "reasoner", f"{about} {len(request.tools)}")
        if not request.tools:
            return ToolCall("count", RawArguments(given={"thing": about}), called(1))
        if (self._folder / "hang").exists():
            await asyncio.sleep(600)
        (used,) = request.tools
        said = (
            f"counted {used.result.count}" if isinstance(used.result, Counted) else f"failed: {used.failed}"
        )
        return Proposal(GiveUp(), said, 60, call=called(2))


def agent_in(folder: Path) -> Agent[Any]:
    """The agent, whose tool counts how often it was used: no two answers are the same."""
    file = folder / "tool"

    async def count(_situation: Situation[Any], asked: Asked) -> Counted:
        _note(file, asked.thing)
        return Counted(count=len(file.read_text(encoding="utf-8").splitlines()))

    return replace(PLAIN, tools=(Tool("count", "How often it was asked", Asked, Counted, count),))


async def serve(folder: Path, keys: Path, connection: Connection) -> None:
    """Decide until stopped."""
    agent = agent_in(folder)
    worker = Worker(
        connection,
        WorkerConfig(
            agent=agent,
            reasoner=Wishing(folder),
            engine=ALLOWS,
            signer=load_signer(keys, agent.name),
            clock=lambda: datetime.now(UTC),
            code="jurat under test",
            retry=EAGER,
        ),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), Connection(sys.argv[3], sys.argv[4])))
