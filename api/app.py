"""A project of one's own: its agents, event types and policies, and how every command finds them.

Rules upheld here: there is one way, `[tool.jurat] app = "module:name"` in the `pyproject.toml` of the working folder or
of a folder above it, in the same repository and where nobody else may write, as its code is run; whatever goes wrong
while the app is imported becomes one error that says where; a name that is taken is an error, never a silent winner. A
process has one app. Not here: running its agents (`running.py`).
"""

from __future__ import annotations

import importlib
import os
import re
import stat
import sys
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jurat.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from jurat.agents.agent import Agent
    from jurat.schemas.model import Event
    from jurat.streams.topics import Topic

REPOSITORY: Final = ".git"
"""What the topmost folder of a repository holds: a project does not reach beyond it."""

FILE: Final = "pyproject.toml"
TABLE: Final = "tool.jurat"
NAME: Final = b"jurat"
"""What a file must hold for such a table to be in it, however it is spelt."""

MAX_PARENTS: Final = 32
"""Folders that are looked into, the working folder included: deeper than projects are."""

_PLACE: Final = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)", re.ASCII)

_NAMESPACE: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}(\.[a-z_][a-z0-9_]{0,63}){0,3}")
"""What Avro takes as a namespace, in small letters."""

_in_use: list[App] = []
"""The app of this process, once there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A project's agents, event types and policies.

    Attributes:
        agents: its agents; the commands know these and no others. Shipped ones may be among them.
        events: the event types that are published to each topic of its own.
        policies: the folder that holds a folder for each bundle that its agents name. One that is not there is the
            shipped one of that name.
    """

    agents: tuple[Agent[Any], ...]
    events: Mapping[Topic, tuple[type[Event], ...]]
    policies: Path

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigurationError: something of another type; no agent, or two of one name; a relative folder; an event
                type on two topics, or one without a namespace or key.
        """
        self._check_types()
        repeated = [name for name, count in Counter(agent.name for agent in self.agents).items() if count > 1]
        if repeated or not self.agents:
            raise ConfigurationError(
                f"got {'two agents of the name ' + repeated[0] if repeated else 'no agent'} in the app, expected at"
                " least one, each under a name of its own"
            )
        if not self.policies.is_absolute():
            raise ConfigurationError(
                f'got the folder of policies {self.policies}, expected it whole: Path(__file__).parent / "policies";'
                " commands are called in other folders too"
            )
        types = [event for carried in self.events.values() for event in carried]
        for event, count in Counter(types).items():
            if count > 1:
                raise ConfigurationError(f"got {event.__name__} on two topics, expected it on one")
            namespace = getattr(event, "namespace", None)
            key = getattr(event, "key_field", None)
            if (
                not isinstance(namespace, str)
                or not _NAMESPACE.fullmatch(namespace)
                or key not in event.model_fields
            ):
                raise ConfigurationError(
                    f"got the event {event.__name__} with namespace={namespace!r} and key_field={key!r}, expected a"
                    " name for its project of small letters, digits and `_`, and one of its fields:"
                    f" {', '.join(event.model_fields)}"
                )

    def _check_types(self) -> None:
        from jurat.agents.agent import Agent  # noqa: PLC0415 - loaded already where there is an agent
        from jurat.schemas.model import Event  # noqa: PLC0415
        from jurat.streams.topics import Topic  # noqa: PLC0415

        # Whoever writes an app may not have it type-checked.
        agents: tuple[object, ...] = self.agents
        events: Iterable[tuple[object, object]] = self.events.items()
        policies: object = self.policies
        wrong = [agent for agent in agents if not isinstance(agent, Agent)]
        for topic, carried in events:
            types: tuple[object, ...] = carried if isinstance(carried, tuple) else (None,)
            named = all(isinstance(event, type) and issubclass(event, Event) for event in types)
            wrong += [] if named and isinstance(topic, Topic) else [{topic: carried}]
        wrong += [] if isinstance(policies, Path) else [policies]
        if wrong:
            raise ConfigurationError(
                f"got {wrong[0]!r} in the app, expected a tuple of agents, a tuple of Event classes for each Topic, and"
                " a Path to policies"
            )


def load(folder: Path) -> App | None:
    """Import the app of the project that a folder is in, and make it known to this process.

    Args:
        folder: where to begin; the folders above it are looked into too, up to the root of its repository, or to one
            that belongs to somebody else or that everybody may write to, such as /tmp. In such a folder itself the
            file counts if it is the caller's own, or root's.

    Returns:
        The app; None where no `pyproject.toml` names one.

    Raises:
        ConfigurationError: the file cannot be read, the app cannot be imported, or it is not as it should be.
    """
    found = _find(folder.resolve())
    if found is None:
        return None
    file, place = found
    app = _imported(file, place)
    use(app)
    return app


def use(app: App) -> None:
    """Make an app known to this process: its event types and topics, its bundles, its agents instead of the shipped.

    Raises:
        ConfigurationError: a name is another's, or is none; an agent listens to what no topic is said to carry, its
            bundle is nowhere, or the process has another app.
        SchemaError: an event has a field that Avro cannot carry exactly.
    """
    from jurat.agents import catalogue as agents  # noqa: PLC0415 - these load what most commands outside of a project need not
    from jurat.audit.keys import check_agent  # noqa: PLC0415
    from jurat.policies import folder as bundles  # noqa: PLC0415
    from jurat.schemas import catalogue as events  # noqa: PLC0415
    from jurat.streams import connection, topics  # noqa: PLC0415

    if app in _in_use:
        return
    if _in_use:
        raise ConfigurationError(
            "got a second app in one process, expected one: start another process for it"
        )
    for agent in app.agents:
        check_agent(agent.name)
        if agent.name in connection.RESERVED:
            raise ConfigurationError(
                f"got an agent of the name {agent.name}, expected another name: `jurat {agent.name}` has the consumer"
                " group of that name, and one would take the other's partitions"
            )
        if agents.SHIPPED.get(agent.name, agent) is not agent:
            raise ConfigurationError(
                f"got an agent of the name {agent.name}, expected another name: it is that of a shipped one,"
                " whose state, decisions and keys it would take for its own"
            )
    for carried in app.events.values():
        events.add(carried)
    for topic, carried in app.events.items():
        topics.declare(topic, carried)
    own = {agent.bundle: app.policies / agent.bundle for agent in app.agents}
    shipped = bundles.shipped_bundles()
    bundles.add_bundles(
        {name: folder for name, folder in own.items() if folder.is_dir() or name not in shipped}
    )
    for agent in app.agents:
        for event in agent.listens[agent.topic]:
            if topics.of_event(event).name != agent.topic:
                raise ConfigurationError(
                    f"got the agent {agent.name}, which listens to {event.__name__} on {agent.topic}, expected it on"
                    f" {topics.of_event(event).name}, where it is published"
                )
    agents.use(app.agents)
    _in_use.append(app)


def in_use() -> App | None:
    """The app of this process; None outside of a project."""
    return _in_use[0] if _in_use else None


def _find(folder: Path) -> tuple[Path, str] | None:
    for here in (folder, *folder.parents)[:MAX_PARENTS]:
        if here != folder and not _is_ours(here):
            return None
        file = here / FILE
        table = _table(file) if file.is_file() and not _may_be_anybodys(file) else None
        if table is not None:
            return file, _place(file, table)
        if (here / REPOSITORY).exists():
            return None
    return None


def _is_ours(folder: Path) -> bool:
    """Whether what lies in a folder was put there by who runs this, or by the system."""
    found = folder.stat()
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & stat.S_IWOTH


def _may_be_anybodys(file: Path) -> bool:
    """Whether somebody else has put a file where everybody may write."""
    return bool(file.parent.stat().st_mode & stat.S_IWOTH) and file.stat().st_uid not in (os.geteuid(), 0)


def _table(file: Path) -> object:
    """The table of a file; None where it has none."""
    try:
        data = file.read_bytes()
        if NAME not in data:
            return None  # somebody else's, which need not be read
        tools = tomllib.loads(data.decode()).get("tool")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"got {file}, expected TOML that can be read: {error}") from error
    return tools.get("jurat") if isinstance(tools, dict) else None


def _place(file: Path, table: object) -> str:
    match table:
        case {"app": str(place), **others} if not others and _PLACE.fullmatch(place):
            return place
    raise ConfigurationError(
        f'got [{TABLE}] with {table} in {file}, expected app = "my_shop.app:app" alone: a module and the name of the'
        " App in it"
    )


def _imported(file: Path, place: str) -> App:
    module_name, _, name = place.partition(":")
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # so that a project need not be installed to be run
    try:
        app = getattr(importlib.import_module(module_name), name, None)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"the app {place}, which {file} names, cannot be imported: {type(error).__name__}: {error}"
            f"{_within(file.parent, error)}"
        ) from error
    if not isinstance(app, App):
        raise ConfigurationError(
            f"got {type(app).__name__} as the app {place}, which {file} names, expected a jurat.App"
        )
    return app


def _within(folder: Path, error: BaseException) -> str:
    """Where in a project something was raised: the last line of its own on the way there."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    if not frames:
        return ""
    return f" ({Path(frames[-1].filename).relative_to(folder)}, line {frames[-1].lineno})"
