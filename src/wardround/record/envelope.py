"""Sign bytes together with what they are: approvals by people, updates by sites, closings by the coordinator.

A signature over bare bytes could be carried over to another meaning. Here the *pre-authentication encoding* puts the kind of
payload in front of it. `seal` and `open` keep payload and signature in one JSON object (a DSSE envelope), for the record; `sign`
and `check` keep the signature apart, for messages whose payload travels anyway.

Source: DSSE 1.0, github.com/secure-systems-lab/dsse (protocol.md, envelope.md); Ed25519 is RFC 8032.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.record.note import decode64
from wardround.study.canonical import digest
from wardround.study.errors import VerificationError

APPROVAL = "application/vnd.wardround.approval+json"
"""Kind of the payload by which a person or site approves a protocol: canonical JSON of `protocol`, `site` and `role`."""

UPDATE = "application/vnd.wardround.update+json"
"""Kind of the payload that a site signs under each update."""

CLOSING = "application/vnd.wardround.closing+json"
"""Kind of the payload that the coordinator signs when a round closes."""

MESSAGE = "application/vnd.wardround.message+json"
"""Kind of the payload that is signed under every message between hospitals: its canonical JSON header."""

KEPT = "application/vnd.wardround.kept+json"
"""Kind of the payload by which a site says that its own rules keep its log: canonical JSON of `protocol` and `site`."""

INVITE = "application/vnd.wardround.invite+json"
"""Kind of the payload by which a coordinator invites one site."""

_REMEDY = "Ask the signer to sign again; if that fails, the keys were exchanged wrongly or the content was altered."


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: kind and payload, each with its length.

    Example:
        >>> pre_authentication("http://example.com/HelloWorld", b"hello world")
        b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def key_id(public: Ed25519PublicKey) -> str:
    """Return the digest of a public key's 32 bytes, by which an envelope says who signed."""
    return digest(public.public_bytes_raw())


def sign(key: Ed25519PrivateKey, kind: str, payload: bytes) -> str:
    """Return a detached signature as 128 hex digits.

    Args:
        key: of the signer.
        kind: what the payload is, such as `UPDATE`.
        payload: the bytes that are vouched for.
    """
    return key.sign(pre_authentication(kind, payload)).hex()


def check(public: Ed25519PublicKey, kind: str, payload: bytes, signature: str) -> None:
    """Check a detached signature.

    Raises:
        VerificationError: it is not this key's signature over this kind and payload.
    """
    try:
        raw = bytes.fromhex(signature)
    except (ValueError, TypeError):
        raw = b""
    if raw.hex() != signature:
        raise VerificationError("A signature is not written as lower-case hex digits.", _REMEDY)
    _verify(public, kind, payload, raw)


def seal(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return payload and signature as one envelope.

    Args:
        payload_type: what the payload is, such as `APPROVAL`.
        payload: the bytes that are vouched for.
        key: of the signer.
    """
    signature = key.sign(pre_authentication(payload_type, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def open(envelope: Mapping[str, Any], payload_type: str, public: Ed25519PublicKey) -> bytes:
    """Return the payload of an envelope that this key signed as this kind.

    Args:
        envelope: exactly the keys that `seal` writes, with one signature.
        payload_type: the kind that is expected; another one is refused.
        public: the signer's key.

    Raises:
        VerificationError: malformed, of another kind, by another key, or altered.
    """
    malformed = VerificationError("An envelope is not well formed.", _REMEDY)
    if set(envelope) != {"payload", "payloadType", "signatures"} or not isinstance(envelope["payload"], str):
        raise malformed
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise malformed
    one = signatures[0]
    if set(one) != {"keyid", "sig"} or not isinstance(one["sig"], str):
        raise malformed
    if envelope["payloadType"] != payload_type or one["keyid"] != key_id(public):
        raise VerificationError("An envelope is of another kind, or signed by another key, than expected.", _REMEDY)
    payload = decode64(envelope["payload"], "an envelope")
    _verify(public, payload_type, payload, decode64(one["sig"], "an envelope"))
    return payload


def _verify(public: Ed25519PublicKey, kind: str, payload: bytes, signature: bytes) -> None:
    try:
        public.verify(signature, pre_authentication(kind, payload))
    except InvalidSignature:
        raise VerificationError("A signature does not belong to what it stands under.", _REMEDY) from None
