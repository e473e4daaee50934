"""`jurat policy space`: what an agent may do in one situation, before anybody reasons about it.

Rules upheld here: the situation comes from files, and what is not given counts as not read; nothing here judges, all of
it is `jurat.agents.action_space`. Exit code 0 whatever the verdicts are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from jurat.agents.action_input import space_of_input
from jurat.agents.action_schema import action_schema
from jurat.agents.action_space import ActionSpace, action_space
from jurat.agents.action_words import lines, to_json
from jurat.agents.agent import Action, Agent, Situation
from jurat.cli.bundles import bundle_folder, say
from jurat.policies import Bundle, PolicyEngine, load_bundle
from jurat.policies.faults import did_you_mean, listed
from jurat.policies.usage import Assumed
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.codec import decode_json
from jurat.schemas.errors import ConfigurationError, SchemaError
from jurat.schemas.model import Event, Model
from jurat.schemas.moments import parse_moment

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command("space", short_help="Print what parameters may be.")
@click.argument("agent_name", metavar="AGENT")
@click.argument("action_name", metavar="[ACTION]", required=False)
@click.option("--event", type=_FILE, help="The event that is decided, as `jurat publish` takes it.")
@click.option("--input", "recorded", type=_FILE, help="Instead: a policy input, as records hold it.")
@click.option("--documents", type=_FILE, help="What is read beside the event: {view: {key: document}}.")
@click.option("--now", metavar="MOMENT", help="The moment of the decision; default: now.")
@click.option(
    "--used",
    multiple=True,
    metavar="BUDGET=NUMBER",
    help="What was used of a budget, beside --event; repeatable. Default: nothing.",
)
@click.option("--bundle", metavar="BUNDLE", help="A folder or a shipped bundle; default: the agent's.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, the schema for structured output included."
)
def command(
    agent_name: str,
    action_name: str | None,
    event: Path | None,
    recorded: Path | None,
    documents: Path | None,
    now: str | None,
    used: tuple[str, ...],
    bundle: str | None,
    *,
    as_json: bool,
) -> None:
    """Print what each parameter of AGENT's ACTION may be; without an action, of all of them.

    One parameter is varied at a time, the others as the line says. A verdict is the engine's own. What is not
    understood is said to be checked afterwards.
    """
    agent = _agent(agent_name)
    actions = _actions(agent, action_name)
    engine = PolicyEngine(load_bundle(bundle_folder(bundle or agent.bundle)))
    if (event is None) == (recorded is None):
        raise ConfigurationError("got neither or both of --event and --input, expected one of them")
    if event is not None:
        situation = _situation(agent, event, documents=documents, now=now)
        usage = _usage(engine.bundle, used)
        spaces = [action_space(agent, situation, engine, action, usage=usage) for action in actions]
    elif recorded is not None:
        if documents is not None or now is not None or used:
            raise ConfigurationError(
                "got --input with --documents, --now or --used: they stand in the input already"
            )
        asked = _json_file(recorded)
        spaces = [space_of_input(engine, _action_of(asked, actions), asked)]
    if as_json:
        told = [_json(space, with_schema=event is not None) for space in spaces]
        click.echo(orjson.dumps(told[0] if action_name else told, option=orjson.OPT_INDENT_2))
        return
    for number, space in enumerate(spaces):
        say("\n" * bool(number) + "\n".join(lines(space)))


def _json(space: ActionSpace, *, with_schema: bool) -> JsonObject:
    if not with_schema:
        return to_json(space)
    return {**to_json(space), "schema": action_schema(space) if space.is_offered else None}


def _agent(name: str) -> Agent[Event]:
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which `jurat policy` alone need not

    if name not in AGENTS:
        raise ConfigurationError(f"got the agent {name!r}, expected one of: {', '.join(AGENTS)}")
    return AGENTS[name]


def _actions(agent: Agent[Event], name: str | None) -> tuple[type[Action], ...]:
    named = tuple([action for action in agent.actions if name in (None, action.action_name)])
    if not named:
        known = ", ".join(action.action_name for action in agent.actions)
        raise ConfigurationError(f"got the action {name!r}, expected one of {agent.name}: {known}")
    return named


def _action_of(asked: JsonObject, actions: tuple[type[Action], ...]) -> type[Action]:
    """The action that a recorded input is about; the first one where it says none of them, which is refused later."""
    of = asked.get("action")
    name = of.get("id") if isinstance(of, dict) else None
    return next((action for action in actions if action.action_name == name), actions[0])


def _situation(
    agent: Agent[Event], event: Path, *, documents: Path | None, now: str | None
) -> Situation[Event]:
    given = _event(agent, event)
    moment = datetime.now(UTC) if now is None else _moment(now)
    held = {} if documents is None else _json_file(documents)
    views = [view.name for view in agent.views]
    for name in held:
        if name not in views:
            raise ConfigurationError(
                f"got documents of {name!r}, expected those of {listed(views)}, which {agent.name} reads"
                f"{did_you_mean(name, views)}"
            )
    read: dict[tuple[str, str], Model | None] = {}
    for lookup in agent.lookups(given):
        view = next(view for view in agent.views if view.name == lookup.view)
        of_view = held.get(view.name)
        found = of_view.get(lookup.key) if isinstance(of_view, dict) else None
        if found is None and lookup.required:
            raise ConfigurationError(
                f"got no document {lookup.key!r} of {view.name}, without which {agent.name} rejects the event; expected"
                f' it in --documents FILE: {{"{view.name}": {{"{lookup.key}": ...}}}}'
            )
        read[view.name, lookup.key] = None if found is None else _document(view.document, found, lookup.key)
    return Situation(event=given, now=moment, occurred_at=moment, documents=read)


def _usage(bundle: Bundle, used: tuple[str, ...]) -> Assumed:
    """What is told to have been used of budgets; nothing of those that nothing is told of."""
    found: dict[str, int] = {}
    for told in used:
        name, _, number = told.partition("=")
        if name not in bundle.budgets.by_name:
            known = bundle.budgets.by_name
            raise ConfigurationError(
                f"got the budget {name!r}, expected one of {bundle.name}: {listed(known)}{did_you_mean(name, known)}"
            )
        if not number.isascii() or not number.isdigit():
            raise ConfigurationError(f"got {told!r}, expected BUDGET=NUMBER, the number 0 or above")
        found[name] = int(number)
    return Assumed(found)


def _event(agent: Agent[Event], file: Path) -> Event:
    data = _bytes(file)
    failures = []
    for kind in agent.listens[agent.topic]:
        try:
            return decode_json(data, kind)
        except SchemaError as error:
            failures.append(f"{kind.__name__}: {error}")
    raise ConfigurationError(f"got {file}, which is no event that {agent.name} reads: {'; '.join(failures)}")


def _document(model: type[Model], value: JsonValue, key: str) -> Model:
    try:
        return model.model_validate_json(orjson.dumps(value))
    except ValueError as error:
        raise ConfigurationError(f"got a document {key!r} that is no {model.__name__}: {error}") from error


def _moment(text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise ConfigurationError(f"got a --now that is no moment: {error}") from error


def _json_file(file: Path) -> JsonObject:
    try:
        value = orjson.loads(_bytes(file))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"got {file}, expected a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"got {file} with a JSON {type(value).__name__}, expected an object")
    return value


def _bytes(file: Path) -> bytes:
    if str(file) == "-":
        return click.get_binary_stream("stdin").read()
    return file.read_bytes()
