"""Where in a policy's text something stands: Cedar's trees and messages name no lines.

Rules upheld here: strings and comments are respected, so that a name within them is never taken for code; what cannot
be found stands on the line where its statement begins. Not here: what is wrong (`lint.py`, `names.py`).
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Final

from jurat.policies.cedar import CedarError, PolicyTree, parse_policies

MAX_SEARCHED: Final = 200_000
"""Characters of a statement that is parsed again and again to find the line at fault: people write far less."""

_ENDED: Final = "unexpected end of input"
_SYNTAX: Final = re.compile(r"(?:error parsing schema: )?(?:unexpected |invalid token)")
_TEXT: Final = r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|//[^\n]*'
_SPLIT: Final = re.compile(rf"{_TEXT}|;", re.DOTALL)
_WORDS: Final = re.compile(rf"{_TEXT}|[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*", re.DOTALL)
_QUOTED: Final = re.compile(r"`([^`]+)`|: (\w+)\Z")


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Split policy text at its semicolons, strings and comments respected.

    Yields:
        The line on which a statement begins, counted from 1, and its text, the semicolon included; what
        follows the last semicolon is yielded when there is more to it than space and comments.
    """
    start, line = 0, 1
    # A string that does not end reaches to the end of the text: looking for its end once more at every
    # later quote would take quadratic time.
    for token in _SPLIT.finditer(text):
        if token.group() != ";":
            continue
        statement = text[start : token.end()]
        yield line + _leading_lines(statement), statement
        line += statement.count("\n")
        start = token.end()
    tail = text[start:]
    if re.sub(r"//[^\n]*", "", tail).strip():
        yield line + _leading_lines(tail), tail


def line_of_error(
    statement: str, line: int, message: str, *, parse: Callable[[str], object] = parse_policies
) -> int:
    """The line that a message of Cedar's parser is about.

    Args:
        statement: the statement that does not parse.
        line: the line on which it begins.
        message: what the parser said.
        parse: the parser, asked again about the beginnings of the text.
    """
    if _SYNTAX.match(message):
        return _line_of_syntax(statement, line, parse)
    for match in _QUOTED.finditer(message):
        name = match[1] or match[2]
        # An entity is written as type and id, in two words: `Action::"refund"`.
        found = line_of_name(statement, line, name.partition('"')[2].removesuffix('"') or name)
        if found is not None:
            return found
    return line


def line_of_name(statement: str, line: int, name: str) -> int | None:
    """The line of a statement on which a name first stands: as an attribute if it can be, else as any word or text."""
    places = [
        token.start()
        for token in _WORDS.finditer(statement)
        if token.group() == name or (token.group()[:1] == '"' and token.group()[1:-1] == name)
    ]
    if not places:
        return None
    attributes = [
        place for place in places if re.search(r"(?:\.|\bhas|\[)\s*\Z", statement[max(0, place - 40) : place])
    ]
    return _line(statement, line, (attributes or places)[0])


def _line_of_syntax(statement: str, line: int, parse: Callable[[str], object]) -> int:
    """The first line up to which the text is no longer the beginning of a policy, found by halving."""
    if len(statement) > MAX_SEARCHED:
        return line
    first = _leading_lines(statement)
    lines = statement.split("\n")

    def broken(count: int) -> bool:
        try:
            parse("\n".join(lines[:count]))
        except CedarError as error:
            return _ENDED not in str(error)
        return False

    number = bisect.bisect_left(range(len(lines) + 1), 1, lo=first + 1, key=broken)
    return line if number > len(lines) else line + number - 1 - first


def _line(statement: str, line: int, place: int) -> int:
    return line + statement.count("\n", 0, place) - _leading_lines(statement)


def _leading_lines(statement: str) -> int:
    blank = re.match(r"(?:\s|//[^\n]*)*", statement)
    return statement[: blank.end()].count("\n") if blank else 0


def same_policies(text: str, trees: list[PolicyTree]) -> bool:
    """Tell whether Cedar reads a whole text as exactly these policies, which were parsed one by one."""
    try:
        whole = parse_policies(text)
    except CedarError:
        return False
    return [dataclasses.replace(tree, id="") for tree in whole] == [
        dataclasses.replace(tree, id="") for tree in trees
    ]
