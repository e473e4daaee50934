"""Requests and what policies say of each: what `jurat policy eval` prints, line by line.

Rules upheld here:
1. every line that is not blank is answered, in its order, by one line; a bad one by an error in its place;
2. every answer holds jurat's verdict, and whatever went wrong denies: a bad line, an error, no decision;
3. under a bundle of jurat's the engine that decides in production answers; under plain Cedar `decision` is Cedar's own.

Specified in `docs/spec/policy-eval.md`. Not here: files (`jurat.cli.policy_eval`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from jurat.policies import cedar
from jurat.policies.cedar_requests import CedarRequest, LineError, parse
from jurat.policies.engine import PolicyEngine
from jurat.schemas.canonical import JsonObject
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import PolicyInputError

MAX_MESSAGE: Final = 500
"""Characters of an error that are told."""

_ERRED: Final = re.compile(r"error while evaluating policy `(.*?)`: ", re.DOTALL)


class Evaluator(Protocol):
    """Something that answers requests."""

    def answer(self, request: CedarRequest) -> JsonObject:
        """Answer one request.

        Raises:
            LineError: it has no form in which policies could be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What is printed for one line, and whether the line was bad."""

    value: JsonObject
    bad: bool


def answer_line(evaluator: Evaluator, number: int, line: bytes) -> Answered:
    """Answer one line.

    Args:
        evaluator: from `JuratEvaluator` or `PlainEvaluator`.
        number: the line's number, from 1.
        line: its bytes.
    """
    try:
        return Answered({"line": number, **evaluator.answer(parse(line))}, bad=False)
    except LineError as error:
        told = _cut(str(error))
        value = _answer(Verdict.DENY, decision=None, reasons=(), messages=(told,))
        return Answered({"line": number, **value, "error": told}, bad=True)


class JuratEvaluator:
    """Answers by a bundle of jurat's, through the engine."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine

    def answer(self, request: CedarRequest) -> JsonObject:
        """Answer one request.

        Raises:
            LineError: it has no canonical form (a float, an integer of 2**53 or more).
        """
        normalised: JsonObject = {
            **request.uids,  # type: ignore[dict-item]  # a typed dict is no dict to the checker
            "context": request.context,
            "entities": request.entities,
        }
        try:
            judgement = self._engine.rejudge(normalised)
        except PolicyInputError as error:
            raise LineError(str(error)) from error
        answer = _answer(
            judgement.verdict,
            # What may be done now: an escalation may not, until it is approved.
            decision="allow" if judgement.verdict is Verdict.ALLOW else "deny",
            reasons=judgement.policies,
            messages=judgement.errors,
        )
        return {**answer, "titles": [*judgement.reasons], "approvers": [*judgement.approvers]}


class PlainEvaluator:
    """Answers by plain Cedar, with Cedar's own decision."""

    def __init__(self, policies: cedar.PlainCedar) -> None:
        self._policies = policies

    def answer(self, request: CedarRequest) -> JsonObject:
        """Answer one request.

        Raises:
            LineError: it nests deeper than JSON is written here.
        """
        try:
            context, entities = json.dumps(request.context), json.dumps(request.entities)
        except RecursionError as error:
            raise LineError("got JSON nested too deeply, expected a request") from error
        found = self._policies.answer(
            request.uids, context=context, entities=entities, validated=request.validated
        )
        allowed = found.decision == "allow" and not found.errors
        answer = _answer(
            Verdict.ALLOW if allowed else Verdict.DENY,
            decision=found.decision,
            reasons=found.reasons,
            messages=found.errors,
        )
        return {**answer, "ids": {**found.ids}} if found.ids else answer


def _answer(
    verdict: Verdict, *, decision: str | None, reasons: Iterable[str], messages: Iterable[str]
) -> JsonObject:
    given = [*messages]
    said = [_cut(message) for message in given]
    erred = sorted({match[1] if (match := _ERRED.match(message)) else _cut(message) for message in given})
    answer: JsonObject = {
        "verdict": str(verdict),
        "decision": decision,
        "reasons": [*sorted(reasons)],
        "errors": [*erred],
    }
    return answer if erred == said else {**answer, "messages": [*said]}


def _cut(message: str) -> str:
    """Errors repeat what they object to, which may be anything; what is no Unicode cannot be printed."""
    return message.encode("utf-8", "backslashreplace").decode()[:MAX_MESSAGE]
