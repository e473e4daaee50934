"""The project that `jurat init` writes: complete, as clean as this one, and never over anything that is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from jurat.cli.init import check_name, command, written
from jurat.schemas.errors import ConfigurationError
from tests.tree import ROOT

OWN = {"my-shop", "my_shop"}


def init(*words: str) -> str:
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_it_writes_a_project_under_its_own_name(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bakery"
    said = init("corner-bakery", "--dir", str(target))
    assert f"cd {target}" in said
    found = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    assert found == set(written("corner-bakery", "corner_bakery"))
    assert {
        "README.md",
        "docker-compose.yml",
        "late-parcels.jsonl",
        "pyproject.toml",
        "corner_bakery/app.py",
        "corner_bakery/policies/goodwill/goodwill.cedar",
        "corner_bakery/policies/goodwill/tests/goodwill.yaml",
        "tests/test_goodwill.py",
    } <= found
    for path in found:
        text = (target / path).read_text(encoding="utf-8")
        assert not any(name in text for name in OWN), f"{path} names the template"


def test_what_is_there_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-shop").mkdir()
    init("my-shop")  # an empty folder will do
    before = {file: file.read_bytes() for file in (tmp_path / "my-shop").rglob("*") if file.is_file()}
    with pytest.raises(ConfigurationError, match="not empty"):
        init("my-shop")
    (tmp_path / "file").write_text("x")
    assert CliRunner().invoke(command, ["my-shop", "--dir", str(tmp_path / "file")]).exit_code == 2
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize(
    "name",
    [
        "My-Shop",
        "my_shop",
        "-x",
        "x-",
        "a--b",
        "7up",
        "",
        "x" * 41,
        "class",
        "json",
        "jurat",
        "tests",
        "../x",
    ],
)
def test_what_cannot_name_a_project_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="got the name"):
        init(name, "--dir", "there") if name.startswith("-") is False else init("--dir", "there", "--", name)
    assert not list(tmp_path.iterdir())


def test_a_word_of_python_is_told_as_one() -> None:
    with pytest.raises(ConfigurationError, match="'class', which is a word of Python"):
        init("class")


def test_its_code_keeps_the_rules_of_this_one(tmp_path: Path) -> None:
    """Sorted imports, formatting, no unused names; and the types, as a stranger's mypy sees them."""
    init("my-shop", "--dir", str(tmp_path / "my-shop"))
    for check in (
        (
            "ruff",
            "check",
            "--config",
            str(ROOT / "pyproject.toml"),
            "--config",
            'lint.isort.known-first-party=["my_shop"]',
            ".",
        ),
        ("ruff", "format", "--check", "--config", str(ROOT / "pyproject.toml"), "."),
        ("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "my_shop"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=tmp_path / "my-shop",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{check}\n{done.stdout}{done.stderr}"


def test_its_kafka_is_the_one_of_this_project() -> None:
    def kafka(text: str) -> dict[str, Any]:
        service: dict[str, Any] = yaml.safe_load(text)["services"]["kafka"]
        return service

    theirs = kafka(written("my-shop", "my_shop")["docker-compose.yml"])
    assert theirs == kafka((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["pydantic", "click", "pytest", "aiokafka", "json", "tests", "jurat"])
def test_a_project_is_not_named_as_a_module_that_it_would_hide(name: str) -> None:
    with pytest.raises(ConfigurationError, match="another module"):
        check_name(name)
