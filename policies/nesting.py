"""How deep a Cedar text may nest, told before Cedar reads it.

Cedar's parser recurses: a text of some thousand nested terms overflows the stack, which ends the whole process without
a word. Rule upheld here: such a text is refused first, by counting what can nest. Cedar's own tree takes 100 levels
afterwards, so nothing useful is lost; the figures below were seen on a stack of 8 MB; the bounds hold on 4 MB too.

Not here: whether the text is any good (`cedar.py`).
"""

from __future__ import annotations

import re

MAX_BRACKETS = 100
"""Brackets within brackets. A process ended between 500 and 1,000."""

MAX_TERMS = 500
"""Operators, dots, opening brackets and conditions between two semicolons. A process ended between 1,000 and 2,000."""

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|//[^\n]*|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>;)'
    r"|(?P<term>&&|\|\||[=!<>]=|[-+*<>.!]|\b(?:if|in|has|is|like)\b)",
    re.DOTALL,
)


def too_deep(text: str) -> str | None:
    """Say what nests too deeply in a text of policies or a schema, None where nothing does."""
    depth = terms = 0
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "open":
                depth += 1
                terms += 1
            case "close":
                depth -= 1
            case "term":
                terms += 1
            case "end":
                terms = 0
        if depth > MAX_BRACKETS or terms > MAX_TERMS:
            line = text.count("\n", 0, token.start()) + 1
            what = (
                f"{MAX_BRACKETS} brackets" if depth > MAX_BRACKETS else f"{MAX_TERMS} operators and brackets"
            )
            return f"got more than {what} in one statement (line {line} of it), expected fewer"
    return None
