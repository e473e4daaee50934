"""What a Cedar schema declares, as values: entity types, actions, and the attributes of both.

Rules upheld here: what is read is Cedar's own print of a schema that it has parsed, so that every schema has one form
and nothing is guessed about syntax; a print that is not of that form is an error, never half a schema.
Not here: parsing the author's schema (`cedar.py`), what policies may do with the names (`names.py`).

Source: https://docs.cedarpolicy.com/schema/human-readable-schema.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

_TOKEN: Final = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<name>@?[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*)|(?P<mark>::|.))',
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u\{(?P<code>[0-9A-Fa-f]{1,6})\}|(?P<one>.))", re.DOTALL)
_PLAIN: Final = MappingProxyType({"n": "\n", "r": "\r", "t": "\t", "0": "\0"})

MAX_NESTING: Final = 32
"""Types within types: Cedar's own names refer to each other, and a chain of them that is longer is a loop."""


class DeclaredError(ValueError):
    """A print of a schema that is not of the form that Cedar prints."""


@dataclass(frozen=True, slots=True)
class Named:
    """A primitive, an extension type, an entity type or a common type, by its name; `namespace` is where it stands."""

    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """The name as a schema says it."""
        return self.name.removeprefix("__cedar::")


@dataclass(frozen=True, slots=True)
class SetOf:
    """A set."""

    element: Type

    def __str__(self) -> str:
        """The set as a schema says it."""
        return f"Set<{self.element}>"


@dataclass(frozen=True, slots=True)
class RecordOf:
    """A record: attributes by name."""

    fields: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute's type, and whether it must be there."""

    type: Type
    required: bool


Type: TypeAlias = Named | SetOf | RecordOf


@dataclass(frozen=True, slots=True)
class EntityType:
    """An entity type: its attributes, the type of its tags, and whether its entities may be in others."""

    attributes: RecordOf
    tags: Type | None = None
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """An action: which types of principal and resource it has, by full name, and its context."""

    principals: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    context: Type = field(default_factory=lambda: RecordOf({}))


@dataclass(frozen=True, slots=True)
class Declared:
    """Everything that a schema declares, by full name: `Jurat::Order`, `Jurat::Action::"refund"`."""

    entities: Mapping[str, EntityType]
    actions: Mapping[str, Action]
    types: Mapping[str, Type]

    def record(self, type_: Type | None) -> RecordOf | None:
        """The attributes of a type: a record's, an entity type's, or those of the type that a name stands for."""
        for _ in range(MAX_NESTING):
            if isinstance(type_, RecordOf):
                return type_
            if not isinstance(type_, Named):
                return None
            entity = self._entity(type_)
            if entity is not None:
                return entity.attributes
            type_ = self.types.get(_within(type_.namespace, type_.name), self.types.get(type_.name))
        return None

    def tags(self, type_: Type | None) -> Type | None:
        """The type of an entity type's tags, None where it has none."""
        entity = self._entity(type_) if isinstance(type_, Named) else None
        return None if entity is None else entity.tags

    def _entity(self, type_: Named) -> EntityType | None:
        return self.entities.get(_within(type_.namespace, type_.name), self.entities.get(type_.name))


def parse(text: str) -> Declared:
    """Read Cedar's print of a schema.

    Raises:
        DeclaredError: it is not of the form that Cedar prints.
    """
    return _Parser(text).schema()


def _within(namespace: str, name: str) -> str:
    return f"{namespace}::{name}" if namespace else name


