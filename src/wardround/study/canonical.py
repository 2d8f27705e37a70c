"""Turn values into the one byte string that stands for them, and bytes into a digest.

Whatever is signed, logged or compared goes through here: JSON as RFC 8785 canonical JSON, digests as `sha256:<64 hex digits>`.

Source: RFC 8785 (JSON Canonicalization Scheme); FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value.

    Args:
        value: dicts with string keys, lists, tuples, strings, booleans, None, finite floats, integers below 2^53.

    Raises:
        rfc8785.CanonicalizationError: the value holds something JSON cannot say; convert it first.

    Example:
        >>> canonical({"b": 1, "a": [True, None]})
        b'{"a":[true,null],"b":1}'
    """
    return rfc8785.dumps(value)


def digest(data: bytes | memoryview) -> str:
    """Return `sha256:<hex>` of bytes.

    Example:
        >>> digest(b"")
        'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Return the digest of a value's canonical JSON."""
    return digest(canonical(value))
