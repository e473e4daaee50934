"""A worker process under test: the runtime as it is, plus at most one armed step, or one mutation.

It writes what a check needs to know into a file that outlives it: one JSON object a line, each written at once.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jurat.audit.key_store import load_signer
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.errors import JuratError
from jurat.streams.committing import Transactions
from jurat.streams.journal import Journal
from jurat.streams.journal_writer import JournalWriter
from jurat.streams.kafka import Connection
from jurat.streams.metrics import Meters
from jurat.streams.retries import RetryPolicy
from jurat.streams.worker import Worker, WorkerConfig
from tests.chaos.agent import AGENT
from tests.chaos.mutations import Mutation, mutate
from tests.chaos.steps import Arm, Deed, When, arm
from tests.model_reasoner import ModelReasoner

MODEL_WITHIN_S = 3.0
"""Longer than the slowest answer that comes at all."""

RETRY = RetryPolicy(attempts=4, base_s=0.2, cap_s=1.0)
"""Soon over, so that some inputs are given up in a short run."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a worker process is told.

    Attributes:
        bootstrap_servers: the brokers.
        namespace: the arena's.
        keys: folder of signing keys.
        model_url: the model server.
        diary: the file that it writes what happened into.
        log: the file for its logs.
        arm: the step that it meets its end at, if any.
        mutation: what is broken in it, if anything.
        until_idle_s: end when nothing came for this long; None goes on.
    """

    bootstrap_servers: str
    namespace: str
    keys: str
    model_url: str
    diary: str
    log: str
    arm: Arm | None = None
    mutation: Mutation = Mutation.NONE
    until_idle_s: float | None = None

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Spec:
        """Read it."""
        said = json.loads(text)
        told = said.pop("arm")
        armed = told and Arm(told["step"], When(told["when"]), told["nth"], Deed(told["deed"]))
        return cls(**said | {"arm": armed, "mutation": Mutation(said["mutation"])})


class Diary:
    """Appends to the diary; a line is whole or not there, whatever happens to the process after it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **more: object) -> None:
        """Write one line."""
        line = json.dumps({"at": time.time(), "pid": os.getpid(), "what": what, **more})
        os.write(self._file, f"{line}\n".encode())


@cache
def engine() -> PolicyEngine:
    """The shop's policies, compiled once in the process that the workers are forked from."""
    return PolicyEngine(load_bundle(shipped_bundle("shop")))


def run(spec: Spec) -> int:
    """Be a worker.

    Returns:
        The exit code: 0 when it was stopped or idle, 1 when it gave up.
    """
    logging.basicConfig(
        filename=spec.log,
        level=logging.INFO,
        format=f"%(asctime)s {os.getpid()} %(name)s %(levelname)s %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    diary = Diary(spec.diary)
    mutate(spec.mutation)
    _keep_diary(diary)
    if spec.arm is not None:
        arm(spec.arm, diary.write)
    try:
        asyncio.run(_serve(spec))
    except JuratError as error:
        diary.write("gave-up", error=repr(error))
        return 1
    return 0


async def _serve(spec: Spec) -> None:
    reasoner = ModelReasoner(spec.model_url, within_s=MODEL_WITHIN_S)
    config = WorkerConfig(
        agent=AGENT,
        reasoner=reasoner,
        engine=engine(),
        signer=load_signer(Path(spec.keys), AGENT.name),
        clock=lambda: datetime.now(UTC),
        code="jurat under test",
        until_idle_s=spec.until_idle_s,
        retry=RETRY,
    )
    worker = Worker(Connection(spec.bootstrap_servers, spec.namespace), config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    try:
        await worker.run()
    finally:
        await reasoner.close()


def _keep_diary(diary: Diary) -> None:
    """Have written down who takes what over, which answers are in the journal, and what the worker counts."""
    restore = Journal.restore

    @functools.wraps(restore)
    async def told_restore(self: Journal) -> int:
        diary.write("restoring", partition=self._partition)
        return await restore(self)

    Journal.restore = told_restore  # type: ignore[method-assign]
    fence = Transactions.fence

    @functools.wraps(fence)
    async def told_fence(self: Transactions) -> None:
        await fence(self)
        diary.write("fenced", partition=int(self.transactional_id.rsplit("-", 1)[1]))

    Transactions.fence = told_fence  # type: ignore[method-assign]
    write = JournalWriter.write

    @functools.wraps(write)
    async def told_write(self: JournalWriter, partition: int, key: bytes, value: bytes) -> None:
        await write(self, partition, key, value)
        entry = json.loads(value)
        diary.write("journalled", call=entry["call_id"], kind=entry["kind"])

    JournalWriter.write = told_write  # type: ignore[method-assign]
    for name, what in (
        ("possibly_paid_twice", "paid-twice"),
        ("reused_call", "reused"),
        ("aborted", "aborted"),
    ):
        _tell_count(diary, name, what)
    committed = Meters.committed

    @functools.wraps(committed)
    def told_commit(self: Meters, inputs: int, seconds: float) -> None:
        diary.write("committed", inputs=inputs)
        committed(self, inputs, seconds)

    Meters.committed = told_commit  # type: ignore[method-assign]
    logging.getLogger("jurat.streams.journal_held").addHandler(_PaidTwice(diary))


def _tell_count(diary: Diary, name: str, what: str) -> None:
    count = getattr(Meters, name)

    @functools.wraps(count)
    def told(*args: Any) -> None:
        diary.write(what)
        count(*args)

    setattr(Meters, name, told)


class _PaidTwice(logging.Handler):
    """Writes down which call was logged as possibly paid twice."""

    def __init__(self, diary: Diary) -> None:
        super().__init__(logging.WARNING)
        self._diary = diary

    def emit(self, record: logging.LogRecord) -> None:
        """Take what the log says, as an operator would."""
        if record.getMessage().startswith("possibly paid twice") and isinstance(record.args, tuple):
            self._diary.write("told", first=record.args[0], again_as=record.args[-1])
