"""A folder of plain Cedar, as Cedar's own tools and corpora have it: no roles, no annotations of ours, no escalation.

Rules upheld here:
1. the decision is Cedar's own, word for word: a policy that errs is skipped, and its id is told;
2. policies keep the ids that Cedar gives them, `policy0` and on, over the files in the order of their names;
3. a folder that cannot be read whole is refused whole: a policy that is left out changes answers.

What jurat would make of such an answer is told beside it (`evaluating.py`): there, an error denies.
Not here: jurat's own bundles (`bundle.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jurat.policies import cedar, places
from jurat.policies.faults import at
from jurat.policies.folder import MAX_FILES, ROLES_FILE
from jurat.schemas.errors import BundleError

POLICIES: Final = "*.cedar"
JSON_POLICIES: Final = ("policies.json", "*.cedar.json")
SCHEMAS: Final = ("*.cedarschema", "schema.json", "*.cedarschema.json")
ENTITIES: Final = ("entities.json", "*.entities.json")


MAX_FILE_BYTES: Final = 64_000_000
"""Of a file; entities are data, of which there is more than people write."""


def is_plain(folder: Path) -> bool:
    """Tell whether a folder is plain Cedar: jurat's bundles name their agents, and cannot be without."""
    return not (folder / ROLES_FILE).exists()


def load_plain(folder: Path) -> cedar.PlainCedar:
    """Load a folder of plain Cedar: policies, and if they are there a schema and entities.

    Raises:
        BundleError: a file cannot be read, or Cedar refuses it.
    """
    folder = folder.resolve()  # `.` has no name
    faults: list[str] = []
    files = sorted(folder.glob(POLICIES))[: MAX_FILES + 1]
    if len(files) > MAX_FILES:
        raise BundleError(f"got more than {MAX_FILES} files of policies in {folder}", bundle=folder.name)
    texts = {path.name: text for path in files if (text := _text(path, faults)) is not None}
    if not files:
        texts = dict([one] if (one := _one(folder, JSON_POLICIES, faults)) else [])
    if not texts and not faults:
        raise BundleError(f"got no policy in {folder}, expected *.cedar files", bundle=folder.name)
    schema = _one(folder, SCHEMAS, faults)
    entities = _one(folder, ENTITIES, faults)
    for name, text in texts.items():
        try:
            _parse(text)
        except cedar.CedarError as error:
            line = places.line_of_error(text, 1, str(error), parse=_parse)
            faults.append(f"{at(name, line)}{error}")
    if not faults:
        try:
            blamed, policies = (schema or ("policies",))[0], "\n".join(texts.values())
            without = cedar.PlainCedar(policies, schema=schema and schema[1], entities="[]")
            if entities is None:
                return without
            blamed = entities[0]
            return cedar.PlainCedar(policies, schema=schema and schema[1], entities=entities[1])
        except cedar.CedarError as error:
            faults.append(f"{blamed}: {error}")
    raise BundleError(
        f"the Cedar folder {folder.name} does not load, {len(faults)} fault(s):",
        faults=tuple(faults),
        bundle=folder.name,
    )


def _parse(text: str) -> cedar.PlainCedar:
    return cedar.PlainCedar(text, schema=None, entities="[]")


def _one(folder: Path, patterns: tuple[str, ...], faults: list[str]) -> tuple[str, str] | None:
    """The name and text of the only file of these patterns."""
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        faults.append(f"got {names}, expected one of {', '.join(patterns)} at most")
    if len(found) != 1:
        return None
    text = _text(found[0], faults)
    return None if text is None else (found[0].name, text)


def _text(path: Path, faults: list[str]) -> str | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            faults.append(f"{path.name}: got {path.stat().st_size} bytes, expected at most {MAX_FILE_BYTES}")
            return None
        return path.read_bytes().decode()
    except OSError as error:
        faults.append(f"{path.name}: cannot be read ({error.strerror}), expected a file that can")
    except UnicodeDecodeError as error:
        faults.append(f"{path.name}: got bytes that are not UTF-8 at {error.start}, expected UTF-8 text")
    return None
