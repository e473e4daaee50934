"""`jurat policy budgets`: what it shows, to people and to programs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit.key_store import TRUST_FILE
from jurat.audit.keys import Trust
from jurat.cli.policy import command
from jurat.policies import shipped_bundle
from jurat.policies.folder import digest_of, read_folder
from jurat.policies.publication import PublishedBundle
from jurat.policies.request import Charge
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import TopicMissing
from jurat.streams.kafka import Connection
from jurat.streams.usage import PartitionUsage
from tests.budget_stage import BUDGETS, write_bundle
from tests.shop import shop_engine
from tests.tree import ROOT

DAY = shop_engine().bundle.budgets.by_name["refunds_day"]
SERVERS = ("--bootstrap-servers", "nowhere:1")


@pytest.fixture(autouse=True)
def _used(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = {0: PartitionUsage(partition=0), 2: PartitionUsage(partition=2)}
    now = datetime.now(UTC)
    for partition, key, offset, amount, at in (
        (0, "c-4", 1, 15_000, now),
        (2, "c-17", 1, 60_000, now - timedelta(hours=23)),
        (2, "c-17", 2, 30_000, now),
        (2, "c-\x1b[2J", 3, 7, now),
        (2, "c-5", 4, 50_000, now - timedelta(hours=25)),
    ):
        where = InputRef(topic="marketplace.disputes", partition=partition, offset=offset)
        usage[partition].take([Charge(DAY, key, amount, 0)], where=where, at=at)

    async def read(connection: Connection, agent: str) -> dict[int, PartitionUsage]:
        assert (connection.bootstrap_servers, agent) == ("nowhere:1", "dispute-mediator")
        return usage

    monkeypatch.setattr("jurat.cli.policy_budgets.read_usage", read)


def run(*words: str, keys: Path = Path("nowhere")) -> str:
    done = CliRunner().invoke(command, ["budgets", *words, *SERVERS, "--keys", str(keys)])
    assert done.exit_code == 0, done.output
    return done.output


def activate(
    monkeypatch: pytest.MonkeyPatch, published: PublishedBundle | Exception | None, refusals: int = 0
) -> None:
    async def active(connection: Connection, trust: Trust, name: str) -> tuple[PublishedBundle | None, int]:
        assert name == "shop"
        if isinstance(published, Exception):
            raise published
        return published, refusals

    monkeypatch.setattr("jurat.cli.policy_budgets.enforced", active)


def test_the_table_of_the_guide() -> None:
    guide = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(refunds_day: .*?)^```$", guide, re.MULTILINE | re.DOTALL)
    shown = run("dispute-mediator")
    assert "\x1b" not in shown
    assert r"c-\x1b[2J" in shown
    for line in (line.strip() for line in block.splitlines() if not line.startswith(("┏", "┡", "└"))):
        cells = [cell.strip() for cell in re.split("[│┃]", line) if cell.strip()]
        assert any(all(cell in row for cell in cells) for row in shown.splitlines()), line


def test_one_key() -> None:
    shown = run("dispute-mediator", "--key", "c-4")
    assert "c-4" in shown
    assert "c-17" not in shown
    assert "nothing was used" in run("dispute-mediator", "--key", "c-5")


def test_lines_of_json() -> None:
    told, *lines = run("dispute-mediator", "--json").splitlines()
    assert (
        told == "limits: shop as it comes with jurat; there is no nowhere/trust.json to tell what is active"
    )
    rows = [json.loads(line) for line in lines]
    assert [(row["key"], row["used"], row["left"]) for row in rows] == [
        ("c-17", 90_000, {"dispute.refund.buyer-day": 10_000}),
        ("c-4", 15_000, {"dispute.refund.buyer-day": 85_000}),
        ("c-\x1b[2J", 7, {"dispute.refund.buyer-day": 99_993}),
    ]
    assert rows[0] == {
        "budget": "refunds_day",
        "key": "c-17",
        "partition": 2,
        "shares": None,
        "windowS": 86_400,
        "used": 90_000,
        "left": {"dispute.refund.buyer-day": 10_000},
        "unknown": None,
    }


def test_limits_are_those_of_the_active_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / TRUST_FILE).write_text("[]\n")
    files, _faults = read_folder(shipped_bundle("shop"))
    files["disputes.cedar"] = files["disputes.cedar"].replace(b"> 100000 }", b"> 90000 }")
    digest = digest_of(files)
    activate(monkeypatch, PublishedBundle(digest=digest, files=files))
    shown = run("dispute-mediator", keys=tmp_path)
    assert f"limits: shop {digest}, which is active" in shown
    assert "at most 90000: dispute.refund.buyer-day" in shown
    assert "at most 100000: dispute.refund.buyer-day" in run(
        "dispute-mediator", "--bundle", str(shipped_bundle("shop")), keys=tmp_path
    )


@pytest.mark.parametrize("nothing", [None, TopicMissing("no topic")])
def test_where_nothing_is_active_limits_are_those_that_come_with_it(
    nothing: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / TRUST_FILE).write_text("[]\n")
    activate(monkeypatch, nothing)
    shown = run("dispute-mediator", keys=tmp_path)
    assert "limits:" not in shown
    assert "at most 100000: dispute.refund.buyer-day" in shown


def test_what_is_active_by_somebody_unknown_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / TRUST_FILE).write_text("[]\n")
    activate(monkeypatch, None, refusals=3)
    shown = " ".join(run("dispute-mediator", keys=tmp_path).split())
    assert f"limits: 3 records on the topic of policies do not verify under {tmp_path / TRUST_FILE}" in shown
    assert "`jurat policy active` says why" in shown
    assert "at most 100000: dispute.refund.buyer-day" in shown


def test_an_agent_whose_actions_nothing_counts(tmp_path: Path) -> None:
    assert "shop has no budget that counts what payment-retrier does" in run("payment-retrier")
    folder = write_bundle(tmp_path / "other", budgets=BUDGETS)
    shown = run("dispute-mediator", "--bundle", str(folder))
    assert "other has no budget that counts what dispute-mediator does" in shown
