"""`jurat policy backtest` on export files: what it prints, what it leaves out and says so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jurat.audit import export
from jurat.cli.policy import command
from jurat.cli.policy_backtest import backtest
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.policies.backtest import Backtest
from jurat.schemas.errors import BundleInvalid
from tests.bundle_stage import maker
from tests.past_log import PastLog
from tests.shop import shop_engine
from tests.unit import test_backtest_simulated as simulated
from tests.unit import test_policies_backtest as past

NEXT = "shop-next"
GUIDE = Path(__file__).parents[2] / "docs" / "policies.md"
OPTION = re.compile(r"--[a-z-]+")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(shipped_bundle("shop"), tmp_path / NEXT)
    rules = tmp_path / NEXT / "disputes.cedar"
    rules.write_text(rules.read_text().replace(f"> {past.LIMIT}", f"> {past.LOWER}"))
    (tmp_path / "log.jsonl").write_bytes(exported())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exported() -> bytes:
    return b"".join(export.print_entry(entry) + b"\n" for entry in past.log())


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, ["backtest", *arguments], input=stdin, catch_exceptions=False)


def found(*arguments: str, stdin: bytes | None = None) -> dict[str, Any]:
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.output)
    return report


def test_an_export_is_judged_as_its_records_are(folder: Path) -> None:
    made = Backtest(PolicyEngine(load_bundle(folder / NEXT)))
    for one in past.pasts():
        made.add(one)
    expected = json.loads(json.dumps(made.report().to_json()))
    assert expected["newlyEscalated"]["decisions"] == 12
    assert found(NEXT, "--input", "log.jsonl") == expected
    assert found(NEXT, "--input", "-", stdin=exported()) == expected


def test_an_auditors_bundle_is_judged_as_its_records_are(folder: Path) -> None:
    (folder / "log.zip").write_bytes(maker(past.log()).made({})[0])
    whole = found(NEXT, "--input", "log.jsonl")
    assert whole["newlyEscalated"]["decisions"] == 12
    assert found(NEXT, "--input", "log.zip") == whole
    some = maker(past.log(), chosen=range(5)).made({})[0]
    (folder / "some.zip").write_bytes(some)
    assert found(NEXT, "--input", "some.zip")["records"] == 5
    (folder / "broken.zip").write_bytes(some[:-1])
    assert isinstance(
        CliRunner().invoke(command, ["backtest", NEXT, "--input", "broken.zip"]).exception, BundleInvalid
    )


def test_the_text_says_the_same_in_words(folder: Path) -> None:
    text = run(NEXT, "--input", "log.jsonl", "--old", "shop", "--examples", "1").output
    stake = past.money(above=past.LOWER, up_to=past.LIMIT)
    shown = ", ".join(f"{currency} {stake[currency]:,} minor units" for currency in ("EUR", "USD"))
    for line in (
        "records: 38, of which 38 judged, 0 not judged, 0 not asked for",
        "unchanged               26",
        f"newly escalated         12  12 were allowed; {shown}",
        "Newly escalated, the earliest 1 of 12:",
        "    was allowed: dispute.refund.grant",
        "    now escalated: dispute.refund.over-500",
        "        Refunds above 500.00 need the payments lead",
        "By policy:",
        "  dispute.refund.over-500: Refunds above 500.00 need the payments lead",
    ):
        assert line in text.splitlines(), text
    assert "NOT REPRODUCED" not in text
    assert "Not judged" not in text
    turned = run("shop", "--input", "log.jsonl", "--old", NEXT).output
    assert "NOT REPRODUCED: of 12 decisions the old bundle says what the record does not." in turned


def test_budgets_are_simulated_on_request(folder: Path) -> None:
    """400, 450 and 300 to one buyer: where 450 needs a person, the third is within the day's 1000."""
    log = PastLog(past.ALONE, shop_engine(), past.FullRefund())
    log.decide(simulated.of_buyer(number, cents) for number, cents in enumerate((40_000, 45_000, 30_000)))
    (folder / "day.jsonl").write_bytes(b"".join(export.print_entry(one) + b"\n" for one in log.entries))
    rules = folder / NEXT / "disputes.cedar"
    rules.write_text(rules.read_text().replace(f"> {past.LOWER}", "> 42000"))
    arguments = (NEXT, "--input", "day.jsonl")
    assert found(*arguments)["usage"] == "recorded"
    assert "newly allowed            0" in run(*arguments).output
    report = found(*arguments, "--simulate")
    assert report["usage"] == "simulated"
    assert report["newlyAllowed"]["moneyMinor"] == {"EUR": 30_000}
    text = run(*arguments, "--simulate", "--old", "shop").output.splitlines()
    assert text[2] == "used of budgets: simulated, from each bundle's own decisions"
    assert "newly allowed            1  1 were escalated; EUR 30,000 minor units" in text
    # What stands before --from took what it took: 400 and 450.
    assert found(*arguments, "--simulate", "--from", "2026-03-02T09:00:02Z")["unchanged"] == 1


