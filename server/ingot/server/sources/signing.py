"""The key with which a server signs its bundles: Ed25519, one private file in the data folder.

    bundle.key    32 random bytes, readable by the owner of the folder alone; made when first needed

A public key is written `ed25519:<64 hex digits>`.
"""

import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ingot.content import durable

KEY_FILE = "bundle.key"
_PREFIX = "ed25519:"
_NAME = re.compile(r"ed25519:[0-9a-f]{64}")
_SEED_BYTES = 32


class SigningKey:
    """The key of one server."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def of_folder(cls, folder: Path) -> "SigningKey":
        """Return the key of a data folder, which is made when it has none; ValueError for a damaged one."""
        path = folder / KEY_FILE
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            _make(path)
        return cls(path.read_bytes())

    @property
    def name(self) -> str:
        """Return the public key as people see it."""
        return _PREFIX + self._key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, the same each time."""
        return self._key.sign(message)


def is_key(name: str) -> bool:
    """Return whether a text has the form of a public key."""
    return _NAME.fullmatch(name) is not None


def has_signed(signer: str, signature: bytes, message: bytes) -> bool:
    """Return whether the owner of a public key has signed this message."""
    if not is_key(signer):
        return False
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.removeprefix(_PREFIX)))
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _make(path: Path) -> None:
    """Make a key, unless another process is quicker: the first one counts."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_SEED_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
        durable.sync_folder(path.parent)  # nothing may be signed by a key that a power cut takes away
