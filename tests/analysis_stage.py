"""A small bundle to be varied, and the questions that tests ask of it."""

from __future__ import annotations

from pathlib import Path

from jurat.policies import Bundle, load_bundle, shipped_bundle
from jurat.policies.analysis import Outcome
from jurat.policies.analysis_ask import answer, parse
from jurat.policies.analysis_diff import compare
from jurat.schemas.decision import Verdict
from tests.fixtures.policies.refund_models import REFUNDS
from tests.smt_stage import write

SCHEMA = """
namespace T {
  entity Role; entity Agent in [Role];
  entity Order = { total: Long, paid?: Long, tier: String, price: decimal };
  action "refund" appliesTo {
    principal: [Agent], resource: [Order], context: { amount: Long, approvals: Set<String>, now: datetime }
  };
  action "close" appliesTo {
    principal: [Agent], resource: [Order], context: { approvals: Set<String>, now: datetime }
  };
}
"""
ROLES = "agents: {a-1: [clerk], a-2: []}\napprovers: [lead, risk]\n"
GRANT = '@id("grant") @title("T")\npermit (principal in T::Role::"clerk", action, resource);\n'


def forbid(id_: str, when: str, *, role: str = "", action: str = 'action == T::Action::"refund"') -> str:
    escalate = f' @escalate("{role}")' if role else ""
    lifting = f' unless {{ context.approvals.contains("{role}") }}' if role else ""
    return f'@id("{id_}") @title("T"){escalate}\nforbid (principal, {action}, resource) when {{ {when} }}{lifting};\n'


def permit(id_: str, when: str) -> str:
    return f'@id("{id_}") @title("T")\npermit (principal, action == T::Action::"refund", resource) when {{ {when} }};\n'


def bundle(
    folder: Path, *policies: str, schema: str = SCHEMA, roles: str = ROLES, grant: str = GRANT
) -> Bundle:
    return load_bundle(write(folder, policies=grant + "".join(policies), schema=schema, roles=roles))


def asked(name: str, question: str) -> Outcome:
    folder = REFUNDS if name == "refunds" else shipped_bundle(name)
    loaded = load_bundle(folder)
    return answer(loaded, parse(loaded, question))


def newly(old: Bundle, new: Bundle, action: str) -> dict[Verdict, Outcome]:
    (found,) = (one for one in compare(old, new).actions if one.action == action)
    return dict(found.newly)
