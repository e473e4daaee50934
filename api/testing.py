"""Testing an agent of one's own: run it in memory on events, and say what it should have decided.

Rules upheld here: an agent is run through the worker's own code (`jurat.streams.rehearsal`), with the policies of its
own bundle; with the plugin (`pytest -p jurat.testing`) no test calls a model unless it is marked `model_calls`. It
works with any test runner; only the hooks at the end are pytest's. Not here: Kafka, scripts and recordings
(`testing_reasoners.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jurat import app
from jurat.agents import model_calls
from jurat.agents.agent import Action, Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.approval import Answer
from jurat.audit.record import Outcome
from jurat.policies import PolicyEngine, known_bundle, load_bundle
from jurat.policies.bundle import bundle_of
from jurat.policies.bundle_tests import Case, cases, failure_of
from jurat.policies.folder import read_folder
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.errors import ConfigurationError, JuratError
from jurat.schemas.model import Event, Model
from jurat.streams.rehearsal import Rehearsal, Rehearsed
from jurat.testing_reasoners import Recorded, Scripted

__all__ = [
    "PolicyCase",
    "Recorded",
    "Rehearsed",
    "Scripted",
    "Stage",
    "assert_decided",
    "assert_denied",
    "assert_escalated",
    "policy_cases",
    "rehearse",
]

BEGINS: Final = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""When a rehearsal begins that says nothing else: the same moment in every run."""

MAX_ENGINES: Final = 16
"""Engines kept, by what their policies say: a project has a few bundles, and making an engine takes half a second."""

MARK: Final = "model_calls"
"""The mark of tests that may call a model for real."""


class Stage:
    """An agent in memory; made by `rehearse`. It begins without state, at the given moment."""

    def __init__(self, rehearsal: Rehearsal, runner: asyncio.Runner) -> None:
        self._rehearsal = rehearsal
        self._runner = runner

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self._rehearsal.now

    def send(
        self,
        event: Event,
        *,
        at: datetime | None = None,
        event_id: str | None = None,
        documents: Mapping[tuple[str, str], Model | None] | None = None,
    ) -> Rehearsed:
        """Publish an event on the agent's topic and let it be decided; see `jurat.streams.rehearsal.Rehearsal.send`.

        Raises:
            ConfigurationError: the event is on another topic (`publish`), or as there.
            JuratError: what a worker would try again, or end for.
        """
        ended = self._runner.run(self._rehearsal.send(event, at=at, event_id=event_id, documents=documents))
        if ended is None:
            raise ConfigurationError(
                f"got a {type(event).__name__}, which is not on the agent's topic, expected one that is; publish() it"
                " for the agent's views"
            )
        return ended

    def publish(self, event: Event, *, at: datetime | None = None) -> None:
        """Publish an event that is not for the agent, but for what it looks up.

        Raises:
            ConfigurationError: the agent decided it: `send` it.
        """
        if self._runner.run(self._rehearsal.send(event, at=at)) is not None:
            raise ConfigurationError(
                f"got a {type(event).__name__} to publish, which is on the agent's topic, expected send() for it"
            )

    def advance(self, to: datetime) -> tuple[Rehearsed, ...]:
        """Let time pass; what the timers led to that were due.

        Raises:
            ConfigurationError: time would run backwards.
        """
        return self._runner.run(self._rehearsal.advance(to))

    def grant(self, ended: Rehearsed, *, role: str, approver: str = "") -> Rehearsed:
        """Approve what was escalated, as somebody with this role; `approver` tells two people apart.

        Raises:
            ConfigurationError: it does not wait for an answer.
        """
        return self._answer(ended, Answer.GRANT, role, approver)

    def refuse(self, ended: Rehearsed, *, role: str, approver: str = "") -> Rehearsed:
        """Refuse what was escalated, as somebody with this role.

        Raises:
            ConfigurationError: it does not wait for an answer.
        """
        return self._answer(ended, Answer.REFUSE, role, approver)

    def state(self, key: str) -> Model | None:
        """The agent's state document of an event key."""
        return self._rehearsal.state(key)

    def _answer(self, ended: Rehearsed, answer: Answer, role: str, approver: str) -> Rehearsed:
        return self._runner.run(
            self._rehearsal.answer(_decision(ended), answer, role=role, approver=approver)
        )


@contextmanager
def rehearse(
    agent: Agent[Any], *, reasoner: Reasoner | None = None, at: datetime = BEGINS, bundle: Path | None = None
) -> Iterator[Stage]:
    """Run an agent in memory.

    Args:
        agent: the agent.
        reasoner: who proposes; None takes the heuristic reasoner. A `Scripted` one must be used up at the end.
        at: the moment at which it begins.
        bundle: the folder of its policies; None takes the agent's own.

    Raises:
        BundleError: the policies do not load.
        AssertionError: at the end, where answers of a script are left.
    """
    engine = _engine(bundle or known_bundle(agent.bundle))
    with asyncio.Runner() as runner:
        rehearsal = Rehearsal(agent, engine=engine, reasoner=reasoner, at=at)
        try:
            yield Stage(rehearsal, runner)
        finally:
            rehearsal.close()
    if isinstance(reasoner, Scripted) and reasoner.left:
        raise AssertionError(
            f"got {reasoner.left} answers of the script that nobody asked for, expected none"
        )


