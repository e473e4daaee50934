"""Who was asked for proposals, as an audit record holds it: models and tools by digests, never what they said.

Not here: the proposals themselves (`record.py`).
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from jurat.schemas.model import Count, Model

MAX_TOOLS: Final = 64
"""Tools of one record: far above what a decision may use."""

Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


def absent(value: object) -> bool:
    """Whether an optional member holds nothing, and is left out."""
    return not value


class Usage(Model):
    """What a model call cost; `cost_micros` are millionths of the currency."""

    calls: Count
    input_tokens: Count
    output_tokens: Count
    cost_micros: Count | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None


class ModelAsked(Model):
    """The model call behind an answer, by its digests; what it says of itself is a claim."""

    model: Name
    parameters_sha256: Sha256Hex
    prompt_sha256: Sha256Hex
    response_sha256: Sha256Hex


class ToolAnswered(Model):
    """A tool that was used before a proposal, by digests of canonical JSON.

    Attributes:
        result_sha256: None where it failed.
        call: the model call in which it was wished for.
    """

    name: Name
    arguments_sha256: Sha256Hex
    result_sha256: Sha256Hex | None
    call: Annotated[ModelAsked | None, Field(exclude_if=absent)] = None


class ReasonerUsed(Model):
    """Who was asked. `model` and the next one are None where no model gave a usable answer.

    Attributes:
        model: what answered with the proposal that counts, or else last.
        usage: of all calls of this decision together, those without a usable answer included; None where there was no
            call.
        tools: tools that were used, in order; printed only where there are any.
    """

    name: Name
    deterministic: bool
    model: Name | None = None
    parameters_sha256: Sha256Hex | None = None
    usage: Usage | None = None
    tools: Annotated[tuple[ToolAnswered, ...], Field(max_length=MAX_TOOLS, exclude_if=absent)] = ()