class _Parser:
    """A reader of the tokens of one print, from the first to the last."""

    def __init__(self, text: str) -> None:
        self._tokens = [
            (str(match.lastgroup), match[match.lastgroup or 0]) for match in _TOKEN.finditer(text)
        ]
        self._tokens = [(kind, word) for kind, word in self._tokens if not word.isspace()]
        self._next = 0
        self._namespace = ""
        self._entities: dict[str, EntityType] = {}
        self._actions: dict[str, tuple[str, dict[str, list[str]], Type]] = {}
        self._types: dict[str, Type] = {}

    def schema(self) -> Declared:
        while self._next < len(self._tokens):
            self._skip_annotations()
            if self._takes("namespace"):
                self._namespace = self._name()
                self._expect("{")
                while not self._takes("}"):
                    self._declaration()
                self._namespace = ""
            else:
                self._declaration()
        return Declared(
            entities=MappingProxyType(self._entities),
            actions=MappingProxyType({name: self._action(*parts) for name, parts in self._actions.items()}),
            types=MappingProxyType(self._types),
        )

    def _action(self, namespace: str, applies: Mapping[str, list[str]], context: Type) -> Action:
        def full(name: str) -> str:
            within = _within(namespace, name)
            return within if within in self._entities else name

        principals, resources = (
            tuple(full(name) for name in applies.get(part, [])) for part in ("principal", "resource")
        )
        return Action(principals, resources, context)

    def _declaration(self) -> None:
        self._skip_annotations()
        match self._name():
            case "type":
                name = self._name()
                self._expect("=")
                self._types[_within(self._namespace, name)] = self._type()
            case "entity":
                self._entity()
            case "action":
                self._read_action()
            case other:
                raise DeclaredError(f"got {other!r}, expected a declaration")
        self._expect(";")

    def _entity(self) -> None:
        name = _within(self._namespace, self._name())
        nested = self._takes("in") and bool(self._names("[", "]"))
        if self._takes("enum"):
            self._names("[", "]")
        attributes = RecordOf({})
        if self._takes("="):
            attributes = self._record()
        tags = self._type() if self._takes("tags") else None
        self._entities[name] = EntityType(attributes, tags, nested)

    def _read_action(self) -> None:
        name = _within(self._namespace, f"Action{self._quoted_id()}")
        if self._takes("in"):
            self._names("[", "]")
        applies: dict[str, list[str]] = {}
        context: Type = RecordOf({})
        if self._takes("appliesTo"):
            self._expect("{")
            while not self._takes("}"):
                part = self._name()
                self._expect(":")
                if part == "context":
                    context = self._type()
                else:
                    applies[part] = self._names("[", "]")
                self._takes(",")
        self._actions[name] = (self._namespace, applies, context)

    def _type(self) -> Type:
        if self._word() == "{":
            return self._record()
        name = self._name()
        if name == "Set" and self._takes("<"):
            element = self._type()
            self._expect(">")
            return SetOf(element)
        return Named(name, self._namespace)

    def _record(self) -> RecordOf:
        self._expect("{")
        fields: dict[str, Attribute] = {}
        while not self._takes("}"):
            self._skip_annotations()
            kind, word = self._token()
            name = _unquoted(word) if kind == "text" else word
            optional = self._takes("?")
            self._expect(":")
            fields[name] = Attribute(self._type(), required=not optional)
            self._takes(",")
        return RecordOf(MappingProxyType(fields))

    def _names(self, opening: str, closing: str) -> list[str]:
        """A list of names, each with whatever quoted id follows it."""
        self._expect(opening)
        found = []
        while not self._takes(closing):
            name = self._name()
            if self._takes("::"):
                name = f"{name}{self._quoted_id()}"
            found.append(name)
            self._takes(",")
        return found

    def _skip_annotations(self) -> None:
        while self._word().startswith("@"):
            self._token()
            if self._takes("("):
                self._token()
                self._expect(")")

    def _word(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _token(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise DeclaredError("got the end of the schema, expected more of it")
        self._next += 1
        return self._tokens[self._next - 1]

    def _takes(self, word: str) -> bool:
        taken = self._word() == word
        self._next += taken
        return taken

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            raise DeclaredError(f"got {self._word()!r}, expected {word!r}")

    def _name(self) -> str:
        kind, word = self._token()
        if kind == "text":  # the members of an enumerated entity type
            return _unquoted(word)
        if kind != "name":
            raise DeclaredError(f"got {word!r}, expected a name")
        return word

    def _quoted_id(self) -> str:
        kind, word = self._token()
        if kind != "text":
            raise DeclaredError(f"got {word!r}, expected a quoted name")
        return f'::"{_unquoted(word)}"'


def _unquoted(text: str) -> str:
    """The characters that a string literal of Cedar stands for."""
    return _ESCAPE.sub(
        lambda match: (
            chr(int(match["code"], 16)) if match["code"] else _PLAIN.get(match["one"], match["one"])
        ),
        text[1:-1],
    )
