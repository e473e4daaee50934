"""Reasoners for tests: one that says what its script says, and one that says what another one said before.

Rules upheld here: a question without an answer fails the test, and no fallback of an agent hides it; a recording is
found by what was asked, so that a changed event, document or refusal is a new question. Not here: running an agent
(`testing.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jurat.agents.agent import Action
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, request_digest
from jurat.agents.tools import raw
from jurat.audit.record import format_time
from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError, ReasonerError, StreamError
from jurat.streams.journal_entry import Entry, Kind, answer_of, answered, parse_entry, print_entry

MAX_RECORDING_BYTES: Final = 64 * 1024 * 1024
"""A recording is read whole, and lives in a repository: this is some 50,000 answers."""


class Scripted:
    """A reasoner that answers as the test says, in order, and nothing else.

    Args:
        answers: an action or a whole `Proposal` is proposed, a `ToolCall` is wished for, None proposes nothing, a
            `ReasonerError` is raised.
    """

    name = "scripted"
    deterministic = True

    def __init__(self, *answers: Action | Proposal | ToolCall | ReasonerError | None) -> None:
        self._answers = list(answers)
        self.requests: list[ProposalRequest] = []

    @property
    def left(self) -> int:
        """How many answers were not asked for yet."""
        return len(self._answers) - len(self.requests)

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Give the next answer.

        Raises:
            ConfigurationError: the script is used up; no fallback hides it.
            ReasonerError: the script says so.
        """
        number = len(self.requests)
        if number >= len(self._answers):
            raise ConfigurationError(
                f"got question {number + 1} to a script of {number} answers, expected no more: {_asked(request)}"
            )
        self.requests.append(request)
        answer = self._answers[number]
        if isinstance(answer, ReasonerError):
            raise answer
        if isinstance(answer, Action):
            return Proposal(action=answer, rationale="as scripted")
        return answer


class Recorded:
    """A reasoner that answers from a recording, and adds what is not in it yet where it may ask somebody.

    Each answer is recorded by the digest of its question, a line of JSON each, in the form of the journal of model
    calls (docs/spec/journal.md). Errors are not recorded.

    Args:
        file: the recording; it need not be there yet where there is `inner`.
        inner: who answers what is not recorded; None for nobody. Mark the test `model_calls` where it is a model.

    Raises:
        ConfigurationError: the file cannot be read, or is no recording.
    """

    def __init__(self, file: Path, inner: Reasoner | None = None) -> None:
        self._file = file
        self._inner = inner
        self._known = _read(file) if file.exists() or inner is None else {}

    @property
    def name(self) -> str:
        """`recorded`: records name who really answered."""
        return "recorded"

    @property
    def deterministic(self) -> bool:
        """True: the same question has the same answer."""
        return True

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Answer as it was answered before.

        Raises:
            ConfigurationError: this was never answered, and there is nobody to ask.
            ReasonerError: as the inner one does.
        """
        asked = request_digest(request)
        if asked not in self._known:
            if self._inner is None:
                raise ConfigurationError(
                    f"got a question that {self._file} has no answer to; ask a reasoner once, Recorded(file, reasoner):"
                    f" {_asked(request)}"
                )
            answer = await self._inner.propose(request)
            at = format_time(request.situation.now)
            event = canonical.digest(request.situation.event.model_dump(mode="json"))
            intent = Entry(
                kind=Kind.INTENT, call_id=self._inner.name, request=asked, event=event, asked_at=at
            )
            entry = answered(intent, raw(answer) if isinstance(answer, ToolCall) else answer, at)
            self._known[asked] = entry
            with self._file.open("ab") as file:
                file.write(print_entry(entry) + b"\n")
        return answer_of(self._known[asked], request.agent)


def _read(file: Path) -> dict[str, Entry]:
    try:
        if file.stat().st_size > MAX_RECORDING_BYTES:
            raise ConfigurationError(
                f"got {file} of more than {MAX_RECORDING_BYTES} bytes, expected a recording"
            )
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"the recording {file} cannot be read ({error.strerror}); make it once: Recorded(file, reasoner)"
        ) from error
    found: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_entry(line)
        except StreamError as error:
            raise ConfigurationError(f"{file}:{number}: {error}") from error
        found[entry.request] = entry
    return found


def _asked(request: ProposalRequest) -> str:
    refused = [
        f"{judged.proposal.action.action_name} was refused by {', '.join(judged.judgement.policies) or 'no policy'}"
        for judged in request.refused
    ]
    said = "; ".join(refused) or "nothing was refused yet"
    return f"{request.agent.name} was asked about {request.situation.event!r}; {said}"
