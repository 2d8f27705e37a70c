"""Carry named arrays as bytes: safetensors on the wire, in the store and under every digest.

The digest of arrays is the SHA-256 of these bytes, so `sha256sum model.safetensors` prints what the record states.

Source: safetensors format, https://huggingface.co/docs/safetensors (header of names, types and offsets, then raw little-endian data).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wardround.study.canonical import digest
from wardround.study.errors import VerificationError

Arrays = Mapping[str, np.ndarray]


def to_bytes(arrays: Arrays) -> bytes:
    """Return the safetensors bytes of named arrays; equal arrays give equal bytes, whatever their order."""
    return save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)})


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """Return the named arrays in safetensors bytes.

    Raises:
        VerificationError: these are not safetensors bytes; fetch them again from whoever sent them.
    """
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise VerificationError("These bytes are not a safetensors file.", "Fetch the file again from whoever sent it.") from error


def arrays_digest(arrays: Arrays) -> str:
    """Return the digest of named arrays: that of their safetensors bytes."""
    return digest(to_bytes(arrays))


def under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names start with `prefix/`, without it.

    Example:
        >>> sorted(under({"params/w": np.ones(1), "params/b": np.ones(1), "round": np.ones(1)}, "params"))
        ['b', 'w']
    """
    start = prefix + "/"
    return {name[len(start) :]: value for name, value in arrays.items() if name.startswith(start)}


def put_under(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays with `prefix/` before each name: the inverse of `under`."""
    return {f"{prefix}/{name}": value for name, value in arrays.items()}
