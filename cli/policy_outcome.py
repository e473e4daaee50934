"""What analysis found, in words.

Rules upheld here: an example is printed as the fields of a case, ready for `tests/*.yaml`. Loads z3: imported by
commands when they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from jurat.policies.analysis import Fault, Outcome, Unknown
from jurat.policies.analysis_witness import as_case

if TYPE_CHECKING:
    from jurat.policies.request import Judgement
    from jurat.schemas.canonical import JsonObject


def judged(judgement: Judgement) -> str:
    """A judgement in one line."""
    to = f" to {', '.join(judgement.approvers)}" if judgement.approvers else ""
    by = ", ".join(judgement.policies) or "; ".join(judgement.reasons)
    return f"{judgement.verdict}{to} by {by}"


def as_lines(request: JsonObject, *, indent: str = "  ") -> str:
    """A request as the lines of a case."""
    return "\n".join(
        f"{indent}{name}: {orjson.dumps(value).decode()}" for name, value in as_case(request).items()
    )


def unanswered(outcome: Outcome) -> str:
    """Why there is neither a proof nor an example."""
    match outcome:
        case Unknown(because):
            return "\n".join(("unknown because", *(f"  {reason}" for reason in because)))
        case Fault(message):
            return f"unknown: the analysis is at fault, please report it: {message}"
    raise TypeError(f"got {type(outcome).__name__}, which is an answer")
