"""The action space of a recorded policy input: the parameters that policies see as they are, varied in it.

Rules upheld here: what an agent worked out from a parameter stays as it was recorded, as the situation is gone; so
nothing here says what may be left out of an offer. Not here: the space of a situation, where everything is worked out
anew (`action_space.py`).
"""

from __future__ import annotations

from dataclasses import replace

from jurat.agents.action_axes import Parameter, parameters_of
from jurat.agents.action_space import ActionSpace
from jurat.agents.agent import Action
from jurat.policies.engine import PolicyEngine
from jurat.policies.normal import instant
from jurat.policies.request import Judgement
from jurat.policies.space import Kind
from jurat.policies.space_probing import explore
from jurat.policies.space_terms import EPOCH, MILLISECOND, decoded
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.errors import PolicyInputError


def space_of_input(engine: PolicyEngine, action: type[Action], asked: JsonObject) -> ActionSpace:
    """Explore the parameters of an action that stand in a normalised policy input.

    Raises:
        PolicyInputError: it has not the shape of a normalised input, or is of another action.
    """
    base = engine.rejudge(asked)
    context = asked.get("context")
    match asked["action"]:
        case {"id": action.action_name} if isinstance(context, dict):
            pass
        case other:
            raise PolicyInputError(
                f"got a policy input of the action {other}, expected one of {action.action_name} with a context"
            )
    seen = [one for one in parameters_of(action) if one.name in context and one.axis.kind is not Kind.OPEN]

    def ask(name: str, value: object) -> Judgement:
        (parameter,) = (one for one in seen if one.name == name)
        changed = {key: fact for key, fact in context.items() if key != name}
        if value is not None:
            changed[name] = _encoded(parameter, value)
        return engine.rejudge({**asked, "context": changed})

    axes = [
        one.axis
        if one.axis.kind is Kind.CHOICE
        else replace(one.axis, values=(*one.axis.values, decoded(context[one.name])))
        for one in seen
    ]
    return ActionSpace(
        action=action,
        base={one.name: context[one.name] for one in seen},
        judgement=base,
        parameters=explore(engine.bundle, action.action_name, axes, base=base, ask=ask),
    )


def _encoded(parameter: Parameter, value: object) -> JsonValue:
    match parameter.axis.kind, value:
        case Kind.MOMENT, int():
            return instant(EPOCH + value * MILLISECOND)
        case Kind.DURATION, int():
            return {"__extn": {"fn": "duration", "arg": f"{value}ms"}}
        case _, bool() | int() | str():
            return value
    raise PolicyInputError(f"got {value!r} for {parameter.name}, expected a {parameter.axis.kind}")
