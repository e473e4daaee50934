"""Files that commands write: their modes."""

from __future__ import annotations

import stat
from pathlib import Path

from jurat.cli.files import PRIVATE, writing


def test_what_was_sealed_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    for place, mode in ((tmp_path / "private", PRIVATE), (tmp_path / "public", 0o644)):
        with writing(place, mode=mode) as file:
            file.write(b"x")
        assert stat.S_IMODE(place.stat().st_mode) == mode
