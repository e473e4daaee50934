"""Whether a bundle is for an agent: it knows the agent, and judges its actions by what the agent really says.

A bundle that was published may be older or newer than the release that runs. Where its schema and the agent's models
differ, every request would be refused as not fitting the schema: that is found out before the bundle decides, not by
denying everything.

Rules upheld here: each action of the agent is declared exactly as its models say, and so is what it acts on; what else
the schema declares, for other agents, does not matter, nor do layout and comments. Not here: what
schemas look like (`cedar_schema.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from jurat.policies.bundle import Bundle
from jurat.policies.cedar_schema import ActionDeclaration, generate
from jurat.schemas.errors import BundleUnfit

_TOKEN = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|[A-Za-z0-9_]+|::|[^\sA-Za-z0-9_]')
_OPENING, _CLOSING = "{[(<", "}])>"


def check_covers(bundle: Bundle, *, agent: str, actions: Iterable[ActionDeclaration]) -> None:
    """Check that a bundle can judge an agent's actions.

    Args:
        bundle: the bundle.
        agent: the agent's name.
        actions: the actions that it may propose.

    Raises:
        BundleUnfit: it cannot; `faults` says all that is wrong.
    """
    faults: list[str] = []
    if agent not in bundle.agents:
        faults.append(f"roles.yaml: got the agents {', '.join(bundle.agents)}, expected {agent} among them")
    declared = _declarations(bundle.schema_text)
    expected = _declarations(generate(bundle.namespace, actions, usage=bundle.budgets.usage_fields()))
    faults += [
        f"schema.cedarschema: got {'another' if name in declared else 'no'} declaration of {name}, expected that of the"
        f" agent's models: jurat policy schema {bundle.name}"
        for name, tokens in sorted(expected.items())
        if declared.get(name) != tokens
    ]
    if faults:
        raise BundleUnfit(
            f"the bundle {bundle.name} {bundle.digest} is not one for {agent} of this release:",
            faults=tuple(faults),
            bundle=bundle.name,
            digest=bundle.digest,
        )


def _declarations(schema: str) -> dict[str, tuple[str, ...]]:
    """The tokens of each declaration in the schema's one namespace, by kind and name."""
    found: dict[str, tuple[str, ...]] = {}
    depth, current = 0, list[str]()
    for word in _TOKEN.findall(schema):
        if word.startswith("//"):
            continue
        if depth:
            current.append(word)
        depth += (word in _OPENING) - (word in _CLOSING)
        if depth == 1 and word == ";":
            tokens = tuple(_without_last_commas(current))
            found[" ".join(tokens[:2])] = tokens
            current = []
        if word == "{" and depth == 1:
            current = []
    return found


def _without_last_commas(tokens: list[str]) -> Iterable[str]:
    following = [*tokens[1:], ""]
    return (
        word for word, after in zip(tokens, following, strict=True) if word != "," or after not in _CLOSING
    )
