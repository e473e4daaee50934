"""What a bundle's agents aim for: `objectives.yaml`, weights and prose for reasoners.

Rules upheld here: read strictly, like everything that is digested; the weights of one agent add up to 100, so that one
says what it is worth without the others; the value is frozen. It never reaches the engine, so it cannot influence a
verdict. Not here: how a reasoner weighs (`jurat.agents`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

import orjson
from pydantic import Field, ValidationError

from jurat.policies.faults import at, did_you_mean, listed, validation_faults
from jurat.policies.strict_yaml import Document
from jurat.schemas.model import Model

TOTAL: Final = 100
"""What the weights of one agent add up to."""

MAX_AIM_LENGTH: Final = 1_000
"""A paragraph: it goes into every prompt."""

MAX_WEIGHTS: Final = 20
"""More aims than that are no aim."""

Goal = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]


@dataclass(frozen=True, slots=True)
class Objectives:
    """What one agent aims for inside the policies.

    Attributes:
        aim: one paragraph in plain words.
        weights: what each goal is worth, in percent; they add up to 100.
    """

    aim: str
    weights: Mapping[str, int]


class AgentObjectives(Model):
    """One agent's part of objectives.yaml."""

    aim: str = Field(min_length=1, max_length=MAX_AIM_LENGTH)
    weights: Annotated[
        dict[Goal, Annotated[int, Field(ge=1, le=TOTAL)]], Field(min_length=1, max_length=MAX_WEIGHTS)
    ]


def read_objectives(
    file: str, document: Document, *, agents: Mapping[str, object]
) -> tuple[Mapping[str, Objectives], list[str]]:
    """Read objectives.yaml.

    Args:
        file: its name, for faults.
        document: its content.
        agents: the agents of roles.yaml.

    Returns:
        The objectives by agent, and the faults.
    """
    content = document.value
    if not isinstance(content, dict):
        return MappingProxyType({}), [f"{file}: got no mapping, expected `aim` and `weights` by agent"]
    found: dict[str, Objectives] = {}
    faults: list[str] = []
    for agent, value in content.items():
        where = at(file, document.line((agent,)))
        if agent not in agents:
            faults.append(
                f"{where}got the agent {agent}, expected one of roles.yaml: {listed(agents)}"
                f"{did_you_mean(agent, agents)}"
            )
        try:
            part = AgentObjectives.model_validate_json(orjson.dumps(value))
        except ValidationError as error:
            faults += validation_faults(file, error, model=AgentObjectives, document=document, below=(agent,))
            continue
        total = sum(part.weights.values())
        if total != TOTAL:
            faults.append(f"{where}got weights of {agent} that add up to {total}, expected {TOTAL}")
        found[agent] = Objectives(part.aim, MappingProxyType(part.weights))
    return MappingProxyType(found), faults
