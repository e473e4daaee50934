"""Five hundred broken bundles: the loader fails with its own error alone, and three faults never pass.

Every bundle is one of ours with something done to it, drawn with a seed that the test's name tells. What still loads is
checked by an oracle that shares nothing with the loader: Cedar's own tree of the files, and the words of the schema.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import cedarpy
import pytest
from cedarpy import pst

from jurat.policies import Bundle, load_bundle
from jurat.policies.folder import SCHEMA_FILE
from jurat.schemas.errors import BundleError
from tests.broken_bundles import INJECTIONS, MUTATIONS, Draw, files, start

BUNDLES = 500
INJECTED = 40
"""Bundles for each of the faults that are put in on purpose."""

SEEDS = [
    f"{MUTATIONS[number % len(MUTATIONS)].__name__}-{number}" for number in range(BUNDLES - 3 * INJECTED)
]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_bundle_is_refused_with_our_error_or_is_whole(tmp_path: Path, seed: str) -> None:
    draw = random.Random(seed)
    folder = start(draw, tmp_path)
    name, _, _number = seed.partition("-")
    next(mutation for mutation in MUTATIONS if mutation.__name__ == name)(draw, folder)
    loaded = load(folder)
    if isinstance(loaded, Bundle):
        assert list(oracle(folder)) == []
        assert len(loaded.policies) == sum(len(policies(path)) for path in files(folder, "*.cedar"))
    else:
        assert loaded.faults
        assert all(": " in fault for fault in loaded.faults)


def load(folder: Path) -> Bundle | BundleError:
    """The bundle, or the loader's own error; any other one fails the test."""
    try:
        return load_bundle(folder)
    except BundleError as error:
        return error


@pytest.mark.parametrize("number", range(INJECTED))
@pytest.mark.parametrize("inject", INJECTIONS, ids=lambda inject: inject.__name__)
def test_what_never_passes(tmp_path: Path, inject: Callable[[Draw, Path], str], number: int) -> None:
    draw = random.Random(f"{inject.__name__}-{number}")
    folder = start(draw, tmp_path)
    load_bundle(folder)
    told = inject(draw, folder)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert any(told in fault for fault in caught.value.faults), (told, caught.value.faults)
    assert list(oracle(folder))  # so the oracle sees it too


# The oracle.


def policies(path: Path) -> list[pst.Template]:
    found = cedarpy.policies_to_pst(path.read_text(encoding="utf-8"))
    assert not found.templates
    return [*found.static_policies.values()]


def oracle(folder: Path) -> Iterator[str]:
    """Why a bundle should not have loaded: attributes without a declaration, ids twice, escalation on a permit."""
    declared = set(re.findall(r"\b(\w+)\??: ", (folder / SCHEMA_FILE).read_text(encoding="utf-8")))
    ids: list[str] = []
    for path in files(folder, "*.cedar"):
        for policy in policies(path):
            ids.append(policy.annotations["id"])
            if "escalate" in policy.annotations and policy.effect != "forbid":
                yield f"{path.name}: {ids[-1]}: @escalate on a permit"
            literal = {name for node in walk(policy) if isinstance(node, pst.Record) for name in node.fields}
            for name in (
                {attribute for node in walk(policy) for attribute in attributes(node)} - declared - literal
            ):
                yield f"{path.name}: {ids[-1]}: the attribute {name}"
    yield from (f"{id_} twice" for id_ in set(ids) if ids.count(id_) > 1)


def attributes(node: object) -> tuple[str, ...]:
    match node:
        case pst.GetAttr(_, name):
            return (name,)
        case pst.HasAttr(_, names):
            return names
    return ()


def walk(node: object) -> Iterator[object]:
    yield node
    if isinstance(node, Mapping):
        below: list[object] = [*node.values()]
    elif isinstance(node, tuple):
        below = [*node]
    elif is_dataclass(node):
        below = [getattr(node, field.name) for field in fields(node)]
    else:
        return
    for child in below:
        yield from walk(child)
