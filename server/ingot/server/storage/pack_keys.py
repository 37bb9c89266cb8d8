"""Keys for packs that are encrypted at rest: the keyring, the cipher of a pack, which keys a shelf needs.

    keyring file     one key a line, 64 hex digits; the first is for new packs, the others open old ones
    key id           16 bytes made from the key, so a wrong key is noticed and tells nothing of the right one
    key of a pack    HKDF-SHA256 of the key with 32 random bytes that stand at the front of the pack
    pack.keys        in the data folder: the ids of all keys that packs were ever written with

Nonces: a record's is the offset of its data in its pack, and no pack's key is ever another's, because each
has its own random salt. A pack that a crash or an error interrupts is thrown away with its salt, and no part
of one is written twice with different contents. So no (key, nonce) is used twice, with no counter to keep.

What is bound into each record besides: its header, that is digest, length and codec; with the nonce also its
place. Bytes that were moved, swapped or changed do not open.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ingot.content.digests import Data
from ingot.server.core.errors import Reason, Unavailable
from ingot.server.core.packs import PackId
from ingot.server.storage import pack_format, write_out

KEY_SIZE = 32
LEDGER = "pack.keys"


class KeyFileError(Exception):
    """The keyring cannot be used, or does not have the keys of the packs; the message says what to do."""


class PackCipher:
    """Seals and opens the records of one pack (AES-256-GCM)."""

    def __init__(self, key: bytes, prologue: bytes) -> None:
        self._cipher = AESGCM(key)
        self.prologue = prologue

    def seal(self, offset: int, header: bytes, pieces: Sequence[Data]) -> bytes:
        """Return ciphertext and tag of the pieces joined, for a record whose data begin at `offset`."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._cipher.encrypt(_nonce(offset), data, header)

    def open(self, offset: int, header: bytes, sealed: bytes) -> bytes | None:
        """Return the bytes of a record; None when anything about it is not as it was sealed."""
        try:
            return self._cipher.decrypt(_nonce(offset), sealed, header)
        except InvalidTag:
            return None


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by their ids; the first is for new packs."""

    keys: dict[bytes, bytes]

    @property
    def active(self) -> bytes:
        """The id of the key for new packs."""
        return next(iter(self.keys))

    def new_cipher(self) -> PackCipher:
        """Return the cipher of a pack that begins now."""
        salt = os.urandom(pack_format.SALT_SIZE)
        prologue = pack_format.pack_prologue(self.active, salt)
        return PackCipher(_derive(self.keys[self.active], salt, b"ingot pack", KEY_SIZE), prologue)


def load(path: Path) -> Keyring:
    """Read a keyring file. Raises KeyFileError."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise KeyFileError(f"encryption_key_file: {path} cannot be read: {why}.") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(
            f"encryption_key_file: others may read {path}. Keep it to yourself: chmod 600 {path}"
        )
    keys = {}
    for number, line in enumerate(lines, start=1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != KEY_SIZE:
            raise KeyFileError(
                f"encryption_key_file: line {number} of {path} is no key: expected 64 hex digits. "
                "`openssl rand -hex 32` makes one."
            )
        keys[_derive(key, b"", b"ingot key id", pack_format.KEY_ID_SIZE)] = key
    if not keys:
        raise KeyFileError(f"encryption_key_file: {path} has no key. Make one: openssl rand -hex 32 > {path}")
    return Keyring(keys)


def keyring(path: Path, home: Path) -> Keyring | None:
    """Return the keys in a file, None without one; it must not lie with the packs. Raises KeyFileError."""
    if path == Path():
        return None
    if path.resolve().is_relative_to(home.resolve()):
        raise KeyFileError(
            f"encryption_key_file: {path} lies in the data folder, where whoever takes the packs (and every "
            "backup) takes the key too. Put it elsewhere."
        )
    return load(path)


def cipher_of(pack: PackId, head: bytes, keyring: Keyring | None) -> PackCipher | None:
    """Return the cipher of a pack that begins with `head`; None for one that is not encrypted.

    Raises MalformedError, and Unavailable when the key is not there: nothing is wrong with the pack then.
    """
    found = pack_format.unpack_prologue(head)
    if found is None:
        return None
    key_id, salt = found
    key = keyring.keys.get(key_id) if keyring else None
    if key is None:
        raise Unavailable(
            Reason.INTERNAL,
            f"The pack {pack} is encrypted with the key {key_id.hex()}, which the server does not have.",
            next_step="The administrator adds that key to the file of the setting encryption_key_file.",
            facts={"pack": pack, "key": key_id.hex()},
        )
    return PackCipher(_derive(key, salt, b"ingot pack", KEY_SIZE), head)


def check_ledger(root: Path, keyring: Keyring | None) -> None:
    """Refuse a keyring without the keys that the packs below `root` need, then note its active key durably.

    Raises KeyFileError, OSError.
    """
    ledger = root / LEDGER
    noted = set(ledger.read_text(encoding="ascii").split()) if ledger.exists() else set()
    have = {key.hex() for key in keyring.keys} if keyring else set()
    if absent := sorted(noted - have):
        raise KeyFileError(
            f"Packs in {root} are encrypted with the key {', '.join(absent)}, and "
            + (
                "encryption_key_file does not have it: add the line of that key again, below the first."
                if keyring
                else "no encryption_key_file is set: name the file with that key."
            )
        )
    if keyring and keyring.active.hex() not in noted:
        write_out.replace(ledger, "".join(f"{key}\n" for key in [*sorted(noted), keyring.active.hex()]))


def _derive(key: bytes, salt: bytes, purpose: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=purpose).derive(key)


def _nonce(offset: int) -> bytes:
    return offset.to_bytes(12, "little")
