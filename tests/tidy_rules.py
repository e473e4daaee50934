"""The house rules that can be read off a single Python file, as functions from a source to its faults.

A rule is a name, the files that it holds for, a function that yields `line: what is wrong, how to mend it`,
and snippets that break it. `tests/test_tidy.py` runs every rule over the tree and over its own snippets.

Not here: what ruff checks already (style, naming, unused code), and rules on files that are not Python.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MODULE_LINES_AT_MOST = 400  # what one can hold in the head in one reading
FUNCTION_LINES_AT_MOST = 70  # what fits on one screen

CORE = ("schemas", "policies", "audit", "agents")
PRODUCT = (*CORE, "api", "cli", "console", "streams")
EVERYWHERE = (*PRODUCT, "tests", "benchmarks", "examples", ".ci")

# Third-party client -> the module, or the few of one name, that may import it (a regular expression on the path).
CLIENTS = {
    "aiokafka": r"streams/kafka\w*\.py",
    "cedarpy": r"policies/cedar\.py",
    "msgspec": r"schemas/one_form\.py",
    "confluent_kafka": r"(?!)",  # never in the product: it is the stranger who reads our topics in a test
    "cryptography": r"audit/\w+\.py",
    "fastavro": r"schemas/avro\.py",
    "faust": r"streams/context\w*\.py",
    "mode": r"streams/context\w*\.py",
    "httpx2": r"agents/openai\w*\.py",
    "openai": r"agents/openai\w*\.py",
    "securesystemslib": r"audit/signer_uri\.py",
    "rocksdict": r"streams/store\.py",
    "opentelemetry": r"streams/tracing_otel\.py",
    "prometheus_client": r"streams/exposition\.py",
    "z3": r"policies/smt\.py",
}

# What the core may not ask for, and what it does instead.
ASKED_FOR = {
    "time": "the core has no clock: take the time as a parameter",
    "random": "the core draws nothing at random: take the value, or a random.Random, as a parameter",
    "secrets": "the core draws nothing at random: take the value as a parameter",
    "datetime.now": "the core has no clock: take the time as a parameter",
    "datetime.today": "the core has no clock: take the time as a parameter",
    "datetime.utcnow": "the core has no clock: take the time as a parameter",
    "date.today": "the core has no clock: take the date as a parameter",
    "uuid.uuid1": "the core draws no ids: take the id as a parameter",
    "uuid.uuid4": "the core draws no ids: take the id as a parameter",
    "os.urandom": "the core draws nothing at random: take the value as a parameter",
    "os.environ": "the core reads no environment: take the setting as a parameter",
    "os.getenv": "the core reads no environment: take the setting as a parameter",
}

# A loader of the core that does touch the world says so, with its reason, in the words that ruff reads too.
EXCUSED = re.compile(r"# noqa: TID251 +\W* *\w+")
LATER = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b(?P<rest>.*)")
LATER_WITH_REASON = re.compile(r"\(#\d+\): \S+")


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        return cls(path, text, ast.parse(text, path))


@dataclass(frozen=True)
class Rule:
    """A rule, where it holds, and snippets `(path, text)` that break it."""

    name: str
    rooms: tuple[str, ...]
    faults: Callable[[Source], Iterator[str]]
    broken_by: tuple[tuple[str, str], ...]

    def holds_for(self, path: str) -> bool:
        return path.partition("/")[0] in self.rooms


def long_module(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > MODULE_LINES_AT_MOST:
        yield f"1: {lines} lines, at most {MODULE_LINES_AT_MOST}: split it by what it is about"


def long_function(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_AT_MOST:
                too_long = f"{lines} lines, at most {FUNCTION_LINES_AT_MOST}"
                yield f"{node.lineno}: {node.name} has {too_long}: split it"


def no_docstring(source: Source) -> Iterator[str]:
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield "1: no module docstring: state the rules that the module upholds and what is not in it"


def no_future_annotations(source: Source) -> Iterator[str]:
    code = [
        node
        for node in source.tree.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    if code and not (isinstance(code[0], ast.ImportFrom) and code[0].module == "__future__"):
        yield f"{code[0].lineno}: the first statement is `from __future__ import annotations`"


def relative_import(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{node.lineno}: relative import: write it from `jurat.` on"


def foreign_client(source: Source) -> Iterator[str]:
    for line, module in imported(source.tree):
        top = module.partition(".")[0]
        if top in CLIENTS and not re.fullmatch(CLIENTS[top], source.path):
            yield f"{line}: imports {top}, which belongs in one place ({CLIENTS[top]}): ask that module"


def bare_later(source: Source) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        found = LATER.search(token.string) if token.type == tokenize.COMMENT else None
        if found and not LATER_WITH_REASON.match(found["rest"]):
            word = found[1]
            yield f"{token.start[0]}: {word} without a way to find it: write `# {word}(#12): the reason`"


def bare_except(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"{node.lineno}: bare except: name what can be handled here"
            elif all(isinstance(step, ast.Pass) for step in node.body) and "Exception" in dotted_names(
                node.type
            ):
                yield f"{node.lineno}: every error swallowed: name what can be handled here"


def assert_statement(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assert):
            yield f"{node.lineno}: assert is gone under -O: raise an error of jurat.schemas.errors"


def asks_the_world(source: Source) -> Iterator[str]:
    asked = [(line, name.removeprefix("datetime.")) for line, name in imported(source.tree)]
    asked += [
        (node.lineno, ".".join(ast.unparse(node).split(".")[-2:]))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
    ]
    lines = source.text.splitlines()
    for line, name in asked:
        if name in ASKED_FOR and not EXCUSED.search(lines[line - 1]):
            yield f"{line}: {name}: {ASKED_FOR[name]}"


def code_below_a_room(source: Source) -> Iterator[str]:
    if source.path.count("/") > 1:
        yield "1: rooms are flat: a module lies in the room itself (folders below it hold data)"


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every import as (line, dotted name); `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def dotted_names(node: ast.expr) -> set[str]:
    """The last parts of the names in an expression: `(ValueError, x.Exception)` gives both."""
    return {
        ast.unparse(part).split(".")[-1]
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    }


LONG_FUNCTION = "def f() -> None:\n" + "    f()\n" * FUNCTION_LINES_AT_MOST

RULES = (
    Rule("modules-fit", EVERYWHERE, long_module, (("api/x.py", "x = 1\n" * (MODULE_LINES_AT_MOST + 1)),)),
    Rule(
        "functions-fit",
        EVERYWHERE,
        long_function,
        (("api/x.py", LONG_FUNCTION), ("api/x.py", f"async {LONG_FUNCTION}")),
    ),
    Rule(
        "modules-say-what-they-uphold",
        (*PRODUCT, "benchmarks", "examples"),
        no_docstring,
        (("api/x.py", "x = 1\n"),),
    ),
    Rule("annotations-are-lazy", PRODUCT, no_future_annotations, (("api/x.py", '"""X."""\n\nimport os\n'),)),
    Rule("imports-are-absolute", EVERYWHERE, relative_import, (("api/x.py", "from . import y\n"),)),
    Rule(
        "one-module-per-client",
        PRODUCT,
        foreign_client,
        (
            ("api/x.py", "import aiokafka\n"),
            ("schemas/x.py", "from fastavro.schema import parse_schema\n"),
            ("streams/kafka.py", "def f() -> None:\n    import faust\n"),
            ("streams/kafka.py", "import confluent_kafka\n"),
        ),
    ),
    Rule(
        "later-has-a-reason",
        EVERYWHERE,
        bare_later,
        (("api/x.py", "x = 1  # TODO: tidy\n"), ("api/x.py", "# FIXME(#1):\n")),
    ),
    Rule(
        "errors-are-named",
        EVERYWHERE,
        bare_except,
        (
            ("api/x.py", "try:\n    f()\nexcept:\n    g()\n"),
            ("api/x.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
        ),
    ),
    Rule("no-assert-in-the-product", PRODUCT, assert_statement, (("api/x.py", "assert x\n"),)),
    Rule(
        "the-core-asks-for-nothing",
        CORE,
        asks_the_world,
        (
            ("agents/x.py", "import time\n"),
            ("agents/x.py", "from time import monotonic\n"),
            ("agents/x.py", "import datetime\nnow = datetime.datetime.now(tz)\n"),
            ("agents/x.py", "from datetime import datetime\nnow = datetime.now(tz)\n"),
            ("policies/x.py", "import os\nhome = os.environ['HOME']\n"),
            ("policies/x.py", "from os import environ\n"),
            ("audit/x.py", "from uuid import uuid4\n"),
            ("audit/x.py", "import uuid\nid = str(uuid.uuid4())\n"),
            ("schemas/x.py", "import random\n"),
        ),
    ),
    Rule("rooms-are-flat", PRODUCT, code_below_a_room, (("streams/deep/x.py", ""),)),
)
