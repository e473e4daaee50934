"""The page of a bundle: checked in as it prints, every rule under each of its actions, an author's words no markup."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.cli.policy import command
from jurat.policies import load_bundle, shipped_bundle, shipped_bundles
from jurat.policies.page import page
from tests.fixtures.policies.refund_models import REFUNDS
from tests.tree import ROOT

PAGES = ROOT / "docs" / "policies"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["page", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def sections(text: str, level: str) -> dict[str, str]:
    """The text below every heading of a level."""
    parts = re.split(rf"^{level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", shipped_bundles())
def test_the_page_that_is_checked_in_is_the_printed_one(name: str) -> None:
    assert printed(name) == (PAGES / f"{name}.md").read_text(encoding="utf-8"), (
        f"the bundle {name} changed: jurat policy page {name} > docs/policies/{name}.md"
    )


def test_there_is_a_page_for_every_shipped_bundle_and_no_other() -> None:
    assert sorted(path.stem for path in PAGES.glob("*.md")) == list(shipped_bundles())


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_rule_stands_under_each_of_its_actions_and_its_link_leads_to_it(name: str) -> None:
    bundle = load_bundle(shipped_bundle(name))
    text = printed(name)
    assert bundle.digest in text
    of_action = {
        heading.partition("`")[2].rstrip("`"): body
        for heading, body in sections(text, "##").items()
        if "`" in heading
    }
    assert set(of_action) == set(bundle.actions)
    for action, body in of_action.items():
        expected = {policy.id for policy in bundle.policies.values() if action in policy.actions}
        links = re.findall(r"\[`([^`]+)`\]\(\.\./\.\./(\S+)#L(\d+)\)", body)
        assert {id_ for id_, _file, _line in links} == expected
        for id_, file, line in links:
            lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
            assert f'@id("{id_}")' in lines[int(line) - 1]


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_shipped_rule_has_an_owner_and_a_title_in_plain_words(name: str) -> None:
    for policy in load_bundle(shipped_bundle(name)).policies.values():
        assert policy.owner, policy.id
        # No identifiers, no minor units in a sentence that people decide by.
        assert not re.search(r"_|::|context|resource|\b\d{4,}00\b", policy.title), policy.title


def test_a_rule_stands_where_it_belongs_with_who_may_lift_it() -> None:
    refund = sections(printed(str(REFUNDS)), "##")["`refund`"]
    rules = sections(refund, "###")
    assert list(rules) == ["May", "Must not", "Only with approval"]
    assert "refund.grant" in rules["May"]
    assert "refund.cap-200" in rules["Must not"]
    assert "| **payments-lead** |" in rules["Only with approval"]
    assert "Approved by" not in rules["Must not"]


def test_objectives_are_shown_with_their_weights() -> None:
    aims = sections(printed(str(REFUNDS)), "##")["What the agents aim for"]
    assert "### refunder-1" in aims
    assert "| refunded minor | 70 |" in aims


def test_an_action_that_nothing_permits_is_told(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))
    for path in folder.glob("tests/*"):
        path.unlink()
    path = folder / "refunds.cedar"
    path.write_text(path.read_text(encoding="utf-8").replace("permit (", "forbid ("), encoding="utf-8")
    assert "No rule permits it: it is always denied." in sections(printed(str(folder)), "##")["`refund`"]


def test_an_authors_words_do_not_become_markup(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))
    path = folder / "refunds.cedar"
    text = path.read_text(encoding="utf-8")
    hostile = "<script>a|b</script> [x](http://y) `z` *bold* # h"
    text = re.sub(r'@title\("[^"]*"\)', f'@title("{hostile}")', text, count=1)
    path.write_text(text, encoding="utf-8")
    shown = page(load_bundle(folder), titles={"refund": "A | B"}, source="x")
    assert hostile not in shown
    assert r"\<script\>a\|b\</script\> \[x\](http://y) \`z\` \*bold\* \# h" in shown
    assert r"## A \| B: `refund`" in shown
