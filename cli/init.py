"""`jurat init`: a small project of one's own, that runs and passes its own tests as written.

Rules upheld here: nothing that is there is overwritten; the template is a project called my-shop, of which the name is
replaced and nothing else, so that what is written is what the tutorial shows (docs/tutorial.md).
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import re
import sys
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from jurat.schemas.errors import ConfigurationError

NAME: Final = "my-shop"
PACKAGE: Final = "my_shop"
"""The template's own names."""

SUFFIX: Final = ".txt"
"""Ends the name of every file of the template: it is text here, and code only where it is written."""

MAX_NAME_CHARS: Final = 40
"""A topic's name begins with it."""

_PROJECT: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command("init")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write it there; default: a folder of that name, here.",
)
def command(name: str, folder: Path | None) -> None:
    """Write a project NAME with one agent: its event, actions, policies and tests.

    The folder must be empty, or not be there yet.
    """
    package = check_name(name)
    target = folder if folder is not None else Path(name)
    if target.exists() and any(target.iterdir()):
        raise ConfigurationError(f"got {target}, which is not empty, expected a folder that is: --dir")
    files = written(name, package)
    for path, text in files.items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    click.echo(f"wrote {len(files)} files to {target}; see its README.md. Now:")
    click.echo(f"  cd {target}\n  jurat policy check\n  python -m pytest")


def check_name(name: str) -> str:
    """The name of a project's package.

    Raises:
        ConfigurationError: it cannot be a project's.
    """
    package = name.replace("-", "_")
    if not _PROJECT.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise ConfigurationError(
            f"got the name {name!r}, expected small letters, digits and single dashes, such as {NAME}, at most"
            f" {MAX_NAME_CHARS} characters"
        )
    if keyword.iskeyword(package):
        raise ConfigurationError(
            f"got the name {name!r}, which is a word of Python, expected one that is not"
        )
    if package in {"jurat", "tests", *sys.stdlib_module_names} or _installed(package):
        raise ConfigurationError(
            f"got the name {name!r}, which is that of another module, expected one of its own"
        )
    return package


def _installed(package: str) -> bool:
    """Whether an installed module has this name: the project's own would hide it, from jurat itself too."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None


def written(name: str, package: str) -> dict[str, str]:
    """The project's files, by path: the template with its names replaced."""
    root = importlib.resources.files("jurat.cli") / "template"

    def renamed(text: str) -> str:
        return text.replace(NAME, name).replace(PACKAGE, package)

    return {
        renamed(path.removesuffix(SUFFIX)): renamed(file.read_text(encoding="utf-8"))
        for path, file in _files(root, "")
    }


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            yield from _files(one, f"{path}{one.name}/")
        elif one.name.endswith(SUFFIX):
            yield f"{path}{one.name}", one
