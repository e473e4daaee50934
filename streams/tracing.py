"""The seam to tracing: what deciding and committing say, and what is said to nobody when tracing is off.

Rules upheld here: the decision event carries `DecisionTrace.traceparent`. With tracing off that is the input's, as it
came, and tracing costs a method call. Not here: spans (`tracing_otel.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Protocol, Self

from jurat.agents.kernel import Judge
from jurat.agents.reasoner import Reasoner
from jurat.schemas.decision import InputRef


class DecisionTrace(Protocol):
    """One input on its way through deciding; to be entered and left.

    Attributes:
        traceparent: what the decision event carries.
    """

    traceparent: str | None

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; an exception is named by its class."""
        ...

    def asking(self, reasoner: Reasoner) -> Reasoner:
        """The reasoner, each of its calls with a span."""
        ...

    def judging(self, judge: Judge) -> Judge:
        """The judge, each judgement with a span."""
        ...

    def ended(self, outcome: str, decision_id: str) -> None:
        """Say how it ended."""
        ...


class Tracing(Protocol):
    """Makes the spans of one worker."""

    def decision(self, traceparent: str | None, *, where: InputRef, event_id: str | None) -> DecisionTrace:
        """The trace of one input.

        Args:
            traceparent: what the event carries, valid, if anything.
            where: the input's coordinates.
            event_id: its CloudEvents id, if it has one.
        """
        ...

    def commit(self, traceparents: Sequence[str | None], *, where: str) -> AbstractContextManager[object]:
        """A span around one transaction.

        Args:
            traceparents: `DecisionTrace.traceparent` of the inputs in it.
            where: whose transaction it is: the transactional id.
        """
        ...


class _Passed:
    """A trace that is passed on as it came."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def asking(self, reasoner: Reasoner) -> Reasoner:
        return reasoner

    def judging(self, judge: Judge) -> Judge:
        return judge

    def ended(self, outcome: str, decision_id: str) -> None:
        pass


class _Off:
    """No SDK: nothing is recorded."""

    def decision(self, traceparent: str | None, *, where: InputRef, event_id: str | None) -> DecisionTrace:  # noqa: ARG002 - the seam's
        return _Passed(traceparent)

    def commit(self, traceparents: Sequence[str | None], *, where: str) -> AbstractContextManager[object]:  # noqa: ARG002 - the seam's
        return nullcontext()


OFF: Final[Tracing] = _Off()
