"""What `jurat policy check` proves, and that nothing is shown which the engine does not confirm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.cli.policy import command
from jurat.policies import load_bundle, shipped_bundle, shipped_bundles, smt
from jurat.policies import smt_expression as encoding
from jurat.policies.analysis import Example, Fault
from jurat.policies.analysis_ask import answer, parse
from jurat.policies.analysis_check import Level, analyse
from jurat.policies.analysis_diff import compare
from tests.analysis_stage import GRANT, bundle, forbid, newly, permit


def findings(folder: Path, *policies: str, grant: str = GRANT) -> list[tuple[Level, str]]:
    found = analyse(bundle(folder / "t", *policies, grant=grant))
    return [(finding.level, finding.text) for finding in found]


@pytest.mark.parametrize("name", shipped_bundles())
def test_nothing_is_wrong_with_a_shipped_bundle(name: str) -> None:
    assert analyse(load_bundle(shipped_bundle(name))) == ()


@pytest.mark.parametrize(
    "when",
    [
        "context.amount > 5 && context.amount < 3",
        "context.amount + 1 < context.amount",
        'resource.tier == "gold" && ["silver", "bronze"].contains(resource.tier)',
        'resource.tier like "g*" && resource.tier like "s*"',
        "resource has paid && resource.paid > 9223372036854775806",
        'principal in T::Role::"clerk" && principal == T::Agent::"a-2"',
        'context.now < datetime("2026-01-01") && context.now.durationSince(datetime("2026-01-01")) > duration("1s")',
    ],
)
def test_a_contradiction_is_an_error(tmp_path: Path, when: str) -> None:
    expected = (
        "policies.cedar:3: never: its conditions contradict each other or its scope: it can never apply"
    )
    assert findings(tmp_path, forbid("never", when)) == [(Level.ERROR, expected)]


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (
            "context.amount * 9223372036854775807 > 1 && context.amount > 1",
            "it always errs where it would hold, and so denies: it can never apply",
        ),
        (
            "context.amount * 9223372036854775807 != 1 && context.amount > 5 && context.amount < 3",
            (
                "its conditions contradict each other or its scope: it can never apply;"
                " where it errs, it denies all the same"
            ),
        ),
    ],
)
def test_a_policy_that_never_applies_but_denies_by_its_errors_is_told_apart(
    tmp_path: Path, when: str, told: str
) -> None:
    assert findings(tmp_path, forbid("never", when)) == [(Level.ERROR, f"policies.cedar:3: never: {told}")]
    assert not verdicts_stay(tmp_path, (forbid("never", when),), without="never")


def test_a_contradiction_that_approvals_hide_is_found(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, forbid("never", "context.amount > 5 && context.amount < 3", role="lead"))
    assert found[0] is Level.ERROR


def test_conditions_that_are_always_true_are_a_warning(tmp_path: Path) -> None:
    always = "context.amount > 5 || context.amount <= 5"
    (found,) = findings(tmp_path, forbid("always", always, role="lead"))
    assert found == (
        Level.WARNING,
        "policies.cedar:3: always: its conditions are always true where its scope matches: they say nothing",
    )


def test_a_policy_without_conditions_says_what_it_means(tmp_path: Path) -> None:
    asks = (
        '@id("ask") @title("T") @escalate("lead")\nforbid (principal, action == T::Action::"refund", resource)\n'
        'unless { context.approvals.contains("lead") };\n'
    )
    assert findings(tmp_path, asks) == []


def verdicts_stay(folder: Path, policies: tuple[str, ...], *, without: str) -> bool:
    """Tell whether all verdicts are the same without a policy, by its id or the first one."""
    left = [one for one in policies if f'@id("{without}")' not in one] if without else policies[1:]
    assert len(left) == len(policies) - 1
    difference = compare(bundle(folder / "with", *policies), bundle(folder / "less", *left))
    return all(action.equivalent for action in difference.actions)


@pytest.mark.parametrize(
    ("policies", "shadowed", "by"),
    [
        ((forbid("high", "context.amount > 9"), forbid("low", "context.amount > 5")), "high", "low"),
        (
            (forbid("high", "context.amount > 9", role="lead"), forbid("low", "context.amount > 5")),
            "high",
            "low",
        ),
        (
            (
                forbid("high", "context.amount > 9", role="lead"),
                forbid("low", "context.amount > 5", role="lead"),
            ),
            "high",
            "low",
        ),
        (
            (
                forbid("all", "context.amount != 7"),
                forbid("above", "context.amount > 7"),
                forbid("below", "context.amount < 7"),
            ),
            "all",
            "above or below",
        ),
    ],
)
def test_a_forbid_that_changes_nothing_is_shadowed(
    tmp_path: Path, policies: tuple[str, ...], shadowed: str, by: str
) -> None:
    found = dict(text.split(": shadowed: ") for _level, text in findings(tmp_path, *policies))
    (told,) = (text for where, text in found.items() if where.endswith(f": {shadowed}"))
    assert told == f"wherever it refuses, {by} refuses too"
    assert verdicts_stay(tmp_path, policies, without=shadowed)


@pytest.mark.parametrize(
    "policies",
    [
        # the other one can be lifted, by somebody else or at all
        (forbid("high", "context.amount > 9"), forbid("low", "context.amount > 5", role="lead")),
        (forbid("high", "context.amount > 9", role="risk"), forbid("low", "context.amount > 5", role="lead")),
        # on another action nothing covers it
        (forbid("wide", "resource.total > 9", action="action"), forbid("low", "resource.total > 5")),
        # it holds only where the other one does, but denies by an error where the other one does not
        (
            forbid("errs", "context.amount * 4096 > 40960000 && context.amount < 99999"),
            forbid("low", "context.amount > 5 && context.amount < 99999"),
        ),
    ],
)
def test_a_forbid_that_changes_something_is_not_shadowed(tmp_path: Path, policies: tuple[str, ...]) -> None:
    assert findings(tmp_path, *policies) == []
    assert not verdicts_stay(tmp_path, policies, without="")


def test_what_holds_only_where_another_policy_errs_is_not_called_shadowed(tmp_path: Path) -> None:
    errs = forbid("errs", "context.amount * 9007199254740991 != 0 && context.amount > 9000")
    (told,) = findings(tmp_path / "permit", permit("some", "context.amount > 9000"), errs, grant="")
    assert "errs" in told[1]
    (told,) = findings(tmp_path / "forbid", forbid("high", "context.amount > 9000"), errs)
    assert "high: shadowed" not in told[1]


def test_a_permit_that_adds_nothing_is_shadowed(tmp_path: Path) -> None:
    grant = permit("some", "context.amount > 5") + permit("more", "context.amount > 1")
    assert findings(tmp_path, grant=grant) == [
        (Level.WARNING, "policies.cedar:1: some: shadowed: whatever it permits, more permits too")
    ]


def test_a_permit_that_is_always_refused_is_shadowed(tmp_path: Path) -> None:
    assert findings(
        tmp_path, permit("dead", "context.amount > 9"), forbid("cap", "context.amount > 5"), grant=""
    ) == [(Level.WARNING, "policies.cedar:1: dead: shadowed: whatever it permits, cap refuses for good")]
    lifted = forbid("cap", "context.amount > 5", role="lead")
    assert findings(tmp_path, permit("alive", "context.amount > 9"), lifted, grant="") == []


def test_what_a_verdict_rests_on_is_not_shadowed_by_what_is_left_open(tmp_path: Path) -> None:
    test = 'resource.price.lessThan(decimal("1.5"))'
    (found,) = findings(tmp_path, forbid("cheap", test), forbid("low", "context.amount > 5"))
    assert found[0] is Level.NOTE
    assert found[1].startswith("policies.cedar:3: cheap: `")
    assert "is left open by the analysis" in found[1]


def test_a_contradiction_beside_an_open_test_is_still_proved(tmp_path: Path) -> None:
    test = 'resource.price.lessThan(decimal("1.5"))'
    levels = [
        level
        for level, _ in findings(tmp_path, forbid("x", f"{test} && context.amount > 5 && context.amount < 3"))
    ]
    assert levels == [Level.NOTE, Level.ERROR]


def test_a_solver_that_gives_up_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smt, "MAX_STEPS", 1)
    found = findings(tmp_path, forbid("low", "context.amount > 5"))
    assert {level for level, _ in found} == {Level.NOTE}
    assert all("unknown, because the solver gave up after 1 steps" in text for _, text in found)


def test_check_prints_findings_and_fails_on_errors_alone(tmp_path: Path) -> None:
    high, low = forbid("high", "context.amount > 9"), forbid("low", "context.amount > 5")
    bundle(tmp_path / "warned", high, low)
    told = CliRunner().invoke(command, ["check", str(tmp_path / "warned")])
    assert (told.exit_code, told.output.splitlines()[1:]) == (
        0,
        ["warning: warned/policies.cedar:3: high: shadowed: wherever it refuses, low refuses too"],
    )
    bundle(tmp_path / "wrong", forbid("never", "context.amount > 5 && context.amount < 3"))
    told = CliRunner().invoke(command, ["check", str(tmp_path / "wrong")])
    assert told.exit_code == 1
    assert "error: wrong/policies.cedar:3: never: its conditions contradict" in told.output


def test_an_encoding_that_is_wrong_is_found_out_and_never_shown_as_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bundle(tmp_path / "old", forbid("cap", "context.amount > 5"))
    new = bundle(tmp_path / "new", forbid("cap", "context.amount > 9"))
    monkeypatch.setitem(encoding.COMPARISONS, "greater", encoding.COMPARISONS["less"])
    outcome = answer(old, parse(old, "refund where context.amount == 7"))
    assert isinstance(outcome, Fault)
    assert "the engine says deny, where the encoding says allow" in outcome.message
    assert any(isinstance(one, Fault) for one in newly(old, new, "refund").values())
    assert any(one.level is Level.ERROR and "the analysis is at fault" in one.text for one in analyse(old))
    told = CliRunner().invoke(command, ["ask", str(tmp_path / "old"), "refund where context.amount == 7"])
    assert told.exit_code == 1
    assert told.output.startswith("unknown: the analysis is at fault, please report it: the engine says deny")
    assert "for example" not in told.output


@pytest.mark.parametrize(
    ("operator", "question"),
    [
        ("minus", "resource.total - context.amount == 5 && context.amount == 2"),
        ("equal", "context.amount == 7"),
        ("floor", 'context.now.toTime() == duration("1h")'),
    ],
)
def test_a_wrong_condition_of_a_question_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str, question: str
) -> None:
    loaded = bundle(tmp_path / "t")
    understood = parse(loaded, f"refund where {question}")
    assert isinstance(answer(loaded, understood), Example)
    wrong = {
        "minus": smt.plus,
        "equal": lambda left, right: smt.no(smt.Term(smt.Sort.BOOL, left.raw == right.raw)),
        "floor": lambda term, step: smt.plus(term, smt.integer(step)),
    }[operator]
    if operator == "minus":
        monkeypatch.setitem(encoding.ARITHMETIC, "sub", ("Long", wrong))
    else:
        monkeypatch.setattr(smt, operator, wrong)
    assert not isinstance(answer(loaded, understood), Example)


def test_z3_is_loaded_only_by_who_analyses() -> None:
    program = (
        "import sys, jurat.policies, jurat.cli.policy, jurat.streams.worker;"
        "print([name for name in sys.modules if name.partition('.')[0] == 'z3'])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert run.stdout == "[]\n"
