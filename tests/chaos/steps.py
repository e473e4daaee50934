"""The fault hook: the runtime's numbered steps, wrapped so that a process dies or freezes at one of them.

It exists in tests only: `arm` replaces methods of the runtime in a worker process that a test started. A step names
the method that it wraps; one that is not there any more is an error, so that a renamed method cannot switch its kills
off in silence. Steps that are passed by several kinds of record are told apart by a look at the arguments.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jurat.schemas.errors import BrokerUnreachable

Filter = Callable[[tuple[Any, ...]], bool]


class When(StrEnum):
    """On which side of the step."""

    BEFORE = "before"
    AFTER = "after"


class Deed(StrEnum):
    """What happens there."""

    KILL = "kill"
    FREEZE = "freeze"


SIGNALS = {Deed.KILL: signal.SIGKILL, Deed.FREEZE: signal.SIGSTOP}


class StepMissing(Exception):
    """A step that the hook wraps is not in the runtime any more: rename it in the table too."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the protocol.

    Attributes:
        name: with the number that it has in the protocol (`streams/partition.py`).
        target: `module:Class.method` that it is.
        concerns: which calls of that method are meant.
        passings: about how often it is passed in a few seconds of work; the hook takes one of them.
        provoked_by: a method that is made to fail once, as nothing else leads here.
        on_leaving: whether it comes when a worker is asked to end.
    """

    name: str
    target: str
    concerns: Filter = lambda _args: True
    passings: int = 1
    provoked_by: str | None = None
    on_leaving: bool = False


@dataclass(frozen=True, slots=True)
class Arm:
    """What is to happen to a process: at the n-th passing of a step."""

    step: str
    when: When
    nth: int = 1
    deed: Deed = Deed.KILL

    def spoken(self) -> str:
        """In words, for reports."""
        return f"{self.deed.value} {self.when.value} {self.step}"


def _writes(part: str) -> Filter:
    """Batches to a topic with this in its name."""
    return lambda args: part in args[2]


def _intent(args: tuple[Any, ...]) -> bool:
    return b'"kind":"intent"' in args[3]


def _answer(args: tuple[Any, ...]) -> bool:
    return not _intent(args)


def _parked(args: tuple[Any, ...]) -> bool:
    return bool(args[1].parked)


_TRANSACTIONS = "jurat.streams.committing:Transactions"
_BATCH = "jurat.streams.kafka:AIOKafkaProducer.send_batch"
_PARKING = "jurat.streams.parking:Parking"
_PROCESSOR = "jurat.streams.partition:PartitionProcessor"
_WRITE = "jurat.streams.journal_writer:JournalWriter.write"

STEPS: tuple[Step, ...] = (
    Step("1-fence", f"{_TRANSACTIONS}.fence", passings=3),
    Step("2-restore-state", "jurat.streams.state:PartitionState.restore", passings=3),
    Step("2-restore-journal", "jurat.streams.journal:Journal.restore", passings=3),
    Step("2-open", f"{_PROCESSOR}.open", passings=3),
    Step("3-intake", f"{_PROCESSOR}.feed", passings=4),
    Step("4-decide", "jurat.streams.working:Workbench.decide", passings=20),
    Step("4-decide-parked", "jurat.streams.working:Workbench.decide", _parked, passings=2),
    Step("4-intent", _WRITE, _intent, passings=20),
    Step("4-ask", "tests.model_reasoner:ModelReasoner.propose", passings=20),
    Step("4-answer", _WRITE, _answer, passings=20),
    Step("4-remember", "jurat.streams.duplicates:SeenWindow.remember", passings=20),
    Step("4-park", f"{_PARKING}.park", passings=3),
    Step("4-park-again", f"{_PARKING}.again"),
    Step("4-parked-end", f"{_PARKING}.end", passings=2),
    Step("5-timer", "jurat.streams.outputs:Writer.fired", passings=2),
    Step("5-begin", f"{_TRANSACTIONS}._begin", passings=8),
    Step("5-write-decisions", _BATCH, _writes("decisions.payment"), passings=8),
    Step("5-write-audit", _BATCH, _writes("audit.decisions"), passings=8),
    Step("5-write-changelog", _BATCH, _writes("state."), passings=8),
    Step("5-write-dead-letters", _BATCH, _writes("dead-letters."), passings=2),
    Step("5-write-tombstones", _BATCH, _writes("journal."), passings=5),
    Step("5-write-timers", _BATCH, _writes("timers."), passings=2),
    Step("5-offsets", f"{_TRANSACTIONS}._move_offsets", passings=8),
    Step("5-abort", f"{_TRANSACTIONS}._abort", provoked_by=f"{_TRANSACTIONS}._move_offsets"),
    Step("5-commit", f"{_TRANSACTIONS}._end", passings=8),
    Step("5-committed", "jurat.streams.duplicates:SeenWindow.committed", passings=8),
    Step("5-forget", "jurat.streams.journal:Journal.forget", passings=8),
    Step("6-close", f"{_PROCESSOR}.close", on_leaving=True),
    Step("6-stop", f"{_TRANSACTIONS}.stop", on_leaving=True),
)


def step(name: str) -> Step:
    """The step of that name."""
    return next(one for one in STEPS if one.name == name)


def check_steps() -> None:
    """Look every step up.

    Raises:
        StepMissing: one is not there.
    """
    for one in STEPS:
        _find(one.name, one.target)
        if one.provoked_by is not None:
            _find(one.name, one.provoked_by)


def arm(wanted: Arm, tell: Callable[[str], None]) -> None:
    """Wrap a step of this process.

    Args:
        wanted: what is to happen, and where.
        tell: writes down that it happens, before it does.

    Raises:
        StepMissing: the step is not in the runtime.
    """
    target = step(wanted.step)
    if target.provoked_by is not None:
        _fail_once(target.name, target.provoked_by)
    owner, name, method = _find(target.name, target.target)
    passed = 0

    def met(args: tuple[Any, ...], when: When) -> None:
        nonlocal passed
        if when is not wanted.when or not target.concerns(args):
            return
        passed += 1
        if passed == wanted.nth:
            tell(wanted.spoken())
            os.kill(os.getpid(), SIGNALS[wanted.deed])

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def waited(*args: Any, **kwargs: Any) -> Any:
            met(args, When.BEFORE)
            result = await method(*args, **kwargs)
            met(args, When.AFTER)
            return result

        setattr(owner, name, waited)
        return

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        met(args, When.BEFORE)
        result = method(*args, **kwargs)
        met(args, When.AFTER)
        return result

    setattr(owner, name, called)


def _fail_once(name: str, target: str) -> None:
    """Let a method fail the first time, as a coordinator does that moves."""
    owner, attribute, method = _find(name, target)
    failed = False

    @functools.wraps(method)
    async def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise BrokerUnreachable("the coordinator is elsewhere, for the sake of a test")
        return await method(*args, **kwargs)

    setattr(owner, attribute, failing)


def _find(step_name: str, target: str) -> tuple[type, str, Callable[..., Any]]:
    module, _colon, path = target.partition(":")
    class_name, _dot, name = path.partition(".")
    owner = getattr(importlib.import_module(module), class_name, None)
    method = getattr(owner, name, None)
    if not isinstance(owner, type) or not callable(method):
        raise StepMissing(
            f"the step {step_name} is to be {target}, which does not exist: name it anew in {__name__}"
        )
    return owner, name, method
