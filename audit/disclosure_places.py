"""The places of a record that may be personal, each visited once, in one order. Pure.

Rules upheld here: what is left in plain tells nothing that somebody who knows or guesses a person's data could test;
a place that holds nothing (null, no element) stays as it is. The table of docs/spec/disclosure.md gives the reason for
every member, in the order of this module.

Not here: what is put in such a place (`disclosure.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

from jurat.audit.answered import Approval
from jurat.audit.reasoning import ModelAsked, ReasonerUsed
from jurat.audit.record import (
    ContextRead,
    DecisionRecord,
    Input,
    PolicyUsed,
    ProposalJudged,
    Rejection,
)
from jurat.schemas.model import Model

SUBJECT: Final = "subject"
"""The place of the decision event's digest; without a decision the subject is the first input, and so is its place."""

FIRST_INPUT: Final = "inputs/0/sha256"

M = TypeVar("M", bound=Model)


class Kind(StrEnum):
    """What stands in a place, and so what form a commitment has there."""

    DIGEST = "digest"
    TEXT = "text"
    OBJECT = "object"
    SIGNATURE = "signature"


Swap = Callable[[str, Kind, Any], Any]
"""Given a place, its kind and what stands there: what shall stand there."""


def swapped(record: DecisionRecord, subject_sha256: str, swap: Swap) -> tuple[DecisionRecord, str]:
    """The record and its subject's digest with every such place swapped.

    Args:
        record: the record; what `swap` returns is put in without a further look.
        subject_sha256: digest of what the record is about.
        swap: called once for each place that holds something, in order.
    """
    at = _Swapper(swap)
    inputs = tuple([at.input(f"inputs/{number}", one) for number, one in enumerate(record.inputs)])
    fields = {
        "inputs": inputs,
        "context": tuple([at.context(f"context/{n}", one) for n, one in enumerate(record.context)]),
        "reasoner": None if record.reasoner is None else at.reasoner("reasoner", record.reasoner),
        "proposals": tuple([at.proposal(f"proposals/{n}", one) for n, one in enumerate(record.proposals)]),
        "policy": None if record.policy is None else at.policy("policy", record.policy),
        "approvals": tuple([at.approval(f"approvals/{n}", one) for n, one in enumerate(record.approvals)]),
        "rejection": None if record.rejection is None else at.rejection("rejection", record.rejection),
    }
    subject = swap(SUBJECT, Kind.DIGEST, subject_sha256) if record.outcome.has_decision else inputs[0].sha256
    return record.model_copy(update=fields), subject


class _Swapper:
    """One visit of a record; each method takes the place of a part, and the part."""

    def __init__(self, swap: Swap) -> None:
        self._swap = swap

    def input(self, place: str, one: Input) -> Input:
        return self._with(one, place, event_id=Kind.TEXT, sha256=Kind.DIGEST)

    def context(self, place: str, one: ContextRead) -> ContextRead:
        return self._with(one, place, key=Kind.TEXT, sha256=Kind.DIGEST)

    def reasoner(self, place: str, one: ReasonerUsed) -> ReasonerUsed:
        tools = []
        for number, tool in enumerate(one.tools):
            here = f"{place}/tools/{number}"
            told = self._in(
                tool, here, name=Kind.TEXT, arguments_sha256=Kind.DIGEST, result_sha256=Kind.DIGEST
            )
            tools.append(tool.model_copy(update=told | {"call": self._call(here, tool.call)}))
        return one.model_copy(update={"tools": tuple(tools)}) if tools else one

    def proposal(self, place: str, one: ProposalJudged) -> ProposalJudged:
        told = self._in(one, place, parameters=Kind.OBJECT)
        told |= {"errors": self._texts(f"{place}/errors", one.errors), "call": self._call(place, one.call)}
        return one.model_copy(update=told)

    def policy(self, place: str, one: PolicyUsed) -> PolicyUsed:
        told = self._in(one, place, input=Kind.OBJECT)
        told["budgets"] = tuple(
            [self._with(used, f"{place}/budgets/{n}", key=Kind.TEXT) for n, used in enumerate(one.budgets)]
        )
        shadow = one.shadow
        if shadow is not None:
            errors = self._texts(f"{place}/shadow/errors", shadow.errors)
            told["shadow"] = shadow.model_copy(update={"errors": errors})
        return one.model_copy(update=told)

    def approval(self, place: str, one: Approval) -> Approval:
        return self._with(one, place, sha256=Kind.DIGEST, sig=Kind.SIGNATURE, statement=Kind.TEXT)

    def rejection(self, place: str, one: Rejection) -> Rejection:
        return self._with(one, place, message=Kind.TEXT)

    def _call(self, place: str, one: ModelAsked | None) -> ModelAsked | None:
        if one is None:
            return None
        return self._with(one, f"{place}/call", prompt_sha256=Kind.DIGEST, response_sha256=Kind.DIGEST)

    def _texts(self, place: str, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([self._swap(f"{place}/{n}", Kind.TEXT, text) for n, text in enumerate(texts)])

    def _with(self, part: M, place: str, **kinds: Kind) -> M:
        return part.model_copy(update=self._in(part, place, **kinds))

    def _in(self, part: Model, place: str, **kinds: Kind) -> dict[str, Any]:
        """What stands in these members from now on, of those that hold something."""
        values = part.__dict__
        held = [(name, kind, values[name]) for name, kind in kinds.items() if values[name] is not None]
        return {name: self._swap(f"{place}/{name}", kind, value) for name, kind, value in held}
