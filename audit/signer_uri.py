"""Signers of services and devices that never hand out a key: what securesystemslib reaches by a URI.

Rules upheld here: the key id stands beside the URI, and every signature is checked under it before it is used, so that
another key behind the URI signs nothing; a call may block, so it runs in a thread. The library is loaded when it is
needed: it is an extra (`jurat[kms]`), and what it needs for a service is an extra of its own.

Ed25519 and P-256: `hv:` (HashiCorp Vault, Transit) knows the first, `hsm:` (PKCS#11), `awskms:`, `gcpkms:` and
`azurekms:` the second, `file2:` (a PEM file) both. A service returns ECDSA signatures in DER; here they have one form.

Source: https://python-securesystemslib.readthedocs.io (Signer)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jurat.audit import p256, public_key
from jurat.schemas import canonical
from jurat.schemas.errors import AuditError, CanonicalError, ConfigurationError, SignatureInvalid

if TYPE_CHECKING:
    from jurat.audit.keys import Signer


class UriSigner:
    """Signs with a key behind a URI."""

    __slots__ = ("_signer", "alg", "keyid")

    def __init__(self, keyid: str, signer: Any) -> None:
        self._signer = signer
        self.alg = public_key.algorithm_of(keyid)
        self.keyid = keyid

    async def sign(self, message: bytes) -> bytes:
        """Sign the exact bytes.

        Raises:
            SignatureInvalid: what was returned is no signature of this key, or nothing was.
            ConfigurationError: it asks for a secret that nobody gave.
        """
        try:
            signature = bytes.fromhex((await asyncio.to_thread(self._signer.sign, message)).signature)
        except ConfigurationError:
            raise  # what unlocks it is missing
        except Exception as error:  # services raise whatever they like
            raise SignatureInvalid(
                f"the signer of {self.keyid} did not sign: {type(error).__name__}: {str(error)[:300]}",
                keyid=self.keyid,
            ) from error
        if self.alg == public_key.ALG_P256:
            signature = p256.from_der(signature)
        public_key.verify(self.keyid, message, signature)
        return signature


def load(reference: bytes, *, where: str, secret: bytes | None = None) -> Signer:
    """Reach a signer.

    Args:
        reference: canonical JSON of `keyid` and `uri`, and one line feed.
        where: the file, for messages.
        secret: what unlocks the key: the PIN of a token.

    Raises:
        ConfigurationError: that is none, the library is not installed, or it cannot reach the signer.
    """
    try:
        fields = canonical.loads_object(reference.removesuffix(b"\n"))
        match fields:
            case {"keyid": str(keyid), "uri": str(uri), **others} if not others:
                algorithm, raw = public_key.decode(keyid)
            case _:
                raise ConfigurationError(
                    f"got the members {sorted(fields)[:10]} in {where}, expected keyid and uri"
                )
    except (CanonicalError, AuditError) as error:
        raise ConfigurationError(f"{where}: {error}") from error
    try:
        from securesystemslib import signer as library  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise ConfigurationError(
            f"{where} names a signer by URI, which needs the extra: pip install 'jurat[kms]'"
        ) from error
    kind, scheme, text = (
        ("ecdsa", "ecdsa-sha2-nistp256", p256.public_pem(raw).decode())
        if algorithm == public_key.ALG_P256
        else ("ed25519", "ed25519", raw.hex())
    )
    key = library.SSlibKey(keyid, kind, scheme, {"public": text})  # type: ignore[attr-defined]  # it has no __all__

    def unlock(what: str) -> str:
        if secret is None:
            raise ConfigurationError(
                f"{where}: the signer asks for its {what}; set JURAT_KEYS_PASSPHRASE to it"
            )
        return secret.decode()

    try:
        return UriSigner(keyid, library.Signer.from_priv_key_uri(uri, key, unlock))  # type: ignore[attr-defined]  # as above
    except Exception as error:  # as above
        raise ConfigurationError(
            f"{where}: the signer {uri.partition(':')[0]}: cannot be reached: {type(error).__name__}:"
            f" {str(error)[:300]}"
        ) from error
