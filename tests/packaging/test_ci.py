"""The skip counter of CI: an unforeseen skip fails the run, and so does a foreseen one that did not come."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.tree import ROOT

pytestmark = pytest.mark.packaging

SUITE = """
import pytest

@pytest.mark.skip(reason="no engine")
@pytest.mark.parametrize("x", [1])
def test_engine(x): ...

def test_plain(): ...
"""


@pytest.fixture(scope="module")
def skips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("skips", ROOT / ".ci" / "skips.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["skips"] = module  # where dataclasses look up the annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("line", ["no-docker | test_x", "whenever | test_x | reason", "no-docker | | reason"])
def test_a_malformed_line_is_refused_with_its_number(skips: ModuleType, line: str) -> None:
    with pytest.raises(ValueError, match="allowed-skips line 2"):
        skips.parse(f"# a comment\n{line}\n")


def test_every_line_of_the_list_names_tests_that_exist(skips: ModuleType) -> None:
    for line in skips.parse((ROOT / ".ci" / "allowed-skips").read_text(encoding="utf-8")):
        file = line.pattern.partition("::")[0]
        assert (ROOT / file).exists() or "*" in file, f".ci/allowed-skips: there is no {file}"


def run_suite(folder: Path, allowed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run SUITE with the plugin and the given list, apart from this project's configuration."""
    for name, text in {
        "skips.py": (ROOT / ".ci" / "skips.py").read_text(encoding="utf-8"),
        "allowed-skips": allowed,
        "tests/test_it.py": SUITE,
        "pytest.ini": "[pytest]\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "skips", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.mark.parametrize(
    ("allowed", "arguments", "code", "said"),
    [
        (
            "not-linux | x | never here\n",
            (),
            1,
            "not foreseen on this machine: tests/test_it.py::test_engine[1]",
        ),
        ("always | tests/test_it.py::test_engine[1] | no engine\n", (), 0, "1 passed, 1 skipped"),
        ("always | tests/test_it.py::test_engine* | no engine\n", (), 0, "1 passed, 1 skipped"),
        (
            "always | tests/test_it.py::test_* | any\nalways | tests/gone.py::* | x\n",
            (),
            1,
            "but no such skip",
        ),
        ("always | tests/gone.py::* | x\n", ("-k", "plain"), 0, "1 passed"),
    ],
)
def test_a_run_is_judged(
    tmp_path: Path, allowed: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    # The condition that holds on every machine that can run this file.
    holds = "root" if os.geteuid() == 0 else "not-root"
    done = run_suite(tmp_path, allowed.replace("always", holds), *arguments)
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr
    assert "in " in done.stdout.splitlines()[-1], "pytest's own line is the last"
