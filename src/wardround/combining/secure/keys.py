"""Make the keys of one attempt: two pairs a site, one to mask with and one to talk to other sites through the coordinator.

Whatever two sites derive is bound to a *bond*: the digest of everything on which they must agree (study, protocol, round, attempt, what is
asked, who advertised which keys). Sites to which a coordinator tells different things derive different keys, and nothing opens.

Source: RFC 7748 (X25519), RFC 5869 (HKDF), RFC 8032 (Ed25519), NIST SP 800-38D (AES-GCM).
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wardround.study.canonical import canonical

KEY_BYTES = 32
NONCE_BYTES = 12


def public_of(secret: bytes) -> bytes:
    """Return the public key, 32 bytes, of a secret key."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agreed(secret: bytes, public: bytes, bond: str, use: str, between: tuple[str, str]) -> bytes:
    """Return the key, 32 bytes, that two sites have in common for one use.

    Args:
        secret: own secret key.
        public: the other's public key.
        bond: digest of what both must agree on.
        use: "mask" or "channel".
        between: both names; their order does not matter.

    Raises:
        ValueError: the public key is a point of small order, or has another length.
    """
    shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    return derived(shared, bond, use, *sorted(between))


def usable(public: bytes) -> bool:
    """Say whether a public key is one that two can agree on a key with: not a point of small order."""
    try:
        X25519PrivateKey.from_private_bytes(bytes(KEY_BYTES)).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return False
    return True


def derived(secret: bytes, bond: str, use: str, *names: str) -> bytes:
    """Return a key of 32 bytes for one use of a secret."""
    info = canonical({"bond": bond, "use": use, "names": list(names)})
    return HKDF(SHA256(), KEY_BYTES, None, info).derive(secret)


def commitment(bond: str, what: str, *names: str, value: bytes) -> str:
    """Return the hash, 64 hex digits, by which a secret value is known before it is revealed."""
    return hashlib.sha256(canonical({"bond": bond, "what": what, "names": list(names)}) + value).hexdigest()


def sign(key: Ed25519PrivateKey, payload: bytes) -> str:
    """Return a site's signature, 128 hex digits, for other sites; the payload says what it is."""
    return key.sign(payload).hex()


def signed(identity: str, payload: bytes, signature: str) -> bool:
    """Say whether the owner of an identity, 64 hex digits, signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(identity)).verify(bytes.fromhex(signature), payload)
    except (InvalidSignature, ValueError):
        return False
    return True


def lock(key: bytes, nonce: bytes, text: bytes, about: bytes) -> bytes:
    """Return nonce and sealed text, which only the holder of the key can open and nobody can alter."""
    return nonce + AESGCM(key).encrypt(nonce, text, about)


def unlock(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """Return the text that `lock` sealed.

    Raises:
        ValueError: another key, another `about`, or altered.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except InvalidTag:
        raise ValueError("sealed for somebody else, or altered") from None
