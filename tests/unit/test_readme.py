"""README and docs are held to what they say.

- A ```python block runs, in one namespace per file and in order. One that needs a broker or a model begins with
  ```python no-run and does not. A ```text block right behind one that runs is exactly what it prints.
- Every `jurat ...` command that is named, in a block or in the text, exists, and so does every option after it.
- Every `make ...` target that is named exists.
- Every relative link leads to a file.

Not here: what the commands print. The demo is run in the integration tests.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from tests.tree import ROOT, files

DOCUMENTS = [name for name in files() if name.endswith(".md")]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))

FENCE = re.compile(r"^ *```(?P<info>[^\n`]*)\n(?P<body>.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
SHELL = {"console", "sh", "bash", "shell"}
# Where a command line ends and another begins.
BREAKS = {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"}


class Block(NamedTuple):
    """A fenced block: its language, the words after it, the line of its first line, its text."""

    language: str
    marks: tuple[str, ...]
    line: int
    body: str


def blocks(text: str) -> Iterator[Block]:
    for fence in FENCE.finditer(text):
        language, *marks = fence["info"].split() or [""]
        yield Block(language, tuple(marks), text.count("\n", 0, fence.start("body")) + 1, fence["body"])


def command_lines(text: str) -> Iterator[tuple[int, str]]:
    """(line, command) of every shell line in a block and every code span of the prose."""
    for block in blocks(text):
        if block.language in SHELL:
            prompted = block.language == "console"
            body = block.body.replace("\\\n", "  ")
            for number, line in enumerate(body.splitlines(), start=block.line):
                if not prompted or line.lstrip().startswith("$ "):
                    yield number, line.lstrip().removeprefix("$ ")
    prose = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    for span in CODE_SPAN.finditer(prose):
        yield prose.count("\n", 0, span.start()) + 1, span[1]


def calls(line: str, program: str) -> Iterator[list[str]]:
    """The arguments of every call of `program` in a command line; `a|b` in a word stands for both."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in an example's text
        words = line.split()
    starts = [0, *(place + 1 for place, word in enumerate(words) if word in BREAKS)]
    for start in starts:
        call = list(itertools.takewhile(lambda word: word not in BREAKS, words[start:]))
        while call and re.fullmatch(r"[A-Z_]+=.*", call[0]):
            call = call[1:]
        if call and call[0].rpartition("/")[2] == program:
            yield from (list(one) for one in itertools.product(*(word.split("|") for word in call[1:])))


def unknown_words(root: click.Command, arguments: list[str]) -> Iterator[str]:
    """Walk a call down the tree of commands; yield what is neither a command nor an option on the way."""
    command, context = root, click.Context(root, info_name="jurat")
    options = {"--help", *_options(command)}
    for word in arguments:
        if word.startswith("-") and len(word) > 1:
            name = word.partition("=")[0].strip("[],.")
            if name not in options and not re.fullmatch(r"-\d+|--", name):
                yield name
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z0-9-]*", word):
            below = command.get_command(context, word)
            if below is None:
                yield word
                return
            command, context = below, click.Context(below, parent=context, info_name=word)
            options |= _options(command)


def _options(command: click.Command) -> set[str]:
    parameters = [p for p in command.params if isinstance(p, click.Option)]
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts)}


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run_and_print_what_stands_behind_them(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    found = list(blocks(read(document)))
    for block, after in itertools.zip_longest(found, found[1:]):
        if block.language == "python" and "no-run" not in block.marks:
            # Empty lines in front, so that a traceback shows the line of the document.
            code = compile("\n" * (block.line - 1) + block.body, str(ROOT / document), "exec")
            capsys.readouterr()
            exec(code, namespace)
            if after is not None and is_output(block, after):
                assert capsys.readouterr().out == after.body, f"{document}:{after.line}"


def is_output(block: Block, after: Block) -> bool:
    """Whether a block is what the one before it prints: a text with one empty line between."""
    return after.language == "text" and after.line == block.line + block.body.count("\n") + 3


def test_the_output_of_an_example_stands_right_behind_it() -> None:
    example, said, other = blocks("```python\nprint(1)\n```\n\n```text\n1\n```\n\nand\n\n```text\n2\n```\n")
    assert is_output(example, said)
    assert not is_output(example, other)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_commands_exist(document: str) -> None:
    from jurat.cli.main import entry

    faults = [
        f"{document}:{number}: `{line.strip()}`: jurat has no {word}"
        for number, line in command_lines(read(document))
        for call in calls(line, "jurat")
        for word in unknown_words(entry, call)
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_make_targets_exist(document: str) -> None:
    faults = [
        f"{document}:{number}: `{line.strip()}`: the Makefile has no {word}"
        for number, line in command_lines(read(document))
        for call in calls(line, "make")
        for word in call
        if "=" not in word and not word.startswith("-") and word not in TARGETS
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_lead_somewhere(document: str) -> None:
    text = FENCE.sub("", read(document))
    dead = [link for link in LINK.findall(text) if not (ROOT / document).parent.joinpath(link).exists()]
    assert not dead, f"{document} links to what is not there: {dead}"


SAMPLE = """\
Run `make demo`, then `jurat keys init --agent x` or `.venv/bin/jurat keys list|lost`.

```console
$ NAME=1 jurat keys init --force | jq .id
jurat not a command
```

```python no-run
```

```python
1 / 0
```
"""


def sample_tree() -> click.Group:
    @click.group()
    def main() -> None:
        pass

    @main.group()
    def keys() -> None:
        pass

    @keys.command()
    @click.option("--agent")
    def init(agent: str) -> None:
        pass

    keys.add_command(init, "list")
    return main


def test_the_readers_find_what_a_document_names() -> None:
    lines = list(command_lines(SAMPLE))
    assert [number for number, _ in lines] == [4, 1, 1, 1]
    assert [call for _, line in lines for call in calls(line, "make")] == [["demo"]]
    found = [call for _, line in lines for call in calls(line, "jurat")]
    expected = "keys init --force", "keys init --agent x", "keys list", "keys lost"
    assert found == [call.split() for call in expected]
    unknown = [list(unknown_words(sample_tree(), call)) for call in found]
    assert unknown == [["--force"], [], [], ["lost"]]
    assert [(block.language, block.marks, block.line) for block in blocks(SAMPLE)] == [
        ("console", (), 4),
        ("python", ("no-run",), 9),
        ("python", (), 12),
    ]


def test_there_are_documents_to_read() -> None:
    assert "README.md" in DOCUMENTS
