"""The wheel is what users get: it holds the rooms, whole and nothing else, and works away from the tree.

The wheel is built from a copy of the project's files, so that neither an old `build/` nor a stray file can
end up in it, and without isolation, so that nothing is fetched. It is installed into a fresh environment that
sees the third-party packages of this one, but not this one's `jurat`.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.tree import ROOT, files, pyproject, rooms

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

# Leaves out what steers the caller's own interpreter.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

IMPORT_ALL = """
import importlib, pkgutil, sys
import jurat
names = ["jurat", *(m.name for m in pkgutil.walk_packages(jurat.__path__, "jurat."))]
for name in names:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.prefix), f"{name} comes from {module.__file__}"
print(*names)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it printed; its whole output is the failure message."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=ENVIRONMENT, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files, and no others, in a folder of their own."""
    folder = tmp_path_factory.mktemp("tree")
    for name in files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return folder


@pytest.fixture(scope="module")
def wheel(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, ".", cwd=copy)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it."""
    place = tmp_path_factory.mktemp("fresh")
    builder = venv.EnvBuilder(symlinks=True)
    builder.create(place)
    fresh = place / "bin" / "python"
    # Paths in a .pth are searched after the environment's own packages, and .pth files found there are not
    # followed: the editable jurat of this environment stays out of sight.
    site = Path(run(fresh, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    (site / "third_parties.pth").write_text(
        "".join(f"{path}\n" for path in dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))),
        encoding="utf-8",
    )
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", fresh)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=place)
    return fresh


def test_the_wheel_holds_the_rooms_and_nothing_else(wheel: Path) -> None:
    expected = {
        f"{package.replace('.', '/')}/{name.removeprefix(folder + '/')}"
        for package, folder in rooms().items()
        for name in files()
        if name.startswith(folder + "/")
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
    packed = {name for name in held if ".dist-info/" not in name}
    absent, surplus = sorted(expected - packed), sorted(packed - expected)
    assert not absent, f"not in the wheel, add their kind to package-data in pyproject.toml: {absent}"
    assert not surplus, f"in the wheel, but in no room of the tree: {surplus}"
    licences = [name for name in held if name.endswith(".dist-info/licenses/LICENSE")]
    assert len(licences) == 1, "the licence is not in the wheel: license-files in pyproject.toml"


def test_building_leaves_nothing_that_git_would_show(wheel: Path, copy: Path) -> None:
    ignored = [
        line.strip("/")
        for line in (copy / ".gitignore").read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#"
    ]
    known = set(files())
    made = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()} - known
    shown = [
        name
        for name in sorted(made)
        if not any(fnmatch.fnmatch(name.split("/")[0], mask) for mask in ignored)
    ]
    assert wheel.is_file()
    assert not shown, f"a build leaves files that .gitignore does not name: {shown}"


def test_every_module_imports_from_the_wheel(python: Path, tmp_path: Path) -> None:
    imported = set(run(python, "-c", IMPORT_ALL, cwd=tmp_path).split())
    expected = {
        package if stem == "__init__" else f"{package}.{stem}"
        for package, folder in rooms().items()
        for stem in (
            Path(name).stem for name in files() if name.startswith(folder + "/") and name.endswith(".py")
        )
    }
    assert imported == expected


def test_the_command_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    assert "Usage: jurat" in run(python.with_name("jurat"), "--help", cwd=tmp_path)


def test_a_project_is_made_from_the_wheel(python: Path, tmp_path: Path) -> None:
    command = python.with_name("jurat")
    run(command, "init", "my-shop", cwd=tmp_path)
    assert "9 cases, 0 failed" in run(command, "policy", "test", cwd=tmp_path / "my-shop")


def test_the_wheel_is_typed_and_carries_the_version(python: Path, tmp_path: Path) -> None:
    program = (
        "from importlib import metadata, resources;"
        "print(metadata.version('jurat'), resources.files('jurat').joinpath('py.typed').is_file())"
    )
    assert run(python, "-c", program, cwd=tmp_path).split() == [pyproject()["project"]["version"], "True"]