def assert_decided(
    ended: Rehearsed,
    *,
    action: Action | type[Action] | str | None = None,
    policies: Iterable[str] | None = None,
) -> None:
    """Say that an event was decided, and how.

    Args:
        ended: how it ended.
        action: the very action, its class, or its name; None for any.
        policies: exactly the policies that determined it, in any order; None for any.

    Raises:
        AssertionError: it ended otherwise; the message says how and why.
    """
    _assert_ended(ended, Outcome.DECIDED, action, policies)


def assert_denied(
    ended: Rehearsed,
    *,
    action: Action | type[Action] | str | None = None,
    policies: Iterable[str] | None = None,
) -> None:
    """Say that an event was denied; the action is the first one that was proposed. Arguments as `assert_decided`.

    Raises:
        AssertionError: it ended otherwise.
    """
    _assert_ended(ended, Outcome.DENIED, action, policies)


def assert_escalated(
    ended: Rehearsed,
    *,
    action: Action | type[Action] | str | None = None,
    policies: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
) -> None:
    """Say that people are asked; arguments as `assert_decided`, and exactly the roles that are asked.

    Raises:
        AssertionError: it ended otherwise.
    """
    _assert_ended(ended, Outcome.ESCALATED, action, policies)
    if roles is not None and sorted(roles) != sorted(_decision(ended).approvers):
        raise AssertionError(f"got {_told(ended)}, expected it to ask {sorted(roles)}")


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """One case of a bundle's `tests/*.yaml`, to be run as a test of its own; its text names it.

    Attributes:
        file: the file, relative to the bundle.
        case: the case.
    """

    file: str
    case: Case
    _engine: PolicyEngine = field(repr=False)

    def __str__(self) -> str:
        """File and name."""
        return f"{self.file}: {self.case.name}"

    def check(self) -> None:
        """Run it.

        Raises:
            AssertionError: it did not come out as expected.
        """
        failure = failure_of(self._engine, self.case)
        if failure is not None:
            raise AssertionError(f"{self}: {failure}")


def policy_cases(bundle: Path) -> Sequence[PolicyCase]:
    """The cases of a bundle: parametrize a test with them, `ids=str`.

    Raises:
        BundleError: the bundle or its cases do not load, or it has none.
    """
    engine = _engine(bundle)
    found = [PolicyCase(file, case, engine) for file, case in cases(engine.bundle)]
    if not found:
        raise ConfigurationError(f"got no case in {bundle}, expected some in tests/*.yaml")
    return found


def _engine(folder: Path) -> PolicyEngine:
    """The engine of the policies that stand in a folder now: a test may have changed them since the last one."""
    files, faults = read_folder(folder)
    if faults:
        load_bundle(folder)  # tells all of them
    return _engine_of(folder.resolve().name, tuple(sorted(files.items())))


@lru_cache(MAX_ENGINES)
def _engine_of(name: str, files: tuple[tuple[str, bytes], ...]) -> PolicyEngine:
    return PolicyEngine(bundle_of(name, dict(files)))


def _assert_ended(
    ended: Rehearsed,
    outcome: Outcome,
    action: Action | type[Action] | str | None,
    policies: Iterable[str] | None,
) -> None:
    if ended.outcome is not outcome:
        raise AssertionError(f"got {_told(ended)}, expected it to be {outcome}")
    decision = _decision(ended)
    name = action if isinstance(action, str | None) else action.action_name
    if name is not None and decision.action != name:
        raise AssertionError(f"got {_told(ended)}, expected {name}")
    if isinstance(action, Action) and decision.parameters != action.model_dump(mode="json"):
        raise AssertionError(f"got {_told(ended)}, expected {action!r}")
    if policies is not None and sorted(policies) != sorted(decision.policies):
        raise AssertionError(f"got {_told(ended)}, expected it by {', '.join(sorted(policies)) or 'none'}")


def _decision(ended: Rehearsed) -> Decision:
    if ended.decision is None:
        raise AssertionError(f"got {_told(ended)}, expected a decision")
    return ended.decision


def _told(ended: Rehearsed) -> str:
    """How an event ended, with everything that was proposed and refused, for people who mend a test."""
    decision = ended.decision
    if decision is None:
        return f"{ended.outcome}{f' ({ended.rejection.message})' if ended.rejection else ''}"
    said = f"{ended.outcome}: {decision.action} {decision.parameters} by {', '.join(decision.policies) or 'no policy'}"
    if decision.approvers:
        said += f", asking {', '.join(decision.approvers)}"
    refused = [
        f"{one.action} by {', '.join(one.policies) or 'no policy'}"
        for one in ended.record.proposals
        if one.verdict is Verdict.DENY
    ]
    return f"{said} ({decision.rationale}; refused: {'; '.join(refused) or 'nothing'})"


def pytest_configure(config: Any) -> None:
    """Know the project's app, and the mark."""
    import pytest  # noqa: PLC0415 - who calls this is pytest; everything else here works without

    config.addinivalue_line("markers", f"{MARK}: the test may call a model for real")
    try:
        app.load(config.rootpath)
    except JuratError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_runtest_setup(item: Any) -> None:
    """Forbid model calls, unless the test is marked."""
    if item.get_closest_marker(MARK) is None:
        model_calls.forbid(f"this is a test; script the reasoner, or mark the test @pytest.mark.{MARK}")
    else:
        model_calls.allow()


def pytest_unconfigure() -> None:
    """Forbid nothing any more."""
    model_calls.allow()
