"""Who acts and who approves: `roles.yaml`.

Rules upheld here: read strictly; who decides does not approve, so that no agent holds an approver's role.
Not here: what the roles may do (the policies).
"""

from __future__ import annotations

from typing import Annotated

import orjson
from pydantic import Field, ValidationError

from jurat.policies.faults import at, validation_faults
from jurat.policies.lint import NAME
from jurat.policies.strict_yaml import Document
from jurat.schemas.model import Model

Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]


class Roles(Model):
    """The content of roles.yaml.

    Attributes:
        agents: the roles of every agent that this bundle is for.
        approvers: the roles that may lift a refusal.
    """

    agents: Annotated[dict[Name, tuple[Name, ...]], Field(min_length=1)]
    approvers: tuple[Name, ...] = ()


def read_roles(file: str, document: Document) -> tuple[Roles | None, list[str]]:
    """Read roles.yaml.

    Args:
        file: its name, for faults.
        document: its content.

    Returns:
        The roles, None where they cannot be told, and the faults.
    """
    try:
        roles = Roles.model_validate_json(orjson.dumps(document.value))
    except ValidationError as error:
        return None, validation_faults(file, error, model=Roles, document=document)
    return roles, [
        f"{at(file, document.line(('agents', agent)))}got the agent {agent} with the approver role {role},"
        " expected that who decides does not approve"
        for agent, held in sorted(roles.agents.items())
        for role in sorted(set(held) & set(roles.approvers))
    ]
