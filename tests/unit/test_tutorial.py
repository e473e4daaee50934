"""The first half of the tutorial as written: a project from the template, its checks, its tests and a rule more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorial import Walk, commands, matches, part


@pytest.mark.slow
def test_the_tutorial_does_what_it_says_without_kafka(tmp_path: Path) -> None:
    told = part(on_kafka=False)
    assert len([block for block in told if block.language == "console"]) >= 3
    Walk(tmp_path, {}).through(told)


def test_what_is_shown_is_compared() -> None:
    assert list(commands("$ a b\nc\n\n$ d\n")) == [("a b", "c\n\n"), ("d", "")]
    assert matches("one\ntwo 17 x\n", "one\ntwo ... x\n")
    assert matches("one\ntwo\nthree\n", "one\n...\n")
    assert matches("two\none\n", "one\ntwo\n", unordered=True)
    for printed, shown in (
        ("one\ntwo\n", "one\n"),
        ("one\n", "one\ntwo\n"),
        ("two\none\n", "one\ntwo\n"),
        ("two 17 y\n", "two ... x\n"),
        ("", "one\n"),
    ):
        assert not matches(printed, shown)
