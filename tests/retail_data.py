"""Where the retail data is, read plainly: dicts, strings, integers and decimals. Tests skip where it is absent."""

from __future__ import annotations

import functools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "retail"
DB = FOLDER / "db.json"
GOLD = FOLDER / "gold_writes_train.jsonl"

needs_retail_data = pytest.mark.skipif(
    not DB.is_file(),
    reason=f"the retail data is not there: expected {DB.name} in shared/data/retail beside the repository",
)

Raw = dict[str, Any]


@functools.cache
def db() -> Raw:
    """The data set; do not change it."""
    loaded: Raw = json.loads(DB.read_text(), parse_float=Decimal)
    return loaded


def gold_tasks() -> dict[str, list[Raw]]:
    """The gold actions of every task, in order."""
    tasks: dict[str, list[Raw]] = {}
    for line in GOLD.read_text().splitlines():
        action = json.loads(line)
        tasks.setdefault(action["task"], []).append(action)
    for actions in tasks.values():
        actions.sort(key=lambda action: action["step"])
    return tasks
