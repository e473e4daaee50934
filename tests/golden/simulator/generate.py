"""The golden digests of the simulator: SHA-256 of its JSON lines for seed 7, 200 orders, from 2026 on.

`python -m tests.golden.simulator.generate` writes them anew; the change is then to be explained, as every
figure that was measured on the old marketplace is void.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from jurat.streams.simulator import simulate
from jurat.streams.simulator_publish import json_line

GOLDEN = Path(__file__).parent / "seed-7-orders-200.sha256"
SEED = 7
ORDERS = 200
START = datetime(2026, 1, 1, tzinfo=UTC)


def digests() -> str:
    """One line for the events and one for the outcomes, as `sha256sum` prints them."""
    events, outcomes = hashlib.sha256(), hashlib.sha256()
    for simulated in simulate(seed=SEED, orders=ORDERS, start=START):
        (outcomes if simulated.is_outcome else events).update(json_line(simulated))
    return f"{events.hexdigest()}  events.jsonl\n{outcomes.hexdigest()}  outcomes.jsonl\n"


if __name__ == "__main__":
    GOLDEN.write_text(digests(), encoding="utf-8")
