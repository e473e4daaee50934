"""A policy bundle: a folder of files, loaded whole or not at all.

Rules upheld here:
1. every fault is found and told at once, with its file, line and policy;
2. what is loaded is what was digested: each file is read once, and its bytes are both hashed and parsed;
3. a file that the format does not know is a fault, as it would be digested and mean nothing;
4. a bundle without a policy is a fault: it would deny everything, which nobody writes a folder for;
5. who decides does not approve: no agent holds an approver's role.

Not here: judging requests (`engine.py`), the house rules for one policy (`lint.py`), names that the schema does not
declare (`names.py`), running the bundle's cases (`bundle_tests.py`). Specified in `docs/spec/policy-bundle.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from jurat.policies import cedar, lint, names, places, strict_yaml
from jurat.policies.budgets import NO_BUDGETS, Budgets, check_budgets, read_budgets
from jurat.policies.cedar_schema import OWN_CONTEXT
from jurat.policies.faults import at, did_you_mean, listed
from jurat.policies.folder import (
    BUDGETS_FILE,
    OBJECTIVES_FILE,
    ROLES_FILE,
    SCHEMA_FILE,
    digest_of,
    read_folder,
)
from jurat.policies.limits import Limit, limits_of
from jurat.policies.objectives import Objectives, read_objectives
from jurat.policies.roles import Roles, read_roles
from jurat.schemas.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy as people refer to it.

    Attributes:
        id: its `@id`.
        title: its `@title`, the reason that decisions give.
        effect: `permit` or `forbid`.
        escalate: the role whose approval lifts it.
        actions: the actions that its scope matches.
        file: the bundle's file that holds it.
        line: the line on which it begins.
    """

    id: str
    title: str
    effect: str
    actions: frozenset[str]
    file: str
    line: int
    why: str | None = None
    owner: str | None = None
    escalate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that loaded without a fault.

    Attributes:
        name: the folder's name.
        digest: lower-case hex; `digest_of` says of what.
        namespace: the Cedar namespace of the schema.
        policies: by id, sorted.
        agents: the roles of every agent.
        approvers: roles that may lift a refusal, sorted.
        actions: the actions that the schema declares, sorted.
        objectives: what a reasoner should aim for, by agent; never enforced.
        budgets: what is counted over sliding windows.
        limits: how much of it the policies allow, as far as that is a number.
        cases: the parsed files of `tests/`, by path.
        compiled: what the engine asks.
    """

    name: str
    digest: str
    namespace: str
    schema_text: str
    policies: Mapping[str, Policy]
    agents: Mapping[str, tuple[str, ...]]
    approvers: tuple[str, ...]
    actions: tuple[str, ...]
    objectives: Mapping[str, Objectives]
    budgets: Budgets
    limits: tuple[Limit, ...]
    cases: Mapping[str, strict_yaml.Document]
    compiled: cedar.Compiled


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle.

    Raises:
        BundleError: anything at all is wrong with it; `faults` says everything that is.
    """
    files, faults = read_folder(folder)
    return _Loading(folder.resolve().name, files, faults).bundle()


def bundle_of(name: str, files: Mapping[str, bytes]) -> Bundle:
    """Load a bundle from its files, as they were published.

    Args:
        name: what it is called.
        files: contents by path; paths as a bundle may hold them.

    Raises:
        BundleError: anything at all is wrong with it; `faults` says everything that is.
    """
    return _Loading(name, dict(files), []).bundle()


