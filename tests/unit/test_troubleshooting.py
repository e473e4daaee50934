"""docs/troubleshooting.md says what the code says, word for word."""

from __future__ import annotations

import ast
import re

import pytest

from jurat.streams.kafka_errors import PASSING, SETTINGS
from tests.tree import ROOT

TEXT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROOMS = ("streams", "cli", "api")


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


def words(node: ast.expr) -> str | None:
    """A string as the source has it, what is filled in as `…`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-.\d]*[sdrf]", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


SAID = {
    said
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.expr) and (said := words(node))
}
SETTINGS_TABLE = TEXT.split("## Settings that are in the way")[1].split("\n## ")[0]
MESSAGES = [row[0].strip("`") for row in rows(TEXT.replace(SETTINGS_TABLE, ""))]


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_one_of_the_code(message: str) -> None:
    parts = r"[^…]*…?".join(re.escape(part) for part in message.rstrip("…").split("…"))
    assert any(re.search(parts, said) for said in SAID), f"nobody says {message!r}"


def test_the_table_is_read() -> None:
    assert len(MESSAGES) >= 25
    assert "no broker answers agent=… bootstrap_servers=… silence_s=…" in MESSAGES
    assert not any("somebody ate the broker" in said for said in SAID)


def test_every_setting_that_is_in_the_way_has_its_row() -> None:
    listed = [row[0].strip("`").removesuffix("...") for row in rows(SETTINGS_TABLE)]
    for setting in SETTINGS.values():
        assert any(setting.startswith(one) for one in listed), setting
    for one in listed:
        assert any(setting.startswith(one) for setting in SETTINGS.values()), one


@pytest.mark.parametrize("cause", sorted({cause for cause in PASSING.values() if ";" in cause}))
def test_what_an_operator_can_do_about_what_passes_is_listed(cause: str) -> None:
    assert cause in MESSAGES
