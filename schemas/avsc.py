"""The `.avsc` files: every event's Avro schema as text, for readers that are not jurat.

The files in `schemas/avro/` are derived; `python -m jurat.schemas.avsc FOLDER` writes them anew, and a test compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jurat.schemas import avro, catalogue

SUFFIX = ".avsc"


def rendered() -> dict[str, str]:
    """File name to file text, for every event type."""
    return {
        f"{event.event_type()}{SUFFIX}": json.dumps(avro.schema_of(event), indent=2) + "\n"
        for event in catalogue.EVENTS
    }


def write(folder: Path) -> None:
    """Write the files into a folder and remove those of events that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = rendered()
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m jurat.schemas.avsc FOLDER")
    write(Path(sys.argv[1]))
