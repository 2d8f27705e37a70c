"""Sign short texts so that other people's tools can check them, and state the head of a log in such a text.

A *signed note* is a text, an empty line and one line a signature. A *checkpoint* is a note whose text has three lines: the log's
origin, its size and its root. Both are published formats: Go's `x/mod/sumdb/note` opens them, and `openssl pkeyutl -verify -rawin`
checks the signature over the text. A *verifier key* (`vkey`) is one line, `name+hash+key`, that names whose signature to trust.

Reading is strict: one text has one encoding, so that a changed byte never goes unseen.

Source: C2SP signed-note 1.0.0 and tlog-checkpoint 1.0.0 (c2sp.org); Ed25519 is RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.study.errors import VerificationError

ED25519 = b"\x01"
"""Signature type of plain Ed25519 notes in C2SP signed-note."""

MOST_SIGNATURES = 64
_ID_BYTES = 4
_DASH = "\u2014 "
_REMEDY = "Ask the owner for a fresh copy; do not rely on this one."


def fingerprint(key: str) -> str:
    """Return a key's fingerprint as people read it to each other by telephone: eight groups of four.

    Args:
        key: as it is written: the coordinator's verifier key, or a site's public signing key in hex.

    >>> fingerprint("00" * 32)
    '60e0 5bd1 b195 af2f 9411 2fa7 197a 5c88'
    """
    return " ".join(re.findall("....", hashlib.sha256(key.encode()).hexdigest()[:32]))


@dataclass(frozen=True)
class VerifierKey:
    """Name a key whose signature under a note is trusted.

    Attributes:
        name: of the key; for a log, its origin. Neither white space nor a plus sign.
        public: the Ed25519 key.
    """

    name: str
    public: Ed25519PublicKey = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse names that the note format cannot carry."""
        if not self.name or "+" in self.name or not self.name.isprintable() or any(letter.isspace() for letter in self.name):
            raise VerificationError(
                f"{self.name!r} cannot name a signing key.", "Use a name without spaces and plus signs, such as study.example/site."
            )

    @cached_property
    def key_id(self) -> bytes:
        """Return the 4 bytes that stand before each signature of this key."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public.public_bytes_raw()).digest()[:_ID_BYTES]

    @cached_property
    def text(self) -> str:
        """Return the key as one line, `name+hash+key`."""
        return f"{self.name}+{self.key_id.hex()}+{_encode64(ED25519 + self.public.public_bytes_raw())}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a key from its one line.

        Raises:
            VerificationError: the text is no Ed25519 vkey, or its hash does not belong to name and key.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = decode64(encoded, "a verifier key")
        if len(raw) != 33 or raw[:1] != ED25519:
            raise VerificationError(
                "A verifier key does not hold an Ed25519 key.", "Ask its owner for the key line; it reads name+hash+key."
            )
        found = cls(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
        if key_id != found.key_id.hex():
            raise VerificationError("The hash in a verifier key does not belong to its name and key.", _REMEDY)
        return found


@dataclass(frozen=True)
class Signer:
    """Sign notes under one name.

    Attributes:
        name: of the key; for a log, its origin.
        key: the private key; it never leaves this object.
    """

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    @cached_property
    def verifier(self) -> VerifierKey:
        """Return the public half under this name."""
        return VerifierKey(self.name, self.key.public_key())

    @property
    def vkey(self) -> str:
        """Return the public half as one line, `name+hash+key`."""
        return self.verifier.text

    def sign(self, text: str) -> str:
        """Return the note: the text, an empty line and this key's signature line.

        Raises:
            VerificationError: the text does not end in a newline or holds control characters.
        """
        _insist_on_text(text)
        signature = self.verifier.key_id + self.key.sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {_encode64(signature)}\n"


def parse(note: str | bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Split a note into its text and its signatures (key name, key id, signature), none of them checked yet.

    Raises:
        VerificationError: it is no note, or not in the one encoding that a note has.
    """
    broken = VerificationError("A signed note is not well formed.", _REMEDY)
    try:
        whole = note if isinstance(note, str) else note.decode()
    except UnicodeDecodeError:
        raise broken from None
    text, gap, rest = whole.rpartition("\n\n")
    if not gap or not rest.endswith("\n"):
        raise broken
    _insist_on_text(text + "\n")
    signatures = []
    for line in rest[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        raw = decode64(encoded, "a signature line")
        if not line.startswith(_DASH) or not name or "+" in name or not name.isprintable() or len(raw) <= _ID_BYTES:
            raise broken
        signatures.append((name, raw[:_ID_BYTES], raw[_ID_BYTES:]))
    if len(signatures) > MOST_SIGNATURES:
        raise broken
    return text + "\n", signatures


def open(note: str | bytes, vkeys: Iterable[VerifierKey]) -> str:
    """Return the text of a note that at least one of the given keys signed.

    Signatures by other keys are passed over, as the format demands; a wrong signature by a given key refuses the whole note.

    Raises:
        VerificationError: malformed, wrongly signed, or signed by none of the keys.
    """
    text, signatures = parse(note)
    known = {(key.name, key.key_id): key for key in vkeys}
    trusted = 0
    for name, key_id, signature in signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        try:
            key.public.verify(signature, text.encode())
        except InvalidSignature:
            raise VerificationError(f"The signature of {name} under a note is wrong.", _REMEDY) from None
        trusted += 1
    if not trusted:
        raise VerificationError("A note is signed by none of the expected keys.", _REMEDY)
    return text


@dataclass(frozen=True)
class Checkpoint:
    """State the head of a log.

    Attributes:
        origin: unique name of the log.
        size: number of entries.
        root: Merkle root at that size, 64 hex digits.
    """

    origin: str
    size: int
    root: str

    def text(self) -> str:
        """Return the three lines that are signed.

        Example:
            >>> print(Checkpoint("study.example/a", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").text(), end="")
            study.example/a
            0
            47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
        """
        return f"{self.origin}\n{self.size}\n{_encode64(bytes.fromhex(self.root))}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the three lines; extension lines are refused, since nobody could audit them.

        Raises:
            VerificationError: the text is not exactly a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise VerificationError("A checkpoint does not have the lines origin, size and root.", _REMEDY)
        root = decode64(lines[2], "a checkpoint")
        if len(root) != 32:
            raise VerificationError("The root in a checkpoint does not have 32 bytes.", _REMEDY)
        return cls(lines[0], int(lines[1]), root.hex())


def decode64(text: str, what: str) -> bytes:
    """Return the bytes behind standard base64, in its one canonical spelling only.

    Raises:
        VerificationError: not base64, or another spelling of the same bytes.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or _encode64(raw) != text:
        raise VerificationError(f"The base64 in {what} is not well formed.", _REMEDY)
    return raw


def _encode64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _insist_on_text(text: str) -> None:
    odd = any((letter < " " and letter != "\n") or "\ud800" <= letter <= "\udfff" for letter in text)
    if odd or len(text) < 2 or not text.endswith("\n"):
        raise VerificationError("A text to be signed must end in a newline and hold no control characters.", "Sign plain text lines.")
