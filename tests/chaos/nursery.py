"""Worker processes by the hundred: one process has everything imported, and forks each worker.

A worker that has to import everything takes a second of a core before it does anything; a thousand of them would
spend most of the time with that. What is forked is a process of its own in every respect that matters here: it is
killed, frozen and thawed by its own id, and nothing of Kafka existed before the fork.

Whatever happens to the process that asked for them, no worker outlives it: the end of standard input is the order to
kill all that are left, by their ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import sys
import traceback
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.chaos import worker
from tests.tree import ROOT

POLL_S = 0.05
STARTED_WITHIN_S = 120.0


@dataclass(eq=False, slots=True)
class Child:
    """A worker process.

    Attributes:
        pid: its id.
        ended: set when it is no more.
        frozen: set when it was seen stopped.
        status: as `os.waitstatus_to_exitcode` says; None while it lives.
    """

    pid: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    status: int | None = None

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.status is None

    @property
    def killed(self) -> bool:
        """Whether it ended by SIGKILL."""
        return self.status == -signal.SIGKILL

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives; its id is not given to another one before the nursery has said so."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """Starts workers, and knows when they end; use it as an async context manager."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._born: asyncio.Queue[Child] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.nursery",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # what a terminal interrupts is the campaign, which then ends this one
        )
        self._listening = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._listening is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def start(self, spec: worker.Spec) -> Child:
        """Start a worker."""
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._asking:
            self._process.stdin.write(f"{spec.to_json()}\n".encode())
            return await asyncio.wait_for(self._born.get(), STARTED_WITHIN_S)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            pid = said["pid"]
            if said["what"] == "born":
                self._children[pid] = Child(pid)
                self._born.put_nowait(self._children[pid])
            elif said["what"] == "frozen":
                self._children[pid].frozen.set()
            else:
                child = self._children.pop(pid)
                child.status = said["status"]
                child.ended.set()


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _be_parent() -> None:
    """Fork on request until standard input ends, then kill what is left."""
    worker.engine()
    gc.freeze()
    children: set[int] = set()
    waiting = b""
    try:
        while True:
            readable, _, _ = select.select([0], [], [], POLL_S)
            if readable:
                read = os.read(0, 65_536)
                if not read:
                    return
                *lines, waiting = (waiting + read).split(b"\n")
                for line in lines:
                    children.add(_fork(worker.Spec.of_json(line.decode())))
            _reap(children)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


def _fork(spec: worker.Spec) -> int:
    pid = os.fork()
    if pid:
        _say(what="born", pid=pid)
        return pid
    status = 70
    try:
        silence = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(silence, number)
        os.dup2(os.open(f"{spec.log}.err", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        status = worker.run(spec)
    except BaseException:  # noqa: BLE001 - the parent's code below the fork must not run twice
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(children: set[int]) -> None:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if not found:
            continue
        if os.WIFSTOPPED(status):
            _say(what="frozen", pid=pid)
            continue
        children.discard(pid)
        _say(what="ended", pid=pid, status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _be_parent()
