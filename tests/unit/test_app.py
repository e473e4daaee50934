"""A project of one's own: how its app is found, what of it is refused, and what the process knows afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jurat import app as module
from jurat.agents import catalogue as agents
from jurat.agents.catalogue import AGENTS, SHIPPED
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.app import App, in_use, load, use
from jurat.cli import init
from jurat.cli.topics import declared
from jurat.policies import folder as bundles
from jurat.policies import known_bundle, shipped_bundle
from jurat.schemas import catalogue as events
from jurat.schemas.codec import decode, encode
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.errors import ConfigurationError, SchemaError, UnknownSchema
from jurat.schemas.model import Event, Identifier
from jurat.streams import topics
from jurat.streams.topics import Topic
from tests.command import JURAT


class Heard(Event):
    """Something that a project publishes."""

    namespace: ClassVar[str] = "their_shop"
    key_field: ClassVar[str] = "name"

    name: Identifier


HEARD = Topic("their-shop.heard", partitions=3)
THEIRS = replace(PAYMENT_RETRIER, name="theirs", listens={HEARD.name: (Heard,)}, bundle="their_bundle")


@pytest.fixture
def fresh() -> Iterator[None]:
    """What a process knows is as it was, after the test."""
    held: list[Any] = [
        events._BY_NAME,
        events._BY_FINGERPRINT,
        topics._TOPIC_OF_EVENT,
        bundles._added,
        agents._known,
    ]
    before = [dict(one) for one in held]
    yield
    for one, was in zip(held, before, strict=True):
        one.clear()
        one.update(was)
    module._in_use.clear()


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    (tmp_path / "policies" / THEIRS.bundle).mkdir(parents=True)
    return tmp_path / "policies"


def theirs(folder: Path, **changed: Any) -> App:
    return App(**({"agents": (THEIRS,), "events": {HEARD: (Heard,)}, "policies": folder} | changed))


@pytest.mark.usefixtures("fresh")
def test_an_app_in_use_is_known_everywhere(policies: Path) -> None:
    with pytest.raises(UnknownSchema):
        events.by_name(Heard.event_type())
    mine = theirs(policies)
    use(mine)
    use(mine)  # again, as a command within a test run does
    assert in_use() is mine
    assert decode(encode(Heard(name="x"))) == Heard(name="x")
    assert topics.of_event(Heard) == HEARD
    assert dict(AGENTS) == {"theirs": THEIRS}
    assert known_bundle(THEIRS.bundle) == policies / THEIRS.bundle
    assert known_bundle("shop") == shipped_bundle("shop")
    names = {topic.name for topic in declared()}
    assert {HEARD.name, "decisions.theirs", "audit.decisions", "policies", "commerce.customers"} - names == {
        "commerce.customers"
    }
    assert "commerce.orders" not in names
    assert {"context.customers"} <= names, "a view of the agent reads it"
    with pytest.raises(ConfigurationError, match="second app"):
        use(theirs(policies, agents=(replace(THEIRS, name="others"),)))


@pytest.mark.usefixtures("fresh")
def test_shipped_agents_are_named_or_not_there(policies: Path) -> None:
    use(theirs(policies, agents=(THEIRS, PAYMENT_RETRIER)))
    assert list(AGENTS) == ["theirs", "payment-retrier"]
    assert set(SHIPPED) > {"payment-retrier"}


def spoilt(**members: Any) -> type[Event]:
    """An event class of this name, namespace and key, unless told otherwise."""
    body = {"namespace": "their_shop", "key_field": "name", "__annotations__": {"name": str}} | members
    return type("Heard", (Event,), body | {"__module__": __name__})


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"agents": ()}, "no agent"),
        ({"policies": Path("policies")}, "expected it whole"),
        ({"agents": (THEIRS, THEIRS)}, "two agents of the name theirs"),
        ({"events": {HEARD: (Heard,), Topic("their-shop.also"): (Heard,)}}, "Heard on two topics"),
        ({"events": {HEARD: (spoilt(namespace=None),)}}, "namespace=None"),
        ({"events": {HEARD: (spoilt(key_field="nam"),)}}, "key_field='nam', expected a name .*: name"),
        ({"events": {HEARD: (Heard, spoilt())}}, "that of .*test_app.Heard"),
        ({"events": {Topic("decisions.theirs"): (Heard,)}}, "none that jurat writes"),
        ({"events": {Topic("policies"): (Heard,)}}, "none that jurat writes"),
        ({"events": {Topic("their shop"): (Heard,)}}, "letters, digits"),
        ({"events": {Topic("commerce.orders", partitions=1): (Heard,)}}, "as it is declared already"),
        ({"events": {HEARD: (Heard, PaymentFailed)}}, "expected it on commerce.payments alone"),
        ({"events": {Topic("their-shop.other"): (Heard,)}}, "listens to Heard on their-shop.heard"),
        ({"agents": (replace(THEIRS, bundle="nowhere"),)}, "expected the bundle nowhere there"),
        ({"agents": (replace(THEIRS, name="../theirs"),)}, r"agent name '\.\./theirs'"),
        ({"agents": (replace(THEIRS, name=""),)}, "agent name ''"),
        ({"agents": (replace(THEIRS, name=PAYMENT_RETRIER.name),)}, "that of a shipped one"),
        ({"agents": (replace(THEIRS, name="notary"),)}, "`jurat notary` has the consumer group"),
        ({"agents": (replace(THEIRS, name="context"),)}, "`jurat context` has the consumer group"),
        ({"agents": (replace(THEIRS, bundle="../policies/their_bundle"),)}, "expected the name of a folder"),
        ({"agents": (7,)}, "got 7 in the app, expected a tuple of agents"),
        ({"events": {HEARD.name: (Heard,)}}, "a tuple of Event classes for each Topic"),
        ({"events": {HEARD: Heard}}, "a tuple of Event classes for each Topic"),
        ({"events": {HEARD: ("Heard",)}}, "a tuple of Event classes for each Topic"),
        ({"policies": "/policies"}, "a Path to policies"),
        ({"events": {HEARD: (spoilt(namespace="their shop"),)}}, "namespace='their shop'"),
        ({"events": {HEARD: (spoilt(namespace=""),)}}, "namespace=''"),
    ],
)
def test_what_cannot_be_meant_is_refused(policies: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        use(theirs(policies, **changed))
    assert in_use() is None


@pytest.mark.usefixtures("fresh")
def test_a_bundle_does_not_take_the_name_of_a_shipped_one(policies: Path) -> None:
    (policies / "shop").mkdir()
    with pytest.raises(ConfigurationError, match=r"'shop' in .*, which is the name of another one"):
        use(theirs(policies, agents=(replace(THEIRS, bundle="shop"),)))


@pytest.mark.usefixtures("fresh")
def test_an_event_that_avro_cannot_carry_is_refused(policies: Path) -> None:
    with pytest.raises(SchemaError, match="float"):
        use(theirs(policies, events={HEARD: (spoilt(__annotations__={"name": str, "x": float}),)}))


@pytest.mark.usefixtures("fresh")
def test_an_agent_that_listens_to_what_nobody_publishes_is_refused(policies: Path) -> None:
    with pytest.raises(UnknownSchema, match="which has no topic"):
        use(theirs(policies, events={}))


NAMED = '[tool.jurat]\napp = "app_of_{name}:app"\n'


def project(folder: Path, table: str, code: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(table)
    name = f"app_of_{folder.name}"
    (folder / f"{name}.py").write_text(code)
    return folder


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        ("[tool.jurat]\napp = 7\n", "", r"got \[tool.jurat\] with .*7.*, expected app ="),
        ('[tool.jurat]\napp = "my_shop.app"\n', "", "a module and the name"),
        ('[tool.jurat]\napp = "a:b"\nevents = []\n', "", "alone"),
        ("[tool.jurat]\napp = \n", "", "expected TOML"),
        (
            '[tool.jurat]\napp = "no_such_module_of_ours:app"\n',
            "",
            "ModuleNotFoundError: No module named 'no_such",
        ),
        (
            '[tool.jurat]\napp = "app_of_{name}:app"\n',
            "\nraise ValueError('no')\n",
            r"ValueError: no \(app_of_.*py, line 2",
        ),
        (NAMED, "raise SystemExit(3)\n", "SystemExit: 3"),
        (
            '[tool.jurat]\napp = "app_of_{name}:app"\n',
            "app = 7\n",
            "got int as the app .*, expected a jurat.App",
        ),
        (NAMED, "x = \n", "SyntaxError"),
        (NAMED, "def __getattr__(name): raise RuntimeError('no')\n", "RuntimeError: no"),
        ('[tool]\njurat = {app = "my_shop.app"}\n', "", "a module and the name"),
        ("[tool.jurat]\nx = " + "[" * 5_000 + "]" * 5_000, "", "TOML that can be read"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_one_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    code: str,
    said: str,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"p{abs(hash(request.node.name))}"
    folder = project(tmp_path / name, table.replace("{name}", name), code)
    with pytest.raises(ConfigurationError, match=said):
        load(folder)
    assert in_use() is None


def test_projects_of_others_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("this is = no TOML, and none of ours")
    assert load(tmp_path) is None
    for text in ("# tool.jurat is named here only\n[tool.ruff]\n", 'tool = "jurat"\n'):
        (tmp_path / "pyproject.toml").write_text(text)
        assert load(tmp_path) is None


def test_code_that_somebody_else_left_here_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = project(tmp_path / "here", '[tool.jurat]\napp = "no_such_module_anywhere:app"\n', "")
    here.chmod(0o1777)
    if os.geteuid() == 0:
        os.chown(here / "pyproject.toml", 54_321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    assert load(here) is None
    here.chmod(0o755)
    with pytest.raises(ConfigurationError, match="no_such_module_anywhere"):
        load(here)


@pytest.mark.parametrize(
    ("mode", "below", "found"),
    [
        (0o755, "a", True),
        (0o775, "a", True),
        (0o777, "a", False),
        (0o1777, "a", False),
        (0o777, ".", True),
        (0o755, "repository/a", False),
        (0o755, "repository", False),
    ],
)
def test_code_that_others_may_have_left_above_is_not_run(
    tmp_path: Path, mode: int, below: str, *, found: bool
) -> None:
    above = project(tmp_path / "above", '[tool.jurat]\napp = "no_such_module_anywhere:app"\n', "")
    (above / "a").mkdir()
    (above / "repository" / "a").mkdir(parents=True)
    (above / "repository" / ".git").write_text("gitdir: elsewhere\n")
    above.chmod(mode)
    if found:
        with pytest.raises(ConfigurationError, match="no_such_module_anywhere"):
            load(above / below)
    else:
        assert load(above / below) is None


def test_a_folder_of_somebody_else_above_is_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = project(tmp_path / "above", '[tool.jurat]\napp = "no_such_module_anywhere:app"\n', "")
    (above / "a").mkdir()
    if os.geteuid() == 0:
        os.chown(above, 65_534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: above.stat().st_uid + 1)
    assert load(above / "a") is None


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_file: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(ConfigurationError, match=r"got .*pyproject\.toml, .*Permission denied"):
        load(tmp_path)


def test_commands_find_the_project_from_below_and_end_with_one_line(tmp_path: Path) -> None:
    for path, text in init.written("corner-bakery", "corner_bakery").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def jurat(*words: str, where: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [JURAT, *words], cwd=where, capture_output=True, text=True, check=False, timeout=180
        )

    below = tmp_path / "corner_bakery" / "policies"
    assert "goodwill: 9 cases, 0 failed" in jurat("policy", "test", where=below).stdout
    assert "\tgoodwill" in jurat("worker").stderr
    schema = json.loads(jurat("topics", "schema", "corner-bakery.parcels").stdout)
    assert (schema["namespace"], schema["name"]) == ("jurat.corner_bakery", "ParcelLate")
    (tmp_path / "corner_bakery" / "events.py").write_text("import nothing_of_the_kind\n")
    failed = jurat("policy", "test")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("jurat: the app corner_bakery.app:app, which ")
    assert failed.stderr.endswith(
        "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_the_kind' (corner_bakery/events.py,"
        " line 1)\n"
    )
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert tests.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: the app corner_bakery.app:app, which " in tests.stderr
    assert "Traceback" not in tests.stderr
    assert jurat("broker", "--help").returncode == 0, "it needs no project"
