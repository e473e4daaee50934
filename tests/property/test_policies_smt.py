"""The encoding against the engine: for every operator, and for the shipped bundles, on thousands of requests."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings

from jurat.policies import load_bundle, shipped_bundle, shipped_bundles
from jurat.policies.analysis import Subject, scenes
from jurat.schemas.canonical import JsonObject
from tests.fixtures.policies.refund_models import REFUNDS
from tests.smt_operators import ALWAYS, CONDITIONS, ROLES, SCHEMA, SCOPES, plain, policies
from tests.smt_stage import compare, each_alone, requests, write

PROBES_OF_AN_ACTION = 45
"""54 actions, so 2,430 requests, others in each run."""

FOLDERS = {"refunds": REFUNDS, **{name: shipped_bundle(name) for name in shipped_bundles()}}
SCENES = {
    f"{name} {scene.action}": scene
    for name, folder in FOLDERS.items()
    for scene in scenes(Subject(load_bundle(folder)))
}


@pytest.mark.slow
def test_the_encoding_says_of_every_operator_what_the_engine_says(tmp_path: Path) -> None:
    text = policies(CONDITIONS, SCOPES)
    folder = write(tmp_path / "t", policies=text, schema=plain(SCHEMA), roles=ROLES)
    (scene,) = scenes(Subject(load_bundle(folder)))
    alone = each_alone(scene.sides[0].subject)
    seen: dict[str, set[str]] = defaultdict(set)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(requests(scene))
    def probe(concrete: JsonObject) -> None:
        for id_, became in compare(scene, alone, concrete).items():
            seen[id_].add(became)

    probe()
    assert set(seen) == {*CONDITIONS, *SCOPES}
    reached = {id_: became - {"errs"} for id_, became in seen.items()}
    expected = {id_: {"holds"} if id_ in ALWAYS else {"holds", "not"} for id_ in seen}
    assert reached == expected, "the probes did not come to both outcomes"
    assert {id_ for id_, became in seen.items() if "errs" in became} == {
        *("times-overflow", "plus-overflow", "minus-overflow", "sign-overflow", "product-of-unknowns"),
        *("and-stops", "or-stops", "if-stops", "error-first", "offset-overflow"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_the_encoding_says_of_a_bundle_what_the_engine_says(name: str) -> None:
    scene = SCENES[name]
    alone = each_alone(scene.sides[0].subject)

    @settings(max_examples=PROBES_OF_AN_ACTION, deadline=None)
    @given(requests(scene))
    def probe(concrete: JsonObject) -> None:
        compare(scene, alone, concrete)

    probe()
