"""The public names: each room's `__init__` lists what it re-exports, sorted, and only what is there."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from tests.tree import rooms

PACKAGES = sorted(rooms())
HEAVY = (
    "aiokafka",
    "cedarpy",
    "cryptography",
    "fastavro",
    "faust",
    "openai",
    "opentelemetry",
    "prometheus_client",
    "z3",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_without_repeats(package: str) -> None:
    module = importlib.import_module(package)
    assert hasattr(module, "__all__"), f"{package} has no __all__: list its public names"
    assert list(module.__all__) == sorted(set(module.__all__)), (
        f"{package}.__all__ is not sorted (plain sorted())"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_all_resolves(package: str) -> None:
    module = importlib.import_module(package)
    absent = [name for name in module.__all__ if not hasattr(module, name)]
    assert not absent, f"{package}.__all__ names what is not there: {absent}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_ours_is_in_all(package: str) -> None:
    module = importlib.import_module(package)
    ours = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).split(".")[0] == "jurat"
    }
    assert ours <= set(module.__all__), (
        f"{package} imports without listing: {sorted(ours - set(module.__all__))}"
    )


def test_the_face_knows_its_names_and_refuses_others() -> None:
    jurat = importlib.import_module("jurat")
    assert set(jurat.__all__) <= set(dir(jurat))
    with pytest.raises(AttributeError, match="no_such_name"):
        jurat.no_such_name  # noqa: B018  (the access itself is what is tested)


def test_importing_the_face_loads_no_client() -> None:
    """`jurat.schemas` runs `jurat/__init__` first, so the face must cost next to nothing."""
    program = f"import sys, jurat; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert run.stdout.split() == [], f"import jurat loads {run.stdout.strip()}: resolve names in __getattr__"
