"""What the encoding does not cover, which it says; literals, and the solver behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.policies import load_bundle, smt
from jurat.policies.analysis import Example, Proved, Scene, Subject, Unknown, scenes
from jurat.policies.analysis_ask import answer, parse
from jurat.policies.analysis_check import analyse
from jurat.policies.request import Judgement
from jurat.policies.smt_literals import datetime_ms, duration_ms
from jurat.schemas.errors import PolicyInputError
from tests.smt_operators import CONDITIONS, OPEN, ROLES, SCHEMA, SCOPES, plain, policies
from tests.smt_stage import outcome, write


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = write(
        tmp_path_factory.mktemp("t") / "t",
        policies=policies(CONDITIONS, SCOPES),
        schema=plain(SCHEMA),
        roles=ROLES,
    )
    (one,) = scenes(Subject(load_bundle(folder)))
    return one


def test_an_attribute_of_another_type_of_resource_is_absent(tmp_path: Path) -> None:
    schema = (
        plain(SCHEMA)
        .replace("entity Item", "entity Thing;\n  entity Item")
        .replace("[Item]", "[Item, Thing]")
    )
    folder = write(
        tmp_path / "t",
        policies=policies({"x": "resource has n && resource.n > 5"}, {}),
        schema=schema,
        roles=ROLES,
    )
    item, thing = scenes(Subject(load_bundle(folder)))
    assert (item.resource, thing.resource) == ("Item", "Thing")
    assert isinstance(item.find([item.sides[0].policies["x"].holds]), Example)
    assert isinstance(thing.find([thing.sides[0].policies["x"].holds]), Proved)


def test_what_is_not_covered_is_named_and_stays_open(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", policies=policies(OPEN, {}), schema=SCHEMA, roles=ROLES)
    (one,) = scenes(Subject(load_bundle(folder)))
    gaps = one.sides[0].gaps
    assert {gap.policy for gap in gaps} == set(OPEN)
    assert all(gap.test and gap.why for gap in gaps)
    for id_ in OPEN:
        terms = one.sides[0].policies[id_]
        if id_ == "record-equality":
            continue
        for claim in (terms.holds, smt.no(smt.some([terms.holds, terms.errs])), terms.errs):
            assert isinstance(smt.solve([claim, *one.request.constraints()]), smt.Assignment), id_


def test_the_same_open_test_is_the_same_unknown(tmp_path: Path) -> None:
    conditions = {"one": OPEN["decimal"], "other": f"!({OPEN['decimal']})"}
    folder = write(tmp_path / "t", policies=policies(conditions, {}), schema=SCHEMA, roles=ROLES)
    (one,) = scenes(Subject(load_bundle(folder)))
    both = [terms.holds for terms in one.sides[0].policies.values()]
    assert smt.solve(both) is None


def test_a_nest_of_tests_opens_no_more_than_it_must(tmp_path: Path) -> None:
    conditions = {"x": f"resource.n > 5 && {OPEN['decimal']}"}
    folder = write(tmp_path / "t", policies=policies(conditions, {}), schema=SCHEMA, roles=ROLES)
    (one,) = scenes(Subject(load_bundle(folder)))
    (gap,) = one.sides[0].gaps
    assert "resource.n" not in gap.test
    low = smt.less(one.request.terms["resource", "n"], smt.integer(5))
    assert smt.solve([low, one.sides[0].policies["x"].holds]) is None


characters = st.characters(max_codepoint=smt.MAX_CHARACTER, exclude_categories=["Cs"])


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(max_codepoint=smt.MAX_CHARACTER, exclude_categories=["Cs"]), max_size=8)
    | st.text("\\u{}41", max_size=9)
)
def test_a_text_comes_back_as_it_was_given(text: str) -> None:
    unknown = smt.variable(smt.Sort.TEXT, "unknown")
    found = smt.solve([smt.equal(unknown, smt.text(text))])
    assert isinstance(found, smt.Assignment)
    assert found.text(unknown) == text


def test_a_text_that_the_solver_lacks_is_refused() -> None:
    with pytest.raises(smt.NotCoveredError, match=r"above U\+2FFFF"):
        smt.text("\U00030000")


def test_terms_of_two_sorts_are_not_put_together() -> None:
    with pytest.raises(TypeError, match="Int and String"):
        smt.equal(smt.integer(1), smt.text("1"))


def test_effort_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smt, "MAX_STEPS", 1_000)
    x, y, z = (smt.variable(smt.Sort.INT, name) for name in "xyz")
    cubes = [smt.times(one, smt.times(one, one)) for one in (x, y, z)]
    claims = [
        smt.equal(smt.plus(cubes[0], cubes[1]), cubes[2]),
        *(smt.less(smt.integer(1), one) for one in (x, y, z)),
    ]
    answer = smt.solve(claims)
    assert isinstance(answer, smt.GaveUp)
    assert "after 1000 steps" in answer.reason


def test_a_cause_names_what_cannot_be_left_out() -> None:
    x = smt.variable(smt.Sort.INT, "x")
    above, below, far = (
        smt.less(smt.integer(5), x),
        smt.less(x, smt.integer(4)),
        smt.less(x, smt.integer(99)),
    )
    assert smt.cause([above], [far, below]) == {1}
    assert smt.cause([above], [far]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T01:00:00+0100", 0),
        ("1969-12-31T23:00:00-0130", 1_800_000),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert datetime_ms(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("1d2h3m4s5ms", 93_784_005), ("-90m", -5_400_000), ("0s", 0)])
def test_durations(text: str, expected: int) -> None:
    assert duration_ms(text) == expected


@pytest.mark.parametrize(
    "text", ["", "-", "1h1d", "5", "1.5h", "2026-13-01", "2026-01-01T00:00:00", "0000-01-01"]
)
def test_what_is_neither_moment_nor_duration(text: str) -> None:
    for read in (datetime_ms, duration_ms):
        with pytest.raises(smt.NotCoveredError):
            read(text)


def test_the_outcome_of_a_policy_is_the_engines_own(scene: Scene) -> None:
    """The judge of these tests tells the three outcomes apart."""
    subject = scene.sides[0].subject
    compiled = subject.compile({"times-overflow": subject.trees["times-overflow"]})
    concrete = {
        "principal": {"type": "T::Agent", "id": "a-1"},
        "action": {"type": "T::Action", "id": "do"},
        "resource": {"type": "T::Item", "id": "r"},
        "context": {"c": 1, "approvals": [], "now": "2026-01-01T00:00:00Z"},
    }

    def told(n: int) -> str:
        attrs = {"n": n, "s": "", "b": True, "d": "2026-01-01", "e": "1h", "l": [], "k": []}
        return outcome(
            compiled, {**concrete, "entities": [{"uid": concrete["resource"], "attrs": attrs, "parents": []}]}
        )

    assert [told(5), told(0), told(2**52)] == ["holds", "not", "errs"]


NESTED = """
namespace T {
  entity Role; entity Agent in [Role]; entity Folder; entity Order in [Folder];
  action "stop" appliesTo {
    principal: [Agent], resource: [Agent, Order], context: { approvals: Set<String>, now: datetime }
  };
}
"""


@pytest.mark.parametrize(
    "scope",
    [
        'resource in T::Folder::"f") when { true };',
        'resource) when { resource in T::Folder::"f" };',
        'resource is T::Agent in T::Role::"left") when { true };',
        'resource) when { resource is T::Agent in T::Role::"left" };',
    ],
)
def test_what_a_resource_may_be_in_is_left_open(tmp_path: Path, scope: str) -> None:
    permit = f'@id("x") @title("T")\npermit (principal, action, {scope}\n'
    loaded = load_bundle(write(tmp_path / "t", policies=permit, schema=NESTED, roles=ROLES))
    outcome = answer(loaded, parse(loaded, "stop"))
    assert isinstance(outcome, Unknown)
    assert any("be in other entities, which is not covered" in why for why in outcome.because)


def test_an_agent_that_is_known_is_no_resource(tmp_path: Path) -> None:
    permit = '@id("x") @title("T")\npermit (principal, action, resource is T::Agent);\n'
    loaded = load_bundle(write(tmp_path / "t", policies=permit, schema=NESTED, roles=ROLES))
    assert isinstance(answer(loaded, parse(loaded, 'stop where resource == T::Agent::"a-1"')), Proved)
    assert isinstance(answer(loaded, parse(loaded, 'stop where resource == T::Agent::"b-1"')), Example)


@pytest.mark.parametrize(
    "condition",
    ['resource.e > duration("86399999999999999ms")', 'resource.e < duration("-86399999999999999ms")'],
)
def test_a_duration_may_be_longer_than_a_model_holds(tmp_path: Path, condition: str) -> None:
    text = policies({"x": condition}, {})
    loaded = load_bundle(write(tmp_path / "t", policies=text, schema=plain(SCHEMA), roles=ROLES))
    assert analyse(loaded) == ()
    (one,) = scenes(Subject(loaded))
    assert isinstance(one.find([one.sides[0].policies["x"].holds]), Example)


def test_a_moment_may_be_one_that_cannot_be_written_down(tmp_path: Path) -> None:
    text = policies({"x": 'resource.d > datetime("9999-12-31T23:59:59.999Z")', "y": "true"}, {})
    (one,) = scenes(
        Subject(load_bundle(write(tmp_path / "t", policies=text, schema=plain(SCHEMA), roles=ROLES)))
    )
    outcome = one.find([one.sides[0].policies["x"].holds])
    assert outcome == Unknown(("the solver's example holds a moment outside of the years 1 to 9999",))
    assert isinstance(one.find([one.sides[0].policies["y"].holds]), Example)


def test_a_number_that_no_request_holds_is_in_no_set(tmp_path: Path) -> None:
    conditions = {
        "far": "resource.k.contains(9007199254740993)",
        "last": "resource.k.contains(9007199254740991)",
    }
    loaded = load_bundle(
        write(tmp_path / "t", policies=policies(conditions, {}), schema=plain(SCHEMA), roles=ROLES)
    )
    (one,) = scenes(Subject(loaded))
    held = {id_: one.find([terms.holds]) for id_, terms in one.sides[0].policies.items()}
    assert held["far"] == Proved()
    assert isinstance(held["last"], Example)


def test_an_example_that_the_engine_does_not_take_is_unknown(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_request: object) -> Judgement:
        raise PolicyInputError("no input")

    monkeypatch.setattr(scene.sides[0].subject.engine, "rejudge", refuse)
    assert scene.find([]) == Unknown(("the engine cannot be asked about the solver's example: no input",))
