"""Ed25519 signatures over what a drill stores. A private key is text behind a reference, a public one a value.

``ed25519-private:`` and the 32 bytes of the seed in Base64; ``ed25519:`` and the 32 bytes of the public key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from onlyvips.errors import Refused

PUBLIC, PRIVATE = "ed25519:", "ed25519-private:"
_SIZE = 32


class Signer:
    """One private key. It never shows it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> str:
        """Its public half, as environments write it."""
        return PUBLIC + base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(data)

    def private_text(self) -> str:
        """The private key, for the file that keeps it."""
        return PRIVATE + base64.b64encode(self._key.private_bytes_raw()).decode()


def make_key() -> Signer:
    """A new pair."""
    return Signer(Ed25519PrivateKey.generate())


def signer(text: str) -> Signer:
    """The key that ``text`` writes. Raises Refused, without showing it."""
    try:
        return Signer(Ed25519PrivateKey.from_private_bytes(_bytes(text.strip(), PRIVATE)))
    except ValueError:
        # Without its cause, which may quote the key.
        raise Refused(
            "What recovery.drill.signing_key points to is no signing key (ed25519-private:…, not shown): make a pair "
            "by onlyvips drill key. Nothing was changed."
        ) from None


def signed_by(data: bytes, signature: bytes, keys: Iterable[str]) -> bool:
    """Whether one of these public keys made the signature over exactly these bytes."""
    for text in keys:
        try:
            Ed25519PublicKey.from_public_bytes(_bytes(text, PUBLIC)).verify(signature, data)
        except InvalidSignature:
            continue
        except ValueError as error:
            raise Refused(f"{text} is no public key of drills: correct recovery.drill.public_keys.") from error
        return True
    return False


def _bytes(text: str, begins: str) -> bytes:
    if not text.startswith(begins):
        raise ValueError(f"it does not begin with {begins}")
    try:
        found = base64.b64decode(text.removeprefix(begins), validate=True)
    except binascii.Error as error:
        raise ValueError("it is no Base64") from error
    if len(found) != _SIZE:
        raise ValueError(f"it has {len(found)} bytes")
    return found
