"""Bundles of ours with something done to them, drawn with a seed: mutations, and three faults put in on purpose."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from jurat.policies import shipped_bundle
from jurat.policies.folder import MAX_FILE_BYTES, SCHEMA_FILE
from tests.fixtures.policies.refund_models import REFUNDS

Draw = random.Random
WORDS = (
    *(
        '@id("x")',
        '@title("T")',
        '@escalate("risk")',
        "permit",
        "forbid",
        "when",
        "unless",
        "has",
        "in",
        "is",
    ),
    *(
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ";",
        ",",
        "&&",
        "||",
        "!",
        "==",
        "<",
        ".",
        "::",
        "//",
        '"',
        "\\",
        "?resource",
    ),
    *(
        "context",
        "resource",
        "principal",
        "action",
        "approvals",
        "if true then false else",
        "9223372036854775807",
    ),
    *(
        "- ",
        ": ",
        "&x ",
        "*x",
        "!!int ",
        "|",
        ">",
        "#",
        "\t",
        "  ",
        "~",
        "null",
        "1e9",
        "\n",
        "\0",
        "é",
        "\u202e",
    ),
    *(
        "namespace",
        "entity",
        "type",
        "tags Long",
        "enum [",
        "appliesTo",
        "Set<",
        "?: ",
        "__cedar::Long",
        "ipaddr",
    ),
)


def start(draw: Draw, place: Path) -> Path:
    """A bundle of ours; of the shipped ones with a single file of cases, as reading YAML takes most of the time."""
    source = draw.choices([REFUNDS, shipped_bundle("after_sales"), shipped_bundle("shop")], [6, 3, 1])[0]
    folder = Path(shutil.copytree(source, place / source.name))
    for path in sorted((folder / "tests").iterdir())[1:]:
        path.unlink()
    return folder


def files(folder: Path, pattern: str = "**/*") -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def rewrite(draw: Draw, folder: Path, pattern: str, change: Callable[[str], str]) -> None:
    path = draw.choice(files(folder, pattern))
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


# What is done to a bundle.


def bytes_changed(draw: Draw, folder: Path) -> None:
    path = draw.choice(files(folder))
    data = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 8)):
        place = draw.randrange(len(data))
        data[place : place + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
    path.write_bytes(data)


def cut_short(draw: Draw, folder: Path) -> None:
    path = draw.choice(files(folder))
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def not_utf8(draw: Draw, folder: Path) -> None:
    path = draw.choice(files(folder))
    data = path.read_bytes()
    place = draw.randrange(len(data))
    path.write_bytes(
        data[:place] + draw.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8"]) + data[place:]
    )


def tokens_changed(draw: Draw, folder: Path, pattern: str = "*.cedar") -> None:
    def change(text: str) -> str:
        tokens = re.findall(r'"[^"\n]*"|\w+|\s+|.', text, re.DOTALL)
        for _ in range(draw.randint(1, 5)):
            place, other = draw.randrange(len(tokens)), draw.randrange(len(tokens))
            match draw.randrange(4):
                case 0:
                    tokens[place] = ""
                case 1:
                    tokens[place], tokens[other] = tokens[other], tokens[place]
                case 2:
                    tokens[place] += tokens[other]
                case _:
                    tokens[place] = draw.choice(WORDS)
        return "".join(tokens)

    rewrite(draw, folder, pattern, change)


def yaml_tokens_changed(draw: Draw, folder: Path) -> None:
    tokens_changed(draw, folder, "**/*.yaml")


def schema_tokens_changed(draw: Draw, folder: Path) -> None:
    tokens_changed(draw, folder, SCHEMA_FILE)


def yaml_lines_moved(draw: Draw, folder: Path) -> None:
    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        place = draw.randrange(len(lines))
        match draw.randrange(4):
            case 0:
                lines[place] = " " * draw.randint(1, 4) + lines[place]
            case 1:
                lines[place] = lines[place].lstrip()
            case 2:
                lines.append(lines[place])
            case _:
                lines.insert(draw.randrange(len(lines)), f"{draw.choice(WORDS)}\n")
        return "".join(lines)

    rewrite(draw, folder, "**/*.yaml", change)


def schema_attribute_lost(draw: Draw, folder: Path) -> None:
    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        attributes = [number for number, line in enumerate(lines) if re.match(r"\s+\w+\??: ", line)]
        del lines[draw.choice(attributes)]
        return "".join(lines)

    rewrite(draw, folder, SCHEMA_FILE, change)


def schema_type_changed(draw: Draw, folder: Path) -> None:
    types = ["Long", "String", "Bool", "datetime", "Set<Long>", "Agent", "Nothing", "{ a: Long }", "decimal"]

    def change(text: str) -> str:
        places = [match.span(1) for match in re.finditer(r": ([\w<>]+),", text)]
        begin, end = draw.choice(places)
        return text[:begin] + draw.choice(types) + text[end:]

    rewrite(draw, folder, SCHEMA_FILE, change)


def renamed(draw: Draw, folder: Path) -> None:
    path = draw.choice(files(folder))
    names = [
        "x",
        "x.cedar",
        ".x.cedar",
        "a b.cedar",
        "x.cedar~",
        "tests",
        "\n.cedar",
        "é.cedar",
        "roles.yml",
        "-.yaml",
    ]
    path.rename(
        path.with_name(draw.choice([name for name in names if name != "tests" or path.parent != folder]))
    )


def file_lost(draw: Draw, folder: Path) -> None:
    draw.choice(files(folder)).unlink()


def file_empty(draw: Draw, folder: Path) -> None:
    draw.choice(files(folder)).write_bytes(draw.choice([b"", b"\n", b"\xef\xbb\xbf", b"// nothing\n", b"\0"]))


def links(draw: Draw, folder: Path) -> None:
    path = draw.choice(files(folder))
    target = draw.choice([path.parent / "absent", folder, Path("/etc/passwd"), path])
    if draw.random() < 0.5:
        path.unlink()
        path.symlink_to(target)
    else:
        (folder / draw.choice(["more.cedar", "tests/more.yaml", "more"])).symlink_to(target)


def odd_files(draw: Draw, folder: Path) -> None:
    match draw.randrange(4):
        case 0:
            os.mkfifo(folder / draw.choice(["pipe", "pipe.cedar"]))
        case 1:
            (folder / "more.cedar").mkdir()
        case 2:
            (folder / "tests" / "deeper").mkdir()
            (folder / "tests" / "deeper" / "x.yaml").write_text("cases: []\n")
        case _:
            path = draw.choice(files(folder))
            path.unlink()
            path.mkdir()


def huge(draw: Draw, folder: Path) -> None:
    with draw.choice(files(folder)).open("ab") as file:
        match draw.randrange(3):
            case 0:
                file.truncate(draw.choice([MAX_FILE_BYTES + 1, 2**34]))
            case 1:
                file.write(b"// " + b"x" * 500_000 + b"\n")
            case _:
                file.write(
                    draw.choice([b"[", b"{a: ", b"(", b'"', b"- ", b"!", b"@a "]) * draw.choice([300, 30_000])
                )


def deep(draw: Draw, folder: Path) -> None:
    opening, closing = draw.choice(
        [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{a: ", "}"), ("if true then ", "")]
    )
    count = draw.choice([90, 110, 600, 20_000])
    condition = opening * count + draw.choice(["true", "1", "resource"]) + closing * count
    with draw.choice(files(folder, "*.cedar")).open("a", encoding="utf-8") as file:
        file.write(f'@id("deep") @title("T") forbid (principal, action, resource) when {{ {condition} }};\n')


MUTATIONS: tuple[Callable[[Draw, Path], None], ...] = (
    *(bytes_changed, cut_short, not_utf8, tokens_changed, yaml_tokens_changed, schema_tokens_changed),
    *(yaml_lines_moved, schema_attribute_lost, schema_type_changed, renamed, file_lost, file_empty, links),
    *(odd_files, huge, deep),
)
# What never passes, put in on purpose.


def undefined_attribute(draw: Draw, folder: Path) -> str:
    """A name misspelt where it is used; or a policy on a name that was never there, even where nothing leads."""
    if draw.random() < 0.5:
        path = draw.choice(
            [path for path in files(folder, "*.cedar") if USE.search(path.read_text(encoding="utf-8"))]
        )
        text = path.read_text(encoding="utf-8")
        match = draw.choice(list(USE.finditer(text)))
        wrong = draw.choice([match[2] + "x", match[2][:-1] + "_q", match[2].upper(), match[2][1:] + "zz"])
        path.write_text(text[: match.start(2)] + wrong + text[match.end(2) :], encoding="utf-8")
        return f"got the attribute `{wrong}` in "
    base = draw.choice(["context", "resource", "principal", "action"])
    condition = draw.choice(
        [
            *(f"{base}.absent == 1", f"{base} has absent", f"{base} has absent && {base}.absent > 1"),
            *(
                f"false && {base}.absent",
                f"true || {base}.absent.deeper",
                f"if false then {base}.absent else true",
            ),
            *(
                f'{base}["absent"] == {base}["absent"]',
                f"[{base}.absent].contains(1)",
                f"{{a: {base}.absent}}.a == 1",
            ),
            *(f"!({base} has absent.deeper)", f'{base}.absent like "*"', f"{base}.absent in resource"),
        ]
    )
    clause = draw.choice(["when", "unless"])
    add(
        draw,
        folder,
        f'@id("new") @title("T") forbid (principal, action, resource) {clause} {{ {condition} }};',
    )
    return "got the attribute `absent` in "


def duplicate_id(draw: Draw, folder: Path) -> str:
    """The id of some policy on another one, in the same file or in another."""
    given = [
        id_ for path in files(folder, "*.cedar") for id_ in re.findall(r'@id\("([^"]+)"\)', path.read_text())
    ]
    id_ = draw.choice(given)
    written = "".join(rf"\u{{{ord(letter):x}}}" for letter in id_) if draw.random() < 0.3 else id_
    effect = draw.choice(["permit", "forbid"])
    add(draw, folder, f'@title("T")\n@id("{written}")\n{effect} (principal, action, resource);')
    return " again, expected each once"


def escalate_outside_a_forbid(draw: Draw, folder: Path) -> str:
    """The annotation on a permit that is there, or on a new one, with everything that it needs on a forbid."""
    clause = draw.choice(["", ' unless { context.approvals.contains("risk") }'])
    path = draw.choice(
        [path for path in files(folder, "*.cedar") if re.search(r"^permit", path.read_text(), re.MULTILINE)]
    )
    if draw.random() < 0.5:
        text = path.read_text(encoding="utf-8")
        place = draw.choice([match.start() for match in re.finditer(r"^permit", text, re.MULTILINE)])
        path.write_text(f'{text[:place]}@escalate("risk")\n{text[place:]}', encoding="utf-8")
    else:
        notes = '@escalate("risk") @id("new") @title("T")'
        add(draw, folder, f"{notes} permit (principal, action, resource){clause};")
    return "got @escalate on a permit, expected it on a forbid"


INJECTIONS: tuple[Callable[[Draw, Path], str], ...] = (
    undefined_attribute,
    duplicate_id,
    escalate_outside_a_forbid,
)
USE = re.compile(r"\b(context|resource)\.(?!approvals)([a-z]\w{2,})\b")


def add(draw: Draw, folder: Path, policy: str) -> None:
    path = draw.choice([*files(folder, "*.cedar"), folder / "zz.cedar", folder / "AA.cedar"])
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{policy}\n{text}" if draw.random() < 0.5 else f"{text}\n{policy}\n", encoding="utf-8")