@dataclass(slots=True)
class _Loading:
    """The state of one load: the files, and the faults found so far."""

    name: str
    files: dict[str, bytes]
    faults: list[str]

    def bundle(self) -> Bundle:
        texts = {name: text for name in sorted(self.files) if (text := self._text(name)) is not None}
        schema = self._schema(texts.get(SCHEMA_FILE))
        namespace = self._namespace(schema) if schema is not None else None
        roles = self._roles(texts.get(ROLES_FILE))
        parsed: dict[str, cedar.PolicyTree] = {}
        policies: dict[str, Policy] = {}
        for name, text in texts.items():
            if name.endswith(".cedar"):
                self._policies(name, text, schema=schema, into=(parsed, policies))
        if not any(name.endswith(".cedar") for name in self.files) or not (parsed or self.faults):
            self.faults.append(
                "got no policy, expected at least one in a *.cedar file: without a permit all is denied"
            )
        cases = {
            name: document
            for name, text in texts.items()
            if name.startswith("tests/") and (document := self._document(name, text)) is not None
        }
        aims = self._objectives(texts.get(OBJECTIVES_FILE), roles)
        budgets = self._budgets(texts.get(BUDGETS_FILE), schema, namespace)
        if roles is not None and namespace is not None:
            self._names(roles, namespace, parsed=parsed, policies=policies)
        compiled = None
        if not self.faults and schema is not None and namespace is not None and roles is not None:
            compiled = self._compile(parsed, schema=schema, namespace=namespace, roles=roles)
        if compiled is None or schema is None or namespace is None or roles is None:
            raise BundleError(
                f"the policy bundle {self.name} does not load, {len(self.faults)} fault(s):",
                faults=tuple(self.faults),
                bundle=self.name,
            )
        return Bundle(
            name=self.name,
            digest=digest_of(self.files),
            namespace=namespace,
            schema_text=texts[SCHEMA_FILE],
            policies={id_: policies[id_] for id_ in sorted(policies)},
            agents={agent: tuple(sorted(roles.agents[agent])) for agent in sorted(roles.agents)},
            approvers=tuple(sorted(roles.approvers)),
            actions=tuple(schema.actions),
            objectives=aims,
            budgets=budgets,
            limits=limits_of(parsed, budgets.by_name),
            cases=cases,
            compiled=compiled,
        )

    def _text(self, name: str) -> str | None:
        try:
            return self.files[name].decode()
        except UnicodeDecodeError as error:
            self.faults.append(f"{name}: got bytes that are not UTF-8 at {error.start}, expected UTF-8 text")
            return None

    def _document(self, name: str, text: str) -> strict_yaml.Document | None:
        try:
            return strict_yaml.load(text)
        except strict_yaml.StrictYamlError as error:
            self.faults.append(f"{at(name, error.line)}{error}")
            return None

    def _objectives(self, text: str | None, held: Roles | None) -> Mapping[str, Objectives]:
        document = None if text is None else self._document(OBJECTIVES_FILE, text)
        if document is None or held is None:
            return MappingProxyType({})
        found, faults = read_objectives(OBJECTIVES_FILE, document, agents=held.agents)
        self.faults += faults
        return found

    def _schema(self, text: str | None) -> cedar.Schema | None:
        if text is None:
            if SCHEMA_FILE not in self.files:
                self.faults.append(
                    f"{SCHEMA_FILE}: missing; `jurat policy schema` prints the one of a shipped bundle"
                )
            return None
        try:
            schema = cedar.parse_schema(text)
        except cedar.CedarError as error:
            line = places.line_of_error(text, 1, str(error), parse=cedar.parse_schema)
            self.faults.append(f"{at(SCHEMA_FILE, line)}{error}")
            return None
        for action, declared in sorted(schema.declared.actions.items()):
            if not action.isprintable():
                self.faults.append(
                    f"{SCHEMA_FILE}: got the action {action!r}, expected printable characters alone"
                )
                continue
            if not declared.resources:  # a group of actions: no request can name it
                continue
            context = schema.declared.record(declared.context)
            fields = {} if context is None else context.fields
            where = at(SCHEMA_FILE, places.line_of_name(text, 1, action.partition('"')[2].removesuffix('"')))
            self.faults += [
                f"{where}got the action {action} whose context has no `{own}: {type_}`,"
                " expected it: the engine adds it to every request"
                for own, type_ in OWN_CONTEXT.items()
                if own not in fields or not fields[own].required or str(fields[own].type) != type_
            ]
        return schema

    def _namespace(self, schema: cedar.Schema) -> str | None:
        if len(schema.action_types) != 1 or not schema.action_types[0].endswith("::Action"):
            got = ", ".join(schema.action_types) or "no action"
            self.faults.append(f"{SCHEMA_FILE}: got {got}, expected actions in exactly one namespace")
            return None
        return schema.action_types[0].removesuffix("::Action")

    def _budgets(self, text: str | None, schema: cedar.Schema | None, namespace: str | None) -> Budgets:
        document = strict_yaml.EMPTY if text is None else self._document(BUDGETS_FILE, text)
        if document is None:
            return NO_BUDGETS
        budgets, faults = (NO_BUDGETS, []) if text is None else read_budgets(document)
        if schema is not None and namespace is not None and not faults:
            faults += check_budgets(budgets, document, schema=schema, namespace=namespace)
        self.faults += faults
        return budgets

    def _roles(self, text: str | None) -> Roles | None:
        if text is None:
            if ROLES_FILE not in self.files:
                self.faults.append(
                    f"{ROLES_FILE}: missing; it names the agents, their roles and the approvers"
                )
            return None
        document = self._document(ROLES_FILE, text)
        if document is None:
            return None
        found, faults = read_roles(ROLES_FILE, document)
        self.faults += faults
        return found

    def _policies(
        self,
        name: str,
        text: str,
        *,
        schema: cedar.Schema | None,
        into: tuple[dict[str, cedar.PolicyTree], dict[str, Policy]],
    ) -> None:
        """Parse and check one file, statement by statement: so a fault has its line and hides no other."""
        parsed, policies = into
        trees: list[cedar.PolicyTree] = []
        for line, statement in places.statements(text):
            try:
                (tree,) = cedar.parse_policies(statement)
            except cedar.CedarError as error:
                where = at(name, places.line_of_error(statement, line, str(error)))
                self.faults.append(f"{where}{error}{names.parser_hint(str(error))}")
                continue
            trees.append(tree)
            id_ = tree.annotations.get("id", "")
            where = f"{name}:{line}: {id_ or 'a policy'}:"
            self.faults += [f"{where} {fault}" for fault in lint.faults(tree)]
            if schema is not None:
                self._undeclared(name, line, statement, tree=tree, schema=schema)
            if id_ in policies:
                first = policies[id_]
                self.faults.append(
                    f"{where} got the @id of {first.file}:{first.line} again, expected each once"
                )
                continue
            key = id_ or f"{name}:{line}"
            parsed[key] = tree
            policies[key] = _policy(tree, schema=schema, file=name, line=line)
        if not self.faults and not places.same_policies(text, trees):
            self.faults.append(f"{name}: Cedar reads other policies in the whole file than in its statements")

    def _undeclared(
        self, file: str, line: int, statement: str, *, tree: cedar.PolicyTree, schema: cedar.Schema
    ) -> None:
        """Tell what the schema does not know of one policy, and what Cedar's validator says of its types."""
        id_ = tree.annotations.get("id", "")
        shown, called = id_ or "a policy", f"policy `{id_}`" if id_ else "a policy"
        unknown = names.unknown_attributes(tree, schema)
        for one in unknown:
            there = places.line_of_name(statement, line, one.attribute) or line
            self.faults.append(f"{file}:{there}: {shown}: {one.fault}")
        for error in names.validator_faults(cedar.validate(statement, schema), unknown, schema.declared):
            there = places.line_of_error(statement, line, error)
            self.faults.append(f"{file}:{there}: {shown}: {error.replace('policy `policy0`', called)}")

    def _names(
        self,
        roles: Roles,
        namespace: str,
        *,
        parsed: Mapping[str, cedar.PolicyTree],
        policies: Mapping[str, Policy],
    ) -> None:
        """Check that policies name only roles and agents that roles.yaml knows: Cedar's validator cannot."""
        held = {role for of_agent in roles.agents.values() for role in of_agent}
        known = {f"{namespace}::Role": held, f"{namespace}::Agent": set(roles.agents)}
        for id_, template in parsed.items():
            where = f"{policies[id_].file}:{policies[id_].line}: {id_ or 'a policy'}:"
            self.faults += [
                f'{where} got {type_}::"{name}", expected one of {ROLES_FILE}: {listed(known[type_])}'
                + did_you_mean(name, known[type_])
                for type_, name in sorted(lint.named_entities(template))
                if type_ in known and name not in known[type_]
            ]
            role = policies[id_].escalate
            if role is not None and role not in roles.approvers:
                self.faults.append(
                    f"{where} got @escalate({role!r}), expected an approver of {ROLES_FILE}:"
                    f" {listed(roles.approvers)}{did_you_mean(role, roles.approvers)}"
                )

    def _compile(
        self, parsed: Mapping[str, cedar.PolicyTree], *, schema: cedar.Schema, namespace: str, roles: Roles
    ) -> cedar.Compiled | None:
        try:
            return cedar.Compiled(parsed, schema=schema, entities=principals(roles.agents, namespace))
        except cedar.CedarError as error:
            self.faults.append(
                f"{SCHEMA_FILE}: {error}; expected `entity Role;` and `entity Agent in [Role];`"
            )
            return None


def _policy(template: cedar.PolicyTree, *, schema: cedar.Schema | None, file: str, line: int) -> Policy:
    notes = template.annotations
    actions = {} if schema is None else schema.actions
    return Policy(
        id=notes.get("id", ""),
        title=notes.get("title", "").strip(),
        effect=template.effect,
        actions=frozenset(name for name, groups in actions.items() if cedar.concerns(template, groups)),
        file=file,
        line=line,
        why=notes.get("why"),
        owner=notes.get("owner"),
        escalate=notes.get("escalate"),
    )


def principals(agents: Mapping[str, Iterable[str]], namespace: str) -> list[dict[str, object]]:
    """The entities that every request shares: agents, and the roles that they are in."""
    roles = sorted({role for held in agents.values() for role in held})
    entities: list[dict[str, object]] = [
        {"uid": {"type": f"{namespace}::Role", "id": role}, "attrs": {}, "parents": []} for role in roles
    ]
    for agent, held in sorted(agents.items()):
        parents = [{"type": f"{namespace}::Role", "id": role} for role in sorted(set(held))]
        entities.append(
            {"uid": {"type": f"{namespace}::Agent", "id": agent}, "attrs": {}, "parents": parents}
        )
    return entities
