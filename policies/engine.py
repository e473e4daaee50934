"""The policy engine: one request in, one judgement out, always with every reason.

Rules upheld here:
1. it fails closed: an error, an unknown agent or action, a value that Cedar cannot hold, no decision: all
   deny;
2. it never raises for what data may contain; the error is in the judgement;
3. what was evaluated is what is recorded: `Judgement.normalised` is the input itself, and `rejudge` of it
   answers the same under the same bundle;
4. only a refusal that every determining policy lets a person lift is escalated, and only where it would then
   be allowed.

One judgement, step by step (the numbers come back in the code):

1. **Normalise** the request into canonical JSON types, with what was used of the budgets that count it; what has no
   such form denies, and so does usage that cannot be told.
2. **Evaluate** with the approvals that were verified. An error denies, `Allow` allows.
3. Refused: where every determining policy has `@escalate`, **evaluate again** with their roles granted.
   `Allow` now escalates to these roles; all else denies. No other role is granted: it would lift nothing that
   refuses (`lint.py`), but could uncover an error in another policy's `unless`.

Not here: verifying approvals, and calls to Cedar (`cedar.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import orjson

from jurat.policies import cedar
from jurat.policies.bundle import Bundle
from jurat.policies.cedar_schema import USAGE
from jurat.policies.normal import UnfitError, instant, printable, record
from jurat.policies.request import Judgement, PolicyRequest, UsageSource
from jurat.policies.usage import measure
from jurat.schemas import canonical
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import CanonicalError, PolicyInputError

NO_PERMIT = "no policy permits this"
NOT_EVALUATED = "the policies could not be evaluated"

_KEYS = frozenset({"principal", "action", "resource", "context", "entities"})
_UNFIT_KEYS = frozenset({"principal", "action", "resource", "unfit"})


class PolicyEngine:
    """Judges by one bundle; satisfies `jurat.agents.kernel.Judge`."""

    version = cedar.VERSION
    """What evaluates, as it goes into records."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._agent_type, self._action_type = f"{bundle.namespace}::Agent", f"{bundle.namespace}::Action"
        self._actions = frozenset(bundle.actions)

    @property
    def bundle(self) -> Bundle:
        """The bundle that is judged by."""
        return self._bundle

    @property
    def digest(self) -> str:
        """The bundle's digest, as it goes into decisions."""
        return self._bundle.digest

    def judge(self, request: PolicyRequest) -> Judgement:
        """Judge one request."""
        resource: JsonObject = {
            "type": f"{self._bundle.namespace}::{request.resource.entity_type}",
            "id": request.resource.id,
        }
        asked: JsonObject = {
            "principal": {"type": self._agent_type, "id": request.agent},
            "action": {"type": self._action_type, "id": request.action},
            "resource": resource,
        }
        try:  # 1
            context = record(request.facts)
            context["now"] = instant(request.now)
            context["approvals"] = sorted(request.approvals)  # type: ignore[assignment]  # list is invariant
            attributes = record(request.resource, without="id")
        except UnfitError as error:
            return _unfit(asked, str(error))
        asked["context"] = context
        asked["entities"] = [{"uid": resource, "attrs": attributes, "parents": []}]
        return self._told(asked, context, attributes, source=request.usage, now=request.now)

    def rejudge(self, normalised: JsonObject) -> Judgement:
        """Judge a recorded input again.

        Args:
            normalised: the `Judgement.normalised` of an earlier judgement, by this bundle or another one.

        Raises:
            PolicyInputError: it has not the shape of a normalised input.
        """
        if set(normalised) == _UNFIT_KEYS:
            return _unfit({k: v for k, v in normalised.items() if k != "unfit"}, str(normalised["unfit"]))
        _check_shape(normalised)
        return self._judge(normalised)

    def rejudge_told(self, normalised: JsonObject, source: UsageSource, *, now: datetime) -> Judgement:
        """Judge a recorded input again, told what was used of this bundle's budgets instead of what it was told then.

        Args:
            normalised: the `Judgement.normalised` of an earlier judgement, by this bundle or another one.
            source: who knows what was used.
            now: the moment of the decision.

        Raises:
            PolicyInputError: it has not the shape of a normalised input.
        """
        if set(normalised) == _UNFIT_KEYS:
            return self.rejudge(normalised)
        _check_shape(normalised)
        recorded = normalised["context"]
        context = dict(recorded) if isinstance(recorded, dict) else {}
        context.pop(USAGE, None)
        asked = {**normalised, "context": context}
        return self._told(asked, context, attributes_of(normalised), source=source, now=now)

    def _told(
        self,
        asked: JsonObject,
        context: JsonObject,
        attributes: JsonObject,
        *,
        source: UsageSource | None,
        now: datetime,
    ) -> Judgement:
        """Judge what is asked, with what was used of the budgets that count it in its context."""
        budgets = self._bundle.budgets.of_action.get(_uid(asked["action"])["id"])
        if budgets is None:
            return self._judge(asked)
        usage = measure(budgets, source, attributes=attributes, context=context, now=now)
        context[USAGE] = usage.values
        judgement = self._judge(asked)
        if "unfit" not in judgement.normalised:  # otherwise the record cannot say what it was told
            judgement = replace(judgement, charges=usage.charges)
        if not usage.faults:
            return judgement
        # The schema demands what is missing, so Cedar denies too: a record of this input is judged again the same.
        errors = (*usage.faults, *judgement.errors)
        return replace(
            judgement,
            verdict=Verdict.DENY,
            policies=(),
            reasons=(NOT_EVALUATED,),
            approvers=(),
            errors=errors,
        )

    def _judge(self, asked: JsonObject) -> Judgement:
        uids = cedar.Uids(
            principal=_uid(asked["principal"]), action=_uid(asked["action"]), resource=_uid(asked["resource"])
        )
        try:
            entities = orjson.dumps(asked["entities"]).decode()
            context = orjson.dumps(asked["context"]).decode()
            orjson.dumps(uids)
        except (orjson.JSONEncodeError, UnicodeError) as error:
            return _unfit(asked, str(error))
        unknown = self._unknown(uids)
        if unknown is not None:
            return Judgement(
                Verdict.DENY, (), (NOT_EVALUATED,), errors=(unknown,), normalised=asked, evaluated=False
            )
        case = self._bundle.compiled.open(uids, entities)
        if isinstance(case, cedar.Evaluation):
            return self._denied(case, asked)
        first = case.evaluate(context)  # 2
        if first.allowed:
            return self._judgement(Verdict.ALLOW, first.reasons, asked)
        policies = self._bundle.policies
        roles = {policies[id_].escalate for id_ in first.reasons}
        if first.errors or not roles or None in roles:
            return self._denied(first, asked)
        lifted = case.evaluate(_granted(asked["context"], roles))  # 3
        if lifted.allowed:
            approvers = tuple(sorted(role for role in roles if role is not None))
            return self._judgement(Verdict.ESCALATE, first.reasons, asked, approvers)
        if lifted.errors:
            return self._denied(dataclasses.replace(lifted, reasons=first.reasons), asked)
        # Without a reason left, no permit covers it: naming what an approval could lift would mislead.
        return self._denied(first if lifted.reasons else lifted, asked)

    def _unknown(self, uids: cedar.Uids) -> str | None:
        agent, action = uids["principal"], uids["action"]
        if agent["type"] != self._agent_type or agent["id"] not in self._bundle.agents:
            known = ", ".join(self._bundle.agents)
            return f"got the agent {printable(agent['id'])}, expected one of roles.yaml: {known}"
        if action["type"] != self._action_type or action["id"] not in self._actions:
            known = ", ".join(self._bundle.actions)
            return f"got the action {printable(action['id'])}, expected one of the schema: {known}"
        return None

    def _denied(self, evaluation: cedar.Evaluation, asked: JsonObject) -> Judgement:
        judgement = self._judgement(Verdict.DENY, evaluation.reasons, asked)
        if evaluation.reasons and not evaluation.errors:
            return judgement
        why = NOT_EVALUATED if evaluation.errors else NO_PERMIT
        return Judgement(
            Verdict.DENY,
            judgement.policies,
            judgement.reasons or (why,),
            errors=evaluation.errors,
            normalised=asked,
            evaluated=evaluation.decided,
        )

    def _judgement(
        self, verdict: Verdict, ids: tuple[str, ...], asked: JsonObject, approvers: tuple[str, ...] = ()
    ) -> Judgement:
        titles = tuple([self._bundle.policies[id_].title for id_ in ids])
        return Judgement(verdict, ids, titles, approvers, normalised=asked)


