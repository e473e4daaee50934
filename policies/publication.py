"""What is published about policies, as the bytes that get signed: a bundle whole, and which bundles are active.

Rules upheld here: a bundle has exactly one payload, which holds its files and nothing else, so that its digest names
these bytes too; an activation says for which cluster and topic it was made, so that one from elsewhere activates
nothing; parse then print is identity, and an unknown member is refused; sizes are bounded before anything is parsed.

Specified in `docs/spec/policy-topic.md`. Not here: signatures (`jurat.audit.dsse`), the topic, whether a bundle is any
good (`trial.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationError, model_validator

from jurat.policies.folder import MAX_FILES, digest_of, is_known_file
from jurat.schemas import canonical
from jurat.schemas.errors import BundleError, CanonicalError, PublicationInvalid
from jurat.schemas.model import Model
from jurat.schemas.moments import parse_moment, print_moment

BUNDLE_TYPE: Final = "application/vnd.jurat.policy-bundle.v1+json"
ACTIVATION_TYPE: Final = "application/vnd.jurat.policy-activation.v1+json"

MAX_BUNDLE_BYTES: Final = 1_500_000
"""Of a bundle's payload: in base64, with its envelope, it fits into one record of 2 MiB. The bundles that come with
jurat have 40 KB."""

MAX_ACTIVATION_BYTES: Final = 4_000
"""Some 500 are used."""


def _check_moment(text: str) -> str:
    if print_moment(parse_moment(text)) != text:
        raise ValueError("not a time in UTC with six digits of microseconds")
    return text


Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Activation(Model):
    """Which published bundles are active under one name.

    Attributes:
        bundle: the name by which agents know their bundle.
        cluster: the id of the Kafka cluster that this is for.
        topic: the topic that this is for, with its namespace.
        seq: 1, 2, 3, ... for this name; the highest holds.
        enforce: digest of the bundle that decides; None leaves it to the one that comes with the worker.
        shadow: digest of the bundle whose verdicts are recorded beside the real ones; None for none.
        at: when it was signed, by the publisher's own clock: a claim.
    """

    bundle: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    cluster: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    seq: Annotated[int, Field(ge=1, le=canonical.MAX_INTEGER)]
    enforce: Sha256Hex | None
    shadow: Sha256Hex | None
    at: Annotated[str, AfterValidator(_check_moment)]

    @model_validator(mode="after")
    def _activates_something(self) -> Activation:
        if self.enforce is None and self.shadow is None:
            raise ValueError("neither enforce nor shadow names a bundle")
        if self.enforce == self.shadow:
            raise ValueError("enforce and shadow name the same bundle")
        return self

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"active/{self.bundle}/{self.seq}"


@dataclass(frozen=True, slots=True)
class PublishedBundle:
    """The files of a bundle that was published.

    Attributes:
        files: contents by path.
        digest: worked out from them, never taken from elsewhere.
    """

    files: Mapping[str, bytes]
    digest: str

    @property
    def key(self) -> str:
        """The key of its record."""
        return bundle_key(self.digest)


def bundle_key(digest: str) -> str:
    """The key of the record that holds the bundle with this digest."""
    return f"bundle/{digest}"


def print_bundle(files: Mapping[str, bytes]) -> bytes:
    """Print a bundle's files as the payload that gets signed.

    Raises:
        BundleError: a file is not UTF-8, or it is all too much for one record.
    """
    try:
        payload = canonical.dumps({"files": {name: text.decode() for name, text in files.items()}})
    except (UnicodeDecodeError, CanonicalError) as error:
        raise BundleError(f"the bundle cannot be published: {error}") from error
    if len(payload) > MAX_BUNDLE_BYTES:
        raise BundleError(
            f"got a bundle of {len(payload)} bytes as it would be published, expected at most {MAX_BUNDLE_BYTES};"
            " take cases out, or split it by agents"
        )
    return payload


def parse_bundle(payload: bytes) -> PublishedBundle:
    """Read a bundle's payload.

    Raises:
        PublicationInvalid: not exactly what `print_bundle` prints for the files of a bundle.
    """
    _check_size(payload, MAX_BUNDLE_BYTES)
    try:
        value = canonical.loads_object(payload)
    except CanonicalError as error:
        raise PublicationInvalid(f"got a bundle that is not canonical JSON: {error}") from error
    if value.keys() != {"files"}:
        raise PublicationInvalid(f"got a bundle with the members {_shown(value)}, expected exactly `files`")
    listed = value["files"]
    if not isinstance(listed, dict) or len(listed) > MAX_FILES:
        raise PublicationInvalid(f"got no mapping of at most {MAX_FILES} files by their paths")
    files: dict[str, bytes] = {}
    for name, text in listed.items():
        if not is_known_file(name) or not isinstance(text, str):
            raise PublicationInvalid(
                f"got the file {name[:100]!r}, expected the text of one that a bundle may hold"
            )
        files[name] = text.encode()
    return PublishedBundle(files, digest_of(files))


def print_activation(activation: Activation) -> bytes:
    """Print an activation as the payload that gets signed."""
    return canonical.dumps(activation.model_dump(mode="json"))


def parse_activation(payload: bytes) -> Activation:
    """Read an activation's payload.

    Raises:
        PublicationInvalid: not exactly what `print_activation` prints.
    """
    _check_size(payload, MAX_ACTIVATION_BYTES)
    try:
        activation = Activation.model_validate_json(payload)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the whole"
        raise PublicationInvalid(f"got no activation: {where}: {fault['msg']}") from error
    if print_activation(activation) != payload:
        raise PublicationInvalid("got an activation that is not in its one form, expected canonical JSON")
    return activation


def _check_size(payload: bytes, most: int) -> None:
    if len(payload) > most:
        raise PublicationInvalid(f"got a payload of {len(payload)} bytes, expected at most {most}")


def _shown(value: canonical.JsonObject) -> str:
    return ", ".join(sorted(value))[:200] or "none"
