"""What commands about policy bundles share: finding one by its name, and saying what came out."""

from __future__ import annotations

from pathlib import Path

from jurat.schemas.shown import printable


def bundle_folder(name: str) -> Path:
    """The folder of a bundle: that of this path, else of this name in the project, else of those that come with jurat.

    Raises:
        ConfigurationError: there is neither.
    """
    from jurat.policies import known_bundle  # noqa: PLC0415 - the policy engine, which many commands do not need

    folder = Path(name)
    return folder if folder.is_dir() else known_bundle(name)


def say(text: str, style: str | None = None) -> None:
    """Print text; names of files and words of policies may come from anywhere: they must not steer the terminal."""
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second, which only who prints needs

    shown = "\n".join(printable(line) for line in text.split("\n"))
    Console(soft_wrap=True).print(shown, style=style, markup=False, emoji=False, highlight=False)
