"""What commands about policy bundles share: finding one by its name, and saying what came out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from jurat.audit.story import printable
from jurat.policies import shipped_bundle


def bundle_folder(name: str) -> Path:
    """The folder of a bundle: the folder of that path, else the bundle of that name which comes with jurat.

    Raises:
        ConfigurationError: there is neither.
    """
    folder = Path(name)
    return folder if folder.is_dir() else shipped_bundle(name)


def say(text: str, style: str | None = None) -> None:
    """Print text; names of files and words of policies may come from anywhere: they must not steer the terminal."""
    shown = "\n".join(printable(line) for line in text.split("\n"))
    Console(soft_wrap=True).print(shown, style=style, markup=False, emoji=False, highlight=False)
