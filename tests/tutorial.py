"""docs/tutorial.md, walked through: its commands are run in order, and print what it says that they print.

In what is shown, `...` stands for anything: on a line of its own for any lines, in a line for any characters. A block
that begins with ```console unordered may print its lines in any order. A block with `append=FILE` is put at the end of
that file of the project; every other block of Python, Cedar or TOML must stand in one of its files, word for word.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.tree import ROOT
from tests.unit.test_readme import Block, blocks

KAFKA = "\n## On Kafka\n"
LIMIT_S = 180


def part(*, on_kafka: bool) -> list[Block]:
    """The blocks of one half of the tutorial."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    before, found, after = text.partition(KAFKA)
    assert found, f"docs/tutorial.md has no {KAFKA.strip()!r}"
    return list(blocks(after if on_kafka else before))


@dataclass
class Walk:
    """A user's terminal: where they are, and what is set there."""

    folder: Path
    settings: dict[str, str]

    def through(self, told: list[Block]) -> None:
        """Do what these blocks say."""
        for block in told:
            appended = next((mark.removeprefix("append=") for mark in block.marks if "=" in mark), None)
            if appended is not None:
                with (self.folder / appended).open("a", encoding="utf-8") as file:
                    file.write(block.body if block.language == "yaml" else f"\n{block.body}")
            elif block.language == "console":
                for command, shown in commands(block.body):
                    self._run(command, shown, unordered="unordered" in block.marks)
            else:
                held = [file for file in self.folder.rglob("*") if file.is_file() and file.suffix != ".pyc"]
                assert any(block.body in file.read_text(encoding="utf-8") for file in held), (
                    f"no file of the project holds this block of docs/tutorial.md:\n{block.body}"
                )

    def _run(self, command: str, shown: str, *, unordered: bool) -> None:
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JURAT_")}
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=kept
            | self.settings
            | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
            text=True,
        )
        namespace = self.settings.get("JURAT_NAMESPACE")
        printed = done.stdout.replace(f"{namespace}.", "") if namespace else done.stdout
        assert done.returncode == 0, f"{command}: {done.returncode}\n{printed}"
        assert matches(printed, shown, unordered=unordered), f"$ {command}\n{printed}\nbut it says\n{shown}"


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, with the lines that are shown below it."""
    for one in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, shown = one.partition("\n")
        yield command, shown


def matches(printed: str, shown: str, *, unordered: bool = False) -> bool:
    """Whether a command printed what is shown."""
    got, expected = ([line.rstrip() for line in text.strip("\n").split("\n")] for text in (printed, shown))
    if unordered:
        got, expected = sorted(got), sorted(expected)
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in expected
    )
    return re.fullmatch(pattern, "\n".join([*got, ""])) is not None
