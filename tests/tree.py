"""What the tests on the repository itself share: its root, its rooms, its files.

Files are those that git tracks or would track; without git (an unpacked archive), all but what builds leave.
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_NEVER = {".git", ".venv", "venv", "build", "dist", "__pycache__", ".hypothesis"}


def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def rooms() -> dict[str, str]:
    """Package name -> folder, as packaged: `{"jurat": "api", "jurat.agents": "agents", ...}`."""
    mapping: dict[str, str] = pyproject()["tool"]["setuptools"]["package-dir"]
    return mapping


def files() -> list[str]:
    """Every file of the project, as a sorted list of paths relative to the root, with `/`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split(
            "\0"
        )
    except (OSError, subprocess.CalledProcessError):
        listed = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if not _ignored(p.relative_to(ROOT))]
    return sorted({name for name in listed if name and (ROOT / name).is_file()})


def _ignored(path: Path) -> bool:
    return any(part in _NEVER or part.endswith((".egg-info", "_cache")) for part in path.parts)