def _uid(value: JsonValue) -> cedar.Uid:
    return value  # type: ignore[return-value]  # rejudge checked the shape, judge made it


def attributes_of(normalised: JsonObject) -> JsonObject:
    """The attributes of the resource of a normalised input; none where it has none."""
    entities = normalised.get("entities")
    for entity in entities if isinstance(entities, list) else ():
        if isinstance(entity, dict) and entity.get("uid") == normalised.get("resource"):
            attributes = entity.get("attrs")
            return attributes if isinstance(attributes, dict) else {}
    return {}


def _check_shape(normalised: JsonObject) -> None:
    if set(normalised) != _KEYS:
        raise PolicyInputError(
            f"got a policy input with the fields {sorted(normalised)}, expected {sorted(_KEYS)}"
        )
    for name in ("principal", "action", "resource"):
        uid = normalised[name]
        if not isinstance(uid, dict) or set(uid) != {"type", "id"} or not _texts(uid.values()):
            raise PolicyInputError(f"got a policy input whose {name} is no identity, expected {{type, id}}")
    if not isinstance(normalised["context"], dict) or not isinstance(normalised["entities"], list):
        raise PolicyInputError("got a policy input whose context is no object or whose entities are no list")
    try:
        canonical.dumps(normalised)
    except CanonicalError as error:
        raise PolicyInputError(f"got a policy input that is not canonical: {error}") from error


def _granted(context: JsonValue, roles: set[str | None]) -> str:
    """A context that was evaluated, with approvals by these roles added."""
    fields = context if isinstance(context, dict) else {}
    given = fields.get("approvals")
    approvals = [*(given if isinstance(given, list) else []), *roles]
    return orjson.dumps({**fields, "approvals": approvals}).decode()


def _texts(values: Iterable[JsonValue]) -> bool:
    return all(isinstance(value, str) for value in values)


def _unfit(asked: JsonObject, why: str) -> Judgement:
    """Deny what Cedar cannot be asked; the identities are kept as far as they can be written down."""
    normalised: JsonObject = {"unfit": printable(why)}
    for name in ("principal", "action", "resource"):
        uid = asked[name]
        given = uid if isinstance(uid, dict) else {}
        normalised[name] = {key: printable(str(text)) for key, text in given.items()}
    return Judgement(
        Verdict.DENY,
        (),
        (NOT_EVALUATED,),
        errors=(printable(why),),
        normalised=normalised,
        evaluated=False,
    )