def test_what_was_not_asked_for_is_counted(folder: Path) -> None:
    log = ("--input", "log.jsonl")
    nobody = found(NEXT, *log, "--agent", "payment-retrier")
    assert (nobody["outside"], nobody["judged"]) == (38, 0)
    assert found(NEXT, *log, "--agent", "dispute-mediator")["judged"] == 38
    assert found(NEXT, *log, "--from", "2026-03-02")["judged"] == 38
    assert found(NEXT, *log, "--from", "2026-03-03")["outside"] == 38
    # The first was decided at 9:00:00, each of the others a second after the one before; offsets are heeded.
    assert found(NEXT, *log, "--to", "2026-03-02T09:00:10Z")["judged"] == 10
    window = ("--from", "2026-03-02T10:00:10+01:00", "--to", "2026-03-02T10:00:12.000001+01:00")
    assert found(NEXT, *log, *window)["judged"] == 3
    text = run(NEXT, *log, "--to", "2026-03-01").output
    assert "No decision was judged: this says nothing about the new bundle." in text
    wrong = run(NEXT, *log, "--from", "last month")
    assert wrong.exit_code == 2
    assert "expected RFC 3339 such as 2026-01-31T12:00:00Z, or a date such as 2026-01-31" in wrong.output


def test_a_line_that_is_no_record_is_counted_and_steers_nothing(folder: Path) -> None:
    lines = exported().splitlines(keepends=True)
    (folder / "log.jsonl").write_bytes(b"".join([*lines[:2], b'{"\x1b[2J":1}\n', *lines[2:], lines[0][:-1]]))
    report = found(NEXT, "--input", "log.jsonl")
    assert (report["records"], report["judged"]) == (40, 38)
    (why,) = report["notJudged"]
    assert (why, report["notJudged"][why]["records"]) == ("the record cannot be read", 2)
    text = run(NEXT, "--input", "log.jsonl").output
    assert "Not judged:\n  2: the record cannot be read\n    for example line 3" in text
    assert "\x1b" not in text


def test_a_text_of_a_record_makes_no_line_of_its_own(folder: Path) -> None:
    entry = past.log()[0]
    statement = json.loads(entry.record.payload)
    statement["predicate"]["policy"]["input"]["principal"]["id"] = "x\n\x1b[31mnewly denied 0"
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    (folder / "log.jsonl").write_bytes(
        export.print_entry(past.replace(entry, record=entry.record.model_copy(update={"payload": payload})))
        + b"\n"
    )
    text = run(NEXT, "--input", "log.jsonl").output
    assert "1: the new bundle has no words for it" in text
    assert "\x1b" not in text
    assert sum(line.startswith("newly denied") for line in text.splitlines()) == 1


def test_the_guide_names_every_option_and_no_other() -> None:
    section = GUIDE.read_text().partition("## Trying a change on the past")[2].partition("\n## ")[0]
    table = {
        name for line in section.splitlines() if line.startswith("| `--") for name in OPTION.findall(line)
    }
    kafka = {"--bootstrap-servers", "--namespace"}
    ours = {name for each in backtest.params for name in each.opts if name.startswith("--")}
    assert table | {"--help"} >= ours - kafka
    assert table <= ours | {"--output"}


def test_a_bundle_that_is_none_is_told(folder: Path) -> None:
    with pytest.raises(Exception, match="expected a folder or one of: "):
        run("nothing", "--input", "log.jsonl")


def test_a_part_of_the_log_that_cannot_be_is_refused(folder: Path) -> None:
    del folder
    log = ("--input", "log.jsonl")
    for until in ("2026-03-01", "2026-03-02"):
        wrong = run(NEXT, *log, "--from", "2026-03-02", "--to", until)
        assert wrong.exit_code == 2
        assert "expected --from before --to" in wrong.output
    unknown = run(NEXT, *log, "--agent", "nobody")
    assert unknown.exit_code == 2
    assert "got --agent 'nobody'" in unknown.output
    assert "payment-retrier" in unknown.output
